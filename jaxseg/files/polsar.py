"""Polarimetric scenes on disk, read window by window: PolSARpro folders and complex GeoTIFF.

    a PolSARpro folder of T3, C3, C2 or S2
    a folder with four complex GeoTIFF files whose names end in hh, hv, vh and vv
    one GeoTIFF of four complex bands HH, HV, VH, VV, or of nine T11, T12 ... T33 or C11 ... C33
    an array in a .mat, .npy or .npz file, see `jaxseg.files.polsar_arrays`

Planes are memory-mapped, so the cost of a window does not depend on the size of the scene. Every
fault of a file is reported as a `UserError` that names it.
"""

import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.files import arrays, polsarpro, raster
from jaxseg.files.polsar_arrays import open_array
from jaxseg.files.polsarpro import FILES, Kind, Plane
from jaxseg.physics import decompositions, polsar
from jaxseg.scenes.scene import Window

MOSTLY_BAD = 0.5
"""Share of bad pixels above which the files of a scene are considered wrong."""

PROBE = 64
"""Rows and columns of the 8 x 8 windows across a scene that are checked before it is used."""

_ALLOWED = (
    "Give a PolSARpro folder (T3, C3, C2 or S2: .bin files with config.txt or .hdr), a folder with "
    "four complex GeoTIFF files whose names end in hh, hv, vh and vv, or a GeoTIFF of complex "
    "bands: four (HH, HV, VH, VV) or nine (named T11, T12 ... T33, or C11 ... C33). Or an array "
    "named T3, C3 or S2 in a .mat, .npy or .npz file."
)


