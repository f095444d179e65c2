"""The embedded dataset as a source: its settings, its files, and what a tile holds."""

import dataclasses
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from jaxseg.datasets.landscape import builder as landscape_builder
from jaxseg.datasets.landscape import source as landscape
from jaxseg.datasets.landscape.builder import TILES, Settings, record
from jaxseg.datasets.landscape.map import Ground, draw
from jaxseg.datasets.landscape.sensors import render
from jaxseg.datasets.landscape.source import PER_PIXEL_CEILING, Landscape, Modality
from jaxseg.errors import UserError
from jaxseg.scenes.scene import Source, Window

MODALITIES: tuple[Modality, ...] = get_args(Modality)
WHOLE = {"optical": 256, "sar": 256, "polsar": 256, "hyperspectral": 128}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where TFDS writes the tiny copies."""
    return tmp_path_factory.mktemp("tfds")


@pytest.fixture(scope="module", params=MODALITIES)
def tiny(request: pytest.FixtureRequest, folder: Path) -> Landscape:
    """Four tiles of one sensor."""
    return Landscape(request.param, tiles=(2, 1, 1), data_dir=str(folder))


def test_it_is_a_source_with_a_colour_per_class(tiny: Landscape) -> None:
    assert isinstance(tiny, Source)
    assert len(tiny.colors) == len(set(tiny.colors)) == len(tiny.classes) == 10
    assert 0.1 < tiny.per_pixel_ceiling == PER_PIXEL_CEILING[tiny.modality] < 0.4


def test_a_stored_tile_is_what_the_generator_draws(tiny: Landscape) -> None:
    scenes = tiny.scenes("train")
    side = WHOLE[tiny.modality]
    assert len(scenes) == 2
    assert scenes.size(1) == (side, side)
    assert scenes.name(1) == "train-00001"
    sample = scenes.read(1, Window(8, 16, 64, 48))
    edge = (256 - side) // 2
    ground = draw(0, "train", 1)
    rows, columns = slice(edge + 8, edge + 72), slice(edge + 16, edge + 64)
    np.testing.assert_array_equal(sample["label"], ground.label[rows, columns])
    np.testing.assert_array_equal(sample["instance"], ground.instance[rows, columns])
    assert sample["image"].shape == (64, 48, len(tiny.sensor.bands))
    assert sample["image"].dtype == (np.float32 if "sar" in tiny.modality else np.uint16)
    assert sample["label"].dtype == np.uint8
    assert sample["instance"].dtype == np.int32
    assert sample["valid"].dtype == np.bool_
    assert np.isfinite(tiny.rgb(sample["image"])).all()
    assert tiny.rgb(sample["image"]).shape == (64, 48, 3)


def test_files_that_cannot_be_written_are_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    source = Landscape(tiles=(1, 1, 1), data_dir=str(tmp_path / "file"))
    with pytest.raises(UserError, match="data_dir"):
        source.scenes("train")


def test_other_settings_are_other_configs() -> None:
    tiny = (2, 1, 1)
    names = {
        Settings(*given).name()
        for given in (
            ("sar", TILES["sar"]), ("sar", tiny), ("sar", tiny, 1), ("sar", tiny, 0, 2),
            ("optical", tiny),
        )
    }  # fmt: skip
    assert len(names) == 5
    assert Settings("optical", tiny, 0, 2).name() == Settings("optical", tiny).name()


def test_the_default_size_fits_its_card(tiny: Landscape, folder: Path) -> None:
    tiny.scenes("train")
    (built,) = folder.glob(f"landscape/{tiny.modality}_2x1x1")
    size = sum(file.stat().st_size for file in built.rglob("*") if file.is_file())
    assert size / 4 * sum(TILES[tiny.modality]) < 150e6


def test_splits_are_different_ground(folder: Path) -> None:
    source = Landscape(tiles=(2, 1, 1), data_dir=str(folder))
    first = [source.scenes(split).read(0, Window(0, 0, 256, 256))["label"] for split in
             ("train", "validation", "test")]  # fmt: skip
    assert all((first[a] != first[b]).mean() > 0.3 for a, b in ((0, 1), (0, 2), (1, 2)))


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others() -> None:
    ground, again, other = draw(3, "test", 0), draw(3, "test", 0), draw(4, "test", 0)
    for field, same in zip(ground, again, strict=True):
        np.testing.assert_array_equal(field, same)
    assert (ground.label != other.label).mean() > 0.3
    for modality in MODALITIES:
        first = render(ground, modality, looks=4, key=(3, "test", 0))
        np.testing.assert_array_equal(first, render(ground, modality, looks=4, key=(3, "test", 0)))


def test_a_tile_does_not_depend_on_the_number_of_tiles(folder: Path) -> None:
    few = Landscape("sar", tiles=(2, 1, 1), data_dir=str(folder)).scenes("train")
    more = Landscape("sar", tiles=(3, 1, 1), data_dir=str(folder)).scenes("train")
    for field, pixels in few.read(1, Window(0, 0, 256, 256)).items():
        np.testing.assert_array_equal(pixels, more.read(1, Window(0, 0, 256, 256))[field])


@pytest.mark.parametrize(
    "wrong", [{"tiles": (-1, 1, 1)}, {"looks": 0}, {"seed": -1}, {"modality": "thermal"}]
)
def test_settings_out_of_range_are_explained(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"[Ll]andscape"):
        dataclasses.replace(Landscape(), **wrong).scenes("train")  # type: ignore[arg-type]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Settings, str]]:
    """What is built, and where; nothing is."""
    found: list[tuple[Settings, str]] = []

    def built(settings: Settings, data_dir: str) -> types.SimpleNamespace:
        found.append((settings, data_dir))
        return types.SimpleNamespace(data_path=f"/files/{settings.name()}")

    monkeypatch.setattr(landscape, "built", built)
    return found


def test_every_field_decides_what_is_built(asked: list[tuple[Settings, str]]) -> None:
    source = Landscape("sar", (3, 0, 5), seed=7, looks=1, data_dir="there")
    assert source.counts_file() == Path("/files/sar_3x40x5_seed7_looks1/class_counts.json")
    assert asked == [(Settings("sar", (3, 40, 5), 7, 1), "there")]
    Landscape("polsar", (0, 2, 0)).counts_file()
    assert asked[1] == (Settings("polsar", (56, 2, 12), 0, 4), "")
    Landscape(tiles=(99_999, 1, 1)).counts_file()
    for wrong in ((100_000, 1, 1), (1, 1, 100_000), (1, -1, 1)):
        with pytest.raises(UserError, match=r"tiles must be 0\.\.99999"):
            Landscape(tiles=wrong).counts_file()
    Landscape(looks=1, seed=0).counts_file()


def test_names_of_settings_say_what_is_not_usual() -> None:
    def name(*given: Any) -> str:
        return Settings(*given).name()

    assert name("sar", TILES["sar"]) == "sar"
    assert name("optical", TILES["sar"]) == "optical"  # as many as of sar
    assert name("polsar", TILES["sar"]) == "polsar_200x40x40"
    assert name("sar", (2, 1, 1), 0, 2) == "sar_2x1x1_looks2"
    assert name("polsar", TILES["polsar"], 3, 4) == "polsar_seed3"
    assert name("hyperspectral", TILES["hyperspectral"], 0, 2) == "hyperspectral"


def test_a_record_is_the_ground_of_its_settings_seen_by_their_sensor() -> None:
    for modality, looks in (("sar", 1), ("sar", 4), ("hyperspectral", 4)):
        ground = draw(3, "validation", 5)
        edge = (256 - WHOLE[modality]) // 2
        middle = (slice(edge, 256 - edge),) * 2
        ground = Ground(*(field[middle] for field in ground))
        key = (3, "validation", 5)
        stored = record(Settings(modality, (1, 1, 1), 3, looks), "validation", 5)
        np.testing.assert_array_equal(
            stored["image"], render(ground, modality, looks=looks, key=key)
        )
        np.testing.assert_array_equal(stored["label"], ground.label)
        np.testing.assert_array_equal(stored["instance"], ground.instance)
        assert stored["instance"].dtype == np.uint16


def test_a_sensor_says_what_its_numbers_are() -> None:
    optical, sar, polsar, hyperspectral = (Landscape(m).sensor for m in MODALITIES)
    assert optical.bands == ("B", "G", "R", "NIR")
    assert sar.bands == sar.polarisations == ("VV", "VH")
    assert polsar.bands[:3] == ("T11", "T22", "T33")
    assert (len(polsar.bands), len(hyperspectral.bands)) == (9, 120)
    assert hyperspectral.bands[0] == "410.0 nm"
    assert hyperspectral.wavelengths[:2] == (410.0, 422.5)
    assert optical.wavelengths == polsar.wavelengths == polsar.polarisations == ()
    assert (optical.scale, sar.scale, polsar.scale, hyperspectral.scale) == (1e-4, 1, 1, 1e-4)
    assert [s.unit for s in (optical, sar, polsar, hyperspectral)] == [
        "reflectance", "power", "coherency", "reflectance"
    ]  # fmt: skip
    assert {(s.nodata, s.gsd) for s in (optical, sar, polsar, hyperspectral)} == {(0.0, 5.0)}


def test_pictures_are_true_colour_or_decibel_of_powers() -> None:
    image = np.array([[[1000, 2000, 3000, 9000]]], np.uint16)
    np.testing.assert_allclose(Landscape().rgb(image)[0, 0], (0.3, 0.2, 0.1), rtol=1e-6)
    power = np.array([[[0.1, 0.01], [0, 1]]], np.float32)
    shown = Landscape("sar").rgb(power)[0]
    np.testing.assert_allclose(shown, [(-10, -20, 10), (-60, 0, -60)], atol=1e-4)
    t3 = np.array([[[0.1, 0.01, 1, 5, 5, 5, 5, 5, 5]]], np.float32)
    np.testing.assert_allclose(Landscape("polsar").rgb(t3)[0, 0], (-20, 0, -10), atol=1e-4)
    bands = np.arange(120)[None, None] * 10_000
    chosen = Landscape("hyperspectral").rgb(bands)[0, 0].round().astype(int)
    near = np.array(Landscape("hyperspectral").sensor.wavelengths)[chosen]
    assert (np.abs(near - (665, 560, 490)) <= 6.25).all()
    for modality in MODALITIES:
        assert Landscape(modality).rgb(np.ones((2, 2, 120), np.uint16)).dtype == np.float32


def test_a_pixel_is_valid_if_any_band_has_a_number() -> None:
    image = np.zeros((1, 3, 2), np.float32)
    image[0, 1, 1], image[0, 2] = 1e-4, 0.1
    zeros = np.zeros((1, 3), np.uint16)
    sample = landscape._sample({"image": image, "label": zeros, "instance": zeros})
    assert sample["valid"].tolist() == [[False, True, True]]


def test_files_that_another_process_was_faster_to_write_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(self: Any, **more: object) -> None:
        Path(self.data_path).mkdir(parents=True)
        raise OSError("exists")

    settings = Settings("sar", (1, 1, 1), seed=11)
    monkeypatch.setattr(landscape_builder.LandscapeBuilder, "download_and_prepare", late)
    builder = landscape_builder.built(settings, str(tmp_path))
    assert "seed11" in str(builder.data_path)
    landscape_builder.built.cache_clear()


def test_progress_is_told_to_a_terminal_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    landscape_builder._say_progress("train", 1, 4, 2.0)
    assert not capsys.readouterr().err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    landscape_builder._say_progress("train", 1, 4, 2.0)
    assert capsys.readouterr().err == "\rlandscape: train 1 of 4,   6 s left"
    landscape_builder._say_progress("train", 4, 4, 8.0)
    assert capsys.readouterr().err == "\rlandscape: train 4 of 4,   0 s left\n"


def test_an_unknown_split_is_explained() -> None:
    with pytest.raises(UserError, match="train, validation, test"):
        Landscape().scenes("val")


def test_nodata_is_zero_in_all_bands_and_invalid(folder: Path) -> None:
    scenes = Landscape(tiles=(8, 1, 1), data_dir=str(folder)).scenes("train")
    lost = 0
    for index in range(len(scenes)):
        sample = scenes.read(index, Window(0, 0, 256, 256))
        np.testing.assert_array_equal(sample["valid"], (sample["image"] > 0).all(-1))
        lost += int((~sample["valid"]).sum())
    assert lost > 0


def test_tensorflow_is_never_imported(folder: Path) -> None:
    code = f"""
import sys
from jaxseg.scenes import Window
from jaxseg.datasets.landscape import Landscape
source = Landscape(tiles=(1, 1, 1), data_dir={str(folder)!r})
source.scenes("test").read(0, Window(0, 0, 64, 64))
assert "tensorflow" not in sys.modules
assert "jax" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "drawing 3 optical tiles" in done.stderr
