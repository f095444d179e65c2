"""Ctrl-C and SIGTERM: a true sentence at any moment, never a traceback."""

import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fixtures.compiler import IN_A_HURRY
from fixtures.places import ROOT

from jaxseg.cli import main as cli
from jaxseg.cli.commands import frame
from jaxseg.cli.job import JobFlags
from jaxseg.run import training
from jaxseg.run.stopping import saved
from jaxseg.system import interrupts

SAID = re.compile(
    r"Stopped by (Ctrl-C|SIGTERM)\. \S.*\.\n|Stopped at step \d+; the state is saved in .*\.\n"
)


@pytest.fixture
def told() -> Iterator[None]:
    """Leaves the process as it was."""
    yield
    interrupts.begin(interrupts.BEGIN)
    interrupts.over()


def command(code: str) -> subprocess.Popen[str]:
    """A process that is a command from its first line; it prints `ready` when it may be stopped."""
    return subprocess.Popen(
        [sys.executable, "-c", "from jaxseg.system import interrupts\n" + textwrap.dedent(code)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stopped(process: subprocess.Popen[str], *signals: int) -> tuple[int, str]:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for number in signals:
        process.send_signal(number)
        time.sleep(0.2)
    _, said = process.communicate(timeout=60)
    return process.returncode, said


def test_the_first_signal_raises_and_what_was_begun_is_removed() -> None:
    process = command(
        """
        import time
        interrupts.watch()
        interrupts.begin("All is kept.")
        try:
            print("ready", flush=True)
            time.sleep(60)
        finally:
            print("removed", flush=True)
        """
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out, said) == (
        143,
        "removed\n",
        "Stopped by SIGTERM. All is kept.\n",
    )


@pytest.mark.parametrize(
    "code",
    [
        # A library that does not let go, and one that makes an error of its own.
        "try: time.sleep(60)\nfinally: time.sleep(60)",
        "def gone(): time.sleep(60)\nimport weakref\nclass A: pass\n"
        "a = A(); weakref.finalize(a, gone); del a",
    ],
)
def test_the_second_signal_ends_the_process_at_once(code: str) -> None:
    begin = "import time\ninterrupts.watch()\ninterrupts.begin('All is kept.')\n"
    process = command(f"{begin}print('ready', flush=True)\n{code}\ntime.sleep(60)")
    returned = stopped(process, signal.SIGINT, signal.SIGINT)
    assert returned == (130, "Stopped by Ctrl-C. All is kept.\n")


def test_the_first_process_of_a_job_ends_after_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    process = command(
        "interrupts.watch()\ninterrupts.wait_for_others(1.0)\nprint('ready', flush=True)\n"
        "time = __import__('time')\ntime.sleep(60)"
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == f"Stopped by Ctrl-C. {interrupts.BEGIN}\n"
    process.send_signal(signal.SIGINT)  # it has been said
    assert process.poll() is None
    assert (process.wait(60), process.stderr.read()) == (130, "")
    joined = []
    monkeypatch.setattr(interrupts, "wait_for_others", joined.append)
    monkeypatch.setattr(frame, "join", lambda job: None)
    frame.start(JobFlags(coordinator="node1:1", process="1/2"))
    frame.start(JobFlags())
    assert joined == [frame.LAST]


def test_before_and_behind_the_work_one_signal_is_enough() -> None:
    for moment, said in (("", interrupts.BEGIN), ("interrupts.done()", interrupts.END)):
        process = command(
            f"interrupts.watch()\n{moment}\nimport time\nprint('ready', flush=True)\n"
            "try: time.sleep(60)\nexcept BaseException: pass"
        )
        assert stopped(process, signal.SIGINT) == (130, f"Stopped by Ctrl-C. {said}\n")


def test_a_sentence_that_the_command_has_said_is_not_said_again() -> None:
    process = command(
        "interrupts.watch()\ninterrupts.begin('All is kept.')\ninterrupts.said()\n"
        "import time\nprint('ready', flush=True)\n"
        "try: time.sleep(60)\nexcept BaseException: time.sleep(60)"
    )
    assert stopped(process, signal.SIGINT, signal.SIGINT) == (130, "")


def test_what_is_saved_is_looked_up_when_it_is_said(tmp_path: Path, told: None) -> None:
    interrupts.leave(lambda: saved(tmp_path))
    assert "Nothing is saved" in interrupts.told(signal.SIGINT)
    for name in ("5", "10", "15.orbax-checkpoint-tmp", "20.damaged"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    assert interrupts.told(signal.SIGTERM) == (
        f"Stopped by SIGTERM. The newest saved state in {tmp_path} is that of step 10; the same "
        "command continues from it. Step 15 was being saved: it continues from there if that is "
        "complete."
    )
    (tmp_path / "checkpoints" / "25").mkdir()
    assert "being saved" not in interrupts.told(signal.SIGTERM)  # 15 was left by a killed save

    def gone() -> str:
        raise OSError("no disk")

    interrupts.leave(gone)
    assert "What is saved cannot be read: no disk" in interrupts.told(signal.SIGINT)
    interrupts.leave(lambda: "a\x1b[2Jb\nc")
    assert interrupts.told(signal.SIGINT) == r"Stopped by Ctrl-C. a\x1b[2Jb\nc"


def test_a_library_that_is_imported_leaves_signals_alone() -> None:
    before = [signal.getsignal(number) for number in interrupts.NAMES]
    with pytest.raises(KeyboardInterrupt):
        interrupts.stop_now(signal.SIGINT)
    assert [signal.getsignal(number) for number in interrupts.NAMES] == before
    assert not interrupts.watched()


def test_an_error_that_a_library_made_of_a_signal_is_not_shown(
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    told: None,
) -> None:
    def swallowed(*_: object, **__: object) -> None:
        try:
            interrupts._note(signal.SIGTERM, None)
        except KeyboardInterrupt:
            raise RuntimeError("a read was cut off") from None

    monkeypatch.setattr(training, "train", swallowed)
    workdir = tmp_path / "run"
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", "--config", str(tiny / "config.py"), "--workdir", str(workdir)])
    assert ended.value.code == 143
    said = capsys.readouterr().err
    assert said == (
        f"Stopped by SIGTERM. Nothing is saved in {workdir} yet; the same command begins the "
        "training again.\n"
    )


def test_nothing_heavy_is_imported_before_a_command_watches() -> None:
    code = "import sys; import jaxseg.cli.main; print(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).split()
    assert not {"jax", "numpy", "typing", "pathlib", "re", "importlib.metadata"} & set(modules)


def saved_steps(workdir: Path) -> list[int]:
    return [int(path.name) for path in workdir.glob("checkpoints/*") if path.name.isdigit()]


def attacked(
    delays: list[float], numbers: list[int], *arguments: str, after: Path | None = None
) -> tuple[int, str]:
    """Exit code and output of `python train.py` that gets signals after some seconds.

    With `after`, seconds are counted from the moment when this folder has a checkpoint.
    """
    environment = os.environ | {"XLA_FLAGS": IN_A_HURRY, "JAX_PLATFORMS": "cpu"}
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while after is not None and process.poll() is None and not saved_steps(after):
        time.sleep(0.05)
        began = time.monotonic()
    for delay, number in zip(delays, numbers, strict=True):
        try:
            process.wait(max(0.0, began + delay - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.send_signal(number)
    said, _ = process.communicate(timeout=300)
    return process.returncode, said


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_signals_at_any_moment_have_one_true_sentence(
    tiny: Path, tmp_path: Path, seed: int
) -> None:
    chance, workdir = random.Random(seed), tmp_path / "run"
    delay = 0.4 + 2.4 * seed  # while Python imports, compiles, trains, saves, ends
    second = chance.random() < 0.5
    delays = [delay, delay + chance.choice((0.01, 0.3))] if second else [delay]
    numbers = [chance.choice((signal.SIGINT, signal.SIGTERM)), signal.SIGINT][: len(delays)]
    code, said = attacked(
        delays,
        numbers,
        *("train.py", "--config", str(tiny / "config.py"), "--workdir", str(workdir)),
        *("--config.mesh.data", "1", "--config.mesh.space", "1"),
    )
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    if code == 0:
        assert "Trained and saved" in said
        return
    assert code in (130, 143)
    assert len(SAID.findall(said)) == 1, said
    if steps := saved_steps(workdir):
        assert f"step {max(steps)};" in said, said
    else:
        assert "Nothing is saved" in said or "Nothing was begun" in said or "not begun" in said


@pytest.mark.slow
def test_a_second_signal_in_the_loop_names_the_newest_saved_step(
    tiny: Path, tmp_path: Path
) -> None:
    workdir = tmp_path / "run"
    code, said = attacked(
        [0.3, 0.35],
        [signal.SIGTERM, signal.SIGINT],
        *("train.py", "--config", str(tiny / "config.py"), "--workdir", str(workdir)),
        *("--config.mesh.data", "1", "--config.mesh.space", "1", "--config.num-steps", "9000"),
        *("--config.eval-every", "9000", "--config.save-every", "5"),
        after=workdir,
    )
    assert code == 130, said
    assert "Traceback" not in said
    assert len(SAID.findall(said)) == 1, said
    assert f"step {max(saved_steps(workdir))};" in said
