"""The notebooks of `examples/` run from their first to their last cell."""

from pathlib import Path

import nbformat
import pytest
from fixtures.places import ROOT
from nbclient import NotebookClient

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
