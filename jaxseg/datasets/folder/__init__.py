"""Your own images and masks, read from where they are."""

from jaxseg.datasets.folder.source import Folder

__all__ = ["Folder"]
