"""Corruptions have the statistics that their units promise, and change nothing at no strength."""

import dataclasses
import io
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxseg import config as configs
from jaxseg import config_text
from jaxseg.datasets.landscape import Landscape
from jaxseg.datasets.landscape.source import BANDS
from jaxseg.errors import UserError
from jaxseg.physics import jpeg, polsar
from jaxseg.scenes import Sensor
from jaxseg.transforms.corruptions import (
    CORRUPTIONS,
    AddedSpeckle,
    Corruptions,
    Haze,
    Jpeg,
    Misregistration,
    MissingBands,
    Resolution,
    Stripes,
    corrupted,
    corruptions_of,
)

KEY = jax.random.key(0)
OPTICAL, SAR, POLSAR = (Landscape(modality=kind).sensor for kind in ("optical", "sar", "polsar"))  # type: ignore[arg-type]


def result(kind: Any, image: Any, strength: float, sensor: Sensor, valid: Any = None) -> Any:
    image = jnp.asarray(image)
    valid = jnp.ones(image.shape[:3], bool) if valid is None else jnp.asarray(valid)
    return np.asarray(corrupted(kind, KEY, image, valid, jnp.float32(strength), sensor))


def sample(sensor: Sensor, side: int = 24) -> np.ndarray:
    random = np.random.default_rng(0)
    if sensor.unit == "coherency":
        vectors = random.normal(size=(2, side, side, 5, 3, 2)) @ np.array([1, 1j])
        matrices = np.einsum("...li,...lj->...ij", vectors, vectors.conj()) / 5
        return np.asarray(polsar.bands_of(jnp.asarray(matrices, jnp.complex64)))
    slope = 100 * np.arange(side)[:, None, None]
    noise = random.uniform(100, 1000, (2, side, side, len(sensor.bands)))
    return np.asarray(slope + noise, np.float32)


@pytest.mark.parametrize("sensor", [OPTICAL, SAR, POLSAR], ids=lambda s: s.unit)
@pytest.mark.parametrize("kind", CORRUPTIONS, ids=lambda k: k.name)
def test_no_strength_changes_no_bit_and_every_other_changes_valid_pixels_alone(
    kind: Any, sensor: Sensor
) -> None:
    if kind.refused(sensor):
        return
    image = sample(sensor)
    valid = np.ones(image.shape[:3], bool)
    valid[:, 3:6, 4:9] = False
    holed = np.where(valid[..., None], image, np.nan)
    whole = np.where(valid[..., None], image, 0)
    np.testing.assert_array_equal(result(kind, holed, kind.none, sensor, valid), whole)
    change = []
    for strength in kind.strengths(sensor):
        found = result(kind, holed, strength, sensor, valid)
        assert np.isfinite(found).all()
        assert not found[~valid].any()
        change.append(float(np.abs(found - whole).mean()))
        assert kind.meaning(strength, sensor) is not None
    assert min(change) > 0
    assert change[-1] == max(change)  # from weak to strong


def test_what_does_not_exist_for_a_sensor_says_why() -> None:
    names = {kind.name for kind in CORRUPTIONS}
    assert {kind.name for kind in corruptions_of(OPTICAL)} == names - {"speckle"}
    assert {kind.name for kind in corruptions_of(SAR)} == {"speckle", "missing", "resolution"}
    assert {kind.name for kind in corruptions_of(POLSAR)} == {"speckle", "resolution"}
    assert "radar" in Haze().refused(SAR)
    assert "typical" in Haze().refused(Sensor(("red", "green", "blue"), unit="digital number"))
    assert not Haze().refused(Sensor(("red",), unit="digital number", typical=((0, 9, 99),)))
    assert MissingBands().refused(Sensor(("grey",)))
    assert "unit" in AddedSpeckle().refused(Sensor(("VV",), polarisations=("VV",)))


@pytest.mark.parametrize("looks", [1.0, 4.0, 16.0])
def test_speckle_keeps_the_mean_and_has_the_variance_of_its_looks(looks: float) -> None:
    power = np.full((1, 256, 256, 2), 0.05, np.float32)
    found = result(AddedSpeckle(), power, looks, SAR) / 0.05
    pixels = found.size
    assert abs(found.mean() - 1) < 5 / math.sqrt(looks * pixels)
    np.testing.assert_allclose(found.var(), 1 / looks, rtol=0.05)


