"""Folders of the real sets beside the checkout: each is read as its makers meant it."""

from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pyproj
import pytest
import shapely
from fixtures.places import SHARED

from jaxseg.datasets.folder import Folder, Vectors
from jaxseg.errors import UserError
from jaxseg.files import raster
from jaxseg.scenes.scene import IGNORE, Window

pytestmark = [
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),  # rasterio's use of affine
]


DATA = SHARED / "data"

DUBAI = {
    "images": "optical_dubai/images",
    "masks": "optical_dubai/masks",
    "classes": ("water", "land", "road", "building", "vegetation", "unlabeled"),
    "mask_colors": (
        (226, 169, 41),
        (132, 41, 246),
        (110, 193, 228),
        (60, 16, 152),
        (254, 221, 58),
        (155, 155, 155),
    ),
    "ignore_colors": ((0, 0, 0),),
    "fractions": (0.5, 0.25, 0.25),
}
STRZEGOM = {
    "images": "sentinel2_strzegom/images",
    "masks": "sentinel2_strzegom/masks",
    "classes": (
        "conifer",
        "mixed",
        "urban",
        "crops",
        "soil",
        "grass",
        "road",
        "water",
        "growing",
        "quarry",
    ),
    "ids": tuple(range(1, 11)),
    "split_by": "columns",
}
NUCLEI = {
    "images": "nuclei_dsb2018/images",
    "masks": "",
    "instances": "nuclei_dsb2018/instances",
    "classes": ("background", "nucleus"),
}
FLOODS = {
    "images": "sar_sen1floods11/S1",
    "masks": "sar_sen1floods11/labels",
    "image_suffix": "_S1Hand",
    "mask_suffix": "_LabelHand",
    "classes": ("land", "water"),
    "ignore_ids": (-1,),
    "fractions": (0.6, 0.2, 0.2),
}
CAMVID = {
    "images": "camvid_subset/{split}/images",
    "masks": "camvid_subset/{split}/masks",
    "classes": (
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "sign",
        "fence",
        "car",
        "person",
        "bicyclist",
    ),
    "ignore_ids": (11,),
    "split_by": "folders",
}
FRACTURES = {
    "images": "antarctic_fractures/images",
    "masks": "antarctic_fractures/masks",
    "classes": ("none", "fracture"),
    "ids": (0, 255),
    "nodata": 0.0,
    "split_by": "rows",
}


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("fields", "bands", "dtype", "scenes", "ignored", "invalid"),
    [
        (DUBAI, 3, "uint8", (18, 9, 9), True, False),
        (STRZEGOM, 10, "uint16", (2, 2, 2), True, False),
        (NUCLEI, 3, "uint8", (12, 2, 3), False, False),
        (FLOODS, 2, "float32", (3, 1, 1), True, True),
        (CAMVID, 3, "uint8", (15, 5), True, False),
        (FRACTURES, 1, "uint16", (2, 2, 2), False, True),
    ],
    ids=["dubai", "strzegom", "nuclei", "floods", "camvid", "fractures"],
)
def test_a_real_set_is_read(
    fields: dict[str, Any],
    bands: int,
    dtype: str,
    scenes: tuple[int, ...],
    *,
    ignored: bool,
    invalid: bool,
) -> None:
    name = fields["images"].partition("/")[0]
    if not (DATA / name).is_dir():
        pytest.skip(f"{DATA / name} is absent: the real sets lie beside the checkout")
    places = {
        kind: str(DATA / fields[kind])
        for kind in ("images", "masks", "instances")
        if fields.get(kind)
    }
    source = Folder(**fields | places)
    labels, some_invalid = set(), False
    for split, count in zip(("train", "validation", "test"), scenes, strict=False):
        opened = source.scenes(split)
        assert len(opened) == count
        for index in range(count):
            height, width = opened.size(index)
            sample = opened.read(index, Window(0, 0, height, width))
            assert sample["image"].shape == (height, width, bands)
            assert sample["image"].dtype == dtype
            assert np.isfinite(sample["image"][sample["valid"].astype(bool)]).all()
            labels |= set(np.unique(sample["label"]).tolist())
            some_invalid |= not sample["valid"].all()
            assert ("instance" in sample) == ("instances" in fields)
    assert labels <= {*range(len(source.classes)), IGNORE}
    assert len(labels - {IGNORE}) >= len(source.classes) - 1  # one date of Strzegom has no grass
    assert (IGNORE in labels) == ignored
    assert some_invalid == invalid


@pytest.mark.real_data
def test_a_forgotten_colour_of_dubai_is_told() -> None:
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is absent: the real sets lie beside the checkout")
    places = {kind: str(DATA / str(DUBAI[kind])) for kind in ("images", "masks")}
    source = Folder(**DUBAI | places | {"ignore_colors": ()})  # type: ignore[arg-type]
    scenes = source.scenes("validation")
    windows = [(index, Window(0, 0, *scenes.size(index))) for index in range(len(scenes))]
    with pytest.raises(UserError, match=r"\.png: colour \(0, 0, 0\) is not a class"):
        _ = [scenes.read(index, window) for index, window in windows]


@pytest.mark.real_data
def test_the_footprints_of_spacenet_4_are_the_mask_that_was_made_of_them(tmp_path: Path) -> None:
    place = DATA / "buildings_spacenet4"
    if not place.is_dir():
        pytest.skip(f"{place} is absent: the real sets lie beside the checkout")
    _, _, shapes, values = pyogrio.raw.read(place / "buildings.geojson", columns=["building"])
    degrees = pyproj.Transformer.from_crs(32616, 4326, always_xy=True)
    moved = shapely.transform(
        shapely.from_wkb(shapes), lambda xy: np.stack(degrees.transform(*xy.T), axis=1)
    )
    pyogrio.raw.write(
        tmp_path / "wgs84.gpkg",
        shapely.to_wkb(moved),
        values,
        ["building"],
        geometry_type="Unknown",
        crs="EPSG:4326",
    )
    objects = raster.read(str(place / "instances_built_here.tif"), Window(0, 0, 900, 900))[..., 0]
    for masks in (place / "buildings.geojson", tmp_path / "wgs84.gpkg"):
        source = Folder(
            images=str(place / "image.tif"),
            masks=str(masks),
            classes=("rest", "building"),
            vectors=Vectors(attribute="building", values=("", "yes")),
            fractions=(1.0, 0.0, 0.0),
        )
        label = source.scenes("train").read(0, Window(0, 0, 900, 900))["label"]
        np.testing.assert_array_equal(label, objects > 0)
