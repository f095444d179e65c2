"""Radiometry and augmentation: one warp for every field, nothing outside of valid pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.datasets.landscape.sensors import wishart
from jaxseg.errors import UserError
from jaxseg.scenes.scene import IGNORE
from jaxseg.transforms.augmentation import Brightness, CenterGain, Dihedral, Noise, ScaleCrop
from jaxseg.transforms.polsar import CoherencyFeatures, ZhouFeatures
from jaxseg.transforms.radiometry import LogIntensity, Standardize
from jaxseg.transforms.transform import Augment, augment, preprocess


def example(height: int = 32, width: int = 32, count: int = 6) -> dict[str, jax.Array]:
    random = np.random.default_rng(0)
    label = random.integers(0, 4, (count, height // 4, width // 4)).repeat(4, 1).repeat(4, 2)
    valid = np.ones(label.shape, bool)
    valid[:, :3] = False
    # Band 0 is the label itself, so that a warp that moves the two differently shows.
    image = np.stack([label, random.normal(size=label.shape)], -1).astype(np.float32)
    return {
        "image": jnp.asarray(image * valid[..., None]),
        "label": jnp.asarray(label.astype(np.uint8)),
        "valid": jnp.asarray(valid),
        "separation": jnp.asarray(label, jnp.float32),
    }


def test_invalid_pixels_leave_preprocessing_as_zero_even_from_nan() -> None:
    image = jnp.full((1, 4, 4, 2), 7.0).at[0, 0, 0].set(jnp.nan)
    valid = jnp.ones((1, 4, 4), bool).at[0, 0, 0].set(False)
    result = preprocess(image, valid, (Standardize((5.0, 3.0), (2.0, 4.0)),))
    np.testing.assert_allclose(result[0, 0, 0], 0)
    np.testing.assert_allclose(result[0, 1, 1], [1.0, 1.0])


def test_raw_integers_become_float32() -> None:
    image = jnp.full((1, 2, 2, 1), 40000, jnp.uint16)
    result = preprocess(image, jnp.ones((1, 2, 2), bool), (Standardize((0.0,), (2.0,)),))
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, 20000)


def test_statistics_for_another_number_of_bands_are_refused() -> None:
    with pytest.raises(UserError, match="2 means and 2 standard deviations for images of 3 band"):
        Standardize((0.0, 0.0), (1.0, 1.0))(jnp.zeros((1, 2, 2, 3)))


def test_standardize_is_fitted_to_the_counted_pixels_of_all_windows() -> None:
    random = np.random.default_rng(0)
    images = [random.normal((10, 1000), (2, 300), (5, width, 2)) for width in (4, 9)]
    counted = [random.random(image.shape[:2]) < 0.6 for image in images]
    found = Standardize().fit(zip(images, counted, strict=True))
    pixels = np.concatenate([image[where] for image, where in zip(images, counted, strict=True)])
    np.testing.assert_allclose(found.mean, pixels.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.std, pixels.std(0), rtol=1e-5)
    assert found.fitted
    assert not Standardize().fitted


@pytest.mark.parametrize("size", [(32, 32), (32, 48)])
def test_dihedral_moves_all_fields_alike_and_uses_every_symmetry(size: tuple[int, int]) -> None:
    batch = example(*size, count=64)
    moved = Dihedral()(jax.random.key(0), batch)
    valid = np.asarray(moved["valid"])
    np.testing.assert_array_equal(
        np.asarray(moved["image"])[..., 0][valid], np.asarray(moved["label"])[valid]
    )
    np.testing.assert_array_equal(moved["separation"], moved["label"])
    # The blank rows at the top tell where "up" went.
    sides = {
        (bool(v[0].any()), bool(v[-1].any()), bool(v[:, 0].any()), bool(v[:, -1].any()))
        for v in valid
    }
    assert len(sides) == (4 if size[0] == size[1] else 2)


def test_a_whole_crop_at_zoom_one_copies_pixels() -> None:
    batch = example()
    moved = ScaleCrop(size=16)(jax.random.key(3), batch)
    assert moved["image"].shape == (6, 16, 16, 2)
    image, source = np.asarray(moved["image"]), np.asarray(batch["image"])
    for cut, whole in zip(image, source, strict=True):
        places = [
            (y, x)
            for y in range(17)
            for x in range(17)
            if np.allclose(whole[y : y + 16, x : x + 16], cut, atol=1e-6)
        ]
        assert places


def test_zooming_keeps_image_and_label_together() -> None:
    batch = example(64, 64)
    smooth = batch | {"valid": jnp.ones_like(batch["valid"])}
    label = np.asarray(batch["label"])
    smooth["image"] = jnp.asarray(np.stack([label, label], -1), jnp.float32)
    moved = ScaleCrop(low=1.5, high=2.0)(jax.random.key(1), smooth)
    same = np.abs(np.asarray(moved["image"])[..., 0] - np.asarray(moved["label"])) < 0.25
    assert same.mean() > 0.7  # the rest lies on borders, where bilinear and nearest differ


def test_distances_grow_with_the_zoom() -> None:
    batch = example(64, 64)
    moved = ScaleCrop(low=1.5, high=1.5)(jax.random.key(1), batch)
    np.testing.assert_allclose(moved["separation"], 1.5 * np.asarray(moved["label"]), rtol=1e-6)


def test_what_lies_outside_of_the_window_is_invalid() -> None:
    moved = ScaleCrop(low=0.5, high=0.5)(jax.random.key(1), example())
    label, valid = np.asarray(moved["label"]), np.asarray(moved["valid"])
    assert 0.2 < (label != IGNORE).mean() < 0.3  # a quarter of the area shows the window
    assert not valid[label == IGNORE].any()


@pytest.mark.parametrize(
    "step",
    [Dihedral(), ScaleCrop(low=0.5, high=2.0), Brightness(), Noise(), CenterGain()],
    ids=repr,
)
def test_augmentation_is_a_function_of_its_key_and_keeps_invalid_pixels_blank(
    step: Augment,
) -> None:
    batch = example()
    first, again, other = (augment(jax.random.key(seed), batch, (step,)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first["image"], again["image"])
    assert not np.array_equal(first["image"], other["image"])
    assert np.all(np.asarray(first["image"])[~np.asarray(first["valid"])] == 0)


def test_brightness_changes_an_image_as_a_whole() -> None:
    batch = example()
    changed = Brightness(gain=0.0, offset=1.0)(jax.random.key(0), batch)["image"] - batch["image"]
    spread = np.asarray(changed).reshape(6, -1).std(axis=1)
    assert np.all(spread < 1e-6)
    assert np.asarray(changed).reshape(6, -1).mean(axis=1).std() > 0.3


def test_log_intensity_is_decibel_and_survives_zero_and_nan() -> None:
    power = jnp.array([1.0, 100.0, 0.001, 0.0, -1.0, jnp.nan]).reshape(1, 1, 6, 1)
    db = LogIntensity(floor=1e-5)(power)
    np.testing.assert_allclose(db.ravel(), [0, 20, -30, -50, -50, -50], atol=1e-4)


def test_nan_in_a_raw_image_stays_where_it_is_invalid() -> None:
    image = jnp.ones((2, 16, 16, 2)).at[:, 3, 4].set(jnp.nan)
    valid = jnp.ones((2, 16, 16), bool).at[:, 3, 4].set(False)
    batch = {"image": image, "valid": valid, "side": image, "side_valid": valid}
    batch["label"] = jnp.zeros((2, 16, 16), jnp.uint8)
    result = augment(jax.random.key(0), batch, (ScaleCrop(low=0.8, high=1.2),))
    assert result["valid"].any()
    assert jnp.isfinite(result["image"]).all()
    assert jnp.isfinite(result["side"]).all()


def test_log_intensity_keeps_invalid_pixels_blank() -> None:
    power = jnp.full((1, 2, 2, 2), 0.1).at[0, 0, 0].set(0).at[0, 1, 1].set(jnp.nan)
    valid = jnp.ones((1, 2, 2), bool).at[0, 0, 0].set(False).at[0, 1, 1].set(False)
    steps = (LogIntensity(), Standardize((-11.0, -18.0), (4.0, 4.0)))
    result = preprocess(power, valid, steps)
    np.testing.assert_allclose(result[0, :, :, 0], [[0, 0.25], [0.25, 0]], atol=1e-6)


def test_coherences_lie_in_the_unit_circle_and_do_not_know_brightness() -> None:
    random = np.random.default_rng(0)
    power = 10 ** random.uniform(-3, 0, (1, 20, 20, 3)).astype(np.float32)
    matrix = wishart(power, 4, random)
    features = np.asarray(CoherencyFeatures()(jnp.asarray(matrix)))
    np.testing.assert_allclose(features[..., :3], 10 * np.log10(matrix[..., :3]), atol=1e-4)
    t13 = matrix[..., 5] + 1j * matrix[..., 6]
    expected = t13 / np.sqrt(matrix[..., 0] * matrix[..., 2])
    np.testing.assert_allclose(features[..., 5], expected.real, atol=1e-5)
    np.testing.assert_allclose(features[..., 6], expected.imag, atol=1e-5)
    assert (np.hypot(features[..., 3::2], features[..., 4::2]) <= 1 + 1e-5).all()
    brighter = np.asarray(CoherencyFeatures()(jnp.asarray(10 * matrix)))
    np.testing.assert_allclose(brighter[..., :3], features[..., :3] + 10, atol=1e-4)
    np.testing.assert_allclose(brighter[..., 3:], features[..., 3:], atol=1e-5)


def test_coherences_of_nothing_are_finite() -> None:
    nothing = jnp.zeros((1, 1, 2, 9)).at[0, 0, 1].set(jnp.nan)
    features = CoherencyFeatures(floor=1e-4)(nothing)
    np.testing.assert_allclose(features[0, 0], [[-40.0] * 3 + [0.0] * 6] * 2, atol=1e-4)


def test_coherences_of_another_number_of_bands_are_refused() -> None:
    for step in (CoherencyFeatures(), ZhouFeatures()):
        with pytest.raises(UserError, match="Features for images of 4 band"):
            step(jnp.zeros((1, 2, 2, 4)))


def test_six_features_know_no_phase() -> None:
    matrix = wishart(np.full((1, 8, 8, 3), 0.1, np.float32), 4, np.random.default_rng(0))
    features = np.asarray(ZhouFeatures()(jnp.asarray(matrix)))
    assert features.shape == (1, 8, 8, 6)
    turned = matrix.copy()
    turned[..., 3], turned[..., 4] = -matrix[..., 4], matrix[..., 3]
    np.testing.assert_allclose(ZhouFeatures()(jnp.asarray(turned)), features, rtol=1e-4)


def test_center_gain_multiplies_a_share_of_the_labelled_pixels_alike_in_all_bands() -> None:
    batch = example(64, 64)
    batch |= {"label": batch["label"].at[:, :, :32].set(IGNORE), "image": 1 + batch["image"]}
    changed = CenterGain(strength=0.2, share=0.25)(jax.random.key(0), batch)
    assert {name for name in batch if changed[name] is not batch[name]} == {"image"}
    gain = np.asarray(changed["image"] / batch["image"])
    np.testing.assert_allclose(gain[..., 0], gain[..., 1], rtol=1e-4)
    gain = gain[..., 0]
    assert np.all(gain[:, :, :32] == 1)  # the unlabelled half
    picked = np.abs(gain[:, :, 32:] - 1) > 1e-6
    assert picked.mean() == pytest.approx(0.25, abs=0.02)
    drawn = gain[:, :, 32:][picked]
    assert 0.8 <= drawn.min() < 0.81
    assert 1.19 < drawn.max() <= 1.2
    assert drawn.mean() == pytest.approx(1.0, abs=0.01)
