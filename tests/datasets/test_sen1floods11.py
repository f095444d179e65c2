"""The real flood chips: what a chip without data or without labels does to training, nothing."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.places import CONFIGS, SHARED
from fixtures.small_network import Small

from jaxseg import config as configs
from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.physics import sar, sar_filters
from jaxseg.run import completion, fitting, step
from jaxseg.scenes.scene import IGNORE, Sample, Window
from jaxseg.sharding import MeshShape
from jaxseg.transforms.radiometry import Standardize

pytestmark = pytest.mark.real_data

CHIPS = SHARED / "data" / "sar_sen1floods11"
SIDE = 64


@pytest.fixture(scope="module")
def config() -> Config:
    """The shipped config on the chips beside the checkout, small."""
    if not CHIPS.is_dir():
        pytest.skip(f"{CHIPS} is absent: the real sets lie beside the checkout")
    shipped = configs.load_config(str(CONFIGS / "sen1floods11.py"))
    flags = ["--config.data.source.images", str(CHIPS / "S1")]
    flags += ["--config.data.source.masks", str(CHIPS / "labels")]
    flags += ["--config.data.crop", str(SIDE), "--config.data.batch-size", "2"]
    given = configs.override(shipped, flags, "test")
    return dataclasses.replace(given, model=Small(2), mesh=MeshShape(data=1))


MIDDLE = Window(224, 224, SIDE, SIDE)


def chip(config: Config, name: str, window: Window = MIDDLE) -> Sample:
    """A window of a chip."""
    for split in ("train", "validation", "test"):
        scenes = config.data.source.scenes(split)
        for index in range(len(scenes)):
            if name in scenes.name(index):
                return scenes.read(index, window)
    raise AssertionError(name)


@pytest.fixture(scope="module")
def trained(config: Config) -> Any:
    """Completed config, a state, the compiled step."""
    completed = completion.completed(config)
    one = jax.devices()[:1]
    mesh = jax.sharding.Mesh(np.reshape(one, (1, 1, 1)), ("data", "fsdp", "space"))
    state = step.init_state(completed, 2, mesh)
    update = jax.jit(step.make_train_step(completed, mesh))
    return mesh, state, update


def test_the_chip_without_data_is_named_and_left_out_of_the_statistics(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    (found,) = fitting.fitted((Standardize(),), config.data)
    assert isinstance(found, Standardize)
    mean, std = found.mean, found.std
    assert "Paraguay_34417_S1Hand.tif: they are left out" in capsys.readouterr().err
    assert np.isfinite(mean).all()
    assert np.isfinite(std).all()
    assert -25 < mean[1] < mean[0] < -5  # dB, VH below VV


@pytest.mark.parametrize("kind", ["no data", "no labels", "no data beside data"])
def test_chips_that_teach_nothing_neither_stop_nor_poison_a_step(
    config: Config, trained: Any, kind: str
) -> None:
    mesh, state, update = trained
    blank, good = chip(config, "Paraguay_34417"), chip(config, "Spain_7370579")
    assert not blank["valid"].any()
    assert np.isnan(blank["image"]).all()
    assert (blank["label"] != IGNORE).any()  # its mask has classes all the same
    unlabelled = good | {"label": np.full_like(good["label"], IGNORE)}
    pair = {
        "no data": (blank, blank),
        "no labels": (unlabelled, unlabelled),
        "no data beside data": (blank, good),
    }[kind]
    batch = {name: np.stack([sample[name] for sample in pair]) for name in good}
    new, metrics = update(state, sharding.place_batch(mesh, batch))
    for leaf in jax.tree.leaves((new.params, new.batch_stats, new.opt_state)):
        assert np.isfinite(leaf).all()
    assert np.isfinite(float(metrics["grad_norm"]))
    counted = int(metrics["confusion"].sum())
    if kind == "no data beside data":
        assert counted == int((good["valid"] & (good["label"] != IGNORE)).sum())
        assert float(metrics["grad_norm"]) > 0
    else:
        assert counted == 0
        assert float(metrics["loss"]) == 0
        assert float(metrics["grad_norm"]) == 0


def test_the_looks_of_a_chip_are_near_the_four_and_a_half_of_the_product(config: Config) -> None:
    whole = chip(config, "Spain_7370579", Window(0, 0, 512, 512))["image"]
    looks = np.asarray(sar_filters.equivalent_looks(sar.decibel_to_intensity(jnp.asarray(whole))))
    assert (looks > 3.5).all()
    assert (looks < 6).all()
