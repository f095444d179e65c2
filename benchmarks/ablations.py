"""What is each idea worth? A network with it and without it, three seeds, on the landscape.

    python benchmarks/ablations.py [--only skips pyramid ...] [--seeds 3] [--workdir runs/ablations]
    python benchmarks/ablations.py --pilot                only finds the number of steps
    python benchmarks/ablations.py --steps 1600           this number for all, without a pilot

Every network is thin, so that the whole table takes some CPU hours: 8 windows of 64 x 64 optical
pixels per step, AdamW at 1e-2 with a cosine schedule, cross-entropy. The two runs of a seed share
everything but the idea. Evaluation is in windows of 64 x 64 as well, so that what is pooled over a
window is pooled over as much ground as in training.

The number of steps is where the curve of validation mIoU flattens. A pilot finds it first: on a
seed that the table does not use, every network is trained for 400 steps and for twice as many,
until doubling gains less than a percent of mIoU, each length with a schedule of its own. All runs
of the network have the length that was not worth doubling.

The test split is measured once, in the end: mean IoU, that of classes one to three pixels wide,
and the F1 of borders within two pixels. A finished run is not repeated; the tables are printed and
written to WORKDIR/ablations.md.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import experiment
import flax.linen as nn
import numpy as np

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.datasets.landscape import INCONSPICUOUS, MEAN, STD, Landscape
from jaxseg.losses import CrossEntropy, EdgeWeightedCrossEntropy
from jaxseg.metrics.boundaries import BoundaryTotal
from jaxseg.models import (
    AttentionUNet,
    CHWSUNet,
    DeepLabV3,
    PSPNet,
    ResNetUNet,
    UNet,
    UNet3Plus,
)
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.run.evaluator import Evaluator
from jaxseg.run.step import TrainState, count_parameters
from jaxseg.transforms import Brightness, Dihedral, Standardize

PILOT_SEED = 1000
SHORTEST, DOUBLINGS, PAYS = 400, 4, 0.01
"""Steps of the pilot's shortest run, how often they are doubled, and the mIoU that must gain."""


class Run(NamedTuple):
    """What may differ between two runs: a network, and its loss."""

    model: nn.Module
    loss: CrossEntropy | EdgeWeightedCrossEntropy = CrossEntropy()


UNET = UNet(num_classes=10, features=8)
PSPNET = PSPNet(num_classes=10, backbone="resnet18", width=8)
DEEPLAB = DeepLabV3(num_classes=10, backbone="resnet18", width=8, features=32, dropout=0.1)
GATED = AttentionUNet(num_classes=10, features=8)
SMALL_DECODER = (32, 32, 16, 16, 8)
ENCODED = ResNetUNet(num_classes=10, backbone="resnet18", features=SMALL_DECODER)
FULL_SCALE = UNet3Plus(num_classes=10, features=8)

RUNS = {
    "unet": Run(UNET),
    "unet_without_skips": Run(UNET.clone(skips=False)),
    "unet_edge_weights": Run(UNET, EdgeWeightedCrossEntropy()),
    "pspnet": Run(PSPNET),
    "pspnet_without_pyramid": Run(PSPNET.clone(bins=())),
    "deeplab": Run(DEEPLAB),
    "deeplab_one_rate": Run(DEEPLAB.clone(atrous_rates=(12,))),
    "attention_unet": Run(GATED),
    "attention_unet_without_gates": Run(GATED.clone(gates=False)),
    "chws_unet": Run(CHWSUNet(num_classes=10, features=8)),
    "chws_unet_without_attention": Run(CHWSUNet(num_classes=10, features=8, attention="none")),
    "resnet_unet": Run(ENCODED),
    "resnet_unet_scse": Run(ENCODED.clone(attention="scse")),
    "unet3plus": Run(FULL_SCALE),
    "unet3plus_deep_supervision": Run(FULL_SCALE.clone(deep_supervision=True)),
}

IDEAS = {
    "skips": ("skip connections", "unet", "unet_without_skips"),
    "pyramid": ("pyramid pooling", "pspnet", "pspnet_without_pyramid"),
    "edges": ("edge weights in the loss", "unet_edge_weights", "unet"),
    "rates": ("three atrous rates, not one", "deeplab", "deeplab_one_rate"),
    "gates": ("gates on skips", "attention_unet", "attention_unet_without_gates"),
    "chws": ("CHWS attention", "chws_unet", "chws_unet_without_attention"),
    "scse": ("scSE attention", "resnet_unet_scse", "resnet_unet"),
    "deep": ("deep supervision", "unet3plus_deep_supervision", "unet3plus"),
}
"""An idea: what it is called, the run with it, the run without it."""

MEASURES = {"miou": "mIoU", "inconspicuous": "thin classes", "boundary_f1": "border F1"}


