"""Calibration: whether a network that says 80 % is right in 80 % of such pixels.

The device counts each batch (`measure`) and the host adds up (`CalibrationTotal`), over all
labelled, valid pixels without sampling. Of N pixels, the n_b whose confidence lies in bin b of 15
equal bins have a mean confidence and a share of correct predictions:

    ECE             sum_b n_b / N |share right - mean confidence|       of the most probable class
    classwise ECE   the same for the probability of class k against "the label is k", for every k
    NLL             mean of -log p(label)

A temperature T divides the logits before the softmax; it does not change predictions. The best T
minimises the NLL: the NLL is measured at 13 temperatures from 1/8 to 8 in one pass, and the minimum
of a cubic spline through these values, over log T, is accurate to one percent.

Source: Guo, Pleiss, Sun, Weinberger, On Calibration of Modern Neural Networks, ICML 2017 (ECE with
15 bins (a, b], temperature); Kull et al., Beyond temperature scaling, NeurIPS 2019 (classwise ECE).
Checked against scikit-learn's `calibration_curve` and `log_loss`. The search by grid and spline is
our choice.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.interpolate
from numpy.typing import NDArray

from jaxseg.errors import UserError

BINS = 15

TEMPERATURES = np.exp2(np.arange(-6, 7) / 2)
"""1/8 to 8 in steps of half an octave."""

Array = NDArray[np.float64]
Measured = dict[str, jax.Array]


def measure(
    logits: jax.Array, label: jax.Array, counted: jax.Array, temperature: jax.Array
) -> Measured:
    """The contribution of one batch to the totals.

    Args:
        logits: (B, H, W, K) float32.
        label: (B, H, W) class ids where `counted` is True.
        counted: (B, H, W) bool.
        temperature: () the temperature to evaluate besides 1, or NaN if it is not known yet. If
            NaN, only `nll` is counted, otherwise everything except `nll`; the rest is 0.

    Returns:
        `nll` (B, 13) float32 sums of -log p(label) at each of `TEMPERATURES`; `at` (B, 2) the same
        at T = 1 and `temperature`. For these two temperatures, first for the most probable class,
        then for each class: `pixels` (2, 1 + K, 15) int32, the pixels in each bin of confidence;
        `right`, those that are of the class; `excess` float32, the sum of their confidences minus
        the middle of the bin.
    """
    centred = logits - logits.max(-1, keepdims=True)
    hit = label[..., None].astype(jnp.int32) == jnp.arange(logits.shape[-1])  # (B, H, W, K)
    of_label = jnp.where(hit, centred, 0).sum(-1)

    def nll(t: jax.Array) -> jax.Array:
        each = jax.nn.logsumexp(centred / t, axis=-1) - of_label / t
        return jnp.where(counted, each, 0).sum((1, 2))

    def search() -> Measured:
        return {"nll": jax.lax.map(nll, jnp.asarray(TEMPERATURES, jnp.float32)).T}

    def compare() -> Measured:
        both = jnp.stack([jnp.ones_like(temperature), temperature])
        bins = [_bins(jax.nn.softmax(centred / t, axis=-1), hit, counted) for t in both]
        stacked = (jnp.stack(parts) for parts in zip(*bins, strict=True))
        found = dict(zip(("pixels", "right", "excess"), stacked, strict=True))
        return found | {"at": jax.lax.map(nll, both).T}

    zeros = {
        name: jnp.zeros(shape.shape, shape.dtype)
        for branch in (search, compare)
        for name, shape in jax.eval_shape(branch).items()
    }
    measured: Measured = jax.lax.cond(
        jnp.isnan(temperature), lambda: zeros | search(), lambda: zeros | compare()
    )
    return measured


def _bins(
    p: jax.Array, hit: jax.Array, counted: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`pixels`, `right` and `excess`, (1 + K, 15) each, of probabilities (B, H, W, K)."""
    right = jnp.take_along_axis(hit, jnp.argmax(p, axis=-1, keepdims=True), axis=-1)
    p = jnp.concatenate([p.max(-1, keepdims=True), p], axis=-1)  # (B, H, W, 1 + K)
    hit = jnp.concatenate([right, hit], axis=-1)
    index = jnp.clip(jnp.ceil(p * BINS).astype(jnp.int32) - 1, 0, BINS - 1)
    # Differences to the middle are small and of both signs, so their float32 sum stays exact to
    # many digits, unlike a sum of a million confidences.
    beyond = p - (index + 0.5) / BINS
    # A scatter is 5 times faster than comparisons on a CPU, but slow on accelerators, where
    # thousands of lanes write to a few hundred places.
    sums: tuple[jax.Array, jax.Array, jax.Array] = jax.lax.platform_dependent(
        *(jnp.where(counted[..., None], index, BINS), hit, beyond),
        cpu=_scattered,
        default=_compared,
    )
    return sums


