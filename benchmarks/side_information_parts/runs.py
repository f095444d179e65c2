"""The runs of the experiment on optical help: what each kind of help is, as a config."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import safetensors.numpy

from jaxseg.config import Config
from jaxseg.datasets import Folder, Paired, Stacked
from jaxseg.datasets.landscape import MEAN, STD, Landscape
from jaxseg.losses import CrossEntropy, Distillation
from jaxseg.models import TwoNetworks, UNet
from jaxseg.models.parts.aligned import Aligned
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.run import checkpoint, completion
from jaxseg.run.step import inference_variables
from jaxseg.scenes import Source
from jaxseg.sharding import MeshShape
from jaxseg.transforms import Dihedral, LogIntensity, Preprocess, Standardize
from jaxseg.weights import Pretrained, pretrained

NETWORK = UNet(num_classes=0, features=8)
LAYERS = ("bottleneck", "decoder4", "decoder3", "decoder2")
TILES = (60, 12, 40)
"""Tiles of the landscape for training, validation and test."""


class Method(NamedTuple):
    """A row of the table.

    Attributes:
        title: What it is called.
        cost: Steps of networks that it trains, in units of N, without and with its teacher's.
        equal: The method without help that costs as much.
        factors: Factors of its term to choose from; none = it has no such term.
    """

    title: str
    cost: tuple[float, float]
    equal: str = ""
    factors: tuple[float, ...] = ()


METHODS = {
    "alone": Method("radar alone", (1, 1)),
    "long": Method("radar alone, 2N steps", (2, 2)),
    "two": Method("two radar branches, 3N/2 steps", (3, 3)),
    "attention": Method("A, attention maps", (1, 2), "long", (0.01, 0.1, 1.0)),
    "logits": Method("A, logits", (1, 2), "long", (0.1, 0.5, 2.5)),
    "channels": Method("A, channel-wise", (1, 2), "long", (0.1, 0.5, 3.0)),
    "aligned": Method("A, HFD-Net's form", (1, 2), "long", (0.01, 0.1, 1.0)),
    "hallucination": Method("B, hallucination", (2, 3), "two", (1.0, 10.0)),
    "pretrained": Method("C, optical pre-training", (1, 2), "long"),
}


class Sensors(NamedTuple):
    """Plain runs of N steps on radar and on optical images of the same ground."""

    radar: Config
    optical: Config


def sensors(name: str, folder: Path | None, steps: int) -> Sensors:
    """The two sensors of a set."""
    if name == "landscape":
        log = (LogIntensity(), Standardize(MEAN["sar"], STD["sar"]))
        return Sensors(
            plain(Landscape(modality="sar", tiles=TILES), log, steps),
            plain(Landscape(tiles=TILES), (Standardize(MEAN["optical"], STD["optical"]),), steps),
        )

    def dates(sensor: str) -> Source:
        before, after = (
            Folder(
                images=f"{folder}/{sensor}_{date}",
                masks=f"{folder}/masks",
                classes=("no flood", "flood"),
                ids=(0, 255),
                fractions=(0.5, 0.2, 0.3),
            )
            for date in ("before", "after")
        )
        return Stacked(before, after)

    return Sensors(*(plain(dates(sensor), (Standardize(),), steps) for sensor in ("S1", "S2")))


def plain(source: Source, steps: tuple[Preprocess, ...], length: int) -> Config:
    """A run on one sensor."""
    return completion.completed(
        Config(
            model=NETWORK.clone(num_classes=len(source.classes)),
            data=Data(source=source, crop=64, batch_size=8, evaluation_crop=256),
            preprocess=steps,
            augment=(Dihedral(),),
            loss={"ce": CrossEntropy()},
            optimizer=Optimizer(
                learning_rate=4e-3, schedule="cosine", warmup=length // 10, clip=1.0
            ),
            num_steps=length,
            eval_every=length,
            save_every=length,
        )
    )


def of(config: Config, seed: int, share: float = 1.0) -> Config:
    """A run with another seed, and of another length."""
    steps = max(1, round(config.num_steps * share))
    optimizer = dataclasses.replace(config.optimizer, warmup=steps // 10)
    return dataclasses.replace(
        config,
        optimizer=optimizer,
        seed=seed,
        num_steps=steps,
        eval_every=steps,
        save_every=steps,
    )


def planned(method: str, given: Sensors, seed: int, teacher: Path, factor: float = 0.0) -> Config:
    """The run of one method, with the finished optical run `teacher`."""
    radar, run = of(given.radar, seed), str(teacher)
    classes = len(radar.data.source.classes)
    two = TwoNetworks(classes, network=NETWORK)
    match method:
        case "alone":
            return radar
        case "long":
            return of(radar, seed, 2)
        case "two":
            return of(dataclasses.replace(radar, model=two), seed, 1.5)
        case "attention":
            return taught(radar, given, Distillation(run, layers=LAYERS, attention=factor))
        case "logits":
            return taught(radar, given, Distillation(run, layers=(), logits=factor))
        case "channels":
            rule = Distillation(run, layers=(), channels=factor, temperature=4.0)
            return taught(radar, given, rule)
        case "aligned":
            rule = Distillation(run, layers=LAYERS, student="aligned/", features=factor)
            model = Aligned(classes, network=NETWORK, layers=LAYERS)
            return dataclasses.replace(taught(radar, given, rule), model=model)
        case "hallucination":
            rule = Distillation(run, layers=LAYERS, student="second/", hallucination=factor)
            return dataclasses.replace(taught(radar, given, rule), model=two)
        case "pretrained":
            return dataclasses.replace(radar, pretrained=Pretrained(str(weights_of(teacher))))
    raise ValueError(method)


def taught(radar: Config, given: Sensors, rule: Distillation) -> Config:
    """A run on radar with optical images beside it, and a term that uses them."""
    pair = Paired(radar.data.source, given.optical.data.source)
    return dataclasses.replace(
        radar,
        data=dataclasses.replace(radar.data, source=pair),
        loss=radar.loss | {"distillation": rule},
    )


def weights_of(teacher: Path) -> Path:
    """A file with the weights of a finished run, beside it."""
    file = teacher.parent / "optical.safetensors"
    if not file.is_file():
        stored, state = checkpoint.reopen(teacher, MeshShape(), "latest")
        variables = jax.device_get(inference_variables(state))
        weights = pretrained.exported(stored.model, variables, strict=False)
        safetensors.numpy.save_file(weights, file)
    return file


def earlier(
    given: Sensors,
    seed: int,
    teacher: Path,
    scale: float = 1.0,
    layers: tuple[str, ...] = LAYERS,
) -> Config:
    """Form A of an earlier experiment: attention maps of all layers, and logits."""
    rule = Distillation(str(teacher), layers=layers, attention=scale, logits=0.5 * scale)
    return taught(of(given.radar, seed), given, rule)


def why(given: Sensors, seed: int, teacher: Path, weak: Path) -> Mapping[str, Config]:
    """Runs that differ from `earlier` in one thing each.

    Args:
        given: The sensors.
        seed: Seed of all runs.
        teacher: The finished optical run.
        weak: One that was finished after a quarter of the steps.
    """
    form = earlier(given, seed, teacher)
    return {
        "radar alone": planned("alone", given, seed, teacher),
        "attention 1 and logits 0.5": form,
        "both factors times 0.1": earlier(given, seed, teacher, 0.1),
        "both factors times 0.01": earlier(given, seed, teacher, 0.01),
        "bottleneck alone": earlier(given, seed, teacher, layers=LAYERS[:1]),
        "decoders alone": earlier(given, seed, teacher, layers=LAYERS[1:]),
        "a teacher of N/4 steps": earlier(given, seed, weak),
        "radar alone, 2N steps": planned("long", given, seed, teacher),
        "attention 1 and logits 0.5, 2N steps": of(form, seed, 2),
    }
