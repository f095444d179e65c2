"""A pack shows what was packed, bit for bit, and says what is wrong with it."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from fixtures.folder_files import tiff
from rasterio.crs import CRS

from jaxseg.config import Config
from jaxseg.config_text import from_json, to_json
from jaxseg.datasets import Folder, Mislabelled, Packed, Paired, Stacked
from jaxseg.datasets.folder.pairing import SPLITS
from jaxseg.datasets.leakage import check_splits, refuse_trained_pixels
from jaxseg.datasets.packed import writer
from jaxseg.datasets.packed.source import originals, with_originals
from jaxseg.errors import MissingSplit, UserError
from jaxseg.evaluation import other_data
from jaxseg.files import records
from jaxseg.losses.class_counts import class_counts
from jaxseg.models import UNet
from jaxseg.pipeline import Data
from jaxseg.pipeline.windows import training_batches
from jaxseg.prediction import opening
from jaxseg.prediction.image import Image
from jaxseg.run import completion, data_files
from jaxseg.scenes.scene import Source, Window, in_files
from jaxseg.system.console import make_console

H, W = 70, 90


def write(folder: Path, scenes: int = 4, bands: int = 3) -> Folder:
    """Scenes of 16 bits with holes, masks, objects and positions."""
    random = np.random.default_rng(bands)
    for number in range(scenes):
        image = random.integers(1, 4000, (H, W, bands)).astype(np.uint16)
        image[: 10 * number, :7] = 0  # no data
        label = random.integers(0, 4, (H, W)).astype(np.uint8)
        objects = np.where(label == 1, random.integers(1, 70000, (H, W)), 0).astype(np.uint32)
        place = Affine(10, 0, 5000 * number, 0, -10, 9000)
        where = {"crs": CRS.from_epsg(32633), "transform": place}
        tiff(folder / f"images/s{number}.tif", image, nodata=0, **where)
        tiff(folder / f"masks/s{number}.tif", label, **where)
        tiff(folder / f"objects/s{number}.tif", objects, **where)
    return Folder(
        images=str(folder / "images"),
        masks=str(folder / "masks"),
        instances=str(folder / "objects"),
        classes=("ground", "house", "water"),
        ignore_ids=(3,),
        fractions=(0.5, 0.25, 0.25),
        multiply=0.5,
    )


def packed(source: Source, out: Path, tile: int = 16, compress: bool = False) -> Packed:
    writer.pack(source, out, tile, 2, lambda names, _: names, compress=compress)
    return Packed(str(out))


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of tiles that are small enough for a scene to lie in several."""
    monkeypatch.setattr(writer, "FILE", 16 * 16 * 10 * 11)


def equal(one: Source, other: Source, windows: int = 12) -> None:
    random = np.random.default_rng(0)
    for split in SPLITS:
        own, theirs = one.scenes(split), other.scenes(split)
        assert len(own) == len(theirs) > 0
        assert in_files(own) == in_files(theirs)
        for scene in range(len(own)):
            assert own.name(scene) == theirs.name(scene)
            height, width = own.size(scene)
            assert theirs.size(scene) == (height, width)
            for _ in range(windows):
                rows, columns = random.integers(1, (height + 1, width + 1)).tolist()
                y = int(random.integers(height - rows + 1))
                x = int(random.integers(width - columns + 1))
                sample = own.read(scene, Window(y, x, rows, columns))
                again = theirs.read(scene, Window(y, x, rows, columns))
                assert sample.keys() == again.keys()
                for name, pixels in sample.items():
                    assert pixels.dtype == again[name].dtype
                    np.testing.assert_array_equal(pixels, again[name])


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(("split_by", "compress"), [("files", False), ("blocks", True)])
def test_windows_are_those_of_the_folder(tmp_path: Path, split_by: str, compress: bool) -> None:
    source = dataclasses.replace(write(tmp_path), split_by=split_by, block=33, guard=4)
    pack = packed(source, tmp_path / "pack", compress=compress)
    assert len(list((tmp_path / "pack").glob("train-*"))) > 2
    equal(source, pack)
    for name in ("classes", "colors", "sensor"):
        assert getattr(pack, name) == getattr(source, name)
    assert pack.origin() == source.origin()
    image = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
    np.testing.assert_array_equal(pack.rgb(image), source.rgb(image))
    own, theirs = source.scenes("train"), pack.scenes("train")
    for scene in range(len(own)):
        assert own.extent(scene) == theirs.extent(scene)
        assert own.gsd(scene) == theirs.gsd(scene) == 10
        assert all(Path(file).parent == tmp_path / "pack" for file in theirs.files(scene))
    writer.check(tmp_path / "pack", lambda names, _: names)


