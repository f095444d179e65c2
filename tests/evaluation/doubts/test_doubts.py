"""Which labels `jaxseg doubts` doubts, where it says they are, and what is done with it."""

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from fixtures import painted
from fixtures.vector_files import UTM, features
from numpy.typing import NDArray

from jaxseg import sharding
from jaxseg.cli import commands
from jaxseg.config import Config
from jaxseg.datasets import Folder, HeldOut, WithoutDoubts
from jaxseg.errors import UserError
from jaxseg.evaluation.doubts.find import find
from jaxseg.evaluation.doubts.maps import place_of
from jaxseg.evaluation.doubts.passes import Doubts, Region, SceneDoubts, numbered, regions_of
from jaxseg.metrics.confident_learning import UNDOUBTED
from jaxseg.run import checkpoint
from jaxseg.run.evaluator import Evaluator
from jaxseg.run.step import init_state
from jaxseg.scenes.scene import IGNORE, Source, Window
from jaxseg.sharding import MeshShape

RUN = Path("runs/painted")


def opened(monkeypatch: pytest.MonkeyPatch, source: Source | None = None) -> Config:
    """The painted run is there to be opened; its config."""
    config = painted.config()
    if source is not None:
        data = dataclasses.replace(config.data, source=source)
        config = dataclasses.replace(config, data=data)
    mesh = sharding.make_mesh(MeshShape())
    state = init_state(config, 2, mesh)
    monkeypatch.setattr(checkpoint, "reopen", lambda *_: (config, state))
    return config


def folder_of_files(place: Path, **fields: Any) -> Folder:
    """The painted test scenes as files: image A and mask of A."""
    for number, scene in enumerate(painted.Painted().scenes("test").arrays):
        form = {"height": scene["label"].shape[0], "width": scene["label"].shape[1], **UTM}
        for name, bands in (("images", scene["image"]), ("masks", scene["label"][..., None])):
            (place / name).mkdir(parents=True, exist_ok=True)
            kind = {"count": bands.shape[-1], "dtype": bands.dtype}
            with rasterio.open(
                place / name / f"s{number}.tif", "w", "GTiff", **form, **kind
            ) as file:
                file.write(np.moveaxis(bands, -1, 0))
    return Folder(
        images=str(place / "images"),
        masks=str(place / "masks"),
        classes=painted.CLASSES,
        ignore_ids=(IGNORE,),
        **{"fractions": (0.0, 0.0, 1.0)} | fields,
    )


