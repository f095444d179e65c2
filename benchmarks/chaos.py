"""Damages checkpoints at random, and counts what a restart, evaluation and prediction make of it.

    python benchmarks/chaos.py [--count 300] [--seed 0]
    python benchmarks/chaos.py --cost 100    # what digests and checks of 100 million numbers cost

A tiny U-Net is trained on drawn scenes, with three checkpoints of different numbers. Each time one
file of one checkpoint is damaged: a bit flipped, zeros written, cut, emptied, deleted, swapped with
another file, replaced by a folder, or a digit of a text changed. Then the run is opened in the
three ways, by the functions that the commands use, and what they give is compared bit for bit with
what was saved:

    harmless     the same numbers of the same checkpoint
    fell back    the same numbers as an older checkpoint, and the damaged one was named
    refused      one message for the user
    SILENT       other numbers, or another checkpoint without a word
    TRACEBACK    an error that a command would show as such

The exit status is 1 if there was one of the last two.
"""

import argparse
import contextlib
import io
import random
import shutil
import statistics
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.config_text import Code
from jaxseg.datasets import Folder
from jaxseg.errors import UserError
from jaxseg.losses import CrossEntropy
from jaxseg.models import UNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.run import digests, soundness
from jaxseg.run.checkpoint import Checkpoints, reopen
from jaxseg.run.loaded import load_run
from jaxseg.run.step import abstract_state, inference_variables
from jaxseg.run.training import train
from jaxseg.sharding import MeshShape

BAD = ("SILENT", "TRACEBACK")

Counts = dict[str, Counter[str]]
"""Way of opening -> outcome -> number."""


