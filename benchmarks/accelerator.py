"""Measures the library on one GPU or TPU within minutes: one command, a table and a JSON file.

    python benchmarks/accelerator.py [--minutes 8] [--networks unet32 ...] [--out DIR] [--tiny]

It measures, in this order: a large matrix product and a large copy (the ceilings of everything
else); whether logits, losses and a killed and resumed run are correct; the library's training step
in bfloat16, network by network, each at the largest batch that fits, and the same network in
PyTorch if that is installed; the input pipeline; inference; then all in float32. A case for which
there is no time left is listed as not reached, and the results are written after every case, so
that an interrupted run is still useful.

Times are medians of individually awaited steps, without the first ones, on data created on the
device; compilation is reported separately. FLOPs are those of convolutions and matrix products,
without products with padding; a training step counts as three forward passes. Bytes are XLA's
estimate, or, if it makes none, those of all operands and results of the optimised program.

This process never uses the device. Worker processes do, one request at a time: a request that takes
too long, such as a compilation that cannot be interrupted, is terminated with its process. During
the comparison with PyTorch, both frameworks keep a process, with 65 % of the memory for JAX and
28 % for PyTorch, because starting them again for every network would cost a third of the time.
Afterwards JAX has 92 %.

Without an accelerator it runs at small sizes and measures nothing; `--tiny` requests these sizes.
Needs a checkout, with jaxseg's dependencies. PyTorch and torchvision are used if installed.
"""

import argparse
import importlib.util
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerator_parts.cases import LIMITS, Case, planned
from accelerator_parts.compare import compare
from accelerator_parts.report import NOTHING, Report
from accelerator_parts.resume import DETERMINISTIC, ROOT, killed_and_resumed
from accelerator_parts.sizes import BATCHES, SIZES, TINY_BATCHES
from accelerator_parts.workers import Facts, Lost, Worker, serve

BESIDE_TORCH, ALONE = "0.65", "0.92"
"""Shares of the device's memory that JAX takes when its process starts."""

TIMING = {"seconds": 3.0, "least": 5, "most": 30, "left_out": 3}
TINY_TIMING = {"seconds": 0.5, "least": 3, "most": 5, "left_out": 1}
INTERRUPTED = 130


def main() -> None:
    """Runs as a worker, or all the cases."""
    if sys.argv[1:2] == ["--worker"]:
        name = "torch_side" if sys.argv[2] == "torch" else "jax_side"
        sys.path.insert(0, str(ROOT))
        serve(lambda request, note: _side(name).answer(request, note))
        return
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _interrupt)
    with tempfile.TemporaryDirectory(prefix="jaxseg-accelerator-") as scratch:
        session = Session(arguments, Path(scratch))
        try:
            code = session.run()
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            session.report.say("\nStopped; what was not reached is listed as such.")
            code = INTERRUPTED
        finally:
            session.stop()
            session.report.write()
    session.report.say(session.report.closing())
    sys.exit(code)


def _side(name: str) -> Any:
    """A worker's module; imported at the first request, so that a failure is that request's."""
    return importlib.import_module(f"accelerator_parts.{name}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n", 1)[0],
        epilog="networks: " + " ".join(SIZES),
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="in all (default: 8)")
    parser.add_argument(
        "--networks", nargs="+", choices=SIZES, default=list(SIZES), metavar="NETWORK"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/accelerator"), help="folder of the results"
    )
    parser.add_argument("--tiny", action="store_true", help="small sizes, which measure nothing")
    parser.add_argument(
        "--bound", type=float, metavar="SECONDS", help="for one case of a network, at most"
    )
    arguments = parser.parse_args()
    if arguments.minutes <= 0:
        parser.error(f"--minutes {arguments.minutes:g}: give more than 0")
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out {arguments.out}: {error.strerror}; give a folder")
    return arguments


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


