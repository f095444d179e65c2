"""The command that maps a scene: every flag arrives where it is used."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import pytest

from jaxseg.cli import main as cli
from jaxseg.cli.commands import maps
from jaxseg.config_text import Code
from jaxseg.prediction import Image, Settings, Share
from jaxseg.prediction.archive import SceneFiles
from jaxseg.prediction.polygons import Polygons
from jaxseg.scenes.scene import Window
from jaxseg.scenes.sensor import Sensor

Asked = dict[str, Any]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What the command loads and maps."""
    found: Asked = {"loaded": []}

    def load(run: Path, which: str, *, code: Code) -> Any:
        found["loaded"].append((run, which, [Path(str(part.__file__)).name for part in code]))
        return SimpleNamespace(name=str(run), sensor=Sensor(("red", "nir")))

    class Recorder:
        def __init__(self, runs: list[Any], settings: Settings, mesh: jax.sharding.Mesh) -> None:
            found.update(runs=[r.name for r in runs], settings=settings, mesh=dict(mesh.shape))

        def map(self, scenes: list[SceneFiles], out: Path, preview: Path | None) -> list[Path]:
            found.update(scenes=scenes, out=out, preview=preview)
            return [out] if preview is None else [out, preview]

    def map_each(
        mapper: Recorder, scenes: list[SceneFiles], folder: Path, previews: Path | None
    ) -> list[Path]:
        found.update(scenes=scenes, folder=folder, preview=previews)
        return [folder / f"{scene.name}.tif" for scene in scenes]

    monkeypatch.setattr(maps, "load_run", load)
    monkeypatch.setattr(maps, "Mapper", Recorder)
    monkeypatch.setattr(maps, "map_each", map_each)
    return found


def test_a_map_of_one_file_needs_no_flag(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["predict", "runs/a", "scene.tif", "map.tif"])
    assert asked["loaded"] == [(Path("runs/a"), "best", [])]
    assert asked["scenes"] == [SceneFiles("scene", ("scene.tif",))]
    assert asked["out"] == Path("map.tif")
    assert asked["settings"] == Settings()
    assert asked["mesh"] == {"data": 8, "fsdp": 1, "space": 1}
    said = capsys.readouterr().out.split("\n")
    assert said[0] == "jaxseg: runs/a, scene.tif -> map.tif"
    assert said[1].split() == ["map", "map.tif"]


def test_a_map_is_given_every_flag(asked: Asked, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("")
    flags = [
        *("--layers", "classes", "margin", "--step", "7", "--ensemble", "runs/b", "runs/c"),
        *("--tta", "dihedral", "--window", "1", "2", "30", "40", "--tile", "256"),
        *("--overlap", "64", "--batch", "3", "--shard", "2/5", "--overwrite", "--no-check"),
        *("--mesh.data", "2", "--mesh.space", "4", "--code", str(tmp_path / "own.py")),
        *("--scales", "0.5", "1", "--thresholds", "--context", "32", "--no-seams", "--remote"),
        *("--adapt", "both"),
        *(
            "--resample",
            "--image.band-numbers",
            "3",
            "1",
            "--image.nodata",
            "-9",
            "--image.multiply",
            "0.1",
        ),
    ]
    cli.main(["predict", "runs/a", "vv.tif", "vh.tif", "out/map.tif", *flags])
    runs = [Path("runs/a"), Path("runs/b"), Path("runs/c")]
    assert asked["loaded"] == [(run, "7", ["own.py"]) for run in runs]
    assert asked["runs"] == [str(run) for run in runs]
    assert asked["scenes"] == [SceneFiles("vv", ("vv.tif", "vh.tif"))]
    assert asked["out"] == Path("out/map.tif")
    assert asked["settings"] == Settings(
        layers=("classes", "margin"),
        image=Image(band_numbers=(3, 1), nodata=-9.0, multiply=0.1),
        window=Window(1, 2, 30, 40),
        tile=256,
        overlap=64,
        batch=3,
        augmentation="dihedral",
        share=Share(2, 5),
        overwrite=True,
        check=False,
        scales=(0.5, 1.0),
        thresholds=True,
        adapt="both",
        context=32,
        seams=False,
        remote=True,
        resample=True,
    )
    assert asked["mesh"] == {"data": 2, "fsdp": 1, "space": 4}


def test_a_map_is_given_its_bounds(asked: Asked) -> None:
    cli.main(["predict", "runs/a", "s.tif", "m.tif", "--bounds", "600000", "-20.5", "600100", "9"])
    assert asked["settings"] == Settings(bounds=(600_000.0, -20.5, 600_100.0, 9.0))


def test_a_map_without_a_scene_is_refused(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["predict", "runs/a", "map.tif"])
    assert stopped.value.code == cli.MISTAKE
    assert "scene.tif map.tif" in " ".join(capsys.readouterr().err.split())
    assert asked == {"loaded": []}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Names of two scenes."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.tif").touch()
    return tmp_path


