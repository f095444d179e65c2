"""Strings in an ONNX file that Deepness reads, a plugin of QGIS, which then makes maps with it.

Read from its source, version 0.6.5 (github.com/PUTvision/qgis-plugin-deepness), in
`src/deepness/processing/models/model_base.py` and `preprocessing_utils.py`:

*   All values are JSON. `model_type` is "Segmentor"; `class_names` an object from "0", "1", ... to
    names; `resolution` is in centimetres per pixel; `tile_size` in pixels (its documents call it
    `tiles_size`, which its code does not read); `tiles_overlap` in per cent; `seg_thresh` a
    probability below which a class is left out; `standardization_mean` and `standardization_std`
    one number for each band.
*   It reads as many bands as the input has, (B, C, H, W) with H = W, whatever their type, and
    computes (value / 255 - mean) / std. A mean of 0 and a std of 1/255 give the network raw values.
*   It has one output of K probabilities for each pixel and takes the largest.
"""

import json
import math

from jaxseg.errors import UserError
from jaxseg.run.loaded import Run

LARGEST_OVERLAP = 50
"""Per cent of a tile; more would mostly compute what is thrown away."""


def metadata(run: Run, size: int, overlap: int | None) -> dict[str, str]:
    """The strings by their keys.

    Args:
        run: The run.
        size: Rows and columns of a tile.
        overlap: Pixels that two tiles should share; None = the network sees the whole tile.

    Raises:
        UserError: The tile has no pixels.
    """
    if size < 1:
        raise UserError(f"Tiles of {size} pixels: give at least 1.")
    percent = LARGEST_OVERLAP
    if overlap is not None:
        percent = min(LARGEST_OVERLAP, math.ceil(100 * overlap / size))
    bands = len(run.sensor.bands)
    values: dict[str, object] = {
        "model_type": "Segmentor",
        "class_names": {str(number): name for number, name in enumerate(run.classes)},
        "tile_size": size,
        "tiles_overlap": percent,
        "seg_thresh": 0.0,
        "standardization_mean": [0.0] * bands,
        "standardization_std": [1 / 255] * bands,
    }
    if run.sensor.gsd is not None:
        values["resolution"] = 100 * run.sensor.gsd
    return {key: json.dumps(value) for key, value in values.items()}
