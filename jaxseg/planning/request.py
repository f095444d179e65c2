"""What is asked of the compiler's process: a config, a topology, and the arrays of a batch.

The compiler runs in a process of its own, so that it can be ended and its settings touch nothing
else. It gets the config as a checkpoint stores it. Of the data it needs the number of bands and
classes, which the source of the config states; that of a folder reads the header of a file. No
pixel is read and nothing is downloaded: images count as float32, which is what becomes of them.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from jaxseg import config as configs
from jaxseg import config_text
from jaxseg.config import Config
from jaxseg.config_text import Code
from jaxseg.datasets.domains import Domains
from jaxseg.datasets.landscape.source import Landscape
from jaxseg.datasets.paired import Paired
from jaxseg.datasets.wrapped import leaves, seen, walk
from jaxseg.errors import UserError
from jaxseg.run import completion
from jaxseg.scenes.scene import Sample, Source

Arrays = dict[str, tuple[list[int], str]]
"""Name in the batch -> sizes behind rows and columns, type of the numbers."""

ASSUMED = "float32"
"""Type of images, if the source is not the embedded landscape."""

SIDE = 32
"""Rows and columns of the window that stands for one of the data."""

WHOLE_NUMBERS = ("optical", "hyperspectral")
"""Modalities of the embedded landscape that are stored as uint16; radars as float32."""


@dataclasses.dataclass(frozen=True)
class Request:
    """Everything that the compiler's process needs.

    Attributes:
        config: The config, its number of classes filled in.
        bands: Number of bands of an image.
        arrays: What a window consists of.
        topology: Name of the topology.
        code: Files and packages that define classes of the config.
        data: What is known of the data, in a sentence.
    """

    config: Config
    bands: int
    arrays: Arrays
    topology: str
    code: tuple[str, ...] = ()
    data: str = ""

    def write(self, file: Path) -> None:
        """Writes it as JSON.

        Raises:
            UserError: The config holds something that a checkpoint could not store either.
        """
        named = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        named["config"] = config_text.to_json(self.config)
        file.write_text(json.dumps(named))

    @classmethod
    def read(cls, file: Path) -> "Request":
        """Reads what `write` has written, with the code that it names."""
        named: dict[str, Any] = json.loads(file.read_text())
        code: Code = tuple(configs.load_code(name) for name in named["code"])
        named["config"] = config_text.from_json(named["config"], code)
        named["code"] = tuple(named["code"])
        return cls(**named)


def request(
    config: Config, topology: str, *, bands: int = 0, code: tuple[str, ...] = ()
) -> Request:
    """What to ask for a config.

    Args:
        config: The run.
        topology: Name of the topology.
        bands: Number of bands of an image; 0 = as the source states, which may read its files.
        code: Files and packages that define classes of the config.

    Raises:
        UserError: The source states neither bands nor classes, or the config is inconsistent.
    """
    config = config_text.absolute(config)
    source = config.data.source
    try:
        classes = len(source.classes)
        count = bands or len(source.sensor.bands)
    except UserError as error:
        raise UserError(
            f"{error}\nA plan needs the number of bands of this source: give it, such as "
            "--bands 3, if its files are elsewhere."
        ) from error
    outputs = configs.outputs_of(config, count)
    if getattr(config.model, "num_classes", None) == 0:
        config = dataclasses.replace(config, model=config.model.clone(num_classes=outputs))
    configs.check(config, count)
    sample = _made(config, count)
    arrays = {name: (list(a.shape[2:]), str(a.dtype)) for name, a in sample.items()}
    known = all(isinstance(part, Landscape) for part in leaves(source))
    kind = f"images of {sample['image'].dtype}{'' if known else ' (assumed)'}"
    said = f"{count} bands, {classes} classes; {kind}"
    return Request(config, count, arrays, topology, code, said)


def _made(config: Config, bands: int) -> Sample:
    """A window of zeros with all that a window of this config has."""
    source, side = config.data.source, (SIDE, SIDE)
    sample: Sample = {
        "image": np.zeros((*side, bands), _dtype(seen(source))),
        "label": np.zeros(side, np.uint8),
        "valid": np.ones(side, bool),
        "instance": np.zeros(side, np.int32),
    }
    computed = {wanted.name: wanted(sample) for wanted in completion.inputs_of(config)}
    sample.pop("instance")
    for _, part in walk(source):
        if isinstance(part, Paired):
            more = len(part.side.sensor.bands)
            sample["side"] = np.zeros((*side, more), _dtype(seen(part.side)))
            sample["side_valid"] = np.ones(side, bool)
        if isinstance(part, Domains):
            sample["domain"] = np.ones(side, np.uint8)
    return sample | computed


def _dtype(parts: list[tuple[str, Source]]) -> str:
    """The type of the image that these sources make."""
    optical = [isinstance(p, Landscape) and p.modality in WHOLE_NUMBERS for _, p in parts]
    return "uint16" if all(optical) else ASSUMED
