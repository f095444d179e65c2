"""Where a run was trained: software and devices, a line for each start.

    WORKDIR/environment.jsonl     one JSON object per line: step, time (Unix seconds), the facts

A run that continues on another machine has a line for each of them.
"""

import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import Any

import jax

from jaxseg.run.json_lines import json_lines, line
from jaxseg.system import side_files

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


def keep(workdir: Path, step: int) -> str:
    """Adds a line for a training that starts after `step` steps.

    Returns:
        What was put aside, because it is not a file; empty, as a rule. Lines stay as they are.
    """
    file, said = workdir / NAME, ""
    if file.is_dir():
        said = f"{file} is not a file and is put aside as {side_files.put_aside(file).name}."
    before = file.read_bytes() if file.exists() else b""
    with file.open("a", encoding="utf-8") as out:
        if before and not before.endswith(b"\n"):  # cut off by a kill
            out.write("\n")
        out.write(line({"step": step, "time": round(time.time(), 3), **now()}))
    return said


def stored(workdir: Path) -> tuple[list[dict[str, Any]], int]:
    """The starts of a run, in their order, and the number of lines that cannot be read.

    Runs of earlier versions have none.
    """
    return json_lines(workdir / NAME)
