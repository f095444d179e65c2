"""Salinas-A: 83 x 86 pixels of Californian vegetables in 204 bands, 6 classes, 5,348 labels.

    SalinasA_corrected.mat  SalinasA_gt.mat        in the folder that `path` names

    image    83 x 86 x 204 int16, AVIRIS radiance counts, 0.4 to 2.5 um without the 20 bands in
             which water vapour absorbs
    label    83 x 86; the file's ids 1 and 10 to 14 become classes 0 to 5

There is one scene, so a split is a set of its labelled pixels; all splits share the whole image.
The crops grow in a few large fields: scores are high, even with a split by blocks.

**Source:** NASA/JPL AVIRIS; Grupo de Inteligencia Computacional, Universidad del Pais Vasco,
Hyperspectral Remote Sensing Scenes. Ground sample distance 3.7 m.
"""

import dataclasses
import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jaxseg.datasets.one_scene import SceneSplit, scene_of_split
from jaxseg.datasets.tiles import TileScenes
from jaxseg.errors import UserError
from jaxseg.files import arrays
from jaxseg.scenes.scene import IGNORE, Origin
from jaxseg.scenes.sensor import Sensor

CLASSES = (
    "broccoli-green-weeds-1",
    "corn-senesced-green-weeds",
    "lettuce-romaine-4wk",
    "lettuce-romaine-5wk",
    "lettuce-romaine-6wk",
    "lettuce-romaine-7wk",
)

IDS = (1, 10, 11, 12, 13, 14)
"""Ids of the classes in the file: those of the larger scene that this one is cut from."""

COLORS = (
    (3, 28, 241),
    (255, 254, 137),
    (255, 89, 1),
    (5, 255, 133),
    (89, 1, 255),
    (139, 69, 46),
)

GSD = 3.7
"""Ground sample distance in metres."""

SHAPE = (83, 86, 204)


@dataclasses.dataclass(frozen=True)
class SalinasA:
    """The scene as a config holds it.

    Attributes:
        path: Folder of SalinasA_corrected.mat and SalinasA_gt.mat.
        split: How its pixels are divided.
    """

    path: str = dataclasses.field(default="salinas_a", metadata={"path": True})
    split: SceneSplit = SceneSplit()

    @property
    def classes(self) -> tuple[str, ...]:
        """The six classes."""
        return CLASSES

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        """RGB per class, 0..255."""
        return COLORS

    @property
    def sensor(self) -> Sensor:
        """The scene's 204 of AVIRIS' 224 bands, named by their numbers, counted from 1."""
        absorbed = {*range(108, 113), *range(154, 168), 224}
        bands = tuple(f"AVIRIS {band}" for band in range(1, 225) if band not in absorbed)
        return Sensor(bands, unit="radiance", gsd=GSD)

    def scenes(self, split: str) -> TileScenes:
        """The scene, with only the labels of `train`, `validation` or `test`.

        Raises:
            UserError: The files are missing or damaged, or there is no such split.
        """
        return scene_of_split(self.path, self.split, _scene, split, "Salinas-A")

    def origin(self) -> Origin:
        """The scene and its split."""
        return self.split.origin(self.path)

    def rgb(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """Bands near 660, 560 and 480 nm."""
        return image[..., [28, 18, 10]].astype(np.float32)


@functools.cache
def _scene(path: str) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    image = _array(Path(path) / "SalinasA_corrected.mat", "salinasA_corrected", SHAPE)
    ids = _array(Path(path) / "SalinasA_gt.mat", "salinasA_gt", SHAPE[:2])
    label = np.full(ids.shape, IGNORE, np.uint8)
    for number, value in enumerate(IDS):
        label[ids == value] = number
    unknown = np.setdiff1d(ids, (0, *IDS))
    if unknown.size:
        raise UserError(
            f"{Path(path) / 'SalinasA_gt.mat'}: id {unknown[0]} is not a class of Salinas-A, which "
            f"has 0 (unlabelled) and {', '.join(map(str, IDS))}. Fetch it again."
        )
    return image.astype(np.int16), label


def _array(file: Path, name: str, shape: tuple[int, ...]) -> NDArray[np.generic]:
    """The array `name` of a MATLAB file."""
    try:
        array = arrays.read(str(file), name)
    except UserError as error:
        raise UserError(f"{error} Or give its folder as --config.data.source.path.") from error
    if array.shape != shape:
        raise UserError(
            f"{file} holds one of {array.shape}: Salinas-A has an array {name} of {shape}. Fetch "
            "it again."
        )
    return array
