"""Many scenes: a folder, a pattern, a text list, a STAC item or a collection of items.

    scenes/                  every raster in it and in its folders
    'scenes/**/*_B4.tif'     a pattern (in quotes, or the shell replaces it)
    scenes.txt               a line for each scene, several files of one grid side by side
    item.json                STAC: the assets that hold the run's bands

Each scene has a map of its own, at the same place below the folder of the maps.
"""

import glob
import json
import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urljoin

from jaxseg.datasets.folder.pairing import EXTENSIONS
from jaxseg.errors import UserError
from jaxseg.files import formats
from jaxseg.files.raster import is_remote
from jaxseg.files.virtual import remote_sources
from jaxseg.scenes.sensor import canonical, listed

LISTS = (".txt", ".lst")

STAC = (".json", ".geojson")


class SceneFiles(NamedTuple):
    """One scene.

    Attributes:
        name: Of its map, without ending; may begin with folders.
        paths: Its files, of one grid.
    """

    name: str
    paths: tuple[str, ...]


def names_many(path: str) -> bool:
    """Whether a path of the command line stands for a number of scenes."""
    return _is_folder(path) or _is_pattern(path) or path.lower().endswith((*LISTS, *STAC))


def scenes(
    given: Sequence[str], bands: tuple[str, ...], *, remote: bool, maps: Path | None = None
) -> list[SceneFiles]:
    """The scenes that paths stand for, in the order of the paths and of their names.

    Args:
        given: Folders, patterns, lists, STAC files or rasters.
        bands: Of the run, by which the assets of STAC items are chosen.
        remote: Whether files on other machines are read that a list or an item names.
        maps: Folder of the maps; what lies in it is not taken for a scene. None = no folder.

    Raises:
        UserError: No scene was found, a list or an item cannot be read, or two scenes would be
            mapped to the same file.
    """
    found: list[SceneFiles] = []
    for path in given:
        if path.lower().endswith(LISTS):
            new = list(_listed_in(path))
        elif path.lower().endswith(STAC):
            new = list(_in_stac(path, bands))
        elif _is_folder(path) or _is_pattern(path):
            new = _below(path, maps)
        else:
            new = [SceneFiles(Path(path).stem, (path,))]
        if not new:
            raise UserError(
                f"{path}: no scene found there. Scenes are files that end in "
                f"{', '.join(EXTENSIONS)}."
            )
        if not remote and path.lower().endswith((*LISTS, *STAC)):
            _refuse_remote(path, new)
        found += new
    seen: dict[str, SceneFiles] = {}
    for scene in found:
        if (other := seen.setdefault(scene.name, scene)) is not scene:
            raise UserError(
                f"{other.paths[0]} and {scene.paths[0]} would both be mapped to {scene.name}.tif. "
                "Map them into two folders, or give the folder that holds both."
            )
    return found


def refuse_remote_sources(path: str, *, remote: bool) -> None:
    """Rejects a local virtual raster whose pixels lie on another machine.

    Raises:
        UserError: It names such files, and nobody has allowed to fetch them.
    """
    if remote:
        formats.allow_remote(path)
    elif elsewhere := remote_sources(path):
        raise UserError(
            f"{path} names files on other machines ({listed(elsewhere)}). --remote allows to "
            "fetch them."
        )


def _refuse_remote(path: str, found: list[SceneFiles]) -> None:
    elsewhere = [file for scene in found for file in scene.paths if is_remote(file)]
    if elsewhere:
        raise UserError(
            f"{path} names {len(elsewhere)} file(s) on other machines, such as {elsewhere[0]}. "
            "--remote allows to fetch them."
        )


def _is_folder(path: str) -> bool:
    return not is_remote(path) and os.path.isdir(path)  # noqa: PTH112


def _is_pattern(path: str) -> bool:
    return not is_remote(path) and glob.has_magic(path) and not os.path.exists(path)  # noqa: PTH110


def _below(path: str, maps: Path | None) -> list[SceneFiles]:
    """All rasters of a folder and its folders, or of a pattern."""
    if _is_folder(path):
        top = Path(path)
        pattern = os.path.join(glob.escape(path), "**", "*")  # noqa: PTH118
    else:
        pattern = path
        fixed = list(_before_magic(Path(path)))
        top = Path(*fixed) if fixed else Path()
    files = sorted(
        file
        for file in glob.glob(pattern, recursive=True)  # noqa: PTH207  (keeps the path as given)
        if file.lower().endswith(EXTENSIONS) and not _in_unfinished_map(file)
    )
    if maps is not None and maps.resolve() != top.resolve():
        files = [file for file in files if maps.resolve() not in Path(file).resolve().parents]
    return [
        SceneFiles(Path(file).relative_to(top).with_suffix("").as_posix(), (file,))
        for file in files
    ]


