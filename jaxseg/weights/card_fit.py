"""Whether published weights fit a network and the bands of its data, by their card.

1. A band of the data is a trained one if their centres differ by at most 20 nm and no other is
   nearer, where all centres are known; else if their names are the same (R is red, B02 is B2).
2. If each band is the partner of one of the others, kernels are taken in the order of the data.
3. Else a whole network is refused, and the kernels of an encoder are shared among the bands by
   wavelength or name, as in `jaxseg.weights.band_shares`.
4. Data without any common band and without centres are refused.

These rules are our choice.
"""

from collections.abc import Sequence

import flax.linen as nn
import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.scenes.sensor import canonical, listed
from jaxseg.weights.band_shares import shares_by_name, shares_by_wavelength
from jaxseg.weights.card import Card
from jaxseg.weights.families import Part

TOLERANCE = 20.0
"""Nanometres by which the centres of one band may differ: sensors' bands are wider than that."""


def read_part(card: Card, part: Part) -> Part:
    """The part that is read of weights: there is no other than the encoder in the file of one."""
    return "encoder" if card.part == "encoder" else part


def refuse_network(card: Card, model: nn.Module, part: Part) -> None:
    """Refuses a network that these weights do not fit, before their file is fetched.

    Raises:
        UserError: It has another encoder, or it is another network with other classes.
    """
    kind, own = type(model).__name__, getattr(model, "backbone", "")
    if not own:
        raise UserError(
            f"{card.name} is for networks with the encoder {card.backbone}; {kind} has none that "
            "can be chosen. `jaxseg models` lists networks; ResNetUNet has one."
        )
    if own != card.backbone:
        raise UserError(
            f"{card.name} is for the encoder {card.backbone}; this {kind} has {own}. Use "
            f"--config.model.backbone {card.backbone}, or other weights (`jaxseg weights`)."
        )
    classes = getattr(model, "num_classes", 0)
    if part == "all" and (kind != card.network or classes not in (0, len(card.classes))):
        raise UserError(
            f"{card.name} is a {card.network} with {len(card.classes)} classes "
            f"({', '.join(card.classes)}); this is a {kind} with {classes}. Take its encoder "
            "alone: --config.pretrained.part encoder."
        )


def partners(card: Card, bands: Sequence[str], wavelengths: Sequence[float]) -> list[int | None]:
    """Place of the trained band that each band of the data is; None = of none."""
    if _centres_known(card, wavelengths):
        apart = np.abs(np.subtract.outer(np.array(wavelengths), np.array(card.wavelengths)))
        nearest = apart.argmin(1)
        return [
            int(c) if apart[b, c] <= TOLERANCE and apart[:, c].argmin() == b else None
            for b, c in enumerate(nearest)
        ]
    names = [canonical(name) for name in card.bands]
    ours = [canonical(name) for name in bands]
    return [names.index(name) if name in names and ours.count(name) == 1 else None for name in ours]


def shares(
    card: Card, bands: Sequence[str], wavelengths: Sequence[float], part: Part
) -> NDArray[np.float64]:
    """How the kernels of the trained bands are divided among those of the data, (B, C).

    Args:
        card: The card.
        bands: Names of the data's bands.
        wavelengths: Their centres in nm; () or 0 = not known.
        part: What is read of the weights.

    Raises:
        UserError: The data have none of the trained bands, not all of a whole network's, or another
            number of centres than of bands.
    """
    if wavelengths and len(wavelengths) != len(bands):
        raise UserError(
            f"--config.pretrained.wavelengths has {len(wavelengths)} entries for {len(bands)} "
            f"band(s) ({listed(list(bands))}): give one per band, in their order."
        )
    found = partners(card, bands, wavelengths)
    known = [place for place in found if place is not None]
    of_card = f"{card.name} was trained on {listed(card.bands)}"
    if len(known) == len(found) == len(card.bands):
        matrix = np.zeros((len(bands), len(bands)))
        matrix[np.arange(len(bands)), known] = 1
        return matrix
    if part == "all":
        raise UserError(
            f"{of_card}; the data have {listed(list(bands))}. The whole network needs the same "
            "bands, in any order: choose or name them so (--config.data.source.band-names, "
            "--config.data.source.wavelengths), or use --config.pretrained.part encoder."
        )
    if _centres_known(card, wavelengths):
        return shares_by_wavelength(wavelengths, card.wavelengths)
    if not known:
        raise UserError(
            f"{of_card}; none of the data's bands ({listed(list(bands))}) is one of these by its "
            "name. Name them so (--config.data.source.band-names), or give their centres in nm "
            "(--config.pretrained.wavelengths)."
        )
    return shares_by_name([*map(canonical, bands)], [*map(canonical, card.bands)])


def _centres_known(card: Card, wavelengths: Sequence[float]) -> bool:
    """Whether centres can decide: all are known, and the trained ones differ."""
    ours = bool(wavelengths) and all(wavelengths)
    return ours and len(set(card.wavelengths)) == len(card.bands)
