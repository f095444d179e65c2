"""What is measured together, for each choice, against formulas written out."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.networks import applied, initialised

from jaxseg.errors import UserError, check_all_ranges
from jaxseg.models.parts.complex_layers import ComplexBatchNorm
from jaxseg.models.parts.layers import BatchNorm
from jaxseg.models.parts.normalisation import Normalisation, normalised_by

GHOST = Normalisation("ghost", size=2)
KINDS = (Normalisation(), GHOST, Normalisation("group", groups=2), Normalisation("frozen"))
LAYERS = (BatchNorm, ComplexBatchNorm)

every_kind = pytest.mark.parametrize("how", KINDS, ids=[how.kind for how in KINDS])
both = pytest.mark.parametrize("layer", LAYERS)


def features(windows: int = 6) -> np.ndarray:
    """(B, 5, 4, 4) of windows that differ in brightness and contrast."""
    random = np.random.default_rng(0)
    each = np.arange(windows)[:, None, None, None]
    noise = random.standard_normal((windows, 5, 4, 4))
    return (noise * (1 + each) + 2 * each).astype(np.float32)


@functools.cache
def variables(layer: Callable[..., nn.Module]) -> Any:
    """Of four channels; no statistic is what it starts with."""
    random = np.random.default_rng(1)
    fresh = initialised(layer(use_running_average=False), features())
    return jax.tree.map(lambda leaf: leaf + random.random(leaf.shape).astype("f"), fresh)


def trained(
    layer: Callable[..., nn.Module],
    how: Normalisation,
    x: np.ndarray,
    counted: Any = None,
    *,
    train: bool = True,
    **fields: Any,
) -> tuple[np.ndarray, Any]:
    """The output and the running statistics after it; {} if there are none."""
    given = variables(layer)
    if how.kind == "group":
        given = {"params": given["params"]}
    y, moved = program(layer, how, train, *fields.items())(given, x, counted)
    return np.asarray(y), jax.device_get(moved).get("batch_stats", {})


@functools.cache
def program(layer: Callable[..., nn.Module], how: Normalisation, train: bool, *fields: Any) -> Any:
    """Of (variables, x, counted), compiled once."""
    module = layer(use_running_average=not train, **dict(fields))

    def run(given: Any, x: jax.Array, counted: jax.Array | None) -> Any:
        with normalised_by(how, counted):
            return module.apply(given, x, mutable=["batch_stats"])

    return jax.jit(run)


def close(found: Any, expected: Any, **tolerance: float) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), found, expected)


@both
def test_one_group_of_all_windows_is_the_whole_batch(layer: Any) -> None:
    x = features()
    close(
        trained(layer, Normalisation("ghost", size=6), x),
        trained(layer, Normalisation(), x),
        rtol=1e-6,
        atol=1e-6,
    )


@both
def test_a_group_of_windows_is_normalised_as_if_it_were_alone(layer: Any) -> None:
    x = features()
    y, _ = trained(layer, GHOST, x)
    for first in (0, 2, 4):
        alone, _ = trained(layer, Normalisation(), x[first : first + 2])
        np.testing.assert_allclose(y[first : first + 2], alone, rtol=1e-5, atol=1e-5)


@both
def test_running_statistics_of_groups_are_those_of_all_windows_together(layer: Any) -> None:
    """Mean of the groups' variances and variance of their means make the variance of all."""
    x = features()
    _, ghost = trained(layer, GHOST, x)
    wide = x.astype(np.float64).reshape(-1, 4)
    new = {"mean": wide.mean(0), "var": wide.var(0)}
    if layer is ComplexBatchNorm:
        away = wide - wide.mean(0)
        new["covariance"] = (away[:, :2] * away[:, 2:]).mean(0)
    before = variables(layer)["batch_stats"]
    expected = jax.tree.map(lambda old, now: 0.9 * old + 0.1 * now, before, new)
    close(ghost, expected, rtol=1e-5, atol=1e-5)
    of_groups = np.stack([x[i : i + 2].var((0, 1, 2)) for i in (0, 2, 4)]).mean(0)
    stored = np.asarray(variables(layer)["batch_stats"]["var"])
    within = 0.9 * stored + 0.1 * of_groups
    assert (np.asarray(ghost["var"]) > 1.25 * within).all()  # the means differ


