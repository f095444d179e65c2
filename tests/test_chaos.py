"""What `benchmarks/chaos.py` calls a fault is one, and small attacks find none."""

import random
import shutil
import sys
from pathlib import Path

import pytest
from fixtures.places import ROOT

sys.path.append(str(ROOT / "benchmarks"))

import chaos
from chaos_parts import damages, opened, planned, stops, tiny, watched
from chaos_parts.tiny import Ended, Setting


def test_a_damage_depends_on_its_number_and_changes_the_run(tmp_path: Path) -> None:
    for step in (2, 4):
        folder = tmp_path / "sound" / "checkpoints" / str(step) / "state"
        folder.mkdir(parents=True)
        (folder / "digits").write_text(f"step {step} of 100")
        (folder / "numbers").write_bytes(random.Random(step).randbytes(5000))

    def after(number: int) -> tuple[str, dict[str, bytes]]:
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(tmp_path / "sound", copy)
        done = damages.damage(copy, random.Random(f"3/{number}"))
        return done, {
            str(path.relative_to(copy)): path.read_bytes() if path.is_file() else b""
            for path in copy.rglob("*")
        }

    first = [after(number) for number in range(12)]
    assert first == [after(number) for number in range(12)]
    assert len({done for done, _ in first}) > 6
    assert sum(files != first[0][1] for _, files in first) > 6


@pytest.mark.parametrize(
    ("code", "said", "equal", "outcome"),
    [
        (0, "", True, "harmless"),
        (0, "Skipped: checkpoint 6 cannot be read.", True, "fell back"),
        (0, "Skipped: checkpoint 6 cannot be read.", False, "SILENT"),
        (2, "Error: no, ValueError: it is cut", True, "refused"),
        (2, "Error: no\nException ignored in: <x>\nTraceback (most ...", True, "TRACEBACK"),
        (2, "", True, "ODD END"),
        (-11, "", True, "ODD END"),
    ],
)
def test_ends_of_a_command(code: int, said: str, equal: bool, outcome: str) -> None:
    assert opened.judged([Ended(code, said)], lambda: equal) == outcome
    if code:
        assert opened.judged([Ended(0, ""), Ended(code, said)], lambda: equal) in chaos.BAD


@pytest.mark.parametrize(
    ("last", "saved", "true"),
    [
        ("Stopped at step 8; the state is saved in run.", 8, True),
        ("Stopped at step 8; the state is saved in run.", 4, False),
        ("Stopped by Ctrl-C. The newest saved state in run is that of step 4; the same", 4, True),
        ("Stopped by Ctrl-C. The newest saved state in run is that of step 4; the same", 8, False),
        ("Stopped by SIGTERM. Nothing is saved in run yet;", None, True),
        ("Stopped by SIGTERM. Nothing is saved in run yet;", 4, False),
        ("Stopped by SIGTERM. Nothing was begun; give the same command again.", 4, True),
        ("compiling ...\nStopped by SIGTERM. Nothing was begun;", 4, False),
        ("Stopped by SIGTERM. The command had ended; nothing is lost.", watched.STEPS, True),
        ("Stopped by SIGTERM. The command had ended; nothing is lost.", 52, False),
        ("Stopped by SIGTERM.", 4, False),
        ("", 4, False),
    ],
)
def test_last_words_are_compared_with_the_disk(last: str, saved: int | None, true: bool) -> None:
    assert bool(stops.untrue(f"jaxseg: tiny.py -> run\n{last}\n", saved)) is not true


def test_a_plan_has_every_moment_and_ends_at_the_end() -> None:
    made = planned.plan(random.Random("1"), kills=6, soft=3, processes=2)
    assert made == planned.plan(random.Random("1"), kills=6, soft=3, processes=2)
    assert {stop.moment for stop in made if stop.kills} == set(planned.MOMENTS)
    assert sum(not stop.kills for stop in made) == 3
    assert made[-1].moment == "end"


@pytest.mark.slow
def test_commands_on_two_damaged_runs(tmp_path: Path) -> None:
    assert not chaos.damage(tmp_path, "commands", Setting(1, 1), range(3, 5), seed=1)


@pytest.mark.slow
def test_a_run_that_is_killed_and_stopped_ends_as_if_nothing_was(tmp_path: Path) -> None:
    config = tiny.drawn(tmp_path / "data")
    found = stops.attack(config, tmp_path / "one", Setting(1, 1), [0], kills=1, soft=1, seed=4)
    assert found.faults == []
    assert found.counts["runs bit-equal"] == 1
    assert found.counts["kills"] + found.counts["soft signals"] >= 1
