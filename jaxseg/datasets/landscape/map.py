"""The label map of `landscape`: a tile of countryside with object ids, before any sensor sees it.

    terrain -> river in its valley -> villages, roads -> lakes -> forest -> parcels, hedges, tracks

To optical sensors the single pixels of every class look like those of a second class (`PAIRS`):
the two differ in size, shape, neighbourhood and the pattern of `Ground.texture`. Lengths are in
pixels of `GSD` metres.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from jaxseg.datasets.landscape.shapes import (
    SIZE,
    YX,
    Float,
    Int,
    Mask,
    Rng,
    distance_to,
    fractal,
    gaussian_fields,
    meander,
    regions,
    relief,
    strips,
    voronoi,
    voronoi_cells,
)
from jaxseg.datasets.landscape.villages import draw_buildings, draw_roads

SPLITS = ("train", "validation", "test")

GSD = 5.0
"""Ground sample distance in metres."""

CLASSES = (
    "lake",
    "river",
    "forest",
    "hedge",
    "cropland",
    "meadow",
    "orchard",
    "garden",
    "road",
    "building",
)
LAKE, RIVER, FOREST, HEDGE, CROPLAND, MEADOW, ORCHARD, GARDEN, ROAD, BUILDING = range(10)

PAIRS = (
    ("lake", "river"),
    ("forest", "hedge"),
    ("cropland", "meadow"),
    ("orchard", "garden"),
    ("road", "building"),
)
"""Classes with identical pixel distributions to optical sensors: only context tells them apart.

Radars see buildings but cannot tell roads from water; see `sensors.look_alikes`.
"""

INCONSPICUOUS = ("hedge", "road", "building")
"""Classes one to three pixels wide, or with few pixels per object."""


class Ground(NamedTuple):
    """One tile, the input of the sensors; all arrays are (256, 256).

    Attributes:
        label: uint8 class ids; every pixel has one.
        instance: int32 object ids from 1: parcels of cropland, meadow and orchard, and buildings;
            0 elsewhere.
        cell: int32; pixels of one cell share a state (crop, stand, roof material, turbidity).
        texture: float32, each pixel N(0, 1): rows, crowns and blotches, by class.
        relief: float32, each pixel N(0, 1): how much the slope faces the sun or the radar;
            independent of the label map.
    """

    label: NDArray[np.uint8]
    instance: Int
    cell: Int
    texture: Float
    relief: Float


class _Fields(NamedTuple):
    """The parcels, as if they covered the whole tile, and the lines between them."""

    label: NDArray[np.uint8]
    parcel: Int
    copse: Mask
    hedge: Mask
    track: Mask
    across: Float  # coordinate across the rows in pixels
    along: Float


def draw(seed: int, split: str, index: int) -> Ground:
    """Tile `index` of a split; it does not depend on the number of tiles or the sensor."""
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    terrain, ragged = gaussian_fields(rng, fractal(2.1, 200, 5))
    warp = gaussian_fields(rng, fractal(2.0, 110, 9))
    river, to_river = _river(rng, warp[0])
    terrain -= 1.5 * np.exp(-((to_river / 45) ** 2))
    network = draw_roads(rng, terrain, to_river)
    lake = _lakes(rng, terrain, warp[1], np.minimum(to_river, network.to_street) - 7)
    water = river | lake
    building, to_building = draw_buildings(rng, network, water)
    fields = _fields(rng, warp, to_river + 9 * ragged, network.outside)

    score = terrain + 0.4 * ragged
    forest = score > np.quantile(score, 1 - rng.uniform(0.06, 0.3))
    garden = (to_building < 6.5 + 1.5 * ragged) & ~water
    wood = (forest | (fields.copse & (to_river > 14))) & (network.outside > 5) & ~garden & ~water
    free = ~(wood | garden | water)

    label = fields.label.copy()
    label[fields.hedge & free] = HEDGE
    label[wood] = FOREST
    label[garden] = GARDEN
    label[fields.track & free] = ROAD
    label[river] = RIVER
    label[lake] = LAKE
    label[building > 0] = BUILDING
    label[network.road] = ROAD

    parcel = (label == CROPLAND) | (label == MEADOW) | (label == ORCHARD)
    built = label == BUILDING
    objects = np.where(parcel, fields.parcel, 0) + np.where(built, building + 2**24, 0)
    instance = regions(objects.astype(np.int32))
    return Ground(
        label=label,
        instance=instance,
        cell=_cells(rng, label, instance, warp),
        texture=_texture(rng, label, fields),
        relief=gaussian_fields(rng, relief(2.2, 90, 6))[0],
    )


def _river(rng: Rng, wave: Float) -> tuple[Mask, Float]:
    """River pixels, and every pixel's distance to the bank (large in a tile without a river)."""
    present = rng.random() < 0.75
    course = meander(rng)
    half_width = rng.uniform(2.4, 5.0)
    if not present:
        return np.zeros((SIZE, SIZE), np.bool_), np.full((SIZE, SIZE), 4 * SIZE, np.float32)
    bank = distance_to([course]) - half_width * (1 + 0.16 * wave)
    return bank < 0, np.maximum(bank, 0)


