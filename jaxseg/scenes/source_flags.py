"""The flags that change how a source is read, as a refusal of its numbers proposes them.

What is proposed has to work as it is printed: it starts from the bands and the factor that the
source has already, and names the source that holds them, which may be inside of another one.
"""

import dataclasses
from collections.abc import Sequence

SOURCE = "--config.data.source"
"""How the command line calls the source of a config."""


@dataclasses.dataclass(frozen=True)
class SourceFlags:
    """What of a source flags can change, and how they are called.

    Attributes:
        prefix: What stands before the fields of the source.
        fixed: Name of a source without fields that choose or convert bands; empty = it has them.
        band_numbers: Bands of the files that are read, counted from 1; empty = all.
        told: Fields of one entry a band that the user has given, such as `band-names`.
        multiply: Factor of the numbers.
        convert: Change of their unit.
    """

    prefix: str = SOURCE
    fixed: str = ""
    band_numbers: tuple[int, ...] = ()
    told: tuple[tuple[str, tuple[object, ...]], ...] = ()
    multiply: float = 1.0
    convert: str = ""

    def remedy(self, proposed: str) -> str:
        """What a user can do: what is proposed, if there are flags that do it."""
        if not self.fixed:
            return proposed
        return (
            f"{self.fixed} ({self.prefix}) has no field that chooses or converts bands: give a "
            "source like the run's."
        )

    def bands(self, places: Sequence[int]) -> str:
        """Reads other bands, or in another order: `places` (from 0) of those read so far."""
        numbers = [self.band_numbers[place] if self.band_numbers else place + 1 for place in places]
        flags = {"band-numbers": numbers} | {
            field: [entries[place] for place in places] for field, entries in self.told
        }
        return " ".join(
            f"{self.prefix}.{field} {' '.join(map(str, entries))}"
            for field, entries in flags.items()
        )

    def times(self, factor: float) -> str:
        """Multiplies the numbers by another factor."""
        return f"{self.prefix}.multiply {self.multiply * factor:.6g}"


def flags_of(source: object, prefix: str = SOURCE) -> SourceFlags:
    """The flags of a source that reads files.

    Args:
        source: What is read.
        prefix: How the command line calls it.
    """
    if not hasattr(source, "band_numbers"):
        return SourceFlags(prefix, fixed=type(source).__name__)
    fields = {"band-names": "band_names", "wavelengths": "wavelengths"}
    given = {flag: tuple(getattr(source, field, ())) for flag, field in fields.items()}
    return SourceFlags(
        prefix,
        band_numbers=tuple(source.band_numbers),
        told=tuple((flag, entries) for flag, entries in given.items() if entries),
        multiply=float(getattr(source, "multiply", 1.0)),
        convert=str(getattr(source, "convert", "")),
    )
