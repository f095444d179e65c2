"""Headers that are kept are those that reading gives, for as long as the files are the same."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from jaxseg.errors import UserError
from jaxseg.files import headers, raster
from jaxseg.files.raster import Header

PIXELS = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of several kinds, and an empty cache that takes them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(headers, "KEPT_FROM", 3)
    folder = tmp_path / "images"
    folder.mkdir()
    profile = {"driver": "GTiff", "height": 4, "width": 5, "dtype": "uint8"}
    for number in range(3):
        place = from_origin(500_000 + 50 * number, 4_000_000, 10, 10)
        path = folder / f"tile.{number}.tif"
        with rasterio.open(path, "w", **profile, count=3, crs="EPSG:32633", transform=place) as f:
            f.write(PIXELS)
            f.scales, f.offsets = (0.5, 1, 1), (0, 0, 7)
            f.set_band_description(2, "Größe")
            f.update_tags(sun="low", number=number % 2)
    with rasterio.open(folder / "float.tif", "w", **profile | {"dtype": "float32"}, count=1) as f:
        f.write(PIXELS[:1].astype(np.float32))
        f.nodata = np.nan
    with rasterio.open(folder / "palette.png", "w", **profile | {"driver": "PNG"}, count=1) as f:
        f.write(PIXELS[:1] % 2)
        f.write_colormap(1, {0: (0, 0, 0, 255), 1: (255, 20, 30, 255)})
    return sorted(str(path) for path in folder.iterdir() if path.suffix in (".tif", ".png"))


def read(files: list[str]) -> tuple[list[Header], list[str]]:
    """The headers, and which of the files had to be read."""
    with headers.kept(files) as header:
        return [header(path) for path in files], [Path(path).name for path in header.new]


def facts(header: Header) -> dict[str, str]:
    return {name: repr(value) for name, value in dataclasses.asdict(header).items()}


def test_kept_headers_are_those_of_the_files(files: list[str]) -> None:
    expected = [raster.header(path) for path in files]
    first, new = read(files)
    assert len(new) == len(files)
    again, new = read(files)
    assert new == []
    for one, other, truth in zip(first, again, expected, strict=True):
        assert facts(one) == facts(other) == facts(truth)
        assert other.crs == truth.crs
        assert other.transform == truth.transform


def test_a_file_that_changed_is_read_again(files: list[str]) -> None:
    read(files)
    with rasterio.open(files[-1], "r+") as file:
        file.update_tags(sun="high")
    found, new = read(files)
    assert new == [Path(files[-1]).name]
    assert found[-1].tags["sun"] == "high"


def test_a_new_time_is_enough(files: list[str]) -> None:
    read(files)
    os.utime(files[1])
    assert read(files)[1] == [Path(files[1]).name]


@pytest.mark.parametrize("name", ["tile.0.tif.aux.xml", "tile.0.aux.xml"])
def test_a_side_car_that_came_or_went_is_seen(files: list[str], name: str) -> None:
    read(files)
    beside = Path(files[0]).parent / name
    beside.write_text("<PAMDataset><Metadata><MDI key='sun'>gone</MDI></Metadata></PAMDataset>")
    assert read(files)[1] == ["tile.0.tif"]
    assert read(files)[1] == []
    beside.unlink()
    found, new = read(files)
    assert new == ["tile.0.tif"]
    assert found[files.index(str(Path(files[0]).parent / "tile.0.tif"))].tags["sun"] == "low"


def test_a_folder_has_a_file_of_its_own_and_few_headers_are_not_kept(
    files: list[str], tmp_path: Path
) -> None:
    read(files)
    read(files[:2])
    assert len(list((tmp_path / "cache").rglob("*.sqlite"))) == 1


def test_a_damaged_cache_is_made_again(files: list[str], tmp_path: Path) -> None:
    read(files)
    (kept,) = (tmp_path / "cache").rglob("*.sqlite")
    kept.write_bytes(b"SQLite format 3\0" + b"damaged" * 500)
    assert len(read(files)[1]) == len(files)
    assert read(files)[1] == []


def test_what_cannot_be_read_is_the_same_error_each_time(files: list[str]) -> None:
    Path(files[0]).write_bytes(b"no image")
    for _ in range(2):
        with pytest.raises(UserError, match="Cannot read"):
            read(files)
    with pytest.raises(UserError, match="no such file"):
        read([*files[1:], "/nowhere/a.tif"])


def test_headers_of_groups_are_read_ahead_of_their_use(
    files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(headers, "AHEAD", 2)
    opened: list[str] = []
    reader = raster.header
    monkeypatch.setattr(raster, "header", lambda path: opened.append(path) or reader(path))
    groups = [(path, "") for path in files[:3]] + [(files[3], files[4])]
    for known in ([], files):  # the second time, none has to be read
        opened.clear()
        with headers.kept(files) as header:
            for number, group in enumerate(header.at_hand(groups)):
                ahead = files[:2] if number < 2 else files
                assert set(opened) == set(ahead) - set(known)
                for path in filter(None, group):
                    assert facts(header(path)) == facts(reader(path))
        assert len(opened) == len(files) - len(known)


def test_a_file_that_is_missing_is_said_where_its_turn_comes(files: list[str]) -> None:
    header = headers.Headers({})
    with pytest.raises(UserError, match=r"none\.tif"):
        list(header.at_hand([(files[0],), (f"{files[0]}/none.tif",)]))
