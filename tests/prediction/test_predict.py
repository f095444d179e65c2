"""From files to files: a map is whole, says what it is, and continues where it stopped."""

import dataclasses
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jax
import numpy as np
import pytest
import rasterio
from fixtures import painted
from fixtures.mapped import CORNER, write
from numpy.typing import NDArray
from rio_cogeo.cogeo import cog_validate

from jaxseg import sharding
from jaxseg.errors import UserError
from jaxseg.prediction import Settings, Share
from jaxseg.prediction import predict as mapping
from jaxseg.prediction.work import Work
from jaxseg.run.loaded import Run
from jaxseg.scenes.agreement import MissingBandError, ScaleError
from jaxseg.scenes.scene import Window
from jaxseg.scenes.sensor import Sensor

HEIGHT, WIDTH = 1100, 1333
TILED = Settings(tile=200, overlap=40)


@pytest.fixture(scope="module")
def run() -> Run:
    """Answers the number in band `answer`."""
    config = dataclasses.replace(painted.config(), sensor=Sensor(("answer", "class")))
    return Run(config, 7, {"params": {"sure": np.float32(3.0)}}, 1.0)


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Panels of 512 columns, so that the scene has three of them, of three blocks each."""
    monkeypatch.setattr(mapping, "SUMS", 4 * 3 * 200 * 512)


@pytest.fixture(scope="module")
def truth() -> NDArray[np.uint8]:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return ((rows // 37 + columns // 53) % 3).astype(np.uint8)


@pytest.fixture(scope="module")
def scene(truth: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bands, of which a strip and a corner have no data."""
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    image = np.stack([truth, truth]).astype(np.int16)
    image[:, 300:340] = -1
    image[:, :600, 1000:] = -1
    write(path, image, ("answer", "class"), nodata=-1)
    return path


