"""An input that is not what the network was trained on is refused by name, with what to do."""

import dataclasses

import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.scenes.agreement import (
    BandOrderError,
    BaselineError,
    MissingBandError,
    ScaleError,
    SensorError,
    UnitError,
    refuse_other,
)
from jaxseg.scenes.sensor import Sensor, stacked, typical_numbers

OPTICAL = Sensor(
    ("B02", "B03", "B04", "B08"),
    wavelengths=(490.0, 560.0, 665.0, 842.0),
    unit="reflectance",
    scale=1e-4,
    typical=((200.0, 500.0, 2000.0),) * 4,
)
RADAR = Sensor(
    ("VV", "VH"),
    polarisations=("VV", "VH"),
    unit="decibel",
    typical=((-22.0, -11.0, 1.0), (-30.0, -18.0, -6.0)),
)
UNKNOWN = Sensor(("band1", "band2"), typical=((3.0, 90.0, 250.0),) * 2)


def other(sensor: Sensor, **fields: object) -> Sensor:
    return dataclasses.replace(sensor, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("sensor", [OPTICAL, RADAR, UNKNOWN])
def test_the_same_sensor_is_no_other_one(sensor: Sensor) -> None:
    refuse_other(sensor, sensor, "scene.tif")
    refuse_other(sensor, other(sensor, typical=()), "scene.tif")
    refuse_other(sensor, Sensor(sensor.bands), "scene.tif")


def test_names_of_bands_count_in_any_spelling() -> None:
    refuse_other(Sensor(("red", "B8A")), Sensor(("R", "b08a")), "scene.tif")


def test_another_scene_of_the_same_sensor_is_taken() -> None:
    darker = tuple(tuple(value / 5 for value in band) for band in OPTICAL.typical)
    refuse_other(OPTICAL, other(OPTICAL, typical=darker), "water.tif")
    calm = tuple(tuple(value - 12 for value in band) for band in RADAR.typical)
    refuse_other(RADAR, other(RADAR, typical=calm), "water.tif")
    power = Sensor(("VV",), unit="power", typical=((1e-3, 0.05, 0.9),))
    refuse_other(power, other(power, typical=((1e-4, 4e-4, 2e-3),)), "water.tif")


def test_bands_in_another_order_are_refused_with_the_order_to_read_them_in() -> None:
    given = Sensor(("B08", "B04", "B03", "B02"))
    with pytest.raises(BandOrderError, match=r"scene.tif has the bands .*band-numbers 4 3 2 1"):
        refuse_other(OPTICAL, given, "scene.tif")


def test_bands_that_are_too_many_are_refused_with_those_to_read() -> None:
    given = Sensor(("B01", "B02", "B03", "B04", "B08"))
    with pytest.raises(BandOrderError, match="band-numbers 2 3 4 5"):
        refuse_other(OPTICAL, given, "scene.tif")


def test_a_missing_band_is_named() -> None:
    with pytest.raises(MissingBandError, match=r"has no band B08; it has B02, B03, B04"):
        refuse_other(OPTICAL, Sensor(("B02", "B03", "B04")), "scene.tif")


def test_without_names_the_number_of_bands_is_compared() -> None:
    with pytest.raises(MissingBandError, match=r"1 band\(s\) .* trained on 2"):
        refuse_other(UNKNOWN, Sensor(("band1",)), "scene.tif")
    with pytest.raises(BandOrderError, match="band-numbers"):
        refuse_other(UNKNOWN, Sensor(("band1", "band2", "band3")), "scene.tif")


def test_the_same_name_at_another_wavelength_is_refused() -> None:
    given = other(OPTICAL, wavelengths=(490.0, 560.0, 665.0, 865.0))
    with pytest.raises(BandOrderError, match=r"B08 is at 865 nm, where .* 842 nm"):
        refuse_other(OPTICAL, given, "scene.tif")


def test_reflectance_of_0_to_1_is_refused_where_10000_was_trained() -> None:
    small = tuple(tuple(value / 10_000 for value in band) for band in OPTICAL.typical)
    given = Sensor(OPTICAL.bands, typical=small)
    with pytest.raises(ScaleError, match=r"0.0001 times the range .*multiply 10000"):
        refuse_other(OPTICAL, given, "scene.tif")
    with pytest.raises(ScaleError, match=r"multiply 0\.0001"):
        refuse_other(other(given, scale=None), OPTICAL, "scene.tif")


def test_another_scale_that_is_told_is_refused() -> None:
    with pytest.raises(ScaleError, match=r"scale 1; .* scale 0\.0001\. .*multiply 10000"):
        refuse_other(OPTICAL, other(OPTICAL, scale=1.0, typical=()), "scene.tif")
    with pytest.raises(ScaleError, match=r"offset -0\.1; .* Add -1000 to the values"):
        refuse_other(OPTICAL, other(OPTICAL, offset=-0.1, typical=()), "scene.tif")


def test_power_is_refused_where_decibel_were_trained_and_the_other_way_round() -> None:
    power = Sensor(("VV", "VH"), unit="power", typical=((0.006, 0.08, 1.2), (0.001, 0.016, 0.25)))
    with pytest.raises(UnitError, match=r"is in power; .*decibel.* power-to-decibel"):
        refuse_other(RADAR, power, "scene.tif")
    with pytest.raises(UnitError, match="decibel-to-power"):
        refuse_other(power, RADAR, "scene.tif")


def test_power_is_told_from_decibel_by_its_signs_where_no_file_says_the_unit() -> None:
    power = Sensor(("VV", "VH"), typical=((0.006, 0.08, 1.2), (0.001, 0.016, 0.25)))
    with pytest.raises(UnitError, match=r"no value is below 0 .* power-to-decibel"):
        refuse_other(other(RADAR, unit=""), power, "scene.tif")
    with pytest.raises(UnitError, match=r"most values are below 0 .* decibel-to-power"):
        refuse_other(power, other(RADAR, unit=""), "scene.tif")


def test_a_constant_band_says_nothing_of_the_scale() -> None:
    given = other(UNKNOWN, typical=((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)))
    refuse_other(UNKNOWN, given, "scene.tif")


def test_sentinel2_of_another_processing_baseline_is_refused() -> None:
    # Like 1, 50 and 99 % of two dates of one place, before and after January 2022.
    names = ("B02", "B03", "B04", "B08")
    old = Sensor(
        names, typical=((79, 338, 1500), (234, 630, 1800), (95, 414, 2100), (1110, 4104, 6000))
    )
    new = Sensor(
        names,
        typical=((1036, 1468, 2500), (1130, 1792, 2900), (1101, 1809, 3300), (1364, 3454, 5500)),
    )
    with pytest.raises(BaselineError, match=r"below 1036, in training 79: .*added 1000"):
        refuse_other(old, new, "autumn.tif")
    with pytest.raises(BaselineError, match=r"begin at 79, in training at 1036: .*Train it with"):
        refuse_other(new, old, "summer.tif")
    refuse_other(new, new, "autumn.tif")
    refuse_other(old, other(new, scale=1e-4), "snow.tif")  # it is told that nothing is added


def test_every_refusal_is_a_mistake_that_explains_itself() -> None:
    for kind in (BandOrderError, MissingBandError, UnitError, ScaleError, BaselineError):
        assert issubclass(kind, SensorError)
        assert issubclass(kind, UserError)


def test_typical_numbers_are_quantiles_of_each_band() -> None:
    pixels = np.stack([np.arange(101), 10 * np.arange(101)], axis=-1).astype(np.uint16)
    assert typical_numbers(pixels) == ((1.0, 50.0, 99.0), (10.0, 500.0, 990.0))


def test_two_sensors_as_one_keep_what_they_agree_on() -> None:
    both = stacked(other(OPTICAL, gsd=10.0), other(RADAR, gsd=10.0))
    assert both.bands == (*OPTICAL.bands, "VV", "VH")
    assert (both.unit, both.scale, both.gsd, both.typical) == ("", None, 10.0, ())
    assert stacked(OPTICAL, OPTICAL).unit == "reflectance"
    assert stacked(OPTICAL, OPTICAL).wavelengths == 2 * OPTICAL.wavelengths


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"wavelengths": (490.0,)}, r"wavelengths has 1 entries for 2 band"),
        ({"unit": "feet"}, "Unit 'feet'"),
        ({"scale": 0.0}, "Scale 0"),
    ],
)
def test_a_sensor_that_cannot_be_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        other(UNKNOWN, **fields)
