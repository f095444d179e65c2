"""`jaxseg new` and `jaxseg data` for a scene of arrays: what was found is written and said."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures.places import SHARED
from PIL import Image
from scipy import io

from jaxseg import config as configs
from jaxseg.cli import main as cli
from jaxseg.config import Config
from jaxseg.datasets import ArrayScene
from jaxseg.datasets.arrays.guess import guess_scene
from jaxseg.errors import UserError
from jaxseg.models import ReSCNet, UNet
from jaxseg.scenes.scene import Window

RANDOM = np.random.default_rng(0)
TRUTH = np.array([0, 1, 4, 5], np.uint8)[(np.indices((40, 48)) // 8).sum(0) % 4]


def cube(bands: int, truth: Any = TRUTH) -> Any:
    """A class is a spectrum."""
    spectra = RANDOM.integers(100, 900, (256, bands))
    return (spectra[truth] + RANDOM.integers(0, 50, (*truth.shape, bands))).astype(np.int16)


def new(path: Path, images: Path | str, masks: Path | str, *more: str) -> tuple[Config, str]:
    file = path / "my.py"
    cli.main(["new", str(file), "--images", str(images), "--masks", str(masks), *more])
    written = file.read_text()
    assert max(len(line) for line in written.splitlines() if path.parent.name not in line) <= 100
    return configs.load_config(str(file)), written.replace("\n        # ", " ")


def scene_of(config: Config) -> ArrayScene:
    assert isinstance(config.data.source, ArrayScene)
    return config.data.source


def test_two_matlab_files_of_one_folder(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    waves = np.linspace(0.4, 2.5, 40)
    content = {"scene": cube(40), "waves": waves, "widths": np.full(40, 0.01)}
    io.savemat(folder / "a.mat", content)
    io.savemat(folder / "b_gt.mat", {"gt": TRUTH, "rows": np.arange(48.0)})
    config, written = new(tmp_path, folder, folder)
    source = scene_of(config)
    assert (source.image, source.labels) == (str(folder / "a.mat"), str(folder / "b_gt.mat"))
    assert (source.ids, source.ignore_ids, source.classes[2]) == ((1, 4, 5), (0,), "class5")
    assert isinstance(config.model, ReSCNet)
    assert (config.data.crop, config.data.evaluation_crop, source.split.block) == (32, 48, 10)
    assert source.sensor.wavelengths[0] == 400
    for evidence in (
        "scene (40 x 48 x 40, int16) has three axes",
        "values 0: 26.7 %, 1: 26.7 %, 4: 23.3 %, 5: 23.3 %",
        "by convention 0 means no label in scenes of many bands (40)",
        "waves (1 x 40, double) has a number for each band, from 0.4 to 2.5",
    ):
        assert evidence in written


def test_a_square_scene_of_one_file_whose_labels_are_turned(tmp_path: Path) -> None:
    truth = np.resize(np.arange(4), (40, 40))[:, np.argsort(np.arange(40) % 7)].astype(np.uint8)
    truth[:5] = 3
    for name, labels in (("same", truth[..., None]), ("turned", truth.T)):
        np.savez(tmp_path / f"{name}.npz", img=cube(6, truth), msk=labels, other=truth[:9])
    file = tmp_path / "same.npz"
    config, written = new(tmp_path, file, file)
    source = scene_of(config)
    assert (source.labels, source.image_axes, source.label_axes) == (
        "", "rows-columns-bands", "rows-columns",
    )  # fmt: skip
    assert source.labels_name == "msk"
    assert (source.ids, source.ignore_ids) == ((0, 1, 2, 3), ())
    assert "if 0 means no label, write ignore_ids=(0,)" in written
    assert isinstance(config.model, UNet)
    assert config.data.crop == 32
    file = tmp_path / "turned.npz"
    config, written = new(tmp_path, file, file, "--overwrite")
    assert scene_of(config).label_axes == "columns-rows"
    assert "% if labels are turned at the diagonal" in written
    shown = scene_of(config).scenes("train").read(0, Window(0, 0, 40, 40))["label"]
    np.testing.assert_array_equal(shown[shown != 255], truth[shown != 255])


def test_bands_first_and_a_picture_of_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "scene.npy", cube(6).transpose(2, 0, 1))
    ids = np.where(TRUTH == 0, 255, TRUTH).astype(np.uint8)
    Image.fromarray(ids).save(tmp_path / "truth.png")
    config, _ = new(tmp_path, tmp_path / "scene.npy", tmp_path / "truth.png")
    source = scene_of(config)
    assert source.image_axes == "bands-rows-columns"
    assert (source.ids, source.ignore_ids) == ((1, 4, 5), (255,))
    assert len(source.sensor.bands) == 6


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit, match="2"):
        cli.main([str(argument) for argument in arguments])
    return " ".join(capsys.readouterr().err.split())


def test_what_cannot_be_guessed_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def written(images: str, masks: str) -> str:
        return refused(
            capsys, "new", tmp_path / "my.py", "--images", tmp_path / images,
            "--masks", tmp_path / masks,
        )  # fmt: skip

    np.savez(tmp_path / "a.npz", cube=cube(6), gt=TRUTH, mask=TRUTH)
    assert "There are 2 arrays of two axes" in written("a.npz", "a.npz")
    np.savez(tmp_path / "b.npz", cube=cube(6), gt=TRUTH[:-1])
    assert "There is no array of two axes with the size" in written("b.npz", "b.npz")
    np.savez(tmp_path / "c.npz", gt=TRUTH)
    assert "No array has three axes" in written("c.npz", "c.npz")
    np.savez(tmp_path / "t3.npz", T3=cube(6).astype(np.complex64), gt=TRUTH)
    assert "holds complex numbers. PolSAR matrices are read by" in written("t3.npz", "t3.npz")
    folder = tmp_path / "two"
    folder.mkdir()
    for name in ("a", "b"):
        np.savez(folder / f"{name}.npz", cube=cube(6), gt=TRUTH)
    assert "Several files hold an array of three axes" in written("two", "two")
    np.savez(tmp_path / "d.npz", cube=cube(6), gt=np.arange(40 * 48).reshape(40, 48))
    assert "1920 values, from 0 to 1919" in written("d.npz", "d.npz")
    assert not (tmp_path / "my.py").exists()


def test_arrays_where_images_are_expected_are_told_their_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").mkdir()
    np.savez(tmp_path / "a" / "s.npz", cube=cube(6), gt=TRUTH)
    for path in (tmp_path / "a", tmp_path / "a" / "s.npz"):
        flags = ["--config.data.source.images", path, "--config.data.source.masks", path]
        told = refused(capsys, "train", "--config", "folder", *flags)
        assert "the source ArrayScene reads them" in told
        assert "jaxseg new my.py --images FILE --masks FILE" in told


def test_data_says_how_arrays_were_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "a.npz", cube=cube(6), gt=TRUTH)
    place = str(tmp_path / "a.npz")
    cli.main(["data", "--images", place, "--masks", place, "--out", str(tmp_path / "pictures")])
    said = " ".join(capsys.readouterr().out.split())
    assert "Read as one scene of arrays" in said
    assert "ids: (0, 1, 4, 5) (values 0: 26.7 %" in said
    assert "Nothing is odd" in said
    assert (tmp_path / "pictures" / "train.png").is_file()


@pytest.mark.real_data
def test_salinas_a_with_no_flag_but_its_folder(tmp_path: Path) -> None:
    folder = SHARED / "data" / "hyperspectral_salinasA"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: the real sets lie beside the checkout")
    source = scene_of(new(tmp_path, folder, folder)[0])
    assert (source.ids, source.ignore_ids) == ((1, 10, 11, 12, 13, 14), (0,))
    assert Path(source.labels).name == "SalinasA_gt.mat"


@pytest.mark.parametrize(("name", "said"), [("a.mat", "no such file"), ("*.mat", "no file of arr")])
def test_a_file_that_is_missing_is_told_from_a_folder_without_arrays(
    tmp_path: Path, name: str, said: str
) -> None:
    place = str(tmp_path / name)
    with pytest.raises(UserError, match=said):
        guess_scene(place, place)
