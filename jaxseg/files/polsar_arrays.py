"""Polarimetric matrices as arrays in .mat, .npy and .npz files.

    (rows, columns, 9)     real: the bands of `physics.polsar`, T11, T22, T33, ReT12, ImT12, ...
    (rows, columns, 9)     complex, or (rows, columns, 3, 3): all elements, row by row
    (rows, columns, 6)     complex: T11, T12, T13, T22, T23, T33
    (rows, columns, 4)     complex: the scattering matrix HH, HV, VH, VV

Whether they are T3, C3 or S2 stands in the name of the array, or of the file.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.files import arrays
from jaxseg.files.polsarpro import Kind, Plane
from jaxseg.physics import polsar
from jaxseg.scenes.scene import Window

_KINDS: dict[str, Kind] = {
    "t3": "T3", "coherency": "T3", "c3": "C3", "covariance": "C3", "s2": "S2", "scattering": "S2",
}  # fmt: skip
"""Parts of names, in lower case, and what they say."""

_SHAPES = (
    "(rows, columns, 9) real in the order T11 T22 T33 ReT12 ImT12 ReT13 ImT13 ReT23 ImT23, "
    "(rows, columns, 9) or (rows, columns, 3, 3) complex, (rows, columns, 6) complex in the order "
    "T11 T12 T13 T22 T23 T33 (C3 alike), or S2 of (rows, columns, 4) complex"
)

UPPER = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
"""Row and column of the elements of six, the upper triangle row by row."""


class PolsarArray(NamedTuple):
    """A scene in an array: what its planes are elements of, rows, columns, planes and their names.

    See `jaxseg.files.polsar.PolsarScene` for the fields.
    """

    kind: Kind
    height: int
    width: int
    planes: tuple[Plane, ...]
    names: tuple[str, ...]


def open_array(path: str) -> PolsarArray:
    """Finds the matrices of a file of arrays.

    Raises:
        UserError: The file cannot be read, has not one array of matrices, their kind is not named,
            or their shape or type is another one.
    """
    every = arrays.contents(path)
    found = [array for array in every if array.size and array.axes > 2]
    if len(found) != 1:
        raise UserError(
            f"{path} holds {arrays.listed(every)}: one array of matrices is needed, {_SHAPES}."
        )
    (array,) = found
    kind = _kind(array.name) or _kind(Path(path).stem)
    if kind is None:
        raise UserError(
            f"{path}: {array} does not say whether its matrices are T3, C3 or S2. Give the array, "
            "or the file, a name with one of these in it."
        )
    values = arrays.read(path, array.name)
    names: tuple[str, ...]
    form = (values.shape[2:], "complex" if values.dtype.kind == "c" else "real")
    if kind == "S2" and form == ((4,), "complex"):
        names, picked = polsar.S2_BANDS, [values[..., n] for n in range(4)]
    elif kind != "S2" and form == ((9,), "real"):
        names = polsar.T3_BANDS if kind == "T3" else polsar.C3_BANDS
        picked = [values[..., n] for n in range(9)]
    elif kind != "S2" and form in (((9,), "complex"), ((3, 3), "complex")):
        pairs = [(row, column) for row in range(3) for column in range(3)]
        names = tuple(f"{kind[0]}{row + 1}{column + 1}" for row, column in pairs)
        flat = form[0] == (9,)
        picked = [values[..., 3 * r + c] if flat else values[..., r, c] for r, c in pairs]
    elif kind != "S2" and form == ((6,), "complex"):
        names = polsar.T3_BANDS if kind == "T3" else polsar.C3_BANDS
        picked = [values[..., UPPER.index((n, n))].real for n in range(3)]
        for pair in polsar.PAIRS:
            element = values[..., UPPER.index(pair)]
            picked += [element.real, element.imag]
    else:
        raise UserError(
            f"{path}: {array}, {form[1]}, is not a form of {kind} that is read. It needs {_SHAPES}."
        )
    planes = tuple(_plane(plane) for plane in picked)
    height, width = values.shape[:2]
    return PolsarArray(kind, height, width, planes, tuple(f"{n} of {array.name}" for n in names))


def _kind(name: str) -> Kind | None:
    words = re.split("[^a-z0-9]+", name.lower())
    return next((kind for part, kind in _KINDS.items() if part in words), None)


def _plane(values: NDArray[np.generic]) -> Plane:
    dtype = np.complex64 if values.dtype.kind == "c" else np.float32

    def read(window: Window) -> NDArray[np.generic]:
        rows = slice(window.y, window.y + window.height)
        return values[rows, window.x : window.x + window.width].astype(dtype)

    return read
