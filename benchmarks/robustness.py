"""What corruptions and attacks cost networks, and what training with them saves.

    python benchmarks/robustness.py [--sensors optical sar] [--steps 250] [--seeds 3]
        [--methods plain corrupted adversarial deeplab] [--workdir runs/robustness]

On the landscape, at equal steps, data and seeds:

    plain        the padded U-Net with 8 features
    corrupted    the same, half of the training images with `Corruptions` of the kinds in SEEN
    adversarial  the same, every training image attacked before the step: one step of projected
                 gradients from a random start, in a ball of 0.1 standard deviations (optical)
    deeplab      DeepLabV3, ResNet-18 at output stride 16, with 64 features

Adversarial training is a loop of this file around the training step of the library, which knows
nothing of it: the step gets attacked inputs in place of raw images.

All are tested on every kind of corruption that exists for the sensor, seen in training or not, and
on PGD of 5 steps, on 24 windows of 128 x 128 pixels, one of each test scene. A finished run is not
repeated. The output is WORKDIR/robustness.md.
"""

import argparse
import dataclasses
from pathlib import Path

import experiment
import jax
import jax.numpy as jnp

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.datasets.landscape import MEAN, STD, Landscape
from jaxseg.datasets.landscape.surfaces import Modality
from jaxseg.evaluation.robustness.attack import UNTARGETED, make_attack
from jaxseg.evaluation.robustness.measure import measured
from jaxseg.evaluation.robustness.planned import Attacks
from jaxseg.models import DeepLabV3, UNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data, windows
from jaxseg.run import completion
from jaxseg.run.step import TrainState, abstract_state, inference_variables, init_state
from jaxseg.run.step import jit_train_step as jitted
from jaxseg.scenes.scene import Batch
from jaxseg.transforms import Corruptions, Dihedral, LogIntensity, Standardize
from jaxseg.transforms.corruptions import CORRUPTIONS
from jaxseg.transforms.transform import augment, preprocess

SEEN = {
    "optical": ("stripes", "missing", "misregistration", "resolution"),
    "sar": ("speckle", "resolution"),
}
"""Kinds that are part of training with corruptions; the others stay unseen."""

TITLES = {
    "plain": "U-Net",
    "corrupted": "U-Net, trained with corruptions",
    "adversarial": "U-Net, trained with attacks",
    "deeplab": "DeepLabV3",
}

METHODS = {
    "optical": ("plain", "corrupted", "adversarial", "deeplab"),
    "sar": ("plain", "corrupted", "deeplab"),
}

ATTACKS = Attacks(epsilons=(0.03, 0.1, 0.3), steps=5, targets=("lake",))
RADIUS = 0.1