def _lakes(rng: Rng, terrain: Float, wave: Float, room: Float) -> Mask:
    """Lakes in the lowest places with enough room: ovals with bays."""
    lake = np.zeros((SIZE, SIZE), np.bool_)
    places = rng.uniform(10, SIZE - 10, (80, 2))
    order = np.argsort(terrain[tuple(places.astype(int).T)])
    for _ in range(rng.choice([0, 1, 2, 3], p=[0.08, 0.27, 0.4, 0.25])):
        radius, stretch = rng.uniform(12, 34), rng.uniform(1, 2.2)
        angle = rng.uniform(0, np.pi)
        for trial, (y, x) in enumerate(np.tile(places[order], (3, 1))):
            radius *= 0.7 if trial in (80, 160) else 1
            if room[int(y), int(x)] > 0.75 * radius * np.sqrt(stretch):
                dy, dx = YX[0] - y, YX[1] - x
                along = (dx * np.cos(angle) + dy * np.sin(angle)) / np.sqrt(stretch)
                across = (dy * np.cos(angle) - dx * np.sin(angle)) * np.sqrt(stretch)
                blob = (np.hypot(along, across) < radius * (1 + 0.22 * wave)) & (room > 0)
                lake |= blob
                room = np.minimum(room, np.hypot(dy, dx) - 1.6 * radius * np.sqrt(stretch))
                break
    return lake


