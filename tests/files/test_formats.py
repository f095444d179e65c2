"""A picture is never a program: what a file is called decides how it is read."""

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from fixtures.asked import asked
from fixtures.file_server import serving
from PIL import Image
from rasterio.errors import RasterioIOError
from rasterio.shutil import copy as convert
from rasterio.vrt import WarpedVRT

from jaxseg.errors import UserError
from jaxseg.files import arrays, formats, raster
from jaxseg.scenes.scene import Window
from jaxseg.system import limits

__all__ = ["asked"]  # a fixture

PIXEL = Window(0, 0, 1, 1)


def vrt(source: str, *, relative: bool = False, kind: str = "SimpleSource", more: str = "") -> str:
    return (
        '<VRTDataset rasterXSize="4" rasterYSize="4"><VRTRasterBand dataType="Byte" band="1"'
        f'{more}><{kind}><SourceFilename relativeToVRT="{int(relative)}">{source}</SourceFilename>'
        f"<SourceBand>1</SourceBand></{kind}></VRTRasterBand></VRTDataset>"
    )


def wms(port: int) -> str:
    return (
        f'<GDAL_WMS><Service name="TMS"><ServerUrl>http://127.0.0.1:{port}/${{z}}/${{x}}/${{y}}'
        "</ServerUrl></Service><DataWindow><UpperLeftX>0</UpperLeftX><UpperLeftY>0</UpperLeftY>"
        "<LowerRightX>4</LowerRightX><LowerRightY>4</LowerRightY><TileLevel>0</TileLevel>"
        "<TileCountX>1</TileCountX><TileCountY>1</TileCountY></DataWindow><BlockSizeX>4"
        "</BlockSizeX><BlockSizeY>4</BlockSizeY><BandsCount>1</BandsCount></GDAL_WMS>"
    )


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    path = tmp_path / "scene.png"
    Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4)).save(path)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.dat", "a.xml", "a"])
def test_a_text_that_asks_the_network_is_not_an_image(
    name: str, tmp_path: Path, asked: tuple[int, list[str]]
) -> None:
    port, requests = asked
    path = tmp_path / name
    path.write_text(wms(port))
    with suppress(RasterioIOError), rasterio.open(path) as file:  # what GDAL alone makes of it
        file.read(1)
    assert requests
    requests.clear()
    with pytest.raises(UserError, match="not what its ending says"):
        raster.read(str(path), PIXEL)
    assert not requests


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.dat"])
def test_a_virtual_raster_under_another_name_is_not_an_image(
    name: str, scene: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(vrt(str(scene)))
    with pytest.raises(UserError, match="not what its ending says"):
        raster.read(str(tmp_path / name), PIXEL)


@pytest.mark.parametrize("ending", ["png", "tif", "jpg"])
@pytest.mark.parametrize("beside", [".ovr", ".msk", ".OVR", ".ovr.msk"])
def test_a_program_beside_a_picture_is_refused(
    ending: str, beside: str, tmp_path: Path, asked: tuple[int, list[str]]
) -> None:
    port, requests = asked
    path = tmp_path / f"a.{ending}"
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(path)
    if beside == ".ovr.msk":
        Image.fromarray(np.zeros((32, 32), np.uint8)).save(tmp_path / f"a.{ending}.ovr", "TIFF")
    Path(f"{path}{beside}").write_text(wms(port))
    with pytest.raises(UserError, match="is not a TIFF"):
        raster.read_planes(str(path), Window(0, 0, 64, 64), shape=(8, 8))
    assert not requests


@pytest.mark.parametrize("where", ["tag", "aux.xml", "ovr"])
def test_overviews_in_another_file_are_refused(
    where: str, tmp_path: Path, asked: tuple[int, list[str]]
) -> None:
    port, requests = asked
    path, elsewhere = tmp_path / "a.tif", f"/vsicurl/http://127.0.0.1:{port}/a.tif"
    form = {"driver": "GTiff", "width": 64, "height": 64, "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", **form) as file:
        if where == "tag":
            file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=elsewhere)
    if where == "aux.xml":
        Path(f"{path}.aux.xml").write_text(
            '<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">'
            f"{elsewhere}</MDI></Metadata></PAMDataset>"
        )
    if where == "ovr":
        with rasterio.open(f"{path}.ovr", "w", **form | {"width": 32, "height": 32}) as file:
            file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=elsewhere)
    with pytest.raises(UserError, match="overviews are in another file"):
        raster.read_planes(str(path), Window(0, 0, 64, 64), shape=(8, 8))
    assert not requests


def test_overviews_and_masks_of_gdal_itself_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.arange(4096, dtype=np.uint8).reshape(64, 64)).save(path)
    half = np.arange(1024, dtype=np.uint8).reshape(32, 32)
    Image.fromarray(half).save(f"{path}.ovr", "TIFF")
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(f"{path}.msk", "TIFF")
    reduced = raster.read_planes(str(path), Window(0, 0, 64, 64), shape=(32, 32))
    np.testing.assert_array_equal(reduced[0], half)


