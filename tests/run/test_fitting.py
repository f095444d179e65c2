"""Numbers that a config leaves open: found step by step on training pixels, kept with the run."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures import painted

from jaxseg import config as configs
from jaxseg import config_text
from jaxseg.config import Config
from jaxseg.errors import UserError
from jaxseg.pipeline.windows import Data
from jaxseg.run import completion, fitting
from jaxseg.scenes.scene import IGNORE, TrainingWindow, Window
from jaxseg.transforms.hyperspectral import MNF, PCA, RemoveBands
from jaxseg.transforms.radiometry import Standardize
from jaxseg.transforms.transform import Preprocess, preprocess


@pytest.fixture
def config(tiny: Path) -> Config:
    return configs.load_config(str(tiny / "config.py"))


def pixels(config: Config, steps: tuple[Preprocess, ...]) -> np.ndarray:
    """All pixels of the training split after the steps."""
    scenes = config.data.source.scenes("train")
    images = []
    for index in range(len(scenes)):
        sample = scenes.read(index, Window(0, 0, *scenes.size(index)))
        valid = jnp.asarray(sample["valid"])
        image = preprocess(jnp.asarray(sample["image"])[None], valid[None], steps)
        images.append(np.asarray(image)[0][sample["valid"]])
    return np.concatenate(images)


def test_each_step_is_fitted_to_what_the_steps_before_leave(config: Config) -> None:
    steps = (RemoveBands(bands=(2,)), PCA(components=2), Standardize())
    done = fitting.fitted(steps, config.data)
    assert isinstance(done[1], PCA)
    assert isinstance(done[2], Standardize)
    projected = pixels(config, done[:2]).astype(np.float64)
    np.testing.assert_allclose(projected.mean(0), 0, atol=1e-2)  # every window of every scene
    assert abs(np.corrcoef(projected.T)[0, 1]) < 1e-4
    np.testing.assert_allclose(done[2].std, projected.std(0), rtol=1e-3)


def test_what_is_found_survives_json_and_is_printed_by_its_length(config: Config) -> None:
    config = dataclasses.replace(config, preprocess=(Standardize(), PCA(2), MNF(2)))
    completed = completion.completed(config)
    assert config_text.from_json(config_text.to_json(completed)) == completed
    assert config_text.differences(completed, completion.completed(config)) == []
    many = dataclasses.replace(PCA(100), mean=(0.0,) * 200, matrix=(0.5,) * 20_000)
    changed = dataclasses.replace(completed, preprocess=(many,))
    lines = config_text.pretty(changed)
    assert sum(map(len, lines)) < 8000
    assert any("(0.5, 0.5, ... 20000 numbers)" in line for line in lines)
    assert max(map(len, config_text.differences(completed, changed))) < 1500


def test_a_continued_run_keeps_its_numbers(config: Config) -> None:
    steps = (Standardize(), PCA(components=2), Standardize())
    config = dataclasses.replace(config, preprocess=steps)
    completed = completion.completed(config)
    raw, fitted, last = completed.preprocess
    assert isinstance(raw, Standardize)
    assert isinstance(fitted, PCA)
    assert isinstance(last, Standardize)
    # As if another machine had computed them.
    other = dataclasses.replace(fitted, matrix=tuple(m + 1e-8 for m in fitted.matrix))
    later = dataclasses.replace(last, mean=tuple(m + 1e-8 for m in last.mean))
    stored = dataclasses.replace(completed, preprocess=(raw, other, later))
    assert completion.completed(config, stored) == stored
    # Other raw numbers are other data.
    moved = dataclasses.replace(raw, mean=tuple(m + 1 for m in raw.mean))
    changed = dataclasses.replace(completed, preprocess=(moved, other, later))
    assert completion.completed(config, changed) == stored
    # Another number of components is another run.
    wider = dataclasses.replace(config, preprocess=(Standardize(), PCA(components=3)))
    again = completion.completed(wider, stored)
    assert len(again.preprocess[1].matrix) == 9  # type: ignore[attr-defined]
    assert any("components: 2 -> 3" in line for line in config_text.differences(stored, again))


def test_a_command_line_reaches_the_steps(config: Config) -> None:
    config = dataclasses.replace(config, preprocess=(RemoveBands(), PCA(components=2)))
    flags = ["--config.preprocess.0.bands", "1", "3", "--config.preprocess.1.components", "1"]
    given = configs.override(config, flags, "test")
    assert given.preprocess == (RemoveBands(bands=(1, 3)), PCA(components=1))


def test_numbers_that_are_given_stay_as_they_are(config: Config) -> None:
    given = Standardize((1.0,) * 3, (2.0,) * 3)
    pca = fitting.fitted((PCA(components=2),), config.data)
    assert fitting.fitted((given, *pca), config.data) == (given, *pca)


class Spotted(painted.Painted):
    """Noise; where a pixel is invalid or has no label, far away numbers."""

    def scenes(self, split: str) -> painted.PaintedScenes:
        """Of the usual sizes."""
        found = super().scenes(split)
        for number, arrays in enumerate(found.arrays):
            random = np.random.default_rng(number)
            arrays["image"] = random.normal(5, 2, arrays["image"].shape).astype(np.float32)
            uncounted = ~arrays["valid"] | (arrays["label"] == IGNORE)
            assert (uncounted & arrays["valid"]).any()
            arrays["image"][uncounted] = 1e4
        return found


def test_pixels_without_data_or_label_change_nothing() -> None:
    data = Data(Spotted(), crop=8)
    steps = Standardize(), PCA(components=1)
    scaled, projected = fitting.fitted(steps, data)
    values = []
    for arrays in Spotted().scenes("train").arrays:
        values.append(arrays["image"][arrays["valid"] & (arrays["label"] != IGNORE)])
    pixels = np.concatenate(values).astype(np.float64)
    assert isinstance(scaled, Standardize)
    assert isinstance(projected, PCA)
    np.testing.assert_allclose(scaled.mean, pixels.mean(0), rtol=1e-4)
    np.testing.assert_allclose(scaled.std, pixels.std(0), rtol=1e-4)
    np.testing.assert_allclose(projected.mean, 0, atol=1e-4)  # of standardised numbers


class Blank(painted.Painted):
    """The first scene has no label, or none of them has."""

    every: bool = False

    def scenes(self, split: str) -> painted.PaintedScenes:
        """Of the usual sizes."""
        found = super().scenes(split)
        for arrays in found.arrays if self.every else found.arrays[:1]:
            arrays["label"][:] = IGNORE
        return found


def test_scenes_without_a_pixel_that_counts_are_left_out_and_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = Data(Blank(), crop=8)
    (found,) = fitting.fitted((Standardize(),), data)
    arrays = Blank().scenes("train").arrays[1]
    pixels = arrays["image"][arrays["valid"] & (arrays["label"] != IGNORE)]
    np.testing.assert_allclose(found.mean, pixels.mean(0), rtol=1e-4)  # type: ignore[attr-defined]
    said = capsys.readouterr().err
    assert "windows of 1 of 2 training scenes, the first being split 0 scene 0" in said
    fitting.fitted((Standardize(),), Data(painted.Painted(), crop=8))
    assert capsys.readouterr().err == ""
    every = type("Every", (Blank,), {"every": True})
    with pytest.raises(UserError, match=r"windows of 2 training scene\(s\), the first b"):
        fitting.fitted((Standardize(),), Data(every(), crop=8))


def test_a_scene_smaller_than_the_crop_is_refused_before_anything_is_fitted() -> None:
    with pytest.raises(UserError, match="smaller than the crop of 16"):
        fitting.fitted((Standardize(),), Data(painted.Painted(), crop=16))


@dataclasses.dataclass(frozen=True)
class Brightest:
    """A step of a user's own: image / the largest training number."""

    OPEN: ClassVar = ("largest",)
    REPEATABLE: ClassVar = False

    largest: float | None = None

    def __call__(self, image: jax.Array) -> jax.Array:
        """See the class."""
        assert self.largest is not None
        return image / self.largest

    @property
    def fitted(self) -> bool:
        """Whether the number is known."""
        return self.largest is not None

    def fit(self, windows: Iterable[TrainingWindow]) -> Self:
        """The step with the number."""
        largest = max(float(image[counted].max()) for image, counted in windows)
        return dataclasses.replace(self, largest=largest)


