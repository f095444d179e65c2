"""Radar physics: units, means, filters and looks, against definitions and their statistics."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special

from jaxseg.errors import UserError
from jaxseg.physics import sar, sar_filters

Array = NDArray[np.float64]


def speckled(looks: float, *shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).gamma(looks, 1 / looks, shape)


def image(array: Array) -> jax.Array:
    """(H, W) -> (H, W, 1) float32."""
    return jnp.asarray(array[..., None], jnp.float32)


def test_units_convert_there_and_back() -> None:
    power = np.array([1e-5, 0.02, 1.0, 300.0])
    db = sar.intensity_to_decibel(jnp.asarray(power))
    np.testing.assert_allclose(db, 10 * np.log10(power), atol=1e-4)
    np.testing.assert_allclose(sar.decibel_to_intensity(db), power, rtol=1e-5)
    amplitude = sar.intensity_to_amplitude(jnp.asarray(power))
    np.testing.assert_allclose(sar.amplitude_to_intensity(amplitude), power, rtol=1e-5)
    assert sar.amplitude_to_intensity(jnp.asarray([60_000], jnp.uint16)) == 3.6e9


def test_decibels_of_zero_negative_and_nan_are_the_floor_with_finite_gradients() -> None:
    power = jnp.asarray([0.0, -1.0, jnp.nan, 1e-9, 1.0])
    db = sar.intensity_to_decibel(power, floor=1e-5)
    np.testing.assert_allclose(db, [-50, -50, -50, -50, 0], atol=1e-4)
    assert np.isfinite(jax.grad(lambda p: sar.intensity_to_decibel(p).sum())(power)).all()
    np.testing.assert_array_equal(sar.decibel_to_intensity(jnp.asarray([-jnp.inf])), [0])
    np.testing.assert_array_equal(sar.intensity_to_amplitude(jnp.asarray([-0.5, 0])), [0, 0])


def test_a_ratio_is_of_powers_above_the_floor() -> None:
    vv = jnp.asarray([0.2, 0.0, 0.2, jnp.nan])
    vh = jnp.asarray([0.05, 0.0, 0.0, 0.1])
    np.testing.assert_allclose(sar.ratio(vv, vh, floor=0.01), [4, 1, 20, np.nan], rtol=1e-5)


def test_multilooking_is_the_mean_of_what_a_block_knows() -> None:
    power = np.arange(30.0).reshape(5, 6)
    power[0, 0] = np.nan
    power[2:4, 3:6] = np.nan
    looked = np.asarray(sar.multilook(image(power), rows=2, columns=3))[..., 0]
    assert looked.shape == (2, 2)
    expected = [np.nanmean(power[:2, :3]), np.nanmean(power[:2, 3:]), np.nanmean(power[2:4, :3])]
    np.testing.assert_allclose(looked.ravel()[:3], expected, rtol=1e-6)
    assert np.isnan(looked[1, 1])


def test_multilooking_multiplies_the_looks() -> None:
    looked = sar.multilook(image(speckled(2, 240, 240)), rows=2, columns=4)
    assert float(looked.mean() ** 2 / looked.var()) == pytest.approx(16, rel=0.05)


def lee_by_definition(power: Array, looks: float, size: int) -> Array:
    half, out = size // 2, np.full(power.shape, np.nan)
    for i, j in np.argwhere(np.isfinite(power)):
        window = power[max(0, i - half) : i + half + 1, max(0, j - half) : j + half + 1]
        out[i, j] = combined(window[np.isfinite(window)], power[i, j], looks)
    return out


def combined(pixels: Array, value: float, looks: float) -> float:
    mean, v, s = pixels.mean(), pixels.var() / max(pixels.mean() ** 2, 1e-300), 1 / looks
    return float(mean + max(0.0, (v - s) / (v * (1 + s))) * (value - mean)) if v else float(mean)


def scene(seed: int = 0) -> Array:
    """24 x 20 pixels of four looks: an edge, a bright point, a hole and a line without data."""
    power = speckled(4, 24, 20, seed=seed)
    power[:, :9] *= 8
    power[12, 15] = 60
    power[3:6, 12:16] = np.nan
    power[:, 18] = np.nan
    return power


@pytest.mark.parametrize("size", [3, 7])
@pytest.mark.parametrize("scale", [1e-7, 1.0, 1e9])
def test_lee_is_its_definition_over_pixels_with_data(size: int, scale: float) -> None:
    power = scene() * scale
    filtered = np.asarray(sar_filters.lee(image(power), looks=4, size=size))[..., 0]
    np.testing.assert_allclose(filtered, lee_by_definition(power, 4, size), rtol=2e-4)


def refined_by_definition(power: Array, looks: float) -> Array:
    """Pixel by pixel, with loops, from the paper's words."""
    out = np.full(power.shape, np.nan)
    padded = np.pad(power, 3, constant_values=np.nan)
    row, column = np.indices((7, 7)) - 3
    edges = (
        # part of the halves on both sides, then the sub-windows of both sides, the middle one first
        (column <= 0, column >= 0, [(1, 0), (0, 0), (2, 0)], [(1, 2), (0, 2), (2, 2)]),
        (row <= column, row >= column, [(0, 2), (0, 1), (1, 2)], [(2, 0), (1, 0), (2, 1)]),
        (row <= 0, row >= 0, [(0, 1), (0, 0), (0, 2)], [(2, 1), (2, 0), (2, 2)]),
        (row <= -column, row >= -column, [(0, 0), (0, 1), (1, 0)], [(2, 2), (2, 1), (1, 2)]),
    )
    for i, j in np.argwhere(np.isfinite(power)):
        window = padded[i : i + 7, j : j + 7]

        def mean(place: tuple[int, int], window: Array = window) -> float:
            part = window[2 * place[0] :, 2 * place[1] :][:3, :3]
            middle = window[2:5, 2:5]
            known = part[np.isfinite(part)]
            return float(known.mean() if known.size else middle[np.isfinite(middle)].mean())

        gradients = [
            abs(sum(mean(p) for p in one) - sum(mean(p) for p in other))
            for _, _, one, other in edges
        ]
        first, second, one, other = edges[int(np.argmax(gradients))]
        middle = mean((1, 1))
        half = second if abs(mean(other[0]) - middle) < abs(mean(one[0]) - middle) else first
        pixels = window[half]
        out[i, j] = combined(pixels[np.isfinite(pixels)], power[i, j], looks)
    return out


