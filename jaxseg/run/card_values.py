"""The values of the data against those that published weights were trained on, by their card.

A card states mean and deviation in a unit. What the network sees is `Standardize`, so:

- Another physical unit (decibel against reflectance) is refused.
- A `Standardize()` that a config leaves open takes the card's numbers, as the data store them, if
  unit and bands are the same. Else it is measured, as without a card, and a line says why.
- Numbers that the config gives stay; if they are others than the card's, a line says so.
- A whole network, which was trained with exactly these numbers, is refused in the last two cases.
- Values that are on another scale than the sensor states are refused.

These rules are our choice.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxseg.config import Config
from jaxseg.errors import UserError
from jaxseg.scenes.sensor import Sensor
from jaxseg.transforms.radiometry import LogIntensity, Standardize
from jaxseg.transforms.transform import Preprocess
from jaxseg.weights import card_fit
from jaxseg.weights.card import Card
from jaxseg.weights.families import Part
from jaxseg.weights.notice import say_once

FAR = 20.0
"""Deviations from the card's mean at which the median of a band is on another scale."""

NARROW = 1e-3
"""Deviations between the 1 % and the 99 % quantile of a band below which it is, too."""

SAME = 0.01
"""Deviations by which two means may differ, and share by which two deviations may."""

DIGITAL = "digital number"


class Values(NamedTuple):
    """What reaches `Standardize`: quantity = scale x value + offset.

    Attributes:
        unit: Unit of the quantity; "" = not known.
        scale: Factor of the values.
        offset: Added after it.
        typical: (C, 3) quantiles of the values, (0, 3) if not known.
    """

    unit: str
    scale: float
    offset: float
    typical: NDArray[np.float64]


def adapted(config: Config, sensor: Sensor, *, quiet: bool = False) -> tuple[Preprocess, ...]:
    """The radiometry of a run that starts from a card, and the refusal of other data.

    Args:
        config: The run.
        sensor: The sensor of its data, with typical values if they are known.
        quiet: Whether to say nothing, as where a run continues.

    Raises:
        UserError: Network, bands, unit or scale are not those of the card.
    """
    card = config.pretrained.card
    if card is None or config.init_from is not None:
        return config.preprocess
    part = config.pretrained.read_part
    card_fit.refuse_network(card, config.model, part)
    waves = config.pretrained.wavelengths or sensor.wavelengths
    card_fit.shares(card, sensor.bands, waves, part)
    steps, line = _adapted(config.preprocess, card, sensor, waves, part)
    if line and not quiet:
        say_once(f"Weights: {line}")
    return steps


# -- private ---------------------------------------------------------------------------------------


def _adapted(
    steps: tuple[Preprocess, ...],
    card: Card,
    sensor: Sensor,
    wavelengths: tuple[float, ...],
    part: Part,
) -> tuple[tuple[Preprocess, ...], str]:
    """The steps, and what to say of them."""
    found = [(n, step) for n, step in enumerate(steps) if isinstance(step, Standardize)]
    if not found:
        return steps, _or_refused(
            card, part, f"the config has no Standardize; {card.name} was trained with one"
        )
    at, given = found[0]
    values = _before(steps[:at], sensor)
    places = card_fit.partners(card, sensor.bands, wavelengths)
    if why := _unlike(card, sensor, values, places):
        own = "the config's" if given.fitted else "measured on the data"
        return steps, _or_refused(card, part, f"{why}: mean and deviation are {own}")
    order = [place for place in places if place is not None]
    mean, std = (np.array(numbers)[order] for numbers in (card.mean, card.std))
    _refuse_other_scale(card, sensor, values, mean, std)
    wanted = Standardize(
        mean=_rounded((mean - values.offset) / values.scale), std=_rounded(std / abs(values.scale))
    )
    if not given.fitted:
        line = f"mean and deviation are those of {card.name}, not of the data"
        return (*steps[:at], wanted, *steps[at + 1 :]), line
    if _same(given, wanted):
        return steps, ""
    numbers = f"mean {_listed(wanted.mean)} and deviation {_listed(wanted.std)}"
    return steps, _or_refused(
        card, part, f"the config's Standardize has others than the {numbers} of {card.name}"
    )


