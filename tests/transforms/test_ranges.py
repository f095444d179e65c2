"""Numbers of all kinds of steps are refused outside their ranges."""

import math
from typing import Any

import pytest

from jaxseg.errors import UserError
from jaxseg.transforms.augmentation import Brightness, CenterGain, Noise, ScaleCrop
from jaxseg.transforms.hyperspectral import PCA, RemoveBands
from jaxseg.transforms.polsar import CoherencyFeatures
from jaxseg.transforms.radiometry import LogIntensity, Standardize


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (ScaleCrop, {"low": 0.0}, r"low is 0\.0: it must be above 0"),
        (ScaleCrop, {"high": math.inf}, "high is inf"),
        (ScaleCrop, {"low": 1.5}, r"low is 1\.5 and ScaleCrop\.high 1\.0"),
        (ScaleCrop, {"size": -1}, "size is -1"),
        (Brightness, {"gain": -0.1}, r"gain is -0\.1: it must be 0 or more"),
        (Brightness, {"offset": math.nan}, "offset is nan"),
        (Noise, {"std": -1.0}, "std is -1"),
        (CenterGain, {"share": 1.5}, r"share is 1\.5: it must be 0 or more and 1 or less"),
        (CenterGain, {"strength": 2.0}, "strength is 2"),
        (Standardize, {"mean": (0.0, math.inf)}, r"mean is inf in \(0\.0, inf\): .* finite"),
        (Standardize, {"std": (1.0, 0.0)}, r"std is 0\.0 in \(1\.0, 0\.0\): .* above 0"),
        (LogIntensity, {"floor": 0.0}, "floor is 0"),
        (CoherencyFeatures, {"floor": -1.0}, "floor is -1"),
        (RemoveBands, {"noise": 1.5}, r"noise is 1\.5"),
        (PCA, {"components": 0}, r"components is 0: it must be 1 or more"),
    ],
)
def test_numbers_outside_their_ranges_are_refused_when_a_step_is_built(
    kind: Any, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=rf"^{kind.__name__}\..*{message}"):
        kind(**fields)
