"""The page about a run: what is on it, and what it says of what is missing."""

import base64
import hashlib
import html
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fixtures import painted, stored_run
from fixtures.assessed import CONFUSION, NAMES
from fixtures.stored_run import STEP, STRANGE
from matplotlib.figure import Figure

from jaxseg.errors import UserError
from jaxseg.evaluation.page import write as page
from jaxseg.metrics.measure import percent


class Elements(HTMLParser):
    """All elements of a page with their attributes, and its text."""

    def __init__(self, content: str) -> None:
        """Reads the page."""
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes an element."""
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Notes text."""
        self.text += data

    def of(self, *tags: str) -> list[dict[str, str | None]]:
        """The attributes of all elements of these kinds."""
        return [attributes for tag, attributes in self.found if tag in tags]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored_run.write_run(tmp_path_factory.mktemp("runs") / "fields")


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be damaged."""
    return Path(shutil.copytree(whole, tmp_path / "fields"))


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Checkpoints are not read; the config of the run may be changed."""
    told: dict[str, Any] = {"config": stored_run.config(), "step": STEP}
    monkeypatch.setattr(page.checkpoint, "chosen", lambda *_: (told["config"], told["step"]))
    return told


def written(run: Path, **how: Any) -> tuple[str, list[str]]:
    """The page and its notes."""
    out = run / "page.html"
    notes = page.write(run, out, **how)
    return out.read_text(), notes


def plain(content: str) -> str:
    return re.sub(r"\s+", " ", Elements(content).text)


def test_the_page_holds_scores_pictures_training_data_and_config(whole: Path) -> None:
    content, notes = written(whole, scene_map=stored_run.write_map(whole / "map.tif", 90, 120))
    assert notes == []
    text, elements = plain(content), Elements(content)
    sections = [of["id"] for of in elements.of("section")]
    assert sections == [
        *("classes", "confusion", "reliability", "windows", "map"),
        *("training", "data", "config", "environment"),
    ]
    assert [of["href"] for of in elements.of("a")] == [f"#{name}" for name in sections]
    found = stored_run.evaluated()
    scores, low, high = found.network.scores, found.intervals.low, found.intervals.high
    ends = (percent(float(end["miou"])) for end in (low, high))
    assert f"mIoU{percent(scores.miou)} %95 %: {' to '.join(ends)} %" in text
    for k, name in enumerate(NAMES[:2]):
        ends = (percent(float(end["iou"][k])) for end in (low, high))
        assert f"{name}{percent(scores.iou[k])}{' to '.join(ends)}" in text
    row = CONFUSION[1]
    assert f"[water] ({row.sum()}){100 * row[0] / row.sum():.1f}" in text
    assert "logits" not in text
    assert "objects" in text  # tables of further measures
    assert "num_steps = 70" in text
    assert "from step 0" in text
    assert "map.tif: 90 x 120 pixels; made by r, step 70; EPSG:32632" in text
    assert len(elements.of("figure")) == 3 + 1 + 6 + 1  # curves, reliability, windows, the map
    assert len(elements.of("img")) == 6 * 3 + 1
    assert "train22" in text  # scenes and files of the split


def test_the_page_shows_the_robustness_of_its_step(run: Path) -> None:
    points = [
        {"strength": s, "meaning": "<b>", "miou": m, "interval": None}
        for s, m in ((2, 0.5), (1, 0.4))
    ]
    curve = {"network": "fields", "kind": "speckle", "target": None, "unit": "looks"}
    file = run / "robustness/test/robustness.json"
    file.parent.mkdir(parents=True)
    found = {"network": "fields", "split": "test", "windows": 8, "epsilon": "", "refused": {}}
    found |= {"clean": {"fields": {"miou": 0.6}}, "curves": [curve | {"points": points}]}
    file.write_text(json.dumps(found | {"step": STEP}))
    content, notes = written(run)
    assert notes == []
    assert '<section id="robustness">' in content
    assert "speckle1 looks40" in plain(content)
    assert "&lt;b&gt;" in content
    file.write_text(json.dumps(found | {"step": STEP + 1}))
    content, notes = written(run)
    assert '<section id="robustness">' not in content
    assert notes == [f"{file} is of step {STEP + 1} and was left out."]


