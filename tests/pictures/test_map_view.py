"""Maps as pictures: reduced, with a bar of round length and a legend."""

from pathlib import Path

import numpy as np
import pytest
from fixtures import stored_run
from fixtures.assessed import NAMES
from fixtures.mapped import write
from fixtures.stored_run import COLORS
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from jaxseg.errors import UserError
from jaxseg.files import raster
from jaxseg.pictures.map_sheet import map_figure
from jaxseg.pictures.map_view import BAR, read_classes, read_map, reduced, scale_bar


def test_a_map_is_reduced_while_it_is_read(tmp_path: Path) -> None:
    file = stored_run.write_map(tmp_path / "map.tif", 600, 1000)
    whole, small = read_map(file, 2000), read_map(file, 100)
    assert whole.ids.shape == (600, 1000)
    assert small.ids.shape == small.valid.shape == (60, 100)
    # Blocks of 20 pixels are two of the picture.
    np.testing.assert_array_equal(small.ids[1::2, 1::2], whole.ids[15::20, 15::20])
    assert not small.valid[:6].any()
    assert small.valid[6:].all()
    assert whole.metres == pytest.approx(10, rel=2e-3)
    assert small.metres == pytest.approx(10 * whole.metres)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(50, 80, (50, 80)), (400, 100, (100, 25)), (3, 1000, (1, 100)), (150, 101, (100, 67))],
)
def test_a_picture_has_the_shape_of_its_map(
    height: int, width: int, expected: tuple[int, int]
) -> None:
    assert reduced(height, width, 100) == expected


@pytest.mark.parametrize(
    ("metres", "width", "told"),
    [
        (10, 400, "1 km"),
        (10, 1000, "2 km"),
        (0.05, 500, "5 m"),
        (30, 1000, "5 km"),
        (0.01, 10, "0.02 m"),
    ],
)
def test_a_bar_is_a_round_number_of_metres(metres: float, width: int, told: str) -> None:
    length, said = scale_bar(metres, width)
    assert said == told
    number, unit = said.split()
    assert length * metres == pytest.approx(float(number) * {"m": 1, "km": 1000}[unit])
    assert 0.38 * BAR * width <= length <= BAR * width * 1.001


def test_what_is_no_map_of_these_classes_is_refused(tmp_path: Path) -> None:
    file = stored_run.write_map(tmp_path / "map.tif", 40, 40)
    read_classes(file, 100, NAMES)
    with pytest.raises(UserError, match="has a, b"):
        read_classes(file, 100, ("a", "b"))
    other = write(tmp_path / "a.tif", np.full((1, 30, 30), 4, np.uint8), ("a",))
    with pytest.raises(UserError, match="holds other values than 0 to 3"):
        read_classes(Path(other), 100, NAMES)
    real = write(tmp_path / "b.tif", np.zeros((1, 30, 30), np.float32), ("a",))
    with pytest.raises(UserError, match="the map itself"):
        read_classes(Path(real), 100, NAMES)
    with pytest.raises(UserError):
        read_classes(tmp_path / "none.tif", 100, NAMES)


def sheet(file: Path, *, confidence: bool = True) -> Figure:
    found = read_map(file, 100)
    scene = np.zeros((*found.ids.shape, 3), np.uint8)
    sure = np.full(found.ids.shape, 0.5) if confidence else None
    return map_figure(scene, found, sure, COLORS, NAMES, "map.tif")


def test_a_sheet_has_scene_map_confidence_legend_and_bar(tmp_path: Path) -> None:
    file = stored_run.write_map(tmp_path / "map.tif", 90, 60)
    figure = sheet(file)
    scene, shown, sure, colors = figure.axes
    assert [axes.get_title() for axes in (scene, shown, sure)] == ["scene", "map", "confidence"]
    assert colors.get_ylabel() == "probability of the class"
    assert [text.get_text() for text in scene.texts] == ["100 m"]
    assert scene.patches[0].get_width() == pytest.approx(10, rel=2e-3)  # columns of 10 m
    picture = shown.images[0].get_array()
    ids = read_map(file, 100).ids
    np.testing.assert_array_equal(picture[9:], np.asarray(COLORS)[ids[9:]])
    legend = figure.legends[0]
    present = np.unique(ids[9:])
    told = [*(NAMES[k] for k in present), "no data"]
    assert [text.get_text() for text in legend.get_texts()] == told
    fills = [handle.get_facecolor()[:3] for handle in legend.legend_handles[:-1]]
    for fill, k in zip(fills, present, strict=True):
        assert fill == pytest.approx(to_rgb([part / 255 for part in COLORS[k]]))


def test_wide_maps_lie_one_below_the_other(tmp_path: Path) -> None:
    figure = sheet(stored_run.write_map(tmp_path / "map.tif", 20, 90), confidence=False)
    first, second = (axes.get_subplotspec().rowspan.start for axes in figure.axes)
    assert (first, second) == (0, 1)


def test_a_map_without_coordinates_has_no_bar(tmp_path: Path) -> None:
    file = Path(write(tmp_path / "a.tif", np.zeros((1, 30, 30), np.uint8), ("a",), crs=None))
    assert raster.header(str(file)).crs is None
    assert not sheet(file, confidence=False).axes[0].texts
