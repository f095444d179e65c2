"""Robustness to wrong labels: what each method recovers, and which wrong labels it finds.

    python benchmarks/wrong_labels.py [--errors pairs] [--share 0.4] [--steps 500] [--seeds 3]
        [--tiles 60 12 40] [--features 8] [--learning-rate 0.004] [--methods ...]
        [--workdir runs/wrong_labels]

On optical images of the embedded landscape, the padded U-Net learns from training labels in which a
share of the regions has a wrong class (see `jaxseg.datasets.mislabelled`). Validation and test
labels are correct. Steps have 8 windows of 64 x 64 pixels, with a cosine schedule, without
augmentation. Errors:

    pairs   the class that is most easily confused with the correct one (lake and river, ...)
    any     any other class
    mixed   half of the share pairs, half any other class; outlines are moved by up to a pixel and
            regions lose a pixel of their rim

The runs of a seed share wrong labels, windows and initial parameters. Cost is that of training, in
steps of one network on the same windows; N = --steps:

    clean           cross-entropy on correct labels: the upper limit                             N
    plain           cross-entropy on wrong labels: the loss                                      N
    plain, long     the same for as long as two networks take                                   2N
    symmetric       symmetric cross-entropy, both terms with weight 1                            N
    co-teaching     two networks, each learning from the labels that the other finds easy: from
                    all labels for 15 % of the run, then from fewer and fewer, and from the share
                    1 - share after 40 %; the first network is tested                           2N
    cross-modal     two networks, for optical and radar images, that weight each label by how
                    much both trust it; the optical one is tested                               2N
    confident       confident learning: two networks, each trained on one half of the tiles for
                    N/4 steps, doubt labels of the other half; a third one learns from the labels
                    that are left, from its beginning, for N/2 steps                             N
    confident, long the same with N/2, N/2 and N steps                                          2N

What the two extra passes of confident learning over the training tiles cost is not counted. Wrong
labels that are found are those that `jaxseg doubts` doubts: of the halves that were held out for
confident learning, of the labels that were trained on for all others. They are compared with what
was changed. A finished run is not repeated. The output is WORKDIR/ERRORS.md and ERRORS.png.
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from experiment import Numbers, keep_compiled, measured, on_test, spread, table
from wrong_labels_parts.found import FIRST, of_split
from wrong_labels_parts.picture import picture

from jaxseg.config import Config
from jaxseg.datasets import HeldOut, Mislabelled, Stacked, WithoutDoubts
from jaxseg.datasets.held_out import HELD_OUT
from jaxseg.datasets.landscape import MEAN, PAIRS, STD, Landscape
from jaxseg.losses import CoTeaching, CrossEntropy, CrossModalSelection, SymmetricCrossEntropy
from jaxseg.models import TwoNetworks, UNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.run.step import TrainState
from jaxseg.scenes.scene import Source
from jaxseg.transforms import LogIntensity, OnBands, Standardize

METHODS = {
    "clean": "correct labels",
    "plain": "cross-entropy",
    "plain_long": "cross-entropy, 2N steps",
    "symmetric": "symmetric cross-entropy",
    "co-teaching": "co-teaching",
    "cross-modal": "cross-modal selection",
    "confident": "confident learning",
    "confident_long": "confident learning, 2N steps",
}
COST = dict.fromkeys(METHODS, 1) | dict.fromkeys(
    ("plain_long", "co-teaching", "cross-modal", "confident_long"), 2
)


def main() -> None:
    """Trains what is missing and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--errors", choices=("pairs", "any", "mixed"), default="pairs")
    parser.add_argument("--share", type=float, default=0.4)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tiles", type=int, nargs=3, default=(60, 12, 40))
    parser.add_argument("--features", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=4e-3)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--workdir", type=Path, default=Path("runs/wrong_labels"))
    arguments = parser.parse_args()
    keep_compiled(arguments.workdir)
    found: dict[str, list[Numbers]] = {name: [] for name in arguments.methods}
    for seed in range(arguments.seeds):
        for method in arguments.methods:
            print(f"{arguments.errors}, {method}, seed {seed}", flush=True)
            wrong = mislabelled(arguments, seed)
            folder = arguments.workdir / arguments.errors / f"{method}_{seed}"
            found[method].append(run_of(method, wrong, arguments, seed, folder))
            if all(found.values()):
                text = tables(found, arguments)
                (arguments.workdir / f"{arguments.errors}.md").write_text(text + "\n")
    print(text, flush=True)
    if "confident" in arguments.methods:
        wrong = mislabelled(arguments, seed=0)
        folders = [
            arguments.workdir / arguments.errors / "confident_0" / f"half{part}" / "doubts"
            for part in (0, 1)
        ]
        picture(wrong, folders).savefig(arguments.workdir / f"{arguments.errors}.png")


def mislabelled(asked: argparse.Namespace, seed: int) -> Mislabelled:
    """The source with wrong labels in its training split."""
    source, share = Landscape(tiles=tuple(asked.tiles)), asked.share
    if asked.errors != "mixed":
        pairs = PAIRS if asked.errors == "pairs" else ()
        return Mislabelled(source, share=share, confusable=pairs, seed=seed)
    # Drawn apart, so that of the regions that both choose there are as many as chance has it.
    first = Mislabelled(source, share=share / 2, confusable=PAIRS, seed=seed)
    return Mislabelled(first, share=share / 2, shift=1, erode=1, seed=1000 + seed)