@pytest.mark.parametrize("fast", [True, False])
def test_the_statistics_of_groups_follow_the_formula(*, fast: bool) -> None:
    x = features()
    y, _ = trained(BatchNorm, GHOST, x, use_fast_variance=fast)
    given = variables(BatchNorm)
    scale, bias = (np.asarray(given["params"][name]) for name in ("scale", "bias"))
    for first in (0, 2, 4):
        group = x[first : first + 2].astype(np.float64)
        expected = (group - group.mean((0, 1, 2))) / np.sqrt(group.var((0, 1, 2)) + 1e-5)
        np.testing.assert_allclose(y[first : first + 2], expected * scale + bias, atol=1e-4)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("train", [True, False])
def test_groups_of_channels_are_flaxs(groups: int, *, train: bool) -> None:
    x = features()
    how = Normalisation("group", groups=groups)
    y, moved = trained(BatchNorm, how, x, train=train, use_fast_variance=False)
    theirs = nn.GroupNorm(num_groups=groups, epsilon=1e-5)
    expected = applied(theirs, {"params": variables(BatchNorm)["params"]}, x)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    assert moved == {}
    fast, _ = trained(BatchNorm, how, x, train=train)
    np.testing.assert_allclose(fast, y, atol=1e-4)


def test_a_normalisation_of_few_channels_has_a_group_for_each() -> None:
    x = features()
    many, _ = trained(BatchNorm, Normalisation("group", groups=32), x)
    four, _ = trained(BatchNorm, Normalisation("group", groups=4), x)
    np.testing.assert_array_equal(many, four)


def test_groups_of_complex_channels_are_whitened_together() -> None:
    """Two complex channels in one group: their parts have variance 1/2 and no covariance."""
    x = features()
    layer = ComplexBatchNorm(use_running_average=False)
    with normalised_by(Normalisation("group", groups=1)):
        fresh = initialised(layer, x)
        y = np.asarray(applied(layer, fresh, x))
    assert fresh.keys() == {"params"}
    for window in y:
        real, imaginary = window[..., :2].ravel(), window[..., 2:].ravel()
        np.testing.assert_allclose(np.cov(real, imaginary, bias=True), np.eye(2) / 2, atol=1e-4)
        np.testing.assert_allclose([real.mean(), imaginary.mean()], 0, atol=1e-5)


@both
def test_frozen_statistics_are_used_and_stay_while_scale_and_offset_are_trained(
    layer: Any,
) -> None:
    x, frozen = features(), Normalisation("frozen")
    y, moved = trained(layer, frozen, x)
    evaluated, _ = trained(layer, Normalisation(), x, train=False)
    np.testing.assert_allclose(y, evaluated, rtol=1e-6, atol=1e-6)
    given = variables(layer)
    jax.tree.map(np.testing.assert_array_equal, moved, given["batch_stats"])

    def loss(params: Any) -> jax.Array:
        with normalised_by(frozen):
            y = layer(use_running_average=False).apply(given | {"params": params}, x)
        return jnp.square(y).sum()

    for leaf in jax.tree.leaves(jax.jit(jax.grad(loss))(given["params"])):
        assert np.abs(leaf).min() > 0


@both
@every_kind
def test_a_window_that_does_not_count_changes_no_statistic(how: Normalisation, layer: Any) -> None:
    """Windows 1, 2 and 3 do not: part of a group, and all of one."""
    x, counted = features(), np.array([1, 0, 0, 0, 1, 1], bool)
    y, moved = trained(layer, how, x, counted)
    other = x.copy()
    other[~counted] = 1e4 * np.random.default_rng(3).standard_normal(x[~counted].shape)
    again, moved_again = trained(layer, how, other, counted)
    np.testing.assert_array_equal(y[counted], again[counted])
    jax.tree.map(np.testing.assert_array_equal, moved, moved_again)
    if how.kind == "global":
        alone, without = trained(layer, how, x[counted])
        np.testing.assert_allclose(y[counted], alone, rtol=1e-5, atol=1e-5)
        close(moved, without, rtol=1e-5, atol=1e-6)
    if how.kind == "ghost":
        _, without = trained(layer, Normalisation(), x[counted])
        close(moved, without, rtol=1e-5, atol=1e-5)
        alone, _ = trained(layer, Normalisation(), x[:1])
        np.testing.assert_allclose(y[:1], alone, rtol=1e-5, atol=1e-5)


