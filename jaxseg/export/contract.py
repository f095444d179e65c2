"""What an exported network reads and answers: a JSON file beside it, with the network's digest.

    NAME.onnx   NAME.onnx.json      NAME.stablehlo   NAME.stablehlo.json

Both files appear whole, the network first, so that a contract that is there fits its network.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jaxseg.export.inference import Inference
from jaxseg.scenes.scene import IGNORE
from jaxseg.system.disk import whole

FORMAT = 1
"""Version of the contract's fields."""


def contract(
    inference: Inference,
    layout: str,
    sizes: Mapping[str, Any],
    **more: Any,  # noqa: ANN401  (what JSON holds)
) -> dict[str, Any]:
    """What stands in the JSON file, without the digest.

    Args:
        inference: What is exported.
        layout: Order of the axes, NHWC or NCHW.
        sizes: Which batches, heights and widths are allowed.
        more: Facts of the format.
    """
    run, sensor = inference.run, inference.run.sensor
    source = run.config.data.source
    return {
        "contract": FORMAT,
        "jaxseg": version("jaxseg"),
        "run": run.name,
        "step": run.step,
        "network": type(run.config.model).__name__,
        "input": {
            "name": "image",
            "layout": layout,
            "dtype": "float32",
            "values": "raw values of the sensor; radiometry is part of the network",
            "bands": list(sensor.bands),
            "wavelengths_nm": list(sensor.wavelengths),
            "polarisations": list(sensor.polarisations),
            "unit": sensor.unit,
            "scale": sensor.scale,
            "offset": sensor.offset,
            "metres_per_pixel": sensor.gsd,
            "quantiles_1_50_99": [list(band) for band in sensor.typical],
            "no_data": {
                "not_finite": "any band",
                "value": _json_number(inference.nodata.value),
                "value_in": "all bands" if inference.nodata.all_bands else "any band",
            },
            **sizes,
        },
        "output": {
            "name": "probabilities",
            "layout": layout.replace("C", "K"),
            "dtype": "float32",
            "values": "probabilities of the classes, which sum to 1; all 0 where there are no data",
            "classes": list(run.classes),
            "colors": [list(color) for color in source.colors],
            "ignore": IGNORE,
            "temperature": run.temperature,
            "thresholds": list(run.thresholds),
        },
        "stride": inference.stride,
        "normalisations_folded": len(inference.folded.folded),
        "normalisations_left": ["/".join(path) for path in inference.folded.left],
        **more,
    }


def write(folder: Path, name: str, content: bytes, facts: dict[str, Any]) -> tuple[Path, Path]:
    """Writes a network and its contract; each appears whole.

    Args:
        folder: Created if it is missing.
        name: Of the network's file.
        content: The network.
        facts: The contract, to which the digest is added.

    Raises:
        UserError: The folder cannot be written to.
    """
    model, beside = folder / name, folder / f"{name}.json"
    facts = facts | {"file": name, "bytes": len(content)}
    facts["sha256"] = hashlib.sha256(content).hexdigest()
    text = json.dumps(facts, indent=2, allow_nan=False) + "\n"
    with whole(model, len(content) + len(text)) as aside:
        folder.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(content)
    with whole(beside) as aside:
        aside.write_text(text, encoding="utf-8")
    return model, beside


def _json_number(value: float | None) -> float | None:
    """None where JSON has no number; a value that is not finite has no data in any case."""
    return value if value is not None and math.isfinite(value) else None
