"""The windows that a page about a run shows, kept with the evaluation: their data may go.

EVALUATION/tiles.npz     arrays KIND_NUMBER_FIELD, such as worst_0_label, reduced; their names
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxseg.errors import UserError
from jaxseg.pictures.tiles import Tile
from jaxseg.system import side_files
from jaxseg.system.disk import whole

NAME = "tiles.npz"

SIDE = 512
"""Rows or columns of a window that are kept at most, whichever are more."""

_ARRAYS = ("rgb", "label", "prediction", "valid")


def keep_tiles(folder: Path, tiles: Mapping[str, Sequence[Tile]], step: int = 0) -> None:
    """Writes them into the folder of an evaluation.

    Args:
        folder: The folder.
        tiles: Kind (`best`, `worst`) -> windows.
        step: Of the checkpoint.
    """
    arrays: dict[str, np.ndarray] = {"step": np.array(step)}
    for kind, of_kind in tiles.items():
        small = [_reduced(tile) for tile in of_kind]
        for number, tile in enumerate(small):
            arrays |= {f"{kind}_{number}_{name}": getattr(tile, name) for name in _ARRAYS}
        arrays[f"{kind}_names"] = np.array([tile.name for tile in small], str)
        arrays[f"{kind}_right"] = np.array([tile.right for tile in small], np.float64)
    if (folder / NAME).is_dir():
        side_files.put_aside(folder / NAME)
    with whole(folder / NAME) as aside, aside.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def kept_tiles(folder: Path) -> dict[str, list[Tile]]:
    """Kind -> windows that an evaluation has kept; empty if it is of an earlier version.

    Raises:
        UserError: The file is damaged.
    """
    file = folder / NAME
    if not file.exists():
        return {}
    try:
        content = side_files.arrays(file)
        kinds = [name.removesuffix("_names") for name in content if name.endswith("_names")]
        return {
            kind: [
                Tile(
                    name=str(name),
                    **{part: content[f"{kind}_{number}_{part}"] for part in _ARRAYS},
                    right=float(content[f"{kind}_right"][number]),
                )
                for number, name in enumerate(content[f"{kind}_names"])
            ]
            for kind in kinds
        }
    except (side_files.DamagedError, ValueError, LookupError, TypeError) as error:
        why = side_files.reason(error)
        raise UserError(f"{file} cannot be read ({why}): evaluate the run again.") from error


def _reduced(tile: Tile) -> Tile:
    """Every n-th row and column of a large one, with the share of right pixels of all."""
    every = -(-max(tile.label.shape) // SIDE)
    part = (slice(every // 2, None, every),) * 2
    small = {name: getattr(tile, name)[part] for name in _ARRAYS}
    return dataclasses.replace(tile, right=tile.share(), **small)
