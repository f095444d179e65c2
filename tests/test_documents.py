"""The documents: every command is accepted, the short ones run, every example in Python runs."""

import argparse
import ast
import contextlib
import importlib.util
import re
import shutil
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from fixtures import documents, polsar_folder, tiny_folder
from fixtures.documents import PAGES
from fixtures.folder_files import png, tiff
from fixtures.places import ROOT
from scipy.io import savemat

import jaxseg
from jaxseg import config as configs
from jaxseg.cli import (
    border_pictures,
    catalogue,
    data,
    planned,
    polsar_pictures,
    weight_cards,
)
from jaxseg.cli import main as cli
from jaxseg.cli.commands import datasets, maps, runs
from jaxseg.datasets.arrays import guess as array_guess
from jaxseg.datasets.folder import guess
from jaxseg.datasets.landscape import Landscape
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

NOT_RUN = {
    "--format": "takes half a minute; tests/export has them",
    "benchmarks/": "takes minutes to hours",
    "--distributed": "needs several processes; test_sharding and run/test_processes have them",
    "--coordinator": "likewise",
    "--config.mesh.": "needs several devices; test_step has them",
    "jaxseg plan": "needs a compiler that tests do not install; tests/planning has its parts",
    "jaxseg predict": "needs a scene; tests/prediction makes some",
    "jaxseg polygons": "needs a map; tests/prediction makes some",
    "--map": "likewise; tests/evaluation makes some",
    "labels.gpkg": "needs a vector file; tests/datasets/folder makes some",
    "--help": "is run wherever commands are read",
    "configs/deeplab.py": "test_shipped_configs trains it",
    "configs/multiscale_sar.py": "likewise",
    "configs/complex_unet.py": "likewise",
    "configs/foundation.py": "likewise",
    "configs/airsar.py": "test_labelled_polsar has such a scene",
    "runs/airsar": "likewise",
    "runs/em": "needs a set that is not part of the repository",
    "runs/camvid": "likewise",
    "runs/buildings": "likewise",
    "runs/deeplab": "needs the run of such a config; runs/unet is evaluated",
    "runs/multiscale_sar": "likewise",
    "jaxseg bench": "takes a minute; test_pack runs it",
    "--track": "needs a package that tests do not install; tests/run/trackers has them",
    "jaxseg robustness": "takes minutes; tests/evaluation/robustness has it",
    "jaxseg models": "takes a minute; test_catalogue has its parts",
    "configs/clouds.py": "needs a scene and weights that another package carries",
    "runs/clouds": "needs the run of such a config; runs/unet is evaluated",
    "efficientnet-b0": "takes a minute; tests/models/test_efficientnets.py has such a network",
    "configs/six_classes.py": "test_new_classes has such a run",
    "configs/incremental.py": "likewise",
    "configs/indian_pines.py": "needs a scene that another package carries",
    "configs/salinas_a.py": "needs a scene to be downloaded",
    "resnet18.pth": "needs weights to be downloaded",
    "--config.pretrained.name": "likewise; tests/weights/test_card_files.py makes some",
    "--push": "needs a hub; tests/evaluation/test_model_card.py pretends one",
    "runs/half": "needs a run that holds scenes out; tests/evaluation/doubts has one",
    "strzegom": "shows a refusal; test_sensor_files has it",
}
"""Commands that are read but not run, by a part of them, and why. All others are run."""

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


class Reached(Exception):  # noqa: N818  it is no error: the arguments were accepted
    """The command has read its arguments and would begin to work."""


def reached(*_: object, **__: object) -> None:
    raise Reached


def every(found: Callable[[Path], list[tuple[str, ...]]]) -> list[tuple[str, ...]]:
    return sorted({command for page in PAGES for command in found(page)})


def fenced(page: Path) -> list[tuple[str, ...]]:
    shell = [block for block in documents.blocks(page) if block.language == "sh"]
    return [command for block in shell for command in documents.commands(block)]


def name(value: object) -> str | None:
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else " ".join(value)  # type: ignore[arg-type]


