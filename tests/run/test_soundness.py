"""A state that cannot be used is never saved, and what made it so is named."""

import dataclasses
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures import painted
from fixtures.folder_files import tiff

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.datasets import Folder
from jaxseg.errors import UserError
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.run import soundness, step
from jaxseg.run.checkpoint import Checkpoints
from jaxseg.run.training import train
from jaxseg.sharding import MeshShape
from jaxseg.transforms import Standardize


class Normed(nn.Module):
    """Two layers with a batch normalisation in between."""

    dtype: str = "float32"

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        """Logits (B, H, W, K)."""
        x = nn.Dense(4, dtype=self.dtype)(image)
        x = nn.BatchNorm(use_running_average=not train, dtype=self.dtype)(x)
        return nn.Dense(2, dtype=self.dtype)(x).astype(jnp.float32)


def config(folder: Path, **changes: Any) -> Config:
    source = Folder(
        images=str(folder / "images"),
        masks=str(folder / "masks"),
        classes=("ground", "house"),
        fractions=(0.5, 0.25, 0.25),
    )
    plain = Config(
        model=Normed(),
        data=Data(source=source, crop=16, batch_size=8),
        preprocess=(Standardize((100.0,) * 3, (20.0,) * 3),),
        optimizer=Optimizer(schedule="constant"),
        num_steps=4,
        log_every=4,
        eval_every=4,
        save_every=1,
        keep=4,
    )
    return dataclasses.replace(plain, **changes)


def write(folder: Path, value: float) -> None:
    """Eight scenes; the second row of the training scenes has this value in every tenth pixel."""
    draw = np.random.default_rng(0)
    for scene in range(8):
        image = draw.normal(100, 20, (16, 16, 3)).astype(np.float32)
        image[1, ::10] = value
        tiff(folder / "images" / f"{scene}.tif", image)
        tiff(folder / "masks" / f"{scene}.tif", draw.integers(0, 2, (16, 16)).astype(np.uint8))


def steps_in(workdir: Path) -> list[str]:
    return sorted(path.name for path in (workdir / "checkpoints").glob("[0-9]*"))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_one_value_that_makes_a_variance_infinite_ends_the_run_unsaved(
    tmp_path: Path, dtype: str
) -> None:
    write(tmp_path, 1e20)
    with pytest.raises(UserError) as caught:
        train(config(tmp_path, model=Normed(dtype=dtype)), tmp_path / "run", code=(Normed,))
    said = str(caught.value)
    assert said.startswith("batch_stats/BatchNorm_0/var ")
    assert "at step 1; this state was not saved" in said
    assert "images of this step is 1e+20, in " in said
    assert ".tif" in said or any(f"in {scene}." in said for scene in range(8))
    assert steps_in(tmp_path / "run") == []


def test_statistics_are_not_fitted_to_a_fill_value_beyond_use(tmp_path: Path) -> None:
    write(tmp_path, -3.4028235e38)
    said = (
        r"values as large as -3\.4028235e\+38, beyond 1e\+19 in 0\.78 % .*nodata -3\.4028235e\+38"
    )
    with pytest.raises(UserError, match=said):
        train(config(tmp_path, preprocess=(Standardize(),)), tmp_path / "run", code=(Normed,))


def test_after_a_loss_that_is_not_finite_the_checkpoint_before_is_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, 100.0)
    short = config(tmp_path, num_steps=2, eval_every=2, log_every=2)
    state = train(short, tmp_path / "run", code=(Normed,))
    # As an earlier version may have saved it: sound digests of a state that is not.
    with Checkpoints(tmp_path / "run", keep=4, code=(Normed,)) as checkpoints:
        stored = checkpoints.stored_config()
        assert stored is not None
        broken = jax.tree.map(lambda leaf: leaf * jnp.nan, state.batch_stats)
        params = jax.tree.map(lambda leaf: leaf * jnp.nan, state.params)
        poisoned = state.replace(step=jnp.int32(3), params=params, batch_stats=broken)  # type: ignore[attr-defined]
        checkpoints.save(poisoned, stored, None)
    capsys.readouterr()
    longer = dataclasses.replace(short, num_steps=5, eval_every=5)
    final = train(longer, tmp_path / "run", code=(Normed,))
    said = " ".join(capsys.readouterr().out.split())
    assert "Skipped: checkpoint 3, because the training that continued from it ended" in said
    assert "loss/ce is nan at step 4" in said
    assert int(final.step) == 5
    assert float(soundness.largest(final)[soundness.LARGEST]) < soundness.LIMIT
    assert "3" in steps_in(tmp_path / "run")  # it was saved again, and is sound
    again = train(longer, tmp_path / "other", code=(Normed,))
    for ours, theirs in zip(jax.tree.leaves(final), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_largest_number_and_its_leaf_are_found() -> None:
    tree = {
        "count": jnp.int32(2_000_000_000),
        "half": jnp.asarray([1.0, -300.0], jnp.bfloat16),
        "mean": jnp.asarray([[2.0], [-7.0]]),
    }
    names = soundness.leaves(tree)
    assert names == ("half", "mean")

    def said(**changes: object) -> str:
        found = jax.device_get(jax.jit(soundness.largest)(tree | changes))
        return soundness.fault(found, names)

    assert said() == ""
    assert said(half=jnp.asarray([jnp.inf, 0.0], jnp.bfloat16)) == "half is inf"
    assert said(mean=jnp.asarray([[jnp.nan], [0.0]])) == "mean is nan"
    assert said(mean=jnp.asarray([-1e25])) == "mean reaches 1e+25, more than 1e+19,"
    assert said(mean=jnp.asarray([1e18])) == ""


def test_the_step_looks_at_every_part_of_the_state() -> None:
    run = painted.config(model=painted.Told(), optimizer=Optimizer(schedule="constant", ema=0.9))
    mesh = sharding.make_mesh(MeshShape())
    state = step.init_state(run, 2, mesh)
    names = soundness.leaves(state)
    assert {name.partition("/")[0] for name in names} == {"params", "opt_state", "ema"}
    for number, name in enumerate(names):
        flat, tree = jax.tree.flatten(state)
        found = [leaf for leaf in flat if jnp.issubdtype(leaf.dtype, jnp.inexact)]
        poisoned = [jnp.full_like(x, jnp.inf) if x is found[number] else x for x in flat]
        metrics = soundness.largest(jax.tree.unflatten(tree, poisoned))
        assert soundness.fault(metrics, names) == f"{name} is inf"
