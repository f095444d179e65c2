"""The model card of a run: complete for the hub, honest about what is missing, safe to show."""

import dataclasses
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures import fake_hub, stored_run
from fixtures.assessed import NAMES
from fixtures.places import ROOT
from fixtures.stored_run import STEP, STRANGE

from jaxseg import load_run
from jaxseg.cli.commands import runs
from jaxseg.errors import UserError
from jaxseg.evaluation import model_card, pushing
from jaxseg.weights.pretrained import Pretrained

OLD = ROOT / "tests/fixtures/run_0_1_0"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored_run.write_run(tmp_path_factory.mktemp("runs") / "fields")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Checkpoints are not read; the config of the run may be changed."""
    told: dict[str, Any] = {"config": stored_run.config(), "step": STEP}
    monkeypatch.setattr(model_card.checkpoint, "chosen", lambda *_: (told["config"], told["step"]))
    return told


def head_and_text(file: Path) -> tuple[dict[str, Any], str]:
    """The metadata, each of whose values is JSON, and the rest."""
    _, head, text = file.read_text().split("---\n", 2)
    fields = (line.partition(": ") for line in head.splitlines())
    plain = re.compile(r"[a-z-]+")
    return {
        name: value if plain.fullmatch(value) else json.loads(value) for name, _, value in fields
    }, text


def test_the_card_has_data_sensor_scores_with_intervals_training_and_licence(
    whole: Path, tmp_path: Path, opened: dict[str, Any]
) -> None:
    out = tmp_path / "README.md"
    assert not model_card.write(whole, out, licence="cc-by-4.0", repository="me/fields")
    head, text = head_and_text(out)
    scores = json.loads((whole / "evaluation/test/scores.json").read_text())["network"]
    assert head["license"] == "cc-by-4.0"
    assert head["pipeline_tag"] == "image-segmentation"
    (result,) = head["model-index"][0]["results"]
    assert result["dataset"]["split"] == "test"
    assert result["metrics"][0] == {"type": "mean_iou", "value": round(scores["miou"], 4)}
    low, high = scores["intervals"]["miou"]
    row = f"| mean IoU | {100 * scores['miou']:.1f} % | {100 * low:.1f} to {100 * high:.1f} % |"
    assert row in text
    for title in ("Use", "Data", "Sensor", "Scores", "Training", "Limits", "Licence"):
        assert f"\n## {title}\n" in text
    assert 'snapshot_download("me/fields")' in text
    assert "Of these weights: cc-by-4.0." in text
    assert "| answer | - | - |" in text
    assert "pixel size: 2 m" in text
    assert "| started from | from scratch |" in text
    assert re.search(r"\| devices \| \d+ x cpu \|", text)
    for name in NAMES:
        assert name.replace("[", "\\[").replace("]", "\\]") in text


def test_what_only_the_author_knows_is_left_to_be_filled_in(
    whole: Path, tmp_path: Path, opened: dict[str, Any]
) -> None:
    weights = Pretrained(name="ssl4eo-s12-resnet18-s2-moco")
    opened["config"] = dataclasses.replace(opened["config"], pretrained=weights)
    model_card.write(whole, tmp_path / "card.md")
    head, text = head_and_text(tmp_path / "card.md")
    assert head["license"] == "unknown"
    assert text.count(model_card.FILL_IN) == 4
    assert "ssl4eo-s12-resnet18-s2-moco (licence: CC-BY-4.0; cite Wang et al. 2023" in text


def test_a_run_without_an_evaluation_has_a_card_that_says_so(
    whole: Path, tmp_path: Path, opened: dict[str, Any]
) -> None:
    opened["step"] = STEP + 1
    notes = model_card.write(whole, tmp_path / "card.md")
    assert any("First: jaxseg evaluate" in note for note in notes)
    head, text = head_and_text(tmp_path / "card.md")
    assert "model-index" not in head
    assert "## Scores\n\nNot evaluated." in text
    with pytest.raises(UserError, match="not the folder of an evaluation"):
        model_card.write(whole, tmp_path / "card.md", evaluation=tmp_path)


def test_names_of_others_are_text_in_the_card(tmp_path: Path, opened: dict[str, Any]) -> None:
    run = stored_run.write_run(tmp_path / "a|b", STRANGE)
    opened["config"] = stored_run.config(STRANGE)
    model_card.write(run, tmp_path / "card.md")
    _, text = head_and_text(tmp_path / "card.md")
    assert "<script" not in text
    assert "<img" not in text
    widths = {line.count("|") - line.count("\\|") for line in text.splitlines() if line[:1] == "|"}
    assert widths == {3, 4}
    assert "# a\\|b\n" in text


def test_a_pushed_run_is_opened_from_the_hub_and_predicts_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = fake_hub.installed(monkeypatch, tmp_path / "hub")
    run = Path(shutil.copytree(OLD, tmp_path / "old"))
    runs.card([str(run), "--push", "me/old", "--licence", "apache-2.0"])
    assert "Pushed: https://huggingface.co/me/old" in capsys.readouterr().out
    assert hub.private == {"me/old": True}
    pushed = tmp_path / "hub/me/old"
    assert sorted(path.name for path in pushed.iterdir()) == ["README.md", "checkpoints"]
    assert (pushed / "README.md").read_bytes() == (run / "README.md").read_bytes()
    mine, theirs = load_run(run), load_run(pushed)
    image = np.random.default_rng(0).random((16, 16, len(mine.sensor.bands))).astype(np.float32)
    np.testing.assert_array_equal(mine.logits(image), theirs.logits(image))


def test_what_was_filled_in_is_pushed_and_never_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_hub.installed(monkeypatch, tmp_path / "hub")
    run = Path(shutil.copytree(OLD, tmp_path / "old"))
    runs.card([str(run)])
    card = run / "README.md"
    assert model_card.licence_of(card) == ""
    with pytest.raises(SystemExit):
        runs.card([str(run), "--push", "me/old"])
    card.write_text(card.read_text().replace('license: "unknown"', "license: mit") + "My words.\n")
    with pytest.raises(SystemExit):
        runs.card([str(run)])
    assert "is there, perhaps with text that was filled in" in capsys.readouterr().err
    runs.card([str(run), "--push", "me/old"])
    assert (tmp_path / "hub/me/old/README.md").read_text().endswith("My words.\n")


def test_a_push_that_would_fail_is_refused_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(OLD, tmp_path / "old"))
    for flags, said in (
        (["--push", "name", "--licence", "mit"], "give OWNER/NAME"),
        (["--push", "me/old"], "--push without a licence"),
    ):
        with pytest.raises(SystemExit):
            runs.card([str(run), *flags])
        assert said in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"pip install 'jaxseg\[hub\]'"):
        pushing.check("me/old", "mit")
    assert not (run / "README.md").exists()


def test_what_the_hub_answers_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = fake_hub.installed(monkeypatch, tmp_path / "hub")
    for error in (fake_hub.HubError("401 No\nlong", 401), fake_hub.TransportError("401 No")):
        hub.failures = [error]
        with pytest.raises(UserError, match=r"me/old cannot be pushed: 401 No\.\nLog in"):
            pushing.push("me/old", OLD, 3, tmp_path / "README.md")