def main() -> None:
    """Trains what is missing and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", nargs="+", choices=IDEAS, default=list(IDEAS))
    parser.add_argument("--seeds", type=int, default=3)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--pilot", action="store_true", help="find the number of steps")
    length.add_argument("--steps", type=int, help="this number for all, without a pilot")
    parser.add_argument("--workdir", type=Path, default=Path("runs/ablations"))
    arguments = parser.parse_args()
    experiment.keep_compiled(arguments.workdir)
    if arguments.steps is not None:
        lengths, text = dict.fromkeys(networks(arguments.only), arguments.steps), ""
    else:
        curves = {name: pilot(name, arguments.workdir) for name in networks(arguments.only)}
        lengths, text = {name: flat(curve) for name, curve in curves.items()}, pilot_table(curves)
    if not arguments.pilot:
        results: dict[str, list[experiment.Numbers]] = {}
        for seed in range(arguments.seeds):
            for name in wanted(arguments.only):
                print(f"{name}, seed {seed}", flush=True)
                steps = lengths[network_of(name)]
                folder = arguments.workdir / f"{name}_{seed}"
                config = planned(RUNS[name], steps, seed)
                results.setdefault(name, []).append(experiment.measured(config, folder, measure))
        text = f"{table(results, arguments.only, lengths)}\n{text}"
    (arguments.workdir / "ablations.md").write_text(text)
    print(text)


def wanted(ideas: list[str]) -> list[str]:
    """The runs of some ideas, each once."""
    return list(dict.fromkeys(run for idea in ideas for run in IDEAS[idea][1:]))


def networks(ideas: list[str]) -> list[str]:
    """The networks of some ideas, by the first of their runs."""
    return list(dict.fromkeys(map(network_of, wanted(ideas))))


def network_of(name: str) -> str:
    """The first run of the same network."""
    kind = type(RUNS[name].model)
    return next(run for run, each in RUNS.items() if type(each.model) is kind)


def pilot(name: str, workdir: Path) -> dict[int, float]:
    """Validation mIoU by steps, which are doubled until it does not pay."""
    curve: dict[int, float] = {}
    for steps in (SHORTEST * 2**i for i in range(DOUBLINGS + 1)):
        print(f"pilot of {name}, {steps} steps", flush=True)
        config = planned(RUNS[name], steps, PILOT_SEED)
        folder = workdir / "pilot" / f"{name}_{steps}"
        curve[steps] = experiment.measured(config, folder, on_validation)["miou"]
        if steps > SHORTEST and curve[steps] - curve[steps // 2] < PAYS:
            break
    return curve


def flat(curve: dict[int, float]) -> int:
    """The length that was not worth doubling; the longest, where all were."""
    longest = max(curve)
    pays = longest > SHORTEST and curve[longest] - curve[longest // 2] >= PAYS
    return longest if pays else longest // 2


def pilot_table(curves: dict[str, dict[int, float]]) -> str:
    """Markdown: validation mIoU against steps, and the length that follows."""
    lengths = sorted({steps for curve in curves.values() for steps in curve})
    lines = [
        f"| network | {' | '.join(f'{steps} steps' for steps in lengths)} | chosen |",
        "|---|" + "---:|" * (len(lengths) + 1),
    ]
    for name, curve in curves.items():
        cells = [f"{curve[steps]:.3f}" if steps in curve else "" for steps in lengths]
        lines.append(f"| {name} | {' | '.join(cells)} | {flat(curve)} |")
    return "\n".join([*lines, ""])


def planned(run: Run, steps: int, seed: int) -> Config:
    """A run under the common budget."""
    return Config(
        model=run.model,
        data=Data(source=Landscape(), crop=64, batch_size=8, evaluation_crop=64),
        preprocess=(Standardize(mean=MEAN["optical"], std=STD["optical"]),),
        augment=(Dihedral(), Brightness(gain=0.05, offset=0.05)),
        loss={"ce": run.loss},
        optimizer=Optimizer(learning_rate=1e-2, schedule="cosine", warmup=20, clip=1.0),
        seed=seed,
        num_steps=steps,
        eval_every=steps,
        save_every=steps,
    )


def on_validation(config: Config, state: TrainState) -> experiment.Numbers:
    """The validation mIoU, by which lengths are chosen."""
    found = Evaluator(config, sharding.make_mesh(config.mesh), "validation")(state)
    return {"miou": float(found.scores.miou)}


def measure(config: Config, state: TrainState) -> experiment.Numbers:
    """What is measured on the test split, and the size of the network."""
    evaluator = Evaluator(config, sharding.make_mesh(config.mesh), "test")
    found = evaluator(state)
    scores = dict(zip(found.scores.classes, found.scores.iou, strict=True))
    total = BoundaryTotal.of(len(scores))
    for tile in evaluator.tiles(state, list(range(len(found.accuracy)))):
        total.add(tile.prediction, tile.label, tile.counted())
    return {
        "miou": float(found.scores.miou),
        "inconspicuous": float(np.mean([scores[name] for name in INCONSPICUOUS])),
        "boundary_f1": float(np.nanmean(total.f1())),
        "parameters": count_parameters(state.params),
    }


def table(
    results: dict[str, list[experiment.Numbers]],
    ideas: list[str],
    lengths: dict[str, int],
) -> str:
    """Markdown: a row per idea, with the paired differences that it makes."""
    headings = [f"{title} without | difference, 95 %" for title in MEASURES.values()]
    lines = [
        f"| idea | steps | parameters | CPU s | {' | '.join(headings)} |",
        "|---|---:|---:|---:|" + "---:|---:|" * len(MEASURES),
    ]
    for idea in ideas:
        title, with_it, without = IDEAS[idea]
        two = [results[without], results[with_it]]
        cells = [title, str(lengths[network_of(with_it)])]
        cells.append(" → ".join(f"{found[0]['parameters'] / 1000:.0f} k" for found in two))
        cells.append(" → ".join(f"{np.mean([n['cpu_s'] for n in found]):.0f}" for found in two))
        for key in MEASURES:
            old, new = ([each[key] for each in found] for found in two)
            difference = experiment.paired(new, old)
            cells += [experiment.spread(old), f"{difference}{'' if difference.known else ' ?'}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", "`?`: the interval contains zero, so nothing is known.", ""])


if __name__ == "__main__":
    main()
