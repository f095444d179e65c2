"""Histogram matching: a new scene in the value distribution of the training images."""

import dataclasses
from collections.abc import Iterable
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.errors import UserError
from jaxseg.scenes.scene import TrainingWindow

LEVELS = 101
"""Quantiles of a band, evenly spaced from 0 to 1."""

PIXELS = 4096
"""Pixels of a window that are looked at, evenly spaced."""

Quantiles = tuple[tuple[float, ...], ...]
"""Of each band, in ascending order."""


@dataclasses.dataclass(frozen=True)
class HistogramMatching:
    """x -> F_training^-1(F_scene(x)) for each band, between quantiles linear.

    Training images stay as they are. `jaxseg.run.adapted.matched` gives the quantiles of a scene to
    the step of a finished run, which is then as the training was, band by band: right where the new
    scene has the same classes in the same shares, and wrong by as much as it does not.

    Source: Gonzalez and Woods, Digital Image Processing, section 3.3 (histogram specification).

    Attributes:
        reference: Quantiles of the training pixels; empty = measured when a run starts.
        scene: Quantiles of a new scene; empty = images are not changed.
    """

    OPEN: ClassVar = ("reference",)
    REPEATABLE: ClassVar = True  # sorted values, of which six digits are kept

    reference: Quantiles = ()
    scene: Quantiles = ()

    def __call__(self, image: jax.Array) -> jax.Array:
        """See the class.

        Raises:
            UserError: The image has another number of bands.
        """
        if not self.scene:
            return image
        bands = image.shape[-1]
        if len(self.scene) != bands or len(self.reference) != bands:
            raise UserError(
                f"HistogramMatching knows {len(self.reference)} band(s) of the training and "
                f"{len(self.scene)} of the scene; the image has {bands}."
            )
        return jnp.stack(
            [
                jnp.interp(image[..., band], jnp.asarray(scene), jnp.asarray(reference))
                for band, (scene, reference) in enumerate(
                    zip(self.scene, self.reference, strict=True)
                )
            ],
            axis=-1,
        )

    @property
    def fitted(self) -> bool:
        """Whether the quantiles of the training are known."""
        return bool(self.reference)

    def fit(self, windows: Iterable[TrainingWindow]) -> Self:
        """The step with the quantiles of the training pixels, at least one.

        Args:
            windows: Images (H, W, C), each with a mask (H, W) of its training pixels.
        """
        return dataclasses.replace(self, reference=_quantiles(windows))

    def matching(self, windows: Iterable[TrainingWindow]) -> Self:
        """The step for a scene.

        Args:
            windows: Its images (H, W, C), each with a mask (H, W) of its valid pixels.

        Raises:
            UserError: No pixel is valid.
        """
        return dataclasses.replace(self, scene=_quantiles(windows))


def _quantiles(windows: Iterable[TrainingWindow]) -> Quantiles:
    pixels = []
    for image, counted in windows:
        known = image[counted]
        pixels.append(known[:: max(1, len(known) // PIXELS)].astype(np.float64))
    every = np.concatenate(pixels) if pixels else np.zeros((0, 1))
    if not len(every):
        raise UserError("HistogramMatching: there is no valid pixel to measure quantiles of.")
    found = np.quantile(every, np.linspace(0, 1, LEVELS), axis=0)
    return tuple(tuple(float(f"{value:.6g}") for value in band) for band in found.T)
