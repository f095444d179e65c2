"""Flags of `jaxseg robustness`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxseg.errors import UserError
from jaxseg.evaluation.robustness.generator import Conditions, Generation, text_conditions
from jaxseg.evaluation.robustness.planned import EPSILONS, Attacks
from jaxseg.sharding import MeshShape
from jaxseg.transforms.corruptions import CORRUPTIONS, Corruption

Kind = Literal[
    "speckle", "haze", "stripes", "missing", "misregistration", "jpeg", "resolution"
]  # the names of CORRUPTIONS


@dataclasses.dataclass(frozen=True)
class RobustnessFlags:
    """Corrupt and attack the images of a run: jaxseg robustness runs/unet.

    mIoU over the strength of each kind of corruption, in its physical unit, and of attacks by
    projected gradients (PGD), with intervals and for each class: tables, a CSV file, a chart.

    Attributes:
        run: The workdir of the training.
        split: The split whose images are changed.
        step: best, latest, or the step of a checkpoint.
        corruptions: Kinds of corruption; without a name, none. Kinds that do not exist for the
            sensor are named with the reason.
        epsilons: Radii of the ball within which attacks move the input of the network, in its own
            unit: after Standardize, standard deviations of each band. Without a number, no attack.
        steps: Steps of an attack.
        targets: Classes that attacks with a target want to see everywhere, one attack for each.
        segpgd: Whether the attack without a target weighs pixels as SegPGD does.
        generator: Steps for which a generator is trained on the run, which then draws attacks with
            any target in one pass (each of --targets, else all classes); 0 = none.
        text: A file (.npz, .safetensors) with a vector of text features for each class, which the
            generator reads; it learns an embedding of the classes without one.
        transfer: Further runs, of the same classes and radiometry, that see the attacks, too.
        windows: Number of evenly spaced windows of the split; 0 = all.
        seed: Seed of all random numbers.
        out: Folder in which that of the results is made, called like the split; RUN/robustness if
            left out. With it, nothing is written into the run.
        make: Whether data that the run's config names may be fetched from other machines, drawn or
            downloaded where they are missing.
        mesh: Devices along each axis.
        code: Files (.py) or packages that define classes of the run from outside jaxseg.
    """

    run: Annotated[Path, tyro.conf.Positional]
    split: Literal["test", "validation", "train"] = "test"
    step: str = "best"
    corruptions: tuple[Kind, ...] = tuple(kind.name for kind in CORRUPTIONS)  # type: ignore[misc]
    epsilons: tuple[float, ...] = EPSILONS
    steps: int = 10
    targets: tuple[str, ...] = ()
    segpgd: bool = False
    generator: int = 0
    text: Path | None = None
    transfer: tuple[Path, ...] = ()
    windows: int = 0
    seed: int = 0
    out: Path | None = None
    make: bool = False
    mesh: MeshShape = MeshShape()
    code: tuple[str, ...] = ()

    def kinds(self) -> tuple[Corruption, ...]:
        """The chosen corruptions."""
        return tuple(kind for kind in CORRUPTIONS if kind.name in self.corruptions)

    def attacks(self) -> Attacks:
        """The chosen attacks.

        Raises:
            UserError: A number is outside its range, or targets are given without an attack.
        """
        if self.windows < 0 or self.seed < 0:
            raise UserError(f"--windows {self.windows}, --seed {self.seed}: give 0 or more.")
        if self.targets and not self.epsilons:
            raise UserError("--targets needs --epsilons: the strengths of the attacks.")
        return Attacks(tuple(sorted(self.epsilons)), self.steps, self.targets, self.segpgd)

    def generation(self) -> Generation:
        """How the generator is trained: in the largest ball that is measured.

        Raises:
            UserError: A number is outside its range, or flags of attacks are given without one.
        """
        if self.text is not None and not self.generator:
            raise UserError("--text needs --generator: the steps of its training, such as 500.")
        if (self.generator or self.transfer) and not self.epsilons:
            raise UserError("--generator and --transfer need --epsilons: the strengths of attacks.")
        return Generation(self.generator, max(self.epsilons, default=EPSILONS[-1]))

    def conditions(self, classes: tuple[str, ...]) -> Conditions | None:
        """The text features; None = none are given.

        Raises:
            UserError: The file cannot be read or does not fit the classes.
        """
        return None if self.text is None else text_conditions(self.text, classes)