def test_refined_lee_is_its_definition_over_pixels_with_data() -> None:
    power = scene(1)
    filtered = np.asarray(sar_filters.refined_lee(image(power), looks=4))[..., 0]
    np.testing.assert_allclose(filtered, refined_by_definition(power, 4), rtol=2e-4)


FILTERS = {
    "lee": functools.partial(sar_filters.lee, looks=4),
    "refined": functools.partial(sar_filters.refined_lee, looks=4),
}


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_keeps_the_mean_and_raises_the_looks(name: str) -> None:
    power = image(speckled(4, 96, 96))
    filtered = FILTERS[name](power)[8:-8, 8:-8]
    assert float(filtered.mean()) == pytest.approx(float(power.mean()), rel=0.02)
    assert float(filtered.mean() ** 2 / filtered.var()) > 30


def test_refined_lee_comes_closer_to_the_truth_beside_an_edge() -> None:
    power = speckled(4, 96, 96)
    power[:, 48:] *= 10
    beside = (slice(8, -8), slice(44, 48))  # the dark side of the edge
    lee, refined = (np.asarray(FILTERS[name](image(power)))[..., 0][beside] for name in FILTERS)
    assert abs(refined.mean() - 1) < 0.15
    assert np.square(refined - 1).mean() < 0.4 * np.square(lee - 1).mean()


