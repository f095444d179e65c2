"""Files of one JSON object a line, with its step and a checksum: metrics, environment.

line(content)           what is added to a file
json_lines(file)        what can be read of one
cut_after(file, step)   leaves what a run that continues at a step has behind it
"""

import json
import math
from pathlib import Path
from typing import Any

from jaxseg.system import side_files
from jaxseg.system.disk import whole
from jaxseg.system.side_files import DamagedError


def line(content: dict[str, Any]) -> str:
    """A line, with its end; `content` has a `step`, and no number that is not finite."""
    return json.dumps(side_files.sealed(content), allow_nan=False) + "\n"


def json_lines(file: Path) -> tuple[list[dict[str, Any]], int]:
    """The records of a file, and the number of lines that hold none.

    A line is torn where a process was killed, or a disk was full, as it was written. A file that
    is not there has no records.
    """
    found: list[dict[str, Any]] = []
    torn = 0
    if not file.is_file():
        return found, torn
    for text in file.read_bytes().splitlines():
        record = _record(text)
        if record is not None:
            found.append(record)
        else:
            torn += bool(text.strip())
    return found, torn


def cut_after(path: Path, step: int) -> str:
    """Drops the lines of later steps, and those that are damaged; the file is replaced atomically.

    Args:
        path: The file; it may be missing.
        step: The last one that is kept.

    Returns:
        What was damaged, and where the file as it was is put aside; empty if nothing was. A last
        line without an end was cut off by a kill.
    """
    if not path.exists():
        return ""
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        aside = side_files.put_aside(path).name
        return f"{path} cannot be read ({side_files.reason(error)}) and is put aside as {aside}."
    if lines and not lines[-1].endswith(b"\n") and _record(lines[-1]) is None:
        lines.pop()
    records = [_record(text) for text in lines]
    steps = [math.inf if record is None else record["step"] for record in records]
    kept = [text for text, at in zip(lines, steps, strict=True) if at <= step]
    said = ""
    if damaged := records.count(None):
        aside = side_files.put_aside(path).name
        said = (
            f"{damaged} of the {len(lines)} lines of {path} are damaged and left out; as it was it "
            f"is put aside as {aside}."
        )
    with whole(path) as new:
        new.write_bytes(b"".join(text.rstrip(b"\r\n") + b"\n" for text in kept))
    return said


def _record(text: bytes) -> dict[str, Any] | None:
    """What a line holds, if it is as it was written."""
    try:
        record = json.loads(text.decode("utf-8"))
        if not isinstance(record, dict):
            return None
        record = side_files.opened(record)
        numbers = [value for value in record.values() if isinstance(value, float)]
    except (ValueError, RecursionError, DamagedError):
        return None
    good = type(record.get("step")) is int and all(map(math.isfinite, numbers))
    return record if good and record["step"] >= 0 else None
