"""A scene of arrays: found by shape or name, turned by its fields, labels by id, faults told."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures.places import SHARED
from PIL import Image
from scipy import io

from jaxseg import config_text
from jaxseg.datasets.arrays.source import ArrayScene
from jaxseg.datasets.leakage import refuse_trained_pixels
from jaxseg.datasets.one_scene import SceneSplit
from jaxseg.errors import UserError
from jaxseg.scenes.scene import IGNORE, Source, Window

ROWS, COLUMNS, BANDS = 40, 48, 5
WHOLE = Window(0, 0, ROWS, COLUMNS)
SPLITS = ("train", "validation", "test")
RANDOM = np.random.default_rng(0)
CUBE = RANDOM.integers(-9, 900, (ROWS, COLUMNS, BANDS)).astype(np.int16)
TRUTH = np.array([0, 1, 10, 12], np.uint8)[(np.indices((ROWS, COLUMNS)) // 8).sum(0) % 4]
EXPECTED = np.select([TRUTH == 1, TRUTH == 10, TRUTH == 12], [0, 1, 2], IGNORE)


def scene(image: Path | str, labels: Path | str = "", **more: Any) -> ArrayScene:
    fields: dict[str, Any] = {
        "image": str(image),
        "labels": str(labels),
        "classes": ("corn", "oats", "woods"),
        "ids": (1, 10, 12),
        "ignore_ids": (0,),
        "split": SceneSplit("pixels"),  # blocks take a second
    }
    return ArrayScene(**fields | more)


def whole(source: ArrayScene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, validity and the labels of all splits together."""
    source = ArrayScene(
        **{name: getattr(source, name) for name in source.__dataclass_fields__}
        | {"split": SceneSplit("pixels", (1.0, 0.0, 0.0))}
    )
    sample = source.scenes("train").read(0, WHOLE)
    return sample["image"], sample["valid"], sample["label"]


def save(folder: Path, ending: str, image: Any = CUBE, truth: Any = TRUTH) -> ArrayScene:
    if ending == ".npy":
        np.save(folder / "image.npy", image)
        np.save(folder / "truth.npy", truth)
        return scene(folder / "image.npy", folder / "truth.npy")
    if ending == ".npz":
        np.savez(folder / "both.npz", data=image, gt=truth)
        return scene(folder / "both.npz")
    io.savemat(folder / "image.mat", {"cube": image})
    io.savemat(folder / "truth.mat", {"gt": truth}, do_compression=True)
    return scene(folder / "image.mat", folder / "truth.mat")


@pytest.mark.parametrize("ending", [".mat", ".npy", ".npz"])
def test_numbers_are_those_of_the_files_and_ids_become_classes(tmp_path: Path, ending: str) -> None:
    source = save(tmp_path, ending)
    assert isinstance(source, Source)
    image, valid, label = whole(source)
    np.testing.assert_array_equal(image, CUBE)
    np.testing.assert_array_equal(label, EXPECTED)
    assert (image.dtype, label.dtype, valid.all()) == (np.int16, np.uint8, True)
    assert source.sensor.bands == ("band1", "band2", "band3", "band4", "band5")
    assert config_text.from_json(config_text.to_json(source)) == source
    part = source.scenes("train").read(0, Window(3, 7, 10, 20))["image"]
    np.testing.assert_array_equal(part, CUBE[3:13, 7:27])
    assert part.flags.c_contiguous


def test_splits_share_the_image_and_no_label(tmp_path: Path) -> None:
    save(tmp_path, ".npz")
    source = scene(tmp_path / "both.npz", split=SceneSplit(block=8, guard=1))
    shown = np.array([source.scenes(s).read(0, WHOLE)["label"] != IGNORE for s in SPLITS])
    assert shown.any((1, 2)).all()
    assert shown.sum(0).max() == 1
    assert not shown[:, TRUTH == 0].any()
    assert source.scenes("test").name(0).endswith("both.npz, test pixels")
    with pytest.raises(UserError, match="choose one of train, validation, test"):
        source.scenes("val")