@both
@pytest.mark.parametrize("how", [Normalisation(), GHOST], ids=["global", "ghost"])
def test_masks_of_windows_that_all_count_change_nothing(how: Normalisation, layer: Any) -> None:
    x = features()
    masked, plain = trained(layer, how, x, np.ones(6, bool)), trained(layer, how, x)
    close(masked, plain, rtol=1e-5, atol=1e-5)


@both
@pytest.mark.parametrize("how", [Normalisation(), GHOST], ids=["global", "ghost"])
def test_without_a_variance_stored_statistics_are_used_and_stay(
    how: Normalisation, layer: Any
) -> None:
    """No window counts; or one of a single pixel."""
    evaluated: Any
    for x, counted in (
        (features(), np.zeros(6, bool)),
        (features()[:, :1, :1], np.arange(6) == 4),
    ):
        y, moved = trained(layer, how, x, counted)
        evaluated, _ = trained(layer, Normalisation(), x, train=False)
        np.testing.assert_allclose(y, evaluated, rtol=1e-6, atol=1e-6)
        jax.tree.map(np.testing.assert_array_equal, moved, variables(layer)["batch_stats"])


@both
def test_a_group_of_one_pixel_uses_stored_statistics(layer: Any) -> None:
    x = features()[:, :1, :1]
    y, moved = trained(layer, Normalisation("ghost", size=1), x)
    evaluated, _ = trained(layer, Normalisation(), x, train=False)
    np.testing.assert_allclose(y, evaluated, rtol=1e-6, atol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, moved, variables(layer)["batch_stats"])


@pytest.mark.parametrize("how", [GHOST, Normalisation()], ids=["ghost", "global"])
def test_recomputed_blocks_see_the_same_windows(how: Normalisation) -> None:
    x, counted = features(), jnp.arange(6) > 0
    given = variables(BatchNorm)

    def gradient(layer: Any) -> Any:
        def loss(params: Any) -> jax.Array:
            with normalised_by(how, counted):
                module = layer(use_running_average=False)
                y, _ = module.apply(given | {"params": params}, x, mutable=["batch_stats"])
            return (y * jnp.cos(jnp.arange(y.size)).reshape(y.shape)).sum()

        return jax.jit(jax.grad(loss))(given["params"])

    close(gradient(nn.remat(BatchNorm)), gradient(BatchNorm), rtol=1e-5, atol=1e-5)


def test_outside_it_nothing_is_chosen() -> None:
    x = features()
    with normalised_by(GHOST), pytest.raises(ZeroDivisionError):
        raise ZeroDivisionError
    module = BatchNorm(use_running_average=False)
    y, _ = applied(module, variables(BatchNorm), x, mutable=["batch_stats"])
    np.testing.assert_allclose(y, trained(BatchNorm, Normalisation(), x)[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("how", "shape", "counted", "said"),
    [
        (
            Normalisation("ghost", size=4),
            (6, 5, 4, 4),
            None,
            r"6 windows in groups of 4.*norm.size",
        ),
        (
            Normalisation("group", groups=16),
            (2, 5, 4, 24),
            None,
            r"24 channels in 16 groups. Give a divisor of 24, such as --config.norm.groups 8",
        ),
        (
            Normalisation("group", groups=16),
            (2, 1, 1, 4),
            None,
            r"4 channels of one pixel in 4 groups.*one value each.*fewer groups",
        ),
        (Normalisation(), (6, 5, 4, 4), 2, r"has 6 windows and the batch 2: the first axis"),
    ],
)
@both
def test_groups_that_do_not_fit_are_refused(
    layer: Any, how: Normalisation, shape: tuple[int, ...], counted: int | None, said: str
) -> None:
    x = np.ones((*shape[:-1], shape[-1] * (2 if layer is ComplexBatchNorm else 1)), np.float32)
    mask = None if counted is None else jnp.ones(counted, bool)
    module = layer(use_running_average=False, name="gate")
    with normalised_by(how, mask), pytest.raises(UserError, match=said):
        jax.eval_shape(lambda x: module.init(jax.random.key(0), x), x)


def test_a_config_with_groups_of_nothing_is_refused() -> None:
    for how, said in (
        (Normalisation("ghost", size=-1), "norm.size is -1: it must be 0 or more"),
        (Normalisation("group", groups=0), "norm.groups is 0: it must be 1 or more"),
    ):
        with pytest.raises(UserError, match=said):
            check_all_ranges(how, "--config.norm")
