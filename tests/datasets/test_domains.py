"""Joined domains, and sources in another radiometry."""

import numpy as np
import pytest
from fixtures.array_source import ArraySource, arrays

from jaxseg.datasets.domains import Domains
from jaxseg.datasets.styled import Styled
from jaxseg.errors import UserError
from jaxseg.pipeline.windows import Data, read_window
from jaxseg.scenes.scene import Window
from jaxseg.scenes.sensor import Sensor

LABEL = (np.indices((6, 8)).sum(0) % 3).astype(np.uint8)
BANDS = Sensor(("R", "NIR"))
FIRST = ArraySource((arrays(LABEL, seed=1), arrays(LABEL, seed=2)), sensor=BANDS)
SECOND = ArraySource((arrays(LABEL, seed=3),), sensor=BANDS)
ALL = Window(0, 0, 6, 8)


def test_domains_follow_each_other_and_training_windows_are_numbered() -> None:
    both = Domains((FIRST, SECOND))
    scenes = both.scenes("train")
    assert [scenes.name(index) for index in range(len(scenes))] == [
        "domain 1: train0",
        "domain 1: train1",
        "domain 2: train0",
    ]
    for index, (source, own) in enumerate(((FIRST, 0), (FIRST, 1), (SECOND, 0))):
        sample = scenes.read(index, ALL)
        np.testing.assert_array_equal(sample["image"], source.stored[own]["image"])
        assert (sample["domain"] == (1 if source is FIRST else 2)).all()
    assert "domain" not in both.scenes("test").read(0, ALL)


def test_beyond_the_scene_a_window_is_of_no_domain() -> None:
    both = Domains((FIRST, SECOND))
    sample = read_window(both.scenes("train"), 2, Window(0, 0, 8, 8), Data(both, pad=True))
    assert sample["domain"][:6].all()
    assert not sample["domain"][6:].any()


def test_domains_that_cannot_be_joined_are_refused() -> None:
    with pytest.raises(UserError, match="give two or more"):
        Domains((FIRST,))
    with pytest.raises(UserError, match="Domain 2 has the classes a, b, d"):
        Domains((FIRST, ArraySource((), classes=("a", "b", "d")))).scenes("train")
    with pytest.raises(UserError, match="Domain 2 has 1 band"):
        Domains((FIRST, ArraySource((), sensor=Sensor(("x",))))).scenes("train")


def test_a_style_scales_shifts_and_wilts_every_split_and_nothing_else() -> None:
    styled = Styled(FIRST, gain=(2.0, 0.5), offset=(10.0, 0.0), wilted=0.5)
    for split in ("train", "test"):
        sample = styled.scenes(split).read(1, ALL)
        stored = FIRST.stored[1]
        red, infrared = np.moveaxis(stored["image"].astype(float), -1, 0)
        green = np.maximum(0, (infrared - red) / (infrared + red))
        moved = 0.25 * green * (infrared - red)
        expected = np.stack((2 * (red + moved) + 10, 0.5 * (infrared - moved)), axis=-1)
        np.testing.assert_allclose(sample["image"], expected, rtol=1e-5)
        np.testing.assert_array_equal(sample["label"], stored["label"])
        np.testing.assert_array_equal(sample["valid"], stored["valid"])


@pytest.mark.parametrize(
    ("gain", "wilted", "sensor", "message"),
    [
        ((1.0,), 0.0, BANDS, "1 gains and 2 offsets for 2 band"),
        ((1.0, 1.0), 0.5, Sensor(("x", "y")), "needs the bands R and NIR; there are x, y"),
    ],
)
def test_a_style_that_does_not_fit_the_bands_is_refused(
    gain: tuple[float, ...], wilted: float, sensor: Sensor, message: str
) -> None:
    source = ArraySource(FIRST.stored, sensor=sensor)
    with pytest.raises(UserError, match=message):
        Styled(source, gain, (0.0, 0.0), wilted).scenes("test")


def test_more_than_all_cannot_wilt() -> None:
    with pytest.raises(UserError, match="must be 0 to 1"):
        Styled(FIRST, (1.0, 1.0), (0.0, 0.0), wilted=1.5)
