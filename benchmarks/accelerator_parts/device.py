"""Description of the device, and the two rates that no network on it can exceed."""

import importlib.metadata
import os
import platform
import shutil
import statistics
import subprocess
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from accelerator_parts.programs import memory_limit, timed
from accelerator_parts.workers import Facts, Note


def device(request: Facts, note: Note) -> Facts:
    """What is measured, and with which versions."""
    del request, note
    first = jax.devices()[0]
    names = ("jax", "jaxlib", "flax", "optax", "numpy", "libtpu", "torch", "torchvision")
    names += tuple(f"jax-cuda{number}-plugin" for number in (12, 13))
    return {
        "platform": first.platform,
        "kind": first.device_kind,
        "devices": jax.device_count(),
        "memory": memory_limit(),
        "platform_version": " ".join(first.client.platform_version.split()),
        "driver": _driver(),
        "python": platform.python_version(),
        "host": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: version for name in names if (version := _version(name))},
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _driver() -> str | None:
    """The output of `nvidia-smi` for the first GPU, if there is one."""
    if shutil.which("nvidia-smi") is None:
        return None
    asked = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    found = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False)
    return found.stdout.strip().splitlines()[0] if found.stdout.strip() else None


def ceilings(request: Facts, note: Note) -> Facts:
    """The rates of a large matrix product and of a large copy: what no network can exceed.

    Products in float32 have the default precision, as the networks' have.
    """
    side, numbers = (512, 2**22) if request["tiny"] else (8192, 2**29)
    rates: Facts = {"side": side, "bytes_copied": 2 * numbers * 2}
    a, b = (jax.random.normal(jax.random.key(n), (side, side)) for n in (0, 1))
    product = jax.jit(lambda a, b: jnp.dot(a, b))
    for dtype in ("bfloat16", "float32"):
        note(f"multiplying in {dtype}")
        x, y = a.astype(dtype), b.astype(dtype)
        rates[dtype] = 2 * side**3 / _seconds_of_one(lambda x=x, y=y: product(x, y))
    note("copying")
    numbers_there = jax.random.normal(jax.random.key(2), (numbers,), jnp.bfloat16)
    # With a sign changed, so that no compiler leaves the copy out.
    copy = jax.jit(lambda x: -x)
    rates["copy"] = rates["bytes_copied"] / _seconds_of_one(lambda: copy(numbers_there))
    return rates


def _seconds_of_one(call: Callable[[], Any], calls: int = 10) -> float:
    """Of many calls in a row, so that the host's part is hidden; the median of some rows."""

    def row() -> None:
        jax.block_until_ready([call() for _ in range(calls)][-1])

    return statistics.median(timed(row, seconds=1.0, most=20)) / calls
