"""A run that somebody gave you: nothing is made, nothing is fetched, and what is read is said."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fixtures.asked import asked
from fixtures.places import FIXTURES

from jaxseg import load_run
from jaxseg.datasets import making
from jaxseg.datasets.landscape import Landscape
from jaxseg.errors import UserError
from jaxseg.evaluation import own_data
from jaxseg.evaluation.evaluate import evaluate
from jaxseg.run import checkpoint
from jaxseg.system.console import make_console

__all__ = ["asked"]  # a fixture


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(FIXTURES / "run_0_1_0", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


def edit(run: Path, change: Callable[[Any], None]) -> None:
    """As a stranger could; a run of 0.1.0 has no digests that would notice."""
    (file,) = run.glob("checkpoints/3/config/metadata")
    config = json.loads(file.read_text())
    change(config)
    file.write_text(json.dumps(config))


def test_nothing_is_drawn_where_a_config_says(run: Path, tmp_path: Path) -> None:
    place = tmp_path / "anywhere"
    source = {"class": "jaxseg.datasets.Landscape", "data_dir": str(place)}
    edit(run, lambda config: config["data"].update(source=source))
    with pytest.raises(UserError, match=r"landscape is not in .*anywhere.*--make"):
        evaluate(run, baseline=False)
    assert not place.exists()


def test_other_data_are_made_unless_they_are_where_the_run_says(tmp_path: Path) -> None:
    own = Landscape(data_dir=str(tmp_path / "a"))
    assert not own_data.shared_paths(own, Landscape(seed=1))
    assert not own_data.shared_paths(Landscape(), Landscape(seed=1))
    assert own_data.shared_paths(own, Landscape(seed=1, data_dir=own.data_dir))


def test_a_run_asks_no_other_machine(run: Path, asked: tuple[int, list[str]]) -> None:
    port, requests = asked
    address = f"/vsicurl/http://127.0.0.1:{port}/a.tif"
    edit(run, lambda config: config["data"]["source"].update(images=address))
    with pytest.raises(UserError, match=r"names data on another machine: .*--make"):
        evaluate(run, baseline=False)
    assert load_run(run).step == 3
    assert not requests


def test_opening_a_run_reads_none_of_its_data(run: Path) -> None:
    edit(run, lambda config: config["data"]["source"].update(images="/nowhere"))
    assert load_run(run).step == 3
    sensor = {"class": "jaxseg.scenes.Sensor", "bands": []}
    edit(run, lambda config: config.update(sensor=sensor))
    with pytest.raises(UserError, match="does not say which bands"):
        checkpoint.reopen(run, checkpoint.sharding.MeshShape(), "latest")


def test_what_lies_outside_of_the_run_is_said(tmp_path: Path, tiny: Path) -> None:
    from jaxseg.datasets.folder import Folder

    inside = tmp_path / "masks"
    source = Folder(images=str(tiny / "images"), masks=str(inside), classes=("a", "b"))
    said = io.StringIO()
    with own_data.opened(tmp_path, source, make=False, console=make_console(said)):
        pass
    assert str(tiny / "images") in said.getvalue()
    assert str(inside) not in said.getvalue()


def test_data_are_made_by_a_training_and_by_a_flag(tmp_path: Path) -> None:
    source, quiet = Landscape(data_dir=str(tmp_path / "data")), make_console(io.StringIO())
    making.check_making("landscape", tmp_path)
    with own_data.opened(tmp_path / "run", source, make=True, console=quiet):
        making.check_making("landscape", tmp_path)
    refused = pytest.raises(UserError, match="--make")
    with own_data.opened(tmp_path / "run", source, make=False, console=quiet), refused:
        making.check_making("landscape", tmp_path)
    making.check_making("landscape", tmp_path)
