"""Does the U-Net's border weight help? Plain against edge-weighted cross-entropy, seed by seed.

    python benchmarks/edge_weights.py --nuclei data/nuclei_dsb2018 --em data/em_isbi2012
        [--sets nuclei em landscape] [--steps 300] [--seeds 3] [--workdir runs/edge_weights]

Three sets with touching objects, the padded U-Net with 16 features, 8 windows of 128 x 128 per
step; the two runs of a seed share initial parameters, windows and augmentation and differ only in
the loss (w0 = 10, sigma = 5, no class weights):

    nuclei     images/ and instances/; every nucleus a region (separate_touching); files 60/10/30 %
    em         images/ and masks/ with 0 = membrane, 255 = cell; the objects are the cells, as
               connected regions; slices 70/15/15 % in their order
    landscape  the embedded optical set; the objects are parcels and buildings

Whole test images are predicted. Predicted objects are 4-connected regions of a class with at least
10 pixels. Counted over the whole test split: object F1 at IoU 0.5; merged, predicted objects that
cover more than half of two or more true ones; split, true objects that contain more than half of
two or more predicted ones; boundary F1 within 2 pixels; mean IoU of pixels; Rand, the
foreground-restricted F-score of pixel pairs (all as `jaxseg.metrics.objects` defines them).

A finished run is not repeated. The output is WORKDIR/SET/LOSS_SEED/result.json and
WORKDIR/edge_weights.md: mean and standard deviation over seeds, the number of seeds in which the
edge-weighted run is better, and the scores of a prediction equal to the label.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from jaxseg import config as configs
from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.datasets import Folder
from jaxseg.datasets.landscape.map import BUILDING, CROPLAND, MEADOW, ORCHARD
from jaxseg.losses import CrossEntropy, EdgeWeightedCrossEntropy
from jaxseg.losses.border_weights import components
from jaxseg.metrics.boundaries import BoundaryTotal
from jaxseg.metrics.objects import match_objects
from jaxseg.run import completion, training
from jaxseg.run.evaluator import Evaluator
from jaxseg.run.step import TrainState
from jaxseg.scenes import Window
from jaxseg.transforms import Standardize

CONFIGS = Path(__file__).parent.parent / "configs"
Ids = NDArray[np.int32]

LOSSES = {"plain": CrossEntropy(), "edge": EdgeWeightedCrossEntropy()}
MEASURES = {
    "object_f1": ("object F1", 1),
    "merged": ("merged", -1),
    "split": ("split", -1),
    "boundary_f1": ("boundary F1", 1),
    "miou": ("pixel mIoU", 1),
    "rand": ("Rand", 1),
}
"""Key in a result -> its heading, and whether more is better."""

OBJECT_CLASSES = {"nuclei": (1,), "em": (1,), "landscape": (CROPLAND, MEADOW, ORCHARD, BUILDING)}
WHOLE_IMAGE = {"nuclei": 704, "em": 512, "landscape": 256}
"""Rows and columns that hold every image of the set; the network wants a multiple of 16."""

LEAST_PIXELS = 10


def main() -> None:
    """Trains what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--nuclei", type=Path, help="folder with images/ and instances/")
    parser.add_argument("--em", type=Path, help="folder with images/ and masks/")
    parser.add_argument("--sets", nargs="+", choices=OBJECT_CLASSES, default=list(OBJECT_CLASSES))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workdir", type=Path, default=Path("runs/edge_weights"))
    arguments = parser.parse_args()
    # The seeds of a set and loss share a program: compiled once.
    jax.config.update("jax_compilation_cache_dir", str((arguments.workdir / "xla").absolute()))
    tables = []
    for name in arguments.sets:
        if name != "landscape" and getattr(arguments, name) is None:
            parser.error(f"--{name} FOLDER is missing; or leave {name} out of --sets.")
        results: dict[str, list[dict[str, float]]] = {loss: [] for loss in LOSSES}
        for seed in range(arguments.seeds):
            for loss in LOSSES:
                config = planned(name, getattr(arguments, name, None), loss, arguments.steps, seed)
                folder = arguments.workdir / name / f"{loss}_{seed}"
                print(f"{name}, {loss}, seed {seed}", flush=True)
                results[loss].append(measured(config, name, folder))
        tables.append(table(name, results, arguments.steps))
        text = "\n\n".join(tables) + "\n"
        (arguments.workdir / "edge_weights.md").write_text(text)
        print(tables[-1], flush=True)


