"""Weights of other frameworks: read, mapped to this library's networks, and written back."""

from jaxseg.weights.exporting import exported
from jaxseg.weights.new_classes import Incremental
from jaxseg.weights.pretrained import Pretrained, load
from jaxseg.weights.state_dict import read_state_dict, write_state_dict

__all__ = ["Incremental", "Pretrained", "exported", "load", "read_state_dict", "write_state_dict"]
