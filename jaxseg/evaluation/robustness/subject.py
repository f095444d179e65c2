"""A network whose input is changed in between its radiometry and its first layer, and counted."""

import dataclasses
from collections.abc import Callable

import jax
from jax.sharding import Mesh

from jaxseg.config import Config
from jaxseg.datasets.paired import without_side
from jaxseg.evaluation.robustness.curves import Point
from jaxseg.run.evaluator import Evaluator
from jaxseg.run.step import TrainState, inference_variables
from jaxseg.scenes.scene import Batch
from jaxseg.transforms.radiometry import Standardize
from jaxseg.transforms.transform import preprocess

Change = Callable[[jax.Array, Batch], Batch]
"""Takes a random key and a raw batch; returns a batch with the input of the network."""


class Subject:
    """A network on a split, which is counted after any change of its input."""

    def __init__(
        self,
        config: Config,
        state: TrainState,
        mesh: Mesh,
        split: str,
        *,
        windows: int = 0,
        seed: int = 0,
    ) -> None:
        """Indexes the split.

        Args:
            config: Of the run.
            state: Of the run.
            mesh: Where to compute.
            split: `train`, `validation` or `test`.
            windows: Number of evenly spaced windows; 0 = all.
            seed: Of all random numbers.
        """
        data = dataclasses.replace(config.data, source=without_side(config.data.source))
        self.config = dataclasses.replace(config, data=data)
        self.state, self.mesh = state, mesh
        self.variables = inference_variables(state)
        prepared = dataclasses.replace(self.config, preprocess=())
        self._evaluator = Evaluator(prepared, mesh, split, at_most=windows)
        self._key = jax.random.key(seed)
        self.prepare = jax.jit(self.prepared)

    def prepared(self, batch: Batch) -> Batch:
        """The batch with the input of the network, after the radiometry of the run."""
        image = preprocess(batch["image"], batch["valid"], self.config.preprocess)
        return batch | {"image": image}

    def counted(self, strength: float, meaning: str, change: Change) -> Point:
        """The scores where batches are changed.

        Args:
            strength: Of the change.
            meaning: The same in words.
            change: Takes a random key and a raw batch; returns the input of the network.
        """
        result = self._evaluator.changed(
            self.state, lambda number, batch: change(jax.random.fold_in(self._key, number), batch)
        )
        return Point(strength, meaning, result, self._evaluator.intervals(result))

    def clean(self) -> Point:
        """The scores of images as they are."""
        return self.counted(0.0, "", lambda key, batch: self.prepare(batch))

    @property
    def windows(self) -> int:
        """Number of windows."""
        return len(self._evaluator.windows)


def epsilon_unit(config: Config) -> str:
    """The unit of an attack's strength."""
    if _standardized(config):
        return "standard deviations of each band (meaning: before Standardize)"
    return "units of the network's input, after the radiometry of the run"


def epsilon_meaning(config: Config, epsilon: float) -> str:
    """A strength in the unit before standardisation, as far as it is known."""
    last = _standardized(config)
    if last is None:
        return ""
    steps = [f"{epsilon * std:.3g}" for std in last.std]
    shown = ", ".join(steps[:4]) + (" ..." if len(steps) > 4 else "")
    return f"{shown} dB" if _in_decibel(config) else shown


def _standardized(config: Config) -> Standardize | None:
    last = config.preprocess[-1] if config.preprocess else None
    return last if isinstance(last, Standardize) and last.fitted else None


def _in_decibel(config: Config) -> bool:
    before = [type(step).__name__ for step in config.preprocess[:-1]]
    return before[-1:] == ["LogIntensity"] or (config.sensor.unit == "decibel" and not before)
