"""Attacks tiny runs: damages their checkpoints, ends them at random moments.

    python benchmarks/chaos.py [damages] [--count 300] [--seed 0]    opened in Python, four ways
    python benchmarks/chaos.py commands --count 80 [--processes 2]   by a command each, in turns
    python benchmarks/chaos.py stops --runs 12 --kills 5 --soft 3    kills, SIGTERM and Ctrl-C
    python benchmarks/chaos.py --cost 100    # what digests and checks of 100 million numbers cost

**Damages**: each time one file of one checkpoint is damaged: a bit flipped, zeros written, cut,
emptied, deleted, swapped with another file, replaced by a folder, or a digit of a text changed.
`commands` opens it by `jaxseg evaluate`, `predict`, `export` and by `train.py`, which goes on for
two steps. `--processes 2` attacks a checkpoint that two processes have written, each a part.

**Stops**: trainings on one device, on eight pretended ones and as two processes, in turns. Each
run is killed and asked to stop at random moments and started again until it is done; then it is
compared with an undisturbed one, and all that was said with what was saved.

Damages and plans are drawn from seed and number alone, so that `--first` goes on where an attack
ended. With `--folder`, the sound run of damages is kept, and the same damage is the same bytes. The
exit status is 1 if there was a fault.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import jax
from chaos_parts import stops
from chaos_parts.opened import BAD, ByCommand, Counts, InPython, attack, damaged, table
from chaos_parts.tiny import Setting, drawn, trained

from jaxseg.config import load_code
from jaxseg.run import digests, soundness

__all__ = ["BAD", "Counts", "attack", "cost", "main"]

SETTINGS = (Setting(1, 1), Setting(8, 1), Setting(1, 2))


def prepared(folder: Path, setting: Setting) -> tuple[Path, Path]:
    """The config file and a sound run of six steps; trained unless the folder has them."""
    config, run = (folder / "data" / "tiny.py").absolute(), folder / "sound"
    if not config.exists():
        drawn(folder / "data")
    if not run.exists():
        trained(config, run, folder, setting)
    return config, run


def damage(folder: Path, mode: str, setting: Setting, numbers: range, seed: int) -> bool:
    """Damages a run and opens it; returns whether there was a fault."""
    config, run = prepared(folder, setting)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        copy = Path(scratch) / "run"
        if mode == "commands":
            commands = ByCommand(run, copy, config, folder, setting)
            results = damaged(run, copy, numbers, seed, commands.ways)
        else:
            ways = InPython(run, (load_code(str(config)),)).ways()
            results = damaged(run, copy, numbers, seed, lambda _: ways)
        counts: Counts = {}
        for done, counts in enumerate(results, 1):
            if done % (5 if mode == "commands" else 50) == 0 or done == len(numbers):
                print(f"{setting}, seed {seed}, {done} damages\n{table(counts)}", flush=True)
    return any(outcomes[bad] for outcomes in counts.values() for bad in BAD)


def stop(folder: Path, numbers: range, kills: int, soft: int, seed: int) -> bool:
    """Ends runs of all settings; returns whether there was a fault."""
    faults = False
    with tempfile.TemporaryDirectory(dir=folder) as place:
        config = drawn(Path(place) / "data")
        for number, setting in enumerate(SETTINGS):
            own = [run for run in numbers if run % len(SETTINGS) == number]
            if not own:
                continue
            found = stops.attack(config, Path(place, str(number)), setting, own, kills, soft, seed)
            print(f"{setting}, seed {seed}")
            for name, count in sorted(found.counts.items()):
                print(f"  {name:<44} {count:>4}", flush=True)
            faults = faults or bool(found.faults)
    return faults


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
    parser.add_argument(
        "mode", nargs="?", default="damages", choices=("damages", "commands", "stops")
    )
    parser.add_argument("--count", type=int, default=300, help="number of damages")
    parser.add_argument("--seed", type=int, default=0, help="decides which")
    parser.add_argument("--first", type=int, default=0, help="number of the first damage or run")
    parser.add_argument(
        "--processes", type=int, default=1, choices=(1, 2), help="that have written the checkpoint"
    )
    parser.add_argument("--runs", type=int, default=12, help="runs that are stopped")
    parser.add_argument("--kills", type=int, default=5, help="SIGKILLs in each run")
    parser.add_argument("--soft", type=int, default=3, help="SIGTERMs and Ctrl-Cs in each run")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary one")
    parser.add_argument("--cost", type=int, help="millions of numbers to measure the cost for")
    flags = parser.parse_args()
    if flags.cost:
        cost(flags.cost)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = flags.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if flags.mode == "stops":
            numbers = range(flags.first, flags.first + flags.runs)
            faults = stop(folder, numbers, flags.kills, flags.soft, flags.seed)
        else:
            numbers = range(flags.first, flags.first + flags.count)
            setting = Setting(1, flags.processes)
            faults = damage(folder, flags.mode, setting, numbers, flags.seed)
    if faults:
        sys.exit(1)


if __name__ == "__main__":
    main()