@pytest.mark.parametrize("name", FILTERS)
def test_filters_of_zeros_nothing_and_constants_are_finite_or_unknown(name: str) -> None:
    np.testing.assert_array_equal(FILTERS[name](jnp.zeros((9, 9, 1))), 0)
    np.testing.assert_allclose(FILTERS[name](jnp.full((9, 9, 1), 0.3)), 0.3, rtol=1e-6)
    assert np.isnan(FILTERS[name](jnp.full((9, 9, 1), jnp.nan))).all()
    alone = jnp.full((9, 9, 1), jnp.nan).at[4, 4].set(5.0)
    assert float(FILTERS[name](alone)[4, 4, 0]) == pytest.approx(5.0)


@pytest.mark.parametrize("name", FILTERS)
def test_filters_treat_images_and_bands_one_by_one(name: str) -> None:
    power = jnp.asarray(speckled(4, 2, 12, 14, 3), jnp.float32)
    whole = FILTERS[name](power)
    single = FILTERS[name](power[1, ..., 2:])
    np.testing.assert_allclose(whole[1, ..., 2:], single, rtol=1e-5)


@pytest.mark.parametrize("looks", [1.0, 4.4, 16.0])
def test_looks_are_found_in_a_scene_of_fields_texture_and_gaps(looks: float) -> None:
    power = speckled(looks, 256, 256)
    fields = 10 ** np.random.default_rng(1).uniform(-1.5, 0, (8, 8))
    power *= fields.repeat(32, 0).repeat(32, 1)
    power[:, :80] *= speckled(3, 256, 80, seed=2)
    power[::40] = np.nan
    bands = jnp.asarray(np.stack([power, np.full_like(power, np.nan)], -1), jnp.float32)
    found = np.asarray(sar_filters.equivalent_looks(bands))
    assert found[0] == pytest.approx(looks, rel=0.12)
    assert np.isnan(found[1])


def test_local_looks_know_only_whole_windows() -> None:
    power = speckled(4, 12, 12)
    power[6, 6] = np.nan
    local = np.asarray(sar_filters.local_looks(image(power), size=3))[..., 0]
    window = power[1:4, 1:4]
    assert local[2, 2] == pytest.approx(window.mean() ** 2 / window.var(ddof=1), rel=1e-3)
    assert np.isnan(local[0]).all()
    assert np.isnan(local[5:8, 5:8]).all()
    assert np.isfinite(local[4, 4])


@pytest.mark.parametrize("looks", [0.7, 1.0, 4.4, 30.0])
def test_speckle_has_the_moments_of_its_looks_also_in_logarithms(looks: float) -> None:
    factor = np.asarray(sar.speckle(jax.random.key(0), (40_000,), looks), np.float64)
    assert factor.mean() == pytest.approx(1, abs=5 / np.sqrt(40_000 * looks))
    assert factor.var() == pytest.approx(1 / looks, rel=0.08)
    log = np.log(factor)
    deviation = np.sqrt(special.polygamma(1, looks))
    expected = special.digamma(looks) - np.log(looks)
    assert log.mean() == pytest.approx(expected, abs=5 * deviation / 200)
    assert log.var() == pytest.approx(deviation**2, rel=0.08)


def test_speckle_is_the_same_in_every_unit_and_leaves_nothing_and_no_data_alone() -> None:
    power = jnp.asarray(speckled(4, 8, 8, 2), jnp.float32).at[0, 0, 0].set(0).at[1, 1].set(jnp.nan)
    key = jax.random.key(3)
    linear = sar.with_speckle(key, power, 2.0, "intensity")
    assert linear[0, 0, 0] == 0
    np.testing.assert_array_equal(np.isnan(linear), np.isnan(power))
    amplitude = sar.with_speckle(key, jnp.sqrt(power), 2.0, "amplitude")
    np.testing.assert_allclose(amplitude**2, linear, rtol=1e-5)
    db = sar.with_speckle(key, 10 * jnp.log10(power), 2.0, "decibel")
    np.testing.assert_allclose(sar.decibel_to_intensity(db), linear, rtol=1e-4)


def test_looks_of_added_speckle_combine_as_said() -> None:
    power = jnp.asarray(speckled(4, 300, 300), jnp.float32)
    power = sar.with_speckle(jax.random.key(0), power, 8.0, "intensity")
    assert float(power.mean() ** 2 / power.var()) == pytest.approx(4 * 8 / (4 + 8 + 1), rel=0.04)


