"""Values of the data against those of published weights: adapted by the rule, or refused."""

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
from fixtures import painted

from jaxseg.config import Config
from jaxseg.errors import UserError
from jaxseg.models import ResNetUNet
from jaxseg.run import card_values, completion
from jaxseg.scenes.sensor import Sensor
from jaxseg.transforms import LogIntensity, Standardize
from jaxseg.transforms.radiometry import OnBands
from jaxseg.weights import card as cards
from jaxseg.weights.pretrained import Pretrained

CLOUDS = "ukis-csmask-4b-l1c"
S2 = "ssl4eo-s12-resnet18-s2-rgb-moco"
SAR = "ssl4eo-s12-resnet50-s1-moco"
PHOTOS = "imagenet-torchvision-resnet18"


def config(name: str, *steps: Any, part: Any = "all", **changes: Any) -> Config:
    card = cards.card(name)
    model = ResNetUNet(len(card.classes) or 4, card.backbone)
    weights = Pretrained(name=name, part=part)
    return painted.config(model=model, preprocess=steps, pretrained=weights, **changes)


def sensor(*bands: str, unit: Any = "reflectance", typical: Any = None, **facts: Any) -> Sensor:
    return Sensor(
        bands, unit=unit, typical=((*(typical or ()),),) * len(bands) if typical else (), **facts
    )


OPEN, OTHER = Standardize(), Standardize(mean=(0.0,) * 4, std=(1.0,) * 4)
FOUR = ("nir", "red", "green", "blue")


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1e-4, 0.0), (1e-4, -0.1), (None, 0.0)])
def test_an_open_standardize_takes_the_cards_numbers_as_the_data_store_them(
    scale: float | None, offset: float, capsys: pytest.CaptureFixture[str]
) -> None:
    given = sensor(*FOUR, scale=scale, offset=offset)
    (step,) = card_values.adapted(config(CLOUDS, OPEN), given)
    stored = np.random.default_rng(0).random((5, 4), np.float32) / (scale or 1)
    card = cards.card(CLOUDS)
    quantity = stored * (scale or 1) + offset
    expected = (quantity - np.array(card.mean)[::-1]) / np.array(card.std)[::-1]
    np.testing.assert_allclose(step(stored), expected, atol=2e-4)
    assert f"those of {CLOUDS}, not of the data" in " ".join(capsys.readouterr().out.split())
    card_values.adapted(config(CLOUDS, OPEN), given, quiet=True)
    assert not capsys.readouterr().out


def test_decibel_may_be_made_of_power_before() -> None:
    power = sensor("VH", "VV", unit="power", scale=1.0, typical=(0.001, 0.01, 0.1))
    _, step = card_values.adapted(config(SAR, LogIntensity(), OPEN), power)
    assert step == Standardize(mean=(-20.26, -12.59), std=(5.91, 5.26))
    with pytest.raises(UserError, match=r"trained on decibel .* the data are in power"):
        card_values.adapted(config(SAR, OPEN), power)
    decibel = sensor("VV", "VH", unit="decibel")
    assert card_values.adapted(config(SAR, OPEN), decibel)[0].mean == (-12.59, -20.26)
    with pytest.raises(UserError, match="in decibel"):
        card_values.adapted(config(S2, OPEN), sensor("B4", "B3", "B2", unit="decibel"))


