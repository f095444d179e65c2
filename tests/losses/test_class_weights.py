"""Class weights: rules by hand, counting, keeping, and a run that stores the numbers."""

import dataclasses
import io
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from jaxseg import config as configs
from jaxseg import config_text
from jaxseg.cli import main as cli
from jaxseg.datasets.folder.source import Folder
from jaxseg.datasets.landscape.source import Landscape
from jaxseg.datasets.tiles import TileScenes
from jaxseg.errors import UserError
from jaxseg.losses.class_counts import class_counts, print_class_weights
from jaxseg.losses.class_weights import RULES, ClassCounts, weights_of
from jaxseg.losses.pixels import CrossEntropy
from jaxseg.losses.presence import Presence
from jaxseg.losses.regions import Dice
from jaxseg.run import completion
from jaxseg.scenes.scene import IGNORE, Sample
from jaxseg.system import side_files
from jaxseg.system.console import make_console

# Class 0 in both scenes of 100 and 60 pixels, class 1 in the first, class 2 nowhere.
COUNTS = ClassCounts(pixels=(120, 40, 0), around=(160, 100, 0))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, so that no test writes to the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pieces(*labels: np.ndarray) -> SimpleNamespace:
    """A source of label maps in memory, of three classes; 9 is where the sensor has no data."""

    def sample(label: np.ndarray) -> Sample:
        return {"image": label[..., None], "label": label, "valid": label != 9}

    sizes = [label.shape for label in labels]
    scenes = TileScenes(labels, sample, sizes, [f"scene{i}" for i in range(len(labels))])
    return SimpleNamespace(classes=("a", "b", "c"), scenes={"train": scenes}.__getitem__)


def counted(source: object, **options: object) -> ClassCounts:
    return class_counts(source, threads=2, console=Console(quiet=True), **options)  # type: ignore[arg-type]


def test_rules_by_hand() -> None:
    assert COUNTS.weights("inverse_frequency") == pytest.approx((1 / 3, 1, 0), rel=1e-5)
    # f = 120 / 160 and 40 / 100; their median 0.575.
    assert COUNTS.weights("median_frequency") == pytest.approx((0.575 / 0.75, 0.575 / 0.4, 0))
    enet = (1 / np.log(1.02 + 0.75), 1 / np.log(1.02 + 0.25), 0)
    assert COUNTS.weights("enet") == pytest.approx(enet, rel=1e-5)
    linknet = (1 / np.log(2.02), 1 / np.log(1.02 + 1 / 3), 0)
    assert COUNTS.weights("linknet") == pytest.approx(linknet, rel=1e-5)


def test_the_class_in_the_middle_weighs_one_however_frequent_the_others_are() -> None:
    counts = ClassCounts(pixels=(900, 50, 10), around=(1000, 1000, 1000))
    assert counts.weights("median_frequency") == pytest.approx((50 / 900, 1, 5), rel=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_a_rare_class_weighs_more_and_an_absent_one_nothing(rule: str) -> None:
    counts = ClassCounts(pixels=(10**12, 10**6, 0, 3), around=(10**12 + 10**6 + 3,) * 4)
    common, rare, absent, rarest = counts.weights(rule)  # type: ignore[arg-type]
    assert 0 < common < rare <= rarest
    assert absent == 0
    CrossEntropy(class_weights=counts.weights(rule))  # type: ignore[arg-type]


def test_valid_labelled_pixels_are_counted_by_windows() -> None:
    first = np.zeros((1030, 1100), np.uint8)  # four windows
    first[1000:, 1050:] = 1
    first[:2] = IGNORE
    first[2:4] = 9  # not valid
    second = np.zeros((3, 5), np.uint8)
    ones = 30 * 50
    zeros = 1026 * 1100 - ones
    counts = counted(pieces(first, second))
    assert counts == ClassCounts((zeros + 15, ones, 0), (zeros + ones + 15, zeros + ones, 0))
    assert counts.shares().sum() == pytest.approx(1)


def test_a_label_outside_of_the_classes_is_refused() -> None:
    with pytest.raises(UserError, match="scene1: label 3 is not a class: the source names 3"):
        counted(pieces(np.zeros((2, 2), np.uint8), np.full((2, 2), 3, np.uint8)))


def test_a_split_without_a_label_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"No labelled pixel in 1 training scene\(s\), the first being "
    ):
        counted(pieces(np.full((2, 2), IGNORE, np.uint8)))


def test_absent_classes_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    source = pieces(np.zeros((2, 2), np.uint8))
    class_counts(source, threads=1, console=make_console())  # type: ignore[arg-type]
    assert "No labelled training pixel, so weight 0: b, c." in capsys.readouterr().out


