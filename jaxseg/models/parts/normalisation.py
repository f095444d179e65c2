"""Which values a normalisation measures together: one choice for all networks, made by a config.

    global   all windows of the batch, on all devices      running statistics in evaluation
    ghost    groups of windows, each within one device     running statistics in evaluation
    frozen   nothing: running statistics in training, too  running statistics in evaluation
    group    groups of channels of one window              the same in evaluation

A network states where it normalises, not how: its normalisations read the choice that
`normalised_by` makes around the call of the network. Kernels, scales, offsets and running
statistics have the same names and shapes whatever is chosen, but `group` has no running statistics.

Sources: Ioffe and Szegedy, Batch Normalization, ICML 2015; Hoffer, Hubara and Soudry, Train longer,
generalize better, NeurIPS 2017 (ghost); Wu and He, Group Normalization, ECCV 2018.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxseg.errors import COUNT, NOT_NEGATIVE, UserError

Kind = Literal["global", "ghost", "group", "frozen"]
"""Which values are measured together; see `Normalisation`."""


@dataclasses.dataclass(frozen=True)
class Normalisation:
    """How the normalisations of a network measure mean and variance.

    `global` measures the whole batch, for which devices communicate twice in every normalisation of
    a step. `ghost` measures groups of neighbouring windows, and no device waits for another one.
    Its running statistics are the mean over the groups, and the variance of all windows together:
    the mean of the groups' variances plus the variance of their means, so that the outputs of an
    evaluation have the variance 1 of training. (The paper updates them group by group with the
    groups' own deviations, which leave out the second part.) `group` measures groups of channels of
    one window, in evaluation as in training, and has no running statistics. `frozen` uses the
    running statistics in training and leaves them as they are, for weights that were trained
    before; scales and offsets are trained, as in DeepLab's `fine_tune_batch_norm=False` (they are
    not in torchvision's `FrozenBatchNorm2d`).

    A window without any valid pixel changes no statistic of other windows.

    Attributes:
        kind: Which values are measured together.
        size: Windows of a group of `ghost`, a divisor of those that a device has at a time; 0 =
            all of them, which is replaced by their number when a run starts.
        groups: Groups of channels of `group`; a normalisation of fewer channels has one group for
            each.
    """

    kind: Kind = "global"
    size: int = dataclasses.field(default=0, metadata=NOT_NEGATIVE)
    groups: int = dataclasses.field(default=16, metadata=COUNT)


class Setting(NamedTuple):
    """What a network is called with.

    Attributes:
        how: The choice.
        counted: (B,) bool, the windows that are measured; None = all.
        still: Paths of normalisations that use their running statistics and leave them as they are.
        freed: () bool, whether those of `still` measure like all others; None = they do not.
        measuring: Whether evaluation measures, too, and what it measures replaces what is stored.
    """

    how: Normalisation = Normalisation()
    counted: Array | None = None
    still: frozenset[tuple[str, ...]] = frozenset()
    freed: Array | None = None
    measuring: bool = False


_SETTING: ContextVar[Setting] = ContextVar("normalisation", default=Setting())  # noqa: B039  immutable


@contextmanager
def normalised_by(
    how: Normalisation,
    counted: Array | None = None,
    still: frozenset[tuple[str, ...]] = frozenset(),
    freed: Array | None = None,
    *,
    measuring: bool = False,
) -> Iterator[None]:
    """Within it, the normalisations of networks that are called measure as chosen.

    In a jitted function it belongs inside: JAX does not trace a function again for another choice.

    Args:
        how: The choice.
        counted: (B,) bool, the windows that are measured in training; None = all.
        still: Paths of normalisations that use their running statistics in training, too, as all do
            of kind `frozen`.
        freed: () bool, whether those of `still` measure like all others; None = they do not.
        measuring: Whether evaluation measures, too, and what it measures replaces what is stored.
    """
    token = _SETTING.set(Setting(how, counted, still, freed, measuring))
    try:
        yield
    finally:
        _SETTING.reset(token)


def setting() -> Setting:
    """The choice in force; `global` outside of `normalised_by`."""
    return _SETTING.get()


def uses_running(path: Sequence[str]) -> bool:
    """Whether the normalisation at this path uses its running statistics in training, too."""
    how, _, still, freed, _ = setting()
    return how.kind == "frozen" or (freed is None and tuple(path) in still)


def evaluates(use_running_average: bool) -> bool:
    """Whether a normalisation uses its running statistics because it is evaluated."""
    return use_running_average and not setting().measuring


def is_single_value(x: Array) -> bool:
    """Whether (B, ..., C) holds one value per channel to measure, which has no variance."""
    how, windows = setting().how, x.shape[0]
    if how.kind == "ghost" and how.size:
        windows = min(windows, how.size)
    return windows * math.prod(x.shape[1:-1]) == 1


def spread(of_groups: Array, x: Array) -> Array:
    """What each window of x (B, ..., C) is normalised with, (G, C) -> (B or 1, ..., C)."""
    groups, windows = of_groups.shape[0], x.shape[0]  # in an exported program, symbols
    if groups != windows and groups > 1:
        of_groups = jnp.repeat(of_groups, windows // groups, axis=0)
    return of_groups.reshape(of_groups.shape[0], *[1] * (x.ndim - 2), -1)


class Windows:
    """Groups of windows that are measured together, in training: `global` and `ghost`."""

    def __init__(self, x: Array, path: Sequence[str], pixels: int = 1) -> None:
        """Groups the windows by the setting in force.

        Args:
            x: (B, ..., C), more than a single value per channel.
            path: Of the normalisation, for messages.
            pixels: How many pixels lie in the last axis.

        Raises:
            UserError: Groups do not divide the windows, or the first axis is not the batch's.
        """
        how, counted, still, freed, _ = setting()
        self._size = how.size if how.kind == "ghost" and how.size else len(x)
        if len(x) % self._size:
            raise UserError(
                f"Normalisation {'/'.join(path)}: {len(x)} windows in groups of {self._size}. "
                "--config.norm.size must divide their number."
            )
        if counted is not None and len(counted) != len(x):
            raise UserError(
                f"Normalisation {'/'.join(path)} has {len(x)} windows and the batch "
                f"{len(counted)}: the first axis of what a network normalises must be the batch's."
            )
        if tuple(path) in still and freed is not None:
            # Of no window: what is stored is used, and stays.
            counted = freed & (jnp.ones(len(x), bool) if counted is None else counted)
        self._masked = counted is not None
        if counted is not None:
            self._counted = counted.reshape(-1, self._size, 1)
            self._number = self._counted.sum(1)  # (G, 1)
            # A variance needs two values.
            self._measured = self._number * pixels * math.prod(x.shape[1:-1]) > 1
            self._weight = jnp.where(self._measured, self._number, 0)

    def mean(self, x: Array) -> Array:
        """Mean over the counted windows of each group, (B, ..., C) -> (G, C); 0 of none."""
        groups = x.reshape(-1, self._size, *x.shape[1:])
        if not self._masked:
            return groups.mean(tuple(range(1, x.ndim)))
        # One sum over windows and pixels: devices that share an image's rows add up once.
        counted = self._counted.reshape(*groups.shape[:2], *[1] * (x.ndim - 1))
        total = jnp.where(counted, groups, 0.0).sum(tuple(range(1, x.ndim)))  # (G, C)
        return total / (jnp.maximum(self._number, 1) * math.prod(x.shape[1:-1]))

    def overall(self, of_groups: Array) -> Array:
        """Mean over the counted windows of all groups that are measured, (G, C) -> (C,)."""
        if not self._masked:
            return of_groups.mean(0)
        return (self._weight * of_groups).sum(0) / jnp.maximum(self._weight.sum(), 1)

    def known(self, of_groups: Array, stored: Array) -> Array:
        """What a group is normalised with: (G, C), `stored` (C,) where it has no variance."""
        return jnp.where(self._measured, of_groups, stored) if self._masked else of_groups

    def moved(self, stored: Array, new: Array, momentum: float) -> Array:
        """The running statistics (C,) after this step; as they are if nothing was measured."""
        after = new if setting().measuring else momentum * stored + (1 - momentum) * new
        return jnp.where(self._weight.sum() > 0, after, stored) if self._masked else after


class Channels:
    """Groups of channels of one window that are measured together: `group`."""

    def __init__(self, x: Array, path: Sequence[str], channels: int) -> None:
        """Groups the channels by the setting in force.

        Args:
            x: (B, ..., C).
            path: Of the normalisation, for messages.
            channels: Their number, of which x holds the real and imaginary parts if they are half
                of C.

        Raises:
            UserError: Groups do not divide the channels, or hold a single value.
        """
        groups = min(setting().how.groups, channels)
        self._each = channels // groups
        if channels % groups:
            raise UserError(
                f"Normalisation {'/'.join(path)}: {channels} channels in {groups} groups. Give a "
                f"divisor of {channels}, such as --config.norm.groups {math.gcd(channels, groups)}."
            )
        if self._each * math.prod(x.shape[1:-1]) == 1:
            raise UserError(
                f"Normalisation {'/'.join(path)}: {channels} channels of one pixel in {groups} "
                "groups, which leaves one value each, without a variance. Give fewer groups with "
                "--config.norm.groups, or larger images."
            )

    def mean(self, x: Array) -> Array:
        """Mean over the pixels and channels of each group, (B, ..., C) -> (B, C)."""
        channels = x.mean(tuple(range(1, x.ndim - 1)))  # (B, C)
        return jnp.repeat(
            channels.reshape(x.shape[0], -1, self._each).mean(-1), self._each, axis=-1
        )
