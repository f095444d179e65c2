"""Pictures show what is there: nothing ignored looks like a class, nothing predicted is missing."""

import dataclasses

import matplotlib as mpl
import numpy as np
import pytest
from numpy.typing import NDArray

from jaxseg.pictures.tiles import (
    RIGHT,
    STRIPES,
    WRONG,
    Tile,
    _count,
    colorize,
    confusion_figure,
    error_map,
    figure_array,
    panel,
    panel_array,
    short,
    stretch,
    tiles_figure,
)
from jaxseg.scenes.scene import IGNORE

COLORS = ((10, 20, 30), (200, 0, 0), (0, 200, 0))
CLASSES = ("land", "[water]", "ice")


@pytest.fixture
def tile() -> Tile:
    """16 x 24: left half land, right half water; column 0 ignored, row 0 invalid, one error."""
    label = np.zeros((16, 24), np.uint8)
    label[:, 12:] = 1
    prediction = label.copy()
    prediction[8, 8] = 1
    label[:, 0] = IGNORE
    valid = np.ones((16, 24), bool)
    valid[0] = False
    rgb = np.full((16, 24, 3), 77, np.uint8)
    return Tile("scene 1", rgb, label, prediction, valid)


def colors_of(picture: NDArray[np.uint8]) -> set[tuple[int, ...]]:
    """The colours that occur."""
    return {tuple(color) for color in picture.reshape(-1, 3).tolist()}


def test_the_stretch_maps_the_percentiles_of_the_valid_pixels_to_black_and_white() -> None:
    rgb = np.zeros((10, 11, 3))
    rgb[:, :10] = np.arange(100).reshape(10, 10, 1) * [1.0, 100.0, -1.0]
    valid = np.ones((10, 11), bool)
    valid[:, 10] = False
    rgb[:, 10] = 1e9
    rgb[0, 0] = np.nan
    out = stretch(rgb, valid)
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(out[9, 9], [255, 255, 0])
    np.testing.assert_array_equal(out[0, 1], [0, 0, 255])
    np.testing.assert_array_equal(out[..., 0], out[..., 1])
    np.testing.assert_array_equal(out[0, 0], 0)
    np.testing.assert_array_equal(out[:, 10], 0)
    assert abs(int(out[5, 0, 0]) - 127) < 3


def test_a_constant_band_is_grey_and_an_empty_tile_black() -> None:
    assert stretch(np.full((4, 4, 3), 9.0), np.ones((4, 4), bool))[0, 0].tolist() == [128] * 3
    assert stretch(np.full((4, 4, 3), np.nan), np.ones((4, 4), bool)).max() == 0


def test_a_class_has_its_colour_and_what_is_no_class_is_black() -> None:
    picture = colorize(np.array([[0, 2, IGNORE, 3]], np.uint8), COLORS)
    assert picture[0].tolist() == [[10, 20, 30], [0, 200, 0], [0, 0, 0], [0, 0, 0]]
    assert colorize(np.array([[-1]]), COLORS)[0].tolist() == [[0, 0, 0]]


def test_the_error_map_is_grey_where_right_red_where_wrong_and_striped_where_nobody_counts(
    tile: Tile,
) -> None:
    picture = error_map(tile)
    assert tuple(picture[8, 8]) == WRONG
    assert colors_of(picture[1:, 1:]) == {RIGHT, WRONG}
    assert (picture[1:, 1:] == WRONG).all(axis=-1).sum() == 1
    assert colors_of(picture[0]) == set(STRIPES)
    assert colors_of(picture[:, 0]) == set(STRIPES)


def test_a_panel_array_is_the_four_views_side_by_side(tile: Tile) -> None:
    picture = panel_array(tile, COLORS, gap=2)
    assert picture.shape == (16, 4 * 24 + 3 * 2, 3)
    assert picture.dtype == np.uint8
    image, reference, prediction, error = (picture[:, 26 * i : 26 * i + 24] for i in range(4))
    np.testing.assert_array_equal(image, tile.rgb)
    assert colors_of(picture[:, 24:26]) == {(255, 255, 255)}
    assert tuple(reference[8, 8]) == COLORS[0]
    assert tuple(prediction[8, 8]) == COLORS[1]
    assert colors_of(reference[:, 0]) == set(STRIPES)
    assert tuple(prediction[8, 0]) == COLORS[0]  # predicted though nobody labelled it
    assert colors_of(prediction[0]) == set(STRIPES)
    np.testing.assert_array_equal(error, error_map(tile))


def legend_of(tiles: list[Tile]) -> list[str]:
    """The words of a figure's legend."""
    figure = tiles_figure(tiles, COLORS, CLASSES)
    (legend,) = (part.legends[0] for part in figure.subfigs if part.legends)
    return [text.get_text() for text in legend.get_texts()]


