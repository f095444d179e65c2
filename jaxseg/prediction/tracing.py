"""Connected regions of a map, traced strip by strip as if it were in one piece.

    strip k      regions that end in it     ->  polygons
                 regions at its last row    ->  open, until the part in a later strip ends
    strip k + 1  ...

In memory are one strip and the outlines of the open regions. Coordinates are columns and rows.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from jaxseg.files import regions
from jaxseg.files.regions import Rings
from jaxseg.files.vectors import Geometries
from jaxseg.scenes.scene import Window

AT_A_TIME = 2**20
"""Vertices of regions that are put together at a time; a region may have more."""


class Pixels(NamedTuple):
    """What is traced of a window.

    Attributes:
        classes: (h, w) numbers.
        wanted: (h, w), False where there are no polygons.
        quantity: (h, w) whose mean over a region is wanted, NaN where it is not known; None = none.
    """

    classes: NDArray[np.integer[Any]]
    wanted: NDArray[np.bool_]
    quantity: NDArray[np.floating[Any]] | None


class Regions(NamedTuple):
    """Some whole regions, or what a strip has of them.

    Attributes:
        polygons: (N,) outlines.
        classes: (N,) their classes.
        total: (N,) sums of the quantity.
        known: (N,) pixels where it is known.
    """

    polygons: Geometries
    classes: NDArray[np.int64]
    total: NDArray[np.float64]
    known: NDArray[np.int64]


@dataclasses.dataclass
class _Open:
    """A region that goes on in the next strip."""

    label: int
    shells: list[Rings]
    holes: list[Rings]
    total: float
    known: int

    def take(self, other: "_Open") -> None:
        self.shells += other.shells
        self.holes += other.holes
        self.total += other.total
        self.known += other.known


class _Above(NamedTuple):
    """The last row of the strip before: its classes, and which open region a pixel belongs to."""

    classes: NDArray[np.integer[Any]]
    region: NDArray[np.int64]  # -1 = none


def trace(
    read: Callable[[Window], Pixels], size: tuple[int, int], rows: int, simplify: float = 0.0
) -> Iterator[Regions]:
    """The regions of a map, each once, in the order of the strips in which they end.

    Args:
        read: Reads a window.
        size: Rows and columns of the map.
        rows: Of a strip.
        simplify: In pixels, see `jaxseg.files.regions.simplified`; 0 = outlines of pixels.
    """
    height, width = size
    nodes = _Nodes(size, rows) if simplify else None
    waiting: list[_Open] = []
    above: _Above | None = None
    for top in range(0, height, rows):
        pixels = read(Window(top, 0, min(rows, height - top), width))
        if nodes is not None:
            nodes.add(None if above is None else above.classes, pixels.classes, top)
        labels, parts = _strip(pixels, top, simplify)
        links = _links(above, pixels, labels)
        more = top + rows < height
        last = set(np.unique(labels[-1][pixels.wanted[-1]]).tolist()) if more else set()
        crossing = sorted(last.union(new for _, new in links))
        place = {label: len(waiting) + number for number, label in enumerate(crossing)}
        members = [*waiting, *(_opened(parts, label) for label in crossing)]
        count, group = _groups(len(members), [(old, place[new]) for old, new in links])
        stays = np.zeros(count, bool)
        stays[[group[place[label]] for label in last]] = True
        gathered = _gathered(members, group, count)
        ended = [each for each, stay in zip(gathered, stays, strict=True) if not stay]
        waiting = [each for each, stay in zip(gathered, stays, strict=True) if stay]
        whole = np.array([polygon is not None for polygon in parts.polygons])
        whole[crossing] = False
        number = np.cumsum(stays) - 1
        region = np.full(len(whole), -1, np.int64)
        for label in last:
            region[label] = number[group[place[label]]]
        above = _Above(pixels.classes[-1], region[labels[-1]])
        inner = Regions(*(each[whole] for each in parts))
        # Regions may be large: nothing here holds them while others use them.
        del pixels, labels, parts, members, gathered
        finish = functools.partial(_finished, nodes=nodes)
        if len(inner.classes):
            yield finish(inner)
        yield from map(finish, _joined(ended, straight=nodes is None))


def _strip(pixels: Pixels, top: int, simplify: float) -> tuple[regions.Ids, Regions]:
    """Which region each pixel belongs to, and the regions; no polygon where none is wanted."""
    count, labels = regions.components(pixels.classes)
    classes, wanted = np.zeros(count, np.int64), np.zeros(count, bool)
    classes[labels] = pixels.classes
    wanted[labels] = pixels.wanted
    # A border is simplified together with what lies on its other side.
    traced = np.ones(labels.shape, bool) if simplify else pixels.wanted
    numbers, made = regions.outlines(labels, traced, top)
    if simplify:
        made = regions.simplified(made, simplify)
    polygons = np.full(count, None, object)
    polygons[numbers] = made
    polygons[~wanted] = None
    total, known = _sums(labels, count, pixels.quantity)
    return labels, Regions(polygons, classes, total, known)


def _sums(
    labels: regions.Ids, count: int, quantity: NDArray[np.floating[Any]] | None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sums of a quantity over regions, and the pixels where it is known."""
    if quantity is None:
        return np.zeros(count), np.zeros(count, np.int64)
    there = np.isfinite(quantity)
    own = labels[there]
    known: NDArray[np.int64] = np.bincount(own, minlength=count).astype(np.int64)
    total: NDArray[np.float64] = np.bincount(own, quantity[there], count).astype(np.float64)
    return total, known


