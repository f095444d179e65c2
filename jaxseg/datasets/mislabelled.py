"""Labels with typical annotation errors, to test what is robust to them.

Regions get a wrong class, boundaries are displaced, and regions are drawn too small. A region is
one object if the source knows objects, else a connected component of one class. The errors are a
function of the seed and the scene: a window has the same labels whenever it is read. Only the
training split is changed.

The labels of a whole scene are read at once, so scenes should have at most a few thousand pixels a
side.

Annotators are known for these kinds of errors; the way they are drawn at random is our choice.
"""

import functools
import math
import zlib
from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from jaxseg.datasets.wrapped import Wrapped
from jaxseg.errors import UserError
from jaxseg.scenes.scene import IGNORE, Sample, Scenes, Window

Labels = NDArray[np.uint8]

KEPT = 2**26
"""Pixels of changed labels that are kept in memory, a byte each: windows are read many times."""


@dataclass(frozen=True)
class Mislabelled(Wrapped):
    """A source whose training labels are wrong.

    Attributes:
        source: The source with correct labels.
        share: Share (0..1) of the regions that get another class.
        confusable: Pairs of class names: a region gets the class of its partner. A region whose
            class has no partner gets any other class with equal probability.
        shift: Largest displacement of a scene's labels along rows and columns, in pixels.
        erode: Pixels at the edge of every region that become part of the neighbouring region.
        seed: Seed of the errors.
    """

    share: float = 0.4
    confusable: tuple[tuple[str, str], ...] = ()
    shift: int = 0
    erode: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Rejects a share outside 0..1 and negative lengths or seeds.

        Raises:
            UserError: A field is out of range; the message names it.
        """
        if not 0 <= self.share <= 1:
            raise UserError(f"share of mislabelled regions is {self.share}: it has to be 0..1.")
        if self.shift < 0 or self.erode < 0 or self.seed < 0:
            raise UserError(
                f"shift {self.shift}, erode {self.erode}, seed {self.seed}: none may be negative."
            )

    def changed(self, scenes: Scenes) -> Scenes:
        """The scenes with errors.

        Raises:
            UserError: `confusable` names a class that the source lacks.
        """
        return _Errors(scenes, self, self.partners())

    def partners(self) -> NDArray[np.int64]:
        """(K,) the class that each class is confused with; -1 = any other.

        Raises:
            UserError: `confusable` names a class that the source lacks, or a class twice.
        """
        classes = self.source.classes
        named = [name for pair in self.confusable for name in pair]
        for name in named:
            if named.count(name) > 1:
                raise UserError(
                    f"confusable names the class {name!r} twice: a class has one partner."
                )
        partner = np.full(len(classes), -1)
        for pair in self.confusable:
            for name in pair:
                if name not in classes:
                    raise UserError(
                        f"confusable names the class {name!r}; the source has {', '.join(classes)}."
                    )
            one, other = (classes.index(name) for name in pair)
            partner[one], partner[other] = other, one
        return partner


class _Errors:
    """The scenes of the training split, read with errors."""

    def __init__(self, scenes: Scenes, rule: Mislabelled, partners: NDArray[np.int64]) -> None:
        self.inner, self._rule, self._partners = scenes, rule, partners
        largest = max((math.prod(scenes.size(index)) for index in range(len(scenes))), default=1)
        self._label = functools.lru_cache(max(1, KEPT // largest))(self._changed)

    def __len__(self) -> int:
        return len(self.inner)

    def name(self, index: int) -> str:
        return self.inner.name(index)

    def size(self, index: int) -> tuple[int, int]:
        return self.inner.size(index)

    def read(self, index: int, window: Window) -> Sample:
        sample = self.inner.read(index, window)
        rows = slice(window.y, window.y + window.height)
        columns = slice(window.x, window.x + window.width)
        # Unlabelled pixels stay unlabelled.
        never = sample["label"] == IGNORE
        label = self._label(index)[rows, columns]
        return sample | {"label": np.where(never, IGNORE, label).astype(np.uint8)}

    def _changed(self, index: int) -> Labels:
        """The labels of a whole scene."""
        whole = self.inner.read(index, Window(0, 0, *self.inner.size(index)))
        # The name, not the number: a scene keeps its errors when other scenes are left out.
        random = np.random.default_rng(
            (self._rule.seed, zlib.crc32(self.inner.name(index).encode()))
        )
        label = whole["label"].astype(np.uint8)
        instance = whole.get("instance")
        regions = regions_of(label, None if instance is None else instance.astype(np.int64))
        label = confused(label, regions, self._rule.share, self._partners, random)
        label = eroded(label, regions, self._rule.erode)
        if self._rule.shift:
            down, right = random.integers(-self._rule.shift, self._rule.shift + 1, 2)
            label = shifted(label, int(down), int(right))
        return label


def regions_of(label: Labels, instance: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """(H, W) region ids, counted from 1; 0 where there is no label.

    Regions are the objects, if there are any, and the 4-connected components of each class in the
    remaining pixels.
    """
    regions = np.zeros(label.shape, np.int64)
    if instance is not None:
        known = (instance > 0) & (label != IGNORE)
        # An object of two classes is two regions.
        _, regions[known] = np.unique(
            instance[known] * 256 + label[known].astype(np.int64), return_inverse=True
        )
        regions[known] += 1
    for k in np.unique(label[label != IGNORE]):
        parts, found = scipy.ndimage.label((label == k) & (regions == 0))
        regions += np.where(parts > 0, parts + regions.max(), 0) if found else 0
    return regions


def confused(
    label: Labels,
    regions: NDArray[np.int64],
    share: float,
    partners: NDArray[np.int64],
    random: np.random.Generator,
) -> Labels:
    """The label with a share of the regions changed to another class: the partner's, or any."""
    count = int(regions.max()) + 1
    chosen = random.random(count) < share
    offset = random.integers(1, max(2, len(partners)), count)
    own = np.zeros(count, np.int64)
    own[regions] = np.where(label == IGNORE, 0, label)
    other = np.where(partners[own] >= 0, partners[own], (own + offset) % len(partners))
    wrong = np.where(chosen, other, own)[regions]
    return np.where((label == IGNORE) | (regions == 0), label, wrong).astype(np.uint8)


