"""A picture of a finished map."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures import painted
from fixtures.mapped import answering_run, answers, mapper, write
from PIL import Image as Pictures

from jaxseg.errors import UserError
from jaxseg.pictures import map_sheet
from jaxseg.pictures.tiles import stretch
from jaxseg.prediction import Image, Settings, preview
from jaxseg.prediction.archive import SceneFiles
from jaxseg.prediction.many import map_each
from jaxseg.prediction.opening import open_scene
from jaxseg.scenes.scene import Window

BOTH = Settings(layers=("classes", "confidence"))


def files(path: Path, height: int = 60, width: int = 90, seed: int = 0) -> SceneFiles:
    image = answers(height, width, seed)
    image[:, :8] = -1
    return SceneFiles(path.stem, (write(path, image, nodata=-1),))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What pictures are made of, which are not drawn."""
    found: list[Any] = []

    class Undrawn:
        def savefig(self, path: Path, **_: object) -> None:
            path.write_bytes(b"")

    def figure(*parts: Any) -> Undrawn:
        found.append(parts)
        return Undrawn()

    monkeypatch.setattr(preview, "map_figure", figure)
    return found


def test_a_preview_is_a_picture_of_scene_map_and_confidence(tmp_path: Path) -> None:
    picture = tmp_path / "map.png"
    made = mapper(answering_run(), BOTH).map(
        [files(tmp_path / "s.tif")], tmp_path / "map.tif", picture
    )
    assert made == [tmp_path / "map.tif", tmp_path / "map_confidence.tif", picture]
    with Pictures.open(picture) as found:
        assert found.size[0] == round(map_sheet.WIDTH * map_sheet.DPI)
        pixels = np.asarray(found.convert("RGB")).reshape(-1, 3)
    for color in painted.COLORS[:2]:
        assert (pixels == color).all(-1).sum() > 500


def test_the_preview_shows_the_part_that_was_mapped(tmp_path: Path, drawn: list[Any]) -> None:
    part = Window(4, 10, 40, 50)
    scene = files(tmp_path / "s.tif")
    mapper(answering_run(), dataclasses.replace(BOTH, window=part)).map(
        [scene], tmp_path / "map.tif", tmp_path / "a.png"
    )
    picture, found, sure, colors, classes, title = drawn[0]
    image = answers(60, 90)[0, 4:44, 10:60].astype(np.float32)
    valid = np.ones(image.shape, bool)
    valid[:4] = False
    np.testing.assert_array_equal(picture, stretch(np.stack([image] * 3, -1), valid))
    np.testing.assert_array_equal(found.valid, valid)
    np.testing.assert_array_equal(found.ids[valid], image[valid])
    assert 0.5 < sure[valid].min() <= sure[valid].max() <= 1
    assert (colors, classes) == (painted.COLORS, painted.CLASSES)
    assert title == "map.tif, a map of s.tif"


def test_a_map_that_is_there_gets_its_preview(tmp_path: Path, drawn: list[Any]) -> None:
    scene, out = files(tmp_path / "s.tif"), tmp_path / "map.tif"
    assert mapper(answering_run()).map([scene], out) == [out]
    written = out.stat().st_mtime_ns
    assert mapper(answering_run()).map([scene], out, tmp_path / "a.png") == [
        out,
        tmp_path / "a.png",
    ]
    assert out.stat().st_mtime_ns == written
    assert drawn[0][2] is None  # no confidence was written


def test_a_large_scene_is_read_in_strips_of_fewer_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = answering_run()
    scene = open_scene(
        files(tmp_path / "s.tif", 640, 400).paths, painted.Painted(), run.sensor, Image()
    )
    asked: list[tuple[int, int]] = []
    read = type(scene).read

    def reading(self: Any, window: Window, shape: tuple[int, int]) -> Any:
        asked.append(shape)
        return read(self, window, shape)

    monkeypatch.setattr(type(scene), "read", reading)
    monkeypatch.setattr(preview, "STRIP", 7)
    window = Window(0, 0, 640, 400)
    found = preview.scene_picture(scene, window, painted.Painted(), (80, 50))
    assert max(asked) == (14, 100)
    # A block of 8 pixels is one of the picture, whatever strips are read.
    image, valid = answers(640, 400)[0, 4::8, 4::8], np.ones((80, 50), bool)
    valid[0] = False
    expected = stretch(np.stack([image] * 3, -1).astype(np.float32), valid)
    np.testing.assert_array_equal(found, expected)


def test_bands_are_shown_by_their_names_if_the_files_of_the_training_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise UserError("there is no such folder")

    scene = open_scene(
        files(tmp_path / "s.tif").paths, painted.Painted(), answering_run().sensor, Image()
    )
    window, shape = Window(0, 0, 60, 90), (60, 90)
    before = preview.scene_picture(scene, window, painted.Painted(), shape)
    monkeypatch.setattr(painted.Painted, "rgb", gone)
    after = preview.scene_picture(scene, window, painted.Painted(), shape)
    np.testing.assert_array_equal(before, after)


def test_every_map_of_a_folder_has_its_preview(tmp_path: Path, drawn: list[Any]) -> None:
    scenes = [files(tmp_path / f"{name}.tif", seed=seed) for seed, name in enumerate("ab")]
    made = map_each(mapper(answering_run()), scenes, tmp_path / "maps", tmp_path / "pictures")
    assert [file.relative_to(tmp_path).as_posix() for file in made] == [
        *("maps/a.tif", "pictures/a.png"),
        *("maps/b.tif", "pictures/b.png"),
    ]
    assert len(drawn) == 2


@pytest.mark.parametrize(
    ("picture", "settings", "said"),
    [
        ("map.jpg", BOTH, r"ends in \.png"),
        ("nowhere/map.png", BOTH, "does not exist"),
        ("map.png", Settings(layers=("confidence",)), "--preview shows classes"),
    ],
)
def test_a_preview_that_cannot_be_is_refused_before_anything_is_computed(
    tmp_path: Path, picture: str, settings: Settings, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        mapper(answering_run(), settings).map(
            [files(tmp_path / "s.tif")], tmp_path / "map.tif", tmp_path / picture
        )
    assert {file.name for file in tmp_path.iterdir()} == {"s.tif"}
