"""Zoomed crops: every field is sampled where one warp says, and all places are drawn."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.augmented import example, jitted
from numpy.typing import NDArray

from jaxseg.scenes.scene import IGNORE
from jaxseg.transforms.augmentation import ScaleCrop


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
