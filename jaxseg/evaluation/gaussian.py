"""The per-pixel baseline: one Gaussian per class, no context, the classic maximum-likelihood map.

Quadratic discriminant analysis: a pixel x of C bands gets the class with the largest

    log prior_k - 1/2 log det S_k - 1/2 (x - m_k)^T S_k^-1 (x - m_k)

The margin of a network over this baseline is its gain from context. The fit is exact and takes one
pass: per class a count, a mean and a scatter matrix in float64, merged batch by batch.

The covariance S_k is shrunk towards the pooled within-class covariance P as if P had been observed
on `prior_pixels` further pixels, so that a class of few pixels still has a usable covariance and a
class of many keeps its own: S_k = (scatter_k + prior_pixels P) / (n_k + prior_pixels), plus `ridge`
times the variances of P on the diagonal. Classes without a training pixel are never predicted.

**Source:** Swain and Davis, Remote Sensing: The Quantitative Approach, 1978 (the classifier);
Friedman, Regularized Discriminant Analysis, JASA 1989 (shrinkage to the pooled covariance); Chan,
Golub and LeVeque, 1979 (merging the sums without cancellation). Checked against
`scipy.stats.multivariate_normal`.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.scenes.scene import IGNORE

Array = NDArray[np.float64]

_PIXELS_AT_A_TIME = 65_536


@dataclass
class GaussianClassifier:
    """Fitted by any number of `fit` calls, whose order and batch sizes do not matter.

    Attributes:
        num_classes: K.
        prior_pixels: Weight of the pooled covariance, in pixels; None = the number of bands.
        ridge: Share of the pooled variances that is added to every covariance's diagonal.
        count: (K,) number of training pixels; the class priors are their shares.
        mean: (K, C) class means, after the first `fit`.
        scatter: (K, C, C) sums of (x - mean)(x - mean)^T, after the first `fit`.
    """

    num_classes: int
    prior_pixels: float | None = None
    ridge: float = 1e-6
    count: Array = field(init=False)
    mean: Array = field(init=False)
    scatter: Array = field(init=False)
    _fitted: list[tuple[int, Array, float]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        """Starts without pixels; the first `fit` determines the number of bands."""
        self.count = np.zeros(self.num_classes)
        self.mean = np.zeros((self.num_classes, 0))
        self.scatter = np.zeros((self.num_classes, 0, 0))

    def fit(self, pixels: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> None:
        """Adds training pixels.

        Args:
            pixels: (N, C) finite, already preprocessed.
            labels: (N,) class ids; pixels of IGNORE are left out.

        Raises:
            ValueError: A pixel is not finite, a label is not a class, or C differs from before.
        """
        if self.mean.shape[1] == 0:
            bands = pixels.shape[1]
            self.mean = np.zeros((self.num_classes, bands))
            self.scatter = np.zeros((self.num_classes, bands, bands))
        self._check(pixels)
        present = np.unique(labels)
        if unknown := [k for k in present if k != IGNORE and not 0 <= k < self.num_classes]:
            raise ValueError(f"Labels {unknown} are none of the {self.num_classes} classes.")
        self._fitted = []
        for k in present[present != IGNORE]:
            batch = pixels[labels == k].astype(np.float64)
            seen, total = self.count[k], self.count[k] + len(batch)
            mean = batch.mean(axis=0)
            centred, step = batch - mean, mean - self.mean[k]
            self.scatter[k] += centred.T @ centred
            self.scatter[k] += np.outer(step, step) * (seen * len(batch) / total)
            self.mean[k] += step * (len(batch) / total)
            self.count[k] = total

    def covariance(self) -> Array:
        """The regularised covariances, (K, C, C); meaningless for classes without pixels.

        Raises:
            UserError: Nothing was fitted.
        """
        if not self.count.any():
            raise UserError("The per-pixel baseline has not seen any labelled, valid pixel.")
        bands = self.mean.shape[1]
        weight = float(bands) if self.prior_pixels is None else self.prior_pixels
        pooled = self.scatter.sum(axis=0) / self.count.sum()
        variances = np.diag(pooled)
        floor = max(1e-6 * float(variances.max()), 1e-24)  # for bands that never vary
        pixels = np.maximum(self.count + weight, 1e-30)[:, None, None]
        ridge = self.ridge * np.diag(variances + floor)
        return np.asarray((self.scatter + weight * pooled) / pixels + ridge)

    def predict(self, pixels: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
        """The most probable class of each pixel.

        Args:
            pixels: (..., C) finite.

        Returns:
            (...) uint8 class ids.

        Raises:
            UserError: Nothing was fitted, or a class has too few pixels and `prior_pixels` is 0.
            ValueError: A pixel is not finite, or C differs from the fit's.
        """
        fitted = self._discriminants()
        self._check(pixels)
        flat = pixels.reshape(-1, pixels.shape[-1])
        known = np.array([k for k, _, _ in fitted], np.uint8)
        out = np.empty(len(flat), np.uint8)
        for start in range(0, len(flat), _PIXELS_AT_A_TIME):
            part = flat[start : start + _PIXELS_AT_A_TIME].astype(np.float64)
            scores = np.empty((len(part), len(fitted)))
            for column, (k, whitening, constant) in enumerate(fitted):
                white = (part - self.mean[k]) @ whitening
                scores[:, column] = constant - 0.5 * np.einsum("nc,nc->n", white, white)
            out[start : start + len(part)] = known[scores.argmax(axis=1)]
        return out.reshape(pixels.shape[:-1])

    def _discriminants(self) -> list[tuple[int, Array, float]]:
        """For each fitted class: its id, W with W W^T = S^-1, and log prior - 1/2 log det S."""
        if not self._fitted:
            covariance = self.covariance()
            for k in np.flatnonzero(self.count).tolist():
                try:
                    factor = np.linalg.cholesky(covariance[k])
                except np.linalg.LinAlgError as error:
                    raise UserError(
                        f"Class {k} has {self.count[k]:.0f} training pixels: too few for a "
                        f"covariance of {self.mean.shape[1]} bands. Raise prior_pixels or ridge."
                    ) from error
                prior = math.log(self.count[k] / self.count.sum())
                half_log_det = float(np.log(np.diag(factor)).sum())
                self._fitted.append((k, np.linalg.inv(factor).T, prior - half_log_det))
        return self._fitted

    def _check(self, pixels: NDArray[np.floating[Any]]) -> None:
        if pixels.shape[-1] != self.mean.shape[1]:
            bands = (
                f"{pixels.shape[-1]} bands, and the classifier was fitted to {self.mean.shape[1]}"
            )
            raise ValueError(f"The pixels have {bands}.")
        if not np.isfinite(pixels).all():
            raise ValueError("A pixel is not finite: pass only the pixels where valid is True.")