def test_a_map_is_given_its_preview(
    asked: Asked, archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["predict", "runs/a", "scene.tif", "map.tif", "--preview", "map.png"])
    assert asked["preview"] == Path("map.png")
    assert ["preview", "map.png"] in [line.split() for line in capsys.readouterr().out.split("\n")]
    cli.main(["predict", "runs/a", str(archive), "maps", "--preview", "pictures"])
    assert asked["preview"] == Path("pictures")


@pytest.mark.parametrize("last", ["maps", "maps/"])
def test_scenes_and_a_folder_are_a_map_each(asked: Asked, archive: Path, last: str) -> None:
    cli.main(["predict", "runs/a", str(archive), last])
    assert [scene.name for scene in asked["scenes"]] == ["a", "b"]
    assert asked["folder"] == Path("maps")
    cli.main(["predict", "runs/a", str(archive / "a.tif"), str(archive / "b.tif"), last])
    assert [scene.name for scene in asked["scenes"]] == ["a", "b"]


def test_a_mosaic_is_one_map_of_many_scenes(asked: Asked, archive: Path) -> None:
    cli.main(["predict", "runs/a", str(archive), "map.tif", "--mosaic"])
    assert [scene.name for scene in asked["scenes"]] == ["a", "b"]
    assert asked["out"] == Path("map.tif")


def test_many_scenes_and_one_map_are_refused(
    asked: Asked, archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["predict", "runs/a", str(archive), "map.tif"])
    assert "--mosaic to put them together" in " ".join(capsys.readouterr().err.split())
    assert "out" not in asked


def test_finishing_is_asked_for(asked: Asked) -> None:
    cli.main(["predict", "runs/a", "s.tif", "m.tif", "--finish"])
    assert asked["settings"] == Settings(finish=True)


def test_polygons_are_made_of_the_map(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[Any] = []

    def polygonise(path: Path, out: Path, settings: Polygons) -> dict[str, int]:
        made.append((path, out, settings))
        return {"house": 3}

    monkeypatch.setattr(maps, "polygonise", polygonise)
    out = tmp_path / "houses.gpkg"
    flags = ["--polygons", str(out), "--polygon.classes", "house", "--polygon.simplify", "1"]
    cli.main(["predict", "runs/a", "s.tif", "m.tif", *flags])
    assert made == [(Path("m.tif"), out, Polygons(classes=("house",), simplify=1.0))]


@pytest.mark.parametrize("last", [("maps",), ("m.tif", "--layers", "margin")])
def test_polygons_need_one_map_of_classes(
    asked: Asked, tmp_path: Path, capsys: pytest.CaptureFixture[str], last: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["predict", "runs/a", "s.tif", *last, "--polygons", str(tmp_path / "a.gpkg")])
    assert "needs one map of classes" in " ".join(capsys.readouterr().err.split())
    assert asked == {"loaded": []}
