"""Every flag that a refusal proposes is tried as it is printed, and the comparison then passes."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from jaxseg.datasets.folder.source import Folder
from jaxseg.run.contract import check_split
from jaxseg.scenes.agreement import SensorError
from jaxseg.scenes.sensor import Sensor

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

SIDE = 32
DRAW = np.random.default_rng(0)
POWER = 10 ** DRAW.uniform(-2.2, 0.1, (2, SIDE, SIDE)).astype(np.float32)
LAND = DRAW.integers(80, 3000, (3, SIDE, SIDE)).astype(np.uint16)

DECIBEL = Sensor(("VV", "VH"), typical=((-22.0, -11.0, 1.0),) * 2)
LINEAR = Sensor(("VV", "VH"), typical=((0.006, 0.08, 1.2),) * 2)
COUNTS = Sensor(("B02", "B03", "B04"), typical=((95.0, 1500.0, 2900.0),) * 3)


def folder(place: Path, image: np.ndarray, names: tuple[str, ...], **fields: Any) -> Folder:
    for kind, pixels in (("images", image), ("masks", np.zeros((1, SIDE, SIDE), np.uint8))):
        (place / kind).mkdir()
        with rasterio.open(
            place / kind / "a.tif",
            "w",
            driver="GTiff",
            height=SIDE,
            width=SIDE,
            count=len(pixels),
            dtype=pixels.dtype,
        ) as file:
            file.write(pixels)
            if kind == "images":
                file.descriptions = names
    found = Folder(
        images=str(place / "images"),
        masks=str(place / "masks"),
        classes=("a", "b"),
        fractions=(1.0, 0.0, 0.0),
    )
    return dataclasses.replace(found, **fields)


def with_flags(source: Folder, message: str) -> Folder:
    """The source with the flags of the first line that names some."""
    line = next(line for line in message.splitlines() if "--config" in line)
    found = re.findall(r"--config\.data\.source\.([a-z-]+) (\S+)", line)
    kinds: dict[str, Any] = {"multiply": float, "added": int}
    return dataclasses.replace(
        source,
        **{flag.replace("-", "_"): kinds.get(flag, str)(value) for flag, value in found},
    )


@pytest.mark.parametrize(
    ("trained", "image", "fields"),
    [
        (DECIBEL, POWER, {}),
        (DECIBEL, POWER, {"unit": "decibel"}),  # stated wrongly
        (DECIBEL, POWER, {"unit": "power"}),
        (DECIBEL, np.sqrt(POWER), {"unit": "amplitude"}),
        (dataclasses.replace(DECIBEL, unit="decibel"), POWER, {}),
        (dataclasses.replace(DECIBEL, unit="decibel"), POWER, {"unit": "decibel"}),
        (dataclasses.replace(DECIBEL, unit="decibel"), POWER, {"multiply": 100.0}),
        (dataclasses.replace(DECIBEL, unit="decibel"), np.sqrt(POWER), {"unit": "amplitude"}),
        (LINEAR, 10 * np.log10(POWER), {}),
        (dataclasses.replace(LINEAR, unit="power"), 10 * np.log10(POWER), {"unit": "power"}),
        (dataclasses.replace(LINEAR, unit="power"), 10 * np.log10(POWER), {"unit": "decibel"}),
        (COUNTS, (LAND / 1e4).astype(np.float32), {}),
        (COUNTS, (LAND / 1e4).astype(np.float32), {"multiply": 5.0}),
        (COUNTS, LAND + np.uint16(1000), {}),
    ],
)
def test_a_proposed_flag_mends_what_was_rejected(
    tmp_path: Path, trained: Sensor, image: np.ndarray, fields: dict[str, Any]
) -> None:
    source = folder(tmp_path, image, trained.bands, **fields)
    with pytest.raises(SensorError) as refused:
        check_split(trained, source, source.scenes("train"), "test", SIDE, "other")
    assert str(refused.value).endswith("--no-check")
    mended = with_flags(source, str(refused.value))
    check_split(trained, mended, mended.scenes("train"), "test", SIDE, "other")
