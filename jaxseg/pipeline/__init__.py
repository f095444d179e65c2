"""From scenes to batches, on the host: windows are chosen, read, cut and stacked."""

from jaxseg.pipeline.windows import Data

__all__ = ["Data"]
