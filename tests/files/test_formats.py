"""A picture is never a program: what a file is called decides how it is read."""

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.errors import RasterioIOError
from rasterio.shutil import copy as convert

from jaxseg.errors import UserError
from jaxseg.files import formats, raster
from jaxseg.scenes.scene import Window

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


@pytest.fixture
def asked() -> Iterator[tuple[int, list[str]]]:
    """A server on this machine, and what it was asked for."""
    found: list[str] = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, found
    server.shutdown()
    server.server_close()


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


def test_a_virtual_raster_of_gdal_itself_is_read(scene: Path) -> None:
    path = scene.with_suffix(".vrt")
    convert(str(scene), str(path), driver="VRT")
    assert raster.read(str(path), Window(1, 1, 1, 1)).item() == 5


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    os.mkfifo(path)
    for endless in (str(path), "/dev/zero"):
        with pytest.raises(UserError, match="a pipe or a device"):
            raster.header(endless)
