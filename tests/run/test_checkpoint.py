"""Checkpoints: what is kept, what is chosen, what is refused."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures import painted

from jaxseg import config as configs
from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.errors import UserError
from jaxseg.run import step
from jaxseg.run.checkpoint import Checkpoints, reopen
from jaxseg.run.step import TrainState
from jaxseg.sharding import MeshShape
from jaxseg.transforms.radiometry import Standardize


@pytest.fixture(scope="module")
def run(tiny: Path) -> tuple[Config, TrainState]:
    config = configs.load_config(str(tiny / "config.py"))
    standardize = Standardize((0.0,) * 3, (1.0,) * 3)
    config = dataclasses.replace(config, preprocess=(standardize,))
    return config, step.init_state(config, 3, sharding.make_mesh(config.mesh))


@pytest.fixture(scope="module")
def small() -> tuple[Config, TrainState]:
    """Of one parameter, for tests of what is kept."""
    config = painted.config()
    return config, step.init_state(config, 2, sharding.make_mesh(config.mesh))


def at(state: TrainState, number: int) -> TrainState:
    return state.replace(step=jnp.asarray(number, jnp.int32))  # type: ignore[attr-defined, no-any-return]


def save(workdir: Path, run: tuple[Config, TrainState], history: dict[int, float | None]) -> None:
    config, state = run
    with Checkpoints(workdir, keep=2) as checkpoints:
        for number, miou in history.items():
            checkpoints.save(at(state, number), config, miou)


def kept(workdir: Path) -> list[int]:
    return sorted(int(folder.name) for folder in (workdir / "checkpoints").iterdir())


def test_the_newest_and_the_best_are_kept(tmp_path: Path, small: tuple[Config, TrainState]) -> None:
    save(tmp_path, small, {1: 0.5, 2: 0.9, 3: None, 4: 0.1, 5: None, 6: 0.3})
    assert kept(tmp_path) == [2, 5, 6]
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.choose("best") == 2
        assert checkpoints.choose("latest") == 6
        assert checkpoints.choose("5") == 5
        with pytest.raises(UserError, match=r"give best, latest or one of \[2, 5, 6\]"):
            checkpoints.choose("4")


def test_before_the_first_validation_the_newest_is_the_best(
    tmp_path: Path, small: tuple[Config, TrainState]
) -> None:
    save(tmp_path, small, {1: None, 2: float("nan")})
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.choose("best") == checkpoints.choose("latest") == 2


def test_a_metric_that_is_no_number_does_not_evict_the_best(
    tmp_path: Path, small: tuple[Config, TrainState]
) -> None:
    save(tmp_path, small, {1: 0.5, 2: float("nan"), 3: 0.4, 4: float("nan"), 5: 0.3})
    assert kept(tmp_path) == [1, 4, 5]


@pytest.mark.slow
def test_a_state_returns_as_it_was_on_another_mesh(
    tmp_path: Path, run: tuple[Config, TrainState]
) -> None:
    config, state = run
    config = dataclasses.replace(config, sensor=config.data.source.sensor)  # as a training does
    save(tmp_path, (config, state), {7: None})
    stored, found = reopen(tmp_path, MeshShape(data=1, fsdp=8))
    assert stored == config
    assert int(found.step) == 7
    for ours, theirs in zip(
        jax.tree.leaves(found.params), jax.tree.leaves(state.params), strict=True
    ):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_a_directory_without_content_is_skipped(
    tmp_path: Path, small: tuple[Config, TrainState]
) -> None:
    config, _ = small
    save(tmp_path, small, {3: None})
    (tmp_path / "checkpoints" / "9").mkdir()
    abstract = step.abstract_state(config, 2, sharding.make_mesh(config.mesh))
    with Checkpoints(tmp_path, code=(painted,)) as checkpoints:
        assert checkpoints.stored_config() == config
        state, skipped = checkpoints.restore_newest(abstract)
    assert state is not None
    assert int(state.step) == 3
    assert len(skipped) == 1
    assert "checkpoint 9 cannot be read" in skipped[0]


def test_what_a_killed_save_has_left_is_removed_by_a_training_alone(
    tmp_path: Path, small: tuple[Config, TrainState]
) -> None:
    save(tmp_path, small, {2: None})
    left = tmp_path / "checkpoints" / "13.orbax-checkpoint-tmp"
    (left / "state").mkdir(parents=True)
    with Checkpoints(tmp_path) as checkpoints:  # as an evaluation does, beside a training
        assert checkpoints.choose("latest") == 2
    assert left.exists()
    with Checkpoints(tmp_path, repair=True, code=(painted,)) as checkpoints:
        checkpoints.save(at(small[1], 3), small[0], None)
    assert not left.exists()


def test_where_all_checkpoints_are_put_aside_no_training_begins_again_in_silence(
    tmp_path: Path, small: tuple[Config, TrainState]
) -> None:
    config, _ = small
    save(tmp_path, small, {2: 0.5, 3: 0.6})
    one, other = (tmp_path / "checkpoints" / step / "metrics" / "metrics" for step in "23")
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    abstract = step.abstract_state(config, 2, sharding.make_mesh(config.mesh))
    for named in ("checkpoint 2 is put aside as .*; checkpoint 3 is", "2.damaged, 3.damaged"):
        with (
            Checkpoints(tmp_path, repair=True, code=(painted,)) as checkpoints,
            pytest.raises(UserError, match=rf"damaged and put aside: {named}.*Nothing is left"),
        ):
            checkpoints.restore_newest(abstract)


def test_a_checkpoint_with_damaged_metrics_is_put_aside(
    tmp_path: Path, small: tuple[Config, TrainState]
) -> None:
    save(tmp_path, small, {1: 0.5, 2: 0.9})
    (tmp_path / "checkpoints/2/metrics/metrics").write_text("")
    with pytest.raises(UserError, match=r"2/metrics/metrics cannot be read.*Start the training"):
        Checkpoints(tmp_path)
    abstract = step.abstract_state(small[0], 2, sharding.make_mesh(MeshShape()))
    with Checkpoints(tmp_path, keep=2, repair=True, code=(painted,)) as checkpoints:
        state, skipped = checkpoints.restore_newest(abstract)
        assert state is not None
        assert int(state.step) == 1
        assert "checkpoint 2 is put aside" in skipped[0]
        checkpoints.save(at(small[1], 2), small[0], 0.7)
    assert reopen(tmp_path, MeshShape(), code=(painted,))[1].step == 2


def test_a_run_that_comes_back_to_a_damaged_checkpoint_saves_it_anew(
    tmp_path: Path, small: tuple[Config, TrainState]
) -> None:
    save(tmp_path, small, {1: None, 2: None})
    for file in (tmp_path / "checkpoints/2/state").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    abstract = step.abstract_state(small[0], 2, sharding.make_mesh(MeshShape()))
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        state, skipped = checkpoints.restore_newest(abstract)
        assert state is not None
        assert len(skipped) == 1
        checkpoints.save(at(state, 2), small[0], None)
    assert reopen(tmp_path, MeshShape(), "latest", code=(painted,))[1].step == 2


def test_only_damaged_checkpoints_are_an_error_that_lists_them(
    tmp_path: Path, small: tuple[Config, TrainState]
) -> None:
    config, _ = small
    (tmp_path / "checkpoints" / "9").mkdir(parents=True)
    abstract = step.abstract_state(config, 2, sharding.make_mesh(config.mesh))
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(UserError, match=r"None of .*\[9\]"):
        checkpoints.restore_newest(abstract)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run"):
        reopen(tmp_path, MeshShape())
