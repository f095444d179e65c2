"""The value of optical images at training time for a network that sees radar alone.

    python benchmarks/side_information.py [--sets landscape ombria] [--ombria data/ombria]
        [--parts why test] [--steps 400] [--seeds 3] [--workdir runs/side_information]

The padded U-Net with 8 features, 8 windows of 64 x 64 pixels per step; the runs of a seed share
windows, initial parameters and teacher. N = --steps, and the cost is in steps of one network:

    radar alone, 2N steps           what others spend on a teacher, spent on radar               2N
    two radar branches              the network of B without its teacher, 3N/2 steps             3N
    A    distillation from a network that was trained on the optical images of the same ground:
           attention maps           of bottleneck and three decoders                          N + N
           logits                   of each pixel, temperature 2                              N + N
           channel-wise             the places of each class in the logits, temperature 4     N + N
           HFD-Net's form           features of the same layers through adapters, from coarse
                                    to fine, `jaxseg.models.parts.aligned`                    N + N
    B    hallucination: a second branch sees radar and learns to reproduce the optical
         network's features; the logits are the mean of both branches                        2N + N
    C    starts from the optical network's weights, the first convolution adapted             N + N

The optical network of a seed is trained for N steps, which is the second summand; its own score, on
optical images, is the last row. Applying it costs a forward pass per step more, which CPU seconds
contain. All others are tested on radar alone. The factor of each term is one of two or three, the
best on validation data with a seed that the table does not use.

`why` asks on validation data, with that seed, why A costs: how large the gradients of its terms are
beside that of cross-entropy, and what other factors, layers, a worse teacher and more steps change.

In `landscape` both sensors are drawn from the same maps; `ombria` shows floods at two dates, each
with Sentinel-1 and Sentinel-2 (folders S1_before, S1_after, S2_before, S2_after, masks).

A finished run is not repeated. The output is WORKDIR/SET.md.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from experiment import Numbers, keep_compiled, measured, on_test, paired, spread
from side_information_parts.gradients import gradients
from side_information_parts.runs import LAYERS, METHODS, Sensors, of, planned, sensors, why

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.run.evaluator import Evaluator
from jaxseg.run.step import TrainState, count_parameters

SEED = 1000
"""The seed by which everything is chosen; the table has 0, 1, 2."""


def main() -> None:
    """Trains what is missing and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sets", nargs="+", choices=("landscape", "ombria"), default=["landscape"])
    parser.add_argument("--ombria", type=Path, help="folder with S1_before/, ..., masks/")
    parser.add_argument("--parts", nargs="+", choices=("why", "test"), default=["why", "test"])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workdir", type=Path, default=Path("runs/side_information"))
    asked = parser.parse_args()
    keep_compiled(asked.workdir)
    for name in asked.sets:
        if name == "ombria" and asked.ombria is None:
            parser.error("--ombria FOLDER is missing; or leave ombria out of --sets.")
        given, folder = sensors(name, asked.ombria, asked.steps), asked.workdir / name
        texts = [f"{name}, N = {asked.steps} steps"]
        file = asked.workdir / f"{name}.md"
        if "why" in asked.parts:
            texts.append(causes(given, folder))
            file.write_text("\n\n".join(texts) + "\n")
        if "test" in asked.parts:
            scores = {method: tried(method, given, folder) for method in METHODS}
            texts.append(choice_table(scores))
            chosen = {method: best(each) for method, each in scores.items()}
            for table in gains(given, folder, asked.seeds, chosen):
                file.write_text("\n\n".join([*texts, table]) + "\n")
        print(file.read_text(), flush=True)


