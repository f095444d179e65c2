"""How well a trained network finds the objects of whole images: scores of `edge_weights`.

The classes of objects of a set are evaluated as `jaxseg evaluate` does, and summed.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from experiment import Numbers
from numpy.typing import NDArray

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.datasets.landscape.map import BUILDING, CROPLAND, MEADOW, ORCHARD
from jaxseg.metrics import BoundaryTotal, ObjectTotal, Setting, WarpingError, scores_of
from jaxseg.run.step import TrainState, inference_variables, make_eval_step
from jaxseg.scenes import IGNORE, Sample, Source, Window

Map = NDArray[Any]

MIRROR = 32
OBJECTS = {
    "discs": (1,),
    "nuclei": (1,),
    "em": (1,),
    "landscape": (CROPLAND, MEADOW, ORCHARD, BUILDING),
}
WHOLE = {"discs": 96, "nuclei": 704, "em": 512, "landscape": 256}
"""Rows and columns that hold every image of the set, multiples of 16."""


def scored(name: str, config: Config, state: TrainState) -> Numbers:
    """All measures of the test split, padded and mirrored; object F1 of the validation split."""
    step = jax.jit(make_eval_step(config, sharding.make_mesh(config.mesh)))
    variables = inference_variables(state)

    def predict(sample: Sample, mirror: int) -> Map:
        height, width = sample["label"].shape
        beyond = [(mirror, mirror + WHOLE[name] - side) for side in (height, width)]
        how: dict[str, Any] = {"mode": "reflect"} if mirror else {}
        batch = {
            key: np.pad(sample[key], beyond + [(0, 0)] * (sample[key].ndim - 2), **how)[None]
            for key in ("image", "label", "valid")
        }
        seen = np.asarray(step(variables, batch)["prediction"])[0]
        return seen[mirror : mirror + height, mirror : mirror + width]

    source = config.data.source
    mirrored = counted(name, source, "test", functools.partial(predict, mirror=MIRROR))
    plain = functools.partial(predict, mirror=0)
    return (
        {"validation/f1": counted(name, source, "validation", plain)["f1"]}
        | counted(name, source, "test", plain)
        | {f"mirrored/{key}": value for key, value in mirrored.items()}
    )


def counted(name: str, source: Source, split: str, predict: Callable[[Sample], Map]) -> Numbers:
    """The measures of a split; those of discs also for each gap, as `GAP/MEASURE`."""
    scenes = source.scenes(split)
    totals: dict[str, Totals] = {}
    for number in range(len(scenes)):
        sample = scenes.read(number, Window(0, 0, *scenes.size(number)))
        groups = [""]
        if name == "discs":
            groups.append(Path(scenes.name(number)).stem[0] + "/")
        seen = predict(sample)
        for group in groups:
            if group not in totals:
                totals[group] = Totals(len(source.classes), OBJECTS[name])
            totals[group].add(seen, sample)
    return {
        f"{group}{key}": value
        for group, total in totals.items()
        for key, value in total.numbers().items()
    }


class Totals:
    """All measures of some images, for the classes of objects."""

    def __init__(self, num_classes: int, objects: tuple[int, ...]) -> None:
        """Nothing counted yet."""
        self.classes = list(objects)
        self.objects = ObjectTotal.of(num_classes)
        self.warping = WarpingError().start(Setting(num_classes))
        self.border = BoundaryTotal.of(num_classes)
        self.confusion = np.zeros((num_classes, num_classes), np.int64)

    def add(self, prediction: Map, sample: Sample) -> None:
        """Counts one image."""
        label = sample["label"]
        counted = sample["valid"].astype(bool) & (label != IGNORE)
        for measure in (self.objects, self.warping, self.border):
            measure.add(prediction, label, counted, sample.get("instance"))
        np.add.at(self.confusion, (label[counted], prediction[counted]), 1)

    def numbers(self) -> Numbers:
        """Sums over the classes of objects."""
        o, k = self.objects, self.classes
        names = tuple(map(str, range(len(o.true))))
        return {
            "f1": float(2 * o.matched[k, 0].sum() / (o.true[k] + o.predicted[k]).sum()),
            "merged": float(o.merged[k].sum()),
            "split": float(o.split[k].sum()),
            "warping": float(1e6 * self.warping.error()[k].sum()),
            "boundary_f1": float(np.nanmean(self.border.f1()[k])),
            "miou": float(scores_of(self.confusion, names).miou),
            "objects": float(o.true[k].sum()),
        }