def _before_magic(pattern: Path) -> Iterator[str]:
    """The folders that a pattern names without wildcards."""
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            return
        yield part


def _in_unfinished_map(file: str) -> bool:
    """Whether a file is a block of a map that is being made."""
    return Path(file).parent.suffix == ".part"


def _listed_in(path: str) -> Iterator[SceneFiles]:
    """The lines of a list; relative paths begin at the folder of the list."""
    formats.refuse_endless(path)
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Cannot read the list {path}: {error}.") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        # A line that is the name of a file may have spaces in it.
        whole = _beside(path, line.strip())
        try:
            files = [whole] if Path(whole).exists() else shlex.split(line)
        except ValueError as error:
            raise UserError(
                f"{path}, line {number}: {error}. Put names with spaces in quotes."
            ) from error
        paths = tuple(_beside(path, file) for file in files)
        yield SceneFiles(Path(paths[0]).stem, paths)


def _beside(path: str, file: str) -> str:
    """A path that another file names."""
    if is_remote(file) or file.startswith("/vsi"):
        return file
    if is_remote(path):
        return urljoin(path, file)
    return os.path.join(Path(path).parent, file)  # noqa: PTH118


def _in_stac(path: str, bands: tuple[str, ...]) -> Iterator[SceneFiles]:
    """The items of a STAC file."""
    formats.refuse_endless(path)
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        items = content["features"] if content.get("type") == "FeatureCollection" else [content]
        for item in items:
            yield SceneFiles(_named(path, str(item["id"])), _assets(path, item, bands))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{path} is not a STAC item or a collection of items ({type(error).__name__}: {error})."
        ) from error


def _named(path: str, name: str) -> str:
    """The id of an item as the name of its map, which lies in the folder of the maps.

    Raises:
        UserError: It would lie elsewhere.
    """
    if not name or "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise UserError(
            f"{path}: an item is called {name!r}, and its map would not lie in the folder of the "
            "maps. Name its files in a text list."
        )
    return name


def _assets(path: str, item: dict[str, Any], bands: tuple[str, ...]) -> tuple[str, ...]:
    """The files of an item that hold the bands of the run, in their order.

    Raises:
        UserError: No asset, or more than one, can be the one with a band.
    """
    rasters = {key: asset for key, asset in item["assets"].items() if _is_raster(asset)}
    named = {key: [canonical(key), *_bands_of(asset)] for key, asset in rasters.items()}
    chosen = []
    for band in map(canonical, bands):
        holds = [key for key, names in named.items() if band in names]
        exact = [key for key in holds if canonical(key) == band]
        if len(exact or holds) != 1:
            break
        chosen.append((exact or holds)[0])
    else:
        return tuple(_beside(path, rasters[key]["href"]) for key in dict.fromkeys(chosen))
    data = [key for key, asset in rasters.items() if "data" in asset.get("roles", ())]
    if len(only := data or list(rasters)) == 1:
        return (_beside(path, rasters[only[0]]["href"]),)
    raise UserError(
        f"{path}, item {item['id']}: the assets {listed(tuple(named))} do not tell which of them "
        f"hold the bands {listed(bands)}. Name their files in a text list."
    )


def _is_raster(asset: dict[str, Any]) -> bool:
    """Whether an asset is an image to be analysed."""
    roles = set(asset.get("roles", ()))
    kind = str(asset.get("type", ""))
    if roles & {"thumbnail", "overview", "metadata"}:
        return False
    return kind.startswith("image/") or asset["href"].lower().split("?")[0].endswith(EXTENSIONS)


def _bands_of(asset: dict[str, Any]) -> list[str]:
    """The names of an asset's bands: by STAC 1.1, or the extension eo."""
    every = [*asset.get("bands", ()), *asset.get("eo:bands", ())]
    keys = ("name", "common_name", "eo:common_name")
    return [canonical(str(band[key])) for band in every for key in keys if key in band]
