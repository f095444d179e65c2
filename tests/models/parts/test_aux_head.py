"""The auxiliary head: a quarter of the channels, normalised, dropped in training, then classes."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.networks import applied, initialised

from jaxseg.models.parts.aux_head import AuxHead
from jaxseg.models.parts.convolution import conv2d
from jaxseg.models.parts.layers import BatchNorm, Conv

NORM = functools.partial(BatchNorm, use_running_average=True)


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    """Features of 16 channels."""
    return np.random.default_rng(0).standard_normal((2, 6, 7, 16)).astype(np.float32)


def variables_of(head: AuxHead, features: np.ndarray) -> Any:
    variables = initialised(head, features, train=False)
    return jax.tree.map(lambda leaf: leaf + 0.1 * jnp.cos(jnp.arange(leaf.shape[-1])), variables)


def test_its_logits_are_those_of_its_layers(features: np.ndarray) -> None:
    head = AuxHead(3, Conv, NORM)
    variables = variables_of(head, features)
    params, stats = variables["params"], variables["batch_stats"]["norm"]
    assert params["conv"]["kernel"].shape == (3, 3, 16, 4)
    assert params["head"]["kernel"].shape == (1, 1, 4, 3)
    x = conv2d(jnp.asarray(features), params["conv"]["kernel"], padding=1)
    x = (x - stats["mean"]) / np.sqrt(stats["var"] + 1e-5) * params["norm"]["scale"]
    x = np.maximum(x + params["norm"]["bias"], 0)
    expected = x @ params["head"]["kernel"][0, 0] + params["head"]["bias"]
    found = applied(head, variables, features, train=False)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("drop_channels", [False, True])
def test_training_drops_a_tenth_of_values_or_of_channels(
    features: np.ndarray, *, drop_channels: bool
) -> None:
    head = AuxHead(64, Conv, NORM, drop_channels=drop_channels)
    wide = np.tile(features, (20, 1, 1, 4))  # 40 images of 16 channels inside
    variables = variables_of(head, wide)
    seen = {}

    def note(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        result = call(*args, **kwargs)
        if isinstance(context.module, nn.Dropout):
            seen["before"], seen["after"] = np.asarray(args[0]), np.asarray(result)
        return result

    with nn.intercept_methods(note):
        head.apply(variables, wide, train=True, rngs={"dropout": jax.random.key(1)})
    before, after = seen["before"], seen["after"]
    lost, kept = (after == 0) & (before > 0), after > 0
    assert lost.sum() / (before > 0).sum() == pytest.approx(0.1, abs=0.04)
    np.testing.assert_allclose(after[kept], before[kept] / 0.9, rtol=1e-5)
    split = lost.any((1, 2)) & kept.any((1, 2))  # channels of which a part is left
    assert split.any() != drop_channels