@pytest.mark.parametrize(
    "axes", ["rows-columns-bands", "bands-rows-columns", "columns-rows-bands", "bands-columns-rows"]
)
@pytest.mark.parametrize("label_axes", ["rows-columns", "columns-rows"])
def test_every_order_of_axes_is_turned_and_another_one_is_told(
    tmp_path: Path, axes: str, label_axes: str
) -> None:
    order = [("rows", "columns", "bands").index(name) for name in axes.split("-")]
    labels = TRUTH if label_axes == "rows-columns" else TRUTH.T
    save(tmp_path, ".npz", CUBE.transpose(order), labels)
    image, _, label = whole(scene(tmp_path / "both.npz", image_axes=axes, label_axes=label_axes))
    np.testing.assert_array_equal(image, CUBE)
    np.testing.assert_array_equal(label, EXPECTED)
    turned = axes.index("rows") > axes.index("columns")
    if (axes, label_axes) == ("rows-columns-bands", "rows-columns"):
        return
    if axes == "columns-rows-bands" and label_axes == "columns-rows":  # the same scene, mirrored
        image, _, label = (
            scene(tmp_path / "both.npz").scenes("train").read(0, Window(0, 0, COLUMNS, ROWS))
        ).values()
        np.testing.assert_array_equal(image, CUBE.swapaxes(0, 1))
        return
    with pytest.raises(UserError, match=r"They agree with --config\.data\.source\.") as told:
        scene(tmp_path / "both.npz").scenes("train")
    bands_first = axes.startswith("bands")
    assert ("image-axes bands-" in str(told.value)) == bands_first
    mixed = turned != (label_axes == "columns-rows")
    flags = str(told.value).partition("They agree with ")[2].split()
    fixed = {
        flag.rpartition(".")[2].replace("-", "_"): value
        for flag, value in zip(flags[::2], flags[1::2], strict=True)
    }
    assert bands_first or mixed
    scene(tmp_path / "both.npz", **fixed).scenes("train")


def test_several_ids_may_be_one_class(tmp_path: Path) -> None:
    save(tmp_path, ".npz", truth=np.where(TRUTH == 12, 13, TRUTH))
    joined = scene(
        tmp_path / "both.npz", classes=("corn", "rest"), ids=(1, 10), same_ids=((13, 10),)
    )
    expected = np.select([TRUTH == 1, np.isin(TRUTH, (10, 12))], [0, 1], IGNORE)
    np.testing.assert_array_equal(whole(joined)[2], expected)
    with pytest.raises(UserError, match=r"id 13 .* --config\.data\.source\.ids 1 10 12 13 with"):
        scene(tmp_path / "both.npz").scenes("train")


def test_sizes_that_no_order_brings_together_are_refused(tmp_path: Path) -> None:
    source = save(tmp_path, ".npy", truth=TRUTH[:-1])
    with pytest.raises(UserError, match=r"40 x 48 pixels .* 39 x 48.*same ground, pixel by pixel"):
        source.scenes("train")


def test_several_arrays_are_listed_and_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "many.npz"
    np.savez(path, raw=CUBE, clean=CUBE * 2, gt=TRUTH, old=TRUTH * 0)
    with pytest.raises(UserError) as told:
        scene(path).scenes("train")
    for words in ("raw (40 x 48 x 5, int16)", "old (40 x 48, uint8)", "image-name raw"):
        assert words in str(told.value)
    with pytest.raises(UserError, match=r"labels_name.*--config\.data\.source\.labels-name gt"):
        scene(path, image_name="clean").scenes("train")
    image, _, label = whole(scene(path, image_name="clean", labels_name="gt"))
    np.testing.assert_array_equal(image, CUBE * 2)
    np.testing.assert_array_equal(label, EXPECTED)
    with pytest.raises(UserError, match="no array 'cube'"):
        scene(path, image_name="cube").scenes("train")


