"""Styled: a source as another sensor, haze or date would show it; for experiments with domains.

    vegetation   v = max(0, (NIR - R) / (NIR + R)), of the original image
    season       R + wilted v (NIR - R) / 2,  NIR - wilted v (NIR - R) / 2
    sensor       gain x + offset, of each band

Our design: it changes radiometry alone, labels and shapes stay. Gain is illumination or another
calibration, offset is the path radiance of haze, and wilting brings red and near infrared of green
vegetation closer to each other, which no scale and shift of a band can undo.
"""

from dataclasses import dataclass

import numpy as np

from jaxseg.datasets.wrapped import Wrapped
from jaxseg.errors import UserError
from jaxseg.scenes.scene import Sample, Scenes, Window


@dataclass(frozen=True)
class Styled(Wrapped):
    """All splits of a source, in another radiometry.

    Attributes:
        source: The original.
        gain: Factor of each band.
        offset: What is added to each band, in the units of the image.
        wilted: Share of the contrast between red and near infrared that green vegetation loses,
            0..1; above 0 it needs the bands R and NIR.
    """

    gain: tuple[float, ...]
    offset: tuple[float, ...]
    wilted: float = 0.0

    def __post_init__(self) -> None:
        """Rejects a share outside 0..1."""
        if not 0 <= self.wilted <= 1:
            raise UserError(f"Styled.wilted is {self.wilted}: it must be 0 to 1.")

    def scenes(self, split: str) -> Scenes:
        """The scenes of the source, changed.

        Raises:
            UserError: The split is missing, or gain or offset do not fit the bands.
        """
        return self.changed(self.source.scenes(split))

    def changed(self, scenes: Scenes) -> Scenes:
        """The changed scenes.

        Raises:
            UserError: Gain or offset do not fit the bands, or R or NIR is missing.
        """
        bands = self.sensor.bands
        if len(self.gain) != len(bands) or len(self.offset) != len(bands):
            raise UserError(
                f"Styled has {len(self.gain)} gains and {len(self.offset)} offsets for "
                f"{len(bands)} band(s): give one of each per band."
            )
        if self.wilted and not {"R", "NIR"} <= set(bands):
            raise UserError(
                f"Styled.wilted needs the bands R and NIR; there are {', '.join(bands)}. Give 0."
            )
        return _Styled(scenes, self)


class _Styled:
    """Scenes in another radiometry."""

    def __init__(self, inner: Scenes, style: Styled) -> None:
        self.inner, self._style = inner, style
        self._bands = style.sensor.bands

    def __len__(self) -> int:
        return len(self.inner)

    def name(self, index: int) -> str:
        return self.inner.name(index)

    def size(self, index: int) -> tuple[int, int]:
        return self.inner.size(index)

    def read(self, index: int, window: Window) -> Sample:
        sample, style = self.inner.read(index, window), self._style
        image = sample["image"].astype(np.float32)
        if style.wilted:
            red, infrared = self._bands.index("R"), self._bands.index("NIR")
            contrast = image[..., infrared] - image[..., red]
            total = image[..., infrared] + image[..., red]
            share = np.maximum(0, contrast / np.where(total > 0, total, 1))
            moved = style.wilted * share * contrast / 2
            image[..., red] += moved
            image[..., infrared] -= moved
        gain, offset = (np.asarray(of, np.float32) for of in (style.gain, style.offset))
        return sample | {"image": image * gain + offset}
