"""Other data than a run's own: read as the run reads its own, and called by a name of their own."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

from jaxseg.datasets.folder import Folder
from jaxseg.datasets.folder.pairing import MARK, SPLITS
from jaxseg.datasets.packed.source import originals
from jaxseg.datasets.paired import without_side
from jaxseg.datasets.wrapped import leaves
from jaxseg.errors import UserError
from jaxseg.scenes.scene import Source, parts, with_parts
from jaxseg.system.disk import whole_folder

ALL = "all"

GENERIC = (
    "data",
    "image",
    "images",
    "img",
    "imgs",
    "jpg",
    "png",
    "tif",
    "tiff",
    *(name for names in SPLITS.values() for name in names),
)
"""Names of folders that do not say which data are in them."""


def found_in(
    source: Source, images: str, masks: str = "", instances: str = "", names: str = ""
) -> Source:
    """The run's source with other files: classes, ids, colours, suffixes and bands stay.

    Args:
        source: The source of the run.
        images: Folder, file or pattern of the images.
        masks: The same for the masks.
        instances: The same for the object ids.
        names: A file with the stems of the scenes, one per line; empty = as the run divides its
            files.

    Raises:
        UserError: The run does not read one folder of images, or masks are missing.
    """
    source = originals(without_side(source))
    folders = [leaf for leaf in leaves(source) if isinstance(leaf, Folder)]
    kinds = {type(leaf).__name__ for leaf in leaves(source)} - {"Folder"}
    if kinds or len({(folder.images, folder.masks) for folder in folders}) != 1:
        why = (
            f"the run's data are {', '.join(sorted(kinds))}"
            if kinds
            else "the run reads several folders of images"
        )
        raise UserError(f"--images: {why}. Describe the other data by a config file: --config.")
    for field, given in (("masks", masks), ("instances", instances)):
        needed = any(getattr(folder, field) for folder in folders) and (
            field == "masks" or any(f.separate_touching or not f.masks for f in folders)
        )
        if needed and not given:
            raise UserError(f"--images needs --{field}: the run's labels are in its {field}.")
    place = {"images": images, "masks": masks, "instances": instances}

    def changed(folder: Folder) -> Folder:
        divided = {"split_by": "lists", "lists": names} if names else {}
        if not names and folder.split_by == "lists":  # which name the run's own scenes
            divided = {"split_by": "files", "lists": ""}
        return _absolute(dataclasses.replace(folder, **place, **divided))  # type: ignore[arg-type]

    return _of_folders(source, changed)


def everything(source: Source) -> tuple[Source, str]:
    """All scenes of a source, and the split that holds them.

    Raises:
        UserError: The source has no files of its own, or several splits.
    """
    others = {type(leaf).__name__ for leaf in leaves(source) if not isinstance(leaf, Folder)}
    if others:
        raise UserError(
            f"--split all is for folders of images; {', '.join(sorted(others))} has the splits "
            f"{', '.join(SPLITS)}."
        )
    splits = {leaf.splits() for leaf in leaves(source) if isinstance(leaf, Folder)}
    folder = next(leaf for leaf in leaves(source) if isinstance(leaf, Folder))
    if folder.split_by in ("folders", "lists") and (present := min(splits)):
        if len(present) > 1 or len(splits) > 1:
            raise UserError(
                f"--split all: the data have the splits {', '.join(present)}. Choose one of them."
            )
        return source, present[0]
    if folder.split_by == "lists" or MARK in folder.images:
        raise UserError(f"--split all: {folder.images} has no split.")
    whole = {"split_by": "files", "fractions": (0.0, 0.0, 1.0)}
    return _of_folders(source, lambda f: dataclasses.replace(f, **whole)), "test"  # type: ignore[arg-type]


def name_of(source: Source, otherwise: str) -> str:
    """What the data are called: by the folder of their images, else `otherwise`."""
    images = next((str(leaf.images) for leaf in leaves(source) if isinstance(leaf, Folder)), "")
    for part in reversed(Path(images).absolute().parts[1:] if images else ()):
        stem = part if not Path(part).suffix else Path(part).stem
        if stem.lower() not in GENERIC and not re.search(r"[*?{\[]", part):
            return re.sub(r"[^\w.-]+", "_", stem)
    return otherwise or type(source).__name__


def folder_of(workdir: Path, name: str, source: Source, out: Path | None = None) -> Path:
    """The folder of the results: evaluation/NAME, or NAME-2, ... if other data are called so.

    The file data.txt in it says which data they are.

    Args:
        workdir: The run's folder.
        name: What the data are called.
        source: The data.
        out: Another folder than `workdir`/evaluation.

    Raises:
        UserError: It cannot be written.
    """
    identity = repr(_of_folders(source, _absolute)) + "\n"
    number = 1
    while True:
        results = out or workdir / "evaluation"
        folder = results / (name if number == 1 else f"{name}-{number}")
        file = folder / "data.txt"
        if not folder.exists():
            with whole_folder(folder) as aside:
                (aside / file.name).write_text(identity, encoding="utf-8")
        if file.is_file() and file.read_bytes() == identity.encode():
            return folder
        number += 1


def _absolute(folder: Folder) -> Folder:
    """The folder with paths that mean the same wherever a command is started."""
    paths = {name: getattr(folder, name) for name in ("images", "masks", "instances", "lists")}
    whole = {name: str(Path(path).absolute()) for name, path in paths.items() if path}
    return dataclasses.replace(folder, **whole)  # type: ignore[arg-type]


def _of_folders(source: Source, changed: Callable[[Folder], Folder]) -> Source:
    if isinstance(source, Folder):
        return changed(source)
    inner = {name: _of_folders(part, changed) for name, part in parts(source).items()}
    return with_parts(source, inner) if inner else source
