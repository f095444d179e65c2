"""One scene whose image and labels are arrays in .mat, .npy or .npz files."""

from jaxseg.datasets.arrays.source import ArrayScene

__all__ = ["ArrayScene"]
