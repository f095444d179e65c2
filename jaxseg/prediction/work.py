"""What is to be done and what is done: blocks of the map, each of which is a file when finished.

    map.tif.part/job.json  what is being made, so that nothing else continues it
                 classes_00003_00001_5d41402a.tif
                           a block: its row and column of blocks, and its job; whole, or not there
    map.tif                appears at the end, when every block is there

No process keeps a list of its own: a block is finished if its files are there. So a killed process
loses the blocks it was working at and nothing else, and any number of processes that divide the
blocks by arithmetic need no lock.
"""

import contextlib
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.files.maps import BLOCK, is_sound, write_block
from jaxseg.prediction.layers import Layer
from jaxseg.scenes.scene import Window
from jaxseg.system.disk import whole, writing
from jaxseg.system.side_files import DamagedError, put_aside, read, sealed

ELSEWHERE = "Give a map in a folder that can be written to."


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a window of a scene is cut into blocks.

    Attributes:
        window: What is mapped, in pixels of the scene.
        columns: Columns of a block, a multiple of `BLOCK`; rows are `BLOCK`.
    """

    window: Window
    columns: int

    @property
    def down(self) -> int:
        """Blocks one below the other."""
        return -(-self.window.height // BLOCK)

    @property
    def across(self) -> int:
        """Blocks side by side."""
        return -(-self.window.width // self.columns)

    def place(self, row: int, column: int) -> Window:
        """Where a block lies in the map."""
        y, x = row * BLOCK, column * self.columns
        return Window(
            y, x, min(BLOCK, self.window.height - y), min(self.columns, self.window.width - x)
        )

    def blocks(self) -> list[tuple[int, int]]:
        """All blocks (row, column), neighbours one below the other."""
        return [(row, column) for column in range(self.across) for row in range(self.down)]


class Work:
    """The folder of a map that is being made."""

    def __init__(
        self,
        out: Path,
        plan: Plan,
        layers: tuple[Layer, ...],
        job: Mapping[str, object],
        *,
        again: bool = False,
    ) -> None:
        """Begins, or continues what is there.

        Args:
            out: The map.
            plan: Its blocks.
            layers: Names of what is made of every block.
            job: All that decides the numbers in the map.
            again: Whether what was begun as another job is thrown away.

        Raises:
            UserError: The folder cannot be made, or what is there was begun as another job.
        """
        self.folder = self.folder_of(out)
        self.plan, self.layers = plan, layers
        text = json.dumps(job, indent=1, sort_keys=True)
        self._job = hashlib.sha256(text.encode()).hexdigest()[:8]
        record = self.folder / "job.json"
        with writing(self.folder, advice=ELSEWHERE):
            if again and record.exists() and record.read_bytes() != text.encode():
                self.remove()
            self.folder.mkdir(exist_ok=True)
            if not record.exists():
                _write(record, text)
            begun = record.read_bytes()
        if begun != text.encode():
            try:
                old, new = dict(json.loads(begun)), json.loads(text)
            except (ValueError, TypeError):
                raise UserError(
                    f"{record} is damaged: which map was begun is not known. --overwrite begins it "
                    "again."
                ) from None
            changed = sorted(k for k in old.keys() | new.keys() if old.get(k) != new.get(k))
            raise UserError(
                f"{self.folder} holds a map that was begun with other settings "
                f"({', '.join(changed)}). Give those to continue it, or --overwrite to begin again."
            )

    @staticmethod
    def folder_of(out: Path) -> Path:
        """Where a map is being made."""
        return out.with_name(f"{out.name}.part")

    def noted(self, name: str, found: Callable[[], str]) -> str:
        """A text that is found once and kept until the map is complete.

        Raises:
            UserError: It cannot be written.
        """
        path = self.folder / name
        with writing(path, advice=ELSEWHERE):
            if not path.is_file():
                if path.exists():
                    put_aside(path)
                _write(path, json.dumps(sealed({name: found()})))
            try:
                return str(read(path)[name])
            except (DamagedError, KeyError):
                path.unlink()
                return self.noted(name, found)

    def path(self, layer: str, row: int, column: int) -> Path:
        """The file of a layer of a block.

        It names the job: a process that still runs cannot write into the map that replaces its own.
        """
        return self.folder / f"{layer}_{row:05}_{column:05}_{self._job}.tif"

    def done(self, row: int, column: int) -> bool:
        """Whether a block is finished."""
        return all(self.path(layer, row, column).exists() for layer in self.layers)

    def put_damaged_aside(self) -> int:
        """Puts aside what is not as it was written; returns how many files that were.

        Raises:
            UserError: One cannot be renamed.
        """
        there = (self.path(layer, *block) for block in self.plan.blocks() for layer in self.layers)
        damaged = [path for path in there if path.exists() and not is_sound(path)]
        with writing(self.folder, advice=ELSEWHERE):
            for path in damaged:
                with contextlib.suppress(FileNotFoundError):  # another process has finished the map
                    put_aside(path)
        return len(damaged)

    def missing(self) -> list[tuple[int, int]]:
        """The blocks that are not finished."""
        return [block for block in self.plan.blocks() if not self.done(*block)]

    def write(self, row: int, column: int, layers: Mapping[Layer, NDArray[np.generic]]) -> None:
        """Finishes a block.

        Raises:
            UserError: It cannot be written.
        """
        for layer, array in layers.items():
            write_block(self.path(layer, row, column), array)

    def blocks(self, layer: str) -> list[tuple[Path, Window]]:
        """The files of a layer, and where each of them lies in the map."""
        every = self.plan.blocks()
        return [(self.path(layer, *block), self.plan.place(*block)) for block in every]

    def remove(self) -> None:
        """Removes the folder, the map being made."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _write(path: Path, text: str) -> None:
    """Writes a file that is there whole or not at all."""
    with whole(path) as aside:
        aside.write_text(text, encoding="utf-8")
