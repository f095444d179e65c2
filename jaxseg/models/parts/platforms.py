"""Where a layer has a program for CPUs and another one for GPUs and TPUs.

The platform that a program is compiled for decides, also where that is not the one at hand. The
environment variable JAXSEG_PROGRAMS forces one: `cpu` or `accelerator`.
"""

import os
from collections.abc import Callable
from typing import Any, TypeVar

from jax import lax

from jaxseg.errors import UserError

FORCED = "JAXSEG_PROGRAMS"

T = TypeVar("T")


def by_platform(*operands: Any, cpu: Callable[..., T], others: Callable[..., T]) -> T:  # noqa: ANN401
    """What one of two functions with equal results makes of the operands.

    Args:
        operands: Arrays.
        cpu: The program for CPUs.
        others: The program for all other platforms.

    Raises:
        UserError: JAXSEG_PROGRAMS has another value.
    """
    match os.environ.get(FORCED, ""):
        case "":
            chosen: T = lax.platform_dependent(*operands, cpu=cpu, default=others)
            return chosen
        case "cpu":
            return cpu(*operands)
        case "accelerator":
            return others(*operands)
        case wrong:
            raise UserError(f"{FORCED}={wrong}: give cpu or accelerator, or do not set it.")
