"""The best mIoU that a classifier of single pixels can reach on `landscape`, from its densities.

    python benchmarks/landscape_ceiling.py                 about 2 minutes on 2 cores
    python benchmarks/landscape_ceiling.py --seasons       the same for `Landscape(seasons=True)`

1. *Shares.* The share of every class is measured on tiles that no split contains.
2. *Posteriors.* Pixels are drawn from the known distribution of every surface. p(pixel | surface)
   is exact for optical (a Gaussian mixture of log reflectances) and a quadrature over states for
   the radars (Gamma and complex Wishart mixtures). For hyperspectral it is the density of the
   state itself: the noise-free abundances contain at least as much information as the spectrum, so
   this number is an upper bound.
3. *Decisions.* mIoU is a sum of fractions, so the best rule is not the most probable class:
   Frank-Wolfe steps from many starts search for the rule that maximises the mean IoU itself; pixels
   of equal value may be split among classes at random. The problem is not concave: the result is
   the best of all starts, which agree to 0.001.

With seasons, which exchange the classes of two pairs, single pixels tell the classes of such a pair
only by half. Classifiers of w x w pixels that make no other error are stated beside it: they toss a
coin where their window misses the strip that shows the season. The share of such pixels is counted
on fresh scenes.
"""

import argparse
import sys
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from jaxseg.datasets.landscape.builder import Settings, record
from jaxseg.datasets.landscape.map import CLASSES, draw
from jaxseg.datasets.landscape.seasons import CEILING, EXCHANGED, SIDE, exchange
from jaxseg.datasets.landscape.sensors import MATERIAL, coherency, wishart
from jaxseg.datasets.landscape.shapes import SIZE
from jaxseg.datasets.landscape.surfaces import ENDMEMBERS, MODALITIES, SURFACES, Modality, Surface
from jaxseg.scenes.scene import IGNORE

Floats = NDArray[np.float64]

FRESH = 987_654_321
"""Seed of the tiles that measure the shares of the classes; no dataset uses it."""

LOGITS = np.array([1.0] * (len(ENDMEMBERS) - 1) + [0.0])
"""Which numbers of a hyperspectral state but the first are logits."""


def class_shares(tiles: int, edge: int = 0) -> Floats:
    """Share of every class, (K,), without the outer rows and columns of each tile."""
    middle = (slice(edge, SIZE - edge),) * 2
    counts = sum(
        np.bincount(draw(FRESH, "train", index).label[middle].ravel(), minlength=len(CLASSES))
        for index in range(tiles)
    )
    return np.asarray(counts / np.sum(counts))


def season_unseen(sides: Sequence[int], scenes: int) -> Floats:
    """Share of each exchanged pair's pixels whose window misses the strip, (sides, pairs).

    Args:
        sides: Odd sides w of windows that are centred on the pixel and cut at the scene's border.
        scenes: Even number of fresh scenes to count on.
    """
    settings = Settings("optical", (scenes, 0, 0), FRESH, seasons=True)
    pairs = [[CLASSES.index(name) for name in pair] for pair in EXCHANGED]
    unseen, every = np.zeros((len(sides), len(pairs))), np.zeros(len(pairs))
    for index in range(scenes):
        scene = record(settings, "train", index)
        of_pair = [np.isin(scene["label"], pair) for pair in pairs]
        every += [pixels.sum() for pixels in of_pair]
        for row, side in enumerate(sides):
            seen = ndimage.maximum_filter(scene["label"] == IGNORE, side, mode="constant")
            unseen[row] += [(pixels & ~seen).sum() for pixels in of_pair]
    return np.asarray(unseen / every)


def best_of_windows(unseen: Floats) -> Floats:
    """Best expected mIoU of classifiers that miss the season in a share of each pair, (sides,).

    Let a share u of a pair's pixels be without evidence, of which a rule calls a share q the first
    class. In either season a coin would do as well, so the IoUs are 1 - u / (1 + q u) and, with
    1 - q, that of the other class. Their sum is concave and greatest at q = 1/2.
    """
    pair = 2 * (2 - unseen) / (2 + unseen)
    rest = len(CLASSES) - 2 * unseen.shape[1]
    return np.asarray((pair.sum(1) + rest) / len(CLASSES))


