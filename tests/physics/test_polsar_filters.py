"""Speckle filters of matrices: homogeneous ground gets smooth, edges stay, means are kept."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from numpy.typing import NDArray

from jaxseg.datasets.landscape.sensors import wishart
from jaxseg.physics import decompositions, polsar, polsar_filters


def field(*, looks: int = 4, rows: int = 60, columns: int = 60, power: float = 0.1) -> Array:
    """A homogeneous field with complex Wishart speckle."""
    mean = np.full((rows, columns, 3), power, np.float32)
    return jnp.asarray(wishart(mean, looks, np.random.default_rng(0)))


@pytest.mark.parametrize("looks", [1, 4, 16])
@pytest.mark.parametrize("power", [1e-9, 1.0])
def test_the_number_of_looks_is_found(looks: int, power: float) -> None:
    t3 = field(looks=looks) * power
    found = np.asarray(polsar_filters.equivalent_looks(t3, size=15))
    assert np.median(found) == pytest.approx(looks, rel=0.08)


def test_the_number_of_looks_of_two_channels_is_found_too() -> None:
    c2 = field(looks=4)[..., jnp.array([0, 1, 3, 4])]
    assert np.median(polsar_filters.equivalent_looks(c2, size=15)) == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("size", [5, 7, 9, 11])
@pytest.mark.parametrize("power", [1e-9, 1e6])
def test_refined_lee_keeps_the_mean_and_raises_the_looks(size: int, power: float) -> None:
    t3 = field() * power
    filtered = polsar_filters.refined_lee(t3, looks=4.0, size=size)
    before, after = (np.asarray(x).mean((0, 1)) for x in (t3, filtered))
    np.testing.assert_allclose(after[:3], before[:3], rtol=0.03)
    looks = [np.median(polsar_filters.equivalent_looks(x, size=15)) for x in (t3, filtered)]
    assert looks[1] > (3 if size == 5 else 5) * looks[0]
    # A reference of the same extent: half of the window has size (size + 1) / 2 pixels.
    assert looks[1] < looks[0] * size * (size + 1) / 2 * 1.5


@pytest.mark.parametrize("across", [0, 1])
def test_refined_lee_keeps_an_edge_that_a_mean_blurs(across: int) -> None:
    step = np.where(np.arange(60) < 30, 1.0, 100.0).astype(np.float32)
    step = step[:, None, None] if across == 0 else step[None, :, None]
    scene = field(looks=16) * step

    def profile(image: Array) -> NDArray[np.float32]:
        return np.asarray(polsar.span(image)).mean(1 - across)

    truth = profile(scene)
    dark, bright = truth[:25].mean(), truth[35:].mean()
    kept = profile(polsar_filters.refined_lee(scene, looks=16.0))
    blurred = profile(polsar_filters.boxcar(scene, 7))
    assert kept[28:30].max() < 1.3 * dark
    assert blurred[28:30].min() > 10 * dark
    np.testing.assert_allclose(kept[30:32], bright, rtol=0.15)


def test_a_diagonal_edge_is_kept_too() -> None:
    rows, columns = np.indices((60, 60))
    step = np.where(rows + columns < 60, 1.0, 100.0).astype(np.float32)
    scene = jnp.asarray(np.asarray(field(looks=16)) * step[..., None])
    filtered = np.asarray(polsar.span(polsar_filters.refined_lee(scene, looks=16.0)))
    beside = (rows + columns == 58) & (np.abs(rows - columns) < 30)
    assert np.median(filtered[beside]) < 1.5 * np.median(filtered[:10, :10])


def test_filtered_matrices_are_still_semidefinite() -> None:
    t3 = field(looks=1)
    for filtered in (
        polsar_filters.refined_lee(t3, looks=1.0),
        polsar_filters.boxcar(t3, 3),
    ):
        assert np.asarray(decompositions.is_semidefinite(filtered)).all()


def test_scenes_in_a_batch_are_filtered_alone() -> None:
    one, other = field(), 50 * field(looks=1)
    for function in (
        lambda x: polsar_filters.refined_lee(x, looks=4.0),
        lambda x: polsar_filters.boxcar(x, 5),
    ):
        both = function(jnp.stack([one, other]))
        np.testing.assert_allclose(both[0], function(one), rtol=1e-4, atol=1e-6)


def test_a_boxcar_is_the_mean_around_a_pixel() -> None:
    t3 = field(rows=12, columns=9)
    mean = polsar_filters.boxcar(t3, 3)
    assert mean.shape == t3.shape
    np.testing.assert_allclose(mean[5, 4], t3[4:7, 3:6].mean((0, 1)), rtol=1e-5, atol=1e-7)


def test_another_window_is_refused() -> None:
    with pytest.raises(ValueError, match="choose 5, 7, 9 or 11"):
        polsar_filters.refined_lee(field(rows=9, columns=9), looks=1.0, size=6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_pixel_that_is_not_finite_in_one_band_stays_one_pixel(bad: float) -> None:
    t3 = field(rows=30, columns=30)
    holes = t3.at[12, 17, 4].set(bad)
    zeros = t3.at[12, 17].set(0)
    elsewhere = np.ones((30, 30), bool)
    elsewhere[12, 17] = False
    for function in (
        functools.partial(polsar_filters.refined_lee, looks=4.0),
        functools.partial(polsar_filters.boxcar, size=5),
    ):
        found, expected = np.asarray(function(holes)), np.asarray(function(zeros))
        np.testing.assert_array_equal(found[elsewhere], expected[elsewhere])
        assert np.isnan(found[12, 17]).all()
        assert not expected[12, 17].any()
    looks = polsar_filters.equivalent_looks(holes)
    np.testing.assert_array_equal(looks, polsar_filters.equivalent_looks(zeros))
    assert np.isfinite(looks).all()


def test_pixels_without_data_count_in_no_mean() -> None:
    t3 = field(rows=80, columns=80)
    known = np.random.default_rng(1).random((80, 80, 1)) > 0.1
    known[:, 40:60] = False
    known[21, 39] = True
    holes = jnp.where(jnp.asarray(known), t3, 0)
    mean = np.asarray(polsar_filters.boxcar(holes, 3))
    part, there = np.asarray(t3)[20:23, 38:41], known[20:23, 38:41, 0]
    np.testing.assert_allclose(mean[21, 39], part[there].mean(0), rtol=1e-5, atol=1e-7)
    filtered = np.asarray(polsar_filters.refined_lee(holes, looks=4.0))
    for image in (mean, filtered):
        assert not image[~known[..., 0]].any()
    # Beside the gap no darker than elsewhere: half of a plain mean would be zeros there.
    beside = np.zeros_like(known[..., 0])
    beside[:, 36:40] = beside[:, 60:64] = True
    beside &= known[..., 0]
    for image in (mean, filtered):
        powers = image[..., :3].sum(-1)
        assert powers[beside].mean() == pytest.approx(0.3, rel=0.03)
    looks = np.asarray(polsar_filters.equivalent_looks(holes))
    assert np.median(looks[known[..., 0]]) == pytest.approx(4, rel=0.1)


Scene = NDArray[np.float64]


def patches(rows: int, columns: int, seed: int = 0) -> Scene:
    """(H, W, 9) matrices of 4 looks: each channel has its own edges, some ground has no data."""
    random = np.random.default_rng(seed)
    y, x = np.indices((rows, columns))
    power = np.full((rows, columns, 3), 0.02, np.float32)
    power[..., 0][x > columns // 2] *= 3
    power[..., 1][y + x > 0.7 * (rows + columns)] *= 30
    power[..., 2][y > rows // 2] *= 20
    power[rows // 4, columns // 4] *= 200
    image = wishart(power, 4, random).astype(np.float64)
    image[random.random((rows, columns)) < 0.03] = 0
    image[: rows // 3, columns // 3 : columns // 3 + 4] = 0
    return image


def continued(image: Scene, half: int) -> Scene:
    """Reflected at the edges, the last pixel repeated; smaller than that, it ends as it is."""
    mode = "symmetric" if min(image.shape[:2]) >= half else "edge"
    return np.pad(image, ((half, half), (half, half), (0, 0)), mode=mode)  # type: ignore[call-overload]


def mean_of(pixels: Scene) -> Scene:
    """Of (N, C) pixels those that have data; zeros if none has."""
    known = (pixels != 0).any(-1)
    return pixels[known].mean(0) if known.any() else np.zeros(pixels.shape[-1])


def refined_by_definition(image: Scene, looks: float, size: int) -> Scene:
    """Pixel by pixel in float64, from the words of the papers."""
    half, channels = size // 2, {9: 3, 4: 2, 1: 1}[image.shape[-1]]
    part, step = {5: (3, 1), 7: (3, 2), 9: (5, 2), 11: (5, 3)}[size]
    row, column = np.indices((size, size)) - half
    corners = {(i, j): (step * i, step * j) for i in range(3) for j in range(3)}
    edges = (
        # pixels of both halves, then the parts of both sides
        (column <= 0, column >= 0, [(0, 0), (1, 0), (2, 0)], [(0, 2), (1, 2), (2, 2)]),
        (row <= column, row >= column, [(0, 1), (0, 2), (1, 2)], [(1, 0), (2, 0), (2, 1)]),
        (row <= 0, row >= 0, [(0, 0), (0, 1), (0, 2)], [(2, 0), (2, 1), (2, 2)]),
        (row <= -column, row >= -column, [(0, 0), (0, 1), (1, 0)], [(1, 2), (2, 1), (2, 2)]),
    )
    padded, out = continued(image, half), np.zeros_like(image)
    for i, j in np.argwhere((image != 0).any(-1)):
        window = padded[i : i + size, j : j + size]
        power = window[..., :channels].sum(-1)
        known = (window != 0).any(-1)
        means = {}
        for place, (top, left) in corners.items():
            cut = np.s_[top : top + part, left : left + part]
            means[place] = power[cut][known[cut]].mean() if known[cut].any() else np.nan
        middle = means[1, 1]
        means = {place: middle if np.isnan(mean) else mean for place, mean in means.items()}
        sides = [[sum(means[p] for p in side) / 3 for side in edge[2:]] for edge in edges]
        largest = int(np.argmax([abs(one - other) for one, other in sides]))
        one, other = sides[largest]
        chosen = edges[largest][0 if abs(one - middle) <= abs(other - middle) else 1] & known
        mean, v, s = window[chosen].mean(0), power[chosen].var(), 1 / looks
        v /= power[chosen].mean() ** 2
        b = min(1.0, max(0.0, (v - s) / (v * (1 + s)))) if v else 0.0
        out[i, j] = mean + b * (window[half, half] - mean)
    return out


BANDS = {9: list(range(9)), 4: [0, 1, 3, 4], 1: [2]}


def assert_close(found: Array, expected: Scene, rtol: float) -> None:
    """To a share of the largest power around: elements off the diagonal may be 0."""
    assert found.dtype == jnp.float32
    size = np.abs(expected).max(-1, keepdims=True)
    size = np.where(size > 0, size, 1)
    np.testing.assert_allclose(np.asarray(found, np.float64) / size, expected / size, atol=rtol)


@pytest.mark.parametrize("size", [5, 7, 9, 11])
def test_refined_lee_is_its_definition(size: int) -> None:
    image = patches(26, 21)
    expected = refined_by_definition(image, 4, size)
    found = polsar_filters.refined_lee(jnp.asarray(image, jnp.float32), looks=4.0, size=size)
    assert_close(found, expected, 1e-3)


@pytest.mark.parametrize("bands", [4, 1])
def test_refined_lee_of_two_channels_or_of_intensity_is_its_definition(bands: int) -> None:
    image = patches(20, 17, seed=1)[..., BANDS[bands]]
    found = polsar_filters.refined_lee(jnp.asarray(image, jnp.float32), looks=3.0)
    assert_close(found, refined_by_definition(image, 3, 7), 1e-3)


@pytest.mark.parametrize("scale", [1e-20, 1e-12, 1e12])
def test_filters_and_looks_do_not_depend_on_the_unit(scale: float) -> None:
    image = patches(20, 17, seed=2)
    scaled = jnp.asarray(image * scale, jnp.float32)
    expected = refined_by_definition(image, 4, 7)
    assert_close(polsar_filters.refined_lee(scaled, looks=4.0) / scale, expected, 2e-3)
    looks = [polsar_filters.equivalent_looks(x, size=5) for x in (scaled / scale, scaled)]
    np.testing.assert_allclose(looks[1], looks[0], rtol=2e-3)


def test_ground_without_data_beside_homogeneous_ground_makes_no_edge() -> None:
    # The only edge lies below row 6. Were the strip dark ground, its edge would be the strongest,
    # and the half of the window beside it reaches over row 6.
    image = np.ones((15, 15, 1))
    image[7:] = 1.5
    image[:, 9:] = 0
    found = polsar_filters.refined_lee(jnp.asarray(image, jnp.float32), looks=1e-3)
    assert float(found[5, 8, 0]) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("shape", [(12, 9), (2, 9), (1, 3)])
@pytest.mark.parametrize("size", [3, 5])
def test_a_boxcar_is_the_mean_of_what_has_data(shape: tuple[int, int], size: int) -> None:
    image = patches(26, 21)[8 : 8 + shape[0], 5 : 5 + shape[1]]
    padded, expected = continued(image, size // 2), np.zeros_like(image)
    for i, j in np.argwhere((image != 0).any(-1)):
        expected[i, j] = mean_of(padded[i : i + size, j : j + size].reshape(-1, 9))
    assert_close(polsar_filters.boxcar(jnp.asarray(image, jnp.float32), size), expected, 1e-5)


@pytest.mark.parametrize("bands", [9, 4])
def test_local_looks_of_matrices_are_their_definition(bands: int) -> None:
    image = patches(16, 14)[..., BANDS[bands]]
    matrices = np.asarray(polsar.matrices(jnp.asarray(image))).astype(np.complex128)
    padded = continued(image, 2)
    whole = continued(matrices.reshape(*image.shape[:2], -1), 2).reshape(
        *padded.shape[:2], *matrices.shape[2:]
    )
    found = np.asarray(polsar_filters.equivalent_looks(jnp.asarray(image, jnp.float32), size=5))
    for i, j in np.argwhere((image != 0).any(-1)):
        known = (padded[i : i + 5, j : j + 5] != 0).any(-1)
        t = whole[i : i + 5, j : j + 5][known]
        sigma = t.mean(0)
        square = np.trace(t @ t, axis1=1, axis2=2).real.mean()
        spread = square - np.trace(sigma @ sigma).real
        assert found[i, j] == pytest.approx(np.trace(sigma).real ** 2 / spread, rel=2e-3)


def test_scenes_of_two_batch_axes_are_filtered_alone() -> None:
    image = jnp.asarray(np.stack([patches(14, 11, seed=s) for s in range(4)]), jnp.float32)
    both = image.reshape(2, 2, 14, 11, 9)
    for function in (
        functools.partial(polsar_filters.refined_lee, looks=4.0, size=5),
        functools.partial(polsar_filters.boxcar, size=3),
    ):
        found = jax.jit(function)(both).reshape(4, 14, 11, 9)
        np.testing.assert_allclose(found[2], function(image[2]), rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(found[1], function(image[1]), rtol=1e-3, atol=1e-6)
