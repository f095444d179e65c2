"""Speckle filters of matrices: homogeneous ground gets smooth, edges stay, means are kept."""

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
