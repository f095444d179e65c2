"""Attention U-Nets: the copied form answers as its reference, the authors' has its parameters."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.networks import applied, drawn, shapes

from jaxseg.models.attention_unet import AttentionUNet, Gate, GridAttentionUNet, GridGate
from jaxseg.models.parts.layers import BatchNorm, Conv
from jaxseg.models.parts.resampling import resize
from jaxseg.weights import pretrained


@pytest.mark.parametrize(
    ("case", "model"),
    [
        ("attention_unet_3to1", AttentionUNet(1)),
        ("grid_attention_unet_3to4", GridAttentionUNet(4)),
        ("grid_attention_unet_single_3to4", GridAttentionUNet(4, gates=1)),
    ],
)
def test_imported_weights_give_the_references_logits(
    golden: Callable[[str], Any], case: str, model: AttentionUNet | GridAttentionUNet
) -> None:
    reference = golden(case)
    variables = pretrained.load(model, reference.state)
    logits = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, reference.image)
    expected = reference.outputs["out"]
    assert np.abs(logits - expected).max() <= 1e-4 * max(1, np.abs(expected).max())


@pytest.mark.parametrize(
    "model",
    [AttentionUNet(2, 4), AttentionUNet(2, 4, gates=False), GridAttentionUNet(3, features=4)],
)
def test_exported_weights_come_back_bit_by_bit(model: Any) -> None:
    variables = drawn(shapes(model, bands=5))
    again = pretrained.load(model, pretrained.exported(model, variables))
    jax.tree.map(np.testing.assert_array_equal, again, variables)


@pytest.mark.parametrize(("gates", "expected"), [(2, 6_473_322), (1, 6_214_151)])
def test_with_kernels_of_three_dimensions_it_would_have_the_authors_parameters(
    gates: Any, expected: int
) -> None:
    params = shapes(GridAttentionUNet(4, gates=gates), bands=1)["params"]
    leaves = jax.tree.leaves(params)
    assert sum(leaf.size * (leaf.shape[0] if leaf.ndim == 4 else 1) for leaf in leaves) == expected


def test_a_grid_gate_has_the_authors_parameters() -> None:
    def norm(name: str) -> Any:
        return BatchNorm(use_running_average=True, name=name)

    gate = GridGate(lambda *a, **k: Conv(*a, **({"use_bias": True} | k)), norm)
    skip, signal = (jax.ShapeDtypeStruct((1, n, n, c), jnp.float32) for n, c in ((8, 64), (4, 128)))
    params = jax.eval_shape(lambda s, g: gate.init(jax.random.key(0), s, g), skip, signal)["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 28_993


def biased(*arguments: Any, **options: Any) -> Conv:
    return Conv(*arguments, **({"use_bias": True} | options))


def still(name: str) -> Any:
    return BatchNorm(use_running_average=True, name=name)


def features(size: int, channels: int) -> np.ndarray:
    random = np.random.default_rng(channels)
    return random.standard_normal((2, size, size, channels)).astype(np.float32)


def test_a_gate_weighs_pixels_by_skip_and_signal() -> None:
    gate = Gate(3, biased, still)
    skip, signal = features(6, 8), features(6, 5)
    variables = drawn(jax.eval_shape(lambda: gate.init(jax.random.key(0), skip, signal)))
    p, stats = variables["params"], variables["batch_stats"]

    def layer(x: Any, name: str) -> Any:
        y = x @ p[name]["kernel"][0, 0] + p[name]["bias"]
        norm, seen = p[f"{name}_norm"], stats[f"{name}_norm"]
        return (y - seen["mean"]) / np.sqrt(seen["var"] + 1e-5) * norm["scale"] + norm["bias"]

    inside = np.maximum(layer(skip, "skip") + layer(signal, "signal"), 0)
    expected = skip / (1 + np.exp(-layer(inside, "psi")))
    np.testing.assert_allclose(applied(gate, variables, skip, signal), expected, atol=1e-5)


def test_a_grid_gate_decides_on_half_the_grid() -> None:
    gate = GridGate(biased, still)
    skip, signal = features(8, 6), features(4, 5)
    variables = drawn(jax.eval_shape(lambda: gate.init(jax.random.key(0), skip, signal)))
    p, stats = variables["params"], variables["batch_stats"]["norm"]
    blocks = skip.reshape(2, 4, 2, 4, 2, 6)
    theta = np.einsum("bhiwjc,ijcf->bhwf", blocks, p["theta"]["kernel"])
    phi = signal @ p["phi"]["kernel"][0, 0] + p["phi"]["bias"]
    psi = np.maximum(theta + phi, 0) @ p["psi"]["kernel"][0, 0] + p["psi"]["bias"]
    alpha = resize(1 / (1 + jnp.exp(-psi)), (8, 8))
    y = (alpha * skip) @ p["out"]["kernel"][0, 0] + p["out"]["bias"]
    y = (y - stats["mean"]) / np.sqrt(stats["var"] + 1e-5) * p["norm"]["scale"] + p["norm"]["bias"]
    np.testing.assert_allclose(applied(gate, variables, skip, signal), y, atol=1e-4)
