"""Areas and accuracies of a map with confidence intervals, from a stratified reference sample.

The pixels of a map are no estimate of an area: its errors do not cancel. A random sample of places
in each class of the map, whose true class was found out, corrects them. With W_i the share of the
map that is class i, and n_ij the places of the sample that the map calls i and the reference j:

    share of the area     p_ij = W_i n_ij / n_i.
    share within a class  q_ij = n_ij / n_i.,  v_ij = q_ij (1 - q_ij) / (n_i. - 1)
    area of class j       A_j  = A sum_i(p_ij),            S^2(A_j) = A^2 sum_i(W_i^2 v_ij)
    user's accuracy       U_i  = q_ii,                     S^2(U_i) = v_ii
    overall accuracy      O    = sum_i(W_i U_i),           S^2(O)   = sum_i(W_i^2 v_ii)
    producer's accuracy   P_j  = p_jj / sum_i(p_ij),       S^2(P_j) = [ N_j^2 (1 - P_j)^2 v_jj
                                 + P_j^2 sum_(i != j)(N_i^2 v_ij) ] / A_j^2

where A is the area of the map and N_i that of its class i. Intervals are 1.96 standard errors.

**Source:** Olofsson et al., Good practices for estimating area and assessing accuracy of land
change, Remote Sensing of Environment 148, 2014, equations 1 to 11, whose worked example (section 5)
the tests compute.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.metrics.measure import ratio

Z = 1.96
"""Standard errors of a 95 % interval."""

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class AreaEstimates:
    """What a sample says; errors are standard errors.

    Attributes:
        counts: (K, K) places, rows = map, columns = reference.
        mapped: (K,) area of each class in the map.
        area: (K,) estimated area of each class, in the same unit.
        area_error: (K,).
        users: (K,) user's accuracy (precision), NaN of a class that is not in the map.
        users_error: (K,).
        producers: (K,) producer's accuracy (recall), NaN of a class that no place has.
        producers_error: (K,).
        overall: Overall accuracy.
        overall_error: Of it.
    """

    counts: NDArray[np.int64]
    mapped: Array
    area: Array
    area_error: Array
    users: Array
    users_error: Array
    producers: Array
    producers_error: Array
    overall: float
    overall_error: float


def area_estimates(
    counts: NDArray[np.integer], mapped: Array, classes: tuple[str, ...]
) -> AreaEstimates:
    """The stratified estimates; formulas at the top of this file.

    Args:
        counts: (K, K) places of the sample, rows = class of the map, columns = of the reference.
        mapped: (K,) area of each class in the map.
        classes: K names, for messages.

    Raises:
        UserError: A class of the map has fewer than two places, so that nothing is known about its
            error.
    """
    places = counts.sum(axis=1)
    for name, area, own in zip(classes, mapped, places, strict=True):
        if area > 0 and own < 2:
            raise UserError(
                f"The sample has {own} place(s) where the map says {name}. Each class of the map "
                "needs two or more, better 50 (Olofsson et al. 2014): draw some in it."
            )
    total = mapped.sum()
    weight, share = mapped / total, ratio(counts, places[:, None])
    share[mapped == 0] = 0  # a class that is not in the map has no places
    # Of p (1 - p) / (n - 1), the variance of a share within a class of the map.
    spread = share * (1 - share) / np.maximum(places - 1, 1)[:, None]
    joint = weight[:, None] * share
    true = joint.sum(axis=0)
    right = np.diag(share)
    variance = (weight[:, None] ** 2 * spread).sum(axis=0)
    own = np.diag(spread)
    producers = ratio(np.diag(joint), true)
    others = variance - weight**2 * own
    error = weight**2 * (1 - producers) ** 2 * own + producers**2 * others
    seen = mapped > 0
    return AreaEstimates(
        counts=counts.astype(np.int64),
        mapped=mapped,
        area=total * true,
        area_error=total * np.sqrt(variance),
        users=np.where(seen, right, np.nan),
        users_error=np.where(seen, np.sqrt(own), np.nan),
        producers=producers,
        producers_error=np.sqrt(error) / np.where(true > 0, true, np.nan),
        overall=float((weight * right).sum()),
        overall_error=float(np.sqrt((weight**2 * own).sum())),
    )
