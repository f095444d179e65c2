"""The value of optical images at training time for a network that sees radar alone.

    python benchmarks/side_information.py [--sets landscape ombria] [--ombria data/ombria]
        [--steps 300] [--seeds 3] [--workdir runs/side_information]

The padded U-Net with 16 features, with the same radar windows, steps and seeds for all:

    alone  radar only
    A      distillation: attention maps of bottleneck and decoder, and the logits, of a network that
           was trained on the optical images of the same ground
    B      hallucination: a second branch sees radar and learns to reproduce the optical network's
           features; the logits are the mean of both branches
    C      starts from the optical network's weights, the first convolution adapted to two bands

The optical network is trained once per set, as long as the others, on the optical images of the
same training scenes; its own score is the last row, as the limit of the sensor. All other networks
are tested on radar alone. In `landscape` both sensors are drawn from the same maps; `ombria` shows
floods at two dates, each with Sentinel-1 and Sentinel-2 (folders S1_before, S1_after, S2_before,
S2_after, masks).

A finished run is not repeated. The output is WORKDIR/side_information.md.
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
from jaxseg.datasets import Folder
from jaxseg.datasets.landscape import MEAN, STD, Landscape
from jaxseg.datasets.paired import Paired, Stacked
from jaxseg.losses import Distillation
from jaxseg.models import TwoNetworks, UNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.run import checkpoint, completion, training
from jaxseg.run.evaluator import Evaluator
from jaxseg.run.step import inference_variables
from jaxseg.scenes import Source
from jaxseg.sharding import MeshShape
from jaxseg.transforms import Augment, Dihedral, LogIntensity, Preprocess, Standardize
from jaxseg.weights import Pretrained, pretrained

NETWORK = UNet(num_classes=0, features=16)
LAYERS = ("bottleneck", "decoder4", "decoder3", "decoder2")
TITLES = {
    "alone": "radar alone",
    "A": "A, distillation",
    "B": "B, hallucination",
    "C": "C, optical pre-training",
}


def main() -> None:
    """Trains what is missing and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sets", nargs="+", choices=("landscape", "ombria"), default=["landscape"])
    parser.add_argument("--ombria", type=Path, help="folder with S1_before/, ..., masks/")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workdir", type=Path, default=Path("runs/side_information"))
    arguments = parser.parse_args()
    jax.config.update("jax_compilation_cache_dir", str((arguments.workdir / "xla").absolute()))
    tables = []
    for name in arguments.sets:
        if name == "ombria" and arguments.ombria is None:
            parser.error("--ombria FOLDER is missing; or leave ombria out of --sets.")
        radar, optical, steps = sensors(name, arguments.ombria)
        folder = arguments.workdir / name
        teacher = planned(optical, steps[1], arguments.steps, seed=0)
        seen = measured(teacher, folder / "optical")
        scores: dict[str, list[float]] = {}
        for seed in range(arguments.seeds):
            plain = planned(radar, steps[0], arguments.steps, seed)
            for mechanism, config in helped(plain, optical, folder / "optical" / "run").items():
                print(f"{name}, {TITLES[mechanism]}, seed {seed}", flush=True)
                result = measured(config, folder / f"{mechanism}_{seed}")
                scores.setdefault(mechanism, []).append(result["miou"])
        tables.append(table(name, scores, seen["miou"], arguments.steps))
        (arguments.workdir / "side_information.md").write_text("\n\n".join(tables) + "\n")
        print(tables[-1], flush=True)


def sensors(
    name: str, folder: Path | None
) -> tuple[Source, Source, tuple[tuple[Preprocess, ...], tuple[Preprocess, ...]]]:
    """Radar, optical, and the radiometry of each."""
    if name == "landscape":
        steps = (
            (LogIntensity(), Standardize(MEAN["sar"], STD["sar"])),
            (Standardize(MEAN["optical"], STD["optical"]),),
        )
        return Landscape(modality="sar"), Landscape(modality="optical"), steps

    def dates(sensor: str) -> Source:
        before, after = (
            Folder(
                images=f"{folder}/{sensor}_{date}",
                masks=f"{folder}/masks",
                classes=("no flood", "flood"),
                ids=(0, 255),
                fractions=(0.6, 0.1, 0.3),
            )
            for date in ("before", "after")
        )
        return Stacked(before, after)

    return dates("S1"), dates("S2"), ((Standardize(),), (Standardize(),))


