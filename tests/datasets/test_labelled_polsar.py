"""A labelled polarimetric scene: disjoint splits, classes by id, faults by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from fixtures.places import CONFIGS, SHARED
from fixtures.polsar_folder import labelled, scattering, write_polsarpro
from PIL import Image
from rasterio.transform import from_origin
from scipy import ndimage

from jaxseg import config as configs
from jaxseg import config_text
from jaxseg.datasets import spatial_split
from jaxseg.datasets.landscape.sensors import wishart
from jaxseg.datasets.one_scene import SceneSplit
from jaxseg.datasets.polsar import LabelledPolsar
from jaxseg.errors import UserError
from jaxseg.physics.polsar import T3_BANDS
from jaxseg.scenes.scene import IGNORE, Source, Window

DATA = SHARED / "data" / "polsar_sf_airsar"
CONFIG = CONFIGS / "airsar.py"
SPLITS = ("train", "validation", "test")
WHOLE = Window(0, 0, 48, 48)


def source(folder: Path, **more: Any) -> LabelledPolsar:
    fields: dict[str, Any] = {
        "path": str(folder / "T3"),
        "labels": str(folder / "label.png"),
        "classes": ("surface", "double bounce", "volume"),
        "ids": (1, 2, 3),
        "map_colors": ((0, 0, 255), (255, 0, 0), (0, 255, 0)),
        "split": SceneSplit(fractions=(0.5, 0.1, 0.4), block=8, guard=2),
    }
    return LabelledPolsar(**fields | more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled(tmp_path_factory.mktemp("labelled"))


def test_splits_share_the_image_and_no_label_and_keep_apart(folder: Path) -> None:
    opened = [source(folder).scenes(split) for split in SPLITS]
    labels = np.array([scenes.read(0, WHOLE)["label"] for scenes in opened])
    shown = labels != IGNORE
    assert shown.any((1, 2)).all()
    assert shown.sum(0).max() == 1
    away = ndimage.distance_transform_cdt(~shown[0], metric="chessboard")
    assert away[shown[1] | shown[2]].min() > 2
    ids = np.asarray(Image.open(folder / "label.png"))
    for label in labels:
        np.testing.assert_array_equal(label[label != IGNORE] + 1, ids[label != IGNORE])
    assert not shown[:, ids == 0].any()
    one, other = (scenes.read(0, WHOLE)["image"] for scenes in opened[:2])
    np.testing.assert_array_equal(one, other)


def test_it_is_a_source_of_the_nine_bands_of_t3(folder: Path) -> None:
    opened = source(folder, gsd=10.0)
    assert isinstance(opened, Source)
    assert opened.sensor.bands == T3_BANDS
    assert opened.sensor.gsd == 10.0
    sample = opened.scenes("test").read(0, Window(3, 5, 20, 30))
    assert sample["image"].shape == (20, 30, 9)
    assert sample["image"].dtype == np.float32
    assert sample["valid"].all()
    assert opened.rgb(sample["image"]).shape == (20, 30, 3)
    assert config_text.from_json(config_text.to_json(opened)) == opened


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"classes": ("one", "two")}, "ids has 3 entries for 2 classes"),
        ({"ids": (1, 2, 2)}, "given twice"),
        ({"ids": (0, 1, 2)}, "given twice"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        source(Path("nowhere"), **fields)


def test_a_fault_of_labels_is_named(tmp_path: Path) -> None:
    folder = labelled(tmp_path)
    with pytest.raises(UserError, match=r"nowhere: no such file or folder.*source\.path"):
        source(folder, path="nowhere").scenes("train")
    with pytest.raises(UserError, match="choose one of train, validation, test"):
        source(folder).scenes("val")
    for number, (label, words) in enumerate(
        [
            (np.ones((48, 47), np.uint8), r"label0.png has 48 x 47 pixels.*T3 has 48 x 48"),
            (np.full((48, 48), 7, np.uint8), "label1.png: id 7 at row 0, column 0"),
            (np.zeros((48, 48), np.uint8), "label2.png has no labelled pixel"),
            (np.zeros((48, 48, 3), np.uint8), "label3.png has 3 bands"),
        ]
    ):
        Image.fromarray(label).save(tmp_path / f"label{number}.png")
        with pytest.raises(UserError, match=words):
            source(folder, labels=str(tmp_path / f"label{number}.png")).scenes("train")


def test_labels_of_another_place_are_refused(tmp_path: Path) -> None:
    looks, ids = scattering(48, 48), np.asarray(Image.open(labelled(tmp_path) / "label.png"))
    grid = {"height": 48, "width": 48, "crs": "EPSG:32631", "driver": "GTiff"}
    place = from_origin(5e5, 5e6, 10, 10)
    with rasterio.open(
        tmp_path / "s2.tif", "w", count=4, dtype="complex64", transform=place, **grid
    ) as file:
        file.write(np.moveaxis(looks, -1, 0))
    for east in (5e5, 5e5 + 30):
        with rasterio.open(
            tmp_path / f"label{east:.0f}.tif",
            "w",
            count=1,
            dtype="uint8",
            transform=from_origin(east, 5e6, 10, 10),
            **grid,
        ) as file:
            file.write(ids, 1)
    scene = {"path": str(tmp_path / "s2.tif")}
    assert source(tmp_path, labels=str(tmp_path / "label500000.tif"), **scene).scenes("train")
    with pytest.raises(UserError, match=r"label500030.tif lies 3 pixels off its image .*s2.tif"):
        source(tmp_path, labels=str(tmp_path / "label500030.tif"), **scene).scenes("train")


def test_a_corner_of_impossible_matrices_is_invalid_and_a_scene_of_them_refused(
    tmp_path: Path,
) -> None:
    folder = labelled(tmp_path)
    file = folder / "T3" / "T11.bin"
    power = np.fromfile(file, "<f4").reshape(48, 48)
    power[:12, :12] *= -1
    power.tofile(file)
    scenes = source(folder).scenes("train")
    assert not scenes.read(0, Window(0, 0, 12, 12))["valid"].any()
    assert scenes.read(0, Window(12, 12, 36, 36))["valid"].all()
    # Anew, because what was opened is kept.
    other = labelled(tmp_path / "other")
    (-power).tofile(other / "T3" / "T11.bin")
    with pytest.raises(
        UserError, match=r"other/T3: 2160 of 2304 pixels .* not Hermitian, positive"
    ):
        source(other).scenes("train")


def test_the_split_is_that_of_blocks_by_the_sources_settings(folder: Path) -> None:
    ids = np.asarray(Image.open(folder / "label.png"))
    label = np.where(ids == 0, IGNORE, ids - 1.0).astype(np.uint8)
    settings: dict[str, Any] = {"block": 6, "guard": 1, "fractions": (0.3, 0.3, 0.4), "seed": 5}
    expected = spatial_split.block_split(label, draws=200, **settings)
    opened = source(folder, split=SceneSplit(**settings))
    for number, split in enumerate(SPLITS):
        found = opened.scenes(split).read(0, WHOLE)["label"]
        np.testing.assert_array_equal(found, np.where(expected == number, label, IGNORE))


def test_a_window_shows_bands_and_labels_of_one_place(folder: Path) -> None:
    scenes = source(folder).scenes("train")
    assert (len(scenes), scenes.size(0)) == (1, (48, 48))
    assert scenes.name(0) == f"{folder / 'T3'}, train pixels"
    whole, part = scenes.read(0, WHOLE), scenes.read(0, Window(5, 17, 20, 30))
    for field, pixels in whole.items():
        np.testing.assert_array_equal(part[field], pixels[5:25, 17:47])
    assert not np.shares_memory(part["label"], scenes.read(0, WHOLE)["label"])
    stored = np.fromfile(folder / "T3" / "T22.bin", "<f4").reshape(48, 48)
    np.testing.assert_array_equal(whole["image"][..., 1], stored)
    part["label"][:] = 77
    assert (scenes.read(0, WHOLE)["label"] == whole["label"]).all()


def test_a_picture_is_red_for_double_bounce_green_for_volume_and_blue_for_surface() -> None:
    power = np.zeros((1, 2, 9), np.float32)
    power[0, 0, :3] = (0.1, 1.0, 0.01)  # T11 surface, T22 double bounce, T33 volume
    shown = source(Path("nowhere")).rgb(power)
    np.testing.assert_allclose(shown[0, 0], (0.0, -20.0, -10.0), atol=1e-4)
    np.testing.assert_allclose(shown[0, 1], -60)  # what no power is drawn as
    assert shown.dtype == np.float32


def test_what_the_source_says_of_itself_is_what_it_was_told() -> None:
    told = source(Path("nowhere"), gsd=None)
    assert told.classes == ("surface", "double bounce", "volume")
    assert told.colors == ((0, 0, 255), (255, 0, 0), (0, 255, 0))
    sensor = told.sensor
    assert (sensor.unit, sensor.scale, sensor.gsd) == ("coherency", 1.0, None)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"map_colors": ((0, 0, 0),) * 2}, "map_colors has 2 entries"),
        ({"map_colors": ((0, 0, 0), (0, 0, 0), (0, 0, 256))}, "0 to 255"),
        ({"ignore_ids": (3,)}, "given twice"),
    ],
)
def test_each_setting_that_cannot_be_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        source(Path("nowhere"), **fields)


def test_missing_labels_and_scenes_of_two_channels_are_refused(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"absent\.png: no such file or folder.*source\.labels"):
        source(folder, labels=str(tmp_path / "absent.png")).scenes("train")
    t3 = wishart(np.full((48, 48, 3), 0.1, np.float32), 4, np.random.default_rng(0))
    write_polsarpro(tmp_path / "C2", "C2", t3[..., [0, 1, 3, 4]])
    with pytest.raises(UserError, match=r"C2 is a C2 of two channels"):
        source(folder, path=str(tmp_path / "C2")).scenes("train")
    label = np.ones((47, 48), np.uint8)
    Image.fromarray(label).save(tmp_path / "short.png")
    with pytest.raises(UserError, match=r"short.png has 47 x 48 pixels"):
        source(folder, labels=str(tmp_path / "short.png")).scenes("train")
    label = np.ones((48, 48), np.uint8)
    label[3, 5] = label[9, 9] = 9
    Image.fromarray(label).save(tmp_path / "odd.png")
    with pytest.raises(UserError, match=r"id 9 at row 3, column 5 \(2 pixels\) is not a class"):
        source(folder, labels=str(tmp_path / "odd.png")).scenes("train")


def test_matrices_and_labels_may_be_arrays_of_one_file(folder: Path, tmp_path: Path) -> None:
    expected = source(folder).scenes("train").read(0, WHOLE)
    t3 = source(folder).scenes("train").scene.read(WHOLE)
    ids = np.asarray(Image.open(folder / "label.png"))
    for labels in ({"gt": ids}, {"gt": ids, "old": ids * 0}):
        path = str(tmp_path / f"{len(labels)}.npz")
        np.savez(path, T3=t3, **labels)
        named = {"labels_name": "gt"} if len(labels) > 1 else {}
        found = source(folder, path=path, labels=path, **named).scenes("train").read(0, WHOLE)
        for field, values in expected.items():
            np.testing.assert_array_equal(found[field], values)
    with pytest.raises(UserError, match=r"2 arrays of 2 axes.*labels-name gt"):
        source(folder, path=path, labels=path).scenes("train")
    np.save(tmp_path / "short.npy", ids[1:])
    with pytest.raises(UserError, match=r"short\.npy has 47 x 48 pixels"):
        source(folder, labels=str(tmp_path / "short.npy")).scenes("train")


@pytest.mark.slow
@pytest.mark.real_data
def test_airsar_has_all_classes_in_every_split() -> None:
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is absent: the real sets lie beside the checkout")
    flags = ["--config.data.source.path", str(DATA / "T3")]
    flags += ["--config.data.source.labels", str(DATA / "label.png")]
    opened: Any = configs.override(configs.load_config(str(CONFIG)), flags, "test").data.source
    labels = []
    for split in SPLITS:
        scenes = opened.scenes(split)
        sample = scenes.read(0, Window(0, 0, *scenes.size(0)))
        assert sample["valid"].all()
        labels.append(sample["label"])
    shown = np.array(labels)
    assert ((shown != IGNORE).sum(0) <= 1).all()
    counts = np.array([np.bincount(label[label != IGNORE], minlength=5) for label in labels])
    assert counts.min() > 100
    assert counts.sum() > 100_000
