"""What networks there are: size, work, stride, how far a pixel sees, paper, a config that uses it.

Everything is found or worked out from the networks themselves: a new file in `models` appears here
without being entered anywhere.
"""

import dataclasses
import functools
import importlib
import inspect
import math
import pkgutil
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from jaxseg import config as configs
from jaxseg import models
from jaxseg.console import track
from jaxseg.errors import UserError
from jaxseg.models.complex_layers import ComplexConv
from jaxseg.models.convolution import conv2d, conv_transpose2d
from jaxseg.models.depthwise import depthwise_conv2d
from jaxseg.models.layers import Conv, ConvTranspose, DepthwiseConv

Call = Callable[..., object]
Context = nn.module.InterceptorContext

SIGHT_ROWS, SIGHT_COLUMNS = 4096, 32
"""Size of the image in which it is looked how far a pixel sees."""


@dataclasses.dataclass(frozen=True)
class Card:
    """One line of the catalogue.

    Attributes:
        name: The class.
        parameters: Trainable numbers.
        flop: Floating-point operations of one image, a multiply-add counted as two; what XLA counts
            before optimisation, so taps that meet padding are left out.
        stride: Ratio of the image's size to that of the coarsest features; poolings to a few cells,
            as pyramids have, do not count.
        sight: Rows of the image that the logits of one pixel depend on, its theoretical receptive
            field; None = all of them, or more than can be told (4000).
        paper: First author, year, arXiv number.
        config: Stem of a shipped config.
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
    """The network of that name, in upper or lower case, with or without punctuation.

    Raises:
        UserError: There is none; lists those that exist.
    """
    wanted = re.sub(r"[^a-z0-9+]", "", name.lower())
    for known, kind in networks().items():
        if wanted in (known.lower(), known.lower().replace("plusplus", "++")):
            return kind
    raise UserError(f"No network {name}; there are {', '.join(networks())}.")


def card(kind: type[nn.Module], *, bands: int, classes: int, size: int) -> Card:
    """The line of one network, with its default arguments."""
    model = kind(num_classes=classes)
    image = jax.ShapeDtypeStruct((1, size, size, bands), jnp.float32)
    variables = _shapes(model, image)
    work = jax.jit(functools.partial(model.apply, train=False)).lower(variables, image)
    params = jax.tree.leaves(variables["params"])
    return Card(
        name=kind.__name__,
        parameters=sum(math.prod(leaf.shape) for leaf in params),
        flop=float((work.cost_analysis() or {}).get("flops", math.nan)),
        stride=output_stride(model, bands=bands, size=size),
        sight=receptive_field(model),
        paper=_paper(kind),
        config=_configs().get(kind, "-"),
    )


def output_stride(model: nn.Module, *, bands: int = 3, size: int = 512) -> int:
    """Ratio of the image's size to that of the coarsest features of more than 8 rows."""
    heights = [
        shape[1]
        for _, _, shape, _ in layers(model, bands=bands, size=size)
        if len(shape) == 4 and shape[1] > 8
    ]
    # Valid convolutions cost some rows: the ratio is rounded to a power of two.
    return int(2 ** round(math.log2(max(heights) / min(heights))))


def layers(
    model: nn.Module, *, bands: int, size: int
) -> list[tuple[str, str, tuple[int, ...], int]]:
    """Path, class, output's shape and parameters of every module, in the order of their work.

    A module stands before those within it, and its parameters are its own, without theirs. The
    shape is () where the output is more than one array.
    """
    image = jax.ShapeDtypeStruct((1, size, size, bands), jnp.float32)
    params = _shapes(model, image)["params"]
    rows: dict[str, tuple[str, str, tuple[int, ...], int]] = {}

    def note(
        call: Call, args: tuple[object, ...], kwargs: dict[str, object], context: Context
    ) -> object:
        module = context.module
        if context.method_name != "__call__":
            return call(*args, **kwargs)
        path = "/".join(module.path)
        own: Any = functools.reduce(lambda tree, key: tree.get(key, {}), module.path, params)
        count = sum(math.prod(p.shape) for p in own.values() if not isinstance(p, Mapping))
        rows[path] = (path, type(module).__name__, (), count)  # before those within it
        result = call(*args, **kwargs)
        shape = result.shape if isinstance(result, Array) else ()
        rows[path] = (*rows[path][:2], shape, count)
        return result

    with nn.intercept_methods(note):
        _shapes(model, image)
    return list(rows.values())


