"""What travels from a disk to the loss: a source is known by what it can do."""

import numpy as np
import pytest
from fixtures import painted

from jaxseg.datasets.folder.source import Folder
from jaxseg.datasets.landscape.source import Landscape
from jaxseg.scenes.scene import IGNORE, Source, Window


class _NoPictures:
    def scenes(self, split: str) -> None: ...


class _NoScenes:
    def rgb(self, image: object) -> None: ...


class _OnlyNames:
    scenes = "train"
    rgb = "red"


@pytest.mark.parametrize("kind", [Folder, Landscape, painted.Painted])
def test_what_opens_scenes_and_shows_them_is_a_source(kind: type) -> None:
    assert issubclass(kind, Source)
    assert isinstance(painted.Painted(), Source)


@pytest.mark.parametrize("kind", [_NoPictures, _NoScenes, _OnlyNames, dict])
def test_what_lacks_one_of_both_is_none(kind: type) -> None:
    assert not issubclass(kind, Source)


def test_a_window_is_row_column_height_and_width() -> None:
    assert Window(1, 2, 3, 4) == Window(y=1, x=2, height=3, width=4)


def test_the_ignored_label_fits_into_a_byte_and_is_the_last_one() -> None:
    assert np.iinfo(np.uint8).max == IGNORE
