"""The compiler's process: `python -m jaxseg.planning.child FOLDER` lowers and compiles one step.

It reads FOLDER/request.json, writes FOLDER/lowered.json when JAX has traced the step, and lets XLA
dump its programs into FOLDER/dump. The parent ends it as soon as the optimised program is there;
what would follow is the generation of code, which takes minutes and changes no byte. If it fails,
FOLDER/failure.json has the kind and the message.
"""

import dataclasses
import json
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies

from jaxseg import config as configs
from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.config_text import classes_in
from jaxseg.errors import UserError
from jaxseg.losses.distillation import Teacher
from jaxseg.planning.request import Request
from jaxseg.planning.topology import Topology, topology
from jaxseg.run import program, single_values
from jaxseg.run.step import abstract_state, count_parameters, jit_train_step
from jaxseg.scenes.scene import TrainingWindow
from jaxseg.sharding import MeshShape
from jaxseg.transforms.transform import Fittable, preprocess

OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"

SIDE = 32
"""Rows and columns of the random images that open radiometry is fitted to."""


def main(folder: Path) -> None:
    """Compiles the step that is asked for in a folder."""
    try:
        lowered = lower(Request.read(folder / "request.json"), folder / "lowered.json")
        lowered.compile()
    except UserError as error:
        _fail(folder, "mistake", str(error))
    except jax.errors.JaxRuntimeError as error:
        kind = "memory" if OUT_OF_MEMORY in str(error) else "compiler"
        _fail(folder, kind, str(error))


def lower(asked: Request, told: Path) -> jax.stages.Lowered:
    """The very step of a training, for devices that are not there, from shapes alone.

    Args:
        asked: What to lower.
        told: File for facts about the step.

    Raises:
        UserError: Mesh, batch or config do not fit.
    """
    code = tuple(configs.load_code(name) for name in asked.code)
    config = dataclasses.replace(asked.config, preprocess=fitted(asked))
    machine = topology(asked.topology)
    mesh = sharding.make_mesh(config.mesh, list(devices(machine)))
    state = abstract_state(config, asked.bands, mesh)
    place, data = sharding.batch_sharding(mesh), config.data
    batch = {
        name: jax.ShapeDtypeStruct(
            (data.batch_size, data.crop, data.crop, *more), np.dtype(dtype), sharding=place
        )
        for name, (more, dtype) in asked.arrays.items()
    }
    teacher = _teacher(config, mesh, (*code, *classes_in(config)))
    more = () if teacher is None else (teacher.variables,)
    with single_values.watched(config.norm):  # which refuses what a training refuses
        lowered = jit_train_step(config, mesh, state, teacher).lower(state, batch, *more)
    told.write_text(json.dumps({"parameters": count_parameters(state.params)}))
    return lowered


def fitted(asked: Request) -> tuple[Any, ...]:
    """The radiometry with its open fields fitted to random numbers: they cost as much."""
    done: tuple[Any, ...] = ()
    for step in asked.config.preprocess:
        if isinstance(step, Fittable) and not step.fitted:
            done = (*done, step.fit(_random_windows(asked.bands, done)))
        else:
            done = (*done, step)
    return done


def _random_windows(bands: int, steps: tuple[Any, ...]) -> Iterator[TrainingWindow]:
    random = np.random.default_rng(0)
    for _ in range(4):
        image = jnp.asarray(random.uniform(0.1, 1.0, (1, SIDE, SIDE, bands)), jnp.float32)
        valid = np.ones((SIDE, SIDE), bool)
        yield np.asarray(preprocess(image, jnp.asarray(valid[None]), steps))[0], valid


def devices(machine: Topology) -> list[jax.Device]:
    """The devices of a topology, as its compiler describes them.

    Raises:
        UserError: The compiler is missing, of another version, or does not know the topology.
    """
    try:
        if machine.chip.platform == "tpu":
            bounds = (*machine.host, 1)[:3]
            found = topologies.get_topology_desc(
                platform="tpu", topology_name=machine.name, chips_per_host_bounds=bounds
            )
        else:
            target = files("jaxseg.planning").joinpath(f"{machine.chip.name}.txtpb")
            hosts = max(1, machine.devices // machine.local)
            found = topologies.get_topology_desc(
                platform="cuda",
                topology_name=machine.name,
                target_config=target.read_text(),
                topology=f"1x{hosts}x{machine.local}",
            )
    except (jax.errors.JaxRuntimeError, RuntimeError, NotImplementedError) as error:
        raise UserError(f"The compiler for {machine.name} does not start: {error}") from error
    return list(found.devices)


def _teacher(config: Config, mesh: jax.sharding.Mesh, code: Any) -> Teacher | None:  # noqa: ANN401
    """The teacher, read on one device, with its variables as shapes on the mesh."""
    found = program.teacher_of(dataclasses.replace(config, mesh=MeshShape()), code)
    if found is None:
        return None
    shapes = jax.eval_shape(lambda: found.variables)
    placed = jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
        shapes,
        sharding.state_shardings(mesh, shapes),
    )
    return found._replace(variables=placed)


def _fail(folder: Path, kind: str, message: str) -> None:
    (folder / "failure.json").write_text(json.dumps({"kind": kind, "message": message}))
    sys.exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
