"""Where a run was trained."""

import json
from importlib.metadata import version
from pathlib import Path

from jaxseg.run import environment
from jaxseg.run.json_lines import json_lines


def test_every_start_has_a_line_of_what_it_ran_on(tmp_path: Path) -> None:
    assert environment.stored(tmp_path) == ([], 0)
    environment.keep(tmp_path, 0)
    environment.keep(tmp_path, 120)
    (first, second), torn = environment.stored(tmp_path)
    assert torn == 0
    assert (first["step"], second["step"]) == (0, 120)
    assert first["devices"] == "8 x cpu"
    assert first["jax"] == version("jax")
    assert first.keys() == {"step", "time", *environment.now()}


def test_torn_lines_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    whole = [json.dumps({"step": step, "loss": None}) for step in (1, 2)]
    file.write_bytes(
        "\n".join([*whole, "", '{"step": 3, "lo', "[4]", '{"loss": 1}']).encode() + b"\xff"
    )
    found, torn = json_lines(file)
    assert [line["step"] for line in found] == [1, 2]
    assert torn == 3
    assert json_lines(tmp_path / "none.jsonl") == ([], 0)