def _fields(rng: Rng, warp: tuple[Float, Float], to_river: Float, outside: Float) -> _Fields:
    """Rectangles in zones, each with one direction; irregular meadows near the river."""
    bend = (9 * warp[0], 9 * warp[1])
    zones = voronoi_cells(rng, 115, (13 * warp[1], -13 * warp[0]))
    irregular = voronoi(rng, int(rng.integers(34, 46)), bend)
    chance = rng.random(8191)
    across, along = np.empty_like(warp[0]), np.empty_like(warp[0])
    side_edge, end_edge = np.empty_like(across), np.empty_like(across)
    side, end, parcel = (np.empty((SIZE, SIZE), np.int32) for _ in range(3))
    for zone in np.unique(zones):
        here = zones == zone
        angle = rng.uniform(0, np.pi)
        y, x = YX[0][here] - SIZE / 2, YX[1][here] - SIZE / 2
        across[here], along[here] = (
            y * np.cos(angle) - x * np.sin(angle),
            (x * np.cos(angle) + y * np.sin(angle)),
        )
        long_side, short_side = strips(rng, across[here], along[here], (20, 42), (48, 120))
        parcel[here] = long_side.cell + 2**16 * zone
        side[here], side_edge[here] = long_side.neighbour + 97 * zone, long_side.edge
        end[here], end_edge[here] = short_side.neighbour + 89 * zone, short_side.edge
    loose = to_river < 26 + 10 * warp[1]
    parcel = np.where(loose, irregular.cell, parcel)

    number, owner = np.unique(parcel, return_inverse=True)
    owner = owner.reshape(parcel.shape)
    count = np.bincount(owner.ravel())
    village = np.bincount(owner.ravel(), np.clip(outside, 0, 200).ravel()) / count
    loose_parcel = number < 2**16
    dice, tree = rng.random(number.size), rng.random(number.size)
    kind = np.where(dice < np.where(loose_parcel, 0.05, 0.68), CROPLAND, MEADOW)
    kind = np.where(tree < 0.05 + 0.3 * np.exp(-village / 35), ORCHARD, kind)
    copse = rng.random(number.size) < 0.04

    pair = (
        np.minimum(irregular.cell, irregular.neighbour) * 71 + irregular.cell + irregular.neighbour
    )
    width = 0.6 + 1.1 * chance[(pair + 7) % 8191]
    hedge = loose & (chance[pair % 8191] < 0.4) & (irregular.edge < width)
    width = 0.6 + 1.1 * chance[(side + 7) % 8191]
    hedge |= ~loose & (chance[side % 8191] < 0.42) & (side_edge < width)
    hedge |= ~loose & (chance[end % 8191] < 0.26) & (end_edge < width)
    track = ~loose & (chance[side % 8191] > 0.85) & (side_edge < 0.75)
    track |= ~loose & (chance[end % 8191] > 0.93) & (end_edge < 0.75)
    return _Fields(kind[owner].astype(np.uint8), parcel, copse[owner], hedge, track, across, along)


def _cells(rng: Rng, label: NDArray[np.uint8], instance: Int, warp: tuple[Float, Float]) -> Int:
    """Pixels that share a state: an object, a stand, a garden plot, a stretch of road, a lake."""
    stand = voronoi_cells(rng, 44, (8 * warp[0], 8 * warp[1]))
    plot = voronoi_cells(rng, 13, (2 * warp[1], 2 * warp[0]))
    code = instance.copy()
    for ids, cells in (((LAKE, RIVER), None), ((FOREST, HEDGE), stand), ((GARDEN, ROAD), plot)):
        for class_id in ids:
            here = (label == class_id) & (instance == 0)
            code[here] = 2**20 * (class_id + 1) + (0 if cells is None else cells[here])
    return np.unique(code, return_inverse=True)[1].reshape(code.shape).astype(np.int32)


def _texture(rng: Rng, label: NDArray[np.uint8], fields: _Fields) -> Float:
    """Patterns, N(0, 1) in every pixel: rows, blotches, grids of crowns, grain."""
    blotch, swell = gaussian_fields(rng, fractal(1.0, 22, 5))
    grain, _ = gaussian_fields(rng, fractal(0.0, 20, 2.6))
    white = rng.standard_normal((SIZE, SIZE), dtype=np.float32)
    phase, period = rng.random((2, 4096)), rng.uniform(4.0, 6.5, 4096)
    owner = fields.parcel % 4093
    rows = _wave(fields.across / period[owner] + phase[0, owner])
    crowns = (rows + _wave(fields.along / period[owner] + phase[1, owner])) / np.sqrt(2)
    texture = np.where(label <= RIVER, swell, white)
    texture = np.where((label == FOREST) | (label == HEDGE) | (label == GARDEN), grain, texture)
    texture = np.where(label == MEADOW, blotch, texture)
    clear = rng.uniform(0.6, 0.95, 4096).astype(np.float32)[owner]
    blurred = np.sqrt(1 - clear**2) * white
    texture = np.where(label == CROPLAND, clear * rows + blurred, texture)
    texture = np.where(label == ORCHARD, clear * crowns + blurred, texture)
    return texture.astype(np.float32)


def _wave(phase: Float) -> Float:
    """A periodic wave whose values are exactly N(0, 1) for a uniform phase."""
    share = np.abs(2 * (phase - np.floor(phase)) - 1)
    return special.ndtri(np.clip(share, 1e-4, 1 - 1e-4)).astype(np.float32)