def folder(path: Path, **fields: object) -> Folder:
    return Folder(
        images=str(path / "images"),
        masks=str(path / "masks"),
        classes=("ground", "disc", "square"),
        fractions=(0.5, 0.25, 0.25),
        **fields,  # type: ignore[arg-type]
    )


def test_counts_of_a_folder_are_kept_until_a_mask_changes(
    tiny: Path, tmp_path: Path, cache: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny / "images", copy / "images")
    shutil.copytree(tiny / "masks", copy / "masks")
    counts = counted(folder(copy))
    labels = [np.array(Image.open(copy / "masks" / f"scene{i}.png")) for i in range(4)]
    expected = np.bincount(np.concatenate([label.ravel() for label in labels]), minlength=3)
    assert counts.pixels == tuple(expected)
    (file,) = (cache / "jaxseg" / "class_counts").iterdir()
    # What is kept is what is used: a changed file shows.
    side_files.write(file, side_files.read(file) | {"pixels": [1, 2, 3]})
    assert counted(folder(copy)).pixels == (1, 2, 3)
    assert counted(folder(copy), recount=True) == counts
    assert counted(folder(copy)) == counts
    assert folder(copy, ignore_ids=(7,)).counts_file() != file
    Image.fromarray(np.full_like(labels[0], 2)).save(copy / "masks" / "scene0.png")
    os.utime(copy / "masks" / "scene0.png", ns=(0, 1))
    assert counted(folder(copy)).pixels[2] == counts.pixels[2] + (labels[0] != 2).sum()


