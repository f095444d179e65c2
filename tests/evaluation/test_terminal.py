"""What the terminal says of an assessment: the same numbers as in the files, in percent."""

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures.assessed import NAMES, borders_of, evaluation, found, objects_of, undrawn

from jaxseg.evaluation import report, terminal
from jaxseg.evaluation.evaluate import Assessment
from jaxseg.metrics.boundaries import BoundaryTotal
from jaxseg.metrics.intervals import bootstrap
from jaxseg.metrics.objects import ObjectTotal
from jaxseg.scenes.cover import Cover
from jaxseg.system.console import make_console

__all__ = ["found", "undrawn"]  # fixtures


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
