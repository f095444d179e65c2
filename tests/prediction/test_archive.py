"""Many scenes: how they are found, and that each of them is mapped once."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures.mapped import CORNER, answering_run, answers, classes, mapper, write

from jaxseg.errors import UserError
from jaxseg.prediction import Settings, Share
from jaxseg.prediction.archive import SceneFiles, names_many, scenes
from jaxseg.prediction.many import map_each

BANDS = ("answer", "class")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Three scenes, one of them in a subfolder, and files that are not scenes."""
    folder = tmp_path / "scenes"
    (folder / "north").mkdir(parents=True)
    for seed, name in enumerate(("a", "b", "north/c")):
        write(folder / f"{name}.tif", answers(40, 56, seed))
    (folder / "notes.md").write_text("none")
    (folder / "a.tif.part").mkdir()
    write(folder / "a.tif.part" / "classes_00000_00000.tif", answers(8, 8))
    return folder


def found(*paths: Path | str, remote: bool = False) -> list[SceneFiles]:
    return scenes([str(path) for path in paths], BANDS, remote=remote)


def test_a_folder_is_all_rasters_in_it_and_in_its_folders(archive: Path) -> None:
    assert [scene.name for scene in found(archive)] == ["a", "b", "north/c"]
    assert found(archive)[2].paths == (str(archive / "north" / "c.tif"),)


def test_a_pattern_is_the_files_that_match_it(archive: Path) -> None:
    assert [scene.name for scene in found(archive / "**" / "[bc].tif")] == ["b", "north/c"]


def test_a_list_has_a_line_for_each_scene_whose_files_lie_beside_it(archive: Path) -> None:
    for name in ("with space.tif", "vv.tif", "vh.tif"):
        write(archive / name, answers(8, 8))
    lines = ["# mine", "", "a.tif", "with space.tif", "vv.tif vh.tif", f"'{archive}/b.tif'"]
    (archive / "list.txt").write_text("\n".join(lines))
    expected = [["a.tif"], ["with space.tif"], ["vv.tif", "vh.tif"], ["b.tif"]]
    listed = found(archive / "list.txt")
    assert [list(scene.paths) for scene in listed] == [
        [str(archive / name) for name in names] for names in expected
    ]
    assert [scene.name for scene in listed] == ["a", "with space", "vv", "b"]


def item(name: str, **assets: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "id": name, "assets": assets}


def test_an_item_of_stac_is_the_assets_that_hold_the_bands_in_the_order_of_the_run(
    tmp_path: Path,
) -> None:
    several = item(
        "S2A",
        thumbnail={"href": "t.png", "type": "image/png", "roles": ["thumbnail"]},
        class_={"href": "./two.tif", "eo:bands": [{"name": "Class"}], "roles": ["data"]},
        answer={"href": "one.tif", "type": "image/tiff", "roles": ["data"]},
        other={"href": "three.tif", "bands": [{"name": "B8"}], "roles": ["data"]},
    )
    single = item("S2B", data={"href": f"{tmp_path}/all.tif", "roles": ["data"]})
    (tmp_path / "item.json").write_text(json.dumps(several))
    assert found(tmp_path / "item.json") == [
        SceneFiles("S2A", (f"{tmp_path}/one.tif", f"{tmp_path}/./two.tif"))
    ]
    collection = {"type": "FeatureCollection", "features": [several, single]}
    (tmp_path / "items.geojson").write_text(json.dumps(collection))
    assert [scene.name for scene in found(tmp_path / "items.geojson")] == ["S2A", "S2B"]
    assert found(tmp_path / "items.geojson")[1].paths == (f"{tmp_path}/all.tif",)


def test_an_item_whose_assets_do_not_tell_their_bands_is_refused(tmp_path: Path) -> None:
    unclear = item("S2A", one={"href": "1.tif"}, two={"href": "2.tif"})
    (tmp_path / "item.json").write_text(json.dumps(unclear))
    with pytest.raises(UserError, match=r"the assets one, two do not tell .* answer, class"):
        found(tmp_path / "item.json")


@pytest.mark.parametrize("name", ["../../out", "/tmp/out", "a/../../out", ""])
def test_an_item_names_no_map_outside_of_the_folder_of_the_maps(tmp_path: Path, name: str) -> None:
    one = item(name, data={"href": "all.tif", "roles": ["data"]})
    (tmp_path / "item.json").write_text(json.dumps(one))
    with pytest.raises(UserError, match="would not lie in the folder of the maps"):
        found(tmp_path / "item.json")


@pytest.mark.parametrize("text", ["{", "[]", '{"type": "Feature"}', '{"features": 3}'])
def test_what_is_not_stac_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "item.json").write_text(text)
    with pytest.raises(UserError, match="is not a STAC item"):
        found(tmp_path / "item.json")


