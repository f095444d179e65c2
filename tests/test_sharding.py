"""The mesh with several processes: two of them train as one."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from jaxseg import sharding
from jaxseg.sharding import MeshShape

ROOT = Path(__file__).parent.parent


def test_positions_cover_the_batch() -> None:
    mesh = sharding.make_mesh(MeshShape(data=2, fsdp=2, space=2))
    assert sharding.local_positions(mesh, 8) == list(range(8))


def test_large_leaves_are_cut_along_their_largest_axis() -> None:
    mesh = sharding.make_mesh(MeshShape(data=1, fsdp=8))
    tree = {
        "kernel": jax.ShapeDtypeStruct((3, 3, 64, 128), "float32"),
        "odd": jax.ShapeDtypeStruct((3, 3, 65, 129), "float32"),
        "bias": jax.ShapeDtypeStruct((128,), "float32"),
    }
    placed = sharding.state_shardings(mesh, tree)
    assert placed["kernel"].spec == jax.sharding.PartitionSpec(None, None, None, "fsdp")
    assert placed["odd"].spec == jax.sharding.PartitionSpec()
    assert placed["bias"].spec == jax.sharding.PartitionSpec()


@pytest.mark.slow
def test_two_processes_train_as_one(tiny: Path, tmp_path: Path) -> None:
    def run(workdir: Path, processes: int, devices: int) -> list[float]:
        """Losses of four steps on `processes` x `devices`, joined as a SLURM job is."""
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = str(free.getsockname()[1])
        environment = os.environ | {
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices} "
            "--xla_backend_optimization_level=0",
            "XDG_CACHE_HOME": str(tiny / "cache"),
            "JAX_COORDINATOR_PORT": port,
            "SLURM_JOB_ID": "1",
            "SLURM_STEP_NODELIST": "localhost",
            "SLURM_NTASKS": str(processes),
        }
        command = [
            *(sys.executable, str(ROOT / "train.py"), "--config", str(tiny / "config.py")),
            *("--workdir", str(workdir), "--config.mesh.data", "2", "--config.mesh.space", "2"),
            *("--config.num-steps", "4", "--config.log-every", "1", "--distributed"),
        ]
        running = [
            subprocess.Popen(
                command,
                env=environment | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for rank in range(processes)
        ]
        for process in running:
            output, _ = process.communicate(timeout=400)
            assert process.returncode == 0, output
        rows = [json.loads(line) for line in (workdir / "metrics.jsonl").open()]
        return [row["loss"] for row in rows if row["kind"] == "train"]

    two = run(tmp_path / "two", processes=2, devices=2)
    one = run(tmp_path / "one", processes=1, devices=4)
    assert len(two) == 4
    assert two[0] == pytest.approx(one[0], rel=1e-5)
    assert two == pytest.approx(one, rel=1e-2)  # rounding grows with the steps of AdamW