def eroded(label: Labels, regions: NDArray[np.int64], pixels: int) -> Labels:
    """The label with each region's rim changed to the class of the nearest other region.

    A region that consists of rim alone keeps its label: annotators misplace its outline but do not
    omit it.
    """
    if not pixels:
        return label
    edge = np.zeros(label.shape, bool)
    for axis in (0, 1):
        differ = np.diff(regions, axis=axis) != 0
        edge |= np.pad(differ, [(0, int(axis == 0)), (0, int(axis == 1))])
        edge |= np.pad(differ, [(int(axis == 0), 0), (int(axis == 1), 0)])
    rim = scipy.ndimage.distance_transform_cdt(~edge, metric="taxicab") < pixels
    core = np.bincount(regions[~rim], minlength=int(regions.max()) + 1)
    rim &= core[regions] > 0
    result = label.copy()
    # The nearest pixel of another region lies across the edge. Each region is processed by itself,
    # so that its own rim is excluded from the search.
    for region, place in enumerate(scipy.ndimage.find_objects(regions), 1):
        if place is None:
            continue
        around = tuple(
            slice(max(0, s.start - 1), min(n, s.stop + 1))
            for s, n in zip(place, label.shape, strict=True)
        )
        inside = regions[around] == region
        mine = inside & rim[around]
        if not mine.any() or inside.all():
            continue
        index = scipy.ndimage.distance_transform_edt(
            inside, return_distances=False, return_indices=True
        )
        result[around][mine] = label[around][tuple(index)][mine]
    return result


def shifted(label: Labels, down: int, right: int) -> Labels:
    """The label moved by this many pixels; new rows and columns repeat the edge."""
    height, width = label.shape
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    return label[rows][:, columns]
