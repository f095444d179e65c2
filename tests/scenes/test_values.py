"""What another scene explains is not rejected; what nothing explains is."""

import dataclasses

import numpy as np
import pytest

from jaxseg.scenes.agreement import (
    BaselineError,
    PixelSizeError,
    ScaleError,
    SensorError,
    UnitError,
    refuse_other,
    refuse_pixel_size,
)
from jaxseg.scenes.sensor import Sensor, Typical
from jaxseg.scenes.source_flags import SourceFlags
from jaxseg.scenes.values import difference, unlike

NAMES = ("B02", "B03", "B04", "B08", "B11", "B12")
LAND: Typical = (
    (79, 338, 2686),
    (234, 630, 3184),
    (95, 414, 3418),
    (1110, 4104, 5664),
    (771, 1651, 4482),
    (325, 780, 4688),
)
SEA: Typical = ((120, 180, 260), (60, 90, 140), (20, 35, 60), (8, 14, 30), (2, 5, 12), (1, 3, 8))
SNOW: Typical = (
    (4100, 8200, 10200),
    (3900, 8000, 9900),
    (3800, 7900, 9800),
    (3500, 7200, 9000),
    (1010, 1200, 1500),
    (1005, 1100, 1400),
)
CLOUD: Typical = ((2600, 6200, 9800),) * 6
NEWER: Typical = tuple((a + 1000, b + 1000, c + 1000) for a, b, c in LAND)
SAME = SourceFlags(same="--no-check")


