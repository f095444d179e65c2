"""The command line: a user's mistake is one short message without a traceback."""

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from fixtures import painted
from fixtures.mistakes import mistake
from fixtures.small_network import Small
from PIL import Image
from rich.console import Console
from safetensors import safe_open

from jaxseg import config as configs
from jaxseg import sharding
from jaxseg.cli import commands
from jaxseg.cli import main as cli
from jaxseg.cli.commands import frame
from jaxseg.config import Config
from jaxseg.config_text import Code
from jaxseg.evaluation import evaluate as assessment
from jaxseg.evaluation import report, terminal
from jaxseg.metrics.boundaries import BoundaryTotal, Tolerance
from jaxseg.metrics.objects import ObjectTotal
from jaxseg.metrics.warping import WarpingError
from jaxseg.models.unet import UNet
from jaxseg.optimizer import Optimizer
from jaxseg.run import checkpoint, step, training
from jaxseg.sharding import MeshShape
from jaxseg.weights import pretrained


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the tiny folder, to be damaged."""
    shutil.copytree(tiny, tmp_path / "copy", ignore=shutil.ignore_patterns("cache"))
    config = tmp_path / "copy" / "config.py"
    config.write_text(config.read_text().replace(str(tiny), str(tmp_path / "copy")))
    return tmp_path / "copy"


def train(folder: Path, *flags: str) -> list[str]:
    return [
        *("train", "--config", str(folder / "config.py"), "--workdir", str(folder / "run"), *flags)
    ]


def test_a_missing_config(capsys: pytest.CaptureFixture[str]) -> None:
    said = mistake(capsys, ["train", "--config", "configs/deeplap.py"])
    assert "configs/deeplap.py does not exist" in said


def test_a_config_that_fails(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text("import jaxseg\n\nnumber = 1 / 0\n")
    said = mistake(capsys, ["train", "--config", str(tmp_path / "config.py")])
    assert "line 3: ZeroDivisionError" in said


def test_a_wrong_flag(capsys: pytest.CaptureFixture[str], copy: Path) -> None:
    said = mistake(capsys, train(copy, "--config.optimizer.learning-rat", "1"))
    assert "--config.optimizer.learning-rate" in said


def test_an_unreadable_image(capsys: pytest.CaptureFixture[str], copy: Path) -> None:
    image = copy / "images" / "scene1.png"
    os.truncate(image, image.stat().st_size // 3)
    said = mistake(capsys, train(copy))
    assert f"Cannot read {image}" in said


def test_a_missing_mask(capsys: pytest.CaptureFixture[str], copy: Path) -> None:
    (copy / "masks" / "scene1.png").unlink()
    said = mistake(capsys, train(copy))
    assert "scene1" in said


def test_a_mask_value_that_is_no_class(capsys: pytest.CaptureFixture[str], copy: Path) -> None:
    mask = np.array(Image.open(copy / "masks" / "scene1.png"))
    mask[:] = 17
    Image.fromarray(mask).save(copy / "masks" / "scene1.png")
    said = mistake(capsys, train(copy))
    assert "value 17 is not a class" in said
    assert "scene1.png" in said


def test_an_image_smaller_than_the_crop(capsys: pytest.CaptureFixture[str], copy: Path) -> None:
    said = mistake(capsys, train(copy, "--config.data.crop", "64"))
    assert "48 x 72 pixels, smaller than the crop of 64" in said


@pytest.mark.parametrize("name", ["crop", "batch-size", "threads"])
def test_a_size_of_nothing(capsys: pytest.CaptureFixture[str], copy: Path, name: str) -> None:
    said = mistake(capsys, train(copy, f"--config.data.{name}", "0"))
    assert f"--config.data.{name} is 0" in said


def test_a_run_that_is_none(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "is not a run" in mistake(capsys, ["evaluate", str(tmp_path)])


def test_an_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert "jaxseg evaluate RUN" in mistake(capsys, ["segment"])


def test_help_shows_every_field_with_its_meaning(
    capsys: pytest.CaptureFixture[str], copy: Path
) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["train", "--config", str(copy / "config.py"), "--help"])
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    for flag in ("model.features", "data.source.mask-colors", "loss.edge.sigma", "augment.1.high"):
        assert f"--config.{flag}" in said
    assert "Width of the border term in pixels" in said
    lines = [line for line in said.splitlines() if str(copy) not in line]
    assert max(map(len, lines)) <= 100


def test_the_border_weights_are_drawn(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--split", "test", "--count", "2", "--config.data.evaluation-crop", "40"]
    cli.main(["border", str(tiny / "config.py"), str(tmp_path / "weights.png"), *flags])
    with Image.open(tmp_path / "weights.png") as drawn:
        pixels = np.asarray(drawn.convert("RGB"))
    assert min(pixels.shape[:2]) > 500
    said = mistake(capsys, ["border", str(tiny / "config.py"), str(tmp_path / "weights.jpg")])
    assert "ends in .png" in said
    assert "is not a run with a checkpoint" in mistake(capsys, ["border", str(tmp_path)])


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Config, workdir, code and recorded steps of the trainings that a command starts."""
    started: list[tuple[Any, ...]] = []
    monkeypatch.setattr(training, "train", lambda *given, **_: started.append(given))
    return started