def test_blocks_that_could_fill_the_memory_are_refused_by_the_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    form = {"driver": "GTiff", "width": 512, "height": 512, "count": 3, "dtype": "float64"}
    tiled = {"tiled": True, "blockxsize": 512, "blockysize": 512, "interleave": "pixel"}
    with rasterio.open(path, "w", compress="deflate", **form, **tiled):
        pass
    monkeypatch.setenv(limits.BLOCK.variable, "0.005")  # 512 x 512 x 3 x 8 bytes are 0.00586 GiB
    with pytest.raises(UserError, match=r"0\.00586 GiB.*JAXSEG_MAX_BLOCK_GIB"):
        raster.header(str(path))
    monkeypatch.setenv(limits.BLOCK.variable, "0.006")
    assert raster.header(str(path)).height == 512


def test_pictures_under_the_ending_of_another_one_are_read(scene: Path) -> None:
    other = scene.rename(scene.with_suffix(".jpg"))
    assert raster.read(str(other), Window(1, 1, 1, 1)).item() == 5


def test_a_virtual_raster_reads_its_own_folder_and_those_beside_it(
    scene: Path, tmp_path: Path
) -> None:
    inner = tmp_path / "tiles" / "scene.png"
    inner.parent.mkdir()
    scene.rename(inner)
    (tmp_path / "images").mkdir()
    for name, text in (
        ("a", vrt("tiles/scene.png", relative=True)),
        ("b", vrt(str(inner))),
        ("images/c", vrt("../tiles/scene.png", relative=True)),
    ):
        path = tmp_path / f"{name}.vrt"
        path.write_text(text)
        assert raster.read(str(path), Window(1, 1, 1, 1)).item() == 5
    outer = tmp_path / "outer.vrt"
    outer.write_text(vrt("a.vrt", relative=True))
    assert raster.read(str(outer), Window(1, 1, 1, 1)).item() == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (vrt("{outside}"), "a file outside of"),
        (vrt("../../outside.png", relative=True), "a file outside of"),
        (vrt("link.png", relative=True), "a file outside of"),
        (vrt("inner.vrt", relative=True), "a file outside of"),
        (vrt("<![CDATA[{outside}]]>"), "CDATA"),
        (vrt("<!-- a -->{outside}"), "comments"),
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + vrt("{outside}"), "document type"),
        (vrt("{outside}").replace("SourceFilename", "sourcefilename"), "<sourcefilename>"),
        (vrt("scene.png", more=' SourceFilename="{outside}"'), "the attribute SourceFilename"),
        (vrt("scene.png", relative=True, more=' subclass="VRTRawRasterBand"'), "subclass"),
        (vrt("GTIFF_DIR:1:{outside}", relative=True), "another program"),
        (vrt("GTIFF_DIR:1:{outside}"), "another program"),
        (vrt(" scene.png", relative=True), "does not hold one path alone"),
        (vrt("low.png", relative=True), "names further files"),
        (vrt("late.png", relative=True), "overviews are in another file"),
        (vrt("beside.png", relative=True), "is not a TIFF"),
        (vrt("gone.png", relative=True), "is not a file"),
        (
            vrt("scene.png", relative=True, more=' subClass="VRTProcessedRasterBand"'),
            "VRTProcessedRasterBand",
        ),
        (
            vrt("scene.png", relative=True).replace(
                "<VRTRasterBand",
                '<Metadata domain="GEOLOCATION"><MDI key="X_DATASET">{outside}</MDI></Metadata>'
                "<VRTRasterBand",
            ),
            "X_DATASET",
        ),
        (
            vrt("scene.png", relative=True).replace(
                "<SourceBand>",
                "<OpenOptions><OOI key='a'>{outside}</OOI></OpenOptions><SourceBand>",
            ),
            "<OpenOptions>",
        ),
        ("<VRTDataset", "not recognized as a virtual raster"),
        (vrt("http://127.0.0.1:{port}/a.tif"), "asks another machine"),
        (vrt("/vsicurl/http://127.0.0.1:{port}/a.tif"), "asks another machine"),
        (vrt("&#47;vsis3/a/b.tif"), "asks another machine"),
        (vrt("&lt;GDAL_WMS&gt;&lt;/GDAL_WMS&gt;"), "asks another machine"),
        (vrt("map.png", relative=True), "names further files"),
        (vrt("{outside}", more=' subClass="VRTRawRasterBand"'), "raw bytes"),
        (
            vrt("scene.png", relative=True).replace(
                "<SimpleSource>",
                "<PixelFunctionLanguage>Python</PixelFunctionLanguage><SimpleSource>",
            ),
            "runs Python",
        ),
        (vrt("loop.vrt", relative=True), "more than 8 times"),
    ],
)
def test_what_a_virtual_raster_may_not_name(
    text: str, said: str, scene: Path, tmp_path: Path, asked: tuple[int, list[str]]
) -> None:
    port, requests = asked
    folder = tmp_path / "data" / "folder"
    folder.mkdir(parents=True)
    outside = tmp_path / "outside.png"
    outside.write_bytes(scene.read_bytes())
    scene.rename(folder / "scene.png")
    (folder / "link.png").symlink_to(outside)
    (folder / "inner.vrt").write_text(vrt(str(outside)))
    (folder / "map.png").write_text(wms(port))
    (folder / "low.png").write_text(wms(port).replace("GDAL_WMS", "gdal_wms"))
    (folder / "beside.png").write_bytes((folder / "scene.png").read_bytes())
    (folder / "beside.png.ovr").write_text(wms(port))
    (folder / "late.png").write_bytes((folder / "scene.png").read_bytes())
    (folder / "late.png.aux.xml").write_text(
        '<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">'
        f"/vsicurl/http://127.0.0.1:{port}/a.tif</MDI></Metadata></PAMDataset>"
    )
    path = folder / "loop.vrt"
    path.write_text(text.replace("{outside}", str(outside)).replace("{port}", str(port)))
    with pytest.raises(UserError, match=said):
        raster.read(str(path), PIXEL)
    assert not requests


