"""What a source looks like while its classes come one after the other."""

import numpy as np
import pytest
from fixtures import painted

from jaxseg.datasets.leakage import check_splits
from jaxseg.datasets.stages import BACKGROUND_COLOR, Stage
from jaxseg.errors import UserError
from jaxseg.scenes.scene import IGNORE, Window, parts

SOURCE = painted.Painted()  # land, water, ice
STAGE = Stage(SOURCE, new=("land",), old=("ice",))


def labels(source: Stage | painted.Painted, split: str) -> np.ndarray:
    scenes = source.scenes(split)
    return scenes.read(0, Window(0, 0, *scenes.size(0)))["label"]


def test_training_labels_know_new_classes_alone_and_tests_those_that_have_come() -> None:
    assert STAGE.classes == ("other", "ice", "land")
    assert STAGE.colors == (BACKGROUND_COLOR, painted.COLORS[2], painted.COLORS[0])
    for split, ids in {"train": (2, 0, 0), "validation": (2, 0, 1), "test": (2, 0, 1)}.items():
        before, after = labels(SOURCE, split), labels(STAGE, split)
        assert set(np.unique(before)) >= {0, 1, 2}
        for number, name in enumerate(ids):
            assert (after[before == number] == name).all()
        np.testing.assert_array_equal(after == IGNORE, before == IGNORE)
    assert parts(STAGE) == {"source": SOURCE}
    check_splits(STAGE)


def test_a_stage_names_classes_of_its_source_once_and_a_new_one() -> None:
    with pytest.raises(UserError, match="without new classes"):
        Stage(SOURCE, new=())
    with pytest.raises(UserError, match="the class 'ice' twice"):
        Stage(SOURCE, new=("ice",), old=("ice",))
    with pytest.raises(UserError, match="the class 'snow'; the source has land, water, ice"):
        Stage(SOURCE, new=("snow",)).scenes("train")
