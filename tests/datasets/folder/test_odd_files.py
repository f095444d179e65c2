"""Odd files and lists that were once read wrongly without a word, or refused for a wrong reason."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from fixtures.folder_files import H, Make, W, ids, png, read, tiff
from PIL import Image

from jaxseg.datasets.folder.source import Folder
from jaxseg.errors import UserError
from jaxseg.files import raster
from jaxseg.scenes.agreement import ScaleError

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

BRIGHT = np.full((H, W, 3), 200, np.uint8)


def test_signs_of_patterns_may_be_part_of_a_folders_name(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        tiff(tmp_path / "data [v2]" / "images" / split / "a.tif", BRIGHT)
        tiff(tmp_path / "data [v2]" / "masks" / split / "a.tif", ids(0, 1))
    places = {name: str(tmp_path / "data [v2]" / name) for name in ("images", "masks")}
    source = Folder(classes=("ground", "house"), split_by="folders", **places)
    assert [len(source.scenes(split)) for split in ("train", "validation", "test")] == [1, 1, 1]
    source = Folder(
        classes=("ground", "house"),
        split_by="folders",
        **{name: f"{tmp_path}/data [v2]/{name}/{{split}}" for name in places},
    )
    assert len(source.scenes("train")) == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_lists_may_have_a_mark_of_their_encoding(
    folder: Make, tmp_path: Path, encoding: str
) -> None:
    for stem in ("Straße", "b"):
        tiff(tmp_path / "images" / f"{stem}.tif", BRIGHT)
        tiff(tmp_path / "masks" / f"{stem}.tif", ids(0, 1))
    (tmp_path / "train.txt").write_bytes("Straße\nb\n".encode(encoding))
    source = folder(split_by="lists", lists=str(tmp_path))
    if encoding == "utf-16-le":  # without a mark nobody can know
        with pytest.raises(UserError, match=r"train\.txt"):
            source.scenes("train")
        return
    scenes = source.scenes("train")
    assert [Path(scenes.name(index)).stem for index in range(2)] == ["Straße", "b"]


def test_a_list_in_another_encoding_is_named(folder: Make, tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_bytes("Straße\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"train\.txt is not in UTF-8: byte 4 is 0xdf"):
        folder(split_by="lists", lists=str(tmp_path)).scenes("train")


def test_a_scene_that_is_listed_twice_is_refused_with_its_lines(
    folder: Make, tmp_path: Path
) -> None:
    (tmp_path / "train.txt").write_text("a\n\nimages/a.tif\n")
    with pytest.raises(UserError, match=r"train\.txt, lines 1 and 3: scene 'a' is listed twice"):
        folder(split_by="lists", lists=str(tmp_path)).scenes("train")


def test_a_scene_in_the_lists_of_two_splits_is_refused(folder: Make, tmp_path: Path) -> None:
    for stem in "ab":
        tiff(tmp_path / "images" / f"{stem}.tif", BRIGHT)
        tiff(tmp_path / "masks" / f"{stem}.tif", ids(0, 1))
    (tmp_path / "train.txt").write_text("a\n")
    (tmp_path / "test.txt").write_text("b\n\na.tif\n")
    source = folder(split_by="lists", lists=str(tmp_path))
    for split, said in (
        ("train", r"train\.txt, line 1, and .*test\.txt, line 3: scene 'a'"),
        ("test", r"test\.txt, line 3, and .*train\.txt, line 1: scene 'a'"),
    ):
        with pytest.raises(UserError, match=said):
            source.scenes(split)


def test_a_file_of_several_pages_is_not_read_as_its_first_one(folder: Make, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    pages = [Image.fromarray(np.full((H, W), number, np.uint8)) for number in range(3)]
    pages[0].save(tmp_path / "images" / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(UserError, match=r"a\.tif has 3 pages, .*gdalbuildvrt -separate"):
        folder().scenes("train")


def test_overviews_and_internal_masks_are_no_pages(folder: Make, tmp_path: Path) -> None:
    path = tiff(tmp_path / "images" / "a.tif", BRIGHT)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.build_overviews([2])
        file.write_mask(np.arange(H * W).reshape(H, W) % 2 == 0)
    assert read(folder())["valid"].sum() == H * W // 2


def test_world_files_are_compared_without_a_reference_system(folder: Make, tmp_path: Path) -> None:
    png(tmp_path / "images" / "a.png", BRIGHT)
    png(tmp_path / "masks" / "a.png", ids(0, 1))
    lines = "10\n0\n0\n-10\n{}\n5000000\n"
    (tmp_path / "images" / "a.pgw").write_text(lines.format(500000))
    (tmp_path / "masks" / "a.pgw").write_text(lines.format(500320))
    with pytest.raises(UserError, match=r"a\.png lies 32 pixels off its image"):
        folder().scenes("train")
    png(tmp_path / "same" / "a.png", ids(0, 1))
    (tmp_path / "same" / "a.pgw").write_text(lines.format(500000))
    assert len(folder(masks=str(tmp_path / "same")).scenes("train")) == 1
    png(tmp_path / "nowhere" / "a.png", ids(0, 1))  # a mask that lies nowhere is where its image is
    assert len(folder(masks=str(tmp_path / "nowhere")).scenes("train")) == 1


def test_a_mask_without_a_reference_system_lies_by_its_transform(
    folder: Make, tmp_path: Path
) -> None:
    here, there = (rasterio.Affine(10, 0, west, 0, -10, 9000) for west in (5000, 5320))
    tiff(tmp_path / "images" / "a.tif", BRIGHT, crs="EPSG:32633", transform=here)
    tiff(tmp_path / "masks" / "a.tif", ids(0, 1), transform=there)
    with pytest.raises(UserError, match=r"masks/a\.tif lies 32 pixels off its image"):
        folder().scenes("train")


def test_scales_of_bands_are_compared_band_by_band(folder: Make, tmp_path: Path) -> None:
    for stem, scales in (("a", (1.0, 0.1, 1.0)), ("b", (1.0, 0.01, 1.0))):
        path = tiff(tmp_path / "images" / f"{stem}.tif", BRIGHT)
        tiff(tmp_path / "masks" / f"{stem}.tif", ids(0, 1))
        with rasterio.open(path, "r+") as file:
            file.scales = scales
    with pytest.raises(
        ScaleError, match=r"b\.tif is tagged with scale 0\.01 .*a\.tif with 0\.1 .*band 2"
    ):
        folder().scenes("train")


def test_opacity_is_no_band_where_some_files_have_it(folder: Make, tmp_path: Path) -> None:
    opaque = np.concatenate([BRIGHT, np.full((H, W, 1), 255, np.uint8)], -1)
    opaque[:3, :, 3] = 0
    for stem, image in (("a", BRIGHT), ("b", opaque)):
        png(tmp_path / "images" / f"{stem}.png", image)
        png(tmp_path / "masks" / f"{stem}.png", ids(0, 1))
    scenes = folder().scenes("train")
    assert [read(folder(), index=index)["image"].shape[-1] for index in range(len(scenes))] == [
        3
    ] * 2
    assert read(folder(), index=1)["valid"].sum() == (H - 3) * W


def test_a_band_is_read_once(folder: Make) -> None:
    with pytest.raises(UserError, match=r"band_numbers \(1, 1, 2\): a band is given twice"):
        folder(band_numbers=(1, 1, 2))


def test_ids_that_jpeg_has_blurred_are_called_so(folder: Make, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    Image.fromarray(ids(0, 40)).save(tmp_path / "masks" / "a.jpg")
    with pytest.raises(UserError, match="JPEG blurs ids"):
        read(folder(ids=(0, 40)))


def test_a_user_without_a_home_has_no_cache(
    folder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert folder().counts_file() is None
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = folder().counts_file()
    assert found is not None
    assert found.parent == tmp_path / "jaxseg" / "class_counts"


@pytest.mark.parametrize("ending", ["jpg", "tif"])
def test_a_picture_that_viewers_turn_needs_a_mask_that_they_turn_alike(
    folder: Make, tmp_path: Path, ending: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    for kind, content in (("images", BRIGHT), ("masks", ids(0, 1)), ("turned", ids(0, 1))):
        (tmp_path / kind).mkdir()
        upright = kind == "masks"
        picture = Image.fromarray(content)
        path = tmp_path / kind / f"a.{'png' if upright or ending == 'jpg' else 'tif'}"
        path = path.with_suffix(".jpg") if kind == "images" and ending == "jpg" else path
        picture.save(path, **({} if upright else {"exif": exif}))
    with pytest.raises(UserError, match=r"images/a.* has orientation 3 and .*masks/a\.png 1 "):
        folder().scenes("train")
    if ending == "tif":  # GDAL does not tell the orientation of PNG
        assert len(folder(masks=str(tmp_path / "turned")).scenes("train")) == 1


def test_a_virtual_raster_whose_source_is_missing_says_so(folder: Make, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.vrt").write_text(
        f'<VRTDataset rasterXSize="{W}" rasterYSize="{H}"><VRTRasterBand dataType="Byte" band="1">'
        '<SimpleSource><SourceFilename relativeToVRT="1">gone.tif</SourceFilename></SimpleSource>'
        "</VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(UserError, match=r"a\.vrt: .*A file that this virtual raster names is miss"):
        read(folder())


def test_a_codec_that_is_missing_is_called_so(folder: Make, tmp_path: Path) -> None:
    path = tmp_path / "images" / "a.tif"
    path.parent.mkdir()
    Image.fromarray(BRIGHT).save(path, compression="tiff_deflate")
    content = bytearray(path.read_bytes())
    place = content.index(b"\x03\x01\x03\x00\x01\x00\x00\x00")  # the tag of the compression
    content[place + 8 : place + 10] = (50002).to_bytes(2, "little")  # JPEG XL
    path.write_bytes(bytes(content))
    with pytest.raises(UserError, match=r"a\.tif: .*this GDAL cannot read: convert it"):
        read(folder())


@pytest.mark.parametrize("dtype", ["int64", "uint64", "float64"])
def test_wide_numbers_are_brought_to_32_bits_before_a_device_cuts_them_off(
    folder: Make, tmp_path: Path, dtype: str
) -> None:
    image = 3_000_000_000 + 1000 * np.random.default_rng(0).integers(0, 255, (H, W, 2))
    tiff(tmp_path / "images" / "a.tif", image.astype(dtype))
    found = read(folder())["image"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, image, atol=128)


def test_whole_numbers_that_float32_holds_stay_equal(folder: Make, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(-(2**23), 2**23, (H, W, 1))
    tiff(tmp_path / "images" / "a.tif", image.astype(np.int64))
    np.testing.assert_array_equal(read(folder())["image"], image)


def test_a_picture_of_any_size_without_coordinates_is_opened(tmp_path: Path) -> None:
    for number, bigtiff in enumerate(("no", "yes")):
        path = tmp_path / f"{number}.tif"
        form = {"width": 60_000, "height": 60_000, "count": 1, "dtype": "uint8", "bigtiff": bigtiff}
        with rasterio.open(path, "w", "GTiff", tiled=True, sparse_ok=True, **form):
            pass
        assert raster.header(str(path)).orientation == 1


def test_a_mask_with_a_reference_system_and_no_place_does_not_lie_on_its_image(
    folder: Make, tmp_path: Path
) -> None:
    here = rasterio.Affine(10, 0, 5000, 0, -10, 9000)
    tiff(tmp_path / "images" / "a.tif", BRIGHT, crs="EPSG:32633", transform=here)
    tiff(tmp_path / "masks" / "a.tif", ids(0, 1), crs="EPSG:32633")
    with pytest.raises(UserError, match=r"masks/a\.tif lies .* pixels off its image"):
        folder().scenes("train")


def test_bands_that_are_not_read_may_have_another_type(folder: Make, tmp_path: Path) -> None:
    """An image of whole numbers and a height in metres, as one virtual raster."""
    parts = [("Byte", "a.tif", 1), ("Byte", "a.tif", 2), ("Float32", "height.tif", 1)]
    image, height = tmp_path / "parts" / "a.tif", tmp_path / "parts" / "height.tif"
    tiff(image, np.stack([ids(7, 8), ids(1, 2)], axis=-1))
    tiff(height, np.full((H, W, 1), 12.5, np.float32))
    size = f'xOff="0" yOff="0" xSize="{W}" ySize="{H}"'
    bands = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{number}"><SimpleSource>'
        f"<SourceFilename>{image.parent / name}</SourceFilename><SourceBand>{band}</SourceBand>"
        f"<SrcRect {size}/><DstRect {size}/></SimpleSource></VRTRasterBand>"
        for number, (kind, name, band) in enumerate(parts, start=1)
    )
    for name in ("a", "b", "c"):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "images" / f"{name}.vrt").write_text(
            f'<VRTDataset rasterXSize="{W}" rasterYSize="{H}">{bands}</VRTDataset>'
        )
        tiff(tmp_path / "masks" / f"{name}.tif", ids(0, 1))
    with pytest.raises(UserError, match=r"types \(uint8 in 1, 2; float32 in 3\).*band numbers"):
        folder().scenes("train")
    sample = read(folder(band_numbers=(1, 2)))
    assert sample["image"].dtype == np.uint8
    np.testing.assert_array_equal(sample["image"][..., 0], ids(7, 8))
    sample = read(folder(band_numbers=(3,)))
    assert sample["image"].dtype == np.float32
    np.testing.assert_array_equal(sample["image"], np.full((H, W, 1), 12.5))
