"""Tests of `jaxseg.files.raster`: windows equal slices, damage is told, threads stay apart."""

import multiprocessing
import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio.transform import from_origin

from jaxseg.errors import UserError
from jaxseg.files import pool, raster
from jaxseg.scenes.scene import Window

pytestmark = [
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),  # rasterio's use of affine
]

H, W = 48, 64


def write_tiff(path: Path, pixels: NDArray[np.generic], **profile: object) -> str:
    """(H, W, C) as a GeoTIFF."""
    height, width, count = pixels.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=count,
        dtype=pixels.dtype,
        **profile,
    ) as file:
        file.write(np.moveaxis(pixels, -1, 0))
    return str(path)


def numbers(dtype: str, bands: int, seed: int = 0) -> NDArray[np.generic]:
    values = np.random.default_rng(seed).integers(0, 120, (H, W, bands))
    return values.astype(dtype)


@pytest.mark.parametrize("bands", [1, 3, 10])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_a_window_equals_the_slice_of_the_whole(tmp_path: Path, dtype: str, bands: int) -> None:
    pixels = numbers(dtype, bands)
    path = write_tiff(tmp_path / "a.tif", pixels, tiled=True, blockxsize=16, blockysize=16)
    part = raster.read(path, Window(5, 7, 20, 30))
    assert part.dtype == pixels.dtype
    np.testing.assert_array_equal(part, pixels[5:25, 7:37])


def test_bands_are_picked_by_number(tmp_path: Path) -> None:
    pixels = numbers("uint16", 5)
    path = write_tiff(tmp_path / "a.tif", pixels)
    picked = raster.read(path, Window(0, 0, H, W), bands=(4, 1))
    np.testing.assert_array_equal(picked, pixels[..., [3, 0]])


def test_the_header_tells_what_the_file_says(tmp_path: Path) -> None:
    path = write_tiff(
        tmp_path / "a.tif",
        numbers("int16", 2),
        nodata=-9999,
        crs="EPSG:32633",
        transform=from_origin(500, 900, 10, 10),
    )
    with rasterio.open(path, "r+") as file:
        file.set_band_description(1, "VV")
    header = raster.header(path)
    assert (header.height, header.width, header.bands) == (H, W, 2)
    assert header.dtype == np.int16
    assert header.nodata == (-9999, -9999)
    assert header.descriptions == ("VV", None)
    assert header.crs.to_epsg() == 32633
    assert tuple(header.transform)[:6] == (10, 0, 500, 0, -10, 900)
    assert (header.alpha, header.masked, header.palette) == (None, False, None)


@pytest.mark.parametrize(
    ("crs", "width", "metres"),
    [
        ("EPSG:32633", 10.0, 10.0),
        ("EPSG:2263", 10.0, 3.048),  # US feet
        ("EPSG:4326", 0.001, 110.6),  # degrees, at 9 degrees of latitude
        (None, 10.0, None),
    ],
)
def test_the_ground_sample_distance_is_in_metres_or_unknown(
    tmp_path: Path, crs: str | None, width: float, metres: float | None
) -> None:
    place = from_origin(5, 9, width, width)
    path = write_tiff(tmp_path / "a.tif", numbers("uint8", 1), crs=crs, transform=place)
    found = raster.header(path).gsd
    assert found is None if metres is None else found == pytest.approx(metres, rel=1e-3)


def test_opacity_is_a_mask(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (H, W, 4)).astype(np.uint8)
    pixels[..., 3] = 255
    pixels[:10, :, 3] = 0
    path = str(tmp_path / "a.png")
    Image.fromarray(pixels).save(path)
    header = raster.header(path)
    assert header.descriptions == ("red", "green", "blue", None)
    assert (header.alpha, header.masked) == (4, True)
    mask = raster.read_mask(path, Window(5, 0, 10, W))
    assert not mask[:5].any()
    assert mask[5:].all()


def test_a_palette_picture_gives_indices_and_colours(tmp_path: Path) -> None:
    picture = Image.fromarray(numbers("uint8", 1)[..., 0] % 3, mode="P")
    picture.putpalette([1, 2, 3, 40, 50, 60, 7, 8, 9])
    path = str(tmp_path / "a.png")
    picture.save(path)
    palette = raster.header(path).palette
    assert palette is not None
    assert palette[:3].tolist() == [[1, 2, 3], [40, 50, 60], [7, 8, 9]]
    assert set(np.unique(raster.read(path, Window(0, 0, H, W)))) == {0, 1, 2}


