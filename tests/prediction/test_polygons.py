"""Polygons of a map: what they say, which are left out, and the files they are written to."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pyogrio
import pyproj
import pytest
import rasterio
import shapely
from fixtures.vector_files import features, write_map
from numpy.typing import NDArray
from rasterio.transform import from_origin

from jaxseg.cli import main as cli
from jaxseg.errors import UserError
from jaxseg.prediction import polygons as making
from jaxseg.prediction.polygons import Polygons, polygonise

NAMES = {"JAXSEG_CLASSES": "ground, house, tree"}


@pytest.fixture
def classes() -> NDArray[np.uint8]:
    """Ground with a house of 4 x 6 that has a hole of 1 x 2, a tree of 1, and no data."""
    found = np.zeros((20, 30), np.uint8)
    found[3:7, 4:10] = 1
    found[4, 6:8] = 0
    found[12, 20] = 2
    found[:, 28:] = 255
    return found


@pytest.fixture
def path(tmp_path: Path, classes: NDArray[np.uint8]) -> Path:
    return write_map(tmp_path / "map.tif", classes, **NAMES)


def test_a_polygon_says_class_and_area(path: Path, tmp_path: Path) -> None:
    counts = polygonise(path, tmp_path / "a.gpkg", rows=5)
    assert counts == {"ground": 2, "house": 1, "tree": 1}
    shapes, fields = features(tmp_path / "a.gpkg")
    assert fields["id"] == [1, 2, 3, 4]
    found = dict(zip(zip(fields["name"], fields["area_m2"], strict=True), shapes, strict=True))
    assert sorted(found) == [
        ("ground", 200.0),
        ("ground", 53_500.0),
        ("house", 2200.0),
        ("tree", 100.0),
    ]
    assert dict(zip(fields["name"], fields["class"], strict=True)) == {
        **{"ground": 0, "house": 1, "tree": 2}
    }
    house = found["house", 2200.0]
    assert house.bounds == (600_040.0, 5_299_930.0, 600_100.0, 5_299_970.0)
    assert len(house.interiors) == 1
    assert pyogrio.read_info(tmp_path / "a.gpkg")["crs"] == "EPSG:32632"


def test_small_regions_are_left_out_and_small_holes_filled(path: Path, tmp_path: Path) -> None:
    asked = Polygons(minimum_area=201, fill_holes=200.5)
    assert polygonise(path, tmp_path / "a.gpkg", asked, rows=4) == {"ground": 1, "house": 1}
    shapes, fields = features(tmp_path / "a.gpkg")
    assert sorted(fields["area_m2"]) == [2400.0, 53_600.0]  # the tree's pixel is the ground's
    assert sorted(len(shape.interiors) for shape in shapes) == [0, 1]
    polygonise(path, tmp_path / "b.gpkg", Polygons(minimum_area=200, fill_holes=200))
    assert sorted(features(tmp_path / "b.gpkg")[1]["area_m2"]) == [200.0, 2200.0, 53_600.0]


@pytest.mark.parametrize("ending", [".gpkg", ".fgb", ".geojson", ".parquet"])
def test_a_map_without_a_region_has_a_file_without_polygons(tmp_path: Path, ending: str) -> None:
    path = write_map(tmp_path / "map.tif", np.full((9, 9), 255, np.uint8))
    assert polygonise(path, tmp_path / f"a{ending}", rows=4) == {}
    path = write_map(tmp_path / "map.tif", np.zeros((9, 9), np.uint8))
    assert polygonise(path, tmp_path / f"a{ending}", Polygons(minimum_area=1e9)) == {}
    assert (tmp_path / f"a{ending}").exists()


def test_classes_are_chosen_by_name(path: Path, tmp_path: Path) -> None:
    asked = Polygons(classes=("house",), fill_holes=1e6)
    assert polygonise(path, tmp_path / "a.gpkg", asked) == {"house": 1}
    with pytest.raises(UserError, match=r"--polygon.classes roof: .*ground, house, tree"):
        polygonise(path, tmp_path / "b.gpkg", Polygons(classes=("roof",)))


def test_holes_are_not_filled_onto_other_classes(path: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Raise the minimum area, or name one class"):
        polygonise(path, tmp_path / "a.gpkg", Polygons(fill_holes=1e6))


def test_the_confidence_of_a_region_is_the_mean_of_its_pixels(
    classes: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = write_map(tmp_path / "map.tif", classes, JAXSEG_JOB="one", **NAMES)
    steps = np.random.default_rng(0).integers(0, 255, classes.shape).astype(np.uint8)
    steps[12, 20] = 255  # of the tree nothing is known
    write_map(tmp_path / "map_confidence.tif", steps, JAXSEG_JOB="one")
    polygonise(path, tmp_path / "a.gpkg", Polygons(classes=("house", "tree")), rows=3)
    _, fields = features(tmp_path / "a.gpkg")
    assert fields["name"] == ["house", "tree"]
    assert fields["confidence"][0] == pytest.approx(steps[classes == 1].mean() / 254, rel=1e-6)
    assert np.isnan(fields["confidence"][1])
    write_map(tmp_path / "map_confidence.tif", steps, JAXSEG_JOB="another")
    polygonise(path, tmp_path / "b.gpkg")
    assert "confidence" not in features(tmp_path / "b.gpkg")[1]


def test_objects_are_numbered_where_the_map_is_of_objects(
    classes: NDArray[np.uint8], tmp_path: Path
) -> None:
    classes[15:17, 2:5] = 1
    path = write_map(tmp_path / "map.tif", classes, JAXSEG_OBJECTS="yes", **NAMES)
    polygonise(path, tmp_path / "a.parquet", rows=6)
    table = pyarrow.parquet.read_table(tmp_path / "a.parquet").to_pydict()
    numbers = dict(zip(table["id"], table["object"], strict=True))
    of_ground = [i for i, name in zip(table["id"], table["name"], strict=True) if name == "ground"]
    assert all(numbers[i] is None for i in of_ground)
    assert sorted(n for i, n in numbers.items() if i not in of_ground) == [1, 2, 3]


def test_areas_in_degrees_are_those_of_the_ellipsoid(tmp_path: Path) -> None:
    place = {"crs": "EPSG:4326", "transform": from_origin(10.0, 60.0, 0.5, 0.25)}
    path = write_map(tmp_path / "map.tif", np.zeros((8, 12), np.uint8), **place)
    polygonise(path, tmp_path / "a.gpkg", rows=3)
    _, fields = features(tmp_path / "a.gpkg")
    # Between two parallels, by the authalic latitude of Snyder (1987), formulas 3-11 and 3-12.
    e2, a = 0.00669437999014, 6_378_137.0
    e = np.sqrt(e2)

    def q(latitude: float) -> float:
        s = np.sin(np.radians(latitude))
        return (1 - e2) * (s / (1 - e2 * s * s) - np.log((1 - e * s) / (1 + e * s)) / (2 * e))

    exact = a * a * np.radians(6) / 2 * (q(60) - q(58))
    assert fields["area_m2"] == [pytest.approx(exact, rel=1e-7)]


def test_feet_become_metres_and_without_a_crs_areas_are_pixels(tmp_path: Path) -> None:
    square = np.zeros((2, 3), np.uint8)
    place: dict[str, Any] = {"crs": "EPSG:2263", "transform": from_origin(0, 0, 10, 10)}
    polygonise(write_map(tmp_path / "feet.tif", square, **place), tmp_path / "feet.fgb")
    feet = features(tmp_path / "feet.fgb")[1]["area_m2"]
    assert feet == [pytest.approx(600 * (1200 / 3937) ** 2)]
    bare = write_map(tmp_path / "bare.tif", square, crs=None)
    polygonise(bare, tmp_path / "bare.gpkg")
    assert features(tmp_path / "bare.gpkg")[1]["area_px"] == [6.0]
    with pytest.raises(UserError, match=r"GeoJSON is in WGS84"):
        polygonise(bare, tmp_path / "bare.geojson")


@pytest.mark.parametrize("ending", [".gpkg", ".fgb", ".geojson", ".parquet"])
def test_every_format_holds_the_same_polygons(path: Path, tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"fields{ending}"
    polygonise(path, out, rows=6)
    if ending == ".parquet":
        table = pyarrow.parquet.read_table(out)
        shapes, names = shapely.from_wkb(table["geometry"].to_pylist()), table["name"].to_pylist()
        facts = {k.decode(): v.decode() for k, v in table.schema.metadata.items()}
        column = json.loads(facts["geo"])["columns"]["geometry"]
        assert pyproj.CRS.from_json_dict(column["crs"]).to_epsg() == 32632
    else:
        info = pyogrio.read_info(out)
        shapes, fields = features(out)
        names, facts = fields["name"], info["layer_metadata"]
        assert info["crs"] == ("EPSG:4326" if ending == ".geojson" else "EPSG:32632")
    if ending == ".geojson":
        facts = json.loads(json.loads(out.read_text())["description"])
        back = pyproj.Transformer.from_crs(4326, 32632, always_xy=True)
        moved = shapely.transform(shapes, lambda xy: np.stack(back.transform(*xy.T), 1))
        assert shapely.area(moved) == pytest.approx(fields["area_m2"], rel=1e-3)
        assert shapely.is_ccw(shapely.get_exterior_ring(shapes)).all()
    else:
        assert shapely.area(shapes).sum() == 56_000
    assert sorted(names) == ["ground", "ground", "house", "tree"]
    assert json.loads(facts["JAXSEG_CLASSES"]) == ["ground", "house", "tree"]
    assert facts["JAXSEG_MAP"] == "map.tif"
    assert {p.name for p in tmp_path.iterdir()} == {"map.tif", out.name}


def test_a_map_that_breaks_off_leaves_the_file_as_it_was(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    polygonise(path, tmp_path / "a.gpkg")
    before = (tmp_path / "a.gpkg").read_bytes()
    whole, reads = making.raster.read, []

    def broken(*args: Any) -> Any:
        reads.append(args)
        if len(reads) == 3:
            raise UserError("The disk is gone.")
        return whole(*args)

    monkeypatch.setattr(making.raster, "read", broken)
    with pytest.raises(UserError, match=r"^The disk is gone\.$"):
        polygonise(path, tmp_path / "a.gpkg", rows=5)
    assert (tmp_path / "a.gpkg").read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"map.tif", "a.gpkg"}


def test_what_is_not_a_map_of_classes_is_refused(tmp_path: Path) -> None:
    path = write_map(tmp_path / "a.tif", np.zeros((4, 4), np.float32), nodata=None)
    with pytest.raises(UserError, match=r"1 band\(s\) of float32: a map of classes"):
        polygonise(path, tmp_path / "a.gpkg")


def test_another_layer_of_a_map_is_refused(tmp_path: Path) -> None:
    path = write_map(tmp_path / "a.tif", np.zeros((4, 4), np.uint8), JAXSEG_RUN="run")
    with rasterio.open(path, "r+") as file:
        file.descriptions = ("confidence",)
    with pytest.raises(UserError, match="is the confidence of a map"):
        polygonise(path, tmp_path / "a.gpkg")


def test_without_the_extra_the_error_says_how_to_install_it(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pyogrio" else found(name)
    )
    with pytest.raises(UserError, match=r"pyogrio.*pip install 'jaxseg\[vector\]'"):
        polygonise(path, tmp_path / "a.gpkg")


def test_the_command_writes_once(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.geojson"
    cli.main(["polygons", str(path), str(out), "--polygon.minimum-area", "150"])
    assert "2 ground, 1 house" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit):
        cli.main(["polygons", str(path), str(out)])
    assert "--overwrite to replace it" in " ".join(capsys.readouterr().err.split())
    cli.main(["polygons", str(path), str(out), "--overwrite"])
    assert len(features(out)[0]) == 4


@pytest.mark.parametrize(
    ("name", "said"), [("a.shp", "polygons are written as"), ("no/a.gpkg", "does not exist")]
)
def test_a_name_that_cannot_be_written_is_refused(
    path: Path, tmp_path: Path, name: str, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        polygonise(path, tmp_path / name)


def test_names_of_classes_stand_beside_the_map(path: Path, tmp_path: Path) -> None:
    (tmp_path / "map.tif.aux.xml").write_text(
        "<PAMDataset><PAMRasterBand band='1'><CategoryNames><Category>bare, or sown</Category>"
        "<Category>house</Category></CategoryNames></PAMRasterBand></PAMDataset>"
    )
    assert polygonise(path, tmp_path / "a.gpkg") == {"bare, or sown": 2, "house": 1, "2": 1}
    with rasterio.open(path) as file:
        assert file.tags()["JAXSEG_CLASSES"] == "ground, house, tree"
