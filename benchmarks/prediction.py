"""What a map costs: memory, waiting, the files, and all of it beside PyTorch.

    python benchmarks/prediction.py memory   [--columns 20000 --rows 20000] [--repeat 1]
    python benchmarks/prediction.py overlap  [--networks unet linknet] [--side 2048]
    python benchmarks/prediction.py pipeline [--side 8192] [--rounds 5]
    python benchmarks/prediction.py compare  --runs runs/unet [--steps 2] [--overlaps 64 128]

The scene is a mosaic of tiles of the embedded landscape, four bands of uint16 in a tiled GeoTIFF,
which is written by windows and removed at the end. `--help` after a word lists its sizes.

`memory`: peak resident memory of a map above that of the idle process, which has loaded the network
and mapped one tile; every size in a process of its own.

`overlap`: how busy a map keeps the device from its first batch to its last. By computing: number of
batches x median time of one batch with nothing beside it, of the wall time. By not waiting: the
time in which the device has at least one batch that is not ready. On CPUs the first is the stricter
one, as reading and writing take cores from the device.

`pipeline`: CPU seconds of a map by a network that answers from a number in the first band, beside
those of GDAL alone for the same files: it reads every block of the scene once, and copies the map,
from a tiled GeoTIFF without overviews, to a Cloud Optimised GeoTIFF with the options of the map.

`compare`: the same network, weights and scene, in jaxseg, in a loop of overlapping blended windows
in PyTorch (with arrays of the size of the scene, as usual), and in geoai-py if it is installed; in
turns, every map in a process of its own. CPU seconds leave out the start, which compiles. Seams are
the pixels whose class differs from the same framework's pass over the whole mirrored scene, counted
where the scene's own border is out of sight. For a network that sees everything (PSPNet) they are
the pixels that differ from the map whose tiles lie half a step further. Each overlap has a scene in
which PyTorch's windows are exactly a step apart. Rates are those of a scene much larger than a
tile: number of tiles x step^2 / CPU seconds.

Needs a run for `compare`: a padded U-Net or a PSPNet on the optical landscape, such as

    jaxseg train --config unet --config.model.features 32 --config.num-steps 120

and PyTorch, for a PSPNet torchvision, too. The library imports neither.
"""

import argparse
import importlib.util
import os
import statistics
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from prediction_parts import ours, scenes
from prediction_parts.cost import Cost, alone

from jaxseg.models.receptive_field import sight
from jaxseg.models.structure import output_stride
from jaxseg.prediction.tiling import grid_for, up

Case = tuple[str, int]
"""A tool, and the pixels that two tiles share."""


