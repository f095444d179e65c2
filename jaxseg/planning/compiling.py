"""Has a compiler optimise a step in a process of its own, and ends that process in time.

XLA:TPU optimises a step in seconds; generating code takes minutes and changes neither a byte nor an
address. So the process is ended as soon as the optimised, scheduled, memory-assigned program is on
the disk. The settings of the compiler exist in that process only: on a machine with a TPU they
would keep JAX from finding it.
"""

import dataclasses
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from jaxseg.errors import UserError
from jaxseg.planning.request import Request
from jaxseg.planning.topology import topology

LIMIT = 1200.0
"""Seconds after which a compilation is given up."""

SETTLED = 0.4
"""Seconds for which the files of a program no longer change when they are complete."""

POLL = 0.1

SETTINGS = {
    "JAX_PLATFORMS": "cpu",  # the devices are only described
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # two plans at the same time
    "TPU_SKIP_MDS_QUERY": "1",  # do not ask a cloud which machine this is
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "TPU_LOG_DIR": "disabled",
}
"""Environment of the compiler's process."""

NO_TRITON = "--xla_gpu_enable_triton_gemm=false"
"""Without a GPU to try kernels on, XLA:GPU (jax 0.10.2) finds no tiles for some products by Triton,
and even aborts; cuBLAS takes them all."""

NEEDED = {
    "tpu": ("libtpu", "XLA's compiler for TPUs", "pip install libtpu (the extra `plan`)"),
    "cuda": (
        "jax_cuda12_plugin",
        "XLA's compiler for GPUs",
        "pip install jax-cuda12-plugin jax-cuda12-pjrt of the same version as jax",
    ),
}
"""Platform -> package, what it is, and how to get it."""

_ALLOCATION = re.compile(r"^allocation \d+: size (\d+)(?:, color (\d+))?(.*)", re.MULTILINE)
_TOTAL = re.compile(r"Memory Space: default \(color=0\)\nTotal bytes: (\d+)")
_FILES = ("after_optimizations.txt", "-memory-usage-report.txt", "-buffer-assignment.txt")


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What a compiler has said of a step.

    Attributes:
        text: The optimised program.
        arguments: Bytes of one chip's HBM for state and batch.
        temporaries: Bytes for everything else.
        fits: Whether the compiler has accepted it.
        parameters: Number of trainable parameters.
        seconds: How long it took.
    """

    text: str
    arguments: int
    temporaries: int
    fits: bool
    parameters: int
    seconds: float


def compiled(
    asked: Request, *, waiting: Callable[[float], None] = lambda _: None, limit: float = LIMIT
) -> Compiled:
    """The optimised program of a step.

    Args:
        asked: The step.
        waiting: Called several times a second with the seconds that have passed.
        limit: Seconds after which it is given up.

    Raises:
        UserError: The compiler is not installed, rejects the step, or takes too long.
    """
    _check_installed(asked.topology)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="jaxseg-plan-") as name:
        folder = Path(name)
        asked.write(folder / "request.json")
        with (folder / "log").open("w") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "jaxseg.planning.child", name],
                env=environment(folder, topology(asked.topology).chip.platform),
                stdout=log,
                stderr=log,
            )
        try:
            while not _complete(folder, SETTLED):
                if child.poll() is not None:
                    break
                passed = time.monotonic() - began
                if passed > limit:
                    raise UserError(
                        f"The compiler for {asked.topology} has not optimised the step in "
                        f"{limit:.0f} s. Try a smaller --config.data.crop, or one chip."
                    )
                waiting(passed)
                time.sleep(POLL)
            if not _complete(folder, 0.0):
                raise _failure(folder, asked.topology, child.returncode)
            # A step that is too large is refused right after its program is written.
            fits = _accepted(folder, child)
        finally:
            child.kill()
            child.wait()
        text, report, buffers = (found.read_text() for found in _written(folder))
        facts = json.loads((folder / "lowered.json").read_text())
    arguments, temporaries = memory(report, buffers)
    chip = topology(asked.topology).chip
    return Compiled(
        text,
        arguments,
        temporaries,
        fits and arguments + temporaries <= chip.memory,
        facts["parameters"],
        time.monotonic() - began,
    )


def memory(report: str, buffers: str) -> tuple[int, int]:
    """Bytes of arguments and of everything else in HBM, from XLA's reports of memory.

    Args:
        report: The text of the memory-usage report.
        buffers: The text of the buffer assignment.

    Raises:
        ValueError: The report does not state the total.
    """
    total = _TOTAL.search(report)
    if total is None:
        raise ValueError("XLA's report of memory states no total.")
    arguments = sum(
        int(size)
        for size, color, rest in _ALLOCATION.findall(buffers)
        if not color and ", parameter " in rest
    )
    return arguments, int(total[1]) - arguments


def _check_installed(name: str) -> None:
    package, what, how = NEEDED[topology(name).chip.platform]
    if importlib.util.find_spec(package) is None:
        raise UserError(
            f"--topology {name} needs {what}, the package {package.replace('_', '-')}, which is "
            f"not installed here: {how}."
        )


def environment(folder: Path, platform: str) -> dict[str, str]:
    """The environment of the compiler's process; flags of XLA that are set already hold there.

    Args:
        folder: Where the program is written to.
        platform: `tpu` or `cuda`.
    """
    dump = f"--xla_dump_to={folder / 'dump'} --xla_dump_hlo_module_re=.*train_step.*"
    # Of a flag that is given twice the last one holds.
    flags = [NO_TRITON if platform == "cuda" else "", os.environ.get("XLA_FLAGS", ""), dump]
    return os.environ | SETTINGS | {"XLA_FLAGS": " ".join(flags)}


def _written(folder: Path) -> list[Path]:
    found = [sorted((folder / "dump").glob(f"*train_step*{end}")) for end in _FILES]
    return [files[-1] for files in found if files]


def _complete(folder: Path, settled: float) -> bool:
    """Whether all files of the program are there and have not grown for so many seconds."""
    files = _written(folder)
    now = time.time()
    return len(files) == len(_FILES) and all(
        file.stat().st_size and now - file.stat().st_mtime >= settled for file in files
    )


def _accepted(folder: Path, child: "subprocess.Popen[bytes]") -> bool:
    """Whether the compiler goes on after it has assigned the memory."""
    if list((folder / "dump").glob("*train_step*after_buffer_assignment.txt")):
        return True
    failure = folder / "failure.json"
    until = time.monotonic() + 5
    while time.monotonic() < until and child.poll() is None:
        time.sleep(POLL)
    return not failure.exists()


def _failure(folder: Path, name: str, code: int | None) -> UserError:
    """Why there is no program."""
    failure = folder / "failure.json"
    if failure.exists():
        found = json.loads(failure.read_text())
        message = str(found["message"])
        if found["kind"] == "mistake":
            return UserError(message)
        first = "\n".join(message.splitlines()[:3])
        return UserError(f"XLA cannot compile this step for {name}. It says: {first}")
    last = [line for line in (folder / "log").read_text().splitlines() if line.strip()][-3:]
    return UserError(
        f"The compiler's process for {name} ended with code {code} before it had a program. Its "
        "last lines:\n" + "\n".join(last)
    )
