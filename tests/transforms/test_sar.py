"""Radar radiometry and raw augmentation inside the step."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import config as configs
from jaxseg import sharding
from jaxseg.errors import UserError
from jaxseg.physics import sar, sar_filters
from jaxseg.run import step
from jaxseg.transforms.radiometry import LogIntensity
from jaxseg.transforms.sar import FromAmplitude, FromDecibel, Lee, RatioBand, RefinedLee, Speckle
from jaxseg.transforms.transform import preprocess


def power(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).gamma(4, 0.25, shape), jnp.float32)


@pytest.mark.parametrize("filtering", [Lee(looks=4), RefinedLee(looks=4)], ids=repr)
def test_filters_see_nothing_of_invalid_pixels(filtering: Any) -> None:
    image = power(1, 16, 16, 2)
    valid = jnp.ones((1, 16, 16), bool).at[0, 4:8, 5:9].set(False)
    steps = (filtering, LogIntensity())
    nodata = preprocess(jnp.where(valid[..., None], image, -9999.0), valid, steps)
    unknown = preprocess(jnp.where(valid[..., None], image, jnp.nan), valid, steps)
    np.testing.assert_array_equal(nodata, unknown)
    assert np.isfinite(nodata).all()
    assert (np.asarray(nodata)[~np.asarray(valid)] == 0).all()
    # Holes filled with zeros would pull their neighbours down.
    dark = preprocess(jnp.where(valid[..., None], image, 0), valid | True, steps)
    assert float(jnp.abs(dark - nodata)[0, 3, 5:9].max()) > 0.1


@pytest.mark.parametrize("filtering", [Lee(looks=4), RefinedLee(looks=4)], ids=repr)
def test_filters_see_across_the_cuts_of_a_sharded_image(
    filtering: Any, mesh: jax.sharding.Mesh
) -> None:
    image, valid = power(4, 16, 12, 2), jnp.ones((4, 16, 12), bool).at[:, 7].set(False)

    def apply(image: jax.Array, valid: jax.Array) -> jax.Array:
        return preprocess(image, valid, (filtering, LogIntensity()))

    placed = jax.device_put((image, valid), sharding.batch_sharding(mesh))
    found = jax.jit(apply)(*placed)
    assert not found.sharding.is_fully_replicated
    np.testing.assert_allclose(found, jax.jit(apply)(image, valid), atol=1e-4)


def test_decibel_files_are_filtered_as_power() -> None:
    image = power(1, 12, 12, 2)
    steps = (FromDecibel(), Lee(looks=4), LogIntensity())
    valid = jnp.ones((1, 12, 12), bool)
    found = preprocess(10 * jnp.log10(image), valid, steps)
    expected = 10 * np.log10(np.asarray(sar_filters.lee(image, looks=4)))
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_amplitude_becomes_power() -> None:
    np.testing.assert_allclose(FromAmplitude()(jnp.full((1, 1, 1, 1), 3.0)), 9)


def test_the_ratio_is_one_more_band_in_either_unit() -> None:
    image = power(1, 4, 4, 3)
    linear = RatioBand(numerator=3, denominator=1)(image)
    np.testing.assert_allclose(linear[..., :3], image)
    np.testing.assert_allclose(linear[..., 3], image[..., 2] / image[..., 0], rtol=1e-5)
    db = 10 * jnp.log10(image)
    difference = RatioBand(numerator=3, denominator=1, decibel=True)(db)[..., 3]
    np.testing.assert_allclose(difference, 10 * jnp.log10(linear[..., 3]), atol=1e-4)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match=r"bands 1 and 2 for images of 1 band\(s\)"):
        RatioBand()(jnp.ones((1, 4, 4, 1)))
    with pytest.raises(UserError, match=r"Speckle\.looks is 0: it must be above 0"):
        Speckle(looks=0)
    with pytest.raises(UserError, match=r"RefinedLee\.looks is -1"):
        RefinedLee(looks=-1)
    with pytest.raises(UserError, match=r"Lee\.size is 4: it must be 3 or more and odd"):
        Lee(looks=4, size=4)


def noting(bands: list[int]) -> Any:
    """An augmentation that notes how many bands it sees and changes nothing."""

    def note(_: jax.Array, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        bands.append(batch["image"].shape[-1])
        return batch

    return note


def test_raw_augmentation_comes_before_the_radiometry_and_not_into_evaluation(tiny: Path) -> None:
    config = configs.load_config(str(tiny / "config.py"))
    raw: list[int] = []
    late: list[int] = []
    config = dataclasses.replace(
        config,
        augment_raw=(noting(raw),),
        augment=(noting(late),),
        loss={"ce": config.loss["ce"]},
        preprocess=(RatioBand(), LogIntensity()),
    )
    mesh = sharding.make_mesh(config.mesh)
    pixels = (config.data.batch_size, 32, 32)
    given = {
        "image": jax.ShapeDtypeStruct((*pixels, 2), jnp.float32),
        "label": jax.ShapeDtypeStruct(pixels, jnp.uint8),
        "valid": jax.ShapeDtypeStruct(pixels, jnp.bool),
    }
    state = step.abstract_state(config, 2, mesh)
    jax.eval_shape(step.make_train_step(config, mesh), state, given)
    assert (raw, late) == ([2], [3])
    jax.eval_shape(step.make_eval_step(config, mesh), step.inference_variables(state), given)
    assert (raw, late) == ([2], [3])


def test_speckle_in_decibels_changes_decibels_by_its_moments() -> None:
    image = jnp.full((4, 64, 64, 2), -12.0)
    given = {"image": image, "valid": jnp.ones((4, 64, 64), bool)}
    found = Speckle(looks=4, unit="decibel")(jax.random.key(1), given)["image"] - image
    assert float(found.mean()) == pytest.approx(10 / np.log(10) * (1.25612 - np.log(4)), abs=0.06)
    assert float(found.std()) == pytest.approx(10 / np.log(10) * np.sqrt(0.28382), rel=0.03)


def test_filters_have_the_looks_and_the_window_they_are_asked_for() -> None:
    image = power(1, 12, 12, 2)
    for looks, size in ((4.0, 3), (4.0, 5), (1.0, 3)):
        expected = sar_filters.lee(image, looks=looks, size=size)
        np.testing.assert_array_equal(Lee(looks, size=size)(image), expected)
        expected = sar_filters.refined_lee(image, looks=looks)
        np.testing.assert_array_equal(RefinedLee(looks)(image), expected)
    assert not np.allclose(Lee(4.0, size=3)(image), Lee(4.0, size=5)(image))
    assert not np.allclose(Lee(4.0, size=3)(image), Lee(1.0, size=3)(image))


def test_a_ratio_of_powers_is_that_above_its_floor_and_of_decibels_has_none() -> None:
    image = jnp.asarray([0.2, 0.001]).reshape(1, 1, 1, 2)
    assert float(RatioBand(floor=0.01)(image)[..., 2].item()) == pytest.approx(20)
    assert float(RatioBand(floor=0.01, decibel=True)(-100 * image)[..., 2].item()) == (
        pytest.approx(-19.9)
    )


@pytest.mark.parametrize(("one", "other"), [(0, 1), (1, 0), (4, 1), (1, 4)])
def test_a_ratio_of_bands_that_do_not_exist_is_refused(one: int, other: int) -> None:
    with pytest.raises(UserError, match=rf"bands {one} and {other} for images of 3 band\(s\)"):
        RatioBand(one, other)(jnp.ones((1, 4, 4, 3)))


def test_further_speckle_is_that_of_the_sensor_in_the_unit_that_is_said() -> None:
    batch = {"image": power(1, 4, 4, 2), "label": jnp.zeros((1, 4, 4), jnp.uint8)}
    for speckle, unit in (
        (Speckle(3.0), "intensity"),
        (Speckle(3.0, "amplitude"), "amplitude"),
        (Speckle(5.0, "decibel"), "decibel"),
    ):
        found = speckle(jax.random.key(2), batch)
        assert found["label"] is batch["label"]
        expected = sar.with_speckle(jax.random.key(2), batch["image"], speckle.looks, unit)  # type: ignore[arg-type]
        np.testing.assert_array_equal(found["image"], expected)


@pytest.mark.parametrize("looks", [0.0, -1.0, float("nan")])
def test_looks_of_nothing_are_refused(looks: float) -> None:
    for kind in (Lee, RefinedLee, Speckle):
        with pytest.raises(UserError, match=rf"{kind.__name__}\.looks is {looks}: .* above 0"):
            kind(looks)
