"""The command line: a user's mistake is one short message without a traceback."""

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxseg import config as configs
from jaxseg.cli import main as cli
from jaxseg.run import training
from jaxseg.scenes.scene import Window


def mistake(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    """What the command says, in one line, before it exits with code 2."""
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "Traceback" not in said
    return said


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
    assert "value 17 is no class" in said
    assert "scene1.png" in said


def test_an_image_smaller_than_the_crop(capsys: pytest.CaptureFixture[str], copy: Path) -> None:
    said = mistake(capsys, train(copy, "--config.data.crop", "64"))
    assert "48 x 72 pixels, smaller than the crop of 64" in said


@pytest.mark.parametrize("name", ["crop", "batch-size", "threads"])
def test_a_size_of_nothing(capsys: pytest.CaptureFixture[str], copy: Path, name: str) -> None:
    said = mistake(capsys, train(copy, f"--config.data.{name}", "0"))
    assert f"--config.data.{name} is 0" in said


def test_a_run_that_is_none(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "is no run" in mistake(capsys, ["evaluate", str(tmp_path)])


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


def test_a_run_is_evaluated_into_tables_and_pictures(
    capsys: pytest.CaptureFixture[str], copy: Path
) -> None:
    flags = ["--config.num-steps", "4", "--config.eval-every", "4"]
    training.train(
        configs.override(configs.load_config(str(copy / "config.py")), flags, "test"), copy / "run"
    )
    capsys.readouterr()
    cli.main(["evaluate", str(copy / "run"), "--step", "latest"])
    said = capsys.readouterr().out
    assert "mIoU" in said
    assert "Gaussian classifier" in said
    lines = [line for line in said.splitlines() if str(copy) not in line]
    assert max(map(len, lines)) <= 100
    folder = copy / "run" / "evaluation" / "test"
    report = json.loads((folder / "scores.json").read_text())
    confusion = np.array(report["network"]["confusion"])
    assert confusion.sum() == 2 * 48 * 72  # both test scenes, every pixel once
    assert report["network"]["overall_accuracy"] == pytest.approx(
        np.trace(confusion) / confusion.sum()
    )
    assert report["step"] == 4
    network = report["network"]
    for name in ("miou", "kappa"):
        low, high = network["intervals"][name]
        assert low <= network[name] <= high
    scenes = configs.load_config(str(copy / "config.py")).data.source.scenes("test")
    samples = [scenes.read(index, Window(0, 0, 48, 72)) for index in range(2)]
    for k, name in ((1, "disc"), (2, "square")):
        count = sum(len(np.unique(s["instance"][s["label"] == k])) for s in samples)
        assert network["objects"][name]["true"] == count > 0
    assert "ground" not in network["objects"]  # its pixels have no object id
    assert network["boundaries"]["rim_pixels"] == round(0.02 * np.hypot(48, 48))
    stored = json.loads((folder.parent / "calibration.json").read_text())
    assert stored == {
        "step": 4,
        "temperature": network["calibration"]["temperature"],
        "fitted_on": "validation",
    }
    with (folder / "reliability.csv").open() as file:
        bins = list(csv.DictReader(file))
    assert sum(int(row["pixels"]) for row in bins) == 2 * 4 * confusion.sum()
    classes = (folder / "classes.csv").read_text().splitlines()
    assert classes[0].startswith("class,iou,")
    assert {line.count(",") for line in classes} == {11}
    assert (folder / "objects.csv").read_text().startswith("class,true,predicted,")
    for name in ("confusion", "worst", "median", "classes", "reliability", "objects"):
        assert Image.open(folder / f"{name}.png").size[0] > 400

    metres = ["--tolerance.value", "10", "--tolerance.unit", "metres"]
    said = mistake(capsys, ["evaluate", str(copy / "run"), "--step", "latest", *metres])
    assert "does not know how many metres a pixel has" in said

    run = ["evaluate", str(copy / "run"), "--step", "latest"]
    other = [*run, "--config", str(copy / "config.py")]
    turned = ["--config.data.source.band-numbers", "3", "2", "1"]
    assert "band-numbers 1 2 3" in mistake(capsys, other + turned)
    assert "needs --config" in mistake(capsys, run + turned)
    renamed = ["--config.data.source.classes", "ground", "disc", "cube"]
    assert "the network tells apart ground, disc, square" in mistake(capsys, other + renamed)
    cli.main([*other, "--no-baseline", "--split", "validation"])
    assert "validation split of config" in " ".join(capsys.readouterr().out.split())
    scores = json.loads(
        (copy / "run" / "evaluation" / "config" / "validation" / "scores.json").read_text()
    )
    assert scores["split"] == "validation"


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
    assert "is no run with a checkpoint" in mistake(capsys, ["border", str(tmp_path)])
