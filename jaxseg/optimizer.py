"""The optimizer and its learning-rate schedule: described by values, built with Optax.

Parts of a network are named by patterns over the names of its parameters, such as `backbone/*`; a
`*` stands for any text, `/` included, and `[12]` for one of two characters.
"""

import dataclasses
import difflib
import fnmatch
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import chex
import jax
import jax.numpy as jnp
import optax
from jax.tree_util import keystr

from jaxseg.errors import UserError, check_ranges


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """Settings of the optimizer.

    Attributes:
        learning_rate: Peak learning rate.
        name: `sgd` (with momentum; the decay is added to the gradient, as in PyTorch) or `adamw`
            (decoupled decay).
        schedule: `constant`, `poly` ((1 - t)^power, DeepLab and PSPNet) or `cosine`, over the whole
            run.
        power: Exponent of `poly`.
        warmup: Steps of linear rise to the peak, beginning at peak / warmup; the schedule spans
            the remaining steps.
        momentum: Momentum of `sgd`.
        nesterov: Whether `sgd` uses Nesterov momentum.
        weight_decay: Weight decay of kernels; biases and normalisation parameters never decay.
        clip: Largest global norm of the gradient; None = unlimited.
        ema: Decay of the exponential moving average of the parameters that evaluation uses; None =
            no average.
        factors: Patterns of parameter names, and the factor (above 0) of the learning rate of what
            they match, such as `(("backbone/*", 0.1),)`. The first pattern that matches counts;
            what none matches has the factor 1.
        frozen: Patterns of parameters that keep their values: without gradient, weight decay and
            moments. A normalisation all of whose parameters are frozen uses its running statistics
            in training, too, and leaves them as they are.
        unfreeze: Number of steps after which frozen parts are trained, too, with their factors and
            with moments that begin there; None = never.
    """

    learning_rate: float = dataclasses.field(default=1e-3, metadata={"above": 0})
    name: Literal["sgd", "adamw"] = "adamw"
    schedule: Literal["constant", "poly", "cosine"] = "poly"
    power: float = dataclasses.field(default=0.9, metadata={"above": 0})
    warmup: int = dataclasses.field(default=0, metadata={"least": 0, "follows_length": True})
    momentum: float = dataclasses.field(default=0.9, metadata={"least": 0, "below": 1})
    nesterov: bool = False
    weight_decay: float = dataclasses.field(default=1e-4, metadata={"least": 0})
    clip: float | None = dataclasses.field(default=None, metadata={"above": 0})
    ema: float | None = dataclasses.field(default=None, metadata={"above": 0, "below": 1})
    factors: tuple[tuple[str, float], ...] = ()
    frozen: tuple[str, ...] = ()
    unfreeze: int | None = dataclasses.field(
        default=None, metadata={"least": 1, "follows_length": True}
    )

    def __post_init__(self) -> None:
        """Rejects numbers with which nothing can be trained.

        Raises:
            UserError: One is outside its range, or nothing is frozen that `unfreeze` could free.
        """
        check_ranges(self, "--config.optimizer")
        for pattern, factor in self.factors:
            if not 0 < factor < math.inf:
                raise UserError(
                    f"--config.optimizer.factors is {factor} for {pattern}: it must be above 0. "
                    "--config.optimizer.frozen is for parts that are not trained."
                )
        if self.unfreeze is not None and not self.frozen:
            raise UserError(
                f"--config.optimizer.unfreeze {self.unfreeze} without frozen parts: give their "
                "patterns as --config.optimizer.frozen, or leave it out."
            )


def learning_rate(optimizer: Optimizer, num_steps: int) -> optax.Schedule:
    """Step -> learning rate, over a run of `num_steps` steps.

    Raises:
        UserError: The warm-up is not shorter than the run.
    """
    rest = num_steps - optimizer.warmup
    if rest <= 0:
        raise UserError(
            f"Warm-up of {optimizer.warmup} steps in a run of {num_steps}: give 0 to "
            f"{num_steps - 1}."
        )
    peak = optimizer.learning_rate
    schedule = {
        "constant": lambda: optax.constant_schedule(peak),
        "poly": lambda: optax.polynomial_schedule(peak, 0.0, optimizer.power, rest),
        "cosine": lambda: optax.cosine_decay_schedule(peak, rest),
    }[optimizer.schedule]()
    if optimizer.warmup == 0:
        return schedule
    # Starts at peak / warmup, not at zero: a first step that does nothing would be wasted.
    rise = optax.linear_schedule(peak / optimizer.warmup, peak, optimizer.warmup)
    return optax.join_schedules([rise, schedule], [optimizer.warmup])


