"""Whether the pixels of a scene are matrices: most of them have to be, all across it."""

from pathlib import Path

import numpy as np
import pytest
from fixtures.polsar_files import planes
from fixtures.polsar_folder import write_polsarpro
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.files.polsar import Matrices, PolsarScene, open_polsar
from jaxseg.scenes.scene import Window


@pytest.mark.parametrize("spoil", ["decibel", "swapped"])
def test_a_scene_of_impossible_matrices_is_refused_with_their_share(
    tmp_path: Path, spoil: str
) -> None:
    t3 = planes("T3").copy()
    if spoil == "decibel":
        t3[..., :3] = 10 * np.log10(t3[..., :3]) - 20
    else:
        t3 = t3[..., [3, 1, 2, 0, 4, 5, 6, 7, 8]]
    scene = open_polsar(write_polsarpro(tmp_path / "T3", "T3", t3))
    with pytest.raises(UserError, match=r"T3.*pixels \(\d+.\d%\) are not Hermitian, positive"):
        scene.refuse_impossible()


def judged(
    monkeypatch: pytest.MonkeyPatch, known: NDArray[np.bool_], good: NDArray[np.bool_]
) -> list[Window]:
    """Looks at a scene of such pixels; the windows that were looked at."""
    height, width = known.shape
    scene = PolsarScene("scene", "T3", height, width, None, (), ())
    seen = []

    def matrices(self: PolsarScene, window: Window) -> Matrices:
        seen.append(window)
        y, x, rows, columns = window
        assert 0 <= y <= height - rows
        assert 0 <= x <= width - columns
        part = (slice(y, y + rows), slice(x, x + columns))
        return Matrices(np.zeros((rows, columns, 9), np.float32), known[part], good[part])

    monkeypatch.setattr(PolsarScene, "matrices", matrices)
    scene.refuse_impossible()
    return seen


def test_a_scene_is_judged_by_windows_across_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fine = np.ones((1000, 700), bool)
    seen = judged(monkeypatch, fine, fine)
    assert len(set(seen)) == 64
    assert {(window.height, window.width) for window in seen} == {(64, 64)}
    tops, lefts = ({window[axis] for window in seen} for axis in (0, 1))
    assert (len(tops), len(lefts)) == (8, 8)
    assert (min(tops), max(tops), min(lefts), max(lefts)) == (0, 936, 0, 636)
    small = np.ones((12, 100), bool)
    windows = judged(monkeypatch, small, small)
    assert {(w.y, w.height, w.width) for w in windows} == {(0, 12, 64)}
    assert {w.x for w in windows} >= {0, 36}


def test_more_than_half_of_the_pixels_with_data_have_to_be_matrices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known, good = np.ones((10, 20), bool), np.ones((10, 20), bool)
    good[:5] = False
    judged(monkeypatch, known, good)  # half of them may be bad
    good[5, 0] = False
    with pytest.raises(UserError, match=r"scene: 101 of 200 pixels \(50\.5%\) are "):
        judged(monkeypatch, known, good)
    known[:5, 0] = False  # pixels without data are neither
    judged(monkeypatch, known, good)
    judged(monkeypatch, np.zeros_like(known), np.zeros_like(good))  # told elsewhere
