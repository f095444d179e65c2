"""From scenes to batches, on the host: which windows, read, cut and stacked."""

from jaxseg.pipeline.windows import Data

__all__ = ["Data"]
