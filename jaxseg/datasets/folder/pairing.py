"""Which files form a scene and which scenes form a split: image, mask and object map share a stem.

No file is opened here; files are listed, matched by name, and divided into train, validation and
test.
"""

import codecs
import contextlib
import glob
import itertools
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxseg.errors import MissingSplit, UserError
from jaxseg.files.pool import ARRAYS, OF_ARRAYS
from jaxseg.files.vectors import is_vector

FLAG = "--config.data.source"
"""Prefix of the flags of the source's fields on the command line."""

EXTENSIONS = (
    ".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".vrt", ".img", ".bmp", ".gif", ".webp",
)  # fmt: skip
"""Extensions of the image files that are looked for in a folder; a pattern may name others."""

SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid"),
    "test": ("test", "testing"),
}
"""The splits, and the common names of their folders and lists."""

MARK = "{split}"
"""Placeholder in a path for the name of the split."""


class Place(NamedTuple):
    """Where files of one kind are.

    Attributes:
        field: The field of the source that gives the path.
        path: A folder, a file or a glob pattern.
        suffix: Suffix of their stems after the stem of the scene.
        prefix: Prefix of their stems before it.
    """

    field: str
    path: str
    suffix: str
    prefix: str = ""

    def has(self, path: str) -> bool:
        """Whether a file's stem has the suffix and the prefix."""
        name = _stem(path)
        return name.endswith(_composed(self.suffix)) and name.startswith(_composed(self.prefix))

    def scene(self, name: str) -> str:
        """The stem of the scene in the stem of one of its files."""
        return name.removesuffix(_composed(self.suffix)).removeprefix(_composed(self.prefix))


def check_split(split: str) -> None:
    """Rejects an unknown split.

    Raises:
        UserError: It is not one of `SPLITS`.
    """
    if split not in SPLITS:
        raise UserError(f"Split {split!r}: it must be one of {', '.join(SPLITS)}.")


def paired(places: Sequence[Place]) -> dict[str, tuple[str, ...]]:
    """Stem -> the scene's files, one per place, in natural order of the stems.

    Files of one stem in several folders of a pattern are told apart by the folders' names. One
    file in every place makes one scene, whatever their names are.

    Raises:
        UserError: A place holds no file, two files of one stem, or a file without a partner.
    """
    shared = [place for place in places[1:] if _for_all(place)]
    if shared:
        found_of = paired([place for place in places if place not in shared])
        every: dict[str, tuple[str, ...]] = {}
        for stem, files in found_of.items():
            own = iter(files)
            every[stem] = tuple(place.path if place in shared else next(own) for place in places)
        return every
    files_of = [listed(place) for place in places]
    if all(os.path.isfile(place.path) for place in places):  # noqa: PTH113  (names with wildcards)
        return {places[0].scene(_stem(files_of[0][0])): tuple(files[0] for files in files_of)}
    # Images and masks may share a folder: a file with a mask's suffix is not an image.
    for one, other in itertools.permutations(range(len(places)), 2):
        lengths = [len(places[n].suffix) + len(places[n].prefix) for n in (one, other)]
        if lengths[0] < lengths[1]:
            taken = set(files_of[other])
            files_of[one] = [path for path in files_of[one] if path not in taken]
    found = _by_stem(places, files_of)
    for one, other in itertools.permutations(range(len(places)), 2):
        missing = found[one].keys() - found[other].keys()
        if missing:
            stem = min(missing, key=natural)
            where = places[other]
            raise UserError(
                f"{len(missing)} of {len(found[one])} files of {places[one].field} have no partner "
                f"in {where.field}; the first is {found[one][stem]}, for which {where.path} would "
                f"hold {where.prefix}{stem}{where.suffix}.*. Complete or remove it, or give "
                f"{FLAG}.image_suffix, mask_suffix, image_prefix or mask_prefix if their names "
                "differ in these."
            )
    order = sorted(found[0], key=natural)
    return {stem: tuple(files[stem] for files in found) for stem in order}


def _for_all(place: Place) -> bool:
    """Whether a place is one vector file, which has the labels of all images."""
    return place.field == "masks" and is_vector(place.path) and Path(place.path).is_file()


def natural(name: str) -> tuple[list[str | int], str]:
    """Key that sorts numbers in names by their value: a2 before a10."""
    parts = re.split("([0-9]+)", name)
    return [int(part) if number % 2 else part for number, part in enumerate(parts)], name


