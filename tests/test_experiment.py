"""Tables of experiments: a finished run is not repeated, and intervals are Student's."""

import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from fixtures.places import ROOT
from scipy import stats

from jaxseg.config import load_config
from jaxseg.config_text.stored import to_json

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
    config = load_config("unet")
    trained: list[Path] = []
    monkeypatch.setattr(experiment.training, "train", lambda _, folder: trained.append(folder))
    first = experiment.measured(config, tmp_path, lambda *_: {"miou": 0.5})
    again = experiment.measured(config, tmp_path, lambda *_: {"miou": 0.9})
    assert first == again
    assert trained == [tmp_path / "run"]
    longer = dataclasses.replace(config, num_steps=config.num_steps + 1)
    with pytest.raises(SystemExit, match="another config"):
        experiment.measured(longer, tmp_path)


def test_a_field_that_came_after_a_result_leaves_it_valid(tmp_path: Path) -> None:
    """With its default, as the run was made; with another value it would be another run."""
    config = load_config("unet")
    stored: Any = to_json(config)
    del stored["incremental"], stored["optimizer"]["frozen"]
    (tmp_path / "result.json").write_text(json.dumps({"config": stored, "numbers": {"miou": 0.5}}))
    assert experiment.measured(config, tmp_path) == {"miou": 0.5}
    with pytest.raises(SystemExit, match="another config"):
        experiment.measured(load_config("deeplab"), tmp_path)
