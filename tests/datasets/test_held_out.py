"""Parts of a training split that are kept out of it: all of it, each once, and where it lies."""

from pathlib import Path

import numpy as np
import pytest
from fixtures import painted
from fixtures.folder_files import png

from jaxseg.datasets import Folder, HeldOut, Mislabelled
from jaxseg.errors import UserError
from jaxseg.scenes.scene import OfFiles, Window

SIZES = ((8, 8), (9, 8), (10, 8), (11, 8), (12, 8))


def test_each_scene_is_held_out_once_and_trained_on_otherwise() -> None:
    source = painted.Painted(sizes=SIZES)
    every = {source.scenes("train").name(index) for index in range(5)}
    held = []
    for part in range(3):
        divided = HeldOut(source, part=part, parts=3)
        train, out = divided.scenes("train"), divided.scenes("held-out")
        names = [out.name(index) for index in range(len(out))]
        assert {train.name(index) for index in range(len(train))} == every - set(names)
        held += names
    assert sorted(held) == sorted(every)
    assert len(HeldOut(source).scenes("test")) == 5


def test_a_scene_that_is_held_out_is_read_as_it_is_in_training() -> None:
    wrong = Mislabelled(painted.Painted(sizes=SIZES), share=1.0)
    out, whole = HeldOut(wrong, part=1).scenes("held-out"), wrong.scenes("train")
    assert (out.name(1), out.size(1)) == (whole.name(3), whole.size(3))
    window = Window(2, 1, 5, 6)
    assert (out.read(1, window)["label"] == whole.read(3, window)["label"]).all()
    right = painted.Painted(sizes=SIZES).scenes("train").read(3, window)
    assert (out.read(1, window)["label"] != right["label"]).any()


def test_files_stay_files(tmp_path: Path) -> None:
    for number in range(4):
        png(tmp_path / "images" / f"{number}.png", np.full((8, 8, 3), number, np.uint8))
        png(tmp_path / "masks" / f"{number}.png", np.zeros((8, 8), np.uint8))
    folder = Folder(
        images=str(tmp_path / "images"),
        masks=str(tmp_path / "masks"),
        classes=("a", "b"),
        fractions=(1.0, 0.0, 0.0),
    )
    out, whole = HeldOut(folder, part=1).scenes("held-out"), folder.scenes("train")
    assert isinstance(out, OfFiles)
    assert isinstance(whole, OfFiles)
    assert out.extent(1) == whole.extent(3)
    assert out.files(0) == whole.files(1)


def test_a_part_that_is_not_there_is_rejected() -> None:
    for part, parts in ((2, 2), (0, 1)):
        with pytest.raises(UserError, match=r"give at least 2 parts"):
            HeldOut(painted.Painted(), part=part, parts=parts)
    with pytest.raises(UserError, match="cannot be divided into 3 parts"):
        HeldOut(painted.Painted(), parts=3).scenes("train")
