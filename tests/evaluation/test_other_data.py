"""Other data are read as the run reads its own, and have results of their own."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures.folder_files import ids, tiff

from jaxseg.cli.evaluated_data import asked
from jaxseg.cli.flags.runs import EvaluateFlags
from jaxseg.config import Config
from jaxseg.datasets.folder import Folder
from jaxseg.datasets.leakage import refuse_trained_pixels
from jaxseg.datasets.mislabelled import Mislabelled
from jaxseg.datasets.paired import Paired, Stacked
from jaxseg.datasets.salinas_a import SalinasA
from jaxseg.errors import UserError
from jaxseg.evaluation.other_data import everything, folder_of, found_in, name_of
from jaxseg.models.unet import UNet
from jaxseg.pipeline.windows import Data

RUN = Folder(
    images="here/images",
    masks="here/masks",
    mask_suffix="_mask",
    classes=("ground", "house"),
    ids=(0, 7),
    ignore_ids=(9,),
    band_numbers=(2, 1),
    multiply=3.0,
)


def names(source: Any, split: str) -> list[str]:
    scenes = source.scenes(split)
    return [Path(scenes.name(index)).stem for index in range(len(scenes))]


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """Four scenes as the run's source names and fills them."""
    for name in "abcd":
        tiff(tmp_path / f"there/images/{name}.tif", np.ones((20, 30, 3), np.uint8))
        tiff(tmp_path / f"there/masks/{name}_mask.tif", ids(0, 7, 9))
    return tmp_path / "there"


def test_all_that_files_cannot_say_is_taken_from_the_run(there: Path) -> None:
    other = found_in(Mislabelled(RUN), str(there / "images"), str(there / "masks"))
    assert isinstance(other, Mislabelled)
    place = {"images": str(there / "images"), "masks": str(there / "masks")}
    assert other.source == dataclasses.replace(RUN, **place)  # type: ignore[arg-type]
    source, split = everything(other)
    assert names(source, split) == list("abcd")


def test_paths_mean_the_same_wherever_a_command_is_started(
    there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(there)
    other: Any = found_in(RUN, "images", "masks")
    assert (other.images, other.masks) == (str(there / "images"), str(there / "masks"))


def test_a_file_a_pattern_and_a_list_are_enough(there: Path) -> None:
    masks = str(there / "masks")
    one = found_in(RUN, str(there / "images/b.tif"), str(there / "masks/b_mask.tif"))
    assert names(*everything(one)) == ["b"]
    (there / "some.txt").write_text("d\nb.tif\n")
    listed = found_in(RUN, str(there / "images"), masks, names=str(there / "some.txt"))
    source, split = everything(listed)
    assert split == "test"
    assert sorted(names(source, split)) == ["b", "d"]


def test_lists_of_the_run_do_not_name_the_scenes_of_other_data(there: Path) -> None:
    run = dataclasses.replace(RUN, split_by="lists", lists="here/lists")
    other = found_in(run, str(there / "images"), str(there / "masks"))
    assert names(*everything(other)) == list("abcd")


@pytest.mark.parametrize("kind", ["folders", "pattern"])
def test_a_folder_for_testing_alone_is_enough(there: Path, kind: str) -> None:
    for name in ("images", "masks"):
        (there / name).rename(there / "test")
        (there / name).mkdir()
        (there / "test").rename(there / name / "test")
    mark = "/{split}" if kind == "pattern" else ""
    folder = dataclasses.replace(
        RUN,
        images=str(there / "images") + mark,
        masks=str(there / "masks") + mark,
        split_by="folders",
    )
    assert folder.splits() == ("test",)
    assert folder.sensor.bands == ("green", "red")  # opened without a folder for training
    source, split = everything(folder)
    assert (split, names(source, split)) == ("test", list("abcd"))
    (there / "images/train").mkdir()
    with pytest.raises(UserError, match=r"the splits train, test\. Choose one"):
        everything(dataclasses.replace(folder))


def test_both_sensors_of_one_folder_move_together(there: Path) -> None:
    stacked = Stacked(RUN, dataclasses.replace(RUN, image_suffix="_VH"))
    other = found_in(Paired(stacked, SalinasA()), str(there / "images"), str(there / "masks"))
    assert isinstance(other, Stacked)
    assert {leaf.images for leaf in (other.first, other.second)} == {str(there / "images")}  # type: ignore[attr-defined]


def test_what_flags_cannot_describe_is_refused() -> None:
    with pytest.raises(UserError, match=r"data are SalinasA\. Describe .* --config"):
        found_in(SalinasA(), "a", "b")
    two = Stacked(RUN, dataclasses.replace(RUN, images="elsewhere"))
    with pytest.raises(UserError, match="reads several folders of images"):
        found_in(two, "a", "b")
    with pytest.raises(UserError, match="needs --masks"):
        found_in(RUN, "a")
    objects = dataclasses.replace(RUN, masks="", instances="objects", ids=())
    with pytest.raises(UserError, match="needs --instances"):
        found_in(objects, "a")
    found_in(dataclasses.replace(RUN, instances="objects"), "a", "b")  # scores need none
    with pytest.raises(UserError, match="SalinasA has the splits train"):
        everything(SalinasA())


def test_the_scenes_that_the_run_was_trained_on_are_refused(there: Path) -> None:
    place = {"images": str(there / "images"), "masks": str(there / "masks")}
    run = dataclasses.replace(RUN, **place, fractions=(0.5, 0.25, 0.25))  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"a\.tif.*trained on"):
        refuse_trained_pixels(run, *everything(found_in(run, *place.values())))


