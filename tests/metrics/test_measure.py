"""A measure of maps is one class, and everything that an evaluation shows and writes walks it."""

import contextlib
import csv
import dataclasses
import importlib
import io
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import numpy as np
import pytest
import tyro
from fixtures import documents
from fixtures.places import ROOT
from matplotlib.figure import Figure
from numpy.typing import NDArray

import jaxseg.metrics
from jaxseg import config as configs
from jaxseg import sharding
from jaxseg.cli import main as cli
from jaxseg.cli.flags.runs import evaluate_flags
from jaxseg.errors import UserError
from jaxseg.evaluation import evaluate as assessment
from jaxseg.evaluation import report, terminal
from jaxseg.metrics.boundaries import BoundaryTotal, Tolerance
from jaxseg.metrics.measure import (
    TAKEN,
    Curves,
    Ids,
    Mask,
    Measure,
    Setting,
    measures,
    with_library,
)
from jaxseg.metrics.objects import ObjectTotal
from jaxseg.metrics.warping import WarpingError
from jaxseg.run import checkpoint, step
from jaxseg.sharding import MeshShape
from jaxseg.system.console import make_console
from jaxseg.transforms.radiometry import Standardize

PAGE = ROOT / "docs" / "extending.md"


@dataclasses.dataclass
class Areas(Measure):
    """Pixels of a class in the map and in the reference.

    Attributes:
        hectares: Of a pixel.
    """

    name: ClassVar[str] = "areas"

    hectares: float = 0.5

    def begin(self, setting: Setting) -> None:
        """No pixel yet."""
        self.pixels = np.zeros((setting.num_classes, 2), np.int64)

    def add(self, prediction: Ids, label: Ids, counted: Mask, instance: Ids | None = None) -> None:
        """Counts pixels."""
        for k, pixels in enumerate(self.pixels):
            pixels += [(classes[counted] == k).sum() for classes in (prediction, label)]

    def columns(self) -> dict[str, NDArray[Any]]:
        """Pixels, and hectares of both."""
        found, real = self.hectares * self.pixels.T
        return {"pixels": self.pixels[:, 0], "found": found, "real": real, "none": real * np.nan}

    def summary(self) -> str:
        """How large a pixel is."""
        return f"areas: in hectares, {self.hectares} each"


@dataclasses.dataclass
class Shares(Areas):
    """The same beside the scores, in the charts, and written in another way."""

    name: ClassVar[str] = "shares"
    headings: ClassVar[dict[str, str]] = {"share": "share %"}
    beside_scores: ClassVar[bool] = True

    def columns(self) -> dict[str, NDArray[Any]]:
        """A share, and pixels."""
        found, real = self.pixels.T
        return {"share": found / self.pixels[:, 0].sum(), "missing": real - found}

    def as_json(self, classes: Sequence[str]) -> dict[str, Any]:
        """Arrays and a NaN."""
        return {"shares": self.columns()["share"], "best": {"nothing": np.float64(np.nan)}}

    def points(self) -> dict[str, NDArray[np.float64]]:
        """The share."""
        return {"share of the map": self.columns()["share"]}

    def curves(self) -> Curves:
        """Horizontal lines."""
        share = self.columns()["share"]
        return Curves(np.arange(2.0), np.stack([share, share], 1), "nothing", "share", "mean share")


class Pixels(nn.Module):
    """A network of one layer."""

    num_classes: int

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        """Logits."""
        return nn.Conv(self.num_classes, (1, 1))(image)


def write_example(file: Path) -> None:
    blocks = [block.text for block in documents.blocks(PAGE) if block.language == "python"]
    (text,) = (text for text in blocks if "class Fragments" in text)
    file.write_text(text)


