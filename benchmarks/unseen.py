"""Domains never seen: leave one out, and what helps on it without a label.

    python benchmarks/unseen.py [--sets styles] [--steps 300] [--seeds 3]
        [--held clear hazy dim dry] [--tiles 60 4 20] [--features 8] [--learning-rate 0.004]
        [--strzegom FOLDER] [--clouds FOLDER] [--workdir runs/unseen]

`styles`: four domains are optical images of the embedded landscape in four styles (our choice; see
`jaxseg.datasets.styled`); labels and ground are the same in all of them:

    clear   as drawn
    hazy    0.8 x, and added path radiance that is largest in blue
    dim     0.6 x, a low sun
    dry     vegetation has lost 60 % of the contrast between red and near infrared

`strzegom`: two Sentinel-2 scenes of one place, 19 June 2021 and 12 October 2022 (`images/` and
`masks/` of FOLDER). Trained on the western half, tested on the eastern 40 % of the other date. The
second has 1000 added to its values (processing baseline 04.00), which is subtracted; in a third
case, that is not known. Of the ten classes, the six are kept that both parts of both dates show and
that have more than a few pixels.

`clouds`: one scene each of Sentinel-2, Landsat 5 and Landsat 7 with clouds and their shadows, test
files of ukis-csmask in FOLDER. Half of the blocks of the sensor that is left out are tested.

A network is trained on all domains but one and tested on that, on other ground. The padded U-Net
with 8 windows of 64 x 64 pixels a step, with a cosine schedule, without augmentation of radiometry.
The runs of a seed share windows and, but for prompts, initial parameters. Methods:

    plain     trained on the other domains, used as it is: the reference
    adabn     the same network, batch statistics measured on the images of the new domain
    matched   the same network, histogram of each band matched to that of the training
    prompted  DomainPrompted: domain prompts, half of the windows with their own hidden, a simulator
    prompted_adabn  both
    seen      plain, trained on all domains: what seeing it would give

`adabn` and `matched` read all test images of the new domain together, and no label. Of two domains,
one is left to train on, and prompts have nothing to tell apart: they are left out. A finished run
is not repeated. The output is WORKDIR/table.md of styles, WORKDIR/SET/table.md of the others.
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from experiment import Numbers, keep_compiled, measured, on_test, table
from unseen_sets import STYLES, DomainSet, clouds, strzegom, styles

from jaxseg.config import Config
from jaxseg.datasets import Domains
from jaxseg.models import DomainPrompted, UNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.run.adapted import batches_of, matched, windows_of, with_statistics
from jaxseg.run.completion import completed
from jaxseg.run.step import TrainState, inference_variables
from jaxseg.scenes.scene import Source
from jaxseg.scenes.sensor import Sensor
from jaxseg.transforms import Dihedral, DomainBand, HistogramMatching, Standardize

METHODS = {
    "plain": "as it is",
    "adabn": "AdaBN",
    "matched": "histogram matching",
    "prompted": "domain prompts",
    "prompted_adabn": "domain prompts, AdaBN",
    "seen": "domain seen in training",
}

OF_PROMPTS = ("prompted", "prompted_adabn")


def main() -> None:
    """Trains what is missing and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--sets", nargs="+", choices=("styles", "strzegom", "clouds"), default=["styles"]
    )
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--held", nargs="+", choices=STYLES, default=list(STYLES))
    parser.add_argument("--tiles", type=int, nargs=3, default=(60, 4, 20))
    parser.add_argument("--features", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=4e-3)
    parser.add_argument("--strzegom", type=Path, default=Path("data/sentinel2_strzegom"))
    parser.add_argument("--clouds", type=Path, default=Path("data/clouds_ukis_csmask"))
    parser.add_argument("--workdir", type=Path, default=Path("runs/unseen"))
    asked = parser.parse_args()
    keep_compiled(asked.workdir)
    for name in asked.sets:
        if name == "styles":
            compare(styles(tuple(asked.tiles), asked.held), asked, asked.workdir)
        else:
            of = strzegom(asked.strzegom) if name == "strzegom" else clouds(asked.clouds)
            compare(of, asked, asked.workdir / name)


def compare(of: DomainSet, asked: argparse.Namespace, folder: Path) -> None:
    """Trains what is missing of a set, writes and prints its tables."""
    methods = [name for name in METHODS if len(of.sources) > 2 or name not in OF_PROMPTS]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in methods}
    for seed in range(asked.seeds):
        of_seed: dict[str, dict[str, float]] = {name: {} for name in methods}
        print(f"all domains, seed {seed}", flush=True)
        everything = of_all(of, asked, seed, folder)
        for held in dict.fromkeys(held for held, _ in of.cases.values()):
            print(f"without {held}, seed {seed}", flush=True)
            for case, scores in of_held(of, held, asked, seed, folder).items():
                for method, score in (scores | {"seen": everything[held]}).items():
                    of_seed[method][case] = score
        for method, scores in of_seed.items():
            found[method].append(scores)
        (folder / "table.md").write_text(tables(of, found, asked) + "\n")
    print(tables(of, found, asked), flush=True)


