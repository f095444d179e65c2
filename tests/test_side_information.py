"""The experiment on optical help: what each row trains, and what it is compared with."""

import sys
from pathlib import Path

import pytest
from fixtures.places import ROOT

sys.path.append(str(ROOT / "benchmarks"))
import side_information
from side_information_parts import runs
from side_information_parts.runs import METHODS

from jaxseg import config as configs
from jaxseg.config import Config
from jaxseg.datasets import Landscape, Paired
from jaxseg.losses import Distillation
from jaxseg.models import TwoNetworks
from jaxseg.transforms import Standardize

N = 40


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> runs.Sensors:
    monkeypatch.setattr(runs.completion, "completed", lambda config: config)
    monkeypatch.setattr(runs, "weights_of", lambda teacher: tmp_path / "optical.safetensors")
    (tmp_path / "optical.safetensors").touch()
    return runs.Sensors(
        *(runs.plain(Landscape(modality=each), (Standardize(),), N) for each in ("sar", "optical"))
    )


def steps_of_networks(config: Config) -> float:
    return config.num_steps * (2 if isinstance(config.model, TwoNetworks) else 1) / N


def test_a_row_costs_what_the_table_says_and_what_it_is_compared_with(
    given: runs.Sensors, tmp_path: Path
) -> None:
    for name, method in METHODS.items():
        config = runs.planned(name, given, 3, tmp_path / "run", factor=0.5)
        configs.check(config)
        own, whole = method.cost
        assert steps_of_networks(config) == own
        helped = isinstance(config.data.source, Paired) or config.pretrained.path is not None
        assert whole - own == helped  # the teacher is trained for N steps
        if method.equal:
            assert METHODS[method.equal].cost[1] == whole
        assert bool(method.factors) == isinstance(config.data.source, Paired)
        assert config.seed == 3


def test_a_reason_is_one_change(given: runs.Sensors, tmp_path: Path) -> None:
    every = runs.why(given, 3, tmp_path / "run", tmp_path / "weak")
    rules = {
        title: config.loss["distillation"]
        for title, config in every.items()
        if "distillation" in config.loss
    }
    first = next(iter(rules.values()))
    assert isinstance(first, Distillation)
    assert (first.attention, first.logits, first.layers) == (1.0, 0.5, runs.LAYERS)
    smaller = rules["both factors times 0.1"]
    assert (smaller.attention, smaller.logits) == (0.1, 0.05)
    assert rules["bottleneck alone"].layers + rules["decoders alone"].layers == runs.LAYERS
    assert rules["a teacher of N/4 steps"].run != first.run
    assert [config.num_steps for config in every.values()] == [N] * 7 + [2 * N] * 2


def test_the_best_factor_is_taken_and_differences_are_of_the_same_seeds() -> None:
    scores = {name: dict.fromkeys(each.factors, 0.1) for name, each in METHODS.items()}
    scores["logits"][METHODS["logits"].factors[1]] = 0.2
    chosen = {name: side_information.best(each) for name, each in scores.items()}
    assert chosen["logits"] == METHODS["logits"].factors[1]
    assert chosen["alone"] == 0
    found = {
        name: [{"miou": m, "parameters": 5e5, "cpu_s": 9.0} for m in (0.3, 0.4)] for name in METHODS
    }
    found["long"] = [dict(each, miou=each["miou"] + 0.1) for each in found["long"]]
    found["logits"] = [dict(each, miou=each["miou"] + 0.3) for each in found["logits"]]
    rows = side_information.test_table(found, chosen, found["alone"]).splitlines()
    row = next(line for line in rows if line.startswith("| A, logits |"))
    cells = [cell.strip() for cell in row.split("|")][2:-1]
    assert cells[:2] == [f"{chosen['logits']:g}", "1 + 1"]
    assert cells[4] == "0.650 ± 0.071"
    assert cells[5].startswith("+0.300 ")
    assert cells[6].startswith("+0.200 ")