def band(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as file:
        return np.asarray(file.read(1))


def test_a_region_is_connected_pixels_of_one_label() -> None:
    label = np.array([[0, 0, 0, 1], [0, 2, 0, 1], [0, 0, 0, 1]], np.uint8)
    suggested = np.array([[1, 1, 255, 0], [1, 0, 255, 255], [2, 255, 255, 255]], np.uint8)
    doubt = np.where(suggested == UNDOUBTED, 0, 254).astype(np.uint8)
    doubt[2, 0] = 127
    found = regions_of(SceneDoubts(5, label, suggested, doubt))
    first, second, third = sorted(found, key=lambda region: region.label)
    assert first == Region(5, first.number, 1, 0, 4, 0, 1, 3.5 / 4, Window(0, 0, 3, 2))
    assert (second.label, second.suggested, second.box) == (1, 0, Window(0, 3, 1, 1))
    assert (third.label, third.suggested, third.pixels) == (2, 0, 1)
    whole = SceneDoubts(5, label, suggested, doubt)
    assert regions_of(whole, smallest=2) == [first]
    np.testing.assert_array_equal(numbered(whole) == first.number, (label == 0) & (suggested < 9))
    nothing = np.full_like(suggested, UNDOUBTED)
    assert regions_of(SceneDoubts(5, label, nothing, doubt)) == []


@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_scenes_are_put_together_from_windows(overlap: float) -> None:
    config, mesh = painted.config(), sharding.make_mesh(MeshShape())
    evaluator = Evaluator(config, mesh, "test", overlap=overlap)
    doubts = Doubts(config, mesh, evaluator, init_state(config, 2, mesh))
    scenes = painted.Painted().scenes("test").arrays
    for found, scene in zip(doubts.scenes(), scenes, strict=True):
        counted = scene["valid"] & (scene["label"] != IGNORE)
        answer = scene["image"][..., 0].astype(np.uint8)
        np.testing.assert_array_equal(found.label, np.where(counted, scene["label"], IGNORE))
        wrong = counted & (answer != scene["label"])
        np.testing.assert_array_equal(found.suggested, np.where(wrong, answer, UNDOUBTED))
        assert (found.doubt[wrong] > 127).all()
        assert (found.doubt[counted & ~wrong] < 127).all()
        assert (found.doubt[~counted] == 255).all()
    every = sum((scene["valid"] & (scene["label"] != IGNORE)).sum() for scene in scenes)
    assert doubts.count.sum() == every
    assert doubts.joint.sum() == pytest.approx(1)
    assert 1 - np.trace(doubts.joint) == pytest.approx(0.3, abs=0.08)  # as many are painted over


def test_maps_and_table_say_where_on_the_ground_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folder_of_files(tmp_path)
    opened(monkeypatch, source)
    out = tmp_path / "out"
    found = find(RUN, "test", out, smallest=2)
    scene = painted.Painted().scenes("test").arrays[0]
    with rasterio.open(out / "maps" / "s0.tif") as file:
        assert (file.crs, file.transform) == (rasterio.CRS.from_epsg(32632), UTM["transform"])
        assert file.nodata == UNDOUBTED
        suggested = file.read(1)
    assert (band(out / "maps" / "s0_doubt.tif") == 255).sum() == (scene["label"] == IGNORE).sum()
    with rasterio.open(out / "maps" / "s0_doubt.tif") as file:
        assert file.scales == pytest.approx((1 / 254,))
    counted = scene["label"] != IGNORE  # the files have no nodata
    answer = scene["image"][..., 0].astype(np.uint8)
    wrong = counted & (answer != scene["label"])
    np.testing.assert_array_equal(suggested, np.where(wrong, answer, UNDOUBTED))
    with (out / "doubts.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == len(found.regions)
    assert all(int(row["pixels"]) >= 2 for row in rows)
    doubts = [float(row["doubt"]) for row in rows]
    assert doubts == sorted(doubts, reverse=True)
    row = next(row for row in rows if row["map"] == "maps/s0.tif")
    assert float(row["x"]) == 600_000 + 10 * (int(row["column"]) + 0.5)
    assert float(row["y"]) == 5_300_000 - 10 * (int(row["row"]) + 0.5)
    assert row["suggested"] == painted.CLASSES[answer[int(row["row"]), int(row["column"])]]
    assert (out / "doubts.png").stat().st_size > 10_000
    stored = json.loads((out / "doubts.json").read_text())
    assert sorted(stored["scenes"].values()) == ["maps/s0.tif", "maps/s1.tif"]


def test_polygons_of_the_regions_lie_on_the_scene(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(monkeypatch, folder_of_files(tmp_path))
    out = tmp_path / "out"
    found = find(RUN, "test", out, smallest=3, polygons=True)
    own = sorted((r.pixels for r in found.regions if r.scene == 0), reverse=True)
    shapes, fields = features(out / "maps" / "s0.gpkg")
    assert sorted(fields["pixels"], reverse=True) == own
    assert fields["area_m2"] == pytest.approx([100 * pixels for pixels in fields["pixels"]])
    suggested = band(out / "maps" / "s0.tif")
    for shape, name in zip(shapes, fields["suggested"], strict=True):
        inside = shape.representative_point()
        row, column = int((5_300_000 - inside.y) // 10), int((inside.x - 600_000) // 10)
        assert suggested[row, column] != UNDOUBTED
        assert name in painted.CLASSES


def test_a_scene_that_is_a_part_of_a_file_lies_where_that_part_does(tmp_path: Path) -> None:
    source = folder_of_files(
        tmp_path, split_by="blocks", block=4, guard=0, fractions=(0.4, 0.2, 0.4)
    )
    scenes = source.scenes("test")
    for index in range(len(scenes)):
        place = place_of(scenes, index)
        area = scenes.extent(index).area  # type: ignore[attr-defined]
        assert (place.row, place.column) == (area.y, area.x)
        assert place.transform @ (0, 0) == UTM["transform"] @ (area.x, area.y)
    assert len({place_of(scenes, index).transform for index in range(len(scenes))}) > 1


def test_the_terminal_shows_the_first_regions_in_80_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened(monkeypatch)
    own = ["runs/painted", "--out", str(tmp_path / "doubts"), "--smallest", "2", "--top", "4"]
    commands.doubts(own)
    shown = capsys.readouterr().out
    assert "runs/painted, test split: 364 labelled pixels" in shown
    assert "4 of " in shown
    assert "was trained on these labels" not in shown
    assert (tmp_path / "doubts" / "test" / "doubts.csv").is_file()
    commands.doubts([*own, "--split", "train"])
    shown += (seen := capsys.readouterr().out)
    assert "was trained on these labels" in seen
    paths = ("Table, picture and maps", str(tmp_path))
    lines = [line for line in shown.splitlines() if not line.startswith(paths)]
    assert max(map(len, lines)) <= 80
    assert (tmp_path / "doubts" / "train" / "maps" / "split_0_scene_1.tif").is_file()


def test_a_folder_of_something_else_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(monkeypatch)
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="is not a folder of doubts"):
        find(RUN, "test", tmp_path)
    assert (tmp_path / "thesis.tex").is_file()


def test_scenes_that_were_held_out_are_looked_at_by_the_run_that_did_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = HeldOut(painted.Painted(), part=1)
    opened(monkeypatch, source)
    found = find(RUN, "held-out", tmp_path / "out", smallest=1)
    assert found.scenes == ("split 0 scene 1",)
    assert found.notes == ()
    with pytest.raises(UserError, match="has not been trained on"):
        find(RUN, "held-out", tmp_path / "other", source=HeldOut(painted.Painted(), part=0))


@dataclasses.dataclass(frozen=True)
class Misread(painted.Painted):
    """The network answers another class than the label everywhere."""

    def scenes(self, split: str) -> painted.PaintedScenes:
        """Those of `Painted` with other answers."""
        found = super().scenes(split)
        for scene in found.arrays:
            scene["image"][..., 0] = (scene["label"] + 1) % len(painted.CLASSES)
        return found


def test_where_most_labels_are_doubted_the_network_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(monkeypatch, Misread())
    assert "the network is wrong" in find(RUN, "test", tmp_path).notes[0]


def test_training_goes_on_without_doubted_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = []
    for part in (0, 1):
        opened(monkeypatch, HeldOut(painted.Painted(), part=part))
        find(RUN, "held-out", tmp_path / f"half{part}")
        folders.append(str(tmp_path / f"half{part}"))
    scenes = WithoutDoubts(painted.Painted(), folders=tuple(folders)).scenes("train")
    for index, scene in enumerate(painted.Painted().scenes("train").arrays):
        label = scenes.read(index, Window(1, 2, 7, 8))["label"]
        given, answer = scene["label"][1:8, 2:10], scene["image"][1:8, 2:10, 0]
        doubted = scene["valid"][1:8, 2:10] & (given != answer)
        np.testing.assert_array_equal(label, np.where(doubted, IGNORE, given))
    with pytest.raises(UserError, match="no map of the training scene split 0 scene 1"):
        WithoutDoubts(painted.Painted(), folders=(folders[0],)).scenes("train")
    with pytest.raises(UserError, match="is not a folder of `jaxseg doubts`"):
        WithoutDoubts(painted.Painted(), folders=(str(tmp_path),)).scenes("train")
    elsewhere = {"scenes": {"split 0 scene 0": "../map.tif", "split 0 scene 1": "../map.tif"}}
    (tmp_path / "doubts.json").write_text(json.dumps(elsewhere))
    with pytest.raises(UserError, match="names a map outside of its folder"):
        WithoutDoubts(painted.Painted(), folders=(str(tmp_path),)).scenes("train")
    other = painted.Painted(sizes=((20, 12), (9, 15)))
    with pytest.raises(UserError, match="run `jaxseg doubts` again"):
        WithoutDoubts(other, folders=tuple(folders)).scenes("train")
