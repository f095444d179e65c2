"""The files of a map: their names, and whether what is there is the map that is asked for."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from jaxseg.errors import UserError
from jaxseg.files import raster
from jaxseg.prediction.layers import Layer

JOB = "JAXSEG_JOB"
"""Tag of a map that names all that decided its numbers."""

OBJECTS = "JAXSEG_OBJECTS"
"""Tag of a map whose connected regions are objects: `yes`."""


def tag_of(job: Mapping[str, object]) -> str:
    """The value of this tag."""
    return hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()[:16]


def layer_file(out: Path, layer: Layer) -> Path:
    """The file of a layer: the map itself for classes, else beside it."""
    return out if layer == "classes" else out.with_name(f"{out.stem}_{layer}{out.suffix}")


def check_names(files: Iterable[Path], scene: Iterable[str]) -> None:
    """Rejects files that cannot be maps.

    Args:
        files: To be written.
        scene: Files of the scene.

    Raises:
        UserError: A name has another ending, its folder is not there, or it is that of the scene.
    """
    own = {Path(path).resolve() for path in scene if not raster.is_remote(path)}
    for file in files:
        if file.resolve() in own:
            raise UserError(f"{file} is a file of the scene. Give the map another name.")
        if file.suffix.lower() not in (".tif", ".tiff"):
            raise UserError(f"{file}: a map is a GeoTIFF; give a name that ends in .tif.")
        if not file.parent.is_dir():
            raise UserError(
                f"{file}: the folder {file.parent} does not exist. Create it, or correct the name."
            )


def refuse_others(files: Iterable[Path], *, overwrite: bool) -> None:
    """Protects files that another command has made.

    Raises:
        UserError: There is one, and it is not to be replaced.
    """
    for file in files:
        if file.exists() and not overwrite:
            raise UserError(f"{file} exists. Give another name, or --overwrite to replace it.")


def made(files: Iterable[Path], tag: str) -> bool:
    """Whether all files are there, and were made by the same job."""
    try:
        return all(
            file.exists() and raster.header(str(file)).tags.get(JOB) == tag for file in files
        )
    except UserError:  # something else has this name
        return False
