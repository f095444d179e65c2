"""The mesh with several processes: two of them train as one."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import pytest
from fixtures.places import ROOT

from jaxseg import sharding
from jaxseg.sharding import MeshShape


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


def joined(command: list[str], tiny: Path, *, processes: int, devices: int) -> None:
    """Runs a command as `processes` with so many devices each, joined as a SLURM job is."""
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
    running = [
        subprocess.Popen(
            [sys.executable, *command, "--distributed"],
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


@pytest.mark.slow
def test_two_processes_train_as_one_and_count_alike(tiny: Path, tmp_path: Path) -> None:
    def trained(workdir: Path, processes: int, devices: int) -> list[float]:
        """Losses of four steps on `processes` x `devices`."""
        command = [
            *(str(ROOT / "train.py"), "--config", str(tiny / "config.py")),
            *("--workdir", str(workdir), "--config.mesh.data", "2", "--config.mesh.space", "2"),
            *("--config.num-steps", "4", "--config.log-every", "1"),
        ]
        joined(command, tiny, processes=processes, devices=devices)
        rows = [json.loads(line) for line in (workdir / "metrics.jsonl").open()]
        return [row["loss"] for row in rows if row["kind"] == "train"]

    def evaluated(processes: int, devices: int) -> dict[str, Any]:
        """The scores of the run of two processes."""
        main = "import sys; from jaxseg.cli.main import main; main(sys.argv[1:])"
        command = [
            *("-c", main, "evaluate", str(tmp_path / "two"), "--no-baseline"),
            *("--step", "latest", "--mesh.data", "2", "--mesh.space", "2"),
        ]
        joined(command, tiny, processes=processes, devices=devices)
        file = tmp_path / "two" / "evaluation" / "test" / "scores.json"
        network: dict[str, Any] = json.loads(file.read_text())["network"]
        return network

    two = trained(tmp_path / "two", processes=2, devices=2)
    one = trained(tmp_path / "one", processes=1, devices=4)
    assert len(two) == 4
    assert two[0] == pytest.approx(one[0], rel=1e-5)
    assert two == pytest.approx(one, rel=1e-2)  # rounding grows with the steps of AdamW

    by_two, by_one = evaluated(processes=2, devices=2), evaluated(processes=1, devices=4)
    for name in ("confusion", "kappa", "per_class", "boundaries", "intervals"):
        assert by_two[name] == by_one[name]
    for name in ("disc", "square"):
        # The sum of IoU over the scenes of each process rounds in another order.
        assert by_two["objects"][name] == pytest.approx(by_one["objects"][name])
    for name in ("ece", "nll"):
        after = [found["calibration"]["after"][name] for found in (by_two, by_one)]
        assert after[0] == pytest.approx(after[1], rel=1e-4)