@dataclasses.dataclass(frozen=True)
class ExactBrightest(Brightest):
    """The same, and it says that every machine finds the same number."""

    REPEATABLE: ClassVar = True


def test_a_step_of_a_users_own_finds_its_numbers_too(config: Config) -> None:
    largest = float(pixels(config, ()).max())
    assert fitting.fitted((Brightest(),), config.data) == (Brightest(largest),)
    assert fitting.fitted((Brightest(3.0),), config.data) == (Brightest(3.0),)


@pytest.mark.parametrize("step", [Standardize(), ExactBrightest(), PCA(2), Brightest()], ids=repr)
def test_what_every_machine_finds_alike_in_raw_numbers_is_measured_again(
    config: Config, step: Any
) -> None:
    again = isinstance(step, Standardize | ExactBrightest)
    (found,) = fitting.fitted((step,), config.data)
    assert fitting.fitted((step,), config.data, (moved(found),)) == (
        found if again else moved(found),
    )
    # Behind another step images differ in their last digits from machine to machine.
    steps = (RemoveBands(bands=(3,)), step)
    first, second = fitting.fitted(steps, config.data)
    stored = (first, moved(second))
    assert fitting.fitted(steps, config.data, stored) == stored


def moved(step: Any) -> Any:
    """A fitted step with other numbers."""
    name = step.OPEN[0]
    numbers = jax.tree.map(lambda number: number + 1, getattr(step, name))
    return dataclasses.replace(step, **{name: numbers})


class Corner(painted.Painted):
    """Scenes that are labelled in their first window alone."""

    def scenes(self, split: str) -> painted.PaintedScenes:
        """Of the usual sizes."""
        found = super().scenes(split)
        for arrays in found.arrays:
            arrays["label"][8:], arrays["label"][:, 8:] = IGNORE, IGNORE
        return found


def test_a_scene_counts_that_has_labels_in_one_of_its_windows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fitting.fitted((Standardize(),), Data(Corner(), crop=8))
    assert capsys.readouterr().err == ""
