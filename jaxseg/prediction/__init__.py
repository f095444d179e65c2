"""A run and a scene in, a georeferenced map out."""

from jaxseg.prediction.image import Image
from jaxseg.prediction.predict import Mapper
from jaxseg.prediction.settings import Settings, Share
from jaxseg.prediction.tiling import Grid

__all__ = ["Grid", "Image", "Mapper", "Settings", "Share"]
