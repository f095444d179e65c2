"""Normalisations that see one value per channel in training: found while the step is traced.

One value has no variance, so such a layer has nothing to measure: the mean of a whole image, or
features of 1 x 1 pixels, of a batch (or slice of it) with one window.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import flax.linen as nn
from flax.linen.module import InterceptorContext

from jaxseg.errors import UserError
from jaxseg.models.parts.complex_layers import ComplexBatchNorm
from jaxseg.models.parts.layers import BatchNorm
from jaxseg.models.parts.normalisation import Normalisation, is_single_value, setting, uses_running


@contextmanager
def watched(how: Normalisation = Normalisation()) -> Iterator[dict[str, None]]:
    """Within it, paths of normalisations over a single value are collected, in their order.

    Args:
        how: What the config asks of normalisations.

    Raises:
        UserError: One is Flax's own, and would train with a constant in place of its input or
            measure what is to stay frozen, or something else than is asked for.
    """
    found: dict[str, None] = {}

    def watch(
        call: Callable[..., object],
        args: tuple[object, ...],
        kwargs: dict[str, object],
        context: InterceptorContext,
    ) -> object:
        module = context.module
        if how.kind != "global" and isinstance(module, nn.BatchNorm):
            raise UserError(
                f"The normalisation {'/'.join(module.path)} is Flax's own, which does not read "
                f"--config.norm.kind {how.kind}. Use BatchNorm of jaxseg.models.parts.layers."
            )
        if isinstance(module, nn.BatchNorm) and module.path in setting().still:
            raise UserError(
                f"The normalisation {'/'.join(module.path)} is Flax's own, whose statistics "
                "--config.optimizer.frozen cannot freeze. Use BatchNorm of "
                "jaxseg.models.parts.layers, or leave it out."
            )
        if (
            context.method_name == "__call__"
            and isinstance(module, BatchNorm | ComplexBatchNorm | nn.BatchNorm)
            and setting().how.kind in ("global", "ghost")
            and not uses_running(module.path)
            and _measures(module, args, kwargs)
            and is_single_value(args[0])  # type: ignore[arg-type]  # an array
        ):
            path = "/".join(module.path)
            if isinstance(module, nn.BatchNorm):
                raise UserError(
                    f"The normalisation {path} has one value per channel, whose variance is 0: it "
                    "would train with 0 and evaluate with other numbers. Use BatchNorm of "
                    "jaxseg.models.parts.layers in place of Flax's, which keeps its statistics "
                    "there, or more than one window: --config.data.batch-size 2."
                )
            found[path] = None
        return call(*args, **kwargs)

    with nn.intercept_methods(watch):
        yield found


def report(paths: dict[str, None], batch_size: int, accumulate: int, group: int = 0) -> str:
    """One line about them, at least one, for the log; `group` windows are measured together."""
    first, *rest = paths
    others = f" and {len(rest)} more" if rest else ""
    flag = f"norm.size {2 * group}" if group else f"data.batch-size {2 * accumulate}"
    return (
        f"Normalisation {first}{others}: one value per channel in "
        f"{group or batch_size // accumulate} window, so it keeps its statistics and uses them in "
        f"training, as in evaluation. To have it measure them, give two windows: --config.{flag}."
    )


def _measures(
    module: BatchNorm | ComplexBatchNorm | nn.BatchNorm,
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> bool:
    """Whether it measures statistics, by its field or, in Flax's, its argument."""
    given = args[1] if len(args) > 1 else kwargs.get("use_running_average")
    return not (module.use_running_average if given is None else given)
