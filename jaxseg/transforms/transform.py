"""Radiometry and augmentation: pure jnp functions inside the jitted step, as frozen dataclasses.

`preprocess` objects map image -> image and are deterministic: the same in training, evaluation and
prediction. `augment` objects map (key, batch) -> batch and receive the preprocessed float32 image
(those of `Config.augment_raw` the raw one); geometric changes apply to image, label, valid and
separation. Bands are the last axis; a config holds a tuple of each kind, applied in order.
A `preprocess` object with parameters from the training pixels is also `Fittable`.
"""

from collections.abc import Iterable
from typing import ClassVar, Protocol, Self, runtime_checkable

import jax
import jax.numpy as jnp

from jaxseg.scenes.scene import Batch, TrainingWindow

IMAGES = {"image", "side"}
"""Fields that are interpolated when resampled; all others take the nearest pixel."""


def is_length(name: str) -> bool:
    """Whether a field of a batch holds lengths in pixels, which grow where an image is zoomed."""
    return "separation" in name or "distance" in name


@runtime_checkable
class Preprocess(Protocol):
    """Radiometry: (B, H, W, C) float32 -> (B, H, W, C') float32.

    Pixels without data are NaN in the input, so that steps that use neighbours can exclude them;
    the output at these pixels is discarded.
    """

    def __call__(self, image: jax.Array) -> jax.Array:
        """The transformed image."""


@runtime_checkable
class Fittable(Protocol):
    """Radiometry that is fitted to the training pixels once, when a run starts.

    Attributes:
        OPEN: Names of the fields that `fit` fills.
        REPEATABLE: Whether the same windows give exactly the same values on every machine. If so,
            and if the step reads raw images, it is fitted again when a run continues, which shows
            whether the data have changed. Otherwise the values stored in the run are used.
    """

    OPEN: ClassVar[tuple[str, ...]]
    REPEATABLE: ClassVar[bool]

    @property
    def fitted(self) -> bool:
        """Whether the open fields are filled."""

    def fit(self, windows: Iterable[TrainingWindow]) -> Self:
        """The step fitted to the windows.

        Args:
            windows: Images after the preceding steps, with at least one training pixel in all.
        """


@runtime_checkable
class Augment(Protocol):
    """Augmentation: one random key and a batch -> a batch."""

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        """The augmented batch."""


def preprocess(image: jax.Array, valid: jax.Array, steps: tuple[Preprocess, ...]) -> jax.Array:
    """Raw sensor values -> the network's input: float32, and 0 wherever the sensor has no data.

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

    Raw images may be NaN there, which interpolation would spread to neighbouring pixels.
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
