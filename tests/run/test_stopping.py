"""A notice to one process is known to all at the same question."""

import signal

import pytest

from jaxseg.run import stopping
from jaxseg.run.stopping import BEHIND, stop_requests
from jaxseg.sharding import MeshShape, make_mesh


def test_processes_of_a_job_answer_two_questions_late_and_go_on_saying_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stopping.jax, "process_count", lambda: 2)  # devices of one are enough
    with stop_requests(make_mesh(MeshShape(data=4, space=2))) as asked:
        assert not any(asked() for _ in range(5))
        signal.raise_signal(signal.SIGTERM)
        assert [asked() for _ in range(BEHIND + 3)] == [False] * BEHIND + [True] * 3
