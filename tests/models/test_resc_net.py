"""ReSC-Net: a scene in one pass, each pixel by its neighbourhood."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.models.parts.layers import Conv
from jaxseg.models.resc_net import ChannelGate, ReSCNet, window_mean


@functools.cache
def small() -> tuple[Any, Any]:
    """Network of windows of 3 x 3 that spreads what it sees, compiled, and its variables."""
    model = ReSCNet(4, features=8, patch=3)
    image = jnp.zeros((1, 8, 8, 6))
    variables = jax.jit(lambda x: model.init(jax.random.key(1), x, train=False))(image)
    return jax.jit(functools.partial(model.apply, train=False)), variables


def scene(height: int, width: int) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.standard_normal((1, height, width, 6)).astype(np.float32)


@pytest.mark.parametrize("window", [1, 3, 9])
@pytest.mark.parametrize("size", [(12, 15), (5, 2)])
def test_a_window_mean_is_that_of_the_pixels_there_are(window: int, size: tuple[int, int]) -> None:
    x = np.random.default_rng(0).standard_normal((2, *size, 3)).astype(np.float32)
    actual = np.asarray(window_mean(jnp.asarray(x), window))
    half = window // 2
    for i in range(size[0]):
        for j in range(size[1]):
            inside = x[:, max(0, i - half) : i + half + 1, max(0, j - half) : j + half + 1]
            np.testing.assert_allclose(actual[:, i, j], inside.mean((1, 2)), atol=1e-5)


def test_the_gate_of_a_patchs_centre_is_squeeze_and_excitation_of_the_patch() -> None:
    gate = ChannelGate(5, 4, Conv)
    x = np.random.default_rng(0).standard_normal((2, 5, 5, 16)).astype(np.float32)
    variables = gate.init(jax.random.key(0), x)
    squeeze, excite = (variables["params"][name] for name in ("squeeze", "excite"))
    hidden = np.maximum(x.mean((1, 2)) @ squeeze["kernel"][0, 0] + squeeze["bias"], 0)
    expected = 1 / (1 + np.exp(-(hidden @ excite["kernel"][0, 0] + excite["bias"])))
    np.testing.assert_allclose(gate.apply(variables, x)[:, 2, 2], expected, atol=1e-5)


def test_a_logit_depends_on_five_patches_and_two_rows() -> None:
    apply, variables = small()
    image = scene(40, 24)
    logits = apply(variables, image)
    changed = image.copy()
    changed[0, 20, 12] += 10.0
    difference = np.abs(np.asarray(apply(variables, changed) - logits)).max((0, 3))
    rows, columns = np.flatnonzero(difference.any(1)), np.flatnonzero(difference.any(0))
    assert (rows[0], rows[-1]) == (20 - 8, 20 + 8)  # 5 x 3 + 2 = 17 rows
    assert (columns[0], columns[-1]) == (12 - 8, 12 + 8)


def test_a_scene_in_one_pass_equals_its_tiles_with_a_margin() -> None:
    apply, variables = small()
    image = scene(40, 40)
    whole = np.asarray(apply(variables, image))
    tile = np.asarray(apply(variables, image[:, 4:36, 2:34]))
    np.testing.assert_allclose(tile[:, 8:-8, 8:-8], whole[:, 12:28, 10:26], atol=1e-5)


def test_a_scene_in_one_pass_equals_patch_by_patch_answers() -> None:
    model = ReSCNet(4, features=8)  # windows of 9 x 9: a pixel depends on 47 x 47
    image = scene(58, 64)
    variables = jax.jit(lambda x: model.init(jax.random.key(0), x, train=False))(image)
    apply = jax.jit(functools.partial(model.apply, train=False))
    whole = np.asarray(apply(variables, image))[0]
    centres = [(23, 23), (23, 40), (30, 33), (34, 23), (34, 40)]  # 23 rows from a border or more
    patches = np.stack([image[0, y - 23 : y + 24, x - 23 : x + 24] for y, x in centres])
    answers = np.asarray(apply(variables, patches))[:, 23, 23]
    np.testing.assert_allclose(answers, [whole[place] for place in centres], atol=1e-5)
    assert np.abs(answers - answers[0]).max() > 1e-2  # they do differ from pixel to pixel


def test_without_attention_a_logit_depends_on_one_patch_and_the_convolutions() -> None:
    model = ReSCNet(4, features=8, patch=3, attention=False)
    image = scene(40, 24)
    variables = jax.jit(lambda x: model.init(jax.random.key(1), x, train=False))(image)
    apply = jax.jit(functools.partial(model.apply, train=False))
    changed = image.copy()
    changed[0, 20, 12] += 10.0
    difference = np.abs(np.asarray(apply(variables, changed) - apply(variables, image)))
    rows = np.flatnonzero(difference.max((0, 2, 3)))
    assert (rows[0], rows[-1]) == (20 - 4, 20 + 4)  # three of 3 x 3, and the last mean


@pytest.mark.parametrize(("patch", "odd"), [(8, "7 or 9"), (0, "1 or 3"), (-3, "1 or 3")])
def test_a_patch_without_a_centre_is_refused(patch: int, odd: str) -> None:
    with pytest.raises(UserError, match=f"{patch} x {patch} pixels has no centre: take {odd}"):
        jax.eval_shape(
            lambda x: ReSCNet(2, patch=patch).init(jax.random.key(0), x, train=False),
            jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32),
        )
