"""Of a checkpoint that cannot be read nothing is shown but the message of who reads it."""

import logging
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from jaxseg.run import failed_reads


def test_what_is_not_of_a_read_is_shown_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", shown.append)
    failed_reads.leave_out.__wrapped__()

    def raised(error: BaseException, thing: object = None) -> SimpleNamespace:
        return SimpleNamespace(object=thing, exc_value=error)

    def of_file(name: str) -> SimpleNamespace:
        return SimpleNamespace(cr_code=SimpleNamespace(co_filename=name))

    orbax = of_file("/lib/orbax/checkpoint/serialization.py")
    others = [
        raised(ValueError("Encountered error"), of_file("/lib/mine/read.py")),
        raised(KeyboardInterrupt(), orbax),
        raised(RuntimeError("another")),
    ]
    for found in (
        *others,
        raised(Exception("Encountered error while reading array index: ()"), orbax),
        raised(RuntimeError("Event loop is closed")),
        raised(RuntimeError("Event loop is closed"), object()),  # of a write
    ):
        sys.unraisablehook(found)
    assert shown == others


def test_what_asyncio_logs_of_a_read_is_left_out_and_nothing_else() -> None:
    def logged(file: str) -> logging.LogRecord:
        try:
            exec(compile("raise ValueError", file, "exec"))
        except ValueError:
            return logging.LogRecord("asyncio", 40, "", 1, "never retrieved", (), sys.exc_info())
        raise AssertionError

    assert failed_reads.is_logged_of_a_read(logged("/lib/orbax/checkpoint/serialization.py"))
    assert not failed_reads.is_logged_of_a_read(logged("/lib/mine/read.py"))
    for text in (
        "NOT_FOUND: Error opening a driver [tensorstore_spec='{}']",
        'OUT_OF_RANGE: Error reading "a" in OCDBT database at local file "/runs/": byte range',
    ):
        found = (ValueError, ValueError(text), None)
        bare = logging.LogRecord("asyncio", 40, "", 1, "never retrieved", (), found)
        assert failed_reads.is_logged_of_a_read(bare)
    plain = logging.LogRecord("asyncio", 40, "", 1, "a slow callback", (), None)
    assert not failed_reads.is_logged_of_a_read(plain)
