"""How a training begins: its first state, what is refused, and what is said about it."""

from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh
from jax.tree_util import keystr

from jaxseg import config_text, optimizer
from jaxseg.config import Config
from jaxseg.config_text import Code
from jaxseg.datasets.leakage import copies
from jaxseg.errors import UserError
from jaxseg.pipeline import survey
from jaxseg.run import checkpoint, data_files, new_classes, normalisations
from jaxseg.run.processes import exchanged
from jaxseg.run.step import TrainState, Tree, count_parameters, init_state
from jaxseg.scenes.scene import Source, in_files


def refuse_changes(stored: Config | None, given: Config, workdir: Path) -> None:
    """Refuses another config than the one of the run in the workdir.

    Raises:
        UserError: The configs differ; each field is named with both values.
    """
    # Earlier versions stored paths as they were given.
    before = config_text.absolute(stored)
    if stored is not None and (changed := config_text.differences(before, given)):
        warmup, hint = stored.optimizer.warmup, ""
        if warmup != given.optimizer.warmup:  # it follows the length of a run that flags shorten
            hint = f"\n--config.optimizer.warmup {warmup} keeps the warm-up as it was."
        raise UserError(
            f"{workdir} holds a run of another config. It differs in (stored -> given):\n  "
            + "\n  ".join(changed)
            + "\nGive the same config to continue the run, or another --workdir to start a new one."
            + hint
        )


def changes_of_files(workdir: Path, source: Source, *, allowed: bool) -> list[str]:
    """Compares the files of a run that continues; all processes call it together.

    Args:
        workdir: The run's folder.
        source: The run's source, with absolute paths.
        allowed: Whether files may have changed.

    Returns:
        What is odd, a line each, on the first process.

    Raises:
        UserError: Files changed, and that is not allowed.
    """
    lines, refused = [], ""
    if jax.process_index() == 0:
        lines = data_files.repaired(workdir) or data_files.changed(workdir, source)
        refused = data_files.refusal(workdir, source) if lines and not allowed else ""
    if refused := exchanged({"refused": refused})[0]["refused"]:
        raise UserError(refused)
    return lines


def initialised(config: Config, mesh: Mesh, code: Code) -> tuple[TrainState, str]:
    """A new state, with the parameters of another run or framework if the config names one.

    A network that gets more classes may be pre-tuned here, see `jaxseg.run.new_classes`.

    Returns:
        The state, and where its parameters come from.

    Raises:
        UserError: They are of another network.
    """
    state = init_state(config, len(config.data.source.sensor.bands), mesh)
    if config.incremental.run is not None:
        params, batch_stats, origin = new_classes.grown(config, mesh, code, state)
        weights, there = (params, batch_stats), ""
    elif config.init_from is not None:
        other_config, other = checkpoint.reopen(Path(config.init_from), config.mesh, code=code)
        weights = (other.params if other.ema is None else other.ema, other.batch_stats)
        origin = f"from the run {config.init_from}"
        there = f"{config_text.shown_briefly(other_config.model)} there, "
    elif config.pretrained.given:
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        sensor = config.data.source.sensor
        variables = config.pretrained.into(
            config.model, jax.device_get(variables), sensor.bands, sensor.wavelengths
        )
        weights = (variables["params"], variables["batch_stats"])
        origin, there = f"from {config.pretrained.told}", ""
    else:
        return state, f"from scratch, seed {config.seed}"
    ours = (state.params, state.batch_stats)
    if jax.tree.map(np.shape, weights) != jax.tree.map(np.shape, ours):
        here = f"{config_text.shown_briefly(config.model)} here{_unlike(weights[0], ours[0])}"
        raise UserError(
            f"{origin}: its network is not this config's network: {there}{here}. Use the same "
            f"model, or train from scratch.{normalisations.unlike(weights[1], config)}"
        )
    params, batch_stats = jax.tree.map(
        lambda new, old: jax.device_put(np.asarray(new, old.dtype), old.sharding), weights, ours
    )
    ema = None if state.ema is None else jax.tree.map(lambda leaf: leaf.copy(), params)
    return state.replace(params=params, batch_stats=batch_stats, ema=ema), origin


def _unlike(theirs: Tree, ours: Tree) -> str:
    """What a message adds about the first parameter that two networks do not have in common."""
    there, here = (
        {keystr(path, simple=True, separator="/"): np.shape(leaf) for path, leaf in leaves}
        for leaves in map(jax.tree.leaves_with_path, (theirs, ours))
    )
    for name in (*here, *there):
        if there.get(name) != here.get(name):
            one, other = (of.get(name, "absent") for of in (there, here))
            return f"; {name} is {one} there, {other} here"
    return ""


def looked_at(config: Config) -> list[str]:
    """What is odd about the training and validation data, by a sample of them."""
    source = config.data.source
    found = [survey.survey(source, split) for split in ("train", "validation")]
    known = [part for part in found if part is not None]
    lacking = found[0] is not None and not found[0].classes.all()
    if lacking and (test := survey.survey(source, "test")) is not None:
        known.append(test)  # does it have what the training lacks?
    adds = config.incremental.run is not None  # then the training knows no pixel of old classes
    return [*survey.findings(known, source, absent=not adds), *copies(source)]


def summary(
    config: Config, state: TrainState, mesh: Mesh, workdir: Path, origin: str
) -> dict[str, str]:
    """What the first lines of a run say about it: label -> text."""
    data, source = config.data, config.data.source
    device = jax.devices()[0]
    scenes = source.scenes("train")
    count, files = len(scenes), in_files(scenes)
    parts = optimizer.parts(config.optimizer, state.params)
    trained = {"training": parts} if config.optimizer.frozen or config.optimizer.factors else {}
    shown = f"{count} training scenes" if files == count else f"{count} blocks of {files} scenes"
    return {
        "devices": f"{jax.device_count()} x {device.device_kind}",
        "processes": str(jax.process_count()),
        "mesh": ", ".join(f"{name} {size}" for name, size in mesh.shape.items()),
        "network": f"{type(config.model).__name__}, {count_parameters(state.params):,} parameters",
        "weights": origin,
        **trained,
        "data": f"{type(source).__name__}, {shown}, "
        f"{len(source.sensor.bands)} bands, "
        + ("reconstructed" if config.reconstructs else f"{len(source.classes)} classes"),
        "batch": f"{data.batch_size} windows of {data.crop} x {data.crop} pixels",
        "steps": f"{int(state.step)} to {config.num_steps}",
        "workdir": str(workdir),
    }
