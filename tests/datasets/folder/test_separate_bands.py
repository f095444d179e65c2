"""Which images are bands, sensors or dates of one scene, by names; and which are not."""

from pathlib import Path

import numpy as np
import pytest
from fixtures.folder_files import tiff

from jaxseg.datasets.folder.guess import guess
from jaxseg.datasets.folder.separate_bands import left_out, parts_of
from jaxseg.errors import UserError

RANDOM = np.random.default_rng(0)


def files(path: Path, images: list[str], masks: list[str]) -> tuple[str, str]:
    """Writes images of 1 band and masks, and returns their folders."""
    for name in images:
        tiff(path / "images" / f"{name}.tif", RANDOM.integers(1, 3000, (16, 16), np.uint16))
    for name in masks:
        tiff(path / "masks" / f"{name}.tif", np.arange(256, dtype=np.uint8).reshape(16, 16) % 2)
    return str(path / "images"), str(path / "masks")


def every(patterns: list[str]) -> list[str]:
    """The names of eight scenes."""
    return [pattern.format(f"s{n}") for n in range(8) for pattern in patterns]


@pytest.mark.parametrize(
    ("images", "masks", "kind", "affixes", "tokens", "mask_affix"),
    [
        (["{}_VH", "{}_VV"], ["{}"], "suffix", ["_VV", "_VH"], ["VV", "VH"], ""),
        (
            ["{}_B8A_20m", "{}_B11_20m", "{}_B08_20m"],
            ["{}_label"],
            "suffix",
            ["_B08_20m", "_B8A_20m", "_B11_20m"],
            ["B08", "B8A", "B11"],
            "_label",
        ),
        (["s2_{}", "s1_{}"], ["mask_{}"], "prefix", ["s1_", "s2_"], ["s1", "s2"], "mask_"),
        (
            ["{}_20210101", "{}_20200101"],
            ["{}"],
            "suffix",
            ["_20200101", "_20210101"],
            ["20200101", "20210101"],
            "",
        ),
        (
            ["{}_2021-01-31", "{}_2020-12-01"],
            ["{}"],
            "suffix",
            ["_2020-12-01", "_2021-01-31"],
            ["2020_12_01", "2021_01_31"],
            "",
        ),
        (["{}_post", "{}_pre"], ["{}"], "suffix", ["_pre", "_post"], ["pre", "post"], ""),
        (["{}-nir", "{}-red", "{}-view"], ["{}"], "suffix", ["-red", "-nir"], ["red", "nir"], ""),
    ],
)  # fmt: skip
def test_several_images_of_a_mask_are_told_apart_by_their_names(
    tmp_path: Path,
    images: list[str],
    masks: list[str],
    kind: str,
    affixes: list[str],
    tokens: list[str],
    mask_affix: str,
) -> None:
    parts = parts_of(*files(tmp_path, every(images), every(masks)))
    assert [part.affixes for part in parts] == [(affix, mask_affix) for affix in affixes]
    assert {part.kind for part in parts} == {kind}
    assert [part.token for part in parts] == tokens
    assert [len(part.pairs()) for part in parts] == [8] * len(affixes)


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["train_{}"], ["train_{}"]),
        (["{}_20200101", "{}_20210101"], ["{}_20200101", "{}_20210101"]),
        (["{}_VV", "{}_VH"], ["{}_VV_mask", "{}_VH_mask"]),
        (["{}_S1Hand"], ["{}_LabelHand"]),
    ],
)
def test_images_with_masks_of_their_own_are_scenes(
    tmp_path: Path, images: list[str], masks: list[str]
) -> None:
    (part,) = parts_of(*files(tmp_path, every(images), every(masks)))
    assert len(part.pairs()) == 8 * len(images)
    assert part.token == ""


@pytest.mark.parametrize("images", [["{}_1", "{}_2", "{}_3"], ["{}_flip", "{}_plain"]])
def test_what_names_leave_open_is_said_with_the_source_to_write(
    tmp_path: Path, images: list[str]
) -> None:
    first, second = (pattern.format("") for pattern in images[:2])
    with pytest.raises(
        UserError,
        match=rf"belong to the mask s0: .*Stacked\(Folder\(image_suffix=\"{first}\", ...\), "
        rf"Folder\(image_suffix=\"{second}\".*give each a mask of its name",
    ):
        parts_of(*files(tmp_path, every(images), every(["{}"])))


def test_a_scene_without_one_of_its_bands_is_named(tmp_path: Path) -> None:
    images, masks = files(tmp_path, every(["{}_VV", "{}_VH"]), every(["{}"]))
    Path(images, "s3_VH.tif").unlink()
    with pytest.raises(UserError, match=r"1 of 8 scenes have no image with '_VH', such as s3\."):
        parts_of(images, masks)


def test_bands_of_one_scene_need_no_common_name(tmp_path: Path) -> None:
    images, masks = files(tmp_path, ["sar_vh", "sar_vv"], ["labels"])
    parts = parts_of(images, masks)
    assert [part.pairs() for part in parts] == [
        [(f"{images}/sar_{band}.tif", f"{masks}/labels.tif")] for band in ("vv", "vh")
    ]


