"""The notebooks of `examples/` run from their first to their last cell; recipes can be read."""

import shlex
import subprocess
from pathlib import Path

import nbformat
import pytest
import yaml
from fixtures.places import ROOT
from nbclient import NotebookClient

from jaxseg.cli import commands
from jaxseg.cli.commands import training

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))

RIGHT = {"first_map": 80.0, "colab_tpu": 60.0}
"""Per cent of the pixels that a notebook's map has right at least, of three and of ten classes."""


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_it_says(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # kept without its outputs
    client = NotebookClient(
        notebook,
        timeout=500,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    said = "".join(o["text"] for o in outputs if o["output_type"] == "stream")
    right = float(said.rpartition("% of the pixels are right")[0].split()[-1])
    assert right > RIGHT[path.stem]
    assert any("image/png" in o.get("data", {}) for o in outputs)


def test_the_notebooks_are_there() -> None:
    assert {path.stem for path in NOTEBOOKS} == set(RIGHT)


CLUSTER = ROOT / "examples" / "cluster"


class Reached(Exception):  # noqa: N818  it is no error: the arguments were accepted
    """A training would begin."""


def _trainings() -> dict[str, list[str]]:
    """The arguments of the training in each recipe."""
    found = {}
    for name in ("slurm.sbatch", "tpu_queued.sh"):
        text = (CLUSTER / name).read_text().replace("\\\n", " ")
        [line] = [line for line in text.splitlines() if "jaxseg train" in line and line[0] != "#"]
        words = line.partition("jaxseg train")[2].partition("||")[0].replace("$run", "deeplab")
        found[name] = shlex.split(words.replace('"', ""))
    _, job = yaml.safe_load_all((CLUSTER / "gke.yaml").read_text())
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert container["args"][0] == "train"
    return found | {"gke.yaml": container["args"][1:]}


@pytest.mark.parametrize("name", ["slurm.sbatch", "tpu_queued.sh", "gke.yaml"])
def test_the_training_of_a_recipe_is_accepted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def reached(*_: object, **__: object) -> None:
        raise Reached

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(training, "start", lambda flags: None)
    monkeypatch.setattr(training.training, "train", reached)
    arguments = _trainings()[name]
    assert "--distributed" in arguments
    with pytest.raises(Reached):
        commands.train(arguments)


@pytest.mark.parametrize("name", ["slurm.sbatch", "tpu_queued.sh"])
def test_a_recipe_is_a_script(name: str) -> None:
    subprocess.run(["bash", "-n", CLUSTER / name], check=True)
