"""Every symmetry of a tile is seen by the network, and undone before the mean is taken."""

import dataclasses
from typing import Any, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures import painted
from numpy.typing import NDArray

from jaxseg.prediction.network import Augmentation, TileNetwork
from jaxseg.prediction.tiling import Grid
from jaxseg.run.loaded import Run
from jaxseg.scenes.sensor import Sensor
from jaxseg.sharding import MeshShape, make_mesh

IMAGE = np.random.default_rng(0).standard_normal((1, 6, 6, 1)).astype(np.float32)
WHOLE = np.ones((1, 6, 6), bool)


class Beside(nn.Module):
    """The logit of a pixel is the value of the pixel on its left and the row of its place."""

    num_classes: int = 2

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        """Logits (B, H, W, 2)."""
        left = jnp.roll(image, 1, axis=2)
        row = jnp.broadcast_to(jnp.arange(image.shape[1])[:, None, None], image.shape)
        return jnp.concatenate([left, 0.1 * row.astype(jnp.float32)], -1)


def answers(augmentation: Augmentation, model: nn.Module, image: NDArray[Any]) -> NDArray[Any]:
    """(K, H, W) of one tile."""
    config = dataclasses.replace(painted.config(model=model), sensor=Sensor(("value",)))
    run = Run(config, 1, {"params": {"sure": np.float32(1)}}, 1.0)
    mesh = make_mesh(MeshShape(), jax.devices()[:1])
    network = TileNetwork([run], mesh, Grid(6, 0, 0), augmentation=augmentation)
    return np.asarray(network(image, WHOLE))[0]


def alone(image: NDArray[Any]) -> NDArray[Any]:
    """What `Beside` makes of (H, W)."""
    left = np.roll(image, 1, axis=1)
    row = np.broadcast_to(0.1 * np.arange(6)[:, None], (6, 6))
    return np.asarray(jax.nn.softmax(np.stack([left, row]), axis=0))


@pytest.mark.parametrize("augmentation", get_args(Augmentation))
def test_a_network_that_looks_at_pixels_alone_answers_as_without_symmetries(
    augmentation: Augmentation,
) -> None:
    expected = answers("none", painted.Told(), IMAGE)
    found = answers(augmentation, painted.Told(), IMAGE)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("augmentation", "turns", "mirrors"),
    [("none", (0,), (False,)), ("flips", (0, 2), (False, True)), ("dihedral", range(4), (0, 1))],
)
def test_the_answer_is_the_mean_over_the_symmetries(
    augmentation: Augmentation, turns: Any, mirrors: Any
) -> None:
    total, count = np.zeros((2, 6, 6)), 0
    for mirrored in mirrors:
        for quarters in turns:
            image = IMAGE[0, ..., 0]
            seen = np.rot90(image[:, ::-1] if mirrored else image, quarters)
            back = np.rot90(alone(seen), -quarters, axes=(1, 2))
            total, count = total + (back[..., ::-1] if mirrored else back), count + 1
    found = answers(augmentation, Beside(), IMAGE)
    np.testing.assert_allclose(found, total / count, atol=1e-6)
