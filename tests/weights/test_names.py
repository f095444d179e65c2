"""The names of a network are found in a file behind any prefix."""

import pytest

from jaxseg.weights.names import located, of_the_network, top, translated

EXPECTED = ("conv1.weight", "layer1.conv1.weight", "head.bias")


@pytest.mark.parametrize(
    "prefix",
    [
        *("", "module.", "model.", "_orig_mod.", "net.", "backbone.", "encoder.", "student."),
        *("module.encoder_q.", "state_dict.model._orig_mod.", "segmentation_model.", "a.b.c."),
    ],
)
def test_any_prefix_is_found(prefix: str) -> None:
    names = [f"{prefix}{name}" for name in EXPECTED]
    found = located(EXPECTED, ["loss.weight", "other.head.bias", *names])
    assert found.found == dict(zip(EXPECTED, names, strict=True))
    assert found.prefixes == (prefix,)
    assert found.rivals == ()


def test_a_name_that_ends_as_another_one_is_not_taken_for_it() -> None:
    found = located({"conv1.weight"}, ["layer1.conv1.weight", "conv1.weight"])
    assert found.found == {"conv1.weight": "conv1.weight"}


@pytest.mark.parametrize(
    "names",
    [
        ("module.conv1.weight", "layer1.conv1.weight", "head.bias"),
        ("conv1.weight", "layer1._orig_mod.conv1.weight", "net.head.bias"),
        ("module.model.conv1.weight", "net.layer1.module.conv1.weight", "head.bias"),
        ("student.conv1.weight", "student.module.layer1.conv1.weight", "student.head.bias"),
    ],
)
def test_wrappers_of_a_part_of_the_names_are_taken_off(names: tuple[str, ...]) -> None:
    assert located(EXPECTED, names).found == dict(zip(EXPECTED, names, strict=True))


def test_what_is_missing_is_not_taken_from_a_second_network() -> None:
    names = [*(f"student.{name}" for name in EXPECTED[:2]), "teacher.head.bias", "other.head.bias"]
    assert located(EXPECTED, names).found.keys() == set(EXPECTED[:2])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("state_dict_ema.", "state_dict."),
        ("model_ema.", "model."),
        ("teacher.", "student."),
        ("encoder_q.", "encoder_k."),
        ("encoder.", "momentum_encoder."),
        ("a.", "b.c."),
    ],
)
def test_of_two_equal_networks_the_average_comes_first_and_both_are_stated(
    first: str, second: str
) -> None:
    found = located(EXPECTED, [f"{prefix}{n}" for prefix in (second, first) for n in EXPECTED])
    assert found.prefixes == (first,)
    assert found.rivals == (second,)


def test_other_names_are_a_part_of_the_network_beside_it_or_not_known() -> None:
    firsts = {"encoder#", "conv"}
    assert of_the_network("m.encoder7.x.weight", ("m.",), firsts) is True
    assert of_the_network("n.encoder7.x.weight", ("m.",), firsts) is False
    assert of_the_network("m.scale", ("m.",), firsts) is False
    for beside in ("criterion.weight", "loss_fn.w", "classification_head.0.bias", "fc.bias"):
        assert of_the_network(f"m.{beside}", ("m.",), firsts) is False
    assert of_the_network("m.attention.weight", ("m.",), firsts) is None


def test_patterns_fill_in_their_numbers() -> None:
    table = {"layer{i}.{j}.conv1": "layer{i}_{j}/conv1", "enc{i}.enc{i}x": "e{i}"}
    assert translated("layer3.12.conv1", table) == "layer3_12/conv1"
    assert translated("enc2.enc2x", table) == "e2"
    assert translated("enc2.enc3x", table) is None
    assert top("layer{i}.{j}.conv1") == top("layer12.0") == "layer#"