def tiny_run(folder: Path) -> Path:
    """Trains for six steps; returns the run's folder."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    draw = np.random.default_rng(0)
    for scene in range(8):
        mask = np.kron(draw.integers(0, 2, (4, 4)), np.ones((8, 8))).astype(np.uint8)
        image = (mask[..., None] * 90 + draw.integers(0, 90, (32, 32, 3))).astype(np.uint8)
        Image.fromarray(image).save(folder / "images" / f"{scene}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{scene}.png")
    source = Folder(
        images=str(folder / "images"),
        masks=str(folder / "masks"),
        classes=("ground", "block"),
        fractions=(0.5, 0.25, 0.25),
    )
    config = Config(
        model=UNet(num_classes=2, features=2),
        data=Data(source=source, crop=32, batch_size=8),
        loss={"ce": CrossEntropy()},
        optimizer=Optimizer(schedule="constant", ema=0.9),
        num_steps=6,
        log_every=2,
        eval_every=2,
        save_every=2,
        keep=2,
    )
    train(config, folder / "run")
    return folder / "run"


# -- damages ---------------------------------------------------------------------------------------


def damage(workdir: Path, draw: random.Random) -> str:
    """Damages one file of a checkpoint; returns what was done to it."""
    steps = sorted((workdir / "checkpoints").glob("[0-9]*"), key=lambda path: int(path.name))
    folder = draw.choice([*steps, steps[-1], steps[-1]])
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    kind = draw.choice(["flip", "flip", "flip", "zero", "cut", "empty", "delete", "swap", "folder"])
    if draw.random() < 0.2:
        kind = "digit"
        files = [file for file in files if any(map(str.isdigit, _text(file)))]
    # Half of the damages by size, as a failing disk has it, half of them by files.
    sizes = [file.stat().st_size + 1 for file in files]
    file = draw.choice(files) if draw.random() < 0.5 else draw.choices(files, sizes)[0]
    content = bytearray(file.read_bytes())
    at = draw.randrange(max(1, len(content)))
    if kind == "flip" and content:
        content[at] ^= 1 << draw.randrange(8)
    elif kind == "zero":
        end = min(len(content), at + 4096)
        content[at:end] = bytes(end - at)
    elif kind == "cut":
        del content[at:]
    elif kind == "empty":
        content.clear()
    elif kind == "digit":
        place = draw.choice([n for n, letter in enumerate(_text(file)) if letter.isdigit()])
        content[place] = ord(draw.choice([d for d in "0123456789" if ord(d) != content[place]]))
    if kind == "swap":
        twin = draw.choice(steps) / file.relative_to(folder)
        other = twin if twin.is_file() and twin != file else draw.choice(files)
        content[:] = other.read_bytes()
        other.write_bytes(file.read_bytes())
    file.unlink()
    if kind == "folder":
        file.mkdir()
    elif kind != "delete":
        file.write_bytes(content)
    return f"{kind} {file.relative_to(workdir)} at {at}"


def _text(file: Path) -> str:
    """The content of a file that is ASCII text, else nothing."""
    try:
        return file.read_bytes().decode("ascii")
    except UnicodeDecodeError:
        return ""


# -- ways of opening -------------------------------------------------------------------------------


class Attack:
    """A run that is sound, and what opening it gives."""

    def __init__(self, workdir: Path, code: Code = ()) -> None:
        """Opens every checkpoint of the run.

        Args:
            workdir: The run's folder, which is only copied.
            code: Where classes from outside jaxseg may be taken from.
        """
        self._workdir, self._code = workdir, code
        with Checkpoints(workdir, code=code) as checkpoints:
            self._chosen = {which: checkpoints.choose(which) for which in ("best", "latest")}
        names = [path.name for path in (workdir / "checkpoints").glob("[0-9]*")]
        self._saved = {int(name): self._opened(workdir, name) for name in names}
        config = self._saved[self._chosen["latest"]][0]
        bands = len(config.sensor.bands or config.data.source.sensor.bands)
        self._abstract = abstract_state(config, bands, sharding.make_mesh(MeshShape()))

    def round(self, scratch: Path, draw: random.Random) -> tuple[str, dict[str, str]]:
        """Damages a copy of the run and opens it in each way: what was done, and the outcomes."""
        ways: dict[str, Callable[[Path], str]] = {
            "evaluate best": lambda folder: self._evaluate(folder, "best"),
            "evaluate latest": lambda folder: self._evaluate(folder, "latest"),
            "predict": self._predict,
            "restart": self._restart,  # the last one: it may rename what is damaged
        }
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(self._workdir, scratch)
        done = damage(scratch, draw)
        return done, {name: _outcome(way, scratch) for name, way in ways.items()}

    def _opened(self, folder: Path, which: str) -> tuple[Config, Any]:
        config, state = reopen(folder, MeshShape(), which, self._code)
        return config, jax.device_get(state)

    def _evaluate(self, folder: Path, which: str) -> str:
        config, state = self._opened(folder, which)
        expected, saved = self._saved[self._chosen[which]]
        return "harmless" if config == expected and _same(state, saved) else "SILENT"

    def _predict(self, folder: Path) -> str:
        run = load_run(folder, code=self._code)
        config, saved = self._saved[self._chosen["best"]]
        same = run.config == config and _same(run.variables, inference_variables(saved))
        return "harmless" if same else "SILENT"

    def _restart(self, folder: Path) -> str:
        with Checkpoints(folder, keep=2, repair=True, code=self._code) as checkpoints:
            config = checkpoints.stored_config()
            state, skipped = checkpoints.restore_newest(self._abstract)
        number = -1 if state is None else int(state.step)
        if number not in self._saved or not _same(state, self._saved[number][1]):
            return "SILENT"
        if config != self._saved[number][0]:
            return "SILENT"
        if number == self._chosen["latest"]:
            return "harmless"
        return "fell back" if skipped else "SILENT"


def _same(found: Any, saved: Any) -> bool:
    """Whether two trees are equal bit for bit."""
    ours, theirs = (jax.tree.leaves_with_path(jax.device_get(tree)) for tree in (found, saved))
    return [path for path, _ in ours] == [path for path, _ in theirs] and all(
        np.asarray(one).tobytes() == np.asarray(other).tobytes()
        for (_, one), (_, other) in zip(ours, theirs, strict=True)
    )


def _outcome(way: Callable[[Path], str], folder: Path) -> str:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return way(folder)
    except UserError:
        return "refused"
    except Exception:
        traceback.print_exc()
        return "TRACEBACK"


def attack(workdir: Path, scratch: Path, count: int, seed: int, code: Code = ()) -> Counts:
    """Damages copies of a run, and opens them.

    Args:
        workdir: The run's folder.
        scratch: Where the copies lie, one after the other.
        count: Number of damages.
        seed: Decides which.
        code: Where classes from outside jaxseg may be taken from.
    """
    attacked, draw = Attack(workdir, code), random.Random(seed)  # noqa: S311  (no secret)
    counts: Counts = {}
    for number in range(count):
        done, outcomes = attacked.round(scratch, draw)
        for way, outcome in outcomes.items():
            counts.setdefault(way, Counter())[outcome] += 1
            if outcome in BAD:
                print(f"{outcome}: damage {number}, {done}, {way}", flush=True)
        if (number + 1) % 50 == 0:
            print(f"{number + 1} damages\n{shown(counts)}", flush=True)
    return counts


def shown(counts: Counts) -> str:
    """A line for each way of opening."""
    return "\n".join(
        f"{way:16} " + ", ".join(f"{name} {n}" for name, n in sorted(outcomes.items()))
        for way, outcomes in counts.items()
    )


def cost(millions: int) -> None:
    """Prints the time that the digests and the check of this many float32 numbers take."""
    side = 1_000_000
    state = {str(n): jax.random.normal(jax.random.key(n), (side,)) for n in range(millions)}
    look = jax.jit(soundness.largest)
    for name, measured in (
        ("digests", lambda: digests.digests_of(state, 0, {}, None)),
        ("largest number", lambda: jax.device_get(look(state))),
    ):
        measured()  # compiles
        rounds = []
        for _ in range(5):
            cpu, wall = time.process_time(), time.perf_counter()
            measured()
            rounds.append((time.perf_counter() - wall, time.process_time() - cpu))
        wall, cpu = map(statistics.median, zip(*rounds, strict=True))
        print(f"{name}: {wall:.3f} s, {cpu:.3f} CPU s for {millions} million numbers")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=300, help="number of damages")
    parser.add_argument("--seed", type=int, default=0, help="decides which")
    parser.add_argument("--cost", type=int, help="millions of numbers to measure the cost for")
    flags = parser.parse_args()
    if flags.cost:
        cost(flags.cost)
        return
    with tempfile.TemporaryDirectory() as folder:
        run = tiny_run(Path(folder) / "sound")
        counts = attack(run, Path(folder) / "damaged", flags.count, flags.seed)
    print(shown(counts))
    if any(outcomes[bad] for outcomes in counts.values() for bad in BAD):
        sys.exit(1)


if __name__ == "__main__":
    main()
