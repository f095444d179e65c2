"""Bands, sensors or dates in files of their own, guessed from names: several images for a mask.

    a_VV.tif, a_VH.tif          + a.tif      by ending, or by beginning
    B02/a.tif, B03/a.tif        + a.tif      by folder
    VV.tif, VH.tif              + mask.tif   one scene, by name

The masks decide: where every image has a mask of its own, every image is a scene.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from jaxseg.datasets.folder import pairing
from jaxseg.datasets.folder.names import SEPARATORS, Kind, Part, single, stem
from jaxseg.datasets.folder.pairing import EXTENSIONS, MARK, SPLITS
from jaxseg.errors import UserError

MOST = 16
"""Files of a scene that are stacked; every one of them reads the mask again."""

_YEAR = "(?:19|20)[0-9]{2}"
_MONTH_DAY = "(?:0[1-9]|1[0-2])[_-]?(?:0[1-9]|[12][0-9]|3[01])"

WORDS = (
    # In the order of the bands: colours are not sorted by name, nor is what was before and after.
    "vv", "vh", "hh", "hv", "coastal", "red", "green", "blue", "rgb", "pan", "rededge[0-9]?", "nir",
    "swir[0-9]?", "thermal", "tir", "s1", "s2", "sar", "radar", "optical", "opt", "msi", "lidar",
    "dem", "dsm", "dtm", "ndsm", "height", "elevation", "depth", "slope", "ndvi", "ndwi",
    "b[0-9]{1,2}a?", "band_?[0-9]{1,2}", "before", "pre", "after", "post",
    "t[12](?:c|ce|n|w|f)?", "time_?[12]", "flair",
    f"{_YEAR}[_-]?{_MONTH_DAY}(?:t[0-9]{{6}})?", _YEAR,
)  # fmt: skip
"""What names of bands, sensors and dates consist of, as patterns."""

TWO_DATES = ("A", "B")
"""What folders of the earlier and the later images are called in sets for change detection."""

_ONE = re.compile("|".join(f"({word})" for word in WORDS), re.IGNORECASE)
_KNOWN = re.compile(f"(?:{'|'.join(WORDS)})(?:[_. -]?(?:{'|'.join(WORDS)}))*", re.IGNORECASE)


def parts_of(images: str, masks: str) -> list[Part]:
    """The folders of a source: one, or one for each band, sensor or date.

    Args:
        images: Folder, file or pattern; `{split}` in it stands for the split's name.
        masks: The same for masks.

    Raises:
        UserError: Files are missing, do not pair, or it is open whether images are bands of one
            scene.
    """
    if Path(images).is_dir() and Path(images).resolve() == Path(masks).resolve():
        example = "{split}/%s" if _has_train(images) else "*_%s.*"
        raise UserError(
            f"{images} is given as the folder of images and of masks. Tell them apart, such as by "
            + f"--images '{images}/{example % 'image'}' --masks '{images}/{example % 'mask'}'"
        )
    images, masks = _of_all_splits(images, masks)
    folders = _folders_of_images(images, masks)
    if not folders:
        return _by_names(Part(images, masks))
    if MARK not in images and not _known_folder(folders[0]) and Path(masks, folders[0]).is_dir():
        raise UserError(
            f"{images} holds no images but folders ({_listed(folders)}), as {masks} does. Give "
            f"patterns: --images '{images}/*/*' --masks '{masks}/*/*'"
        )
    if MARK not in images and _has_train(images):
        images = f"{images}/{MARK}"
        masks = masks if MARK in masks or not _has_train(masks) else f"{masks}/{MARK}"
    if len(folders) == 1:
        raise UserError(
            f"{images} holds no images but a folder of them: give --images {images}/{folders[0]}"
        )
    known = sorted(filter(_known_folder, folders), key=_order)
    found: list[Part] = []
    lacking = []
    for name in known:
        try:
            inner = _by_names(Part(f"{images}/{name}", masks))
            for part in inner:
                part.pairs()
        except UserError:
            counts = [len(pairing.listed(p)) for p in Part(f"{images}/{name}", masks).places()]
            lacking.append(f"{name} with {counts[0]} image(s) for {counts[1]} mask(s)")
            continue
        for part in inner:
            token = f"{name} {part.token}" if part.token else name
            found.append(part._replace(token=token))
    if lacking or len(known) < 2:
        example = f"{images}/{(known or folders)[0]}"
        raise UserError(
            f"{images} holds no images but folders ({_listed(lacking or folders)}). Folders of "
            "bands, sensors or dates have names such as B02, VV, S1 or 20210619, and an image for "
            f"every mask each. Give one of them, such as --images {example}, or write a source: "
            + _source_of([f'images="{images}/{name}"' for name in folders[:2]])
        )
    _check_count(found)
    if len({(a.affixes[1], a.affixes[1] and a.kind, a.by_folders()) for a in found}) > 1:
        raise UserError(
            f"{images}: names and splits of {_listed(known)} differ. Give them names of one kind."
        )
    return found


def left_out(images: str, masks: str) -> list[str]:
    """Folders beside those of bands, whose names are not of bands, sensors or dates."""
    return [name for name in _folders_of_images(images, masks) if not _known_folder(name)]


def _by_names(part: Part) -> list[Part]:
    """The parts of a folder whose scenes have several images each, told apart by their names."""
    places = part.places()
    files = [pairing.listed(place) for place in places]
    images, masks = ([stem(path) for path in each] for each in files)
    unique = len(set(images)) == len(images) and len(set(masks)) == len(masks)
    if len(images) <= len(masks) or not unique or set(masks) & set(images):
        return [single(part)]
    if len(masks) == 1 and (whole := _of_one_scene(part, files[0], files[1][0])):
        return whole
    for kind in ("suffix", "prefix"):
        for affix, cores in _scenes_of(masks, kind):
            found = _affixes(images, cores, kind)
            if found is not None:
                return _told_apart(part, found, kind, affix)
    return [single(part)]


def _scenes_of(masks: Sequence[str], kind: Kind) -> Iterator[tuple[str, list[str]]]:
    """What all masks may have beside the names of the scenes, and these."""
    yield "", list(masks)
    for count in (1, 2, 3):
        cut = [_places(name, kind) for name in masks]
        if any(len(places) < count for places in cut):
            return
        split = [
            _split(name, places[count - 1], kind) for name, places in zip(masks, cut, strict=True)
        ]
        affixes = {affix for _, affix in split}
        cores = [core for core, _ in split]
        if len(affixes) == 1 and len(set(cores)) == len(cores):
            yield affixes.pop(), cores


def _places(name: str, kind: Kind) -> list[int]:
    """Where a name may be cut, the place of the shortest affix first."""
    found = [n for n in range(1, len(name) - 1) if name[n] in SEPARATORS]
    return found[::-1] if kind == "suffix" else found


def _split(name: str, place: int, kind: Kind) -> tuple[str, str]:
    """Name of the scene and affix, which the separator belongs to."""
    if kind == "suffix":
        return name[:place], name[place:]
    return name[place + 1 :], name[: place + 1]


def _affixes(
    images: Sequence[str], cores: Sequence[str], kind: Kind
) -> dict[str, list[str]] | None:
    """Scene -> the affixes of its images; None if most scenes have one image or none."""
    found: dict[str, list[str]] = {core: [] for core in cores}
    for name in images:
        splits = (_split(name, place, kind) for place in _places(name, kind))
        if (split := next((s for s in splits if s[0] in found), None)) is not None:
            found[split[0]].append(split[1])
    several = sum(len(affixes) > 1 for affixes in found.values())
    return found if several >= len(found) / 2 else None


def _told_apart(part: Part, found: dict[str, list[str]], kind: Kind, mask_affix: str) -> list[Part]:
    """One part for each affix.

    Raises:
        UserError: Affixes are not those of bands, or scenes lack some of them.
    """
    every = list(dict.fromkeys(affix for affixes in found.values() for affix in affixes))
    tokens = _tokens(every)
    known = sorted((a for a in every if _known_name(tokens[a])), key=lambda a: _order(tokens[a]))
    core, most = max(found.items(), key=lambda item: len(item[1]))
    names = [f"{core}{affix}" if kind == "suffix" else f"{affix}{core}" for affix in most]
    mask = f"{core}{mask_affix}" if kind == "suffix" else f"{mask_affix}{core}"
    seen = f"{len(names)} images belong to the mask {mask}: {_listed(names)}."
    if len(known) < 2:
        raise UserError(
            f"{seen} Are they bands, sensors or dates of one scene? Their names do not say so, as "
            "_B02, _VV, s1_ or _20210619 do. If they are, write a source: "
            + _source_of([f'image_{kind}="{affix}"' for affix in most[:2]])
            + " If each of them is a scene, give each a mask of its name."
        )
    for affix in known:
        lacking = [core for core, affixes in found.items() if affix not in affixes]
        if lacking:
            raise UserError(
                f"{seen} {len(lacking)} of {len(found)} scenes have no image with {affix!r}, such "
                f"as {lacking[0]}. Complete or remove them."
            )
    parts = [part._replace(kind=kind, affixes=(a, mask_affix), token=tokens[a]) for a in known]
    _check_count(parts)
    return parts


def _of_one_scene(part: Part, images: Sequence[str], mask: str) -> list[Part]:
    """One part for each image, if the names of all of them are of bands."""
    tokens = _tokens([stem(path) for path in images])
    if not all(map(_known_name, tokens.values())) or part.by_folders():
        return []
    ordered = sorted(images, key=lambda path: _order(tokens[stem(path)]))
    parts = [Part(path, mask, token=tokens[stem(path)]) for path in ordered]
    _check_count(parts)
    return parts


def _tokens(affixes: Sequence[str]) -> dict[str, str]:
    """Affix -> what it has beside the others: B02 of _B02_10m."""
    parts = [re.split(f"[{re.escape(SEPARATORS)}]", affix.strip(SEPARATORS)) for affix in affixes]
    first, last = 0, 0
    while all(len(words) > first + 1 for words in parts) and len({w[first] for w in parts}) == 1:
        first += 1
    while all(len(words) > first + last + 1 for words in parts) and (
        len({w[-1 - last] for w in parts}) == 1
    ):
        last += 1
    return {
        affix: "_".join(words[first : len(words) - last])
        for affix, words in zip(affixes, parts, strict=True)
    }


def _known_name(name: str) -> bool:
    return _KNOWN.fullmatch(name) is not None


def _known_folder(name: str) -> bool:
    return name in TWO_DATES or _known_name(name)


def _order(name: str) -> tuple[list[int], object]:
    """Key that sorts bands as they are usually ordered."""
    return [match.lastindex or 0 for match in _ONE.finditer(name)], pairing.natural(name)


def _folders_of_images(images: str, masks: str) -> list[str]:
    """Names of the folders with images in a folder that holds no image itself."""
    top = Path(images)
    if MARK in images:
        filled = (Path(images.replace(MARK, name)) for name in SPLITS["train"])
        top = next((path for path in filled if path.is_dir()), top)
    if not top.is_dir():
        return []
    if any(_is_image(path) for path in top.iterdir()):
        return []
    splits = {name for names in SPLITS.values() for name in names}
    inside = next((top / name for name in SPLITS["train"] if (top / name).is_dir()), top)
    if any(_is_image(path) for path in inside.iterdir()):
        return []
    folders = [path for path in inside.iterdir() if path.is_dir() and path.name not in splits]
    of_masks = {Path(masks).resolve(), *Path(masks).resolve().parents}
    return sorted(
        (
            path.name
            for path in folders
            if path.resolve() not in of_masks
            and not path.name.startswith(".")
            and (any(map(_is_image, path.iterdir())) or _has_train(str(path)))
        ),
        key=pairing.natural,
    )


def _of_all_splits(images: str, masks: str) -> tuple[str, str]:
    """Paths into the folder of the training split, with the mark if other splits lie beside it."""
    paths = [Path(images), Path(masks)]
    for train in SPLITS["train"]:
        if any(path.parts.count(train) != 1 for path in paths):
            continue
        marked = [str(Path(*(MARK if p == train else p for p in path.parts))) for path in paths]
        others = (name for split, names in SPLITS.items() if split != "train" for name in names)
        if any(all(Path(path.replace(MARK, name)).exists() for path in marked) for name in others):
            return marked[0], marked[1]
    return images, masks


def _has_train(path: str) -> bool:
    return any(Path(path, name).is_dir() for name in SPLITS["train"])


def _is_image(path: Path) -> bool:
    return path.name.lower().endswith(EXTENSIONS) and not path.name.startswith(".")


def _check_count(parts: Sequence[Part]) -> None:
    if len(parts) > MOST:
        raise UserError(
            f"Scenes have {len(parts)} files each ({_listed([part.token for part in parts])}); up "
            f"to {MOST} are stacked. Make one file of each scene: gdalbuildvrt -separate a.vrt "
            "a_*.tif"
        )


def _source_of(fields: Sequence[str]) -> str:
    folders = ", ".join(f"Folder({field}, ...)" for field in fields)
    return f"Stacked({folders}) of jaxseg.datasets."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
