"""What cannot be trained is one error that names both sides, in one process and in each of two."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import pytest
from fixtures import painted, shallow
from fixtures.processes import JAXSEG, begun_together, ended, joined

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.errors import UserError
from jaxseg.optimizer import Optimizer
from jaxseg.run import training
from jaxseg.run.workdir import training_in
from jaxseg.sharding import MeshShape

CODE = (shallow, painted)


def of(config: Config, **data: Any) -> Config:
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **data))


def renamed(config: Config) -> Config:
    source: Any = config.data.source
    return of(config, source=dataclasses.replace(source, classes=("ground", "square", "disc")))


Change = Callable[[Config], Config]
BAD: dict[str, tuple[Change, str]] = {
    "mesh": (
        lambda config: dataclasses.replace(config, mesh=MeshShape(fsdp=3)),
        "Mesh data=-1, fsdp=3, space=1 on {devices} device(s): all three must be positive",
    ),
    "batch": (
        lambda config: of(config, batch_size=5),
        "Batch of 5 over 2 devices (data x fsdp): give a multiple of 2",
    ),
    "rows": (
        lambda config: of(
            dataclasses.replace(config, mesh=MeshShape(space=2)), crop=33, batch_size=8
        ),
        "Windows of 33 rows over 2 devices (space): give a multiple of 2",
    ),
    "network": (
        lambda config: dataclasses.replace(config, model=painted.Told()),
        "(stored -> given):\n  model.class: fixtures.shallow.Shallow -> fixtures.painted.Told",
    ),
    "classes": (
        renamed,
        "classes: ['ground', 'disc', 'square'] -> ['ground', 'square', 'disc']",
    ),
    "optimiser": (
        lambda config: dataclasses.replace(config, optimizer=Optimizer(schedule="constant")),
        "optimizer.name: sgd -> adamw",
    ),
}
"""A kind of mistake -> what makes it, and a part of the error."""


def said(config: Config, workdir: Path) -> str:
    """The error of a training."""
    with pytest.raises(UserError) as found:
        training.train(config, workdir, CODE)
    return str(found.value)


def elsewhere(config: Config, run: Path) -> dict[str, tuple[Config, Path, str]]:
    """Mistakes of another run: name -> config, workdir, a part of the error."""
    told = dataclasses.replace(config, model=painted.Told())
    return {
        "from another network": (
            dataclasses.replace(told, init_from=str(run)),
            run.with_name("other"),
            f"from the run {run}: its network is not this config's network: Shallow() there, "
            "Told() here; sure is absent there, () here. Use the same model",
        ),
        "from nothing": (
            dataclasses.replace(config, init_from=str(run.with_name("nowhere"))),
            run.with_name("other"),
            f"{run.with_name('nowhere')} is not a run",
        ),
        "in use": (config, run.with_name("used"), "used is in use: another training runs there ("),
    }


@pytest.fixture(scope="module")
def run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run of one step, and a folder beside it that another training uses."""
    workdir = tmp_path_factory.mktemp("runs") / "run"
    training.train(shallow.config(str(tiny), num_steps=1), workdir, CODE)
    with training_in(workdir.with_name("used")):
        yield workdir


def test_each_mistake_is_one_error_that_names_both_sides(
    tiny: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = functools.partial(sharding.make_mesh, devices=jax.devices()[:2])
    monkeypatch.setattr(training.sharding, "make_mesh", two)
    config = shallow.config(str(tiny), num_steps=2)
    for change, told in BAD.values():
        assert told.format(devices=2) in said(change(config), run)
    for bad, workdir, told in elsewhere(config, run).values():
        assert told in said(bad, workdir)


IN_A_JOB = """
import sys

sys.path[:0] = [{tests!r}, {here!r}]
from pathlib import Path

import test_bad_input as here
from fixtures import shallow
from jaxseg.cli.job import JobFlags, join

join(JobFlags(distributed=True))
config, run = shallow.config({tiny!r}, num_steps=2), Path({run!r})
for name, (change, told) in here.BAD.items():
    if name != "rows":  # two processes of one device refuse it earlier
        print(name, told.format(devices=2) in here.said(change(config), run), flush=True)
for name, (bad, workdir, told) in here.elsewhere(config, run).items():
    print(name, told in here.said(bad, workdir), flush=True)
"""


@pytest.mark.slow
def test_in_a_job_every_process_says_so_and_none_waits(tiny: Path, run: Path) -> None:
    here = Path(__file__).parent
    program = IN_A_JOB.format(tests=str(here.parent), here=str(here), tiny=str(tiny), run=str(run))
    kinds = [*(name for name in BAD if name != "rows"), *elsewhere(shallow.config(str(tiny)), run)]
    # The flag that `joined` adds is not read by the program.
    for output in joined(["-c", program], tiny, processes=2, devices=1):
        told = [line for line in output.splitlines() if line.endswith((" True", " False"))]
        assert told == [f"{name} True" for name in kinds], output


@pytest.mark.slow
def test_in_a_job_a_mistake_ends_every_process_with_its_message(tiny: Path, tmp_path: Path) -> None:
    file = shallow.config_file(tiny, tmp_path)
    command = [*JAXSEG, "train", "--config", str(file), "--workdir", str(tmp_path / "run")]
    nowhere = str(tmp_path / "nowhere")
    for process in begun_together([*command, "--config.init-from", nowhere], tiny, 2):
        output = ended(process, 2)
        assert output.count(f"Error: {nowhere} is not a run") == 1
        assert "Traceback" not in output
        assert "Check failure stack trace" not in output  # the first process left last
