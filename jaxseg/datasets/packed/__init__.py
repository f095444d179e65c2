"""`Packed`: a folder that was converted once to tiles of ArrayRecord files."""

from jaxseg.datasets.packed.source import Packed

__all__ = ["Packed"]
