"""What a stored config may say: each wrong value is one error that names the field."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from jaxseg import config as configs
from jaxseg import config_text
from jaxseg.errors import UserError
from jaxseg.transforms.radiometry import Standardize


@pytest.fixture
def stored(tiny: Path) -> Any:
    """A config as a checkpoint has it."""
    return json.loads(json.dumps(config_text.to_json(configs.load_config(str(tiny / "config.py")))))


def changed(stored: Any, place: str, value: object) -> Any:
    whole = copy.deepcopy(stored)
    part, *names = whole, *place.split(".")
    for name in names[:-1]:
        part = part[int(name)] if isinstance(part, list) else part[name]
    part[int(names[-1]) if isinstance(part, list) else names[-1]] = value
    return json.loads(json.dumps(whole))


def test_a_config_as_it_is_stored_is_read(stored: Any) -> None:
    assert config_text.to_json(config_text.from_json(stored)) == config_text.to_json(
        config_text.from_json(json.loads(json.dumps(stored)))
    )


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("data.batch_size", 2.5, "data.batch_size = 2.5: allowed is a whole number"),
        ("data.batch_size", True, "data.batch_size = True: allowed is a whole number"),
        ("data.batch_size", "4", "data.batch_size = '4'"),
        ("data.batch_size", 10**7, "batch-size is 10000000: it must be 1 or more and 1048576"),
        ("data.crop", 10**9, "crop is 1000000000: it must be 1 or more and 65536 or less"),
        ("data.crop", None, "data.crop = None"),
        ("data.evaluation_crop", 10**9, "evaluation-crop is 1000000000"),
        ("data.threads", 10**9, "threads is 1000000000"),
        ("data.pad", 1, "data.pad = 1: allowed is true or false"),
        ("data.source", 3, "data.source = 3: allowed is a Source"),
        ("data.source", {"class": "jaxseg.sharding.MeshShape"}, "allowed is a Source"),
        ("data.source.classes", "ab", "data.source.classes = 'ab': allowed is a list"),
        ("data.source.classes", ["a", 1], "data.source.classes"),
        ("data.source.images", ["a"], "data.source.images"),
        ("data.source.split_by", "moon", "allowed is 'files' or "),
        ("data.source.fractions", [0.5, 0.5], "a list of 3"),
        ("preprocess", 7, "preprocess = 7"),
        ("preprocess", [3], "allowed is a list, each of it a Preprocess"),
        ("loss", [1], "loss"),
        ("loss", {"ce": 3}, "a table, each of it a Loss"),
        ("optimizer.learning_rate", float("nan"), "learning_rate = nan: allowed is a finite"),
        ("optimizer.learning_rate", float("inf"), "learning_rate = inf"),
        ("optimizer.learning_rate", "fast", "learning_rate = 'fast'"),
        ("model", None, "model = None: allowed is a Module"),
        ("mesh", "all", "mesh = 'all'"),
        ("seed", 1e9, "seed = 1000000000.0"),
        ("init_from", 5, "init_from = 5: allowed is a text or nothing"),
    ],
)
def test_a_wrong_value_names_its_field_and_what_is_allowed(
    stored: Any, place: str, value: object, said: str
) -> None:
    with pytest.raises(UserError) as error:
        config_text.from_json(changed(stored, place, value))
    assert said in str(error.value)


HOSTILE: tuple[object, ...] = (
    *(None, True, -1, 0, 2.5, 10**9, 10**30, float("nan"), float("inf"), "x", "", [], [1], ["a"]),
    *({}, {"a": 1}, {"class": "jaxseg.sharding.MeshShape"}, [[[]]]),
)


def places(value: Any, place: str = "") -> list[str]:
    """Every place in a stored config, at any depth."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for name, part in pairs:
        if name != "class":
            found.append(f"{place}{name}")
            if isinstance(part, dict | list):
                found += places(part, f"{found[-1]}.")
    return found


def test_any_value_anywhere_is_taken_or_one_message(stored: Any) -> None:
    refused = 0
    for place in places(stored):
        for value in HOSTILE:
            try:
                config_text.from_json(changed(stored, place, value))
            except UserError:
                refused += 1
    assert refused > 0.7 * len(places(stored)) * len(HOSTILE)


def test_means_that_are_not_numbers_are_refused(stored: Any) -> None:
    given = config_text.to_json(Standardize((1.0, 2.0, 3.0), (1.0, 1.0, 1.0)))
    for mean in ([float("nan")] * 3, [1, 2, "x"], "123", {"a": 1}):
        with pytest.raises(UserError, match=r"preprocess\.0\.mean = "):
            config_text.from_json(changed(stored, "preprocess", [given | {"mean": mean}]))


def test_a_field_that_is_missing_is_named(stored: Any) -> None:
    del stored["data"]["source"]["images"]
    with pytest.raises(UserError, match="leaves out images of Folder"):
        config_text.from_json(stored)


def test_paths_of_a_config_are_found_at_any_depth(stored: Any) -> None:
    config = config_text.from_json(stored)
    source = config.data.source
    assert config_text.paths_in(config) == (source.images, source.masks, source.instances)
