"""Windows per second of compressed GeoTIFFs and of their pack, on the cores of this machine.

    python benchmarks/reading.py                          a synthetic scene
    python benchmarks/reading.py --image strzegom.tif     a real one, mirrored to the same size
    python benchmarks/reading.py --scenes 20000           many small scenes: what each of them costs

One scene and its mask are written as GeoTIFF, tiled and striped, DEFLATE and LZW, without and with
a band of opacity, and packed. Random windows are then read in alternating rounds: by threads of
rasterio alone (each with files of its own, image and mask, nothing checked), by the pipeline of a
training from the `Folder`, and by the same pipeline from its `Packed`. GDAL's cache is kept so
small that hardly a row is found there again, as in a collection which is larger than memory
(GDAL_CACHEMAX=512 holds all of the scene once). Files stay in the page cache: this measures cores,
not disks. Each line ends with rate and CPU time as shares of the first line's in the same rounds.
"""

import argparse
import dataclasses
import itertools
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("GDAL_CACHEMAX", "16")

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from jaxseg.cli.memory import keep_freed_memory
from jaxseg.datasets import Folder, Packed
from jaxseg.datasets.packed.index import INDEX
from jaxseg.datasets.packed.writer import TILE, pack
from jaxseg.pipeline import Data
from jaxseg.pipeline.windows import training_batches

LAYOUTS = {
    "DEFLATE, tiles of 256": {"compress": "deflate", "tiled": True},
    "LZW, tiles of 256": {"compress": "lzw", "tiled": True},
    "DEFLATE, strips": {"compress": "deflate"},
    "LZW, strips": {"compress": "lzw"},
    "LZW, tiles of 256, opacity": {"compress": "lzw", "tiled": True, "opacity": True},
    "LZW, strips, opacity": {"compress": "lzw", "opacity": True},
}
BATCH = 8
Pixels = NDArray[np.generic]


