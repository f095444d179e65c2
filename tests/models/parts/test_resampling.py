"""The fast resampling is the textbook's: same numbers, same gradients, rows stay sharded."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.arrays import assert_same, normal
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxseg.models.parts import resampling


def test_maxima_are_those_of_sliding_windows() -> None:
    x = normal(0, 2, 8, 6, 3)
    assert_same(resampling.max_pool2x2(x), nn.max_pool(x, (2, 2), (2, 2)))
    odd = normal(0, 2, 9, 7, 3)
    padded = jnp.pad(odd, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    expected = nn.max_pool(padded, (3, 3), (2, 2))
    assert_same(resampling.max_pool3x3(odd), expected)
    gradient = jax.grad(lambda x: (resampling.max_pool3x3(x) ** 2).sum())(odd)
    expected = jax.grad(lambda x: (nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1))) ** 2).sum())(
        odd
    )
    assert_same(gradient, expected)


@pytest.mark.parametrize("size", [(9, 14), (3, 3), (5, 7), (1, 1)])
def test_resizing_is_bilinear_without_antialiasing(size: tuple[int, int]) -> None:
    x = normal(0, 2, 5, 7, 3)
    expected = jax.image.resize(x, (2, *size, 3), "linear", antialias=False)
    assert_same(resampling.resize(x, size), expected)


def test_resizing_with_aligned_corners_keeps_the_corners() -> None:
    x = normal(0, 1, 4, 5, 2)
    y = resampling.resize(x, (10, 9), align_corners=True)
    assert_same(y[:, ::9, ::8], x[:, ::3, ::4])
    assert_same(resampling.resize(x, (7, 9), align_corners=True)[:, ::2, ::2], x)


def test_resizing_keeps_rows_sharded(mesh: Mesh) -> None:
    x = normal(0, 4, 8, 8, 2)
    placed = NamedSharding(mesh, P(("data", "fsdp"), "space"))
    resize = partial(resampling.resize, size=(16, 16))
    y = jax.jit(resize, in_shardings=placed, out_shardings=placed)(x)
    assert_same(y, resize(x))


def test_padding_repeats_the_last_row_and_column() -> None:
    x = normal(0, 1, 5, 8, 2)
    y = resampling.pad_to_multiple(x, 4)
    assert y.shape == (1, 8, 8, 2)
    assert_same(y[:, 5:], jnp.broadcast_to(x[:, -1:], (1, 3, 8, 2)))


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
def test_pooled_means_cover_the_areas_of_pytorchs_adaptive_pooling(bins: int) -> None:
    x = normal(0, 2, 8, 7, 3)
    y = resampling.mean_pool(x, bins)
    for i in range(bins):
        for j in range(bins):
            rows = slice(i * 8 // bins, -(-(i + 1) * 8 // bins))
            columns = slice(j * 7 // bins, -(-(j + 1) * 7 // bins))
            assert_same(y[:, i, j], x[:, rows, columns].mean((1, 2)))


def test_repeating_gives_each_pixel_four_times() -> None:
    x = normal(0, 1, 3, 2, 4)
    assert_same(resampling.repeat2x2(x), jnp.repeat(jnp.repeat(x, 2, 1), 2, 2))


@pytest.mark.parametrize("axes", [(1, 2), (3,)])
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (7, 6)])
def test_the_largest_and_its_gradient_are_those_of_the_maximum(
    size: tuple[int, int], axes: tuple[int, ...]
) -> None:
    x = normal(0, 2, *size, 3)
    expected = np.asarray(x).max(axes, keepdims=True)
    np.testing.assert_array_equal(resampling.largest(x, axes), expected)
    gradient = jax.grad(lambda x: resampling.largest(x, axes).sum())(x)
    np.testing.assert_array_equal(gradient, np.asarray(x) == expected)
