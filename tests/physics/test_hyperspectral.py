"""Spectra: statistics, PCA, MNF against their definitions; the continuum against SciPy's hull."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from jaxseg.errors import UserError
from jaxseg.physics import hyperspectral
from jaxseg.physics.hyperspectral import SpectralStatistics

Array = NDArray[np.float64]

BANDS = 8


def scene(seed: int = 0) -> tuple[Array, Array]:
    """(40, 40, 8) smooth ground in three spectra plus noise of (8,) standard deviations."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:40, :40] / 40
    ground = np.stack([np.sin(3 * x), np.cos(2 * y), x * y], -1) @ random.normal(size=(3, BANDS))
    deviation = random.uniform(0.02, 0.3, BANDS)
    return 100 + 20 * ground + deviation * random.normal(size=ground.shape), deviation


def statistics(image: Array, counted: NDArray[np.bool_] | None = None) -> SpectralStatistics:
    result = SpectralStatistics(image.shape[-1])
    result.add(image, np.ones(image.shape[:2], bool) if counted is None else counted)
    return result


def test_statistics_of_parts_are_those_of_the_whole_and_of_training_pixels_alone() -> None:
    image, _ = scene()
    counted = np.random.default_rng(1).random(image.shape[:2]) < 0.6
    image[~counted] = np.nan  # must not be looked at
    whole = statistics(image, counted)
    np.testing.assert_allclose(whole.mean, image[counted].mean(0))
    np.testing.assert_allclose(whole.covariance(), np.cov(image[counted].T), rtol=1e-9)
    parts = SpectralStatistics(BANDS)
    nothing = np.zeros((40, 40), bool)
    parts.add(image, nothing)
    parts.add(image[:15], counted[:15])
    parts.add(image[15:], counted[15:])
    np.testing.assert_allclose(parts.mean, whole.mean)
    np.testing.assert_allclose(parts.covariance(), whole.covariance(), rtol=1e-9)
    assert parts.pairs == whole.pairs - (counted[14] & counted[15]).sum()


def test_the_noise_is_what_neighbours_differ_in() -> None:
    random = np.random.default_rng(0)
    deviation = random.uniform(0.5, 2, BANDS)
    slopes = np.mgrid[:60, :60].sum(0)[..., None] * 0.1  # ground that noise of 0.5 hides
    noisy = slopes + deviation * random.normal(size=(60, 60, BANDS))
    expected = np.diag(deviation**2) + 0.1**2 / 2
    found = statistics(noisy).noise_covariance()
    np.testing.assert_allclose(found, expected, atol=0.06 * deviation.max() ** 2)


def test_noise_shares_find_constant_and_noisy_bands() -> None:
    image, _ = scene()
    image[..., 2] = 5000
    image[..., 5] = np.random.default_rng(3).normal(size=image.shape[:2])
    shares = hyperspectral.noise_shares(statistics(image.astype(np.float32)))
    assert shares[2] == 1
    assert shares[5] > 0.9
    assert (np.delete(shares, [2, 5]) < 0.1).all()


def test_pca_diagonalises_the_covariance_of_training_pixels() -> None:
    image, _ = scene()
    found = statistics(image)
    matrix = hyperspectral.pca(found, 5)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(5), atol=1e-10)
    projected = hyperspectral.project(
        jnp.asarray(image), jnp.asarray(found.mean), jnp.asarray(matrix)
    )
    covariance = np.cov(np.asarray(projected, np.float64).reshape(-1, 5).T)
    variances = np.linalg.eigvalsh(found.covariance())[::-1][:5]
    np.testing.assert_allclose(covariance, np.diag(variances), atol=1e-4 * variances[0])


def test_mnf_whitens_the_noise_and_sorts_by_signal_to_noise() -> None:
    image, _ = scene()
    found = statistics(image)
    matrix = hyperspectral.mnf(found, BANDS)
    noise = matrix.T @ found.noise_covariance() @ matrix
    np.testing.assert_allclose(noise, np.eye(BANDS), atol=1e-3)
    covariance = matrix.T @ found.covariance() @ matrix
    ratios = np.diag(covariance)
    np.testing.assert_allclose(covariance, np.diag(ratios), atol=1e-6 * ratios[0])
    assert (np.diff(ratios) <= 0).all()
    assert ratios[2] > 20  # three kinds of ground ...
    assert ratios[3] < 2  # ... and noise


def test_mnf_prefers_a_weak_clean_band_to_a_strong_noisy_one() -> None:
    random = np.random.default_rng(0)
    y = np.mgrid[:60, :60][0] / 60
    clean = 0.1 * np.sin(6 * y) + 1e-3 * random.normal(size=y.shape)
    noisy = 100 * random.normal(size=y.shape)
    found = statistics(np.stack([clean, noisy], -1))
    assert np.abs(hyperspectral.pca(found, 1)[:, 0]).argmax() == 1
    first = hyperspectral.mnf(found, 1)[:, 0] * np.sqrt(np.diag(found.covariance()))
    assert np.abs(first).argmax() == 0