@pytest.mark.parametrize("ending", ["tif", "png", "jpg"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.6])
def test_a_cut_off_file_is_an_error_that_names_it(
    tmp_path: Path, ending: str, share: float
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3)).astype(np.uint8)
    path = tmp_path / f"a.{ending}"
    if ending == "tif":
        write_tiff(path, noise, compress="deflate")
    else:
        Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match=rf"Cannot read .*a\.{ending}: .*fetch it again"):
        raster.read(str(path), Window(0, 0, 200, 200))


def test_the_reason_is_gdals_and_names_the_file_once(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write_tiff(path, np.random.default_rng(0).random((99, 99, 3)))
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(UserError) as told:
        raster.read(str(path), Window(0, 0, 99, 99))
    said = str(told.value)
    assert said.count(str(path)) == 1
    assert "previous exception" not in said  # rasterio's word for what GDAL says
    assert ".." not in said


def test_a_fault_is_not_told_of_the_next_file(tmp_path: Path) -> None:
    whole = write_tiff(tmp_path / "whole.tif", numbers("float32", 2))
    raster.header(whole)  # it waits in the pool, so that nothing is opened below
    cut = Path(write_tiff(tmp_path / "cut.tif", numbers("float32", 2)))
    cut.write_bytes(cut.read_bytes()[:9000])
    with pytest.raises(UserError, match=r"cut\.tif"):
        raster.read(str(cut), Window(0, 0, H, W))
    assert raster.header(whole).bands == 2


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"b\.tif: no such file"):
        raster.header(str(tmp_path / "b.tif"))


def test_a_window_outside_is_refused_instead_of_cut(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", numbers("uint8", 1))
    with pytest.raises(ValueError, match="leaves"):
        raster.read(path, Window(H - 4, 0, 8, 8))


def test_a_file_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for value in (3, 4):
        pixels = np.full((H + value, W, 1), value, np.uint8)
        read = raster.read(write_tiff(path, pixels), Window(0, 0, H, W))
        assert (read == value).all()


def test_many_threads_read_what_one_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "OPEN_FILES", 3)  # so that files are closed and opened all the time
    paths = [
        write_tiff(tmp_path / f"{seed}.tif", numbers("uint16", 3, seed), compress="deflate")
        for seed in range(8)
    ]
    random = np.random.default_rng(1)
    jobs = [
        (paths[random.integers(8)], Window(int(y), int(x), 16, 16))
        for y, x in random.integers(0, 32, (300, 2))
    ]
    serial = [raster.read(path, window) for path, window in jobs]
    with ThreadPoolExecutor(8) as threads:
        parallel = list(threads.map(lambda job: raster.read(*job), jobs))
    for one, other in zip(serial, parallel, strict=True):
        np.testing.assert_array_equal(one, other)


def _total(path: str) -> int:
    return int(raster.read(path, Window(0, 0, H, W)).sum())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")
def test_a_forked_process_opens_files_of_its_own(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", numbers("uint16", 3), compress="deflate")
    expected = _total(path)
    with multiprocessing.get_context("fork").Pool(2) as processes:
        assert processes.map(_total, [path] * 8) == [expected] * 8


# What a header says, one fact at a time.


def vrt(path: Path, parts: list[tuple[str, str]], nodata: tuple[float, ...] = ()) -> str:
    """A virtual file of one band of each of the parts, (path, type), each with its own nodata."""
    bands = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{number}">'
        + (f"<NoDataValue>{nodata[number - 1]}</NoDataValue>" if nodata else "")
        + f"<SimpleSource><SourceFilename>{part}</SourceFilename><SourceBand>1</SourceBand>"
        f'<SrcRect xOff="0" yOff="0" xSize="{W}" ySize="{H}"/>'
        f'<DstRect xOff="0" yOff="0" xSize="{W}" ySize="{H}"/></SimpleSource></VRTRasterBand>'
        for number, (part, kind) in enumerate(parts, start=1)
    )
    path.write_text(f'<VRTDataset rasterXSize="{W}" rasterYSize="{H}">{bands}</VRTDataset>')
    return str(path)


