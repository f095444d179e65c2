"""What the headers of a folder's files promise, each promise alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from fixtures.folder_files import ALL, COLORS, Array, H, Make, W, ids, png, read, tiff

from jaxseg.datasets.folder import index as folder_index
from jaxseg.errors import UserError
from jaxseg.scenes.agreement import BandOrderError
from jaxseg.scenes.scene import IGNORE, Window

pytestmark = [
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),  # rasterio's use of affine
]


def grid(west: float, north: float, width: float = 10, height: float = 10) -> rasterio.Affine:
    """Where pixels of this size lie whose first corner is there."""
    return rasterio.Affine(width, 0, west, 0, -height, north)


HERE = {"crs": "EPSG:32633", "transform": grid(5000, 9000)}


def scene(folder: Path, name: str, image: Array, mask: Array, **profile: object) -> None:
    tiff(folder / "images" / f"{name}.tif", image, **profile)
    tiff(folder / "masks" / f"{name}.tif", mask)


def described(path: Path, *names: str) -> None:
    with rasterio.open(path, "r+") as file:
        file.descriptions = names


def masked(path: Path, known: Array, *, inside: bool = True) -> None:
    """Gives the file a validity mask, in it or beside it."""
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=inside), rasterio.open(path, "r+") as file:
        file.write_mask(known)


@pytest.mark.parametrize("inside", [True, False])
def test_masks_of_files_make_pixels_invalid_labels_ignored_and_objects_none(
    folder: Make, tmp_path: Path, *, inside: bool
) -> None:
    images, masks, objects = (tmp_path / name / "a.tif" for name in ("images", "masks", "objects"))
    tiff(images, np.ones((H, W, 2), np.uint8))
    tiff(masks, ids(0, 1))
    tiff(objects, np.full((H, W), 3, np.uint16))
    known = np.random.default_rng(0).random((3, H, W)) < 0.6
    for path, where in zip((images, masks, objects), known, strict=True):
        masked(path, where, inside=inside)
    source = folder(instances=str(tmp_path / "objects"), mask_nodata="hide")
    window = Window(4, 7, 12, 20)
    sample, part = read(source, window=window), (slice(4, 16), slice(7, 27))
    np.testing.assert_array_equal(sample["valid"], known[0][part])
    expected = np.where(known[1], ids(0, 1), IGNORE)
    np.testing.assert_array_equal(sample["label"], expected[part])
    np.testing.assert_array_equal(sample["instance"], np.where(known[2], 3, 0)[part])


def test_opacity_that_is_read_as_a_band_masks_nothing_and_else_it_does(
    folder: Make, tmp_path: Path
) -> None:
    pixels = np.full((H, W, 4), 9, np.uint8)
    pixels[:3, :, 3] = 0
    png(tmp_path / "images" / "a.png", pixels)
    assert read(folder(band_numbers=(4, 1)))["valid"].all()
    assert not read(folder(band_numbers=(2, 1)))["valid"][:3].any()


def test_every_band_has_the_nodata_number_of_its_own_tag(folder: Make, tmp_path: Path) -> None:
    pixels = np.full((H, W, 3), 5, np.int16)
    pixels[0], pixels[1], pixels[2] = (-1, 5, 5), (5, -1, 5), (5, 5, -7)
    part = tiff(tmp_path / "parts" / "a.tif", pixels)
    bands = "".join(
        f'<VRTRasterBand dataType="Int16" band="{number}"><NoDataValue>{tag}</NoDataValue>'
        f"<SimpleSource><SourceFilename>{part}</SourceFilename><SourceBand>{number}</SourceBand>"
        "</SimpleSource></VRTRasterBand>"
        for number, tag in ((1, -1), (2, -9999), (3, -7))
    )
    (tmp_path / "images").mkdir()
    text = f'<VRTDataset rasterXSize="{W}" rasterYSize="{H}">{bands}</VRTDataset>'
    (tmp_path / "images" / "a.vrt").write_text(text)
    assert read(folder())["valid"][:4, 0].tolist() == [False, True, False, True]
    assert read(folder(band_numbers=(3, 2)))["valid"][:4, 0].tolist() == [True, True, False, True]
    assert read(folder(nodata=-1.0))["valid"][:4, 0].tolist() == [False, False, True, True]


@pytest.mark.parametrize("tag", [float("nan"), float("inf")])
def test_a_tag_that_no_number_equals_needs_no_comparison(
    folder: Make, tmp_path: Path, tag: float
) -> None:
    scene(tmp_path, "a", np.ones((H, W, 1), np.float32), ids(0, 1), nodata=tag)
    source = folder()
    assert source.scenes("train").entries[0].image_facts.nodata == (None,)
    assert read(source)["valid"].all()


def test_files_without_names_in_common_may_name_bands_as_they_like(
    folder: Make, tmp_path: Path
) -> None:
    for name in "ab":
        scene(tmp_path, name, np.ones((H, W, 3), np.uint16), ids(0, 1))
    first, second = (tmp_path / "images" / f"{name}.tif" for name in "ab")
    described(first, "", "B03", "B04")
    described(second, "", "x", "y")
    assert len(folder().scenes("train")) == 2  # no name is no name in common
    described(second, "", "B03", "y")
    with pytest.raises(BandOrderError, match=r"b\.tif: band 3 is y, in .*a\.tif it is B04"):
        folder().scenes("train")
    with pytest.raises(BandOrderError, match=r"band 3 is y"):
        folder(band_numbers=(2, 3)).scenes("train")
    assert len(folder(band_numbers=(1, 2)).scenes("train")) == 2


def test_a_palette_picture_among_others_is_refused(folder: Make, tmp_path: Path) -> None:
    for name in "ab":
        scene(tmp_path, name, ids(1, 2)[..., None], ids(0, 1))
    png(tmp_path / "images" / "b.png", ids(0, 1), palette=[9, 9, 9, 8, 8, 8])
    (tmp_path / "images" / "b.tif").unlink()
    with pytest.raises(UserError, match=r"b\.png is a palette picture, .*a\.tif is not"):
        folder().scenes("train")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"transform": grid(5000, 9000)}, None),  # without a CRS: nothing is said
        (HERE | {"transform": grid(5000.9, 9000)}, None),
        (HERE | {"transform": grid(5000, 9001.5)}, "lies 0.15 pixels off"),
        (HERE | {"transform": grid(4998, 9000)}, "lies 0.2 pixels off"),
        # The same corner at the top left, and another one at the right, at the bottom.
        (HERE | {"transform": grid(5000, 9000, 10.1, 10)}, "lies 0.3 pixels off"),
        (HERE | {"transform": grid(5000, 9000, 10, 10.1)}, "lies 0.2 pixels off"),
        (HERE | {"transform": grid(5000, 9000, 10.01, 10.01)}, None),
        (HERE | {"transform": rasterio.Affine(0, 10, 5000, 10, 0, 9000)}, "lies"),  # turned
    ],
)
def test_a_mask_lies_where_its_image_lies_up_to_a_tenth_of_a_pixel(
    folder: Make, tmp_path: Path, place: dict[str, Any], message: str | None
) -> None:
    scene(tmp_path, "a", np.ones((H, W, 1), np.uint8), ids(0, 1), **HERE)
    tiff(tmp_path / "masks" / "a.tif", ids(0, 1), **place)
    if message is None:
        assert len(folder().scenes("train")) == 1
    else:
        with pytest.raises(UserError, match=message):
            folder().scenes("train")


def test_objects_lie_where_their_image_lies(folder: Make, tmp_path: Path) -> None:
    scene(tmp_path, "a", np.ones((H, W, 1), np.uint8), ids(0, 1), **HERE)
    moved = HERE | {"transform": grid(5030, 9000)}
    tiff(tmp_path / "objects" / "a.tif", ids(0, 1), **moved)
    with pytest.raises(UserError, match=r"objects/a\.tif lies 3 pixels off its image .*images"):
        folder(instances=str(tmp_path / "objects")).scenes("train")


def gray_and_opacity(mask: Array) -> Array:
    return np.stack([mask, np.full_like(mask, 255)], -1)


@pytest.mark.parametrize(
    ("mask", "fields", "message"),
    [
        (gray_and_opacity(ids(0, 1)), {}, None),
        (ids(0, 1).repeat(2).reshape(H, W, 2), {"mask_nodata": "hide"}, None),  # gray and opacity
        (np.zeros((H, W, 3), np.uint8), {}, "has 3 bands; a mask of ids has one"),
        (np.zeros((H, W, 4), np.uint8), {}, "has 3 bands; a mask of ids has one"),
        (gray_and_opacity(ids(0, 255)), {"mask_colors": ((0, 0, 0), (255,) * 3)}, None),
    ],
)
def test_opacity_is_no_band_of_a_mask(
    folder: Make, tmp_path: Path, mask: Array, fields: dict[str, Any], message: str | None
) -> None:
    png(tmp_path / "masks" / "a.png", mask)
    if message is None:
        label = read(folder(**fields))["label"]
        assert set(np.unique(label)) <= {0, 1, IGNORE}
        assert label.any()
    else:
        with pytest.raises(UserError, match=message):
            folder(**fields).scenes("train")


def test_a_colour_mask_has_three_bands_or_one(folder: Make, tmp_path: Path) -> None:
    tiff(tmp_path / "masks" / "a.tif", np.zeros((H, W, 2), np.uint8))
    with pytest.raises(UserError, match=r"has 2 band\(s\) of uint8; colour masks are RGB"):
        folder(mask_colors=COLORS).scenes("train")
    tiff(tmp_path / "masks" / "a.tif", np.zeros((H, W, 3), np.uint16))
    with pytest.raises(UserError, match=r"has 3 band\(s\) of uint16; colour masks are RGB"):
        folder(mask_colors=COLORS).scenes("train")


BLACK, WHITE, BLUE = (0, 0, 0), (255, 255, 255), (0, 0, 255)


def rgb(path: Path, tag: int) -> None:
    table = np.array([BLACK, WHITE], np.uint8)
    tiff(path, table[ids(0, 1)], nodata=tag)


def gray(path: Path, tag: int) -> None:
    tiff(path, ids(0, 255), nodata=tag)


def palette(path: Path, tag: int) -> None:
    tiff(path, ids(3, 7), nodata=tag, photometric="palette")
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {3: (*BLACK, 255), 7: (*WHITE, 255), 255: (*BLUE, 255)})


@pytest.mark.parametrize(
    ("write", "tag", "colors", "refused"),
    [
        (rgb, 0, (BLACK, WHITE), "'ground'"),
        (rgb, 255, (BLACK, WHITE), "'house'"),
        (rgb, 0, (BLUE, WHITE), ""),
        (gray, 0, (BLACK, WHITE), "'ground'"),
        (gray, 255, (BLACK, WHITE), "'house'"),
        (gray, 255, (BLACK, BLUE), ""),  # 255 of one band is white, not blue
        (palette, 7, (BLACK, WHITE), "'house'"),
        (palette, 3, (BLACK, WHITE), "'ground'"),
        (palette, 255, (BLACK, WHITE), ""),
        (palette, 255, (BLACK, BLUE), "'house'"),
    ],
)
def test_a_colour_that_is_tagged_as_nodata_and_a_class_has_to_be_decided(
    folder: Make,
    tmp_path: Path,
    write: Callable[[Path, int], None],
    tag: int,
    colors: tuple[tuple[int, int, int], ...],
    refused: str,
) -> None:
    (tmp_path / "masks").mkdir()
    write(tmp_path / "masks" / "a.tif", tag)
    source = folder(mask_colors=colors, ignore_colors=((1, 2, 3),))
    if refused:
        with pytest.raises(UserError, match=f"tags {tag} as nodata, and {tag} is class {refused}"):
            source.scenes("train")
        kept = folder(mask_colors=colors, mask_nodata="keep")
        assert len(kept.scenes("train")) == 1
    else:
        assert len(source.scenes("train")) == 1


def colors_and_opacity(path: Path, opaque: Array) -> None:
    table = np.array([BLACK, WHITE], np.uint8)
    png(path.with_suffix(".png"), np.dstack((table[ids(0, 1)], opaque * np.uint8(255))))


def ids_and_opacity(path: Path, opaque: Array) -> None:
    png(path.with_suffix(".png"), np.dstack((ids(0, 1), opaque * np.uint8(255))))


def ids_and_mask(path: Path, opaque: Array) -> None:
    tiff(path, ids(0, 1))
    masked(path, opaque)


def fractional(path: Path, opaque: Array) -> None:
    tiff(path, np.where(ids(0, 1) == 1, 1, 0).astype(np.float32))
    masked(path, opaque)


@pytest.mark.parametrize("write", [colors_and_opacity, ids_and_opacity, ids_and_mask, fractional])
def test_a_class_that_is_transparent_has_to_be_decided(
    folder: Make, tmp_path: Path, write: Callable[[Path, Array], None]
) -> None:
    opaque = ids(0, 1) == 1
    opaque[5, 9] = False  # a pixel of the other class
    (tmp_path / "masks").mkdir()
    write(tmp_path / "masks" / "a.tif", opaque)
    colors: dict[str, Any] = {"mask_colors": (BLACK, WHITE)} if "colors" in write.__name__ else {}
    hidden = np.argwhere(~opaque & (ids(0, 1) == 0))[0]
    place = f"row {hidden[0]}, column {hidden[1]}"
    said = rf"a\.\w+ is transparent where it holds class 'ground', .*{place}; .*keep.*hide"
    with pytest.raises(UserError, match=said):
        read(folder(**colors))
    kept = read(folder(**colors, mask_nodata="keep"))["label"]
    np.testing.assert_array_equal(kept, ids(0, 1))
    without = read(folder(**colors, mask_nodata="hide"))["label"]
    np.testing.assert_array_equal(without, np.where(opaque, ids(0, 1), IGNORE))


def test_what_is_transparent_and_not_a_class_or_without_data_in_the_image_is_ignored(
    folder: Make, tmp_path: Path
) -> None:
    unknown = ids(0, 1)
    unknown[:3] = 77
    tiff(tmp_path / "masks" / "a.tif", unknown)
    masked(tmp_path / "masks" / "a.tif", unknown != 77)
    assert (read(folder())["label"] == np.where(unknown == 77, IGNORE, unknown)).all()
    # Both were cut out of something larger, with 0 around the ground of interest.
    image = np.ones((H, W, 3), np.uint8)
    image[:3] = 0
    tiff(tmp_path / "images" / "a.tif", image, nodata=0)
    cut = np.where(image[..., 0] == 0, 0, ids(0, 1)).astype(np.uint8)
    tiff(tmp_path / "masks" / "a.tif", cut)
    masked(tmp_path / "masks" / "a.tif", image[..., 0] > 0)
    assert (read(folder())["label"][:3] == IGNORE).all()


def test_one_band_of_ids_of_objects_is_wanted(folder: Make, tmp_path: Path) -> None:
    for pixels, message in (
        (np.ones((H, W, 2), np.uint8), r"2 band\(s\) of uint8; object ids are one"),
        (np.ones((H, W), np.complex64), r"1 band\(s\) of complex64; object ids are one"),
    ):
        tiff(tmp_path / "objects" / "a.tif", pixels)
        with pytest.raises(UserError, match=message):
            folder(instances=str(tmp_path / "objects")).scenes("train")


@pytest.mark.parametrize("axis", ["columns", "rows"])
def test_strips_lie_side_by_side_in_the_order_of_the_splits(
    folder: Make, tmp_path: Path, axis: str
) -> None:
    place = np.arange(H * W, dtype=np.float32).reshape(H, W)
    scene(tmp_path, "a", place, ids(0, 1))
    source = folder(split_by=axis, fractions=(0.5, 0.3, 0.2))
    parts = []
    for split in ("train", "validation", "test"):
        size = source.scenes(split).size(0)
        parts.append(read(source, split, window=Window(0, 0, *size))["image"][..., 0])
    side = 1 if axis == "columns" else 0
    length = (H, W)[side]
    assert [part.shape[side] for part in parts] == [length // 2, 0.3 * length, 0.2 * length]
    np.testing.assert_array_equal(np.concatenate(parts, side), place)


def test_a_strip_without_a_pixel_is_refused(folder: Make, tmp_path: Path) -> None:
    scene(tmp_path, "a", np.ones((H, W, 1), np.uint8), ids(0, 1))
    source = folder(split_by="rows", fractions=(0.98, 0.01, 0.01))
    assert source.scenes("train").size(0) == (20, W)
    with pytest.raises(UserError, match=rf"a\.tif: {H} rows leave none to this split"):
        source.scenes("validation")
    narrow = folder(split_by="columns", fractions=(0.99, 0.005, 0.005))
    with pytest.raises(UserError, match=rf"a\.tif: {W} columns leave none"):
        narrow.scenes("test")


def test_many_headers_are_announced(
    folder: Make,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(folder_index, "_TELL_FROM", 2)
    for name in "ab":
        scene(tmp_path, name, np.ones((H, W, 1), np.uint8), ids(0, 1))
    folder().scenes("train")
    assert not capsys.readouterr().err
    scene(tmp_path, "c", np.ones((H, W, 1), np.uint8), ids(0, 1))
    folder().scenes("train")
    said = capsys.readouterr().err
    assert f"headers of 3 scenes in {tmp_path / 'images'}" in said


def test_what_the_user_says_was_added_is_not_announced(
    folder: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene(tmp_path, "a", np.full((H, W, 1), 1300, np.uint16), ids(0, 1))
    assert (read(folder(added=1000))["image"] == 300).all()
    assert not capsys.readouterr().err


def test_what_is_known_of_many_files_alike_is_kept_once(folder: Make, tmp_path: Path) -> None:
    for name in "abc":
        scene(tmp_path, name, np.ones((H, W, 1), np.uint8), ids(0, 1))
        png(tmp_path / "objects" / f"{name}.png", np.ones((H, W), np.uint16))
    entries = folder(instances=str(tmp_path / "objects")).scenes("train").entries
    for kind in ("image_facts", "mask_facts", "object_facts"):
        assert len({id(getattr(entry, kind)) for entry in entries}) == 1
    assert [Path(entry.image).stem for entry in entries] == ["a", "b", "c"]
    assert entries[1].area == ALL
