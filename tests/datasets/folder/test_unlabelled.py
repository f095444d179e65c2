"""A folder of images without masks: for pre-training."""

from pathlib import Path

import numpy as np
import pytest
from fixtures.folder_files import ids, png, read

from jaxseg.datasets.folder.source import Folder
from jaxseg.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def test_images_without_masks_are_read_with_their_validity_and_one_label(tmp_path: Path) -> None:
    for name in "abc":
        image = np.full((*ids(1).shape, 3), 7, np.uint8)
        image[0, 0] = 0
        png(tmp_path / f"{name}.png", image)
    source = Folder(images=str(tmp_path), classes=("any",), nodata=0.0, fractions=(0.4, 0.3, 0.3))
    sample = read(source)
    assert set(sample) == {"image", "label", "valid"}
    assert not sample["label"].any()
    assert sample["label"].dtype == np.uint8
    assert not sample["valid"][0, 0]
    assert sample["valid"].sum() == sample["valid"].size - 1
    assert [len(source.scenes(split)) for split in ("train", "validation", "test")] == [1, 1, 1]


def test_one_class_with_masks_and_two_without_are_refused() -> None:
    with pytest.raises(UserError, match="classes names 1"):
        Folder(images="x", masks="y", classes=("any",))
    with pytest.raises(UserError, match="or one class for images without labels"):
        Folder(images="x", classes=("a", "b"))
