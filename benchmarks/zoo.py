"""Trains every network on the embedded landscape at equal budget and compares them.

    python benchmarks/zoo.py [--steps 150] [--only unet deeplab ...] [--workdir runs/zoo]

Every shipped config of the optical landscape gives its network; everything else is the same for
all: 8 windows of 128 x 128 per step, AdamW at 2e-3 with a cosine schedule, plain cross-entropy (and
the network's own auxiliary heads). Networks for other sensors are not included; their configs state
their scores. What each idea is worth is measured by `benchmarks/ablations.py`.

A finished network is not trained again. The output is WORKDIR/zoo.json, WORKDIR/zoo.md (the table)
and WORKDIR/zoo.png (the maps of one test tile by all networks). One seed each: differences of a few
percent between networks are not significant, and a short budget favours small networks.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from jaxseg import config as configs
from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.datasets.landscape import INCONSPICUOUS, MEAN, PAIRS, STD, Landscape
from jaxseg.losses import CrossEntropy, Presence
from jaxseg.metrics.boundaries import BoundaryTotal
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.run import training
from jaxseg.run.evaluator import Evaluator
from jaxseg.run.step import count_parameters
from jaxseg.transforms import Brightness, Dihedral, Standardize

CONFIGS = Path(__file__).parent.parent / "configs"


def main() -> None:
    """Trains, evaluates, writes the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--only", nargs="*", help="stems of configs")
    parser.add_argument("--workdir", type=Path, default=Path("runs/zoo"))
    arguments = parser.parse_args()
    runs = {
        name: config
        for name, config in planned(arguments.steps).items()
        if not arguments.only or name in arguments.only
    }
    for number, (name, config) in enumerate(runs.items(), start=1):
        folder = arguments.workdir / name
        if not (folder / "result.json").is_file():
            print(f"[{number}/{len(runs)}] {name}", flush=True)
            measure(config, folder)
    results = {
        name: json.loads((arguments.workdir / name / "result.json").read_text()) for name in runs
    }
    (arguments.workdir / "zoo.json").write_text(json.dumps(results, indent=1) + "\n")
    table = f"{comparison(results)}\n"
    (arguments.workdir / "zoo.md").write_text(table)
    print(table)
    picture(results, arguments.workdir)


def planned(steps: int) -> dict[str, Config]:
    """All runs by name of their config; configs with seasons have scenes of their own."""
    runs = {}
    for path in sorted(CONFIGS.glob("*.py")):
        config = configs.load_config(str(path))
        if config.data.source == Landscape():
            runs[path.stem] = equal(config, steps)
    return runs


def equal(config: Config, steps: int) -> Config:
    """The config's network under the common budget."""
    return Config(
        model=config.model,
        data=Data(
            source=Landscape(modality="optical"), crop=128, batch_size=8, evaluation_crop=256
        ),
        preprocess=(Standardize(mean=MEAN["optical"], std=STD["optical"]),),
        augment=(Dihedral(), Brightness(gain=0.05, offset=0.05)),
        loss={"ce": CrossEntropy()}
        | {name: loss for name, loss in config.loss.items() if isinstance(loss, Presence)},
        aux_weight=config.aux_weight,
        optimizer=Optimizer(learning_rate=2e-3, schedule="cosine", warmup=20, clip=1.0),
        num_steps=steps,
        eval_every=steps,
        save_every=steps,
    )


def measure(config: Config, folder: Path) -> None:
    """Trains and evaluates one network; the result is stored in FOLDER/result.json."""
    wall, cpu = time.perf_counter(), time.process_time()
    state = training.train(config, folder / "run")
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    evaluator = Evaluator(config, sharding.make_mesh(config.mesh), "test")
    result = evaluator(state)
    scores = dict(zip(result.scores.classes, result.scores.iou, strict=True))
    total = BoundaryTotal.of(len(scores))
    tiles = evaluator.tiles(state, list(range(len(result.accuracy))))
    for tile in tiles:
        total.add(tile.prediction, tile.label, tile.counted())
    shown = tiles[int(np.argmax([len(np.unique(tile.label)) for tile in tiles]))]
    np.savez_compressed(
        folder / "tile.npz", **{k: getattr(shown, k) for k in ("rgb", "label", "prediction")}
    )
    (folder / "result.json").write_text(
        json.dumps(
            {
                "network": type(config.model).__name__,
                "parameters": count_parameters(state.params),
                "miou": result.scores.miou,
                "pairs": [float(np.mean([scores[name] for name in pair])) for pair in PAIRS],
                "inconspicuous": float(np.mean([scores[name] for name in INCONSPICUOUS])),
                "boundary_f1": float(np.nanmean(total.f1())),
                "cpu_seconds": cpu,
                "wall_seconds": wall,
                "steps": config.num_steps,
                "iou": scores,
            },
            indent=1,
        )
        + "\n"
    )


def comparison(results: dict[str, dict[str, Any]]) -> str:
    """The networks as a Markdown table, best first."""
    pairs = " | ".join("/".join(pair) for pair in PAIRS)
    lines = [
        f"| config | network | parameters | mIoU | {pairs} | inconspicuous | boundary F1 | CPU s |",
        f"|---|---|---:|---:|{'---:|' * len(PAIRS)}---:|---:|---:|",
    ]
    for name, r in sorted(results.items(), key=lambda item: -item[1]["miou"]):
        cells = [f"{number:.2f}" for number in (*r["pairs"], r["inconspicuous"], r["boundary_f1"])]
        lines.append(
            f"| {name} | {r['network']} | {r['parameters'] / 1e6:.2f} M | {r['miou']:.3f} "
            f"| {' | '.join(cells)} | {r['cpu_seconds']:.0f} |"
        )
    return "\n".join(lines)


def picture(results: dict[str, dict[str, Any]], workdir: Path) -> None:
    """One tile of the test split: image, reference, and the map of every network."""
    colors = np.array(Landscape().colors, np.uint8)
    ranked = sorted(results, key=lambda name: -results[name]["miou"])
    tiles = {name: np.load(workdir / name / "tile.npz") for name in ranked}
    first = tiles[ranked[0]]
    panels = [("image", first["rgb"]), ("reference", colors[np.minimum(first["label"], 9)])]
    panels += [
        (f"{name}  {results[name]['miou']:.2f}", colors[tiles[name]["prediction"]])
        for name in ranked
    ]
    columns = 6
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(2.2 * columns, 2.4 * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, (title, image) in zip(axes.flat, panels, strict=False):
        axis.imshow(image, interpolation="nearest")
        axis.set_title(title, fontsize=7)
    handles = [plt.Rectangle((0, 0), 1, 1, color=color / 255) for color in colors]
    figure.legend(
        handles, Landscape().classes, loc="lower center", ncols=10, fontsize=8, frameon=False
    )
    figure.suptitle("One test tile, 256 x 256 pixels; mIoU of the whole split", fontsize=10)
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    figure.savefig(workdir / "zoo.png", dpi=90)


if __name__ == "__main__":
    main()
