"""How names of images and masks belong together: by folders of splits, endings and beginnings."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from jaxseg.datasets.folder import pairing
from jaxseg.datasets.folder.pairing import MARK, Place
from jaxseg.errors import UserError

LOOKED_AT = 8
"""Files that are looked at, evenly spaced."""

SEPARATORS = "_-. "

Kind = Literal["suffix", "prefix"]

T = TypeVar("T")


class Part(NamedTuple):
    """One `Folder`: its images and their masks.

    Attributes:
        images: Folder, file or pattern.
        masks: The same for masks.
        kind: Whether the affixes end or begin the names.
        affixes: What names of images and of masks have beside that of the scene.
        token: Name of the bands, sensor or date if the scenes have several images each.
    """

    images: str
    masks: str
    kind: Kind = "suffix"
    affixes: tuple[str, str] = ("", "")
    token: str = ""

    def by_folders(self) -> bool:
        """Whether the splits are folders."""
        return MARK in self.images or all(
            any(Path(path, name).is_dir() for name in pairing.SPLITS["train"])
            for path in (self.images, self.masks)
        )

    def places(self) -> list[Place]:
        """Where the files are, those of the training split if splits are folders.

        Raises:
            UserError: The training split has no folder.
        """
        affixes = [{self.kind: affix} for affix in self.affixes]
        places = [
            Place(field, path, "")._replace(**of)
            for field, path, of in zip(
                ("images", "masks"), (self.images, self.masks), affixes, strict=True
            )
        ]
        return pairing.in_folders(places, "train") if self.by_folders() else places

    def pairs(self) -> list[tuple[str, ...]]:
        """Image and mask of each scene.

        Raises:
            UserError: Files are missing or have no partner.
        """
        return list(pairing.paired(self.places()).values())


def stem(path: str) -> str:
    """The name of a file without its extension."""
    return Path(path).name.rpartition(".")[0]


def some(items: Sequence[T]) -> list[T]:
    """At most `LOOKED_AT` of them, evenly spaced."""
    chosen = np.unique(np.linspace(0, len(items) - 1, LOOKED_AT).astype(int))
    return [items[int(number)] for number in chosen]


def single(part: Part) -> Part:
    """The part with the affixes of scenes that have one image each.

    Raises:
        UserError: There are none, or names have no ending or beginning that all of them share.
    """
    places = part.places()
    files = [pairing.listed(place) for place in places]
    if all(Path(place.path).is_file() for place in places):
        return part
    images, masks = ([stem(path) for path in each] for each in files)
    if set(images) & set(masks):
        return part
    if (found := _endings(images, masks)) is not None:
        return part._replace(affixes=found)
    backwards = _endings([name[::-1] for name in images], [name[::-1] for name in masks])
    if backwards is None:
        raise UserError(
            f"Images such as {images[0]} and masks such as {masks[0]} do not have one name and one "
            "ending or beginning each, so it is not known which belong together. Rename them to "
            "equal stems."
        )
    return part._replace(kind="prefix", affixes=(backwards[0][::-1], backwards[1][::-1]))


def _endings(images: Sequence[str], masks: Sequence[str]) -> tuple[str, str] | None:
    """Endings of names after what they have in common; None if they are not all the same."""
    votes: Counter[tuple[str, str]] = Counter()
    for name in some(images):
        other = max(masks, key=lambda mask: len(_common(name, mask)))
        common = _common(name, other)
        votes[name[len(common) :], other[len(common) :]] += 1
    (found, count), *_ = votes.most_common()
    return found if count == len(some(images)) and found != ("", "") else None


def _common(one: str, other: str) -> str:
    """What both begin with: one of them whole, or up to a separator."""
    pairs = enumerate(zip(one, other, strict=False))
    both = one[: next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))]
    if both in (one, other):
        return both
    while both and both[-1] not in SEPARATORS:
        both = both[:-1]
    return both.rstrip(SEPARATORS)