@pytest.mark.parametrize(
    ("name", "given", "why"),
    [
        (S2, sensor("B4", "B3", "B2", unit=""), "the unit of the data is not known"),
        (S2, sensor("B4", "B3", "B2", "B8"), "B8 is no band of"),
        (PHOTOS, sensor("R", "G", "B"), "are in reflectance, .* on digital number"),
        (
            "ssl4eo-l-resnet18-tm-toa-moco",
            sensor("B1", "B2", "B3", "B4", "B5", "B6", "B7"),
            "B6 in a unit of their own",
        ),
    ],
)
def test_an_encoder_for_other_values_leaves_standardize_open_and_says_why(
    name: str, given: Sensor, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert card_values.adapted(config(name, OPEN), given) == (OPEN,)
    said = " ".join(capsys.readouterr().out.split())
    assert re.search(f"Weights: .*{why}.*measured on the data", said)


def test_photographs_are_digital_numbers() -> None:
    (step,) = card_values.adapted(
        config(PHOTOS, OPEN), sensor("B", "G", "R", unit="digital number")
    )
    assert step == Standardize(mean=(103.53, 116.28, 123.675), std=(57.375, 57.12, 58.395))


def test_given_numbers_stay_where_only_an_encoder_is_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = Standardize(mean=(500.0, 700.0, 600.0), std=(200.0, 300.0, 400.0))
    given = sensor("B4", "B3", "B2", scale=1e-4)
    assert card_values.adapted(config(S2, own), given) == (own,)
    said = " ".join(capsys.readouterr().out.split())
    assert "others than the mean (0, 0, 0) and deviation (10000, 10000, 10000)" in said
    same = Standardize(mean=(0.0, 0.0, 50.0), std=(10_000.0, 10_050.0, 10_000.0))
    assert card_values.adapted(config(S2, same), given) == (same,)
    assert not capsys.readouterr().out
    assert card_values.adapted(config(S2), given) == ()
    assert "has no Standardize" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("steps", "given", "said"),
    [
        (
            (Standardize(mean=(0.0,) * 4, std=(1.0,) * 4),),
            sensor(*FOUR),
            "has others than the mean",
        ),
        ((OPEN,), sensor(*FOUR, unit=""), "unit of the data is not known"),
        ((), sensor(*FOUR), "no Standardize"),
        ((OnBands(0, 4, (OPEN,)),), sensor(*FOUR), "no Standardize"),
        ((LogIntensity(), OPEN), sensor(*FOUR), "unit of the data is not known"),
    ],
)
def test_a_whole_network_is_refused_other_values(
    steps: tuple[Any, ...], given: Sensor, said: str
) -> None:
    with pytest.raises(UserError, match=said) as error:
        card_values.adapted(config(CLOUDS, *steps), given)
    assert "needs the values it was trained on" in str(error.value)
    alone = config(CLOUDS, *steps, part="encoder")
    assert card_values.adapted(alone, given) == steps


@pytest.mark.parametrize(
    ("scale", "typical", "fits"),
    [
        (1e-4, (500, 2000, 4000), True),
        (1.0, (0.05, 0.2, 0.4), True),
        (None, (0.05, 0.2, 0.4), True),
        (None, (500, 2000, 4000), False),
        (1.0, (5, 20, 40), False),
        (1e-4, (0.05, 0.2, 0.4), False),
    ],
)
def test_values_on_another_scale_than_the_sensor_states_are_refused(
    scale: float | None, typical: tuple[float, ...], fits: bool
) -> None:
    given = sensor(*FOUR, scale=scale, typical=typical)
    if fits:
        assert card_values.adapted(config(CLOUDS, OPEN), given)[0].fitted
        return
    with pytest.raises(UserError, match=r"State how values become reflectance"):
        card_values.adapted(config(CLOUDS, OPEN), given)


def test_one_dark_band_is_not_another_scale() -> None:
    given = dataclasses.replace(sensor(*FOUR), typical=((0.0, 0.0, 0.0), *((0.05, 0.2, 0.4),) * 3))
    assert card_values.adapted(config(CLOUDS, OPEN), given)[0].fitted


def test_a_run_that_starts_from_another_run_has_its_values() -> None:
    other = config(CLOUDS, OPEN, init_from="runs/other")
    assert card_values.adapted(other, sensor("VV")) == (OPEN,)
    assert card_values.adapted(painted.config(), sensor("VV")) == ()


@dataclasses.dataclass(frozen=True)
class Coloured(painted.Painted):
    """The painted scenes, called two bands of Sentinel-2 in reflectance."""

    @property
    def sensor(self) -> Sensor:
        """Values are 0, 1 and 2."""
        return Sensor(("B3", "B4"), unit="reflectance", scale=0.1, gsd=10.0)


def test_a_run_is_completed_with_the_cards_values_and_continues_with_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain = config(S2, OPEN)
    with pytest.raises(UserError, match="none of the data's bands"):
        completion.completed(plain)
    data = dataclasses.replace(plain.data, source=Coloured())
    started = completion.completed(dataclasses.replace(plain, data=data))
    assert started.preprocess == (Standardize(mean=(0.0, 0.0), std=(10.0, 10.0)),)
    assert "Weights: mean and deviation" in capsys.readouterr().out
    again = completion.completed(dataclasses.replace(plain, data=data), started)
    assert again == started
    assert "Weights:" not in capsys.readouterr().out
