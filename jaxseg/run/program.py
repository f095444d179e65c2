"""What the training loop runs: the compiled step, its teacher, and batches on the devices."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.config_text import Code
from jaxseg.datasets.paired import Paired
from jaxseg.datasets.wrapped import refuse_other_sensor, walk
from jaxseg.errors import UserError
from jaxseg.losses.distillation import Teacher, distillation_of
from jaxseg.losses.loss import captures_of
from jaxseg.pipeline import band_statistics
from jaxseg.run import checkpoint, single_values
from jaxseg.run.step import TrainState, inference_variables, jit_train_step
from jaxseg.scenes.scene import Sample
from jaxseg.transforms.transform import preprocess

Step = Callable[[TrainState, dict[str, jax.Array]], tuple[TrainState, dict[str, jax.Array]]]
"""State and batch -> next state and metrics."""


def compiled(
    config: Config,
    mesh: Mesh,
    abstract: TrainState,
    state: TrainState,
    batch: dict[str, jax.Array],
    code: Code,
    say: Callable[[str], None],
) -> Step:
    """The training step as one executable: another shape is an error, not a recompilation.

    Args:
        config: The run, completed.
        mesh: Where state and batches are placed.
        abstract: The result of `abstract_state`.
        state: A state, for its shapes.
        batch: A batch, likewise.
        code: Where classes of other runs may be taken from.
        say: Shows what is odd about the network.

    Raises:
        UserError: A teacher cannot be opened, or a layer would learn nothing.
    """
    teacher = teacher_of(config, code)
    more = () if teacher is None else (teacher.variables,)
    step = jit_train_step(config, mesh, abstract, teacher)
    # An argument, so that a run with another seed finds this program in the compilation cache.
    seed = jax.device_put(np.uint32(config.seed), sharding.replicated(mesh))
    with single_values.watched(config.norm) as found:
        lowered = step.lower(state, batch, *more, seed=seed)
    if found:
        group = config.norm.size if config.norm.kind == "ghost" else 0
        say(single_values.report(found, config.data.batch_size, config.accumulate, group=group))
    program = lowered.compile()
    return lambda state, batch: program(state, batch, *more, seed=seed)


def teacher_of(config: Config, code: Code) -> Teacher | None:
    """The finished network that the config learns from.

    Raises:
        UserError: Its run cannot be read, or has other classes.
        SensorError: The side images do not match what it was trained on.
    """
    distilled = distillation_of(config.loss.values())
    if config.incremental.run is not None:
        if distilled is not None:
            raise UserError(
                f"The teacher of a run that adds classes is {config.incremental.run}; a run has "
                "one teacher: leave the Distillation loss out."
            )
        return _old_network(config, code)
    if distilled is None:
        return None
    finished, state = checkpoint.reopen(Path(distilled.run), config.mesh, code=code)
    theirs, ours = finished.data.source.classes, config.data.source.classes
    if theirs != ours:
        raise UserError(
            f"The teacher {distilled.run} has the classes {', '.join(theirs)}; this "
            f"run has {', '.join(ours)}. They must be the same, in the same order."
        )
    for prefix, source in walk(config.data.source):
        if isinstance(source, Paired):
            found = band_statistics.typical(source.side.scenes("train"), config.data.crop)
            where = f"The side source for the teacher {distilled.run}"
            refuse_other_sensor(finished.sensor, source.side, found, where, f"{prefix}.side")
    see = functools.partial(preprocess, steps=finished.preprocess)
    variables = inference_variables(state)
    return Teacher(distilled.layers, finished.model, see, variables, finished.norm)


def _old_network(config: Config, code: Code) -> Teacher:
    """The network of the old classes, which sees the images of the new one."""
    old, state = checkpoint.reopen(Path(str(config.incremental.run)), config.mesh, code=code)
    see = functools.partial(preprocess, steps=old.preprocess)
    layers = captures_of(config.loss.values())
    return Teacher(layers, old.model, see, inference_variables(state), old.norm, alike=True)


def on_devices(batches: Iterator[Sample], mesh: Mesh) -> Iterator[dict[str, jax.Array]]:
    """Places batches on the devices, one batch ahead of the one that is returned."""
    placed = None
    for batch in batches:
        upcoming = sharding.place_batch(mesh, batch)
        if placed is not None:
            yield placed
        placed = upcoming
    if placed is not None:
        yield placed