def in_folders(places: Sequence[Place], split: str) -> list[Place]:
    """The places inside the split's folders: `{split}` filled in, or a subfolder.

    Raises:
        UserError: The split has no folder.
    """
    first = places[0].path if MARK in places[0].path else f"{places[0].path}/{MARK}"
    for name in SPLITS[split]:
        if _matches(first.replace(MARK, name)):
            return [
                place
                if _for_all(place)
                else place._replace(
                    path=(place.path if MARK in place.path else f"{place.path}/{MARK}").replace(
                        MARK, name
                    )
                )
                for place in places
            ]
    raise MissingSplit(
        f"{places[0].field}: no folder {first.replace(MARK, SPLITS[split][0])} "
        f"(nor {', '.join(SPLITS[split][1:])}) for the {split} split. Make it, or give "
        f"{FLAG}.split_by files."
    )


def with_folders(places: Sequence[Place]) -> tuple[str, ...]:
    """The splits that have a folder."""
    found = []
    for split in SPLITS:
        with contextlib.suppress(UserError):
            in_folders(places, split)
            found.append(split)
    return tuple(found)


def with_lists(folder: str) -> tuple[str, ...]:
    """The splits that have a list."""
    return tuple(split for split in SPLITS if _list_of(split, folder) is not None)


def in_fraction(stems: Sequence[str], split: str, fractions: Sequence[float]) -> list[str]:
    """The split's contiguous share of the stems, so that neighbouring names stay together.

    Raises:
        UserError: Its share is less than one file.
        MissingSplit: Its share is 0.
    """
    position = list(SPLITS).index(split)
    first, last = (round(len(stems) * sum(fractions[:end])) for end in (position, position + 1))
    if first == last:
        kind = UserError if fractions[position] else MissingSplit
        raise kind(
            f"Fractions {tuple(fractions)} of {len(stems)} scene(s) leave none to {split}. Change "
            f"{FLAG}.fractions (0 for a split that you do not need), or divide every scene by "
            f"{FLAG}.split_by columns."
        )
    return list(stems[first:last])


def in_lists(stems: Mapping[str, object], split: str, folder: str, place: Place) -> list[str]:
    """The stems in the split's text file, one per line, with or without folder and extension.

    Args:
        stems: The scenes that there are.
        split: The split.
        folder: Folder of the lists, or the file of the test split.
        place: Where the images are; names may have their suffix and prefix.

    Raises:
        UserError: The list is missing or empty, names a scene that does not exist, names one twice,
            or names one that is also in the list of another split.
    """
    path = _list_of(split, folder)
    if path is None:
        names = " or ".join(f"{name}.txt" for name in SPLITS[split])
        raise MissingSplit(
            f"{FLAG}.lists: {folder or 'no folder is given; it'} has no {names}. Write one stem "
            "per line."
        )
    chosen = _listed(path, stems, place)
    if not chosen:
        raise UserError(f"{path} names no scene. Write one stem per line.")
    for other in SPLITS.keys() - {split}:
        beside = _list_of(other, folder)
        if beside is None:
            continue
        for number, name in _lines(beside):  # which may name scenes that are not here
            if (stem := _stem_of(name, stems, place)) in chosen:
                raise UserError(
                    f"{path}, line {chosen[stem]}, and {beside}, line {number}: scene {stem!r} is "
                    "in both. A network would be tested on what it was trained on: remove one."
                )
    return list(chosen)


def _list_of(split: str, folder: str) -> Path | None:
    """The list of a split, if there is one."""
    if Path(folder).is_file():
        return Path(folder) if split == "test" else None
    files = (Path(folder) / f"{name}.txt" for name in SPLITS[split])
    return next((path for path in files if path.is_file()), None)


def _listed(path: Path, stems: Mapping[str, object], place: Place) -> dict[str, int]:
    """The stems of a list, and their lines."""
    found: dict[str, int] = {}
    for number, name in _lines(path):
        stem = _stem_of(name, stems, place)
        if stem not in stems:
            raise UserError(f"{path}, line {number}: there is no scene {name!r}. Correct the list.")
        if stem in found:
            raise UserError(
                f"{path}, lines {found[stem]} and {number}: scene {stem!r} is listed twice, and "
                "its pixels would count twice. Remove one."
            )
        found[stem] = number
    return found


