"""Labelled collections: one file each, a frozen dataclass that fulfils `jaxseg.scenes.Source`."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxseg.datasets.arrays import ArrayScene
    from jaxseg.datasets.domains import Domains
    from jaxseg.datasets.folder import Folder
    from jaxseg.datasets.held_out import HeldOut
    from jaxseg.datasets.indian_pines import IndianPines
    from jaxseg.datasets.landscape import Landscape
    from jaxseg.datasets.mislabelled import Mislabelled
    from jaxseg.datasets.packed import Packed
    from jaxseg.datasets.paired import Paired, Stacked
    from jaxseg.datasets.pets import OxfordPets
    from jaxseg.datasets.polsar import LabelledPolsar
    from jaxseg.datasets.salinas_a import SalinasA
    from jaxseg.datasets.stages import Stage
    from jaxseg.datasets.styled import Styled
    from jaxseg.datasets.voc import VOC
    from jaxseg.datasets.without_doubts import WithoutDoubts

__all__ = [
    "VOC",
    "ArrayScene",
    "Domains",
    "Folder",
    "HeldOut",
    "IndianPines",
    "LabelledPolsar",
    "Landscape",
    "Mislabelled",
    "OxfordPets",
    "Packed",
    "Paired",
    "SalinasA",
    "Stacked",
    "Stage",
    "Styled",
    "WithoutDoubts",
]

_ROOMS = {
    "VOC": "voc",
    "ArrayScene": "arrays",
    "Domains": "domains",
    "Folder": "folder",
    "HeldOut": "held_out",
    "IndianPines": "indian_pines",
    "LabelledPolsar": "polsar",
    "Landscape": "landscape",
    "Mislabelled": "mislabelled",
    "OxfordPets": "pets",
    "Packed": "packed",
    "Paired": "paired",
    "SalinasA": "salinas_a",
    "Stacked": "paired",
    "Stage": "stages",
    "Styled": "styled",
    "WithoutDoubts": "without_doubts",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  (any class)
    """Loads a collection on first use: some import libraries that the others do not need."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_ROOMS[name]}"), name)
