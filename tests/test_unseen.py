"""The sets of the experiment with domains never seen: what is trained on, and what is tested."""

import argparse
import sys
from pathlib import Path

import numpy as np
import pytest
from fixtures.places import ROOT, SHARED

from jaxseg.config import Config
from jaxseg.datasets import Domains
from jaxseg.scenes.scene import IGNORE, Window

sys.path.append(str(ROOT / "benchmarks"))
import unseen
import unseen_sets

STRZEGOM = SHARED / "data" / "sentinel2_strzegom"
ASKED = argparse.Namespace(steps=8, features=2, learning_rate=0.01)
SCORES = ("plain", "adabn", "matched")


def test_a_network_is_trained_on_all_domains_but_one(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Config] = []
    monkeypatch.setattr(unseen, "completed", lambda config: config)
    monkeypatch.setattr(
        unseen, "measured", lambda config, *_: seen.append(config) or dict.fromkeys(SCORES, 0.0)
    )
    of = unseen_sets.styles((2, 1, 1), ["dim"])
    found = unseen.of_held(of, "dim", ASKED, 0, Path("run"))
    assert found == {"dim": dict.fromkeys(SCORES[:3] + unseen.OF_PROMPTS, 0.0)}
    plain, prompted = (config.data.source for config in seen)
    assert plain == prompted == Domains(tuple(of.sources[n] for n in ("clear", "hazy", "dry")))
    two = of._replace(sources={name: of.sources[name] for name in ("clear", "dim")})
    found = unseen.of_held(two, "dim", ASKED, 0, Path("run"))
    assert found == {"dim": dict.fromkeys(SCORES[:3], 0.0)}
    assert [config.data.source for config in seen[2:]] == [of.sources["clear"]]


def test_clouds_of_one_sensor_leave_nothing_to_train_on(tmp_path: Path) -> None:
    (tmp_path / "sentinel2.npz").touch()
    with pytest.raises(SystemExit, match=r"1 sensor\(s\), and one is left out"):
        unseen_sets.clouds(tmp_path)
    (tmp_path / "landsat7.npz").touch()
    assert set(unseen_sets.clouds(tmp_path).sources) == {"sentinel2", "landsat7"}


@pytest.mark.real_data
def test_another_date_of_strzegom_is_tested_on_other_ground() -> None:
    if not STRZEGOM.is_dir():
        pytest.skip(f"{STRZEGOM} is absent: the real sets lie beside the checkout")
    of = unseen_sets.strzegom(STRZEGOM)
    dark = {}
    for case, (held, source) in of.cases.items():
        train, test = (source.scenes(split) for split in ("train", "test"))
        areas = [scenes.extent(0).area for scenes in (train, test)]
        assert areas[0].x + areas[0].width <= areas[1].x
        assert min(areas[1].height, areas[1].width) >= of.evaluation_crop
        for scenes in (train, test):
            sample = scenes.read(0, Window(0, 0, *scenes.size(0)))
            assert set(np.unique(sample["label"])) == {*range(6), IGNORE}
        dark[case] = np.quantile(sample["image"], 0.01)
        assert held in of.sources
    assert max(dark["20210619"], dark["20221012"]) < 400
    assert dark["20221012, offset not known"] > 1000
