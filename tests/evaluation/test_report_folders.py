"""Where the files of an assessment lie: in a folder for each split, data and overlap of windows."""

import dataclasses
import json
from pathlib import Path

import pytest
from fixtures.assessed import borders_of, found, undrawn
from fixtures.recorded_tracker import Recorded

from jaxseg.evaluation import report, tracked
from jaxseg.evaluation.evaluate import Assessment
from jaxseg.metrics.objects import ObjectTotal
from jaxseg.run.trackers import watched
from jaxseg.scenes.cover import Cover

__all__ = ["found", "undrawn"]  # fixtures


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
