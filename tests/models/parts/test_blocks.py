"""Blocks of 2 x 2 pixels: the same numbers as the layers that they replace."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from jaxseg.models.attention_unet import AttentionUNet
from jaxseg.models.parts import blocks, resampling
from jaxseg.models.parts.layers import BatchNorm, Conv, ConvTranspose
from jaxseg.models.parts.platforms import blocks_pay, compiled_for
from jaxseg.models.resnet_unet import ResNetUNet
from jaxseg.models.unet import UNet
from jaxseg.models.unet_plus_plus import UNetPlusPlus


def normal(seed: int, *shape: int) -> Array:
    return jax.random.normal(jax.random.key(seed), shape)


def packed(x: Array) -> Array:
    """(B, H, W, C) -> (B, H/2, W/2, 4C)."""
    found = blocks.by_blocks(x)
    return found.reshape(*found.shape[:3], -1)


class Doubled(nn.Module):
    """A convolution of doubled pixels."""

    conv: Conv

    def __call__(self, x: Array) -> Array:
        """(B, h, w, C) -> (B, 2h, 2w, features)."""
        return self.conv(resampling.repeat2x2(x))


def inside(variables: Any) -> Any:
    return {"params": variables["params"]["conv"]}


def test_a_block_holds_its_pixels_in_reading_order() -> None:
    image = jnp.arange(24.0).reshape(1, 4, 6, 1)
    np.testing.assert_array_equal(packed(image)[0, 0, 0], [0, 1, 6, 7])
    np.testing.assert_array_equal(packed(image)[0, 1, 2], [16, 17, 22, 23])
    np.testing.assert_array_equal(blocks.from_blocks(packed(image)), image)
    label = jnp.arange(24).reshape(1, 4, 6)
    np.testing.assert_array_equal(
        blocks.as_rows(blocks.by_blocks(label))[0, 1],
        [12, 13, 18, 19, 14, 15, 20, 21, 16, 17, 22, 23],
    )


def test_the_maximum_of_blocks_is_pooling_with_the_same_winner() -> None:
    x = jnp.maximum(0.0, jnp.round(normal(0, 2, 6, 8, 3)))  # half of the pixels are equal
    weight = normal(1, 2, 3, 4, 3)
    value, back = jax.vjp(resampling.max_pool2x2, x)
    found, back_of_blocks = jax.vjp(lambda x: blocks.max_of_blocks(packed(x)), x)
    np.testing.assert_array_equal(found, value)
    np.testing.assert_array_equal(back_of_blocks(weight)[0], back(weight)[0])


@pytest.mark.parametrize(
    ("layer", "in_blocks", "x"),
    [
        (Conv(5), lambda m, v, x: m.apply(v, packed(x)), (2, 6, 8, 3)),
        (Conv(5), lambda m, v, x: m.apply(v, image=x), (2, 6, 8, 3)),
        (Conv(5), lambda m, v, x: m.apply(v, packed(x[..., :2]), packed(x[..., 2:])), (2, 6, 8, 5)),
        (Conv(5, 1, use_bias=True), lambda m, v, x: m.apply(v, packed(x)), (2, 6, 8, 3)),
        (Doubled(Conv(5)), lambda m, v, x: m.apply(inside(v), doubled=x), (2, 3, 4, 3)),
        (Doubled(Conv(5, 1)), lambda m, v, x: m.apply(inside(v), doubled=x), (2, 3, 4, 3)),
        (ConvTranspose(5), lambda m, v, x: m.apply(v, x), (2, 3, 4, 6)),
    ],
    ids=["3x3", "from an image", "of two parts", "1x1", "doubled", "doubled 1x1", "transposed"],
)
def test_a_layer_of_blocks_has_the_parameters_and_numbers_of_the_layer(
    layer: Any, in_blocks: Callable[..., Array], x: tuple[int, ...]
) -> None:
    data = normal(0, *x)
    variables = layer.init(jax.random.key(1), data)
    variables = jax.tree.map(lambda leaf: normal(2, *leaf.shape), variables)
    conv = layer.conv if isinstance(layer, Doubled) else layer
    if isinstance(conv, Conv):
        other: nn.Module = blocks.ConvToBlocks(5, conv.kernel_size, conv.use_bias)
    else:
        other = blocks.UpToBlocks(5)

    def plain(variables: Any) -> Array:
        return packed(layer.apply(variables, data))

    def of_blocks(variables: Any) -> Array:
        return in_blocks(other, variables, data)

    weight = normal(3, *jax.eval_shape(plain, variables).shape)

    def with_gradient(form: Callable[[Any], Array]) -> Any:
        def total(variables: Any) -> tuple[Array, Array]:
            value = form(variables)
            return (weight * value).sum(), value

        return jax.jit(jax.grad(total, has_aux=True))(variables)

    for one, two in zip(*map(jax.tree.leaves, map(with_gradient, (of_blocks, plain))), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("fast", [True, False])
def test_statistics_of_blocks_are_those_of_their_pixels(fast: bool) -> None:
    x = 3 + 2 * normal(0, 2, 4, 6, 3)
    for rows in (x, x[:1, :2, :2]):  # one block alone has a variance, too
        plain = BatchNorm(use_running_average=False, use_fast_variance=fast)
        norm = BatchNorm(use_running_average=False, use_fast_variance=fast, pixels=4)
        variables = jax.tree.map(
            lambda leaf: 1 + jnp.abs(leaf + normal(1, 3)), plain.init(jax.random.key(0), rows)
        )
        value, updates = plain.apply(variables, rows, mutable=["batch_stats"])
        found, updated = norm.apply(variables, packed(rows), mutable=["batch_stats"])
        np.testing.assert_allclose(found, packed(value), atol=1e-4)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), updated, updates)


@pytest.mark.parametrize(
    "model",
    [
        UNet(num_classes=3, features=2),
        AttentionUNet(num_classes=3, features=2),
        pytest.param(AttentionUNet(num_classes=3, features=2, gates=False), marks=pytest.mark.slow),
        pytest.param(
            ResNetUNet(num_classes=3, backbone="resnet18", features=(8, 4, 4, 3, 2)),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            UNetPlusPlus(num_classes=3, backbone="resnet18", features=(8, 4, 4, 3, 2), remat=True),
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_network_in_blocks_is_the_same_function(model: Any) -> None:
    """Logits and statistics, for sides that are padded; gradients: see the test of the step."""
    image = normal(0, 2, 20, 37, 2)
    variables = jax.jit(lambda key: model.init(key, image, train=False))(jax.random.key(1))

    def answer(platform: str) -> Any:
        with compiled_for(platform):
            return jax.jit(lambda v: model.apply(v, image, train=True, mutable=["batch_stats"]))(
                variables
            )

    for one, two in zip(*map(jax.tree.leaves, map(answer, ("cpu", "tpu"))), strict=True):
        # Another order of sums moves logits as much as an image that is 1e-6 brighter.
        np.testing.assert_allclose(one, two, atol=3e-5 * max(1, np.abs(two).max()))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (ResNetUNet(num_classes=3), True),
        (ResNetUNet(num_classes=3, attention="scse"), False),
        (UNetPlusPlus(num_classes=3), True),
        (UNetPlusPlus(num_classes=3, deep_supervision=True), False),
        (AttentionUNet(num_classes=3), False),
        (AttentionUNet(num_classes=3, features=32), True),
    ],
)
def test_which_networks_leave_their_logits_in_blocks(model: Any, expected: bool) -> None:
    with compiled_for("tpu"):
        assert blocks.answers_in_blocks(model, jnp.zeros((1, 32, 64, 3))) is expected
        assert not blocks.answers_in_blocks(model, jnp.zeros((1, 32, 40, 3)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("margin", "model"),
    [
        (1, UNet(num_classes=3, features=2)),
        (4, UNet(num_classes=3, features=2, skips=False)),
        (7, UNet(num_classes=3, features=2)),
        (5, AttentionUNet(num_classes=3, features=2)),
    ],
    ids=["1", "4", "7", "attention"],
)
def test_blocks_leave_out_the_same_pixels(margin: int, model: Any) -> None:
    image = normal(0, 1, 20, 37, 2)
    variables = model.init(jax.random.key(1), image, train=False)

    def inner(platform: str) -> Array:
        with compiled_for(platform):
            found: Any = jax.jit(lambda v: model.apply(v, image, margin, method="inner"))(variables)
        return found

    assert inner("tpu").shape == (1, 20 - 2 * margin, 37 - 2 * margin, 3)
    np.testing.assert_allclose(inner("tpu"), inner("cpu"), atol=1e-4)


def test_blocks_are_for_tpus_narrow_levels_and_those_who_say_what_they_compile_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not blocks_pay(32)
    for platform, features, expected in (
        ("tpu", 32, True),
        ("tpu", 33, False),
        ("gpu", 32, False),
        ("cpu", 32, False),
    ):
        with compiled_for(platform):
            assert blocks_pay(features) is expected
    monkeypatch.setenv("JAXSEG_PROGRAMS", "tpu")
    assert not blocks_pay(32)  # a network called by hand is as it is written
    with compiled_for("cpu"):
        assert blocks_pay(32)
    monkeypatch.setenv("JAXSEG_PROGRAMS", "cpu")
    with compiled_for("tpu"):
        assert not blocks_pay(32)


def test_which_networks_answer_in_blocks() -> None:
    class Other(UNet):
        @nn.compact
        def __call__(self, image: Array, **kwargs: Any) -> Array:
            return image

    with compiled_for("tpu"):
        for model, side, expected in (
            (UNet(3, 32), 32, True),
            (UNet(3, 32), 40, False),  # would be padded
            (UNet(3, 64), 32, False),
            (Other(3, 32), 32, False),
            (BatchNorm(True), 32, False),
        ):
            assert blocks.answers_in_blocks(model, jnp.zeros((1, 32, side, 3))) is expected