def test_the_legend_names_the_classes_that_occur_and_no_other(tile: Tile) -> None:
    assert legend_of([tile]) == ["land", "[water]", "right", "wrong", "not counted"]


def test_the_legend_names_a_class_that_is_only_predicted(tile: Tile) -> None:
    predicted = tile.prediction.copy()
    predicted[9, 9] = 2
    everything = dataclasses.replace(
        tile, label=predicted * 0, prediction=predicted, valid=np.ones_like(tile.valid)
    )
    assert legend_of([everything]) == ["land", "[water]", "ice", "right", "wrong"]


def test_tiles_of_several_sizes_share_a_figure_in_which_nothing_overlaps(tile: Tile) -> None:
    wide = dataclasses.replace(
        tile,
        name="a very long name of a scene " * 3,
        rgb=tile.rgb[:8],
        label=tile.label[:8],
        prediction=tile.prediction[:8],
        valid=tile.valid[:8],
    )
    figure = tiles_figure([tile, wide], COLORS, CLASSES)
    assert figure_array(figure).shape[2] == 3
    boxes = [axes.get_tightbbox() for part in figure.subfigs for axes in part.axes]
    boxes += [part._suptitle.get_tightbbox() for part in figure.subfigs if part._suptitle]
    boxes += [part.legends[0].get_tightbbox() for part in figure.subfigs if part.legends]
    assert len(boxes) == 8 + 2 + 1
    for number, box in enumerate(boxes):
        assert box is not None
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.width
        assert box.y1 <= figure.bbox.height
        for other in boxes[:number]:
            assert other is not None
            overlap = box.padded(-1.5).overlaps(other.padded(-1.5))
            assert not overlap


def test_a_tile_without_a_counted_pixel_is_drawn(tile: Tile) -> None:
    figure = panel(dataclasses.replace(tile, valid=tile.valid & False), COLORS, CLASSES)
    assert figure_array(figure).ndim == 3


def test_no_tiles_are_refused() -> None:
    with pytest.raises(ValueError, match="no tile"):
        tiles_figure([], COLORS, CLASSES)


