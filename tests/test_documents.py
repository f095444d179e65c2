"""Every command of the documents is accepted, up to where its work begins."""

import argparse
import ast
import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import pytest
from fixtures import documents
from fixtures.documents import PYPROJECT, Reached, arguments_of, enter, every, fenced, name, reached
from fixtures.places import ROOT

from jaxseg.cli import border_pictures, catalogue, data, planned, polsar_pictures, weight_cards
from jaxseg.cli import main as cli
from jaxseg.cli.commands import datasets, maps, runs
from jaxseg.datasets.arrays import guess as array_guess
from jaxseg.datasets.folder import guess
from jaxseg.datasets.packed import writer
from jaxseg.evaluation import evaluate as assessment
from jaxseg.evaluation import model_card, pushing
from jaxseg.evaluation.page import write as page
from jaxseg.evaluation.robustness import measure as robust
from jaxseg.losses import class_counts
from jaxseg.run import bench as benches
from jaxseg.run import checkpoint, training

WORK = (
    (training, "train"),
    (assessment, "evaluate"),
    (page, "write"),
    (model_card, "write"),
    (weight_cards, "show"),
    (pushing, "check"),
    (robust, "measure"),
    (checkpoint, "reopen"),
    (checkpoint, "config_of"),
    (catalogue, "print_catalogue"),
    (catalogue, "print_layers"),
    (border_pictures, "border_figure"),
    (class_counts, "class_counts"),
    (planned, "attempt"),
    (polsar_pictures, "survey"),
    (guess, "guess"),
    (array_guess, "guess_scene"),
    (data, "folder_of"),
    (data, "show"),
    (datasets, "check_splits"),
    (maps, "polygonise"),
    (runs, "check_installed"),
    (writer, "check"),
    (benches, "bench"),
)
"""Where the work of each command begins, its arguments being read."""

SHELL = {("python3", "-m", "venv", ".venv"), (".", ".venv/bin/activate"), ("cd", "jaxseg")}
FOREIGN = {"torch", "torchvision", "segmentation-models-pytorch"}
"""Packages that a benchmark compares with, and nothing else needs."""


@pytest.fixture
def parsers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Commands stop where their work begins; they stand in a folder that has the repository's."""
    for copy in ("my_unet.py", "my.py", "scene.py"):
        (tmp_path / copy).write_text((ROOT / "configs/unet.py").read_text())
    for room, function in WORK:
        monkeypatch.setattr(room, function, reached)
    parse = argparse.ArgumentParser.parse_args

    def parse_only(
        self: argparse.ArgumentParser, arguments: list[str] | None = None, *_: object
    ) -> None:
        parse(self, arguments)
        raise Reached

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    monkeypatch.setattr(jax.distributed, "initialize", lambda **_: None)
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    enter(tmp_path, monkeypatch)


@pytest.mark.parametrize("command", every(fenced), ids=name)
def test_a_command_is_accepted(
    command: tuple[str, ...],
    parsers: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    accept(command, monkeypatch, capsys)


@pytest.mark.parametrize("command", every(documents.inline_commands), ids=name)
def test_a_command_in_a_sentence_or_a_table_is_accepted(
    command: tuple[str, ...],
    parsers: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if command in (("jaxseg", "train"), ("python", "train.py")):
        return  # its name, without arguments
    if len(command) == 2 and command[0] == "jaxseg":
        command = (*command, "--help")  # likewise
    accept(command, monkeypatch, capsys)


def accept(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Reads the command as its program would, up to where the work begins."""
    for word in command:
        if word.startswith(("configs/", "benchmarks/", "tests/", ".ci/")):
            assert (ROOT / word).exists(), word
    arguments = arguments_of(command)
    if command in SHELL or command[:2] == ("git", "clone"):
        return
    if arguments is not None:
        _expect_start(lambda: cli.main(arguments), capsys)
    elif command[0] == "python" and command[1].startswith("benchmarks/"):
        monkeypatch.setattr(sys, "argv", list(command[1:]))
        _expect_start(lambda: _benchmark(ROOT / command[1], list(command[2:])), capsys)
    elif command[:2] == ("pip", "install"):
        _check_installed(command[2:])
    elif command[0] == "pytest":
        known = {
            line.partition(":")[0] for line in PYPROJECT["tool"]["pytest"]["ini_options"]["markers"]
        }
        assert "-m" not in command or command[command.index("-m") + 1] in known
    else:
        run = (ROOT / ".ci" / "run").read_text()
        tools = {"ruff", "mypy", "lint-imports", "mkdocs"}
        assert command[0] in tools or command == ("bash", ".ci/run"), (
            f"{' '.join(command)}: a program that no test knows; teach it to accept()"
        )
        assert command[0] == "bash" or f'"$bin/{command[0]}"' in run


def _expect_start(command: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises((Reached, SystemExit)) as stopped:
        command()
    if isinstance(stopped.value, SystemExit):  # --help ends so, and a mistake
        said = capsys.readouterr()
        assert not stopped.value.code, f"{said.out}{said.err}"


def _benchmark(file: Path, arguments: list[str]) -> None:
    """The program's own parser; only its flags where a package that it compares with is missing."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{file.stem}", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as missing:
        if missing.name not in FOREIGN:
            raise
        calls = [n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Call)]
        flags = {ast.literal_eval(c.args[0]) for c in calls if _is_flag(c)}
        assert {word for word in arguments if word.startswith("-")} <= flags
        raise Reached from missing
    module.main()


def _is_flag(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument"


def _check_installed(words: tuple[str, ...]) -> None:
    extras = PYPROJECT["project"]["optional-dependencies"]
    for word in words:
        local = re.fullmatch(r"\.(?:\[(.*)\])?", word)
        if local:
            assert set((local[1] or "").split(",")) <= {"", *extras}, word
        else:
            assert word in FOREIGN | {"-e"}, f"{word}: a package that nobody publishes for jaxseg"
