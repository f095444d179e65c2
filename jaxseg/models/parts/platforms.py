"""Where one function has a program for CPUs and another one for GPUs and TPUs.

The platform that a program is compiled for decides, also where that is not the one at hand. The
environment variable JAXSEG_PROGRAMS forces one: `cpu` or `accelerator`.
"""

import os
from collections.abc import Callable

from jax import Array, lax

from jaxseg.errors import UserError

FORCED = "JAXSEG_PROGRAMS"


def by_platform(
    x: Array, *, cpu: Callable[[Array], Array], others: Callable[[Array], Array]
) -> Array:
    """What one of two functions with equal results makes of `x`.

    Args:
        x: The array.
        cpu: The program for CPUs.
        others: The program for all other platforms.

    Raises:
        UserError: JAXSEG_PROGRAMS has another value.
    """
    match os.environ.get(FORCED, ""):
        case "":
            chosen: Array = lax.platform_dependent(x, cpu=cpu, default=others)
        case "cpu":
            chosen = cpu(x)
        case "accelerator":
            chosen = others(x)
        case wrong:
            raise UserError(f"{FORCED}={wrong}: give cpu or accelerator, or do not set it.")
    return chosen