def planned(name: str, folder: Path | None, loss: str, steps: int, seed: int) -> Config:
    """The run of one set, loss and seed."""
    if name == "landscape":
        config = configs.load_config(str(CONFIGS / "unet.py"))
        source, preprocess = config.data.source, config.preprocess
    else:
        config = configs.load_config(str(CONFIGS / "nuclei.py"))
        preprocess = (Standardize(),)
        if name == "nuclei":
            source = dataclasses.replace(
                config.data.source,
                images=f"{folder}/images",
                instances=f"{folder}/instances",
                fractions=(0.6, 0.1, 0.3),
            )
        else:
            source = Folder(
                images=f"{folder}/images",
                masks=f"{folder}/masks",
                classes=("membrane", "cell"),
                ids=(0, 255),
            )
    data = dataclasses.replace(config.data, source=source, crop=128, batch_size=8)
    return dataclasses.replace(
        config,
        data=data,
        preprocess=preprocess,
        loss={"ce": LOSSES[loss]},
        optimizer=dataclasses.replace(config.optimizer, warmup=min(50, steps // 4)),
        seed=seed,
        num_steps=steps,
        eval_every=steps,
        save_every=steps,
    )


def measured(config: Config, name: str, folder: Path) -> dict[str, float]:
    """Trains and evaluates, unless FOLDER/result.json has the result."""
    file = folder / "result.json"
    if not file.is_file():
        state = training.train(config, folder / "run")
        file.write_text(json.dumps(evaluated(completion.completed(config), state, name)) + "\n")
    result: dict[str, float] = json.loads(file.read_text())
    return result


def evaluated(config: Config, state: TrainState, name: str) -> dict[str, float]:
    """All measures over the whole images of the test split."""
    data = dataclasses.replace(
        config.data, batch_size=1, threads=4, evaluation_crop=WHOLE_IMAGE[name]
    )
    config = dataclasses.replace(config, data=data)
    evaluator = Evaluator(config, sharding.make_mesh(config.mesh), "test")
    result = evaluator(state)
    scenes = data.source.scenes("test")
    border = BoundaryTotal.of(len(data.source.classes))
    # The second row is what a prediction equal to the label would get: class maps cannot tell
    # touching objects of one class apart.
    counts = np.zeros((2, 8), np.int64)
    for number, tile in enumerate(evaluator.tiles(state, list(range(len(scenes))))):
        border.add(tile.prediction, tile.label, tile.counted())
        sample = scenes.read(number, Window(0, 0, *scenes.size(number)))
        true = sample["instance"] if "instance" in sample else objects(tile.label, name)
        for row, classes in enumerate((tile.prediction, tile.label)):
            predicted = objects(classes, name)
            counts[row] += object_counts(predicted, true.astype(np.int32))
    best = {"boundary_f1": 1.0, "miou": 1.0} | object_measures(counts[1])
    own = {"boundary_f1": float(np.nanmean(border.f1())), "miou": result.scores.miou}
    own |= object_measures(counts[0])
    return own | {f"best_{key}": value for key, value in best.items()}


def object_measures(counts: NDArray[np.int64]) -> dict[str, float]:
    """The scores from the sums of `object_counts` over images."""
    hits, found, real, merged, split, *pairs = counts.tolist()
    return {
        "object_f1": 2 * hits / max(1, found + real),
        "merged": merged,
        "split": split,
        "rand": float(2 * pairs[0] / (pairs[1] + pairs[2])),
        "true_objects": real,
    }


def objects(label: NDArray[Any], name: str) -> Ids:
    """Connected regions of the set's object classes, those of a few pixels left out."""
    ids = components(np.where(np.isin(label, OBJECT_CLASSES[name]), label + 1, 0).astype(np.uint8))
    small = np.bincount(ids.ravel()) < LEAST_PIXELS
    return np.where(small[ids], 0, ids).astype(np.int32)


def object_counts(predicted: Ids, true: Ids) -> NDArray[np.int64]:
    """Matched, predicted, true, merged and split objects, and the pairs of pixels of Rand."""
    match = match_objects(predicted, true)
    found, real = len(match.predicted_sizes), len(match.true_sizes)
    hits = (match.iou > 0.5).sum()
    return np.array([hits, found, real, match.merged(), match.split(), *match.pairs], np.int64)


def table(name: str, results: dict[str, list[dict[str, float]]], steps: int) -> str:
    """Markdown: a row per measure."""
    seeds = len(results["plain"])
    real = results["plain"][0]["true_objects"]
    lines = [
        f"{name}: {real} true objects in the test split, {steps} steps, {seeds} seeds",
        "",
        "| measure | plain | edge-weighted | better in | the label itself |",
        "|---|---:|---:|---:|---:|",
    ]
    for key, (heading, sign) in MEASURES.items():
        values = {loss: np.array([r[key] for r in runs]) for loss, runs in results.items()}
        digits = 1 if sign < 0 else 3
        cells = [
            f"{v.mean():.{digits}f} ± {v.std(ddof=1) if seeds > 1 else 0:.{digits}f}"
            for v in values.values()
        ]
        better = int((sign * (values["edge"] - values["plain"]) > 0).sum())
        best = results["plain"][0][f"best_{key}"]
        lines.append(
            f"| {heading} | {' | '.join(cells)} | {better} of {seeds} | {best:.{digits}f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
