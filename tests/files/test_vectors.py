"""A vector file is what its ending says: no command, no pipe."""

import json
import os
from pathlib import Path

import pytest
from fixtures.asked import asked

from jaxseg.errors import UserError
from jaxseg.files import vectors

__all__ = ["asked"]  # a fixture

pytest.importorskip("pyogrio")


def test_a_command_line_in_json_is_not_run(tmp_path: Path, asked: tuple[int, list[str]]) -> None:
    port, requests = asked
    read = f"gdal vector pipeline ! read /vsicurl/http://127.0.0.1:{port}/a.geojson ! write -"
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"type": "gdal_streamed_alg", "command_line": read}))
    for look in (vectors.crs_of, vectors.fields_of):
        with pytest.raises(UserError, match="not what its ending says"):
            look(str(path))
    assert not requests


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "labels.geojson"
    os.mkfifo(path)
    with pytest.raises(UserError, match="a pipe or a device"):
        vectors.crs_of(str(path))
