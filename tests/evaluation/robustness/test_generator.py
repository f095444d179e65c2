"""A generator of attacks stays in its ball, reads its condition, and learns to fool."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from fixtures.shallow import Shallow

from jaxseg.cli import main as cli
from jaxseg.errors import UserError
from jaxseg.evaluation.robustness import generator as generators
from jaxseg.evaluation.robustness.generator import Generation, Generator
from jaxseg.evaluation.robustness.measure import measured
from jaxseg.evaluation.robustness.planned import Attacks
from jaxseg.run import checkpoint
from jaxseg.sharding import MeshShape
from jaxseg.transforms import LogIntensity

ONE = MeshShape(data=1)


@pytest.fixture(autouse=True)
def one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command takes all devices of a machine."""
    one = jax.devices()[:1]
    monkeypatch.setattr(jax, "devices", lambda *_: one)


def test_its_change_stays_in_the_ball_at_any_size_and_follows_the_condition() -> None:
    model = Generator(bands=3, features=4)
    random = np.random.default_rng(0)
    image = jnp.asarray(random.normal(size=(2, 18, 23, 3)), jnp.float32)
    valid = np.ones((2, 18, 23), bool)
    valid[0, :5] = False
    rows = jnp.asarray(generators.embedded(("a", "b", "c")))
    params = jax.jit(model.init)(jax.random.key(0), image, rows[:2])
    params = jax.tree.map(lambda leaf: 3 * leaf, params)  # far into the ends of tanh
    batch = {"image": image, "valid": jnp.asarray(valid), "label": jnp.zeros(valid.shape, int)}
    alter = jax.jit(functools.partial(generators.altered, model))
    found = [
        np.asarray(alter(params, batch, rows[jnp.array([k, k])], jnp.float32(0.2))["image"])
        for k in range(3)
    ]
    for one in found:
        change = one - np.asarray(image)
        assert 0.05 < np.abs(change).max() <= 0.2 + 1e-6
        assert not change[~valid].any()
    assert np.abs(found[0] - found[1]).max() > 1e-3
    same = alter(params, batch, rows[:2], jnp.float32(0))["image"]
    np.testing.assert_array_equal(same, image)


def test_what_is_learned_on_one_network_fools_it_and_is_shown_to_others(fooled_run: Path) -> None:
    config, state = checkpoint.reopen(fooled_run, ONE, "best", (Shallow,))
    before_all = jax.tree.map(np.array, state.params)
    found = measured(
        config,
        state,
        "run",
        corruptions=(),
        attacks=Attacks((1.5,), steps=1, targets=("square",)),
        windows=2,
        generation=Generation(steps=25, epsilon=1.5, features=4, learning_rate=1e-2),
        others={"twin": (config, state)},
        mesh_shape=ONE,
    )
    kinds = [(curve.kind, curve.target, curve.network) for curve in found.curves]
    every = [("pgd", -1), ("pgd", 2), ("generator", 2)]
    assert kinds == [(*one, network) for one in every for network in ("run", "twin")]
    own, twin = found.curves[-2:]
    before = found.clean["run"].hit(2)
    assert own.points[-1].hit(2) > before + 0.1
    for one, other in zip(own.points, twin.points, strict=True):
        np.testing.assert_array_equal(one.result.confusion, other.result.confusion)
    jax.tree.map(np.testing.assert_array_equal, before_all, state.params)


def test_other_runs_must_agree_in_classes_and_radiometry(fooled_run: Path) -> None:
    config, state = checkpoint.reopen(fooled_run, ONE, "best", (Shallow,))
    changed = dataclasses.replace(config, preprocess=(LogIntensity(), *config.preprocess))
    source: Any = config.data.source
    source = dataclasses.replace(source, classes=("ground", "disc", "box"))
    renamed = dataclasses.replace(config, data=dataclasses.replace(config.data, source=source))
    for other, message in ((changed, "another radiometry"), (renamed, "other classes")):
        with pytest.raises(UserError, match=message):
            measured(
                config, state, "run", corruptions=(), others={"x": (other, state)}, mesh_shape=ONE
            )


def test_features_of_texts_come_from_files_by_name_or_by_row(tmp_path: Path) -> None:
    classes, random = ("land", "water"), np.random.default_rng(0)
    rows = random.normal(size=(2, 5)).astype(np.float32)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    np.savez(tmp_path / "names.npz", water=rows[1], land=rows[:1], other=rows[0])
    np.savez(tmp_path / "rows.npz", features=rows)
    safetensors.numpy.save_file({"features": rows}, tmp_path / "rows.safetensors")
    for name in ("names.npz", "rows.npz", "rows.safetensors"):
        found = generators.text_conditions(tmp_path / name, classes)
        np.testing.assert_allclose(found, rows / length, rtol=1e-6)
    np.savez(tmp_path / "three.npz", features=np.zeros((3, 5)))
    with pytest.raises(UserError, match=r"features \(3, 5\): give a vector for each of land"):
        generators.text_conditions(tmp_path / "three.npz", classes)
    np.savez(tmp_path / "nan.npz", features=np.full((2, 5), np.nan))
    with pytest.raises(UserError, match="not finite"):
        generators.text_conditions(tmp_path / "nan.npz", classes)
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(UserError, match=r"is not a \.npz"):
        generators.text_conditions(tmp_path / "text.npz", classes)


def test_flags_of_the_generator_need_each_other(
    fooled_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["robustness", str(fooled_run), "--code", "fixtures.shallow"]
    for flags, message in (
        (["--text", "features.npz"], "--text needs --generator"),
        (["--generator", "5", "--epsilons"], "need --epsilons"),
        (["--generator", "-5"], "give 0 steps or more"),
        (["--generator", "5", "--text", "missing.npz"], "missing.npz is not a .npz"),
        (["--transfer", "runs/none"], "is not a run"),
    ):
        with pytest.raises(SystemExit):
            cli.main([*common, *flags])
        assert message in " ".join(capsys.readouterr().err.split())
