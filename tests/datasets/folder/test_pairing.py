"""Which files are a scene and which scenes a split: by names alone, nothing is opened."""

from pathlib import Path

import pytest

from jaxseg.datasets.folder import pairing
from jaxseg.datasets.folder.pairing import Place
from jaxseg.errors import MissingSplit, UserError

IMAGES = Place("images", "", "")
S1 = Place("images", "", "_S1")


def touch(folder: Path, *names: str) -> str:
    """Empty files; the folder's path."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return str(folder)


def names(found: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {stem: tuple(Path(path).name for path in paths) for stem, paths in found.items()}


def test_files_of_one_stem_are_a_scene_sorted_by_stem(tmp_path: Path) -> None:
    images = touch(tmp_path / "i", "b.tif", "a.b.TIFF", "c.JPG", "notes.txt", ".d.tif", "e")
    masks = touch(tmp_path / "m", "c.png", "b.gif", "a.b.bmp", "table.csv")
    found = pairing.paired([Place("images", images, ""), Place("masks", masks, "")])
    assert list(found) == ["a.b", "b", "c"]
    assert names(found) == {
        "a.b": ("a.b.TIFF", "a.b.bmp"),
        "b": ("b.tif", "b.gif"),
        "c": ("c.JPG", "c.png"),
    }
    assert Path(found["b"][0]).parent == tmp_path / "i"


@pytest.mark.parametrize("extension", pairing.EXTENSIONS)
def test_every_known_kind_of_file_is_found(tmp_path: Path, extension: str) -> None:
    folder = touch(tmp_path, f"a{extension}")
    assert names(pairing.paired([Place("images", folder, "")])) == {"a": (f"a{extension}",)}


def test_kinds_of_one_folder_are_told_apart_by_their_suffixes(tmp_path: Path) -> None:
    folder = touch(
        tmp_path, *(f"{stem}{kind}.png" for stem in "ab" for kind in ("", "_mask", "_id"))
    )
    places = [
        Place("images", folder, ""),
        Place("masks", folder, "_mask"),
        Place("instances", folder, "_id"),
    ]
    assert names(pairing.paired(places)) == {
        stem: (f"{stem}.png", f"{stem}_mask.png", f"{stem}_id.png") for stem in "ab"
    }
    # A mask's suffix that ends like the images' own: a_x.png and a_m_x.png.
    folder = touch(tmp_path / "x", "a_x.png", "a_m_x.png")
    places = [Place("images", folder, "_x"), Place("masks", folder, "_m_x")]
    assert names(pairing.paired(places)) == {"a": ("a_x.png", "a_m_x.png")}
    # Suffixes that do not end alike take nothing from each other.
    folder = touch(tmp_path / "y", "a_i.png", "a_m.png", "b_i.png", "b_m.png")
    places = [Place("images", folder, "_i"), Place("masks", folder, "_m")]
    assert list(pairing.paired(places)) == ["a", "b"]


def test_a_place_may_be_a_pattern_or_one_file(tmp_path: Path) -> None:
    touch(tmp_path, "one/a.tif", "two/deep/b.tif", "two/c.png")
    found = pairing.paired([Place("images", f"{tmp_path}/**/*.tif", "")])
    assert list(found) == ["a", "b"]
    assert list(pairing.paired([Place("images", f"{tmp_path}/two/c.png", "")])) == ["c"]


@pytest.mark.parametrize("lacking", [0, 1, 2])
def test_a_missing_partner_is_told_wherever_it_is_missing(tmp_path: Path, lacking: int) -> None:
    places = [
        Place(field, touch(tmp_path / field, *(f"{stem}{suffix}.tif" for stem in "abcde")), suffix)
        for field, suffix in (("images", ""), ("masks", "_m"), ("instances", "_o"))
    ]
    place = places[lacking]
    for stem in "bd":
        (Path(place.path) / f"{stem}{place.suffix}.tif").unlink()
    other = places[0 if lacking else 1]
    message = (
        rf"2 of 5 files of {other.field} have no partner in {place.field}; the first is "
        rf".*/{other.field}/b{other.suffix}\.tif, for which .*/{place.field} would hold "
        rf"b{place.suffix}\.\*"
    )
    with pytest.raises(UserError, match=message):
        pairing.paired(places)


def test_a_place_without_files_says_what_was_looked_for(tmp_path: Path) -> None:
    folder = touch(tmp_path, "a.tif", "b.txt")
    for path, suffix, message in (
        (f"{tmp_path}/*.png", "", r"masks: no file matches .*\*\.png\."),
        (f"{tmp_path}/none", "", r"masks: there is no .*none\."),
        (folder, "_x", r"masks: .* holds no image file whose stem ends in '_x'"),
        (f"{tmp_path}/b*", "", r"masks: .* holds no image file\. Searched for: \.tif \.tiff"),
    ):
        with pytest.raises(UserError, match=message):
            pairing.paired([Place("masks", path, suffix)])
    touch(tmp_path, "a.png")
    with pytest.raises(UserError, match=r"masks: .*a\.png and .*a\.tif have the same stem"):
        pairing.paired([Place("masks", folder, "")])


@pytest.mark.parametrize(
    "fractions", [(0.7, 0.2, 0.1), (0.7, 0.15, 0.15), (0.6, 0.3, 0.1), (1 / 3, 1 / 3, 1 / 3)]
)
def test_every_scene_is_in_one_split_however_shares_are_rounded(
    fractions: tuple[float, float, float],
) -> None:
    for count in range(10, 120):
        stems = [f"s{number:03}" for number in range(count)]
        parts = [pairing.in_fraction(stems, split, fractions) for split in pairing.SPLITS]
        assert [stem for part in parts for stem in part] == stems
        for part, fraction in zip(parts, fractions, strict=True):
            assert abs(len(part) - fraction * count) <= 1


def test_a_share_of_less_than_one_scene_is_refused() -> None:
    with pytest.raises(UserError, match=r"0\.05\) of 4 scene\(s\) leave none to validation"):
        pairing.in_fraction("abcd", "validation", (0.9, 0.05, 0.05))
    assert pairing.in_fraction("abcd", "train", (0.9, 0.05, 0.05)) == list("abcd")
    assert pairing.in_fraction("abcd", "train", (1.0, 0.0, 0.0)) == list("abcd")
    with pytest.raises(MissingSplit, match="leave none to test"):
        pairing.in_fraction("abcd", "test", (1.0, 0.0, 0.0))


STEMS = {"a": 0, "b.c": 1, "d": 2}


@pytest.mark.parametrize(
    ("split", "name"),
    [
        (split, name)
        for split, known in {
            "train": ("train", "training"),
            "validation": ("validation", "val", "valid"),
            "test": ("test", "testing"),
        }.items()
        for name in known
    ],
)
def test_a_list_may_have_any_usual_name(tmp_path: Path, split: str, name: str) -> None:
    (tmp_path / f"{name}.txt").write_text("d\na\n")
    assert pairing.in_lists(STEMS, split, str(tmp_path), IMAGES) == ["d", "a"]
    touch(tmp_path, f"{name}/images/a.tif")
    (place,) = pairing.in_folders([Place("images", f"{tmp_path}/{{split}}/images", "")], split)
    assert place.path == f"{tmp_path}/{name}/images"


def test_lines_of_a_list_may_hold_folders_extensions_and_suffixes(tmp_path: Path) -> None:
    lines = ["images/d_S1.TIF", "", "  b.c.png  ", "a_S1"]
    (tmp_path / "train.txt").write_text("\n".join(lines))
    chosen = pairing.in_lists(STEMS, "train", str(tmp_path), S1)
    assert chosen == ["d", "b.c", "a"]
    # A stem that ends like the suffix is itself.
    assert pairing.in_lists({"x_S1": 0, "x": 1, **STEMS}, "train", str(tmp_path), S1)[2] == "a"
    (tmp_path / "train.txt").write_text("x_S1")
    assert pairing.in_lists({"x_S1": 0, "x": 1}, "train", str(tmp_path), S1) == ["x_S1"]


def test_what_follows_a_dot_is_an_extension_only_of_images(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("b.v2\n")
    with pytest.raises(UserError, match=r"there is no scene 'b\.v2'"):
        pairing.in_lists({"b": 0}, "train", str(tmp_path), IMAGES)
    assert pairing.in_lists({"b": 0}, "train", str(tmp_path), Place("images", "*.v2", "")) == ["b"]


def test_faults_of_a_list_are_told(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("a\n\ne\n")
    with pytest.raises(UserError, match=r"train\.txt, line 3: there is no scene 'e'"):
        pairing.in_lists(STEMS, "train", str(tmp_path), IMAGES)
    (tmp_path / "val.txt").write_text(" \n\n")
    with pytest.raises(UserError, match=r"val\.txt names no scene"):
        pairing.in_lists(STEMS, "validation", str(tmp_path), IMAGES)
    with pytest.raises(UserError, match=r"has no test\.txt or testing\.txt"):
        pairing.in_lists(STEMS, "test", str(tmp_path), IMAGES)
    with pytest.raises(UserError, match="no folder is given; it has no test"):
        pairing.in_lists(STEMS, "test", "", IMAGES)


def test_the_first_usual_name_that_exists_holds_the_split_of_all_places(tmp_path: Path) -> None:
    touch(tmp_path, "i/val/a.tif", "i/valid/a.tif", "m/validation/a.tif")
    places = [Place("images", f"{tmp_path}/i", ""), Place("masks", f"{tmp_path}/m", "_m")]
    assert pairing.in_folders(places, "validation") == [
        Place("images", f"{tmp_path}/i/val", ""),
        Place("masks", f"{tmp_path}/m/val", "_m"),
    ]
    places[0] = Place("images", f"{tmp_path}/*/{{split}}/*.tif", "")
    assert pairing.in_folders(places, "validation") == [
        Place("images", f"{tmp_path}/*/validation/*.tif", ""),
        Place("masks", f"{tmp_path}/m/validation", "_m"),
    ]
    with pytest.raises(UserError, match=r"images: no folder .*train.*\(nor training\) for the tr"):
        pairing.in_folders(places, "train")


def test_splits_have_one_name_here() -> None:
    for split in ("train", "validation", "test"):
        pairing.check_split(split)
    with pytest.raises(UserError, match="Split 'val': it must be one of train, validation, test"):
        pairing.check_split("val")


def test_numbers_in_names_are_sorted_by_value(tmp_path: Path) -> None:
    folder = touch(tmp_path, "s10.png", "s9.png", "s2b10.png", "s2b9.png", "s02.png", "x.png")
    found = pairing.paired([Place("images", folder, "")])
    assert list(found) == ["s02", "s2b9", "s2b10", "s9", "s10", "x"]


def test_prefixes_are_no_part_of_the_scene(tmp_path: Path) -> None:
    folder = touch(tmp_path, "img_1.png", "img_2.png", "mask_1.png", "mask_2.png")
    places = [Place("images", folder, "", "img_"), Place("masks", folder, "", "mask_")]
    assert names(pairing.paired(places)) == {
        "1": ("img_1.png", "mask_1.png"),
        "2": ("img_2.png", "mask_2.png"),
    }
    (tmp_path / "train.txt").write_text("img_2.png\n1\n")
    assert pairing.in_lists({"1": 0, "2": 1}, "train", folder, places[0]) == ["2", "1"]
    with pytest.raises(UserError, match=r"holds no image file whose stem begins with 'label_'"):
        pairing.paired([places[0], Place("masks", folder, "", "label_")])
    (tmp_path / "mask_2.png").unlink()
    with pytest.raises(UserError, match=r"would hold mask_2\.\*"):
        pairing.paired(places)


def test_equal_stems_in_several_folders_are_told_apart_by_the_folders(tmp_path: Path) -> None:
    for city in ("lima", "oslo"):
        touch(tmp_path / city / "images", "1.png", "2.png")
        touch(tmp_path / city / "labels", "1.png", "2.png")
    places = [Place(kind, f"{tmp_path}/*/{kind}/*.png", "") for kind in ("images", "labels")]
    found = pairing.paired(places)
    assert list(found) == ["lima/1", "lima/2", "oslo/1", "oslo/2"]
    assert all(Path(i).parts[-3] == Path(m).parts[-3] for i, m in found.values())
    (tmp_path / "train.txt").write_text("oslo/1.png\nlima/2\n")
    assert pairing.in_lists(found, "train", str(tmp_path), places[0]) == ["oslo/1", "lima/2"]
    # With folders below each other, and images of a folder of their own.
    nested = [
        Place("images", f"{tmp_path}/**/images/*.png", ""),
        Place("masks", f"{tmp_path}/**/labels/*.png", ""),
    ]
    assert list(pairing.paired(nested)) == list(found)


def test_one_image_and_one_mask_are_a_scene_whatever_their_names(tmp_path: Path) -> None:
    folder = touch(tmp_path, "field.dat", "labels.png")
    places = [
        Place("images", f"{folder}/field.dat", ""),
        Place("masks", f"{folder}/labels.png", ""),
    ]
    assert names(pairing.paired(places)) == {"field": ("field.dat", "labels.png")}


def test_a_pattern_may_name_any_ending(tmp_path: Path) -> None:
    folder = touch(tmp_path, "a.dat", "a.hdr", "b.dat", "b.hdr")
    found = pairing.paired([Place("images", f"{folder}/*.dat", "")])
    assert names(found) == {"a": ("a.dat",), "b": ("b.dat",)}
    with pytest.raises(UserError, match="holds no image file"):
        pairing.paired([Place("images", f"{folder}/*", "")])


def test_an_accent_of_two_characters_equals_one(tmp_path: Path) -> None:
    one, two = "caf\u00e9", "cafe\u0301"
    touch(tmp_path / "i", f"{one}.png")
    touch(tmp_path / "m", f"{two}_m\u00fc.png")
    places = [
        Place("images", str(tmp_path / "i"), ""),
        Place("masks", str(tmp_path / "m"), "_mu\u0308"),
    ]
    found = pairing.paired(places)
    assert list(found) == [one]
    (tmp_path / "train.txt").write_text(f"{two}.png\n", encoding="utf-8")
    assert pairing.in_lists(found, "train", str(tmp_path), places[0]) == [one]