def sample_states(surface: Surface, count: int, rng: np.random.Generator) -> Floats:
    """States of independent pixels of a surface, (count, D)."""
    component = rng.choice(len(surface.shares), count, p=surface.shares)
    values, vectors = np.linalg.eigh(surface.covariance())
    root = vectors * np.sqrt(np.maximum(values, 0))
    noise = rng.standard_normal((count, len(surface.texture))) @ root.T
    return np.asarray(np.asarray(surface.means)[component] + noise)


def gaussian_mixture(points: Floats, surface: Surface, frame: Floats) -> Floats:
    """Log density of states, (N,), seen through a linear `frame` (D, D') that makes it proper."""
    precision = np.linalg.inv(frame.T @ surface.covariance() @ frame)
    terms = []
    for share, mean in zip(surface.shares, surface.means, strict=True):
        off = (points - np.asarray(mean)) @ frame
        terms.append(np.log(share) - 0.5 * np.einsum("ni,ij,nj->n", off, precision, off))
    return np.asarray(special.logsumexp(terms, axis=0) + 0.5 * np.linalg.slogdet(precision)[1])


def nodes(surface: Surface, order: int) -> tuple[Floats, Floats]:
    """Gauss-Hermite nodes (Q, D) and log weights (Q,) of a surface's state distribution."""
    place, weight = np.polynomial.hermite_e.hermegauss(order)
    size = len(surface.texture)
    grid = np.stack(np.meshgrid(*[place] * size, indexing="ij"), -1).reshape(-1, size)
    log_weight = np.sum(
        np.stack(np.meshgrid(*[np.log(weight / weight.sum())] * size, indexing="ij"), -1), -1
    ).ravel()
    shift = grid @ np.linalg.cholesky(surface.covariance()).T
    states = [np.asarray(mean) + shift for mean in surface.means]
    weights = [np.log(share) + log_weight for share in surface.shares]
    return np.concatenate(states), np.concatenate(weights)


def pixels(
    modality: Modality, surface: Surface, count: int, looks: int, rng: np.random.Generator
) -> Floats:
    """Independent pixels of a surface: states, or the linear power that radars make of them."""
    state = sample_states(surface, count, rng)
    if modality == "sar":
        return np.asarray(10 ** (state / 10) * rng.gamma(looks, 1 / looks, state.shape))
    if modality == "polsar":
        return wishart((10 ** (state / 10)).astype(np.float32), looks, rng)[:, :5].astype(float)
    return state