def test_stacked_folders_are_one_pack(tmp_path: Path) -> None:
    first = write(tmp_path / "one")
    second = dataclasses.replace(write(tmp_path / "two", bands=2), multiply=1.0)
    for kind in ("masks", "objects"):  # of the same ground
        shutil.rmtree(tmp_path / "two" / kind)
        shutil.copytree(tmp_path / "one" / kind, tmp_path / "two" / kind)
    both = Stacked(first, dataclasses.replace(second, multiply=2.0))
    pack = packed(both, tmp_path / "pack")
    equal(both, pack, windows=4)
    assert pack.sensor == both.sensor
    assert len(pack._index.files) == 2 * 3 * 4


def test_batches_of_a_training_are_equal(tmp_path: Path) -> None:
    source = write(tmp_path)
    pack = packed(source, tmp_path / "pack")

    def batches(of: Source) -> list[dict[str, Any]]:
        data = Data(source=of, crop=32, batch_size=3)
        return list(training_batches(data, seed=5, positions=[0, 1, 2], first=2, last=6))

    for one, other in zip(batches(Mislabelled(source)), batches(Mislabelled(pack)), strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_a_window_reads_its_tiles_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = packed(write(tmp_path), tmp_path / "pack").scenes("train")
    asked: list[int] = []
    read = records.read

    def noted(path: str, numbers: list[int]) -> list[bytes]:
        asked.extend(numbers)
        return read(path, numbers)

    monkeypatch.setattr(records, "read", noted)
    scenes.read(1, Window(15, 16, 2, 16))
    assert asked == [30 + 1, 30 + 7]  # a scene has 5 x 6 tiles


@pytest.mark.usefixtures("many")
def test_a_pack_that_was_stopped_continues_and_has_the_same_bytes(tmp_path: Path) -> None:
    source = write(tmp_path)
    packed(source, tmp_path / "whole")
    out = tmp_path / "stopped"

    class Stop(Exception):  # noqa: N818
        pass

    def stopping(names: Any, _: int) -> Any:
        for number, name in enumerate(names):
            if number == 3:
                raise Stop
            yield name

    with pytest.raises(Stop):
        writer.pack(source, out, 16, 2, stopping)
    with pytest.raises(UserError, match=r"not complete: .* was stopped. The same command"):
        Packed(str(out)).scenes("train")
    with pytest.raises(UserError, match="not a complete pack"):
        writer.check(out, lambda names, _: names)
    finished = (out / "digests.txt").read_text()
    assert finished.count("\n") == 3
    (out / "digests.txt").write_text(f"{finished}0123")  # killed within a line
    (out / "train-00005.array_record.tmp").write_bytes(b"begun")
    counted: list[int] = []

    def count(names: Any, number: int) -> Any:
        counted.append(number)
        return names

    writer.pack(source, out, 16, 1, count)
    assert content(out) == content(tmp_path / "whole")
    assert counted == [len(content(out)) - 2 - 3]
    (out / "test-00000.array_record").unlink()  # and is repaired
    packed(source, out)
    assert content(out) == content(tmp_path / "whole")


def test_damage_is_named_by_file_and_record(tmp_path: Path) -> None:
    source = write(tmp_path)
    pack = packed(source, tmp_path / "pack")
    file = tmp_path / "pack" / "train-00000.array_record"
    data = bytearray(file.read_bytes())
    start = data.index(pack.scenes("train").read(0, Window(0, 0, 1, 16))["image"].tobytes()[:4])
    data[start + 900] ^= 1
    file.write_bytes(data)
    records._opened.cache_clear()
    with pytest.raises(UserError, match=r"train-00000.array_record is damaged at record 0: .*hash"):
        pack.scenes("train").read(0, Window(0, 0, 30, 30))
    with pytest.raises(UserError, match=r"1 of 4 files .* are damaged, train-00000.array_record"):
        writer.check(tmp_path / "pack", lambda names, _: names)
    file.unlink()
    records._opened.cache_clear()
    with pytest.raises(UserError, match=r"train-00000.array_record: no such file"):
        pack.scenes("train").read(0, Window(0, 0, 30, 30))
    index = tmp_path / "pack" / "index.json"
    index.write_text(index.read_text().replace('"tile": 16', '"tile": 32'))
    with pytest.raises(UserError, match=r"index.json is damaged"):
        pack.scenes("train")
    with pytest.raises(UserError, match=r"is not a pack: it has no index.json"):
        Packed(str(tmp_path)).scenes("train")


def test_a_file_that_changed_since_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path)
    pack = packed(source, tmp_path / "pack")
    pack.scenes("train")
    assert capsys.readouterr().err == ""
    with pytest.raises(UserError, match=r"another pack: it differs in tile, tiles_per_file"):
        packed(source, tmp_path / "pack", tile=32)
    tiff(tmp_path / "masks/s1.tif", np.zeros((H, W), np.uint8))
    shutil.copytree(tmp_path / "pack", tmp_path / "other")
    Packed(str(tmp_path / "other")).scenes("train")
    assert "1 of 12 packed files changed (" in (said := capsys.readouterr().err)
    assert "masks/s1.tif" in said
    with pytest.raises(UserError, match=r"as it was written, but 1 of 12 .*masks/s1.tif"):
        writer.check(tmp_path / "pack", lambda names, _: names)
    with pytest.raises(UserError, match=r"begun with other files: .*masks/s1.tif"):
        packed(source, tmp_path / "pack")


