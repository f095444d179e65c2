"""One scene as three splits: every setting of the source reaches the division of its pixels."""

from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from jaxseg.datasets.one_scene import SceneSplit, scene_of_split
from jaxseg.datasets.spatial_split import SPLITS, block_split, random_split
from jaxseg.errors import UserError
from jaxseg.scenes.scene import IGNORE, Window

H, W = 16, 20
LABEL = (np.indices((H, W)).sum(0) // 3 % 3).astype(np.uint8)
LABEL[::5] = IGNORE
IMAGE = np.arange(H * W * 2, dtype=np.uint16).reshape(H, W, 2)


def of(kind: Literal["blocks", "pixels"] = "blocks", **more: Any) -> SceneSplit:
    """A split of few small blocks."""
    return SceneSplit(kind, **({"fractions": (0.4, 0.2, 0.4), "block": 4, "guard": 1} | more))


def load(path: str) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """The scene; another folder holds another one."""
    return (IMAGE, LABEL) if path == "here" else (IMAGE + 1, LABEL[::-1])


def shown(how: SceneSplit, path: str = "here") -> list[NDArray[Any]]:
    whole = Window(0, 0, H, W)
    return [
        scene_of_split(path, how, load, name, "Scene").read(0, whole)["label"] for name in SPLITS
    ]


@pytest.mark.parametrize(
    ("how", "path"),
    [
        (of(), "here"),
        (of(fractions=(0.2, 0.2, 0.6), block=5, guard=3, seed=7), "here"),
        (of("pixels"), "here"),
        (of("pixels", fractions=(0.1, 0.2, 0.7), seed=7), "here"),
        (of("pixels"), "there"),
    ],
)
def test_each_split_shows_its_own_labels_by_its_settings(how: SceneSplit, path: str) -> None:
    label = load(path)[1]
    more: dict[str, Any] = {"fractions": how.fractions, "seed": how.seed}
    if how.kind == "blocks":
        parts = block_split(label, block=how.block, guard=how.guard, **more)
    else:
        parts = random_split(label, **more)
    for number, found in enumerate(shown(how, path)):
        np.testing.assert_array_equal(found, np.where(parts == number, label, IGNORE))


@pytest.mark.parametrize("guard", [0, 2])
def test_no_pixel_of_another_split_is_near_a_training_block(guard: int) -> None:
    train, *others = shown(of(guard=guard))
    rows, columns = np.indices((H, W)) // 4
    block = rows * 5 + columns
    training = np.isin(block, block[train != IGNORE])  # with its pixels that have no label
    away = ndimage.distance_transform_cdt(~training, metric="chessboard")
    for label in others:
        assert (away[label != IGNORE] > guard).all()
    assert any((away[label != IGNORE] == guard + 1).any() for label in others)


def test_every_split_sees_the_whole_image_and_all_of_it_is_valid() -> None:
    for name in SPLITS:
        scenes = scene_of_split("here", of(), load, name, "Scene")
        assert (len(scenes), scenes.size(0)) == (1, (H, W))
        assert scenes.name(0) == f"Scene, {name} pixels"
        sample = scenes.read(0, Window(2, 3, 4, 5))
        np.testing.assert_array_equal(sample["image"], IMAGE[2:6, 3:8])
        assert sample["valid"].all()
        assert sample["label"].dtype == np.uint8
    with pytest.raises(UserError, match="Split 'val' of Scene: choose one of train, validation"):
        scene_of_split("here", of(), load, "val", "Scene")


def test_a_split_by_pixels_warns_of_its_leak_once(capsys: pytest.CaptureFixture[str]) -> None:
    shown(of("pixels", seed=99))
    said = capsys.readouterr().err
    assert said.count("Scene: a split by single pixels leaks") == 1
    shown(of(seed=99))
    assert not capsys.readouterr().err
