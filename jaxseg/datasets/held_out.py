"""A part of the training scenes kept out of the training, so that its labels can be looked at.

A network that was trained on labels may repeat their errors. Of two runs, each of which is trained
on one half of the scenes, each can say which labels of the other half are probably wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from jaxseg.datasets.wrapped import Wrapped
from jaxseg.errors import COUNT, NOT_NEGATIVE, UserError, check_ranges
from jaxseg.scenes.scene import Around, Extent, OfFiles, Sample, Scenes, Sized, Window
from jaxseg.scenes.source_flags import SOURCE

HELD_OUT = "held-out"
"""The split of the scenes that are kept out."""


@dataclass(frozen=True)
class HeldOut(Wrapped):
    """A source whose training lacks every `parts`-th scene; `held-out` is a split of these.

    Attributes:
        source: The source that is divided.
        part: Which part is kept out, from 0.
        parts: Number of parts; the runs of all parts hold out each scene once.
    """

    part: int = field(default=0, metadata=NOT_NEGATIVE)
    parts: int = field(default=2, metadata=COUNT)

    def __post_init__(self) -> None:
        """Rejects a part that is not there.

        Raises:
            UserError: One part leaves nothing for the training, or `part` is not one of them.
        """
        check_ranges(self, SOURCE)
        if self.parts < 2 or self.part >= self.parts:
            raise UserError(
                f"{SOURCE}.part {self.part} of {SOURCE}.parts {self.parts}: give at least 2 parts, "
                "and a part from 0 to one less."
            )

    def scenes(self, split: str) -> Scenes:
        """The scenes of the wrapped source; of `train`, those that are trained on or held out.

        Raises:
            UserError: The split is missing, or too few scenes are there to be divided.
        """
        if split not in ("train", HELD_OUT):
            return self.source.scenes(split)
        scenes = self.source.scenes("train")
        if len(scenes) < self.parts:
            raise UserError(
                f"The training split has {len(scenes)} scene(s), which cannot be divided into "
                f"{self.parts} parts. Divide large scenes by --config.data.source.split-by blocks."
            )
        held = split == HELD_OUT
        kept = [n for n in range(len(scenes)) if (n % self.parts == self.part) == held]
        files = scenes
        while isinstance(files, Around):
            files = files.inner
        return (
            _SomeFiles(scenes, kept, files) if isinstance(files, OfFiles) else _Some(scenes, kept)
        )


class _Some:
    """Some of the scenes."""

    def __init__(self, scenes: Scenes, kept: Sequence[int]) -> None:
        self._scenes, self._kept = scenes, kept

    def __len__(self) -> int:
        return len(self._kept)

    def name(self, index: int) -> str:
        return self._scenes.name(self._kept[index])

    def size(self, index: int) -> tuple[int, int]:
        return self._scenes.size(self._kept[index])

    def read(self, index: int, window: Window) -> Sample:
        return self._scenes.read(self._kept[index], window)


class _SomeFiles(_Some):
    """Some of the scenes, which are files."""

    def __init__(self, scenes: Scenes, kept: Sequence[int], files: OfFiles) -> None:
        super().__init__(scenes, kept)
        self._files = files

    def files(self, index: int) -> tuple[str, ...]:
        return self._files.files(self._kept[index])

    def extent(self, index: int) -> Extent:
        return self._files.extent(self._kept[index])

    def gsd(self, index: int) -> float | None:
        return self._files.gsd(self._kept[index]) if isinstance(self._files, Sized) else None
