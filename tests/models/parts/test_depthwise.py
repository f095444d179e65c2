"""The fast depthwise convolution is XLA's own: same numbers, same gradients, on any mesh."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.arrays import assert_same, normal
from jax import Array, lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxseg.models.parts.depthwise import depthwise_conv2d

CASES = [  # taps, dilation, rows, columns
    (1, 1, 5, 6),
    (3, 1, 8, 6),
    (3, 1, 37, 41),
    (3, 2, 9, 7),
    (3, 6, 9, 7),
    (3, 6, 40, 5),
    (3, 6, 6, 7),
    (3, 36, 32, 31),
    (5, 4, 9, 30),
    (7, 1, 12, 4),
    (3, 1, 1, 1),
]

STRIDED = [  # taps, stride, dilation, zeros before and behind, rows, columns
    (3, 2, 1, (0, 1), 8, 6),  # as an EfficientNet pads for even sides
    (5, 2, 1, (1, 2), 16, 6),
    (5, 2, 1, (2, 2), 12, 7),  # and for odd ones
    (3, 2, 1, (1, 1), 9, 7),
    (5, 2, 1, (2, 2), 2, 1),
    (3, 3, 2, (2, 0), 11, 13),
    (3, 1, 1, (0, 0), 5, 6),
]

Convolve = Callable[..., Array]


def textbook(
    x: Array,
    kernel: Array,
    *,
    dilation: int,
    stride: int = 1,
    padding: tuple[int, int] | None = None,
) -> Array:
    half = dilation * (kernel.shape[0] - 1) // 2
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        (padding or (half, half),) * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def answer_and_gradients(convolve: Convolve, x: Array, kernel: Array, dilation: int) -> object:
    y, transpose = jax.vjp(partial(convolve, dilation=dilation), x, kernel)
    return y, transpose(jnp.cos(jnp.arange(y.size)).reshape(y.shape).astype(y.dtype))


@pytest.mark.parametrize("case", CASES)
def test_a_depthwise_convolution_and_its_gradients_are_xlas_own(case: tuple[int, ...]) -> None:
    taps, dilation, rows, columns = case
    x, kernel = normal(0, 2, rows, columns, 5), normal(1, taps, taps, 1, 5)
    ours, theirs = (
        jax.jit(partial(answer_and_gradients, convolve, dilation=dilation))(x, kernel)
        for convolve in (depthwise_conv2d, textbook)
    )
    assert_same(ours, theirs)


@pytest.mark.parametrize("case", STRIDED)
def test_strides_and_padding_of_two_sides_are_xlas_own(case: tuple[Any, ...]) -> None:
    taps, stride, dilation, padding, rows, columns = case
    x, kernel = normal(0, 2, rows, columns, 5), normal(1, taps, taps, 1, 5)
    ours, theirs = (
        jax.jit(
            partial(
                answer_and_gradients,
                partial(convolve, stride=stride, padding=padding),
                dilation=dilation,
            )
        )(x, kernel)
        for convolve in (depthwise_conv2d, textbook)
    )
    assert_same(ours, theirs)


def test_a_strided_gradient_of_many_strips_is_that_of_one() -> None:
    # 2 x 12 columns x 512 channels x 4 bytes x 4 pixels an output: a strip is one row of 12.
    x, kernel = normal(0, 2, 24, 24, 512), normal(1, 5, 5, 1, 512)
    how = {"dilation": 1, "stride": 2, "padding": (1, 2)}
    ours, theirs = (
        jax.jit(jax.grad(lambda x, k, f=f: (f(x, k, **how) ** 2).sum(), (0, 1)))(x, kernel)
        for f in (depthwise_conv2d, textbook)
    )
    assert_same(ours, theirs)


@pytest.mark.parametrize("case", [(3, 1, 8, 6), (3, 6, 9, 7), (5, 4, 9, 30)])
def test_what_accelerators_run_is_xlas_own_too(
    case: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def default(*operands: Array, default: Any, **of_platforms: Any) -> Any:
        return default(*operands)

    monkeypatch.setattr(lax, "platform_dependent", default)
    taps, dilation, rows, columns = case
    x, kernel = normal(0, 2, rows, columns, 5), normal(1, taps, taps, 1, 5)
    ours, theirs = (
        answer_and_gradients(convolve, x, kernel, dilation)
        for convolve in (depthwise_conv2d, textbook)
    )
    assert_same(ours, theirs)


def test_a_gradient_of_many_strips_is_that_of_one() -> None:
    # 2 x 48 columns x 512 channels x 4 bytes: a strip is one row, and there are 24.
    x, kernel = normal(0, 2, 24, 48, 512), normal(1, 3, 3, 1, 512)
    ours, theirs = (
        jax.jit(jax.grad(lambda x, k, f=f: (f(x, k, dilation=2) ** 2).sum(), (0, 1)))(x, kernel)
        for f in (depthwise_conv2d, textbook)
    )
    assert_same(ours, theirs)


@pytest.mark.parametrize("dilation", [1, 3, 40])
def test_bfloat16_is_rounded_once(dilation: int) -> None:
    x, kernel = normal(0, 2, 19, 22, 6), normal(1, 3, 3, 1, 6)
    half = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    answers = jax.jit(partial(answer_and_gradients, depthwise_conv2d, dilation=dilation))(*half)
    full = [leaf.astype(jnp.float32) for leaf in half]
    y, transpose = jax.vjp(partial(textbook, dilation=dilation), *full)
    g = jnp.cos(jnp.arange(y.size)).reshape(y.shape).astype(jnp.bfloat16)
    expected = y, transpose(g.astype(jnp.float32))
    assert {leaf.dtype for leaf in jax.tree.leaves(answers)} == {jnp.dtype("bfloat16")}
    for ours, exact in zip(jax.tree.leaves(answers), jax.tree.leaves(expected), strict=True):
        # Half of bfloat16's step of 2^-7, and a little for sums in another order.
        np.testing.assert_allclose(ours.astype(jnp.float32), exact, rtol=2**-8, atol=1e-5)


def test_over_sharded_samples_and_rows_it_equals_one_device(mesh: Mesh) -> None:
    x, kernel = normal(0, 4, 16, 12, 3), normal(1, 3, 3, 1, 3)

    def loss(convolve: Convolve, x: Array, kernel: Array) -> Array:
        y = convolve(x, kernel, dilation=2)
        return (jnp.sin(y) * y).sum()

    expected = jax.jit(jax.grad(partial(loss, textbook), (0, 1)))(x, kernel)
    on_mesh = jax.jit(
        jax.grad(partial(loss, depthwise_conv2d), (0, 1)),
        in_shardings=(NamedSharding(mesh, P(("data", "fsdp"), "space")), NamedSharding(mesh, P())),
    )
    assert_same(on_mesh(x, kernel), expected)


@pytest.mark.parametrize(("platform", "convolutions"), [("tpu", 3), ("cuda", 3), ("cpu", 0)])
def test_accelerators_keep_the_native_operation_and_cpus_never_run_it(
    platform: str, convolutions: int
) -> None:
    x = jax.ShapeDtypeStruct((2, 32, 32, 8), jnp.float32)
    kernel = jax.ShapeDtypeStruct((3, 3, 1, 8), jnp.float32)
    gradient = jax.grad(lambda x, k: (depthwise_conv2d(x, k) ** 2).sum(), (0, 1))
    program = jax.jit(gradient).trace(x, kernel).lower(lowering_platforms=(platform,)).as_text()
    assert program.count("stablehlo.convolution") == convolutions
    assert ("stablehlo.while" in program) == (platform == "cpu")
