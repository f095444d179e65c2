"""What a difference of values means, in words, and the flags that mend it.

A proposed flag is tried as it is printed: after it, the comparison passes.
"""

import numpy as np

from jaxseg.scenes import sentinel2
from jaxseg.scenes.sensor import Sensor
from jaxseg.scenes.source_flags import SourceFlags
from jaxseg.scenes.values import Finding, dark_ends


def explained(
    finding: Finding, trained: Sensor, given: Sensor, where: str, flags: SourceFlags
) -> str:
    """Sentences that say what differs and what to do.

    Args:
        finding: Of `jaxseg.scenes.values`.
        trained: The sensor of the run, or of the other files.
        given: The sensor of the input.
        where: What messages call the input.
        flags: How the input is read now, and the flags that change it.
    """
    band, own, first = given.bands[0], given.typical[0], trained.typical[0]
    ends = dark_ends(np.array(trained.typical, np.float64), np.array(given.typical, np.float64))
    lows = [end.min(initial=np.inf) for end in ends]
    if finding.kind == "linear" and flags.convert.endswith("to-decibel"):
        return (
            f"{where}: no value is below 0 decibel after {flags.convert} (the median of {band} is "
            f"{own[1]:g}), in training {first[1]:g}: the files are not calibrated like those of "
            "the training. Calibrate them to sigma or gamma nought."
        )
    unsure = "" if finding.certain else "If they are the same quantity in another unit: "
    if finding.kind == "linear":
        return (
            f"{where}: no value is below 0 (the median of {band} is {own[1]:g}); the network was "
            f"trained on {trained.unit or 'values'} below 0 ({first[1]:g}), as decibel values are. "
            f"{unsure}{_to_decibel(given.unit, flags)}"
        )
    if finding.kind == "decibel":
        return (
            f"{where}: most values are below 0 (the median of {band} is {own[1]:g}), as decibel "
            f"values are; the network was trained on {trained.unit or 'values'} that never are "
            f"({first[1]:g}). {unsure}{_from_decibel(trained.unit, flags)}"
        )
    if finding.kind == "scale":
        ratio = finding.ratio
        factor = min((255.0, 65535.0, *10.0 ** np.arange(1, 9)), key=lambda f: abs(_log(f, ratio)))
        times = flags.times(factor if ratio < 1 else 1 / factor)
        return (
            f"{where}: the values span {ratio:.2g} times the range that the network was "
            f"trained on (1 to 99 % of {band}: {own[0]:g} to {own[2]:g}, in training {first[0]:g} "
            f"to {first[2]:g}). "
            + (
                flags.remedy(f"If they are the same quantity, read them with {times}")
                if finding.certain
                else "A dark or bright scene (open sea, snow, clouds), or another scale: look at "
                "the unit of the files."
            )
        )
    if finding.kind == "constant":
        if flags.convert:
            return (
                f"{where}: after {flags.convert} every value is {own[1]:g}: the values are not "
                f"{flags.convert.partition('-')[0]}. {_without_conversion(flags)}"
            )
        return f"{where}: every value of {band} is {own[1]:g}."
    if finding.kind == "added":
        told = f"{where}: hardly any value is below {lows[1]:g}, in training {lows[0]:g}: "
        if not finding.certain:
            return (
                f"{told}a bright scene (snow, clouds, bare soil), or a Sentinel-2 product of "
                "processing baseline 04.00 or later (N0400 in its name), whose values are higher "
                f"by {sentinel2.ADDED}."
            )
        less = f"Read them with {flags.prefix}.added {sentinel2.ADDED}"
        if flags.multiply != 1:  # the offset is subtracted before
            less = f"Subtract {sentinel2.ADDED / flags.multiply:g} from the values of the files."
        return (
            f"{told}these seem to be Sentinel-2 products of processing baseline 04.00 or later, "
            f"which add {sentinel2.ADDED}, and no tag or name says so. {flags.remedy(less)}"
        )
    told = f"{where}: values begin at {lows[1]:g}, in training at {lows[0]:g}: the network "
    if not finding.certain:
        return f"{told}was trained on brighter scenes."
    return (
        f"{told}seems to have been trained on Sentinel-2 products of processing baseline 04.00 or "
        f"later without correction. Train it with {flags.prefix}.added {sentinel2.ADDED}"
    )


def conversion(given: str, wanted: str, flags: SourceFlags) -> str:
    """What brings values of one stated unit to another."""
    if flags.fixed:
        return flags.remedy("")
    if wanted == "decibel" and given in ("power", "amplitude"):
        return _to_decibel(given, flags)
    if given == "decibel" and (wanted == "power" or flags.convert):
        return _from_decibel(wanted, flags)
    if flags.convert:
        return f"Read it without {flags.prefix}.convert {flags.convert}."
    if given == "decibel":
        return f"Convert the files to {wanted}."
    return (
        f"Convert the files to {wanted}, or give {flags.prefix}.unit {_word(wanted)} if they are."
    )


def _to_decibel(given: str, flags: SourceFlags) -> str:
    """What turns power or amplitude into decibel; the unit that the flags state may be wrong."""
    if flags.fixed:
        return flags.remedy("")
    if flags.convert:
        return _without_conversion(flags)
    if given == "amplitude":
        flag = flags.converted("amplitude", "decibel")
        return f"Read it as decibel, 20 log10(amplitude), with {flag}"
    power = f"Read it as decibel, 10 log10(power), with {flags.converted('power', 'decibel')}"
    if given == "power":
        return power
    return f"{power}\nor, if it is amplitude, with {flags.converted('amplitude', 'decibel')}"


def _from_decibel(wanted: str, flags: SourceFlags) -> str:
    """What turns decibel into what the network was trained on."""
    if flags.fixed:
        return flags.remedy("")
    if flags.convert:
        return _without_conversion(flags)
    if wanted not in ("", "power"):
        return f"Convert the files to {wanted}: their values are decibel."
    return f"Read it as power, 10^(decibel/10), with {flags.converted('decibel', 'power')}"


def _without_conversion(flags: SourceFlags) -> str:
    return f"Read it without {flags.prefix}.convert {flags.convert}."


def _word(unit: str) -> str:
    """The unit as a shell takes it."""
    return f"'{unit}'" if " " in unit else unit


def _log(factor: float, ratio: float) -> float:
    return abs(float(np.log(ratio))) - float(np.log(factor))
