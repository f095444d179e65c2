"""What a trained encoder is worth where labels are few: frozen, at a rate of its own, or as any.

    python benchmarks/fine_tuning.py [--share 0.1] [--steps 200] [--learning-rate 0.01]
        [--source-steps 400] [--seeds 3] [--methods ...] [--workdir runs/fine_tuning]

The source task has other labels and other ground: a coarse land cover of four themes (`THEMES`) on
180 optical tiles of another countryside (seed 1), as of a map that exists everywhere. The target
task has the ten classes of the landscape on a share of its 200 training tiles, others for every
seed; it is tested on all 40 test tiles, after the last step. Sensor and radiometry are the same.
The padded U-Net with 8 features learns the target on windows of 64 x 64 pixels, for the same number
of steps in all rows, at the same learning rate, which was not tuned for any of them:

    scratch   random weights
    frozen    the encoder and bottleneck of the source task, which are not trained
    thawed    the same, trained like all others after half of the steps
    rates     the same, trained at a tenth of the learning rate
    layers    the same, from 0.7 of the learning rate in the bottleneck to 0.7^5 in the first block
    all       the same, trained like all others

The runs of a seed share tiles, windows and the initial decoder. A finished run is not repeated, and
one that was stopped continues. The output is WORKDIR/fine_tuning.md.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import safetensors.numpy

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.datasets import Landscape
from jaxseg.datasets.landscape import MEAN, STD
from jaxseg.datasets.wrapped import Wrapped
from jaxseg.models import UNet
from jaxseg.optimizer import Optimizer, layer_decay
from jaxseg.pipeline import Data
from jaxseg.run import checkpoint, training
from jaxseg.run.evaluator import Evaluator
from jaxseg.run.step import inference_variables
from jaxseg.scenes.scene import IGNORE, Sample, Scenes, Source, Window
from jaxseg.sharding import MeshShape
from jaxseg.transforms import Dihedral, Standardize
from jaxseg.weights import Pretrained, pretrained

THEMES = {
    "water": ("lake", "river"),
    "trees": ("forest", "hedge", "orchard"),
    "farmland": ("cropland", "meadow"),
    "settlement": ("garden", "road", "building"),
}
ENCODER = ("encoder*", "bottleneck/*")
BLOCKS = ("encoder1/*", "encoder2/*", "encoder3/*", "encoder4/*", "bottleneck/*")
METHODS = {
    "scratch": "from scratch",
    "frozen": "encoder frozen",
    "thawed": "encoder frozen for half of the steps",
    "rates": "encoder at a tenth of the rate",
    "layers": "encoder with layer-wise decay 0.7",
    "all": "all at one rate",
}


@dataclasses.dataclass(frozen=True)
class Themes(Wrapped):
    """The landscape with the labels of a coarse land cover, in all splits."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The four themes."""
        return tuple(THEMES)

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        """That of the first class of each theme."""
        fine = self.source.classes
        return tuple(self.source.colors[fine.index(names[0])] for names in THEMES.values())

    def scenes(self, split: str) -> Scenes:
        """The scenes of the landscape, with themes as labels."""
        table = np.full(256, IGNORE, np.uint8)
        for number, names in enumerate(THEMES.values()):
            table[[self.source.classes.index(name) for name in names]] = number
        inner = self.source.scenes(split)
        return Chosen(inner, range(len(inner)), table)


@dataclasses.dataclass(frozen=True)
class Few(Wrapped):
    """A share of the training and validation scenes, drawn by a seed, and all test scenes."""

    share: float = 0.1
    seed: int = 0

    def scenes(self, split: str) -> Scenes:
        """Those that are labelled."""
        scenes = self.source.scenes(split)
        if split == "test":
            return scenes
        order = np.random.default_rng(self.seed).permutation(len(scenes))
        kept = sorted(order[: round(self.share * len(scenes))].tolist())
        return Chosen(scenes, kept, np.arange(256, dtype=np.uint8))


class Chosen:
    """Some scenes, with labels that a table translates."""

    def __init__(self, inner: Scenes, kept: range | list[int], table: np.ndarray) -> None:
        """Keeps the scenes of the numbers `kept`; `table` is (256,) uint8."""
        self.inner, self._kept, self._table = inner, kept, table

    def __len__(self) -> int:
        """Number of scenes."""
        return len(self._kept)

    def name(self, index: int) -> str:
        """Name in messages."""
        return self.inner.name(self._kept[index])

    def size(self, index: int) -> tuple[int, int]:
        """Rows and columns."""
        return self.inner.size(self._kept[index])

    def read(self, index: int, window: Window) -> Sample:
        """A window."""
        sample = self.inner.read(self._kept[index], window)
        return sample | {"label": self._table[sample["label"]]}