class Session:
    """One run of the program: its processes, its time, its report."""

    def __init__(self, arguments: argparse.Namespace, scratch: Path) -> None:
        """Starts nothing yet."""
        self.began = time.monotonic()
        self.asked, self.scratch, self.tiny = arguments, scratch, arguments.tiny
        self.report = Report(arguments.out, self.began)
        self.log = arguments.out / "worker.log"
        self.log.write_text("")
        self.share = BESIDE_TORCH if _installed("torch") else ALONE
        self._make_workers()
        self.compared, self.compiles = _installed("torch"), True
        self.largest: dict[str, int] = {}

    def run(self) -> int:
        """All cases in their order; returns the exit code."""
        asked, report = self.asked, self.report
        if self.tiny:
            report.say(NOTHING)
        else:
            report.say("Looking for an accelerator; without one, nothing is measured on one.")
        report.say(
            f"{len(asked.networks)} network(s), at most {asked.minutes:g} min; results after "
            f"every case:\n{report.markdown}"
        )
        report.about |= {"command": shlex.join(["python", *sys.argv]), "minutes": asked.minutes}
        if not self._look():
            return 1
        steps = 60 if self.tiny else 500
        writing = {"do": "write", "folder": str(self.scratch), "tiny": self.tiny, "steps": steps}
        self.host.send(writing)
        cases = planned(asked.networks, compared=self.compared)
        report.plan(cases)
        for case in cases:
            self._attempt(case)
        return 0

    def stop(self) -> None:
        """Ends all processes."""
        for worker in (self.ours, self.torch, self.host):
            worker.stop()

    def _make_workers(self) -> None:
        self.flags = "--xla_backend_optimization_level=0" if self.tiny else ""
        self.ours, self.torch = self._worker("jax"), self._worker("torch")
        self.host = self._worker("host", {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""})

    def _worker(self, kind: str, more: dict[str, str | None] | None = None) -> Worker:
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment: dict[str, str | None] = {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "2"}
        if kind == "jax" and "XLA_PYTHON_CLIENT_MEM_FRACTION" not in os.environ:
            environment["XLA_CLIENT_MEM_FRACTION"] = self.share
        environment["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {self.flags}".strip()
        return Worker(kind, self.log, environment | (more or {}))

    def _look(self) -> bool:
        """Finds out what there is to measure; takes small sizes where that is a CPU."""
        report = self.report
        report.begin("device")
        if self.compared:
            self.torch.send({"do": "device"})  # imports while JAX does
        try:
            found = self.ours.ask({"do": "device"}, min(120.0, self._left()), report.note)
        except Lost as lost:
            report.end(f"{lost.status}: {lost.reason}")
            report.about["device"] = {"status": lost.status, "reason": lost.reason}
            report.notes.append(f"No device was found: {lost.reason}")
            return False
        report.about["device"] = found
        accelerator = found["platform"] != "cpu"
        report.end(f"{found['kind']}, jax {found['versions']['jax']}")
        if not accelerator and not self.tiny:
            report.say("No accelerator was found: small sizes, and nothing is measured on one.")
            self.tiny = True
        report.about["measured_on_an_accelerator"] = accelerator and not self.tiny
        self._look_for_torch(accelerator)
        before = (self.asked.tiny, _installed("torch"))
        if (self.tiny, self.compared) != before:  # the processes were started otherwise
            self.stop()
            self.share = BESIDE_TORCH if self.compared else ALONE
            self._make_workers()
        elif self.compared and accelerator and found["memory"]:
            report.notes.append(
                f"Until the comparison is over a program has {found['memory'] / 2**30:.0f} GiB of "
                "the device's memory, and PyTorch's process most of the rest."
            )
        report.write()
        return True

    def _look_for_torch(self, accelerator: bool) -> None:
        report = self.report
        if not self.compared:
            report.notes.append("PyTorch is not installed: nothing was compared with it.")
            return
        try:
            found = self.torch.receive(min(120.0, self._left()))
        except Lost as lost:
            found = {"accelerator": None, "torch": lost.reason}
        report.about["torch"] = found
        if accelerator and found["accelerator"] is None:
            report.notes.append("PyTorch sees no accelerator: nothing was compared with it.")
            self.compared = False

    def _left(self) -> float:
        """Seconds, less those that the ending needs."""
        return self.began + 60 * self.asked.minutes - time.monotonic() - 2

    def _attempt(self, case: Case) -> None:
        """Runs one case, if there is time, and writes its result."""
        most, least = LIMITS[case.part]
        if self.tiny:  # on whatever machine, for tests
            most, least = self._left(), least / 4
        if self.asked.bound and case.network and case.part != "golden":
            most = self.asked.bound
        if self._left() < least:
            return
        self.report.begin(case.title())
        began = time.monotonic()
        run: Callable[[Case, float], Facts] = getattr(self, f"_{case.part.lower()}")
        try:
            found = {"status": "done"} | run(case, min(most, self._left()))
        except Lost as lost:
            found = {"status": lost.status, "reason": lost.reason}
            if self._left() <= 0:
                found["status"] = "cut off, as the time was up"
        self.report.record(case, found | {"seconds": round(time.monotonic() - began, 1)})

    def _ask(self, within: float, **request: Any) -> Facts:
        return self.ours.ask(request | {"tiny": self.tiny}, within, self.report.note)

    def _ceilings(self, case: Case, seconds: float) -> Facts:
        return self._ask(seconds, do=case.part)

    def _golden(self, case: Case, seconds: float) -> Facts:
        return self._ask(seconds, do=case.part, network=case.network)

    def _learn(self, case: Case, seconds: float) -> Facts:
        return self._ask(seconds, do=case.part)

    def _training(self, case: Case, seconds: float) -> Facts:
        found = self._ask(
            seconds,
            do=case.part,
            network=case.network,
            dtype=case.dtype,
            batches=TINY_BATCHES if self.tiny else BATCHES,
            predict=case.part == "training",
            timing=TINY_TIMING if self.tiny else TIMING,
        )
        if case.part == "training" and case.dtype == "bfloat16":
            self.largest[case.network] = found["batch"]
        return found

    _inference = _training

    def _pytorch(self, case: Case, seconds: float) -> Facts:
        usual = 2 if self.tiny else 16
        batch = max(1, min(usual, self.largest.get(case.network, 2 * usual) // 2))
        found = compare(
            self.ours,
            self.torch,
            {"network": case.network, "tiny": self.tiny, "batch": batch},
            compiles=self.compiles,
            deadline=time.monotonic() + seconds,
            note=self.report.note,
        )
        said = found["torch"]["compiled"]
        if found["lost"] is not None:  # it would be so again
            self.compiles = False
            said = f"given up from here on, {found['lost']}"
        if said not in (None, "done"):
            self.report.notes.append(f"torch.compile of {case.network}: {said}.")
        return found

    def _pipeline(self, case: Case, seconds: float) -> Facts:
        deadline = time.monotonic() + seconds
        self._data_written(seconds)
        return self._ask(
            deadline - time.monotonic(),
            do=case.part,
            folder=str(self.scratch),
            seconds=0.5 if self.tiny else 3.0,
        )

    def _data_written(self, seconds: float) -> None:
        if self.host.waits:
            self.report.note("waiting for the data to be written")
            self.report.about["data"] = self.host.receive(seconds, self.report.note)

    def _resume(self, case: Case, seconds: float) -> Facts:
        """Nothing else may hold the device then: it may be one process's alone."""
        deadline = time.monotonic() + seconds
        self._data_written(seconds)
        self.torch.stop()
        self.ours.stop()
        self.share = ALONE
        self.ours = self._worker("jax")
        ways = {"as always": self.flags}
        if self.report.about["device"]["platform"] in ("gpu", "cuda"):
            ways["with deterministic operations"] = f"{self.flags} {DETERMINISTIC}"
        found: Facts = {}
        for number, (way, flags) in enumerate(ways.items()):
            folder, config = self.scratch / f"runs{number}", self.scratch / "config.py"
            try:
                found[way] = killed_and_resumed(
                    folder, config, flags, deadline, self.host, self.report.note
                )
            except Lost as lost:
                if not found:
                    raise
                found[way] = {"lost": lost.reason}
            if found[way].get("unequal") == 0:
                break
        return {"ways": found}


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


if __name__ == "__main__":
    main()
