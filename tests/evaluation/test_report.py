"""What is written of an assessment: every number stands where its name says."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures.assessed import CONFUSION, NAMES, borders_of, found, objects_of
from PIL import Image

from jaxseg.evaluation import report
from jaxseg.evaluation.baseline import Baselines
from jaxseg.evaluation.evaluate import Assessment
from jaxseg.metrics.calibration import BINS
from jaxseg.metrics.objects import THRESHOLDS
from jaxseg.run.kept import kept_calibration, kept_pixels
from jaxseg.system import side_files

__all__ = ["found"]  # a fixture


@pytest.fixture(scope="module")
def folder(found: Assessment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run")
    (run / "checkpoints/70").mkdir(parents=True)
    return report.write(found, run)


def close(ours: Any, theirs: Any) -> bool:
    """Numbers, and None for NaN."""
    pairs = zip(np.ravel(ours), np.ravel(theirs), strict=True)
    return all(a is None if np.isnan(b) else a == pytest.approx(b) for a, b in pairs)


@pytest.fixture
def stored(folder: Path) -> dict[str, Any]:
    """What scores.json holds."""
    return json.loads((folder / "scores.json").read_text())  # type: ignore[no-any-return]


def test_scores_json_holds_the_scores_of_network_and_baseline(
    found: Assessment, stored: dict[str, Any]
) -> None:
    assert (stored["split"], stored["step"]) == ("validation", 70)
    assert stored["per_pixel_baseline"] == found.baseline.scores.as_json()  # type: ignore[union-attr]
    assert "wishart_baseline" not in stored
    network = stored["network"]
    assert network.items() >= found.network.scores.as_json().items()
    assert network["confusion"] == CONFUSION.tolist()


def test_scores_json_holds_the_intervals(found: Assessment, stored: dict[str, Any]) -> None:
    intervals = stored["network"]["intervals"]
    assert (intervals["unit"], intervals["blocks"], intervals["draws"]) == ("scenes", 5, 1000)
    low, high = found.intervals.low, found.intervals.high
    assert close(intervals["miou"], [low["miou"], high["miou"]])
    assert close(intervals["iou"], np.stack([low["iou"], high["iou"]], -1))


def test_scores_json_holds_the_boundaries(found: Assessment, stored: dict[str, Any]) -> None:
    borders = stored["network"]["boundaries"]
    assert (borders["tolerance_pixels"], borders["rim_pixels"], borders["gsd"]) == (2.5, 3, 2.0)
    f1, iou = borders_of(found).f1(), borders_of(found).iou()
    for name, mean, values in (("f1", "mean_f1", f1), ("iou", "mean_iou", iou)):
        assert list(borders[name]) == list(NAMES)
        assert close(list(borders[name].values()), values)
        assert borders[mean] == pytest.approx(np.nanmean(values))


def test_scores_json_holds_the_calibration_before_and_after(
    found: Assessment, stored: dict[str, Any]
) -> None:
    calibration = stored["network"]["calibration"]
    before, after = calibration["before"], calibration["after"]
    assert calibration["temperature"] == 1.7
    assert (before["nll"], after["nll"]) == (0.9, 0.4)
    for part, reliability in zip((before, after), found.reliability, strict=True):
        ece = reliability.ece()
        assert part["ece"] == pytest.approx(ece[0])
        assert part["classwise_ece"] == pytest.approx(np.nanmean(ece[1:]))
        assert close(list(part["per_class"].values()), ece[1:])
        assert part["per_class"]["snow"] is None


def test_scores_json_holds_the_objects(found: Assessment, stored: dict[str, Any]) -> None:
    objects = stored["network"]["objects"]
    assert set(objects) == {"[water]", "ice"}  # those with objects in the reference
    water = objects["[water]"]
    expected = {
        "true": 8,
        "predicted": 10,
        "recall": 6 / 8,
        "precision": 6 / 10,
        "f1": 12 / 18,
        "mean_f1": objects_of(found).f1()[1].mean(),
        "pq": 9 / 18,
        "merged": 1,
        "split": 2,
        "rand": 60 / 120,
        "f1_at_0.50": 12 / 18,
        "f1_at_0.95": 2 / 18,
    }
    assert {name: water[name] for name in expected} == pytest.approx(expected)
    assert len(water) == 10 + len(THRESHOLDS)
    assert objects["ice"]["precision"] is None


def table(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("@SUM", "'@SUM"),
        ("-cmd", "'-cmd"),
        ("-0.25", "-0.25"),
        ("", ""),
        ("a=b", "a=b"),
        ("\n=1", "'\n'=1"),
        ("\uff1d1", "'\uff1d1"),
        ("a;=1", "a;'=1"),
        ("a; @SUM", "a; '@SUM"),
    ],
)
def test_no_cell_is_a_formula(cell: str, expected: str) -> None:
    assert report.no_formula(cell) == expected


def test_the_table_of_classes_has_the_numbers_of_the_json(
    folder: Path, stored: dict[str, Any]
) -> None:
    network = stored["network"]
    calibration, borders = network["calibration"], network["boundaries"]
    rows = table(folder, "classes")
    assert [row["class"] for row in rows] == list(NAMES)
    for k, (row, name) in enumerate(zip(rows, NAMES, strict=True)):
        low, high = network["intervals"]["iou"][k]
        expected = {
            **{s: network["per_class"][name][s] for s in ("iou", "f1", "precision", "recall")},
            "support": network["per_class"][name]["support"],
            "iou_low": low,
            "iou_high": high,
            "boundary_f1": borders["f1"][name],
            "boundary_iou": borders["iou"][name],
            "ece": calibration["before"]["per_class"][name],
            "ece_at_temperature": calibration["after"]["per_class"][name],
            "step": stored["step"],
        }
        assert row.keys() == {"class", *expected}
        for column, number in expected.items():
            if number is None:
                assert row[column] == ""
            else:
                assert float(row[column]) == pytest.approx(number, abs=1e-6)


def test_the_table_of_confusions_has_the_numbers_of_the_json(folder: Path) -> None:
    confusion = table(folder, "confusion")
    assert [row.pop("reference") for row in confusion] == list(NAMES)
    assert [[int(row[name]) for name in NAMES] for row in confusion] == CONFUSION.tolist()


def test_the_table_of_objects_has_the_numbers_of_the_json(
    folder: Path, stored: dict[str, Any]
) -> None:
    objects = table(folder, "objects")
    assert [row["class"] for row in objects] == ["[water]", "ice"]
    for name, number in stored["network"]["objects"]["[water]"].items():
        assert float(objects[0][name]) == pytest.approx(number, abs=1e-6)
    assert objects[0]["true"] == "8"
    assert objects[1]["precision"] == ""


def test_the_bins_of_confidence_are_listed_before_and_after(
    found: Assessment, folder: Path
) -> None:
    rows = table(folder, "reliability")
    assert len(rows) == 2 * 5 * BINS
    assert [row["class"] for row in rows[::BINS]] == ["most probable", *NAMES] * 2
    number = 0
    for temperature, part in zip((1.0, 1.7), found.reliability, strict=True):
        for k in range(5):
            for b in range(BINS):
                row = rows[number]
                number += 1
                assert float(row["temperature"]) == temperature
                assert float(row["above"]) == pytest.approx(b / BINS, abs=1e-6)
                assert float(row["up_to"]) == pytest.approx((b + 1) / BINS, abs=1e-6)
                assert int(row["pixels"]) == part.pixels[k, b]
                assert int(row["right"]) == part.right[k, b]
                if part.pixels[k, b]:
                    mean = part.confidence[k, b] / part.pixels[k, b]
                    assert float(row["mean_confidence"]) == pytest.approx(mean, abs=1e-6)
                else:
                    assert row["mean_confidence"] == ""


def test_what_belongs_to_the_run_is_kept_beside_its_checkpoint(
    found: Assessment, folder: Path
) -> None:
    run = folder.parent.parent
    assert kept_calibration(run, 70) == found.calibration
    assert kept_calibration(run, 71) is None
    arrays = kept_pixels(run)
    assert arrays is not None
    again, values = Baselines.of(arrays), np.random.default_rng(0).normal(2, 2, (50, 2))
    assert found.classifiers is not None
    expected = found.classifiers.gaussian.predict(values)
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(again.gaussian.predict(values), expected)
    assert again.wishart is None


def test_a_split_has_its_folder_and_the_temperature_lies_beside_the_checkpoint(
    found: Assessment, folder: Path
) -> None:
    assert folder.parts[-2:] == ("evaluation", "validation")
    beside = folder.parent.parent / "checkpoints/70"
    assert side_files.read(beside / "calibration.json") == {
        "step": 70,
        "temperature": 1.7,
        "thresholds": [0.2, 0.3, 0.5],
        "miou_by_argmax": 0.4,
        "miou_by_thresholds": 0.45,
        "fitted_on": "validation",
    }
    scenes = ("1_of_it", "2_another")
    assert {path.stem for path in (folder / "scenes").glob("*")} == set(scenes)
    pictures = ("confusion", "classes", "reliability", "objects", "worst", "median")
    assert {path.stem for path in folder.glob("*.png")} == set(pictures)
    sizes = {name: Image.open(folder / f"{name}.png").size for name in ("worst", "median")}
    assert sizes["worst"] != sizes["median"]


def test_the_chart_of_the_classes_shows_borders_objects_and_single_pixels(
    found: Assessment,
) -> None:
    figure = report._figures(found)["classes"]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[:4] == [
        "boundary F1, 2.5 px",
        "boundary IoU, 3 px",
        "object F1",
        "IoU of single pixels",
    ]
    points = {
        c.get_label(): c.get_offsets()[:, 0] for c in figure.axes[0].collections if c.get_label()
    }
    order = np.argsort(-np.asarray(found.network.scores.iou), kind="stable")
    assert found.baseline is not None
    expected = {
        legend[0]: borders_of(found).f1(),
        legend[1]: borders_of(found).iou(),
        legend[2]: objects_of(found).f1()[:, 0],
        legend[3]: np.array(found.baseline.scores.iou),
        "IoU": np.array(found.network.scores.iou),
    }
    for name, values in expected.items():
        drawn = np.ma.filled(np.ma.asarray(points[name]), np.nan)
        np.testing.assert_allclose(drawn, 100 * values[order])
    titles = [axes.get_title() for axes in report._figures(found)["reliability"].axes]
    before, after = (100 * part.ece()[0] for part in found.reliability)
    assert titles[0] == f"as trained:  ECE {before:.2f} %"
    assert titles[2] == f"logits divided by T = 1.7:  ECE {after:.2f} %"
