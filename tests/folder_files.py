"""Writes the files that tests of `Folder` read, and makes the source."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import Image

from jaxseg.datasets.folder.source import Folder
from jaxseg.scenes.scene import Window

H, W = 20, 30
ALL = Window(0, 0, H, W)
Array = NDArray[np.generic]
COLORS = ((226, 169, 41), (60, 16, 152))


def tiff(path: Path, pixels: Array, **profile: object) -> Path:
    """(H, W) or (H, W, C) as a GeoTIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = pixels[..., None] if pixels.ndim == 2 else pixels
    height, width, count = bands.shape
    shape = {"height": height, "width": width, "count": count, "dtype": bands.dtype}
    with rasterio.open(path, "w", driver="GTiff", **(shape | profile)) as file:
        file.write(np.moveaxis(bands, -1, 0))
    return path


def png(path: Path, pixels: Array, palette: list[int] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels, mode="P") if palette else Image.fromarray(pixels)
    if palette:
        picture.putpalette(palette)
    picture.save(path)
    return path


def ids(*values: int, dtype: str = "uint8") -> Array:
    """A mask whose columns cycle through the values."""
    return np.tile(np.resize(np.array(values), W), (H, 1)).astype(dtype)


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Folder]:
    """Writes one scene unless files are there already, and makes the source."""

    def make(**fields: Any) -> Folder:
        if not (tmp_path / "images").exists():
            tiff(tmp_path / "images" / "a.tif", np.ones((H, W, 3), np.uint8))
        if not (tmp_path / "masks").exists():
            tiff(tmp_path / "masks" / "a.tif", ids(0, 1))
        usual: dict[str, Any] = {
            "images": str(tmp_path / "images"),
            "masks": str(tmp_path / "masks"),
            "classes": ("ground", "house"),
            "fractions": (1.0, 0.0, 0.0),
        }
        return Folder(**usual | fields)

    return make


Make = Callable[..., Folder]


def read(source: Folder, split: str = "train", index: int = 0, window: Window = ALL) -> Any:
    return source.scenes(split).read(index, window)


def write_ten(tmp_path: Path) -> None:
    for index in range(10):
        png(tmp_path / "images" / f"s{index}.png", np.ones((H, W, 3), np.uint8))
        png(tmp_path / "masks" / f"s{index}.png", ids(0, 1))