def test_a_folder_for_each_band(tmp_path: Path) -> None:
    names = [f"{band}/{n}" for band in ("B03", "B02", "B11", "browse") for n in range(8)]
    images, masks = files(tmp_path, names, [f"{n}" for n in range(8)])
    parts = parts_of(images, masks)
    assert [part.images for part in parts] == [f"{images}/{b}" for b in ("B02", "B03", "B11")]
    assert [part.token for part in parts] == ["B02", "B03", "B11"]
    assert left_out(images, masks) == ["browse"]
    Path(images, "B11/5.tif").unlink()
    with pytest.raises(UserError, match=r"folders \(B11 with 7 image\(s\) for 8 mask\(s\)\).*B02"):
        parts_of(images, masks)


def test_masks_beside_the_folders_of_bands_are_no_band(tmp_path: Path) -> None:
    names = [f"{kind}/{n}" for kind in ("S1_before", "S1_after", "masks") for n in range(8)]
    images, _ = files(tmp_path, names, [])
    parts = parts_of(images, f"{images}/masks")
    assert [part.token for part in parts] == ["S1_before", "S1_after"]


def test_two_dates_of_change_detection(tmp_path: Path) -> None:
    names = [f"{kind}/{n}" for kind in ("A", "B", "label") for n in range(8)]
    images, _ = files(tmp_path, names, [])
    parts = parts_of(images, f"{images}/label")
    assert [part.token for part in parts] == ["A", "B"]
    images = [f"{n}_{when}_disaster" for n in range(8) for when in ("post", "pre")]
    parts = parts_of(
        *files(tmp_path / "x", images, [f"{n}_post_disaster_target" for n in range(8)])
    )
    assert [part.affixes for part in parts] == [
        ("_pre_disaster", "_post_disaster_target"),
        ("_post_disaster", "_post_disaster_target"),
    ]


@pytest.mark.parametrize("where", ["{split}/{band}", "{band}/{split}", "{split}/{name}_{band}"])
def test_bands_and_splits_both_by_folders(tmp_path: Path, where: str) -> None:
    places = [(split, band) for split in ("train", "val") for band in ("VV", "VH")]
    names = [
        (where if "{name}" in where else where + "/{name}").format(split=s, band=b, name=f"{s}{n}")
        for s, b in places
        for n in range(3)
    ]
    images, masks = files(tmp_path, names, [f"{s}/{s}{n}" for s in ("train", "val") for n in "012"])
    parts = parts_of(images, masks)
    assert [part.token for part in parts] == ["VV", "VH"]
    assert all(part.by_folders() and len(part.pairs()) == 3 for part in parts)


def test_folders_that_are_no_bands(tmp_path: Path) -> None:
    cities = [f"{city}/{n}" for city in ("lima", "oslo") for n in range(4)]
    images, masks = files(tmp_path, cities, cities)
    with pytest.raises(UserError, match=r"--images '.*images/\*/\*' --masks '.*masks/\*/\*'"):
        parts_of(images, masks)
    (part,) = parts_of(f"{images}/*/*", f"{masks}/*/*")
    assert len(part.pairs()) == 8
    with pytest.raises(UserError, match=r"holds no images but a folder of them: give --images"):
        parts_of(*files(tmp_path / "deep", ["photos/0", "photos/1"], ["0", "1"]))
    with pytest.raises(UserError, match="folder of images and of masks"):
        parts_of(masks, f"{masks}/")


def test_copies_made_by_augmentation_are_no_bands(tmp_path: Path) -> None:
    names = [f"{kind}/{n}" for kind in ("plain", "flipped") for n in range(8)]
    images, masks = files(tmp_path, names, [f"{n}" for n in range(8)])
    with pytest.raises(UserError, match=r"folders \(flipped, plain\).*Give one of them"):
        parts_of(images, masks)


def test_the_folder_of_a_split_stands_for_all_of_them(tmp_path: Path) -> None:
    names = [f"{split}/{split}{n}" for split in ("train", "val") for n in range(3)]
    images, masks = files(tmp_path, names, names)
    (part,) = parts_of(f"{images}/train", f"{masks}/train")
    assert (part.images, part.masks) == (f"{images}/{{split}}", f"{masks}/{{split}}")
    for file in Path(images, "val").iterdir():
        file.unlink()
    Path(images, "val").rmdir()
    (part,) = parts_of(f"{images}/train", f"{masks}/train")
    assert part.images == f"{images}/train"


def test_bands_have_to_be_on_one_grid_and_few(tmp_path: Path) -> None:
    images, masks = files(tmp_path, every(["{}_B02", "{}_B05"]), every(["{}"]))
    tiff(Path(images, "s0_B05.tif"), np.ones((8, 8), np.uint16))
    with pytest.raises(UserError, match=r"B02\.tif has 16 x 16 pixels, .*B05\.tif 8 x 8"):
        guess(images, masks)
    names = [f"B{n:02}" for n in range(1, 18)]
    with pytest.raises(UserError, match="gdalbuildvrt -separate"):
        parts_of(*files(tmp_path / "many", names, ["mask"]))
