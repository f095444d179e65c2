"""Touching discs whose truth is known: images, object ids and lists of splits, as a folder.

Every image of 96 x 96 pixels holds a cluster of up to 24 discs of radius 6 to 10. Each disc lies at
exactly the gap of its image, 1 to 4 pixels between the circles, from one that was there before, and
no closer to all others. Discs have their own brightness (0.6 to 1 on a ground of 0.2), the image is
blurred by a Gaussian of 1.5 pixels, wider than the smallest gaps, and has noise of 0.1: a threshold
finds the discs, and merges most of them.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

GAPS = (1, 2, 3, 4)
SIDE = 96
SPLITS = {"train": 64, "val": 32, "test": 64}
"""Images of each split, a quarter of them for each gap."""


def write(folder: Path) -> None:
    """Writes images/, instances/ and lists/, unless they are there; names begin with the gap."""
    done = folder / "lists" / "test.txt"
    if done.is_file():
        return
    for name in ("images", "instances", "lists"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    number = 0
    for split, count in SPLITS.items():
        stems = []
        for _ in range(count):
            gap = GAPS[number % len(GAPS)]
            image, instance = drawn(gap, seed=number)
            stems.append(f"{gap}_{number:03d}")
            Image.fromarray(image).save(folder / "images" / f"{stems[-1]}.png")
            Image.fromarray(instance).save(folder / "instances" / f"{stems[-1]}.png")
            number += 1
        (folder / "lists" / f"{split}.txt").write_text("\n".join(stems) + "\n")


def drawn(gap: int, *, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An image (96, 96) and its object ids."""
    random = np.random.default_rng(seed)
    rows, columns = np.indices((SIDE, SIDE))
    discs = [(*random.uniform(0.35 * SIDE, 0.65 * SIDE, 2), random.uniform(6, 10))]
    for _ in range(400):
        y, x, r = discs[random.integers(len(discs))]
        radius, angle = random.uniform(6, 10), random.uniform(0, 2 * np.pi)
        apart = r + radius + gap
        new = (y + apart * np.sin(angle), x + apart * np.cos(angle), radius)
        inside = all(radius + 2 < place < SIDE - radius - 2 for place in new[:2])
        # 1e-9: the neighbour itself is at the gap, up to rounding.
        free = all(np.hypot(new[0] - a, new[1] - b) >= radius + c + gap - 1e-9 for a, b, c in discs)
        if inside and free and len(discs) < 24:
            discs.append(new)
    instance = np.zeros((SIDE, SIDE), np.uint8)
    light = np.full((SIDE, SIDE), 0.2)
    for name, (y, x, r) in enumerate(discs, start=1):
        disc = np.hypot(rows - y, columns - x) <= r
        instance[disc], light[disc] = name, random.uniform(0.6, 1)
    seen = ndimage.gaussian_filter(light, 1.5) + random.normal(0, 0.1, light.shape)
    return np.clip(200 * seen, 0, 255).astype(np.uint8), instance
