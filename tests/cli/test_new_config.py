"""`jaxseg new` writes a config that builds the source one would have written by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from fixtures.folder_files import png, tiff

from jaxseg import config as configs
from jaxseg.cli import main as cli
from jaxseg.datasets.folder.source import Folder
from jaxseg.datasets.paired import Stacked
from jaxseg.pipeline.windows import Data
from jaxseg.scenes.scene import Window

RANDOM = np.random.default_rng(0)


def photo(path: Path, side: int = 40) -> None:
    png(path, RANDOM.integers(0, 255, (side, side, 3), np.uint8))


def mask(*values: int, dtype: str = "uint8") -> Any:
    return np.resize(np.repeat(np.array(values), 5), (40, 40)).astype(dtype)


def new(path: Path, images: Path | str, masks: Path | str, *more: str) -> Data:
    file = path / "my.py"
    cli.main(["new", str(file), "--images", str(images), "--masks", str(masks), *more])
    compile(file.read_text(), str(file), "exec")
    lines = file.read_text().splitlines()
    assert max(len(line) for line in lines if path.parent.name not in line) <= 100
    return configs.load_config(str(file)).data


def folder_of(data: Data) -> Folder:
    assert isinstance(data.source, Folder)
    return data.source


def several(path: Path, number: int = 8, side: int = 40, **names: str) -> tuple[Path, Path]:
    for n in range(number):
        photo(path / "a" / f"s{n}{names.get('image', '')}.png", side)
    return path / "a", path / "b"


def test_ids_with_gaps_and_their_evidence(tmp_path: Path) -> None:
    images, masks = several(tmp_path)
    for n in range(8):
        png(masks / f"s{n}.png", mask(0, 255))
    data = new(tmp_path, images, masks)
    source = folder_of(data)
    assert (source.ids, source.classes) == ((0, 255), ("class0", "class255"))
    assert (source.split_by, data.crop, data.pad) == ("files", 32, False)
    assert "values 0: 50 %, 255: 50 %, in 8 of 8 files" in (tmp_path / "my.py").read_text()
    assert [len(source.scenes(split)) for split in ("train", "validation", "test")] == [6, 1, 1]


def test_colours(tmp_path: Path) -> None:
    images, masks = several(tmp_path)
    for n in range(8):
        picture = np.zeros((40, 40, 3), np.uint8)
        picture[:10] = 226, 169, 41
        png(masks / f"s{n}.png", picture)
    assert folder_of(new(tmp_path, images, masks)).mask_colors == ((0, 0, 0), (226, 169, 41))


def test_endings_few_scenes_values_without_meaning_and_decibel(tmp_path: Path) -> None:
    for n in range(3):
        values = RANDOM.normal(-12, 3, (40, 40, 2)).astype(np.float32)
        tiff(tmp_path / "a" / f"x_{n}_S1.tif", values)
        tiff(tmp_path / "b" / f"x_{n}_Label.tif", mask(-1, 0, 1, dtype="int16"))
    source = folder_of(new(tmp_path, tmp_path / "a", tmp_path / "b"))
    assert (source.image_suffix, source.mask_suffix) == ("_S1", "_Label")
    assert (source.ignore_ids, source.ids, len(source.classes)) == ((-1,), (), 2)
    assert (source.split_by, source.unit) == ("columns", "decibel")
    assert len(source.scenes("test")) == 3


def test_255_beside_few_ids_is_no_class(tmp_path: Path) -> None:
    images, masks = several(tmp_path)
    for n in range(8):
        png(masks / f"s{n}.png", mask(0, 1, 2, 255))
    source = folder_of(new(tmp_path, images, masks))
    assert (source.ignore_ids, source.ids, len(source.classes)) == ((255,), (), 3)


def test_numbers_of_objects_are_no_classes(tmp_path: Path) -> None:
    images, masks = several(tmp_path)
    for n in range(8):
        blocks = np.kron(np.arange(16).reshape(4, 4), np.ones((10, 10))).astype(np.uint16)
        png(masks / f"s{n}.png", blocks * (blocks < 9 + n % 3))
    source = folder_of(new(tmp_path, images, masks))
    assert (source.instances, source.masks) == (str(masks), "")
    assert source.classes == ("background", "object")


def test_one_image_with_one_mask_of_another_name(tmp_path: Path) -> None:
    photo(tmp_path / "image.png")
    png(tmp_path / "instances_here.png", mask(0, 1))
    source = folder_of(new(tmp_path, tmp_path / "image.png", tmp_path / "instances_here.png"))
    assert len(source.scenes("train")) == 1


def test_folders_of_splits(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for n in range(2):
            photo(tmp_path / split / "images" / f"{n}.png")
            png(tmp_path / split / "masks" / f"{n}.png", mask(0, 1))
    source = folder_of(new(tmp_path, f"{tmp_path}/{{split}}/images", f"{tmp_path}/{{split}}/masks"))
    assert source.split_by == "folders"
    assert len(source.scenes("validation")) == 2


def test_a_map_of_regions_is_of_classes_if_all_scenes_have_the_same(tmp_path: Path) -> None:
    images, masks = several(tmp_path)
    for n in range(8):
        blocks = np.kron(np.arange(9).reshape(3, 3), np.ones((14, 14)))[:40, :40]
        png(masks / f"s{n}.png", blocks.astype(np.uint8))
    source = folder_of(new(tmp_path, images, masks))
    assert (source.instances, len(source.classes)) == ("", 9)


def test_gray_levels_are_all_classes(tmp_path: Path) -> None:
    images, masks = several(tmp_path)
    for n in range(8):
        png(masks / f"s{n}.png", mask(0, 100, 255))
    assert folder_of(new(tmp_path, images, masks)).ids == (0, 100, 255)


def test_names_that_need_quoting(tmp_path: Path) -> None:
    folder = tmp_path / 'Größe "a\\b"'
    images, masks = several(folder)
    for n in range(8):
        png(masks / f"s{n}.png", mask(0, 1))
    assert folder_of(new(folder, images, masks)).images == str(images)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit):
        cli.main(["new", *arguments])
    return " ".join(capsys.readouterr().err.split())


def test_what_cannot_be_guessed_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, masks = several(tmp_path)
    for n in range(8):
        png(masks / f"mask_{7 - n}.png", mask(0, 1))
    flags = ("--images", str(images), "--masks", str(masks))
    assert "not known which belong together" in refused(capsys, str(tmp_path / "my.py"), *flags)
    for n in range(8):
        (masks / f"mask_{n}.png").unlink()
        png(masks / f"s{n}.png", RANDOM.integers(0, 255, (40, 40), np.uint8))
    assert "cannot be classes" in refused(capsys, str(tmp_path / "my.py"), *flags)
    for n in range(8):
        png(masks / f"s{n}.png", mask(0, 1))
    assert "a config ends in .py" in refused(capsys, str(tmp_path / "my"), *flags)
    vectors = ("--images", str(images), "--masks", "labels.geojson")
    assert "vectors.attribute" in refused(capsys, str(tmp_path / "my.py"), *vectors)
    (tmp_path / "my.py").write_text("mine")
    assert "exists" in refused(capsys, str(tmp_path / "my.py"), *flags)
    assert len(folder_of(new(tmp_path, images, masks, "--overwrite")).classes) == 2


def test_names_that_begin_differently(tmp_path: Path) -> None:
    for n in (1, 2, 3, 10, 11, 12, 13):
        photo(tmp_path / "a" / f"img_{n}.png")
        png(tmp_path / "b" / f"mask_{n}.png", mask(0, 1))
    source = folder_of(new(tmp_path, tmp_path / "a", tmp_path / "b"))
    assert (source.image_prefix, source.mask_prefix) == ("img_", "mask_")
    assert [Path(entry.mask).name for entry in source.scenes("test").entries] == ["mask_13.png"]


def test_one_image_and_one_mask(tmp_path: Path) -> None:
    photo(tmp_path / "scene.png")
    png(tmp_path / "labels.png", mask(0, 1))
    source = folder_of(new(tmp_path, tmp_path / "scene.png", tmp_path / "labels.png"))
    assert source.split_by == "columns"
    assert source.scenes("train").size(0) == (40, 28)


def test_scenes_of_several_folders(tmp_path: Path) -> None:
    for city in ("lima", "oslo"):
        for n in range(4):
            photo(tmp_path / city / "images" / f"{n}.png")
            png(tmp_path / city / "labels" / f"{n}.png", mask(0, 1))
    images, labels = (f"{tmp_path}/*/{kind}/*.png" for kind in ("images", "labels"))
    source = folder_of(new(tmp_path, images, labels))
    assert len(source.scenes("train")) == 6


def test_bands_in_files_of_their_own_are_stacked_in_their_order(tmp_path: Path) -> None:
    for n in range(8):
        for band, mean in (("VH", -20.0), ("VV", -12.0)):
            values = RANDOM.normal(mean, 1, (40, 40)).astype(np.float32)
            tiff(tmp_path / "a" / f"s{n}_{band}.tif", values)
        tiff(tmp_path / "b" / f"s{n}.tif", mask(0, 1))
    data = new(tmp_path, tmp_path / "a", tmp_path / "b")
    assert isinstance(data.source, Stacked)
    sensor = data.source.sensor
    assert (sensor.bands, sensor.polarisations) == (("VV", "VH"), ("VV", "VH"))
    assert sensor.unit == "decibel"
    image = data.source.scenes("train").read(0, Window(0, 0, 40, 40))["image"]
    assert image.mean((0, 1)).round() == pytest.approx((-12, -20))
    written = " ".join((tmp_path / "my.py").read_text().replace("#", "").split())
    assert "8 mask(s) have 2 images each: s0_VV.tif, s0_VH.tif for s0.tif" in written
    assert "Brightness" not in written


def test_sensors_in_folders_of_their_own_keep_units_and_names_apart(tmp_path: Path) -> None:
    for n in range(8):
        values = RANDOM.normal(-12, 1, (40, 40, 2)).astype(np.float32)
        tiff(tmp_path / "a" / "S1" / f"{n}.tif", values)
        photo(tmp_path / "a" / "S2_after" / f"{n}.png")
        photo(tmp_path / "a" / "S2_before" / f"{n}.png")
        tiff(tmp_path / "b" / f"{n}.tif", mask(0, 1))
    source = new(tmp_path, tmp_path / "a", tmp_path / "b").source
    assert isinstance(source, Stacked)
    assert source.sensor.bands[:3] == ("S1 band1", "S1 band2", "S2_before red")
    assert source.sensor.bands[5:] == ("S2_after red", "S2_after green", "S2_after blue")
    assert (source.sensor.unit, source.second.sensor.unit) == ("", "")
    assert len(source.scenes("train")) == 6


@pytest.mark.parametrize("shift", [0, 400])
def test_dates_of_one_place_are_divided_by_strips(tmp_path: Path, shift: int) -> None:
    for n in range(8):
        where = {"crs": "EPSG:32633", "transform": Affine(10, 0, 5e5 + n * shift, 0, -10, 5e6)}
        tiff(tmp_path / "a" / f"s{n}.tif", RANDOM.integers(1, 99, (40, 40, 3), np.uint8), **where)
        tiff(tmp_path / "b" / f"s{n}.tif", mask(0, 1), **where)
    source = folder_of(new(tmp_path, tmp_path / "a", tmp_path / "b"))
    assert source.split_by == ("files" if shift else "columns")
    assert ("the same ground" in (tmp_path / "my.py").read_text()) == (not shift)


def test_a_value_of_few_pixels_is_doubted(tmp_path: Path) -> None:
    images, masks = several(tmp_path)
    for n in range(8):
        png(masks / f"s{n}.png", mask(0, 1))
    values = mask(0, 1)
    values[3, 3] = 9
    png(masks / "s5.png", values)
    source = folder_of(new(tmp_path, images, masks))
    assert source.ids == (0, 1, 9)
    written = " ".join((tmp_path / "my.py").read_text().replace("#", "").split())
    assert "so few pixels of 9 may be no class" in written


def test_windows_fit_into_the_strip_that_is_trained_on(tmp_path: Path) -> None:
    photo(tmp_path / "scene.png", side=90)  # 63 columns of which are trained on
    png(tmp_path / "labels.png", np.kron(mask(0, 1), np.ones((3, 3), np.uint8))[:90, :90])
    data = new(tmp_path, tmp_path / "scene.png", tmp_path / "labels.png")
    assert (data.crop, data.pad) == (32, False)
