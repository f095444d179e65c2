"""Your own images and masks, read where they lie."""

from jaxseg.datasets.folder.source import Folder

__all__ = ["Folder"]