def scene(image: str, side: int, bands: int) -> Pixels:
    """(C, side, side): a file mirrored at its edges, or a smooth random field with noise.

    Each copy beside another starts at another row, or DEFLATE would find the same rows again.
    """
    if image:
        with rasterio.open(image) as file:
            pixels = file.read()
        for axis in (1, 2):
            again = -(-side // pixels.shape[axis])
            both = (pixels, np.flip(pixels, axis))
            copies = [np.roll(both[n % 2], (axis - 1) * 97 * n, 1) for n in range(again)]
            pixels = np.concatenate(copies, axis)
        return np.ascontiguousarray(pixels[:, :side, :side])
    random = np.random.default_rng(0)
    coarse = random.normal(2000, 600, (bands, side // 32 + 1, side // 32 + 1))
    fine = coarse.repeat(32, 1).repeat(32, 2)[:, :side, :side]
    return np.clip(fine + random.normal(0, 30, fine.shape), 1, 10000).astype(np.uint16)


def written(folder: Path, pixels: Pixels, layout: dict[str, object]) -> Folder:
    """The scene and a mask of three classes as a labelled collection."""
    label = np.digitize(pixels[0], np.quantile(pixels[0], (0.3, 0.7))).astype(np.uint8)
    height, width = label.shape
    options = layout | ({"blockxsize": 256, "blockysize": 256} if "tiled" in layout else {})
    opacity = options.pop("opacity", False)
    opaque = np.full_like(pixels[:1], np.iinfo(pixels.dtype).max)
    image = np.concatenate((pixels, opaque)) if opacity else pixels
    for name, values in (("images", image), ("masks", label[None])):
        (folder / name).mkdir(parents=True)
        shape = {"count": len(values), "height": height, "width": width, "dtype": values.dtype}
        with rasterio.open(
            folder / name / "a.tif", "w", driver="GTiff", predictor=2, **shape, **options
        ) as file:
            if opacity and name == "images":
                file.colorinterp = [ColorInterp.gray] * len(pixels) + [ColorInterp.alpha]
            file.write(values)
    return Folder(
        images=str(folder / "images"),
        masks=str(folder / "masks"),
        classes=("low", "middle", "high"),
        fractions=(1.0, 0.0, 0.0),
    )


def plain(folder: Path, side: int, crop: int, threads: int) -> Iterator[Pixels]:
    """Batches of random windows by threads of rasterio."""
    own = threading.local()
    random = np.random.default_rng(0)

    def read(place: tuple[int, int]) -> tuple[Pixels, Pixels]:
        if not hasattr(own, "files"):
            own.files = [rasterio.open(folder / name / "a.tif") for name in ("images", "masks")]
        window = Window(*place, crop, crop)
        image, mask = (file.read(window=window) for file in own.files)
        return np.ascontiguousarray(np.moveaxis(image, 0, -1)), mask[0]

    with ThreadPoolExecutor(threads) as pool:

        def ahead() -> object:
            return [
                pool.submit(read, tuple(random.integers(side - crop + 1, size=2).tolist()))
                for _ in range(BATCH)
            ]

        waiting = [ahead() for _ in range(4)]
        while True:
            waiting.append(ahead())
            images, masks = zip(*(one.result() for one in waiting.pop(0)), strict=True)
            np.stack(masks)
            yield np.stack(images)


def pipeline(source: Folder | Packed, crop: int, threads: int) -> Iterator[object]:
    """Batches of a training."""
    data = Data(source=source, crop=crop, batch_size=BATCH, threads=threads)
    last = 10**6
    return training_batches(data, seed=0, positions=list(range(BATCH)), first=0, last=last)


def many(folder: Path, count: int, side: int = 16) -> None:
    """Prints what a scene of a large collection costs: to be packed, and at every start."""
    pixels = scene("", side, 4)
    first = written(folder / "first", pixels, LAYOUTS["DEFLATE, strips"])
    for kind in ("images", "masks"):
        data = (folder / "first" / kind / "a.tif").read_bytes()
        (folder / kind).mkdir()
        for number in range(count):
            (folder / kind / f"{number}.tif").write_bytes(data)
    paths = {"images": str(folder / "images"), "masks": str(folder / "masks")}
    source = dataclasses.replace(first, fractions=(0.7, 0.15, 0.15), **paths)
    out = folder / "pack"
    for what, work in {
        "headers, once": lambda: source.scenes("train") and source.scenes("test"),
        "packing, once": lambda: pack(source, out, TILE, 2, lambda names, _: names),
        "opening the pack, at every start": lambda: Packed(str(out)).scenes("train").name(0),
    }.items():
        start, used = time.perf_counter(), time.process_time()
        work()
        wall, cpu = time.perf_counter() - start, time.process_time() - used
        print(f"{what}: {1000 * wall / count:.3f} ms a scene, {1000 * cpu / count:.3f} CPU ms")
    print(f"index: {(out / INDEX).stat().st_size / count:.0f} bytes a scene")


def rates(makers: dict[str, Callable[[], Iterator[object]]], seconds: float, rounds: int) -> None:
    """Prints windows per second and CPU milliseconds per window, in alternating rounds.

    In brackets are the lowest and highest round, behind `x` the medians as shares of the first.
    """
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in makers}
    for _ in range(rounds):
        for name, make in makers.items():
            batches = make()
            next(batches)
            start, used, count = time.perf_counter(), time.process_time(), 0
            while time.perf_counter() - start < seconds:
                next(batches)
                count += BATCH
            wall = time.perf_counter() - start
            found[name].append((count / wall, 1000 * (time.process_time() - used) / count))
            getattr(batches, "close", lambda: None)()
    first = np.array(next(iter(found.values())))
    for name, each in found.items():
        numbers = np.array(each)
        (rate, cpu), shares = np.median(numbers, 0), np.median(numbers / first, 0)
        low, high = numbers[:, 0].min(), numbers[:, 0].max()
        print(
            f"  {name:26} {rate:7.1f} windows/s ({low:.0f} to {high:.0f}) {cpu:7.2f} CPU ms"
            f"  x {shares[0]:.2f} and {shares[1]:.2f}"
        )


def main() -> None:
    """Writes the scene, and reads it in every way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", default="", help="a GeoTIFF that the scene is made of")
    parser.add_argument("--scenes", type=int, default=0, help="small scenes, instead of one")
    parser.add_argument("--side", type=int, default=4096, help="rows and columns of the scene")
    parser.add_argument("--bands", type=int, default=4, help="bands of the synthetic scene")
    parser.add_argument("--crops", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--tiles", type=int, nargs="*", default=[TILE], help="of the packs")
    parser.add_argument("--layouts", nargs="+", default=list(LAYOUTS), choices=list(LAYOUTS))
    parser.add_argument("--seconds", type=float, default=3.0, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    flags = parser.parse_args()
    keep_freed_memory()  # as every command of jaxseg does on a CPU
    if flags.scenes:
        with tempfile.TemporaryDirectory() as place:
            os.environ["XDG_CACHE_HOME"] = place
            many(Path(place), flags.scenes)
        return
    pixels = scene(flags.image, flags.side, flags.bands)
    print(
        f"{pixels.shape[0]} bands of {pixels.dtype}, {flags.side} x {flags.side} pixels, "
        f"{os.cpu_count()} cores, {flags.threads} threads"
    )
    with tempfile.TemporaryDirectory() as place:
        packs: dict[str, Packed] = {}
        for number, name in enumerate(flags.layouts):
            folder = Path(place) / str(number)
            source = written(folder, pixels, LAYOUTS[name])
            size = sum(file.stat().st_size for file in folder.rglob("*.tif"))
            if not packs:
                for tile, compress in itertools.product(flags.tiles, (False, True)):
                    kind = f"Packed, tiles of {tile}{', zstd' if compress else ''}"
                    out, start = Path(place) / kind, time.perf_counter()
                    pack(source, out, tile, 2, lambda names, _: names, compress=compress)
                    took = time.perf_counter() - start
                    bytes_ = sum(file.stat().st_size for file in out.iterdir())
                    print(
                        f"{kind}: {bytes_ / pixels.nbytes:.2f} of the pixels' bytes, "
                        f"{pixels.nbytes / 1e6 / took:.0f} MB/s of pixels packed"
                    )
                    packs[kind] = Packed(str(out))
            print(f"{name}: {size / pixels.nbytes:.2f} of the pixels' bytes")
            for crop in flags.crops:
                print(f" windows of {crop} x {crop}")
                makers: dict[str, Callable[[], Iterator[object]]] = {
                    f"rasterio, {count} threads": (
                        lambda c=count, f=folder, s=crop: plain(f, flags.side, s, c)
                    )
                    for count in sorted({2, flags.threads})
                }
                makers["Folder"] = lambda s=source, c=crop: pipeline(s, c, flags.threads)
                makers |= {
                    kind: lambda s=s, c=crop: pipeline(s, c, flags.threads)
                    for kind, s in packs.items()
                }
                rates(makers, flags.seconds, flags.rounds)
                sys.stdout.flush()


if __name__ == "__main__":
    main()
