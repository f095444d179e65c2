"""The tables of the probe, of the runs that are finished."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

from context_parts import sight
from context_parts.networks import NETWORKS, TITLES
from context_parts.scenes import ceiling, size_for
from experiment import Numbers, paired, spread

from jaxseg.models.structure import layers

Found = dict[tuple[str, str], dict[int, Numbers]]
"""(network, task) -> seed -> what was measured."""

CHANCE = 0.5

COMPARED = (
    ("unet2", "unet2_no_skips"),
    ("unet3", "unet3_no_skips"),
    ("unet4", "unet4_no_skips"),
    ("unet5", "unet5_no_skips"),
    ("unet5_gates", "unet5"),
    ("unet5_scse", "unet5"),
    ("psp_1", "stride8"),
    ("psp_all", "stride8"),
    ("psp_all", "psp_1"),
    ("deeplab_3", "deeplab_1"),
    ("deeplab_1_pooled", "deeplab_1"),
    ("deeplab_3_pooled", "deeplab_3"),
)
"""Pairs of networks that differ in one thing: the one that has it, the one without."""


def collected(workdir: Path) -> Found:
    """All finished runs of a folder."""
    found: Found = {}
    for file in sorted(workdir.glob("*-*-*/result.json")):
        name, task, seed = file.parent.name.split("-")
        numbers = json.loads(file.read_text())["numbers"]
        found.setdefault((name, task), {})[int(seed)] = numbers
    return found


def values(found: Found, name: str, task: str, number: str = "accuracy") -> list[float]:
    """A number of all seeds of a network and task, in the order of the seeds."""
    runs = found.get((name, task), {})
    return [runs[seed][number] for seed in sorted(runs)]


def order(task: str) -> tuple[str, int]:
    """Tasks by their rule, then by their distance."""
    rule, _, distance = task.partition("_")
    return rule, int(distance or 0)


def written(found: Found, names: Sequence[str]) -> str:
    """All tables of some networks, in Markdown."""
    found = {key: runs for key, runs in found.items() if key[0] in names}
    tasks = {task for _, task in found}
    parts = [_sights(found, names)]
    names = [name for name in names if any(name == known for known, _ in found)]
    for rule in ("cue", "pair"):
        own = sorted((task for task in tasks if task.startswith(rule)), key=order)
        if own:
            parts.append(_accuracies(found, names, own))
    if "scene" in tasks:
        parts.append(_scenes(found, names))
    parts += [_compared(found, tasks)] if len(names) > 1 else []
    spent = sum(numbers["cpu_s"] for runs in found.values() for numbers in runs.values())
    parts.append(f"{sum(map(len, found.values()))} runs, {spent / 60:.0f} CPU minutes.")
    return "\n\n".join(filter(None, parts))


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown, the first column to the left, the others to the right."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _mean(numbers: Sequence[float]) -> str:
    """Of those that exist; "none" where no seed has one: nothing changes the decision."""
    known = [number for number in numbers if not math.isnan(number)]
    if numbers and not known:
        return "none"
    return f"{sum(known) / len(known):.0f}" if known else ""


def _sights(found: Found, names: Sequence[str]) -> str:
    """Parameters and receptive fields; effective ones where they were measured."""
    tasks = sorted({task for _, task in found if not task.startswith("pair")}, key=order)
    rows = []
    for name in names:
        model = NETWORKS[name]
        seen = sight.theoretical(model)
        known = [
            run for (owner, _), runs in found.items() if owner == name for run in runs.values()
        ]
        rows.append(
            [
                TITLES[name],
                f"{sum(row[-1] for row in layers(model, bands=1, size=64)):,}",
                "all" if seen is None else f"{seen.rows / 2:.0f}",
                "all" if seen is None else f"{sight.farthest(model, seen)}",
                _mean([run["effective_before"] for run in known]),
                *(_mean(values(found, name, task, "effective_after")) for task in tasks),
            ]
        )
    heads = ["network", "parameters", "half side", "farthest", "effective, untrained"]
    return _table([*heads, *(f"after {task.replace('_', ' ')}" for task in tasks)], rows)


def _accuracies(found: Found, names: Sequence[str], tasks: Sequence[str]) -> str:
    """Accuracy by distance: mean, standard deviation, and the number of seeds in brackets."""
    rows = []
    for name in names:
        row = [TITLES[name]]
        for task in tasks:
            numbers = values(found, name, task)
            if numbers:
                row.append(f"{spread(numbers)} ({len(numbers)})")
            else:
                reached = sight.can_see(NETWORKS[name], int(task.split("_")[1]))
                row.append("not measured" if reached else "0.5, out of reach")
        rows.append(row)
    rule = tasks[0].split("_")[0]
    return _table([rule, *(f"r = {task.split('_')[1]}" for task in tasks)], rows)


def _scenes(found: Found, names: Sequence[str]) -> str:
    """Accuracy where the whole scene decides, and the best that a receptive field allows."""
    rows = []
    for name in names:
        numbers = values(found, name, "scene")
        if numbers:
            reached = f"{scene_ceiling(name):.3f}"
            rows.append([TITLES[name], f"{spread(numbers)} ({len(numbers)})", reached])
    return _table(["scene", "accuracy", "best of such a window"], rows)


def scene_ceiling(name: str) -> float:
    """Best accuracy with `scene` of a classifier of the network's receptive field."""
    seen, size = sight.theoretical(NETWORKS[name]), size_for(1)
    return ceiling(size, size if seen is None else sight.farthest(NETWORKS[name], seen))


def _compared(found: Found, tasks: set[str]) -> str:
    """Paired differences of networks that differ in one thing, where both were trained."""
    rows = []
    for first, second in COMPARED:
        for task in sorted(tasks, key=order):
            runs = found.get((first, task), {}), found.get((second, task), {})
            seeds = sorted(set(runs[0]) & set(runs[1]))
            if seeds:
                gain = paired(*([run[seed]["accuracy"] for seed in seeds] for run in runs))
                verdict = "" if len(seeds) < 2 else "known" if gain.known else "not known"
                title = f"{TITLES[first]} − {TITLES[second]}"  # noqa: RUF001  (a minus sign)
                rows.append([title, task.replace("_", " "), str(gain), verdict])
    return _table(["difference in accuracy", "task", "mean, 95 %", ""], rows) if rows else ""
