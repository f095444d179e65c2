"""Sources that wrap other sources: their common base class, and walks through their parts."""

import dataclasses
from collections.abc import Iterator
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from jaxseg.scenes.agreement import refuse_other
from jaxseg.scenes.scene import Scenes, Source, parts
from jaxseg.scenes.sensor import Sensor, Typical, of_bands
from jaxseg.scenes.source_flags import SOURCE, flags_of


@dataclasses.dataclass(frozen=True)
class Wrapped:
    """A source that changes the training scenes of another source and nothing else.

    Attributes:
        source: The source that is wrapped.
    """

    source: Source

    IMAGE: ClassVar[tuple[str, ...]] = ("source",)

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of the wrapped source."""
        return self.source.classes

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        """Those of the wrapped source."""
        return self.source.colors

    @property
    def sensor(self) -> Sensor:
        """That of the wrapped source."""
        return self.source.sensor

    def scenes(self, split: str) -> Scenes:
        """The scenes of the wrapped source, changed if `split` is `train`.

        Raises:
            UserError: The split is missing, or the source does not allow the change.
        """
        scenes = self.source.scenes(split)
        return self.changed(scenes) if split == "train" else scenes

    def changed(self, scenes: Scenes) -> Scenes:
        """The changed training scenes."""
        raise NotImplementedError

    def rgb(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """As the wrapped source displays its bands."""
        return self.source.rgb(image)


@runtime_checkable
class Composed(Protocol):
    """A source whose image is made of the images of its parts.

    Attributes:
        IMAGE: Fields of the parts whose bands, in this order, are the bands of the image.
    """

    IMAGE: ClassVar[tuple[str, ...]]


def walk(source: Source, prefix: str = SOURCE) -> Iterator[tuple[str, Source]]:
    """The source and all its parts, each with its flag on the command line."""
    yield prefix, source
    for field, part in parts(source).items():
        yield from walk(part, f"{prefix}.{field}")


def leaves(source: Source) -> list[Source]:
    """The sources that wrap no others: those that open files."""
    return [part for _, part in walk(source) if not parts(part)]


def seen(source: Source, prefix: str = SOURCE) -> list[tuple[str, Source]]:
    """The sources whose bands, in this order, form the image, each with its flag."""
    if not isinstance(source, Composed):
        return [(prefix, source)]
    inner = parts(source)
    return [pair for field in source.IMAGE for pair in seen(inner[field], f"{prefix}.{field}")]


def refuse_other_sensor(
    trained: Sensor, source: Source, typical: Typical, where: str, prefix: str = SOURCE
) -> None:
    """Compares the images of a source with what a network was trained on, part by part.

    Args:
        trained: The sensor of the run.
        source: The source that is read.
        typical: Its typical values, as `Sensor` holds them.
        where: Its name in messages.
        prefix: Its flag on the command line.

    Raises:
        SensorError: The sensors do not agree; see `jaxseg.scenes.agreement.refuse_other`.
    """
    given = dataclasses.replace(source.sensor, typical=typical)
    makers = seen(source, prefix)
    if len(makers) == 1 or len(given.bands) != len(trained.bands):
        place, maker = makers[0] if len(makers) == 1 else (prefix, source)
        refuse_other(trained, given, where, flags_of(maker, place))
        return
    start = 0
    for place, maker in makers:
        bands = slice(start, start + len(maker.sensor.bands))
        own = dataclasses.replace(maker.sensor, typical=typical[bands])
        refuse_other(of_bands(trained, bands), own, where, flags_of(maker, place))
        start = bands.stop


def title(source: Source) -> str:
    """Name of a source in messages: the path of its images, if it has one."""
    places = [str(getattr(leaf, "images", type(leaf).__name__)) for leaf in leaves(source)]
    return " and ".join(places)
