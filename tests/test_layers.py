"""The fast formulations are the textbook operations: same numbers, same gradients, on any mesh."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array, lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxseg.models import layers

CONVOLUTIONS = [  # taps, stride, dilation, padding, rows, columns
    (1, 1, 1, 0, 5, 6),
    (1, 2, 1, 0, 5, 6),
    (3, 1, 1, 1, 8, 6),
    (3, 1, 1, 3, 4, 4),
    (3, 1, 2, 2, 9, 7),
    (3, 1, 6, 6, 9, 7),
    (3, 1, 6, 6, 40, 7),
    (3, 2, 1, 1, 9, 8),
    (3, 3, 2, 5, 14, 9),
    (4, 1, 3, 1, 13, 14),
    (5, 1, 1, 2, 7, 6),
    (7, 2, 1, 3, 16, 13),
]


def normal(seed: int, *shape: int) -> Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32))


def textbook(x: Array, kernel: Array, stride: int, dilation: int, padding: int) -> Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((padding, padding),) * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def assert_same(actual: object, expected: object, tolerance: float = 1e-5) -> None:
    for ours, theirs in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        scale = max(1.0, float(jnp.abs(theirs).max()))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_a_convolution_and_its_gradients_are_xlas_own(case: tuple[int, ...]) -> None:
    taps, stride, dilation, padding, rows, columns = case
    x, kernel = normal(0, 2, rows, columns, 5), normal(1, taps, taps, 5, 4)
    plain = partial(textbook, stride=stride, dilation=dilation, padding=padding)
    quick = partial(layers.conv2d, stride=stride, dilation=dilation, padding=padding)

    @jax.jit
    def both(x: Array, kernel: Array) -> list[tuple[Array, tuple[Array, ...]]]:
        answers = []
        for function in (quick, plain):
            y, transpose = jax.vjp(function, x, kernel)
            answers.append((y, transpose(jnp.cos(jnp.arange(y.size)).reshape(y.shape))))
        return answers

    ours, theirs = both(x, kernel)
    assert_same(ours, theirs)


@pytest.mark.parametrize(
    "case", [(3, 1, 1), (3, 1, 2), (3, 1, 12), (3, 2, 1), (7, 2, 1), (1, 2, 1)]
)
def test_a_convolution_over_sharded_samples_and_rows_equals_one_device(
    mesh: Mesh, case: tuple[int, ...]
) -> None:
    taps, stride, dilation = case
    padding = dilation * (taps - 1) // 2
    x, kernel = normal(0, 4, 16, 12, 3), normal(1, taps, taps, 3, 4)

    def loss(convolve: object, x: Array, kernel: Array) -> Array:
        y = convolve(x, kernel, stride=stride, dilation=dilation, padding=padding)
        return (jnp.sin(y) * y).sum()

    expected = jax.jit(jax.grad(partial(loss, textbook), (0, 1)))(x, kernel)
    placed = NamedSharding(mesh, P(("data", "fsdp"), "space"))
    on_mesh = jax.jit(
        jax.grad(partial(loss, layers.conv2d), (0, 1)),
        in_shardings=(placed, NamedSharding(mesh, P())),
    )
    assert_same(on_mesh(x, kernel), expected)


def test_bfloat16_convolves_and_sums_its_gradient_in_float32() -> None:
    x, kernel = normal(0, 2, 32, 32, 3), normal(1, 3, 3, 3, 4)
    loss = lambda x, kernel: layers.conv2d(x, kernel, padding=1).astype(jnp.float32).sum()  # noqa: E731
    half = jax.jit(jax.grad(loss, (0, 1)))(x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16))
    full = jax.jit(jax.grad(loss, (0, 1)))(x, kernel)
    assert all(leaf.dtype == jnp.bfloat16 for leaf in half)
    assert_same([leaf.astype(jnp.float32) for leaf in half], full, tolerance=2e-2)


@pytest.mark.parametrize("dilation", [1, 12])
def test_a_gradient_for_tpu_keeps_native_convolutions_and_no_loop(dilation: int) -> None:
    x = jax.ShapeDtypeStruct((2, 32, 32, 8), jnp.float32)
    kernel = jax.ShapeDtypeStruct((3, 3, 8, 8), jnp.float32)
    loss = lambda x, k: (layers.conv2d(x, k, dilation=dilation, padding=dilation) ** 2).sum()  # noqa: E731
    program = jax.jit(jax.grad(loss, (0, 1))).trace(x, kernel).lower(lowering_platforms=("tpu",))
    assert program.as_text().count("stablehlo.convolution") == 3
    assert "stablehlo.while" not in program.as_text()


def test_a_transposed_convolution_is_flaxs_with_the_kernel_turned() -> None:
    x, kernel = normal(0, 2, 5, 4, 3), normal(1, 2, 2, 3, 6)
    expected = lax.conv_transpose(
        x, kernel[::-1, ::-1], (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    assert_same(layers.upconv2x2(x, kernel), expected)


def test_maxima_are_those_of_sliding_windows() -> None:
    x = normal(0, 2, 8, 6, 3)
    assert_same(layers.max_pool2x2(x), nn.max_pool(x, (2, 2), (2, 2)))
    odd = normal(0, 2, 9, 7, 3)
    padded = jnp.pad(odd, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    expected = nn.max_pool(padded, (3, 3), (2, 2))
    assert_same(layers.max_pool3x3(odd), expected)
    gradient = jax.grad(lambda x: (layers.max_pool3x3(x) ** 2).sum())(odd)
    expected = jax.grad(lambda x: (nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1))) ** 2).sum())(
        odd
    )
    assert_same(gradient, expected)


@pytest.mark.parametrize("size", [(9, 14), (3, 3), (5, 7), (1, 1)])
def test_resizing_is_bilinear_without_antialiasing(size: tuple[int, int]) -> None:
    x = normal(0, 2, 5, 7, 3)
    expected = jax.image.resize(x, (2, *size, 3), "linear", antialias=False)
    assert_same(layers.resize(x, size), expected)


def test_resizing_with_aligned_corners_keeps_the_corners() -> None:
    x = normal(0, 1, 4, 5, 2)
    y = layers.resize(x, (10, 9), align_corners=True)
    assert_same(y[:, ::9, ::8], x[:, ::3, ::4])
    assert_same(layers.resize(x, (7, 9), align_corners=True)[:, ::2, ::2], x)


def test_resizing_keeps_rows_sharded(mesh: Mesh) -> None:
    x = normal(0, 4, 8, 8, 2)
    placed = NamedSharding(mesh, P(("data", "fsdp"), "space"))
    resize = partial(layers.resize, size=(16, 16))
    y = jax.jit(resize, in_shardings=placed, out_shardings=placed)(x)
    assert_same(y, resize(x))


def test_padding_repeats_the_last_row_and_column() -> None:
    x = normal(0, 1, 5, 8, 2)
    y = layers.pad_to_multiple(x, 4)
    assert y.shape == (1, 8, 8, 2)
    assert_same(y[:, 5:], jnp.broadcast_to(x[:, -1:], (1, 3, 8, 2)))


def test_initial_values_are_he_normal() -> None:
    kernel = layers.he_normal(jax.random.key(0, impl="rbg"), (3, 3, 64, 128))
    assert float(kernel.std()) == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.01)
    assert float(kernel.mean()) == pytest.approx(0, abs=1e-3)
