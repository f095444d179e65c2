"""The command that writes a page about a run."""

from pathlib import Path
from typing import Any

import pytest
from fixtures import stored_run
from fixtures.stored_run import STEP

from jaxseg.cli import main as cli
from jaxseg.evaluation.page import write as page


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run; the config that its checkpoint would hold is at hand."""
    asked: list[Any] = []

    def chosen(*given: Any) -> Any:
        asked.append(given)
        return stored_run.config(), STEP

    monkeypatch.setattr(page.checkpoint, "chosen", chosen)
    return stored_run.write_run(tmp_path / "fields")


def test_the_page_lies_in_the_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["report", str(run)])
    assert "<!doctype html>" in (run / "report.html").read_text()
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"jaxseg: a page about {run} ..."
    assert said[-1].startswith(f"Page: {run}/report.html (0.")
    assert not any(line.startswith("Note") for line in said)


def test_the_page_is_given_every_flag(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = stored_run.write_map(run.parent / "map.tif", 40, 40)
    (run / "environment.jsonl").unlink()
    out = run.parent / "page.html"
    flags = ["--map", str(where), "--out", str(out), "--step", "70"]
    cli.main(["report", str(run), *flags, "--evaluation", str(run / "evaluation/test")])
    assert 'id="map"' in out.read_text()
    assert "Note: Where it was trained is not known" in capsys.readouterr().out
    assert not (run / "report.html").exists()


def test_what_is_no_map_is_one_message(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["report", str(run), "--map", str(run / "none.tif")])
    assert stopped.value.code == cli.MISTAKE
    said = capsys.readouterr().err
    assert "none.tif" in said
    assert "Traceback" not in said
