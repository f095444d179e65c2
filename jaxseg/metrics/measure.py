"""A measure of maps is one class in one file: what each map adds, and the resulting numbers.

    Measure(parameters)  .start(setting)  .add(the map of a scene) ...  .over_processes()
        .rows(classes)            numbers of each class: the terminal, a CSV file, scores.json
        .summary()                one line below them
        .points(), .curves()      for charts, if there is something to draw

A measure in a file of this folder is found automatically, and its parameters become flags of
`jaxseg evaluate`. Pass your own measure to `evaluate(measures=)` as a value, or define it in a file
given as --code. Measures are for what needs the map of a whole scene; what can be counted pixel by
pixel is counted on the device (`scores`, `calibration`).
"""

import abc
import copy
import dataclasses
import importlib
import inspect
import math
import pkgutil
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any, ClassVar, Self

import jax
import numpy as np
from jax.experimental import multihost_utils
from numpy.typing import NDArray

from jaxseg.errors import UserError

Array = NDArray[np.float64]

Ids = NDArray[np.integer]
"""(H, W) ids of classes or objects."""

Mask = NDArray[np.bool_]

TAKEN = frozenset(
    (
        *("classes", "confusion", "reliability", "worst", "median", "tiles"),  # files
        *("miou", "mean_f1", "overall_accuracy", "average_accuracy", "kappa", "fwiou"),
        *("absent", "per_class", "intervals", "calibration"),
    )
)
"""Names of the files and numbers of every evaluation, which a measure may not have."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a measure knows before the first map.

    Attributes:
        num_classes: K.
        side: Rows and columns of the windows that the network sees.
        gsd: Ground sample distance in metres, of the first scene; None if not known.
    """

    num_classes: int
    side: int = 1
    gsd: float | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Curves:
    """A chart with one line per class.

    Attributes:
        x: (N,) coordinates.
        y: (K, N) fractions, shown in percent; rows of NaN for classes without a line.
        x_label: Label of the x axis.
        y_label: Label of the y axis.
        mean_label: Label of the mean over x, which the legend states for each class.
    """

    x: Array
    y: Array
    x_label: str
    y_label: str
    mean_label: str


@dataclasses.dataclass
class Measure(abc.ABC):
    """The base of all measures.

    The fields of a measure are its parameters and have defaults. `begin` creates the sums; every
    array among the attributes must be a sum over maps, so that those of several processes can be
    added up.

    Attributes:
        name: Its key in scores.json and the name of its files.
        headings: The columns that the terminal shows, with their headings; empty = all columns
            under their names. Below a heading that ends in %, fractions are shown in percent.
        beside_scores: Whether the columns are part of the table of classes and of classes.csv,
            which has room for a few columns; otherwise they have a separate table and file.
    """

    name: ClassVar[str]
    headings: ClassVar[dict[str, str]] = {}
    beside_scores: ClassVar[bool] = False

    def start(self, setting: Setting) -> Self:
        """A copy of the measure with nothing counted yet."""
        started = copy.copy(self)
        started.begin(setting)
        return started

    @abc.abstractmethod
    def begin(self, setting: Setting) -> None:
        """Sets the sums to zero.

        Raises:
            UserError: A parameter is invalid in this setting.
        """

    def at(self, gsd: float | None) -> None:  # noqa: B027  only some need it
        """Called before each map with its ground sample distance in metres; None = not known.

        Raises:
            UserError: A parameter is in metres, and it is not known.
        """

    @abc.abstractmethod
    def add(self, prediction: Ids, label: Ids, counted: Mask, instance: Ids | None = None) -> None:
        """Counts one map.

        Args:
            prediction: (H, W) class ids.
            label: (H, W) class ids where `counted` is True.
            counted: (H, W), True for pixels with a label and data.
            instance: (H, W) object ids, 0 = no object; None if the source has no objects.
        """

    @abc.abstractmethod
    def columns(self) -> dict[str, NDArray[Any]]:
        """Name of a column -> (K,) numbers, NaN where a class has none."""

    @abc.abstractmethod
    def summary(self) -> str:
        """A description of the numbers in one line, for the terminal."""

    def over_processes(self) -> Self:
        """The measure with the sums over all processes; all of them must call it."""
        total = copy.copy(self)
        if jax.process_count() > 1:
            for name, value in vars(self).items():
                if isinstance(value, np.ndarray):
                    setattr(total, name, _over_processes(value))
        return total

    def rows(self, classes: Sequence[str]) -> dict[str, dict[str, float]]:
        """Name of a class -> column -> number; classes with nothing to show may be left out."""
        columns = self.columns().items()
        return {
            name: {column: numbers[k].item() for column, numbers in columns}
            for k, name in enumerate(classes)
        }

    def as_json(self, classes: Sequence[str]) -> dict[str, Any]:
        """The entry of the measure in scores.json."""
        return dict(self.rows(classes))

    def points(self) -> dict[str, Array]:
        """Label -> (K,) fractions that the chart of the classes shows besides the IoU."""
        return {}

    def curves(self) -> Curves | None:
        """A separate chart; None = nothing to draw."""
        return None


