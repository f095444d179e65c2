"""Processes of one job that were not given the same say so, all of them."""

import os
import socket
import sys
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen, run

import jax
import pytest
from fixtures.compiler import IN_A_HURRY
from fixtures.places import ROOT

from jaxseg.cli.job import JobFlags, is_lost, join
from jaxseg.errors import UserError
from jaxseg.run.processes import differences


def test_differences_name_the_processes_and_both_values() -> None:
    one = {"version of jax": "0.10.2", "num_steps": "4"}
    assert differences([one, one, one]) == []
    other = {"version of jax": "0.11.0", "num_steps": "4", "loss.ce.weight": "2.0"}
    assert differences([one, other, one, other]) == [
        "loss.ce.weight: absent in process 0, 2.0 in processes 1, 3",
        "version of jax: 0.10.2 in process 0, 0.11.0 in processes 1, 3",
    ]
    assert differences([one, one, other])[1].endswith("0.11.0 in process 2")
    assert differences([one, *[other] * 6])[0].endswith("in processes 1, 2, 3, 4 ...")


def _begun(command: list[str], number: int, count: int, port: str, cache: Path) -> Popen[str]:
    """One of the processes of a job, with an explicit coordinator and one device."""
    joined = ["--coordinator", f"localhost:{port}", "--process", f"{number}/{count}"]
    return Popen(
        [sys.executable, str(ROOT / "train.py"), *command, *joined],
        env=os.environ | {"XLA_FLAGS": IN_A_HURRY, "XDG_CACHE_HOME": str(cache)},
        stdout=PIPE,
        stderr=STDOUT,
        text=True,
    )


def _free_port() -> str:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return str(free.getsockname()[1])


def _command(tiny: Path, workdir: Path, steps: int) -> list[str]:
    flags = {"config": tiny / "config.py", "workdir": workdir, "config.num-steps": steps}
    flags |= {"config.mesh.data": -1, "config.mesh.space": 1, "config.save-every": 2}
    flags |= {"config.log-every": 1, "config.eval-every": 1000, "config.optimizer.warmup": 2}
    return [text for name, value in flags.items() for text in (f"--{name}", str(value))]


@pytest.mark.slow
def test_processes_that_were_not_given_the_same_are_refused_by_all(
    tiny: Path, tmp_path: Path
) -> None:
    command, port = _command(tiny, tmp_path / "run", 2), _free_port()
    running = [
        _begun(
            [*command, "--config.optimizer.learning-rate", rate], number, 2, port, tiny / "cache"
        )
        for number, rate in enumerate(("0.001", "0.002"), 1)
    ]
    for process in running:
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 2, said
        assert "optimizer.learning_rate: 0.001 in process 0, 0.002 in process 1" in said
        assert "Traceback" not in said
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_lost_partner_is_seen_through_what_wraps_it() -> None:
    closed = "UNKNOWN: Gloo AllGather failed: Connection closed by peer [127.0.0.1]:23456"
    wrapped = RuntimeError("step 4 was not saved")
    wrapped.__cause__ = ValueError(closed)
    for error in (ValueError(closed), wrapped, jax.errors.JaxRuntimeError("INTERNAL: anything")):
        assert is_lost(error)
    assert not is_lost(ValueError("operands could not be broadcast together"))


def test_what_names_no_job_is_refused() -> None:
    for flags in (
        JobFlags(coordinator="here", process="1/2"),
        JobFlags(coordinator="here:1"),
        JobFlags(process="1/2"),
        JobFlags(coordinator="here:1", process="3/2"),
        JobFlags(coordinator="here:1", process="0/2"),
    ):
        with pytest.raises(UserError, match=r"such as --coordinator node1:1234 --process 1/4"):
            join(flags)
    # JAX looks for a job only before its first computation: in a process of its own.
    program = "from jaxseg.cli.job import JobFlags, is_lost, join; join(JobFlags(distributed=True))"
    alone = run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "UserError: --distributed: no job was found" in alone.stderr
