"""Class weights: numbers, or a rule that computes them from how often each class is labelled.

A loss holds one or the other. Before training starts, a rule is replaced by the numbers measured on
the training split, so that a stored config states what was trained.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError

Rule = Literal["inverse_frequency", "median_frequency", "enet", "linknet"]
RULES: tuple[Rule, ...] = get_args(Rule)

ClassWeights = tuple[float, ...] | Rule
"""One weight per class, empty = all ones, or a rule."""


@dataclass(frozen=True)
class ClassCounts:
    """How often each class is labelled.

    Attributes:
        pixels: Valid labelled pixels of each class.
        around: Valid labelled pixels of all scenes in which each class occurs.
    """

    pixels: tuple[int, ...]
    around: tuple[int, ...]

    def shares(self) -> NDArray[np.float64]:
        """The share of each class in the labelled pixels, (K,)."""
        return np.array(self.pixels, np.float64) / sum(self.pixels)

    def weights(self, rule: Rule) -> tuple[float, ...]:
        """One weight per class, to six digits; 0 for a class without any labelled pixel.

        - `inverse_frequency`: 1 / p, divided by the largest: the rarest class has weight 1. The
          U-Net's wc as implemented in bioimaging-lab/deepCyAn.
        - `median_frequency`: median(f) / f, where f is the class's share in the scenes that contain
          it. Source: Eigen, Fergus, ICCV 2015, section 4.3.2.
        - `enet`: 1 / ln(1.02 + p). Source: Paszke et al., ENet, 2016, arXiv:1606.02147.
        - `linknet`: 1 / ln(1.02 + n / max(n)). Source: the code of e-lab/LinkNet.

        p is a class's share of all labelled pixels, n its number of pixels.
        """
        present = np.array(self.pixels) > 0
        pixels = np.array(self.pixels, np.float64)[present]
        if rule == "inverse_frequency":
            found = pixels.min() / pixels
        elif rule == "median_frequency":
            frequency = pixels / np.array(self.around, np.float64)[present]
            found = np.median(frequency) / frequency
        elif rule == "enet":
            found = 1 / np.log(1.02 + pixels / pixels.sum())
        else:
            found = 1 / np.log(1.02 + pixels / pixels.max())
        weights = np.zeros(len(present))
        weights[present] = found
        return tuple(float(f"{weight:.6g}") for weight in weights)


def weights_of(class_weights: ClassWeights, num_classes: int) -> jax.Array:
    """The weights, (K,) float32; ones if empty.

    Raises:
        UserError: Their number is not K, or they are a rule that has not been replaced.
    """
    if isinstance(class_weights, str):
        raise UserError(
            f"class_weights {class_weights!r} is a rule and has to be replaced by numbers first: "
            "jaxseg.run.completion.completed(config) does so with the training split."
        )
    if class_weights and len(class_weights) != num_classes:
        raise UserError(
            f"{len(class_weights)} class weights for {num_classes} classes: give one per class, "
            "or none."
        )
    return jnp.asarray(class_weights or (1.0,) * num_classes, jnp.float32)


def check_weights(weight: float, class_weights: ClassWeights) -> None:
    """Rejects an invalid factor or invalid class weights of a loss.

    Raises:
        UserError: A weight is negative or not finite, all are 0, or the rule does not exist.
    """
    if isinstance(class_weights, str):
        if class_weights not in RULES:
            raise UserError(
                f"class_weights {class_weights!r} is not a rule: give one of {', '.join(RULES)}, "
                "or one number per class."
            )
        class_weights = ()
    for value in (weight, *class_weights):
        if not (math.isfinite(value) and value >= 0):
            raise UserError(f"A loss has the weight {value}: it must be finite, 0 or more.")
    if class_weights and not any(class_weights):
        raise UserError("class_weights are all 0: nothing would be trained. Give one above 0.")