def test_every_band_has_its_own_nodata_scale_and_offset(tmp_path: Path) -> None:
    part = write_tiff(tmp_path / "part.tif", numbers("int16", 1))
    path = vrt(tmp_path / "a.vrt", [(part, "Int16")] * 2, nodata=(-9999.0, -1.0))
    assert raster.header(path).nodata == (-9999, -1)
    path = write_tiff(tmp_path / "a.tif", numbers("int16", 2))
    plain = raster.header(path)
    assert (plain.nodata, plain.scales, plain.offsets) == ((None, None), (1, 1), (0, 0))
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (1e-4, 2.0), (-0.1, 3.0)
        file.update_tags(PROCESSING_BASELINE="05.09")
    told = raster.header(path)
    assert (told.scales, told.offsets) == ((1e-4, 2.0), (-0.1, 3.0))
    assert told.tags["PROCESSING_BASELINE"] == "05.09"
    assert told.path == path


def test_bands_of_different_types_are_read_where_the_chosen_ones_agree(tmp_path: Path) -> None:
    pixels = numbers("uint8", 1)
    part = write_tiff(tmp_path / "part.tif", pixels)
    path = vrt(tmp_path / "a.vrt", [(part, "Byte"), (part, "UInt16"), (part, "Byte")])
    header = raster.header(path)
    assert [dtype.name for dtype in header.dtypes] == ["uint8", "uint16", "uint8"]
    assert header.dtype_of((1, 3)).name == "uint8"
    with pytest.raises(UserError, match=r"a\.vrt: .* types \(uint8 in 1, 3; uint16 in 2\)"):
        header.dtype  # noqa: B018
    read = raster.read(path, Window(0, 0, H, W), bands=(3, 1))
    np.testing.assert_array_equal(read, pixels[..., [0, 0]])


def test_pairs_of_integers_are_read_as_complex_numbers(tmp_path: Path) -> None:
    pixels = np.full((H, W, 1), 3 - 4j, np.complex64)
    with rasterio.open(tmp_path / "a.tif", "w", "GTiff", W, H, 1, dtype="complex_int16") as file:
        file.write(np.moveaxis(pixels, -1, 0))
    path = str(tmp_path / "a.tif")
    assert raster.header(path).dtype == np.complex64
    np.testing.assert_array_equal(raster.read(path, Window(0, 0, H, W)), pixels)


def test_of_several_bands_of_opacity_the_first_counts(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", numbers("uint8", 4))
    with rasterio.open(path, "r+") as file:
        alpha, gray = rasterio.enums.ColorInterp.alpha, rasterio.enums.ColorInterp.gray
        file.colorinterp = (gray, alpha, gray, alpha)
    assert raster.header(path).alpha == 2


@pytest.mark.parametrize("inside", [True, False])
def test_a_mask_inside_of_a_file_or_beside_it_is_seen(tmp_path: Path, *, inside: bool) -> None:
    path = write_tiff(tmp_path / "a.tif", numbers("uint8", 2))
    known = np.random.default_rng(0).random((H, W)) < 0.7
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=inside), rasterio.open(path, "r+") as file:
        file.write_mask(known)
    assert Path(f"{path}.msk").exists() != inside
    header = raster.header(path)
    assert (header.masked, header.alpha, header.bands) == (True, None, 2)
    window = Window(4, 9, 20, 31)
    np.testing.assert_array_equal(raster.read_mask(path, window), known[4:24, 9:40])


