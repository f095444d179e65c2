"""The command that checks and draws a polarimetric scene."""

import dataclasses
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.places import SHARED
from fixtures.polsar_folder import labelled, scattering, write_polsarpro
from matplotlib.figure import Figure
from PIL import Image

from jaxseg.cli import main as cli
from jaxseg.cli import polsar_pictures
from jaxseg.cli.polsar_pictures import Survey
from jaxseg.datasets.landscape.sensors import wishart
from jaxseg.files.polsar import PolsarScene
from jaxseg.physics import decompositions, polsar_filters
from jaxseg.system.console import make_console

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


@pytest.mark.slow
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
        ("one plane", "No value is finite in T13_imag.bin."),
        ("swapped", "not Hermitian, positive semidefinite"),
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


# What is drawn, on a scene that is made up of its numbers.

ROWS, COLUMNS = 48, 48  # as above, so that nothing is compiled twice
HEIGHT, WIDTH = 96, 95


@pytest.fixture(scope="module")
def found() -> Survey:
    """A scene with a strip without data, at half its size."""
    t3 = wishart(np.full((ROWS, COLUMNS, 3), 0.1, np.float32), 4, np.random.default_rng(0))
    t3[:, :15] *= 100
    t3[30:] *= 3
    known = np.ones((ROWS, COLUMNS), bool)
    known[:4] = False
    t3[~known] = 0
    scene = PolsarScene("scene", "T3", HEIGHT, WIDTH, 2.5, (), ())
    looks = np.full((ROWS, COLUMNS), 4, np.float32)
    looks[~known] = 99
    return Survey(scene, 2, t3, known, 2 * 4 * WIDTH, 7, looks)


@pytest.fixture(scope="module")
def drawn(found: Survey) -> dict[str, Figure]:
    """Its pictures."""
    return polsar_pictures.figures(found)


def maps(figure: Figure) -> list[Any]:
    return [axes for axes in figure.axes if axes.images]


def pixels(figure: Figure, number: int = 0) -> Any:
    return maps(figure)[number].images[0].get_array()


def test_a_map_shows_its_numbers_where_there_are_data(
    found: Survey, drawn: dict[str, Figure]
) -> None:
    shown = pixels(drawn["span"])
    decibel = 10 * np.log10(found.bands[..., :3].sum(-1)[found.known])
    np.testing.assert_allclose(shown[found.known], decibel, atol=1e-3)
    assert np.isnan(np.ma.filled(shown, np.nan)[~found.known]).all()
    mean = polsar_filters.boxcar(jnp.asarray(found.bands), 3)
    eigen = np.asarray(decompositions.cloude_pottier(mean))
    for number, name in enumerate(("entropy", "anisotropy", "alpha")):
        expected = eigen[..., number][found.known]
        np.testing.assert_allclose(pixels(drawn[name])[found.known], expected, atol=1e-4)
    powers = np.asarray(decompositions.freeman_durden(mean))
    for number in range(3):
        expected = 10 * np.log10(np.maximum(powers[..., number], 1e-12))[found.known]
        shown = pixels(drawn["freeman_durden"], number)[found.known]
        np.testing.assert_allclose(shown, expected, atol=1e-2)
    assert [axes.get_title() for axes in maps(drawn["freeman_durden"])] == [
        "surface",
        "double bounce",
        "volume",
    ]


def test_composites_are_stretched_from_1_to_99_percent_and_gray_without_data(
    found: Survey, drawn: dict[str, Figure]
) -> None:
    shown = np.asarray(pixels(drawn["pauli"]))
    assert (shown[~found.known] == 217).all()
    for band, element in enumerate((1, 2, 0)):
        values = 10 * np.log10(found.bands[found.known][:, element])
        low, high = np.percentile(values, (1, 99))
        expected = np.clip((values - low) / (high - low), 0, 1) * 255
        assert np.abs(shown[..., band][found.known] - expected).max() < 2
    filtered = np.asarray(pixels(drawn["pauli_refined_lee"]))
    assert (filtered != shown).any()


def test_scales_are_fixed_or_from_2_to_98_percent(found: Survey, drawn: dict[str, Figure]) -> None:
    limits = {name: maps(figure)[0].images[0].get_clim() for name, figure in drawn.items()}
    assert limits["entropy"] == limits["anisotropy"] == (0, 1)
    assert limits["alpha"] == (0, 90)
    decibel = 10 * np.log10(found.bands[..., :3].sum(-1)[found.known])
    np.testing.assert_allclose(limits["span"], np.percentile(decibel, (2, 98)), atol=1e-3)
    three = [axes.images[0].get_clim() for axes in maps(drawn["freeman_durden"])]
    assert len(set(three)) == 1
    assert maps(drawn["alpha"])[0].images[0].get_cmap().name == "turbo"
    assert maps(drawn["span"])[0].images[0].get_cmap().name == "viridis"


