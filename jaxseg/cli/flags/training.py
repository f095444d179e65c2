"""Flags of the commands about training."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxseg.cli.job import JobFlags


@dataclasses.dataclass(frozen=True)
class TrainFlags(JobFlags):
    """Train a network: python train.py --config configs/deeplab.py [--config.seed 1 ...].

    Started again with the same workdir, it continues. `--config PATH --help` lists every field of
    that config.

    Attributes:
        config: Path of the config file, or the name of a shipped one.
        workdir: Folder of checkpoints, metrics and pictures; default runs/NAME-OF-THE-CONFIG-FILE.
        code: Files (.py) or packages that define classes of other runs that this one starts from.
        profile: Number of steps that are recorded in WORKDIR/profile, for Perfetto and TensorBoard.
        track: wandb, mlflow or trackio get config, numbers, pictures and tables as well.
        changed_files: Whether a run continues although files of its data, such as labels, have
            changed since it began.
        take_over: Continue a run that another machine has left without a word, where you know that
            it has ended.
    """

    config: str
    workdir: Path | None = None
    code: tuple[str, ...] = ()
    profile: int = 0
    track: Literal["", "wandb", "mlflow", "trackio"] = ""
    changed_files: bool = False
    take_over: bool = False


@dataclasses.dataclass(frozen=True)
class BenchFlags:
    """Windows per second of reading, of the step, and of both: jaxseg bench configs/unet.py.

    Uses all devices, and the pipeline and the step of a training with this config, whose fields
    flags change as in training. Nothing is stored.

    Attributes:
        config: Path of the config file, or the name of a shipped one.
        seconds: How long is measured, after compiling.
        code: Files (.py) or packages that define classes of other runs that this one starts from.
    """

    config: Annotated[str, tyro.conf.Positional]
    seconds: float = 60.0
    code: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class PlanFlags:
    """Predict memory and speed of a training step: jaxseg plan unet --topology v5e:2x4.

    The very step is optimised by XLA for TPUs (package libtpu) or GPUs that need not be there; what
    is said of it is read from its program. Flags like --config.mesh.fsdp 8 change the config.

    Attributes:
        config: Path of the config file, or the name of a shipped one.
        topology: The machine: v5e:2x4, v6e:4x4, v5p:2x2x2, h100x8; a wrong name lists all.
        search: Whether to find the best mesh and the largest batch that fits; takes minutes.
        bands: Number of bands of an image; as the data state if 0.
        code: Files (.py) or packages that define classes of the config from outside jaxseg.
    """

    config: Annotated[str, tyro.conf.Positional]
    topology: str
    search: bool = False
    bands: int = 0
    code: tuple[str, ...] = ()