def test_a_nodata_tag_is_no_mask_beside_the_numbers(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", numbers("uint8", 2), nodata=0)
    assert not raster.header(path).masked


def test_what_is_not_wholly_transparent_is_valid(tmp_path: Path) -> None:
    pixels = np.full((H, W, 4), 9, np.uint8)
    pixels[0, :, 3], pixels[1, :, 3], pixels[2, :, 3] = 0, 1, 128
    Image.fromarray(pixels).save(tmp_path / "a.png")
    mask = raster.read_mask(str(tmp_path / "a.png"), Window(0, 0, 3, 2))
    assert mask[:, 0].tolist() == [False, True, True]


def test_a_description_is_a_bands_name_before_its_colour(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", numbers("uint8", 3), photometric="rgb")
    assert raster.header(path).descriptions == ("red", "green", "blue")
    with rasterio.open(path, "r+") as file:
        file.set_band_description(2, "NIR")
    assert raster.header(path).descriptions == ("red", "NIR", "blue")
    gray = write_tiff(tmp_path / "b.tif", numbers("uint8", 1), photometric="minisblack")
    assert raster.header(gray).descriptions == (None,)


def test_the_ground_sample_distance_is_that_of_a_square_of_the_same_area(tmp_path: Path) -> None:
    turned = rasterio.Affine(0, 40, 500, -10, 0, 900)  # rows run east
    for place in (from_origin(5, 9, 10, 40), turned):
        path = write_tiff(
            tmp_path / "a.tif", numbers("uint8", 1), crs="EPSG:32633", transform=place
        )
        assert raster.header(path).gsd == pytest.approx(20)


@pytest.mark.parametrize(
    ("tags", "nanometres"),
    [
        ({"wavelength": "0.49"}, 490),  # without a unit the number tells it
        ({"wavelength": "49.9"}, 49_900),
        ({"wavelength": "50"}, 50),
        ({"wavelength": "490"}, 490),
        ({"WAVELENGTH": "490", "WAVELENGTH_UNITS": "nm"}, 490),
        ({"wavelength": "0.49", "wavelength_units": "um"}, 490),
        ({"wavelength": "60", "wavelength_units": "\N{MICRO SIGN}m"}, 60_000),
        ({"wavelength": "60", "wavelength_units": "Micrometers"}, 60_000),
        ({"wavelength": "60", "wavelength_unit": "um"}, 60_000),
        ({"wavelength": "49", "wavelength_units": "Nanometers"}, 49),
        ({"wavelength": "blue"}, 0),
        ({}, 0),
    ],
)
def test_a_wavelength_is_read_in_its_unit(
    tmp_path: Path, tags: dict[str, str], nanometres: float
) -> None:
    path = write_tiff(tmp_path / "a.tif", numbers("uint8", 2))
    with rasterio.open(path, "r+") as file:
        file.update_tags(2, **tags)
    assert raster.wavelengths(path) == pytest.approx((0, nanometres))


def test_gdals_own_tag_of_a_wavelength_counts_first(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", numbers("uint8", 3))
    with rasterio.open(path, "r+") as file:
        file.update_tags(1, ns="IMAGERY", CENTRAL_WAVELENGTH_UM="0.665")
        file.update_tags(1, wavelength="490")
        file.update_tags(2, ns="IMAGERY", CENTRAL_WAVELENGTH_UM="60")
        file.update_tags(3, wavelength="560")
    assert raster.wavelengths(path) == pytest.approx((665, 60_000, 560))


def test_a_palette_may_be_longer_than_8_bits_reach(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", numbers("uint16", 1), photometric="palette")
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {0: (1, 2, 3, 255), 255: (4, 5, 6, 0), 256: (7, 8, 9, 255)})
    palette = raster.header(path).palette
    assert palette is not None
    assert (palette.shape, palette.dtype) == ((256, 3), np.uint8)
    assert (palette[0].tolist(), palette[255].tolist()) == ([1, 2, 3], [4, 5, 6])
    assert not palette[1:255].any()


# Windows and open files.


def test_numbers_lie_together_in_memory_band_by_band_of_every_pixel(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", numbers("uint16", 3))
    assert raster.read(path, Window(2, 3, 5, 6)).flags.c_contiguous


@pytest.mark.parametrize(
    "window", [(-1, 0, 5, 5), (0, -1, 5, 5), (H - 4, 0, 5, 3), (0, W - 4, 3, 5)]
)
@pytest.mark.parametrize("read", [raster.read, raster.read_mask])
def test_a_window_may_touch_the_border_but_not_leave_it(
    tmp_path: Path, window: tuple[int, int, int, int], read: Callable[[str, Window], Any]
) -> None:
    path = write_tiff(tmp_path / "a.tif", numbers("uint8", 1))
    with pytest.raises(ValueError, match=f"leaves .* {H} x {W} pixels"):
        read(path, Window(*window))
    assert read(path, Window(H - 5, W - 3, 5, 3)).shape[:2] == (5, 3)
    assert read(path, Window(H - 3, W - 5, 3, 5)).shape[:2] == (3, 5)
    assert read(path, Window(0, 0, H, W)).shape[:2] == (H, W)


@pytest.mark.parametrize("changed", ["time", "size"])
def test_a_file_is_another_one_by_its_time_or_its_size(tmp_path: Path, changed: str) -> None:
    path = tmp_path / "a.tif"
    for value, rows in ((3, H), (4, H if changed == "time" else H + 9)):
        write_tiff(path, np.full((rows, W, 1), value, np.uint8))
        when = 1_700_000_000 + (value if changed == "time" else 0)
        os.utime(path, (when, when))
        assert (raster.read(str(path), Window(0, 0, H, W)) == value).all()


def test_a_forked_process_leaves_the_files_of_its_parent_alone(
    tmp_path: Path, opened: list[str]
) -> None:
    path = write_tiff(tmp_path / "a.tif", numbers("uint16", 3), compress="deflate")
    raster.header(path)
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe()

    def look() -> None:
        opened.clear()
        raster.header(path)
        there.send(list(opened))

    with warnings.catch_warnings():  # of threads, which a fork does not copy
        warnings.simplefilter("ignore")
        process = fork.Process(target=look)
        process.start()
    assert here.recv() == ["a.tif"]
    process.join()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are opened from now on, in this order."""
    names: list[str] = []
    real = pool._opened

    def counted(path: str) -> object:
        names.append(Path(path).name)
        return real(path)

    monkeypatch.setattr(pool, "_opened", counted)
    return names


def test_the_next_window_of_a_file_costs_no_second_opening(
    tmp_path: Path, opened: list[str]
) -> None:
    path = str(tmp_path / "a.png")
    Image.fromarray(numbers("uint8", 3)).save(path)
    for row in range(5):
        raster.read(path, Window(row, 0, 2, 2))
    raster.read_mask(path, Window(0, 0, 2, 2))
    raster.header(path)
    assert opened == ["a.png"]


def test_as_many_files_stay_open_as_allowed_and_the_oldest_is_closed(
    tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_POOL", pool._Pool())
    monkeypatch.setattr(pool, "OPEN_FILES", 3)
    paths = []
    for name in "abcd":
        paths.append(str(tmp_path / f"{name}.png"))
        Image.fromarray(numbers("uint8", 3)).save(paths[-1])

    def look(names: str) -> list[str]:
        opened.clear()
        for name in names:
            raster.header(str(tmp_path / f"{name}.png"))
        return [Path(name).stem for name in opened]

    assert look("abcabc") == ["a", "b", "c"]
    assert look("ad") == ["d"]  # b is the one unused for longest, and closed
    assert look("acd") == []
    assert look("b") == ["b"]  # and a is closed
    with pool.lent(paths[0]), pool.lent(paths[0]):
        pass  # which closes c and d
    assert look("ba") == []
    assert look("ca") == ["c"]  # b was unused for longer than either of a
    if Path("/proc/self/fd").is_dir():  # as Linux tells
        held = [
            str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()
        ]
        assert sum(name in paths for name in held) == 3


def test_two_threads_have_two_files_of_one_path(tmp_path: Path, opened: list[str]) -> None:
    path = str(tmp_path / "a.png")
    Image.fromarray(numbers("uint8", 3)).save(path)
    with pool.lent(path) as one, pool.lent(path) as other:
        assert one is not other
    with pool.lent(path), pool.lent(path):
        assert len(opened) == 2


def test_a_damaged_file_is_opened_afresh_by_the_next_reader(
    tmp_path: Path, opened: list[str]
) -> None:
    path = tmp_path / "a.png"
    noise = np.random.default_rng(0).integers(0, 255, (H, W, 3)).astype(np.uint8)
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    for _ in range(2):
        with pytest.raises(UserError, match=r"Cannot read .*a\.png"):
            raster.read(str(path), Window(0, 0, H, W))
    path.write_bytes(whole)
    np.testing.assert_array_equal(raster.read(str(path), Window(0, 0, H, W)), noise)
