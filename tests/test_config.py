"""Configs: files, flags, JSON and what may differ on resume."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np
import pytest
from fixtures.places import CONFIGS

from jaxseg import config as configs
from jaxseg import config_text
from jaxseg.config import Config
from jaxseg.errors import UserError
from jaxseg.losses.border_weights import Separation
from jaxseg.losses.class_counts import class_counts
from jaxseg.losses.distillation import Distillation
from jaxseg.losses.pixels import CrossEntropy, EdgeWeightedCrossEntropy
from jaxseg.losses.presence import Presence
from jaxseg.models import DeepLabV3, MultiscaleSAR, PSPNet, TwoNetworks, UNet
from jaxseg.optimizer import learning_rate
from jaxseg.run import completion
from jaxseg.scenes.scene import Window
from jaxseg.sharding import MeshShape
from jaxseg.system.console import make_console
from jaxseg.transforms.augmentation import Dihedral, ScaleCrop

SHIPPED = sorted(CONFIGS.glob("*.py"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_config_survives_json(path: Path) -> None:
    config = configs.load_config(str(path))
    stored = json.loads(json.dumps(config_text.to_json(config)))
    assert config_text.from_json(stored) == config


def test_flags_reach_every_depth(tiny: Path) -> None:
    config = configs.load_config(str(tiny / "config.py"))
    flags = [
        *("--config.model.features", "8"),
        *("--config.data.source.fractions", "0.6", "0.2", "0.2"),
        *("--config.loss.ce.label-smoothing", "0.1"),
        *("--config.augment.1.high", "2.0"),
        *("--config.optimizer.ema", "None"),
        *("--config.pretrained.path", "weights.npz"),
        *("--config.mesh.fsdp", "2"),
    ]
    changed = configs.override(config, flags, "test")
    assert changed.model.features == 8  # type: ignore[attr-defined]
    assert changed.data.source.fractions == (0.6, 0.2, 0.2)  # type: ignore[attr-defined]
    assert changed.loss["ce"] == CrossEntropy(label_smoothing=0.1)
    assert changed.augment[1].high == 2.0  # type: ignore[attr-defined]
    assert changed.optimizer.ema is None
    assert changed.pretrained.path == "weights.npz"
    assert changed.mesh.fsdp == 2


def test_an_unknown_flag_is_refused_with_a_suggestion(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configs.load_config(str(tiny / "config.py"))
    with pytest.raises(SystemExit) as stopped:
        configs.override(config, ["--config.model.featurs", "8"], "test")
    assert stopped.value.code == 2
    assert "--config.model.features" in capsys.readouterr().err


def test_differences_name_the_fields_that_make_another_run(tiny: Path) -> None:
    config = configs.load_config(str(tiny / "config.py"))
    same = configs.override(config, ["--config.num-steps", "99", "--config.data.threads", "1"], "")
    assert config_text.differences(config, same) == []
    flags = ["--config.seed", "1", "--config.loss.edge.w0", "5.0"]
    assert config_text.differences(config, configs.override(config, flags, "")) == [
        "loss.edge.w0: 10.0 -> 5.0",
        "seed: 0 -> 1",
    ]


def test_json_builds_classes_of_jaxseg_only() -> None:
    with pytest.raises(UserError, match=r"names subprocess\.Popen, from outside .*--code FILE"):
        config_text.from_json({"class": "subprocess.Popen", "args": ["true"]})
    with pytest.raises(UserError, match="does not have"):
        config_text.from_json({"class": "jaxseg.losses.pixels.NoSuchLoss"})
    with pytest.raises(UserError, match="no_such_field"):
        config_text.from_json({"class": "jaxseg.losses.pixels.CrossEntropy", "no_such_field": 1})


def test_json_refuses_what_it_could_not_rebuild() -> None:
    with pytest.raises(UserError, match="could not rebuild"):
        config_text.to_json({"path": Path("somewhere")})


def test_a_missing_config_file_is_answered_with_those_there_are() -> None:
    with pytest.raises(UserError, match="Perhaps you mean deeplab"):
        configs.load_config("configs/deeplap.py")


def test_a_file_without_get_config_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(UserError, match=r"must define get_config\(\)"):
        configs.load_config(str(tmp_path / "empty.py"))


def test_pretty_fits_a_hundred_columns(tiny: Path) -> None:
    config: Config = configs.load_config(str(tiny / "config.py"))
    lines = config_text.pretty(config)
    assert any(line.startswith("num_steps = 12") for line in lines)
    assert max(map(len, lines)) <= 100 or any("/" in line for line in lines)  # a path stays whole


def test_the_separation_reaches_as_far_as_the_loss_sees_at_the_smallest_zoom(tiny: Path) -> None:
    config = configs.load_config(str(tiny / "config.py"))
    assert completion.inputs_of(config) == (Separation(36.0),)  # 28.4 px / 0.8
    wide = EdgeWeightedCrossEntropy(sigma=10.0)
    both = dataclasses.replace(config, loss=config.loss | {"wide": wide})
    assert completion.inputs_of(both) == (Separation(71.0),)  # of two losses the one that sees more
    assert completion.inputs_of(dataclasses.replace(config, loss={"ce": CrossEntropy()})) == ()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_config_is_shortened_by_one_flag(path: Path) -> None:
    own = configs.load_config(str(path))
    flags = ["--config.num-steps", "6"]
    config, lines = configs.shortened(own, configs.override(own, flags, "test"), flags)
    assert config.num_steps == 6
    assert learning_rate(config.optimizer, 6)(5) > 0  # a warm-up that fits
    assert max(config.log_every, config.eval_every, config.save_every) <= 6
    assert f"eval_every: {own.eval_every} -> {config.eval_every}" in lines


def test_what_is_given_is_not_shortened_and_a_longer_run_stays(tiny: Path) -> None:
    own = configs.load_config(str(tiny / "config.py"))  # 12 steps, warm-up 2, evaluated every 6
    flags = ["--config.num-steps", "6", "--config.eval-every=4", "--config.optimizer.warmup", "2"]
    config, lines = configs.shortened(own, configs.override(own, flags, "test"), flags)
    assert (config.eval_every, config.optimizer.warmup, config.save_every) == (4, 2, 1)
    assert lines == ["log_every: 2 -> 1", "save_every: 3 -> 1"]
    longer = ["--config.num-steps", "24"]
    given = configs.override(own, longer, "test")
    assert configs.shortened(own, given, longer) == (given, [])
    one = ["--config.num-steps", "1"]
    shortest, _ = configs.shortened(own, configs.override(own, one, "test"), one)
    assert shortest.optimizer.warmup == 0  # a run of one step has no room for a rise


def test_a_tuple_of_one_is_printed_as_a_tuple() -> None:
    lines = config_text.pretty(Distillation("run", layers=("bottleneck",), logits=1.0))
    assert "layers = ('bottleneck',)" in lines


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("jaxseg.data import Data", "jaxseg.pipeline"),
        ("jaxseg.models.unet import ResNetUNet", "jaxseg.models"),
    ],
)
def test_a_file_that_imports_what_has_moved_is_told_where_it_is(
    tmp_path: Path, old: str, new: str
) -> None:
    (tmp_path / "old.py").write_text(f"\nfrom {old}\n")
    with pytest.raises(UserError, match=rf"old\.py, line 2: .* moved to {new} in 0\.2"):
        configs.load_config(str(tmp_path / "old.py"))


def test_of_several_border_losses_the_one_that_sees_farthest_counts_at_the_product_of_zooms(
    tiny: Path,
) -> None:
    config = configs.load_config(str(tiny / "config.py"))

    def limit(sigmas: tuple[float, ...], **changes: Any) -> float:
        loss = {str(s): EdgeWeightedCrossEntropy(w0=10.0, sigma=s) for s in sigmas}
        changed = dataclasses.replace(config, loss=loss, **changes)
        [wanted] = completion.inputs_of(changed)
        return wanted.margin

    far = 5 * np.sqrt(2 * np.log(10 / 1e-6))  # where w0 exp(-d^2 / 2 sigma^2) is a millionth
    assert limit((5.0, 2.0), augment=()) == limit((2.0, 5.0), augment=()) == np.ceil(far)
    higher = dataclasses.replace(
        config, loss={"edge": EdgeWeightedCrossEntropy(w0=1000.0)}, augment=()
    )
    [wanted] = completion.inputs_of(higher)
    assert wanted.margin == np.ceil(5 * np.sqrt(2 * np.log(1e9)))
    zooms = {"augment": (ScaleCrop(low=0.8),), "augment_raw": (ScaleCrop(low=0.5), Dihedral())}
    assert limit((5.0,), **zooms) == np.ceil(far / 0.4)


def test_what_a_run_starts_with_is_measured_once(tiny: Path) -> None:
    config = configs.load_config(str(tiny / "config.py"))
    losses = config.loss | {"presence": Presence(class_weights="enet")}
    config = dataclasses.replace(config, model=UNet(num_classes=0, features=4), loss=losses)
    first = completion.completed(config)
    counts = class_counts(config.data.source, threads=1, console=make_console())
    assert first.loss["presence"] == Presence(class_weights=counts.weights("enet"))
    assert first.model.num_classes == 3  # type: ignore[attr-defined]
    assert first.model.features == 4  # type: ignore[attr-defined]
    source = config.data.source
    assert dataclasses.replace(first.sensor, typical=()) == source.sensor
    scenes = source.scenes("train")
    pixels = [
        sample["image"][sample["valid"]]
        for sample in (scenes.read(n, Window(0, 0, 48, 72)) for n in range(len(scenes)))
    ]
    whole = np.concatenate(pixels)
    np.testing.assert_allclose(
        np.array(first.sensor.typical), np.quantile(whole, (0.01, 0.5, 0.99), axis=0).T, atol=3
    )
    np.testing.assert_allclose(first.preprocess[0].mean, whole.mean(0), rtol=0.02)  # type: ignore[attr-defined]
    # A run that continues keeps what it was trained on, whatever the images are now.
    sensor = dataclasses.replace(first.sensor, typical=((1.0, 2.0, 3.0),) * 3)
    again = completion.completed(config, dataclasses.replace(first, sensor=sensor))
    assert again.sensor == sensor


def test_parts_that_do_not_fit_each_other_are_refused(tiny: Path) -> None:
    config = configs.load_config(str(tiny / "config.py"))
    configs.check(config)
    three = (1.0, 2.0, 3.0)
    fitting = [
        {"accumulate": 4},
        {"loss": {"ce": CrossEntropy(class_weights=three)}},
        {"loss": {"presence": Presence(class_weights=three)}},
        {"model": MLP()},  # does not say how many classes it tells apart
        *({name: 1} for name in ("num_steps", "log_every", "eval_every", "save_every", "keep")),
    ]
    for changes in fitting:
        configs.check(dataclasses.replace(config, **changes))
    wrong = [
        ({"model": UNet(num_classes=4)}, r"network has 4 classes .*--config.model.num-classes 3"),
        ({"model": UNet(num_classes=2)}, r"network has 2 classes .*--config.model.num-classes 3"),
        ({"loss": {}}, "has no loss"),
        (
            {"loss": {"b": Presence(class_weights=three[:2])}},
            r"--config\.loss\.b\.class-weights has 2 for 3 classes",
        ),
        (
            {"loss": {"a": CrossEntropy(class_weights=(*three, 4.0))}},
            r"--config\.loss\.a\.class-weights has 4 for 3 classes \(ground, disc, square\)",
        ),
        ({"accumulate": 3}, "batch of 4 cannot be cut into 3"),
        *(
            ({name: 0}, f"{name.replace('_', '-')} is 0: it must be 1 or more")
            for name in ("num_steps", "log_every", "eval_every", "save_every", "keep")
        ),
    ]
    for changes, message in wrong:
        with pytest.raises(UserError, match=message):
            configs.check(dataclasses.replace(config, **changes))


class MLP(nn.Module):
    """Any module."""


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"seed": -1}, r"config\.seed is -1: it must be 0 or more and below 4294967296\."),
        ({"aux_weight": float("nan")}, r"config\.aux-weight is nan: it must be 0 or more\."),
        ({"mesh": MeshShape(fsdp=0)}, r"config\.mesh\.fsdp is 0: it must be 1 or more\."),
        ({"model": UNet(3, features=0)}, r"config\.model\.features is 0: it must be 1 or more\."),
        (
            {"model": PSPNet(3, dropout=1.5)},
            r"config\.model\.dropout is 1\.5: it must be 0 or more and below 1\.",
        ),
        ({"model": DeepLabV3(3, dropout=1.0)}, r"config\.model\.dropout is 1\.0: .* below 1\."),
        (
            {"model": TwoNetworks(3, UNet(0, features=-2))},
            r"config\.model\.network\.features is -2: it must be 1 or more\.",
        ),
        (
            {"model": MultiscaleSAR(3, kernel_sizes=(3, 4))},
            r"config\.model\.kernel-sizes is 4 in \(3, 4\): it must be 1 or more and odd\.",
        ),
    ],
    ids=str,
)
def test_numbers_outside_their_ranges_are_refused_wherever_they_stand(
    fields: dict[str, Any], message: str, tiny: Path
) -> None:
    config = configs.load_config(str(tiny / "config.py"))
    with pytest.raises(UserError, match=message):
        dataclasses.replace(config, **fields)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import jaxseg\n\ndef broken(:\n", r"broken\.py, line 3: SyntaxError"),
        ("\ndef get_config():\n    x = 0\n    return 1 / x\n", r"line 4: ZeroDivisionError"),
        ("def get_config():\n    return 1\n", r"must define get_config\(\) that returns"),
        (
            "from jaxseg.losses.pixels import CrossEntropy\nCrossEntropy(label_smoothing=2.0)\n",
            r"^label-smoothing of a loss is 2",
        ),
    ],
)
def test_a_file_that_cannot_be_run_is_refused_with_the_line(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "broken.py").write_text(text)
    with pytest.raises(UserError, match=message):
        configs.load_config(str(tmp_path / "broken.py"))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("num_steps: 3\n")
    with pytest.raises(UserError, match=r"is not a Python file: give a path that ends in \.py"):
        configs.load_config(str(tmp_path / "config.yaml"))


def test_flags_reach_a_class_that_the_file_itself_defines(tiny: Path, tmp_path: Path) -> None:
    own = """
@dataclasses.dataclass(frozen=True)
class Own:
    weight: float = 1.0

    def __call__(self, logits, batch, valid):
        return logits.mean()
"""
    text = (tiny / "config.py").read_text().replace("\ndef get_config", own + "\n\ndef get_config")
    text = text.replace("loss={", 'loss={"own": Own(), ')
    head = "from __future__ import annotations\nimport dataclasses\n"
    (tmp_path / "own.py").write_text(head + text)
    config = configs.load_config(str(tmp_path / "own.py"))
    changed = configs.override(config, ["--config.loss.own.weight", "2.5"], "test")
    assert changed.loss["own"].weight == 2.5
