"""Does pooling over the whole scene give global context? On the landscape with seasons.

    python benchmarks/seasons.py [--only psp deep u] [--steps 400] [--seeds 3]
        [--workdir runs/seasons]

In `Landscape(seasons=True)` the season exchanges what cropland and orchard, and forest and garden,
look like, and a strip along one side of the scene of 128 x 128 pixels shows it: only who sees the
whole scene can name these four classes. PSPNet with and without its pyramid, DeepLabV3 with and
without its image pooling, and a U-Net are trained on whole scenes, thin (ResNet-18 with an eighth
of the channels, U-Net with 8 features), all else alike.

*Season right* is the share of the pixels of such a pair, among those that are taken for either of
its classes, that are taken for the right one: a half for a coin, whatever else a network can do.
The last lines state what windows of w x w pixels can reach at best.

A finished run is not repeated; the table is printed and written to WORKDIR/seasons.md.
"""

import argparse
import dataclasses
from pathlib import Path

import experiment
import flax.linen as nn
import numpy as np

from jaxseg import config as configs
from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.datasets.landscape.map import CLASSES
from jaxseg.datasets.landscape.seasons import CEILING, EXCHANGED
from jaxseg.models import DeepLabV3, PSPNet, UNet
from jaxseg.run.evaluator import Evaluator
from jaxseg.run.step import TrainState, count_parameters

CONFIG = Path(__file__).parent.parent / "configs" / "seasons.py"

PSPNET = PSPNet(num_classes=10, backbone="resnet18", width=8)
DEEPLAB = DeepLabV3(num_classes=10, backbone="resnet18", width=8, features=32, dropout=0.1)
MODELS: dict[str, nn.Module] = {
    "PSPNet without pyramid": PSPNET.clone(bins=()),
    "PSPNet": PSPNET,
    "DeepLabV3 without image pooling": DEEPLAB.clone(image_pooling=False),
    "DeepLabV3": DEEPLAB,
    "U-Net": UNet(num_classes=10, features=8),
}
FAMILIES = {"psp": "PSPNet", "deep": "DeepLabV3", "u": "U-Net"}

PAIRS = {
    "PSPNet": "PSPNet without pyramid",
    "DeepLabV3": "DeepLabV3 without image pooling",
}
"""What is compared: a network, and the same without pooling over the scene."""


def main() -> None:
    """Trains what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workdir", type=Path, default=Path("runs/seasons"))
    arguments = parser.parse_args()
    experiment.keep_compiled(arguments.workdir)
    wanted = tuple(FAMILIES[family] for family in arguments.only)
    models = {name: model for name, model in MODELS.items() if name.startswith(wanted)}
    runs: dict[str, list[experiment.Numbers]] = {name: [] for name in models}
    for seed in range(arguments.seeds):
        for name, model in models.items():
            print(f"{name}, seed {seed}", flush=True)
            folder = arguments.workdir / f"{name.lower().replace(' ', '_')}_{seed}"
            config = planned(model, arguments.steps, seed)
            runs[name].append(experiment.measured(config, folder, measure))
        text = table(runs)
        (arguments.workdir / "seasons.md").write_text(text)
        print(text, flush=True)


def planned(model: nn.Module, steps: int, seed: int) -> Config:
    """The shipped config with another network, length and seed, and half of its batch."""
    config = configs.load_config(str(CONFIG))
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, batch_size=4),
        model=model,
        seed=seed,
        num_steps=steps,
        eval_every=steps,
        save_every=steps,
    )


def measure(config: Config, state: TrainState) -> experiment.Numbers:
    """What is measured on the test split, and the size of the network."""
    found = Evaluator(config, sharding.make_mesh(config.mesh), "test")(state)
    return {
        "season": season_right(found.confusion),
        "miou": float(found.scores.miou),
        "parameters": count_parameters(state.params),
    }


def season_right(confusion: np.ndarray) -> float:
    """Share of the pixels that were taken for a class of their pair, and for the right one.

    Args:
        confusion: (K, K) pixels, rows = reference, columns = prediction.
    """
    right = every = 0
    for pair in EXCHANGED:
        two = [CLASSES.index(name) for name in pair]
        block = confusion[np.ix_(two, two)]
        right, every = right + np.trace(block), every + block.sum()
    return float(right / every)


def table(runs: dict[str, list[experiment.Numbers]]) -> str:
    """Markdown: a row per network with the paired gain of its pooling, and the ceilings."""
    lines = [
        "| network | parameters | CPU s | season right | gain, 95 % | test mIoU | gain, 95 % |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, found in runs.items():
        cells = [name, f"{found[0]['parameters'] / 1000:.0f} k"]
        cells.append(f"{np.mean([each['cpu_s'] for each in found]):.0f}")
        for key in ("season", "miou"):
            values = [each[key] for each in found]
            cells.append(experiment.spread(values))
            without = [each[key] for each in runs[PAIRS[name]]] if name in PAIRS else []
            cells.append(str(experiment.paired(values, without)) if without else "")
        lines.append(f"| {' | '.join(cells)} |")
    best = ", ".join(f"{side} x {side}: {miou:.3f}" for side, miou in CEILING.items())
    return "\n".join([*lines, "", f"mIoU of windows at best: {best}.", ""])


if __name__ == "__main__":
    main()
