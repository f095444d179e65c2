"""What the experiments of this folder share: runs that are not repeated, and honest intervals.

An experiment is a table of runs: methods times seeds. Each run has a folder with `result.json`: its
scores, and the config that gave them. A finished run is not repeated, one that was
stopped continues, and a result of another config is refused, so that the same command completes a
table after any interruption.

Differences are paired: the runs of one seed share everything but the method. Their intervals are
Student's, at 95 %, over seeds; three seeds give wide ones, and that is what three seeds can tell.
"""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from scipy import stats

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.config_text.stored import Json, classes_in, from_json, to_json
from jaxseg.errors import UserError
from jaxseg.run import training
from jaxseg.run.evaluator import Evaluator
from jaxseg.run.step import TrainState

Numbers = dict[str, float]
Measured = Callable[[Config, TrainState], Numbers]
Trained = Callable[[Config, Path], TrainState]


class Difference(NamedTuple):
    """The mean of paired differences and its 95 % interval, which one seed does not have."""

    mean: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        """`+0.012 (-0.003 to +0.027)`."""
        if math.isnan(self.low):
            return f"{self.mean:+.3f} (one seed)"
        return f"{self.mean:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


def keep_compiled(workdir: Path) -> None:
    """Keeps compiled programs in WORKDIR/xla, so that the same step is compiled once."""
    jax.config.update("jax_compilation_cache_dir", str((workdir / "xla").absolute()))


def on_test(config: Config, state: TrainState) -> Numbers:
    """The mIoU of the test split and the IoU of each class (NaN for a class it lacks)."""
    scores = Evaluator(config, sharding.make_mesh(config.mesh), "test")(state).scores
    names = config.data.source.classes
    return {"miou": float(scores.miou)} | {
        f"iou/{name}": float(value) for name, value in zip(names, scores.iou, strict=True)
    }


def measured(
    config: Config, folder: Path, measure: Measured = on_test, train: Trained | None = None
) -> Numbers:
    """Trains and measures, unless FOLDER/result.json has the result.

    Args:
        config: The run.
        folder: The run goes to FOLDER/run, what was measured to FOLDER/result.json.
        measure: What is measured on the trained state.
        train: Trains in a folder; None = as `jaxseg train` does.

    Returns:
        What `measure` found, and `cpu_s`: CPU seconds of training and measuring, compilation
        included (of the last attempt, where a run was stopped and went on).

    Raises:
        SystemExit: The stored result came out of another config.
    """
    file = folder / "result.json"
    asked = to_json(config)
    if not file.is_file():
        began = time.process_time()
        state = (train or training.train)(config, folder / "run")
        found = measure(config, state) | {"cpu_s": time.process_time() - began}
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"config": asked, "numbers": found}) + "\n")
    stored = json.loads(file.read_text())
    if not _same(stored["config"], config):
        raise SystemExit(f"{file} came out of another config: remove {folder}, or choose another.")
    return dict(stored["numbers"])


def _same(stored: Json, config: Config) -> bool:
    """Whether a stored config is this one; fields that came since then have their defaults."""
    try:
        return to_json(from_json(stored, classes_in(config))) == to_json(config)
    except UserError:  # of classes or fields that this config does not have
        return False


def paired(values: Sequence[float], reference: Sequence[float]) -> Difference:
    """How much higher `values` are than `reference`, seed by seed (Student 1908).

    Args:
        values: (S,) a number per seed.
        reference: (S,) those of the same seeds, in the same order.
    """
    gains = np.array(values, np.float64) - np.array(reference, np.float64)
    mean = float(gains.mean())
    if gains.size < 2:
        return Difference(mean, math.nan, math.nan)
    half = float(stats.t.ppf(0.975, gains.size - 1) * gains.std(ddof=1) / math.sqrt(gains.size))
    return Difference(mean, mean - half, mean + half)


def spread(values: Sequence[float]) -> str:
    """`0.431 ± 0.020`: mean and standard deviation over seeds."""
    value = np.array(values, np.float64)
    return f"{value.mean():.3f}" + (f" ± {value.std(ddof=1):.3f}" if value.size > 1 else "")


def table(
    scores: Mapping[str, Sequence[float]], reference: str, *, of: str, titles: Mapping[str, str]
) -> str:
    """Markdown: a row per method, and its paired difference from the method `reference`.

    Args:
        scores: A number per seed of each method, seeds in the same order.
        reference: The method that all others are compared with.
        of: What the numbers are, such as "test mIoU".
        titles: What a method is called.
    """
    lines = [
        f"| method | {of} | difference from «{titles[reference]}», 95 % |",
        "|---|---:|---:|",
    ]
    for method, values in scores.items():
        gain = "" if method == reference else str(paired(values, scores[reference]))
        lines.append(f"| {titles[method]} | {spread(values)} | {gain} |")
    return "\n".join(lines)
