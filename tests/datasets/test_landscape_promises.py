"""What the card of the embedded dataset promises: equal pixels, telling shapes, true speckle."""

from typing import get_args

import numpy as np
import pytest
from scipy import ndimage, stats

from jaxseg.datasets.landscape.map import Ground, draw
from jaxseg.datasets.landscape.sensors import (
    MATERIAL,
    coherency,
    look_alikes,
    render,
    states,
    wishart,
)
from jaxseg.datasets.landscape.source import CLASSES, INCONSPICUOUS, PAIRS, Modality
from jaxseg.datasets.landscape.surfaces import SURFACES

MODALITIES: tuple[Modality, ...] = get_args(Modality)


@pytest.fixture(scope="module")
def grounds() -> list[Ground]:
    """Ten label maps."""
    return [draw(0, "train", index) for index in range(10)]


def noise_ground(label: np.ndarray, seed: int) -> Ground:
    """A ground whose pixels are all independent: every pixel its own cell."""
    random = np.random.default_rng(seed)
    field = random.standard_normal((2, *label.shape), dtype=np.float32)
    cell = np.arange(label.size, dtype=np.int32).reshape(label.shape)
    return Ground(label.astype(np.uint8), np.zeros_like(cell), cell, field[0], field[1])


def test_every_class_occurs_and_none_fills_the_map(grounds: list[Ground]) -> None:
    counts = np.bincount(np.concatenate([g.label.ravel() for g in grounds]), minlength=10)
    shares = counts / counts.sum()
    assert shares.min() > 0.005
    assert shares.max() < 0.45


@pytest.mark.parametrize(("name", "half_width"), [("hedge", 2.3), ("road", 2.3), ("building", 7)])
def test_inconspicuous_classes_are_thin(
    grounds: list[Ground], name: str, half_width: float
) -> None:
    assert name in INCONSPICUOUS
    depths = []
    for ground in grounds:
        inside = np.pad(ground.label == CLASSES.index(name), 1)
        depths.append(ndimage.distance_transform_edt(inside)[inside])
    assert np.quantile(np.concatenate(depths), 0.95) <= half_width


def test_rivers_are_long_and_lakes_are_round(grounds: list[Ground]) -> None:
    def deepest(name: str) -> float:
        label = CLASSES.index(name)
        depth = [ndimage.distance_transform_edt(g.label == label).max() for g in grounds]
        return float(np.max(depth))

    assert deepest("river") < 9 < 15 < deepest("lake")


def test_objects_are_connected_and_of_one_class(grounds: list[Ground]) -> None:
    owners = [CLASSES.index(name) for name in ("cropland", "meadow", "orchard", "building")]
    for ground in grounds[:3]:
        np.testing.assert_array_equal(ground.instance > 0, np.isin(ground.label, owners))
        assert ground.instance.max() < 2**16
        for number, window in enumerate(ndimage.find_objects(ground.instance), 1):
            inside = ground.instance[window] == number
            assert ndimage.label(inside)[1] == 1
            assert len(np.unique(ground.label[window][inside])) == 1


def test_optical_sensors_see_the_pairs_alike_and_radars_roads_as_water() -> None:
    assert look_alikes("optical") == look_alikes("hyperspectral") == PAIRS
    assert look_alikes("sar") == look_alikes("polsar") == (
        ("lake", "river", "road"), *PAIRS[1:4], ("building",)
    )  # fmt: skip


@pytest.mark.parametrize("pair", PAIRS)
def test_pairs_have_equal_pixel_distributions(pair: tuple[str, str]) -> None:
    label = np.repeat([[CLASSES.index(name)] for name in pair], 20_000, axis=1)
    surfaces = tuple(SURFACES["optical"].values())
    one, other = states(noise_ground(label, 5), surfaces, np.random.default_rng(6))
    for band in range(4):
        assert stats.ks_2samp(one[:, band], other[:, band]).pvalue > 1e-3
    np.testing.assert_allclose(np.cov(one.T), np.cov(other.T), atol=0.02)


def test_texture_and_relief_give_no_class_away(grounds: list[Ground]) -> None:
    label = np.concatenate([ground.label.ravel() for ground in grounds])
    texture = np.concatenate([ground.texture.ravel() for ground in grounds])
    for number, name in enumerate(CLASSES):
        distance = stats.kstest(texture[label == number], stats.norm.cdf).statistic
        assert distance < 0.06, name
    relief = np.concatenate([ground.relief.ravel() for ground in grounds])
    assert abs(relief.mean()) < 0.1
    assert abs(relief.std() - 1) < 0.1


def test_a_surface_states_its_own_moments() -> None:
    for modality in MODALITIES:
        surfaces = tuple(SURFACES[modality].values())
        for number, surface in enumerate(surfaces):
            label = np.full((1, 60_000), MATERIAL.index(number))
            drawn = states(noise_ground(label, 1), surfaces, np.random.default_rng(2))[0]
            means, shares = np.asarray(surface.means), np.asarray(surface.shares)
            mean = shares @ means
            between = (means - mean).T @ (shares[:, None] * (means - mean))
            expected = surface.covariance() + between
            scale = np.sqrt(np.diag(expected))
            np.testing.assert_allclose(drawn.mean(0), mean, atol=0.03 * scale.max())
            np.testing.assert_allclose(
                np.cov(drawn.T), expected, atol=0.04 * np.outer(scale, scale).max()
            )


@pytest.mark.parametrize("looks", [1, 4, 16])
def test_speckle_has_mean_one_and_as_many_looks_as_asked(looks: int) -> None:
    quiet = SURFACES["sar"]["wood"]._replace(
        shares=(1.0,), means=((-10.0, -16.0),), common=0.0, each=0.0,
        texture=(0.0, 0.0), relief=(0.0, 0.0),
    )  # fmt: skip
    power = render(
        noise_ground(np.full((256, 256), 2), 0), "sar", looks=looks, key=(0, "test", 0),
        surfaces=(quiet,) * 6,
    )  # fmt: skip
    mean, variance = power.mean((0, 1)), power.var((0, 1))
    np.testing.assert_allclose(mean, [10**-1.0, 10**-1.6], rtol=0.02)
    np.testing.assert_allclose(mean**2 / variance, looks, rtol=0.05)


def test_t3_is_hermitian_positive_and_has_the_coherency_it_was_drawn_from() -> None:
    power = np.broadcast_to(np.float32([0.05, 0.1, 0.08]), (100_000, 3))
    t3 = wishart(power, 4, np.random.default_rng(0))
    matrix = np.zeros((len(t3), 3, 3), np.complex128)
    for i in range(3):
        matrix[:, i, i] = t3[:, i]
    for place, (i, j) in enumerate(((0, 1), (0, 2), (1, 2))):
        matrix[:, i, j] = t3[:, 3 + 2 * place] + 1j * t3[:, 4 + 2 * place]
        matrix[:, j, i] = matrix[:, i, j].conj()
    assert np.linalg.eigvalsh(matrix[:5000]).min() > 0
    diagonal, t12 = coherency(power[0])
    expected = np.diag(diagonal).astype(complex)
    expected[0, 1], expected[1, 0] = t12, t12.conj()
    np.testing.assert_allclose(matrix.mean(0), expected, atol=6e-4)
    np.testing.assert_allclose(t3[:, 2].mean() ** 2 / t3[:, 2].var(), 4, rtol=0.03)