@pytest.mark.parametrize(
    ("images", "name"),
    [
        ("/data/OTHER/images", "OTHER"),
        ("/data/OTHER/images/test/*.tif", "OTHER"),
        ("/data/Straße 7/{split}/img", "Straße_7"),
        ("/data/scenes/one scene.tif", "one_scene"),
        ("/images", "given"),
    ],
)
def test_data_are_called_by_their_folder(images: str, name: str) -> None:
    assert name_of(dataclasses.replace(RUN, images=images), "given") == name
    assert name_of(SalinasA(), "given") == "given"
    assert name_of(SalinasA(), "") == "SalinasA"


def test_results_of_other_data_of_the_same_name_stay(tmp_path: Path) -> None:
    (tmp_path / "evaluation/a").mkdir(parents=True)  # of an earlier version, or the run's own
    one, other = (dataclasses.replace(RUN, images=f"{x}/a/images") for x in "xy")
    folders = [folder_of(tmp_path, "a", source) for source in (one, other, one, other)]
    assert [folder.name for folder in folders] == ["a-2", "a-3", "a-2", "a-3"]
    assert "y/a/images" in (folders[1] / "data.txt").read_text()


def test_flags_that_contradict_each_other_are_refused() -> None:
    run = Path("run")
    with pytest.raises(UserError, match="all is for other data"):
        asked(EvaluateFlags(run, split="all"), [], ())
    for name in ("masks", "instances", "list"):
        with pytest.raises(UserError, match=f"--{name} needs --images"):
            asked(EvaluateFlags(run, **{name: "x"}), [], ())
    own = asked(EvaluateFlags(run), [], ())
    assert (own.source, own.split, own.folder(run)) == (None, "test", None)


def test_flags_alone_describe_other_data(
    there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(model=UNet(num_classes=2), data=Data(source=RUN))
    monkeypatch.setattr("jaxseg.run.checkpoint.config_of", lambda *_: config)
    flags = EvaluateFlags(tmp_path, images=str(there / "images"), masks=str(there / "masks"))
    found = asked(flags, [], ())
    assert names(found.source, found.split) == list("abcd")
    assert found.title() == "all of there"
    assert found.folder(tmp_path) == tmp_path / "evaluation/there/all"
    test = asked(dataclasses.replace(flags, split="test"), [], ())
    assert names(test.source, test.split) == ["d"]
    assert test.title() == "test split of there"
    assert test.folder(tmp_path) == tmp_path / "evaluation/there/test"
    changed = asked(flags, ["--config.data.source.multiply", "5"], ())
    assert changed.source.multiply == 5.0  # type: ignore[union-attr]
    assert changed.folder(tmp_path) == tmp_path / "evaluation/there-2/all"
