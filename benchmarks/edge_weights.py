"""Which part of the U-Net paper's recipe separates touching objects? Part by part, seed by seed.

    python benchmarks/edge_weights.py [--sets discs] [--nuclei data/nuclei_dsb2018]
        [--em data/em_isbi2012] [--arms plain wc ...] [--steps 200] [--seeds 3]
        [--workdir runs/edge_weights]

    discs      generated (`touching_discs`): discs with gaps of 1 to 4 pixels, truth known
    nuclei     images/ and instances/; every nucleus a region (separate_touching); files 60/10/30 %
    em         images/ and masks/ with 0 = membrane, 255 = cell; the objects are the cells, as
               connected regions; slices 70/15/15 % in their order
    landscape  the embedded optical set; the objects are parcels and buildings

The padded U-Net with 8 features, 8 windows of 64 x 64 pixels per step, so that all arms see equal
pixels. The runs of a seed share initial parameters and windows, and differ in the parts of the
recipe that the arm names; all have AdamW and symmetries of the square, unless stated otherwise:

    plain      cross-entropy
    wc         cross-entropy with classes balanced (`inverse_frequency`)
    border     the border term alone: w0 = 10, sigma = 5, all classes of weight 1
    both       wc + border term, the paper's equation 2
    elastic    plain, windows bent on a grid of 3 x 3
    momentum   plain, SGD with momentum 0.99
    recipe     both, elastic and momentum
    mirrored   plain, the paper's network: unpadded, on windows mirrored by 92 pixels; unlike the
               padded one it has dropout and no batch normalisation. It computes 15 times the
               pixels, so it is trained only if `--arms` names it

The displacements of `elastic` (a fiftieth or a twenty-fifth of a window) and the learning rate of
`momentum` are chosen on the validation split with the first seed, by object F1; `recipe` takes
both. Everything else is as in `plain`.

Whole test images are predicted, and evaluated as `jaxseg evaluate` does, summed over the classes
of objects: object F1 at IoU 0.5, merged and split objects, warping error, boundary F1 within 2
pixels, mean IoU. Every network also predicts with test images mirrored by 32 pixels instead of
padded with zeros, the overlap-tile strategy of prediction.

A finished run is not repeated. The output is WORKDIR/SET/ARM_SEED/result.json and
WORKDIR/edge_weights.md.
"""

import argparse
import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path

import experiment
import numpy as np
import touching_discs
from object_scores import OBJECTS, scored

from jaxseg import config as configs
from jaxseg.config import Config
from jaxseg.datasets import Folder
from jaxseg.datasets.landscape import Landscape
from jaxseg.losses import CrossEntropy, EdgeWeightedCrossEntropy
from jaxseg.models import OriginalUNet, UNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.run import completion
from jaxseg.scenes import Source
from jaxseg.transforms import Dihedral, Elastic, Standardize

WINDOW = 64

ARMS = {
    "plain": "plain",
    "wc": "classes balanced (wc)",
    "border": "border term",
    "both": "wc + border term",
    "elastic": "elastic deformation",
    "momentum": "momentum 0.99",
    "recipe": "all of these",
    "mirrored": "the paper's network, mirrored windows",
}
MEASURES = {
    "f1": "object F1",
    "merged": "merged",
    "split": "split",
    "warping": "warping error, per million",
    "boundary_f1": "boundary F1",
    "miou": "mIoU",
}
STD = (WINDOW / 50, WINDOW / 25)
RATE = (2e-3, 1e-2)


