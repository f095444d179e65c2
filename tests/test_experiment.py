"""Tables of experiments: a finished run is not repeated, and intervals are Student's."""

import math
import sys
from pathlib import Path

import pytest
from fixtures.places import ROOT
from scipy import stats

sys.path.append(str(ROOT / "benchmarks"))
import experiment


def test_the_interval_of_paired_differences_is_students() -> None:
    found = experiment.paired([0.52, 0.61, 0.58], [0.50, 0.55, 0.57])
    expected = stats.ttest_rel([0.52, 0.61, 0.58], [0.50, 0.55, 0.57]).confidence_interval(0.95)
    assert found.mean == pytest.approx(0.03)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert not found.known


def test_one_seed_has_no_interval() -> None:
    found = experiment.paired([0.5], [0.4])
    assert math.isnan(found.low)
    assert not found.known
    assert str(found) == "+0.100 (one seed)"


def test_a_table_compares_each_method_with_the_reference() -> None:
    text = experiment.table(
        {"a": [0.1, 0.3], "b": [0.3, 0.5]}, "a", of="mIoU", titles={"a": "plain", "b": "new"}
    )
    assert "| plain | 0.200 ± 0.141 |  |" in text
    assert "| new | 0.400 ± 0.141 | +0.200 (+0.200 to +0.200) |" in text


def test_a_finished_run_is_not_repeated_and_another_config_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {"learning_rate": 0.1}
    trained: list[Path] = []
    monkeypatch.setattr(experiment.training, "train", lambda _, folder: trained.append(folder))
    first = experiment.measured({"seed": 0}, tmp_path, lambda *_: {"miou": 0.5})  # type: ignore[arg-type]
    again = experiment.measured({"seed": 0}, tmp_path, lambda *_: {"miou": 0.9})  # type: ignore[arg-type]
    assert first == again
    assert trained == [tmp_path / "run"]
    with pytest.raises(SystemExit, match="another config"):
        experiment.measured(other, tmp_path)  # type: ignore[arg-type]
