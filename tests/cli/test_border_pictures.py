"""The picture shows the weights that the loss uses."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from jaxseg import config as configs
from jaxseg.cli.border_pictures import border_figure
from jaxseg.errors import UserError
from jaxseg.losses.border_weights import border_weight_map
from jaxseg.losses.pixels import EdgeWeightedCrossEntropy
from jaxseg.run import completion
from jaxseg.scenes.scene import Window


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
