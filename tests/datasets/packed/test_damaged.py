"""A pack that was damaged says so; a pack that is being written goes on, or says why not."""

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from fixtures.damages import KINDS, damage
from fixtures.folder_files import png

from jaxseg.datasets import Folder, Packed
from jaxseg.datasets.packed import writer
from jaxseg.datasets.packed.index import DIGESTS, INDEX
from jaxseg.errors import UserError
from jaxseg.scenes.scene import Window


@pytest.mark.parametrize("name", [INDEX, DIGESTS, "train-00000.array_record"])
def test_random_damages_of_a_pack_are_said_or_without_consequence(
    tmp_path: Path, name: str
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (4, 20, 20, 3), np.uint8)
    for number, image in enumerate(pixels):
        png(tmp_path / f"images/s{number}.png", image)
        png(tmp_path / f"masks/s{number}.png", image[..., 0] % 2)
    paths = {kind: str(tmp_path / kind) for kind in ("images", "masks")}
    source = Folder(**paths, classes=("a", "b"), fractions=(0.5, 0.25, 0.25))
    sound = tmp_path / "sound"
    writer.pack(source, sound, 16, 1, lambda names, _: names, compress=False)
    whole = Window(0, 0, 20, 20)
    expected = source.scenes("train").read(0, whole)["image"]
    chance, said = random.Random(name), []
    for number, kind in enumerate(KINDS * 3):
        pack = tmp_path / str(number)
        shutil.copytree(sound, pack)
        damage(chance, pack / name, kind)
        try:
            scenes = Packed(str(pack)).scenes("train")
            assert np.array_equal(scenes.read(0, whole)["image"], expected) or kind == "delete"
        except UserError as error:
            said.append(str(error))
        try:
            writer.pack(source, pack, 16, 1, lambda names, _: names, compress=False)
        except UserError as error:
            said.append(str(error))
        shutil.rmtree(pack)
    assert len(said) >= 4
    assert all(str(tmp_path) in text for text in said)
