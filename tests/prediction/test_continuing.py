"""A map that was begun is continued only if all that it depends on is as it was."""

import dataclasses
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from fixtures import painted
from fixtures.damages import damage

from jaxseg.errors import UserError
from jaxseg.models.receptive_field import Sight
from jaxseg.prediction import Image, Settings, Share
from jaxseg.prediction import predict as mapping
from jaxseg.prediction.work import Plan, Work
from jaxseg.run.loaded import Run
from jaxseg.scenes.scene import Window
from jaxseg.scenes.sensor import Sensor

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

BOTH = ("classes", "margin")


def run(sure: float = 3.0, **changes: Any) -> Run:
    """Answers the number in band `answer`."""
    config = dataclasses.replace(painted.config(), sensor=Sensor(("answer", "class")))
    fields: Any = {"step": 7, "temperature": 1.0, "thresholds": (0.3, 0.3, 0.4)} | changes
    return Run(config, variables={"params": {"sure": np.float32(sure)}}, **fields)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """Two blocks of a map, one below the other."""
    path = tmp_path / "scene.tif"
    with rasterio.open(path, "w", "GTiff", 40, 600, 2, dtype="uint8") as file:
        file.write(np.random.default_rng(0).integers(0, 3, (2, 600, 40), np.uint8))
    return path


def mapped(given: Run, scene: Path, part: int, **fields: Any) -> list[Path]:
    settings = Settings(tile=512, overlap=0, share=Share(part, 2), **fields)
    return mapping.predict([given], [str(scene)], scene.with_name("map.tif"), settings)


@pytest.mark.parametrize(
    ("other", "fields", "changed"),
    [
        (run(sure=3.5), {}, "runs"),
        (run(step=8), {}, "runs"),
        (run(temperature=1.5), {}, "runs"),
        (run(), {"window": Window(0, 0, 600, 39)}, "window"),
        (run(), {"layers": BOTH}, "layers"),
        (run(), {"scales": (1.0, 2.0)}, "scales"),
        (run(), {"thresholds": True}, "thresholds"),
        (run(), {"image": Image(multiply=2.0)}, "image"),
    ],
    ids=["weights", "step", "temperature", "window", "layers", "scales", "thresholds", "reading"],
)
def test_a_map_of_another_network_or_another_part_is_not_continued(
    scene: Path, other: Run, fields: dict[str, Any], changed: str
) -> None:
    assert mapped(run(), scene, 1) == []
    with pytest.raises(UserError, match=rf"begun with other settings \(.*\b{changed}\b.*\)"):
        mapped(other, scene, 2, check=False, **fields)