@contextlib.contextmanager
def example_in_the_library(folder: Path) -> Iterator[None]:
    """The page's example, as a file of the library's folder of metrics."""
    write_example(folder / "fragments.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jaxseg.metrics, "__path__", [*jaxseg.metrics.__path__, str(folder)])
        importlib.invalidate_caches()
        yield
    sys.modules.pop("jaxseg.metrics.fragments", None)
    vars(jaxseg.metrics).pop("fragments", None)


class Written(NamedTuple):
    """What an evaluation says: to the terminal, in files, and the network's part of scores.json."""

    said: str
    folder: Path
    network: dict[str, Any]
    measures: tuple[str, ...]

    def table(self, name: str) -> list[dict[str, str]]:
        """The rows of a CSV file."""
        with (self.folder / f"{name}.csv").open() as lines:
            return list(csv.DictReader(lines))


@pytest.fixture(scope="module")
def written(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Of a network that was not trained and compiles at once; its pictures are empty files."""
    config = dataclasses.replace(
        configs.load_config(str(tiny / "config.py")),
        model=Pixels(3),
        preprocess=(Standardize((80.0, 90.0, 80.0), (40.0, 30.0, 50.0)),),
    )
    state = step.init_state(config, 3, sharding.make_mesh(MeshShape()))
    with example_in_the_library(tmp_path_factory.mktemp("metrics")):
        flags = tyro.cli(evaluate_flags(), args=["run", "--smallest", "4"])
    screen = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "reopen", lambda *_: (config, state))
        patch.setattr(Figure, "savefig", lambda _, path, **__: Path(path).touch())
        given = (*flags.measures(), Areas(hectares=2.0), Shares())
        found = assessment.evaluate(flags.run, baseline=False, measures=given)
        terminal.show(found, make_console(screen), title="a run")
        folder = report.write(found, tmp_path_factory.mktemp("run"))
    network = json.loads((folder / "scores.json").read_text())["network"]
    names = tuple(measure.name for measure in found.measures)
    return Written(screen.getvalue(), folder, network, names)


def test_a_file_in_the_folder_of_metrics_is_all_that_a_measure_needs(written: Written) -> None:
    assert "fragments: small are regions of fewer than 4 pixels" in written.said
    assert re.search(r"class +regions +small +small %", written.said)
    rows = written.table("fragments")
    assert [row["class"] for row in rows] == ["ground", "disc", "square"]
    for row in rows:
        numbers = written.network["fragments"][row["class"]]
        assert numbers["regions"] == int(row["regions"]) > numbers["small"] == int(row["small"]) > 0
        assert numbers["share"] == numbers["small"] / numbers["regions"]
        counts = f"{numbers['regions']} +{numbers['small']} +{100 * numbers['share']:.1f}"
        assert re.search(rf"{row['class']} +{counts}", written.said)


def test_a_measure_of_ones_own_is_shown_and_written(written: Written) -> None:
    assert "areas: in hectares, 2.0 each" in written.said
    confusion = np.array(written.network["confusion"])
    for k, row in enumerate(written.table("areas")):
        pixels, real = int(confusion[:, k].sum()), 2.0 * confusion[k].sum()
        numbers = {"pixels": pixels, "found": 2.0 * pixels, "real": real}
        assert written.network["areas"][row["class"]] == numbers | {"none": None}
        cells = (str(pixels), f"{2 * pixels:.6f}", f"{real:.6f}", "", "0")
        assert tuple(row.values()) == (("ground", "disc", "square")[k], *cells)
        shown = " +".join(re.escape(f"{number:.4g}") for number in (2 * pixels, real))
        assert re.search(rf"{row['class']} +{pixels} +{shown} +- *\n", written.said)


def test_a_measure_beside_the_scores_shares_their_table_and_may_draw(written: Written) -> None:
    confusion = np.array(written.network["confusion"])
    found, real = confusion.sum(0), confusion.sum(1)
    for k, row in enumerate(written.table("classes")):
        others = ["boundary_iou", "share", "missing", "ece", "ece_at_temperature", "step"]
        assert list(row)[-6:] == others
        assert row["share"] == f"{found[k] / real.sum():.6f}"
        assert row["missing"] == str(real[k] - found[k])
    assert re.search(r"boundary IoU % share % ECE %", written.said)
    assert "missing" not in written.said
    shares = {"shares": (found / real.sum()).tolist(), "best": {"nothing": None}}
    assert written.network["shares"] == shares
    files = {file.name for file in written.folder.iterdir()}
    assert "shares.png" in files
    assert not files & {"shares.csv", "areas.png", "fragments.png"}


def test_every_name_that_a_report_has_is_taken(written: Written) -> None:
    names = written.network.keys() | {file.stem for file in written.folder.glob("*.*")}
    library = {"boundaries", "objects", "warping"}
    assert library | {"fragments", "areas", "shares"} == set(written.measures)
    assert names - set(written.measures) - {"scores"} == TAKEN


def test_the_example_counts_small_regions(tmp_path: Path) -> None:
    image = np.zeros((6, 9), np.uint8)
    image[1, 1:3] = image[3:6, 4:8] = 1  # regions of 2 and of 12 pixels
    with example_in_the_library(tmp_path):
        (measure,) = (m for m in measures() if m.name == "fragments")
    total = measure.start(Setting(3))
    for _ in range(2):
        total.add(image, image, np.ones(image.shape, bool))
    assert total.rows("abc")["b"] == {"regions": 4, "small": 2, "share": 0.5}
    assert np.isnan(total.rows("abc")["c"]["share"])


def test_starting_again_forgets_what_was_counted() -> None:
    measure = BoundaryTotal()
    image = np.eye(8, dtype=np.uint8)
    for _ in range(2):
        total = measure.start(Setting(2, 100))
        total.add(image, image, np.ones((8, 8), bool))
        assert total.counts[1].tolist() == [8, 8, 8, 8]
        assert total.rim_pixels == 3  # 2 % of a diagonal of 141 pixels


def test_the_flags_of_boundaries_are_those_of_the_command() -> None:
    arguments = ["run", "--tolerance.value", "10", "--tolerance.unit", "metres", "--rim.value", "1"]
    flags = tyro.cli(evaluate_flags(), args=arguments)
    expected = BoundaryTotal(Tolerance(10.0, "metres"), Tolerance(1.0, "diagonal"))
    assert flags.measures() == (expected, ObjectTotal(), WarpingError())
    assert str(flags.run) == "run"
    assert tyro.cli(evaluate_flags(), args=["run"]).measures() == measures()


def test_a_file_that_is_named_as_code_may_define_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_example(tmp_path / "mine.py")
    asked: dict[str, Any] = {}

    def reached(*_: object, **given: object) -> None:
        asked.update(given)
        raise UserError("The arguments were accepted.")

    monkeypatch.setattr(assessment, "evaluate", reached)
    with pytest.raises(SystemExit):
        cli.main(["evaluate", "runs/a", "--rim.value", "1", "--code", str(tmp_path / "mine.py")])
    borders, *_, mine = asked["measures"]
    assert (borders.rim, mine.name, mine.smallest) == (Tolerance(1.0, "diagonal"), "fragments", 9)


def test_a_measure_that_is_given_takes_the_place_of_the_librarys() -> None:
    wide = BoundaryTotal(tolerance=Tolerance(5.0))
    assert with_library([Areas(), wide]) == (wide, ObjectTotal(), WarpingError(), Areas())
    assert with_library([]) == measures() == (BoundaryTotal(), ObjectTotal(), WarpingError())


class Borders(Areas):
    """A name of the library's."""

    name: ClassVar[str] = "boundaries"


class Classes(Areas):
    """A name of a file."""

    name: ClassVar[str] = "classes"


class Elsewhere(Areas):
    """A name of a file elsewhere."""

    name: ClassVar[str] = "../areas"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([Areas(1.0), Areas(2.0)], "Two measures are called areas"),
        ([Borders()], "jaxseg has a measure boundaries"),
        ([Classes()], "cannot be called 'classes'"),
        ([Elsewhere()], r"cannot be called '\.\./areas'"),
        ([Areas], r"Areas.* is not a measure: give an instance"),
    ],
)
def test_names_that_would_hide_other_numbers_are_rejected(given: list[Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        with_library(given)
