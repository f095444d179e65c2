"""`jaxseg bench`: reading and step overlap, and the numbers say which of them bounds a training."""

import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import config as configs
from jaxseg.pipeline import Data
from jaxseg.pipeline.windows import training_batches
from jaxseg.run import bench
from jaxseg.run.bench import Rates, lines, measured
from jaxseg.run.program import on_devices
from jaxseg.sharding import MeshShape, make_mesh

BATCH = 4


class Slow:
    """Scenes that take a while to read, as from a disk: no core is busy meanwhile."""

    classes = ("a", "b")

    def __init__(self, seconds: float) -> None:
        """Each window takes so long."""
        self.seconds = seconds

    def __len__(self) -> int:
        """Some scenes."""
        return 8

    def name(self, index: int) -> str:
        """Its number."""
        return str(index)

    def size(self, index: int) -> tuple[int, int]:
        """One window."""
        return 8, 8

    def scenes(self, split: str) -> "Slow":
        """It is a source, too."""
        return self

    def read(self, index: int, window: Any) -> dict[str, Any]:
        """Waits."""
        time.sleep(self.seconds)
        label = np.zeros((8, 8), np.uint8)
        return {"image": np.ones((8, 8, 1)), "label": label, "valid": label == 0}


def waiting(seconds: float) -> Any:
    """A step of a device that is busy for so long while the host is free."""

    def wait(_: Any) -> np.ndarray:
        time.sleep(seconds)
        return np.zeros((), np.float32)

    @jax.jit
    def step(state: Any, batch: Any) -> Any:
        done = jax.pure_callback(wait, jax.ShapeDtypeStruct((), jnp.float32), state)
        return state + 1 + done, {"loss": done + batch["image"].sum()}

    return step


@pytest.mark.parametrize(("window", "step"), [(0.005, 0.05), (0.04, 0.02)])
def test_both_reach_95_percent_of_the_slower_one(window: float, step: float) -> None:
    """Reading takes 2 or 4 x 40 / 2 ms a batch: once the step is the slower one, once reading."""
    source: Any = Slow(window)
    data = Data(source=source, crop=8, batch_size=BATCH, threads=2)
    mesh = make_mesh(MeshShape(), jax.devices()[:1])

    def batches(first: int) -> Generator[Any, None, None]:
        host = training_batches(
            data, seed=0, positions=list(range(BATCH)), first=first, last=first + 1000
        )
        try:
            yield from on_devices(host, mesh)
        finally:
            host.close()  # type: ignore[attr-defined]

    shares = []
    for _ in range(3):  # other work on this machine may delay one of them
        rates = measured(batches, waiting(step), jnp.zeros(()), BATCH, 2.5)  # type: ignore[arg-type]
        assert all(len(of) == bench.ROUNDS for of in (rates.reading, rates.step, rates.both))
        reading, alone, _ = rates.medians
        assert (reading > alone) == (step == 0.05)
        shares.append(rates.share)
        if rates.share >= bench.OVERLAPPED:
            break
    assert max(shares) >= bench.OVERLAPPED, shares


def test_the_numbers_are_those_of_the_rounds() -> None:
    rates = Rates((90.0, 100.0, 120.0), (40.0, 50.0, 50.0), (45.0, 49.0, 47.0))
    assert rates.medians == (100.0, 50.0, 47.0)
    assert rates.spreads == pytest.approx((0.3, 0.2, 4 / 47))
    assert rates.share == pytest.approx(47 / 50)
    assert rates.in_turn == pytest.approx((100 * 50 / 150) / 50)


def test_what_bounds_a_training_is_said_with_what_to_change(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configs.load_config(str(tiny / "config.py"))
    slow_step = Rates((100.0,) * 5, (50.0,) * 5, (49.0,) * 5)
    slow_reading = Rates((50.0,) * 5, (100.0,) * 5, (30.0, 30.0, 30.0, 30.0, 45.0))
    for backend in ("cpu", "gpu"):
        monkeypatch.setattr(jax, "default_backend", lambda b=backend: b)
        said = [" ".join(lines(rates, config)) for rates in (slow_step, slow_reading)]
        assert all(
            len(line) <= 80 for line in (*lines(slow_step, config), *lines(slow_reading, config))
        )
        assert "98 % of the slower one. The step is the slower one: reading alone is 2 t" in said[0]
        assert "60 % of the slower one. Reading is the slower one: the step alone is 2 t" in said[1]
        assert "--config.data.threads 16, or `jaxseg pack` once" in said[1]
        assert "more --seconds" in said[1]
        assert ("they reach 67 %" in said[0]) == (backend == "cpu")
        assert ("Less than 95 %" in said[1]) == (backend == "gpu")
        assert "Less than 95 %" not in said[0]
