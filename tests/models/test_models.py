"""The contract of every network: whatever is added to jaxseg/models is found and held to it."""

import math
from functools import lru_cache
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.compiler import AS_USERS_ROUND
from fixtures.every_network import NETWORKS, every_network, small
from fixtures.networks import drawn, shapes
from jax import Array

from jaxseg.models.parts.normalisation import Normalisation, normalised_by


@lru_cache
def trained(name: str) -> tuple[Any, Any, Any, Any]:
    """Variables, gradients, new batch statistics, and those of an evaluation, in bfloat16."""
    model = small(name, dtype="bfloat16")
    variables = drawn(shapes(model, bands=4))
    image = jnp.asarray(np.random.default_rng(1).standard_normal((4, 37, 50, 4)), jnp.float32)

    def loss(params: Any) -> tuple[Array, tuple[Any, Any]]:
        given = variables | {"params": params}
        logits, updates = model.apply(
            given,
            image,
            train=True,
            mutable=["batch_stats", "aux_logits", "class_logits"],
            rngs={"dropout": jax.random.key(0)},
        )
        _, evaluated = model.apply(given, image, train=False, mutable=["batch_stats", "aux_logits"])
        present = jax.tree.leaves(updates.get("class_logits", {}))
        for answer in present:
            chex.assert_shape(answer, (4, 3))
            chex.assert_type(answer, jnp.float32)
        every = [logits, *jax.tree.leaves(updates.get("aux_logits", {}))]
        for answer in every:
            chex.assert_shape(answer, (4, 37, 50, 3))
            chex.assert_type(answer, jnp.float32)
        pattern = jnp.cos(jnp.arange(logits.size)).reshape(logits.shape)
        total = sum((nn.log_softmax(answer) * pattern).sum() for answer in every)
        total += sum((answer * jnp.cos(jnp.arange(12.0)).reshape(4, 3)).sum() for answer in present)
        return total, (updates.get("batch_stats", {}), evaluated.get("batch_stats", {}))

    gradients, (moved, still) = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    return variables, gradients, moved, still


def test_the_networks_are_found() -> None:
    assert {"UNet", "DeepLabV3"} <= NETWORKS.keys()


@every_network
@pytest.mark.parametrize(
    ("bands", "classes"),
    [
        (9, 5),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ((1, 20), (9, 1), (200, 2))),
    ],
)
def test_logits_have_the_images_size_for_any_bands_classes_and_sizes(
    name: str, bands: int, classes: int
) -> None:
    dims = chex.Dimensions(B=2, H=45 + bands % 3, W=70, C=bands, K=classes)
    model = small(name, classes)
    image = jax.ShapeDtypeStruct(dims["BHWC"], jnp.float32)
    logits = jax.eval_shape(
        lambda v, x: model.apply(v, x, train=False), shapes(model, bands), image
    )
    chex.assert_shape(logits, dims["BHWK"])
    chex.assert_type(logits, jnp.float32)


@every_network
def test_parameters_and_statistics_are_float32_whatever_is_computed_in(name: str) -> None:
    variables = shapes(small(name, dtype="bfloat16"), bands=3)
    assert {"params"} <= set(variables) <= {"params", "batch_stats"}
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


@every_network
def test_bfloat16_is_what_the_network_multiplies_in(name: str) -> None:
    model = small(name, dtype="bfloat16")
    image = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
    program = jax.jit(lambda v, x: model.apply(v, x, train=False)).lower(shapes(model, 3), image)
    lines = program.as_text().splitlines()
    products = [line for line in lines if "stablehlo.convolution" in line] or [
        line for line in lines if "stablehlo.dot_general" in line
    ]
    assert products
    assert all(line.rstrip().endswith("bf16>") or "xbf16>" in line for line in products)


@pytest.mark.slow
@every_network
def test_every_parameter_gets_a_gradient(name: str) -> None:
    _, gradients, _, _ = trained(name)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(leaf).all(), jax.tree_util.keystr(path)
        assert np.abs(leaf).max() > 0, jax.tree_util.keystr(path)


@pytest.mark.slow
@every_network
def test_batch_statistics_move_in_training_and_not_in_evaluation(name: str) -> None:
    variables, _, moved, still = trained(name)
    stats = variables.get("batch_stats", {})
    chex.assert_trees_all_equal(still, stats)
    for before, after in zip(jax.tree.leaves(stats), jax.tree.leaves(moved), strict=True):
        assert np.isfinite(after).all()
        assert (np.asarray(before) != np.asarray(after)).any()


@pytest.mark.slow
@every_network
def test_computing_blocks_anew_changes_no_gradient(name: str) -> None:
    variables = drawn(shapes(small(name), bands=3))
    image = jnp.asarray(np.random.default_rng(1).standard_normal((2, 32, 48, 3)), jnp.float32)

    def gradients(model: nn.Module) -> Any:
        def loss(params: Any) -> Array:
            logits, _ = model.apply(
                variables | {"params": params},
                image,
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": jax.random.key(0)},
            )
            return (
                nn.log_softmax(logits) * jnp.cos(jnp.arange(logits.size)).reshape(logits.shape)
            ).sum()

        # A value recomputed with other rounding may pass a ReLU or a pooling on the other side.
        compiled = jax.jit(jax.grad(loss), compiler_options=AS_USERS_ROUND)
        return compiled(variables["params"])

    kept, anew = gradients(small(name)), gradients(small(name, remat=True))
    norm = math.sqrt(sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(kept)))
    for path, leaf in jax.tree_util.tree_leaves_with_path(jax.tree.map(jnp.subtract, kept, anew)):
        assert float(jnp.linalg.norm(leaf)) <= 1e-4 * norm, jax.tree_util.keystr(path)


@pytest.mark.slow
@every_network
def test_every_network_measures_groups_of_channels_with_the_same_parameters(name: str) -> None:
    for model, groups in (
        (small(name), 2),
        (NETWORKS[name](num_classes=3), Normalisation().groups),
    ):
        image = jax.ShapeDtypeStruct((1, 64, 64, 9), jnp.float32)
        with normalised_by(Normalisation("group", groups=groups)):
            grouped = jax.eval_shape(
                lambda x, model=model: model.init(jax.random.key(0), x, train=False), image
            )
        params = {"params": shapes(model, bands=9)["params"]}
        chex.assert_trees_all_equal_shapes_and_dtypes(grouped, params)
