"""Logits of the inner part of an image alone, in less time.

A tile of a map is larger than the part of it that counts. The encoder has to see all of the tile,
but the decoder may leave out at each of its stages what no wanted logit depends on. Design: ours.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array


class InnerLogits(nn.Module):
    """A network that can leave out what only the outer logits depend on.

    It states `inner` beside its `__call__`. A class derived from it with another `__call__` does
    not inherit the promise.
    """

    def inner(self, image: Array, margin: int) -> Array:
        """Logits without those of the outer rows and columns, the same numbers as of all.

        Args:
            image: (B, H, W, C) float32.
            margin: Rows and columns at each side whose logits are not wanted.

        Returns:
            (B, H - 2 margin, W - 2 margin, K) float32 logits, for prediction.
        """
        raise NotImplementedError


def inner_logits(model: nn.Module, variables: Any, image: Array, margin: int) -> Array:  # noqa: ANN401
    """Logits of any network, without those of the outer `margin` rows and columns."""
    if margin and _states_inner(type(model)):
        found: Any = model.apply(variables, image, margin, method="inner")
        return jnp.asarray(found)
    whole: Any = model.apply(variables, image, train=False)
    return without_outer(whole, margin)


def _states_inner(kind: type) -> bool:
    called = next(base for base in kind.__mro__ if "__call__" in vars(base))
    return issubclass(kind, InnerLogits) and "inner" in vars(called)


def without_outer(x: Array, pixels: int) -> Array:
    """(B, h, w, C) -> (B, h - 2 pixels, w - 2 pixels, C)."""
    return x[:, pixels : x.shape[1] - pixels, pixels : x.shape[2] - pixels]


class Decoder:
    """What the stages of a decoder may leave out, of which each doubles the size of its input.

    At the edge of what is left, padding replaces what is missing: a stage spoils as many pixels as
    its kernels reach. They are left out by the next one, or by the margin.
    """

    def __init__(self, margin: int, coarsest: int, reach: int, finest: int = 1) -> None:
        """Goes from the margin back to the coarsest features, which are always whole.

        Args:
            margin: Pixels at each side of the logits that are not wanted.
            coarsest: Stride of the coarsest features.
            reach: Pixels of its own size that a stage sees to each side.
            finest: Sides of the blocks in which the finest features lie; 1 = none.
        """
        self._finest = finest
        self._margin, self._left = margin, {1: max(0, margin - reach) // finest * finest}
        stride = 2
        while stride < coarsest:
            left = max(0, self._left[stride // 2] - reach * stride)
            self._left[stride] = left // stride * stride
            stride *= 2
        self._left[coarsest] = 0

    def skip(self, x: Array, stride: int) -> Array:
        """Features of the encoder: (B, H / stride, W / stride, C), less what is left out."""
        return without_outer(x, self._left[stride] // self._pixels(stride))

    def below(self, x: Array, stride: int) -> Array:
        """Features of the stage before, enlarged to this stride, less what this one leaves out."""
        more = self._left[stride] - self._left[2 * stride]
        return without_outer(x, more // self._pixels(stride))

    def last(self, x: Array, height: int, width: int) -> Array:
        """The wanted pixels of an image of this size, of the last stage."""
        first = self._margin - self._left[1]
        height, width = height - 2 * self._margin, width - 2 * self._margin
        return x[:, first : first + height, first : first + width]

    def _pixels(self, stride: int) -> int:
        """Pixels of the image from one row of an array to the next."""
        return self._finest if stride == 1 else stride
