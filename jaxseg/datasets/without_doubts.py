"""Training without the labels that are probably wrong, by the maps of `jaxseg doubts`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from jaxseg.datasets.wrapped import Wrapped
from jaxseg.errors import UserError
from jaxseg.files import raster
from jaxseg.scenes.scene import IGNORE, Sample, Scenes, Window
from jaxseg.scenes.source_flags import SOURCE

INDEX = "doubts.json"
"""In the folder of doubts: the file that names the map of each scene."""


@dataclass(frozen=True)
class WithoutDoubts(Wrapped):
    """A source whose doubted training labels are ignored.

    Attributes:
        source: The source with all labels.
        folders: Folders that `jaxseg doubts` has written, which together hold all training scenes,
            such as those of two runs that each held out one half of them.
    """

    folders: tuple[str, ...] = field(default=(), metadata={"path": True})

    def changed(self, scenes: Scenes) -> Scenes:
        """The scenes without doubted labels.

        Raises:
            UserError: A folder is not one of doubts, or they lack a scene.
        """
        maps: dict[str, Path] = {}
        for folder in self.folders:
            maps |= _maps(Path(folder))
        for index in range(len(scenes)):
            name, size = scenes.name(index), scenes.size(index)
            if name not in maps:
                raise UserError(
                    f"{SOURCE}.folders {', '.join(self.folders) or '(none)'}: no map of the "
                    f"training scene {name}. Give the folders of `jaxseg doubts` that together "
                    "hold all of them."
                )
            header = raster.header(str(maps[name]))
            if (header.height, header.width) != size:
                raise UserError(
                    f"{maps[name]} has {header.height} x {header.width} pixels and its scene "
                    f"{name} {size[0]} x {size[1]}: run `jaxseg doubts` again."
                )
        return _Kept(scenes, maps)


def _maps(folder: Path) -> dict[str, Path]:
    """The map of each scene.

    Raises:
        UserError: The folder is not one of doubts.
    """
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        found = {str(name): folder / str(file) for name, file in index["scenes"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{folder} is not a folder of `jaxseg doubts`: its {INDEX} cannot be read ({error})."
        ) from error
    for file in found.values():
        if not file.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{folder / INDEX} names a map outside of its folder: {file}.")
    return found


class _Kept:
    """The training scenes, read without doubted labels."""

    def __init__(self, scenes: Scenes, maps: Mapping[str, Path]) -> None:
        self.inner, self._maps = scenes, maps

    def __len__(self) -> int:
        return len(self.inner)

    def name(self, index: int) -> str:
        return self.inner.name(index)

    def size(self, index: int) -> tuple[int, int]:
        return self.inner.size(index)

    def read(self, index: int, window: Window) -> Sample:
        sample = self.inner.read(index, window)
        suggested = raster.read(str(self._maps[self.inner.name(index)]), window)[..., 0]
        kept = np.where(suggested == IGNORE, sample["label"], IGNORE)  # of these none is suggested
        return sample | {"label": kept.astype(np.uint8)}