def test_mnf_survives_a_band_that_never_varies() -> None:
    image, _ = scene()
    image[..., 1] = 7
    assert np.isfinite(hyperspectral.mnf(statistics(image), BANDS)).all()


def test_too_few_pixels_pairs_or_bands_are_refused() -> None:
    image, _ = scene()
    with pytest.raises(UserError, match=r"1 labelled, valid training pixel"):
        hyperspectral.pca(statistics(image[:1, :1]), 1)
    with pytest.raises(UserError, match="7 pairs of neighbouring training pixels for 8 bands"):
        hyperspectral.mnf(statistics(image[:1, :8]), 2)
    with pytest.raises(UserError, match="PCA to 9 components of 8 bands"):
        hyperspectral.pca(statistics(image), 9)


def hull_by_scipy(x: Array, y: Array) -> Array:
    """The upper part of the convex hull, at x."""
    # Two points far below close the hull underneath.
    low = y.min() - 10 * (np.ptp(y) + 1)
    points = np.concatenate([np.stack([x, y], 1), [[x.min(), low], [x.max(), low]]])
    corners = [number for number in ConvexHull(points).vertices if number < len(x)]
    corners.sort(key=lambda number: x[number])
    return np.interp(x, x[corners], y[corners])


@pytest.mark.parametrize("bands", [2, 3, 31, 200])
def test_the_continuum_is_scipys_convex_hull(bands: int) -> None:
    random = np.random.default_rng(bands)
    x = np.sort(random.uniform(400, 2500, bands))
    kinds = [
        random.uniform(0.1, 0.6, bands),
        0.3 + np.cumsum(random.normal(0, 0.005, bands)),
        np.sqrt(x) / 60 + 1e-3 * random.normal(size=bands),
        1e4 - np.square(x - 1200) / 300 - 500 * np.exp(-np.square(x - 1400) / 5000),
    ]
    spectra = np.stack(kinds)
    found = hyperspectral.continuum(jnp.asarray(spectra), tuple(x.tolist()))
    for one, expected in zip(np.asarray(found), spectra, strict=True):
        np.testing.assert_allclose(one, hull_by_scipy(x, expected), rtol=1e-5)


def test_continuum_removal_is_one_at_the_ends_never_more_and_blind_to_brightness() -> None:
    random = np.random.default_rng(0)
    spectra = jnp.asarray(random.uniform(0.1, 0.6, (3, 4, 50)), jnp.float32)
    wavelengths = tuple(np.linspace(400, 2500, 50).tolist())
    removed = np.asarray(hyperspectral.continuum_removed(spectra, wavelengths))
    assert removed.shape == spectra.shape
    np.testing.assert_allclose(removed[..., [0, -1]], 1, rtol=1e-6)
    assert (removed <= 1 + 1e-6).all()
    brighter = hyperspectral.continuum_removed(5000 * spectra, wavelengths)
    np.testing.assert_allclose(brighter, removed, rtol=1e-5)


def test_bands_of_overlapping_spectrometers_may_come_in_any_order() -> None:
    random = np.random.default_rng(0)
    spectra, order = random.uniform(0.1, 0.6, (5, 30)), random.permutation(30)
    x = np.linspace(400, 2500, 30)
    sorted_ = np.asarray(hyperspectral.continuum_removed(jnp.asarray(spectra), tuple(x.tolist())))
    mixed = hyperspectral.continuum_removed(
        jnp.asarray(spectra[:, order]), tuple(x[order].tolist())
    )
    np.testing.assert_allclose(mixed, sorted_[:, order], rtol=1e-6)


def test_spectra_without_data_light_or_difference_do_no_harm() -> None:
    x = (1.0, 2.0, 3.0, 4.0)
    spectra = jnp.asarray(
        [[1, jnp.nan, 2, 3], [0, 0, 0, 0], [-1, -2, -1, -3], [5, 5, 5, 5], [0, 1, 0.5, 0]]
    )
    removed = np.asarray(hyperspectral.continuum_removed(spectra, x))
    assert np.isnan(removed[0]).all()
    np.testing.assert_array_equal(removed[1:4], 1)
    np.testing.assert_allclose(removed[4], [1, 1, 1, 1], atol=1e-6)


def test_wavelengths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="3 wavelengths, 3 of them different, for images of 4"):
        hyperspectral.continuum(jnp.ones((2, 4)), (1.0, 2.0, 3.0))
    with pytest.raises(UserError, match="3 wavelengths, 2 of them different"):
        hyperspectral.continuum(jnp.ones((2, 3)), (1.0, 2.0, 2.0))


def test_statistics_of_whole_numbers_are_those_of_the_same_real_numbers() -> None:
    image = (100 * scene()[0]).astype(np.uint16)  # differences of both signs
    whole, real = statistics(image), statistics(image.astype(np.float64))
    np.testing.assert_allclose(whole.noise_covariance(), real.noise_covariance(), rtol=1e-12)
    np.testing.assert_allclose(whole.covariance(), real.covariance(), rtol=1e-12)


