"""What a person decides about a map; everything else follows from the run and the scene."""

import dataclasses

from jaxseg.errors import UserError
from jaxseg.prediction.image import Image
from jaxseg.prediction.layers import LAYERS, Layer
from jaxseg.prediction.network import Augmentation
from jaxseg.run.adapted import Adapt
from jaxseg.scenes.scene import Window


@dataclasses.dataclass(frozen=True)
class Share:
    """Which part of the work this process does: `number` of `count`, from 1."""

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        """Checks the numbers.

        Raises:
            UserError: The number is not from 1 to `count`.
        """
        if not 1 <= self.number <= self.count:
            raise UserError(
                f"--shard {self.number}/{self.count}: give a part from 1 to the number of parts, "
                "such as 3/16."
            )

    @classmethod
    def parse(cls, text: str) -> "Share":
        """Reads `3/16`.

        Raises:
            UserError: It is something else.
        """
        try:
            number, count = map(int, text.split("/"))
        except ValueError:
            raise UserError(f"--shard {text}: give a part of the work such as 3/16.") from None
        return cls(number, count)

    def of(self, length: int) -> range:
        """The places of this part in a list of so many."""
        first, last = (length * number // self.count for number in (self.number - 1, self.number))
        return range(first, last)


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a map is made.

    Attributes:
        layers: What is written.
        image: How the scene's files are read.
        window: Part of the scene: first row, first column, rows, columns; None = all.
        bounds: The same in the scene's coordinates: west, south, east, north.
        tile: Rows and columns of a tile; 0 = by the network.
        overlap: Pixels that two tiles share; None = by the network's receptive field.
        context: Pixels around the part of a tile that counts, which the network sees and which do
            not count; None = by the receptive field.
        batch: Tiles that a device computes at a time.
        augmentation: Which symmetries are averaged.
        scales: Sizes of the tiles, relative to their own, that are averaged.
        thresholds: Whether classes are decided by the thresholds fitted to the validation split.
        adapt: How the networks are adapted to each scene, without any label.
        resample: Whether a scene of another pixel size is brought to that of the training.
        seams: Whether the disagreement of two tilings is measured where a seam is possible.
        share: Part of the work.
        finish: Whether nothing is computed, and the parts of other processes are put together.
        overwrite: Whether a map that is there is replaced.
        check: Whether the scene is compared with what the run was trained on.
        remote: Whether files on other machines are read that a local file names.
    """

    layers: tuple[Layer, ...] = ("classes",)
    image: Image = dataclasses.field(default_factory=Image)
    window: Window | None = None
    bounds: tuple[float, float, float, float] | None = None
    tile: int = 0
    overlap: int | None = None
    context: int | None = None
    batch: int = 1
    augmentation: Augmentation = "none"
    scales: tuple[float, ...] = (1.0,)
    thresholds: bool = False
    adapt: Adapt = "none"
    resample: bool = False
    seams: bool = True
    share: Share = Share()
    finish: bool = False
    overwrite: bool = False
    check: bool = True
    remote: bool = False

    def __post_init__(self) -> None:
        """Checks the numbers.

        Raises:
            UserError: Nothing would be written or computed, or something would be twice.
        """
        sizes = (self.tile, self.overlap or 0, self.context or 0)
        if self.batch < 1 or min(sizes) < 0:
            raise UserError(
                f"--batch {self.batch}, --tile {self.tile}, --overlap {self.overlap}, --context "
                f"{self.context}: at least one tile at a time, and sizes that are not negative."
            )
        if not self.layers or len(set(self.layers)) < len(self.layers):
            raise UserError(
                f"--layers {' '.join(self.layers)}: name at least one layer, each of them once, of "
                f"{', '.join(LAYERS)}."
            )
        if not self.scales or len(set(self.scales)) < len(self.scales):
            raise UserError(f"--scales {self.scales}: give one number or several different ones.")
        if not all(0.25 <= scale <= 4 for scale in self.scales):
            raise UserError(f"--scales {self.scales}: sizes from 0.25 to 4 of a tile's own.")
        if self.window is not None and self.bounds is not None:
            raise UserError("--window and --bounds name two parts of the scene: give one of them.")
        if self.finish and self.share.count > 1:
            raise UserError("--finish puts all parts together: leave --shard out.")