@pytest.mark.parametrize("unit", ["amplitude", "decibel"])
def test_speckle_is_the_same_in_every_unit(unit: Any) -> None:
    power = sample(SAR) / 4000
    other = np.sqrt(power) if unit == "amplitude" else 10 * np.log10(power)
    found = result(AddedSpeckle(), other, 4, dataclasses.replace(SAR, unit=unit))
    back = found**2 if unit == "amplitude" else 10 ** (found / 10)
    np.testing.assert_allclose(back, result(AddedSpeckle(), power, 4, SAR), rtol=1e-4)


def test_speckle_of_matrices_is_wishart() -> None:
    matrix = jnp.asarray([2.0, 1.0, 0.5, 0.6, -0.3, 0.1, 0.2, 0.0, 0.15])
    looks = 6.0
    drawn = polsar.with_speckle(KEY, jnp.broadcast_to(matrix, (60_000, 9)), looks)
    np.testing.assert_allclose(drawn.mean(0), matrix, atol=0.02)
    # E |T_ij - mean|^2 = T_ii T_jj / L
    elements = polsar.matrices(drawn) - polsar.matrices(matrix)
    spread = (jnp.abs(elements) ** 2).mean(0)
    diagonal = matrix[:3]
    np.testing.assert_allclose(spread, diagonal[:, None] * diagonal / looks, rtol=0.06)
    assert (jnp.linalg.eigvalsh(polsar.matrices(drawn)) > 0).all()


def test_haze_mixes_with_its_airlight_and_blue_loses_most() -> None:
    image = np.full((1, 4, 4, 4), 3000, np.float32)
    found = result(Haze(airlight=0.2), image, 0.5, OPTICAL)[0, 0, 0]
    passed = np.exp(-0.5 * (np.array([490, 560, 665, 842]) / 550) ** -1.3)
    np.testing.assert_allclose(found, 3000 * passed + 2000 * (1 - passed), rtol=1e-5)
    assert (np.diff(found) > 0).all()
    bright = result(Haze(), image, 50.0, OPTICAL)
    np.testing.assert_allclose(bright, 2000, rtol=1e-3)


def test_stripes_are_gains_of_columns() -> None:
    image = np.full((1, 16, 4096, 1), 500.0, np.float32)
    found = result(Stripes(), image, 5, dataclasses.replace(OPTICAL, bands=("B",)))
    np.testing.assert_array_equal(found, found[:, :1].repeat(16, 1))
    np.testing.assert_allclose(found[0, 0].std() / 500, 0.05, rtol=0.05)


def test_missing_bands_are_as_many_as_said_and_hold_no_signal() -> None:
    image = sample(OPTICAL)
    for count in (1, 2, 3):
        found = result(MissingBands(), image, count, OPTICAL)
        assert ((found == 0).all((1, 2)).sum(-1) == count).all()
    decibel = Sensor(("VV", "VH"), polarisations=("VV", "VH"), unit="decibel")
    found = result(MissingBands(), np.full((1, 2, 2, 2), -9.0), 1, decibel)
    assert sorted(found[0, 0, 0]) == pytest.approx([-60.0, -9.0])


def test_bands_are_shifted_against_the_first_by_the_length_that_is_said() -> None:
    rows, columns = np.mgrid[:64, :64].astype(np.float32)
    lengths = np.zeros(3)
    for plane in (rows, columns):
        image = np.repeat(plane[None, ..., None], 4, -1)
        found = result(Misregistration(), image, 2.5, OPTICAL)[:, 8:-8, 8:-8]
        offset = found - image[:, 8:-8, 8:-8]
        assert not offset[..., 0].any()
        np.testing.assert_allclose(offset, offset[:, :1, :1].repeat(48, 1).repeat(48, 2), atol=1e-4)
        lengths += offset[0, 0, 0, 1:] ** 2
    np.testing.assert_allclose(lengths, 2.5**2, rtol=1e-3)
    assert Misregistration().meaning(2.5, OPTICAL) == "12.5 m"


