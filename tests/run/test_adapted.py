"""Statistics measured again, histograms matched; a training with domains, stored and resumed."""

import dataclasses
from pathlib import Path
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures import painted
from fixtures.networks import drawn, shapes
from fixtures.small_network import Small

from jaxseg.config import Config
from jaxseg.config_text.stored import from_json, to_json
from jaxseg.datasets import Domains, Landscape, Styled
from jaxseg.errors import UserError
from jaxseg.models import DomainPrompted
from jaxseg.models.parts.complex_layers import ComplexBatchNorm
from jaxseg.models.parts.layers import BatchNorm
from jaxseg.models.parts.normalisation import Normalisation
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline.windows import Data
from jaxseg.run import adapted, training
from jaxseg.run.loaded import Run
from jaxseg.scenes.scene import Window
from jaxseg.scenes.sensor import Sensor
from jaxseg.transforms import DomainBand, HistogramMatching, Standardize


class First(nn.Module):
    """Normalisation first; then a small network with dropout, which evaluation does not apply."""

    num_classes: int

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        """(B, H, W, C) -> (B, H, W, K)."""
        x = BatchNorm(use_running_average=not train, name="norm0")(image)
        x = nn.Dropout(0.5, deterministic=not train)(x)
        return Small(self.num_classes, name="rest")(x, train=train)


class Complex(nn.Module):
    """A complex number for each pixel, normalised, after and before a real normalisation."""

    num_classes: int

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        """(B, H, W, 2) -> (B, H, W, K)."""
        x = BatchNorm(use_running_average=not train, name="norm0")(image)
        x = ComplexBatchNorm(use_running_average=not train, name="norm1")(x + x[..., ::-1] ** 2)
        return Small(self.num_classes, name="rest")(x, train=train)


RNG = np.random.default_rng(0)
IMAGE = RNG.normal(50, 20, (4, 24, 16, 2)).astype(np.float32)
GAIN, SHIFT = np.float32([3.0, 0.5]), np.float32([100.0, -30.0])
SENSOR = Sensor(("x", "y"))


def run_of(model: nn.Module, *steps: Any, **changes: Any) -> Run:
    known = (*steps, Standardize((50.0, 50.0), (20.0, 20.0)))
    source = Landscape()
    config = Config(model=model, data=Data(source), preprocess=known, sensor=SENSOR, **changes)
    variables = jax.tree.map(jnp.asarray, drawn(shapes(model, bands=2)))
    return Run(config, 1, variables, 1.0)


def test_a_shifted_copy_has_the_logits_of_the_original_after_its_statistics_are_measured() -> None:
    original = run_of(First(3)).adapted(IMAGE)
    shifted = GAIN * IMAGE + SHIFT
    expected = original.logits(IMAGE)
    assert np.abs(original.logits(shifted) - expected).max() > 0.5
    np.testing.assert_allclose(original.adapted(shifted).logits(shifted), expected, atol=2e-3)


