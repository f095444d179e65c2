"""The table of ablations: pairs that differ in one idea, at a length that a pilot chose."""

import dataclasses
import sys
from pathlib import Path

import pytest
from fixtures.places import ROOT

sys.path.append(str(ROOT / "benchmarks"))
import ablations
import experiment


@pytest.mark.parametrize("idea", ablations.IDEAS)
def test_the_two_runs_of_an_idea_differ_in_nothing_else(idea: str) -> None:
    _, with_it, without = ablations.IDEAS[idea]
    one, other = ablations.RUNS[with_it], ablations.RUNS[without]
    assert ablations.network_of(with_it) == ablations.network_of(without)
    differing = [
        field.name
        for field in dataclasses.fields(one.model)
        if field.name not in ("parent", "name")
        and getattr(one.model, field.name) != getattr(other.model, field.name)
    ]
    assert len(differing) + (one.loss != other.loss) == 1


def test_the_length_is_the_one_that_was_not_worth_doubling() -> None:
    assert ablations.flat({400: 0.50, 800: 0.505}) == 400
    assert ablations.flat({400: 0.40, 800: 0.50, 1600: 0.49}) == 800
    assert ablations.flat({400: 0.40, 800: 0.50, 1600: 0.60}) == 1600  # still rising at the end


def test_a_pilot_doubles_until_it_does_not_pay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int, str]] = []

    def measured(config: object, folder: Path, measure: object) -> dict[str, float]:
        asked.append((config.num_steps, config.seed, measure.__name__))  # type: ignore[attr-defined]
        return {"miou": {400: 0.3, 800: 0.4, 1600: 0.405}[config.num_steps]}  # type: ignore[attr-defined]

    monkeypatch.setattr(experiment, "measured", measured)
    curve = ablations.pilot("pspnet", tmp_path)
    assert curve == {400: 0.3, 800: 0.4, 1600: 0.405}
    assert {seed for _, seed, _ in asked}.isdisjoint(range(100))
    assert {measure for *_, measure in asked} == {"on_validation"}
    assert "| pspnet | 0.300 | 0.400 | 0.405 | 800 |" in ablations.pilot_table({"pspnet": curve})


def test_a_difference_that_may_be_none_is_marked() -> None:
    def numbers(miou: float) -> dict[str, float]:
        same = {"inconspicuous": 0.1, "boundary_f1": 0.2, "parameters": 5000, "cpu_s": 7.0}
        return same | {"miou": miou}

    results = {
        "unet": [numbers(0.50), numbers(0.52), numbers(0.51)],
        "unet_without_skips": [numbers(0.20), numbers(0.21), numbers(0.22)],
        "unet_edge_weights": [numbers(0.49), numbers(0.54), numbers(0.51)],
    }
    text = ablations.table(results, ["skips", "edges"], {"unet": 400})
    skips, edges = (line for line in text.splitlines() if "5 k → 5 k" in line)
    assert "| 400 |" in skips
    assert "+0.300 (+0.275 to +0.325) |" in skips  # 0.01 x 4.303 / sqrt(3) on either side
    assert "?" in edges.split("|")[6]
