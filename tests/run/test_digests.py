"""No changed number of a checkpoint is loaded, however it is divided among devices."""

import gc
import json
import os
import shutil
import sys
from collections import Counter
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures import painted
from jax.sharding import NamedSharding, PartitionSpec

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.errors import UserError
from jaxseg.run import digests, failed_reads, step
from jaxseg.run.checkpoint import Checkpoints, chosen, reopen
from jaxseg.run.loaded import load_run
from jaxseg.run.step import TrainState
from jaxseg.sharding import MeshShape

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))

import chaos  # noqa: E402


class Layer(nn.Module):
    """One layer of 4,000 numbers, enough for a file of their own."""

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        """Logits (B, H, W, K)."""
        return nn.Dense(3)(nn.Dense(500)(image))


CODE = (painted, Layer)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Config, TrainState]:
    """Steps 1 (the best), 2 and 3, of different numbers."""
    workdir = tmp_path_factory.mktemp("digests")
    config = painted.config(model=Layer())
    state = step.init_state(config, 2, sharding.make_mesh(config.mesh))
    with Checkpoints(workdir, keep=2, code=CODE) as checkpoints:
        for number, miou in ((1, 0.9), (2, 0.5), (3, 0.7)):
            params = jax.tree.map(lambda leaf, number=number: leaf + number, state.params)
            saved = state.replace(step=jnp.int32(number), params=params)  # type: ignore[attr-defined]
            checkpoints.save(saved, config, miou)
    return workdir, config, saved


@pytest.fixture
def copy(run: tuple[Path, Config, TrainState], tmp_path: Path) -> Path:
    return Path(shutil.copytree(run[0], tmp_path / "run"))


def flip(workdir: Path, number: int) -> None:
    """One bit of one number of the second layer, wherever its bytes lie."""
    _, state = reopen(workdir, MeshShape(), str(number), CODE)
    sought = np.asarray(state.params["Dense_1"]["kernel"]).tobytes()[600:664]
    for file in (workdir / f"checkpoints/{number}/state").rglob("d/*"):
        content = bytearray(file.read_bytes())
        if (place := content.find(sought)) >= 0:
            content[place] ^= 4
            file.write_bytes(content)
            return
    raise AssertionError("the layer is in no file")


def of(leaf: object) -> str:
    return digests.digests_of([jnp.asarray(leaf)], 0, {}, None)["state"]["0"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32", "uint8", "bool", "complex64"])
def test_an_element_counts_by_its_value_and_its_place(dtype: str) -> None:
    values = jnp.arange(24).reshape(2, 3, 4).astype(dtype)
    zero, one = jnp.zeros((), dtype), jnp.ones((), dtype)
    seen = {of(values), of(values.at[1, 2, 3].set(zero)), of(values.at[0, 0, 0].set(one))}
    if dtype != "bool":
        seen |= {of(values[:, ::-1]), of(values[::-1])}
    assert len(seen) == (3 if dtype == "bool" else 5)
    assert of(values + 0) == of(values)


def test_each_bit_of_a_number_changes_the_digest() -> None:
    values = np.linspace(-1, 1, 7, dtype=np.float32)
    changed = [values.copy() for _ in range(32)]
    for bit, array in enumerate(changed):
        array.view(np.uint32)[5] ^= np.uint32(1 << bit)
    assert len({of(values), *map(of, changed)}) == 33


def test_the_digest_does_not_depend_on_how_a_leaf_is_divided() -> None:
    values = np.random.default_rng(0).standard_normal((16, 8)).astype(np.float32)
    mesh = sharding.make_mesh(MeshShape(data=2, fsdp=4))
    for axes in (PartitionSpec("fsdp"), PartitionSpec("data", "fsdp"), PartitionSpec()):
        assert of(jax.device_put(values, NamedSharding(mesh, axes))) == of(values)


def test_a_changed_number_is_named_and_the_checkpoint_before_it_is_used(
    copy: Path, run: tuple[Path, Config, TrainState]
) -> None:
    _, config, _ = run
    flip(copy, 3)
    abstract = step.abstract_state(config, 2, sharding.make_mesh(config.mesh))
    with Checkpoints(copy, keep=2, repair=True, code=CODE) as checkpoints:
        state, skipped = checkpoints.restore_newest(abstract)
    assert state is not None
    assert int(state.step) == 2
    assert skipped == ["checkpoint 3 cannot be read (params/Dense_1/kernel is not as it was saved)"]


def test_evaluation_and_prediction_refuse_a_changed_number(copy: Path) -> None:
    flip(copy, 1)
    said = r"Checkpoint 1 in .* cannot be read: params/Dense_1/kernel is not as it was saved\. Ch"
    with pytest.raises(UserError, match=said):
        reopen(copy, MeshShape(data=1, fsdp=8), code=CODE)
    with pytest.raises(UserError, match=said):
        load_run(copy, code=CODE)
    assert reopen(copy, MeshShape(), "latest", CODE)[1].step == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("config", r"3/config/metadata is not as it was saved"),
        ("digests", "the state of step 9 lies in folder 3"),
    ],
)
def test_a_changed_digit_of_a_text_is_refused(copy: Path, text: str, said: str) -> None:
    file = copy / f"checkpoints/3/{text}/metadata"
    content = file.read_text()
    place = next(n for n, letter in enumerate(content) if letter in "12345678")
    file.write_text(f"{content[:place]}9{content[place + 1 :]}")
    with pytest.raises(UserError, match=said):
        reopen(copy, MeshShape(), "latest", CODE)


