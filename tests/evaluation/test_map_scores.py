"""A map that was written is counted as it is, by the measures and intervals of an evaluation."""

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import rasterio
import shapely
from fixtures import painted
from fixtures.vector_files import UTM, write_map, write_vectors
from numpy.typing import NDArray
from rasterio.transform import from_origin

from jaxseg import sharding
from jaxseg.cli import commands
from jaxseg.cli import main as cli
from jaxseg.config import Config
from jaxseg.datasets.folder import Folder, Vectors
from jaxseg.errors import UserError
from jaxseg.evaluation.evaluate import Assessment
from jaxseg.evaluation.map_data import Maps, maps_of
from jaxseg.evaluation.map_scores import evaluate_map
from jaxseg.evaluation.sample import sampled
from jaxseg.metrics.scores import scores_of
from jaxseg.run.evaluator import Evaluator
from jaxseg.run.step import init_state
from jaxseg.scenes.scene import IGNORE

CLASSES = painted.CLASSES
NAMES = {"JAXSEG_CLASSES": ", ".join(CLASSES)}
COLORS = {0: (120, 90, 30), 1: (0, 0, 200)}


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """The scenes of the painted test split as files: the answers as maps, and their labels."""
    for number, scene in enumerate(painted.Painted().scenes("test").arrays):
        answer = np.where(scene["valid"], scene["image"][..., 0], 255).astype(np.uint8)
        write_map(tmp_path / "maps" / f"s{number}.tif", answer, **NAMES)
        write_map(tmp_path / "labels" / f"s{number}.tif", scene["label"], nodata=IGNORE)
    return tmp_path


def config(**changes: Any) -> Config:
    return painted.config(**changes)


def counted(source: Maps, **how: Any) -> Assessment:
    return evaluate_map(config(), source, **how)


def test_the_map_of_a_run_has_the_scores_of_its_evaluation(scenes: Path) -> None:
    found = counted(maps_of(painted.Painted(), str(scenes / "maps"), str(scenes / "labels")))
    mesh = sharding.make_mesh(config().mesh, jax.devices()[:1])
    evaluator = Evaluator(config(), mesh, "test", confidence=True)
    own = evaluator.with_shapes(init_state(config(), 2, mesh), 1.0, found.measures)
    np.testing.assert_array_equal(found.network.confusion, own.result.confusion)
    np.testing.assert_array_equal(found.network.margins, own.result.margins)
    assert found.network.scores == own.result.scores
    intervals = evaluator.intervals(own.result)
    for name, low in intervals.low.items():
        np.testing.assert_array_equal(found.intervals.low[name], low)
        np.testing.assert_array_equal(found.intervals.high[name], intervals.high[name])
    for measure, other in zip(found.measures, own.measures, strict=True):
        if measure.name != "boundaries":  # lengths in metres follow the size of pixels
            assert measure.rows(CLASSES) == other.rows(CLASSES)
    assert found.reliability is None


def test_the_scores_are_those_of_a_count(scenes: Path) -> None:
    found = counted(maps_of(painted.Painted(), str(scenes / "maps"), str(scenes / "labels")))
    confusion = np.zeros((3, 3), np.int64)
    for scene in painted.Painted().scenes("test").arrays:
        counts = scene["valid"] & (scene["label"] != IGNORE)
        for label, answer in zip(scene["label"][counts], scene["image"][counts][:, 0], strict=True):
            confusion[label, int(answer)] += 1
    np.testing.assert_array_equal(found.network.confusion, confusion)
    assert found.network.scores == scores_of(confusion, CLASSES)


def squares(found: NDArray[np.uint8]) -> tuple[list[Any], list[str]]:
    """A square for each pixel of a class."""
    rows, columns = np.nonzero(found != IGNORE)
    corners = [(0, 0), (0, 1), (1, 1), (1, 0)]
    return (
        [
            shapely.Polygon([UTM["transform"] @ (x + a, y + b) for a, b in corners])
            for y, x in zip(rows, columns, strict=True)
        ],
        [CLASSES[found[place]] for place in zip(rows, columns, strict=True)],
    )