def _lines(path: Path) -> list[tuple[int, str]]:
    """Number and content of the lines that are not empty."""
    lines = enumerate(_text(path).splitlines(), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def _stem_of(name: str, stems: Mapping[str, object], place: Place) -> str:
    """What a line means: a stem, with or without folder, extension, suffix and prefix."""
    name = _composed(name)
    given = [name, Path(name).name]
    if name.lower().endswith((*EXTENSIONS, Path(place.path).suffix.lower() or EXTENSIONS[0])):
        given += [name.rpartition(".")[0], _stem(name)]
    for each in given:
        folder, slash, base = each.rpartition("/")
        for stem in (each, f"{folder}{slash}{place.scene(base)}"):
            if stem in stems:
                return stem
    return name


def _text(path: Path) -> str:
    """A list in UTF-8, or in UTF-16 with its mark.

    Raises:
        UserError: It is in another encoding.
    """
    content = path.read_bytes()
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not in UTF-8: byte {error.start} is {content[error.start]:#04x}. Save it "
            "in that encoding."
        ) from None


def listed(place: Place) -> list[str]:
    """The image files of a place, in natural order of their names.

    Raises:
        UserError: There is none.
    """
    path = place.path
    endings: tuple[str, ...] = EXTENSIONS
    if Path(path).is_dir():
        with os.scandir(path) as entries:
            candidates = [entry.path for entry in entries if not entry.name.startswith(".")]
    else:
        candidates = _matches(path)
        named = Path(path).suffix.lower()
        if named and (not glob.has_magic(named) or candidates == [path]):
            endings = (*EXTENSIONS, named)
        if not candidates:
            is_pattern = glob.has_magic(path)
            raise UserError(
                f"{FLAG}.{place.field}: "
                + (f"no file matches {path}." if is_pattern else f"there is no {path}.")
                + " Give a folder, or a pattern such as 'folder/**/*.tif'."
            )
    files = [path for path in candidates if path.lower().endswith(endings) and place.has(path)]
    if not files and place.field == "masks":  # which may lie beside annotations in JSON
        files = [path for path in candidates if is_vector(path) and place.has(path)]
    files.sort(key=natural)
    if not files:
        ending = f" whose stem ends in {place.suffix!r}" if place.suffix else ""
        ending += f" whose stem begins with {place.prefix!r}" if place.prefix else ""
        of_arrays = any(path.lower().endswith(ARRAYS) for path in candidates)
        raise UserError(
            f"{FLAG}.{place.field}: {path} holds no image file{ending}. Searched for: "
            f"{' '.join(endings)}." + (f" {OF_ARRAYS}" if of_arrays else "")
        )
    return files


def _matches(pattern: str) -> list[str]:
    if os.path.exists(pattern):  # noqa: PTH110  a name may contain wildcard characters
        return [pattern]
    return glob.glob(pattern, recursive=True)  # noqa: PTH207  (a Path takes no absolute pattern)


def _by_stem(places: Sequence[Place], files_of: Sequence[Sequence[str]]) -> list[dict[str, str]]:
    """Stem of the scene -> file, for each place."""
    stems = [
        [place.scene(_stem(path)) for path in files]
        for place, files in zip(places, files_of, strict=True)
    ]
    if any(len(set(names)) < len(names) for names in stems):
        stems = [
            [_folders(place, path) + stem for path, stem in zip(files, names, strict=True)]
            for place, files, names in zip(places, files_of, stems, strict=True)
        ]
    found: list[dict[str, str]] = []
    for place, files, names in zip(places, files_of, stems, strict=True):
        of_stem: dict[str, str] = {}
        for path, stem in zip(files, names, strict=True):
            if stem in of_stem:
                raise UserError(
                    f"{FLAG}.{place.field}: {of_stem[stem]} and {path} have the same stem. Rename "
                    "one: images and masks are matched by it."
                )
            of_stem[stem] = path
        found.append(of_stem)
    return found


def _folders(place: Place, path: str) -> str:
    """The folders of a file that the wildcards of the pattern stand for, each with a slash."""
    pattern = Path(place.path).parts[:-1]
    first = next((n for n, part in enumerate(pattern) if glob.has_magic(part)), len(pattern))
    fixed = {part for part in pattern[first:] if not glob.has_magic(part)}
    inner = Path(path).parts[first:-1]
    return "".join(f"{_composed(folder)}/" for folder in inner if folder not in fixed)


def _stem(path: str) -> str:
    name = os.path.basename(path)  # noqa: PTH119  (for millions of files)
    return _composed(name.rpartition(".")[0])


def _composed(name: str) -> str:
    """The name with each letter and its accents as one character; file systems differ in that."""
    return unicodedata.normalize("NFC", name)
