"""A map of classes alone: the devices answer with numbers of classes instead of probabilities."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest
from fixtures import painted
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.prediction.network import TileNetwork
from jaxseg.prediction.sweep import sweep
from jaxseg.prediction.tiling import Grid
from jaxseg.run.loaded import Run
from jaxseg.scenes.scene import Window
from jaxseg.scenes.sensor import Sensor
from jaxseg.sharding import MeshShape, make_mesh


class Linear(nn.Module):
    """Three logits of the value of a pixel."""

    num_classes: int = 3

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        """Logits (B, H, W, 3)."""
        weight = self.param("weight", nn.initializers.ones, (3,))
        bias = self.param("bias", nn.initializers.zeros, (3,))
        return image * weight + bias


@pytest.mark.parametrize(
    ("networks", "scales"), [(1, (1.0,)), (2, (1.0,)), (1, (1.0, 2.0))], ids=str
)
def test_classes_alone_are_those_of_the_largest_mean_probability(
    networks: int, scales: tuple[float, ...]
) -> None:
    config = dataclasses.replace(painted.config(model=Linear()), sensor=Sensor(("value",)))
    drawn = 4 * np.random.default_rng(7).standard_normal((networks, 2, 3)).astype(np.float32)
    runs = [
        Run(config, 1, {"params": {"weight": weight, "bias": bias}}, 1.0) for weight, bias in drawn
    ]
    mesh = make_mesh(MeshShape(), jax.devices()[:1])
    image = np.random.default_rng(1).standard_normal((1, 32, 32, 1)).astype(np.float32)
    valid = np.ones((1, 32, 32), bool)
    answers = [
        np.asarray(
            TileNetwork(runs, mesh, Grid(32, 0, 0), scales=scales, classes_only=alone)(image, valid)
        )
        for alone in (False, True)
    ]
    assert answers[1].dtype == np.uint8
    np.testing.assert_array_equal(answers[1][:, 0], answers[0].argmax(1))
    np.testing.assert_allclose(answers[0].sum(1), 1, atol=1e-5)
    if networks > 1:  # the sum of the logits says something else
        of_logits = (image * drawn[:, 0].sum(0) + drawn[:, 1].sum(0)).argmax(-1)
        assert (of_logits != answers[1][:, 0]).any()


class Even:
    """A scene of ones without ends."""

    def padded(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The same everywhere."""
        size = window.height, window.width
        return np.ones((*size, 1), np.float32), np.ones(size, bool)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_an_answer_that_is_not_finite_is_an_error_and_no_class(broken: float) -> None:
    config = dataclasses.replace(painted.config(model=Linear()), sensor=Sensor(("value",)))
    weight = np.array([1, broken, 0], np.float32)
    run = Run(config, 1, {"params": {"weight": weight, "bias": np.zeros(3, np.float32)}}, 1.0)
    mesh = make_mesh(MeshShape(), jax.devices()[:1])
    network = TileNetwork([run], mesh, Grid(8, 0, 0), classes_only=True)
    with pytest.raises(UserError, match="not finite in rows 0 to 7"):
        list(sweep(network, Even(), Window(0, 0, 20, 12), 2))