def test_a_window_without_a_middle_is_refused() -> None:
    with pytest.raises(UserError, match="6 x 6 pixels: its size must be odd"):
        sar_filters.lee(jnp.ones((9, 9, 1)), looks=4, size=6)


SPECKLED = (2, 40, 40, 2)  # one shape: its generator is compiled once


def test_speckle_is_another_draw_for_every_pixel_band_and_image() -> None:
    ones = jnp.ones(SPECKLED)
    for unit in ("amplitude", "intensity", "decibel"):
        noise = np.asarray(sar.with_speckle(jax.random.key(0), ones, 4.0, unit))  # type: ignore[arg-type]
        parts = [noise[0, ..., 0], noise[0, ..., 1], noise[1, ..., 0], noise[0, ::-1, :, 0]]
        parts += [noise[0, :, ::-1, 0], noise[0, ..., 0].T]
        assert np.abs(np.corrcoef([part.ravel() for part in parts]) - np.eye(6)).max() < 0.15


def test_speckle_of_far_less_than_one_look_is_finite_in_decibels() -> None:
    speckled_ = sar.with_speckle(jax.random.key(0), jnp.zeros(SPECKLED), 0.005, "decibel")
    assert np.isfinite(np.asarray(speckled_)).all()
    assert float(speckled_.min()) == pytest.approx(-300)


@pytest.mark.parametrize("unit", ["amplitude", "intensity", "decibel"])
def test_speckled_whole_numbers_are_float32(unit: sar.RadarUnit) -> None:
    speckled_ = sar.with_speckle(
        jax.random.key(0), jnp.full(SPECKLED, 60_000, jnp.uint16), 2.0, unit
    )
    assert speckled_.dtype == jnp.float32
    assert len(np.unique(speckled_)) > 2000


def test_power_equal_to_the_floor_is_the_floor_and_above_it_itself() -> None:
    power = jnp.asarray([0.01, 0.011, 0.009, -jnp.inf, jnp.inf])
    expected = np.float32([0.01, 0.011, 0.01, 0.01, np.inf])
    np.testing.assert_array_equal(sar.above(power, 0.01), expected)


def cells(looks: Array, bands: int = 1) -> jax.Array:
    """One 3 x 3 window of every number of looks, apart from each other by pixels without data."""
    rows, columns = looks.shape
    pattern = np.array([[1, -1, 1], [-1, 0, -1], [1, -1, 1]]) / 1.0  # of mean 0 and variance 1
    image_ = np.full((4 * rows, 4 * columns), np.nan)
    for i, j in np.ndindex(rows, columns):
        image_[4 * i : 4 * i + 3, 4 * j : 4 * j + 3] = 1 + pattern / np.sqrt(looks[i, j])
    return image(image_)


def test_looks_of_a_scene_of_one_number_are_that_number_to_a_percent() -> None:
    wanted = np.exp(np.linspace(1, 1.02, 6))  # bins of 2 %, whose middles are a percent off
    found = [
        float(sar_filters.equivalent_looks(cells(np.full((4, 4), n)), size=3)[0]) for n in wanted
    ]
    np.testing.assert_allclose(found, wanted, rtol=0.0101)


def test_looks_are_the_most_frequent_ones_within_a_tenth_and_not_the_most_frequent_number() -> None:
    around = 4 * np.exp(np.linspace(-0.1, 0.1, 48))
    looks = np.concatenate([around, np.full(16, 40.0)]).reshape(8, 8)
    found = float(sar_filters.equivalent_looks(cells(looks), size=3)[0])
    assert found == pytest.approx(4, rel=0.05)
    # Numbers that lie farther apart do not add up.
    looks = np.concatenate([4 * np.exp(np.linspace(-0.9, 0.9, 48)), np.full(16, 40.0)])
    found = float(sar_filters.equivalent_looks(cells(looks.reshape(8, 8)), size=3)[0])
    assert found == pytest.approx(40, rel=0.05)
