"""How far a network sees: in theory, and where the energy of its gradient lies.

Source: Luo, Li, Urtasun, Zemel, Understanding the Effective Receptive Field in Deep Convolutional
Neural Networks, NeurIPS 2016, arXiv:1701.04128. Not checked against the authors' code. They draw
the gradient of a central output; the number made of it here, a square with 90 % of its energy, is
our choice, because it can be compared with the side of the theoretical receptive field.
"""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxseg.models.receptive_field import Sight, sight
from jaxseg.models.structure import output_stride

stride = functools.cache(output_stride)

SHARE = 0.9
"""Share of the gradient's energy."""


@functools.cache
def theoretical(model: nn.Module) -> Sight | None:
    """Rows that the logits of a pixel depend on, and their reach; None = the whole image."""
    return sight(model, stride(model))


def farthest(model: nn.Module, seen: Sight) -> int:
    """Pixels to one side beyond which no pixel's logits depend on anything.

    `Sight.border` is counted from the last pixel of a cell of the stride, and the pixel may be its
    first one.
    """
    return seen.border + stride(model) - 1


def can_see(model: nn.Module, distance: int) -> bool:
    """Whether the logits of some pixel may depend on what begins `distance` pixels away."""
    seen = theoretical(model)
    return seen is None or distance <= farthest(model, seen)


def energy(
    model: nn.Module, variables: Any, images: NDArray[np.float32], pixel: tuple[int, int]
) -> NDArray[np.float64]:
    """The squared gradient of a pixel's decision, summed over images and bands.

    The decision is the difference of the logits of the last and the first class.

    Args:
        model: The network.
        variables: Its parameters and running statistics.
        images: (B, H, W, C), as the network takes them.
        pixel: Row and column.

    Returns:
        (H, W) energies.
    """
    y, x = pixel

    def decision(images: jax.Array) -> jax.Array:
        logits = model.apply(variables, images, train=False)[:, y, x]
        return (logits[:, -1] - logits[:, 0]).sum()

    gradient = np.asarray(jax.jit(jax.grad(decision))(jnp.asarray(images)), np.float64)
    return (gradient**2).sum((0, 3))


def half_side(energies: NDArray[np.float64], pixel: tuple[int, int], share: float = SHARE) -> float:
    """Pixels from `pixel` to the sides of the smallest square around it with `share` of the energy.

    Args:
        energies: (H, W).
        pixel: Row and column.
        share: Share of the energy, 0..1.

    Returns:
        The largest of |dy| and |dx| that has to be included; 0 = the pixel itself is enough. NaN
        without any energy: a decision that nothing changes has no receptive field.
    """
    rows, columns = np.indices(energies.shape)
    distance = np.maximum(abs(rows - pixel[0]), abs(columns - pixel[1]))
    inside = np.cumsum(np.bincount(distance.ravel(), energies.ravel()))
    if not inside[-1] > 0:
        return math.nan
    return float(np.searchsorted(inside, share * inside[-1] * (1 - 1e-12)))
