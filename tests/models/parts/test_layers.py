"""What the modules all networks share start from."""

import jax
import numpy as np
import pytest

from jaxseg.models.parts import layers


def test_initial_values_are_he_normal() -> None:
    kernel = layers.he_normal(jax.random.key(0, impl="rbg"), (3, 3, 64, 128))
    assert float(kernel.std()) == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.01)
    assert float(kernel.mean()) == pytest.approx(0, abs=1e-3)
