"""Tests of `jaxseg.files.maps`: blocks become one file that says what its numbers are."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rio_cogeo.cogeo import cog_validate

from jaxseg.errors import UserError
from jaxseg.files import maps
from jaxseg.files.maps import MapBand, MapFacts, assemble, write_block
from jaxseg.scenes.scene import Window

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

PLACE = Affine(10, 0, 600_000, 0, -10, 5_300_000)
FACTS = MapFacts(
    height=40,
    width=70,
    dtype="uint8",
    bands=(MapBand("a"), MapBand("b")),
    nodata=255,
    crs=CRS.from_epsg(32632),
    transform=PLACE,
    classes=(),
    colors=(),
    tags={},
)


def pixels(facts: MapFacts = FACTS) -> NDArray[Any]:
    shape = (facts.height, facts.width, len(facts.bands))
    return np.random.default_rng(0).integers(0, 200, shape).astype(facts.dtype)


def made(folder: Path, facts: MapFacts, image: NDArray[Any]) -> Path:
    """A map of four unlike blocks."""
    blocks, (down, across) = [], (16, 48)
    for y, height in ((0, down), (down, facts.height - down)):
        for x, width in ((0, across), (across, facts.width - across)):
            path = folder / f"block_{y}_{x}.tif"
            write_block(path, image[y : y + height, x : x + width])
            blocks.append((path, Window(y, x, height, width)))
    assemble(blocks, facts, folder / "map.tif")
    return folder / "map.tif"


def test_every_block_lies_at_its_place_in_every_band(tmp_path: Path) -> None:
    path = made(tmp_path, FACTS, pixels())
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(np.moveaxis(file.read(), 0, -1), pixels())
        assert file.descriptions == ("a", "b")
        assert (file.crs, file.transform) == (FACTS.crs, PLACE)
    assert cog_validate(path, strict=True)[0]


def test_signs_of_markup_in_names_and_tags_are_kept(tmp_path: Path) -> None:
    said = {"JAXSEG_CLASSES": 'rock & ice, "old" <5 m', 'a "key" & <more>': "x"}
    facts = FACTS._replace(
        bands=(MapBand("rock & ice"), MapBand("<5 m", unit="m > 0 & < 9")), tags=said
    )
    with rasterio.open(made(tmp_path, facts, pixels())) as file:
        assert file.descriptions == ("rock & ice", "<5 m")
        assert file.units[1] == "m > 0 & < 9"
        assert said.items() <= file.tags().items()


def test_names_of_classes_lie_beside_a_map_and_go_with_the_map_before(tmp_path: Path) -> None:
    names = ("rock & ice", "<5 m", "water")
    facts = FACTS._replace(bands=(MapBand("class"),), classes=names, colors=((1, 2, 3),) * 3)
    path = made(tmp_path, facts, pixels(facts) % 3)
    found = ElementTree.parse(maps.beside(path)).iter("Category")
    assert [category.text for category in found] == list(names)
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), pixels(facts)[..., 0] % 3)
    made(tmp_path, FACTS, pixels())
    assert not maps.beside(path).exists()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_numbers_are_scaled_and_pixels_without_data_are_known(tmp_path: Path, dtype: str) -> None:
    facts = FACTS._replace(dtype=dtype, bands=(MapBand("share", 1 / 254), MapBand("id")), nodata=9)
    image = pixels(facts)
    with rasterio.open(made(tmp_path, facts, image)) as file:
        assert file.dtypes == (dtype,) * 2
        assert (file.scales, file.offsets) == ((1 / 254, 1.0), (0.0, 0.0))
        assert file.nodatavals == (9.0, 9.0)
        np.testing.assert_array_equal(np.moveaxis(file.read(masked=True).mask, 0, -1), image == 9)


def test_pixels_of_a_known_size_have_a_place_even_without_a_reference_system(
    tmp_path: Path,
) -> None:
    with rasterio.open(made(tmp_path, FACTS._replace(crs=None), pixels())) as file:
        assert (file.crs, file.transform) == (None, PLACE)


def test_a_picture_without_coordinates_gets_none(tmp_path: Path) -> None:
    facts = FACTS._replace(crs=None, transform=Affine.identity())
    with rasterio.open(made(tmp_path, facts, pixels())) as file:
        assert (file.crs, file.transform) == (None, Affine.identity())


def halved(folder: Path, **changes: Any) -> tuple[MapFacts, NDArray[Any]]:
    """Three pixels of 10 in four, one of 20; and the first overview of their map."""
    facts = FACTS._replace(height=600, width=600, bands=(MapBand("a"),), **changes)
    image = np.full((600, 600, 1), 10, np.uint8)
    image[1::2, 1::2] = 20
    with rasterio.open(made(folder, facts, image), overview_level=0) as file:
        return facts, file.read(1)


def test_overviews_of_quantities_are_means(tmp_path: Path) -> None:
    _, overview = halved(tmp_path)
    assert overview.min() >= 12
    assert overview.max() <= 13


def test_overviews_of_classes_are_the_most_frequent_ones(tmp_path: Path) -> None:
    colors = tuple((number, 2 * number, 3 * number) for number in range(21))
    names = tuple(f"class {number}" for number in range(21))
    facts, overview = halved(tmp_path, classes=names, colors=colors)
    assert (overview == 10).all()
    with rasterio.open(tmp_path / "map.tif") as file:
        assert tuple(file.colormap(1)[number][:3] for number in range(21)) == facts.colors


def test_colours_of_more_classes_than_a_palette_holds_are_left_out(tmp_path: Path) -> None:
    facts = FACTS._replace(dtype="uint16", bands=(MapBand("class"),), colors=((1, 2, 3),) * 300)
    with rasterio.open(made(tmp_path, facts, pixels(facts))) as file:
        np.testing.assert_array_equal(file.read(1), pixels(facts)[..., 0])
        assert file.dtypes == ("uint16",)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk without room for another file."""

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(maps.os, "replace", refuse)


@pytest.mark.usefixtures("full")
def test_a_block_that_cannot_be_written_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Cannot write .*No space left.*MiB are free in"):
        write_block(tmp_path / "block.tif", np.zeros((16, 16, 2), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_a_map_that_cannot_be_written_is_said_and_keeps_its_blocks(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    block, facts = tmp_path / "block.tif", FACTS._replace(height=16, width=16)
    write_block(block, np.zeros((16, 16, 2), np.uint8))
    request.getfixturevalue("full")
    with pytest.raises(UserError, match=r"Cannot write .*No space left.*MiB are free in"):
        assemble([(block, Window(0, 0, 16, 16))], facts, tmp_path / "map.tif")
    assert sorted(path.name for path in tmp_path.glob("*.tif")) == ["block.tif"]


def test_a_map_is_not_made_of_blocks_that_are_lost_or_cut_off(tmp_path: Path) -> None:
    facts = FACTS._replace(height=1024, width=512)
    block, other = tmp_path / "block.tif", tmp_path / "other.tif"
    noise = np.random.default_rng(0).integers(0, 255, (512, 512, 2), np.uint8)
    for path in (block, other):
        write_block(path, noise)
    parts = [(block, Window(0, 0, 512, 512)), (other, Window(512, 0, 512, 512))]
    other.write_bytes(other.read_bytes()[: other.stat().st_size // 2])
    with pytest.raises(UserError, match=r"Cannot write .*map.tif"):
        assemble(parts, facts, tmp_path / "map.tif")
    other.unlink()
    with pytest.raises(UserError, match=r"Cannot write .*map.tif"):
        assemble(parts, facts, tmp_path / "map.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["block.tif"]
