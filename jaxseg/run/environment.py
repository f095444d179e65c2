"""Where a run was trained: software and devices, a line for each start.

    WORKDIR/environment.jsonl     one JSON object per line: step, time (Unix seconds), the facts

A run that continues on another machine has a line for each of them.
"""

import importlib.metadata
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import jax

from jaxseg.run.logbook import json_lines

NAME = "environment.jsonl"

PACKAGES = ("jaxseg", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
"""What decides numbers and speed."""


def now() -> dict[str, str]:
    """The facts of this process: name -> value, for display."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {
        "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "processes": str(jax.process_count()),
        "CPU cores": str(os.cpu_count() or "not known"),
        "system": platform.platform(),
        "Python": platform.python_version(),
        **versions,
    }


def keep(workdir: Path, step: int) -> None:
    """Adds a line for a training that starts after `step` steps."""
    line = {"step": step, "time": round(time.time(), 3), **now()}
    with (workdir / NAME).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def stored(workdir: Path) -> tuple[list[dict[str, Any]], int]:
    """The starts of a run, in their order, and the number of lines that cannot be read.

    Runs of earlier versions have none.
    """
    return json_lines(workdir / NAME)