def decays(params: chex.ArrayTree) -> chex.ArrayTree:
    """True for kernels (two axes or more), False for biases, scales and offsets."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def make_optimizer(optimizer: Optimizer, num_steps: int) -> optax.GradientTransformation:
    """The Optax transformation that `optimizer` describes.

    Gradients of what is frozen have to be 0, as those of parameters that `held` returns, since
    `clip` counts them. Frozen parts have no moments; those that are trained later have moments of 0
    until then, and their own count of steps.

    Raises:
        UserError: The warm-up, or `unfreeze`, is not shorter than the run.
    """
    rate, later = learning_rate(optimizer, num_steps), optimizer.unfreeze
    if later is not None and later >= num_steps:
        raise UserError(
            f"--config.optimizer.unfreeze {later} in a run of {num_steps}: give 1 to "
            f"{num_steps - 1}, or None if the parts stay frozen."
        )
    chain = [] if optimizer.clip is None else [optax.clip_by_global_norm(optimizer.clip)]
    if not optimizer.frozen:
        chain += _rule(optimizer, rate)
    else:
        held: optax.GradientTransformation = optax.set_to_zero()
        if later is not None:
            rule = optax.chain(*_rule(optimizer, lambda step: rate(step + later)))
            held = optax.conditionally_mask(rule, lambda step: step >= later)
        kinds = {True: held, False: optax.chain(*_rule(optimizer, rate))}
        chain.append(optax.multi_transform(kinds, lambda params: is_frozen(optimizer, params)))
    if optimizer.factors:
        chain.append(optax.stateless(lambda updates, _: _scaled(optimizer, updates)))
    return optax.chain(*chain)


def _rule(optimizer: Optimizer, rate: optax.Schedule) -> list[optax.GradientTransformation]:
    if optimizer.name == "sgd":
        return [
            optax.add_decayed_weights(optimizer.weight_decay, mask=decays),
            optax.sgd(rate, momentum=optimizer.momentum, nesterov=optimizer.nesterov),
        ]
    return [optax.adamw(rate, weight_decay=optimizer.weight_decay, mask=decays)]


def _scaled(optimizer: Optimizer, updates: chex.ArrayTree) -> chex.ArrayTree:
    def scaled(name: str, update: jax.Array) -> jax.Array:
        number = _first(_patterns(optimizer), name)
        return update if number is None else optimizer.factors[number][1] * update

    return jax.tree.map(scaled, _names(updates), updates)


# -- parts -----------------------------------------------------------------------------------------


def layer_decay(decay: float, blocks: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """`Optimizer.factors` that fall from the last block of an encoder to its first.

    The last block has the factor `decay`, the one before `decay`^2, and so on; what is not listed,
    such as the decoder, has the factor 1. Later blocks come first in the result, so that the first
    entry may be a pattern for all that is left: `("backbone/*", "backbone/layer1_*", ...)`.

    Source: Bao et al., BEiT, ICLR 2022, where a ViT has 0.65 to 0.95.

    Args:
        decay: Factor from each block to the one before it, 0 < decay <= 1.
        blocks: Their patterns, from the input on.

    Raises:
        UserError: The decay is outside its range.
    """
    if not 0 < decay <= 1:
        raise UserError(f"layer_decay of {decay}: it must be above 0 and 1 or less.")
    return tuple((block, decay**power) for power, block in enumerate(reversed(blocks), start=1))


def is_frozen(optimizer: Optimizer, params: chex.ArrayTree) -> chex.ArrayTree:
    """True for the parameters that a pattern of `frozen` matches, whatever the step."""
    return jax.tree.map(lambda name: _first(optimizer.frozen, name) is not None, _names(params))


def held(optimizer: Optimizer, params: chex.ArrayTree, step: jax.Array) -> chex.ArrayTree:
    """The parameters, without a gradient where they are frozen at this step.

    What is never trained needs no backward pass, and XLA computes none.

    Args:
        optimizer: Names what is frozen.
        params: The parameters.
        step: () the number of updates made.
    """
    return where_frozen(optimizer, step, jax.lax.stop_gradient(params), params)


def where_frozen(
    optimizer: Optimizer, step: jax.Array, frozen: chex.ArrayTree, others: chex.ArrayTree
) -> chex.ArrayTree:
    """Leaves of `frozen` where a parameter is frozen at this step, those of `others` elsewhere."""
    free = freed(optimizer, step)

    def chosen(holds: bool, one: jax.Array, other: jax.Array) -> jax.Array:
        if not holds:
            return other
        return one if free is None else jnp.where(free, other, one)

    return jax.tree.map(chosen, is_frozen(optimizer, others), frozen, others)


def freed(optimizer: Optimizer, step: jax.Array) -> jax.Array | None:
    """() bool, whether frozen parts are trained at this step; None if they never are."""
    return None if optimizer.unfreeze is None else step >= optimizer.unfreeze


def frozen_modules(optimizer: Optimizer, params: chex.ArrayTree) -> frozenset[tuple[str, ...]]:
    """Paths of the modules all of whose own parameters are frozen; () is the network itself."""
    modules: dict[tuple[str, ...], bool] = {}
    for name, holds in _by_name(is_frozen(optimizer, params)).items():
        module = tuple(name.split("/")[:-1])
        modules[module] = modules.get(module, True) and holds
    return frozenset(module for module, holds in modules.items() if holds)


def check_parts(optimizer: Optimizer, params: chex.ArrayTree) -> None:
    """Rejects patterns that change nothing.

    Raises:
        UserError: A pattern matches no parameter, or only what earlier patterns match, or
            everything is frozen for ever.
    """
    names = list(_by_name(params))
    for field, patterns in (("frozen", optimizer.frozen), ("factors", _patterns(optimizer))):
        taken = {_first(patterns, name) for name in names}
        for number, pattern in enumerate(patterns):
            if all(_first((pattern,), name) is None for name in names):
                raise UserError(
                    f"--config.optimizer.{field}: {pattern} matches no parameter."
                    + _near(names, pattern)
                )
            if number not in taken and field == "factors":
                raise UserError(
                    f"--config.optimizer.factors: all that {pattern} matches is matched by "
                    "patterns before it, and the first counts. Put it before them, or leave it out."
                )
    frozen = jax.tree.leaves(is_frozen(optimizer, params))
    if optimizer.frozen and optimizer.unfreeze is None and all(frozen):
        raise UserError(
            f"--config.optimizer.frozen {' '.join(optimizer.frozen)} freezes all {len(names)} "
            "arrays: nothing would be trained. Leave out the head, or give "
            "--config.optimizer.unfreeze."
        )


def parts(optimizer: Optimizer, params: chex.ArrayTree) -> str:
    """Number of parameters of each part, such as `backbone/* frozen 100; the rest x 1 20`."""
    counts = Counter[str]()
    for name, leaf in _by_name(params).items():
        number, frozen = _first(_patterns(optimizer), name), _first(optimizer.frozen, name)
        pattern, factor = ("the rest", 1) if number is None else optimizer.factors[number]
        said = f"{pattern} x {factor:g}"
        if frozen is not None:
            said = f"{optimizer.frozen[frozen]} frozen"
            if optimizer.unfreeze is not None:
                said += f" until step {optimizer.unfreeze}, then x {factor:g}"
        counts[said] += math.prod(leaf.shape)
    return "; ".join(f"{said} {count:,}" for said, count in counts.items())


def _patterns(optimizer: Optimizer) -> tuple[str, ...]:
    return tuple(pattern for pattern, _ in optimizer.factors)


def _first(patterns: Sequence[str], name: str) -> int | None:
    """Number of the first pattern that matches the name."""
    matching = (n for n, pattern in enumerate(patterns) if fnmatch.fnmatchcase(name, pattern))
    return next(matching, None)


def _names(params: chex.ArrayTree) -> chex.ArrayTree:
    """A tree of `backbone/conv1/kernel` and the like."""
    return jax.tree_util.tree_map_with_path(lambda path, _: _name(path), params)


def _by_name(tree: chex.ArrayTree) -> dict[str, Any]:
    return {_name(path): leaf for path, leaf in jax.tree.leaves_with_path(tree)}


def _name(path: tuple[Any, ...]) -> str:
    return keystr(path, simple=True, separator="/")


def _near(names: Sequence[str], pattern: str) -> str:
    """The end of a message about a pattern without a match."""
    children = Counter(
        f"{first}/*" if rest else first for first, _, rest in (n.partition("/") for n in names)
    )
    close = difflib.get_close_matches(pattern, [*children, *names], n=1)
    hint = f" Perhaps you mean {close[0]}." if close else ""
    there = ", ".join(f"{child} ({count})" for child, count in children.items())
    return f"{hint} There are (arrays): {there}; such as {names[0]}."
