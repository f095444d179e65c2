"""DeepLabV3 answers as torchvision's does, and its rates are those of the paper where asked."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import pretrained
from jaxseg.models.deeplab import DeepLabV3
from jaxseg.models.resnet import ResNet


def test_imported_weights_give_torchvisions_logits(golden: Callable[[str], Any]) -> None:
    reference = golden("deeplabv3_tv_r50_21_aux")
    model = DeepLabV3(21, aux_head=True)
    variables = pretrained.load(model, reference.state)
    logits, sown = jax.jit(lambda v, x: model.apply(v, x, train=False, mutable=["aux_logits"]))(
        variables, reference.image
    )
    (aux,) = jax.tree.leaves(sown["aux_logits"])
    for actual, expected in ((logits, reference.outputs["out"]), (aux, reference.outputs["aux"])):
        assert np.abs(actual - expected).max() <= 1e-4 * max(1, np.abs(expected).max())


@pytest.mark.parametrize(
    ("backbone", "stride", "multi_grid", "layer3", "layer4"),
    [
        ("resnet50", 32, (1, 1, 1), (2, (1, 1, 1, 1, 1, 1)), (2, (1, 1, 1))),
        ("resnet50", 8, (1, 1, 1), (1, (1, 2, 2, 2, 2, 2)), (1, (2, 4, 4))),
        ("resnet50", 16, (1, 1, 1), (2, (1, 1, 1, 1, 1, 1)), (1, (1, 2, 2))),
        ("resnet50", 8, (1, 2, 4), (1, (2, 2, 2, 2, 2, 2)), (1, (4, 8, 16))),
        ("resnet50", 16, (1, 2, 4), (2, (1, 1, 1, 1, 1, 1)), (1, (2, 4, 8))),
        ("resnet18", 16, (1, 2, 4), (2, (1, 1)), (1, (2, 4))),
    ],
)
def test_atrous_rates_are_torchvisions_or_with_multi_grid_the_papers(
    backbone: Any, stride: Any, multi_grid: Any, layer3: Any, layer4: Any
) -> None:
    plan = ResNet(backbone, stride, multi_grid).rates()
    assert plan[2:] == [layer3, layer4]


@pytest.mark.parametrize(
    ("first_rate", "layer3", "layer4"),
    [("own", (2, 2), (4, 4)), ("one", (1, 2), (1, 4)), ("before", (1, 2), (2, 4))],
)
def test_the_first_block_of_an_atrous_layer_has_the_rate_asked_for(
    first_rate: Any, layer3: Any, layer4: Any
) -> None:
    plan = ResNet("resnet18", 8, first_rate=first_rate).rates()
    assert plan[2:] == [(1, layer3), (1, layer4)]


@pytest.mark.parametrize(("stride", "cells"), [(8, 12), (16, 6)])
def test_features_have_the_output_stride(stride: Any, cells: int) -> None:
    model = ResNet("resnet50", stride)
    image = jax.ShapeDtypeStruct((1, 96, 96, 3), jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    features = jax.eval_shape(lambda v, x: model.apply(v, x, train=False), variables, image)
    assert [leaf.shape for leaf in features] == [
        (1, 48, 48, 64),
        (1, 24, 24, 256),
        (1, 12, 12, 512),
        (1, cells, cells, 1024),
        (1, cells, cells, 2048),
    ]


def test_the_auxiliary_head_leaves_no_logits_among_the_initial_variables() -> None:
    model = DeepLabV3(2, backbone="resnet18", aux_head=True)
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    assert set(variables) == {"params", "batch_stats"}
    assert "aux_head" in variables["params"]
