"""Opens damaged runs, by the functions that the commands use and by the commands themselves.

What they give is compared bit for bit with what a sound run gives:

    harmless     the same numbers of the same checkpoint
    fell back    the same numbers as an older checkpoint, and the damaged one was named
    refused      one message for the user
    SILENT       other numbers, or another checkpoint without a word
    TRACEBACK    an error that a command shows as such
    ODD END      a command that ended with another code than 0 and 2, or not at all
"""

import contextlib
import io
import json
import random
import shutil
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from chaos_parts.damages import damage
from chaos_parts.tiny import Ended, Setting, finished, trained, training

from jaxseg import sharding
from jaxseg.config import Config, load_code
from jaxseg.config_text import Code
from jaxseg.errors import UserError
from jaxseg.run.checkpoint import Checkpoints, reopen
from jaxseg.run.loaded import load_run
from jaxseg.run.step import abstract_state, inference_variables
from jaxseg.sharding import MeshShape

BAD = ("SILENT", "TRACEBACK", "ODD END")

Counts = dict[str, Counter[str]]
"""Way of opening -> outcome -> number."""

Ways = dict[str, Callable[[Path], str]]
"""Name -> what it makes of a run: `harmless`, `fell back`, `refused` or one of `BAD`."""

ALONE = Setting(1, 1)


class InPython:
    """A run that is sound, and what opening it gives."""

    def __init__(self, workdir: Path, code: Code = ()) -> None:
        """Opens every checkpoint of the run.

        Args:
            workdir: The run's folder, which is only copied.
            code: Where classes from outside jaxseg may be taken from.
        """
        self._code = code
        with Checkpoints(workdir, code=code) as checkpoints:
            self._chosen = {which: checkpoints.choose(which) for which in ("best", "latest")}
        names = [path.name for path in (workdir / "checkpoints").glob("[0-9]*")]
        self._saved = {int(name): self._opened(workdir, name) for name in names}
        config = self._saved[self._chosen["latest"]][0]
        bands = len(config.sensor.bands or config.data.source.sensor.bands)
        self._abstract = abstract_state(config, bands, sharding.make_mesh(MeshShape()))

    def ways(self) -> Ways:
        """The four of them."""
        return {
            "evaluate best": lambda folder: self._evaluate(folder, "best"),
            "evaluate latest": lambda folder: self._evaluate(folder, "latest"),
            "predict": self._predict,
            "restart": self._restart,  # the last one: it may rename what is damaged
        }

    def _opened(self, folder: Path, which: str) -> tuple[Config, Any]:
        config, state = reopen(folder, MeshShape(), which, self._code)
        return config, jax.device_get(state)

    def _evaluate(self, folder: Path, which: str) -> str:
        config, state = self._opened(folder, which)
        expected, saved = self._saved[self._chosen[which]]
        return "harmless" if config == expected and same(state, saved) else "SILENT"

    def _predict(self, folder: Path) -> str:
        run = load_run(folder, code=self._code)
        config, saved = self._saved[self._chosen["best"]]
        equal = run.config == config and same(run.variables, inference_variables(saved))
        return "harmless" if equal else "SILENT"

    def _restart(self, folder: Path) -> str:
        with Checkpoints(folder, keep=2, repair=True, code=self._code) as checkpoints:
            config = checkpoints.stored_config()
            state, skipped = checkpoints.restore_newest(self._abstract)
        number = -1 if state is None else int(state.step)
        if number not in self._saved or not same(state, self._saved[number][1]):
            return "SILENT"
        if config != self._saved[number][0]:
            return "SILENT"
        if number == self._chosen["latest"]:
            return "harmless"
        return "fell back" if skipped else "SILENT"


class ByCommand:
    """A run that is sound, and what the commands give of it, each in a process of its own."""

    def __init__(
        self, workdir: Path, scratch: Path, config: Path, folder: Path, setting: Setting
    ) -> None:
        """Notes where things are.

        Args:
            workdir: The run's folder, which is only copied.
            scratch: Where copies lie; files of results name the run.
            config: Its config file.
            folder: Where the cache of programs and what processes say are kept.
            setting: Of the training; the other commands are given one device.
        """
        self._workdir, self._scratch = workdir, scratch
        self._config, self._folder, self._setting = config, folder, setting
        self._code = (load_code(str(config)),)
        steps = [int(path.name) for path in (workdir / "checkpoints").glob("[0-9]*")]
        self._longer = ("--config.num-steps", str(max(steps) + 2))
        self._expected: dict[str, Any] = {}

    def ways(self, number: int) -> Ways:
        """One of them, in turns: a process takes seconds.

        Args:
            number: Of the damage.

        Raises:
            RuntimeError: The command does not end well on the sound run.
        """
        names = [*self._commands(self._scratch), "restart"]
        name = names[number % len(names)]
        if name not in self._expected:
            shutil.rmtree(self._scratch, ignore_errors=True)
            shutil.copytree(self._workdir, self._scratch)
            self._expected[name] = self._of_sound(name)
        return {name: self._restart if name == "restart" else lambda run: self._open(run, name)}

    def _of_sound(self, name: str) -> Any:
        if name == "restart":
            trained(self._config, self._scratch, self._folder, self._setting, *self._longer)
            return self._state(self._scratch)
        command, result = self._commands(self._scratch)[name]
        (ended,) = finished(command, self._folder, ALONE)
        if ended.code:
            raise RuntimeError(ended.said)
        return result()

    def _commands(self, run: Path) -> dict[str, tuple[list[str], Callable[[], Any]]]:
        """Name -> its command, and what it gives."""
        code = ["--code", str(self._config)]
        scene = self._config.parent / "images" / "0.png"
        map_file, exported = run / "map.tif", run / "exported"
        evaluate = ["-m", "jaxseg", "evaluate", str(run), "--no-baseline", *code, "--step"]
        export = ["-m", "jaxseg", "export", str(run)]

        def scores() -> Any:
            (file,) = run.glob("evaluation/**/scores.json")
            return json.loads(file.read_text(encoding="utf-8"))

        return {
            "evaluate best": ([*evaluate, "best"], scores),
            "evaluate latest": ([*evaluate, "latest"], scores),
            "predict": (
                ["-m", "jaxseg", "predict", str(run), str(scene), str(map_file), *code],
                map_file.read_bytes,
            ),
            "export": (
                [*export, str(exported), "--format", "stablehlo", "--size", "32", *code],
                lambda: {file.name: file.read_bytes() for file in exported.iterdir()},
            ),
        }

    def _open(self, run: Path, name: str) -> str:
        command, result = self._commands(run)[name]
        return judged(
            _patiently(command, self._folder, ALONE), lambda: result() == self._expected[name]
        )

    def _restart(self, run: Path) -> str:
        command = training(self._config, run, self._setting, *self._longer)
        ended = _patiently(command, self._folder, self._setting)
        return judged(ended, lambda: same(self._state(run), self._expected["restart"]))

    def _state(self, run: Path) -> Any:
        return jax.device_get(reopen(run, MeshShape(), "latest", self._code))