def main() -> None:
    """Measures what the first word asks for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--workdir", type=Path, help="for scenes and maps; default: temporary")
    words = parser.add_subparsers(required=True)

    word = words.add_parser("memory")
    word.set_defaults(measure=memory)
    word.add_argument("--columns", type=int, nargs="+", default=[20_000, 10_000, 10_000])
    word.add_argument("--rows", type=int, nargs="+", default=[20_000, 10_000, 40_000])
    word.add_argument("--repeat", type=int, default=1, help="times the scene, along both sides")
    word.add_argument("--network", default="first_band", help="a run, or of random weights")
    word.add_argument("--tile", type=int, default=768)
    word.add_argument("--overlap", type=int, default=192)

    word = words.add_parser("overlap")
    word.set_defaults(measure=overlap)
    word.add_argument("--networks", nargs="+", default=["unet", "linknet"])
    word.add_argument("--side", type=int, default=2048)
    word.add_argument("--batch", type=int, default=1)
    word.add_argument("--rounds", type=int, default=3)

    word = words.add_parser("pipeline")
    word.set_defaults(measure=pipeline)
    word.add_argument("--side", type=int, default=8192)
    word.add_argument("--rounds", type=int, default=5)
    word.add_argument("--tile", type=int, default=0)
    word.add_argument("--overlap", type=int)
    word.add_argument("--compress", choices=("none", "deflate", "zstd"), default="deflate")

    word = words.add_parser("compare")
    word.set_defaults(measure=compare)
    word.add_argument("--runs", nargs="+", required=True, help="folders of runs")
    word.add_argument("--steps", type=int, default=2, help="along rows and along columns")
    word.add_argument("--tile", type=int, default=0, help="of all; 0 = what jaxseg takes")
    word.add_argument("--overlaps", type=int, nargs="+", default=[64, 128])
    word.add_argument("--batch", type=int, default=1)
    word.add_argument("--rounds", type=int, default=2)
    word.add_argument("--tools", nargs="+", default=["jaxseg", "loop", "geoai"])
    word.add_argument("--layout", choices=("contiguous", "channels_last"), default="contiguous")

    arguments = parser.parse_args()
    # PyTorch's threads sleep while they wait; by default they spin, which is counted as work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with tempfile.TemporaryDirectory(dir=arguments.workdir) as folder:
        arguments.measure(arguments, Path(folder))


def memory(arguments: argparse.Namespace, folder: Path) -> None:
    """Prints a row for each size."""
    pattern, _ = scenes.mosaic(8)
    say(
        "| scene | tile | idle MiB | peak MiB | above idle MiB | CPU s | wall s |\n"
        "|---|---|---:|---:|---:|---:|---:|"
    )
    for rows, columns in zip(arguments.rows, arguments.columns, strict=True):
        scene = folder / "scene.tif"
        scenes.write(scene, pattern, rows, columns, "zstd")
        if arguments.repeat > 1:
            scenes.repeated(scene, folder / "scene.vrt", arguments.repeat)
            scene = folder / "scene.vrt"
            rows, columns = arguments.repeat * rows, arguments.repeat * columns
        tile = arguments.tile, arguments.overlap
        _, cost = alone(
            ours.whole_map, folder, arguments.network, scene, folder / "map.tif", *tile, 1
        )
        say(
            f"| {rows} x {columns} | {tile[0]}, {tile[1]} shared | {cost.idle:.0f} | "
            f"{cost.peak:.0f} | {cost.above:.0f} | {cost.cpu:.0f} | {cost.wall:.0f} |"
        )


def overlap(arguments: argparse.Namespace, folder: Path) -> None:
    """Prints a row for each network."""
    pattern, _ = scenes.mosaic(8)
    scene = folder / "scene.tif"
    scenes.write(scene, pattern, arguments.side, arguments.side, "deflate")
    say("| network | batches | wall s | alone s | busy: computing | busy: not waiting |")
    say("|---|---:|---:|---:|---:|---:|")
    for name in arguments.networks:
        rounds = alone(
            ours.busy, folder, name, scene, folder / "map.tif", arguments.rounds, arguments.batch
        )
        wall, computed, _, batches = (statistics.median(c) for c in zip(*rounds, strict=True))
        shares = [statistics.median(r[which] / r[0] for r in rounds) for which in (1, 2)]
        say(
            f"| {name} | {batches:.0f} | {wall:.1f} | {computed:.1f} | {shares[0]:.1%} | "
            f"{shares[1]:.1%} |"
        )


def pipeline(arguments: argparse.Namespace, folder: Path) -> None:
    """Prints CPU seconds a megapixel."""
    image, classes = scenes.mosaic(8)
    image[..., 0] = classes + 1  # 0 is no data
    scene = folder / "scene.tif"
    scenes.write(scene, image, arguments.side, arguments.side, arguments.compress)
    rounds = alone(
        ours.pipeline,
        folder,
        scene,
        folder / "map.tif",
        arguments.rounds,
        arguments.tile,
        arguments.overlap,
    )
    megapixels = arguments.side**2 / 1e6
    start, whole, reading, writing = (statistics.median(c) for c in zip(*rounds, strict=True))
    share = statistics.median((r[2] + r[3]) / (r[1] - r[0]) for r in rounds)
    say(f"CPU seconds per megapixel of {arguments.side} x {arguments.side} x 4, median of rounds")
    say(f"    GDAL reads the scene                  {reading / megapixels:.4f}")
    say(f"    GDAL copies the map to a COG          {writing / megapixels:.4f}")
    say(f"    jaxseg reads, answers, writes a COG   {(whole - start) / megapixels:.4f}")
    say(f"    start of jaxseg, once                 {start:.2f} s")
    say(f"rate of jaxseg / rate of GDAL alone: {share:.2f}")


def compare(arguments: argparse.Namespace, folder: Path) -> None:
    """Prints a table for each run."""
    tools = [t for t in arguments.tools if t != "geoai" or importlib.util.find_spec("geoai")]
    for name in arguments.runs:
        run = ours.opened(name)
        stride = output_stride(run.config.model)
        seen = sight(run.config.model, stride)
        border = None if seen is None else seen.border
        crop = run.config.data.evaluation_crop or run.config.data.crop
        sizes = {"border": border, "stride": stride, "crop": crop, "tile": arguments.tile}
        usual, exact = grid_for(**sizes)
        shared = 2 * usual.margin + usual.ramp
        alone(torch_side().check_twin, name, usual.size)
        maker = Maker(arguments, name, folder, usual.size)
        cases = [(tool, n) for n in sorted({*arguments.overlaps, shared}) for tool in tools]
        costs: dict[Case, list[Cost]] = {case: [] for case in cases}
        for _ in range(arguments.rounds):
            for case in cases:
                costs[case].append(maker.map(case, maker.scene(case[1]), "map"))
                say(f"    {case[0]}, {case[1]} shared: {costs[case][-1].cpu:.1f} CPU s")
        seams = (
            from_one_pass(maker, cases, up(border, stride) + stride)
            if border is not None
            else shifted(maker, cases)
        )
        sees = f"{seen.rows} pixels" if seen else "the whole image"
        say(f"\n{name}: {type(run.config.model).__name__}, which sees {sees}.")
        say(f"Tiles of {usual.size}; by default jaxseg's overlap is {shared}, exact: {exact}.\n")
        say("| tool | overlap | other class | Mpx / CPU s | peak MiB above idle |")
        say("|---|---:|---:|---:|---:|")
        for case in cases:
            seconds = statistics.median(cost.cpu for cost in costs[case])
            above = statistics.median(cost.above for cost in costs[case])
            percent = f"{100 * seams[case]:.4f} %" if seams[case] else "0"
            rate = maker.tiles(case) * (usual.size - case[1]) ** 2 / 1e6 / seconds
            say(f"| {case[0]} | {case[1]} | {percent} | {rate:.4f} | {above:.0f} |")
    say("\nArrays of the size of a scene of 20,000 x 20,000 and 10 classes (computed):")
    for tool in ("loop", "geoai"):
        say(f"    {tool:6} {torch_side().mebibytes(tool, 20_000, 10) / 1024:.1f} GiB")


class Maker(NamedTuple):
    """Makes the maps that are compared.

    Attributes:
        arguments: Of the command.
        run: Its folder.
        folder: Of scenes and maps.
        tile: Rows and columns of a tile.
    """

    arguments: argparse.Namespace
    run: str
    folder: Path
    tile: int

    def out(self, case: Case, name: str) -> Path:
        """The file of a map."""
        return self.folder / f"{name}_{case[0]}_{case[1]}.tif"

    def side(self, overlap: int) -> int:
        """Of a scene in which all windows of PyTorch lie one step apart."""
        return self.tile + self.arguments.steps * (self.tile - overlap)

    def scene(self, overlap: int) -> Path:
        """The scene for an overlap."""
        path = self.folder / f"scene_{overlap}.tif"
        if not path.exists():
            side = self.side(overlap)
            scenes.write(path, scenes.mosaic(-(-side // scenes.TILE))[0], side, side, "deflate")
        return path

    def map(self, case: Case, scene: Path, name: str) -> Cost:
        """Makes a map; the cost without that of the start."""
        (tool, overlap), out, batch = case, self.out(case, name), self.arguments.batch
        if tool != "jaxseg":
            sizes = self.tile, overlap, batch, self.arguments.layout
            return alone(torch_side().whole_map, tool, self.run, scene, out, *sizes)
        sizes = self.tile, overlap, batch
        first, whole = alone(ours.whole_map, self.folder, self.run, scene, out, *sizes)
        # The first map is of one tile, so the difference lacks one.
        tiles = self.tiles(case)
        cpu = (whole.cpu - first.cpu) * tiles / (tiles - 1)
        return whole._replace(cpu=cpu, wall=whole.wall - first.wall)

    def tiles(self, case: Case) -> int:
        """How many tiles a tool computes for the scene of its overlap."""
        tool, overlap = case
        if tool != "jaxseg":
            return (self.arguments.steps + 1) ** 2
        return ours.tiles(self.run, self.side(overlap), self.tile, overlap)


def from_one_pass(maker: Maker, cases: list[Case], margin: int) -> dict[Case, float]:
    """Share of pixels, out of sight of the border, unlike those of one pass over the scene."""
    inside, found = np.s_[margin:-margin, margin:-margin], {}
    wholes: dict[Case, NDArray[np.uint8]] = {}
    for tool, overlap in cases:
        which = ("jaxseg" if tool == "jaxseg" else "torch", overlap)
        if which not in wholes:
            side = ours if tool == "jaxseg" else torch_side()
            wholes[which] = alone(side.one_pass, maker.run, maker.scene(overlap), margin)
        made = scenes.classes(maker.out((tool, overlap), "map"))
        found[tool, overlap] = float((made != wholes[which])[inside].mean())
    return found


def shifted(maker: Maker, cases: list[Case]) -> dict[Case, float]:
    """Share of pixels unlike those of tiles half a step further, half a tile from the border."""
    found, part = {}, maker.folder / "part.tif"
    for case in cases:
        first = up((maker.tile - case[1]) // 2, 16)
        # One step less, so that no window of PyTorch is one of the whole scene's.
        side = maker.side(case[1]) - (maker.tile - case[1])
        scenes.cut(maker.scene(case[1]), part, first, side)
        maker.map(case, part, "part")
        near = maker.tile // 2
        a = scenes.classes(maker.out(case, "map"))[first : first + side, first : first + side]
        b = scenes.classes(maker.out(case, "part"))
        found[case] = float((a != b)[near:-near, near:-near].mean())
    return found


def torch_side() -> ModuleType:
    """The side that needs PyTorch."""
    return importlib.import_module("prediction_parts.torch_side")


def say(line: str) -> None:
    """Writes a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
