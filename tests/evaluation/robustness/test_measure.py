"""What `jaxseg robustness` measures, shows and writes."""

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from fixtures.shallow import Shallow

from jaxseg import sharding
from jaxseg.cli import main as cli
from jaxseg.errors import UserError
from jaxseg.evaluation.page import robust
from jaxseg.evaluation.robustness import show, subject, write
from jaxseg.evaluation.robustness.curves import Robustness
from jaxseg.evaluation.robustness.measure import measure
from jaxseg.evaluation.robustness.planned import Attacks
from jaxseg.run import checkpoint
from jaxseg.run.evaluator import Evaluator
from jaxseg.sharding import MeshShape
from jaxseg.system.console import make_console
from jaxseg.transforms import LogIntensity, Standardize
from jaxseg.transforms.corruptions import AddedSpeckle, Jpeg, Stripes

ONE = MeshShape(data=1)


@pytest.fixture(scope="module", autouse=True)
def one_device() -> Any:
    """The command takes all devices of a machine."""
    with pytest.MonkeyPatch.context() as patch:
        one = jax.devices()[:1]
        patch.setattr(jax, "devices", lambda *_: one)
        yield


@pytest.fixture(scope="module")
def found(fooled_run: Path) -> Robustness:
    attacks = Attacks((0.1, 1.0), steps=3, targets=("disc",), by_pixel=True)
    kinds = (Stripes(), AddedSpeckle(), Jpeg())
    return measure(fooled_run, corruptions=kinds, attacks=attacks, mesh_shape=ONE, code=(Shallow,))


def test_at_no_strength_it_is_the_evaluation_bit_by_bit(
    fooled_run: Path, found: Robustness
) -> None:
    config, state = checkpoint.reopen(fooled_run, ONE, "best", (Shallow,))
    plain = Evaluator(config, sharding.make_mesh(ONE), "test")(state)
    clean = found.clean["run"]
    np.testing.assert_array_equal(clean.result.confusion, plain.confusion)
    np.testing.assert_array_equal(clean.result.margins, plain.margins)
    assert clean.result.scores.miou > 0.4  # it has learned something to lose


def test_curves_fall_and_programs_are_compiled_once(found: Robustness) -> None:
    titles = [curve.title(found.classes) for curve in found.curves]
    assert titles == ["stripes", "jpeg", "segpgd", "pgd to disc"]
    assert "coherent" in found.refused["speckle"]
    clean = found.clean["run"].result.scores
    for curve in found.curves:
        assert curve.points[-1].result.scores.miou < clean.miou
        assert all(point.result.confusion.sum() == sum(clean.support) for point in curve.points)
    weak, strong = (point.hit(1) for point in found.curves[-1].points)
    assert 0 <= weak < strong <= 1


def test_windows_are_limited_and_evenly_spaced(fooled_run: Path) -> None:
    some = measure(
        fooled_run,
        corruptions=(Stripes(),),
        attacks=Attacks(()),
        windows=2,
        mesh_shape=ONE,
        code=(Shallow,),
    )
    assert some.windows == 2
    assert len(some.curves) == 1
    assert some.clean["run"].result.margins.shape[0] == 2


def test_the_terminal_keeps_within_eighty_columns_and_says_what_is_left_out(
    found: Robustness,
) -> None:
    text = io.StringIO()
    console = make_console(text)
    console.width = 80
    show.show(found, console, title="runs/it")
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    told = text.getvalue()
    assert "no speckle: coherent waves" in told
    assert "epsilon: standard deviations of each band" in told
    for curve in found.curves:
        for point in curve.points:
            assert f"{100 * point.result.scores.miou:.1f}" in told
    assert "hit %" in told


