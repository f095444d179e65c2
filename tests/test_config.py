"""Configs: files, flags, JSON and what may differ on resume."""

import dataclasses
import json
from pathlib import Path

import pytest
from fixtures.places import CONFIGS

from jaxseg import config as configs
from jaxseg import config_text
from jaxseg.config import Config
from jaxseg.errors import UserError
from jaxseg.losses.border_weights import Separation
from jaxseg.losses.distillation import Distillation
from jaxseg.losses.pixels import CrossEntropy, EdgeWeightedCrossEntropy
from jaxseg.optimizer import learning_rate
from jaxseg.run import completion

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
    with pytest.raises(UserError, match=r"names subprocess\.Popen, from outside of .*--code FILE"):
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


def test_a_file_that_imports_what_has_moved_is_told_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text("\nfrom jaxseg.data import Data\n")
    with pytest.raises(UserError, match=r"old\.py, line 2: .* is in jaxseg\.pipeline since 0\.2"):
        configs.load_config(str(tmp_path / "old.py"))
