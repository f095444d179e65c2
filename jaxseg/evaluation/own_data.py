"""The data that a run's config names: said before they are read, and nothing is made of them.

A run may be a stranger's. What its config names outside of its own folder is shown; what is on
other machines, or would have to be drawn or downloaded, needs a flag.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from rich.console import Console

from jaxseg.config_text.paths import paths_in
from jaxseg.datasets.making import nothing_made
from jaxseg.errors import UserError
from jaxseg.files.raster import is_remote
from jaxseg.scenes.scene import Source
from jaxseg.system.console import say


@contextmanager
def opened(workdir: Path, source: Source, *, make: bool, console: Console) -> Iterator[None]:
    """While the data of a run may be read; says where they are.

    Args:
        workdir: The run's folder.
        source: What its config names.
        make: Whether they may be fetched from other machines, drawn or downloaded.
        console: Where to say it.

    Raises:
        UserError: They are on another machine, and `make` is False.
    """
    outside = [path for path in paths_in(source) if not _inside(path, workdir)]
    remote = [path for path in outside if is_remote(path)]
    if remote and not make:
        raise UserError(
            f"The config of {workdir} names data on another machine: {', '.join(remote)}. Give "
            "--make if you want them to be fetched (in Python: make=True), or --images of your own."
        )
    if outside:
        say(console, "\n    ".join(["data of the run, by its config:", *outside]))
    with nullcontext() if make else nothing_made():
        yield


def shared_paths(own: Source, given: Source) -> tuple[str, ...]:
    """The paths that other data have in common with those of the run."""
    return tuple(path for path in paths_in(given) if path in paths_in(own))


def _inside(path: str, workdir: Path) -> bool:
    if is_remote(path) or path.startswith("/vsi"):
        return False
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(workdir))