def test_axes_count_pixels_of_the_scene_from_its_first_row(drawn: dict[str, Figure]) -> None:
    for name in ("span", "pauli", "freeman_durden"):
        axes = maps(drawn[name])[0]
        assert tuple(axes.images[0].get_extent()) == (0, WIDTH, HEIGHT, 0)
        assert axes.get_xlabel() == "column (pixels of 2.5 m)"
        assert axes.get_ylabel() == "row (pixels of 2.5 m)"
    labels = [axes.get_ylabel() for axes in maps(drawn["freeman_durden"])]
    assert labels[1:] == ["", ""]


def test_titles_tell_means_and_looks(found: Survey, drawn: dict[str, Figure]) -> None:
    titles = {name: figure.get_suptitle() for name, figure in drawn.items()}
    assert titles["entropy"] == "Entropy, means of 3 x 3 pixels"
    assert titles["freeman_durden"] == "Freeman-Durden powers, means of 3 x 3 pixels"
    assert titles["pauli_refined_lee"].endswith("7 x 7, 4.0 looks")
    assert found.usual_looks == 4.0
    other = polsar_pictures.figures(found, average=5, looks=9.0)
    assert other["alpha"].get_suptitle() == "Mean alpha, means of 5 x 5 pixels"
    assert other["pauli_refined_lee"].get_suptitle().endswith("9.0 looks")
    few = dataclasses.replace(found, looks=np.full((ROWS, COLUMNS), 0.7, np.float32))
    assert polsar_pictures.figures(few)["pauli_refined_lee"].get_suptitle().endswith("1.0 looks")
    bars = [axes.get_ylabel() for axes in maps(drawn["span"])[0].child_axes]
    assert bars == ["total power, dB"]


def test_the_checks_count_pixels_of_the_scene(
    found: Survey, capsys: pytest.CaptureFixture[str]
) -> None:
    polsar_pictures.show(found, make_console())
    said = capsys.readouterr().out
    assert "scene: T3, 96 x 95 pixels, pixels of 2.5 m" in said
    assert "without data                           760     8.333%" in said
    assert "not a valid matrix                       7     0.077%" in said
    decibel = 10 * np.log10(found.bands[..., :3].sum(-1)[found.known])
    low, middle, high = np.percentile(decibel, (5, 50, 95))
    assert f"{middle:.1f}   5 to 95 %: {low:.1f} to {high:.1f}" in said
    assert "4.0   quartiles 4.0 and 4.0" in said
    assert "means of 2 x 2 pixels" in said
    scene = dataclasses.replace(found.scene, gsd=None)
    polsar_pictures.show(dataclasses.replace(found, factor=1, scene=scene), make_console())
    said = capsys.readouterr().out
    assert "ground sample distance not" in said
    assert "means of" not in said


def test_channels_of_a_dual_radar_are_drawn_in_their_order(found: Survey) -> None:
    bands = np.zeros((ROWS, COLUMNS, 4), np.float32)
    rows = np.arange(1.0, ROWS + 1)[:, None]
    bands[..., 0], bands[..., 1] = rows, 4 * rows
    bands[..., 2], bands[..., 3] = 0.6 * rows, -0.8 * rows
    scene = dataclasses.replace(found.scene, kind="C2")
    dual = dataclasses.replace(found, bands=bands, scene=scene)
    figures = polsar_pictures.figures(dual)
    known = found.known
    for name, expected in (
        ("c11", 10 * np.log10(bands[..., 0])),
        ("c22", 10 * np.log10(bands[..., 1])),
        ("span", 10 * np.log10(bands[..., 0] + bands[..., 1])),
        ("coherence", np.full((ROWS, COLUMNS), 0.5)),
    ):
        np.testing.assert_allclose(pixels(figures[name])[known], expected[known], atol=1e-3)
    assert maps(figures["coherence"])[0].images[0].get_clim() == (0, 1)
    # Where a channel has no power there is no coherence, and no scale of decibel for it.
    bands[:12, :, 0] = bands[:12, :, 2:] = 0
    figures = polsar_pictures.figures(dual)
    assert not pixels(figures["coherence"])[4:12].any()
    limits = maps(figures["c11"])[0].images[0].get_clim()
    seen = 10 * np.log10(bands[12:, :, 0])
    np.testing.assert_allclose(limits, np.percentile(seen, (2, 98)), atol=1e-3)


def test_a_scale_reaches_40_decibel_at_most_and_is_never_empty(found: Survey) -> None:
    draw = polsar_pictures._Map(found)
    values = np.full((ROWS, COLUMNS), -90.0, np.float32)
    values[12:] = 5.0
    assert draw._range(values) == (-35.0, 5.0)
    low, high = draw._range(np.full((ROWS, COLUMNS), 3.0, np.float32))
    assert (low, high) == (3.0, pytest.approx(3.001))


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.parametrize("name", ["polsar_sf_airsar/T3", "sar_complex_spacenet6"])
def test_real_scenes_are_drawn(name: str) -> None:
    if not (DATA / name).is_dir():
        pytest.skip(f"{DATA / name} is absent: the real sets lie beside the checkout")
    found = polsar_pictures.survey(str(DATA / name), make_console())
    assert found.nodata == found.bad == 0
    assert set(polsar_pictures.figures(found)) == PRODUCTS
