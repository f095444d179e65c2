"""The recording of some steps, as files that Perfetto and TensorBoard read."""

import gzip
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from jaxseg.errors import UserError
from jaxseg.run import profiling


class Log:
    """Keeps what is said."""

    def __init__(self) -> None:  # noqa: D107
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        """Keeps it."""
        self.lines.append(line)


def trained(
    folder: Path,
    profile: int,
    *,
    start: int = 4,
    last: int = 8,
    log: Any = None,
    error: type[BaseException] | None = None,
) -> None:
    """Steps `start` + 1 to `last`, and then the error."""
    double = jax.jit(lambda x: 2 * x)
    state = double(jnp.ones(3))
    with profiling.recording(folder, start, profile, log or Log()) as recording:
        for number in range(start + 1, last + 1):
            with recording.step(number):
                state = double(state)
            recording.after(number, state)
        if error is not None:
            raise error


def recorded(folder: Path) -> set[str]:
    """Numbers of the steps in the file for Perfetto; the one for TensorBoard lies beside it."""
    (file,) = folder.glob("profile/plugins/profile/*/perfetto_trace.json.gz")
    assert [other for other in file.parent.glob("*.xplane.pb") if other.stat().st_size > 0]
    events = json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]
    return {event["args"]["step_num"] for event in events if event.get("name") == "train"}


def test_steps_after_the_first_are_recorded_and_no_other(tmp_path: Path) -> None:
    log = Log()
    trained(tmp_path, 2, log=log)
    assert recorded(tmp_path) == {"6", "7"}
    assert log.lines == [f"Recorded from step 6 on: {tmp_path / 'profile'}"]


def test_a_training_that_ends_early_keeps_what_was_recorded(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, 9, start=0, last=3, error=KeyboardInterrupt)
    assert recorded(tmp_path) == {"2", "3"}
    trained(tmp_path / "again", 1)  # no recording is left open
    assert recorded(tmp_path / "again") == {"6"}


@pytest.mark.parametrize(("profile", "last"), [(0, 8), (3, 5)])
def test_nothing_is_written_where_no_step_is_to_be_recorded(
    tmp_path: Path, profile: int, last: int
) -> None:
    trained(tmp_path, profile, last=last)
    assert not (tmp_path / "profile").exists()


def test_fewer_than_no_steps_are_refused() -> None:
    with pytest.raises(UserError, match="--profile -1: give the number of steps"):
        profiling.check(-1)