def expected(truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    found = truth.copy()
    found[300:340] = found[:600, 1000:] = 255
    return found


def made(run: Run, scene: Path, out: Path, settings: Settings = TILED) -> list[Path]:
    mesh = sharding.make_mesh(run.config.mesh, jax.devices()[:1])
    return mapping.predict([run], [str(scene)], out, settings, mesh=mesh)


@pytest.fixture(scope="module")
def written(run: Run, scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("map") / "map.tif"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mapping, "SUMS", 4 * 3 * 200 * 512)
        assert made(run, scene, out) == [out]
    return out


def test_a_map_has_the_class_of_every_pixel_and_none_where_there_are_no_data(
    written: Path, truth: NDArray[np.uint8]
) -> None:
    with rasterio.open(written) as file:
        np.testing.assert_array_equal(file.read(1), expected(truth))


def test_a_map_is_a_cloud_optimised_geotiff(written: Path) -> None:
    valid, errors, warnings = cog_validate(written, strict=True)
    assert valid, (errors, warnings)


def test_a_map_says_where_it_lies_and_what_its_numbers_are(written: Path) -> None:
    with rasterio.open(written) as file:
        assert file.crs == "EPSG:32632"
        assert file.transform == CORNER
        assert (file.dtypes, file.nodatavals) == (("uint8",), (255.0,))
        colors = file.colormap(1)
        assert [colors[k][:3] for k in range(3)] == list(painted.COLORS)
        tags = file.tags()
    assert tags["JAXSEG_CLASSES"] == "land, water, ice"
    assert tags["JAXSEG_BANDS"] == "answer, class"
    assert tags["JAXSEG_STEP"] == "7"
    assert tags["SOFTWARE"].startswith("jaxseg ")


def test_overviews_show_the_most_frequent_class(written: Path) -> None:
    with rasterio.open(written, overview_level=0) as file:
        assert set(np.unique(file.read(1))) <= {0, 1, 2, 255}


def test_nothing_is_left_beside_a_map(written: Path) -> None:
    assert sorted(path.name for path in written.parent.iterdir()) == ["map.tif", "map.tif.aux.xml"]


def test_a_map_names_its_classes_as_gdal_and_qgis_read_them(written: Path) -> None:
    found = ElementTree.parse(f"{written}.aux.xml").iter("Category")
    assert [category.text for category in found] == list(painted.CLASSES)


class Killed(BaseException):
    """Ends the process as SIGKILL does: nothing is cleaned up."""


@pytest.mark.parametrize("blocks", [0, 1, 4, 8])
def test_a_killed_map_continues_and_has_the_same_bytes(
    run: Run,
    scene: Path,
    written: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    blocks: int,
) -> None:
    made_here, write_block = [], Work.write

    def one_more(work: Work, row: int, column: int, layers: Any) -> None:
        if len(made_here) == blocks and not stopped:
            raise Killed
        made_here.append((row, column))
        write_block(work, row, column, layers)

    out, stopped = tmp_path / "map.tif", False
    monkeypatch.setattr(Work, "write", one_more)
    with pytest.raises(Killed):
        made(run, scene, out)
    assert not out.exists()
    before, stopped = len(made_here), True
    made(run, scene, out)
    assert len(made_here) == len(set(made_here)) == 9  # no block was computed twice
    assert before == blocks
    assert out.read_bytes() == written.read_bytes()


def test_processes_that_share_the_work_make_the_same_map(
    run: Run, scene: Path, written: Path, tmp_path: Path
) -> None:
    out = tmp_path / "map.tif"
    for number in (3, 1):
        share = dataclasses.replace(TILED, share=Share(number, 4))
        assert made(run, scene, out, share) == []
        assert not out.exists()
    for number in (2, 4):
        made(run, scene, out, dataclasses.replace(TILED, share=Share(number, 4)))
    assert out.read_bytes() == written.read_bytes()


def test_a_window_is_the_same_part_of_the_map_at_its_place(
    run: Run, scene: Path, written: Path, tmp_path: Path
) -> None:
    settings = dataclasses.replace(TILED, window=Window(250, 490, 333, 601))
    made(run, scene, tmp_path / "part.tif", settings)
    with rasterio.open(tmp_path / "part.tif") as part, rasterio.open(written) as whole:
        expected = whole.read(1)[250 : 250 + 333, 490 : 490 + 601]
        np.testing.assert_array_equal(part.read(1), expected)
        assert part.transform == CORNER @ CORNER.translation(490, 250)


def test_bounds_hold_every_pixel_that_they_touch(run: Run, scene: Path, tmp_path: Path) -> None:
    west, north = CORNER @ (100, 50)
    bounds = (west + 1, north - 2001, west + 999, north - 1)  # 100 columns, 201 rows
    made(run, scene, tmp_path / "part.tif", dataclasses.replace(TILED, bounds=bounds))
    with rasterio.open(tmp_path / "part.tif") as part:
        assert part.shape == (201, 100)
        assert part.transform @ (0, 0) == (west, north)


def test_layers_are_quantities_between_0_and_1(run: Run, scene: Path, tmp_path: Path) -> None:
    kinds = ("classes", "probabilities", "confidence", "entropy", "margin")
    settings = dataclasses.replace(TILED, layers=kinds, window=Window(0, 0, 400, 300))
    files = made(run, scene, tmp_path / "map.tif", settings)
    assert [file.name for file in files] == [
        "map.tif",
        *(f"map_{kind}.tif" for kind in kinds[1:]),
    ]
    found = {}
    for kind, file in zip(kinds, files, strict=True):
        assert cog_validate(file, strict=True)[0]
        with rasterio.open(file) as opened:
            numbers, scale = opened.read(masked=True), opened.scales[0]
            found[kind] = numbers * scale
            assert (numbers.mask == found["classes"].mask).all()
            assert set(opened.nodatavals) == {255}
            if kind == "probabilities":
                assert opened.descriptions == painted.CLASSES
    share = found["probabilities"]
    assert abs(share.sum(0) - 1).max() < 0.01
    assert (share.argmax(0) == found["classes"][0]).all()
    ranked = np.sort(share, 0)
    assert abs(ranked[-1] - found["confidence"][0]).max() < 0.01
    assert abs(ranked[-1] - ranked[-2] - found["margin"][0]).max() < 0.01
    entropy = -(share * np.log(np.maximum(share, 1e-9))).sum(0) / np.log(3)
    assert abs(entropy - found["entropy"][0]).max() < 0.03


def test_bands_are_found_by_their_names_in_any_order_and_file(
    run: Run, scene: Path, truth: NDArray[np.uint8], tmp_path: Path
) -> None:
    with rasterio.open(scene) as file:
        image = file.read()
    other = np.zeros_like(image[:1])
    write(
        tmp_path / "all.tif",
        np.stack([*image[::-1], *other]),
        ("Class", "ANSWER", "more"),
        nodata=-1,
    )
    made(run, tmp_path / "all.tif", tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as file:
        np.testing.assert_array_equal(file.read(1), expected(truth))
    for number, name in enumerate(("answer", "class")):
        write(tmp_path / f"{name}.tif", image[number : number + 1], (name,), nodata=-1)
    paths = [str(tmp_path / f"{name}.tif") for name in ("answer", "class")]
    mapping.predict([run], paths, tmp_path / "two.tif", TILED)
    with rasterio.open(tmp_path / "two.tif") as file:
        np.testing.assert_array_equal(file.read(1), expected(truth))


def test_a_missing_band_is_named_and_nothing_is_written(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "one.tif", np.zeros((1, 40, 40), np.int16), ("answer",))
    with pytest.raises(MissingBandError, match="has no band class"):
        made(run, tmp_path / "one.tif", tmp_path / "map.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["one.tif"]


@pytest.mark.parametrize(
    ("out", "settings", "said"),
    [
        ("scene.tif", Settings(overwrite=True), "is a file of the scene"),
        ("map.png", Settings(), "a map is a GeoTIFF"),
        ("none/map.tif", Settings(), "does not exist. Create it"),
        ("map.tif", Settings(window=Window(0, 0, 0, 5)), "--window 0 0 0 5"),
        ("map.tif", Settings(window=Window(1, 0, 40, 5)), "which has 40 x 40 pixels"),
        ("map.tif", Settings(bounds=(0, 0, 1, 1)), "hold no pixel of the scene"),
        ("map.tif", Settings(tile=64, overlap=64), "larger --tile or a smaller --overlap"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(
    run: Run, tmp_path: Path, out: str, settings: Settings, said: str
) -> None:
    image = np.zeros((2, 40, 40), np.int16)
    write(tmp_path / "scene.tif", image, ("answer", "class"))
    with pytest.raises(UserError, match=said):
        made(run, tmp_path / "scene.tif", tmp_path / out, settings)
    assert [path.name for path in tmp_path.iterdir()] == ["scene.tif"]


def test_what_is_there_is_not_replaced_without_being_asked(
    run: Run, scene: Path, tmp_path: Path
) -> None:
    (tmp_path / "map.tif").write_text("mine")
    with pytest.raises(UserError, match=r"exists. Give another name, or --overwrite"):
        made(run, scene, tmp_path / "map.tif")
    assert (tmp_path / "map.tif").read_text() == "mine"


def test_a_map_that_was_begun_with_other_settings_is_not_continued(
    run: Run, scene: Path, tmp_path: Path
) -> None:
    share = dataclasses.replace(TILED, share=Share(1, 2))
    made(run, scene, tmp_path / "map.tif", share)
    other = dataclasses.replace(share, augmentation="flips")
    with pytest.raises(UserError, match=r"other settings \(augmentation\).*--overwrite"):
        made(run, scene, tmp_path / "map.tif", other)


def test_overwriting_begins_again_and_replaces_the_map(
    run: Run, scene: Path, tmp_path: Path
) -> None:
    out = tmp_path / "map.tif"
    made(run, scene, out, dataclasses.replace(TILED, share=Share(1, 2)))
    out.write_text("an old map")
    made(run, scene, out, dataclasses.replace(TILED, augmentation="flips", overwrite=True))
    assert cog_validate(out)[0]


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0"])
def test_a_share_is_a_part_of_a_number_of_parts(text: str) -> None:
    with pytest.raises(UserError, match=f"--shard {text}"):
        Share.parse(text)
    assert Share.parse("3/16") == Share(3, 16)


@pytest.mark.parametrize(
    "wrong",
    [{"batch": 0}, {"tile": -1}, {"overlap": -1}, {"layers": ()}, {"layers": ("classes",) * 2}],
    ids=str,
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"--batch|--layers"):
        Settings(**wrong)


def test_probabilities_that_are_not_finite_are_an_error_and_not_the_first_class(
    run: Run, scene: Path, tmp_path: Path
) -> None:
    broken = dataclasses.replace(run, variables={"params": {"sure": np.float32(np.nan)}})
    with pytest.raises(UserError, match=r"not finite in rows 0 to "):
        made(broken, scene, tmp_path / "map.tif")
    assert not (tmp_path / "map.tif").exists()


def test_every_run_of_an_ensemble_is_compared_with_the_scene(
    run: Run, scene: Path, tmp_path: Path
) -> None:
    tagged = Sensor(("answer", "class"), typical=((1e6, 2e6, 3e6),) * 2)
    far = dataclasses.replace(run, config=dataclasses.replace(run.config, sensor=tagged))
    with pytest.raises(ScaleError):
        mapping.predict([run, far], [str(scene)], tmp_path / "map.tif", TILED)
    assert list(tmp_path.iterdir()) == []


def test_a_scene_inside_a_zip_file_is_read_where_it_lies(
    run: Run, scene: Path, written: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "scene.zip", "w") as archive:
        archive.write(scene, "scene.tif")
    inside = f"/vsizip/{tmp_path / 'scene.zip'}/scene.tif"
    mapping.predict([run], [inside], tmp_path / "map.tif", TILED)
    with rasterio.open(tmp_path / "map.tif") as file, rasterio.open(written) as whole:
        np.testing.assert_array_equal(file.read(), whole.read())
    with pytest.raises(UserError, match="Cannot read /vsizip/"):
        mapping.predict([run], [f"{inside}x"], tmp_path / "none.tif", TILED)