# -- what the pages consist of ---------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_block_is_of_a_kind_that_is_checked(page: Path) -> None:
    for block in documents.blocks(page):
        assert block.language in ("sh", "python", "text"), (
            f"{block.page}, line {block.line}: fence blocks as sh, python or text, so that what "
            f"they hold is tried; this one is {block.language or 'indented'!r}"
        )
        if block.language == "text":
            hidden = [line for line in block.text.splitlines() if documents.PROGRAMS.match(line)]
            assert not hidden, f"{block.page}, line {block.line}: commands belong into sh: {hidden}"


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: str(page.relative_to(ROOT))
)
def test_a_link_leads_somewhere(page: Path) -> None:
    for path, anchor in documents.links(page):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {path}"
        if anchor:
            assert anchor in documents.anchors(target), f"{page.name} links to {path}#{anchor}"


def test_the_readme_is_short_and_keeps_the_commands_that_are_run_from_it() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 120
    new = "python3 -m venv .venv && .venv/bin/pip install -e "
    assert f"{new}'.[test]' && .venv/bin/pytest" in lines
    assert f"{new}. && .venv/bin/python train.py --config configs/deeplab.py" in lines


def test_every_table_of_results_has_its_command() -> None:
    sections = re.split(r"^##+ ", (ROOT / "docs" / "results.md").read_text(), flags=re.M)[1:]
    for section in sections:
        if "|---" in section:
            has = "python train.py" in section or "python benchmarks/" in section
            refers = "the same command" in section
            assert has or refers, section.splitlines()[0]


def test_every_file_of_the_library_is_on_one_page_of_the_api() -> None:
    pages = (ROOT / "docs" / "api").glob("*.md")
    named = [n for page in pages for n in re.findall(r"^::: (\S+)", page.read_text(), flags=re.M)]
    assert len(set(named)) == len(named)
    files = [file.relative_to(ROOT).with_suffix("") for file in (ROOT / "jaxseg").rglob("*.py")]
    modules = [".".join(file.parts).removesuffix(".__init__") for file in files]
    assert set(named) <= set(modules)
    shown = {n for n in named if n != "jaxseg"}  # the face, without what lies below it
    for module in modules:
        over = {n for n in shown if module == n or module.startswith(f"{n}.")}
        assert len(over) == 1 or module in ("jaxseg", "jaxseg.__main__"), f"{module}: {over}"


