"""`landscape`: the embedded dataset, a synthetic countryside seen by four co-registered sensors.

Drawn from a seed on first use, offline; tile i of a split shows every sensor the same ground:

    sensor         tiles (train/val/test)  tile             built in  on disk   per-pixel ceiling
    optical        200 / 40 / 40           256 x 256 x 4    25 s      116 MB    0.299 mIoU
    sar            200 / 40 / 40           256 x 256 x 2    39 s       87 MB    0.164 mIoU
    polsar          56 / 12 / 12           256 x 256 x 9    44 s      120 MB    0.249 mIoU
    hyperspectral   24 /  8 /  8           128 x 128 x 120  12 s      121 MB    0.335 mIoU

Build times on 2 busy cores. A hyperspectral tile is the middle of the 256 x 256 map. Ground sample
distance 5 m. Radars have 4 looks.

Classes and their shares of the pixels:

    lake 4.8 %      forest 18.5 %   cropland 27.3 %   orchard 8.3 %   road 3.6 %
    river 2.6 %     hedge 2.5 %     meadow 22.7 %     garden 7.9 %    building 1.8 %

The three difficulties it is made for:

- *What and where.* Instances with ids (parcels, buildings) touch others of the same class.
- *Similar spectral signature.* To optical sensors the classes above each other have exactly the
  same distribution of pixels (`PAIRS`); size, shape, pattern and place tell them apart. Radars see
  buildings by their double bounce, but roads as dark as water.
- *Inconspicuous classes.* Hedges and roads are one to three pixels wide, buildings have some 30
  pixels.

The ceiling is the best mean IoU of any classifier that sees one pixel, by the generator's own
densities and shares: exact up to sampling (+- 0.002) for optical and the radars, an upper bound for
hyperspectral. If single pixels told surfaces apart perfectly, it would be 0.364 (optical and
hyperspectral) and 0.383 (radars). `benchmarks/landscape_ceiling.py` computes all of these values.

Not modelled: point spread (pixels at borders are not mixed, which keeps the ceilings exact),
radar geometry (layover, shadow). 15 % of the optical tiles have nodata = 0 beyond a swath's edge or
on lost scan lines; there the label remains, and `valid` is False. With `seasons=True` classes
exchange their looks from scene to scene, which only global context can tell: see
`jaxseg.datasets.landscape.seasons`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxseg.datasets.landscape.builder import (
    CITATION,
    LICENCE,
    TILES,
    LandscapeBuilder,
    Settings,
    built,
)
from jaxseg.datasets.landscape.map import CLASSES, GSD, INCONSPICUOUS, PAIRS, SPLITS
from jaxseg.datasets.landscape.seasons import PER_PIXEL_CEILING as SEASONS_CEILING
from jaxseg.datasets.landscape.sensors import WAVELENGTHS
from jaxseg.datasets.landscape.surfaces import Modality
from jaxseg.datasets.tiles import TileScenes
from jaxseg.datasets.written_once import Checked, opened
from jaxseg.errors import COUNT, NOT_NEGATIVE, UserError
from jaxseg.scenes.scene import Sample, Scenes
from jaxseg.scenes.sensor import Sensor, Unit

__all__ = [
    "CITATION",
    "CLASSES",
    "GSD",
    "INCONSPICUOUS",
    "LICENCE",
    "PAIRS",
    "WAVELENGTHS",
    "Landscape",
    "Modality",
]

COLORS = (
    (44, 92, 176),
    (90, 170, 225),
    (24, 88, 44),
    (104, 140, 40),
    (232, 196, 96),
    (150, 204, 110),
    (150, 110, 170),
    (214, 150, 160),
    (60, 60, 60),
    (206, 44, 40),
)

BANDS: dict[Modality, tuple[str, ...]] = {
    "optical": ("B", "G", "R", "NIR"),
    "sar": ("VV", "VH"),
    "polsar": ("T11", "T22", "T33", "ReT12", "ImT12", "ReT13", "ImT13", "ReT23", "ImT23"),
    "hyperspectral": tuple(f"{wavelength:.1f} nm" for wavelength in WAVELENGTHS),
}

UNITS: dict[Modality, Unit] = {
    "optical": "reflectance",
    "sar": "power",
    "polsar": "coherency",
    "hyperspectral": "reflectance",
}

PER_PIXEL_CEILING: dict[Modality, float] = {
    "optical": 0.299,
    "sar": 0.164,
    "polsar": 0.249,
    "hyperspectral": 0.335,
}
"""Best mIoU of any classifier that sees one pixel; radars at 4 looks. See the card above."""

MEAN: dict[Modality, tuple[float, ...]] = {
    "optical": (482.2, 734.4, 655.0, 2756.2),
    "sar": (-11.87, -18.30),
    "polsar": (-10.94, -15.57, -19.03, 0.348, -0.125, 0.0, 0.0, 0.0, 0.0),
}
"""Means over valid training pixels: `optical` as stored; `sar` in dB; `polsar` diagonal in dB, then
coherences T_ij / sqrt(T_ii T_jj). For `hyperspectral`, `Standardize()` measures them."""

STD: dict[Modality, tuple[float, ...]] = {
    "optical": (276.8, 313.9, 448.4, 1127.5),
    "sar": (4.06, 4.41),
    "polsar": (3.89, 5.36, 5.30, 0.334, 0.328, 0.354, 0.354, 0.352, 0.353),
}
"""Standard deviations, likewise."""


@dataclass(frozen=True)
class Landscape:
    """The dataset as a config holds it; built on first use.

    Attributes:
        modality: The sensor.
        tiles: Number of tiles of train, validation and test; 0 = the sensor's default, `TILES`.
        seed: Seed of the countryside; tile i of a split does not depend on `tiles`.
        looks: Number of looks of `sar` and `polsar`; the other sensors ignore it.
        data_dir: TFDS' data folder; empty = TFDS' default, ~/tensorflow_datasets.
        seasons: Whether the season of a scene, which one patch of it shows, exchanges what classes
            look like, see `jaxseg.datasets.landscape.seasons`; `optical` alone.
    """

    modality: Modality = "optical"
    tiles: tuple[int, int, int] = field(default=(0, 0, 0), metadata=NOT_NEGATIVE)
    seed: int = field(default=0, metadata=NOT_NEGATIVE)
    looks: int = field(default=4, metadata=COUNT)
    data_dir: str = field(default="", metadata={"path": True})
    seasons: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """The ten classes."""
        return CLASSES

    @property
    def sensor(self) -> Sensor:
        """Reflectance x 10 000, or linear power."""
        bands, optical = BANDS[self.modality], self.modality in ("optical", "hyperspectral")
        return Sensor(
            bands,
            wavelengths=tuple(map(float, WAVELENGTHS)) if self.modality == "hyperspectral" else (),
            polarisations=bands if self.modality == "sar" else (),
            unit=UNITS[self.modality],
            scale=1e-4 if optical else 1.0,
            nodata=0.0,
            gsd=GSD,
        )

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        """RGB per class, 0..255."""
        return COLORS

    @property
    def per_pixel_ceiling(self) -> float:
        """The best mIoU of any classifier that sees single pixels; radars at 4 looks."""
        return SEASONS_CEILING if self.seasons else PER_PIXEL_CEILING[self.modality]

    def scenes(self, split: str) -> Scenes:
        """The tiles of `train`, `validation` or `test`.

        Raises:
            UserError: There is no such split, or the settings are out of range.
        """
        if split not in SPLITS:
            raise UserError(f"Split {split!r} of landscape: choose one of {', '.join(SPLITS)}.")
        builder = self._builder()
        folder = Path(builder.data_path)
        records = Checked(opened(folder, lambda: builder.as_data_source(split=split)), folder)
        sizes = (self._settings().shape()[:2],) * len(records)
        names = tuple(f"{split}-{index:05d}" for index in range(len(records)))
        return TileScenes(records, _sample, sizes, names)

    def counts_file(self) -> Path:
        """File of the class counts beside the tiles, whose folder depends on the settings."""
        return Path(self._builder().data_path) / "class_counts.json"

    def rgb(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """(H, W, C) raw values -> (H, W, 3): true colour; VV, VH, VV/VH in dB; Pauli in dB."""
        pixels = image.astype(np.float32)
        if self.modality == "optical":
            return np.asarray(pixels[..., [2, 1, 0]] / np.float32(10_000))
        if self.modality == "hyperspectral":
            red, green, blue = (int(np.abs(WAVELENGTHS - nm).argmin()) for nm in (665, 560, 490))
            return np.asarray(pixels[..., [red, green, blue]] / np.float32(10_000))
        decibel = 10 * np.log10(np.maximum(pixels[..., :3], np.float32(1e-6)))
        if self.modality == "sar":
            vv, vh = decibel[..., 0], decibel[..., 1]
            return np.stack([vv, vh, vv - vh], axis=-1)
        return np.asarray(decibel[..., [1, 2, 0]])

    def _builder(self) -> LandscapeBuilder:
        return built(self._settings(), self.data_dir)

    def _settings(self) -> Settings:
        if self.modality not in TILES:
            raise UserError(f"Landscape has no modality {self.modality!r}: {', '.join(TILES)}.")
        if min(self.tiles) < 0 or max(self.tiles) > 99_999 or self.looks < 1 or self.seed < 0:
            raise UserError(
                f"{self}: tiles must be 0..99999, looks at least 1 and seed at least 0. "
                "tiles = 0 means the default."
            )
        if self.seasons and self.modality != "optical":
            raise UserError(
                f"{self}: only the optical landscape has seasons. Leave seasons out, or choose "
                "modality optical."
            )
        asked, usual = self.tiles, TILES[self.modality]
        tiles = (asked[0] or usual[0], asked[1] or usual[1], asked[2] or usual[2])
        return Settings(self.modality, tiles, self.seed, self.looks, self.seasons)


def _sample(record: Mapping[str, Any]) -> Sample:
    image = record["image"]
    return {
        "image": image,
        "label": record["label"],
        "valid": (image != 0).any(axis=-1),
        "instance": record["instance"].astype(np.int32),
    }