def sentinel(typical: Typical, **fields: object) -> Sensor:
    return Sensor(NAMES, typical=typical, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("scene", [SEA, SNOW, CLOUD, LAND])
@pytest.mark.parametrize("trained", [SEA, SNOW, CLOUD, LAND])
def test_sea_snow_and_clouds_are_taken_and_no_flag_is_proposed_that_would_harm(
    trained: Typical, scene: Typical
) -> None:
    for said in refuse_other(sentinel(trained), sentinel(scene), "scene.tif", SAME):
        assert "--" not in said


def test_open_sea_in_one_band_is_said_and_taken() -> None:
    land, sea = (Sensor(("B12",), typical=(of[5],)) for of in (LAND, SEA))
    (said,) = refuse_other(land, sea, "sea.tif", SAME)
    assert said.startswith("sea.tif: the values span 0.0016 times the range")
    assert "open sea" in said


def test_what_no_scene_explains_is_rejected_with_a_cure_and_the_flag_that_says_it_is_the_same() -> (
    None
):
    reflectance = tuple(tuple(v / 1e4 for v in band) for band in LAND)
    radar = Sensor(("VV",), typical=((-22.0, -11.0, 1.0),))
    power = Sensor(("VV",), typical=((0.006, 0.08, 1.2),))
    for trained, given, kind, cure in (
        (sentinel(LAND), sentinel(NEWER), BaselineError, "added 1000"),
        (sentinel(LAND), sentinel(reflectance), ScaleError, "multiply 10000"),
        (sentinel(LAND, scale=1e-4), sentinel(LAND, scale=1.0), ScaleError, "multiply 10000"),
        (radar, power, UnitError, "unit power --config.data.source.convert power-to-decibel"),
        (power, radar, UnitError, "unit decibel --config.data.source.convert decibel-to-power"),
        (
            dataclasses.replace(radar, unit="decibel"),
            dataclasses.replace(power, unit="amplitude"),
            UnitError,
            "unit amplitude --config.data.source.convert amplitude-to-decibel",
        ),
    ):
        with pytest.raises(kind) as refused:
            refuse_other(trained, given, "scene.tif", SAME)
        assert cure in str(refused.value)
        assert str(refused.value).endswith("\nIf the values are right as they are: --no-check")


def test_an_offset_of_values_that_are_multiplied_is_not_subtracted_before() -> None:
    flags = SourceFlags(multiply=10_000.0)
    with pytest.raises(BaselineError, match=r"Subtract 0\.1 from the values of the files") as no:
        refuse_other(sentinel(LAND), sentinel(NEWER), "scene.tif", flags)
    assert "--" not in str(no.value)


def test_a_unit_that_is_stated_wrongly_does_not_go_round_in_circles() -> None:
    """The values are power; the person has told `unit decibel`, as the first message of old did."""
    trained = Sensor(("VV",), unit="decibel", typical=((-22.0, -11.0, 1.0),))
    given = Sensor(("VV",), unit="decibel", typical=((0.006, 0.08, 1.2),))
    with pytest.raises(UnitError, match=r"source\.unit power .*source\.convert power-to-decibel"):
        refuse_other(trained, given, "scene.tif")
    linear = dataclasses.replace(given, unit="power")
    with pytest.raises(UnitError) as no:  # decibel, stated as power
        refuse_other(linear, dataclasses.replace(trained, unit="power"), "scene.tif")
    assert "source.unit decibel --config.data.source.convert decibel-to-power" in str(no.value)
    with pytest.raises(UnitError) as no:
        refuse_other(dataclasses.replace(linear, unit="amplitude"), trained, "scene.tif")
    assert ".unit" not in str(no.value)  # the values are decibel, whatever is stated


def test_values_that_are_positive_after_the_conversion_are_not_calibrated() -> None:
    trained = Sensor(("VV",), unit="decibel", typical=((-22.0, -11.0, 1.0),))
    given = Sensor(("VV",), unit="decibel", typical=((31.0, 42.0, 55.0),))
    flags = SourceFlags(convert="amplitude-to-decibel")
    with pytest.raises(UnitError, match="not calibrated"):
        refuse_other(trained, given, "scene.tif", flags)


def test_temperatures_may_change_their_sign() -> None:
    winter = Sensor(("temperature",), typical=((-20.0, -8.0, -1.0),))
    summer = Sensor(("temperature",), typical=((5.0, 15.0, 30.0),))
    assert len(refuse_other(winter, summer, "july.tif")) == 1
    power = Sensor(("band1",), typical=((0.01, 0.1, 1.0),))
    decibel = Sensor(("band1",), typical=((-20.0, -10.0, 0.0),))
    with pytest.raises(SensorError):
        refuse_other(decibel, power, "power.tif")


def files(*typical: Typical) -> dict[str, Typical]:
    return {f"{number}.tif": of for number, of in enumerate(typical)}


def test_the_files_of_one_source_are_compared_with_each_other() -> None:
    sensor = Sensor(NAMES)
    assert unlike(files(LAND, LAND, SNOW, CLOUD), sensor) == {}
    assert unlike(files(LAND), sensor) == unlike({}, sensor) == {}
    assert list(unlike(files(NEWER, LAND), sensor)) == ["0.tif"]
    mixed = unlike(files(LAND, NEWER, LAND, NEWER, LAND), sensor)
    assert {name: found.kind for name, found in mixed.items()} == {
        "1.tif": "added",
        "3.tif": "added",
    }
    assert unlike(files(LAND, NEWER), dataclasses.replace(sensor, scale=1e-4)) == {}  # it is known
    small = tuple(tuple(v / 255 for v in band) for band in ((2.0, 90.0, 250.0),))
    found = unlike(files(((2, 90, 250),), small, ((3, 70, 255),)), Sensor(("band1",)))
    assert list(found) == ["1.tif"]
    assert found["1.tif"].certain


def test_untagged_zeros_hide_no_offset() -> None:
    """Sentinel-2 marks missing pixels by 0, which exports often do not tag."""
    holes = lambda of: tuple((0.0 if n < 2 else a, b, c) for n, (a, b, c) in enumerate(of))  # noqa: E731
    found = difference(sentinel(holes(LAND)), sentinel(holes(NEWER)))
    assert found is not None
    assert (found.kind, found.certain) == ("added", True)


def test_pixel_sizes_are_compared_where_both_are_known() -> None:
    trained = Sensor(("a",), gsd=10.0)
    for gsd in (None, 10.0, 10.9, 9.2):
        refuse_pixel_size(trained, gsd, "x.tif", "")
    refuse_pixel_size(Sensor(("a",)), 0.5, "x.tif", "")
    with pytest.raises(PixelSizeError, match=r"x.tif has pixels of 0.5 m, .* 10 m: .* Do so\."):
        refuse_pixel_size(trained, 0.5, "x.tif", "Do so.")


def test_typical_values_of_a_constant_scene_say_little() -> None:
    flat = sentinel(((0.0, 0.0, 0.0),) * 6)
    found = difference(sentinel(LAND), flat)
    assert found is not None
    assert not found.certain
    assert not np.any([f.certain for f in [found]])
