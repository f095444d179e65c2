"""What `benchmarks/saving.py` says follows from what it measured."""

import os
import sys
from pathlib import Path

import pytest
from fixtures.compiler import IN_A_HURRY
from fixtures.places import ROOT
from fixtures.processes import begun, ended

sys.path.append(str(ROOT / "benchmarks"))

import saving


def test_stalls_are_shares_of_a_step() -> None:
    took = saving.Took
    times = saving.Times(
        alone=[took(2.0, 4.0), took(2.0, 4.0), took(9.0, 4.0)],
        blocked=[took(0.1, 0.1), took(0.02, 0.1), took(0.04, 0.1)],
        written=[5.0, 5.0, 5.0],
        beside=[[2.5, 2.5], [2.0, 2.2], [2.0]],
        undisturbed=[took(1.0, 0.4), took(1.0, 0.6), took(1.0, 0.5)],
        digests=[took(0.3, 0.2)],
    )
    assert times.step == 2.0
    assert times.lost() == pytest.approx([1.1, 0.22, 0.04])
    said = "\n".join(saving.lines(times, 1.6e9))
    for part in (
        "a save blocks            0.040 s, 2.0 % of a step; at most 5.0 %",
        "CPU seconds              4.00 of a step; 0.50 of a save, 12.5 %",
        "while it blocks        0.10, 2.5 %",
        "0.22 s, 0.11 steps",
        "if every 100           0.11 %",
        "digests of the state     0.300 s, 0.20 CPU seconds",
        "if every 100           0.05 %",
    ):
        assert part in said


@pytest.mark.slow
def test_the_program_measures_a_small_network(tmp_path: Path) -> None:
    program = str(ROOT / "benchmarks" / "saving.py")
    more = {"XLA_FLAGS": IN_A_HURRY, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    said = ended(begun([program, "--tiny"], tmp_path, more=more))
    assert "122,174 parameters, 1 x cpu" in said
    assert "a save blocks" in said