def of_all(of: DomainSet, asked: argparse.Namespace, seed: int, folder: Path) -> Numbers:
    """The test mIoU of each held domain, of a network that was trained on all."""

    def measure(config: Config, state: TrainState) -> Numbers:
        every = {held: of.sources[held] for held, _ in of.cases.values()}
        return {held: on_test(on(config, new), state)["miou"] for held, new in every.items()}

    config = planned(list(of.sources.values()), of, asked, seed)
    return measured(config, folder / f"all_{seed}", measure)


def of_held(
    of: DomainSet, held: str, asked: argparse.Namespace, seed: int, folder: Path
) -> dict[str, dict[str, float]]:
    """The test mIoU of the cases of a domain by method, of networks trained on the others."""
    others = [source for name, source in of.sources.items() if name != held]
    cases = {case: new for case, (of_case, new) in of.cases.items() if of_case == held}

    def key(case: str, method: str) -> str:
        return method if case == held else f"{method}, {case}"

    def adapted(config: Config, state: TrainState) -> Numbers:
        """As it is and with measured statistics."""
        numbers = {}
        for case, source in cases.items():
            new = on(config, source)
            scenes = source.scenes("test")
            again = with_statistics(new, inference_variables(state), batches_of(new, scenes))
            measured_again = state.replace(batch_stats=again["batch_stats"])
            numbers[key(case, "plain")] = on_test(new, state)["miou"]
            numbers[key(case, "adabn")] = on_test(new, measured_again)["miou"]
        return numbers

    def every(config: Config, state: TrainState) -> Numbers:
        numbers = adapted(config, state)
        for case, source in cases.items():
            new = on(config, source)
            again = matched(new, windows_of(new, source.scenes("test")))
            numbers[key(case, "matched")] = on_test(again, state)["miou"]
        return numbers

    plain = planned(others, of, asked, seed)
    folder = folder / held
    first = measured(plain, folder / f"plain_{seed}", every)
    found = {
        case: {name: first[key(case, name)] for name in ("plain", "adabn", "matched")}
        for case in cases
    }
    if len(others) > 1:
        model = DomainPrompted(plain.model.num_classes, network=plain.model, domains=len(others))
        prompted = dataclasses.replace(plain, model=model, augment=(*plain.augment, DomainBand()))
        second = measured(prompted, folder / f"prompted_{seed}", adapted)
        for case, scores in found.items():
            scores["prompted"] = second[key(case, "plain")]
            scores["prompted_adabn"] = second[key(case, "adabn")]
    return found


def on(config: Config, source: Source) -> Config:
    """The config with another domain as its data, for measuring; its values may be any."""
    data = dataclasses.replace(config.data, source=source)
    return dataclasses.replace(config, data=data, sensor=Sensor(()))


def planned(sources: list[Source], of: DomainSet, asked: argparse.Namespace, seed: int) -> Config:
    """The training of the U-Net on some domains, its radiometry fitted to them."""
    source = Domains(tuple(sources)) if len(sources) > 1 else sources[0]
    config = Config(
        model=UNet(num_classes=len(source.classes), features=asked.features),
        data=Data(source=source, crop=64, batch_size=8, evaluation_crop=of.evaluation_crop),
        preprocess=(HistogramMatching(), Standardize()),
        augment=(Dihedral(),),
        optimizer=Optimizer(
            learning_rate=asked.learning_rate,
            schedule="cosine",
            warmup=min(20, asked.steps // 4),
            clip=1.0,
        ),
        seed=seed,
        num_steps=asked.steps,
        eval_every=asked.steps,
        save_every=asked.steps,
    )
    return completed(config)


def tables(
    of: DomainSet, found: dict[str, list[dict[str, float]]], asked: argparse.Namespace
) -> str:
    """Markdown: the mean over the held domains, paired by seed, then case by case."""
    held = [case for case, (domain, _) in of.cases.items() if case == domain]
    lines = [f"N = {asked.steps} steps, {len(found['plain'])} seed(s), held out: {', '.join(held)}"]
    means = {
        name: [float(np.mean([scores[case] for case in held])) for scores in each]
        for name, each in found.items()
    }
    lines += ["", table(means, "plain", of="test mIoU, mean of domains", titles=METHODS)]
    for case in of.cases:
        own = {name: [scores[case] for scores in each] for name, each in found.items()}
        lines += ["", table(own, "plain", of=f"test mIoU on {case}", titles=METHODS)]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
