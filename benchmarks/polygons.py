"""Memory and time of the polygons of a large map: by strips, and in one piece by rasterio.

    python benchmarks/polygons.py --side 12288
    python benchmarks/polygons.py --side 12288 --classes 4
    python benchmarks/polygons.py --side 12288 --simplify 1
    python benchmarks/polygons.py --side 6144 --whole

The map is made of smooth noise at two scales in five classes, with a confidence layer. Its middle
class percolates: one region winds through the whole map and has a quarter of all vertices. Work is
done in a process of its own, whose peak memory is printed beside that after its imports.
"""

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
import rasterio.features
import shapely
from rasterio.windows import Window
from scipy import ndimage

from jaxseg.prediction.polygons import Polygons, polygonise

STRIP = 512
NAMES = ("a", "b", "c", "d", "e")
LIMITS = (-1.0, -0.3, 0.3, 1.0)


def make(path: Path, side: int) -> None:
    """Writes a map of `side` x `side` pixels of 1 m, and its confidence."""
    random = np.random.default_rng(0)
    coarse = ndimage.gaussian_filter(random.standard_normal((side // 8,) * 2).astype("f4"), 2)
    coarse /= coarse.std()
    form = {
        **{"driver": "GTiff", "height": side, "width": side, "count": 1, "dtype": "uint8"},
        **{"nodata": 255, "tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "zstd"},
        **{"crs": "EPSG:32632", "transform": rasterio.Affine(1, 0, 600_000, 0, -1, 5_300_000)},
    }
    other = path.with_name(f"{path.stem}_confidence.tif")
    with rasterio.open(path, "w", **form) as classes, rasterio.open(other, "w", **form) as sure:
        for top in range(0, side, STRIP):
            fine = ndimage.gaussian_filter(random.standard_normal((STRIP, side)).astype("f4"), 1.5)
            part = coarse[top // 8 : (top + STRIP) // 8]
            smooth = ndimage.gaussian_filter(np.kron(part, np.ones((8, 8), "f4")), 3)
            height = smooth + 0.75 * fine
            place = Window(0, top, side, STRIP)
            classes.write(np.digitize(height, LIMITS).astype("uint8"), 1, window=place)
            steps = (100 + 30 * np.abs(height)).clip(0, 254)
            sure.write(steps.astype("uint8"), 1, window=place)
        for file in (classes, sure):
            file.update_tags(JAXSEG_CLASSES=", ".join(NAMES), JAXSEG_JOB="benchmark")


def measure(path: Path, asked: Polygons, whole: bool) -> None:
    """Prints polygons, area, time and memory of this process."""
    before = peak()
    begun = time.process_time()
    if whole:
        with rasterio.open(path) as file:
            classes, transform = file.read(1), file.transform
        areas = [
            shapely.geometry.shape(outline).area
            for outline, _ in rasterio.features.shapes(classes, classes != 255, transform=transform)
        ]
        count, area = len(areas), f", {sum(areas):.1f} m2"
    else:
        count, area = sum(polygonise(path, path.with_suffix(".gpkg"), asked).values()), ""
    print(
        f"{count} polygons{area}: {time.process_time() - begun:.1f} CPU s, peak {peak()} MiB "
        f"({before} MiB after the imports)"
    )


def peak() -> int:
    """Peak memory of this process in MiB; that of `getrusage` begins with its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024


def main() -> None:
    """Makes the map and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=4096, help="rows and columns, times of 512")
    parser.add_argument("--classes", type=int, nargs="*", default=[], help="numbers; all if empty")
    parser.add_argument("--simplify", type=float, default=0.0)
    parser.add_argument("--whole", action="store_true", help="in one piece by rasterio")
    flags = parser.parse_args()
    asked = Polygons(classes=tuple(NAMES[k] for k in flags.classes), simplify=flags.simplify)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "map.tif"
        make(path, flags.side)
        child = multiprocessing.get_context("spawn").Process(
            target=measure, args=(path, asked, flags.whole)
        )
        child.start()
        child.join()


if __name__ == "__main__":
    main()
