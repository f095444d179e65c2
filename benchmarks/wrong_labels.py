"""Robustness to wrong labels: the share of the loss in mIoU that each method recovers.

    python benchmarks/wrong_labels.py [--share 0.4] [--errors any] [--steps 1000] [--seeds 3]
        [--methods ...] [--workdir runs/wrong_labels]

On the optical images of the embedded landscape, the padded U-Net with 8 features learns from
training labels in which a share of the regions has a wrong class (see
`jaxseg.datasets.mislabelled`): `any` other class, or, with --errors pairs, the class that is most
easily confused with the correct one (lake and river, cropland and meadow, ...). Validation and test
labels are correct. The runs of a seed share wrong labels, windows and initial parameters:

    clean         plain cross-entropy on correct labels: the upper limit
    plain         plain cross-entropy on wrong labels: the loss
    symmetric     symmetric cross-entropy, both terms with weight 1
    co-teaching   two networks, each learning from the labels that the other finds easy: from all
                  labels for 15 % of the run, then from fewer and fewer, and from the share
                  1 - share after 40 %; the first network is tested
    cross-modal   two networks, for optical and radar images, that weight each label by how much
                  both trust it; the optical one is tested

Recovered is (method - plain) / (clean - plain). A finished run is not repeated. The output is
WORKDIR/wrong_labels.md.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import jax
import numpy as np

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.datasets import Mislabelled, Stacked
from jaxseg.datasets.landscape import MEAN, PAIRS, STD, Landscape
from jaxseg.losses import CoTeaching, CrossEntropy, CrossModalSelection, SymmetricCrossEntropy
from jaxseg.models import TwoNetworks, UNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.run import training
from jaxseg.run.evaluator import Evaluator
from jaxseg.transforms import Dihedral, LogIntensity, OnBands, Standardize

NETWORK = UNet(num_classes=0, features=8)
METHODS = ("clean", "plain", "symmetric", "co-teaching", "cross-modal")


def main() -> None:
    """Trains what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--share", type=float, default=0.4)
    parser.add_argument("--errors", nargs="+", choices=("any", "pairs"), default=["any"])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--workdir", type=Path, default=Path("runs/wrong_labels"))
    arguments = parser.parse_args()
    jax.config.update("jax_compilation_cache_dir", str((arguments.workdir / "xla").absolute()))
    tables = []
    for errors in arguments.errors:
        scores: dict[str, list[float]] = {}
        for seed in range(arguments.seeds):
            for method in arguments.methods:
                print(f"{errors}, {method}, seed {seed}", flush=True)
                config = planned(method, errors, arguments.share, arguments.steps, seed)
                # Right labels are the same whatever the errors would be.
                folder = arguments.workdir / ("" if method == "clean" else errors)
                result = measured(config, folder / f"{method}_{seed}")
                scores.setdefault(method, []).append(result)
        tables.append(table(scores, errors, arguments.share, arguments.steps))
        (arguments.workdir / "wrong_labels.md").write_text("\n\n".join(tables) + "\n")
        print(tables[-1], flush=True)


def planned(method: str, errors: str, share: float, steps: int, seed: int) -> Config:
    """The run of one method and seed."""
    optical, radar = Landscape(modality="optical"), Landscape(modality="sar")
    standardize = Standardize(MEAN["optical"], STD["optical"])
    pairs = PAIRS if errors == "pairs" else ()
    wrong = Mislabelled(optical, share=share, confusable=pairs, seed=seed)
    config = Config(
        model=NETWORK.clone(num_classes=len(optical.classes)),
        data=Data(
            source=optical if method == "clean" else wrong,
            crop=128,
            batch_size=8,
            evaluation_crop=256,
        ),
        preprocess=(standardize,),
        augment=(Dihedral(),),
        loss={"ce": CrossEntropy()},
        optimizer=Optimizer(
            learning_rate=2e-3, schedule="cosine", warmup=min(50, steps // 4), clip=1.0
        ),
        seed=seed,
        num_steps=steps,
        eval_every=steps,
        save_every=steps,
    )
    two = TwoNetworks(len(optical.classes), network=NETWORK, answer="first")
    if method == "symmetric":
        return dataclasses.replace(config, loss={"sce": SymmetricCrossEntropy(alpha=1.0, beta=1.0)})
    if method == "co-teaching":
        return dataclasses.replace(
            config, model=two, loss={"co": CoTeaching(forget=share, start=0.15, ramp=0.4)}
        )
    if method == "cross-modal":
        both = dataclasses.replace(wrong, source=Stacked(optical, radar))
        log = OnBands(4, 6, (LogIntensity(), Standardize(MEAN["sar"], STD["sar"])))
        return dataclasses.replace(
            config,
            model=two.clone(split=4),
            data=dataclasses.replace(config.data, source=both),
            preprocess=(OnBands(0, 4, (standardize,)), log),
            loss={"select": CrossModalSelection()},
        )
    return config


def measured(config: Config, folder: Path) -> float:
    """Trains and tests, unless FOLDER/result.json has the result.

    Raises:
        SystemExit: It came out of another number of steps or share of wrong labels.
    """
    file = folder / "result.json"
    asked = {"steps": config.num_steps, "share": getattr(config.data.source, "share", 0.0)}
    if not file.is_file():
        state = training.train(config, folder / "run")
        result = Evaluator(config, sharding.make_mesh(config.mesh), "test")(state)
        file.write_text(json.dumps({"miou": result.scores.miou} | asked) + "\n")
    found = json.loads(file.read_text())
    if any(found[name] != value for name, value in asked.items()):
        raise SystemExit(f"{file} is of another run ({asked} asked for): remove it.")
    return float(found["miou"])


def table(scores: dict[str, list[float]], errors: str, share: float, steps: int) -> str:
    """Markdown: a row per method."""
    seeds = len(next(iter(scores.values())))
    lines = [
        f"{share:.0%} of the training regions mislabelled ({errors}), {steps} steps, {seeds} seeds",
        "",
        "| method | test mIoU | recovered |",
        "|---|---:|---:|",
    ]
    for method, values in scores.items():
        value = np.array(values)
        spread = value.std(ddof=1) if seeds > 1 else 0.0
        won = ""
        if method not in ("clean", "plain") and {"clean", "plain"} <= scores.keys():
            plain, clean = (np.mean(scores[name]) for name in ("plain", "clean"))
            won = f"{(value.mean() - plain) / (clean - plain):.0%}"
        lines.append(f"| {method} | {value.mean():.3f} ± {spread:.3f} | {won} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
