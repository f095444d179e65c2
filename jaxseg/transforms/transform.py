"""Radiometry and augmentation: pure jnp functions inside the jitted step, as frozen dataclasses.

`preprocess` objects map image -> image and are deterministic: the same in training, evaluation and
prediction. `augment` objects map (key, batch) -> batch and see the preprocessed float32 image
(those of `Config.augment_raw` the raw one); what moves pixels moves image, label, valid and
separation alike. Bands are the last axis; a config holds a tuple of each kind, applied in order.
A `preprocess` object whose numbers come from training pixels is `Fittable` as well.
"""

from collections.abc import Iterable
from typing import ClassVar, Protocol, Self, runtime_checkable

import jax
import jax.numpy as jnp

from jaxseg.scenes.scene import Batch, TrainingWindow

IMAGES = {"image", "side"}
"""What is interpolated where pixels move; all else is taken from the nearest pixel."""


@runtime_checkable
class Preprocess(Protocol):
    """Radiometry: (B, H, W, C) float32 -> (B, H, W, C') float32.

    Pixels without data enter as NaN, so that what looks at neighbours can leave them out; whatever
    a step makes of them is thrown away.
    """

    def __call__(self, image: jax.Array) -> jax.Array:
        """The image in the numbers that the network sees."""


@runtime_checkable
class Fittable(Protocol):
    """Radiometry that finds its own numbers on training pixels, once, when a run starts.

    Attributes:
        OPEN: Names of the fields that `fit` fills.
        REPEATABLE: Whether the same windows give exactly the same numbers on every machine. Such
            numbers of raw images are measured again when a run continues: they show whether the
            data have changed. All others are taken over from the run.
    """

    OPEN: ClassVar[tuple[str, ...]]
    REPEATABLE: ClassVar[bool]

    @property
    def fitted(self) -> bool:
        """Whether the numbers are known."""

    def fit(self, windows: Iterable[TrainingWindow]) -> Self:
        """The step with the numbers that follow from the windows.

        Args:
            windows: Images as the steps before leave them, one training pixel or more in all.
        """


@runtime_checkable
class Augment(Protocol):
    """Augmentation: one random key and a batch -> a batch."""

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        """The augmented batch."""


def preprocess(image: jax.Array, valid: jax.Array, steps: tuple[Preprocess, ...]) -> jax.Array:
    """Raw sensor numbers -> what the network sees: float32, and 0 wherever the sensor has no data.

    Args:
        image: (B, H, W, C) in any real dtype; NaN allowed where invalid.
        valid: (B, H, W) bool.
        steps: Radiometry, in order.
    """
    mask = valid[..., None]
    image = image.astype(jnp.float32)
    for step in steps:
        image = step(jnp.where(mask, image, jnp.nan))
    return jnp.where(mask, image, 0.0)


def augment(key: jax.Array, batch: Batch, steps: tuple[Augment, ...]) -> Batch:
    """Applies `steps` in order, each with its own key; invalid pixels are 0 before and after.

    Raw images hold NaN there, which interpolation would spread over a whole window.
    """
    batch = _blanked(batch)
    for number, step in enumerate(steps):
        batch = step(jax.random.fold_in(key, number), batch)
    return _blanked(batch)


def _blanked(batch: Batch) -> Batch:
    valid = {"image": "valid", "side": "side_valid"}
    return batch | {
        name: jnp.where(batch[valid[name]][..., None], batch[name], 0.0)
        for name in sorted(IMAGES & batch.keys())  # one order in all processes
    }