def _scattered(
    index: jax.Array, hit: jax.Array, beyond: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Sums by bin (15 = not counted): every pixel is added to its bin."""
    count = index.shape[-1]
    place = (jnp.arange(count), index)
    zeros = jnp.zeros((count, BINS + 1), jnp.int32)
    sums = (
        zeros.at[place].add(1),
        zeros.at[place].add(hit.astype(jnp.int32)),
        zeros.astype(jnp.float32).at[place].add(beyond),
    )
    return sums[0][:, :BINS], sums[1][:, :BINS], sums[2][:, :BINS]


def _compared(
    index: jax.Array, hit: jax.Array, beyond: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The same sums: every bin is compared with all pixels."""

    def one(b: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        inside, pixels = index == b, (0, 1, 2)
        return (
            inside.sum(pixels, dtype=jnp.int32),
            (inside & hit).sum(pixels, dtype=jnp.int32),
            jnp.where(inside, beyond, 0).sum(pixels),
        )

    pixels, right, excess = jax.lax.map(one, jnp.arange(BINS))  # (15, 1 + K) each
    return pixels.T, right.T, excess.T


@dataclasses.dataclass(frozen=True, eq=False)
class Reliability:
    """Confidence against accuracy for one set of pixels; row 0 is the most probable class.

    Attributes:
        pixels: (1 + K, 15) int64 pixels in each bin of confidence.
        right: (1 + K, 15) int64, number of these pixels that are of the class.
        confidence: (1 + K, 15) the sum of their confidences.
        nll: Mean of -log p(label).
    """

    pixels: NDArray[np.int64]
    right: NDArray[np.int64]
    confidence: Array
    nll: float

    def ece(self) -> Array:
        """(1 + K,) expected calibration error, 0..1; NaN without pixels."""
        total = self.pixels.sum(axis=1).astype(np.float64)
        gap = np.abs(self.right - self.confidence).sum(axis=1)
        return np.asarray(np.divide(gap, total, np.full_like(gap, np.nan), where=total > 0))


class CalibrationTotal:
    """The sum of many batches' `measure`, on the host."""

    def __init__(self) -> None:
        """Starts with nothing counted."""
        self._sums: dict[str, NDArray[Any]] = {}

    def add(self, measured: Measured) -> None:
        """Adds one batch's `measure`, ignoring other entries; waits for the device."""
        for name in ("pixels", "right", "excess", "nll", "at"):
            part = np.asarray(measured[name])
            part = part.astype(np.int64 if part.dtype.kind == "i" else np.float64)
            if name in ("nll", "at"):
                part = part.sum(axis=0)
            self._sums[name] = self._sums.get(name, 0) + part

    def reliability(self) -> tuple[Reliability, Reliability]:
        """The reliability at T = 1 and at the given temperature."""
        middle = (np.arange(BINS) + 0.5) / BINS
        pixels, right = self._sums["pixels"], self._sums["right"]
        confidence = pixels * middle + self._sums["excess"]
        total = int(pixels[0, 0].sum())
        before, after = (
            Reliability(
                pixels=pixels[i],
                right=right[i],
                confidence=confidence[i],
                nll=float(self._sums["at"][i]) / total if total else math.nan,
            )
            for i in range(2)
        )
        return before, after

    def best_temperature(self) -> float:
        """The temperature with the minimum NLL, which may be an end of the range.

        Raises:
            UserError: No pixel was counted.
        """
        if not self._sums["nll"].any():
            raise UserError("No labelled, valid pixel to fit the temperature on.")
        return minimum(self._sums["nll"])


def minimum(nll: Array) -> float:
    """The temperature at the minimum of a cubic spline through the 13 values of the NLL."""
    log_t = np.log(TEMPERATURES)
    spline = scipy.interpolate.CubicSpline(log_t, nll)
    flat = spline.derivative().roots(extrapolate=False)
    candidates = np.concatenate([flat, log_t[[0, -1]]])
    return float(np.exp(candidates[spline(candidates).argmin()]))
