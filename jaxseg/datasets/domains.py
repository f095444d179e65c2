"""Domains: sources of other sensors, seasons or places, joined and numbered.

`DomainBand` of `jaxseg.transforms` gives the number to a network, such as `DomainPrompted`.
"""

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.scenes.scene import Sample, Scenes, Source, Window
from jaxseg.scenes.sensor import Sensor


@dataclass(frozen=True)
class Domains:
    """The scenes of several sources, one after the other.

    Training windows have a further map `domain`, 1 for the first source. The other splits have
    none: which domain a new scene is of is not known.

    Attributes:
        sources: One for each domain, two or more, with the same classes and numbers of bands.
            Classes, colours and sensor are those of the first.
    """

    sources: tuple[Source, ...]

    def __post_init__(self) -> None:
        """Rejects a single domain."""
        if len(self.sources) < 2:
            raise UserError(
                f"Domains of {len(self.sources)} source(s): give two or more, or the source itself."
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of the first source."""
        return self.sources[0].classes

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        """Those of the first source."""
        return self.sources[0].colors

    @property
    def sensor(self) -> Sensor:
        """That of the first source."""
        return self.sources[0].sensor

    def scenes(self, split: str) -> Scenes:
        """The scenes of all.

        Raises:
            UserError: The split is missing, or the sources differ in classes or bands.
        """
        first, *others = self.sources
        for number, other in enumerate(others, start=2):
            if other.classes != first.classes:
                raise UserError(
                    f"Domain {number} has the classes {', '.join(other.classes)}, the first one "
                    f"{', '.join(first.classes)}: all domains need the same."
                )
            if len(other.sensor.bands) != len(first.sensor.bands):
                raise UserError(
                    f"Domain {number} has {len(other.sensor.bands)} band(s), the first one "
                    f"{len(first.sensor.bands)}: all domains need as many, in one order."
                )
        opened = [source.scenes(split) for source in self.sources]
        return _Joined(opened, numbered=split == "train")

    def rgb(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """As the first source displays its bands."""
        return self.sources[0].rgb(image)


class _Joined:
    """Scenes of several sources, one after the other."""

    def __init__(self, parts: Sequence[Scenes], *, numbered: bool) -> None:
        self._parts, self._numbered = parts, numbered
        self._ends = list(itertools.accumulate(map(len, parts)))

    def __len__(self) -> int:
        return self._ends[-1]

    def name(self, index: int) -> str:
        domain, own = self._place(index)
        return f"domain {domain + 1}: {self._parts[domain].name(own)}"

    def size(self, index: int) -> tuple[int, int]:
        domain, own = self._place(index)
        return self._parts[domain].size(own)

    def read(self, index: int, window: Window) -> Sample:
        domain, own = self._place(index)
        sample = self._parts[domain].read(own, window)
        if not self._numbered:
            return sample
        return sample | {"domain": np.full(sample["label"].shape, 1 + domain, np.uint8)}

    def _place(self, index: int) -> tuple[int, int]:
        """The domain of a scene, from 0, and its number there."""
        domain = bisect.bisect_right(self._ends, index)
        return domain, index - (self._ends[domain - 1] if domain else 0)