def planned(source: Source, steps: tuple[Preprocess, ...], length: int, seed: int) -> Config:
    """A plain run on one sensor."""
    augment: tuple[Augment, ...] = (Dihedral(),)
    return completion.completed(
        Config(
            model=NETWORK,
            data=Data(source=source, crop=128, batch_size=8, evaluation_crop=256),
            preprocess=steps,
            augment=augment,
            optimizer=Optimizer(
                learning_rate=2e-3, schedule="cosine", warmup=min(50, length // 4), clip=1.0
            ),
            seed=seed,
            num_steps=length,
            eval_every=length,
            save_every=length,
        )
    )


def helped(plain: Config, optical: Source, teacher: Path) -> dict[str, Config]:
    """The run on radar alone, and the same with each kind of help."""
    pair = dataclasses.replace(plain.data, source=Paired(plain.data.source, optical))
    start = teacher.parent / "optical.safetensors"
    if not start.is_file():
        stored, state = checkpoint.reopen(teacher, MeshShape(), "latest")
        weights = pretrained.exported(
            stored.model, jax.device_get(inference_variables(state)), strict=False
        )
        safetensors.numpy.save_file(weights, start)
    classes = len(plain.data.source.classes)
    return {
        "alone": plain,
        "A": dataclasses.replace(
            plain,
            data=pair,
            loss=plain.loss
            | {
                "distillation": Distillation(
                    str(teacher), layers=LAYERS, attention=1.0, logits=0.5, temperature=2.0
                )
            },
        ),
        "B": dataclasses.replace(
            plain,
            data=pair,
            model=TwoNetworks(classes, network=NETWORK),
            loss=plain.loss
            | {
                "distillation": Distillation(
                    str(teacher), layers=LAYERS, student="second/", hallucination=10.0
                )
            },
        ),
        "C": dataclasses.replace(plain, pretrained=Pretrained(str(start))),
    }


def measured(config: Config, folder: Path) -> dict[str, float]:
    """Trains and tests, unless FOLDER/result.json has the result.

    Raises:
        SystemExit: It came out of another number of steps.
    """
    file = folder / "result.json"
    if not file.is_file():
        state = training.train(config, folder / "run")
        result = Evaluator(config, sharding.make_mesh(config.mesh), "test")(state)
        file.write_text(json.dumps({"miou": result.scores.miou, "steps": config.num_steps}) + "\n")
    found: dict[str, float] = json.loads(file.read_text())
    if found["steps"] != config.num_steps:
        raise SystemExit(f"{file} is of {found['steps']} steps, not {config.num_steps}: remove it.")
    return found


def table(name: str, scores: dict[str, list[float]], optical: float, steps: int) -> str:
    """Markdown: a row per mechanism."""
    alone = np.array(scores["alone"])
    lines = [
        f"{name}: {steps} steps, {len(alone)} seeds",
        "",
        "| trained with | test mIoU, radar alone | gain | better in |",
        "|---|---:|---:|---:|",
    ]
    for mechanism, values in scores.items():
        value = np.array(values)
        gain, better = value - alone, int((value > alone).sum())
        spread = value.std(ddof=1) if len(value) > 1 else 0.0
        more = f"{gain.mean():+.3f} | {better} of {len(value)}" if mechanism != "alone" else "|"
        lines.append(f"| {TITLES[mechanism]} | {value.mean():.3f} ± {spread:.3f} | {more} |")
    lines.append(f"| the optical network, tested on optical images | {optical:.3f} | | |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
