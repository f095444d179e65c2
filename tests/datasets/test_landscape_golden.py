"""The embedded dataset is the one of its version: the same ground, seen alike by every sensor."""

import numpy as np
import pytest
from fixtures import landscape_facts

from jaxseg.datasets.landscape.builder import LandscapeBuilder
from jaxseg.datasets.landscape.surfaces import Modality


def assert_nearly_all(found: np.ndarray, expected: np.ndarray, missing: int = 2) -> None:
    """But for a few pixels, where another machine's last digit crosses a threshold."""
    assert found.shape == expected.shape
    alike = np.isclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).mean())
    pixels = alike if alike.ndim == 2 else alike.all(-1)
    assert (~pixels).sum() <= missing


def test_it_is_the_version_that_the_golden_was_made_of() -> None:
    assert str(LandscapeBuilder.VERSION) == "1.0.0"


@pytest.mark.parametrize("tile", landscape_facts.GROUNDS)
def test_the_ground_is_drawn_as_ever(tile: tuple[int, str, int]) -> None:
    golden = np.load(landscape_facts.GOLDEN)
    expected = {
        name: golden[f"{'-'.join(map(str, tile))}-{name}"]
        for name in ("label", "counts", "texture", "relief")
    }
    found = landscape_facts.ground_facts(*tile)
    assert_nearly_all(found["label"], expected["label"], missing=6)
    instances, cells, squares = found["counts"] / expected["counts"]
    assert abs(instances - 1) < 0.01
    assert abs(cells - 1) < 0.004
    assert abs(squares - 1) < 1e-3
    assert_nearly_all(found["texture"], expected["texture"])
    assert_nearly_all(found["relief"], expected["relief"])


@pytest.mark.parametrize("key", landscape_facts.IMAGES, ids=str)
def test_every_sensor_sees_it_as_ever(key: tuple[Modality, int, str, int, int]) -> None:
    expected = np.load(landscape_facts.GOLDEN)["-".join(map(str, key))]
    assert_nearly_all(landscape_facts.image_facts(*key), expected)