@dataclass(frozen=True)
class PolsarScene:
    """A scene whose files exist and agree in size.

    Attributes:
        path: The folder or file.
        kind: What its planes are elements of.
        height: Rows.
        width: Columns.
        gsd: Ground sample distance in metres; None if the files do not state it.
        planes: Functions that each read a window of one plane: S2 in the order HH, HV, VH, VV;
            matrices as real planes in the order of `physics.polsar`, or all nine elements as
            complex ones.
        names: Names of the planes in messages.
        header: Header of the first GeoTIFF; None for a PolSARpro folder.
    """

    path: str
    kind: Kind
    height: int
    width: int
    gsd: float | None
    planes: tuple[Plane, ...]
    names: tuple[str, ...]
    header: raster.Header | None = None

    def read(self, window: Window) -> NDArray[np.generic]:
        """The window's planes as stored: (h, w, 9) or (h, w, 4) float32, or complex64.

        Raises:
            UserError: A file cannot be read.
        """
        return np.stack([plane(window) for plane in self.planes], axis=-1)

    def matrices(self, window: Window) -> "Matrices":
        """The window as coherency matrices, and which pixels hold valid ones.

        Raises:
            UserError: A file cannot be read.
        """
        raw = self.read(window)
        with jax.default_device(jax.local_devices(backend="cpu")[0]):  # reading is the host's work
            known = np.asarray(decompositions.has_data(raw))
            bands = jnp.asarray(np.where(known[..., None], raw, np.zeros((), raw.dtype)))
            hermitian: NDArray[np.bool_] | bool = True
            if self.kind == "S2":
                bands = polsar.t3_from_s2(bands)
            elif raw.dtype.kind == "c":  # all nine elements, row by row
                full = bands.reshape(*bands.shape[:-1], 3, 3)
                hermitian = np.asarray(polsar.asymmetry(full) <= decompositions.TOLERANCE)
                bands = polsar.bands_of(full)
            if self.kind == "C3":
                bands = polsar.t3_from_c3(bands)
            good = known & hermitian & np.asarray(decompositions.is_semidefinite(bands))
        return Matrices(np.asarray(bands, np.float32), known, np.asarray(good))

    def usable(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The bands of `matrices`, zero where invalid, and (h, w) bool, True where valid.

        Raises:
            UserError: A file cannot be read.
        """
        bands, _, good = self.matrices(window)
        return np.where(good[..., None], bands, np.float32(0)), good

    def refuse_impossible(self) -> None:
        """Checks windows across the scene; a corner of bad pixels alone does not reject it.

        Raises:
            UserError: A file cannot be read, or most pixels are not valid matrices.
        """
        height, width = min(PROBE, self.height), min(PROBE, self.width)
        tops = np.unique(np.linspace(0, self.height - height, 8).astype(int))
        lefts = np.unique(np.linspace(0, self.width - width, 8).astype(int))
        bad = counted = 0
        for y, x in itertools.product(tops.tolist(), lefts.tolist()):
            _, known, good = self.matrices(Window(y, x, height, width))
            bad, counted = bad + int((known & ~good).sum()), counted + int(known.sum())
        if bad > MOSTLY_BAD * counted:
            raise UserError(impossible(self.path, bad, counted))


class Matrices(NamedTuple):
    """A window of a scene.

    Attributes:
        bands: (h, w, 9) float32 bands of T3, or (h, w, 4) of C2, zero where there is no data.
        known: (h, w) bool, False where there is no data: zero in all bands, or not finite.
        good: (h, w) bool, True where there is data and a Hermitian, positive semidefinite matrix.
    """

    bands: NDArray[np.float32]
    known: NDArray[np.bool_]
    good: NDArray[np.bool_]


def impossible(path: str, bad: int, counted: int) -> str:
    """The message about a scene in which most matrices are impossible."""
    return (
        f"{path}: {bad} of {counted} pixels ({bad / counted:.1%}) are not Hermitian, "
        f"positive semidefinite matrices (to {decompositions.TOLERANCE:g} of the span). No radar "
        "measures that: planes are swapped, or not linear power (dB?). Write them again."
    )


def open_polsar(path: str | Path) -> PolsarScene:
    """Finds the files of a scene and checks their sizes; no pixel is read.

    Raises:
        UserError: There is no scene, an element is missing, a file is truncated or differs from
            the others in size or grid, or its data type does not fit.
    """
    place = Path(path)
    if not place.exists():
        raise UserError(f"{place}: no such file or folder. {_ALLOWED}")
    if arrays.is_array_file(place):
        kind, height, width, planes, names = open_array(str(place))
        return PolsarScene(str(place), kind, height, width, None, planes, names)
    if place.is_file():
        return _one_geotiff(place)
    if any(place.glob("*.bin")):
        folder = polsarpro.open_folder(place)
        return PolsarScene(str(place), *folder, tuple(f"{name}.bin" for name in FILES[folder.kind]))
    if any(_is_tiff(file) for file in place.iterdir()):
        return _four_geotiffs(place)
    below = [kind for kind in FILES if (place / kind).is_dir()]
    hint = f"Did you mean {place / below[0]}? " if below else ""
    raise UserError(f"{place} holds no .bin and no GeoTIFF file. {hint}{_ALLOWED}")


def _is_tiff(file: Path) -> bool:
    return file.suffix.lower() in (".tif", ".tiff")


def _one_geotiff(file: Path) -> PolsarScene:
    if file.suffix.lower() in (".bin", ".hdr") or file.name == "config.txt":
        raise UserError(f"{file} is one file of a PolSARpro folder: give {file.parent}.")
    header = raster.header(str(file))
    _check_complex(header)
    names = [(name or "").upper() for name in header.descriptions]
    kinds: dict[Kind, tuple[str, ...]] = {"S2": polsar.S2_BANDS, "T3": _full("T"), "C3": _full("C")}
    kind: Kind
    for kind, meant in kinds.items():
        if set(names) == set(meant):
            places = [names.index(name) + 1 for name in meant]
            return _of_rasters(str(file), kind, header, [(header, place) for place in places])
    if header.bands == len(polsar.S2_BANDS) and not any(names):
        return _of_rasters(str(file), "S2", header, [(header, n) for n in range(1, 5)])
    shown = ", ".join(name or "no name" for name in names)
    raise UserError(f"{file} has {header.bands} band(s): {shown}. {_ALLOWED}")


def _full(letter: str) -> tuple[str, ...]:
    """Names of all elements of a 3 x 3 matrix, row by row."""
    return tuple(f"{letter}{row}{column}" for row in (1, 2, 3) for column in (1, 2, 3))


def _four_geotiffs(folder: Path) -> PolsarScene:
    planes, headers = [], []
    for band in polsar.S2_BANDS:
        ends = re.compile(rf"(^|[^a-z]){band.lower()}$")
        found = [
            file
            for file in sorted(folder.iterdir())
            if _is_tiff(file) and ends.search(file.stem.lower())
        ]
        if len(found) != 1:
            names = ", ".join(file.name for file in found) or "none"
            raise UserError(
                f"{folder}: GeoTIFF files whose name ends in {band.lower()}: {names}. There must "
                "be exactly one for each of hh, hv, vh, vv."
            )
        headers.append(raster.header(str(found[0])))
        _check_complex(headers[-1])
        if headers[-1].bands != 1:
            raise UserError(f"{found[0]} has {headers[-1].bands} bands: it must have one.")
        planes.append((headers[-1], 1))
    first = headers[0]
    for header in headers[1:]:
        for what in ("height", "width", "crs", "transform"):
            mine, other = getattr(header, what), getattr(first, what)
            if mine != other:
                shown = (" ".join(str(value).split()) for value in (mine, other))
                one, two = shown
                raise UserError(
                    f"{header.path}: its {what} is {one}, that of {first.path} is {two}. All four "
                    "must have one grid."
                )
    return _of_rasters(str(folder), "S2", first, planes)


def _check_complex(header: raster.Header) -> None:
    if header.dtype.kind != "c":
        raise UserError(
            f"{header.path} holds {header.dtype} values, not complex ones: amplitudes have no "
            f"phase and are not a scattering matrix. {_ALLOWED}"
        )


def _of_rasters(
    path: str, kind: Kind, header: raster.Header, planes: list[tuple[raster.Header, int]]
) -> PolsarScene:
    def reader(file: raster.Header, band: int) -> Plane:
        nodata = file.nodata[band - 1]

        def read(window: Window) -> NDArray[np.generic]:
            plane = raster.read(file.path, window, bands=[band])[..., 0].astype(np.complex64)
            # Pixels that are zero in all planes mean no data, tagged or not.
            return np.where(plane == nodata, np.complex64(np.nan), plane) if nodata else plane

        return read

    readers = tuple(reader(file, band) for file, band in planes)
    names = tuple(f"band {band} of {Path(file.path).name}" for file, band in planes)
    return PolsarScene(path, kind, header.height, header.width, header.gsd, readers, names, header)