def test_one_band_and_labels_with_an_axis_of_length_1(tmp_path: Path) -> None:
    np.save(tmp_path / "radar.npy", CUBE[..., 0].astype(np.float32))
    np.save(tmp_path / "truth.npy", TRUTH[..., None])
    source = scene(tmp_path / "radar.npy", tmp_path / "truth.npy")
    image, _, label = whole(source)
    np.testing.assert_array_equal(image, CUBE[..., :1])
    np.testing.assert_array_equal(label, EXPECTED)
    assert source.sensor.bands == ("band1",)
    assert source.rgb(image).shape == (ROWS, COLUMNS, 3)


def test_labels_may_be_a_picture(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", CUBE)
    Image.fromarray(TRUTH).save(tmp_path / "truth.png")
    source = scene(tmp_path / "image.npy", tmp_path / "truth.png")
    np.testing.assert_array_equal(whole(source)[2], EXPECTED)


@pytest.mark.parametrize(
    ("stored", "read"),
    [(">i2", "<i2"), ("f8", "f4"), ("i8", "f4"), ("f2", "f4"), ("?", "u1"), ("u2", "u2")],
)
def test_types_are_those_that_devices_compute_with(tmp_path: Path, stored: str, read: str) -> None:
    cube = np.abs(CUBE).astype(stored)
    image, _, _ = whole(save(tmp_path, ".npy", cube))
    assert image.dtype == np.dtype(read)
    np.testing.assert_array_equal(image, cube.astype(read))


def test_pixels_without_data_are_invalid(tmp_path: Path) -> None:
    cube = CUBE.astype(np.float32) + 100
    cube[0, 0, 2] = np.nan
    cube[1, 1, 0] = 0.0
    cube[2, 2] = 0.0
    save(tmp_path, ".npy", cube)
    for where, count in (("any_band", 3), ("all_bands", 2)):
        source = scene(
            tmp_path / "image.npy", tmp_path / "truth.npy", nodata=0.0, nodata_where=where
        )
        valid = whole(source)[1]
        assert (~valid).sum() == count
        assert not valid[0, 0]
        assert not valid[2, 2]


def test_wavelengths_come_from_the_file_or_the_config(tmp_path: Path) -> None:
    waves = np.array([0.45, 0.48, 0.56, 0.66, 0.85])
    io.savemat(tmp_path / "a.mat", {"cube": CUBE, "gt": TRUTH, "waves": waves})
    source = scene(tmp_path / "a.mat", wavelengths_name="waves", unit="radiance", gsd=3.7)
    assert source.sensor.wavelengths == (450.0, 480.0, 560.0, 660.0, 850.0)
    assert (source.sensor.unit, source.sensor.gsd) == ("radiance", 3.7)
    np.testing.assert_array_equal(source.rgb(CUBE), CUBE[..., [3, 2, 1]])
    assert scene(tmp_path / "a.mat", wavelengths=(1.0,) * 5).sensor.wavelengths == (1.0,) * 5
    with pytest.raises(UserError, match=r"wavelengths has 2 entries for 5 band"):
        _ = scene(tmp_path / "a.mat", wavelengths=(500.0, 600.0)).sensor
    with pytest.raises(UserError, match="not both"):
        scene(tmp_path / "a.mat", wavelengths=(500.0,), wavelengths_name="waves")
    with pytest.raises(UserError, match=r"band-names has 1 entries, but .* has 5 band"):
        _ = scene(tmp_path / "a.mat", band_names=("red",)).sensor


def test_ids_that_are_not_known_are_listed_with_flags_that_state_them(tmp_path: Path) -> None:
    truth = TRUTH.copy()
    truth[3, 4:6] = 7
    save(tmp_path, ".npy", truth=truth)
    files = tmp_path / "image.npy", tmp_path / "truth.npy"
    with pytest.raises(UserError, match=r"id 7 at row 3, column 4 \(2 pixels\)") as told:
        scene(*files).scenes("train")
    assert f"1: {(truth == 1).sum()}, 7: 2, 10: {(truth == 10).sum()}" in str(told.value)
    assert "--config.data.source.ids 1 10 12 7 with" in str(told.value)
    assert str(told.value).endswith("--config.data.source.ignore-ids 0 7")
    scene(*files, ignore_ids=(0, 7)).scenes("train")
    more = scene(*files, ids=(1, 10, 12, 7), classes=("a", "b", "c", "d"))
    assert whole(more)[2][3, 4] == 3
    with pytest.raises(UserError, match="no labelled pixel"):
        scene(*files, ids=(50, 51, 52), ignore_ids=(0, 1, 7, 10, 12)).scenes("train")


def test_what_is_no_scene_of_arrays_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "truth.npy", TRUTH)
    for name, image, words in (
        ("c.npy", CUBE.astype(np.complex64), "complex values. Use LabelledPolsar"),
        ("four.npy", CUBE[None], "not one image"),
        ("none.npy", CUBE[:0], "not one image"),
    ):
        np.save(tmp_path / name, image)
        with pytest.raises(UserError, match=words):
            scene(tmp_path / name, tmp_path / "truth.npy").scenes("train")
    with pytest.raises(UserError, match=r"absent\.npy: no such file.*source\.image"):
        scene(tmp_path / "absent.npy").scenes("train")
    (tmp_path / "photo.tif").touch()
    with pytest.raises(UserError, match=r"is not a file of arrays.*Folder"):
        scene(tmp_path / "photo.tif").scenes("train")


