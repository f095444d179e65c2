"""Tests of `jaxseg.datasets.pets`: TFDS' own builder on a tiny archive of the original layout."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from jaxseg.datasets.pets import OxfordPets, PetsBuilder
from jaxseg.errors import UserError
from jaxseg.scenes.scene import Window

TRAIN = [*(f"Abyssinian_{number}" for number in range(100, 108)), "beagle_116", "Sphynx_3"]
TEST = ["pug_1", "pug_2"]


def write_archives(root: Path) -> dict[str, str]:
    """images/images/*.jpg and annotations/annotations/{trimaps,xmls,*.txt}, as extracted."""
    images = root / "images" / "images"
    annotations = root / "annotations" / "annotations"
    for folder in (images, annotations / "trimaps", annotations / "xmls"):
        folder.mkdir(parents=True)
    for index, name in enumerate(TRAIN + TEST):
        height, width = 30 + index, 50 - index
        photograph = Image.fromarray(np.full((height, width, 3), 10 * index, np.uint8))
        if name == "beagle_116":  # one of those that TFDS mends: a PNG with opacity named .jpg
            photograph.convert("RGBA").save(images / f"{name}.jpg", "PNG")
        elif name == "Sphynx_3":
            photograph.convert("L").save(images / f"{name}.jpg", "JPEG")
        else:
            photograph.save(images / f"{name}.jpg", "JPEG")
        trimap = np.full((height, width), 2, np.uint8)
        trimap[5:15, 5:15] = 3
        trimap[7:13, 7:13] = 1
        Image.fromarray(trimap).save(annotations / "trimaps" / f"{name}.png")
    box = "<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    (annotations / "xmls" / "Abyssinian_100.xml").write_text(
        "<annotation><size><width>50</width><height>30</height></size>"
        f"<object>{box}</object></annotation>"
    )
    for file, names in (("trainval.txt", TRAIN), ("test.txt", TEST)):
        (annotations / file).write_text("".join(f"{name} 1 1 1\n" for name in names))
    return {"images": str(root / "images"), "annotations": str(root / "annotations")}


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OxfordPets:
    extracted = write_archives(tmp_path)
    monkeypatch.setattr(
        tfds.download.DownloadManager, "download_and_extract", lambda self, urls: extracted
    )
    return OxfordPets(validation_percent=20, data_dir=str(tmp_path / "tfds"))


def test_train_validation_and_test_are_disjoint_and_complete(pets: OxfordPets) -> None:
    names = {
        split: [scenes.name(index) for index in range(len(scenes))]
        for split in ("train", "validation", "test")
        for scenes in [pets.scenes(split)]
    }
    assert (len(names["train"]), len(names["validation"])) == (8, 2)
    assert sorted(names["train"] + names["validation"]) == sorted(f"{name}.jpg" for name in TRAIN)
    assert sorted(names["test"]) == [f"{name}.jpg" for name in TEST]
    assert "tensorflow" not in sys.modules


def test_every_photograph_is_rgb_and_every_trimap_is_three_classes(pets: OxfordPets) -> None:
    for split in ("train", "validation", "test"):
        scenes = pets.scenes(split)
        for index in range(len(scenes)):
            place = (TRAIN + TEST).index(scenes.name(index).removesuffix(".jpg"))
            assert scenes.size(index) == (30 + place, 50 - place)
            sample = scenes.read(index, Window(5, 5, 10, 12))
            assert sample["image"].shape == (10, 12, 3)
            assert abs(sample["image"].astype(int) - 10 * place).max() < 6
            assert sample["label"][2:8, 2:8].tolist() == [[0] * 6] * 6
            assert (sample["label"][:, 10:] == 1).all()
            assert sample["label"][0, 0] == 2
            assert sample["valid"].all()


def test_a_second_session_reads_what_the_first_built(
    pets: OxfordPets, monkeypatch: pytest.MonkeyPatch
) -> None:
    pets.scenes("test")
    monkeypatch.setattr(PetsBuilder, "download_and_prepare", None)
    assert len(pets.scenes("train")) == 8


def test_without_a_network_the_error_says_what_to_do(
    pets: OxfordPets, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: object, urls: object) -> None:
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(tfds.download.DownloadManager, "download_and_extract", refuse)
    with pytest.raises(UserError, match=r"could not be downloaded: Name.*copy .*oxford_iiit_pet"):
        pets.scenes("train")


def test_tfds_checksums_guard_the_download() -> None:
    assert len(PetsBuilder.url_infos) == 2
    assert PetsBuilder.name == "oxford_iiit_pet"


def test_wrong_settings_are_refused(pets: OxfordPets) -> None:
    with pytest.raises(UserError, match="'dev'"):
        pets.scenes("dev")
    with pytest.raises(UserError, match="validation_percent 0"):
        OxfordPets(validation_percent=0).scenes("train")


def test_a_picture_that_is_none_is_told_by_name() -> None:
    from jaxseg.datasets.tiles import picture

    buffer = io.BytesIO()
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(buffer, "JPEG")
    for data in (b"no picture", buffer.getvalue()[:-200]):
        with pytest.raises(UserError, match="picture of x17"):
            picture(data, "x17")