def main() -> None:
    """Trains and measures what is missing and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sensors", nargs="+", choices=tuple(SEEN), default=list(SEEN))
    parser.add_argument("--methods", nargs="+", choices=tuple(TITLES), default=list(TITLES))
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workdir", type=Path, default=Path("runs/robustness"))
    arguments = parser.parse_args()
    experiment.keep_compiled(arguments.workdir)
    found: dict[str, dict[str, list[experiment.Numbers]]] = {}
    for seed in range(arguments.seeds):
        for sensor in arguments.sensors:
            for method in METHODS[sensor]:
                if method not in arguments.methods:
                    continue
                print(f"{sensor}, {TITLES[method]}, seed {seed}", flush=True)
                config = planned(sensor, method, arguments.steps, seed)
                folder = arguments.workdir / sensor / f"{method}_{seed}"
                train = {"train": attacked} if method == "adversarial" else {}
                numbers = experiment.measured(config, folder, numbers_of, **train)
                found.setdefault(sensor, {}).setdefault(method, []).append(numbers)
        tables = [table(sensor, runs) for sensor, runs in found.items()]
        (arguments.workdir / "robustness.md").write_text("\n\n".join(tables) + "\n")
    print("\n\n".join(tables), flush=True)


def planned(sensor: Modality, method: str, steps: int, seed: int) -> Config:
    """The run of a method."""
    source = Landscape(modality=sensor, tiles=(64, 8, 24))
    standardize = Standardize(MEAN[sensor], STD[sensor])
    kinds = tuple(kind for kind in CORRUPTIONS if kind.name in SEEN[sensor])
    deeplab = DeepLabV3(
        num_classes=10, backbone="resnet18", output_stride=16, features=64, dropout=0.1
    )
    return completion.completed(
        Config(
            model=deeplab if method == "deeplab" else UNet(num_classes=10, features=8),
            data=Data(source=source, crop=64, batch_size=8, evaluation_crop=128),
            preprocess=(LogIntensity(), standardize) if sensor == "sar" else (standardize,),
            augment=(Dihedral(),),
            augment_raw=(Corruptions(source.sensor, kinds),) if method == "corrupted" else (),
            optimizer=Optimizer(
                learning_rate=1e-3 if method == "deeplab" else 3e-3,
                schedule="cosine",
                warmup=min(30, steps // 4),
                clip=1.0,
            ),
            seed=seed,
            num_steps=steps,
            eval_every=steps,
            save_every=steps,
        )
    )


def attacked(config: Config, folder: Path) -> TrainState:
    """A training whose step gets attacked inputs; it keeps nothing in the folder."""
    mesh = sharding.make_mesh(config.mesh)
    bands = len(config.data.source.sensor.bands)
    inside = dataclasses.replace(config, preprocess=(), augment=(), augment_raw=())
    state = init_state(config, bands, mesh)
    step = jitted(inside, mesh, abstract_state(config, bands, mesh))
    attack = jax.jit(make_attack(config, mesh))
    numbers = jnp.float32(RADIUS), jnp.int32(1), jnp.int32(UNTARGETED), jnp.bool(False)

    @jax.jit
    def prepare(key: jax.Array, batch: Batch) -> Batch:
        image = preprocess(batch["image"], batch["valid"], config.preprocess)
        return augment(key, batch | {"image": image}, config.augment)

    positions = sharding.local_positions(mesh, config.data.batch_size)
    batches = windows.training_batches(
        config.data, seed=config.seed, positions=positions, first=0, last=config.num_steps
    )
    for number, batch in enumerate(batches):
        key = jax.random.fold_in(jax.random.key(config.seed), number)
        ready = prepare(key, sharding.place_batch(mesh, batch))
        state, _ = step(state, attack(inference_variables(state), ready, key, *numbers))
    return state


def numbers_of(config: Config, state: TrainState) -> experiment.Numbers:
    """MIoU at each strength of each kind, and the ends of its interval over scenes."""
    found = measured(config, state, "run", attacks=ATTACKS, windows=24)
    numbers = {"clean": found.clean["run"].result.scores.miou}
    points = [("clean", found.clean["run"])]
    for curve in found.curves:
        name = curve.title(found.classes)
        points += [(f"{name} {point.strength:g}", point) for point in curve.points]
        if curve.target >= 0:
            hits = {f"hit {point.strength:g}": point.hit(curve.target) for point in curve.points}
            numbers |= {"hit 0": found.clean["run"].hit(curve.target)} | hits
    for name, point in points:
        numbers[name] = float(point.result.scores.miou)
        numbers[f"low {name}"] = float(point.intervals.low["miou"])
        numbers[f"high {name}"] = float(point.intervals.high["miou"])
    return numbers


def table(sensor: str, found: dict[str, list[experiment.Numbers]]) -> str:
    """Markdown: mIoU of each method at each strength, over seeds, and the paired gain."""
    methods = list(found)
    seeds = len(found[methods[0]])
    names = [n for n in found[methods[0]][0] if not n.startswith(("low ", "high ", "cpu_s"))]
    heads = [TITLES[method] for method in methods]
    helped = [m for m in methods if m in ("corrupted", "adversarial") and "plain" in methods]
    gains = [f"{TITLES[method]}, gain, 95 %" for method in helped]
    lines = [
        f"{sensor}: test mIoU in percent, mean of {seeds} seeds; in brackets the 95 % interval "
        "over scenes of the first seed",
        "",
        f"| | {' | '.join([*heads, *gains])} |",
        f"|---|{'---:|' * len([*heads, *gains])}",
    ]
    for name in names:
        values = {method: [run[name] for run in found[method]] for method in methods}
        cells = [
            f"{100 * sum(values[method]) / seeds:.1f}" + _ends(found[method][0], name)
            for method in methods
        ]
        gained = (experiment.paired(values[method], values["plain"]) for method in helped)
        cells += map(_percent, gained)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    seconds = [f"{sum(run['cpu_s'] for run in found[method]) / seeds:.0f}" for method in methods]
    lines.append(f"| CPU s, tests included | {' | '.join([*seconds, *[''] * len(gains)])} |")
    return "\n".join(lines)


def _ends(run: experiment.Numbers, name: str) -> str:
    if f"low {name}" not in run:
        return ""
    return f" ({100 * run[f'low {name}']:.0f} to {100 * run[f'high {name}']:.0f})"


def _percent(gain: experiment.Difference) -> str:
    low, high = 100 * gain.low, 100 * gain.high
    return f"{100 * gain.mean:+.1f} ({low:+.1f} to {high:+.1f})"


if __name__ == "__main__":
    main()