def test_another_best_is_not_made_by_a_changed_score(copy: Path) -> None:
    (copy / "checkpoints/2/metrics/metrics").write_text(json.dumps({"miou": 0.95}))
    with pytest.raises(UserError, match=r"2/metrics/metrics is not as it was saved\). Start"):
        chosen(copy, code=CODE)
    (copy / "checkpoints/2/metrics/metrics").unlink()
    with Checkpoints(copy, keep=2, repair=True, code=CODE) as checkpoints:
        assert checkpoints.choose("best") == 1
    assert (copy / "checkpoints/2.damaged").is_dir()


def test_checkpoints_that_change_places_or_lose_their_digests_are_refused(copy: Path) -> None:
    folder = copy / "checkpoints"
    (folder / "3").rename(folder / "4")
    with pytest.raises(UserError, match="the state of step 3 lies in folder 4"):
        reopen(copy, MeshShape(), "latest", CODE)
    (folder / "2/digests/metadata").unlink()
    with pytest.raises(UserError, match="2/digests/metadata is missing"):
        reopen(copy, MeshShape(), "2", CODE)


def test_arrays_that_are_cut_are_one_message_and_nothing_beside_it(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", shown.append)
    monkeypatch.setattr(failed_reads, "leave_out", failed_reads.leave_out.__wrapped__)
    files = (copy / "checkpoints/3/state").rglob("d/*")
    os.truncate(max(files, key=lambda file: file.stat().st_size), 1000)
    with pytest.raises(UserError, match=r"Checkpoint 3 in .*[^.]\. Choose another") as refused:
        reopen(copy, MeshShape(), "latest", CODE)
    assert "TensorStore" not in str(refused.value)
    del refused
    gc.collect()
    assert shown == []


def test_random_damages_are_never_silent_and_never_a_traceback(
    run: tuple[Path, Config, TrainState], tmp_path: Path
) -> None:
    counts = chaos.attack(run[0], tmp_path / "damaged", count=8, seed=5, code=CODE)
    for outcomes in counts.values():  # which files are hit varies, as their names do
        assert outcomes.total() == 8
        assert not any(outcomes[bad] for bad in chaos.BAD)


@pytest.mark.slow
def test_forty_random_damages_neither(run: tuple[Path, Config, TrainState], tmp_path: Path) -> None:
    counts = chaos.attack(run[0], tmp_path / "damaged", count=40, seed=7, code=CODE)
    outcomes: Counter[str] = sum(counts.values(), Counter())
    assert outcomes.total() == 4 * 40
    assert not any(outcomes[bad] for bad in chaos.BAD)
    assert outcomes["harmless"] < 0.9 * outcomes.total()
