"""Survey of a polarimetric scene: checks of every pixel, and a picture of each product.

A scene is read in strips and reduced to at most `SIDE` pixels per side by averaging matrices, which
decompositions need anyway. The checks count every pixel as stored.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray
from rich.console import Console

from jaxseg.errors import UserError
from jaxseg.files import polsar as polsar_files
from jaxseg.files.polsar import PolsarScene
from jaxseg.physics import decompositions, polsar, polsar_filters, sar
from jaxseg.pictures.tiles import DPI, stretch
from jaxseg.scenes.scene import Window
from jaxseg.system.console import say, track

SIDE = 1600
"""Maximum rows and columns of a picture."""

STRIP_PIXELS = 2_000_000
"""Pixels in memory at a time."""

FLOOR = 1e-12
"""Power as which zeros are drawn."""

RANGE = 40.0
"""Maximum range of a map in decibels."""


@dataclass(frozen=True, eq=False)
class Survey:
    """The result of a pass over a scene.

    Attributes:
        scene: The files of the scene.
        factor: Rows and columns of the scene per row and column of the overview.
        bands: (h, w, 9) T3 or (h, w, 4) C2, means over usable pixels, zero where there are none.
        known: (h, w) bool, whether there are usable pixels.
        nodata: Number of pixels of the scene that are zero in all bands, or not finite.
        bad: Number of pixels that are not Hermitian, positive semidefinite matrices.
        looks: (h, w) equivalent number of looks in 9 x 9 pixels of the overview.
    """

    scene: PolsarScene
    factor: int
    bands: NDArray[np.float32]
    known: NDArray[np.bool_]
    nodata: int
    bad: int
    looks: NDArray[np.float32]

    @property
    def usual_looks(self) -> float:
        """The median of `looks`; texture lowers it."""
        return float(np.median(self.looks[self.known]))


def survey(path: str, console: Console) -> Survey:
    """Reads the whole scene once.

    Raises:
        UserError: A file is missing, damaged or has another grid; no pixel has data; or most pixels
            are not valid matrices.
    """
    scene = polsar_files.open_polsar(path)
    factor = max(1, math.ceil(max(scene.height, scene.width) / SIDE))
    # The last block of a row or column may be smaller: the overview covers the whole scene.
    rows, columns = -(-scene.height // factor), -(-scene.width // factor)
    channels = 4 if scene.kind == "C2" else 9
    total = np.zeros((rows, columns, channels))
    count = np.zeros((rows, columns), np.int64)
    nodata = bad = 0
    step = max(1, STRIP_PIXELS // (scene.width * factor)) * factor
    tops = range(0, scene.height, step)
    windows = [Window(top, 0, min(step, scene.height - top), scene.width) for top in tops]
    shown = track(windows, "strips of the scene", total=len(tops), console=console)
    for window in windows if len(windows) == 1 else shown:
        bands, known, good = scene.matrices(window)
        nodata += int((~known).sum())
        bad += int((known & ~good).sum())
        place = slice(window.y // factor, -(-(window.y + window.height) // factor))
        count[place] += _block_sums(good[..., None], factor)[..., 0].astype(np.int64)
        total[place] += _block_sums(np.where(good[..., None], bands, 0), factor)
    pixels = scene.height * scene.width
    if nodata == pixels:
        blank = [
            name
            for name, plane in zip(scene.names, scene.planes, strict=True)
            if not any(np.isfinite(plane(window)).any() for window in windows)
        ]
        which = f" No value is finite in {', '.join(blank)}." if blank else ""
        raise UserError(
            f"{scene.path}: none of its {pixels} pixels has data: all are zero, NaN or infinite."
            f"{which}"
        )
    if bad > polsar_files.MOSTLY_BAD * (pixels - nodata):
        raise UserError(polsar_files.impossible(scene.path, bad, pixels - nodata))
    mean = (total / np.maximum(count, 1)[..., None]).astype(np.float32)
    looks = np.asarray(polsar_filters.equivalent_looks(jnp.asarray(mean)))
    return Survey(scene, factor, mean, count > 0, nodata, bad, looks)


def show(found: Survey, console: Console) -> None:
    """Prints the checks within 100 columns."""
    scene, pixels = found.scene, found.scene.height * found.scene.width
    gsd = "ground sample distance not known" if scene.gsd is None else f"pixels of {scene.gsd:g} m"
    say(console, f"{scene.path}: {scene.kind}, {scene.height} x {scene.width} pixels, {gsd}")
    for count, what in ((found.nodata, "without data"), (found.bad, "not a valid matrix")):
        say(console, f"  {what:28}{count:>14,}   {count / pixels:8.3%}")
    power = _decibel(np.asarray(polsar.span(jnp.asarray(found.bands))))[found.known]
    low, middle, high = np.percentile(power, (5, 50, 95))
    say(console, f"  {'span, dB':28}{middle:14.1f}   5 to 95 %: {low:.1f} to {high:.1f}")
    low, middle, high = np.percentile(found.looks[found.known], (25, 50, 75))
    text = f"{'looks in 9 x 9 windows':28}{middle:14.1f}   quartiles {low:.1f} and {high:.1f}"
    say(console, f"  {text}; texture lowers them")
    if found.factor > 1:
        say(console, f"  looks and pictures are of means of {found.factor} x {found.factor} pixels")


def figures(found: Survey, *, average: int = 0, looks: float = 0.0) -> dict[str, Figure]:
    """A picture of each product, by name.

    Args:
        found: The scene.
        average: Rows and columns of the sliding mean before eigenvalues and powers; 0 = 7 for
            single looks, 3 otherwise.
        looks: Number of looks for the refined Lee filter; 0 = the scene's median, at least 1.
    """
    if found.bands.shape[-1] == 4:
        return _dual(found)
    size = average or (7 if found.scene.kind == "S2" else 3)
    supposed = looks or max(1.0, found.usual_looks)
    t3 = jnp.asarray(found.bands)
    filtered = polsar_filters.refined_lee(t3, looks=supposed)
    mean = polsar_filters.boxcar(t3, size)
    eigen = np.asarray(decompositions.cloude_pottier(mean))
    powers = np.asarray(decompositions.freeman_durden(mean))
    over = f"means of {size} x {size} pixels"
    draw = _Map(found)
    pauli = "red |HH-VV| double bounce, green |HV| volume, blue |HH+VV| surface; dB, 1 to 99 %"
    return {
        "pauli": draw.colors(polsar.pauli_decibel(t3, FLOOR), "Pauli", pauli),
        "pauli_refined_lee": draw.colors(
            polsar.pauli_decibel(filtered, FLOOR),
            f"Pauli after the refined Lee filter, 7 x 7, {supposed:.1f} looks",
            pauli,
        ),
        "span": draw.values(_decibel(found.bands[..., :3].sum(-1)), "Span", "total power, dB"),
        "entropy": draw.values(
            eigen[..., 0], f"Entropy, {over}", "H: 0 one mechanism, 1 all alike", limits=(0, 1)
        ),
        "anisotropy": draw.values(
            eigen[..., 1], f"Anisotropy, {over}", "A of the two weaker mechanisms", limits=(0, 1)
        ),
        "alpha": draw.values(
            eigen[..., 2],
            f"Mean alpha, {over}",
            "degrees: 0 surface, 45 dipole, 90 double bounce",
            limits=(0, 90),
            colormap="turbo",
        ),
        "freeman_durden": draw.three(
            _decibel(powers),
            f"Freeman-Durden powers, {over}",
            ("surface", "double bounce", "volume"),
            "power, dB; darkest also where it is 0",
        ),
    }


def _dual(found: Survey) -> dict[str, Figure]:
    """The products of two channels."""
    bands, draw = found.bands, _Map(found)
    root = np.sqrt(bands[..., 0]) * np.sqrt(bands[..., 1])
    coherence = np.hypot(bands[..., 2], bands[..., 3]) / np.maximum(root, 1e-30)
    return {
        "span": draw.values(_decibel(bands[..., :2].sum(-1)), "Span", "total power, dB"),
        "c11": draw.values(_decibel(bands[..., 0]), "First channel, C11", "power, dB"),
        "c22": draw.values(_decibel(bands[..., 1]), "Second channel, C22", "power, dB"),
        "coherence": draw.values(
            coherence, "Coherence of the channels", "|C12| / sqrt(C11 C22)", limits=(0, 1)
        ),
    }


class _Map:
    """Draws arrays of the overview's size with axes in pixels of the scene."""

    def __init__(self, found: Survey) -> None:
        self._known = found.known
        height, width = found.known.shape
        scene = found.scene
        self._extent = (0, scene.width, scene.height, 0)
        self._unit = "pixels" if scene.gsd is None else f"pixels of {scene.gsd:g} m"
        self._aspect = min(2.0, max(0.3, height / width))

    def values(
        self,
        values: NDArray[np.float32],
        title: str,
        label: str,
        *,
        limits: tuple[float, float] | None = None,
        colormap: str = "viridis",
    ) -> Figure:
        """A map with a colour bar; without limits, from the 2nd to the 98th percentile."""
        figure, axes = self._canvas(title)
        image = self._paint(axes, values, limits or self._range(values), colormap)
        _bar(figure, image, axes, label, clipped=limits is None)
        return figure

    def three(
        self, values: NDArray[np.float32], title: str, names: tuple[str, ...], label: str
    ) -> Figure:
        """Three maps side by side with one colour bar."""
        width = 11.5
        figure = Figure(
            figsize=(width, width / 3.3 * self._aspect + 0.9), dpi=DPI, layout="constrained"
        )
        figure.suptitle(title, fontsize=11)
        grid: Any = figure.subplots(1, 3, sharey=True)
        limits = self._range(values)
        image: Any = None
        for number, (axes, name) in enumerate(zip(grid, names, strict=True)):
            image = self._paint(axes, values[..., number], limits, "viridis")
            axes.set_title(name, fontsize=10)
            if number:
                axes.set_ylabel("")
        _bar(figure, image, grid[-1], label, clipped=True)
        return figure

    def colors(self, values: Array, title: str, meaning: str) -> Figure:
        """A composite with each band stretched from its 1st to its 99th percentile."""
        figure, axes = self._canvas(title)
        rgb = stretch(np.asarray(values), self._known, low=1, high=99)
        rgb[~self._known] = 217
        axes.imshow(rgb, extent=self._extent, interpolation="nearest")
        self._name(axes)
        figure.supxlabel(meaning, fontsize=8)
        return figure

    def _canvas(self, title: str) -> tuple[Figure, Axes]:
        figure = Figure(figsize=(7.2, 6.0 * self._aspect + 0.9), dpi=DPI, layout="constrained")
        figure.suptitle(title, fontsize=11)
        return figure, figure.add_subplot()

    def _paint(
        self, axes: Axes, values: NDArray[np.float32], limits: tuple[float, float], colormap: str
    ) -> AxesImage:
        shown = np.where(self._known, values, np.nan)
        axes.set_facecolor("0.85")  # where there are no data
        low, high = limits
        image = axes.imshow(
            shown, extent=self._extent, cmap=colormap, vmin=low, vmax=high, interpolation="nearest"
        )
        self._name(axes)
        return image

    def _name(self, axes: Axes) -> None:
        axes.set_xlabel(f"column ({self._unit})", fontsize=8)
        axes.set_ylabel(f"row ({self._unit})", fontsize=8)
        axes.tick_params(labelsize=8)

    def _range(self, values: NDArray[np.float32]) -> tuple[float, float]:
        seen = values[self._known]
        zero = 10 * math.log10(FLOOR) + 1  # dB of zero power, which would extend the scale
        low, high = np.percentile(seen[np.isfinite(seen) & (seen > zero)], (2, 98))
        return float(max(low, high - RANGE)), float(max(high, low + 1e-3))


def _bar(figure: Figure, image: AxesImage, axes: Axes, label: str, *, clipped: bool) -> None:
    """A colour bar as high as the map beside it."""
    place = axes.inset_axes((1.03, 0.0, 0.035, 1.0))
    bar = figure.colorbar(image, cax=place, extend="both" if clipped else "neither")
    bar.set_label(label, fontsize=9)
    place.tick_params(labelsize=8)


def _decibel(power: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(sar.intensity_to_decibel(jnp.asarray(power), floor=FLOOR))


def _block_sums(image: NDArray[Any], factor: int) -> NDArray[np.float64]:
    """Sums of factor x factor blocks, the last ones smaller: (H, W, C) -> (h, w, C)."""
    rows = np.arange(0, image.shape[0], factor)
    columns = np.arange(0, image.shape[1], factor)
    sums = np.add.reduceat(image, rows, axis=0, dtype=np.float64)
    return np.asarray(np.add.reduceat(sums, columns, axis=1))
