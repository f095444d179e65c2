"""What a person sees of an assessment: every number stands where its name says."""

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures.assessed import CONFUSION, NAMES, assessment, evaluation
from fixtures.recorded_tracker import Recorded
from matplotlib.figure import Figure
from PIL import Image

from jaxseg.evaluation import report, terminal, tracked
from jaxseg.evaluation.baseline import Baselines
from jaxseg.evaluation.evaluate import Assessment
from jaxseg.metrics.boundaries import BoundaryTotal
from jaxseg.metrics.calibration import BINS
from jaxseg.metrics.intervals import bootstrap
from jaxseg.metrics.objects import THRESHOLDS, ObjectTotal
from jaxseg.run.kept import kept_calibration, kept_pixels
from jaxseg.run.trackers import watched
from jaxseg.scenes.cover import Cover
from jaxseg.system import side_files
from jaxseg.system.console import make_console


@pytest.fixture(scope="module")
def found() -> Assessment:
    return assessment()


def borders_of(found: Assessment) -> Any:
    return found.measures[0]


def objects_of(found: Assessment) -> Any:
    return found.measures[1]


@pytest.fixture(scope="module")
def folder(found: Assessment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run")
    (run / "checkpoints/70").mkdir(parents=True)
    return report.write(found, run)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are empty files: they are drawn once above."""
    empty = lambda self, path, **_: Path(path).write_bytes(b"")  # noqa: E731
    monkeypatch.setattr(Figure, "savefig", empty)


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


@pytest.mark.usefixtures("undrawn")
def test_other_data_have_a_folder_of_their_own(found: Assessment, tmp_path: Path) -> None:
    measures = borders_of(found), ObjectTotal.of(4)
    few = dataclasses.replace(found, split="test", measures=measures, baseline=None)
    folder = tmp_path / "evaluation" / "elsewhere" / "all"
    assert report.write(few, tmp_path, folder) == folder
    assert json.loads((folder / "scores.json").read_text())["split"] == "all"
    assert not (tmp_path / "checkpoints").exists()  # it was removed during the evaluation
    assert not (folder / "objects.png").exists()
    assert (folder / "objects.csv").read_text() == ""
    stored = json.loads((folder / "scores.json").read_text())
    assert "per_pixel_baseline" not in stored
    assert stored["network"]["objects"] == {}


@pytest.mark.usefixtures("undrawn")
def test_a_folder_in_the_place_of_a_file_is_put_aside(found: Assessment, tmp_path: Path) -> None:
    folder = report.write(found, tmp_path)
    (folder / "tiles.npz").unlink()
    (folder / "tiles.npz").mkdir()
    (folder / "tiles.npz/mine.txt").write_text("mine")
    assert report.write(found, tmp_path) == folder
    assert (folder / "tiles.npz").is_file()
    assert (folder / "tiles.npz.damaged/mine.txt").read_text() == "mine"


@pytest.mark.usefixtures("undrawn")
def test_results_of_windows_that_overlap_lie_beside_those_of_others(
    found: Assessment, tmp_path: Path
) -> None:
    (tmp_path / "checkpoints/70").mkdir(parents=True)
    plain = report.write(found, tmp_path)
    overlapping = dataclasses.replace(
        found, cover=Cover(32, 24), variant="-overlap-0.25", scenes=found.scenes[1:]
    )
    folder = report.write(overlapping, tmp_path)
    assert (plain.name, folder.name) == ("validation", "validation-overlap-0.25")
    assert folder.parent == plain.parent
    stored = json.loads((folder / "scores.json").read_text())
    assert (stored["split"], stored["windows"]) == ("validation", {"side": 32, "shared": 8})
    other = report.write(overlapping, tmp_path, tmp_path / "evaluation/v1.5/all")
    assert other == tmp_path / "evaluation/v1.5/all-overlap-0.25"
    assert json.loads((other / "scores.json").read_text())["split"] == "all"

    # Scenes that are not among the worst any more leave no picture behind; what is not ours stays.
    (plain / "scenes/notes.png").touch()
    report.write(dataclasses.replace(found, scenes=found.scenes[1:]), tmp_path)
    assert {path.name for path in (plain / "scenes").iterdir()} == {"1_another.png", "notes.png"}


@pytest.mark.parametrize(
    ("scene", "file"),
    [
        ("/data/em/images/17.png", "17"),
        ("part 2/scene 1.5", "scene_1.5"),
        ("split 0 scene 1", "split_0_scene_1"),
        ("a" * 99 + ".tiff", "a" * 60),
    ],
)
def test_a_picture_is_called_like_its_scene(scene: str, file: str) -> None:
    assert report._file_name(scene) == file


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "windows of 32 x 32 pixels without overlap (--overlap 0.25: more context)"),
        (
            {"cover": Cover(1024, 768)},
            "windows of 1024 x 1024 pixels; neighbours share 256, each counts its middle",
        ),
        ({"one_window": True}, "windows of 32 x 32 pixels, one for each scene"),
    ],
)
def test_the_terminal_says_how_windows_lay(
    found: Assessment, changes: dict[str, Any], said: str
) -> None:
    assert f"\n{said}\n" in shown(dataclasses.replace(found, **changes))
    assert len(said) <= 80


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


def shown(found: Assessment) -> str:
    text = io.StringIO()
    terminal.show(found, make_console(text), title="the run, validation split")
    said = text.getvalue()
    assert max(map(len, said.splitlines())) <= 100
    return said


def test_the_terminal_says_the_same_in_percent(found: Assessment) -> None:
    said = shown(found)
    low, high = found.intervals.low, found.intervals.high
    assert "the run, validation split, 100 labelled pixels" in said
    ends = [f"{100 * end['miou']:.1f}" for end in (low, high)]
    accuracy = [f"{100 * end['overall_accuracy']:.1f}" for end in (low, high)]
    kappa = [f"{end['kappa']:.3f}" for end in (low, high)]
    assert (
        f"95 % intervals: mIoU {ends[0]} to {ends[1]} %, overall accuracy {accuracy[0]} to "
        f"{accuracy[1]} %, kappa {kappa[0]} to {kappa[1]}\n"
    ) in said
    assert "(1000 draws of the split's 5 scenes)" in said
    assert found.baseline is not None
    miou, pixels = found.network.scores.miou, found.baseline.scores.miou
    assert miou != pixels
    sentence = f"single pixels reaches mIoU {pixels:.4f}; context adds {miou - pixels:+.4f}."
    assert sentence in said
    before, after = found.reliability
    rows = [line.split() for line in said.splitlines()]
    for k, name in enumerate(NAMES):
        columns = borders_of(found).f1(), borders_of(found).iou(), before.ece()[1:], after.ece()[1:]
        cells = ["-" if np.isnan(c[k]) else f"{100 * c[k]:.1f}" for c in columns]
        interval = [
            "-" if np.isnan(end["iou"][k]) else f"{100 * end['iou'][k]:.1f}" for end in (low, high)
        ]
        assert [name, interval[0], "to", interval[1], *cells] in rows
    f1, iou = np.nanmean(borders_of(found).f1()), np.nanmean(borders_of(found).iou())
    assert "F1 within 2.5 pixels (5 m), IoU of rims of 3 pixels (6 m); means" in said
    assert f"means {100 * f1:.1f} and {100 * iou:.1f} %" in said
    ece = [100 * part.ece()[0] for part in (before, after)]
    assert f"ECE {ece[0]:.1f} %, with the logits divided by T = 1.700" in said
    assert f"(fitted on validation) {ece[1]:.1f} %;\n  NLL 0.9000 and 0.4000" in said
    assert "mIoU of a sample of validation from 40.0 to 45.0 %" in " ".join(said.split())
    mean = 100 * objects_of(found).f1()[1].mean()
    assert (
        "[water] 8 10 75.0 60.0 66.7 MEAN 50.0 1 2 50.0".replace("MEAN", f"{mean:.1f}").split()
        in rows
    )


def test_ground_that_the_training_has_shown_is_said(found: Assessment) -> None:
    shared = dataclasses.replace(found, shared_ground=0.034)
    assert "\n3.4 % of the split's ground is shown in the training split, too.\n" in shown(shared)
    assert report._report(shared)["shared_ground"] == 0.034
    assert "ground is shown" not in shown(found)


def test_too_few_scenes_have_no_interval(found: Assessment) -> None:
    few = dataclasses.replace(found, intervals=bootstrap(found.network.margins[:3], range(3)))
    said = shown(few)
    assert "95 % intervals: none of 3 scenes; they need 5\n" in said
    assert "IoU, 95 % interval" not in said
    assert report._report(few)["network"]["intervals"]["miou"] == [None, None]
    header, row, *_ = report.tables(few)["classes"]
    assert [row[header.index(f"iou_{end}")] for end in ("low", "high")] == ["", ""]
    assert report._figures(few)["classes"].axes  # drawn without


def test_a_temperature_that_is_not_known_is_neither_shown_nor_written(
    found: Assessment, tmp_path: Path
) -> None:
    notes = ("No temperature: no evaluation has kept it ...",)
    unknown = dataclasses.replace(found, calibration=None, classifiers=None, notes=notes)
    said = shown(unknown)
    assert "T =" not in said
    assert "at T %" not in said
    assert said.endswith(f"{notes[0]}\n")
    written = report._report(unknown)
    assert written["notes"] == list(notes)
    calibration = written["network"]["calibration"]
    assert calibration["temperature"] is None
    assert calibration.keys() == {"temperature", "before"}
    tables = report.tables(unknown)
    assert "ece_at_temperature" not in tables["classes"][0]
    assert {row[0] for row in tables["reliability"][1:]} == {"1.000000"}


def test_on_ground_of_unknown_scale_nothing_is_in_metres_and_without_objects_no_table(
    found: Assessment,
) -> None:
    measures = BoundaryTotal.of(4, tolerance=2.5, rim=3), ObjectTotal.of(4)
    none = dataclasses.replace(found, measures=measures, baseline=None)
    said = shown(none)
    assert "F1 within 2.5 pixels, IoU of rims of 3 pixels; means" in said
    assert "objects:" not in said
    assert "single pixels" not in said


@pytest.mark.usefixtures("undrawn")
def test_polarimetric_runs_are_shown_beside_both_classifiers(
    found: Assessment, tmp_path: Path
) -> None:
    wishart = evaluation(np.diag([45, 5, 1, 0]) + np.eye(4, k=-1, dtype=int))
    both = dataclasses.replace(found, wishart=wishart)
    rows = [line.split() for line in shown(both).splitlines()]
    for name, part in (
        ("the network", found.network),
        ("Wishart maximum likelihood, single pixels", wishart),
        ("one Gaussian per class, single pixels", found.baseline),
    ):
        assert part is not None
        s = part.scores
        shares = [f"{100 * n:.1f}" for n in (s.overall_accuracy, s.average_accuracy)]
        assert [*name.split(), *shares, f"{s.kappa:.3f}", f"{100 * s.miou:.1f}"] in rows
    stored = json.loads((report.write(both, tmp_path) / "scores.json").read_text())
    assert stored["wishart_baseline"] == wishart.scores.as_json()


def test_a_tracker_gets_the_scores_and_the_tables_that_are_written(
    found: Assessment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = type("Own", (Recorded,), {"calls": [], "fails": {}})
    monkeypatch.setitem(watched.KINDS, "wandb", own)
    (tmp_path / watched.FILE).write_text('{"wandb": "of the training"}')
    said: list[str] = []
    tracked.send(found, "wandb", tmp_path, {"a": 1}, split="test", warn=said.append)
    first, numbers, *sent, last = own.calls
    assert (first, last, said) == (("start", "of the training", {"a": 1}), ("finish",), [])
    assert numbers[1] == found.step
    assert numbers[2]["evaluation/test/miou"] == found.network.scores.miou
    written = report.tables(found)
    assert [name for _, _, name, _ in sent] == [f"evaluation/test/{name}" for name in written]
    assert sent[0][3] == [[str(cell) for cell in row] for row in next(iter(written.values()))]