def log_density(modality: Modality, points: Floats, surface: Surface, looks: int) -> Floats:
    """Log p(pixel | surface), (N,), up to a constant per pixel."""
    size = points.shape[1]
    if modality == "optical":
        return gaussian_mixture(points, surface, np.eye(size))
    if modality == "hyperspectral":  # logits matter up to a common constant
        return gaussian_mixture(points, surface, np.eye(size)[:, 1:] - np.eye(size)[:, :1] * LOGITS)
    states, log_weights = nodes(surface, 14 if modality == "sar" else 9)
    power = 10 ** (states / 10)
    if modality == "sar":
        linear, log_det = 1 / power, np.log(power).sum(-1)
    else:
        (t11, t22, t33), t12 = (part.T for part in coherency(power.astype(np.float32)))
        det = t11 * t22 - np.abs(t12) ** 2
        linear = np.stack(
            [t22 / det, t11 / det, 1 / t33, -2 * t12.real / det, -2 * t12.imag / det], -1
        )
        log_det = np.log(det * t33)
    parts = np.array_split(points, max(1, len(points) * len(states) // 5_000_000))
    offset = log_weights - looks * log_det
    return np.concatenate(
        [special.logsumexp(offset - looks * part @ linear.T, axis=1) for part in parts]
    )


def posteriors(modality: Modality, shares: Floats, count: int, looks: int) -> tuple[Floats, Floats]:
    """p(class | pixel), (N, K), of equally many pixels per surface, and their weights (N,)."""
    rng = np.random.default_rng(0)
    surfaces = list(SURFACES[modality].values())
    of_surface = np.bincount(MATERIAL, shares)
    drawn = np.concatenate([pixels(modality, surface, count, looks, rng) for surface in surfaces])
    logs = [log_density(modality, drawn, surface, looks) for surface in surfaces]
    joint = np.stack(logs, axis=-1) + np.log(of_surface)
    of_surface_given = np.exp(joint - special.logsumexp(joint, axis=-1, keepdims=True))
    within = shares / of_surface[list(MATERIAL)]
    return of_surface_given[:, MATERIAL] * within, np.repeat(of_surface / count, count)


def best_miou(posterior: Floats, weight: Floats, shares: Floats, starts: int = 30) -> float:
    """The greatest mean IoU over all rules pixel -> class, by Frank-Wolfe from many starts.

    A rule acts through two numbers per class: TP_k, the mass it gets right, and Q_k, the mass it
    calls k; IoU_k = TP_k / (P_k + Q_k - TP_k). The best answer to the gradient is one class per
    pixel, and steps between rules are random mixtures of them.
    """

    def act(score: Floats) -> Floats:
        choice = score.argmax(-1)
        hit = weight * posterior[np.arange(len(choice)), choice]
        size = len(shares)
        return np.stack([np.bincount(choice, hit, size), np.bincount(choice, weight, size)])

    def ious(state: Floats) -> Floats:
        return np.asarray(state[..., 0, :] / (shares + state[..., 1, :] - state[..., 0, :]))

    rng, best = np.random.default_rng(1), 0.0
    steps = np.concatenate([[0], np.geomspace(1e-3, 1, 60)])[:, None, None]
    for _ in range(starts):
        state = act(posterior / shares ** rng.uniform(0, 1) * rng.uniform(0.5, 2, len(shares)))
        for _ in range(40):
            union = shares + state[1] - state[0]
            toward = act(posterior * (1 / union + state[0] / union**2) - state[0] / union**2)
            values = ious(state + steps * (toward - state)).mean(-1)
            if values.max() < values[0] + 1e-6:
                break
            state = state + steps[values.argmax()] * (toward - state)
        best = max(best, float(ious(state).mean()))
    return best


def separated(modality: Modality, shares: Floats) -> float:
    """The same if every pixel told its surface without doubt: a bound that needs no density."""
    kinds = list(dict.fromkeys(SURFACES[modality].values()))
    of_class = [kinds.index(list(SURFACES[modality].values())[material]) for material in MATERIAL]
    mass = np.bincount(of_class, shares)
    posterior = np.where(np.arange(len(kinds))[:, None] == of_class, shares / mass[of_class], 0.0)
    return best_miou(posterior, mass.astype(float), shares, starts=200)


def main() -> None:
    """Prints the shares and, per sensor, the ceiling."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--tiles", type=int, default=400, help="fresh tiles for the shares")
    parser.add_argument("--pixels", type=int, default=20_000, help="pixels drawn per surface")
    parser.add_argument("--looks", type=int, default=4, help="looks of the radars")
    parser.add_argument("--seasons", action="store_true", help="of the landscape with seasons")
    options = parser.parse_args()
    start = time.perf_counter()
    if options.seasons:
        seasons(options)
        return
    shares = class_shares(options.tiles)
    for name, share in zip(CLASSES, shares, strict=True):
        sys.stdout.write(f"{name:10s} {share:7.2%}\n")
    for modality in MODALITIES:
        posterior, weight = posteriors(modality, shares, options.pixels, options.looks)
        plain = np.eye(len(CLASSES))[posterior.argmax(-1)] * weight[:, None]
        hits = (plain * posterior).sum(0)
        most_probable = (hits / (shares + plain.sum(0) - hits)).mean()
        ceiling = best_miou(posterior, weight, shares)
        sys.stdout.write(
            f"{modality:14s} ceiling {ceiling:.3f}   most probable class {most_probable:.3f}   "
            f"surfaces known {separated(modality, shares):.3f}   "
            f"({time.perf_counter() - start:.0f} s)\n"
        )


def seasons(options: argparse.Namespace) -> None:
    """Prints the ceilings of the landscape with seasons."""
    shares = class_shares(options.tiles, (SIZE - SIDE) // 2)
    posterior, weight = posteriors("optical", shares, options.pixels, options.looks)
    either = (posterior + posterior[:, exchange()]) / 2
    ceiling = best_miou(either, weight, (shares + shares[exchange()]) / 2)
    sys.stdout.write(f"single pixels  {ceiling:.3f} mIoU\n")
    unseen = season_unseen(tuple(CEILING), options.tiles)
    for side, missed, miou in zip(CEILING, unseen, best_of_windows(unseen), strict=True):
        sys.stdout.write(
            f"{side:3d} x {side:3d}  season not seen {missed.mean():.3f}   "
            f"season right {1 - missed.mean() / 2:.3f}   {miou:.3f} mIoU\n"
        )


if __name__ == "__main__":
    main()
