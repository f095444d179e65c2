"""The training step of a network in blocks: the same run as in the order of the image."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from numpy.typing import NDArray

from jaxseg import config as configs
from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.losses.edges import EdgeAware
from jaxseg.losses.loss import order_matters
from jaxseg.losses.pixels import CrossEntropy, EdgeWeightedCrossEntropy
from jaxseg.losses.regions import Dice
from jaxseg.models.unet import UNet
from jaxseg.optimizer import Optimizer
from jaxseg.run import step
from jaxseg.sharding import MeshShape
from jaxseg.transforms.radiometry import Standardize

STEPS = 3


def run(config: Config, mesh: jax.sharding.Mesh) -> tuple[list[float], Any, Any]:
    """Losses, the last confusion matrix, and the final state."""
    state = step.init_state(config, 3, mesh)
    train = step.jit_train_step(config, mesh, step.abstract_state(config, 3, mesh))
    losses = []
    for seed in range(STEPS):
        state, metrics = train(state, sharding.place_batch(mesh, batch(seed)))
        losses.append(float(metrics["loss"]))
    return losses, np.asarray(metrics["confusion"]), jax.device_get(state)


def batch(seed: int) -> dict[str, NDArray[Any]]:
    """Four windows of 32 x 48 pixels; a fifth of the pixels has no data."""
    rng = np.random.default_rng(seed)
    size = (4, 32, 48)
    return {
        "image": rng.integers(0, 255, (*size, 3), np.uint8),
        "label": rng.integers(0, 3, size, np.uint8),
        "valid": rng.random(size) > 0.2,
        "separation": rng.uniform(0, 9, size).astype(np.float32),
    }


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 8])
def test_three_steps_in_blocks_are_three_steps(
    tiny: Path, devices: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a mesh over `data`, `fsdp` and rows, too; losses see labels and maps in that order.

    With eight devices, each has one row of the coarsest features.
    """
    config = dataclasses.replace(
        configs.load_config(str(tiny / "config.py")),
        model=UNet(num_classes=3, features=4),
        loss={"edges": EdgeWeightedCrossEntropy(), "dice": Dice(regions="image")},
        augment=(),
        preprocess=(Standardize((127.0,) * 3, (74.0,) * 3),),
        optimizer=Optimizer(name="sgd", learning_rate=1e-6, schedule="constant"),
        num_steps=STEPS,
    )
    shape = MeshShape(2, 2, 2) if devices == 8 else MeshShape()
    mesh = sharding.make_mesh(shape, jax.devices()[:devices])
    found = {}
    for forced in ("cpu", "tpu"):
        monkeypatch.setenv("JAXSEG_PROGRAMS", forced)
        found[forced] = run(config, mesh)
    one, two = found.values()
    np.testing.assert_allclose(two[0], one[0], rtol=1e-5)
    np.testing.assert_array_equal(two[1], one[1])
    # The optimizer's momentum is the sum of the gradients.
    for part in ("opt_state", "batch_stats"):
        whole = (getattr(state, part) for state in (one[2], two[2]))
        leaves = zip(*map(jax.tree.leaves_with_path, whole), strict=True)
        for (path, a), (_, b) in leaves:
            error = np.linalg.norm(a - b) / max(1e-6, np.linalg.norm(a))
            assert error < 0.01, jax.tree_util.keystr(path)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), one[2].params, two[2].params
    )


def test_which_losses_ask_where_a_pixel_lies() -> None:
    @dataclasses.dataclass(frozen=True)
    class Mine(CrossEntropy):
        def __call__(self, *args: Any) -> Any:
            return super().__call__(*args)

    @dataclasses.dataclass(frozen=True)
    class Heavier(CrossEntropy):
        weight: float = 2.0

    assert not any(map(order_matters, (CrossEntropy(), Dice(), Heavier())))
    assert all(map(order_matters, (EdgeAware(), Mine(), object())))
