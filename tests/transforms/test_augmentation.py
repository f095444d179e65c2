"""Radiometry and augmentation: one warp for every field, nothing outside of valid pixels."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from jaxseg.datasets.landscape.sensors import wishart
from jaxseg.errors import UserError
from jaxseg.scenes.scene import IGNORE
from jaxseg.transforms.augmentation import (
    Brightness,
    CenterGain,
    Dihedral,
    Mirror,
    Noise,
    ScaleCrop,
)
from jaxseg.transforms.hyperspectral import PCA, RemoveBands
from jaxseg.transforms.polsar import CoherencyFeatures, ZhouFeatures
from jaxseg.transforms.radiometry import LogIntensity, OnBands, Standardize
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


def jitted(step: Augment) -> Callable[..., dict[str, jax.Array]]:
    return jax.jit(lambda key, batch: step(key, batch))


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


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (ScaleCrop, {"low": 0.0}, r"low is 0\.0: it must be above 0"),
        (ScaleCrop, {"high": math.inf}, "high is inf"),
        (ScaleCrop, {"low": 1.5}, r"low is 1\.5 and ScaleCrop\.high 1\.0"),
        (ScaleCrop, {"size": -1}, "size is -1"),
        (Brightness, {"gain": -0.1}, r"gain is -0\.1: it must be 0 or more"),
        (Brightness, {"offset": math.nan}, "offset is nan"),
        (Noise, {"std": -1.0}, "std is -1"),
        (CenterGain, {"share": 1.5}, r"share is 1\.5: it must be 0 or more and 1 or less"),
        (CenterGain, {"strength": 2.0}, "strength is 2"),
        (Standardize, {"mean": (0.0, math.inf)}, r"mean is inf in \(0\.0, inf\): .* finite"),
        (Standardize, {"std": (1.0, 0.0)}, r"std is 0\.0 in \(1\.0, 0\.0\): .* above 0"),
        (LogIntensity, {"floor": 0.0}, "floor is 0"),
        (CoherencyFeatures, {"floor": -1.0}, "floor is -1"),
        (RemoveBands, {"noise": 1.5}, r"noise is 1\.5"),
        (PCA, {"components": 0}, r"components is 0: it must be 1 or more"),
    ],
)
def test_numbers_outside_their_ranges_are_refused_when_a_step_is_built(
    kind: Any, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=rf"^{kind.__name__}\..*{message}"):
        kind(**fields)


@pytest.mark.parametrize("size", [(32, 32), (32, 48)])
def test_dihedral_moves_all_fields_alike_and_uses_every_symmetry(size: tuple[int, int]) -> None:
    batch = example(*size, count=64)
    moved = jitted(Dihedral())(jax.random.key(0), batch)
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
    moved = jitted(ScaleCrop(size=16))(jax.random.key(3), batch)
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
    moved = jitted(ScaleCrop(low=1.5, high=2.0))(jax.random.key(1), smooth)
    same = np.abs(np.asarray(moved["image"])[..., 0] - np.asarray(moved["label"])) < 0.25
    assert same.mean() > 0.7  # the rest lies on borders, where bilinear and nearest differ


def test_distances_grow_with_the_zoom() -> None:
    batch = example(64, 64)
    batch["border_distance"] = batch["separation"]
    moved = jitted(ScaleCrop(low=1.5, high=1.5))(jax.random.key(1), batch)
    for name in ("separation", "border_distance"):
        np.testing.assert_allclose(moved[name], 1.5 * np.asarray(moved["label"]), rtol=1e-6)


def test_what_lies_outside_of_the_window_is_invalid() -> None:
    moved = jitted(ScaleCrop(low=0.5, high=0.5))(jax.random.key(1), example())
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
    apply = jax.jit(lambda key: augment(key, batch, (step,)))
    first, again, other = (apply(jax.random.key(seed)) for seed in (0, 0, 1))
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
    apply = jax.jit(lambda key: augment(key, batch, (ScaleCrop(low=0.8, high=1.2),)))
    result = apply(jax.random.key(0))
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


def squared(image: jax.Array) -> jax.Array:
    return jnp.square(image)


def test_radiometry_of_some_bands_leaves_the_others_and_the_order_alone() -> None:
    image = jnp.arange(1.0, 6.0).reshape(1, 1, 1, 5)
    step = OnBands(start=1, stop=3, steps=(Standardize((1.0, 1.0), (2.0, 4.0)), squared))
    # Bands 2 and 3 become ((2 - 1) / 2)^2 and ((3 - 1) / 4)^2.
    np.testing.assert_allclose(step(image).ravel(), [1, 0.25, 0.25, 4, 5])
    more = OnBands(start=3, stop=5, steps=(lambda part: jnp.concatenate((part, -part), -1),))
    np.testing.assert_allclose(more(image).ravel(), [1, 2, 3, 4, 5, -4, -5])


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (2, 2), (2, 1), (1, 4), (3, 4)])
def test_bands_that_an_image_does_not_have_are_refused(start: int, stop: int) -> None:
    with pytest.raises(UserError, match=rf"OnBands from {start} to {stop} for images of 3 band"):
        OnBands(start, stop, ())(jnp.zeros((1, 2, 2, 3)))


@pytest.mark.parametrize(("means", "deviations"), [(2, 3), (3, 2)])
def test_as_many_means_as_deviations_as_bands_are_needed(means: int, deviations: int) -> None:
    with pytest.raises(UserError, match=f"{means} means and {deviations} standard deviations"):
        Standardize((0.0,) * means, (1.0,) * deviations)(jnp.zeros((1, 2, 2, 3)))


def test_each_band_is_standardized_by_its_own_numbers() -> None:
    image = jnp.asarray([5.0, 11.0]).reshape(1, 1, 1, 2)
    np.testing.assert_allclose(Standardize((3.0, 7.0), (2.0, 8.0))(image).ravel(), [1, 0.5])


def test_every_step_of_radiometry_sees_nan_where_there_is_no_data() -> None:
    seen = []

    def noting(image: jax.Array) -> jax.Array:
        seen.append(np.asarray(image))
        return jnp.nan_to_num(image, nan=9.0) + 1

    valid = jnp.asarray([[[True, False]]])
    found = preprocess(jnp.full((1, 1, 2, 1), 2), valid, (noting, noting))
    np.testing.assert_array_equal(np.ravel(seen), [2, np.nan, 3, np.nan])
    np.testing.assert_array_equal(found.ravel(), [4, 0])


def drawn(step: Augment, image: jax.Array, seed: int = 0, **fields: jax.Array) -> jax.Array:
    """The augmented image, of valid pixels of class 0 if no fields are given."""
    label = jnp.zeros(image.shape[:3], jnp.uint8)
    batch = {"image": image, "label": label, "valid": label == 0, **fields}
    changed = step(jax.random.key(seed), batch)
    assert {name for name in batch if changed[name] is not batch[name]} == {"image"}
    return changed["image"]


def test_gain_and_offset_of_an_image_are_two_draws_for_all_of_its_bands() -> None:
    # Two pixels of 0 and 1 tell both: the offset, and the gain and the offset.
    image = jnp.broadcast_to(jnp.asarray([0.0, 1.0])[:, None], (2000, 1, 2, 3))
    changed = np.asarray(drawn(Brightness(gain=0.2, offset=0.5), image))
    np.testing.assert_array_equal(changed, changed[..., :1].repeat(3, -1))
    offset, gain = changed[:, 0, 0, 0], changed[:, 0, 1, 0] - changed[:, 0, 0, 0]
    assert gain.mean() == pytest.approx(1, abs=0.02)
    assert gain.std() == pytest.approx(0.2, rel=0.1)
    assert offset.mean() == pytest.approx(0, abs=0.05)
    assert offset.std() == pytest.approx(0.5, rel=0.1)
    assert abs(np.corrcoef(gain, offset)[0, 1]) < 0.1


def test_noise_is_gaussian_and_independent_in_pixels_bands_and_images() -> None:
    image = jnp.broadcast_to(jnp.asarray([1.0, -3.0]), (4, 30, 30, 2))
    noise = np.asarray(drawn(Noise(std=0.3), image) - image)
    assert noise.mean() == pytest.approx(0, abs=0.02)
    assert noise.std() == pytest.approx(0.3, rel=0.05)
    assert np.mean(np.abs(noise) < 0.3) == pytest.approx(0.683, abs=0.03)  # as of a Gaussian
    parts = [noise[0, ..., 0], noise[1, ..., 0], noise[0, ..., 1], noise[0, ::-1, :, 0]]
    parts += [noise[0, :, ::-1, 0], noise[0, ..., 0].T]
    assert np.abs(np.corrcoef([part.ravel() for part in parts]) - np.eye(6)).max() < 0.15


def test_every_step_of_augmentation_has_a_key_of_its_own() -> None:
    label = jnp.zeros((1, 8, 8), jnp.uint8)
    batch = {"image": jnp.zeros((1, 8, 8, 1)), "label": label, "valid": label == 0}
    once = augment(jax.random.key(0), batch, (Noise(std=1.0),))["image"]
    twice = augment(jax.random.key(0), batch, (Noise(std=1.0),) * 2)["image"]
    second = np.asarray(twice - once).ravel()
    assert abs(np.corrcoef(second, np.asarray(once).ravel())[0, 1]) < 0.4


def test_the_steps_of_augmentation_are_applied_in_their_order() -> None:
    label = jnp.zeros((1, 1, 1), jnp.uint8)
    batch = {"image": jnp.ones((1, 1, 1, 1)), "label": label, "valid": label == 0}
    double, more = (
        lambda _, batch: batch | {"image": 2 * batch["image"]},
        lambda _, batch: batch | {"image": batch["image"] + 1},
    )
    assert augment(jax.random.key(0), batch, (double, more))["image"].item() == 3
    assert augment(jax.random.key(0), batch, (more, double))["image"].item() == 4


def test_side_information_is_blanked_by_its_own_mask_before_and_after_augmentation() -> None:
    given = jnp.full((1, 1, 2, 1), jnp.nan)
    valid, side_valid = jnp.asarray([[[True, False]]]), jnp.asarray([[[False, True]]])
    batch = {
        "image": jnp.where(valid[..., None], 5.0, given),
        "side": jnp.where(side_valid[..., None], 7.0, given),
        "label": jnp.zeros((1, 1, 2), jnp.uint8),
        "valid": valid,
        "side_valid": side_valid,
    }
    seen = []

    def noting(_: jax.Array, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        seen.append([np.ravel(batch[name]).tolist() for name in ("image", "side")])
        return batch | {"image": batch["image"] + 1, "side": batch["side"] + 1}

    found = augment(jax.random.key(0), batch, (noting,))
    assert seen == [[[5, 0], [0, 7]]]
    np.testing.assert_array_equal(found["image"].ravel(), [6, 0])
    np.testing.assert_array_equal(found["side"].ravel(), [0, 8])


def symmetries(side: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
    turned = {f"{k}": np.rot90(side, k) for k in range(4)}
    return turned | {f"mirrored {k}": image[:, ::-1] for k, image in turned.items()}


@pytest.mark.parametrize(
    ("step", "shape", "expected"),
    [
        (Dihedral(), (3, 3), set(symmetries(np.zeros((3, 3), np.uint8)))),
        (Dihedral(), (2, 3), {"0", "2", "mirrored 0", "mirrored 2"}),
        (Mirror(), (3, 3), {"0", "mirrored 0"}),
        (Mirror(), (2, 3), {"0", "mirrored 0"}),
    ],
    ids=("dihedral-square", "dihedral", "mirror-square", "mirror"),
)
def test_each_image_has_its_own_symmetry_and_all_are_equally_frequent(
    step: Augment, shape: tuple[int, int], expected: set[str]
) -> None:
    count = 100 * len(expected)
    label = np.arange(shape[0] * shape[1], dtype=np.uint8).reshape(shape)
    labels = jnp.broadcast_to(jnp.asarray(label), (count, *shape))
    batch = {
        "label": labels,
        "valid": labels > 2,
        "image": jnp.stack([labels, -labels.astype(jnp.float32)], -1).astype(jnp.float32),
        "instance": labels.astype(jnp.int32),
    }
    moved = jax.tree.map(np.asarray, jitted(step)(jax.random.key(0), batch))
    np.testing.assert_array_equal(moved["image"][..., 0], moved["label"])
    np.testing.assert_array_equal(moved["image"][..., 1], -moved["label"].astype(np.float32))
    np.testing.assert_array_equal(moved["valid"], moved["label"] > 2)
    np.testing.assert_array_equal(moved["instance"], moved["label"])
    names = {image.tobytes(): name for name, image in symmetries(label).items()}
    found = [names[image.tobytes()] for image in moved["label"]]
    assert set(found) == expected
    for name in expected:
        assert 65 < found.count(name) < 135  # of 100 expected


SIDES = (40, 28)


@functools.cache
def warped(step: ScaleCrop) -> dict[str, NDArray[np.generic]]:
    """96 images of 40 x 28 pixels, warped: bands of rows, columns, noise and a checkerboard."""
    rows, columns = np.indices(SIDES)
    noise = np.random.default_rng(0).normal(size=SIDES)
    image = np.stack([rows, columns, noise, (rows + columns) % 2], -1).astype(np.float32)
    number = (rows * SIDES[1] + columns).astype(np.int32)
    batch = {
        "image": image,
        "side": 10 * image[..., :2],
        "label": (number % 200).astype(np.uint8),
        "valid": (rows + columns) % 7 > 0,
        "side_valid": (rows - columns) % 5 > 0,
        "instance": number,
        "separation": number.astype(np.float32),
    }
    many = {name: jnp.broadcast_to(array, (96, *array.shape)) for name, array in batch.items()}
    moved = jitted(step)(jax.random.key(5), many)
    return {name: np.asarray(array) for name, array in moved.items()} | {
        f"given {name}": array for name, array in batch.items()
    }


def places(moved: dict[str, NDArray[np.generic]]) -> list[NDArray[np.float64]]:
    """(B, size) where the rows and columns of each output come from, as two ramps tell."""
    image, out = moved["image"].astype(np.float64), []
    for axis, length in enumerate(SIDES):
        # Beyond the edge a ramp ends, so the middle of the window and its neighbour tell the rest.
        ramps = image[..., axis].max(2 - axis)  # (B, size), 0 where nothing is seen
        middle = np.abs(ramps - length / 2).argmin(1)[:, None]
        here = np.take_along_axis(ramps, middle, 1)
        last = middle == ramps.shape[1] - 1
        beside = np.take_along_axis(ramps, np.where(last, middle - 1, middle + 1), 1)
        step = np.where(last, here - beside, beside - here)
        out.append(here + step * (np.arange(ramps.shape[1]) - middle))
    return out


@pytest.mark.parametrize(
    "step",
    [
        ScaleCrop(size=12, low=1.3, high=2.5),
        ScaleCrop(size=16),
        ScaleCrop(size=7, low=0.5, high=0.5),
        ScaleCrop(size=20, low=0.25, high=0.25),
        ScaleCrop(low=1.25, high=1.25),
        ScaleCrop(low=0.5, high=0.5),
    ],
    ids=repr,
)
def test_every_field_is_sampled_where_the_warp_says(step: ScaleCrop) -> None:
    moved = warped(step)
    sizes = (step.size, step.size) if step.size else SIDES
    assert moved["label"].shape == (96, *sizes)
    zooms = []
    for centres, length in zip(places(moved), SIDES, strict=True):
        zoom = 1 / (centres[:, 1] - centres[:, 0])
        zooms.append(zoom)
        assert zoom.min() > step.low - 1e-3
        assert zoom.max() < step.high + 1e-3
        # The square cut out begins within the window, or the window within the square.
        start = centres[:, 0] + 0.5 - 0.5 / zoom
        room = length - centres.shape[1] / zoom
        assert np.all((start > np.minimum(room, 0) - 1e-2) & (start < np.maximum(room, 0) + 1e-2))
        share = start[np.abs(room) > 1] / room[np.abs(room) > 1]
        assert share.std() == pytest.approx(12**-0.5, rel=0.2)  # uniform, another in each image
    np.testing.assert_allclose(*zooms, rtol=1e-3)
    if step.low < step.high:
        middle, spread = (step.low + step.high) / 2, (step.high - step.low) * 12**-0.5
        assert zooms[0].mean() == pytest.approx(middle, abs=0.4 * spread)
        assert zooms[0].std() == pytest.approx(spread, rel=0.2)
    for number in range(0, 96, 8):
        compare(moved, number, *(centres[number] for centres in places(moved)))


def compare(
    moved: dict[str, NDArray[np.generic]],
    number: int,
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
) -> None:
    """One image against its definition, given where its rows and columns come from."""
    zoom = 1 / (rows[1] - rows[0])
    inside, nearest, matrices = [], [], []
    for centres, length in zip((rows, columns), SIDES, strict=True):
        inside.append((centres > -0.5) & (centres < length - 0.5))
        nearest.append(np.clip(np.rint(centres), 0, length - 1).astype(int))
        away = np.abs(centres[:, None] - np.arange(length)) / max(1, 1 / zoom)
        weight = np.maximum(0, 1 - away)
        matrices.append(weight / np.maximum(weight.sum(1, keepdims=True), 1e-6))
    seen, at = np.ix_(*inside), np.ix_(*nearest)
    known = np.zeros(moved["label"].shape[1:], bool)
    known[seen] = True
    # Ramps give places to some digits: what lies just between two pixels may go to either.
    clear = np.ones_like(known)
    for axis, centres in enumerate((rows, columns)):
        between = np.abs(centres - np.floor(centres) - 0.5) < 1e-3
        clear[np.s_[between] if axis == 0 else np.s_[:, between]] = False
    for name in ("instance", "separation"):
        factor = zoom if name == "separation" else 1
        expected = factor * moved[f"given {name}"][at]
        np.testing.assert_allclose(moved[name][number][clear], expected[clear], rtol=1e-3)
    label = np.where(known, moved["given label"][at], IGNORE)
    np.testing.assert_array_equal(moved["label"][number][clear], label[clear])
    for name in ("valid", "side_valid"):
        expected = known & moved[f"given {name}"][at]
        np.testing.assert_array_equal(moved[name][number][clear], expected[clear])
    for name in ("image", "side"):
        expected = np.einsum("yh,hwc,xw->yxc", matrices[0], moved[f"given {name}"], matrices[1])
        # Where a pixel's footprint hardly touches the window its mean is that of next to nothing.
        found = moved[name][number]
        np.testing.assert_allclose(found[known], expected[known], atol=2e-2, rtol=2e-3)


def test_places_of_rows_and_columns_and_zooms_are_independent() -> None:
    moved = warped(ScaleCrop(size=12, low=1.3, high=2.5))
    rows, columns = places(moved)
    zoom = 1 / (rows[:, 1] - rows[:, 0])
    shares = [
        (centres[:, 0] + 0.5 - 0.5 / zoom) / (length - 12 / zoom)
        for centres, length in zip((rows, columns), SIDES, strict=True)
    ]
    assert np.abs(np.corrcoef([zoom, *shares]) - np.eye(3)).max() < 0.3


def test_a_checkerboard_shrinks_to_its_mean() -> None:
    moved = warped(ScaleCrop(size=7, low=0.5, high=0.5))
    np.testing.assert_allclose(moved["image"][:, 1:-1, 1:-1, 3], 0.5, atol=1e-5)


def test_what_gets_a_gain_is_drawn_for_each_image_and_independent_of_the_gain() -> None:
    ones = jnp.ones((2, 64, 64, 1))
    gain = np.asarray(drawn(CenterGain(strength=0.5, share=0.5), ones))[..., 0]
    picked = gain != 1
    assert 0.2 < np.mean(picked[0] & picked[1]) < 0.3  # two coins
    assert gain[picked].std() == pytest.approx(0.5 * 3**-0.5, rel=0.05)  # uniform over all gains