def main() -> None:
    """Trains what is missing and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sets", nargs="+", choices=OBJECTS, default=["discs"])
    parser.add_argument("--nuclei", type=Path, help="folder with images/ and instances/")
    parser.add_argument("--em", type=Path, help="folder with images/ and masks/")
    parser.add_argument(
        "--arms", nargs="+", choices=ARMS, default=[arm for arm in ARMS if arm != "mirrored"]
    )
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workdir", type=Path, default=Path("runs/edge_weights"))
    asked = parser.parse_args()
    experiment.keep_compiled(asked.workdir)
    tables: dict[str, str] = {}
    for name in asked.sets:
        if name in ("nuclei", "em") and getattr(asked, name) is None:
            parser.error(f"--{name} FOLDER is missing; or leave {name} out of --sets.")
        source = source_of(name, getattr(asked, name, None) or asked.workdir / "data")
        train = functools.partial(trained, name, source, asked.steps, asked.workdir / name)
        std, rate = choices(asked.arms, train)
        found: dict[str, list[experiment.Numbers]] = {arm: [] for arm in asked.arms}
        for seed in range(asked.seeds):
            for arm in asked.arms:
                found[arm].append(train(arm, seed, std, rate))
            tables[name] = written(name, found, asked, std, rate)
            (asked.workdir / "edge_weights.md").write_text("\n".join(tables.values()))
    print("\n".join(tables.values()))


def source_of(name: str, folder: Path) -> Source:
    """The collection of a set."""
    if name == "landscape":
        return Landscape(modality="optical")
    if name == "em":
        return Folder(
            images=f"{folder}/images",
            masks=f"{folder}/masks",
            classes=("membrane", "cell"),
            ids=(0, 255),
        )
    objects = Folder(
        images=f"{folder}/images",
        instances=f"{folder}/instances",
        classes=("background", "object"),
    )
    if name == "nuclei":
        return dataclasses.replace(objects, separate_touching=True, fractions=(0.6, 0.1, 0.3))
    touching_discs.write(folder)
    return dataclasses.replace(objects, split_by="lists", lists=f"{folder}/lists")


def choices(arms: list[str], train: "functools.partial[experiment.Numbers]") -> tuple[float, float]:
    """The displacements and the learning rate that are best on validation data, first seed."""

    def best(arm: str, values: tuple[float, ...]) -> float:
        if not {arm, "recipe"} & set(arms):
            return values[0]
        return max(values, key=lambda value: train(arm, 0, value, value)["validation/f1"])

    return best("elastic", STD), best("momentum", RATE)


def trained(
    name: str,
    source: Source,
    steps: int,
    folder: Path,
    arm: str,
    seed: int,
    std: float,
    rate: float,
) -> experiment.Numbers:
    """One run, measured; its folder is named by what it depends on."""
    said = f"{arm}_{seed}"
    if arm in ("elastic", "recipe"):
        said += f"_std{std:g}"
    if arm in ("momentum", "recipe"):
        said += f"_rate{rate:g}"
    print(f"{name} {said}", flush=True)
    config = completion.completed(planned(source, arm, steps, seed, std, rate))
    return experiment.measured(config, folder / said, functools.partial(scored, name))


def planned(source: Source, arm: str, steps: int, seed: int, std: float, rate: float) -> Config:
    """The run of an arm."""
    sgd = {"name": "sgd", "momentum": 0.99, "learning_rate": rate}
    optimizer = Optimizer(
        learning_rate=5e-3, schedule="cosine", warmup=min(20, steps // 4), clip=1.0
    )
    losses = {
        "wc": CrossEntropy(class_weights="inverse_frequency"),
        "border": EdgeWeightedCrossEntropy(),
        "both": EdgeWeightedCrossEntropy(class_weights="inverse_frequency"),
    }
    losses["recipe"] = losses["both"]
    kinds = {"mirrored": OriginalUNet}
    config = Config(
        model=kinds.get(arm, UNet)(num_classes=len(source.classes), features=8),
        data=Data(source=source, crop=WINDOW, batch_size=8, pad=True),
        preprocess=(Standardize(),),
        augment=(Dihedral(), *((Elastic(std),) if arm in ("elastic", "recipe") else ())),
        loss={"ce": losses.get(arm, CrossEntropy())},
        optimizer=dataclasses.replace(optimizer, **(sgd if arm in ("momentum", "recipe") else {})),
        seed=seed,
        num_steps=steps,
        eval_every=steps,
        save_every=steps,
    )
    configs.check(config)
    return config


def written(
    name: str,
    found: Mapping[str, list[experiment.Numbers]],
    asked: argparse.Namespace,
    std: float,
    rate: float,
) -> str:
    """Markdown: what each part changes, by gap for discs, and what mirroring changes."""
    seeds = len(next(iter(found.values())))
    objects = next(iter(found.values()))[0]["objects"]
    lines = [
        f"{name}: {objects:.0f} objects in the test split, {asked.steps} steps, {seeds} seed(s);"
        f" «plain» as mean ± standard deviation, all others as paired differences from it with"
        f" 95 % intervals, bold where these leave out zero",
        "",
        *compared(found, MEASURES, "plain"),
    ]
    if name == "discs":
        for key in ("f1", "merged"):
            columns = {f"{gap}/{key}": f"gap {gap}" for gap in touching_discs.GAPS}
            lines += ["", f"{MEASURES[key]} by gap", "", *compared(found, columns, "plain")]
    lines += ["", "mirrored by 32 pixels in prediction, paired with the same network padded", ""]
    lines += ["| trained with | " + " | ".join(MEASURES.values()) + " |", "|---" * 7 + "|"]
    for arm, runs in found.items():
        cells = [
            difference(key, [r[f"mirrored/{key}"] for r in runs], [r[key] for r in runs])
            for key in MEASURES
        ]
        lines.append(f"| {ARMS[arm]} | {' | '.join(cells)} |")
    if {"elastic", "momentum", "recipe"} & found.keys():
        lines += ["", f"chosen on validation: {std:g} pixels, learning rate {rate:g}"]
    return "\n".join(lines) + "\n"


def compared(
    found: Mapping[str, list[experiment.Numbers]], columns: Mapping[str, str], reference: str
) -> list[str]:
    """A row per arm, a column per measure."""
    lines = [
        f"| trained with | {' | '.join(columns.values())} | CPU s |",
        "|---" + "|---:" * (len(columns) + 1) + "|",
    ]
    for arm, runs in found.items():
        cells = []
        for key in columns:
            values = [run[key] for run in runs]
            if arm == reference or reference not in found:
                digits = digits_of(key)
                spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
                cells.append(f"{np.mean(values):.{digits}f}{spread}")
            else:
                cells.append(difference(key, values, [run[key] for run in found[reference]]))
        seconds = np.mean([run["cpu_s"] for run in runs])
        lines.append(f"| {ARMS[arm]} | {' | '.join(cells)} | {seconds:.0f} |")
    return lines


def difference(key: str, values: list[float], reference: list[float]) -> str:
    """`**+0.012** (+0.003 to +0.021)`."""
    gain, digits = experiment.paired(values, reference), digits_of(key)
    mean = f"{gain.mean:+.{digits}f}"
    if np.isnan(gain.low):
        return mean
    mean = f"**{mean}**" if gain.known else mean
    return f"{mean} ({gain.low:+.{digits}f} to {gain.high:+.{digits}f})"


def digits_of(key: str) -> int:
    """Counts have no digits behind the point worth a look."""
    return {"merged": 1, "split": 1, "warping": 0}.get(key.rpartition("/")[2], 3)


if __name__ == "__main__":
    main()