def test_labels_may_be_vectors(scenes: Path) -> None:
    scene = painted.Painted().scenes("test").arrays[0]
    shapes, names = squares(scene["label"].astype(np.uint8))
    labels = write_vectors(scenes / "labels.gpkg", shapes, {"kind": names})
    like = Folder(
        images="a",
        masks="b",
        classes=CLASSES,
        vectors=Vectors(attribute="kind", uncovered="ignore"),
    )
    maps = str(scenes / "maps/s0.tif")
    vector = counted(maps_of(like, maps, str(labels)))
    raster = counted(maps_of(like, maps, str(scenes / "labels/s0.tif")))
    np.testing.assert_array_equal(vector.network.confusion, raster.network.confusion)
    assert vector.intervals.unit == "windows"


def test_a_coloured_map_is_one_of_classes_and_others_are_refused(scenes: Path) -> None:
    path = scenes / "maps/s0.tif"
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, COLORS)
    labels = str(scenes / "labels/s0.tif")
    assert counted(maps_of(painted.Painted(), str(path), labels)).network.confusion.any()
    with rasterio.open(path, "r+") as file:
        file.update_tags(JAXSEG_CLASSES="land, sea, ice")
    with pytest.raises(UserError, match=r"land, sea, ice; those of the run are land, water, ice"):
        counted(maps_of(painted.Painted(), str(path), labels))
    write_map(path, np.full((20, 12), 7, np.uint8))
    with pytest.raises(UserError, match=r"s0.tif: 7 is not one of the 3 classes"):
        counted(maps_of(painted.Painted(), str(path), labels))


