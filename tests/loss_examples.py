"""What the tests of losses share: one of every loss, a batch for it, and its compiled gradient."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.losses.edges import EdgeAware
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

UNEQUAL = (0.5, 2.0, 1.0)

LOSSES: list[Loss] = [
    CrossEntropy(),
    CrossEntropy(class_weights=UNEQUAL, label_smoothing=0.1),
    BinaryCrossEntropy(class_weights=UNEQUAL),
    Focal(class_weights=UNEQUAL, gamma=0.5),
    HardPixelCrossEntropy(class_weights=UNEQUAL),
    SymmetricCrossEntropy(class_weights=UNEQUAL),
    EdgeWeightedCrossEntropy(class_weights=UNEQUAL),
    EdgeAware(class_weights=UNEQUAL),
    Dice(),
    Dice(class_weights=UNEQUAL, regions="image", smooth=(0.02, 0.01), absent=True),
    GeneralisedDice(class_weights=UNEQUAL, regions="image"),
    Jaccard(class_weights=UNEQUAL, smooth=(0.0, 0.0)),
    Tversky(class_weights=UNEQUAL, regions="image", gamma=4 / 3, absent=True),
    LovaszSoftmax(),
    LovaszSoftmax(class_weights=UNEQUAL, regions="image"),
]
WEIGHTED = [loss for loss in LOSSES if loss.class_weights]  # type: ignore[attr-defined]

# Two pixels, two classes: probabilities (.8, .2) of class 0 and (.4, .6) of class 1.
PAIR = jnp.log(jnp.array([[[[0.8, 0.2], [0.4, 0.6]]]]))
PAIR_LABEL = jnp.array([[[0, 1]]], jnp.uint8)


def example(seed: int = 0, size: int = 6) -> tuple[jax.Array, dict[str, jax.Array], jax.Array]:
    random = np.random.default_rng(seed)
    label = random.integers(0, 3, (4, size, size)).astype(np.uint8)
    label[0, :2] = IGNORE
    batch = {
        "label": jnp.asarray(label),
        "separation": jnp.asarray(random.uniform(0, 20, label.shape), jnp.float32),
    }
    logits = jnp.asarray(random.normal(size=(*label.shape, 3)), jnp.float32)
    return logits, batch, batch["label"] != IGNORE


@functools.cache
def compiled(loss: Loss) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Value and gradient of the logits, compiled once for all tests of one shape."""
    return jax.jit(jax.value_and_grad(loss))


def value_of(loss: Loss, logits: jax.Array, batch: dict[str, jax.Array], valid: jax.Array) -> float:
    return float(compiled(loss)(logits, batch, valid)[0])
