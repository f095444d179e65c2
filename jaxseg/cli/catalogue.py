"""The catalogue of networks: size, work, stride, receptive field, paper, a config that uses it.

Everything is derived from the networks themselves: a new file in `models` appears here without
being registered anywhere.
"""

import dataclasses
import functools
import importlib
import inspect
import math
import pkgutil
import re
from concurrent.futures import ThreadPoolExecutor

import flax.linen as nn
import jax
import jax.numpy as jnp
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from jaxseg import config as configs
from jaxseg import models, shipped_configs
from jaxseg.datasets.landscape.source import Landscape
from jaxseg.errors import UserError
from jaxseg.models.receptive_field import receptive_field
from jaxseg.models.structure import layers, stride_of, traced
from jaxseg.system.console import track


@dataclasses.dataclass(frozen=True)
class Card:
    """One line of the catalogue.

    Attributes:
        name: Name of the class.
        parameters: Number of trainable parameters.
        flop: Floating-point operations for one image, a multiply-add counted as two, as XLA counts
            them before optimisation, so taps that fall on padding are left out.
        stride: Ratio of the image's size to that of the coarsest features, without poolings to a
            few cells, as in pyramids.
        sight: Theoretical receptive field: rows of the image that the logits of one pixel depend
            on; None = all, or more than can be determined (1500).
        paper: First author, year, arXiv number.
        config: Name of a shipped config.
    """

    name: str
    parameters: int
    flop: float
    stride: int
    sight: int | None
    paper: str
    config: str


def networks() -> dict[str, type[nn.Module]]:
    """Every network of the library by its name: the modules with a field `num_classes`."""
    found: dict[str, type[nn.Module]] = {}
    for info in pkgutil.iter_modules(models.__path__, f"{models.__name__}."):
        room = importlib.import_module(info.name)
        for name, kind in vars(room).items():
            if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
                continue
            fields = {field.name for field in dataclasses.fields(kind)}
            if kind.__module__ == info.name and "num_classes" in fields:
                found[name] = kind
    return dict(sorted(found.items()))


def network(name: str) -> type[nn.Module]:
    """The network of that name, regardless of case and punctuation.

    Raises:
        UserError: There is no such network; the message lists all.
    """
    wanted = re.sub(r"[^a-z0-9+]", "", name.lower())
    for known, kind in networks().items():
        if wanted in (known.lower(), known.lower().replace("plusplus", "++")):
            return kind
    raise UserError(f"No network {name}; there are {', '.join(networks())}.")


def card(kind: type[nn.Module], *, bands: int, classes: int, size: int) -> Card:
    """The catalogue's line for one network with its default arguments."""
    model = kind(num_classes=classes)
    variables, rows = traced(model, bands, 512)
    stride = stride_of(rows)
    image = jax.ShapeDtypeStruct((1, size, size, bands), jnp.float32)
    work = jax.jit(functools.partial(model.apply, train=False)).lower(variables, image)
    return Card(
        name=kind.__name__,
        parameters=sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"])),
        flop=float((work.cost_analysis() or {}).get("flops", math.nan)),
        stride=stride,
        sight=receptive_field(model, stride),
        paper=_paper(kind),
        config=_configs().get(kind, "-"),
    )


def print_catalogue(
    console: Console, *, bands: int = 3, classes: int = 21, size: int = 512
) -> None:
    """One line per network."""
    kinds = list(networks().values())
    line = functools.partial(card, bands=bands, classes=classes, size=size)
    with ThreadPoolExecutor(2) as pool:  # one compiles, the other traces
        found = pool.map(line, kinds)
        cards = list(track(found, "networks", total=len(kinds), console=console))
    table = Table(box=SIMPLE_HEAD, header_style="bold", padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("network", no_wrap=True)
    for heading in ("param.", "GFLOP", "stride", "field"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("paper, arXiv", overflow="fold")
    table.add_column("config", no_wrap=True)
    for c in cards:
        sight = "global" if c.sight is None else str(c.sight)
        numbers = (f"{c.parameters / 1e6:.1f}M", f"{c.flop / 1e9:.1f}", str(c.stride), sight)
        table.add_row(c.name, *numbers, c.paper.replace("arXiv:", ""), c.config)
    console.print(table)
    console.print(
        f"{bands} bands, {classes} classes, default arguments. GFLOP: one image of "
        f"{size} x {size}, a multiply-add is two.\n"
        "Field: theoretical receptive field in pixels. `jaxseg models NAME` shows the layers."
    )


def print_layers(console: Console, name: str, *, bands: int, classes: int, size: int) -> None:
    """One line per module of a network."""
    kind = network(name)
    rows = layers(kind(num_classes=classes), bands=bands, size=size)
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("layer", overflow="fold")
    table.add_column("kind", no_wrap=True)
    table.add_column("output", justify="right", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    for path, module, shape, count in rows:
        depth = path.count("/")
        style = "bold" if not path else ""
        output = " x ".join(map(str, shape[1:]))
        label = "  " * (depth + 1) + path.rpartition("/")[2] if path else kind.__name__
        table.add_row(label, module, output, f"{count:,}" if count else "", style=style)
    console.print(f"{kind.__name__} on an image of {size} x {size} x {bands}, {classes} classes")
    if source := _source(kind):
        console.print(f"Source: {source}")
    console.print(table)
    console.print(f"{sum(count for *_, count in rows):,} parameters")


def _source(kind: type[nn.Module]) -> str:
    """The first citation after the first `Source:` of class or file; empty if there is none."""
    for text in (inspect.getdoc(kind), inspect.getdoc(inspect.getmodule(kind))):
        _, found, source = (text or "").partition("Source: ")
        if found:
            paragraph = " ".join(source.split("\n\n")[0].split())
            return re.split(r"; |\. |, as far as|, in the form|, for the", paragraph)[0]
    return ""


def _paper(kind: type[nn.Module]) -> str:
    """First author, year and, if there is one, arXiv number."""
    source = _source(kind)
    author = re.split(r",| et al| and ", source)[0] or "-"
    year = re.search(r"\b(19|20)\d\d\b(?!\.)", source)
    number = re.search(r"arXiv:\d{4}\.\d{4,5}", source)
    return " ".join([author, *(match.group() for match in (year, number) if match)])


@functools.cache
def _configs() -> dict[type, str]:
    """A shipped config for each network.

    Preferably one for the embedded dataset; of several, the one with the shortest name.
    """
    found: dict[type, tuple[bool, int, str]] = {}
    for path in shipped_configs().values():
        config = configs.load_config(str(path))
        elsewhere = not isinstance(config.data.source, Landscape)
        kind, entry = type(config.model), (elsewhere, len(path.stem), path.stem)
        found[kind] = min(entry, found.get(kind, entry))
    return {kind: stem for kind, (_, _, stem) in found.items()}
