"""Sources that wrap other sources: their common base class, and walks through their parts."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from jaxseg.scenes import values
from jaxseg.scenes.agreement import refuse_other
from jaxseg.scenes.scene import Scenes, Source, parts
from jaxseg.scenes.sensor import Sensor, Typical, of_bands
from jaxseg.scenes.source_flags import SOURCE, SourceFlags, flags_of
from jaxseg.scenes.values import Finding, difference


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
    trained: Sensor,
    source: Source,
    typical: Typical,
    where: str,
    prefix: str = SOURCE,
    same: str = "",
) -> tuple[str, ...]:
    """Compares the images of a source with what a network was trained on, part by part.

    Args:
        trained: The sensor of the run.
        source: The source that is read.
        typical: Its typical values, as `Sensor` holds them.
        where: Its name in messages.
        prefix: Its flag on the command line.
        same: The flag of the command that leaves the comparison out.

    Returns:
        What is unusual but may be the scene itself, as sentences.

    Raises:
        SensorError: The sensors do not agree; see `jaxseg.scenes.agreement.refuse_other`.
    """
    pairs = _by_parts(trained, source, typical, prefix, same)
    return tuple(
        said for first, own, flags in pairs for said in refuse_other(first, own, where, flags)
    )


def unlike(trained: Sensor, source: Source, typical: Typical) -> Finding | None:
    """The first way in which values differ from those of the training, without rejecting them.

    See `refuse_other_sensor` for the arguments.
    """
    pairs = _by_parts(trained, source, typical, SOURCE, "")
    found = (difference(first, own) for first, own, _ in pairs)
    return next((finding for finding in found if finding is not None), None)


def unlike_files(source: Source, files: Mapping[str, Typical]) -> dict[str, Finding]:
    """Files whose values differ from those of the other files; see `jaxseg.scenes.values.unlike`.

    Args:
        source: The source of the files.
        files: Name of a file -> its typical values.
    """
    found: dict[str, Finding] = {}
    start = 0
    for _, maker in seen(source):
        bands = slice(start, start + len(maker.sensor.bands))
        found |= values.unlike({name: of[bands] for name, of in files.items()}, maker.sensor)
        start = bands.stop
    return found


def _by_parts(
    trained: Sensor, source: Source, typical: Typical, prefix: str, same: str
) -> Iterator[tuple[Sensor, Sensor, SourceFlags]]:
    """What each part was trained on, what it is now, and its flags."""
    given = dataclasses.replace(source.sensor, typical=typical)
    makers = seen(source, prefix)
    if len(makers) == 1 or len(given.bands) != len(trained.bands):
        place, maker = makers[0] if len(makers) == 1 else (prefix, source)
        yield trained, given, flags_of(maker, place, same)
        return
    start = 0
    for place, maker in makers:
        bands = slice(start, start + len(maker.sensor.bands))
        own = dataclasses.replace(maker.sensor, typical=typical[bands])
        yield of_bands(trained, bands), own, flags_of(maker, place, same)
        start = bands.stop


def title(source: Source) -> str:
    """Name of a source in messages: the path of its images, if it has one."""
    places = [str(getattr(leaf, "images", type(leaf).__name__)) for leaf in leaves(source)]
    return " and ".join(places)
