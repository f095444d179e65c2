"""The real command, `train.py`, killed after its first checkpoint and started again."""

import os
import subprocess
import sys
import time
from pathlib import Path

from accelerator_parts.workers import Facts, Lost, Note, Worker, end

ROOT = Path(__file__).parents[2]
DETERMINISTIC = "--xla_gpu_deterministic_ops=true --xla_gpu_autotune_level=0"
"""What makes two runs on a GPU choose the same kernels."""


def killed_and_resumed(
    folder: Path, config: Path, flags: str, deadline: float, host: Worker, note: Note
) -> Facts:
    """What differs between a whole run and one that was killed and resumed.

    Args:
        folder: Where both runs go; also the log of their commands.
        config: The config of both.
        flags: More of `XLA_FLAGS`.
        deadline: Until when, by `time.monotonic`.
        host: A worker that compares them.
        note: Shows how far it is.

    Raises:
        Lost: A run failed, took too long, or could not be killed in time.
    """
    folder.mkdir(parents=True)
    note("running to the end")
    _finish(_started(folder / "whole", config, flags), deadline)
    note("running to be killed")
    process = _started(folder / "killed", config, flags)
    try:
        while not (steps := _numbers(folder / "killed" / "checkpoints")):
            if time.monotonic() > deadline:
                raise Lost("overran", "the run to be killed had no checkpoint in time")
            if process.poll() is not None:
                raise Lost("failed", f"the run to be killed ended: {_said(folder, 'killed')}")
            time.sleep(0.02)
        if process.poll() is not None:
            raise Lost("failed", "the run was over before it could be killed")
    finally:
        end(process)
    note("resuming")
    _finish(_started(folder / "killed", config, flags), deadline)
    pair = {"one": str(folder / "whole"), "other": str(folder / "killed")}
    found = host.ask({"do": "differences"} | pair, max(1.0, deadline - time.monotonic()), note)
    return found | {"killed_after_step": max(steps)}


def _started(workdir: Path, config: Path, flags: str) -> subprocess.Popen[str]:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "XDG_CACHE_HOME": str(workdir.parent / "cache"),
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip(),
    }
    command = [sys.executable, str(ROOT / "train.py"), "--config", str(config)]
    with workdir.with_suffix(".log").open("a") as log:
        return subprocess.Popen(
            [*command, "--workdir", str(workdir)],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


def _finish(process: subprocess.Popen[str], deadline: float) -> None:
    workdir = Path(str(process.args[-1]))  # type: ignore[index]
    try:
        code = process.wait(max(1.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise Lost("overran", "train.py did not end in time") from None
    finally:
        end(process)
    if code:
        said = _said(workdir.parent, workdir.name)
        raise Lost("failed", f"train.py ended with exit code {code}: {said}")


def _said(folder: Path, name: str) -> str:
    lines = (folder / f"{name}.log").read_text(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")[:300]


def _numbers(folder: Path) -> list[int]:
    return [int(path.name) for path in folder.glob("*") if path.name.isdigit()]
