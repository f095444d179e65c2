"""Indian Pines: 145 x 145 pixels of Indiana farmland in 200 bands, 16 classes, 10,249 labels.

    pip install 'jaxseg[hyperspectral]'        the PyPI package tensorly contains the scene

    image    145 x 145 x 200 uint16, AVIRIS radiance counts, 0.4 to 2.5 um without the 20 bands in
             which water vapour absorbs
    label    145 x 145, 16 classes from 20 (oats) to 2455 pixels (soybeans, min till); half of the
             scene is unlabelled

There is one scene, so a split is a set of its labelled pixels; all splits share the whole image.

**Source:** Baumgardner, Biehl, Landgrebe, 220 Band AVIRIS Hyperspectral Image Data Set: June 12,
1992 Indian Pine Test Site 3, Purdue University Research Repository 2015, doi:10.4231/R7RX991C. CC
BY 3.0. Ground sample distance 20 m.
"""

import dataclasses
import functools
import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jaxseg.datasets.one_scene import SceneSplit, scene_of_split
from jaxseg.datasets.tiles import TileScenes
from jaxseg.errors import UserError
from jaxseg.scenes.scene import IGNORE, Origin
from jaxseg.scenes.sensor import Sensor

CLASSES = (
    "alfalfa",
    "corn-notill",
    "corn-mintill",
    "corn",
    "grass-pasture",
    "grass-trees",
    "grass-pasture-mowed",
    "hay-windrowed",
    "oats",
    "soybean-notill",
    "soybean-mintill",
    "soybean-clean",
    "wheat",
    "woods",
    "buildings-grass-trees-drives",
    "stone-steel-towers",
)

COLORS = (
    (255, 254, 137),
    (3, 28, 241),
    (255, 89, 1),
    (5, 255, 133),
    (255, 2, 251),
    (89, 1, 255),
    (3, 171, 255),
    (12, 255, 7),
    (172, 175, 84),
    (160, 78, 158),
    (101, 173, 255),
    (60, 91, 112),
    (104, 192, 63),
    (139, 69, 46),
    (119, 255, 172),
    (254, 255, 3),
)

GSD = 20.0
"""Ground sample distance in metres."""


@dataclasses.dataclass(frozen=True)
class IndianPines:
    """The scene as a config holds it.

    Attributes:
        split: How its pixels are divided.
        path: Folder of Indian_pines_corrected.npy and Indian_pines_gt.npy; empty = those of the
            installed package tensorly.
    """

    split: SceneSplit = SceneSplit()
    path: str = dataclasses.field(default="", metadata={"path": True})

    @property
    def classes(self) -> tuple[str, ...]:
        """The sixteen classes, mostly crops and how their soil was tilled."""
        return CLASSES

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        """RGB per class, 0..255."""
        return COLORS

    @property
    def sensor(self) -> Sensor:
        """The scene's 200 of AVIRIS' 220 bands, named by their numbers, counted from 1."""
        absorbed = {*range(104, 109), *range(150, 164), 220}
        bands = tuple(f"AVIRIS {band}" for band in range(1, 221) if band not in absorbed)
        return Sensor(bands, unit="radiance", gsd=GSD)

    def scenes(self, split: str) -> TileScenes:
        """The scene, with only the labels of `train`, `validation` or `test`.

        Raises:
            UserError: The scene is not installed, or there is no such split.
        """
        return scene_of_split(self.path, self.split, _scene, split, "Indian Pines")

    def origin(self) -> Origin:
        """The scene and its split."""
        return self.split.origin(self.path)

    def rgb(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """Bands near 660, 560 and 480 nm."""
        return image[..., [28, 18, 10]].astype(np.float32)


@functools.cache
def _scene(path: str) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    folder = Path(path) if path else _installed()
    arrays = []
    for name in ("Indian_pines_corrected.npy", "Indian_pines_gt.npy"):
        try:
            arrays.append(np.load(folder / name, allow_pickle=False))
        except (OSError, ValueError) as error:
            raise UserError(
                f"Cannot read {folder / name}: {error}. Reinstall the package tensorly, or give "
                "--config.data.source.path."
            ) from error
    image, ids = arrays
    if image.shape != (145, 145, 200) or ids.shape != (145, 145) or int(ids.max()) > len(CLASSES):
        raise UserError(
            f"{folder}: arrays of {image.shape} and {ids.shape} are not Indian Pines, which has "
            "145 x 145 pixels, 200 bands and ids 0 to 16."
        )
    label = np.where(ids == 0, IGNORE, ids.astype(np.int16) - 1).astype(np.uint8)
    return image.astype(np.uint16), label


def _installed() -> Path:
    """The folder of tensorly's data, found without importing it."""
    package = importlib.util.find_spec("tensorly")
    if package is None or not package.submodule_search_locations:
        raise UserError(
            "Indian Pines comes with the package tensorly: pip install 'jaxseg[hyperspectral]', or "
            "give the folder of its two .npy files as --config.data.source.path."
        )
    return Path(package.submodule_search_locations[0]) / "datasets" / "data"
