"""The flags that change how a source is read, as error messages propose them.

A proposed flag has to work exactly as printed: it starts from the bands and the factor that the
source already has, and it names the source that holds them, which may be nested in another one.
"""

import dataclasses
from collections.abc import Sequence

SOURCE = "--config.data.source"
"""The flag of a config's source on the command line."""


@dataclasses.dataclass(frozen=True)
class SourceFlags:
    """What flags can change about how a source is read.

    Attributes:
        prefix: Prefix of the flags of the source's fields.
        fixed: Class name of a source without fields that choose or convert bands; empty = it has
            such fields.
        band_numbers: Bands of the files that are read, counted from 1; empty = all.
        told: Fields with one entry per band that the user has given, such as `band-names`.
        multiply: Factor that the values are multiplied by.
        convert: Conversion of their unit.
        same: Flag that leaves the comparison out; empty = there is none.
    """

    prefix: str = SOURCE
    fixed: str = ""
    band_numbers: tuple[int, ...] = ()
    told: tuple[tuple[str, tuple[object, ...]], ...] = ()
    multiply: float = 1.0
    convert: str = ""
    same: str = ""

    def or_same(self, message: str) -> str:
        """The message, and the flag that says that the input is the same in spite of it."""
        return (
            f"{message}\nIf the values are right as they are: {self.same}" if self.same else message
        )

    def converted(self, unit: str, wanted: str) -> str:
        """The flags that convert the unit, whatever the flags given so far say of it."""
        flags = f"{self.prefix}.unit {unit} {self.prefix}.convert {unit}-to-{wanted}"
        return flags if self.multiply == 1 else f"{flags} {self.prefix}.multiply 1"

    def remedy(self, proposed: str) -> str:
        """What a user can do: the proposal, if the source has flags for it."""
        if not self.fixed:
            return proposed
        return (
            f"{self.fixed} ({self.prefix}) has no field that chooses or converts bands: give a "
            "source like the run's."
        )

    def bands(self, places: Sequence[int]) -> str:
        """Flags that select or reorder bands: `places` (from 0) among the bands read so far."""
        numbers = [self.band_numbers[place] if self.band_numbers else place + 1 for place in places]
        flags = {"band-numbers": numbers} | {
            field: [entries[place] for place in places] for field, entries in self.told
        }
        return " ".join(
            f"{self.prefix}.{field} {' '.join(map(str, entries))}"
            for field, entries in flags.items()
        )

    def times(self, factor: float) -> str:
        """The flag that multiplies the values by another factor."""
        return f"{self.prefix}.multiply {self.multiply * factor:.6g}"


def flags_of(source: object, prefix: str = SOURCE, same: str = "") -> SourceFlags:
    """The flags of a source that reads files.

    Args:
        source: The source that is read.
        prefix: Its flag on the command line.
        same: Flag of the command that leaves the comparison out.
    """
    if not hasattr(source, "band_numbers"):
        return SourceFlags(prefix, fixed=type(source).__name__, same=same)
    fields = {"band-names": "band_names", "wavelengths": "wavelengths"}
    given = {flag: tuple(getattr(source, field, ())) for flag, field in fields.items()}
    return SourceFlags(
        prefix,
        band_numbers=tuple(source.band_numbers),
        told=tuple((flag, entries) for flag, entries in given.items() if entries),
        multiply=float(getattr(source, "multiply", 1.0)),
        convert=str(getattr(source, "convert", "")),
        same=same,
    )
