"""The command that checks and draws a polarimetric scene."""

from pathlib import Path

import numpy as np
import pytest
from fixtures.places import SHARED
from fixtures.polsar_folder import labelled, scattering, write_polsarpro
from PIL import Image

from jaxseg.cli import main as cli
from jaxseg.cli import polsar_pictures
from jaxseg.console import make_console
from jaxseg.datasets.landscape.sensors import wishart

DATA = SHARED / "data"

PRODUCTS = {
    "pauli",
    "pauli_refined_lee",
    "span",
    "entropy",
    "anisotropy",
    "alpha",
    "freeman_durden",
}


def test_every_product_is_drawn_and_the_checks_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = labelled(tmp_path)
    cli.main(["polsar", str(folder / "T3"), "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "48 x 48 pixels" in said
    lines = [line for line in said.splitlines() if str(tmp_path) not in line]
    assert max(map(len, lines)) <= 100
    files = {file.stem for file in (tmp_path / "out").glob("*.png")}
    assert files == PRODUCTS
    for name in files:
        picture = np.asarray(Image.open(tmp_path / "out" / f"{name}.png").convert("L"))
        assert min(picture.shape) > 300
        assert picture.std() > 10


def test_dual_channels_are_drawn(tmp_path: Path) -> None:
    t3 = wishart(np.full((20, 30, 3), 0.1, np.float32), 4, np.random.default_rng(0))
    write_polsarpro(tmp_path / "C2", "C2", t3[..., [0, 1, 3, 4]])
    cli.main(["polsar", str(tmp_path / "C2"), "--out", str(tmp_path / "out")])
    files = {file.stem for file in (tmp_path / "out").glob("*.png")}
    assert files == {"span", "c11", "c22", "coherence"}


def test_bad_pixels_and_those_without_data_are_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    t3 = wishart(np.full((50, 41, 3), 0.1, np.float32), 4, np.random.default_rng(0))
    t3[:7] = 0
    t3[20, 3:6, 1] = -1.0
    t3[30, 5, 2] = np.nan
    folder = write_polsarpro(tmp_path / "T3", "T3", t3)
    whole = polsar_pictures.survey(str(folder), make_console())
    monkeypatch.setattr(polsar_pictures, "STRIP_PIXELS", 41 * 8)
    monkeypatch.setattr(polsar_pictures, "SIDE", 14)
    strips = polsar_pictures.survey(str(folder), make_console())
    for found in (whole, strips):
        assert (found.nodata, found.bad) == (7 * 41 + 1, 3)
    assert whole.factor == 1
    assert strips.factor == 4
    assert strips.bands.shape == (13, 11, 9)
    # A block is the mean of its usable pixels; the last one of a row is smaller.
    np.testing.assert_allclose(strips.bands[3, 2], t3[12:16, 8:12].mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(strips.bands[3, 10], t3[12:16, 40].mean(0), rtol=1e-5)
    usable = np.delete(t3[20:24, 0:4].reshape(-1, 9), 3, axis=0)
    np.testing.assert_allclose(strips.bands[5, 0], usable.mean(0), rtol=1e-5, atol=1e-7)
    assert not strips.known[0].any()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("empty", "none of its 600 pixels has data"),
        ("one plane", "No number is finite in T13_imag.bin."),
        ("swapped", "no Hermitian, positive semidefinite"),
    ],
)
def test_a_scene_that_is_none_ends_with_a_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str, words: str
) -> None:
    t3 = wishart(np.full((20, 30, 3), 0.1, np.float32), 4, np.random.default_rng(0))
    if fault == "one plane":
        t3[..., 6] = np.nan
    else:
        t3 = t3 * 0 if fault == "empty" else t3[..., [3, 4, 5, 0, 1, 2, 6, 7, 8]]
    write_polsarpro(tmp_path / "T3", "T3", t3)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["polsar", str(tmp_path / "T3"), "--out", str(tmp_path / "out")])
    assert stopped.value.code == cli.MISTAKE
    said = capsys.readouterr().err
    assert words in said
    assert str(tmp_path / "T3") in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("--average", "4", "odd number"),
        ("--average", "-1", "0 or more"),
        ("--looks", "nan", "or more"),
    ],
)
def test_a_mean_or_looks_that_cannot_be_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str, value: str, words: str
) -> None:
    folder = write_polsarpro(tmp_path / "S2", "S2", scattering(12, 12))
    with pytest.raises(SystemExit) as stopped:
        cli.main(["polsar", str(folder), "--out", str(tmp_path / "out"), flag, value])
    assert stopped.value.code == cli.MISTAKE
    assert words in capsys.readouterr().err


def test_single_looks_are_averaged_before_they_are_decomposed(tmp_path: Path) -> None:
    folder = write_polsarpro(tmp_path / "S2", "S2", scattering(40, 40))
    found = polsar_pictures.survey(str(folder), make_console())
    assert found.usual_looks == pytest.approx(1, rel=0.2)
    title = polsar_pictures.figures(found)["entropy"].get_suptitle()
    assert title == "Entropy, means of 7 x 7 pixels"


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.parametrize("name", ["polsar_sf_airsar/T3", "sar_complex_spacenet6"])
def test_real_scenes_are_drawn(name: str) -> None:
    if not (DATA / name).is_dir():
        pytest.skip(f"{DATA / name} is absent: the real sets lie beside the checkout")
    found = polsar_pictures.survey(str(DATA / name), make_console())
    assert found.nodata == found.bad == 0
    assert set(polsar_pictures.figures(found)) == PRODUCTS