def test_a_scene_that_was_written_again_is_another_scene(scene: Path) -> None:
    assert mapped(run(), scene, 1) == []
    status = scene.stat()
    os.utime(scene, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    with pytest.raises(UserError, match=r"begun with other settings \(scene\)"):
        mapped(run(), scene, 2)


@pytest.mark.parametrize("kind", ["flip", "truncate", "folder"])
def test_a_block_that_was_damaged_is_made_again(
    scene: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mapped(run(), scene, 2) == []
    (block,) = scene.with_name("map.tif.part").glob("classes_*.tif")
    damage(random.Random(kind), block, kind)
    assert mapped(run(), scene, 1) == []  # the block of the other process is missing again
    assert "damaged    1 files in" in capsys.readouterr().out
    mapped(run(), scene, 2)
    mapped(run(), scene, 1)
    with rasterio.open(scene) as given, rasterio.open(scene.with_name("map.tif")) as made:
        np.testing.assert_array_equal(made.read(1), given.read(1))


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff\xfe", b'{"version": '])
def test_a_map_that_nobody_can_name_is_begun_again(scene: Path, content: bytes) -> None:
    assert mapped(run(), scene, 1) == []
    (scene.with_name("map.tif.part") / "job.json").write_bytes(content)
    with pytest.raises(UserError, match=r"job\.json is damaged: .* --overwrite begins it again"):
        mapped(run(), scene, 2)
    assert mapped(run(), scene, 2, overwrite=True) == []


def test_a_note_that_was_damaged_is_found_again(tmp_path: Path) -> None:
    work = Work(tmp_path / "map.tif", Plan(Window(0, 0, 600, 40), 512), BOTH, {"version": "1"})
    assert work.noted("seams.txt", lambda: "0.1") == "0.1"
    assert work.noted("seams.txt", lambda: pytest.fail("it is known")) == "0.1"
    file = work.folder / "seams.txt"
    for content in (b"", b"\xff", file.read_bytes().replace(b"0.1", b"0.7")):
        file.write_bytes(content)
        assert work.noted("seams.txt", lambda: "0.1") == "0.1"
    file.unlink()
    file.mkdir()
    assert work.noted("seams.txt", lambda: "0.1") == "0.1"


def test_a_map_is_whole_when_its_last_part_is(scene: Path) -> None:
    assert mapped(run(), scene, 2) == []
    assert [path.name for path in mapped(run(), scene, 1)] == ["map.tif"]
    with rasterio.open(scene) as given, rasterio.open(scene.with_name("map.tif")) as made:
        np.testing.assert_array_equal(made.read(1), given.read(1))


def test_a_block_is_done_when_all_of_its_layers_are(tmp_path: Path) -> None:
    work = Work(tmp_path / "map.tif", Plan(Window(0, 0, 600, 40), 512), BOTH, {"version": "1"})
    pixels = np.zeros((512, 40, 1), np.uint8)
    work.write(0, 0, {"classes": pixels})
    assert work.missing() == [(0, 0), (1, 0)]
    work.write(0, 0, {"margin": pixels})
    assert work.missing() == [(1, 0)]


@pytest.mark.parametrize(
    ("where", "moment", "call"),
    [
        (Work, "write", 1),
        (Work, "write", 2),
        (Work, "missing", 1),
        (mapping, "assemble", 1),
        (Work, "remove", 1),
    ],
    ids=lambda part: getattr(part, "__name__", str(part)),
)
def test_a_map_that_another_process_finishes_first_is_finished(
    scene: Path, monkeypatch: pytest.MonkeyPatch, where: Any, moment: str, call: int
) -> None:
    settings = Settings(tile=512, overlap=0)
    out, own, seen = scene.with_name("map.tif"), getattr(where, moment), 0

    def other_first(*args: Any, **fields: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == call:
            monkeypatch.setattr(where, moment, own)
            mapping.predict([run()], [str(scene)], out, settings)
        return own(*args, **fields)

    monkeypatch.setattr(where, moment, other_first)
    assert mapping.predict([run()], [str(scene)], out, settings) == [out]
    assert seen == call
    assert sorted(path.name for path in scene.parent.iterdir()) == [
        "map.tif",
        "map.tif.aux.xml",
        "scene.tif",
    ]
    with rasterio.open(scene) as given, rasterio.open(out) as made:
        np.testing.assert_array_equal(made.read(1), given.read(1))


def test_a_process_whose_map_is_being_replaced_writes_nothing_into_the_new_one(
    tmp_path: Path,
) -> None:
    out, plan = tmp_path / "map.tif", Plan(Window(0, 0, 600, 40), 512)
    old = Work(out, plan, ("classes",), {"runs": "old"})
    new = Work(out, plan, ("classes",), {"runs": "new"}, again=True)
    old.write(0, 0, {"classes": np.zeros((512, 40, 1), np.uint8)})
    assert new.missing() == [(0, 0), (1, 0)]


def test_what_is_found_once_is_not_found_again_and_cannot_be_lost_in_silence(
    tmp_path: Path,
) -> None:
    work = Work(tmp_path / "map.tif", Plan(Window(0, 0, 600, 40), 512), BOTH, {"version": "1"})
    assert work.noted("seams.txt", lambda: "first") == "first"
    assert work.noted("seams.txt", lambda: "second") == "first"
    work.remove()
    with pytest.raises(UserError, match=r"Cannot write to .*map.tif.part: No such file"):
        work.noted("seams.txt", lambda: "third")


@pytest.mark.parametrize("parts", [1, 2, 5, 16])
def test_parts_of_the_work_are_all_blocks_once(parts: int) -> None:
    plan = Plan(Window(7, 9, 1100, 1333), 512)
    every = plan.blocks()
    shares = [
        [every[place] for place in Share(part, parts).of(len(every))]
        for part in range(1, parts + 1)
    ]
    blocks = [block for share in shares for block in share]
    assert len(blocks) == len(set(blocks)) == 9
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    seen = np.zeros((1100, 1333), int)
    for y, x, height, width in (plan.place(*block) for block in blocks):
        seen[y : y + height, x : x + width] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize(
    ("sights", "strides", "together"),
    [
        ((Sight(1, 0), Sight(141, 70)), (1, 16), (Sight(141, 70), 16)),
        ((Sight(141, 70), Sight(1, 0)), (16, 1), (Sight(141, 70), 16)),
        ((Sight(31, 12), Sight(21, 14)), (2, 3), (Sight(31, 14), 6)),
        ((Sight(31, 15), None), (8, 32), (None, 32)),
    ],
)
def test_tiles_of_an_ensemble_see_as_far_as_its_farthest_network(
    monkeypatch: pytest.MonkeyPatch,
    sights: tuple[Sight, Sight | None],
    strides: tuple[int, int],
    together: tuple[Sight | None, int],
) -> None:
    models = [painted.Told(num_classes=number) for number in (3, 4)]
    runs = [
        dataclasses.replace(run(), config=dataclasses.replace(run().config, model=model))
        for model in models
    ]
    known = dict(zip(models, zip(sights, strides, strict=True), strict=True))
    monkeypatch.setattr(mapping, "output_stride", lambda model: known[model][1])
    monkeypatch.setattr(mapping, "sight", lambda model, _: known[model][0])
    assert mapping._reach(runs, (1.0, 2.0)) == together
    farthest = None if together[0] is None else Sight(*(2 * rows for rows in together[0]))
    assert mapping._reach(runs, (0.5, 1.0)) == (farthest, together[1])
