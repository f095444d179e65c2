"""Calibration: whether a network that says 80 % is right in 80 % of such pixels.

The device counts one batch (`measure`), the host adds up (`CalibrationTotal`), over all labelled,
valid pixels; nothing is sampled. With n_b the pixels whose confidence lies in bin b of 15 equal
ones, of N in all, their mean confidence and the share that is right:

    ECE             sum_b n_b / N |share right - mean confidence|       of the most probable class
    classwise ECE   the same of the probability of one class k against "the label is k", for every k
    NLL             mean of -log p(label)

A temperature T divides the logits before the softmax; it changes no prediction. The best one
minimises the NLL: that is measured at 25 temperatures from 1/8 to 8 in one pass, and a parabola
through the lowest and its two neighbours, over log T, gives the minimum between them.

Source: Guo, Pleiss, Sun, Weinberger, On Calibration of Modern Neural Networks, ICML 2017 (ECE with
15 bins (a, b], temperature); Kull et al., Beyond temperature scaling, NeurIPS 2019 (classwise ECE).
Checked against scikit-learn's `calibration_curve` and `log_loss`. The grid and the parabola are
ours.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError

BINS = 15

TEMPERATURES = np.exp2(np.arange(-12, 13) / 4)
"""1/8 to 8 in steps of a quarter of an octave."""

Array = NDArray[np.float64]
Measured = dict[str, jax.Array]


def measure(
    logits: jax.Array, label: jax.Array, counted: jax.Array, temperature: jax.Array
) -> Measured:
    """What one batch adds to the totals.

    Args:
        logits: (B, H, W, K) float32.
        label: (B, H, W) class ids where `counted` holds.
        counted: (B, H, W) bool.
        temperature: () what to divide the logits by for the second half of the bins.

    Returns:
        `bins` (2, 1 + K, 15, 2) int32 pixels and those that are right, for T = 1 and `temperature`,
        first of the most probable class, then of each class; `excess` (2, 1 + K, 15) float32, their
        confidence beyond their bin's middle, summed; `nll` (B, 25) float32 sums of -log p(label) at
        each of `TEMPERATURES`; `at` (B, 2) the same for T = 1 and `temperature`.
    """
    classes = jnp.arange(logits.shape[-1])
    hit = label[..., None].astype(jnp.int32) == classes  # (B, H, W, K)
    centred = logits - logits.max(-1, keepdims=True)
    of_label = jnp.where(hit, centred, 0).sum(-1)

    def nll(t: jax.Array) -> jax.Array:
        each = jax.nn.logsumexp(centred / t, axis=-1) - of_label / t
        return jnp.where(counted, each, 0).sum((1, 2))

    both = jnp.stack([jnp.ones_like(temperature), temperature])
    bins, excess = zip(*(_histogram(centred / t, hit, counted) for t in both), strict=True)
    return {
        "bins": jnp.stack(bins),
        "excess": jnp.stack(excess),
        "nll": jax.lax.map(nll, jnp.asarray(TEMPERATURES, jnp.float32)).T,
        "at": jax.lax.map(nll, both).T,
    }


def _histogram(
    logits: jax.Array, hit: jax.Array, counted: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """(1 + K, 15, 2) int32 and (1 + K, 15) float32 of one batch; see `measure`."""
    p = jax.nn.softmax(logits, axis=-1)
    best = jnp.argmax(logits, axis=-1, keepdims=True)
    right = jnp.where(best == jnp.arange(p.shape[-1]), hit, False).any(-1, keepdims=True)
    p = jnp.concatenate([p.max(-1, keepdims=True), p], axis=-1)  # (B, H, W, 1 + K)
    hit = jnp.concatenate([right, hit], axis=-1)
    index = jnp.clip(jnp.ceil(p * BINS).astype(jnp.int32) - 1, 0, BINS - 1)
    # What lies beyond the middle is small and of both signs, so that its float32 sum stays exact to
    # many digits where a sum of a million confidences would not.
    beyond = p - (index + 0.5) / BINS

    def one(b: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        inside = counted[..., None] & (index == b)
        pixels = (0, 1, 2)
        return (
            inside.sum(pixels, dtype=jnp.int32),
            (inside & hit).sum(pixels, dtype=jnp.int32),
            jnp.where(inside, beyond, 0).sum(pixels),
        )

    count, correct, excess = jax.lax.map(one, jnp.arange(BINS))  # (15, 1 + K) each
    return jnp.stack([count.T, correct.T], axis=-1), excess.T


@dataclasses.dataclass(frozen=True, eq=False)
class Reliability:
    """Confidence against truth of one set of pixels; row 0 is the most probable class.

    Attributes:
        pixels: (1 + K, 15) int64 pixels in each bin of confidence.
        right: (1 + K, 15) int64, how many of them are of the class.
        confidence: (1 + K, 15) the sum of their confidences.
        nll: Mean of -log p(label).
    """

    pixels: NDArray[np.int64]
    right: NDArray[np.int64]
    confidence: Array
    nll: float

    def ece(self) -> Array:
        """(1 + K,) expected calibration error, 0..1; NaN without a pixel."""
        total = self.pixels.sum(axis=1).astype(np.float64)
        gap = np.abs(self.right - self.confidence).sum(axis=1)
        return np.asarray(np.divide(gap, total, np.full_like(gap, np.nan), where=total > 0))


class CalibrationTotal:
    """The sum of many batches' `measure`, on the host."""

    def __init__(self, num_classes: int) -> None:
        """Starts at zero for K classes."""
        self._bins = np.zeros((2, 1 + num_classes, BINS, 2), np.int64)
        self._excess = np.zeros((2, 1 + num_classes, BINS))
        self._nll = np.zeros(len(TEMPERATURES))
        self._at = np.zeros(2)

    def add(self, measured: Measured) -> None:
        """Adds one batch's `measure`; waits for it."""
        self._bins += np.asarray(measured["bins"])
        self._excess += np.asarray(measured["excess"])
        self._nll += np.asarray(measured["nll"]).sum(axis=0, dtype=np.float64)
        self._at += np.asarray(measured["at"]).sum(axis=0, dtype=np.float64)

    def reliability(self) -> tuple[Reliability, Reliability]:
        """At T = 1 and at the temperature that was given."""
        middle = (np.arange(BINS) + 0.5) / BINS
        pixels, right = self._bins[..., 0], self._bins[..., 1]
        total = int(pixels[0, 0].sum())
        before, after = (
            Reliability(
                pixels=pixels[i],
                right=right[i],
                confidence=pixels[i] * middle + self._excess[i],
                nll=float(self._at[i]) / total if total else math.nan,
            )
            for i in range(2)
        )
        return before, after

    def best_temperature(self) -> float:
        """The minimum of the NLL; an end of the range where it falls until there.

        Raises:
            UserError: No pixel was counted.
        """
        if not self._bins.any():
            raise UserError("No labelled, valid pixel to fit the temperature on.")
        return minimum(self._nll)


def minimum(nll: Array) -> float:
    """The temperature at the lowest of 25 values, refined by a parabola over log T."""
    lowest = int(np.argmin(nll))
    if not 0 < lowest < len(nll) - 1:
        return float(TEMPERATURES[lowest])
    left, middle, right = nll[lowest - 1 : lowest + 2]
    bend = left - 2 * middle + right
    shift = 0.5 * (left - right) / bend if bend > 0 else 0.0
    return float(TEMPERATURES[lowest] * 2 ** (0.25 * shift))