def run_of(
    method: str, wrong: Mislabelled, asked: argparse.Namespace, seed: int, folder: Path
) -> Numbers:
    """What one method of one seed reaches, and the wrong labels that it finds."""
    steps = asked.steps * (2 if method in ("plain_long", "confident_long") else 1)
    if not method.startswith("confident"):
        seen = both_sensors(wrong) if method == "cross-modal" else wrong

        def measure(config: Config, state: TrainState) -> Numbers:
            return on_test(config, state) | of_split(config, state, seen, "train")

        return measured(planned(method, wrong, asked, steps, seed), folder, measure)

    def look(config: Config, state: TrainState) -> Numbers:
        source = config.data.source
        return of_split(config, state, source, HELD_OUT, folder / f"half{source.part}" / "doubts")

    halves = [
        measured(
            planned("plain", HeldOut(wrong, part=part), asked, steps // 4, seed),
            folder / f"half{part}",
            look,
        )
        for part in (0, 1)
    ]
    folders = tuple(str(folder / f"half{part}" / "doubts") for part in (0, 1))
    kept = WithoutDoubts(wrong, folders=folders)
    final = measured(planned("plain", kept, asked, steps // 2, seed), folder)
    sums = {name: halves[0][name] + halves[1][name] for name in halves[0]}
    return final | sums | {"cpu_s": final["cpu_s"] + sums["cpu_s"]}


def planned(
    method: str, source: Source, asked: argparse.Namespace, steps: int, seed: int
) -> Config:
    """The run of one method and seed."""
    optical = Landscape(tiles=tuple(asked.tiles))
    network = UNet(num_classes=len(optical.classes), features=asked.features)
    standardize = Standardize(MEAN["optical"], STD["optical"])
    config = Config(
        model=network,
        data=Data(
            source=optical if method == "clean" else source,
            crop=64,
            batch_size=8,
            evaluation_crop=256,
        ),
        preprocess=(standardize,),
        augment=(),
        loss={"ce": CrossEntropy()},
        optimizer=Optimizer(
            learning_rate=asked.learning_rate,
            schedule="cosine",
            warmup=min(20, steps // 4),
            clip=1.0,
        ),
        seed=seed,
        num_steps=steps,
        eval_every=steps,
        save_every=steps,
    )
    two = TwoNetworks(len(optical.classes), network=network, answer="first")
    if method == "symmetric":
        return dataclasses.replace(config, loss={"sce": SymmetricCrossEntropy(alpha=1.0, beta=1.0)})
    if method == "co-teaching":
        return dataclasses.replace(
            config, model=two, loss={"co": CoTeaching(forget=asked.share, start=0.15, ramp=0.4)}
        )
    if method == "cross-modal":
        log = OnBands(4, 6, (LogIntensity(), Standardize(MEAN["sar"], STD["sar"])))
        return dataclasses.replace(
            config,
            model=two.clone(split=4),
            data=dataclasses.replace(config.data, source=both_sensors(source)),
            preprocess=(OnBands(0, 4, (standardize,)), log),
            loss={"select": CrossModalSelection()},
        )
    return config


def both_sensors(source: Source) -> Source:
    """The same wrong labels on optical and radar images."""
    if isinstance(source, Landscape):
        return Stacked(source, dataclasses.replace(source, modality="sar"))
    return dataclasses.replace(source, source=both_sensors(source.source))


def tables(found: dict[str, list[Numbers]], asked: argparse.Namespace) -> str:
    """Markdown: what is reached, and what is found."""
    whole = min(map(len, found.values()))
    done = {name: of[:whole] for name, of in found.items()}
    lines = [
        f"{asked.share:.0%} of the training regions mislabelled ({asked.errors}), N = {asked.steps}"
        f" steps, {whole} seeds",
    ]
    for cost, reference in ((1, "plain"), (2, "plain_long")):
        own = {n: [each["miou"] for each in of] for n, of in done.items() if COST[n] == cost}
        if reference in own:
            named = f"test mIoU, {cost if cost > 1 else ''}N steps of one network"
            lines += ["", table(own, reference, of=named, titles=METHODS)]
    if {"plain", "clean"} <= done.keys():
        clean, plain = (np.mean([each["miou"] for each in done[n]]) for n in ("clean", "plain"))
        lines += [
            "",
            "Recovered, (method - plain) / (clean - plain), and CPU seconds of a run:",
            "",
        ]
        for name, of in done.items():
            gain = (np.mean([each["miou"] for each in of]) - plain) / (clean - plain)
            seconds = np.mean([each["cpu_s"] for each in of])
            lines.append(f"- {METHODS[name]}: {gain:.0%}, {seconds:.0f} s")
    first = next(iter(done.values()))
    wrong = np.mean([each["found/wrong"] / each["found/labelled"] for each in first])
    lines += [
        "",
        f"Wrong labels that are found; {wrong:.0%} of the pixels are wrong, which is the precision",
        "of doubting any:",
        "",
        f"| network | pixels: precision | recall | regions: precision | recall | first {FIRST} |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, of in done.items():
        cells = [
            spread([each[f"found/{part}"] / max(1.0, each[f"found/{whole}"]) for each in of])
            for part, whole in (
                ("both", "doubted"),
                ("both", "wrong"),
                ("regions_right", "regions_doubted"),
                ("regions_seen", "regions_wrong"),
                ("first_right", "first"),
            )
        ]
        lines.append(f"| {METHODS[name]} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
