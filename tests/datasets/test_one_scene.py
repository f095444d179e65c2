"""How one scene is divided, as one value that sources share and that is compared to find leaks."""

import numpy as np
import pytest

from jaxseg.datasets.one_scene import SceneSplit
from jaxseg.errors import UserError


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"guard": -1}, "split.guard is -1: it must be 0 or more"),
        ({"block": 0}, "split.block is 0: it must be 1 or more"),
        ({"seed": -1}, "split.seed is -1"),
    ],
)
def test_a_size_that_is_too_small_is_rejected_with_its_flag(
    fields: dict[str, int], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        SceneSplit(**fields)  # type: ignore[arg-type]


def test_every_field_reaches_the_division() -> None:
    label = np.indices((60, 60)).sum(0).astype(np.uint8) % 3
    split = SceneSplit(fractions=(0.4, 0.2, 0.4), block=6, guard=2)
    parts = split.of(label, "here", draws=20)
    train = np.argwhere(parts == 0)
    others = np.argwhere((parts == 1) | (parts == 2))
    apart = np.abs(others[:, None] - train[None]).max(-1).min()
    assert apart == 3  # pixels within the guard of 2 belong to no split
    shares = np.bincount(parts[parts < 3], minlength=3) / (parts < 3).sum()
    assert 0.2 < shares[1] / shares[2] < 0.9
    again = SceneSplit(fractions=(0.4, 0.2, 0.4), block=6, guard=2, seed=1)
    assert (again.of(label, "here", draws=20) != parts).any()
    larger = SceneSplit(fractions=(0.4, 0.2, 0.4), block=20, guard=2).of(label, "here", draws=20)
    assert (larger[:20, :20] == 0).all() or (larger[:20, :20] != 0).all()


def test_single_pixels_leak_and_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    label = np.zeros((10, 10), np.uint8)
    parts = SceneSplit("pixels", fractions=(0.5, 0.2, 0.3)).of(label, "Indian Pines")
    assert np.bincount(parts.ravel()).tolist() == [50, 20, 30]
    assert "Indian Pines: a split by single pixels leaks" in capsys.readouterr().err


def test_two_divisions_are_told_apart() -> None:
    one, other = SceneSplit().origin("place"), SceneSplit(seed=1).origin("place")
    assert one == SceneSplit().origin("place")
    assert not one.whole
    assert [name for name in one.split if one.split[name] != other.split[name]] == ["seed"]
