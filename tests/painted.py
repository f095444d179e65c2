"""A source whose images say what a network will answer, and the network that does."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxseg.batch import IGNORE, Sample, Window
from jaxseg.config import Config
from jaxseg.data import Data
from jaxseg.optimizer import Optimizer
from jaxseg.sensor import Sensor

CLASSES = ("land", "water", "ice")
COLORS = ((120, 90, 30), (0, 0, 200), (250, 250, 250))
SPLITS = {"train": 0, "validation": 1, "test": 2}


class PaintedScenes:
    """Scenes of one split: band 0 is the answer, band 1 the class; labels differ in places."""

    def __init__(self, sizes: tuple[tuple[int, int], ...], seed: int) -> None:  # noqa: D107
        self.arrays = [
            _scene(size, np.random.default_rng((seed, n))) for n, size in enumerate(sizes)
        ]
        self._seed = seed

    def __len__(self) -> int:
        """Number of scenes."""
        return len(self.arrays)

    def name(self, index: int) -> str:
        """Split and number."""
        return f"split {self._seed} scene {index}"

    def size(self, index: int) -> tuple[int, int]:
        """Rows and columns."""
        height, width = self.arrays[index]["label"].shape
        return height, width

    def read(self, index: int, window: Window) -> Sample:
        """A part that lies inside."""
        y, x, height, width = window
        found = {n: a[y : y + height, x : x + width] for n, a in self.arrays[index].items()}
        assert found["label"].shape == (height, width)
        return found


@dataclasses.dataclass(frozen=True)
class Painted:
    """Blocks of classes, some answers of which are wrong."""

    sizes: tuple[tuple[int, int], ...] = ((20, 12), (9, 16))
    gsd: float | None = 2.0
    classes: tuple[str, ...] = CLASSES
    colors: tuple[tuple[int, int, int], ...] = COLORS

    @property
    def sensor(self) -> Sensor:
        """Two bands."""
        return Sensor(("answer", "class"), gsd=self.gsd)

    def scenes(self, split: str) -> PaintedScenes:
        """Other scenes in every split."""
        return PaintedScenes(self.sizes, SPLITS[split])

    def rgb(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """The answer as grey."""
        return np.repeat(image[..., :1].astype(np.float32), 3, axis=-1)


class Told(nn.Module):
    """Answers band 0, the surer the larger `sure`, which an exponential average may hold too."""

    num_classes: int = 3

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        """Logits (B, H, W, K)."""
        sure = self.param("sure", nn.initializers.constant(2.0), ())
        return -sure * (image[..., :1] - jnp.arange(self.num_classes)) ** 2


def config(**changes: Any) -> Config:
    """Evaluates windows of 8 x 8 pixels in batches of 3."""
    plain = Config(
        model=Told(),
        data=Data(source=Painted(), crop=8, batch_size=3),
        preprocess=(),
        optimizer=Optimizer(schedule="constant"),
    )
    return dataclasses.replace(plain, **changes)


def _scene(size: tuple[int, int], random: np.random.Generator) -> dict[str, NDArray[Any]]:
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    label = ((rows // 5 + columns // 4) % 3).astype(np.uint8)
    answer = np.where(random.random(size) < 0.3, (label + 1) % 3, label)
    image = np.stack([answer, label], -1).astype(np.float32)
    image[..., 1] += 0.1 * random.standard_normal(size)
    valid = np.ones(size, bool)
    valid[0, :3] = False
    label[-1, ::2] = IGNORE
    return {"image": image, "label": label, "valid": valid}
