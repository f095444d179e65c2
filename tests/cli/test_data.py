"""The command `jaxseg data`."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxseg.cli import data
from jaxseg.cli import main as cli
from jaxseg.errors import UserError
from jaxseg.system.console import make_console


def test_splits_classes_and_bands_of_a_config_are_shown(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["data", str(tiny / "config.py"), "--out", str(tmp_path / "seen")])
    said = capsys.readouterr().out
    rows = [" ".join(line.split()) for line in said.splitlines()]
    assert "train 4 48 x 72 - 0 % 0 %" in rows
    assert "test 2 48 x 72 - 0 % 0 %" in rows
    assert all(name in said for name in ("ground", "disc", "square", "red", "green", "blue"))
    assert "Nothing is odd" in said
    assert max(len(line) for line in said.splitlines() if "Picture" not in line) <= 80
    pictures = sorted((tmp_path / "seen").iterdir())
    assert [picture.name for picture in pictures] == ["test.png", "train.png", "validation.png"]
    assert all(np.asarray(Image.open(picture)).std() > 20 for picture in pictures)


def write(folder: Path, masks: list[np.ndarray]) -> None:
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for number, mask in enumerate(masks):
        noise = np.random.default_rng(number).integers(0, 255, (*mask.shape[:2], 3), np.uint8)
        Image.fromarray(noise).save(folder / f"images/s{number}.png")
        Image.fromarray(mask).save(folder / f"masks/s{number}.png")


def folders(path: Path) -> list[str]:
    return ["data", "--images", str(path / "images"), "--masks", str(path / "masks")]


def test_ids_of_masks_are_listed_with_the_flag_to_paste(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = np.zeros((10, 10), np.uint8)
    mask[:2], mask[2] = 255, 7
    write(tmp_path, [mask] * 8)
    cli.main([*folders(tmp_path), "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "Masks hold values, in 8 of 8 files looked at" in said
    rows = [line.split() for line in said.splitlines()]
    assert ["0", "560", "70.000"] in rows
    assert ["7", "80", "10.000"] in rows
    assert ["255", "160", "20.000"] in rows
    assert "--config.data.source.ids 0 7 255" in said


def test_colours_of_masks_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = np.zeros((10, 10, 3), np.uint8)
    mask[:5] = 255, 20, 3
    write(tmp_path, [mask] * 8)
    cli.main([*folders(tmp_path), "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "Masks hold colours" in said
    assert "--config.data.source.mask-colors 0 0 0 255 20 3" in said


def test_bands_in_files_of_their_own_are_one_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, [np.arange(100, dtype=np.uint8).reshape(10, 10) % 2] * 8)
    for image in sorted((tmp_path / "images").iterdir()):
        (tmp_path / "images" / f"{image.stem}_S1.png").write_bytes(image.read_bytes())
        image.rename(tmp_path / "images" / f"{image.stem}_S2.png")
    cli.main([*folders(tmp_path), "--out", str(tmp_path / "out")])
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert sum(row.startswith("red ") for row in rows) == 2
    assert "train 6 10 x 10 - 0 % 0 %" in rows


def test_masks_that_number_objects_are_no_classes(tmp_path: Path) -> None:
    write(tmp_path, [np.arange(400, dtype=np.uint16).reshape(20, 20)] * 8)
    with pytest.raises(UserError, match=r"400 values or more.*instances"):
        data.folder_of(str(tmp_path / "images"), str(tmp_path / "masks"), make_console())


def test_splits_that_share_a_scene_are_said_beside_the_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, [np.arange(100, dtype=np.uint8).reshape(10, 10) % 2] * 8)
    (tmp_path / "images/s7.png").write_bytes((tmp_path / "images/s0.png").read_bytes())
    cli.main([*folders(tmp_path), "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "s7.png (test split) is a copy of" in said
    assert "train ..." in said  # progress


def test_parts_of_scenes_are_called_blocks(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--config.data.source.split-by", "blocks", "--config.data.source.block", "24"]
    cli.main(["data", str(tiny / "config.py"), "--out", str(tmp_path), *flags])
    said = capsys.readouterr().out
    rows = [" ".join(line.split()) for line in said.splitlines()]
    assert "split blocks rows x columns pixel (m) no data no label" in rows
    assert "train 24 24 x 24 - 0 % 0 %" in rows
    assert max(len(line) for line in said.splitlines() if "Picture" not in line) <= 80


def test_copies_within_a_split_are_a_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, [np.arange(100, dtype=np.uint8).reshape(10, 10) % 2] * 8)
    (tmp_path / "images/s3.png").write_bytes((tmp_path / "images/s1.png").read_bytes())
    cli.main([*folders(tmp_path), "--out", str(tmp_path / "out")])
    said = " ".join(capsys.readouterr().out.split())
    assert "s3.png of the train split hold the same picture; 1 of 6 scenes are copies" in said


def test_either_a_config_or_two_folders(capsys: pytest.CaptureFixture[str], tiny: Path) -> None:
    for arguments in (["data"], ["data", str(tiny / "config.py"), "--images", "a", "--masks", "b"]):
        with pytest.raises(SystemExit):
            cli.main(arguments)
        assert "Give a config, or --images and --masks." in capsys.readouterr().err