@pytest.mark.parametrize("size", [2, 7, 30])
def test_a_confusion_chart_labels_its_axes_and_keeps_everything_inside(size: int) -> None:
    names = [f"land{k}" + "W" * (k % 3) * (size // 2) for k in range(size)]
    confusion = np.diag(np.full(size, 9_600_000)) + np.eye(size, k=1, dtype=int) * 400_000
    figure = confusion_figure(confusion, names)
    picture = figure_array(figure)
    axes, bar = figure.axes
    assert axes.get_xlabel() == "predicted class"
    assert axes.get_ylabel() == "reference class  (pixels)"
    assert bar.get_ylabel() == "share of the reference class (%)"
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        name if len(name) <= 28 else name[:27] + "…" for name in names
    ]
    for part in (axes, bar):
        box = part.get_tightbbox()
        assert box is not None
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= picture.shape[1]
        assert box.y1 <= picture.shape[0]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells[1, 0] == ("4.0" if size <= 16 else "4")  # reference 0, predicted 1
    assert cells[0, 1] == ""


def test_a_class_that_is_not_in_the_reference_has_an_empty_row_not_zeros() -> None:
    figure = confusion_figure(np.array([[3, 1], [0, 0]]), ("land", "water"))
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["75.0", "25.0", "", ""]
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert rows == ["land  (4)", "water  (0)"]


def test_drawing_leaves_the_global_state_of_matplotlib_alone(tile: Tile) -> None:
    before = dict(mpl.rcParams)
    figure_array(panel(tile, COLORS, CLASSES))
    assert dict(mpl.rcParams) == before


def test_dollars_in_names_are_dollars_and_not_mathematics(tile: Tile) -> None:
    named = dataclasses.replace(tile, name=r"s3/$bucket_{/$scene")
    figure_array(panel(named, COLORS, (r"$\broken$", "b", "c")))
    figure = confusion_figure(np.eye(2, dtype=int), (r"$\broken$", "$"))
    figure_array(figure)


def test_the_stretch_takes_each_band_between_its_own_percentiles() -> None:
    ramp = np.linspace(0, 100, 101)
    rgb = np.stack([ramp, 5 * ramp, 7 - ramp], -1)[None]
    every = np.ones((1, 101), bool)
    out = stretch(rgb, every)
    expected = np.round(255 * np.clip((ramp - 2) / 96, 0, 1))
    np.testing.assert_allclose(out[0, :, 0], expected, atol=1)
    np.testing.assert_array_equal(out[0, :, 1], out[0, :, 0])
    np.testing.assert_allclose(out[0, :, 2], 255 - expected, atol=1)
    assert stretch(rgb, every, low=0, high=50)[0, 25, 0] in (127, 128)
    # A band without a number leaves the others as they are.
    rgb[..., 1] = np.nan
    assert stretch(rgb, every)[0, 50].tolist() == [out[0, 50, 0], 0, out[0, 50, 2]]


def test_stripes_run_along_diagonals_and_grow_with_the_picture(tile: Tile) -> None:
    blank = dataclasses.replace(tile, valid=tile.valid & False)
    small = error_map(blank)
    rows, columns = np.indices(small.shape[:2])
    np.testing.assert_array_equal(small, np.array(STRIPES)[(rows + columns) // 2 % 2])
    size = (480, 300)
    label = np.zeros(size, np.uint8)
    large = error_map(Tile("", np.zeros((*size, 3), np.uint8), label, label, label > 0))
    rows, columns = np.indices(size)
    np.testing.assert_array_equal(large, np.array(STRIPES)[(rows + columns) // 10 % 2])


def test_a_tile_says_which_pixels_count(tile: Tile) -> None:
    expected = np.ones((16, 24), bool)
    expected[0], expected[:, 0] = False, False
    np.testing.assert_array_equal(tile.counted(), expected)


def test_a_row_is_titled_with_its_name_and_the_share_that_is_right(tile: Tile) -> None:
    blank = dataclasses.replace(tile, valid=tile.valid & False, name="n" * 100 + "x" * 20)
    figure = tiles_figure([tile, blank], COLORS, CLASSES)
    titles = [part._suptitle.get_text() for part in figure.subfigs if part._suptitle]
    assert titles[0] == f"scene 1   ({1 - 1 / (15 * 23):.1%} right)"
    assert titles[1] == "…" + "n" * 89 + "x" * 20 + "   (nothing right)"
    first, second = (part.axes for part in figure.subfigs[:2])
    assert [axes.get_title() for axes in first] == ["image", "reference", "prediction", "error"]
    assert {axes.get_title() for axes in second} == {""}
    np.testing.assert_array_equal(first[3].images[0].get_array(), error_map(tile))


def test_the_legend_has_the_colours_of_the_classes_and_of_right_and_wrong(tile: Tile) -> None:
    figure = tiles_figure([tile], COLORS, CLASSES)
    (legend,) = (part.legends[0] for part in figure.subfigs if part.legends)
    found = [patch.get_facecolor()[:3] for patch in legend.get_patches()]
    expected = [tuple(v / 255 for v in color) for color in (*COLORS[:2], RIGHT, WRONG, (0, 0, 0))]
    np.testing.assert_allclose(found, expected)


def test_a_prediction_beyond_the_classes_has_no_entry(tile: Tile) -> None:
    odd = dataclasses.replace(tile, prediction=np.full_like(tile.prediction, 7))
    assert legend_of([odd]) == ["land", "[water]", "right", "wrong", "not counted"]


def test_long_names_are_cut_at_their_end() -> None:
    assert short("a" * 28) == "a" * 28
    assert short("a" * 29) == "a" * 27 + "…"
    assert short("abcdef", 4) == "abc…"
    assert short("$1") == r"\$1"


@pytest.mark.parametrize(
    ("pixels", "shown"),
    [(0, "0"), (999, "999"), (1000, "1 k"), (1.5e6, "1.5 M"), (2.34e9, "2.34 G")],
)
def test_counts_are_short(pixels: float, shown: str) -> None:
    assert _count(pixels) == shown


def test_small_shares_are_a_dot_and_dark_cells_have_white_words() -> None:
    confusion = np.array([[9_996, 4], [40, 60]])
    figure = confusion_figure(confusion, ("land", "water"))
    cells = {text.get_position(): text for text in figure.axes[0].texts}
    found = {place: text.get_text() for place, text in cells.items()}
    assert found == {(0, 0): "100.0", (1, 0): "·", (0, 1): "40.0", (1, 1): "60.0"}
    colors = {place: text.get_color() for place, text in cells.items()}
    assert colors == {(0, 0): "white", (1, 0): "0.15", (0, 1): "0.15", (1, 1): "white"}
    names = [f"c{k}" for k in range(17)]
    many = np.eye(17, dtype=int) * 1000 + np.eye(17, k=1, dtype=int) * 4
    texts = {t.get_position(): t.get_text() for t in confusion_figure(many, names).axes[0].texts}
    assert texts[1, 0] == "·"
    assert texts[0, 0] == "100"
    image = figure.axes[0].images[0]
    np.testing.assert_allclose(image.get_array(), [[99.96, 0.04], [40, 60]])
    assert image.get_clim() == (0, 100)