def test_larger_pixels_are_means_of_squares_without_missing_data() -> None:
    image = sample(SAR)
    valid = np.ones(image.shape[:3], bool)
    valid[:, 0, 0] = False
    found = result(Resolution(), image, 2, SAR, valid)
    np.testing.assert_allclose(found[0, 2, 2], image[0, 2:4, 2:4].mean((0, 1)), rtol=1e-5)
    np.testing.assert_array_equal(found[0, 2, 2], found[0, 3, 3])
    three = image[0, [0, 1, 1], [1, 0, 1]].mean(0)
    np.testing.assert_allclose(found[0, 1, 1], three, rtol=1e-5)
    decibel = dataclasses.replace(SAR, unit="decibel")
    np.testing.assert_allclose(
        10 ** (result(Resolution(), 10 * np.log10(image), 3, decibel) / 10),
        result(Resolution(), image, 3, SAR),
        rtol=1e-3,
    )


def through_a_file(band: np.ndarray, quality: int) -> tuple[np.ndarray, np.ndarray]:
    """The band as Pillow reads its own file, and the (8, 8) steps that stand in it."""
    file = io.BytesIO()
    Image.fromarray(band).save(file, "jpeg", quality=quality)
    opened = Image.open(file)
    return np.asarray(opened).astype(int), np.reshape(opened.quantization[0], (8, 8))


@pytest.mark.parametrize(
    ("quality", "alike", "apart"), [(90, 0.92, 0.38), (50, 0.96, 0.14), (10, 0.99, 0.06)]
)
def test_jpeg_is_what_a_file_of_that_quality_gives(
    quality: int, alike: float, apart: float
) -> None:
    rows, columns = np.mgrid[:253, :322]
    random = np.random.default_rng(0)
    band = 120 + 60 * np.sin(rows / 5) + 40 * np.cos(columns / 3) + random.normal(0, 8, rows.shape)
    band = np.clip(np.rint(band), 0, 255).astype(np.uint8)
    theirs, steps = through_a_file(band, quality)
    ours = np.asarray(jpeg.compressed(jnp.asarray(band), quality)).astype(int)
    # Their transform is of whole numbers: a coefficient between two steps may go to the other one.
    assert (np.abs(ours - theirs) <= 1).mean() > alike
    assert np.abs(ours - theirs).mean() < apart
    lost, theirs_lost = (np.abs(one - band.astype(int)).mean() for one in (ours, theirs))
    np.testing.assert_allclose(lost, theirs_lost, rtol=0.01)
    np.testing.assert_array_equal(jpeg.quantisation(quality), steps)


@pytest.mark.parametrize("quality", [75, 50, 25])
def test_a_value_halfway_between_two_steps_goes_where_a_file_takes_it(quality: int) -> None:
    flat = np.arange(256, dtype=np.uint8).reshape(16, 16).repeat(8, 0).repeat(8, 1)
    theirs, _ = through_a_file(flat, quality)
    np.testing.assert_array_equal(jpeg.compressed(jnp.asarray(flat), quality), theirs)


def test_jpeg_keeps_range_and_unit() -> None:
    image = sample(OPTICAL)
    low, high = image.min((1, 2)), image.max((1, 2))
    found = result(Jpeg(), image, 100, OPTICAL)
    np.testing.assert_allclose(found, image, atol=2 * float((high - low).max()) / 255)


def test_training_corrupts_a_share_of_the_images_by_kinds_that_exist() -> None:
    image = sample(OPTICAL, 16).repeat(64, 0)
    batch = {"image": jnp.asarray(image), "valid": jnp.ones(image.shape[:3], bool)}
    step = jax.jit(Corruptions(OPTICAL, (Stripes(), Haze()), share=0.25))
    changed = np.stack(
        [
            (np.asarray(step(jax.random.key(n), batch)["image"]) != image).any((1, 2, 3))
            for n in range(8)
        ]
    )
    assert 0.15 < changed.mean() < 0.35
    with pytest.raises(UserError, match="no speckle here: coherent waves"):
        Corruptions(OPTICAL, (AddedSpeckle(),))
    with pytest.raises(UserError, match="without a kind"):
        Corruptions(OPTICAL, ())


def test_a_config_with_corruptions_is_stored_and_takes_flags() -> None:
    plain = configs.load_config("unet")
    sensor = Sensor(BANDS["optical"], unit="reflectance", scale=1e-4)
    config = dataclasses.replace(plain, augment_raw=(Corruptions(sensor, corruptions_of(sensor)),))
    assert config_text.from_json(config_text.to_json(config)) == config
    other = configs.override(config, ["--config.augment-raw.0.share", "0.25"], "train")
    assert other.augment_raw[0].share == 0.25  # type: ignore[attr-defined]
