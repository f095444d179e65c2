"""Value and gradient of every loss that PyTorch, its paper or its reference code has."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.places import GOLDENS

from jaxseg.losses.loss import Loss
from jaxseg.losses.pixels import (
    BinaryCrossEntropy,
    CrossEntropy,
    EdgeWeightedCrossEntropy,
    Focal,
    HardPixelCrossEntropy,
    SymmetricCrossEntropy,
)
from jaxseg.losses.regions import Dice, GeneralisedDice, Jaccard, LovaszSoftmax, Tversky
from jaxseg.scenes.scene import IGNORE

TORCH: dict[str, Loss] = {
    "cross_entropy": CrossEntropy(class_weights=(0.5, 2.0, 1.0, 3.0), label_smoothing=0.1),
    "binary": BinaryCrossEntropy(),
    "binary_of_one_logit": BinaryCrossEntropy(),
    "focal": Focal(class_weights=(0.5, 2.0, 1.0, 3.0)),
    "hard_pixels": HardPixelCrossEntropy(fraction=0.3),
    "symmetric": SymmetricCrossEntropy(),
    "dice_of_brain_segmentation": Dice(class_weights=(0.0, 1.0), absent=True),
    "dice_of_oktay": Dice(regions="image", smooth=(0.02, 0.01), absent=True),
    "generalised_dice": GeneralisedDice(),
    "jaccard": Jaccard(class_weights=(0.5, 2.0, 1.0, 3.0), smooth=(0.0, 0.0)),
    "focal_tversky": Tversky(gamma=4 / 3),
    "lovasz": LovaszSoftmax(),
    "edge_weighted": EdgeWeightedCrossEntropy(class_weights=(0.5, 2.0, 1.0, 3.0)),
}


@pytest.mark.parametrize("name", TORCH)
def test_value_and_gradient_are_those_of_pytorch(name: str) -> None:
    # The inputs follow the rule of goldens/make_losses.py.
    goldens = json.loads((GOLDENS / "losses.json").read_text())
    assert goldens.keys() - {"presence"} == TORCH.keys()  # that one's is in test_presence.py
    expected = np.array(goldens[name]["gradient"])
    rng = np.random.default_rng(7)
    logits = 2 * rng.standard_normal((3, 6, 5, 4)).astype(np.float32)
    label = rng.integers(0, 3, (3, 6, 5))
    label[0, :2] = IGNORE
    label[2, :, 3] = IGNORE
    channels = expected.size // label.size
    logits = logits[..., :channels]
    if channels < 4:
        label[label == 2] = 0
    gap = jnp.arange(label.size, dtype=jnp.float32).reshape(label.shape) / 4
    batch = {"label": jnp.asarray(label, jnp.uint8), "separation": gap}
    value, gradient = jax.value_and_grad(lambda x: TORCH[name](x, batch, batch["label"] != IGNORE))(
        jnp.asarray(logits)
    )
    assert float(value) == pytest.approx(goldens[name]["value"], rel=1e-5)
    expected = expected.reshape(gradient.shape)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5 * abs(expected).max())
