"""The tiny run that is attacked: its data, its config, and the commands that train and open it."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
"""The checkout."""

CONFIG = """
import flax.linen as nn
import jax

from jaxseg.config import Config
from jaxseg.datasets import Folder
from jaxseg.losses import CrossEntropy
from jaxseg.models.parts.layers import BatchNorm
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.transforms import Brightness, Dihedral


class Small(nn.Module):
    num_classes: int = 2

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        x = nn.Conv(8, (3, 3), strides=2, use_bias=False)(image)
        x = nn.relu(BatchNorm(use_running_average=not train)(x))
        x = nn.relu(nn.Conv(256, (3, 3), strides=2)(x))  # enough numbers to be divided by fsdp
        x = nn.Conv(self.num_classes, (1, 1))(x)
        return jax.image.resize(x, (*image.shape[:3], self.num_classes), "nearest")


def get_config() -> Config:
    source = Folder(
        images={images!r},
        masks={masks!r},
        classes=("ground", "block"),
        fractions=(0.5, 0.25, 0.25),
    )
    return Config(
        model=Small(),
        data=Data(source=source, crop=32, batch_size=8),
        augment=(Dihedral(), Brightness()),
        loss={{"ce": CrossEntropy()}},
        optimizer=Optimizer(schedule="constant", ema=0.9),
        num_steps=6,
        log_every=1,
        eval_every=2,
        save_every=2,
        keep=2,
    )
"""
"""Of a network of two convolutions, which compiles in a moment; opened with `--code`."""

IN_A_HURRY = (
    "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
    " --xla_cpu_multi_thread_eigen=false"
    # Devices that share a few cores are late, not dead.
    " --xla_cpu_collective_call_terminate_timeout_seconds=600"
)
"""Flags of XLA for programs that are compiled more often than they run."""


class Setting(NamedTuple):
    """Where a run is trained: pretended devices of each process, and processes."""

    devices: int
    processes: int

    def __str__(self) -> str:
        """Such as `8 devices` or `2 processes`."""
        return f"{self.processes} processes" if self.processes > 1 else f"{self.devices} device(s)"

    def mesh(self) -> list[str]:
        """Flags of the mesh: rows and states are divided where there is more than one device."""
        shape = {1: (1, 1, 1), 2: (1, 2, 1), 8: (2, 2, 2)}[self.devices * self.processes]
        return [
            text
            for name, size in zip(("data", "fsdp", "space"), shape, strict=True)
            for text in (f"--config.mesh.{name}", str(size))
        ]


class Ended(NamedTuple):
    """A process that has ended."""

    code: int
    said: str


def drawn(folder: Path) -> Path:
    """Draws eight scenes; returns the config file that trains on them."""
    folder = folder.absolute()
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    draw = np.random.default_rng(0)
    for scene in range(8):
        mask = np.kron(draw.integers(0, 2, (4, 4)), np.ones((8, 8))).astype(np.uint8)
        image = (mask[..., None] * 90 + draw.integers(0, 90, (32, 32, 3))).astype(np.uint8)
        Image.fromarray(image).save(folder / "images" / f"{scene}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{scene}.png")
    file = folder / "tiny.py"
    file.write_text(
        CONFIG.format(images=str(folder / "images"), masks=str(folder / "masks")), encoding="utf-8"
    )
    return file


def training(config: Path, workdir: Path, setting: Setting, *flags: str) -> list[str]:
    """The command that trains, or goes on."""
    given = ["--config", str(config), "--workdir", str(workdir)]
    return [str(ROOT / "train.py"), *given, *setting.mesh(), *flags]


def begun(
    command: Sequence[str], folder: Path, setting: Setting
) -> list[tuple[subprocess.Popen[bytes], Path]]:
    """Starts a command of Python as the processes of a setting.

    Args:
        command: What follows `python`.
        folder: Where the compiled programs and what the processes say are kept.
        setting: Devices and processes.

    Returns:
        Each process and the file of all that it says.
    """
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{IN_A_HURRY} --xla_force_host_platform_device_count={setting.devices}",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    running = []
    for number in range(1, setting.processes + 1):
        joined = [
            "--coordinator",
            f"localhost:{port}",
            "--process",
            f"{number}/{setting.processes}",
        ]
        file = folder / f"said.{number}"
        with file.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *command, *(joined if setting.processes > 1 else ())],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        running.append((process, file))
    return running


def finished(
    command: Sequence[str], folder: Path, setting: Setting, patience: float = 600
) -> list[Ended]:
    """Runs a command to its end.

    Raises:
        subprocess.TimeoutExpired: It took longer than `patience` seconds.
    """
    running = begun(command, folder, setting)
    try:
        codes = [process.wait(patience) for process, _ in running]
    finally:
        for process, _ in running:
            process.kill()
    files = [file for _, file in running]
    return [
        Ended(code, file.read_text(errors="replace"))
        for code, file in zip(codes, files, strict=True)
    ]


def trained(config: Path, workdir: Path, folder: Path, setting: Setting, *flags: str) -> None:
    """Trains to the end.

    Raises:
        RuntimeError: It did not end well.
    """
    for ended in finished(training(config, workdir, setting, *flags), folder, setting):
        if ended.code:
            raise RuntimeError(ended.said)
