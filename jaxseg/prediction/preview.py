"""A picture of a finished map: the scene, the map with a legend, confidence, a scale bar.

Scene and map are read reduced, from their overviews if they have any and strip by strip, so that
memory does not grow with them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from jaxseg.errors import UserError
from jaxseg.pictures.map_sheet import map_figure
from jaxseg.pictures.map_view import read_classes, read_map
from jaxseg.pictures.tiles import DPI, stretch
from jaxseg.pictures.written import write_figure
from jaxseg.prediction.image import Scene
from jaxseg.prediction.layers import STEPS, Layer
from jaxseg.run.whole_scenes import means
from jaxseg.scenes.scene import Source, Window
from jaxseg.scenes.sensor import visible
from jaxseg.system.console import track

SIDE = 1000
"""Rows or columns of the scene and the map in a picture at most."""

FINER = 2
"""Rows and columns that are read for one of the picture, and averaged: less noise of radar."""

QUIET = Console(quiet=True)

STRIP = 64
"""Rows of a picture whose pixels are read at a time."""


def check_name(path: Path, layers: Sequence[Layer]) -> None:
    """Rejects a file that cannot be a preview, before anything is computed.

    Args:
        path: The picture.
        layers: Of the map.

    Raises:
        UserError: Its name has another ending, its folder is not there, or the map has no classes.
    """
    if "classes" not in layers:
        raise UserError(
            f"--preview shows classes: name them in --layers {' '.join(layers)}, or leave it out."
        )
    if path.suffix.lower() != ".png":
        raise UserError(f"--preview {path}: give a name that ends in .png.")
    if not path.parent.is_dir():
        raise UserError(
            f"--preview {path}: the folder {path.parent} does not exist. Create it, or correct the "
            "name."
        )


def write_preview(
    path: Path,
    scene: Scene,
    window: Window,
    source: Source,
    files: Mapping[Layer, Path],
    title: str,
    console: Console = QUIET,
) -> None:
    """Draws the map of a part of a scene.

    Args:
        path: The picture.
        scene: The scene.
        window: What of it was mapped.
        source: Of the run: classes, their colours, and which bands look like red, green and blue.
        files: Layer -> file of the map; `classes` is needed, `confidence` drawn if there.
        title: Above the pictures.
        console: Where to show how much of the scene is read.

    Raises:
        UserError: A file cannot be read or written.
    """
    found = read_classes(files["classes"], SIDE, tuple(source.classes))
    confidence = None
    if "confidence" in files:
        confidence = read_map(files["confidence"], SIDE).ids.astype(np.float32) / STEPS
    picture = scene_picture(scene, window, source, found.ids.shape, console)
    figure = map_figure(picture, found, confidence, source.colors, source.classes, title)
    write_figure(figure, path, dpi=DPI)


def scene_picture(
    scene: Scene,
    window: Window,
    source: Source,
    shape: tuple[int, ...],
    console: Console = QUIET,
) -> NDArray[np.uint8]:
    """A part of a scene as (h, w, 3), contrast stretched; black where it has no data.

    Args:
        scene: The scene.
        window: What of it.
        source: Says which bands look like red, green and blue.
        shape: h, w, at most those of the window.
        console: Where to show how much is read.

    Raises:
        UserError: A file cannot be read.
    """
    height, width = shape
    finer = FINER if min(window.height // height, window.width // width) >= FINER else 1
    rgb = np.zeros((height, width, 3), np.float32)
    valid = np.zeros((height, width), bool)
    strips = range(0, height, STRIP)
    for first in track(strips, "preview", total=len(strips), console=console):
        last = min(first + STRIP, height)
        top, bottom = (window.height * row // height for row in (first, last))
        part = Window(window.y + top, window.x, bottom - top, window.width)
        image, known = scene.read(part, (finer * (last - first), finer * width))
        averaged = means(_colored(image, scene, source), known, finer)
        valid[first:last] = np.isfinite(averaged).all(-1)
        rgb[first:last] = np.nan_to_num(averaged)
    return stretch(rgb, valid)


def _colored(image: NDArray[np.generic], scene: Scene, source: Source) -> NDArray[np.float32]:
    """(h, w, 3): as the run's source shows its bands, which may have to open its files."""
    try:
        return source.rgb(image)
    except UserError:  # they are gone, and not needed for a map: by the names of the bands
        return image[..., visible(scene.sensor.bands)].astype(np.float32)
