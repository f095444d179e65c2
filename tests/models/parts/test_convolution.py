"""The fast convolutions are the textbook ones: same numbers, same gradients, on any mesh."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from fixtures.arrays import assert_same, normal
from jax import Array, lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxseg.models.parts import convolution
from jaxseg.models.parts.platforms import compiled_for
from jaxseg.sharding import MeshShape, make_mesh

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


def textbook(x: Array, kernel: Array, stride: int, dilation: int, padding: int) -> Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((padding, padding),) * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


@pytest.mark.parametrize("features", [4, 6])  # fewer and more than the input's
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_a_convolution_and_its_gradients_are_xlas_own(case: tuple[int, ...], features: int) -> None:
    taps, stride, dilation, padding, rows, columns = case
    x, kernel = normal(0, 2, rows, columns, 5), normal(1, taps, taps, 5, features)
    plain = partial(textbook, stride=stride, dilation=dilation, padding=padding)
    quick = partial(convolution.conv2d, stride=stride, dilation=dilation, padding=padding)

    @jax.jit
    def both(x: Array, kernel: Array) -> list[tuple[Array, tuple[Array, ...]]]:
        answers = []
        for function in (quick, plain):
            y, transpose = jax.vjp(function, x, kernel)
            answers.append((y, transpose(jnp.cos(jnp.arange(y.size)).reshape(y.shape))))
        return answers

    ours, theirs = both(x, kernel)
    assert_same(ours, theirs)


@pytest.mark.parametrize("accelerated", [False, True])
@pytest.mark.parametrize(
    "case", [(3, 1, 1), (3, 1, 2), (3, 1, 12), (3, 2, 1), (7, 2, 1), (1, 2, 1)]
)
def test_a_convolution_over_sharded_samples_and_rows_equals_one_device(
    mesh: Mesh, case: tuple[int, ...], request: pytest.FixtureRequest, *, accelerated: bool
) -> None:
    if accelerated:
        request.getfixturevalue("accelerator")
    taps, stride, dilation = case
    padding = dilation * (taps - 1) // 2
    x, kernel = normal(0, 4, 16, 12, 3), normal(1, taps, taps, 3, 4)

    def loss(convolve: object, x: Array, kernel: Array) -> Array:
        y = convolve(x, kernel, stride=stride, dilation=dilation, padding=padding)
        return (jnp.sin(y) * y).sum()

    expected = jax.jit(jax.grad(partial(loss, textbook), (0, 1)))(x, kernel)
    placed = NamedSharding(mesh, P(("data", "fsdp"), "space"))
    on_mesh = jax.jit(
        jax.grad(partial(loss, convolution.conv2d), (0, 1)),
        in_shardings=(placed, NamedSharding(mesh, P())),
    )
    assert_same(on_mesh(x, kernel), expected)


@pytest.mark.usefixtures("accelerator")
@pytest.mark.parametrize("rate", [9, 12])
def test_a_rate_beyond_the_rows_of_a_device_gathers_no_image(rate: int) -> None:
    mesh = make_mesh(MeshShape(data=2, fsdp=1, space=4))  # 4 rows a device
    x, kernel = normal(0, 4, 16, 12, 6), normal(1, 3, 3, 6, 4)
    placed = NamedSharding(mesh, P(("data", "fsdp"), "space"))

    def loss(convolve: Any, x: Array, kernel: Array) -> Array:
        y = convolve(x, kernel, stride=1, dilation=rate, padding=rate)
        return (jnp.sin(y) * y).sum()

    def compiled(row_shards: int) -> Any:
        ours = jax.grad(partial(loss, convolution.conv2d), (0, 1))
        with compiled_for("cpu", row_shards):
            return jax.jit(ours, in_shardings=(placed, None)).lower(x, kernel).compile()

    aware = compiled(4)
    assert "all-gather" not in aware.as_text()
    assert "all-gather" in compiled(1).as_text()
    expected = jax.grad(partial(loss, textbook), (0, 1))(x, kernel)
    arguments = jax.device_put((x, kernel), aware.input_shardings[0])
    assert_same(aware(*arguments), expected)


def test_bfloat16_convolves_and_sums_its_gradient_in_float32() -> None:
    x, kernel = normal(0, 2, 32, 32, 3), normal(1, 3, 3, 3, 4)
    loss = lambda x, kernel: convolution.conv2d(x, kernel, padding=1).astype(jnp.float32).sum()  # noqa: E731
    half = jax.jit(jax.grad(loss, (0, 1)))(x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16))
    full = jax.jit(jax.grad(loss, (0, 1)))(x, kernel)
    assert all(leaf.dtype == jnp.bfloat16 for leaf in half)
    assert_same([leaf.astype(jnp.float32) for leaf in half], full, tolerance=2e-2)


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """What TPU and GPU run, run here."""

    def default(*operands: Array, default: Any, **of_platforms: Any) -> Any:
        return default(*operands)

    monkeypatch.setattr(lax, "platform_dependent", default)


def answers(function: Any, x: Array, kernel: Array) -> tuple[Array, tuple[Array, ...]]:
    """The output and the gradients of both inputs."""
    y, transpose = jax.vjp(function, x, kernel)
    return y, transpose(jnp.cos(jnp.arange(y.size)).reshape(y.shape))


@pytest.mark.usefixtures("accelerator")
@pytest.mark.parametrize(
    "case",
    [
        *((1, 2, 1, 0, 5, 6), (3, 1, 6, 6, 9, 7), (3, 3, 2, 5, 14, 9)),
        *((7, 2, 1, 3, 17, 12), (3, 2, 1, 1, 8, 9), (4, 2, 1, 1, 7, 6), (3, 3, 1, 0, 9, 11)),
    ],
)
def test_what_accelerators_run_is_xlas_own_too(case: tuple[int, ...]) -> None:
    taps, stride, dilation, padding, rows, columns = case
    x, kernel = normal(0, 2, rows, columns, 5), normal(1, taps, taps, 5, 4)
    fields = {"stride": stride, "dilation": dilation, "padding": padding}
    assert_same(
        answers(partial(convolution.conv2d, **fields), x, kernel),
        answers(partial(textbook, **fields), x, kernel),
    )


@pytest.mark.parametrize(
    ("case", "native"),
    [
        # rows, taps, stride, dilation, padding
        ((32, 3, 1, 1, 1), True),
        ((8, 3, 1, 1, 1), True),  # 84 % of the products are with pixels
        ((6, 3, 1, 1, 1), False),  # 79 %
        ((32, 3, 1, 12, 12), False),
        ((6, 3, 2, 1, 1), True),  # strides are native
        ((6, 5, 1, 1, 2), True),  # larger kernels too
        ((6, 3, 1, 1, 0), True),  # nothing is padded
    ],
)
def test_taps_that_mostly_meet_padding_are_multiplied_one_by_one_on_cpus(
    case: tuple[int, ...], *, native: bool
) -> None:
    rows, taps, stride, dilation, padding = case
    x = jax.ShapeDtypeStruct((1, rows, rows, 2), jnp.float32)
    kernel = jax.ShapeDtypeStruct((taps, taps, 2, 2), jnp.float32)
    fields = {"stride": stride, "dilation": dilation, "padding": padding}
    program = jax.jit(partial(convolution.conv2d, **fields)).trace(x, kernel)
    text = program.lower(lowering_platforms=("cpu",)).as_text()
    assert ("stablehlo.convolution" in text) == native
    text = program.lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("stablehlo.convolution") == 1


def test_a_gradient_of_many_strips_is_that_of_one() -> None:
    """Strips of a few rows each, with and without stride."""
    for stride, channels in ((1, 3), (2, 64)):
        x, kernel = normal(0, 2, 48, 40, channels), normal(1, 3, 3, channels, 4)
        fields = {"stride": stride, "padding": 1, "dilation": 1}
        ours, theirs = (
            jax.jit(partial(answers, partial(function, **fields)))(x, kernel)
            for function in (convolution.conv2d, textbook)
        )
        assert_same(ours, theirs)


@pytest.mark.parametrize("dilation", [1, 12])
def test_a_gradient_for_tpu_keeps_native_convolutions_and_no_loop(dilation: int) -> None:
    x = jax.ShapeDtypeStruct((2, 32, 32, 8), jnp.float32)
    kernel = jax.ShapeDtypeStruct((3, 3, 8, 8), jnp.float32)
    loss = lambda x, k: (convolution.conv2d(x, k, dilation=dilation, padding=dilation) ** 2).sum()  # noqa: E731
    program = jax.jit(jax.grad(loss, (0, 1))).trace(x, kernel).lower(lowering_platforms=("tpu",))
    assert program.as_text().count("stablehlo.convolution") == 3
    assert "stablehlo.while" not in program.as_text()


@pytest.mark.parametrize(
    ("taps", "stride", "padding", "more"),
    [
        (2, 2, 0, 0),
        (3, 2, 1, 1),
        (4, 2, 1, 0),
        (3, 1, 1, 0),
        (3, 2, 0, 0),
        (5, 3, 2, 1),
        (2, 3, 0, 1),
    ],
)
def test_a_transposed_convolution_is_flaxs_with_the_kernel_turned(
    taps: int, stride: int, padding: int, more: int
) -> None:
    x, kernel = normal(0, 2, 5, 4, 6), normal(1, taps, taps, 6, 3)
    low, high = taps - 1 - padding, taps - 1 - padding + more

    def theirs(x: Array, kernel: Array) -> Array:
        return lax.conv_general_dilated(
            x,
            kernel[::-1, ::-1],
            (1, 1),
            ((low, high),) * 2,
            lhs_dilation=(stride, stride),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    ours = partial(
        convolution.conv_transpose2d, stride=stride, padding=padding, output_padding=more
    )
    found, expected = (jax.jit(partial(answers, f))(x, kernel) for f in (ours, theirs))
    assert_same(found, expected)
