"""Separation against its definition: one distance transform of the whole image per object."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from jaxseg.border_weights import separation


def definition(instance: NDArray[np.int32], limit: float) -> NDArray[np.float64]:
    ids = [i for i in np.unique(instance) if i > 0]
    distances = [ndimage.distance_transform_edt(instance != i) for i in ids]
    distances = [np.where(d > limit, np.inf, d) for d in distances]
    while len(distances) < 2:
        distances.append(np.full(instance.shape, np.inf))
    nearest = np.sort(np.stack(distances), axis=0)
    return nearest[0] + nearest[1]


def random_objects(seed: int, count: int, *, background: bool) -> NDArray[np.int32]:
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:90, :120]
    instance = np.zeros((90, 120), np.int32) if background else np.full((90, 120), 999, np.int32)
    for number in range(count):
        y, x, r = random.uniform(0, 90), random.uniform(0, 120), random.uniform(2, 12)
        instance[(rows - y) ** 2 + (columns - x) ** 2 < r * r] = 7 * number + 3
    return instance


@pytest.mark.parametrize("count", [0, 1, 2, 30])
@pytest.mark.parametrize("background", [True, False])
def test_separation_equals_its_definition(count: int, background: bool) -> None:
    instance = random_objects(count, count, background=background)
    np.testing.assert_allclose(separation(instance, 20), definition(instance, 20), rtol=1e-6)


def test_two_boxes_give_the_weight_of_the_reference() -> None:
    # Expected value: w0 = 10, sigma = 5 and wc of the background 0.4884, computed from the
    # definition by hand.
    instance = np.zeros((32, 32), np.int32)
    instance[8:24, 4:14] = 1
    instance[8:24, 17:28] = 2
    counts = np.array([(instance == 0).sum(), (instance > 0).sum()])
    wc = (1 / counts) / (1 / counts).max()
    weight = wc[0] + 10 * np.exp(-(separation(instance)[16, 14:17] ** 2) / 50)
    np.testing.assert_allclose(weight, 7.7499, atol=1e-3)
    assert wc[0] == pytest.approx(0.4884, abs=1e-4)


def test_a_single_object_has_no_second_distance() -> None:
    instance = np.zeros((16, 16), np.int32)
    instance[4:8, 4:8] = 5
    assert np.all(np.isinf(separation(instance)))