def receptive_field(model: nn.Module) -> int | None:
    """Rows of the image that the logits of one pixel depend on; None = all, or more than 4000.

    Every kernel is replaced by one of positive taps on one channel, normalisation is left out. Rows
    beyond a line are lit, and it is looked which logits change: before a dark image, where nothing
    can be lost in rounding, and before a bright one, because a gate multiplies and shows nothing in
    the dark. The largest reach ahead and behind over several places of the line counts, because
    pixels differ in it by their place within a stride.
    """
    bright = np.ones((1, SIGHT_ROWS, SIGHT_COLUMNS, 1), np.float32)
    with nn.intercept_methods(_positive):
        variables = jax.tree.map(
            jnp.abs, model.init(jax.random.key(0), jnp.asarray(bright[:, :64]), train=False)
        )

        @jax.jit
        def see(image: Array) -> Array:
            logits: Any = model.apply(variables, image, train=False)
            row: Array = logits.sum((0, 2, 3))
            return row

        ahead, behind = [0], [0]
        base = np.asarray(see(bright))
        for line in SIGHT_ROWS // 2 + np.array([0, 5, 10, 19]):
            for lit, reach in ((slice(line, None), ahead), (slice(None, line + 1), behind)):
                dark, light = np.zeros_like(bright), bright.copy()
                dark[:, lit], light[:, lit] = 1e6, 1e4
                change = (np.asarray(see(dark)) != np.asarray(see(0 * dark))) | (
                    np.abs(np.asarray(see(light)) / base - 1) > 1e-5
                )
                rows = np.flatnonzero(change)
                reach.append(int(line - rows[0] if reach is ahead else rows[-1] - line))
    whole = max(ahead) + max(behind) + 1
    return None if whole > 4000 else whole


def _positive(
    call: Call, args: tuple[object, ...], kwargs: dict[str, object], context: Context
) -> object:
    """Convolutions see one channel through positive taps; normalisation does nothing."""
    module = context.module
    if context.method_name != "__call__":
        return call(*args, **kwargs)
    if isinstance(module, nn.BatchNorm):
        return args[0]
    if isinstance(module, Conv | ComplexConv | ConvTranspose | DepthwiseConv):
        taps = jnp.full((module.kernel_size, module.kernel_size, 1, 1), 1 / module.kernel_size**2)
        x = jnp.asarray(args[0], jnp.float32)
        mean, features = x.mean(-1, keepdims=True), x.shape[-1]
        if isinstance(module, DepthwiseConv):
            y = depthwise_conv2d(mean, taps, dilation=module.dilation)
        elif isinstance(module, ComplexConv):
            features = 2 * module.features
            y = conv2d(mean, taps, padding=module.kernel_size // 2)
        elif isinstance(module, Conv):
            features = module.features
            half = module.dilation * (module.kernel_size - 1) // 2
            y = conv2d(
                mean,
                taps,
                stride=module.stride,
                dilation=module.dilation,
                padding=half if module.padding is None else module.padding,
            )
        else:
            features = module.features
            y = conv_transpose2d(
                mean,
                taps,
                stride=module.stride,
                padding=module.padding,
                output_padding=module.output_padding,
            )
        return jnp.broadcast_to(y, (*y.shape[:3], features))
    return call(*args, **kwargs)


def print_catalogue(
    console: Console, *, bands: int = 3, classes: int = 21, size: int = 512
) -> None:
    """One line per network."""
    kinds = list(networks().values())
    cards = [
        card(kind, bands=bands, classes=classes, size=size)
        for kind in track(kinds, "networks", total=len(kinds), console=console)
    ]
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("network", no_wrap=True)
    for heading in ("param. M", "GFLOP", "stride", "sight"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("paper", no_wrap=True, overflow="ellipsis")
    table.add_column("config", no_wrap=True)
    for c in cards:
        sight = "global" if c.sight is None else str(c.sight)
        numbers = (f"{c.parameters / 1e6:.2f}", f"{c.flop / 1e9:.1f}", str(c.stride), sight)
        table.add_row(c.name, *numbers, c.paper, c.config)
    console.print(table)
    console.print(
        f"{bands} bands, {classes} classes, default arguments. GFLOP: one image of "
        f"{size} x {size}, a multiply-add is two.\n"
        "Sight: theoretical receptive field in pixels. `jaxseg models NAME` shows the layers."
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
    console.print(table)
    console.print(f"{sum(count for *_, count in rows):,} parameters")


def _shapes(model: nn.Module, image: jax.ShapeDtypeStruct) -> dict[str, Any]:
    init = functools.partial(model.init, jax.random.key(0), train=False)
    shapes: dict[str, Any] = jax.eval_shape(init, image)
    return shapes


def _paper(kind: type[nn.Module]) -> str:
    """First author, year and arXiv number from the first `Source:` of class or file."""
    for text in (inspect.getdoc(kind), inspect.getdoc(inspect.getmodule(kind))):
        _, found, source = (text or "").partition("Source: ")
        if found:
            source = " ".join(source.split("\n\n")[0].split())
            author = re.split(r",| et al| and ", source)[0]
            year = re.search(r"\b(19|20)\d\d\b(?!\.)", source)
            number = re.search(r"arXiv:\d{4}\.\d{4,5}", source)
            return " ".join([author, *(match.group() for match in (year, number) if match)])
    return "-"


@functools.cache
def _configs() -> dict[type, str]:
    """The config with the shortest name for each network, from the `configs` beside the library."""
    folder = Path(__file__).parent.parent / "configs"
    found: dict[type, str] = {}
    for path in sorted(folder.glob("*.py"), key=lambda p: (len(p.stem), p.stem)):
        found.setdefault(type(configs.load(str(path)).model), path.stem)
    return found
