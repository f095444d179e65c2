"""Classes that come later: what is forgotten, and what is learned, in stages of 6, 2 and 2 classes.

    python benchmarks/incremental.py [--steps 400] [--later 100] [--seeds 3] [--first 0]
        [--methods ...] [--workdir runs/incremental_stages]

On the optical images of the embedded landscape, the padded U-Net with 8 features learns lake,
river, forest, hedge, cropland and meadow from all training scenes, then orchard and garden, then
road and building, from the same scenes whose labels know the classes of the stage alone
(`jaxseg.datasets.stages`, the overlapped setting). The first stage of a seed is one for all
methods; a method has the same windows as the others at each stage, and begins where its own
previous stage has ended.

    fine-tuning   cross-entropy of the labels as they are
    mib           unbiased cross-entropy and unbiased distillation (MiB)
    nest          the same after a pre-tuning of the new classifiers (NeST)
    pod           nest with Local POD (PLOP) of the bottleneck and three levels of the decoder
    plop          PLOP: labels by the old network, and Local POD of the same layers
    random        nest from a random mixture of the old classifiers instead of their importance
    joint         one run on the labels of all ten classes, as long as all stages together

Measured on the test split, by the network of the last stage: the mean IoU of the first six classes,
of the last four, and of all ten. `other`, which is then nowhere, is in no mean, but is an error
where it is predicted. A finished run is not repeated. The output is WORKDIR/incremental.md.
"""

import argparse
import dataclasses
from pathlib import Path

import experiment
import numpy as np

from jaxseg.config import Config
from jaxseg.datasets import Stage
from jaxseg.datasets.landscape import MEAN, STD, Landscape
from jaxseg.losses import (
    CrossEntropy,
    LocalPOD,
    Loss,
    PseudoLabels,
    UnbiasedCrossEntropy,
    UnbiasedDistillation,
)
from jaxseg.models import UNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.transforms import Dihedral, Standardize
from jaxseg.weights import Incremental

STAGES = (
    ("lake", "river", "forest", "hedge", "cropland", "meadow"),
    ("orchard", "garden"),
    ("road", "building"),
)
ALL = tuple(name for stage in STAGES for name in stage)
TITLES = {
    "fine-tuning": "fine-tuning",
    "mib": "MiB",
    "nest": "MiB, pre-tuned (NeST)",
    "pod": "MiB, pre-tuned (NeST), Local POD",
    "plop": "PLOP",
    "random": "MiB, pre-tuned from random",
    "joint": "joint training",
}
PLAIN = ("fine-tuning", "mib", "nest", "joint")
GROUPS = {"the first six": STAGES[0], "the last four": STAGES[1] + STAGES[2], "all ten": ALL}
LAYERS = ("bottleneck", "decoder4", "decoder3", "decoder2")
PRETUNING = 50


def main() -> None:
    """Trains what is missing and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--steps", type=int, default=400, help="of the first stage")
    parser.add_argument("--later", type=int, default=100, help="of each later stage")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--methods", nargs="+", choices=TITLES, default=list(PLAIN))
    parser.add_argument("--workdir", type=Path, default=Path("runs/incremental_stages"))
    arguments = parser.parse_args()
    experiment.keep_compiled(arguments.workdir)
    results: dict[str, list[experiment.Numbers]] = {name: [] for name in arguments.methods}
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        start = arguments.workdir / f"first_{seed}"
        before = experiment.measured(staged(0, arguments.steps, seed), start)
        print(f"seed {seed}, first stage: {before['miou']:.3f}", flush=True)
        for method, found in results.items():
            folder = arguments.workdir / f"{method}_{seed}"
            if method == "joint":
                config = joint(arguments.steps + 2 * arguments.later, seed)
                found.append(experiment.measured(config, folder))
            else:
                previous = start / "run"
                for number in (1, 2):
                    config = later(number, method, previous, arguments.later, seed)
                    last = experiment.measured(config, folder / f"stage{number}")
                    previous = folder / f"stage{number}" / "run"
                found.append(last)
            print(f"seed {seed}, {TITLES[method]}: {means(found[-1])}", flush=True)
        text = tables(results)
        (arguments.workdir / "incremental.md").write_text(text + "\n")
        print(text, flush=True)


def staged(number: int, steps: int, seed: int) -> Config:
    """Plain training on the labels of a stage."""
    old = tuple(name for stage in STAGES[:number] for name in stage)
    return Config(
        model=UNet(num_classes=len(old) + len(STAGES[number]) + 1, features=8),
        data=Data(
            source=Stage(Landscape(modality="optical"), new=STAGES[number], old=old),
            crop=64,
            batch_size=8,
            evaluation_crop=256,
        ),
        preprocess=(Standardize(MEAN["optical"], STD["optical"]),),
        augment=(Dihedral(),),
        loss={"ce": CrossEntropy()},
        optimizer=Optimizer(
            learning_rate=4e-3, schedule="cosine", warmup=min(50, steps // 4), clip=1.0
        ),
        seed=seed,
        num_steps=steps,
        eval_every=steps,
        save_every=steps,
    )


def later(number: int, method: str, previous: Path, steps: int, seed: int) -> Config:
    """A later stage by one of the methods."""
    plain = staged(number, steps, seed)
    losses: dict[str, Loss] = {"ce": CrossEntropy()}
    if method != "fine-tuning":
        losses = {"ce": UnbiasedCrossEntropy(), "distillation": UnbiasedDistillation()}
    if method == "plop":
        losses = {"ce": PseudoLabels()}
    if method in ("pod", "plop"):
        losses["pod"] = LocalPOD(layers=LAYERS)
    tuned = PRETUNING if method in ("nest", "random", "pod") else 0
    return dataclasses.replace(
        plain,
        loss=losses,
        optimizer=dataclasses.replace(plain.optimizer, learning_rate=1e-3),
        incremental=Incremental(
            str(previous.absolute()), pretuning=tuned, importance=method != "random"
        ),
    )


def joint(steps: int, seed: int) -> Config:
    """All ten classes at once."""
    plain = staged(0, steps, seed)
    data = dataclasses.replace(plain.data, source=Stage(Landscape(modality="optical"), new=ALL))
    return dataclasses.replace(plain, data=data, model=UNet(num_classes=len(ALL) + 1, features=8))


def means(numbers: experiment.Numbers) -> dict[str, float]:
    """The mean IoU of each group of classes."""
    return {
        title: round(float(np.mean([numbers[f"iou/{name}"] for name in names])), 4)
        for title, names in GROUPS.items()
    }


def tables(results: dict[str, list[experiment.Numbers]]) -> str:
    """Markdown: a table for each group of classes, and the CPU seconds of the last stage."""
    reference = "mib" if "mib" in results else next(iter(results))
    parts = []
    for title in GROUPS:
        scores = {
            method: [means(numbers)[title] for numbers in found]
            for method, found in results.items()
        }
        parts.append(experiment.table(scores, reference, of=f"test mIoU, {title}", titles=TITLES))
    seconds = {
        TITLES[method]: round(float(np.mean([numbers["cpu_s"] for numbers in found])))
        for method, found in results.items()
    }
    parts.append(f"CPU seconds of the last run of each: {seconds}")
    return "\n\n".join(parts)


if __name__ == "__main__":
    main()