def measures() -> tuple[Measure, ...]:
    """Every measure in the files of this folder, with its default parameters."""
    folder = importlib.import_module(__name__.rpartition(".")[0])
    files = pkgutil.iter_modules(folder.__path__, f"{folder.__name__}.")
    return tuple(m for file in files for m in measures_of(importlib.import_module(file.name)))


def measures_of(module: ModuleType) -> tuple[Measure, ...]:
    """The measures that a module or a package defines, with their default parameters."""
    return tuple(
        kind()
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Measure) and not inspect.isabstract(kind)
        if f"{kind.__module__}.".startswith(f"{module.__name__}.")
    )


def with_library(given: Iterable[Measure]) -> tuple[Measure, ...]:
    """The library's measures, replaced by given ones of the same type, then the other given ones.

    Raises:
        UserError: Two measures have the same name, or a name is not allowed.
    """
    own, library = _by_name(given), _by_name(measures())
    for name in own.keys() & library.keys():
        if type(own[name]) is not type(library[name]):
            raise UserError(f"jaxseg has a measure {name}: give yours another name.")
    return tuple((library | own).values())


def _by_name(measures: Iterable[Measure]) -> dict[str, Measure]:
    found: dict[str, Measure] = {}
    for measure in measures:
        if not isinstance(measure, Measure):
            raise UserError(
                f"{measure} is not a measure: give an instance of a class that is derived from "
                "jaxseg.metrics.Measure, such as BoundaryTotal()."
            )
        name = measure.name
        if name in TAKEN or not name.isidentifier():
            raise UserError(
                f"A measure cannot be called {name!r}: its name is a key and a file name, one word "
                f"of letters, digits and _, and none of {', '.join(sorted(TAKEN))}."
            )
        if name in found:
            raise UserError(f"Two measures are called {name}: give one of them another name.")
        found[name] = measure
    return found


def ratio(part: NDArray[np.generic], whole: NDArray[np.generic]) -> Array:
    """Returns part / whole, in the shape of `part`; NaN where `whole` is 0."""
    numbers = part.astype(np.float64)
    over = np.broadcast_to(whole.astype(np.float64), numbers.shape)
    return np.divide(numbers, over, out=np.full_like(numbers, np.nan), where=over > 0)


def mean(numbers: Array) -> float:
    """The mean of the numbers that are not NaN; NaN if there are none."""
    known = numbers[~np.isnan(numbers)]
    return float(known.mean()) if known.size else math.nan


def percent(number: float) -> str:
    """The number in percent with one decimal; - for NaN."""
    return "-" if math.isnan(number) else f"{100 * number:.1f}"


def _over_processes(numbers: NDArray[Any]) -> NDArray[Any]:
    """Adds up an array over all processes, sent as bytes: JAX would round 64-bit numbers to 32."""
    stored = np.frombuffer(numbers.tobytes(), np.uint8)
    every = np.ascontiguousarray(multihost_utils.process_allgather(stored))
    total: NDArray[Any] = every.view(numbers.dtype).reshape(-1, *numbers.shape).sum(axis=0)
    return total
