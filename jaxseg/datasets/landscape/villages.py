"""Roads, villages and their buildings: the built part of a `landscape` tile."""

from typing import NamedTuple

import numpy as np

from jaxseg.datasets.landscape.shapes import (
    SIZE,
    YX,
    Float,
    Int,
    Mask,
    Rng,
    distance_to,
    rectangle,
    road,
)


class Network(NamedTuple):
    """Roads, and the villages and farms on them.

    Attributes:
        streets: Curves of (N, 2) points (y, x), half a pixel apart.
        road: (256, 256) pixels of their surface, one to three pixels wide.
        to_street: (256, 256) distance to the nearest curve in pixels.
        outside: (256, 256) distance to the nearest village or farm; negative inside.
    """

    streets: list[Float]
    road: Mask
    to_street: Float
    outside: Float


def draw_roads(rng: Rng, terrain: Float, to_river: Float) -> Network:
    """One or two villages on low ground away from the river, with lanes, main roads and farms.

    Args:
        rng: Generator for all random choices.
        terrain: Height, in standard deviations.
        to_river: Distance to the river bank in pixels.
    """
    centres: list[tuple[float, float, float]] = []
    villages = 1 if rng.random() < 0.3 else 2
    sites = rng.uniform(0.14 * SIZE, 0.86 * SIZE, (60, 2))
    height = terrain[tuple(sites.astype(int).T)] + rng.normal(0, 0.5, 60)
    for y, x in sites[np.argsort(height)]:
        apart = all(np.hypot(y - other[0], x - other[1]) > 105 for other in centres)
        if apart and to_river[int(y), int(x)] > 22:
            centres.append((float(y), float(x), float(rng.uniform(26, 46))))
        if len(centres) == villages:
            break
    places = [np.array(centre[:2]) for centre in centres] or [np.array([SIZE / 2, SIZE / 2])]
    turn, main, lanes = rng.uniform(0, 2 * np.pi), [], []
    if len(places) > 1:  # the link road, which goes on beyond both villages
        main.append(road(rng, places[0], places[1], 0.2))
        turn = float(np.arctan2(*(places[0] - places[1])))
    for number, place in enumerate(places):
        away = [turn, turn + np.pi] if len(places) == 1 else [turn + np.pi * number]
        away += [turn + np.pi / 2] if number == 0 and rng.random() < 0.5 else []
        for angle in np.asarray(away) + rng.normal(0, 0.3, len(away)):
            out = place + 1.3 * SIZE * np.array([np.sin(angle), np.cos(angle)])
            main.append(road(rng, place, out, 0.13))
    for y, x, radius in centres:
        for number in range(4):  # a crooked grid: two lanes with the main road, two across
            ahead = turn + np.pi / 2 * (number // 2) + rng.normal(0, 0.12)
            step = 0.95 * radius * np.array([np.sin(ahead), np.cos(ahead)])
            aside = rng.uniform(0.3, 0.6) * (1 - 2 * (number % 2)) * step[::-1] * (1, -1)
            middle = np.array([y, x]) + aside
            lanes.append(road(rng, middle - step, middle + step, 0.12))
    for _ in range(rng.integers(1, 4)):
        y, x = (float(c) for c in rng.choice(main[rng.integers(len(main))]))
        if 8 < y < SIZE - 8 and 8 < x < SIZE - 8:
            centres.append((y, x, float(rng.uniform(8, 13))))
    to_main, to_lane = distance_to(main), distance_to(lanes)
    outside = np.full((SIZE, SIZE), 4 * SIZE, np.float32)
    for y, x, radius in centres:
        outside = np.minimum(outside, np.hypot(YX[0] - y, YX[1] - x) - radius)
    paved = (to_main < rng.choice([1.3, 1.6, 1.9])) | (to_lane < rng.choice([0.8, 1.1]))
    return Network(main + lanes, paved, np.minimum(to_main, to_lane), outside)


def draw_buildings(rng: Rng, network: Network, water: Mask) -> tuple[Int, Float]:
    """Buildings along the streets of villages and farms, numbered from 1; distance to the nearest.

    Args:
        rng: Generator for all random choices.
        network: The streets.
        water: Where nothing is built.
    """
    number = np.zeros((SIZE, SIZE), np.int32)
    taken = water | (network.to_street < 1.7)
    for street in network.streets:
        walk = int(rng.integers(4, 20))
        while walk < len(street) - 2:
            y, x = street[walk]
            tangent = street[walk + 1] - street[walk]
            walk += int(rng.integers(8, 14))
            if not (0 <= y < SIZE and 0 <= x < SIZE) or network.outside[int(y), int(x)] > 0:
                continue
            angle = float(np.arctan2(tangent[0], tangent[1]))
            for side in (-1, 1):
                large = rng.random() < 0.15
                half = (rng.uniform(2.2, 4.2), rng.uniform(1.9, 3.1))
                half = (half[0] * 1.8, half[1] * 1.8) if large else half
                away = side * (2.8 + half[1] + rng.uniform(0, 2))
                middle = np.array([y + away * np.cos(angle), x - away * np.sin(angle)])
                turned = angle + rng.normal(0, 0.06)
                window, wide = rectangle(middle, turned, (half[0] + 1.1, half[1] + 1.1))
                if rng.random() < 0.12 or (taken[window] & wide).any():
                    continue
                taken[window] |= wide
                window, inside = rectangle(middle, turned, half)
                number[window][inside] = number.max() + 1
    return number, distance_to([np.argwhere(number > 0).astype(np.float32)])
