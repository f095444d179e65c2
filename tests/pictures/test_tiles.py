"""Pictures show what is there: nothing ignored looks like a class, nothing predicted is missing."""

import dataclasses

import matplotlib as mpl
import numpy as np
import pytest
from numpy.typing import NDArray

from jaxseg.pictures.marking import RED, RIGHT, wrong_color
from jaxseg.pictures.tiles import (
    STRIPES,
    Tile,
    colorize,
    error_map,
    figure_array,
    panel,
    panel_array,
    scene_figure,
    short,
    stretch,
    tiles_figure,
)
from jaxseg.scenes.scene import IGNORE

COLORS = ((10, 20, 30), (0, 80, 200), (0, 200, 0))
CLASSES = ("land", "[water]", "ice")
VIEWS = ["image", "reference", "prediction", "error"]


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


def test_the_error_map_is_grey_where_right_marked_where_wrong_and_striped_where_nobody_counts(
    tile: Tile,
) -> None:
    picture = error_map(tile, RED)
    assert tuple(picture[8, 8]) == RED
    assert colors_of(picture[1:, 1:]) == {RIGHT, RED}
    assert (picture[1:, 1:] == RED).all(axis=-1).sum() == 1
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
    np.testing.assert_array_equal(error, error_map(tile, wrong_color(COLORS)))


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


def test_drawing_leaves_the_global_state_of_matplotlib_alone(tile: Tile) -> None:
    before = dict(mpl.rcParams)
    figure_array(panel(tile, COLORS, CLASSES))
    assert dict(mpl.rcParams) == before


def test_dollars_in_names_are_dollars_and_not_mathematics(tile: Tile) -> None:
    named = dataclasses.replace(tile, name=r"s3/$bucket_{/$scene")
    figure_array(panel(named, COLORS, (r"$\broken$", "b", "c")))


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
    small = error_map(blank, RED)
    rows, columns = np.indices(small.shape[:2])
    np.testing.assert_array_equal(small, np.array(STRIPES)[(rows + columns) // 2 % 2])
    size = (480, 300)
    label = np.zeros(size, np.uint8)
    large = error_map(Tile("", np.zeros((*size, 3), np.uint8), label, label, label > 0), RED)
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
    assert titles[0] == f"scene 1   ({100 - 100 / (15 * 23):.2f} % right)"
    assert titles[1] == "…" + "n" * 74 + "x" * 20 + "   (nothing counted)"
    first, second = (part.axes for part in figure.subfigs[:2])
    assert [axes.get_title() for axes in first] == VIEWS
    assert {axes.get_title() for axes in second} == {""}
    np.testing.assert_array_equal(
        first[3].images[0].get_array(), error_map(tile, wrong_color(COLORS))
    )


def test_the_legend_has_the_colours_of_the_classes_and_of_right_and_wrong(tile: Tile) -> None:
    figure = tiles_figure([tile], COLORS, CLASSES)
    (legend,) = (part.legends[0] for part in figure.subfigs if part.legends)
    found = [patch.get_facecolor()[:3] for patch in legend.get_patches()]
    expected = [tuple(v / 255 for v in color) for color in (*COLORS[:2], RIGHT, RED, (0, 0, 0))]
    np.testing.assert_allclose(found, expected)


def test_a_prediction_beyond_the_classes_has_no_entry(tile: Tile) -> None:
    odd = dataclasses.replace(tile, prediction=np.full_like(tile.prediction, 7))
    assert legend_of([odd]) == ["land", "[water]", "right", "wrong", "not counted"]


def test_long_names_are_cut_at_their_end() -> None:
    assert short("a" * 28) == "a" * 28
    assert short("a" * 29) == "a" * 27 + "…"
    assert short("abcdef", 4) == "abc…"
    assert short("$1") == r"\$1"


LAYOUTS = {(16, 24): (2, 2), (8, 24): (4, 1), (30, 10): (1, 4)}
"""Size of a scene -> rows and columns of its four views."""


@pytest.mark.parametrize("size", LAYOUTS)
def test_a_scene_fills_a_page_whatever_its_shape(size: tuple[int, int]) -> None:
    label = np.indices(size).sum(0).astype(np.uint8) % 20
    rgb = np.zeros((*size, 3), np.uint8)
    names = [f"class {k} with a name of many words" for k in range(20)]
    colors = [(12 * k, 250 - 12 * k, 40) for k in range(20)]
    scene = Tile("a scene", rgb, label, label, label < 99, right=0.12345)
    figure = scene_figure(scene, colors, names)
    assert figure_array(figure).shape[2] == 3
    above, below = figure.subfigs
    assert above._suptitle is not None
    assert above._suptitle.get_text() == "a scene   (12.35 % right)"  # not what is shown of it
    assert [axes.get_title() for axes in above.axes] == VIEWS
    assert above.axes[0].get_gridspec().get_geometry() == LAYOUTS[size]
    boxes = [axes.get_tightbbox() for axes in above.axes] + [below.legends[0].get_tightbbox()]
    for number, box in enumerate(boxes):
        assert box is not None
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.width
        assert box.y1 <= figure.bbox.height
        assert not any(box.padded(-1.5).overlaps(b.padded(-1.5)) for b in boxes[:number] if b)
    assert len(below.legends[0].get_texts()) == 22
    wide = (boxes[0].x1 - boxes[0].x0) / figure.bbox.width  # type: ignore[union-attr]
    assert wide * LAYOUTS[size][1] > 0.75
