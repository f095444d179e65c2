"""Augmentation: a function of its key, the same for every field, blank where pixels are invalid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.augmented import example, jitted
from numpy.typing import NDArray

from jaxseg.scenes.scene import IGNORE
from jaxseg.transforms.augmentation import (
    Brightness,
    CenterGain,
    Dihedral,
    Mirror,
    Noise,
    ScaleCrop,
)
from jaxseg.transforms.transform import Augment, augment


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


def test_what_gets_a_gain_is_drawn_for_each_image_and_independent_of_the_gain() -> None:
    ones = jnp.ones((2, 64, 64, 1))
    gain = np.asarray(drawn(CenterGain(strength=0.5, share=0.5), ones))[..., 0]
    picked = gain != 1
    assert 0.2 < np.mean(picked[0] & picked[1]) < 0.3  # two coins
    assert gain[picked].std() == pytest.approx(0.5 * 3**-0.5, rel=0.05)  # uniform over all gains