def test_a_copy_that_is_split_otherwise_is_found(tmp_path: Path) -> None:
    source = save(tmp_path, ".npz")
    copy = tmp_path / "copy.npz"
    copy.write_bytes((tmp_path / "both.npz").read_bytes())
    assert refuse_trained_pixels(source, scene(copy), "test") == 0.0
    other = scene(copy, split=SceneSplit("pixels", seed=3))
    with pytest.raises(UserError, match=r"may have been trained on pixels.*seed 0 -> 3"):
        refuse_trained_pixels(source, other, "test")
    np.savez(copy, data=CUBE + 1, gt=TRUTH)
    assert refuse_trained_pixels(source, other, "test") == 0.0


@pytest.mark.real_data
def test_the_real_scenes_are_read() -> None:
    data = SHARED / "data"
    if not data.is_dir():
        pytest.skip(f"{data} is absent: the real sets lie beside the checkout")
    clouds = ArrayScene(
        image=str(data / "clouds_ukis_csmask" / "sentinel2.npz"),
        classes=("shadow", "water", "land", "cloud"),
        ids=(0, 1, 3, 4),
        split=SceneSplit("pixels", (1.0, 0.0, 0.0)),
    )
    sample = clouds.scenes("train").read(0, Window(0, 0, 512, 512))
    assert sample["image"].shape == (512, 512, 6)
    assert np.bincount(sample["label"].ravel()).tolist() == [28583, 840, 183124, 49597]


@pytest.mark.parametrize(("bands", "shown"), [(15, [0, 1, 2]), (16, [8, 4, 2])])
def test_of_many_bands_without_names_three_far_apart_are_shown(
    tmp_path: Path, bands: int, shown: list[int]
) -> None:
    cube = np.tile(np.arange(bands, dtype=np.float32), (ROWS, COLUMNS, 1))
    np.save(tmp_path / "image.npy", cube)
    np.save(tmp_path / "truth.npy", TRUTH)
    source = scene(tmp_path / "image.npy", tmp_path / "truth.npy")
    np.testing.assert_array_equal(source.rgb(cube)[0, 0], shown)
