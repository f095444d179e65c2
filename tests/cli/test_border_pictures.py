"""The picture shows the weights that the loss uses."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures.array_source import ArraySource, arrays
from matplotlib.figure import Figure

from jaxseg import config as configs
from jaxseg.cli import border_pictures
from jaxseg.cli import main as cli
from jaxseg.cli.border_pictures import border_figure
from jaxseg.config import Config
from jaxseg.errors import UserError
from jaxseg.losses.border_weights import border_weight_map
from jaxseg.losses.pixels import CrossEntropy, EdgeWeightedCrossEntropy
from jaxseg.run import completion
from jaxseg.scenes.scene import IGNORE, Window


def test_the_last_panel_holds_the_weights_of_the_loss(tiny: Path) -> None:
    config = configs.load_config(str(tiny / "config.py"))
    loss = EdgeWeightedCrossEntropy(class_weights=(1.0, 2.0, 3.0), w0=6.0, sigma=3.0)
    figure = border_figure(dataclasses.replace(config, loss={"edge": loss}), "test", 1)
    panels = [axes for axes in figure.axes if axes.images]
    drawn = np.asarray(panels[2].images[-1].get_array())
    sample = config.data.source.scenes("test").read(0, Window(0, 12, 48, 48))
    whole = config.data.source.scenes("test").read(0, Window(0, 0, 48, 72))
    expected = border_weight_map(
        whole["instance"].astype(np.int32),
        whole["label"].astype(np.uint8),
        class_weights=loss.class_weights,
        w0=6.0,
        sigma=3.0,
    )[:, 12:60]
    np.testing.assert_allclose(drawn, expected, atol=1e-4)
    assert panels[0].images[0].get_array().shape == (*sample["label"].shape, 3)
    assert "6 exp(-(d1 + d2)² / (2 · 3²))" in figure.get_suptitle()


def test_class_weights_have_to_fit(tiny: Path) -> None:
    config = configs.load_config(str(tiny / "config.py"))
    loss = {"edge": EdgeWeightedCrossEntropy(class_weights=(1.0, 2.0))}
    with pytest.raises(UserError, match="2 class weights for 3 classes"):
        border_figure(dataclasses.replace(config, loss=loss), "test", 1)


def test_a_rule_of_class_weights_is_drawn_as_its_numbers(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    config = configs.load_config(str(tiny / "config.py"))
    loss = EdgeWeightedCrossEntropy(class_weights="inverse_frequency", w0=0.0)
    ruled = dataclasses.replace(config, loss={"edge": loss})
    figure = border_figure(ruled, "test", 1)
    drawn = np.unique(np.asarray(figure.axes[2].images[-1].get_array()))
    numbers = completion.completed(ruled).loss["edge"].class_weights
    np.testing.assert_allclose(drawn, np.unique(np.float32(numbers)), rtol=1e-5)


# On arrays: which pixels are shown, and what weighs nothing.

H, W = 12, 20


def of_arrays(tiny: Path, count: int = 1, **fields: Any) -> Config:
    """Scenes of one square on ground, in windows of 8 x 8 pixels."""
    label = np.zeros((H, W), np.uint8)
    label[4:8, 8:12] = 2
    label[3, 7] = IGNORE
    scenes = tuple(arrays(label, seed=seed) for seed in range(count))
    for scene in scenes:
        scene["valid"][:] = True
        scene["valid"][9, 9] = False
    loaded = configs.load_config(str(tiny / "config.py"))
    source = ArraySource(scenes, names=tuple(f"scene{number}" for number in range(count)))
    usual: dict[str, Any] = {"source": source, "crop": 6, "evaluation_crop": 8}
    data = dataclasses.replace(loaded.data, **usual | fields)
    loss = EdgeWeightedCrossEntropy(class_weights=(1.0, 2.0, 3.0), w0=4.0, sigma=2.0)
    return dataclasses.replace(loaded, data=data, loss={"edge": loss})


def panels(figure: Figure) -> list[Any]:
    return [axes for axes in figure.axes if len(axes.images)]


def weights(figure: Figure) -> Any:
    return np.ma.filled(panels(figure)[2].images[-1].get_array(), np.nan)


def test_the_middle_of_a_scene_is_shown_in_windows_of_evaluation_or_else_of_training(
    tiny: Path,
) -> None:
    figure = border_figure(of_arrays(tiny), "test", 1)
    assert weights(figure).shape == (8, 8)
    assert panels(figure)[0].get_xlabel() == "scene0, row 2, column 6"
    figure = border_figure(of_arrays(tiny, evaluation_crop=0), "test", 1)
    assert weights(figure).shape == (6, 6)
    assert panels(figure)[0].get_xlabel() == "scene0, row 3, column 7"
    figure = border_figure(of_arrays(tiny, evaluation_crop=16), "test", 1)
    assert weights(figure).shape == (12, 16)  # no more rows than there are


def test_pixels_that_do_not_count_have_no_weight_and_others_their_class_and_border(
    tiny: Path,
) -> None:
    shown = weights(border_figure(of_arrays(tiny), "test", 1))
    missing = np.zeros((8, 8), bool)
    missing[1, 1] = missing[7, 3] = True  # without label, without data
    np.testing.assert_array_equal(np.isnan(shown), missing)
    # One object alone has no second one near, so no border's weight.
    assert shown[3, 3] == pytest.approx(3.0)
    assert shown[0, 0] == pytest.approx(1.0)


def test_scenes_are_spread_over_the_split_and_none_is_shown_twice(tiny: Path) -> None:
    figure = border_figure(of_arrays(tiny, count=5), "train", 3)
    names = [axes.get_xlabel().split(",")[0] for axes in panels(figure)[::3]]
    assert names[:3] == ["scene0", "scene2", "scene4"]
    figure = border_figure(of_arrays(tiny, count=2), "train", 9)
    assert len([axes for axes in figure.axes if axes.get_xlabel()]) == 2
    with pytest.raises(UserError, match="split train holds no scene"):
        border_figure(of_arrays(tiny, count=0), "train", 3)


def test_colours_stand_for_classes_and_weights_up_to_the_largest(tiny: Path) -> None:
    config = of_arrays(tiny)
    figure = border_figure(config, "validation", 1)
    image, classes, over = panels(figure)[:3]
    assert [axes.get_title() for axes in (image, classes, over)] == [
        "image",
        "classes",
        "weight of the pixel over the image",
    ]
    drawn = np.asarray(classes.images[0].get_array())
    assert drawn[0, 0].tolist() == list(config.data.source.colors[0])
    assert drawn[3, 3].tolist() == list(config.data.source.colors[2])
    assert over.images[-1].get_clim() == (0, 3 + 4)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["a", "c"]  # those that are there
    assert figure.get_suptitle().endswith("validation split")
    opacity = np.asarray(over.images[-1].get_alpha())
    assert opacity[1, 1] == 0
    assert opacity[3, 3] == pytest.approx(2.5 * (3 - 1) / 7)


def test_a_config_without_such_a_loss_is_drawn_with_the_papers(tiny: Path) -> None:
    config = dataclasses.replace(of_arrays(tiny), loss={"ce": CrossEntropy()})
    figure = border_figure(config, "test", 1)
    assert "10 exp(-(d1 + d2)² / (2 · 5²))" in figure.get_suptitle()


def test_the_command_draws_the_windows_and_the_split_that_are_asked_for(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, str, int]] = []

    def drawn(config: Config, split: str, count: int) -> Figure:
        asked.append((config.data.crop, split, count))
        return Figure()

    monkeypatch.setattr(border_pictures, "border_figure", drawn)
    monkeypatch.chdir(tmp_path)
    config = str(tiny / "config.py")
    cli.main(["border", config])
    flags = ["--split", "validation", "--count", "7", "--config.data.crop", "16"]
    cli.main(["border", config, "other.png", *flags])
    assert asked == [(32, "train", 4), (16, "validation", 7)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["border.png", "other.png"]
