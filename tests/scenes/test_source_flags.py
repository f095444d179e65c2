"""What a refusal proposes works as it is printed: it starts from what is read already."""

import dataclasses

import pytest

from jaxseg.datasets.folder.source import Folder
from jaxseg.datasets.landscape.source import Landscape
from jaxseg.datasets.mislabelled import Mislabelled
from jaxseg.datasets.paired import Paired, Stacked
from jaxseg.datasets.wrapped import refuse_other_sensor, seen
from jaxseg.scenes.agreement import BandOrderError, ScaleError, SensorError, UnitError, refuse_other
from jaxseg.scenes.sensor import Sensor
from jaxseg.scenes.source_flags import SourceFlags, flags_of

TRAINED = Sensor(("B02", "B03", "B04"), typical=((200.0, 500.0, 2000.0),) * 3)
FOLDER = Folder(images="images", masks="masks", classes=("a", "b"))


def test_bands_are_numbers_of_the_files_not_of_what_is_read_of_them() -> None:
    flags = flags_of(dataclasses.replace(FOLDER, band_numbers=(7, 5, 3)))
    given = Sensor(("B04", "B03", "B02"))
    with pytest.raises(BandOrderError, match=r"band-numbers 3 5 7$"):
        refuse_other(TRAINED, given, "x.tif", flags)


def test_names_and_wavelengths_that_are_given_move_with_their_bands() -> None:
    told = {"band_names": ("B04", "B03", "B02"), "wavelengths": (665.0, 560.0, 490.0)}
    flags = flags_of(dataclasses.replace(FOLDER, **told))  # type: ignore[arg-type]
    given = Sensor(("B04", "B03", "B02"))
    proposed = (
        "--config.data.source.band-numbers 3 2 1 --config.data.source.band-names B02 B03 B04 "
        "--config.data.source.wavelengths 490.0 560.0 665.0"
    )
    with pytest.raises(BandOrderError) as refused:
        refuse_other(TRAINED, given, "x.tif", flags)
    assert str(refused.value).endswith(proposed)


def test_a_factor_is_on_top_of_the_one_there_is() -> None:
    flags = flags_of(dataclasses.replace(FOLDER, multiply=100.0))
    given = Sensor(TRAINED.bands, typical=((0.02, 0.05, 0.2),) * 3)
    with pytest.raises(ScaleError, match=r"multiply 1e\+06$"):
        refuse_other(TRAINED, given, "x.tif", flags)


def test_flags_name_the_source_inside_of_another_one() -> None:
    inner = dataclasses.replace(FOLDER, multiply=2.0)
    assert flags_of(inner) == SourceFlags(multiply=2.0)
    [(place, maker)] = seen(Mislabelled(Paired(inner, FOLDER)))
    assert flags_of(maker, place) == SourceFlags("--config.data.source.source.source", multiply=2.0)


def test_a_fault_of_one_of_two_stacked_sources_names_its_own_flags() -> None:
    radar = dataclasses.replace(FOLDER, band_names=("VV",), band_numbers=(1,))
    optical = dataclasses.replace(FOLDER, band_names=("red", "nir"), band_numbers=(1, 2))
    for source in (radar, optical):
        bands = source.band_names
        source.__dict__["sensor"] = Sensor(bands)  # what its files would say
    trained = Sensor(
        ("VV", "red", "nir"), typical=((-22.0, -11.0, 1.0),) + ((50.0, 90.0, 400.0),) * 2
    )
    stacked = Stacked(Mislabelled(radar), optical)
    refuse_other_sensor(trained, stacked, trained.typical, "the test split")
    scaled = (trained.typical[0], (0.005, 0.009, 0.04), (0.005, 0.009, 0.04))
    with pytest.raises(ScaleError, match=r"source\.second\.multiply 10000$"):
        refuse_other_sensor(trained, stacked, scaled, "the test split")
    power = ((0.01, 0.1, 1.2), *trained.typical[1:])
    with pytest.raises(UnitError, match=r"source\.first\.source\.convert power-to-decibel"):
        refuse_other_sensor(trained, stacked, power, "the test split")


def test_a_conversion_that_should_not_be_is_named() -> None:
    decibel = Sensor(("VV",), typical=((-22.0, -11.0, 1.0),))
    flags = flags_of(dataclasses.replace(FOLDER, convert="decibel-to-power"))
    given = Sensor(("VV",), unit="power", typical=((0.006, 0.08, 1.2),))
    with pytest.raises(UnitError, match=r"without --config.data.source.convert decibel-to-power"):
        refuse_other(decibel, given, "x.tif", flags)
    flags = flags_of(dataclasses.replace(FOLDER, convert="power-to-decibel"))
    floor = Sensor(("VV",), unit="decibel", typical=((-100.0, -100.0, -100.0),))
    with pytest.raises(UnitError, match=r"every value is -100: the values are not power"):
        refuse_other(decibel, floor, "x.tif", flags)


def test_amplitudes_are_not_taken_for_power() -> None:
    decibel = Sensor(("VV",), typical=((-22.0, -11.0, 1.0),))
    given = Sensor(("VV",), unit="amplitude", typical=((0.08, 0.28, 1.1),))
    with pytest.raises(
        UnitError, match=r"20 log10.*unit amplitude .*convert amplitude-to-decibel$"
    ):
        refuse_other(decibel, given, "x.tif")


def test_no_flag_is_proposed_where_a_source_has_none() -> None:
    flags = flags_of(Stacked(Landscape(modality="optical"), Landscape(modality="sar")))
    others = (
        Sensor(("B02", "B03")),
        Sensor(("B04", "B03", "B02")),
        Sensor(TRAINED.bands, unit="decibel"),
        Sensor(TRAINED.bands, scale=1e-4),
        Sensor(TRAINED.bands, typical=((0.02, 0.05, 0.2),) * 3),
        Sensor(TRAINED.bands, typical=((1200.0, 1500.0, 3000.0),) * 3),
    )
    trained = dataclasses.replace(TRAINED, unit="reflectance")
    for given in others:
        told = dataclasses.replace(trained, scale=1.0) if given.scale else trained
        with pytest.raises(SensorError) as refused:
            refuse_other(told, given, "the test split", flags)
        assert str(refused.value).endswith(
            "Stacked (--config.data.source) has no field that chooses or converts bands: give a "
            "source like the run's."
        )