def test_a_map_of_ground_of_the_training_needs_leave(scenes: Path) -> None:
    trained = Folder(
        images=str(scenes / "maps/s0.tif"),
        masks=str(scenes / "labels/s0.tif"),
        classes=CLASSES,
        split_by="columns",
    )
    other = write_map(scenes / "map.tif", np.zeros((20, 12), np.uint8))
    data = dataclasses.replace(config().data, source=trained)
    source = maps_of(trained, str(other), str(scenes / "labels/s0.tif"))
    with pytest.raises(UserError, match=r"--shared-ground 0.667 for jaxseg evaluate"):
        evaluate_map(config(data=data), source)
    found = evaluate_map(config(data=data), source, shared_ground=0.7)
    assert found.shared_ground == pytest.approx(8 / 12)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of the painted network."""
    monkeypatch.setattr(
        "jaxseg.run.checkpoint.config_of", lambda workdir, code: painted.config(), raising=True
    )


def test_the_command_writes_tables(
    command: None, scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = scenes / "run"
    run.mkdir()
    maps, labels = str(scenes / "maps"), str(scenes / "labels")
    cli.main(["evaluate", str(run), "--map", maps, "--labels", labels])
    assert "the map as it was written" in capsys.readouterr().out
    (folder,) = (run / "evaluation").glob("*/map")
    report = json.loads((folder / "scores.json").read_text())
    assert report["map"] == maps
    assert np.sum(report["network"]["confusion"]) > 300
    names = {path.name for path in folder.iterdir()}
    assert {"classes.csv", "confusion.png", "objects.csv"} <= names
    assert not names & {"reliability.csv", "worst.png"}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--labels", "a.tif"), "need --map"),
        (("--map", "a.tif"), "needs --labels, or --sample"),
        (("--map", "a.tif", "--labels", "b.tif", "--overlap", "0.5"), "leave --images, --overlap"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(
    command: None, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], said: str
) -> None:
    with pytest.raises(SystemExit):
        commands.evaluate(["run", *flags])
    assert said in " ".join(capsys.readouterr().err.split())


# -- reference samples -------------------------------------------------------------------------


def points(path: Path, places: list[tuple[int, int]], kinds: list[str]) -> Path:
    shapes = [shapely.Point(UTM["transform"] @ (x + 0.5, y + 0.5)) for y, x in places]
    return write_vectors(path, shapes, {"kind": kinds})


@pytest.fixture
def halves(tmp_path: Path) -> Maps:
    """Ten columns of land, six of water, and four without data."""
    found = np.zeros((10, 20), np.uint8)
    found[:, 10:16], found[:, 16:] = 1, 255
    path = write_map(tmp_path / "halves.tif", found, **NAMES)
    like = Folder(images="a", masks="b", classes=CLASSES, vectors=Vectors(attribute="kind"))
    return maps_of(like, str(path), str(path))


def test_a_sample_corrects_the_areas_of_the_map(halves: Maps, tmp_path: Path) -> None:
    places = [(0, 0), (3, 4), (5, 5), (9, 9), (1, 10), (2, 12), (9, 15), (4, 18), (-3, 2)]
    kinds = ["land", "land", "land", "water", "water", "water", "ice", "land", "land"]
    found = sampled(halves, str(points(tmp_path / "sample.gpkg", places, kinds)))
    assert (found.places, found.left_out, found.unit) == (7, 2, "m2")
    estimates = found.estimates
    np.testing.assert_array_equal(estimates.counts, [[3, 1, 0], [0, 2, 1], [0, 0, 0]])
    np.testing.assert_allclose(estimates.mapped, [10_000, 6000, 0])
    np.testing.assert_allclose(estimates.area, [7500, 2500 + 4000, 2000])


def test_in_degrees_the_rows_near_the_pole_weigh_less(tmp_path: Path) -> None:
    found = np.repeat(np.array([0, 1], np.uint8), 10)[:, None].repeat(4, 1)
    place = {"crs": "EPSG:4326", "transform": from_origin(0.0, 80.0, 1.0, 1.0)}
    path = write_map(tmp_path / "map.tif", found, **place)
    like = Folder(images="a", masks="b", classes=("a", "b"), vectors=Vectors(attribute="kind"))
    spots = [shapely.Point(1.5, latitude) for latitude in (75, 74, 65, 64)]
    sample = write_vectors(tmp_path / "s.gpkg", spots, {"kind": ["a", "a", "b", "b"]}, "EPSG:4326")
    mapped = sampled(maps_of(like, str(path), str(path)), str(sample)).estimates.mapped
    sines = np.sin(np.radians([80, 70, 60]))
    assert mapped[0] / mapped[1] == pytest.approx(
        (sines[0] - sines[1]) / (sines[1] - sines[2]), rel=0.003
    )


def test_a_sample_is_points_with_a_class(halves: Maps, tmp_path: Path) -> None:
    square = shapely.box(600_000, 5_299_950, 600_050, 5_300_000)
    path = write_vectors(tmp_path / "a.gpkg", [square], {"kind": ["land"]})
    with pytest.raises(UserError, match=r"not points: a sample is points"):
        sampled(halves, str(path))
    path = points(tmp_path / "b.gpkg", [(0, 0), (0, 11), (1, 11)], ["land", "water", "water"])
    with pytest.raises(UserError, match=r"1 place\(s\) where the map says land"):
        sampled(halves, str(path))


def test_the_command_estimates_areas(
    monkeypatch: pytest.MonkeyPatch, halves: Maps, tmp_path: Path, capsys: Any
) -> None:
    like = Folder(images="a", masks="b", classes=CLASSES, vectors=Vectors(attribute="kind"))
    data = dataclasses.replace(painted.config().data, source=like)
    monkeypatch.setattr(
        "jaxseg.run.checkpoint.config_of", lambda workdir, code: painted.config(data=data)
    )
    places = [(0, 0), (3, 4), (5, 5), (1, 10), (2, 12)]
    kinds = ["land", "water", "land", "water", "water"]
    sample = points(tmp_path / "sample.gpkg", places, kinds)
    run = tmp_path / "run"
    run.mkdir()
    cli.main(["evaluate", str(run), "--map", halves.images, "--sample", str(sample)])
    assert "5 places" in " ".join(capsys.readouterr().out.split())
    (file,) = run.glob("evaluation/*/map/areas.csv")
    rows = {row["class"]: row for row in csv.DictReader(file.open())}
    assert float(rows["water"]["area"]) == pytest.approx(6000 + 10_000 / 3, rel=1e-5)
    assert rows["ice"]["users"] == ""
