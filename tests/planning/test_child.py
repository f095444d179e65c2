"""What is lowered is the step of a training, letter by letter."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.datasets import Landscape
from jaxseg.datasets.paired import Paired
from jaxseg.losses import CrossEntropy, Distillation
from jaxseg.losses.distillation import Teacher
from jaxseg.models import UNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.planning import child
from jaxseg.planning.request import request
from jaxseg.planning.topology import Topology, topology
from jaxseg.run import program
from jaxseg.run.step import abstract_state, init_state, jit_train_step
from jaxseg.sharding import MeshShape
from jaxseg.transforms import Brightness, Dihedral, Standardize

CONFIG = Config(
    model=UNet(num_classes=10, features=2),
    data=Data(Landscape(), crop=32, batch_size=8),
    preprocess=(Standardize((0.5,) * 4, (2.0,) * 4),),
    augment=(Dihedral(), Brightness(0.1)),
    optimizer=Optimizer(ema=0.9),
    mesh=MeshShape(data=4, space=2),
)


@pytest.fixture(autouse=True)
def _devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """The eight pretended devices stand for those of the machine."""

    def pretended(machine: Topology) -> list[jax.Device]:
        assert machine == topology("v5e:2x4")
        return jax.devices()

    monkeypatch.setattr(child, "devices", pretended)


def test_the_step_is_the_one_that_training_compiles(tmp_path: Path) -> None:
    planned = child.lower(request(CONFIG, "v5e:2x4"), tmp_path / "lowered.json")
    mesh = sharding.make_mesh(CONFIG.mesh)
    state = init_state(CONFIG, 4, mesh)
    window = (8, 32, 32)
    batch = sharding.place_batch(
        mesh,
        {
            "image": np.zeros((*window, 4), np.uint16),
            "label": np.zeros(window, np.uint8),
            "valid": np.ones(window, bool),
        },
    )
    step = jit_train_step(CONFIG, mesh, abstract_state(CONFIG, 4, mesh))
    assert planned.as_text() == step.lower(state, batch).as_text()
    assert "jax.buffer_donor" in planned.as_text() or "tf.aliasing_output" in planned.as_text()
    told = json.loads((tmp_path / "lowered.json").read_text())
    assert told["parameters"] == sum(leaf.size for leaf in jax.tree.leaves(state.params))


def test_a_teacher_is_a_part_of_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    side = UNet(num_classes=10, features=2)
    shapes = jax.eval_shape(
        lambda: side.init(jax.random.key(0), jax.numpy.zeros((1, 32, 32, 4)), train=False)
    )
    variables = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    found = Teacher(("bottleneck",), side, lambda image, valid: image * 1.0, variables)
    asked: list[Config] = []

    def teacher_of(config: Config, code: object) -> Teacher:
        asked.append(config)
        return found

    monkeypatch.setattr(program, "teacher_of", teacher_of)
    source = Paired(Landscape(modality="sar"), side=Landscape())
    config = dataclasses.replace(
        CONFIG,
        data=dataclasses.replace(CONFIG.data, source=source),
        preprocess=(),
        loss={"ce": CrossEntropy(), "teacher": Distillation(run="runs/optical", logits=1.0)},
    )
    lowered = child.lower(request(config, "v5e:2x4"), tmp_path / "lowered.json")
    assert asked[0].mesh == MeshShape()  # it is read on one device
    given = lowered.args_info[0][2]
    assert jax.tree.map(lambda leaf: leaf.shape, given) == jax.tree.map(np.shape, variables)
