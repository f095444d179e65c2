"""Your own images and masks, read from where they are."""

from jaxseg.datasets.folder.source import Folder
from jaxseg.datasets.folder.vector_labels import Vectors

__all__ = ["Folder", "Vectors"]
