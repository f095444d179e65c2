"""Radiometry of many bands: what is found on training pixels, and what is refused."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.physics import hyperspectral
from jaxseg.transforms.hyperspectral import MNF, PCA, ContinuumRemoval, RemoveBands


def window(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(30, 30, 6) of which band 2 is constant and band 5 noise, and the left half trains."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:30, :30] / 30
    ground = np.stack([np.sin(4 * x), y * x, np.cos(5 * y)], -1) @ random.normal(size=(3, 6))
    image = 50 + 10 * ground + 0.05 * random.normal(size=ground.shape)
    image[..., 1], image[..., 4] = 3, random.normal(size=y.shape)
    counted = np.zeros((30, 30), bool)
    counted[:, :15] = True
    return image.astype(np.float32), counted


def test_given_bands_are_left_out() -> None:
    image = jnp.arange(5.0).reshape(1, 1, 1, 5)
    np.testing.assert_array_equal(RemoveBands(bands=(1, 4))(image).ravel(), [1, 2, 4])
    np.testing.assert_array_equal(RemoveBands(bands=())(image), image)
    with pytest.raises(UserError, match=r"RemoveBands of \(6,\) for images of 5 band"):
        RemoveBands(bands=(6,))(image)
    with pytest.raises(UserError, match="leaves none of 5 band"):
        RemoveBands(bands=(1, 2, 3, 4, 5))(image)


def test_constant_and_noisy_bands_are_found() -> None:
    found = RemoveBands().fit([window(0), window(1)])
    assert found == RemoveBands(bands=(2, 5))
    assert found.fitted
    assert not RemoveBands().fitted


@pytest.mark.parametrize("step", [PCA(components=3), MNF(components=3)], ids=repr)
def test_projections_are_those_of_the_training_pixels_alone(step: PCA | MNF) -> None:
    image, counted = window()
    elsewhere = image.copy()
    elsewhere[~counted] = np.random.default_rng(9).normal(0, 1e4, (450, 6))
    fitted = step.fit([(image, counted)])
    assert fitted == step.fit([(elsewhere, counted)])
    assert (len(fitted.mean), len(fitted.matrix), fitted.components) == (6, 18, 3)
    projected = np.asarray(fitted(jnp.asarray(image)[None]))
    assert projected.shape == (1, 30, 30, 3)
    seen = projected[0][counted].astype(np.float64)
    np.testing.assert_allclose(seen.mean(0), 0, atol=1e-3 * seen.std())
    covariance = np.cov(seen.T)
    np.testing.assert_allclose(
        covariance, np.diag(np.diag(covariance)), atol=1e-3 * covariance[0, 0]
    )
    if isinstance(step, MNF):
        left, right = projected[0, :, :14], projected[0, :, 1:15]
        down = projected[0, 1:, :15] - projected[0, :-1, :15]
        both = np.concatenate([(left - right).reshape(-1, 3), down.reshape(-1, 3)])
        np.testing.assert_allclose((both**2).mean(0) / 2, 1, rtol=1e-3)


def test_steps_without_numbers_or_for_other_bands_are_refused() -> None:
    image = jnp.ones((1, 4, 4, 6))
    for step in (RemoveBands(), PCA(2), MNF(2)):
        with pytest.raises(UserError, match="is not fitted"):
            step(image)
    fitted = PCA(2).fit([window()])
    with pytest.raises(
        UserError, match=r"6 bands and 2 components, but 2 components of images of 7"
    ):
        fitted(jnp.ones((1, 4, 4, 7)))


def test_no_training_pixel_is_told() -> None:
    image, counted = window()
    with pytest.raises(UserError, match="0 labelled, valid training pixel"):
        PCA(2).fit([(image, counted & False)])
    with pytest.raises(UserError, match="holds no scene"):
        PCA(2).fit([])


def test_continuum_removal_is_that_of_the_wavelengths() -> None:
    image = jnp.asarray(np.random.default_rng(0).uniform(0.1, 1, (1, 3, 4, 5)), jnp.float32)
    wavelengths = (400.0, 500.0, 800.0, 700.0, 900.0)
    found = ContinuumRemoval(wavelengths)(image)
    np.testing.assert_array_equal(found, hyperspectral.continuum_removed(image, wavelengths))


def test_bands_go_from_the_share_of_noise_that_is_asked_for() -> None:
    image, counted = window()
    statistics = hyperspectral.SpectralStatistics(6)
    statistics.add(image, counted)
    shares = hyperspectral.noise_shares(statistics)
    for limit in (0.0, float(shares[2]), float(np.nextafter(shares[2], 1))):
        expected = tuple((np.flatnonzero(shares >= limit) + 1).tolist())
        found = RemoveBands(noise=limit).fit([(image, counted)])
        assert found == RemoveBands(bands=expected, noise=limit)


@pytest.mark.parametrize("band", [0, 6])
def test_bands_are_counted_from_one(band: int) -> None:
    with pytest.raises(UserError, match="bands are counted from 1 to 5"):
        RemoveBands(bands=(2, band))(jnp.zeros((1, 1, 1, 5)))


@pytest.mark.parametrize(("step", "rule"), [(PCA, hyperspectral.pca), (MNF, hyperspectral.mnf)])
def test_a_fitted_step_projects_by_the_rule_of_its_name(
    step: type[PCA | MNF], rule: Callable[..., np.ndarray]
) -> None:
    image, counted = window()
    parts = [(image[:10], counted[:10]), (image[10:], counted[10:])]
    statistics = hyperspectral.SpectralStatistics(6)
    for part in parts:
        statistics.add(*part)
    matrix = rule(statistics, 2)
    fitted = step(2).fit(parts)
    np.testing.assert_allclose(fitted.mean, statistics.mean, rtol=1e-8)
    np.testing.assert_allclose(np.reshape(fitted.matrix, (6, 2)), matrix, rtol=1e-8)
    # Numbers as float32 tells them apart, so that a stored config is short.
    assert all(number == float(f"{number:.9g}") for number in (*fitted.mean, *fitted.matrix))
    found = fitted(jnp.asarray(image)[None])
    expected = (image - statistics.mean) @ matrix
    np.testing.assert_allclose(found[0], expected, atol=1e-4 * np.abs(expected).max())
    assert fitted.fitted
    assert not step(2).fitted


def test_a_projection_to_another_number_of_components_is_refused() -> None:
    fitted = PCA(2).fit([window()])
    wrong = dataclasses.replace(fitted, components=3)
    with pytest.raises(
        UserError, match="PCA was fitted to 6 bands and 2 components, but 3 components of"
    ):
        wrong(jnp.ones((1, 4, 4, 6)))
