"""Semantic segmentation of Earth observation in JAX/Flax, from a laptop to a TPU pod.

    import jaxseg

    model = jaxseg.UNet(num_classes=5)            every network, loss, transform and dataset
    run = jaxseg.load_run("runs/unet")            a trained network
    classes = run.predict(image)                  (H, W) uint8, 255 = no data

Letters of shapes, everywhere: B batch, H rows, W columns, C bands, K classes, F features; channels
last. Importing this file imports nothing else: a name is loaded when it is first used.
"""

import importlib
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxseg.config import Config as Config
    from jaxseg.config import load_config as load_config
    from jaxseg.datasets import *  # noqa: F403
    from jaxseg.evaluation.evaluate import evaluate as evaluate
    from jaxseg.losses import *  # noqa: F403
    from jaxseg.models import *  # noqa: F403
    from jaxseg.models.parts.normalisation import Normalisation as Normalisation
    from jaxseg.optimizer import Optimizer as Optimizer
    from jaxseg.pipeline import Data as Data
    from jaxseg.run.loaded import Run as Run
    from jaxseg.run.loaded import load_run as load_run
    from jaxseg.run.training import train as train
    from jaxseg.scenes import Sensor as Sensor
    from jaxseg.sharding import MeshShape as MeshShape
    from jaxseg.transforms import *  # noqa: F403
    from jaxseg.weights import Pretrained as Pretrained

    __version__: str

_HERE = Path(__file__).parent

_NAMES = {
    "Config": "config",
    "Data": "pipeline",
    "MeshShape": "sharding",
    "Normalisation": "models.parts.normalisation",
    "Optimizer": "optimizer",
    "Pretrained": "weights",
    "Run": "run.loaded",
    "Sensor": "scenes",
    "evaluate": "evaluation.evaluate",
    "load_config": "config",
    "load_run": "run.loaded",
    "train": "run.training",
}
"""Public name -> module, for names that are not networks, datasets, losses or transforms."""

_FAMILIES = {
    "models": r"^    num_classes: int",
    "datasets": r"^    def scenes\(|^    def changed\(",
    "losses": r"^    weight: float",
    "transforms": r"^    def __call__\(self, (image|key)",
}
"""Folder -> pattern by which its public classes are found, so that a new file needs no entry."""


def shipped_configs() -> dict[str, Path]:
    """The configs that are part of the library, by name."""
    # In a wheel they are inside the package, in a checkout beside it.
    folder = _HERE / "configs" if (_HERE / "configs").is_dir() else _HERE.parent / "configs"
    return {file.stem: file for file in sorted(folder.glob("*.py"))}


def __getattr__(name: str) -> Any:  # noqa: ANN401  (any object)
    if name == "__version__":
        from importlib.metadata import version  # it takes most of the time of an import of jaxseg

        return version("jaxseg")
    if name in _NAMES:
        return getattr(importlib.import_module(f"jaxseg.{_NAMES[name]}"), name)
    room = _classes().get(name)
    if room is None:
        raise AttributeError(f"module 'jaxseg' has no attribute {name!r}")
    return getattr(importlib.import_module(room), name)


def __dir__() -> list[str]:
    return sorted(["__version__", "shipped_configs", *_NAMES, *_classes()])


@cache
def _classes() -> dict[str, str]:
    """Public class -> the module that defines it, read from the files without running them."""
    found: dict[str, str] = {}
    for family, mark in _FAMILIES.items():
        for file in sorted((_HERE / family).rglob("*.py")):
            place = file.relative_to(_HERE.parent).with_suffix("")
            if "parts" in place.parts:
                continue
            parts = re.split(r"^(?=class )", file.read_text(), flags=re.MULTILINE)[1:]
            marked: set[str] = set()
            for text in parts:
                name, bases = re.match(r"class (\w+)\(?(.*)", text).groups()  # type: ignore[union-attr]
                if re.search(mark, text, re.MULTILINE) or marked & set(re.findall(r"\w+", bases)):
                    marked.add(name)
                    if not name.startswith("_") and "Protocol" not in bases:
                        found.setdefault(name, ".".join(place.parts))
    return found
