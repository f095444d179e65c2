"""What every test runs on: eight pretended CPU devices and a compiler in a hurry."""

import gc
import os

from fixtures.compiler import IN_A_HURRY
from fixtures.places import GOLDENS

os.environ["JAX_PLATFORMS"] = "cpu"
# Read once, when jax is first imported.
os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} {IN_A_HURRY} --xla_force_host_platform_device_count=8"
    # Eight devices share two cores here: a partner that is late is not dead, as XLA believes.
    " --xla_cpu_collective_call_terminate_timeout_seconds=600"
)

import json
import zlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
import pytest
from fixtures.folder_files import folder
from fixtures.robust import fooled_run
from fixtures.tiny_folder import tiny
from numpy.typing import NDArray

__all__ = ["folder", "fooled_run", "tiny"]  # fixtures

# Programs that JAX has traced are millions of objects that stay. To look through them for garbage
# as often as Python does takes a sixth of the tests' time.
gc.set_threshold(50_000, 20, 100)


class Golden(NamedTuple):
    """What a reference implementation answered; see tests/goldens/README.md."""

    state: dict[str, NDArray[np.float32]]
    image: NDArray[np.float32]
    outputs: dict[str, NDArray[np.float32]]
    parameters: int


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Golden]:
    """Reads a golden by name; images and outputs are (B, H, W, C), or (B, C)."""

    def read(name: str) -> Golden:
        folder = GOLDENS
        facts = json.loads((folder / f"{name}.json").read_text())
        image = np.random.default_rng(0).standard_normal(facts["input_shape_nchw"])
        outputs = np.load(folder / f"{name}.npz")
        return Golden(
            state={key: _tensor(key, tuple(shape)) for key, shape in facts["state_dict"]},
            image=image.astype(np.float32).transpose(0, 2, 3, 1),
            outputs={key: np.moveaxis(outputs[key], 1, -1) for key in outputs.files},
            parameters=facts["parameters"],
        )

    return read


@pytest.fixture(scope="session")
def mesh() -> jax.sharding.Mesh:
    """Eight devices, two along each axis."""
    automatic = (jax.sharding.AxisType.Auto,) * 3
    return jax.make_mesh((2, 2, 2), ("data", "fsdp", "space"), axis_types=automatic)


def _tensor(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The rule by which both sides make the weights of a golden."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("running_var"):
        value = rng.uniform(0.5, 1.5, shape)
    elif name.endswith("running_mean"):
        value = 0.1 * rng.standard_normal(shape)
    elif len(shape) >= 2:
        value = rng.standard_normal(shape) * np.sqrt(1 / np.prod(shape[1:]))
    elif name.endswith("bias"):
        value = 0.05 * rng.standard_normal(shape)
    else:
        value = rng.uniform(0.5, 1.5, shape)
    return value.astype(np.float32)
