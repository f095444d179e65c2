"""Discs of the experiment on touching objects have the gap that their image states."""

import sys
from pathlib import Path

import numpy as np
import pytest
from fixtures.places import ROOT
from scipy import ndimage

from jaxseg.datasets import Folder
from jaxseg.metrics import ObjectTotal

sys.path.append(str(ROOT / "benchmarks"))
import touching_discs


@pytest.mark.parametrize("gap", touching_discs.GAPS)
def test_neighbours_are_as_far_apart_as_the_gap(gap: int) -> None:
    image, instance = touching_discs.drawn(gap, seed=gap)
    ids = np.unique(instance[instance > 0])
    assert image.shape == instance.shape == (96, 96)
    assert len(ids) > 8
    assert ndimage.label(instance > 0)[1] == len(ids)  # each disc is one region
    nearest = []
    for name in ids:
        other = ndimage.distance_transform_edt((instance == name) | (instance == 0))
        nearest.append(other[instance == name].min())
    # From centre to centre of pixels: up to a diagonal more than between the circles.
    assert min(nearest) >= gap
    assert np.median(nearest) <= gap + np.sqrt(2)


def test_a_threshold_merges_the_discs_with_the_smallest_gap() -> None:
    def merged(gap: int) -> int:
        image, instance = touching_discs.drawn(gap, seed=0)
        total = ObjectTotal.of(2)
        found = (ndimage.gaussian_filter(image.astype(float), 0.5) > 90).astype(np.uint8)
        total.add(found, (instance > 0).astype(np.uint8), found < 2, instance.astype(np.int32))
        return int(total.merged[1])

    assert merged(1) > 0


def test_the_files_are_a_folder_with_three_splits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(touching_discs, "SPLITS", {"train": 4, "val": 4, "test": 4})
    touching_discs.write(tmp_path)
    source = Folder(
        images=f"{tmp_path}/images",
        instances=f"{tmp_path}/instances",
        classes=("background", "object"),
        split_by="lists",
        lists=f"{tmp_path}/lists",
    )
    names = [Path(source.scenes("test").name(n)).stem for n in range(4)]
    assert names == ["1_008", "2_009", "3_010", "4_011"]
    assert len(source.scenes("train")) == len(source.scenes("validation")) == 4
