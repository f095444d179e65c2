"""Masks as vectors, and masks on another grid than their images."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pyproj
import pytest
import rasterio
import rasterio.features
import shapely
from fixtures.folder_files import Array, read, tiff
from fixtures.vector_files import UTM, write_vectors
from rasterio.transform import from_origin
from rasterio.warp import transform_bounds

from jaxseg.config_text.stored import from_json, to_json
from jaxseg.datasets.folder import Folder, Vectors, vector_labels
from jaxseg.errors import UserError
from jaxseg.files import vectors as files
from jaxseg.scenes.scene import IGNORE, Window

H, W = 40, 60
ALL = Window(0, 0, H, W)
CLASSES = ("ground", "house", "water")


def place(row: float, column: float) -> tuple[float, float]:
    x, y = UTM["transform"] @ (column, row)
    return float(x), float(y)


def shape(*corners: tuple[float, float]) -> Any:
    return shapely.Polygon([place(*corner) for corner in corners])


HOUSE = shape((3.2, 4.1), (3.2, 20.3), (15.7, 18.2), (12.4, 2.2))
POND = shape((10.137, 30.313), (35.219, 22.271), (30.419, 55.173), (8.237, 40.311))
ISLAND = shape((18, 33), (22, 33), (22, 41), (18, 41))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    tiff(tmp_path / "images" / "a.tif", np.ones((H, W, 3), np.uint8), **UTM)
    return tmp_path / "images"


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    kinds = {"kind": ["house", "water", "ground"], "code": [7, 9, 1]}
    return write_vectors(tmp_path / "labels.gpkg", [HOUSE, POND, ISLAND], kinds)


def folder(images: Path, masks: Path, classes: tuple[str, ...] = CLASSES, **fields: Any) -> Folder:
    usual = {"images": str(images), "masks": str(masks), "fractions": (1.0, 0.0, 0.0)}
    return Folder(**usual | {"classes": classes} | fields)


def expected(*shapes: Any, numbers: tuple[int, ...] = (1, 2, 0), **how: Any) -> Array:
    return rasterio.features.rasterize(
        zip(shapes or (HOUSE, POND, ISLAND), numbers, strict=False),
        (H, W),
        transform=UTM["transform"],
        dtype="uint8",
        **how,
    )


@pytest.mark.parametrize("ending", [".gpkg", ".fgb", ".geojson"])
def test_every_window_has_the_pixels_of_the_whole(
    images: Path, labels: Path, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"copy{ending}"
    kinds: dict[str, list[Any]] = {"kind": ["house", "water"]}
    write_vectors(path, [HOUSE, POND], kinds)
    source = folder(images, path, vectors=Vectors(attribute="kind"))
    whole = read(source, window=ALL)["label"]
    np.testing.assert_array_equal(whole, expected(HOUSE, POND))
    assert set(np.unique(whole)) == {0, 1, 2}
    random = np.random.default_rng(0)
    for _ in range(12):
        y, x = random.integers(0, (H - 5, W - 5))
        height, width = random.integers(1, (H - y + 1, W - x + 1))
        part = read(source, window=Window(int(y), int(x), int(height), int(width)))["label"]
        np.testing.assert_array_equal(part, whole[y : y + height, x : x + width])


def test_only_what_a_window_meets_is_read(
    images: Path, labels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    whole = files.read

    def counted(*args: Any) -> Any:
        found = whole(*args)
        seen.append(len(found.geometry))
        return found

    monkeypatch.setattr(files, "read", counted)
    source = folder(images, labels, vectors=Vectors(attribute="kind"))
    read(source, window=Window(0, 0, 8, 8))
    read(source, window=Window(38, 58, 2, 2))
    read(source, window=ALL)
    assert seen == [1, 0, 3]


def test_a_later_feature_lies_on_an_earlier_one(images: Path, labels: Path) -> None:
    label = read(folder(images, labels, vectors=Vectors(attribute="kind")), window=ALL)["label"]
    np.testing.assert_array_equal(label, expected())
    assert (label[19:21, 35:40] == 0).all()


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3035", "EPSG:32633"])
def test_another_crs_is_reprojected(images: Path, tmp_path: Path, crs: str) -> None:
    to = pyproj.Transformer.from_crs("EPSG:32632", crs, always_xy=True)
    moved = [
        shapely.transform(p, lambda xy: np.stack(to.transform(*xy.T), 1)) for p in (HOUSE, POND)
    ]
    write_vectors(tmp_path / "l.gpkg", moved, {"kind": ["house", "water"]}, crs=crs)
    source = folder(images, tmp_path / "l.gpkg", vectors=Vectors(attribute="kind"))
    np.testing.assert_array_equal(read(source, window=ALL)["label"], expected(HOUSE, POND))


def test_values_of_an_attribute_are_classes(images: Path, labels: Path) -> None:
    how = Vectors(attribute="code", values=("", "7", "9"), ignore_values=("1",))
    label = read(folder(images, labels, vectors=how), window=ALL)["label"]
    np.testing.assert_array_equal(label, expected(numbers=(1, 2, IGNORE)))


def test_without_an_attribute_every_feature_is_the_second_class(images: Path, labels: Path) -> None:
    label = read(folder(images, labels, ("rest", "thing")), window=ALL)["label"]
    np.testing.assert_array_equal(label, expected(numbers=(1, 1, 1)))
    with pytest.raises(UserError, match=r"vectors.attribute is empty, and there are 3 classes"):
        folder(images, labels).scenes("train")


def test_a_value_that_is_no_class_is_refused(images: Path, labels: Path) -> None:
    how = Vectors(attribute="kind")
    with pytest.raises(UserError, match=r"labels.gpkg: kind 'house' is not a class.*ignore-values"):
        read(folder(images, labels, ("ground", "roof", "water"), vectors=how), window=ALL)
    with pytest.raises(UserError, match=r"vectors.attribute type: .* kind, code"):
        folder(images, labels, vectors=Vectors(attribute="type")).scenes("train")
    with pytest.raises(UserError, match=r"vectors.values has 2 entries for 3 classes"):
        folder(images, labels, vectors=Vectors(attribute="kind", values=("a", "b"))).scenes("train")


def test_pixels_in_no_feature_or_outside_the_area_are_ignored(
    images: Path, labels: Path, tmp_path: Path
) -> None:
    how = Vectors(attribute="kind", uncovered="ignore")
    label = read(folder(images, labels, vectors=how), window=ALL)["label"]
    np.testing.assert_array_equal(label, expected(fill=IGNORE))
    left = shape((0, 0), (0, 30), (40, 30), (40, 0))
    area = write_vectors(tmp_path / "area.geojson", [left], {"n": [1]}, crs="EPSG:32632")
    how = Vectors(attribute="kind", area=str(area))
    source = folder(images, labels, vectors=how)
    label = read(source, window=ALL)["label"]
    np.testing.assert_array_equal(label[:, :30], expected()[:, :30])
    assert (label[:, 30:] == IGNORE).all()
    assert str(area) in source.scenes("train").files(0)


def test_all_pixels_that_are_touched(images: Path, labels: Path) -> None:
    how = Vectors(attribute="kind", all_touched=True)
    label = read(folder(images, labels, vectors=how), window=ALL)["label"]
    np.testing.assert_array_equal(label, expected(all_touched=True))
    assert (label > 0).sum() > (expected() > 0).sum()


@pytest.mark.parametrize("degrees", [False, True])
def test_points_and_lines_are_as_wide_as_their_buffer(tmp_path: Path, degrees: bool) -> None:
    form = dict(UTM)
    if degrees:
        west, south, east, north = transform_bounds(
            "EPSG:32632", "EPSG:4326", *place(H, 0), *place(0, W)
        )
        step = (east - west) / W, (north - south) / H
        form = {"crs": "EPSG:4326", "transform": from_origin(west, north, *step)}
    tiff(tmp_path / "images" / "a.tif", np.ones((H, W, 3), np.uint8), **form)
    road = shapely.LineString([place(20, 10), place(20, 50)])
    tree = shapely.Point(place(6, 30))
    masks = write_vectors(tmp_path / "l.gpkg", [road, tree], {"kind": ["road", "tree"]})
    classes = ("ground", "road", "tree")
    source = folder(
        tmp_path / "images", masks, classes, vectors=Vectors(attribute="kind", buffer=30.0)
    )
    label = read(source, window=ALL)["label"]
    road_area, tree_area = (100.0 * (label == k).sum() for k in (1, 2))
    assert road_area == pytest.approx(2 * 30 * 400 + np.pi * 30**2, rel=0.1)
    assert tree_area == pytest.approx(np.pi * 30**2, rel=0.25)
    near = read(source, window=Window(21, 20, 1, 20))["label"]  # the line itself is outside
    assert (near == 1).all()
    with pytest.raises(UserError, match=r"points or lines.*vectors.buffer 2.5"):
        read(folder(tmp_path / "images", masks, classes, vectors=Vectors(attribute="kind")))


def test_a_file_for_all_images_or_one_for_each(images: Path, labels: Path, tmp_path: Path) -> None:
    shutil.copy(images / "a.tif", images / "b.tif")
    how = Vectors(attribute="kind")
    scenes = folder(images, labels, vectors=how).scenes("train")
    assert [Path(scenes.files(n)[1]).name for n in range(len(scenes))] == ["labels.gpkg"] * 2
    masks = tmp_path / "masks"
    masks.mkdir()
    write_vectors(masks / "a.fgb", [HOUSE], {"kind": ["house"]})
    write_vectors(masks / "b.fgb", [POND], {"kind": ["water"]})
    source = folder(images, masks, vectors=how)
    np.testing.assert_array_equal(read(source, index=0, window=ALL)["label"], expected(HOUSE))
    np.testing.assert_array_equal(
        read(source, index=1, window=ALL)["label"], expected(POND, numbers=(2,))
    )
    # Pictures come first: annotations of other programs lie beside them.
    tiff(masks / "a.tif", expected(), **UTM)
    tiff(masks / "b.tif", expected(), **UTM)
    assert folder(images, masks).scenes("train").files(0)[1].endswith("a.tif")


def test_it_has_to_be_known_where_features_lie(tmp_path: Path, labels: Path) -> None:
    tiff(tmp_path / "bare" / "a.tif", np.ones((H, W, 3), np.uint8))
    source = folder(tmp_path / "bare", labels, vectors=Vectors(attribute="kind"))
    with pytest.raises(UserError, match=r"labels.gpkg has the CRS EPSG:32632, its image None"):
        read(source, window=ALL)


def test_a_large_file_without_an_index_is_said_to_be_slow(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    path = write_vectors(tmp_path / "l.geojson", [HOUSE], {"kind": ["house"]})
    monkeypatch.setattr(vector_labels, "SLOW", 100)
    folder(images, path, vectors=Vectors(attribute="kind")).scenes("train")
    assert "has no spatial index" in capsys.readouterr().err


def test_a_file_that_is_none_is_refused(images: Path, tmp_path: Path) -> None:
    (tmp_path / "l.gpkg").write_text("nothing")
    with pytest.raises(UserError, match=r"Cannot read .*l.gpkg"):
        folder(images, tmp_path / "l.gpkg", ("a", "b")).scenes("train")


# -- masks on another grid ---------------------------------------------------------------------


def coarse(path: Path, **profile: Any) -> tuple[Path, Array]:
    """A mask of pixels twice as large that covers all but the last ten columns."""
    mask = np.random.default_rng(1).integers(0, 3, (20, 25)).astype(np.uint8)
    grid = {"crs": UTM["crs"], "transform": from_origin(600_000.0, 5_300_000.0, 20.0, 20.0)}
    return tiff(path, mask, **grid | profile), mask


@pytest.mark.parametrize("tags", [{}, {"nodata": 255}, {"nodata": 7}])
def test_a_mask_of_other_pixels_is_read_from_the_nearest(
    images: Path, tmp_path: Path, tags: dict[str, int]
) -> None:
    path, mask = coarse(tmp_path / "masks" / "a.tif", **tags)
    with pytest.raises(UserError, match=r"--config.data.source.resample-masks"):
        folder(images, path.parent).scenes("train")
    source = folder(images, path.parent, resample_masks=True)
    label = read(source, window=ALL)["label"]
    np.testing.assert_array_equal(label[:, :50], np.kron(mask, np.ones((2, 2), np.uint8)))
    assert (label[:, 50:] == IGNORE).all()
    part = read(source, window=Window(7, 41, 12, 13))["label"]
    np.testing.assert_array_equal(part, label[7:19, 41:54])


def test_a_mask_in_another_crs_is_read_from_the_nearest(images: Path, tmp_path: Path) -> None:
    bounds = transform_bounds("EPSG:32632", "EPSG:4326", *place(H + 5, -5), *place(-5, W + 5))
    step = 0.00002
    size = round((bounds[3] - bounds[1]) / step), round((bounds[2] - bounds[0]) / step)
    grid = from_origin(bounds[0], bounds[3], step, step)
    to = pyproj.Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True)
    moved = [
        shapely.transform(p, lambda xy: np.stack(to.transform(*xy.T), 1)) for p in (HOUSE, POND)
    ]
    fine = rasterio.features.rasterize(
        zip(moved, (1, 2), strict=True), size, transform=grid, dtype="uint8"
    )
    path = tiff(tmp_path / "masks" / "a.tif", fine, crs="EPSG:4326", transform=grid)
    label = read(folder(images, path.parent, resample_masks=True), window=ALL)["label"]
    assert (label != expected(HOUSE, POND)).mean() < 0.01  # centres within two metres of a border


def test_a_mask_that_fits_is_not_resampled(images: Path, tmp_path: Path) -> None:
    tiff(tmp_path / "masks" / "a.tif", expected(), **UTM)
    source = folder(images, tmp_path / "masks", resample_masks=True)
    assert source.scenes("train").entries[0].grid is None
    np.testing.assert_array_equal(read(source, window=ALL)["label"], expected())


def test_resampling_needs_to_know_where_both_lie(images: Path, tmp_path: Path) -> None:
    tiff(tmp_path / "masks" / "a.tif", np.zeros((9, 9), np.uint8))
    with pytest.raises(UserError, match=r"Without a CRS in both files, .*resample-masks cannot"):
        folder(images, tmp_path / "masks", resample_masks=True).scenes("train")
    with pytest.raises(UserError, match=r"leave .*mask-nodata keep out"):
        folder(images, tmp_path / "masks", resample_masks=True, mask_nodata="keep")


def test_vectors_are_stored_with_a_run_and_opened_again() -> None:
    how = Vectors(attribute="kind", values=("", "7"), buffer=2.0)
    source = Folder(images="a", masks="l.gpkg", classes=("rest", "house"), vectors=how)
    assert from_json(json.loads(json.dumps(to_json(source)))) == source


def test_the_formats_that_are_read_are_known_to_the_driver() -> None:
    drivers = pyogrio.list_drivers(read=True)
    assert {"GPKG", "FlatGeobuf", "GeoJSON", "ESRI Shapefile"} <= set(drivers)
