"""What the loop runs: its batches are placed ahead, its teacher fits."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures import painted
from fixtures.other_run import opened

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.datasets.paired import Paired
from jaxseg.errors import UserError
from jaxseg.losses.distillation import Distillation
from jaxseg.models.parts.normalisation import Normalisation
from jaxseg.run import program
from jaxseg.run.step import init_state
from jaxseg.scenes.agreement import SensorError
from jaxseg.scenes.sensor import Sensor
from jaxseg.sharding import MeshShape
from jaxseg.transforms.radiometry import Standardize


@pytest.fixture
def small() -> Config:
    return painted.seven_steps()


def test_batches_are_placed_one_ahead_in_their_order(small: Config) -> None:
    mesh = sharding.make_mesh(MeshShape())
    read: list[int] = []

    def batches() -> Iterator[dict[str, Any]]:
        for number in range(3):
            read.append(number)
            yield {"image": np.full((8, 2), number)}

    placed = program.on_devices(batches(), mesh)
    first = next(placed)
    assert read == [0, 1]
    assert isinstance(first["image"], jax.Array)
    assert [int(batch["image"][0, 0]) for batch in (first, *placed)] == [0, 1, 2]
    assert list(program.on_devices(iter([]), mesh)) == []


def test_a_teacher_is_a_finished_run_of_the_same_classes_that_sees_what_it_saw(
    small: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert program.teacher_of(small, ()) is None
    sensor = dataclasses.replace(painted.Painted().sensor, typical=((0.0, 1.0, 2.0),) * 2)
    halve = (Standardize((0.0, 0.0), (2.0, 2.0)),)
    by_channels = Normalisation("group")
    finished = dataclasses.replace(small, sensor=sensor, preprocess=halve, norm=by_channels)
    state = init_state(small, 2, sharding.make_mesh(small.mesh))
    asked = opened(monkeypatch, finished, state.replace(ema={"sure": jnp.float32(4.0)}))
    data = dataclasses.replace(small.data, source=Paired(painted.Painted(), painted.Painted()))
    losses = small.loss | {"distillation": Distillation("first", logits=1.0)}
    config = dataclasses.replace(small, data=data, loss=losses)
    teacher = program.teacher_of(config, ())
    assert teacher is not None
    assert asked == [(Path("first"), small.mesh)]
    assert float(teacher.variables["params"]["sure"]) == 4.0
    assert teacher.norm == by_channels
    seen = teacher.preprocess(jnp.full((1, 2, 2, 2), 3.0), jnp.ones((1, 2, 2), bool))
    assert (seen == 1.5).all()

    def of(**changes: Any) -> Config:
        source = dataclasses.replace(Paired(painted.Painted(), painted.Painted()), **changes)
        return dataclasses.replace(config, data=dataclasses.replace(data, source=source))

    with pytest.raises(UserError, match=r"first has the classes land, water, ice; this run has l"):
        program.teacher_of(of(source=painted.Painted(classes=("land", "ice", "water"))), ())

    class Decibel(painted.Painted):
        """Other numbers."""

        @property
        def sensor(self) -> Sensor:
            return dataclasses.replace(super().sensor, bands=("answer", "height"))

    with pytest.raises(SensorError, match="The side source for the teacher first"):
        program.teacher_of(of(side=Decibel()), ())