def _before(steps: tuple[Preprocess, ...], sensor: Sensor) -> Values:
    """What the steps before `Standardize` make of the sensor's values."""
    typical = np.array(sensor.typical, np.float64).reshape(-1, 3)
    scale = 1.0 if sensor.scale is None else sensor.scale
    if not steps:
        return Values(sensor.unit, scale, sensor.offset, typical)
    plain = scale == 1 and not sensor.offset
    if len(steps) == 1 and isinstance(steps[0], LogIntensity) and sensor.unit == "power" and plain:
        decibel = 10 * np.log10(np.maximum(typical, steps[0].floor))
        return Values("decibel", 1.0, 0.0, decibel)
    return Values("", 1.0, 0.0, typical)


def _unlike(card: Card, sensor: Sensor, values: Values, places: list[int | None]) -> str:
    """Why the card's numbers cannot be those of the data; empty if they can.

    Raises:
        UserError: They are of another kind.
    """
    if values.unit and values.unit != card.unit and DIGITAL not in (values.unit, card.unit):
        raise UserError(
            f"{card.name} was trained on {card.unit} ({card.scaling}); the data are in "
            f"{values.unit}. Convert them (--config.data.source.convert, or LogIntensity before "
            "Standardize), or choose other weights (`jaxseg weights`)."
        )
    if not values.unit:
        return (
            f"the unit of the data is not known (--config.data.source.unit), that of {card.name} "
            f"is {card.unit}"
        )
    if values.unit != card.unit:
        return f"the data are in {values.unit}, {card.name} was trained on {card.unit}"
    names = [None if place is None else card.bands[place] for place in places]
    if None in names:
        return f"{sensor.bands[names.index(None)]} is no band of {card.name}"
    if set(names) & set(card.unlike):
        return f"{card.name} has {', '.join(card.unlike)} in a unit of their own"
    return ""


def _refuse_other_scale(
    card: Card,
    sensor: Sensor,
    values: Values,
    mean: NDArray[np.float64],
    std: NDArray[np.float64],
) -> None:
    """Refuses data whose typical values cannot be the quantity that their sensor states."""
    if not len(values.typical):
        return
    quantity = np.sort(values.scale * values.typical + values.offset, axis=1)
    low, middle, high = ((quantity - mean[:, None]) / std[:, None]).T
    off = (np.abs(middle) > FAR) | (high - low < NARROW)
    if 2 * off.sum() <= len(off):
        return
    band = int(off.argmax())
    stated = "not known" if sensor.scale is None else f"{sensor.scale:g}"
    raise UserError(
        f"{card.name} was trained on {card.unit} of mean {mean[band]:.4g} and deviation "
        f"{std[band]:.4g} in {sensor.bands[band]}; the median "
        f"of the data is {quantity[band, 1]:.4g} with their scale ({stated}). State how values "
        f"become {card.unit}: --config.data.source.multiply, or the scale in the files' tags."
    )


def _same(given: Standardize, wanted: Standardize) -> bool:
    if len(given.mean) != len(wanted.mean):
        return False
    mean, std = np.array(wanted.mean), np.array(wanted.std)
    near = np.abs(np.array(given.mean) - mean) <= SAME * std
    return bool((near & np.isclose(given.std, std, rtol=SAME)).all())


def _or_refused(card: Card, part: Part, line: str) -> str:
    """The line, if only an encoder is read.

    Raises:
        UserError: The whole network is.
    """
    if part == "encoder":
        return line
    raise UserError(
        f"{line[0].upper()}{line[1:]}. The whole network needs the values it was trained on "
        f"({card.scaling}): leave Standardize() open and state unit and scale of the data, or use "
        "--config.pretrained.part encoder."
    )


def _rounded(numbers: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(f"{number:.8g}") for number in numbers)


def _listed(numbers: tuple[float, ...]) -> str:
    return f"({', '.join(f'{number:.5g}' for number in numbers)})"