def test_the_page_is_one_file_that_asks_for_nothing(whole: Path) -> None:
    content, _ = written(whole)
    elements = Elements(content)
    for of in elements.of("img", "script", "link", "a", "iframe", "use"):
        for name in ("src", "href"):
            assert (of.get(name) or "#").startswith(("data:image/", "#"))
    assert not re.search(r"url\(|@import|https?:", content)
    policy = next(of["content"] for of in elements.of("meta") if of.get("http-equiv") is not None)
    assert str(policy).startswith("default-src 'none'; img-src data:; ")
    for element in ("style", "script"):
        inside = re.findall(rf"<{element}>(.*?)</{element}>", content, re.S)
        assert len(inside) == 1
        digest = base64.b64encode(hashlib.sha256(inside[0].encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in str(policy)
    assert not any(name in ("style", "onclick") for _, of in elements.found for name in of)
    assert len(content) < 1_000_000


def test_who_does_not_see_the_page_is_told_what_it_shows(whole: Path) -> None:
    content, _ = written(whole, scene_map=stored_run.write_map(whole / "map.tif", 90, 120))
    elements = Elements(content)
    assert all(of["alt"] for of in elements.of("img"))
    assert all(of["scope"] in ("row", "col") for of in elements.of("th"))
    assert len(elements.of("caption")) == len(elements.of("table"))
    pictures = [of for of in elements.of("svg") if of.get("role") == "img"]
    assert len(pictures) == 4
    hidden = [of for of in elements.of("svg") if of.get("aria-hidden") == "true"]
    assert len(pictures) + len(hidden) == len(elements.of("svg"))
    assert all(of.get("aria-label") for of in elements.of("input") if of["type"] == "range")
    assert elements.of("html")[0]["lang"] == "en"


def test_what_strangers_have_named_is_shown_and_not_run(
    tmp_path: Path, opened: dict[str, Any]
) -> None:
    opened["config"] = stored_run.config(STRANGE)
    run = stored_run.write_run(tmp_path / "<i>run", STRANGE)
    where = stored_run.write_map(tmp_path / "<u>map.tif", 60, 60, STRANGE)
    content, _ = written(run, scene_map=where)
    elements = Elements(content)
    assert len(elements.of("script")) == 1
    assert not elements.of("i", "b", "u")
    assert all(str(of["src"]).startswith("data:") for of in elements.of("img"))
    for name in (*STRANGE, "<i>run", "<u>map.tif"):
        assert name in elements.text
        assert html.escape(name) in content
    assert "somebody" not in elements.text  # folders of windows stay at home


def test_a_torn_line_is_left_out_and_said(run: Path) -> None:
    file = run / "metrics.jsonl"
    lines = file.read_text().splitlines()
    torn = [*lines[:3], lines[3][:40], "17", *lines[4:], '{"step": 75, "lo']
    file.write_text("\n".join(torn))
    content, notes = written(run)
    assert notes == ["3 line(s) of metrics.jsonl cannot be read and are left out."]
    assert html.escape(notes[0]) in content
    assert "13 lines of training and 7 validations" in plain(content)


def test_a_run_without_history_says_so(run: Path) -> None:
    (run / "metrics.jsonl").unlink()
    (run / "environment.jsonl").unlink()
    content, notes = written(run)
    assert [note.partition(":")[0] for note in notes] == [
        "No training curves",
        "Where it was trained is not known",
    ]
    assert "There are no curves." in content


def test_a_run_whose_data_are_gone_has_a_page_of_what_is_stored(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise UserError("there is no folder fields/images")

    monkeypatch.setattr(painted.Painted, "scenes", gone)
    content, notes = written(run)
    assert len(notes) == 1
    assert "the data cannot be read (there is no folder fields/images)" in notes[0]
    assert {"classes", "windows", "data"} <= {of["id"] for of in Elements(content).of("section")}
    assert "answer, class" in plain(content)  # the bands


def test_a_run_that_was_not_evaluated_is_evaluated(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(run / "evaluation")
    asked: list[Any] = []

    def evaluate(workdir: Path, **how: Any) -> Any:
        asked.append((workdir, how["which"]))
        return stored_run.evaluated()

    monkeypatch.setattr(page.assessment, "evaluate", evaluate)
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: Path(path).write_bytes(b""))
    content, notes = written(run, which="70")
    assert asked == [(run, "70")]
    assert notes == []
    assert (run / "evaluation/test/scores.json").is_file()
    assert 'id="confusion"' in content


def test_a_run_that_cannot_be_evaluated_has_a_page_without_scores(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluate(*_: object, **__: object) -> None:
        raise UserError("The split test holds no scene.")

    monkeypatch.setattr(page.assessment, "evaluate", evaluate)
    (run / "evaluation/test/scores.json").write_text('{"step": 70, "network": {"confusion": [1]}}')
    content, notes = written(run)
    damaged, missing = notes
    assert damaged.startswith(f"{run}/evaluation/test/scores.json is damaged and was left out")
    assert missing.endswith("there can be none: The split test holds no scene.")
    assert Elements(content).of("section")[0]["id"] == "training"


def test_scores_of_another_step_are_not_shown(run: Path, opened: dict[str, Any]) -> None:
    opened["step"] = 60
    content, notes = page.stored.last_evaluation(run, 60, NAMES)
    assert (content, notes) == (None, [])
    folder = run / "evaluation/test"
    with pytest.raises(UserError, match=r"step 70; the page is about step 60\. Give --step 70"):
        written(run, evaluation=folder)
    with pytest.raises(UserError, match="it has no scores"):
        written(run, evaluation=run)


def test_of_several_evaluations_the_last_one_is_shown(run: Path) -> None:
    other = run / "evaluation/elsewhere/all"
    stored_run.write_evaluation(run, stored_run.evaluated(), other)
    assert "evaluation of elsewhere/all" in plain(written(run)[0])
    first = run / "evaluation/test"
    assert "evaluation of test" in plain(written(run, evaluation=first)[0])
    moved = Path(shutil.copytree(first, run / "moved"))
    assert "evaluation of moved" in plain(written(run, evaluation=moved)[0])


def test_what_an_evaluation_lacks_is_said(run: Path) -> None:
    folder = run / "evaluation/test"
    (folder / "tiles.npz").unlink()
    (folder / "objects.csv").write_text("class,true\nland\n")
    (folder / "reliability.csv").write_bytes(b"\xff\xfe")
    content, notes = written(run)
    assert [note.removeprefix(f"{folder}/") for note in notes] == [
        "objects.csv is damaged and was left out.",
        "reliability.csv is damaged and was left out.",
        "No windows: the evaluation is of an earlier version. Evaluate the run again.",
    ]
    sections = [of["id"] for of in Elements(content).of("section")]
    assert sections[:4] == ["classes", "confusion", "reliability", "training"]


def test_an_evaluation_of_an_earlier_version_has_fewer_numbers(run: Path) -> None:
    file = run / "evaluation/test/scores.json"
    stored = json.loads(file.read_text())
    for name in ("intervals", "calibration", "boundaries", "objects"):
        del stored["network"][name]
    del stored["per_pixel_baseline"]
    file.write_text(json.dumps(stored))
    content, notes = written(run)
    assert notes == []
    assert "There are no intervals: the evaluation is of an earlier version." in content


def test_how_scores_came_about_is_said(run: Path) -> None:
    told = "Intervals: 95 % of 1000 draws of 5 scenes with replacement. "
    told += "Windows of 32 x 32 pixels, without overlap."
    assert told in plain(written(run)[0])
    file = run / "evaluation/test/scores.json"
    stored = json.loads(file.read_text())
    stored["windows"]["shared"], stored["shared_ground"] = 8, 0.035
    stored["adapted"] = "statistics"
    intervals = stored["network"]["intervals"]
    intervals |= {"blocks": 2, "miou": [None, None], "iou": [[None, None]] * 4}
    file.write_text(json.dumps(stored))
    told = "There are no intervals: they need at least 5 scenes, not 2 scenes. "
    told += "Windows of 32 x 32 pixels, neighbours share 8. "
    told += "The network was adapted without labels: batch statistics of the new images. "
    told += "3.5 % of the ground is shown in the training split, too."
    assert told in plain(written(run)[0])


def test_a_map_of_other_classes_is_refused(whole: Path, tmp_path: Path) -> None:
    other = stored_run.write_map(tmp_path / "other.tif", 40, 40, ("a", "b", "c", "d"))
    with pytest.raises(UserError, match=r"a map of the classes a, b, c, d; the run has land"):
        written(whole, scene_map=other)


def test_a_page_has_the_name_of_one_and_a_folder(whole: Path) -> None:
    with pytest.raises(UserError, match=r"ends in \.html"):
        page.write(whole, whole / "page.pdf")
    with pytest.raises(UserError, match="Cannot write"):
        page.write(whole, whole / "nowhere/page.html")