def test_a_damaged_file_is_told_and_counted_again(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = counted(folder(tiny))
    folder(tiny).counts_file().write_text('{"pixels": [1')
    assert class_counts(folder(tiny), threads=1, console=make_console()) == counts
    said = capsys.readouterr().out
    assert "is damaged" in said
    assert "Class counts stored in" in said


def test_a_place_that_cannot_be_written_is_told(
    tiny: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache.write_text("a file where a folder should be")
    class_counts(folder(tiny), threads=1, console=make_console())
    assert "could not be stored" in capsys.readouterr().out


def test_counts_of_landscape_lie_with_its_tiles(tmp_path: Path) -> None:
    source = Landscape("hyperspectral", tiles=(1, 1, 1), data_dir=str(tmp_path / "tiles"))
    counts = counted(source)
    assert sum(counts.pixels) == 128 * 128
    assert source.counts_file().is_relative_to(tmp_path / "tiles")
    assert json.loads(source.counts_file().read_text())["pixels"] == list(counts.pixels)
    other = dataclasses.replace(source, seed=1)
    assert other.counts_file() != source.counts_file()


def test_a_completed_config_holds_numbers(tiny: Path) -> None:
    config = configs.load_config(str(tiny / "config.py"))
    flags = ["--config.loss.ce.class-weights", "median_frequency"]
    config = configs.override(config, flags, "test")
    presence = Presence(class_weights="inverse_frequency")
    losses = config.loss | {"dice": Dice(class_weights="enet"), "presence": presence}
    config = dataclasses.replace(config, loss=losses)
    completed = completion.completed(config)
    counts = counted(config.data.source)
    assert completed.loss["ce"] == CrossEntropy(class_weights=counts.weights("median_frequency"))
    assert completed.loss["dice"] == Dice(class_weights=counts.weights("enet"))
    assert completed.loss["edge"] == config.loss["edge"]
    assert completed.loss["presence"] == Presence(class_weights=counts.weights("inverse_frequency"))
    assert (
        config_text.from_json(json.loads(json.dumps(config_text.to_json(completed)))) == completed
    )
    assert config_text.differences(completed, completion.completed(config)) == []
    configs.check(completed)


def test_numbers_come_by_flags_too(tiny: Path) -> None:
    config = configs.load_config(str(tiny / "config.py"))
    flags = ["--config.loss.ce.class-weights", "1", "2.5", "0"]
    assert configs.override(config, flags, "test").loss["ce"] == CrossEntropy(
        class_weights=(1.0, 2.5, 0.0)
    )


def test_weights_that_do_not_fit_the_classes_are_refused_before_training(tiny: Path) -> None:
    config = configs.load_config(str(tiny / "config.py"))
    flags = ["--config.loss.ce.class-weights", "1", "2"]
    with pytest.raises(UserError, match=r"loss\.ce\.class-weights has 2 for 3 classes \(ground,"):
        configs.check(completion.completed(configs.override(config, flags, "test")))
    losses = config.loss | {"presence": Presence(class_weights=(1.0,))}
    with pytest.raises(UserError, match=r"loss\.presence\.class-weights has 1 for 3"):
        configs.check(dataclasses.replace(config, loss=losses))
    with pytest.raises(UserError, match="weight -2"):
        Presence(class_weights=(1.0, 1.0, -2.0))


def test_the_command_prints_and_keeps(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["class-weights", "--config", str(tiny / "config.py")]
    cli.main(arguments)
    said = capsys.readouterr().out
    lines = [line for line in said.splitlines() if "stored in" not in line]
    assert max(map(len, lines)) <= 100
    for word in ("ground", "disc", "square", "share", *RULES, "Class counts stored in"):
        assert word in said
    source = configs.load_config(str(tiny / "config.py")).data.source
    pixels = counted(source).pixels
    assert f"{pixels[0]:,}" in said
    assert "13,824 labelled training pixels" in said
    cli.main(arguments)
    assert "class counts" not in capsys.readouterr().out.lower()  # nothing is counted again
    cli.main([*arguments, "--recount"])
    assert "Class counts stored in" in capsys.readouterr().out


def test_the_command_refuses_what_train_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["class-weights", "--config", "configs/deeplap.py"])
    assert stopped.value.code == 2
    assert "configs/deeplap.py does not exist" in " ".join(capsys.readouterr().err.split())


def test_weights_are_numbers_of_six_digits() -> None:
    counts = ClassCounts(pixels=(3, 7, 0), around=(10, 10, 0))
    assert counts.weights("inverse_frequency") == (1.0, 0.428571, 0.0)
    assert counts.weights("median_frequency") == (1.66667, 0.714286, 0.0)
    assert counts.shares().tolist() == [0.3, 0.7, 0]


def test_no_weights_are_ones_and_numbers_stay() -> None:
    assert weights_of((), 3).tolist() == [1, 1, 1]
    assert weights_of((0.5, 0.0, 2.0), 3).tolist() == [0.5, 0, 2]
    assert weights_of((), 3).dtype == np.float32


def test_the_table_holds_pixels_shares_and_the_weights_of_every_rule() -> None:
    console = Console(width=100, file=io.StringIO())
    print_class_weights(console, ("a", "b", "c"), COUNTS)
    assert isinstance(console.file, io.StringIO)
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    assert ["160", "labelled", "training", "pixels"] in lines
    numbers = [f"{COUNTS.weights(rule)[1]:.5g}" for rule in RULES]
    assert ["b", "40", "25.000%", *numbers] in lines
    assert ["c", "0", "0.000%", "0", "0", "0", "0"] in lines


def test_scenes_are_counted_by_whole_windows_and_what_is_left() -> None:
    seen: list[tuple[int, ...]] = []
    source = pieces(np.zeros((1025, 2049), np.uint8), np.zeros((1024, 3), np.uint8))
    scenes = source.scenes("train")
    read = scenes.read

    class Noting(SimpleNamespace):
        def __len__(self) -> int:
            return len(scenes)

    noting = Noting(
        read=lambda index, window: (seen.append((index, *window)), read(index, window))[1],
        size=scenes.size,
        name=scenes.name,
    )
    counted(SimpleNamespace(classes=("a", "b", "c"), scenes=lambda _: noting))
    assert sorted(seen) == [
        (0, 0, 0, 1024, 1024),
        (0, 0, 1024, 1024, 1024),
        (0, 0, 2048, 1024, 1),
        (0, 1024, 0, 1, 1024),
        (0, 1024, 1024, 1, 1024),
        (0, 1024, 2048, 1, 1),
        (1, 0, 0, 1024, 3),
    ]


def test_the_largest_wrong_label_of_a_valid_pixel_is_told() -> None:
    label = np.array([[0, 3, 7, IGNORE, 9]], np.uint8)  # 9 is not valid
    with pytest.raises(UserError, match=r"scene0: label 7 is not a class: .* \(a, b, c\)"):
        counted(pieces(label))


def test_counts_of_other_classes_are_counted_again(tiny: Path, cache: Path) -> None:
    counts = counted(folder(tiny))
    (file,) = (cache / "jaxseg" / "class_counts").iterdir()
    stored = side_files.read(file)
    assert stored == {
        "classes": ["ground", "disc", "square"],
        "pixels": list(counts.pixels),
        "around": list(counts.around),
    }
    side_files.write(file, stored | {"classes": ["ground", "square", "disc"]})
    assert counted(folder(tiny)) == counts
    assert side_files.read(file) == stored
    file.write_text(json.dumps(stored | {"around": [99_999] * 3}))  # of an earlier version
    assert counted(folder(tiny)).around == (99_999,) * 3
    for damaged in ("[]", "7", '{"classes": ["ground", "disc", "square"]}'):
        file.write_text(damaged)
        assert counted(folder(tiny)) == counts