def test_remote_files_that_a_file_names_are_fetched_only_if_allowed(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("https://example.org/a.tif\n")
    remote = item("S2A", data={"href": "s3://bucket/a.tif", "type": "image/tiff"})
    (tmp_path / "item.json").write_text(json.dumps(remote))
    for path in (tmp_path / "list.txt", tmp_path / "item.json"):
        with pytest.raises(UserError, match=r"on other machines, such as .*--remote"):
            found(path)
        assert len(found(path, remote=True)) == 1
    assert found("https://example.org/a.tif")[0].paths == ("https://example.org/a.tif",)


def test_maps_that_lie_among_the_scenes_are_no_scenes(archive: Path) -> None:
    for _ in range(2):
        maps = archive / "maps"
        every = scenes([str(archive)], BANDS, remote=False, maps=maps)
        assert [scene.name for scene in every] == ["a", "b", "north/c"]
        map_each(mapper(answering_run()), every, maps)


def test_a_scene_is_never_replaced_by_its_map(archive: Path) -> None:
    before = (archive / "a.tif").read_bytes()
    with pytest.raises(UserError, match=r"a.tif is a file of the scene"):
        map_each(mapper(answering_run(), Settings(overwrite=True)), found(archive), archive)
    assert (archive / "a.tif").read_bytes() == before


def test_two_scenes_of_one_name_are_refused(archive: Path) -> None:
    with pytest.raises(UserError, match=r"would both be mapped to a.tif"):
        found(archive / "a.tif", archive)


@pytest.mark.parametrize("path", ["empty", "none/*.tif", "none.txt"])
def test_an_archive_without_a_scene_is_an_error(tmp_path: Path, path: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no scene found|Cannot read the list"):
        found(tmp_path / path)


def test_a_raster_is_one_scene_and_everything_else_may_be_many(archive: Path) -> None:
    many = (str(archive), f"{archive}/*.tif", "list.txt", "item.json", "i.geojson")
    assert all(map(names_many, many))
    (archive / "a[1].tif").touch()
    one = (f"{archive}/a.tif", "https://h/a.tif?b=*", "/vsizip/a.zip/b.tif", f"{archive}/a[1].tif")
    assert not any(map(names_many, one))


def test_every_scene_has_its_map_at_its_place(archive: Path, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    written = map_each(mapper(answering_run()), found(archive), maps)
    assert written == [maps / f"{name}.tif" for name in ("a", "b", "north/c")]
    for seed, path in enumerate(written):
        np.testing.assert_array_equal(classes(path), answers(40, 56, seed)[0])


def test_maps_that_are_there_are_not_made_again(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maps, run = tmp_path / "maps", answering_run()
    first = map_each(mapper(run), found(archive), maps)
    times = [path.stat().st_mtime_ns for path in first]
    first[1].unlink()
    capsys.readouterr()
    assert map_each(mapper(run), found(archive), maps) == first
    assert capsys.readouterr().out.count("was made by the same command") == 2
    assert [first[n].stat().st_mtime_ns for n in (0, 2)] == [times[0], times[2]]


def test_a_scene_that_fails_stops_no_other_and_is_named(archive: Path, tmp_path: Path) -> None:
    (archive / "b.tif").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"(?s)1 of 3 scenes could not be mapped.*b: Cannot read"):
        map_each(mapper(answering_run()), found(archive), tmp_path / "maps")
    assert {path.name for path in (tmp_path / "maps").rglob("*.tif")} == {"a.tif", "c.tif"}


@pytest.mark.parametrize("count", [2, 5])
def test_processes_divide_an_archive_and_finish_says_what_is_missing(
    archive: Path, tmp_path: Path, count: int
) -> None:
    run, maps, every = answering_run(), tmp_path / "maps", found(archive)
    write(archive / "a.tif", answers(1500, 56))
    for number in range(1, count):
        map_each(mapper(run, Settings(share=Share(number, count))), every, maps)
    with pytest.raises(UserError, match="maps are not complete"):
        map_each(mapper(run, Settings(finish=True)), every, maps)
    map_each(mapper(run, Settings(share=Share(count, count))), every, maps)
    assert len(map_each(mapper(run, Settings(finish=True)), every, maps)) == 3


def test_a_mosaic_is_the_map_of_all_scenes_as_one(tmp_path: Path) -> None:
    whole = answers(100, 130)
    for name, rows, columns in (
        ("a", slice(0, 60), slice(0, 70)),
        ("b", slice(0, 60), slice(60, 130)),
        ("c", slice(50, 100), slice(0, 70)),
    ):
        place = CORNER @ CORNER.translation(columns.start, rows.start)
        write(tmp_path / f"{name}.tif", whole[:, rows, columns], transform=place)
    mapper(answering_run()).map(found(tmp_path), tmp_path / "map.tif")
    expected = whole[0].astype(np.uint8)
    expected[60:, 70:] = 255  # nothing there
    np.testing.assert_array_equal(classes(tmp_path / "map.tif"), expected)


def test_scenes_of_other_grids_make_no_mosaic_without_resampling(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", answers(40, 40))
    off = CORNER @ CORNER.translation(40.5, 0)
    write(tmp_path / "b.tif", answers(40, 40), transform=off)
    with pytest.raises(UserError, match=r"lies 0.5 pixels off the grid .*--resample"):
        mapper(answering_run()).map(found(tmp_path), tmp_path / "map.tif")
    made = mapper(answering_run(), Settings(resample=True)).map(
        found(tmp_path), tmp_path / "map.tif"
    )
    assert classes(made[0]).shape == (40, 81)
