"""The optimizer and its learning-rate schedule: described by values, built with Optax."""

import dataclasses
from typing import Literal

import chex
import jax
import optax

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

    def __post_init__(self) -> None:
        """Rejects numbers with which nothing can be trained.

        Raises:
            UserError: One is outside its range.
        """
        check_ranges(self, "--config.optimizer")


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
    """The Optax transformation that `optimizer` describes."""
    rate = learning_rate(optimizer, num_steps)
    chain = [] if optimizer.clip is None else [optax.clip_by_global_norm(optimizer.clip)]
    if optimizer.name == "sgd":
        chain += [
            optax.add_decayed_weights(optimizer.weight_decay, mask=decays),
            optax.sgd(rate, momentum=optimizer.momentum, nesterov=optimizer.nesterov),
        ]
    else:
        chain.append(optax.adamw(rate, weight_decay=optimizer.weight_decay, mask=decays))
    return optax.chain(*chain)