def test_a_training_is_given_the_config_with_its_flags_and_the_workdir(
    tiny: Path, trained: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tiny / "config.py")
    flags = ["--config.seed", "3", "--config.data.pad"]
    cli.main(["train", *flags, "--config", path, "--workdir", "somewhere", "--profile", "5"])
    commands.train([f"--config={path}", *flags])
    expected = configs.override(configs.load_config(path), flags, "test")
    assert [given[:2] for given in trained] == [
        (expected, Path("somewhere")),
        (expected, Path("runs/config")),
    ]
    assert (expected.seed, expected.data.pad) == (3, True)
    assert [given[3] for given in trained] == [5, 0]
    assert [given[5] for given in trained] == [False, False]
    commands.train(["--config", path, "--changed-files"])
    assert trained[-1][5] is True
    assert f"{path} -> runs/config" in " ".join(capsys.readouterr().out.split())


def test_a_training_without_a_config_is_refused(
    trained: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["train"], ["train", "--config"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(arguments)
        assert stopped.value.code == cli.MISTAKE
        assert "--config" in capsys.readouterr().err
    assert trained == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (training.Interrupted("Stopped at step 3; the state is saved."), "Stopped at step 3"),
        (KeyboardInterrupt(), "Stopped by Ctrl-C. Nothing is saved in runs/config yet; the same"),
    ],
)
def test_an_interrupted_training_exits_with_130(
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    said: str,
) -> None:
    def stopping(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(training, "train", stopping)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["train", "--config", str(tiny / "config.py")])
    assert stopped.value.code == 130
    assert said in capsys.readouterr().err