def test_measured_in_batches_is_measured_at_once() -> None:
    run = run_of(First(3))
    valid = np.ones(IMAGE.shape[:3], bool)
    batches = [{"image": IMAGE[:3], "valid": valid[:3]}, {"image": IMAGE[3:], "valid": valid[3:]}]
    batches.append({"image": IMAGE * np.nan, "valid": ~valid})  # changes nothing
    found = adapted.with_statistics(run.config, run.variables, batches)["batch_stats"]["norm0"]
    standard = (IMAGE - 50) / 20
    np.testing.assert_allclose(found["mean"], standard.mean((0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(found["var"], standard.var((0, 1, 2)), rtol=1e-5)


def test_parameters_stay_and_so_do_all_that_was_measured_twice() -> None:
    run = run_of(Complex(3))
    once = run.adapted(IMAGE)
    chex.assert_trees_all_equal(once.variables["params"], run.variables["params"])
    before, after = run.variables["batch_stats"], once.variables["batch_stats"]
    assert all(
        np.abs(a - b).max() > 0
        for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    )
    halves = [{"image": part, "valid": np.ones(part.shape[:3], bool)} for part in (IMAGE, IMAGE)]
    twice = adapted.with_statistics(run.config, run.variables, halves)
    chex.assert_trees_all_close(twice["batch_stats"], after, rtol=1e-4, atol=1e-5)


def test_without_running_statistics_or_data_nothing_is_measured() -> None:
    run = run_of(First(3))
    none = dataclasses.replace(run, variables={"params": run.variables["params"]})
    with pytest.raises(UserError, match="no running statistics"):
        none.adapted(IMAGE)
    with pytest.raises(UserError, match="nothing to measure"):
        run.adapted(IMAGE, np.zeros(IMAGE.shape[:3], bool))


def test_a_matched_run_sees_a_shifted_copy_as_the_original() -> None:
    valid = np.ones(IMAGE.shape[:3], bool)
    step = HistogramMatching().fit(zip(IMAGE, valid, strict=True))
    run = run_of(First(3), step)
    shifted = GAIN * IMAGE + SHIFT
    np.testing.assert_allclose(run.matched(shifted).logits(shifted), run.logits(IMAGE), atol=1e-2)
    with pytest.raises(UserError, match="has no HistogramMatching"):
        run_of(First(3)).matched(shifted)


def test_windows_lie_within_scenes_that_are_larger_than_they_are() -> None:
    config = painted.config()  # scenes of 20 x 12 and 9 x 16 pixels, windows of 8 x 8
    scenes = config.data.source.scenes("test")
    found = [image for image, _ in adapted.windows_of(config, scenes)]
    read = [found[number] for number in range(6 + 4)]
    whole = [scenes.read(number, Window(0, 0, *scenes.size(number)))["image"] for number in (0, 1)]
    places = [(0, y, x) for y in (0, 8, 12) for x in (0, 4)]
    places += [(1, y, x) for y in (0, 1) for x in (0, 8)]
    for image, (scene, y, x) in zip(read, places, strict=True):
        np.testing.assert_array_equal(image, whole[scene][y : y + 8, x : x + 8])
    few = adapted.batches_of(config, scenes, at_most=4)
    some = [image for batch in few for image in batch["image"]][:4]
    for image, number in zip(some, (0, 3, 6, 9), strict=True):
        np.testing.assert_array_equal(image, read[number])


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Two domains of one countryside, a network that is told which, and a step for matching."""
    land = Landscape(tiles=(2, 1, 1), data_dir=str(tmp_path_factory.mktemp("landscape")))
    hazy = Styled(land, gain=(0.8,) * 4, offset=(300.0, 200.0, 100.0, 0.0), wilted=0.3)
    return Config(
        model=DomainPrompted(10, network=Small(0), domains=2, prompt=4),
        data=Data(Domains((land, hazy)), crop=32, batch_size=8, evaluation_crop=256),
        preprocess=(HistogramMatching(), Standardize()),
        augment=(DomainBand(),),
        optimizer=Optimizer(learning_rate=1e-2, schedule="constant"),
        num_steps=4,
        save_every=2,
    )


def test_the_config_survives_its_text(config: Config) -> None:
    assert from_json(to_json(config), (Small,)) == config


@pytest.mark.slow
def test_a_training_with_domains_goes_on_as_if_it_had_not_stopped(
    config: Config, tmp_path: Path
) -> None:
    whole = training.train(config, tmp_path / "whole")
    training.train(dataclasses.replace(config, num_steps=2), tmp_path / "parts", code=(Small,))
    parts = training.train(config, tmp_path / "parts", code=(Small,))
    chex.assert_trees_all_equal(parts.params, whole.params)
    moved = np.abs(whole.params["prompts"] - drawn_prompts(config)).max(1)
    assert (moved > 0).all()


def drawn_prompts(config: Config) -> np.ndarray:
    key = jax.random.key(config.seed, impl="rbg")
    image = jnp.zeros((1, 32, 32, 4))
    found = config.model.init({"params": key, "dropout": key}, image, train=False)
    return np.asarray(found["params"]["prompts"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": DomainPrompted(10, network=Small(0), domains=3)}, "3 domains, and the source 2"),
        ({"augment": ()}, r"give DomainBand\(\)"),
    ],
)
def test_prompts_without_their_domains_are_refused(
    config: Config, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        training.train(dataclasses.replace(config, **changes), tmp_path)


def test_a_source_without_domains_is_refused(config: Config, tmp_path: Path) -> None:
    source = Landscape(tiles=(2, 1, 1), data_dir=config.data.source.sources[0].data_dir)
    plain = dataclasses.replace(config, data=dataclasses.replace(config.data, source=source))
    with pytest.raises(UserError, match="2 domains, and the source no domains"):
        training.train(plain, tmp_path)
    with pytest.raises(UserError, match="training windows have no domain"):
        training.train(dataclasses.replace(plain, model=Small(10)), tmp_path)


def test_groups_of_channels_have_nothing_to_measure(config: Config) -> None:
    grouped = dataclasses.replace(config, norm=Normalisation("group"))
    with pytest.raises(UserError, match="kind group has no running statistics"):
        adapted.with_statistics(grouped, {"params": {}}, [])
