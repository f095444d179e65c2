"""Semantic segmentation of Earth observation in JAX/Flax, from a laptop to a TPU pod.

    import jaxseg

    model = jaxseg.UNet(num_classes=5)            every network, loss, transform and dataset
    run = jaxseg.load_run("runs/unet")            a trained network
    classes = run.predict(image)                  (H, W) uint8, 255 = no data

Letters of shapes, everywhere: B batch, H rows, W columns, C bands, K classes, F features; channels
last. Importing this file imports nothing else: a name is loaded when it is first used. (That it
takes no time matters to Ctrl-C, see `jaxseg.system.interrupts`.)
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # as type checkers know it, without the import of typing
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

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

_HERE = os.path.dirname(__file__)  # noqa: PTH120

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
    "transforms": r"^    def __call__\(self, (image|key|batch)",
}
"""Folder -> pattern by which its public classes are found, so that a new file needs no entry."""


def shipped_configs() -> dict[str, Path]:
    """The configs that are part of the library, by name."""
    from pathlib import Path

    # In a wheel they are inside the package, in a checkout beside it.
    inside = Path(_HERE) / "configs"
    folder = inside if inside.is_dir() else Path(_HERE).parent / "configs"
    return {file.stem: file for file in sorted(folder.glob("*.py"))}


def __getattr__(name: str) -> Any:  # noqa: ANN401  (any object)
    if name == "__version__":
        from importlib.metadata import version

        return version("jaxseg")
    # Python asks for modules here, too, which are not looked for in the files.
    room = f"jaxseg.{_NAMES[name]}" if name in _NAMES else ""
    if not room and name[:1].isupper():
        room = _classes().get(name, "")
    if not room:
        raise AttributeError(f"module 'jaxseg' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(room), name)


def __dir__() -> list[str]:
    return sorted(["__version__", "shipped_configs", *_NAMES, *_classes()])


_found: dict[str, str] = {}


def _classes() -> dict[str, str]:
    """Public class -> the module that defines it, read from the files without running them."""
    return _found or _searched(_found)


def _searched(found: dict[str, str]) -> dict[str, str]:
    import re
    from pathlib import Path

    here = Path(_HERE)
    for family, mark in _FAMILIES.items():
        for file in sorted((here / family).rglob("*.py")):
            place = file.relative_to(here.parent).with_suffix("")
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
