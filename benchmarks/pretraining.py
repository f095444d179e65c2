"""Compares training from scratch with encoders that were pre-trained without labels.

    python benchmarks/pretraining.py [--shares S ...] [--seeds S] [--pretrain-steps N] [--steps N]

The padded U-Net with 8 features reconstructs hidden patches of all training tiles of the embedded
optical landscape, without their labels. Then it learns the ten classes from a share of the labelled
training tiles, on windows of 64 x 64 pixels, for the same number of steps in all rows, at the same
learning rate, which was tuned for none of them:

    scratch   random weights
    plain     an encoder that has reconstructed patches, all of them equally often hidden
    focused   the same, patches with strong gradients hidden more often (odds e^2)
    labelled  the same, patches of buildings, roads, rivers, hedges, gardens: with labels of all
              training tiles as proposals, which the other rows have not; only if asked for

Runs of a seed share tiles, windows and the initial decoder; each seed has pre-training of its own.
A finished run is not repeated, and one that was stopped continues. The output is
WORKDIR/pretraining.md.
"""

import argparse
import dataclasses
from pathlib import Path

import experiment
import jax
import numpy as np
import safetensors.numpy
from fine_tuning import Chosen

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.datasets import Landscape
from jaxseg.datasets.landscape import MEAN, STD
from jaxseg.datasets.wrapped import Wrapped
from jaxseg.losses import MaskedReconstruction
from jaxseg.models import UNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.run import checkpoint
from jaxseg.run.reconstruction import Reconstruction
from jaxseg.run.step import TrainState, inference_variables
from jaxseg.scenes.scene import Scenes, Source
from jaxseg.sharding import MeshShape
from jaxseg.transforms import Dihedral, HidePatches, OfClasses, OfGradients, Standardize
from jaxseg.transforms.masking import Proposals
from jaxseg.weights import Pretrained, pretrained

OBJECTS = ("building", "road", "river", "hedge", "garden")
TITLES = {
    "scratch": "from scratch",
    "plain": "plain masks",
    "focused": "masks on gradients",
    "labelled": "masks on labelled objects",
}


@dataclasses.dataclass(frozen=True)
class Few(Wrapped):
    """A share of the training tiles, at least one, drawn by a seed; all others are unlabelled."""

    share: float = 0.1
    seed: int = 0

    def changed(self, scenes: Scenes) -> Scenes:
        """Those that are labelled."""
        order = np.random.default_rng(self.seed).permutation(len(scenes))
        kept = sorted(order[: max(1, round(self.share * len(scenes)))].tolist())
        return Chosen(scenes, kept, np.arange(256, dtype=np.uint8))


def main() -> None:
    """Trains what is missing and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.01, 0.05, 0.1, 1.0])
    parser.add_argument("--methods", nargs="+", choices=TITLES, default=list(TITLES)[:3])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pretrain-steps", type=int, default=400)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--learning-rate", type=float, default=1e-2)
    parser.add_argument("--patch", type=int, default=8)
    parser.add_argument("--workdir", type=Path, default=Path("runs/pretraining"))
    asked = parser.parse_args()
    experiment.keep_compiled(asked.workdir)
    methods = list(dict.fromkeys(["scratch", *asked.methods]))
    known: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    scores: dict[float, dict[str, list[float]]] = {share: {} for share in asked.shares}
    for seed in range(asked.seeds):
        for method in methods[1:]:
            print(f"pre-training, {method}, seed {seed}", flush=True)
            config = reconstructing(method, asked.pretrain_steps, asked.patch, seed)
            found = experiment.measured(config, before(asked.workdir, method, seed), on_test)
            known.setdefault(method, []).append(found["explained"])
            seconds.setdefault(method, []).append(found["cpu_s"])
        for share in asked.shares:
            for method in methods:
                print(f"{share:.0%} of the labels, {method}, seed {seed}", flush=True)
                few = Few(Landscape(), share=share, seed=seed)
                config = labelled(few, asked.steps, asked.learning_rate, seed)
                if method != "scratch":
                    weights = encoder(before(asked.workdir, method, seed))
                    config = dataclasses.replace(
                        config, pretrained=Pretrained(str(weights), part="encoder")
                    )
                found = experiment.measured(config, asked.workdir / f"{method}_{share:g}_{seed}")
                scores[share].setdefault(method, []).append(found["miou"])
        tables = [explained_table(known, seconds, asked.pretrain_steps)] if known else []
        for share, values in scores.items():
            table = experiment.table(values, "scratch", of="test mIoU", titles=TITLES)
            tables.append(f"{share:.0%} of the labelled tiles, {asked.steps} steps\n\n{table}")
        text = "\n\n".join(tables)
        (asked.workdir / "pretraining.md").write_text(text + "\n")
        print(text, flush=True)


def before(workdir: Path, method: str, seed: int) -> Path:
    """The folder of a pre-training."""
    return workdir / f"pretrain_{method}_{seed}"


def labelled(source: Source, steps: int, rate: float, seed: int) -> Config:
    """A run that learns classes, from scratch."""
    return Config(
        model=UNet(num_classes=len(source.classes), features=8),
        data=Data(source=source, crop=64, batch_size=8, evaluation_crop=256),
        preprocess=(Standardize(MEAN["optical"], STD["optical"]),),
        augment=(Dihedral(),),
        optimizer=Optimizer(
            learning_rate=rate, schedule="cosine", warmup=max(1, steps // 8), clip=1.0
        ),
        seed=seed,
        num_steps=steps,
        eval_every=steps,
        save_every=max(1, steps // 3),
    )


def reconstructing(method: str, steps: int, patch: int, seed: int) -> Config:
    """A run that reconstructs hidden patches of all training tiles."""
    source = Landscape()
    proposals: Proposals | None = None
    if method == "focused":
        proposals = OfGradients()
    elif method == "labelled":
        proposals = OfClasses(tuple(source.classes.index(name) for name in OBJECTS))
    plain = labelled(source, steps, 5e-3, seed)
    return dataclasses.replace(
        plain,
        model=UNet(num_classes=len(source.sensor.bands), features=8),
        augment=(Dihedral(), HidePatches(patch=patch, share=0.6, proposals=proposals)),
        loss={"reconstruction": MaskedReconstruction()},
    )


def on_test(config: Config, state: TrainState) -> experiment.Numbers:
    """What is explained of hidden patches of the test split."""
    mesh = sharding.make_mesh(config.mesh)
    return {"explained": Reconstruction(config, mesh, "test")(state).scores.best_by}


def encoder(folder: Path) -> Path:
    """The weights of a pre-training, as `jaxseg export` writes them."""
    file = folder / "weights.safetensors"
    if not file.is_file():
        config, state = checkpoint.reopen(folder / "run", MeshShape(), "latest")
        variables = jax.device_get(inference_variables(state))
        safetensors.numpy.save_file(pretrained.exported(config.model, variables), file)
    return file


def explained_table(
    known: dict[str, list[float]], seconds: dict[str, list[float]], steps: int
) -> str:
    """Markdown: what each pre-training explains of the same hidden patches, and what it cost."""
    lines = [
        f"{steps} steps of pre-training",
        "",
        "| masks | explained, test | CPU s |",
        "|---|---:|---:|",
    ]
    for method, values in known.items():
        cost = np.mean(seconds[method])
        lines.append(f"| {TITLES[method]} | {experiment.spread(values)} | {cost:.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
