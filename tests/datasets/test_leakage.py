"""Scenes that are trained on are found among those that are evaluated."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from fixtures.tiny_folder import write_folder
from PIL import Image
from rasterio.crs import CRS
from rasterio.warp import transform
from scipy import io

from jaxseg import config as configs
from jaxseg.datasets import leakage
from jaxseg.datasets.folder.source import Folder
from jaxseg.datasets.leakage import check_splits, copies, refuse_trained_pixels
from jaxseg.datasets.mislabelled import Mislabelled
from jaxseg.datasets.one_scene import SceneSplit
from jaxseg.datasets.paired import Paired, Stacked, without_side
from jaxseg.datasets.salinas_a import IDS, SalinasA
from jaxseg.datasets.shared_ground import shared
from jaxseg.errors import UserError
from jaxseg.scenes.scene import Ground, Origin


def test_another_split_of_the_same_files_is_refused(tiny: Path) -> None:
    source: Any = configs.load_config(str(tiny / "config.py")).data.source
    fewer = dataclasses.replace(source, fractions=(0.1, 0.1, 0.8))
    other = dataclasses.replace(source, fractions=(0.25, 0.25, 0.5))
    with pytest.raises(UserError, match=r"scene2\.png: .* test split.*fractions.*as the run did"):
        refuse_trained_pixels(source, fewer, "test")
    with pytest.raises(UserError, match="trained on"):
        refuse_trained_pixels(Mislabelled(source), other, "validation")
    refuse_trained_pixels(source, other, "train")
    refuse_trained_pixels(source, source, "test")
    refuse_trained_pixels(other, source, "test")  # trained on fewer


def test_strips_of_the_same_files_may_not_overlap(tiny: Path) -> None:
    source: Any = configs.load_config(str(tiny / "config.py")).data.source
    strips = dataclasses.replace(source, split_by="columns", fractions=(0.4, 0.2, 0.4))
    for split in ("validation", "test"):
        refuse_trained_pixels(strips, dataclasses.replace(strips, multiply=2.0), split)
        with pytest.raises(UserError, match=r"split_by columns -> rows"):
            refuse_trained_pixels(strips, dataclasses.replace(strips, split_by="rows"), split)
    fewer = dataclasses.replace(strips, fractions=(0.5, 0.1, 0.4))
    refuse_trained_pixels(strips, fewer, "test")  # the same right part
    with pytest.raises(UserError, match="pixels of this scene are in the train split"):
        refuse_trained_pixels(fewer, strips, "validation")


def test_another_seed_of_one_scene_is_refused(tmp_path: Path) -> None:
    rows, columns = np.indices((83, 86)) // 14
    ids = np.array([0, *IDS], np.uint8)[(3 * rows + columns) % 7]
    image = np.ones((83, 86, 204), np.int16)
    io.savemat(tmp_path / "SalinasA_corrected.mat", {"salinasA_corrected": image})
    io.savemat(tmp_path / "SalinasA_gt.mat", {"salinasA_gt": ids})
    source = SalinasA(path=str(tmp_path))
    refuse_trained_pixels(source, dataclasses.replace(source), "test")
    with pytest.raises(UserError, match=r"may have been trained on .*seed 0 -> 1"):
        refuse_trained_pixels(source, dataclasses.replace(source, split=SceneSplit(seed=1)), "test")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.symlink_to(tmp_path)
    other = SalinasA(path=f"{elsewhere}/", split=SceneSplit(seed=1))
    with pytest.raises(UserError, match=r"may have been trained on .*seed 0 -> 1"):
        refuse_trained_pixels(source, other, "test")


@dataclasses.dataclass(frozen=True)
class Gathered:
    """A wrapper of somebody's own: several sources behind one another."""

    sources: tuple[Any, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of the first."""
        return self.sources[0].classes

    colors = sensor = classes

    def scenes(self, split: str) -> Any:
        """Those of the first."""
        return self.sources[0].scenes(split)

    def rgb(self, image: Any) -> Any:
        """That of the first."""
        return self.sources[0].rgb(image)


def test_a_leak_is_found_in_any_part_of_any_wrapper(tiny: Path, tmp_path: Path) -> None:
    own: Any = configs.load_config(str(tiny / "config.py")).data.source
    other = dataclasses.replace(own, fractions=(0.1, 0.1, 0.8))
    write_folder(tmp_path, height=40)
    kinds = ("images", "masks", "instances")
    elsewhere = dataclasses.replace(own, **{kind: str(tmp_path / kind) for kind in kinds})
    for trained, given in (
        (own, Stacked(elsewhere, other)),
        (Stacked(elsewhere, own), other),
        (Stacked(own, elsewhere), Stacked(Mislabelled(other), elsewhere)),
        (Paired(elsewhere, own), Paired(other, elsewhere)),
        (Gathered((elsewhere, own)), Gathered((other,))),
    ):
        with pytest.raises(UserError, match="what it was trained on"):
            refuse_trained_pixels(trained, given, "test")
    refuse_trained_pixels(Stacked(own, own), Stacked(own, elsewhere), "test")


def test_side_images_are_left_out_wherever_they_stand(tiny: Path) -> None:
    own: Any = configs.load_config(str(tiny / "config.py")).data.source
    side = dataclasses.replace(own, images="side")
    assert without_side(Paired(own, side)) == own
    assert without_side(Mislabelled(Paired(own, side))) == Mislabelled(own)
    assert without_side(Stacked(own, Paired(own, side))) == Stacked(own, own)
    assert without_side(Gathered((Paired(own, side), own))) == Gathered((own, own))
    assert without_side(own) is own


@dataclasses.dataclass(frozen=True)
class _Named:
    """A source that tells scenes apart by a number, wherever the files lie."""

    images: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    fractions: tuple[float, ...] = (0.5, 0.5)

    def origin(self) -> Origin:
        """Whole scenes of a folder."""
        return Origin(self.images, {"fractions": self.fractions}, whole=True)

    def rgb(self, image: Any) -> Any:
        """As it is."""
        return image

    def scenes(self, split: str) -> Any:
        names = {"train": self.train, "test": self.test}[split]
        return type(
            "Scenes", (), {"__len__": lambda _: len(names), "name": lambda _, n: names[n]}
        )()


def test_scenes_of_the_same_names_in_another_folder_are_other_scenes() -> None:
    trained: Any = _Named("a", train=("1", "2"), test=("3",))
    given: Any = _Named("a", train=("1",), test=("3", "2"), fractions=(0.3, 0.7))
    with pytest.raises(
        UserError, match=r"^2: .*test split.*fractions \(0\.5, 0\.5\) -> \(0\.3, 0\."
    ):
        refuse_trained_pixels(trained, given, "test")
    refuse_trained_pixels(trained, dataclasses.replace(given, images="b"), "test")
    refuse_trained_pixels(trained, dataclasses.replace(given, test=("3", "4")), "test")
    refuse_trained_pixels(trained, given, "train")


def spellings(folder: Path, tmp_path: Path) -> dict[str, str]:
    link, hard, copy = (tmp_path / name for name in ("link", "hard", "copy"))
    link.symlink_to(folder)
    hard.mkdir()
    copy.mkdir()
    for file in folder.iterdir():
        (hard / file.name).hardlink_to(file)
        shutil.copy(file, copy / f"other_{file.name}")
    return {
        "slash": f"{folder}/",
        "dots": f"{folder}/../{folder.name}",
        "pattern": f"{folder}/*.png",
        "link": str(link),
        "hard links": str(hard),
        "copies": str(copy),
    }


@pytest.mark.parametrize("how", ["slash", "dots", "pattern", "link", "hard links", "copies"])
def test_a_file_is_itself_whatever_leads_to_it(tiny: Path, tmp_path: Path, how: str) -> None:
    source: Any = configs.load_config(str(tiny / "config.py")).data.source
    images = spellings(Path(source.images), tmp_path)[how]
    masks = source.masks
    if how == "copies":
        masks = spellings(Path(masks), tmp_path / "copy")[how]
    given = dataclasses.replace(source, images=images, masks=masks, instances="")
    refuse_trained_pixels(source, given, "test")  # the same scenes are its test split
    fewer = dataclasses.replace(given, fractions=(0.1, 0.1, 0.8))
    with pytest.raises(UserError, match=r"scene2\.png.* (was|on what it was) trained on"):
        refuse_trained_pixels(source, fewer, "test")


def test_scenes_without_content_may_be_equal(tmp_path: Path) -> None:
    folder(tmp_path, {f"s{n}": np.full((8, 8, 3), 7 if n else n, np.uint8) for n in range(6)})
    check_splits(source_of(tmp_path))


def test_a_copy_in_another_split_is_found_before_the_training(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    scenes = {f"s{n}": random.integers(0, 9, (8, 8, 3)).astype(np.uint8) for n in range(6)}
    folder(tmp_path, scenes)
    check_splits(source_of(tmp_path))
    shutil.copy(tmp_path / "images/s0.png", tmp_path / "images/s5.png")
    with pytest.raises(UserError, match=r"s5\.png \(test split\) is a copy of .*s0\.png \(train"):
        check_splits(Mislabelled(source_of(tmp_path)))


def test_copies_within_a_split_are_said_and_not_refused(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    scenes = {f"s{n}": random.integers(0, 9, (8, 8, 3)).astype(np.uint8) for n in range(8)}
    scenes |= {f"t{n}": np.zeros((8, 8, 3), np.uint8) for n in range(4)}  # empty, and no copies
    folder(tmp_path, scenes)
    source = dataclasses.replace(source_of(tmp_path), fractions=(0.75, 0.0, 0.25))
    assert copies(source) == []
    for number in (2, 5):
        shutil.copy(tmp_path / "images/s1.png", tmp_path / f"images/s{number}.png")
    source = dataclasses.replace(source)  # opened again
    check_splits(source)
    (line,) = copies(Mislabelled(source))
    assert "s1.png and " in line
    assert "s2.png of the train split hold the same picture; 2 of 9 scenes are copies" in line


def test_scenes_of_two_images_are_copies_if_both_are(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    first, second = tmp_path / "first", tmp_path / "second"
    for path in (first, second):
        path.mkdir()
        of = {f"s{n}": random.integers(0, 9, (8, 8, 3)).astype(np.uint8) for n in range(8)}
        folder(path, of)
    shutil.copy(first / "images/s0.png", first / "images/s1.png")
    assert copies(Stacked(source_of(first), source_of(second))) == []
    assert len(copies(source_of(first))) == 1
    shutil.copy(second / "images/s0.png", second / "images/s1.png")
    both = Stacked(source_of(first), dataclasses.replace(source_of(second)))
    assert "s0.png and " in copies(both)[0]


def test_blocks_of_one_file_are_no_copies_of_each_other(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 9, (32, 32, 3)).astype(np.uint8)
    folder(tmp_path, {"s0": pixels, "s1": pixels[::-1]})
    blocks = dataclasses.replace(source_of(tmp_path), split_by="blocks", block=8, guard=1)
    assert copies(blocks) == []
    strips = dataclasses.replace(source_of(tmp_path), split_by="columns")
    assert copies(strips) == []
    shutil.copy(tmp_path / "images/s0.png", tmp_path / "images/s1.png")
    strips = dataclasses.replace(strips)
    assert [line.partition("of the ")[2][:10] for line in copies(strips)] == [
        "train spli",
        "validation",
        "test split",
    ]


def test_equal_sizes_cost_one_look_at_each_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    for number in range(12):
        pixels = random.integers(0, 9, (8, 8, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"images/s{number:02}.bmp")
        Image.fromarray(pixels[..., 0] % 2).save(tmp_path / f"masks/s{number:02}.bmp")
    looked: list[str] = []
    sample = leakage._sample
    monkeypatch.setattr(leakage, "_sample", lambda path: looked.append(path) or sample(path))
    check_splits(source_of(tmp_path))
    # Three pairs of splits: 6 + 3, 6 + 3 and 3 + 3 files.
    assert len(looked) == 24
    shutil.copy(tmp_path / "images/s00.bmp", tmp_path / "images/s11.bmp")
    with pytest.raises(UserError, match="is a copy of"):
        check_splits(source_of(tmp_path))


def test_a_file_counts_once_in_its_split(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    folder(tmp_path, {f"s{n}": random.integers(0, 9, (8, 8, 3)).astype(np.uint8) for n in range(6)})
    (tmp_path / "images/s0.png").unlink()
    (tmp_path / "images/s0.png").symlink_to(tmp_path / "images/s1.png")
    with pytest.raises(UserError, match=r"s0\.png and .*s1\.png are the same file"):
        check_splits(source_of(tmp_path))


def test_a_split_that_will_be_empty_is_said_before_the_training(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    folder(tmp_path, {f"s{n}": random.integers(0, 9, (8, 8, 3)).astype(np.uint8) for n in range(3)})
    with pytest.raises(UserError, match=r"3 scene\(s\) leave none to test.*0 for a split"):
        check_splits(dataclasses.replace(source_of(tmp_path), fractions=(0.7, 0.15, 0.15)))
    check_splits(dataclasses.replace(source_of(tmp_path), fractions=(0.7, 0.3, 0.0)))


def source_of(path: Path) -> Folder:
    return Folder(
        images=str(path / "images"),
        masks=str(path / "masks"),
        classes=("a", "b"),
        fractions=(0.5, 0.25, 0.25),
    )


def folder(path: Path, scenes: dict[str, np.ndarray]) -> None:
    for kind in ("images", "masks"):
        (path / kind).mkdir()
    for name, pixels in scenes.items():
        Image.fromarray(pixels).save(path / "images" / f"{name}.png")
        Image.fromarray(pixels[..., 0] % 2).save(path / "masks" / f"{name}.png")


def tiles(path: Path, places: list[tuple[float, float]], crs: str = "EPSG:32633") -> Folder:
    """Tiles of 20 x 20 pixels of 10 m, with these left and upper corners."""
    random = np.random.default_rng(0)
    for kind, bands in (("images", 3), ("masks", 1)):
        (path / kind).mkdir(parents=True)
        for number, (x, y) in enumerate(places):
            transform = Affine(10, 0, x, 0, -10, y)
            with rasterio.open(
                path / kind / f"t{number}.tif",
                "w",
                driver="GTiff",
                height=20,
                width=20,
                count=bands,
                dtype="uint8",
                crs=crs,
                transform=transform,
            ) as file:
                file.write(random.integers(0, 2, (bands, 20, 20)).astype(np.uint8))
    return source_of(path)


NEIGHBOURS = [(500_000 + 200.0 * n, 5_000_000.0) for n in range(4)]


@pytest.mark.parametrize("shift", [0.0, 4.0, 9.0])
def test_neighbours_share_no_ground(tmp_path: Path, shift: float) -> None:
    check_splits(tiles(tmp_path, [(x - shift * n, y) for n, (x, y) in enumerate(NEIGHBOURS)]))


def test_ground_of_two_splits_is_refused_unless_it_is_allowed(tmp_path: Path) -> None:
    # The validation tile shows a quarter of the training tile beside it.
    source = tiles(
        tmp_path, [NEIGHBOURS[0], NEIGHBOURS[1], (500_350.0, 5_000_000.0), (600_000.0, 0)]
    )
    with pytest.raises(
        UserError,
        match=r"25 % of the ground of the validation .*t2\.tif and .*t1\.tif.*-ground 0\.25 ",
    ):
        check_splits(source)
    check_splits(source, 0.25)
    with pytest.raises(UserError, match="25 % of the ground"):
        check_splits(source, 0.24)
    assert refuse_trained_pixels(source, source, "validation", 1.0) == pytest.approx(0.25)
    assert refuse_trained_pixels(source, source, "test") == 0


def test_ground_is_shared_by_other_files_and_in_other_reference_systems(tmp_path: Path) -> None:
    trained = tiles(tmp_path / "a", NEIGHBOURS)
    x, y = NEIGHBOURS[0]
    # The same place in the next zone, whose meridian is far in the west of it.
    (east,), (north,) = transform(CRS.from_epsg(32633), CRS.from_epsg(32632), [x], [y])
    other = tiles(tmp_path / "b", [(east, north)] * 4, "EPSG:32632")
    with pytest.raises(UserError, match="% of the ground of the test split"):
        refuse_trained_pixels(trained, other, "test")
    assert 0.6 < refuse_trained_pixels(trained, other, "test", 1.0) <= 1
    away = tiles(tmp_path / "c", [(east, north - 400)] * 4, "EPSG:32632")
    assert refuse_trained_pixels(trained, away, "test") == 0


def test_an_overlap_is_counted_once_however_many_show_it() -> None:
    def ground(left: float, right: float) -> Ground:
        return Ground("EPSG:32633", left, 0, right, 10, 1)

    found = shared([ground(0, 6), ground(3, 8), ground(4, 5)], [ground(0, 10), None])
    assert found == (pytest.approx(0.8), 0, 0)
    assert shared([None, ground(20, 30)], [ground(0, 10)]) == (0, -1, -1)
    assert shared([ground(0, 10)], [None]) == (0, -1, -1)


def test_training_files_that_are_gone_are_said(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source: Any = configs.load_config(str(tiny / "config.py")).data.source
    gone = dataclasses.replace(source, images="/gone")
    assert refuse_trained_pixels(gone, source, "test") == 0
    assert "training files of the run cannot be read" in capsys.readouterr().err
