"""Polarimetric scenes on disk, read by windows: PolSARpro folders and complex GeoTIFF.

    a PolSARpro folder of T3, C3, C2 or S2
    a folder with four complex GeoTIFF files whose names end in hh, hv, vh and vv
    one GeoTIFF of four complex bands HH, HV, VH, VV

Planes are mapped into memory, so a window costs what it holds, however large the scene is. Whatever
is wrong with a file is a `UserError` that names it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxseg import polsarpro, raster
from jaxseg.batch import Window
from jaxseg.errors import UserError
from jaxseg.polsarpro import FILES, Kind, Plane
from jaxseg.sensors import decompositions, polsar

BANDS: dict[Kind, tuple[str, ...]] = {
    "S2": polsar.S2_BANDS,
    "T3": polsar.T3_BANDS,
    "C3": polsar.C3_BANDS,
    "C2": polsar.C2_BANDS,
}

MOSTLY_BAD = 0.5
"""Share of bad pixels in a window above which its file, not its pixels, must be wrong."""

_ALLOWED = (
    "Give a PolSARpro folder (T3, C3, C2 or S2: .bin files with config.txt or .hdr), a folder with "
    "four complex GeoTIFF files whose names end in hh, hv, vh and vv, or a GeoTIFF of four complex "
    "bands HH, HV, VH, VV."
)


@dataclass(frozen=True)
class PolsarScene:
    """A scene whose files have been found, and whose sizes agree.

    Attributes:
        path: The folder or file.
        kind: What its planes are elements of.
        height: Rows.
        width: Columns.
        gsd: Ground sample distance in metres, or None where the files do not tell.
        planes: What reads a window of each plane, in the order of `BANDS`.
    """

    path: str
    kind: Kind
    height: int
    width: int
    gsd: float | None
    planes: tuple[Plane, ...]

    def read(self, window: Window) -> NDArray[np.generic]:
        """The window's planes as they are stored: (h, w, 9) or (h, w, 4) float32, or complex64.

        Raises:
            UserError: A file cannot be read.
        """
        return np.stack([plane(window) for plane in self.planes], axis=-1)

    def matrix(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The window as coherency matrices, and where they are usable.

        Returns:
            (h, w, 9) float32 bands of T3, or (h, w, 4) of C2, zero where there are none; (h, w)
            bool, False without data (zero in all bands, or not finite).

        Raises:
            UserError: A file cannot be read.
        """
        raw = self.read(window)
        with jax.default_device(jax.local_devices(backend="cpu")[0]):  # hosts read, devices train
            known = np.asarray(decompositions.has_data(raw))
            raw = np.where(known[..., None], raw, np.zeros((), raw.dtype))
            if self.kind == "S2":
                raw = np.asarray(polsar.t3_from_s2(jnp.asarray(raw)))
            elif self.kind == "C3":
                raw = np.asarray(polsar.t3_from_c3(jnp.asarray(raw)))
        return raw.astype(np.float32, copy=False), known

    def checked(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """As `matrix`, with pixels that are no positive semidefinite matrix marked unusable too.

        Raises:
            UserError: A file cannot be read, or most of the window's pixels are none.
        """
        bands, known = self.matrix(window)
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            good = known & np.asarray(decompositions.is_semidefinite(bands))
        bad, counted = int((known & ~good).sum()), int(known.sum())
        if bad > MOSTLY_BAD * counted:
            raise UserError(not_semidefinite(self.path, bad, counted, window))
        return np.where(good[..., None], bands, np.float32(0)), good


def not_semidefinite(path: str, bad: int, counted: int, window: Window | None = None) -> str:
    """The message about a file in which most matrices are impossible."""
    where = "" if window is None else f", window at row {window.y}, column {window.x}"
    return (
        f"{path}{where}: {bad} of {counted} pixels ({bad / counted:.1%}) are no positive "
        f"semidefinite matrix: an eigenvalue is below -{decompositions.TOLERANCE:g} of the span. "
        "No radar measures that. Planes are swapped, or not linear power (dB?): write them anew."
    )


def open_polsar(path: str | Path) -> PolsarScene:
    """Finds the files of a scene and checks their sizes; no pixel is read.

    Raises:
        UserError: There is none, an element is missing, a file is truncated or has another size or
            grid than the others, or its numbers are of a type that cannot be meant.
    """
    place = Path(path)
    if not place.exists():
        raise UserError(f"{place}: no such file or folder. {_ALLOWED}")
    if place.is_file():
        return _one_geotiff(place)
    if any(place.glob("*.bin")):
        return PolsarScene(str(place), *polsarpro.open_folder(place))
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
    if header.bands != len(polsar.S2_BANDS):
        raise UserError(f"{file} has {header.bands} band(s). {_ALLOWED}")
    names = [(name or "").upper() for name in header.descriptions]
    order = [names.index(band) if band in names else None for band in polsar.S2_BANDS]
    told = [place for place in order if place is not None]
    if told and len(told) < len(order):
        raise UserError(f"{file}: bands are named {', '.join(names)}, not HH, HV, VH, VV.")
    planes = [(str(file), place + 1) for place in (told or range(4))]
    return _of_rasters(str(file), header, planes)


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
                f"{folder}: GeoTIFF files whose name ends in {band.lower()}: {names}. It has to be "
                "exactly one for each of hh, hv, vh, vv."
            )
        headers.append(raster.header(str(found[0])))
        _check_complex(headers[-1])
        if headers[-1].bands != 1:
            raise UserError(f"{found[0]} has {headers[-1].bands} bands: one was expected.")
        planes.append((str(found[0]), 1))
    first = headers[0]
    for header in headers[1:]:
        for what in ("height", "width", "crs", "transform"):
            mine, other = getattr(header, what), getattr(first, what)
            if mine != other:
                shown = (" ".join(str(value).split()) for value in (mine, other))
                one, two = shown
                raise UserError(
                    f"{header.path}: its {what} is {one}, that of {first.path} is {two}. All four "
                    "have to have one grid."
                )
    return _of_rasters(str(folder), first, planes)


def _check_complex(header: raster.Header) -> None:
    if header.dtype.kind != "c":
        raise UserError(
            f"{header.path} holds {header.dtype} numbers, not complex ones: amplitudes have lost "
            f"their phase and are no scattering matrix. {_ALLOWED}"
        )


def _of_rasters(path: str, header: raster.Header, planes: list[tuple[str, int]]) -> PolsarScene:
    def reader(file: str, band: int) -> Plane:
        def read(window: Window) -> NDArray[np.generic]:
            return raster.read(file, window, bands=[band])[..., 0].astype(np.complex64)

        return read

    readers = tuple(reader(file, band) for file, band in planes)
    return PolsarScene(path, "S2", header.height, header.width, header.gsd, readers)
