"""Windows that are kept with an evaluation."""

from pathlib import Path

import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.evaluation.kept_tiles import NAME, SIDE, keep_tiles, kept_tiles
from jaxseg.pictures.tiles import Tile


def tile(name: str, height: int, width: int) -> Tile:
    random = np.random.default_rng(height)
    shape = (height, width)
    label, prediction = random.integers(0, 3, (2, *shape)).astype(np.uint8)
    label[0] = 255
    rgb = random.integers(0, 256, (*shape, 3)).astype(np.uint8)
    return Tile(name, rgb, label, prediction, random.random(shape) > 0.1)


def test_windows_are_kept_as_they_are(tmp_path: Path) -> None:
    given = {"best": [tile("ü, row 1", 9, 12)], "worst": [tile("b", 5, 4), tile("c", 7, 3)]}
    keep_tiles(tmp_path, given)
    found = kept_tiles(tmp_path)
    assert {kind: [t.name for t in of] for kind, of in found.items()} == {
        "best": ["ü, row 1"],
        "worst": ["b", "c"],
    }
    for kind, tiles in given.items():
        for before, after in zip(tiles, found[kind], strict=True):
            for name in ("rgb", "label", "prediction", "valid"):
                np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
            assert after.right == before.share()


def test_large_windows_are_reduced_and_keep_their_share(tmp_path: Path) -> None:
    large = tile("large", 3 * SIDE - 1, 40)
    keep_tiles(tmp_path, {"best": [large]})
    found = kept_tiles(tmp_path)["best"][0]
    assert found.label.shape == (SIDE, 13)
    np.testing.assert_array_equal(found.label, large.label[1::3, 1::3])
    assert found.share() == large.share()


def test_nothing_is_kept_of_no_window_and_by_earlier_versions(tmp_path: Path) -> None:
    assert kept_tiles(tmp_path) == {}
    keep_tiles(tmp_path, {"best": []})
    assert kept_tiles(tmp_path) == {"best": []}


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"nothing"])
def test_a_damaged_file_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(UserError, match=r"tiles\.npz cannot be read .* evaluate the run again"):
        kept_tiles(tmp_path)


def test_a_file_that_lacks_a_part_is_said(tmp_path: Path) -> None:
    np.savez(tmp_path / NAME, best_names=np.array(["a"]), best_0_rgb=np.zeros((2, 2, 3)))
    with pytest.raises(UserError, match="cannot be read"):
        kept_tiles(tmp_path)
