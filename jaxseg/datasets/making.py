"""Whether data that are missing may be made on first use: drawn, converted or downloaded.

A training makes them, as does whoever is given a config file. A run that is opened may be a
stranger's, whose config could name any folder: nothing is made of it without a flag.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jaxseg.errors import UserError

_refused = 0


@contextmanager
def nothing_made() -> Iterator[None]:
    """Until it is left, data that are missing are an error."""
    global _refused
    _refused += 1
    try:
        yield
    finally:
        _refused -= 1


def check_making(what: str, place: object) -> None:
    """Called before data are made.

    Args:
        what: The dataset.
        place: Where its files would be written.

    Raises:
        UserError: Nothing may be made.
    """
    if _refused:
        raise UserError(
            f"{what} is not in {Path(str(place))}, where the run's config has it. To open a run "
            "makes and downloads nothing: give --make if you want it (in Python: make=True)."
        )