def _links(above: _Above | None, pixels: Pixels, labels: regions.Ids) -> list[tuple[int, int]]:
    """Open regions and regions of the strip that are one."""
    if above is None:
        return []
    touch = (above.region >= 0) & (above.classes == pixels.classes[0])
    pairs = np.unique(np.stack([above.region[touch], labels[0][touch]]), axis=1)
    return list(zip(*pairs.tolist(), strict=True))


def _groups(count: int, links: list[tuple[int, int]]) -> tuple[int, NDArray[np.int32]]:
    """Number of groups of what is linked, and the group of each."""
    first, second = [one for one, _ in links], [two for _, two in links]
    graph = sparse.coo_array((np.ones(len(links), bool), (first, second)), (count, count))
    if not count:
        return 0, np.zeros(0, np.int32)
    groups, of = sparse.csgraph.connected_components(graph, directed=False)
    return int(groups), of


def _opened(parts: Regions, label: int) -> _Open:
    shell, holes = regions.rings_of(parts.polygons[label])
    return _Open(
        int(parts.classes[label]),
        [shell],
        [holes],
        float(parts.total[label]),
        int(parts.known[label]),
    )


def _gathered(members: list[_Open], group: NDArray[np.int32], count: int) -> list[_Open]:
    """The members of each group as one."""
    found: dict[int, _Open] = {}
    for member, number in zip(members, group.tolist(), strict=True):
        if number in found:
            found[number].take(member)
        else:
            found[number] = member
    return [found[number] for number in range(count)]


def _joined(ended: list[_Open], *, straight: bool) -> Iterator[Regions]:
    """Regions put together, not many of the large ones at a time."""
    while ended:
        group, points = [], 0
        while ended and points < AT_A_TIME:
            group.append(ended.pop())
            points += sum(len(rings.points) for rings in (*group[-1].shells, *group[-1].holes))
        yield _put_together(group, straight=straight)


def _put_together(group: list[_Open], *, straight: bool) -> Regions:
    """Open regions as whole ones; the list is emptied."""
    classes = np.array([each.label for each in group], np.int64)
    total = np.array([each.total for each in group], np.float64)
    known = np.array([each.known for each in group], np.int64)
    polygons = np.full(len(group), None, object)
    for place in reversed(range(len(group))):
        each = group.pop()
        polygons[place] = regions.joined(each.shells, each.holes, straight=straight)
    return Regions(polygons, classes, total, known)


def _finished(found: Regions, nodes: "_Nodes | None") -> Regions:
    """Regions without the vertices that simplified strips have left at their borders."""
    if nodes is None:
        return found
    polygons = regions.straightened(found.polygons, nodes.needed(found.polygons))
    return found._replace(polygons=polygons)


class _Nodes:
    """Where three regions meet, on the borders of strips and of the map.

    Borders that were simplified end there, so that these vertices stay; the others that lie there
    on straight lines are left from the strips.
    """

    def __init__(self, size: tuple[int, int], rows: int) -> None:
        height, width = size
        lines = [*range(0, height, rows), height]
        self._line = np.full(height + 1, -1)
        self._line[lines] = np.arange(len(lines))
        self._on_lines = np.zeros((len(lines), width + 1), bool)
        self._on_sides = np.zeros((2, height + 1), bool)

    def add(
        self,
        above: NDArray[np.integer[Any]] | None,
        classes: NDArray[np.integer[Any]],
        top: int,
    ) -> None:
        """Looks at a strip and the last row before it."""
        bottom, below = top + len(classes), classes[0]
        changed = np.zeros(self._on_lines.shape[1], np.int64)
        changed[1:-1] = below[1:] != below[:-1]
        if above is not None:
            changed[1:-1] += above[1:] != above[:-1]
            crossed = above != below
            changed[1:] += crossed
            changed[:-1] += crossed
            # At the sides of the map, what is outside of it is the third region.
            ends = [2 * int(crossed[0]), 2 * int(crossed[-1])]
            changed[1:-1] -= 2
            changed[[0, -1]] = ends
            self._on_sides[:, top] = crossed[[0, -1]]
        self._on_lines[self._line[top]] = changed > 0
        self._on_sides[:, top + 1 : bottom] = (classes[1:] != classes[:-1])[:, [0, -1]].T
        if self._line[bottom] == len(self._on_lines) - 1:  # the end of the map
            self._on_lines[-1, 1:-1] = classes[-1][1:] != classes[-1][:-1]

    def needed(self, polygons: Geometries) -> NDArray[np.bool_]:
        """Which vertices stay, as `jaxseg.files.regions.straightened` asks for them."""
        import shapely

        x, y = shapely.get_coordinates(polygons).astype(np.int64).T
        found = np.ones(len(x), bool)
        line = self._line[y]
        on = line >= 0
        found[on] = self._on_lines[line[on], x[on]]
        for side, column in enumerate((0, self._on_lines.shape[1] - 1)):
            on = x == column
            found[on] = self._on_sides[side, y[on]]
        return found
