"""The packages themselves, without a network: what a run sends is found in their own files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxseg.run.trackers.watched import FILE, KINDS
from jaxseg.system import side_files

RUN = """
import socket, sys
from pathlib import Path
import numpy as np

def refused(*_):
    raise OSError("this test has no network")

unix = socket.socket.connect

def only_local(self, address):
    if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "localhost", "::1"):
        refused()
    return unix(self, address)

socket.socket.connect = only_local
from jaxseg.run.logbook import Logbook
workdir, kind = Path(sys.argv[1]), sys.argv[2]
for step in (3, 4):  # the second one continues
    done = {"total_steps": 9, "start_step": step - 1}
    with Logbook(workdir, **done, track=kind, config={"seed": 1}) as log:
        log.training(step, {"loss": 0.5 / step})
        log.validation(step, {"miou": 0.25})
        log.table(step, "validation/classes", [["class", "iou"], ["land", "0.5"]])
        log.image(step, "map", np.full((4, 5, 3), 7, np.uint8))
        log.checkpoint(step, workdir / "checkpoints" / str(step))
"""


def found(workdir: Path, kind: str) -> str:
    """All that the tracker has written, as far as it is text."""
    files = [file for file in workdir.rglob("*") if file.is_file()]
    return "\n".join(f"{file}\n{file.read_bytes().decode('latin-1')}" for file in files)


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_run_and_its_continuation_are_one_without_a_network(tmp_path: Path, kind: str) -> None:
    pytest.importorskip(kind, reason=f"pip install 'jaxseg[{kind}]'")
    workdir = tmp_path / "unet"
    own = ("WANDB_", "MLFLOW_", "TRACKIO_", "HF_")
    settings = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    settings |= {"HOME": str(tmp_path), "TRACKIO_DIR": str(workdir / "trackio")}
    settings |= {"NETRC": str(tmp_path / "netrc"), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(workdir), kind],
        env=settings, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "goes on without its tracker" not in said, said
    ids = side_files.read(workdir / FILE)
    assert set(ids) == {kind}
    text = found(workdir, kind)
    for part in ("train/loss", "validation/miou", "map", "land", ids[kind]):
        assert part in text, part
    assert len((workdir / "metrics.jsonl").read_text().splitlines()) == 4
    if kind == "mlflow":
        runs = [file.parent for file in (workdir / "mlflow").rglob("meta.yaml")]
        assert len([run for run in runs if run.name == ids[kind]]) == 1
        losses = (workdir / "mlflow").rglob("metrics/train/loss")
        steps = [line.split()[-1] for line in next(losses).read_text().splitlines()]
        assert steps == ["3", "4"]
    if kind == "wandb":
        # offline-run-TIME-ID, and a number behind it for a second one of the same second.
        names = [path.name for path in (workdir / "wandb").glob("offline-run-*")]
        assert {name.split("-")[3] for name in names} == {ids[kind]}, names
