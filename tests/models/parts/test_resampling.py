"""The fast resampling is the textbook's: same numbers, same gradients, rows stay sharded."""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.arrays import assert_same, normal
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxseg.errors import UserError
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


@pytest.mark.parametrize("size", [(9, 14), (3, 3), (17, 7)])
def test_the_products_of_gpus_are_those_of_other_devices(size: tuple[int, int]) -> None:
    x = normal(0, 2, 5, 7, 3)
    matrices = [
        jnp.asarray(resampling.bilinear(source, target, align_corners=True), x.dtype)
        for source, target in zip((5, 7), size, strict=True)
    ]

    def both(resize: Callable[..., jax.Array]) -> tuple[jax.Array, jax.Array]:
        weights = normal(1, 2, *size, 3)
        made, back = jax.vjp(lambda x: resize(x, *matrices), x)
        return made, back(weights)[0]

    for other, own in zip(
        both(resampling._resized), both(resampling._resized_in_batches), strict=True
    ):
        assert_same(own, other)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(4, 8), (8, 4), (4, 2), (2, 4)])
def test_one_side_may_keep_its_size_while_the_other_changes(
    size: tuple[int, int], *, align_corners: bool
) -> None:
    x = normal(0, 1, 4, 4, 2)
    resize = partial(resampling.resize, align_corners=align_corners)
    y = resize(x, size)
    assert y.shape == (1, *size, 2)
    if size[0] == 4:
        assert_same(y[:, 2:3], resize(x[:, 2:3], (1, size[1])))
    else:
        assert_same(y[:, :, 2:3], resize(x[:, :, 2:3], (size[0], 1)))


def test_an_image_of_the_size_asked_for_stays_as_it_is() -> None:
    x = normal(0, 1, 4, 5, 2)
    assert resampling.resize(x, (4, 5)) is x
    even = x[:, :, :4]
    assert resampling.pad_to_multiple(even, 4) is even


def test_resizing_keeps_the_type_and_one_pixel_is_the_first_corner_or_the_middle() -> None:
    x = jnp.arange(9.0).reshape(1, 3, 3, 1)
    assert resampling.resize(x.astype(jnp.bfloat16), (6, 6)).dtype == jnp.bfloat16
    assert float(resampling.resize(x, (1, 1))[0, 0, 0, 0]) == 4
    assert float(resampling.resize(x, (1, 1), align_corners=True)[0, 0, 0, 0]) == 0
    alone = resampling.resize(x[:, 2:, 2:], (3, 2), align_corners=True)
    assert_same(alone, 8 * jnp.ones((1, 3, 2, 1)))


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


def test_means_of_rounded_features_are_summed_in_full_precision() -> None:
    x = (1000 + normal(0, 2, 64, 64, 3)).astype(jnp.bfloat16)
    expected = np.asarray(x, np.float64)
    for bins in (1, 3):
        y = resampling.mean_pool(x, bins)
        assert y.dtype == jnp.float32
        side = -(-64 // bins)
        np.testing.assert_allclose(y[:, 0, 0], expected[:, :side, :side].mean((1, 2)), rtol=1e-6)


def test_of_equal_pixels_the_first_gets_the_gradient() -> None:
    x = jnp.ones((1, 4, 6, 2))
    first = np.zeros((1, 4, 6, 2))
    first[:, ::2, ::2] = 1
    np.testing.assert_array_equal(jax.grad(lambda x: resampling.max_pool2x2(x).sum())(x), first)
    for axes, place in (((1, 2), np.s_[:, 0, 0]), ((3,), np.s_[..., 0])):
        alone = np.zeros((1, 4, 6, 2))
        alone[place] = 1
        found = jax.grad(lambda x, axes=axes: resampling.largest(x, axes).sum())(x)
        np.testing.assert_array_equal(found, alone)
    three = jax.grad(lambda x: resampling.max_pool3x3(x).sum())(x)
    expected = np.zeros((1, 4, 6, 2))
    for row in (0, 1):
        for column in (0, 1, 3):
            expected[:, row, column] = 1
    np.testing.assert_array_equal(three, expected)


@pytest.mark.parametrize("pool", [resampling.max_pool2x2, resampling.max_pool3x3])
def test_programs_of_all_platforms_give_ties_to_the_same_pixel(
    pool: Callable[[jax.Array], jax.Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the pixels are 0, as after a ReLU, and the others are rounded."""
    x = jnp.maximum(0.0, jnp.round(normal(0, 2, 14, 18, 3) * 2))
    weight = normal(1, 2, 7, 9, 3)
    found = {}
    for forced in ("cpu", "tpu"):
        monkeypatch.setenv("JAXSEG_PROGRAMS", forced)
        value, back = jax.vjp(jax.jit(lambda x: pool(x)), x)
        found[forced] = (value, back(weight)[0])
    monkeypatch.delenv("JAXSEG_PROGRAMS")
    value, back = jax.vjp(pool, x)
    for one, other in zip(found["cpu"], found["tpu"], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    np.testing.assert_allclose(back(weight)[0], found["cpu"][1], atol=1e-6)
    monkeypatch.setenv("JAXSEG_PROGRAMS", "cuda")
    with pytest.raises(UserError, match="JAXSEG_PROGRAMS=cuda: give cpu, gpu or tpu"):
        pool(x)


@pytest.mark.parametrize("winner", range(4))
def test_the_gradient_of_a_maximum_goes_to_its_pixel(winner: int) -> None:
    x = jnp.zeros((1, 2, 2, 1)).at[0, winner // 2, winner % 2, 0].set(1.0)
    gradient = jax.grad(lambda x: (3 * resampling.max_pool2x2(x)).sum())(x)
    np.testing.assert_array_equal(gradient, 3 * x)


def test_what_lies_beyond_the_border_is_never_the_maximum() -> None:
    x = -jnp.ones((1, 3, 4, 1))
    np.testing.assert_array_equal(resampling.max_pool3x3(x), -np.ones((1, 2, 2, 1)))


def test_padding_repeats_what_is_last_on_both_sides_or_one() -> None:
    x = normal(0, 1, 5, 6, 2)
    y = resampling.pad_to_multiple(x, 4)
    np.testing.assert_array_equal(y, np.pad(x, ((0, 0), (0, 3), (0, 2), (0, 0)), mode="edge"))
    assert resampling.pad_to_multiple(x[:, :4], 4).shape == (1, 4, 8, 2)
    assert resampling.pad_to_multiple(x[:, :, :4], 4).shape == (1, 8, 4, 2)


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