def test_citation_and_changelog_are_of_this_version() -> None:
    version = PYPROJECT["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.search(rf"\b{re.escape(version)}\b", (ROOT / "CHANGELOG.md").read_text())


# -- commands --------------------------------------------------------------------------------------


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
    _enter(tmp_path, monkeypatch)


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
    arguments = _arguments(command)
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


def _arguments(command: tuple[str, ...]) -> list[str] | None:
    """Of the command line, if it is a command of jaxseg."""
    if command[0] == "jaxseg":
        return list(command[1:])
    return ["train", *command[2:]] if command[:2] == ("python", "train.py") else None


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


# -- Python ----------------------------------------------------------------------------------------

EXAMPLES = [p for p in PAGES if any(b.language == "python" for b in documents.blocks(p))]


def run_examples(page: Path, *, with_runs: bool) -> None:
    """Runs the Python blocks of a page in their order, in one namespace."""
    names: dict[str, Any] = {"__name__": "example"}
    for block in documents.blocks(page):
        if block.language == "python" and with_runs == ("load_run" in block.text):
            code = "\n" * block.line + block.text
            exec(compile(code, block.page, "exec"), names)
            if "get_config" in names:
                configs.check(names["get_config"]())


@pytest.mark.parametrize("page", EXAMPLES, ids=name)
def test_an_example_in_python_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _enter(tmp_path, monkeypatch)
    run_examples(page, with_runs=False)


# -- commands that are run -------------------------------------------------------------------------


def is_run(command: tuple[str, ...]) -> bool:
    plain = " ".join(command)
    return _arguments(command) is not None and not any(part in plain for part in NOT_RUN)


RUNNING = [page for page in PAGES if any(is_run(command) for command in fenced(page))]


def test_what_is_not_run_is_there() -> None:
    known = {" ".join(command) for command in every(fenced)}
    assert all(any(part in command for command in known) for part in NOT_RUN)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny data under the names that the documents give to theirs."""
    folder = tmp_path_factory.mktemp("world")
    random = np.random.default_rng(0)
    colors = np.array([(226, 169, 41), (132, 41, 246), (110, 193, 228)], np.uint8)
    for scene in ("harbour", *"abcdefg"):
        ids = np.repeat(np.repeat(random.integers(0, 3, (5, 6)), 32, 0), 32, 1)
        noise = random.integers(0, 30, (*ids.shape, 3))
        for place in ("photos", "elsewhere"):
            image = (colors[ids] // 2 + noise).astype(np.uint8)
            png(folder / f"{place}/images/{scene}.png", image)
            png(folder / f"{place}/masks/{scene}.png", colors[ids])
            noise = random.integers(0, 30, noise.shape)
        wide = np.tile(ids, (1, 4))
        tiff(folder / f"scenes/images/{scene}.tif", np.tile(noise, (1, 4, 1)).astype(np.uint16))
        tiff(folder / f"scenes/masks/{scene}.tif", np.array((1, 2, 7), np.uint8)[wide])
    tiny_folder.write_folder(folder / "nuclei", height=144, width=160)
    shutil.rmtree(folder / "nuclei/masks")
    for chip in range(5):
        water = np.kron(random.integers(0, 2, (5, 5)), np.ones((32, 32), int))
        decibel = np.stack((-10 - 8 * water, -17 - 6 * water), axis=-1)
        speckle = random.normal(0, 2, decibel.shape)
        tiff(folder / f"sen1floods11/S1/A_{chip}_S1Hand.tif", (decibel + speckle).astype("float32"))
        tiff(folder / f"sen1floods11/labels/A_{chip}_LabelHand.tif", water.astype("int16"))
    fields = np.kron(random.integers(0, 4, (8, 9)), np.ones((16, 16), int))  # 0 = no label
    cube = 500 * fields[..., None] + random.integers(0, 200, (*fields.shape, 20))
    savemat(folder / "scene.mat", {"cube": cube.astype(np.int16)})
    savemat(folder / "scene_gt.mat", {"truth": fields.astype(np.uint8)})
    polsar_folder.labelled(folder / "data/polsar_sf_airsar", side=320)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNING, ids=name)
def test_the_commands_of_a_page_run_in_their_order(
    page: Path, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _enter(world, monkeypatch)
    one = jax.devices()[:1]
    monkeypatch.setattr(jax, "devices", lambda *_: one)
    for command in fenced(page):
        if is_run(command):
            for other in re.findall(r"runs/(\w+)", " ".join(command)):
                if not Path("runs", other).exists() and (ROOT / f"configs/{other}.py").exists():
                    _run(["train", "--config", f"configs/{other}.py"])
            _run(_arguments(command) or [])
    if hasattr(jaxseg, "load_run"):
        run_examples(page, with_runs=True)


def _run(arguments: list[str]) -> None:
    """The command with fewer steps, smaller batches and few tiles."""
    shorter: list[str] = []
    config = arguments[arguments.index("--config") + 1] if "--config" in arguments else None
    if config and isinstance(configs.load_config(config).data.source, Landscape):
        shorter += ["--config.data.source.tiles", "4", "2", "2"]
        shorter += ["--config.data.source.data-dir", "tiles"]
    if arguments[0] == "train":
        for flag in ("num-steps", "eval-every", "save-every", "data.batch-size"):
            shorter += [f"--config.{flag}", "2"]
        shorter += ["--config.optimizer.warmup", "0"]
    with contextlib.suppress(Reached):
        cli.main([*arguments, *shorter])


def _enter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes it the current folder, with the repository's configs in it."""
    for shared in ("configs", "benchmarks"):
        if not (folder / shared).exists():
            (folder / shared).symlink_to(ROOT / shared)
    monkeypatch.chdir(folder)
