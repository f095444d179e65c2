"""Domains never seen: leave one out, and what helps on it without a label.

    python benchmarks/unseen.py [--steps 300] [--seeds 3] [--held clear hazy dim dry]
        [--tiles 60 4 20] [--features 8] [--learning-rate 0.004] [--workdir runs/unseen]

Four domains are optical images of the embedded landscape in four styles (our choice; see
`jaxseg.datasets.styled`); labels and ground are the same in all of them:

    clear   as drawn
    hazy    0.8 x, and added path radiance that is largest in blue
    dim     0.6 x, a low sun
    dry     vegetation has lost 60 % of the contrast between red and near infrared

A network is trained on three and tested on the fourth, on other ground. The padded U-Net with 8
windows of 64 x 64 pixels a step, with a cosine schedule, without augmentation of radiometry. The
runs of a seed share windows and, but for prompts, initial parameters. Methods:

    plain     trained on three domains, used as it is: the reference
    adabn     the same network, batch statistics measured on the images of the new domain
    matched   the same network, histogram of each band matched to that of the training
    prompted  DomainPrompted: domain prompts, half of the windows with their own hidden, a simulator
    prompted_adabn  both
    seen      plain, trained on all four domains: what seeing it would give

`adabn` and `matched` read all test images of the new domain together, and no label. A finished run
is not repeated. The output is WORKDIR/table.md.
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from experiment import Numbers, keep_compiled, measured, on_test, table

from jaxseg.config import Config
from jaxseg.datasets import Domains, Landscape, Styled
from jaxseg.models import DomainPrompted, UNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.run.adapted import batches_of, matched, windows_of, with_statistics
from jaxseg.run.completion import completed
from jaxseg.run.step import TrainState, inference_variables
from jaxseg.scenes.scene import Source
from jaxseg.transforms import Dihedral, DomainBand, HistogramMatching, Standardize

STYLES = {
    "clear": ((1.0, 1.0, 1.0, 1.0), (0.0, 0.0, 0.0, 0.0), 0.0),
    "hazy": ((0.8, 0.8, 0.8, 0.8), (600.0, 400.0, 250.0, 80.0), 0.0),
    "dim": ((0.6, 0.6, 0.6, 0.6), (0.0, 0.0, 0.0, 0.0), 0.0),
    "dry": ((1.0, 1.0, 1.0, 1.0), (0.0, 0.0, 0.0, 0.0), 0.6),
}
METHODS = {
    "plain": "as it is",
    "adabn": "AdaBN",
    "matched": "histogram matching",
    "prompted": "domain prompts",
    "prompted_adabn": "domain prompts, AdaBN",
    "seen": "domain seen in training",
}


def main() -> None:
    """Trains what is missing and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--held", nargs="+", choices=STYLES, default=list(STYLES))
    parser.add_argument("--tiles", type=int, nargs=3, default=(60, 4, 20))
    parser.add_argument("--features", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=4e-3)
    parser.add_argument("--workdir", type=Path, default=Path("runs/unseen"))
    asked = parser.parse_args()
    keep_compiled(asked.workdir)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in METHODS}
    for seed in range(asked.seeds):
        of_seed: dict[str, dict[str, float]] = {name: {} for name in METHODS}
        print(f"all domains, seed {seed}", flush=True)
        everything = of_all(asked, seed)
        for held in asked.held:
            print(f"without {held}, seed {seed}", flush=True)
            scores = of_held(held, asked, seed) | {"seen": everything[held]}
            for method, score in scores.items():
                of_seed[method][held] = score
        for method, of in of_seed.items():
            found[method].append(of)
        (asked.workdir / "table.md").write_text(tables(found, asked) + "\n")
    print(tables(found, asked), flush=True)


def of_all(asked: argparse.Namespace, seed: int) -> Numbers:
    """The test mIoU of each held domain, of a network that was trained on all."""

    def measure(config: Config, state: TrainState) -> Numbers:
        return {held: on_test(on(config, held, asked), state)["miou"] for held in asked.held}

    return measured(planned(list(STYLES), asked, seed), asked.workdir / f"all_{seed}", measure)


def of_held(held: str, asked: argparse.Namespace, seed: int) -> Numbers:
    """The test mIoU of a domain by method, of networks that were trained on the others."""
    others = [name for name in STYLES if name != held]

    def adapted(config: Config, state: TrainState) -> Numbers:
        """As it is and with measured statistics."""
        new = on(config, held, asked)
        scenes = new.data.source.scenes("test")
        again = with_statistics(new, inference_variables(state), batches_of(new, scenes))
        measured_again = state.replace(batch_stats=again["batch_stats"])
        return {
            "plain": on_test(new, state)["miou"],
            "adabn": on_test(new, measured_again)["miou"],
        }

    def every(config: Config, state: TrainState) -> Numbers:
        new = on(config, held, asked)
        windows = windows_of(new, new.data.source.scenes("test"))
        return adapted(config, state) | {"matched": on_test(matched(new, windows), state)["miou"]}

    plain = planned(others, asked, seed)
    model = DomainPrompted(plain.model.num_classes, network=plain.model, domains=len(others))
    prompted = dataclasses.replace(plain, model=model, augment=(*plain.augment, DomainBand()))
    folder = asked.workdir / held
    first = measured(plain, folder / f"plain_{seed}", every)
    second = measured(prompted, folder / f"prompted_{seed}", adapted)
    return {name: first[name] for name in ("plain", "adabn", "matched")} | {
        "prompted": second["plain"],
        "prompted_adabn": second["adabn"],
    }


def styled(name: str, asked: argparse.Namespace) -> Source:
    """One domain."""
    gain, offset, wilted = STYLES[name]
    return Styled(Landscape(tiles=tuple(asked.tiles)), gain=gain, offset=offset, wilted=wilted)


def on(config: Config, name: str, asked: argparse.Namespace) -> Config:
    """The config with another domain as its data, for measuring."""
    data = dataclasses.replace(config.data, source=styled(name, asked))
    return dataclasses.replace(config, data=data)


def planned(names: list[str], asked: argparse.Namespace, seed: int) -> Config:
    """The training of the U-Net on some domains, its radiometry fitted to them."""
    source = Domains(tuple(styled(name, asked) for name in names))
    config = Config(
        model=UNet(num_classes=len(source.classes), features=asked.features),
        data=Data(source=source, crop=64, batch_size=8, evaluation_crop=256),
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


def tables(found: dict[str, list[dict[str, float]]], asked: argparse.Namespace) -> str:
    """Markdown: the mean over the held domains, paired by seed, then domain by domain."""
    seeds = len(found["plain"])
    lines = [f"N = {asked.steps} steps, {seeds} seed(s), held out: {', '.join(asked.held)}", ""]
    means = {
        name: [float(np.mean(list(of.values()))) for of in each] for name, each in found.items()
    }
    lines.append(table(means, "plain", of="test mIoU, mean of domains", titles=METHODS))
    for held in asked.held:
        own = {name: [of[held] for of in each] for name, each in found.items()}
        lines += ["", table(own, "plain", of=f"test mIoU on {held}", titles=METHODS)]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
