"""Scenes of any size from tiles of the embedded landscape, written by windows."""

from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin
from rasterio.windows import Window

from jaxseg.datasets.landscape import GSD, Landscape
from jaxseg.scenes import scene

BANDS = ("B", "G", "R", "NIR")
TILE, BLOCK = 256, 512
UINT16 = NDArray[np.uint16]


def mosaic(across: int) -> tuple[UINT16, UINT16]:
    """Test and validation tiles side by side: image (side, side, 4) and classes (side, side)."""
    image = np.zeros((across * TILE, across * TILE, len(BANDS)), np.uint16)
    classes = np.zeros(image.shape[:2], np.uint16)
    parts = [Landscape().scenes(split) for split in ("test", "validation")]
    tiles = [(part, index) for part in parts for index in range(len(part))]
    for number in range(across**2):
        part, index = tiles[number % len(tiles)]
        sample = part.read(index, scene.Window(0, 0, TILE, TILE))
        y, x = (TILE * place for place in divmod(number, across))
        # 0 is no data, of which this scene has none.
        image[y : y + TILE, x : x + TILE] = np.maximum(sample["image"], 1)
        classes[y : y + TILE, x : x + TILE] = sample["label"]
    return image, classes


def write(path: Path, pattern: UINT16, height: int, width: int, compress: str) -> None:
    """Repeats a pattern (h, w, C) over a tiled GeoTIFF; only a row of blocks is in memory."""
    form = {
        **{"driver": "GTiff", "height": height, "width": width, "count": pattern.shape[-1]},
        **{"dtype": "uint16", "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK},
        **{"crs": "EPSG:32632", "transform": from_origin(600_000.0, 5_300_000.0, GSD, GSD)},
        **{"bigtiff": "if_safer", "nodata": 0},
    }
    if compress != "none":
        form |= {"compress": compress, "predictor": 2, "num_threads": 2}
        form["zlevel" if compress == "deflate" else "zstd_level"] = 1
    with rasterio.open(path, "w", **form) as file:
        for number, name in enumerate(BANDS, start=1):
            file.set_band_description(number, name)
        for y in range(0, height, BLOCK):
            rows = np.arange(y, min(height, y + BLOCK)) % pattern.shape[0]
            for x in range(0, width, 8 * BLOCK):
                columns = np.arange(x, min(width, x + 8 * BLOCK)) % pattern.shape[1]
                part = pattern[np.ix_(rows, columns)]
                window = Window(x, y, len(columns), len(rows))
                file.write(np.moveaxis(part, -1, 0), window=window)


def repeated(path: Path, out: Path, times: int) -> None:
    """A virtual raster in which a file lies so many times side by side, and below."""
    with rasterio.open(path) as file:
        height, width = file.shape
        place = ", ".join(map(str, file.transform.to_gdal()))
        header = f"<SRS>{file.crs.to_wkt()}</SRS><GeoTransform>{place}</GeoTransform>"
    lines = [f'<VRTDataset rasterXSize="{times * width}" rasterYSize="{times * height}">', header]
    for band, name in enumerate(BANDS, start=1):
        lines.append(f'<VRTRasterBand dataType="UInt16" band="{band}">')
        lines.append(f"<Description>{name}</Description><NoDataValue>0</NoDataValue>")
        for y in range(0, times * height, height):
            for x in range(0, times * width, width):
                lines += [
                    f"<SimpleSource><SourceFilename>{path}</SourceFilename>",
                    f"<SourceBand>{band}</SourceBand>",
                    f'<SrcRect xOff="0" yOff="0" xSize="{width}" ySize="{height}"/>',
                    f'<DstRect xOff="{x}" yOff="{y}" xSize="{width}" ySize="{height}"/>',
                    "</SimpleSource>",
                ]
        lines.append("</VRTRasterBand>")
    out.write_text("\n".join([*lines, "</VRTDataset>"]), encoding="utf-8")


def cut(path: Path, out: Path, first: int, side: int) -> None:
    """A square of the scene, from this row and column on."""
    with rasterio.open(path) as file:
        window = Window(first, first, side, side)
        form = file.profile | {"height": window.height, "width": window.width}
        form |= {"transform": file.window_transform(window)}
        with rasterio.open(out, "w", **form) as copy:
            copy.write(file.read(window=window))
            copy.descriptions = file.descriptions


def classes(path: Path) -> NDArray[np.generic]:
    """(h, w) of a map."""
    with rasterio.open(path) as file:
        band: NDArray[np.generic] = file.read(1)
        return band
