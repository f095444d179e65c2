"""Tests of `jaxseg.datasets.pets`: TFDS' own builder on a tiny archive of the original layout."""

import dataclasses
import io
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from jaxseg.datasets import pets as pets_room
from jaxseg.datasets.pets import OxfordPets, PetsBuilder, _built, _sample
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
        lines = (
            f"{name} {3 if name == 'pug_1' else 1} {2 if name == 'pug_1' else 1} 1\n"
            for name in names
        )
        (annotations / file).write_text("".join(lines))
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


def test_records_are_those_of_tfds(pets: OxfordPets) -> None:
    """Also what is not read here: breed, species and the box around the head."""
    pets.scenes("test")
    records = _built(pets.data_dir).as_data_source()
    found = {
        record["file_name"].decode(): record
        for split in ("train", "test")
        for record in (records[split][index] for index in range(len(records[split])))
    }
    assert {name: (int(r["label"]), int(r["species"])) for name, r in found.items()} == {
        f"{name}.jpg": (2, 1) if name == "pug_1" else (0, 0) for name in TRAIN + TEST
    }
    np.testing.assert_allclose(
        found["Abyssinian_100.jpg"]["head_bbox"], (5 / 30, 5 / 50, 9 / 30, 9 / 50)
    )
    assert not np.any(found["pug_1.jpg"]["head_bbox"])


@pytest.mark.parametrize(("percent", "training"), [(10, 9), (60, 4)])
def test_validation_is_the_end_of_the_training_split(
    pets: OxfordPets, percent: int, training: int
) -> None:
    source = dataclasses.replace(pets, validation_percent=percent)
    whole = [scenes.name(i) for scenes in [pets.scenes("train")] for i in range(len(scenes))]
    whole += [scenes.name(i) for scenes in [pets.scenes("validation")] for i in range(len(scenes))]
    parts = [
        [scenes.name(i) for i in range(len(scenes))]
        for scenes in (source.scenes("train"), source.scenes("validation"))
    ]
    assert parts[0] + parts[1] == whole
    assert len(parts[0]) == training


@pytest.mark.parametrize("percent", [0, 100, -3])
def test_a_validation_split_is_a_part_of_the_training_split(percent: int) -> None:
    with pytest.raises(UserError, match=f"validation_percent {percent}: 1 to 99"):
        OxfordPets(validation_percent=percent).scenes("train")


@pytest.mark.parametrize("percent", [1, 99])
def test_nearly_all_or_nothing_may_be_validation(pets: OxfordPets, percent: int) -> None:
    assert len(dataclasses.replace(pets, validation_percent=percent).scenes("test")) == 2


def test_counts_lie_with_the_built_files_for_each_size_of_training(pets: OxfordPets) -> None:
    one = pets.counts_file()
    assert one.name == "class_counts_80_percent.json"
    assert Path(pets.data_dir) in one.parents
    assert one.parent.is_dir()
    other = dataclasses.replace(pets, validation_percent=10).counts_file()
    assert other == one.with_name("class_counts_90_percent.json")


@pytest.mark.parametrize("value", [0, 4])
def test_a_trimap_of_other_numbers_is_refused(value: int) -> None:
    trimap = np.full((4, 4), 2, np.uint8)
    trimap[1, 1] = value
    files = [io.BytesIO(), io.BytesIO()]
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(files[0], "JPEG")
    Image.fromarray(trimap).save(files[1], "PNG")
    record = {
        "file_name": b"pug_1.jpg",
        "image": files[0].getvalue(),
        "segmentation_mask": files[1].getvalue(),
    }
    with pytest.raises(UserError, match=rf"pug_1\.jpg: its trimap holds .*{value}.*, not 1 to 3"):
        _sample(record)


def test_files_without_random_access_are_refused(
    pets: OxfordPets, monkeypatch: pytest.MonkeyPatch
) -> None:
    pets.scenes("test")
    _built.cache_clear()
    info = types.SimpleNamespace(file_format=types.SimpleNamespace(value="tfrecord"))
    stored = types.SimpleNamespace(info=info, data_path=Path(pets.data_dir))
    monkeypatch.setattr(pets_room, "PetsBuilder", lambda data_dir: stored)
    with pytest.raises(UserError, match="was built as tfrecord, which has no random access"):
        _built(pets.data_dir)


def test_a_photograph_is_its_own_picture() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    np.testing.assert_array_equal(OxfordPets().rgb(image), image)
    assert OxfordPets().rgb(image).dtype == np.float32
    assert OxfordPets().classes == ("pet", "background", "outline")
    assert len(OxfordPets().colors) == 3
    assert OxfordPets().sensor.bands == ("red", "green", "blue")