def test_neighbours_are_beside_and_below_and_both_of_training() -> None:
    image = np.arange(12.0).reshape(3, 4)[..., None] ** 2
    counted = np.ones((3, 4), bool)
    counted[1, 1] = counted[2, 3] = False
    found = statistics(image, counted)
    squares = [
        (image[place][0] - image[there][0]) ** 2
        for place in np.ndindex(3, 4)
        for there in ((place[0] + 1, place[1]), (place[0], place[1] + 1))
        if there[0] < 3 and there[1] < 4 and counted[place] and counted[there]
    ]
    assert (found.pixels, found.pairs) == (10, len(squares))
    assert found.noise_covariance()[0, 0] == pytest.approx(np.mean(squares) / 2)


def test_noise_shares_are_the_noise_over_the_variance_up_to_one() -> None:
    image, _ = scene()
    found = statistics(image)
    expected = np.diag(found.noise_covariance()) / np.diag(found.covariance())
    np.testing.assert_allclose(hyperspectral.noise_shares(found), np.minimum(expected, 1))
    checkered = (np.indices((20, 20)).sum(0) % 2)[..., None].repeat(2, -1).astype(np.float64)
    assert hyperspectral.noise_shares(statistics(checkered)).tolist() == [1, 1]


def test_a_faint_band_that_varies_is_not_taken_for_a_constant() -> None:
    image, _ = scene()
    image = (image - image.mean((0, 1))) * 1e-4
    shares = [hyperspectral.noise_shares(statistics(f * image)) for f in (1e-5, 1.0, 1e6)]
    tiny, faint, strong = shares  # the first in units of 1e-9
    np.testing.assert_allclose(faint, strong, rtol=1e-6)
    np.testing.assert_allclose(tiny, strong, rtol=1e-6)
    assert faint.max() < 1


@pytest.mark.parametrize("rule", [hyperspectral.pca, hyperspectral.mnf])
def test_the_largest_number_of_every_direction_is_positive(rule: Any) -> None:
    for seed in range(3):
        matrix = rule(statistics(scene(seed)[0]), BANDS)
        largest = np.abs(matrix).argmax(0)
        assert (matrix[largest, np.arange(BANDS)] > 0).all()


def test_a_scene_without_any_noise_has_directions_too() -> None:
    flat = np.zeros((6, 6, 2))
    flat[:, :3] = 1.0
    split = SpectralStatistics(2)
    for part in (flat[:, :3], flat[:, 3:]):  # all differences within a window are 0
        split.add(part, np.ones(part.shape[:2], bool))
    assert not split.noise_covariance().any()
    assert np.isfinite(hyperspectral.mnf(split, 2)).all()


def test_a_millionth_of_the_mean_noise_stands_for_none() -> None:
    image, _ = scene()
    image[..., 1] = 7
    found = statistics(image)
    noise = found.noise_covariance()
    noise += 1e-6 * np.trace(noise) / BANDS * np.eye(BANDS)
    matrix = hyperspectral.mnf(found, BANDS)
    np.testing.assert_allclose(matrix.T @ noise @ matrix, np.eye(BANDS), atol=1e-8)


def test_a_covariance_of_two_pixels_and_noise_of_one_pair_more_than_bands_are_enough() -> None:
    image, _ = scene()
    assert statistics(image[:1, :2]).covariance().shape == (BANDS, BANDS)
    assert statistics(image[:1, : BANDS + 2]).noise_covariance().shape == (BANDS, BANDS)
    with pytest.raises(UserError, match="8 pairs of neighbouring training pixels for 8 bands"):
        statistics(image[:1, : BANDS + 1]).noise_covariance()
    for components in (0, BANDS + 1):
        with pytest.raises(UserError, match=f"MNF to {components} components of 8 bands: 1 to 8"):
            hyperspectral.mnf(statistics(image), components)


def test_projections_are_float32_and_as_exact() -> None:
    random = np.random.default_rng(0)
    image = random.integers(0, 60_000, (5, 7, 30)).astype(np.uint16)
    mean, matrix = image.mean((0, 1)), np.linalg.qr(random.normal(size=(30, 4)))[0]
    found = hyperspectral.project(
        jnp.asarray(image), jnp.asarray(mean, jnp.float32), jnp.asarray(matrix, jnp.float32)
    )
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, (image - mean) @ matrix, atol=0.05)


def test_a_hull_of_steep_ends_and_of_points_on_a_line() -> None:
    spectra = jnp.asarray([[5, 1, 1, 1, 5], [1, 2, 4, 8, 9], [0, 0, 6, 0, 0], [9, 0, 0, 0, 1.0]])
    expected = [[5, 5, 5, 5, 5], [1, 2, 4, 8, 9], [0, 2, 6, 1.2, 0], [9, 8, 6, 2, 1]]
    found = hyperspectral.continuum(spectra, (1.0, 2.0, 4.0, 8.0, 9.0))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
