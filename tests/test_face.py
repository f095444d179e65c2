"""`import jaxseg`: light, and every public name is there."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fixtures.compiler import IN_A_HURRY
from fixtures.places import CONFIGS, ROOT

import jaxseg
from jaxseg import datasets, losses, models, transforms
from jaxseg.cli import catalogue
from jaxseg.cli.main import main


def cpu_seconds(*arguments: str) -> float:
    """CPU seconds of the quickest of three runs of Python."""
    program = "import resource, subprocess, sys\nsubprocess.run([sys.executable, *sys.argv[1:]], "
    program += "check=True, stdout=subprocess.DEVNULL)\n"
    program += "used = resource.getrusage(resource.RUSAGE_CHILDREN)\nprint(used.ru_utime)"
    runs = [
        subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, check=True, text=True
        )
        for _ in range(3)
    ]
    return min(float(run.stdout) for run in runs)


def test_importing_and_asking_for_help_costs_little() -> None:
    assert cpu_seconds("-c", "import jaxseg") < 0.3
    assert cpu_seconds("-m", "jaxseg", "--help") < 1
    assert cpu_seconds("-m", "jaxseg", "configs") < 1


def test_nothing_heavy_is_imported_before_it_is_asked_for() -> None:
    program = (
        "import sys, jaxseg, jaxseg.cli.main; jaxseg.shipped_configs(); dir(jaxseg);"
        "print([m for m in ('jax', 'numpy', 'flax', 'rasterio', 'tensorflow') if m in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    assert answer.stdout.strip() == "[]"


def test_every_network_loss_transform_and_dataset_has_its_name() -> None:
    for name, kind in catalogue.networks().items():
        assert getattr(jaxseg, name) is kind
    for face in (models, losses, transforms, datasets):
        for name in face.__all__:
            thing = getattr(face, name)
            public = isinstance(thing, type) and not getattr(thing, "_is_protocol", False)
            if public:
                assert getattr(jaxseg, name) is thing
    for name in ("Config", "Data", "Folder", "train", "evaluate", "load_run", "load_config"):
        assert callable(getattr(jaxseg, name))
        assert name in dir(jaxseg)
    with pytest.raises(AttributeError, match="no attribute 'UNett'"):
        _ = jaxseg.UNett


def test_a_new_file_needs_no_entry(tmp_path: Path) -> None:
    """A network, a loss and a transform in files of their own are found by what they have."""
    program = """
import shutil, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import jaxseg
here = Path(jaxseg.__file__).parent
text = "class Mine:\\n    num_classes: int\\n\\nclass Part:\\n    x: int\\n"
(here / "models/mine.py").write_text(text)
(here / "losses/sore.py").write_text("class Sore:\\n    weight: float = 1.0\\n")
print(jaxseg.Mine.__module__, jaxseg.Sore.__module__, hasattr(jaxseg, "Part"))
"""
    shutil.copytree(ROOT / "jaxseg", tmp_path / "jaxseg")
    answer = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        check=True,
        text=True,
        cwd=tmp_path,
    )
    assert answer.stdout.split() == ["jaxseg.models.mine", "jaxseg.losses.sore", "False"]


def test_the_version_and_the_commands_fit_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--version"])
    assert capsys.readouterr().out.split() == ["jaxseg", jaxseg.__version__]
    main(["--help"])
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    for command in ("train", "evaluate", "export", "configs", "models", "border", "plan", "polsar"):
        assert f"jaxseg {command}" in said
    with pytest.raises(SystemExit) as stopped:
        main(["trian"])
    assert stopped.value.code == 2
    assert "no command trian" in capsys.readouterr().err


def test_configs_are_listed_shown_and_copied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a bare name works in any folder
    main(["configs"])
    lines = capsys.readouterr().out.splitlines()
    for path in CONFIGS.glob("*.py"):
        assert any(line.split()[:1] == [path.stem] and len(line.split()) > 3 for line in lines)
    main(["configs", "unet", "--copy", "my_unet.py"])
    assert (tmp_path / "my_unet.py").read_text() == (CONFIGS / "unet.py").read_text()
    assert "--config my_unet.py" in capsys.readouterr().out
    main(["configs", "unet"])
    assert capsys.readouterr().out == (CONFIGS / "unet.py").read_text()
    assert jaxseg.load_config("deeplab") == jaxseg.load_config(str(CONFIGS / "deeplab.py"))
    for wrong in (["unett"], ["unet", "--copy", "my_unet.py"], ["unet", "--copy", "a.txt"]):
        with pytest.raises(SystemExit) as stopped:
            main(["configs", *wrong])
        assert stopped.value.code == 2


@pytest.mark.slow
def test_a_wheel_trains_in_an_empty_folder(tmp_path: Path) -> None:
    """Built, installed into an empty environment, one command: train by a bare name."""
    python = [sys.executable, "-m"]
    began = time.monotonic()
    wheel = [*python, "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path / "wheel"), str(ROOT)]
    subprocess.run(wheel, check=True)
    subprocess.run([*python, "venv", str(tmp_path / "venv")], check=True)
    binary = tmp_path / "venv" / "bin"
    [built] = (tmp_path / "wheel").glob("*.whl")
    subprocess.run([binary / "pip", "install", "-q", str(built)], check=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    command = [binary / "jaxseg", "train", "--config", "unet", "--config.num-steps", "2"]
    flags = ["--config.data.source.tiles", "4", "2", "2"]
    flags += ["--config.data.source.data-dir", str(tmp_path / "tiles")]
    flags += ["--config.model.features", "4"]
    # One device, as on a user's machine: the tests' own environment simulates eight.
    one = os.environ | {"XLA_FLAGS": IN_A_HURRY}
    answer = subprocess.run([*command, *flags], cwd=empty, env=one, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert (empty / "runs" / "unet" / "checkpoints" / "2").is_dir()
    assert "Shortened with the run: " in answer.stdout + answer.stderr
    assert time.monotonic() - began < 600
