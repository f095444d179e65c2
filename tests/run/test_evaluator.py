"""An evaluation counts alike on every mesh, with and without the further looks."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxseg import config as configs
from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.metrics.boundaries import Tolerance
from jaxseg.run import completion, step
from jaxseg.run.evaluator import Evaluator
from jaxseg.scenes.agreement import (
    BandOrderError,
    MissingBandError,
    ScaleError,
    SensorError,
    UnitError,
)
from jaxseg.sharding import MeshShape
from jaxseg.transforms.radiometry import Standardize


def standardized(tiny: Path) -> Config:
    standardize = Standardize((80.0, 90.0, 80.0), (40.0, 30.0, 50.0))
    config = configs.load_config(str(tiny / "config.py"))
    return dataclasses.replace(config, preprocess=(standardize,))


@pytest.mark.slow
def test_a_split_counts_alike_on_one_device_and_on_eight(tiny: Path) -> None:
    config = standardized(tiny)
    found = []
    for shape, devices in ((MeshShape(), 1), (MeshShape(data=2, fsdp=2, space=2), 8)):
        mesh = sharding.make_mesh(shape, jax.devices()[:devices])
        state = step.init_state(config, 3, mesh)
        evaluator = Evaluator(config, mesh, "test", confidence=True)
        temperature = evaluator.calibration(state).best_temperature()
        tolerances = Tolerance(2.0), Tolerance(0.02, "diagonal")
        found.append((temperature, *evaluator.with_shapes(state, 1.5, *tolerances)))
    (t, one, confidence, borders, objects), (t8, eight, confidence8, borders8, objects8) = found
    moved = np.abs(eight.confusion - one.confusion).sum()
    assert moved <= 4  # rounding may turn a pixel
    assert one.confusion.sum() == eight.confusion.sum() == 2 * 48 * 72
    assert one.margins.shape == (4, 3, 3)
    np.testing.assert_allclose(t8, t, rtol=1e-3)
    for a, b in zip(confidence.reliability(), confidence8.reliability(), strict=True):
        assert a.pixels[0].sum() == one.confusion.sum()
        np.testing.assert_allclose(a.ece(), b.ece(), atol=1e-3)
        np.testing.assert_allclose(a.nll, b.nll, rtol=1e-5)
    np.testing.assert_array_equal(objects.true, objects8.true)
    if moved == 0:
        np.testing.assert_array_equal(borders.counts, borders8.counts)
        np.testing.assert_array_equal(objects.matched, objects8.matched)

    # A validation during training measures no confidence and counts the same.
    mesh = sharding.make_mesh(MeshShape(), jax.devices()[:1])
    plain = Evaluator(config, mesh, "test")(step.init_state(config, 3, mesh))
    np.testing.assert_array_equal(plain.margins, one.margins)
    np.testing.assert_array_equal(plain.confusion, one.confusion)
    np.testing.assert_array_equal(plain.margins[:, 1].sum(0), plain.confusion.sum(1))
    right = plain.margins[:, 0].sum(1) / plain.margins[:, 1].sum(1)
    np.testing.assert_array_equal(plain.accuracy, right)
    assert plain.ranked() == np.argsort(right, kind="stable").tolist()


@pytest.mark.parametrize(
    ("fault", "error", "fix"),
    [
        ({"band_numbers": (3, 2, 1)}, BandOrderError, "band-numbers 1 2 3$"),  # of the files
        ({"band_numbers": (1, 2)}, MissingBandError, "has no band blue"),
        ({"multiply": 1 / 255}, ScaleError, "multiply 1$"),  # in all
        ({"unit": "decibel"}, UnitError, "is in decibel"),
    ],
)
def test_images_that_are_not_what_was_trained_on_are_refused_before_anything_is_computed(
    tiny: Path, fault: dict[str, object], error: type[SensorError], fix: str
) -> None:
    config = standardized(tiny)
    source = dataclasses.replace(config.data.source, unit="digital number")  # type: ignore[type-var]
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, source=source))
    config = completion.completed(config)
    assert config.sensor.bands == ("red", "green", "blue")
    mesh = sharding.make_mesh(MeshShape(), jax.devices()[:1])
    assert Evaluator(config, mesh, "test")
    other = dataclasses.replace(config.data.source, **fault)  # type: ignore[type-var]
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, source=other))
    with pytest.raises(error, match=fix):
        Evaluator(config, mesh, "test")
