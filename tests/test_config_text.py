"""A config as text: what may differ on resume, what is printed, what is rebuilt from JSON."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from jaxseg import config as configs
from jaxseg import config_text
from jaxseg.config import Config
from jaxseg.config_text import absolute, paths_in
from jaxseg.datasets.folder.source import Folder
from jaxseg.datasets.landscape import Landscape
from jaxseg.datasets.mislabelled import Mislabelled
from jaxseg.datasets.paired import Stacked
from jaxseg.datasets.without_doubts import WithoutDoubts
from jaxseg.errors import UserError
from jaxseg.losses.distillation import Distillation
from jaxseg.losses.pixels import CrossEntropy
from jaxseg.models.two_networks import TwoNetworks
from jaxseg.models.unet import UNet
from jaxseg.pipeline.windows import Data
from jaxseg.sharding import MeshShape
from jaxseg.transforms.augmentation import Dihedral, ScaleCrop
from jaxseg.transforms.radiometry import Standardize


@pytest.fixture
def config(tiny: Path) -> Config:
    return configs.load_config(str(tiny / "config.py"))


def of_data(config: Config, **changes: Any) -> Config:
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **changes))


def test_length_intervals_devices_and_threads_may_differ_on_resume(config: Config) -> None:
    free: dict[str, Any] = {
        "num_steps": 99,
        "log_every": 7,
        "eval_every": 8,
        "save_every": 9,
        "keep": 5,
        "mesh": MeshShape(data=1, fsdp=2, space=4),
    }
    for name, value in free.items():
        assert config_text.differences(config, dataclasses.replace(config, **{name: value})) == []
    assert config_text.differences(config, of_data(config, threads=1)) == []


def test_any_other_field_makes_another_run_at_every_depth(config: Config) -> None:
    source = dataclasses.replace(config.data.source, multiply=2.0)  # type: ignore[type-var]
    changed = of_data(config, batch_size=8, crop=48, source=source)
    assert config_text.differences(config, changed) == [
        "data.batch_size: 4 -> 8",
        "data.crop: 32 -> 48",
        "data.source.multiply: 1.0 -> 2.0",
    ]
    others: dict[str, Any] = {
        "seed": 1,
        "accumulate": 2,
        "aux_weight": 0.1,
        "init_from": "runs/other",
        "loss": {"ce": CrossEntropy()},
        "preprocess": (Standardize((1.0,), (2.0,)),),
        "augment": (Dihedral(),),
    }
    for name, value in others.items():
        lines = config_text.differences(config, dataclasses.replace(config, **{name: value}))
        assert lines
        assert all(line.startswith(name) for line in lines)


def test_what_is_only_there_on_one_side_is_absent_on_the_other(config: Config) -> None:
    loss = {**config.loss, "two": CrossEntropy(weight=3.0)}
    more = dataclasses.replace(config, loss=loss)
    added = config_text.differences(config, more)
    assert "loss.two.weight: absent -> 3.0" in added
    assert "loss.two.weight: 3.0 -> absent" in config_text.differences(more, config)
    zoomed = (Dihedral(), ScaleCrop(low=0.5), *config.augment[2:])
    moved = config_text.differences(config, dataclasses.replace(config, augment=zoomed))
    assert moved == ["augment.1.high: 1.25 -> 1.0", "augment.1.low: 0.8 -> 0.5"]


def test_json_keeps_every_kind_of_value_and_no_more_than_a_config_says(config: Config) -> None:
    model = TwoNetworks(3, network=UNet(num_classes=0, features=2))
    config = dataclasses.replace(config, model=model, init_from="runs/first")
    stored = json.loads(json.dumps(config_text.to_json(config)))
    assert config_text.from_json(stored) == config
    assert stored["class"] == "jaxseg.config.Config"
    assert not {"parent", "name"} & stored["model"].keys()
    assert stored["model"]["network"]["class"] == "jaxseg.models.UNet"
    assert config_text.to_json({"a": [1, (2, None)]}) == {"a": [1, [2, None]]}
    assert config_text.from_json([1, [2.5, None], {"a": [True, "b"]}]) == (
        1,
        (2.5, None),
        {"a": (True, "b")},
    )


@pytest.mark.parametrize("name", ["os.system", "jaxsegment.Config", "jaxseg", "Config"])
def test_only_classes_within_the_package_are_built(name: str) -> None:
    with pytest.raises(UserError, match=f"names {name}, from outside jaxseg"):
        config_text.from_json({"class": name})


def test_classes_and_fields_of_another_version_are_named() -> None:
    for name in ("jaxseg.no_such_room.Loss", "jaxseg.losses.pixels.NoSuchLoss"):
        with pytest.raises(UserError, match=f"names {name}, which this version"):
            config_text.from_json({"class": name})
    with pytest.raises(UserError, match=r"CrossEntropy the field\(s\) a, b, which"):
        config_text.from_json({"class": "jaxseg.losses.pixels.CrossEntropy", "b": 1, "a": 2})
    with pytest.raises(UserError, match=r"UNet the field\(s\) parent"):
        config_text.from_json({"class": "jaxseg.models.unet.UNet", "parent": None})


class Plain:
    """No dataclass."""


@pytest.mark.parametrize(
    "value", [Plain(), b"bytes", {1, 2}], ids=lambda value: type(value).__name__
)
def test_values_that_could_not_be_rebuilt_are_refused(value: object) -> None:
    for inside in (value, (1, value), {"a": value}):
        with pytest.raises(UserError, match="could not rebuild"):
            config_text.to_json(inside)


def test_a_config_is_printed_field_by_field(config: Config) -> None:
    lines = config_text.pretty(dataclasses.replace(config, seed=5))
    text = " ".join(line.strip() for line in lines)
    assert "seed = 5" in lines
    assert "init_from = None" in lines
    assert "mesh = MeshShape(data=4, fsdp=1, space=2)" in lines
    assert (
        "loss = {ce: CrossEntropy(weight=1.0, class_weights=(), label_smoothing=0.0), edge: "
        in text
    )
    assert "augment = (Dihedral(), ScaleCrop(size=0, low=0.8, high=1.25), " in text
    assert "model = UNet(num_classes=3, features=4" in text
    assert "parent=" not in text
    fields = [field.name for field in dataclasses.fields(Config)]
    assert [line.split(" = ")[0] for line in lines if not line.startswith(" ")] == fields
    assert max(len(line) for line in lines if "/" not in line) <= 98


def test_a_short_config_leaves_out_defaults_at_any_depth(config: Config) -> None:
    lines = config_text.pretty(dataclasses.replace(config, seed=5), short=True)
    text = " ".join(line.strip() for line in lines)
    assert "seed = 5" in lines
    assert "init_from" not in text
    assert "mesh = MeshShape(data=4, space=2)" in lines
    assert "loss = {ce: CrossEntropy(), edge: " in text
    assert not config_text.pretty(Plainly(), short=True)
    assert config_text.pretty(Plainly(inner=Inner(2)), short=True) == ["inner = Inner(number=2)"]


@dataclasses.dataclass(frozen=True)
class Inner:
    """A number."""

    number: int = 1


@dataclasses.dataclass(frozen=True)
class Plainly:
    """Defaults of both kinds."""

    inner: Inner = dataclasses.field(default_factory=Inner)
    nodata: float | None = None


@dataclasses.dataclass(frozen=True)
class Colors:
    """Tuples in a tuple."""

    colors: tuple[tuple[float, float, float], ...]


def test_long_lists_are_printed_by_their_length_and_short_ones_whole() -> None:
    def text(count: int) -> str:
        return " ".join(config_text.pretty(Standardize(tuple(range(count)), ())))

    assert "..." not in text(256)
    assert "255)" in text(256)
    assert "mean = (0, 1, ... 257 numbers)" in text(257)
    nested = " ".join(config_text.pretty(Colors(((1.0, 2.0, 3.0),) * 86)))
    assert "colors = ((1.0, 2.0, 3.0), (1.0, 2.0, 3.0), ... 258 numbers)" in nested
    short, long = Standardize((0.0,) * 256, ()), Standardize((1.0,) * 257, ())
    (line,) = config_text.differences(short, long)
    assert line == f"mean: {[0.0] * 256} -> 257 numbers"


def test_nan_may_mark_pixels_without_data_and_equals_itself_when_a_run_continues() -> None:
    def config(nodata: float, **fields: Any) -> Folder:
        return Folder(images="i", masks="m", classes=("a", "b"), nodata=nodata, **fields)

    nan = float("nan")
    again = config_text.from_json(config_text.to_json(config(nan)))
    assert config_text.differences(again, config(nan)) == []
    assert config_text.differences(again, config(0.0)) == ["nodata: nan -> 0.0"]
    with pytest.raises(UserError, match=r"wavelengths\.0 is nan: a number .* has to be finite"):
        config_text.to_json(config(0.0, wavelengths=(nan,)))


def test_paths_become_absolute_and_nothing_else_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = Folder(
        images="a/../images/**/*.tif",
        masks="https://host/masks",
        instances="/vsizip/a.zip/b",
        lists="/lists",
        classes=("a", "b"),
    )
    config = Config(
        model=UNet(2),
        data=Data(source=Stacked(source, Mislabelled(source))),
        loss={"ce": CrossEntropy(), "like": Distillation("run", logits=1.0)},
        init_from="./other/",
    )
    found = absolute(config)
    expected = dataclasses.replace(source, images=f"{tmp_path}/images/**/*.tif")
    assert found.data.source == Stacked(expected, Mislabelled(expected))
    assert found.loss["like"].run == f"{tmp_path}/run"
    assert found.init_from == f"{tmp_path}/other"
    assert found.pretrained is config.pretrained
    assert found.model is config.model
    assert absolute(found) is found  # what was opened stays open


def test_each_of_several_paths_becomes_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = Landscape(data_dir="/data")
    found = absolute(WithoutDoubts(source, folders=("half0", "/there/half1")))
    assert found.folders == (f"{tmp_path}/half0", "/there/half1")
    assert found.source is source
    assert absolute(found) is found
    assert paths_in(found) == ("/data", f"{tmp_path}/half0", "/there/half1")