def test_files_hold_every_number_and_replace_nothing_else(
    found: Robustness, tmp_path: Path
) -> None:
    folder = write.write(found, tmp_path)
    assert folder == tmp_path / "robustness/test"
    stored = json.loads((folder / "robustness.json").read_text())
    rows = list(csv.DictReader((folder / "robustness.csv").open()))
    assert len(rows) == 1 + sum(len(curve.points) for curve in found.curves)
    assert {row["step"] for row in rows} == {"40"}
    last, point = rows[-1], found.curves[-1].points[-1]
    assert (last["kind"], last["target"], last["strength"]) == ("pgd", "disc", "1")
    assert float(last["miou"]) == pytest.approx(point.result.scores.miou, abs=1e-6)
    assert float(last["iou_square"]) == pytest.approx(point.result.scores.iou[2], abs=1e-6)
    assert stored["curves"][-1]["points"][-1]["confusion"] == point.result.confusion.tolist()
    assert (folder / "robustness.png").stat().st_size > 10_000
    (folder / "mine.txt").write_text("kept")
    write.write(found, tmp_path)
    assert (folder / "mine.txt").read_text() == "kept"
    (folder / "robustness.json").unlink()
    with pytest.raises(UserError, match="holds something else"):
        write.write(found, tmp_path)


def test_a_network_of_the_same_name_has_its_own_picture(found: Robustness, tmp_path: Path) -> None:
    other = "elsewhere/run"
    seen = tuple(curve._replace(network=other) for curve in found.curves[-1:])
    clean = {**found.clean, other: found.clean["run"]}
    both = dataclasses.replace(found, curves=found.curves + seen, clean=clean)
    folder = write.write(both, tmp_path)
    assert (folder / "robustness-elsewhere_run.png").is_file()
    rows = list(csv.DictReader((folder / "robustness.csv").open()))
    assert [row["network"] for row in rows].count(other) == 1 + len(seen[0].points)


def test_the_page_shows_what_is_stored_and_says_what_is_not(
    found: Robustness, tmp_path: Path
) -> None:
    file = write.write(found, tmp_path) / "robustness.json"
    stored, notes = robust.kept(tmp_path, 40)
    assert stored is not None
    assert notes == []
    page = robust.shown(stored)
    assert "pgd to disc" in page
    assert page.count("<svg") == 2 + 4  # charts, and a key for each line
    assert page.count("<tr>") == 2 + sum(len(curve.points) for curve in found.curves)
    assert "No speckle: coherent waves" in page
    assert robust.kept(tmp_path, 39) == (None, [f"{file} is of step 40 and was left out."])
    file.write_text(file.read_text().replace('"curves"', '"curls"'))
    assert robust.kept(tmp_path, 40)[0] is None
    assert "is damaged" in robust.kept(tmp_path, 40)[1][0]


def test_the_command_measures_and_explains_mistakes(
    fooled_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["robustness", str(fooled_run), "--out", str(tmp_path), "--code", "fixtures.shallow"]
    cli.main([*common, "--corruptions", "stripes", "--epsilons", "--windows", "2"])
    assert "Tables and chart" in capsys.readouterr().out
    assert (tmp_path / "test/robustness.csv").is_file()
    for flags, message in (
        (["--targets", "dics"], "Class 'dics': this run has ground, disc, square"),
        (["--targets", "disc", "--epsilons"], "needs --epsilons"),
        (["--epsilons", "-1"], "radii above 0"),
        (["--steps", "0"], "1 step or more"),
        (["--windows", "-2"], "0 or more"),
    ):
        with pytest.raises(SystemExit):
            cli.main([*common, *flags])
        said = " ".join(capsys.readouterr().err.split())
        assert message in said


def test_a_radius_is_told_in_the_unit_before_standardisation(fooled_run: Path) -> None:
    config = checkpoint.config_of(fooled_run, (Shallow,))
    last = config.preprocess[-1]
    assert isinstance(last, Standardize)
    shown = ", ".join(f"{0.1 * std:.3g}" for std in last.std)
    assert subject.epsilon_meaning(config, 0.1) == shown
    radar = dataclasses.replace(config, preprocess=(LogIntensity(), Standardize((1,), (4,))))
    assert subject.epsilon_meaning(radar, 0.1) == "0.4 dB"
    other = dataclasses.replace(config, preprocess=(LogIntensity(),))
    assert subject.epsilon_meaning(other, 0.1) == ""
    assert "units of the network" in subject.epsilon_unit(other)