def test_a_pack_is_used_without_its_files(tmp_path: Path) -> None:
    """Leaks are found by the names of the files, though they are gone."""
    source = write(tmp_path / "data")
    pack = packed(source, tmp_path / "pack")
    more = dataclasses.replace(source, fractions=(0.0, 0.5, 0.5))
    other = packed(more, tmp_path / "other")
    with pytest.raises(UserError, match=r"s0.tif: pixels of this scene are in the train split"):
        refuse_trained_pixels(pack, more, "validation")
    refuse_trained_pixels(pack, source, "validation")
    expected = source.scenes("train").read(0, Window(3, 3, 40, 40))["image"]
    shutil.rmtree(tmp_path / "data")
    found = pack.scenes("train").read(0, Window(3, 3, 40, 40))["image"]
    np.testing.assert_array_equal(found, expected)
    check_splits(pack)
    with pytest.raises(UserError, match=r"s0.tif: pixels of this scene are in the train split"):
        refuse_trained_pixels(pack, other, "validation")
    with pytest.raises(MissingSplit, match="what was packed has train, validation, test"):
        pack.scenes("all")


def test_a_run_knows_what_was_packed(tmp_path: Path) -> None:
    """So that it maps and evaluates other files as it would with the folder."""
    source = write(tmp_path)
    pack = packed(source, tmp_path / "pack")
    config = Config(model=UNet(num_classes=3), data=Data(source=pack, crop=32))
    filled: Any = completion.completed(config).data.source
    assert filled == dataclasses.replace(pack, original=source)
    assert from_json(to_json(filled)) == filled
    folder_config = dataclasses.replace(
        config, data=dataclasses.replace(config.data, source=source)
    )
    assert completion.completed(folder_config).sensor == completion.completed(config).sensor
    shutil.rmtree(tmp_path / "pack")
    assert filled.classes == source.classes
    assert originals(Stacked(filled, filled)) == Stacked(source, source)
    assert originals(source) is source
    assert with_originals(source) is source
    assert opening._resolved(Image(), filled) == opening._resolved(Image(), source)
    given = [other_data.found_in(s, "elsewhere", "masks", "objects") for s in (filled, source)]
    assert given[0] == given[1]


def test_files_and_counts_of_a_pack_are_kept_like_those_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = write(tmp_path)
    pack = packed(source, tmp_path / "pack")
    (tmp_path / "run").mkdir()
    data_files.keep(tmp_path / "run", pack)
    assert data_files.changed(tmp_path / "run", pack) == []
    (tmp_path / "pack" / "test-00000.array_record").write_bytes(b"")
    assert "test-00000.array_record" in data_files.changed(tmp_path / "run", pack)[0]
    console = make_console()
    console.quiet = True
    own, theirs = (class_counts(s, threads=2, console=console) for s in (source, pack))
    assert own == theirs
    file = pack.counts_file()
    assert file is not None
    assert file.exists()


def test_what_cannot_be_packed_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path)
    for wrapped in (Mislabelled(source), Paired(source, source)):
        with pytest.raises(UserError, match=r"pack its source, Folder, and give \w+\(source=Pack"):
            packed(wrapped, tmp_path / "pack")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file cannot be made: File exists"):
        packed(source, tmp_path / "file")
    with pytest.raises(UserError, match="--tile 8: give 16 or more"):
        packed(source, tmp_path / "pack", tile=8)

    @dataclasses.dataclass(frozen=True)
    class Drawn(Folder):
        def scenes(self, split: str) -> Any:
            inner = super().scenes(split)
            return type("Scenes", (), {"read": inner.read, "__len__": lambda _: 1})()

    fields = {f.name: getattr(source, f.name) for f in dataclasses.fields(source)}
    with pytest.raises(UserError, match="Drawn is not a folder of image files"):
        packed(Drawn(**fields), tmp_path / "pack")


def test_two_processes_do_not_write_to_one_folder(tmp_path: Path) -> None:
    source = write(tmp_path)
    (tmp_path / "pack").mkdir()
    with (
        writer._alone(tmp_path / "pack"),
        pytest.raises(UserError, match="Another jaxseg pack writes to"),
    ):
        packed(source, tmp_path / "pack")
