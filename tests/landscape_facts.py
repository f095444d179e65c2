"""What some tiles of `landscape` hold, thinned out: the golden of version 1.0.0, and its maker.

    python tests/landscape_facts.py      writes tests/goldens/landscape.npz

Results that are published with the dataset depend on every number in it. Whoever changes what is
drawn gives the builder another VERSION, and writes the golden anew.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxseg.datasets.landscape_builder import TILES, Settings, record
from jaxseg.datasets.landscape_map import draw
from jaxseg.datasets.landscape_surfaces import Modality

GOLDEN = Path(__file__).parent / "goldens" / "landscape.npz"

# With a river and a small lake; with none of both and one village; with all.
GROUNDS = ((0, "train", 2), (1, "test", 2), (1, "test", 3))

# Beyond a swath's edge, lost lines, and every other sensor.
IMAGES: tuple[tuple[Modality, int, str, int, int], ...] = (
    ("optical", 0, "train", 2, 4),
    ("optical", 1, "test", 3, 4),
    ("sar", 1, "test", 2, 2),
    ("polsar", 1, "test", 2, 4),
    ("hyperspectral", 1, "test", 2, 4),
)
"""Sensor, seed, split, index, looks."""


def ground_facts(seed: int, split: str, index: int) -> dict[str, NDArray[Any]]:
    """The label map as it is, the rest of the ground thinned out."""
    ground = draw(seed, split, index)
    cells = np.bincount(ground.cell.ravel())
    return {
        "label": ground.label,
        "counts": np.array([ground.instance.max(), ground.cell.max(), (cells**2.0).sum()]),
        "texture": ground.texture[5::12, 5::12],
        "relief": ground.relief[5::12, 5::12],
    }


def image_facts(
    modality: Modality, seed: int, split: str, index: int, looks: int
) -> NDArray[np.float32]:
    """Every 12th pixel of a stored image, and at most 12 of its bands."""
    stored = record(Settings(modality, TILES[modality], seed, looks), split, index)
    image = stored["image"]
    return image[5::12, 5::12, :: max(1, image.shape[-1] // 12)].astype(np.float32)


if __name__ == "__main__":
    facts = {
        f"{'-'.join(map(str, tile))}-{name}": value
        for tile in GROUNDS
        for name, value in ground_facts(*tile).items()
    }
    facts |= {"-".join(map(str, key)): image_facts(*key) for key in IMAGES}
    np.savez_compressed(GOLDEN, **facts)
