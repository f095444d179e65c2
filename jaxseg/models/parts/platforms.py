"""Where a layer has a program for CPUs and another one for GPUs and TPUs.

The platform that a program is compiled for decides, also where that is not the one at hand. The
environment variable JAXSEG_PROGRAMS forces one: `cpu`, `gpu` or `tpu`.
"""

import contextlib
import contextvars
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from jax import lax

from jaxseg.errors import UserError

FORCED = "JAXSEG_PROGRAMS"

LANES = 128
"""Numbers side by side in a tile of a TPU; arrays of fewer channels fill it up with nothing."""

T = TypeVar("T")

_platform = contextvars.ContextVar("platform", default="")
_row_shards = contextvars.ContextVar("row_shards", default=1)


def by_platform(
    *operands: Any,  # noqa: ANN401
    cpu: Callable[..., T],
    others: Callable[..., T],
    cuda: Callable[..., T] | None = None,
) -> T:
    """What one of two functions with equal results makes of the operands.

    Args:
        operands: Arrays.
        cpu: The program for CPUs.
        others: The program for all other platforms.
        cuda: The program for NVIDIA's GPUs, if that is another one.

    Raises:
        UserError: JAXSEG_PROGRAMS has another value.
    """
    forced = _forced()
    if not forced:
        gpus = {} if cuda is None else {"cuda": cuda}
        chosen: T = lax.platform_dependent(*operands, cpu=cpu, default=others, **gpus)
        return chosen
    if forced == "gpu" and cuda is not None:
        return cuda(*operands)
    return cpu(*operands) if forced == "cpu" else others(*operands)


@contextlib.contextmanager
def compiled_for(platform: str, row_shards: int = 1) -> Iterator[None]:
    """Says for which platform and mesh the networks called inside are traced.

    A form that spans several layers has to be chosen before the compiler knows the platform, which
    is why those who call a network state it. Where nobody does, no such form is used: results and
    intermediate features are those of the network as it is written.

    Args:
        platform: As in `jax.Device.platform`; empty = not known.
        row_shards: Devices that share the rows of an image.
    """
    tokens = _platform.set(platform), _row_shards.set(row_shards)
    try:
        yield
    finally:
        _platform.reset(tokens[0])
        _row_shards.reset(tokens[1])


def rows_of_a_device(rows: int) -> int:
    """How many rows of so many a device holds, at most."""
    return -(-rows // _row_shards.get())


def blocks_pay(features: int) -> bool:
    """Whether so many channels should be computed in blocks of 2 x 2 pixels.

    They should on TPUs if the channels of four pixels fit into the lanes of one tile. Such a level
    has up to four times the FLOPs in blocks, but moves as little as a quarter of the bytes, and the
    bytes are what limits it.
    """
    platform = _platform.get() and (_forced() or _platform.get())
    return platform == "tpu" and 4 * features <= LANES


def images_pay() -> bool:
    """Whether losses of enlarged logits should be computed one image after the other: on TPUs."""
    platform = _platform.get() and (_forced() or _platform.get())
    return platform == "tpu"


def _forced() -> str:
    forced = os.environ.get(FORCED, "")
    if forced not in ("", "cpu", "gpu", "tpu"):
        raise UserError(f"{FORCED}={forced}: give cpu, gpu or tpu, or do not set it.")
    return forced