def _patiently(command: Sequence[str], folder: Path, setting: Setting) -> list[Ended]:
    """What processes end with; one that hangs has the code -1."""
    try:
        return finished(command, folder, setting, patience=300)
    except subprocess.TimeoutExpired as error:
        return [Ended(-1, str(error))]


def judged(processes: list[Ended], equal: Callable[[], bool]) -> str:
    """The outcome of a command.

    Args:
        processes: What its processes ended with.
        equal: Whether what it gave is what the sound run gives; asked if it ended well.
    """
    said = "\n".join(ended.said for ended in processes)
    codes = {ended.code for ended in processes}
    if "Traceback" in said:
        outcome = "TRACEBACK"
    elif codes == {2}:
        messages = sum(line.startswith("Error:") for line in said.splitlines())
        outcome = "refused" if messages == len(processes) else "ODD END"
    elif codes != {0}:
        outcome = "ODD END"
    elif not equal():
        outcome = "SILENT"
    else:
        outcome = "fell back" if "Skipped:" in said else "harmless"
    if outcome in BAD:
        sys.stderr.write(said)
    return outcome


def same(found: Any, saved: Any) -> bool:
    """Whether two trees are equal: arrays bit for bit, the rest by value."""
    ours, theirs = (jax.tree.leaves_with_path(jax.device_get(tree)) for tree in (found, saved))
    return [path for path, _ in ours] == [path for path, _ in theirs] and all(
        _equal(one, other) for (_, one), (_, other) in zip(ours, theirs, strict=True)
    )


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray | np.generic):
        return np.asarray(one).tobytes() == np.asarray(other).tobytes()
    return bool(one == other)


def _outcome(way: Callable[[Path], str], folder: Path) -> str:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return way(folder)
    except UserError:
        return "refused"
    except Exception:
        traceback.print_exc()
        return "TRACEBACK"


def damaged(
    workdir: Path, scratch: Path, numbers: Sequence[int], seed: int, ways: Callable[[int], Ways]
) -> Iterator[Counts]:
    """Damages copies of a run, and opens them.

    Args:
        workdir: The run's folder.
        scratch: Where the copies lie, one after the other.
        numbers: Which damages; each is drawn by its number and the seed alone.
        seed: Decides which.
        ways: Number of a damage -> how the run is opened.

    Yields:
        The counts so far, after each damage.
    """
    counts: Counts = {}
    for number in numbers:
        draw = random.Random(f"{seed}/{number}")  # noqa: S311  (no secret)
        opened = ways(number)
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(workdir, scratch)
        done = damage(scratch, draw)
        for name, way in opened.items():
            outcome = _outcome(way, scratch)
            counts.setdefault(name, Counter())[outcome] += 1
            if outcome in BAD:
                print(f"{outcome}: damage {number} of seed {seed}, {done}, {name}", flush=True)
        yield counts


def attack(workdir: Path, scratch: Path, count: int, seed: int, code: Code = ()) -> Counts:
    """Damages copies of a run, and opens them in Python in four ways; see `damaged`."""
    ways = InPython(workdir, code).ways()
    counts: Counts = {}
    for counts in damaged(workdir, scratch, range(count), seed, lambda _: ways):  # noqa: B007
        pass
    return counts


def table(counts: Counts) -> str:
    """A row for each way of opening, a column for each outcome."""
    outcomes = ("harmless", "fell back", "refused", *BAD)
    width = max([8, *map(len, counts)])
    lines = [" " * width + "".join(f"  {name:>9}" for name in outcomes)]
    lines += [
        f"{way:<{width}}" + "".join(f"  {found[name]:>9}" for name in outcomes)
        for way, found in counts.items()
    ]
    return "\n".join(lines)
