"""Records as scenes: windows of decoded tiles, and encoded pictures of every kind."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jaxseg.datasets.tiles import TileScenes, picture
from jaxseg.errors import UserError
from jaxseg.scenes.scene import Window


def tile(number: int) -> dict[str, Any]:
    place = np.arange(48).reshape(6, 8) + 100 * number
    return {"image": place[..., None], "label": place}


RECORDS = [tile(0), tile(1)]


def test_a_window_is_cut_of_every_field_of_its_tile() -> None:
    asked: list[object] = []

    def decode(record: Any) -> Any:
        asked.append(record)
        return record

    scenes = TileScenes(RECORDS, decode, [(6, 8), (6, 9)], ["first", "second"])
    assert len(scenes) == 2
    assert (scenes.name(1), scenes.size(1), scenes.size(0)) == ("second", (6, 9), (6, 8))
    sample = scenes.read(1, Window(1, 3, 4, 2))
    np.testing.assert_array_equal(sample["label"], RECORDS[1]["label"][1:5, 3:5])
    np.testing.assert_array_equal(sample["image"], RECORDS[1]["image"][1:5, 3:5])
    assert asked == [RECORDS[1]]
    assert not np.shares_memory(sample["label"], RECORDS[1]["label"])
    assert sample["label"].flags.c_contiguous


@pytest.mark.parametrize(
    ("sizes", "names", "counts"),
    [
        ([(6, 8)], ["a", "b"], "2 records, 1 sizes, 2 names"),
        ([(6, 8)] * 2, ["a"], "2 records, 2 sizes, 1 names"),
        ([(6, 8)] * 3, ["a", "b", "c"], "2 records, 3 sizes, 3 names"),
    ],
)
def test_every_record_has_one_size_and_one_name(
    sizes: list[tuple[int, int]], names: list[str], counts: str
) -> None:
    with pytest.raises(ValueError, match=counts):
        TileScenes(RECORDS, dict, sizes, names)


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def test_a_picture_of_any_mode_is_colours_or_numbers() -> None:
    numbers = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    palette = Image.fromarray(numbers, mode="P")
    colors = np.array([[9, 8, 7], [60, 50, 40], [1, 2, 3]], np.uint8)
    palette.putpalette(colors.ravel().tolist())
    np.testing.assert_array_equal(picture(encoded(palette), "x", mode="L"), numbers)
    np.testing.assert_array_equal(picture(encoded(palette), "x"), colors[numbers])
    gray = encoded(Image.fromarray(numbers))
    np.testing.assert_array_equal(picture(gray, "x", mode="L"), numbers)
    np.testing.assert_array_equal(picture(gray, "x"), numbers[..., None].repeat(3, -1))
    rgb = colors[numbers]
    opaque = np.concatenate([rgb, np.full((2, 3, 1), 200, np.uint8)], -1)
    np.testing.assert_array_equal(picture(encoded(Image.fromarray(opaque)), "x"), rgb)
    for found in (picture(gray, "x"), picture(gray, "x", mode="L")):
        assert found.dtype == np.uint8
        assert found.flags.writeable


def test_a_picture_that_is_none_or_cut_off_is_told_by_name() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype(np.uint8)
    for kind in ("JPEG", "PNG"):
        whole = encoded(Image.fromarray(noise), kind)
        for data in (b"", b"none", whole[:20], whole[: len(whole) // 2]):
            with pytest.raises(UserError, match=r"picture of tile 7: .*Fetch it again"):
                picture(data, "tile 7")
