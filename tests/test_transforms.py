"""Radiometry and augmentation: one warp for every field, nothing outside of valid pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import transforms
from jaxseg.batch import IGNORE
from jaxseg.errors import UserError
from jaxseg.transforms import Augment, Brightness, Dihedral, Noise, ScaleCrop, Standardize


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
    result = transforms.preprocess(image, valid, (Standardize((5.0, 3.0), (2.0, 4.0)),))
    np.testing.assert_allclose(result[0, 0, 0], 0)
    np.testing.assert_allclose(result[0, 1, 1], [1.0, 1.0])


def test_raw_integers_become_float32() -> None:
    image = jnp.full((1, 2, 2, 1), 40000, jnp.uint16)
    result = transforms.preprocess(image, jnp.ones((1, 2, 2), bool), (Standardize((0.0,), (2.0,)),))
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, 20000)


def test_statistics_for_another_number_of_bands_are_refused() -> None:
    with pytest.raises(UserError, match="2 means and 2 standard deviations for images of 3 band"):
        Standardize((0.0, 0.0), (1.0, 1.0))(jnp.zeros((1, 2, 2, 3)))


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


def test_what_lies_outside_of_the_window_is_invalid() -> None:
    moved = ScaleCrop(low=0.5, high=0.5)(jax.random.key(1), example())
    label, valid = np.asarray(moved["label"]), np.asarray(moved["valid"])
    assert 0.2 < (label != IGNORE).mean() < 0.3  # a quarter of the area shows the window
    assert not valid[label == IGNORE].any()


@pytest.mark.parametrize(
    "step", [Dihedral(), ScaleCrop(low=0.5, high=2.0), Brightness(), Noise()], ids=repr
)
def test_augmentation_is_a_function_of_its_key_and_keeps_invalid_pixels_blank(
    step: Augment,
) -> None:
    batch = example()
    first, again, other = (
        transforms.augment(jax.random.key(seed), batch, (step,)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first["image"], again["image"])
    assert not np.array_equal(first["image"], other["image"])
    assert np.all(np.asarray(first["image"])[~np.asarray(first["valid"])] == 0)


def test_brightness_changes_an_image_as_a_whole() -> None:
    batch = example()
    changed = Brightness(gain=0.0, offset=1.0)(jax.random.key(0), batch)["image"] - batch["image"]
    spread = np.asarray(changed).reshape(6, -1).std(axis=1)
    assert np.all(spread < 1e-6)
    assert np.asarray(changed).reshape(6, -1).mean(axis=1).std() > 0.3
