"""Opening a run: its config, its newest, best or a given checkpoint."""

from pathlib import Path

from jaxseg import config_text, sharding
from jaxseg.config import Config
from jaxseg.config_text import Code
from jaxseg.errors import UserError
from jaxseg.run import digests, step
from jaxseg.run.damaged import METRIC as METRIC
from jaxseg.run.damaged import first_line
from jaxseg.run.saving import Checkpoints as Checkpoints
from jaxseg.scenes.scene import Source


def has_older(workdir: Path, number: int) -> bool:
    """Whether a run has a checkpoint of an earlier step than `number`."""
    names = [folder.name for folder in (workdir / "checkpoints").iterdir()]
    return any(name.isdigit() and int(name) < number for name in names)


def config_of(workdir: Path, code: Code = ()) -> Config:
    """The config of a run.

    Args:
        workdir: The run's folder.
        code: Where classes from outside jaxseg may be taken from.

    Raises:
        UserError: There is no run, or it has no checkpoint yet.
    """
    config = None
    if (workdir / "checkpoints").is_dir():
        with Checkpoints(workdir, code=code) as checkpoints:
            config = checkpoints.stored_config()
    if config is None:
        raise UserError(
            f"{workdir} is not a run with a checkpoint. Give the --workdir of a training run."
        )
    return config


def chosen(workdir: Path, which: str = "best", code: Code = ()) -> tuple[Config, int]:
    """The config and the step of a checkpoint; its arrays are not read.

    Args:
        workdir: The run's folder.
        which: `best`, `latest` or a step.
        code: Where classes from outside jaxseg may be taken from.

    Raises:
        UserError: There is no such run or checkpoint, or its config cannot be read.
    """
    _refuse_no_run(workdir)
    with Checkpoints(workdir, code=code) as checkpoints:
        number = checkpoints.choose(which)
        try:
            return checkpoints.config(number), number
        except UserError:
            raise
        except Exception as error:
            raise _unreadable(number, workdir, error) from error


def reopen(
    workdir: Path, mesh_shape: sharding.MeshShape, which: str = "best", code: Code = ()
) -> tuple[Config, step.TrainState]:
    """The config and the state of a run, placed on the available devices.

    Args:
        workdir: The run's folder.
        mesh_shape: Mesh to place the state on; it may differ from that of the training.
        which: `best`, `latest` or a step.
        code: Where classes from outside jaxseg may be taken from.

    Raises:
        UserError: There is no such run or checkpoint, or it cannot be read.
    """
    _refuse_no_run(workdir)
    with Checkpoints(workdir, code=code) as checkpoints:
        number = checkpoints.choose(which)
        try:
            config = checkpoints.config(number)
            bands = len(config.sensor.bands or _bands(config.data.source, number, workdir))
            abstract = step.abstract_state(config, bands, sharding.make_mesh(mesh_shape))
            state = checkpoints.restore(number, abstract)
            checkpoints.verify(number, state, digests.read(checkpoints.folder(number)))
            return config, state
        except UserError:
            raise
        except Exception as error:
            raise _unreadable(number, workdir, error) from error


def _bands(source: Source, number: int, workdir: Path) -> tuple[str, ...]:
    """The bands of a source that has no files: to open a run reads none that its config names."""
    if paths := config_text.paths_in(source):
        raise UserError(
            f"Checkpoint {number} in {workdir} does not say which bands its network reads; only "
            f"the data would ({', '.join(paths)}), and to open a run reads none. Train it again."
        )
    return source.sensor.bands


def _refuse_no_run(workdir: Path) -> None:
    if not (workdir / "checkpoints").is_dir():
        raise UserError(
            f"{workdir} is not a run: it has no folder checkpoints. Give the --workdir of a "
            "training run."
        )


def _unreadable(number: int, workdir: Path, error: Exception) -> UserError:
    return UserError(
        f"Checkpoint {number} in {workdir} cannot be read: {first_line(error)}. Choose another "
        "with --step."
    )
