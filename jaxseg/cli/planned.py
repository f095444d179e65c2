"""The command `jaxseg plan`: what a training step would cost, on the screen, in 80 columns."""

import time
from collections.abc import Callable

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxseg.config import Config
from jaxseg.planning.plan import Dear, Plan, plan
from jaxseg.planning.roofline import Times
from jaxseg.planning.search import Found
from jaxseg.planning.topology import GIB
from jaxseg.system.console import say

WIDTH = 80

OFTEN = 10.0
"""Seconds between two lines of progress where there is no terminal."""


def attempt(
    machine: str, bands: int, code: tuple[str, ...], console: Console
) -> Callable[[Config], Plan]:
    """Plans configs for a machine, and shows that the compiler works."""

    def planned(config: Config) -> Plan:
        shape, data = config.mesh, config.data
        along = "all" if shape.data == -1 else str(shape.data)
        mesh = f"data {along}, fsdp {shape.fsdp}, space {shape.space}"
        title = f"Optimising for {machine}: {mesh}; batch {data.batch_size}"
        if not console.is_terminal:
            say(console, f"{title} ...")
            return plan(config, machine, bands=bands, code=code, waiting=_in_lines(console))
        with console.status(f"{title} ...") as status:
            return plan(
                config,
                machine,
                bands=bands,
                code=code,
                waiting=lambda passed: status.update(f"{title} ... {passed:.0f} s"),
            )

    return planned


def _in_lines(console: Console) -> Callable[[float], None]:
    told = time.monotonic()

    def waiting(passed: float) -> None:
        nonlocal told
        if time.monotonic() - told > OFTEN:
            told = time.monotonic()
            say(console, f"  {passed:.0f} s")

    return waiting


def show(found: Plan, console: Console) -> None:
    """One plan: memory, work, times, collectives, and the dearest operations."""
    machine, times = found.topology, found.times
    said = {
        "network": f"{found.parameters:,} parameters",
        "batch": f"{found.batch} windows of {found.crop} x {found.crop} pixels, "
        f"{found.batch / machine.devices:g} a chip",
        "data": found.data,
        "mesh": ", ".join(f"{axis} {size}" for axis, size in found.mesh.items()),
        "memory": _memory(found),
        "work": f"{_si(found.flops)}FLOP, {_si(found.bytes)}B through HBM, "
        f"{found.padding:.0%} of it padding",
        "links": _links(found),
        "time": f"{_ms(times.compute)} computing, {_ms(times.memory)} HBM, {_ms(times.links)} "
        f"links: bound by {times.bound}",
        "step": _step(times),
        "images/s": f"{_range(found)}",
    }
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in said.items():
        table.add_row(name, Text(text))
    console.print(table, width=min(WIDTH, console.width))
    _dearest(found.dearest, console)
    say(
        console,
        "Predictions, not measurements: FLOPs and bytes of each chip are read from the\n"
        f"optimised program ({found.seconds:.0f} s), times are these divided by the peaks of "
        f"{machine.chip.name}.\nExpect a real step to take up to 2.5 times as long.",
    )
    if machine.chip.platform == "cuda":
        say(
            console,
            "Without a GPU nothing is tuned, and cuDNN's workspaces are not known: the memory\n"
            "is a lower bound. Three quarters of it count as free, as JAX takes them.",
        )


def show_search(found: Found, console: Console) -> None:
    """The plans of a search: all meshes, then the largest batch of the best one."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("data, fsdp, space", no_wrap=True)
    for heading in ("batch", "GiB", "fits", "step, ms", "links, ms", "images/s", "bound"):
        table.add_column(heading, justify="right")
    rows = list(found.meshes)
    if found.largest is not None and found.largest not in rows:
        rows.append(found.largest)
    for each in rows:
        table.add_row(
            ", ".join(map(str, each.mesh.values())),
            f"{each.batch:,}",
            f"{each.memory / GIB:.2f}",
            "yes" if each.fits else "no",
            f"{1e3 * each.times.hidden:.2f}",
            f"{1e3 * each.times.links:.2f}",
            f"{each.exposed_rate:,.0f}",
            each.times.bound,
            style="bold" if each in (found.best, found.largest) else "",
        )
    console.print(table, width=min(WIDTH, console.width))
    best, largest = found.best, found.largest
    flags = " ".join(f"--config.mesh.{axis} {size}" for axis, size in best.mesh.items())
    what = "Least memory" if largest is None else "Fastest mesh that fits"
    say(console, f"{what}, predicted, with nothing on the links hidden:\n  {flags}")
    if largest is None:
        say(console, "No batch fits it.")
        return
    more = f"; {found.too_large:,} does not fit" if found.too_large else ""
    say(console, f"Largest batch that fits it:\n  --config.data.batch-size {largest.batch}{more}\n")


def _memory(found: Plan) -> str:
    limit, needed = found.topology.chip.memory, found.memory
    parts = f"arguments {_gib(found.arguments)}, temporaries {_gib(found.temporaries)}"
    if found.fits:
        rest = f"{_gib(limit - needed)} are free"
        return f"fits: {_gib(needed)} of {_gib(limit)} a chip, {rest} ({parts})"
    more = f"{_gib(needed - limit)} too much" if needed > limit else "refused by the compiler"
    return f"does NOT fit: {_gib(needed)} of {_gib(limit)} a chip, {more} ({parts})"


def _links(found: Plan) -> str:
    counts = found.counts()
    if not counts:
        return "no collectives"
    return ", ".join(f"{number} {kind} ({_si(size)}B)" for kind, (number, size) in counts.items())


def _step(times: Times) -> str:
    text = f"at least {_ms(times.hidden)}, operation by operation"
    if times.links:
        text += f"; {_ms(times.exposed)} if nothing hides the links"
    return text


def _range(found: Plan) -> str:
    chips = found.topology.devices
    if not found.fits:
        return "none: it does not fit"
    each = f"at most {found.rate / chips:.4g} a chip, {found.rate:,.0f} in all"
    if found.times.links:
        each += f" ({found.exposed_rate:,.0f} if nothing hides the links)"
    return each


def _dearest(found: tuple[Dear, ...], console: Console) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("ms", "bound", "MB", "padding", "GFLOP"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("the dearest operations", overflow="fold")
    for each in found:
        what = f"{each.what}, backward" if each.backward else each.what
        table.add_row(
            f"{1e3 * each.seconds:.3f}",
            each.bound,
            f"{each.bytes / 1e6:,.1f}",
            f"{each.padding:.0%}",
            f"{each.flops / 1e9:,.1f}" if each.flops else "",
            Text(f"{each.line or 'line not known'}\n{each.module or '-'}: {what}"),
        )
    console.print(table, width=min(WIDTH, console.width))


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"


def _gib(size: float) -> str:
    return f"{size / GIB:.2f} GiB"


def _si(amount: float) -> str:
    """A number with a factor of 1000: `37.6 G`."""
    for factor, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if amount >= factor:
            return f"{amount / factor:.3g} {letter}"
    return f"{amount:.3g} "
