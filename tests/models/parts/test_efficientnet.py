"""An EfficientNet has the reference's sizes and zeros, and leaves out whole blocks of an image."""

from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.networks import applied, drawn, initialised, shapes

from jaxseg.errors import UserError
from jaxseg.models import DeepLabV3Plus
from jaxseg.models.parts.efficientnet import (
    EfficientNet,
    EfficientNetSize,
    InvertedBlock,
    Step,
    padding_for,
)
from jaxseg.models.parts.layers import BatchNorm, Conv, DepthwiseConv

REFERENCE: dict[str, tuple[tuple[int, ...], tuple[int, ...], int]] = {
    # smp's out_indexes and out_channels without the image's, and its parameters without the last
    # convolution and normalisation.
    "efficientnet-b0": ((2, 4, 8, 15), (32, 24, 40, 112, 320), 3_595_388),
    "efficientnet-b1": ((4, 7, 15, 22), (32, 24, 40, 112, 320), 6_101_024),
    "efficientnet-b2": ((4, 7, 15, 22), (32, 24, 48, 120, 352), 7_202_562),
    "efficientnet-b3": ((4, 7, 17, 25), (40, 32, 48, 136, 384), 10_103_336),
    "efficientnet-b4": ((5, 9, 21, 31), (48, 32, 56, 160, 448), 16_742_216),
    "efficientnet-b5": ((7, 12, 26, 38), (48, 40, 64, 176, 512), 27_288_112),
    "efficientnet-b6": ((8, 14, 30, 44), (56, 40, 72, 200, 576), 39_403_992),
    "efficientnet-b7": ((10, 17, 37, 54), (64, 48, 80, 224, 640), 62_143_440),
}

SAME = (0, 1), (1, 2)  # zeros of 3 and of 5 taps for an even side
ODD = (1, 1), (2, 2)


def block(features: int, **fields: Any) -> InvertedBlock:
    step = Step(features, 3, 1, 1, 2, None, is_output=False)
    norm = lambda **more: BatchNorm(use_running_average=True, **more)  # noqa: E731
    return InvertedBlock(step, Conv, DepthwiseConv, norm, **fields)


def test_all_sizes_of_the_paper_are_there() -> None:
    assert set(REFERENCE) == set(get_args(EfficientNetSize))


@pytest.mark.parametrize("size", sorted(REFERENCE))
def test_outputs_are_those_of_the_references_blocks(size: Any) -> None:
    plan = EfficientNet(size).plan()
    indices, channels, _ = REFERENCE[size]
    assert tuple(i for i, step in enumerate(plan) if step.is_output) == indices
    assert tuple(plan[i].features for i in indices) == channels[1:]
    assert len(plan) == indices[-1] + 1


@pytest.mark.slow  # tracing takes seconds; tests/models/test_efficientnets.py loads one quickly
@pytest.mark.parametrize("size", sorted(REFERENCE))
def test_parameters_and_channels_are_the_references(size: Any) -> None:
    model, (_, channels, count) = EfficientNet(size), REFERENCE[size]
    variables = shapes(model, bands=3)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == count
    image = jax.ShapeDtypeStruct((2, 64, 96, 3), jnp.float32)
    outputs = jax.eval_shape(lambda v, x: model.apply(v, x, train=False), variables, image)
    assert [x.shape for x in outputs] == [
        (2, 64 // stride, 96 // stride, c)
        for stride, c in zip((2, 4, 8, 16, 32), channels, strict=True)
    ]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("efficientnet-b0", (SAME[0], SAME[1], SAME[0], SAME[1])),
        ("efficientnet-b1", (SAME[0], SAME[1], SAME[0], ODD[1])),  # 240: 120, 60, 30, 15
        ("efficientnet-b2", (SAME[0], ODD[1], ODD[0], ODD[1])),  # 260: 130, 65, 33, 17
        ("efficientnet-b4", (SAME[0], ODD[1], SAME[0], SAME[1])),  # 380: 190, 95, 48, 24
    ],
)
def test_zeros_are_those_of_the_published_images(
    size: Any, expected: tuple[tuple[int, int], ...]
) -> None:
    strided = [step for step in EfficientNet(size).plan() if step.stride == 2]
    assert tuple(step.padding for step in strided) == expected
    assert [step.taps for step in strided] == [3, 5, 3, 5]


@pytest.mark.parametrize("side", [1, 2, 7, 8, 95, 224])
@pytest.mark.parametrize("taps", [3, 5])
def test_zeros_are_those_of_same_for_their_own_size(side: int, taps: int) -> None:
    image, kernel = jnp.zeros((1, side, side, 1)), jnp.zeros((taps, taps, 1, 1))
    ((low, high), _) = jax.lax.padtype_to_pads(image.shape[1:3], kernel.shape[:2], (2, 2), "SAME")
    assert padding_for(side, taps) == (low, high)


@pytest.mark.parametrize(
    ("first_rate", "stride", "rates"),
    [
        # B0's blocks 9 and 10 follow the output of stride 16, and 11 has the stride.
        ("own", 16, "1 1 1 1 1 1 1 1 1 2 2 2 2 2 2 2"),
        ("before", 16, "1 1 1 1 1 1 1 1 1 1 1 1 2 2 2 2"),
        ("one", 16, "1 1 1 1 1 1 1 1 1 1 1 1 2 2 2 2"),
        ("own", 8, "1 1 1 1 1 2 2 2 2 4 4 4 4 4 4 4"),
        ("before", 8, "1 1 1 1 1 1 2 2 2 2 2 2 4 4 4 4"),
        ("one", 8, "1 1 1 1 1 1 2 2 2 2 2 1 4 4 4 4"),
        ("own", 32, "1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"),
    ],
)
def test_strides_beyond_the_output_stride_become_rates(
    first_rate: Any, stride: Any, rates: str
) -> None:
    plan = EfficientNet("efficientnet-b0", stride, first_rate).plan()
    assert " ".join(str(step.rate) for step in plan) == rates
    assert np.prod([step.stride for step in plan]) * 2 == stride


def test_a_multi_grid_is_refused() -> None:
    model = DeepLabV3Plus(2, "efficientnet-b0", multi_grid=(1, 2, 4))
    with pytest.raises(UserError, match="only ResNets have one"):
        shapes(model, bands=3)


def test_in_training_a_block_is_left_out_for_whole_images_and_counts_more_for_others() -> None:
    x = jax.random.normal(jax.random.key(1), (64, 4, 4, 4))
    variables = drawn(initialised(block(4), x))
    result = applied(block(4), variables, x) - x
    dropped = applied(
        block(4, drop=0.25, deterministic=False), variables, x, rngs={"dropout": jax.random.key(0)}
    )
    left_out = np.isclose(dropped, x, atol=1e-6).all((1, 2, 3))
    assert 4 <= left_out.sum() <= 30  # of 64, a quarter on average
    np.testing.assert_allclose((dropped - x)[~left_out], result[~left_out] / 0.75, atol=1e-5)


def test_a_block_without_a_shortcut_is_never_left_out() -> None:
    x = jax.random.normal(jax.random.key(1), (8, 4, 4, 4))
    variables = drawn(initialised(block(6), x))
    options = {"rngs": {"dropout": jax.random.key(0)}}
    dropped = applied(block(6, drop=0.9, deterministic=False), variables, x, **options)
    np.testing.assert_array_equal(dropped, applied(block(6), variables, x))