def test_an_error_that_explains_nothing_keeps_its_traceback(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(training, "train", failing)
    with pytest.raises(ZeroDivisionError):
        cli.main(["train", "--config", str(tiny / "config.py")])


def test_an_evaluation_is_given_its_flags(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[dict[str, Any]] = []
    written: list[Path | None] = []

    def record(run: Path, split: str, **given: Any) -> str:
        asked.append({"run": run, "split": split} | given)
        return "found"

    def write(found: str, run: Path, folder: Path | None, *, keep: bool) -> Path:
        assert keep
        written.append(folder)
        return Path("folder")

    monkeypatch.setattr(assessment, "evaluate", record)
    monkeypatch.setattr(report, "write", write)
    titles: list[str] = []
    monkeypatch.setattr(terminal, "show", lambda _, __, title: titles.append(title))
    monkeypatch.chdir(tmp_path)
    cli.main(["evaluate", "runs/a"])
    shown = asked[0].pop("console")
    assert asked[0] == {
        "run": Path("runs/a"),
        "split": "test",
        "adapt": "none",
        "source": None,
        "which": "best",
        "mesh_shape": MeshShape(),
        "baseline": True,
        "check": True,
        "shared_ground": 0.0,
        "tile": 0,
        "overlap": 0.0,
        "make": False,
        "measures": (
            BoundaryTotal(Tolerance(2.0), Tolerance(0.02, "diagonal")),
            ObjectTotal(),
            WarpingError(),
        ),
        "code": (),
    }
    assert isinstance(shown, Console)
    flags = ["--split", "train", "--step", "5", "--no-baseline", "--no-check"]
    flags += ["--mesh.data", "2", "--shared-ground", "0.25", "--tile", "64", "--overlap", "0.5"]
    flags += ["--adapt", "statistics"]
    borders = ["--tolerance.value", "4", "--rim.value", "3", "--rim.unit", "pixels"]
    config = ["--config", str(tiny / "config.py"), "--config.data.source.multiply", "2.0"]
    cli.main(["evaluate", "runs/a", *flags, *borders, *config])
    del asked[1]["console"]
    source = configs.load_config(str(tiny / "config.py")).data.source
    [module] = asked[1].pop("code")  # what the config file defines, a run may hold
    assert module.__file__ == str(tiny / "config.py")
    assert asked[1] == {
        "run": Path("runs/a"),
        "split": "train",
        "adapt": "statistics",
        "source": dataclasses.replace(source, multiply=2.0),  # type: ignore[type-var]
        "which": "5",
        "mesh_shape": MeshShape(data=2),
        "baseline": False,
        "check": False,
        "shared_ground": 0.25,
        "tile": 64,
        "overlap": 0.5,
        "make": False,
        "measures": (
            BoundaryTotal(Tolerance(4.0), Tolerance(3.0, "pixels")),
            ObjectTotal(),
            WarpingError(),
        ),
    }
    assert written == [None, Path("runs/a/evaluation") / tiny.name / "train"]
    assert titles == ["runs/a, test split", f"runs/a, train split of {tiny.name}"]
    assert "Tables and pictures: folder" in capsys.readouterr().out


def test_an_export_writes_the_checkpoint_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = painted.config(model=UNet(num_classes=2, features=2), optimizer=Optimizer(ema=0.9))
    abstract = step.abstract_state(config, 3, sharding.make_mesh(MeshShape()))
    random = np.random.default_rng(0)
    drawn = jax.tree.map(lambda a: random.standard_normal(a.shape).astype(a.dtype), abstract)
    state = drawn.replace(step=np.int32(6))

    asked: list[str] = []

    def reopen(
        run: Path, shape: MeshShape, which: str, code: Code
    ) -> tuple[Config, step.TrainState]:
        asked.append(which)
        return config, state

    monkeypatch.setattr(checkpoint, "reopen", reopen)
    file = tmp_path / "unet.safetensors"
    cli.main(["export", "runs/a", str(file), "--step", "6"])
    assert asked == ["6"]
    with safe_open(file, framework="numpy") as stored:
        expected = pretrained.exported(
            config.model, jax.device_get(step.inference_variables(state))
        )
        assert set(stored.keys()) == set(expected)
        for name, array in expected.items():
            np.testing.assert_array_equal(stored.get_tensor(name), array)
    assert f"{len(expected)} tensors of step 6" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("kind", ["stablehlo", "onnx"])
def test_an_export_of_the_network_writes_it_and_its_contract(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = painted.config(model=Small(num_classes=3))
    config = dataclasses.replace(config, sensor=config.data.source.sensor)
    abstract = step.abstract_state(config, 2, sharding.make_mesh(MeshShape()))
    drawn = jax.tree.map(lambda a: np.full(a.shape, 0.5, a.dtype), abstract)
    state = drawn.replace(step=np.int32(6))
    monkeypatch.setattr(checkpoint, "reopen", lambda *_: (config, state))
    cli.main(["export", str(tmp_path / "a"), str(tmp_path / "out"), "--format", kind])
    names = [f"a.{kind}", f"a.{kind}.json"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    said = "".join(capsys.readouterr().out.split())
    assert all(f"written{tmp_path / 'out' / name}" in said for name in names)
    with pytest.raises(SystemExit):
        cli.main(["export", str(tmp_path / "a"), "a.safetensors", "--format", kind])
    assert "is written into a folder" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["models", "--size", "0"], "each must be at least 1"),
        (["models", "--bands", "0"], "each must be at least 1"),
        (["border", "config.py", "a.png", "--count", "0"], "at least one window"),
        (["polsar", "T3", "--average", "-1"], "both must be 0 or more"),
        (["polsar", "T3", "--average", "4"], "needs an odd number of rows"),
        (["polsar", "T3", "--looks", "nan"], "both must be 0 or more"),
        (["polsar", "T3", "--out", __file__], "is a file: name a folder"),
    ],
)
def test_numbers_that_no_command_can_use_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert message in mistake(capsys, arguments)


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []])
def test_help_names_every_command(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    cli.main(arguments)
    said = capsys.readouterr().out
    for command in ("train", "evaluate", "export", "models", "border", "class-weights", "polsar"):
        assert f"jaxseg {command} " in said


def test_compiled_programs_are_kept_where_the_user_wants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = jax.config.jax_compilation_cache_dir
    try:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
        frame.start()
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / "jaxseg" / "xla")
        monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "own")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
        frame.start()
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / "jaxseg" / "xla")
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
