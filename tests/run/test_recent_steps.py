"""A line of the log is about its steps: their mean, their pixels, their time."""

import time
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest
from fixtures import painted
from fixtures.metric_lines import metric_lines

from jaxseg.config import Config
from jaxseg.errors import UserError
from jaxseg.run.logbook import Logbook
from jaxseg.run.recent_steps import RecentSteps


@pytest.fixture
def small() -> Config:
    return painted.seven_steps()


def metrics(loss: float, confusion: list[list[int]]) -> dict[str, Any]:
    return {
        "loss/ce": jnp.float32(loss / 2),
        "loss": jnp.float32(loss),
        "grad_norm": jnp.float32(1.0),
        "confusion": jnp.asarray(confusion, jnp.int32),
    }


def test_a_line_of_the_log_is_the_mean_of_its_steps_and_the_sum_of_their_pixels(
    small: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([100.0, 104.0, 200.0, 206.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    steps = RecentSteps(small, ("a", "b"))  # 100
    steps.add(4, metrics(1.0, [[3, 1], [0, 0]]))
    steps.check()  # 104: four seconds of work
    steps.skip_clock()  # 200: a validation took its time
    steps.add(5, metrics(3.0, [[0, 0], [2, 6]]))
    with Logbook(tmp_path, total_steps=9) as log:
        steps.write(log)  # 206
        steps.write(log)  # nothing has come since
    row = metric_lines(tmp_path, "train")[5]
    assert (row["loss"], row["loss/ce"], row["grad_norm"]) == (2.0, 1.0, 1.0)
    assert row["miou"] == pytest.approx((3 / (4 + 5 - 3) + 6 / (8 + 7 - 6)) / 2)
    assert row["images_per_second"] == pytest.approx(2 * 8 / 10)
    assert row["waiting"] == 0
    assert "confusion" not in row
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1


def test_the_time_that_data_are_waited_for_is_told(
    small: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = RecentSteps(small, ("a", "b"))
    began = time.perf_counter()
    clock = iter([10.0, 13.0, 20.0])
    monkeypatch.setattr(time, "perf_counter", lambda: began + next(clock))
    for number in (1, 2, 3):
        steps.add(number, metrics(1.0, [[1, 0], [0, 1]]))
    assert steps.next_batch(iter([{"image": "next"}])) == {"image": "next"}  # type: ignore[dict-item]
    with Logbook(tmp_path, total_steps=9) as log:
        steps.write(log)
    row = metric_lines(tmp_path, "train")[3]
    assert row["waiting"] == pytest.approx(3 / 20, rel=0.02)
    assert row["images_per_second"] == pytest.approx(3 * 8 / 20, rel=0.02)


def test_what_is_not_finite_is_named_with_its_step_and_its_first_cause(small: Config) -> None:
    steps = RecentSteps(small, ("a", "b"))
    steps.add(4, metrics(1.0, [[1, 0], [0, 1]]))
    steps.check()
    steps.add(5, metrics(float("nan"), [[1, 0], [0, 1]]) | {"grad_norm": jnp.float32("inf")})
    with pytest.raises(UserError, match=r"^loss/ce is nan at step 5; this state was not saved"):
        steps.check()
