"""What each tracker's package is called with: recorded doubles stand in for the packages."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest

from jaxseg.run.trackers.mlflow_run import MlflowRun
from jaxseg.run.trackers.tracker import Start, Tracker
from jaxseg.run.trackers.trackio_run import TrackioRun
from jaxseg.run.trackers.wandb_run import WandbRun

IMAGE = np.zeros((4, 5, 3), np.uint8)
ROWS = [["class", "iou"], ["land", "0.5"]]
CONFIG = {"seed": 1, "model": {"class": "UNet", "sizes": [2, 3]}}


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """In place of all three packages."""
    package = MagicMock()
    for name in ("wandb", "mlflow", "mlflow.entities", "trackio"):
        monkeypatch.setitem(sys.modules, name, package)
    for name in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_NAME", "MLFLOW_TRACKING_URI",
                 "MLFLOW_EXPERIMENT_NAME", "TRACKIO_PROJECT"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    for name in ("WANDB_ERROR_REPORTING", "MLFLOW_DISABLE_TELEMETRY", "MLFLOW_ALLOW_FILE_STORE",
                 "HF_HUB_DISABLE_TELEMETRY"):  # fmt: skip
        monkeypatch.setenv(name, "set")  # so that what is set here ends with the test
    assert isinstance(package, ModuleType) is False
    return package


def used(tracker: Tracker) -> None:
    tracker.numbers(3, {"train/loss": 0.5})
    tracker.picture(3, "map", IMAGE)
    tracker.table(3, "validation/classes", ROWS)
    tracker.checkpoint(3, Path("/runs/a/checkpoints/3"))
    tracker.finish()


def logged(log: MagicMock) -> list[Any]:
    return [call.args[0] for call in log.call_args_list]


@pytest.mark.parametrize(
    ("variable", "logged_in", "mode"),
    [(None, True, None), (None, False, "offline"), ("online", False, "online")],
)
def test_wandb_is_online_only_if_the_person_says_so(
    double: MagicMock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    variable: str | None, logged_in: bool, mode: str | None,
) -> None:  # fmt: skip
    if variable:
        monkeypatch.setenv("WANDB_MODE", variable)
    double.login.return_value = logged_in
    WandbRun(Start(tmp_path / "unet", CONFIG, ""))
    given = double.init.call_args.kwargs
    assert (given["mode"], given["project"], given["name"]) == (mode, "jaxseg", "unet")
    assert (given["id"], given["config"], given["dir"]) == (None, CONFIG, str(tmp_path / "unet"))
    asked = double.Settings.call_args.kwargs
    assert (asked["save_code"], asked["disable_git"], asked["console"]) == (False, True, "off")
    assert (asked["x_disable_meta"], asked["x_disable_stats"]) == (True, True)


def test_wandb_counts_steps_as_a_number_of_ours(double: MagicMock, tmp_path: Path) -> None:
    run = double.init.return_value
    run.id = "abc"
    tracker = WandbRun(Start(tmp_path, CONFIG, "abc"))
    used(tracker)
    assert tracker.id == "abc"
    assert double.init.call_args.kwargs["id"] == "abc"
    assert double.init.call_args.kwargs["resume"] == "allow"
    run.define_metric.assert_called_once_with("*", step_metric="step")
    numbers, picture, table = logged(run.log)
    assert numbers == {"step": 3, "train/loss": 0.5}
    assert picture == {"step": 3, "map": double.Image.return_value}
    assert table == {"step": 3, "validation/classes": double.Table.return_value}
    double.Table.assert_called_once_with(columns=["class", "iou"], data=[["land", "0.5"]])
    run.summary.__setitem__.assert_called_once_with("checkpoint", "/runs/a/checkpoints/3")
    run.finish.assert_called_once_with()


def test_mlflow_keeps_a_new_run_in_the_workdir(double: MagicMock, tmp_path: Path) -> None:
    client = double.MlflowClient.return_value
    client.create_run.return_value.info.run_id = "1f"
    tracker = MlflowRun(Start(tmp_path / "unet", CONFIG, ""))
    used(tracker)
    assert tracker.id == "1f"
    uri = (tmp_path / "unet" / "mlflow").as_uri()
    double.MlflowClient.assert_called_once_with(tracking_uri=uri)
    assert client.create_run.call_args.kwargs == {"run_name": "unet"}
    params = [call.args for call in double.Param.call_args_list]
    assert params == [
        ("seed", "1"), ("model.class", "UNet"), ("model.sizes.0", "2"), ("model.sizes.1", "3"),
    ]  # fmt: skip
    client.log_dict.assert_called_once_with("1f", CONFIG, "config.json")
    client.log_metric.assert_called_once_with("1f", "train/loss", 0.5, step=3)
    file = "pictures/map/00000003.png"
    assert client.log_image.call_args.kwargs == {"artifact_file": file}
    client.log_text.assert_called_once_with(
        "1f", "class,iou\nland,0.5\n", "tables/validation/classes/00000003.csv"
    )
    client.set_tag.assert_called_once_with("1f", "checkpoint", "/runs/a/checkpoints/3")
    client.set_terminated.assert_called_once_with("1f")


def test_mlflow_continues_a_run_where_the_person_keeps_runs(
    double: MagicMock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracker:5000")
    client = double.MlflowClient.return_value
    assert MlflowRun(Start(tmp_path, CONFIG, "1f")).id == "1f"
    double.MlflowClient.assert_called_once_with(tracking_uri="http://tracker:5000")
    client.update_run.assert_called_once_with("1f", status="RUNNING")
    client.create_run.assert_not_called()
    client.log_batch.assert_not_called()  # MLflow refuses parameters that change


def test_trackio_names_the_run_and_finds_it_again(double: MagicMock, tmp_path: Path) -> None:
    first = TrackioRun(Start(tmp_path / "unet", CONFIG, ""))
    assert first.id.startswith("unet-")
    tracker = TrackioRun(Start(tmp_path / "unet", CONFIG, first.id))
    given = double.init.call_args.kwargs
    assert (given["name"], given["resume"], given["project"]) == (first.id, "allow", "jaxseg")
    assert (given["auto_log_cpu"], given["auto_log_gpu"]) == (False, False)
    assert "space_id" not in given
    used(tracker)
    run = double.init.return_value
    assert logged(run.log)[0] == {"train/loss": 0.5}
    assert {call.kwargs["step"] for call in run.log.call_args_list} == {3}
    texts = [call.args[0] for call in double.Markdown.call_args_list]
    assert texts == ["| class | iou |\n|---|---|\n| land | 0.5 |", "`/runs/a/checkpoints/3`"]
    run.finish.assert_called_once_with()