def test_further_folders_of_sources_are_stated(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data" / "folder"
    folder.mkdir(parents=True)
    path = folder / "a.vrt"
    path.write_text(vrt(str(scene)))
    with pytest.raises(UserError, match=f"{formats.SOURCES}={tmp_path}"):
        raster.read(str(path), PIXEL)
    monkeypatch.setenv(formats.SOURCES, f"/nowhere{os.pathsep}{tmp_path}")
    formats._check_sources.cache_clear()
    assert raster.read(str(path), Window(1, 1, 1, 1)).item() == 5


def test_a_virtual_raster_on_another_machine_names_no_file_of_this_one(
    scene: Path, tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "scene.png").write_bytes(scene.read_bytes())
    for name, text in (
        ("near", vrt("scene.png", relative=True)),
        ("a", vrt(str(scene))),
        ("b", vrt(str(scene), relative=True)),
        ("c", vrt(f"GTIFF_DIR:1:{scene}")),
    ):
        (tmp_path / "there" / f"{name}.vrt").write_text(text)
    with serving(tmp_path / "there") as address:
        read = [raster.read(f"/vsicurl/{address}/near.vrt", Window(1, 1, 1, 1)).item()]
        for name in ("a", "b", "c"):
            with pytest.raises(UserError, match="not a file beside it or on another machine"):
                raster.read(f"/vsicurl/{address}/{name}.vrt", PIXEL)
    assert read == [5]


def test_what_a_person_allows_to_fetch_is_no_program(scene: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.vrt"
    path.write_text(vrt(f"GTIFF_DIR:1:{scene}"))
    formats.allow_remote(str(path))
    with pytest.raises(UserError, match="another program"):
        raster.read(str(path), PIXEL)


def test_a_virtual_raster_of_gdal_itself_is_read(scene: Path) -> None:
    path = scene.with_suffix(".vrt")
    convert(str(scene), str(path), driver="VRT")
    assert raster.read(str(path), Window(1, 1, 1, 1)).item() == 5


def test_a_warped_virtual_raster_of_gdal_is_read(tmp_path: Path) -> None:
    place = {"crs": "EPSG:32632", "transform": Affine(10, 0, 5e5, 0, -10, 5e6)}
    form = {"driver": "GTiff", "width": 8, "height": 8, "count": 1, "dtype": "uint8"}
    with rasterio.open(tmp_path / "a.tif", "w", **form, **place) as file:
        file.write(np.full((1, 8, 8), 7, np.uint8))
    path = tmp_path / "a.vrt"
    with rasterio.open(tmp_path / "a.tif") as file, WarpedVRT(file, crs="EPSG:3857") as made:
        convert(made, str(path), driver="VRT")
    assert raster.read(str(path), Window(4, 4, 1, 1)).item() == 7


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for name in ("a.tif", "a.npy", "a.mat", "a.npz", "b.png.aux.xml"):
        os.mkfifo(tmp_path / name)
    Image.new("L", (4, 4)).save(tmp_path / "b.png")
    with pytest.raises(UserError, match=r"b\.png\.aux\.xml is a pipe"):
        raster.header(str(tmp_path / "b.png"))
    for ending in (".npy", ".mat", ".npz"):
        with pytest.raises(UserError, match="is a pipe"):
            arrays.contents(str(path.with_suffix(ending)))
    for endless in (str(path), "/dev/zero", "/vsistdin/"):
        with pytest.raises(UserError, match=r"a pipe or a device|is not a file"):
            raster.header(endless)
