"""From an instruction of the program back to the line of the network that it comes from.

XLA keeps the stack of calls at which JAX traced each operation, as tables before the program:

    FileNames       1 ".../jaxseg/models/unet.py"
    FunctionNames   1 "DoubleConv.__call__"
    FileLocations   1 {file_name_id=1 function_name_id=1 line=130 ...}
    StackFrames     1 {file_location_id=1 parent_frame_id=1}      parent: its number plus one
"""

import dataclasses
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
"""The folder of the library."""

_PYTHON = sysconfig.get_path("stdlib")

_NAME = re.compile(r'^(\d+) "(.*)"$')
_LOCATION = re.compile(r"^(\d+) \{file_name_id=(\d+) function_name_id=\d+ line=(\d+)")
_FRAME = re.compile(r"^(\d+) \{file_location_id=(\d+)(?: parent_frame_id=(\d+))?")
_WRAPPER = re.compile(r"^(jit|pjit|jvp|transpose|vmap|remat|checkpoint|custom_\w+)\(")
_NOT_MODULES = {
    "cond", "while", "body", "checkpoint", "rematted_computation", "closed_call", "scan",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Lines:
    """The tables of one program.

    Attributes:
        files: Path of each file.
        locations: File and line of each place.
        frames: Place and calling frame of each frame.
    """

    files: dict[int, str]
    locations: dict[int, tuple[int, int]]
    frames: dict[int, tuple[int, int]]

    def stack(self, frame: int) -> Iterator[tuple[str, int]]:
        """Files and lines from the innermost call outwards."""
        while frame in self.frames:
            place, parent = self.frames[frame]
            file, line = self.locations.get(place, (0, 0))
            if file in self.files:
                yield self.files[file], line
            if parent - 1 >= frame:
                return
            frame = parent - 1

    def of(self, frame: int) -> str:
        """`jaxseg/models/unet.py:130`: the innermost line of a network or of the user's own code.

        Of what no network does, such as a loss, the innermost line of the library; empty if XLA
        does not say where it comes from.
        """
        stack = list(self.stack(frame))
        for wanted in (_of_a_network, _of_the_library):
            for file, line in stack:
                if wanted(Path(file)):
                    return f"{shown(Path(file))}:{line}"
        return ""


def lines_of(text: str) -> Lines:
    """The tables before a program; empty ones if it has none."""
    files: dict[int, str] = {}
    locations: dict[int, tuple[int, int]] = {}
    frames: dict[int, tuple[int, int]] = {}
    table = ""
    for line in text.splitlines():
        if line in ("FileNames", "FunctionNames", "FileLocations", "StackFrames"):
            table = line
        elif line.endswith("{") and "->" in line:
            break  # the first computation
        elif table == "FileNames" and (found := _NAME.match(line)):
            files[int(found[1])] = found[2]
        elif table == "FileLocations" and (found := _LOCATION.match(line)):
            locations[int(found[1])] = (int(found[2]), int(found[3]))
        elif table == "StackFrames" and (found := _FRAME.match(line)):
            frames[int(found[1])] = (int(found[2]), int(found[3] or 0))
    return Lines(files, locations, frames)


def module(scope: str) -> tuple[str, bool]:
    """The network's module in the name of an operation, and whether it is of the backward pass.

    `jit(train_step)/transpose(jvp(UNet))/decoder1/conv2/dot_general` -> `decoder1/conv2`, True
    """
    backward = "transpose(" in scope
    parts = [part for part in scope.split("/")[:-1] if part and not _WRAPPER.match(part)]
    kept = [p for p in parts if p not in _NOT_MODULES and not p.startswith("branch_")]
    return "/".join(kept), backward


def shown(path: Path) -> str:
    """A path as short as it can be: from the folder at hand, or from the library's."""
    for base in (PACKAGE.parent, Path.cwd()):
        if path.is_relative_to(base):
            return str(path.relative_to(base))
    return path.name


def _of_a_network(path: Path) -> bool:
    """Whether a file is one architecture's, or the user's own."""
    if path.is_relative_to(PACKAGE):
        return path.parent == PACKAGE / "models"
    installed = {"site-packages", "dist-packages"} & set(path.parts)
    return not installed and not path.is_relative_to(_PYTHON) and path.exists()


def _of_the_library(path: Path) -> bool:
    return path.is_relative_to(PACKAGE)