def causes(given: Sensors, folder: Path) -> str:
    """Markdown: validation mIoU of runs that say why A costs, and gradients of its terms."""
    teacher, weak = optical(given, folder, SEED), optical(given, folder, SEED, 0.25)
    side = given.optical.data.source

    def with_gradients(config: Config, state: TrainState) -> Numbers:
        pulls = gradients(config, state, side, teacher, LAYERS)
        return on_validation(config, state) | pulls

    found = {}
    for number, (title, config) in enumerate(why(given, SEED, teacher, weak).items()):
        print(f"{folder.name}, why, {title}", flush=True)
        own = with_gradients if title == "radar alone" else on_validation
        found[title] = measured(config, folder / "why" / str(number), own)
    lines = ["| trained with | validation mIoU, one seed |", "|---|---:|"]
    lines += [f"| {title} | {each['miou']:.3f} |" for title, each in found.items()]
    pulls = found["radar alone"]
    lines += [
        "",
        "Gradients of terms with factor 1, relative to that of cross-entropy, and their cosine,",
        "before and after N steps on radar alone:",
        "",
        "| term | norm at the start | cosine | norm at the end | cosine |",
        "|---|---:|---:|---:|---:|",
    ]
    for name in dict.fromkeys(key.split("/")[1] for key in pulls if key.startswith("norm/")):
        cells = [
            format(pulls[f"{kind}/{name}/{when}"], style)
            for when in ("start", "end")
            for kind, style in (("norm", ".3g"), ("cosine", "+.2f"))
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def tried(method: str, given: Sensors, folder: Path) -> dict[float, float]:
    """Validation mIoU by factor."""
    found = {}
    for factor in METHODS[method].factors:
        print(f"{folder.name}, {METHODS[method].title}, factor {factor:g}", flush=True)
        config = planned(method, given, SEED, optical(given, folder, SEED), factor)
        at = folder / "choice" / f"{method}_{factor:g}"
        found[factor] = measured(config, at, on_validation)["miou"]
    return found


def best(scores: dict[float, float]) -> float:
    """The factor with the best score; 0 for a method without one."""
    return max(scores, key=scores.__getitem__, default=0.0)


def gains(given: Sensors, folder: Path, seeds: int, chosen: dict[str, float]) -> Iterator[str]:
    """Markdown, seed after seed: what help is worth on test data."""
    found: dict[str, list[Numbers]] = {method: [] for method in METHODS}
    seen: list[Numbers] = []
    for seed in range(seeds):
        teacher = optical(given, folder, seed)
        seen.append(measured(of(given.optical, seed), teacher.parent, measure))
        for method, numbers in found.items():
            print(f"{folder.name}, {METHODS[method].title}, seed {seed}", flush=True)
            config = planned(method, given, seed, teacher, chosen[method])
            numbers.append(measured(config, folder / f"{method}_{seed}", measure))
        yield test_table(found, chosen, seen)


def optical(given: Sensors, folder: Path, seed: int, share: float = 1.0) -> Path:
    """The folder of the finished optical run of a seed."""
    at = folder / (f"optical_{seed}" if share == 1 else f"optical_{seed}_weak")
    measured(of(given.optical, seed, share), at, measure)
    return at / "run"


def measure(config: Config, state: TrainState) -> Numbers:
    """What is measured on the test split, and the size of the network without adapters."""
    params = {name: part for name, part in state.params.items() if name != "aligned"}
    return on_test(config, state) | {"parameters": count_parameters(params)}


def on_validation(config: Config, state: TrainState) -> Numbers:
    """The validation mIoU, by which factors are chosen."""
    found = Evaluator(config, sharding.make_mesh(config.mesh), "validation")(state)
    return {"miou": float(found.scores.miou)}


def choice_table(scores: dict[str, dict[float, float]]) -> str:
    """Markdown: validation mIoU by factor."""
    lines = ["| trained with | factor: validation mIoU, one seed |", "|---|---|"]
    for method, each in scores.items():
        if each:
            cells = (
                f"**{factor:g}: {miou:.3f}**" if factor == best(each) else f"{factor:g}: {miou:.3f}"
                for factor, miou in each.items()
            )
            lines.append(f"| {METHODS[method].title} | {', '.join(cells)} |")
    return "\n".join(lines)


def test_table(
    found: dict[str, list[Numbers]], chosen: dict[str, float], seen: list[Numbers]
) -> str:
    """Markdown: a row per method, paired with radar alone and with what costs as much."""
    scores = {method: [each["miou"] for each in of] for method, of in found.items()}
    lines = [
        f"{len(seen)} seeds",
        "",
        "| trained with | factor | cost / N | parameters | CPU s | test mIoU, radar alone | "
        "from radar alone, 95 % | at equal cost, 95 % |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for method, numbers in found.items():
        title, (own, whole), equal, _ = METHODS[method]
        cells = [
            title,
            f"{chosen[method]:g}" if chosen[method] else "",
            f"{own:g}" if own == whole else f"{own:g} + {whole - own:g}",
            *size(numbers),
            spread(scores[method]),
            "" if method == "alone" else str(paired(scores[method], scores["alone"])),
            str(paired(scores[method], scores[equal])) if equal else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    title, miou = "the optical network, on optical images", [each["miou"] for each in seen]
    lines.append(f"| {title} | | 1 | {' | '.join(size(seen))} | {spread(miou)} | | |")
    return "\n".join(lines)


def size(numbers: list[Numbers]) -> tuple[str, str]:
    """Parameters, and the median of the CPU seconds: later seeds find compiled programs."""
    seconds = float(np.median([each["cpu_s"] for each in numbers]))
    return f"{numbers[0]['parameters'] / 1000:.0f} k", f"{seconds:.0f}"


if __name__ == "__main__":
    main()
