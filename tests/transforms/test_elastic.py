"""Elastic deformation: one smooth warp for all fields, lengths that follow it."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from jaxseg import sharding
from jaxseg.errors import UserError
from jaxseg.losses.border_weights import separation
from jaxseg.scenes.scene import IGNORE
from jaxseg.sharding import MeshShape
from jaxseg.transforms.elastic import Elastic, bicubic
from jaxseg.transforms.transform import augment

SIDES = (40, 56)
Fields = dict[str, NDArray[np.generic]]


def given() -> Fields:
    """Ramps of rows and columns, which state where a pixel comes from, and a number per pixel."""
    rows, columns = np.indices(SIDES)
    number = rows * SIDES[1] + columns
    return {
        "image": np.stack([rows, columns], -1).astype(np.float32),
        "side": np.stack([columns], -1).astype(np.float32),
        "label": (number % 200).astype(np.uint8),
        "valid": (rows + columns) % 7 > 0,
        "side_valid": (rows - columns) % 5 > 0,
        "separation": number.astype(np.float32),
        "border_distance": number.astype(np.float32),
        "instance": number.astype(np.int32),
    }


@functools.cache
def bent(std: float, count: int = 16, nodes: int = 3, seed: int = 0) -> Fields:
    many = {name: jnp.broadcast_to(a, (count, *a.shape)) for name, a in given().items()}
    step = Elastic(std, nodes)
    moved = jax.jit(lambda key: step(key, many))(jax.random.key(seed))
    return {name: np.asarray(array) for name, array in moved.items()}


def test_the_interpolation_is_cubic_convolution_with_repeated_edges() -> None:
    weight, slope = bicubic(3, 5)
    # Halfway between two nodes the four nearest count -1/16, 9/16, 9/16 and -1/16.
    expected = np.array([[16, 0, 0], [8, 9, -1], [0, 16, 0], [-1, 9, 8], [0, 0, 16]]) / 16
    np.testing.assert_allclose(weight, expected, atol=1e-7)
    np.testing.assert_allclose(slope.sum(1), 0, atol=1e-6)


def test_away_from_the_edge_the_interpolation_reproduces_parabolas() -> None:
    weight, slope = bicubic(7, 61)
    nodes, pixels = np.arange(7) * 10.0, np.arange(61.0)[10:51]
    np.testing.assert_allclose((weight @ nodes**2)[10:51], pixels**2, rtol=1e-4)
    np.testing.assert_allclose((slope @ nodes**2)[10:51], 2 * pixels, rtol=1e-4)


def test_slopes_are_derivatives_of_the_weights() -> None:
    weight, slope = bicubic(4, 3001)
    np.testing.assert_allclose(np.gradient(weight, axis=0), slope, atol=1e-5)


def test_displacements_at_the_nodes_have_the_standard_deviation() -> None:
    moved = bent(2.0, 400)
    rows, columns = SIDES[0] // 2, SIDES[1] // 2
    # The middle node lies between two pixels of an even side: of the middle pixel it is most.
    for axis, place in enumerate((rows, columns)):
        shift = moved["image"][:, rows, columns, axis] - place
        assert shift.mean() == pytest.approx(0, abs=0.3)
        assert shift.std() == pytest.approx(2.0, rel=0.1)


def test_every_field_is_sampled_where_the_ramps_say() -> None:
    moved, start = bent(3.0), given()
    y, x = moved["image"][..., 0], moved["image"][..., 1]
    np.testing.assert_allclose(moved["side"][..., 0], x, atol=1e-4)
    # Where ramps end nothing is known, and between two pixels either may be the nearest.
    inner = (y > 0.1) & (y < SIDES[0] - 1.1) & (x > 0.1) & (x < SIDES[1] - 1.1)
    clear = inner & (np.abs(y % 1 - 0.5) > 1e-3) & (np.abs(x % 1 - 0.5) > 1e-3)
    place = np.rint(y).astype(int), np.rint(x).astype(int)
    for name in ("label", "valid", "side_valid", "instance"):
        np.testing.assert_array_equal(moved[name][clear], start[name][place][clear], name)
    assert clear.mean() > 0.7


def test_lengths_grow_with_the_local_zoom() -> None:
    moved, start = bent(3.0), given()
    y, x = moved["image"][..., 0].astype(float), moved["image"][..., 1].astype(float)
    (yy, yx), (xy, xx) = (np.gradient(a, axis=(1, 2)) for a in (y, x))
    zoom = np.maximum(np.abs(yy * xx - yx * xy), 1e-4) ** -0.5
    inner = np.zeros(zoom.shape, bool)
    inner[:, 8:-8, 8:-8] = True
    inner &= (y > 1) & (y < SIDES[0] - 2) & (x > 1) & (x < SIDES[1] - 2)
    sampled = moved["instance"]
    for name in ("separation", "border_distance"):
        found = moved[name][inner] / sampled[inner]
        np.testing.assert_allclose(found, zoom[inner], rtol=0.02)
    assert zoom[inner].std() > 0.05
    assert start["separation"].max() == sampled.max()


def test_pixels_from_outside_are_invalid_and_without_label() -> None:
    moved = bent(10.0)
    outside = moved["label"] == IGNORE
    assert 0.1 < outside.mean() < 0.5
    assert not moved["valid"][outside].any()
    assert not moved["side_valid"][outside].any()


def test_no_displacement_changes_nothing() -> None:
    for name, array in bent(0.0).items():
        np.testing.assert_array_equal(array, np.broadcast_to(given()[name], array.shape), name)


def test_the_warp_is_a_function_of_its_key_and_differs_from_image_to_image() -> None:
    batch = {name: jnp.stack([jnp.asarray(a)] * 2) for name, a in given().items()}
    apply = jax.jit(lambda key: augment(key, batch, (Elastic(3.0),)))
    first, again, other = (apply(jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first["image"], again["image"])
    assert not np.array_equal(first["image"], other["image"])
    assert not np.array_equal(first["image"][0], first["image"][1])
    assert np.all(np.asarray(first["image"])[~np.asarray(first["valid"])] == 0)


def test_rows_on_several_devices_bend_as_on_one() -> None:
    mesh = sharding.make_mesh(MeshShape(data=4, space=2))
    many = {name: jnp.broadcast_to(a, (8, *a.shape)) for name, a in given().items()}
    placed = jax.device_put(many, sharding.batch_sharding(mesh))
    bend = jax.jit(lambda key, batch: Elastic(3.0)(key, batch))
    for name, array in bend(jax.random.key(0), placed).items():
        expected = bend(jax.random.key(0), many)[name]
        np.testing.assert_allclose(array, expected, rtol=1e-4, atol=1e-3, err_msg=name)


def test_border_terms_are_close_to_those_of_the_bent_objects() -> None:
    rows, columns = np.indices((64, 64))
    instance = np.zeros((64, 64), np.int32)
    for number, (y, x) in enumerate(np.ndindex(4, 4), start=1):
        instance[np.hypot(rows - 16 * y - 8, columns - 16 * x - 8) < 7] = number
    label = (instance > 0).astype(np.uint8)
    fields = {
        "image": label[..., None].astype(np.float32),
        "label": label,
        "valid": label < 2,
        "instance": instance,
        "separation": separation(instance, 48.0),
    }
    batch = {name: jnp.stack([jnp.asarray(a)] * 8) for name, a in fields.items()}
    moved = jax.jit(lambda key: Elastic(5.0)(key, batch))(jax.random.key(0))

    def term(gap: Any) -> NDArray[np.float64]:
        return 10 * np.exp(-(np.asarray(gap, np.float64) ** 2) / 50)

    exact = np.stack([term(separation(np.asarray(ids), 48.0)) for ids in moved["instance"]])
    inner = ndimage.binary_erosion(np.ones((64, 64)), iterations=10).astype(bool)
    seen = (exact > 1) & np.asarray(moved["valid"]) & inner
    error = np.abs(term(moved["separation"]) - exact)[seen].mean() / exact[seen].mean()
    assert error < 0.2


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"std": -1.0}, "std is -1"), ({"nodes": 1}, "nodes is 1"), ({"nodes": 65}, "nodes is 65")],
)
def test_numbers_outside_their_ranges_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=rf"^Elastic\.{message}"):
        Elastic(**fields)
