"""The command that maps a scene: every flag arrives where it is used."""

from pathlib import Path
from typing import Any

import jax
import pytest

from jaxseg.cli import commands
from jaxseg.cli import main as cli
from jaxseg.config_text import Code
from jaxseg.prediction import Image, Settings, Share
from jaxseg.prediction import predict as mapping
from jaxseg.scenes.scene import Window

Asked = dict[str, Any]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What the command loads and predicts."""
    found: Asked = {"loaded": []}

    def load(run: Path, which: str, *, code: Code) -> str:
        found["loaded"].append((run, which, [Path(str(part.__file__)).name for part in code]))
        return f"the run {run}"

    def predict(
        runs: list[str], paths: list[str], out: Path, settings: Settings, *, mesh: jax.sharding.Mesh
    ) -> list[Path]:
        found.update(runs=runs, paths=paths, out=out, settings=settings, mesh=dict(mesh.shape))
        return [out]

    monkeypatch.setattr(commands, "load_run", load)
    monkeypatch.setattr(mapping, "predict", predict)
    return found


def test_a_map_of_one_file_needs_no_flag(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["predict", "runs/a", "scene.tif", "map.tif"])
    assert asked["loaded"] == [(Path("runs/a"), "best", [])]
    assert (asked["paths"], asked["out"]) == (["scene.tif"], Path("map.tif"))
    assert asked["settings"] == Settings()
    assert asked["mesh"] == {"data": 8, "fsdp": 1, "space": 1}
    said = capsys.readouterr().out.split("\n")
    assert said[0] == "jaxseg: runs/a, scene.tif -> map.tif"
    assert said[1].split() == ["written", "map.tif"]


def test_a_map_is_given_every_flag(asked: Asked, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("")
    flags = [
        *("--layers", "classes", "margin", "--step", "7", "--ensemble", "runs/b", "runs/c"),
        *("--tta", "dihedral", "--window", "1", "2", "30", "40", "--tile", "256"),
        *("--overlap", "64", "--batch", "3", "--shard", "2/5", "--overwrite", "--no-check"),
        *("--mesh.data", "2", "--mesh.space", "4", "--code", str(tmp_path / "own.py")),
        *("--image.band-numbers", "3", "1", "--image.nodata", "-9", "--image.multiply", "0.1"),
    ]
    cli.main(["predict", "runs/a", "vv.tif", "vh.tif", "out/map.tif", *flags])
    runs = [Path("runs/a"), Path("runs/b"), Path("runs/c")]
    assert asked["loaded"] == [(run, "7", ["own.py"]) for run in runs]
    assert asked["runs"] == [f"the run {run}" for run in runs]
    assert (asked["paths"], asked["out"]) == (["vv.tif", "vh.tif"], Path("out/map.tif"))
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