def main() -> None:
    """Trains what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--learning-rate", type=float, default=1e-2)
    parser.add_argument("--source-steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--workdir", type=Path, default=Path("runs/fine_tuning"))
    arguments = parser.parse_args()
    jax.config.update("jax_compilation_cache_dir", str((arguments.workdir / "xla").absolute()))
    coarse = Themes(Landscape(seed=1, tiles=(180, 8, 8)))
    source = planned(coarse, arguments.source_steps, 2e-3, seed=0)
    found = measured(source, arguments.workdir / "source")
    weights = encoder(arguments.workdir / "source")
    print(f"source task: {found:.3f} mIoU of four themes", flush=True)
    scores: dict[str, list[float]] = {}
    for seed in range(arguments.seeds):
        for method in arguments.methods:
            print(f"{method}, seed {seed}", flush=True)
            few = Few(Landscape(), share=arguments.share, seed=seed)
            plain = planned(few, arguments.steps, arguments.learning_rate, seed)
            config = tuned(plain, method, weights)
            result = measured(config, arguments.workdir / f"{method}_{seed}")
            scores.setdefault(method, []).append(result)
        text = table(scores, arguments.share, arguments.steps)
        (arguments.workdir / "fine_tuning.md").write_text(text + "\n")
        print(text, flush=True)


def planned(source: Source, steps: int, rate: float, seed: int) -> Config:
    """A run from scratch."""
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


def tuned(config: Config, method: str, weights: Path) -> Config:
    """The run as a method starts and trains it."""
    if method == "scratch":
        return config
    changes = {
        "frozen": {"frozen": ENCODER},
        "thawed": {"frozen": ENCODER, "unfreeze": config.num_steps // 2},
        "rates": {"factors": tuple((part, 0.1) for part in ENCODER)},
        "layers": {"factors": layer_decay(0.7, BLOCKS)},
        "all": {},
    }[method]
    return dataclasses.replace(
        config,
        pretrained=Pretrained(str(weights), part="encoder"),
        optimizer=dataclasses.replace(config.optimizer, **changes),
    )


def measured(config: Config, folder: Path) -> float:
    """Trains and tests, unless FOLDER/result.json has the result.

    Raises:
        SystemExit: It came out of another number of steps, share of labels or learning rate.
    """
    file = folder / "result.json"
    asked = {
        "steps": config.num_steps,
        "share": getattr(config.data.source, "share", 1.0),
        "learning_rate": config.optimizer.learning_rate,
    }
    if not file.is_file():
        state = training.train(config, folder / "run")
        result = Evaluator(config, sharding.make_mesh(config.mesh), "test")(state)
        file.write_text(json.dumps({"miou": result.scores.miou} | asked) + "\n")
    found = json.loads(file.read_text())
    if any(found.get(name) != value for name, value in asked.items()):
        raise SystemExit(f"{file} is of another run ({asked} asked for): remove it.")
    return float(found["miou"])


def encoder(folder: Path) -> Path:
    """The weights of the source task, as `jaxseg export` writes them."""
    file = folder / "weights.safetensors"
    if not file.is_file():
        config, state = checkpoint.reopen(folder / "run", MeshShape(), "latest", code=(Themes,))
        variables = jax.device_get(inference_variables(state))
        safetensors.numpy.save_file(pretrained.exported(config.model, variables), file)
    return file


def table(scores: dict[str, list[float]], share: float, steps: int) -> str:
    """Markdown: a row per method."""
    seeds = len(next(iter(scores.values())))
    lines = [
        f"{share:.0%} of the training tiles, {steps} steps, {seeds} seeds",
        "",
        "| trained | test mIoU | gain over scratch | better in |",
        "|---|---:|---:|---:|",
    ]
    for method, values in scores.items():
        value, more = np.array(values), " | "
        if method != "scratch" and "scratch" in scores:
            gain = value - np.array(scores["scratch"])
            more = f"{gain.mean():+.3f} | {(gain > 0).sum()} of {seeds}"
        spread = f" ± {value.std(ddof=1):.3f}" if seeds > 1 else ""
        lines.append(f"| {METHODS[method]} | {value.mean():.3f}{spread} | {more} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
