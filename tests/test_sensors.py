"""Sensors compared on one ground: equal labels and gaps, and tables that say what is not known."""

import sys
from typing import Any

import numpy as np
import pytest
from fixtures.places import ROOT

from jaxseg.scenes.scene import Window

sys.path.append(str(ROOT / "benchmarks"))
import sensors
from sensors_parts import tables
from sensors_parts.ground import Middle


class _Drawn:
    """One scene whose pixels state their row and column."""

    def __init__(self, side: int, missing: int) -> None:
        self.side, self.missing, self.reads = side, missing, 0

    def __len__(self) -> int:
        return 1

    def name(self, index: int) -> str:
        return f"scene {index}"

    def size(self, index: int) -> tuple[int, int]:
        return self.side, self.side

    def read(self, index: int, window: Window) -> dict[str, Any]:
        self.reads += 1
        image = np.stack(np.mgrid[: self.side, : self.side], -1) + (128 - self.side) // 2
        part = image[window.y : window.y + window.height, window.x : window.x + window.width]
        return {"image": part, "label": part[..., 0], "valid": part[..., 0] != self.missing}


def test_sensors_of_other_tile_sizes_see_one_ground_with_one_mask() -> None:
    window = Window(3, 60, 32, 64)
    optical = _Drawn(256, missing=10)
    wide, narrow = (Middle(_Drawn(side, missing=20), optical) for side in (256, 128))
    one, other = wide.read(0, window), narrow.read(0, window)
    assert wide.size(0) == narrow.size(0) == (128, 128)
    for name in ("image", "label", "valid"):
        np.testing.assert_array_equal(one[name], other[name])
    assert one["image"][0, 0].tolist() == [3, 60]
    # Rows 10 and 20 of the ground, which the one or the other sensor has not seen.
    assert np.flatnonzero(~one["valid"][:, 0]).tolist() == [7, 17]
    one["label"][:] = -1
    assert (wide.read(0, window)["label"] == other["label"]).all()  # what is kept is not changed
    assert optical.reads == 2  # once for each sensor


@pytest.mark.parametrize("parts", [["sensors"], ["designs"], list(tables.PARTS)])
def test_every_table_has_its_runs_and_every_run_a_table(parts: list[str]) -> None:
    assert tables.wanted(parts) <= sensors.RUNS.keys() == tables.TITLES.keys()
    assert tables.wanted(tables.PARTS) == sensors.RUNS.keys()


@pytest.mark.parametrize(("name", "plain"), tables.DESIGNS)
def test_a_design_and_what_it_is_compared_with_see_the_same_data(name: str, plain: str) -> None:
    one, other = (
        sensors.planned(sensors.RUNS[each], steps=100, rate=1e-2, seed=1) for each in (name, plain)
    )
    assert one.data == other.data
    assert one.optimizer == other.optimizer


def numbers(miou: float) -> dict[str, float]:
    ious = {f"iou/{name}": miou for name in tables.CLASSES}
    return {"miou": miou, "parameters": 5000, "cpu_s": 7.0} | ious


def test_the_tables_mark_what_is_not_known() -> None:
    results = {name: [numbers(0.5), numbers(0.6)] for name in tables.wanted(["sensors"])}
    results["unet_sar"] = [numbers(0.4), numbers(0.502)]
    results["unet_polsar"] = [numbers(0.4), numbers(0.72)]
    pilots = {name: {3e-3: 0.3, 1e-2: 0.2} for name in results}
    text = tables.text(results, pilots, ["sensors"])
    assert "| U-Net | 0.550 ± 0.071 | 0.451 ± 0.072 | 0.560 ± 0.226 | 0.550 ± 0.071 |" in text
    known, unknown = "-0.099 (-0.112 to -0.086)", "+0.010 (-1.388 to +1.408) ?"
    assert f"| U-Net | {known} | {unknown} | +0.000 (+0.000 to +0.000) ? |" in text
    assert f"| lake | 0.550 ± 0.071 | {known} | {unknown} |" in text
    assert "| U-Net, SAR | 5 k | 7 | 0.300 | 0.200 | 0.003 |" in text
    assert tables.TITLES["multiscale_sar"] not in text
