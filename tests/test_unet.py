"""The lecture's U-Net answers as its reference does."""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxseg import pretrained
from jaxseg.models.unet import UNet


@pytest.mark.parametrize(
    ("name", "model"),
    [("unet_lecture_4to5_f16", UNet(5, features=16)), ("unet_lecture_3to1_f32", UNet(1))],
)
def test_imported_weights_give_the_references_logits(
    golden: Callable[[str], Any], name: str, model: UNet
) -> None:
    reference = golden(name)
    variables = pretrained.load(model, reference.state)
    logits = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, reference.image)
    expected = reference.outputs["out"]
    assert np.abs(logits - expected).max() <= 1e-4 * max(1, np.abs(expected).max())


def variables_of(model: UNet, bands: int) -> Any:
    with jax.disable_jit():  # compiling `init` takes longer than running it once
        return model.init(jax.random.key(0), jnp.zeros((1, 16, 16, bands)), train=False)


def test_an_image_of_any_size_is_padded_by_its_edge_and_cropped_again() -> None:
    model = UNet(2, features=4)
    variables = variables_of(model, bands=3)
    image = jax.random.normal(jax.random.key(1), (2, 37, 50, 3))
    apply = jax.jit(lambda v, x: model.apply(v, x, train=False))
    padded = jnp.pad(image, ((0, 0), (0, 11), (0, 14), (0, 0)), mode="edge")
    chex.assert_trees_all_close(
        apply(variables, image), apply(variables, padded)[:, :37, :50], atol=1e-5
    )


def gradient(model: UNet, batch_stats: Any) -> Callable[[Any, jax.Array], Any]:
    """(params, image) -> gradients, (logits, new batch statistics)."""

    def loss(params: Any, image: jax.Array) -> tuple[jax.Array, Any]:
        given = {"params": params, "batch_stats": batch_stats}
        logits, updates = model.apply(given, image, train=True, mutable=["batch_stats"])
        return jnp.sin(logits).mean(), (logits, updates["batch_stats"])

    return jax.grad(loss, has_aux=True)


def assert_same_step(actual: Any, expected: Any) -> None:
    """Logits and statistics agree to rounding, gradients as far as switching ReLUs let them.

    Moving the image by 3e-7 changes a tensor's gradient here by 1 % of its largest value.
    """
    chex.assert_trees_all_close(actual[1], expected[1], rtol=1e-4, atol=1e-4)
    for ours, theirs in zip(jax.tree.leaves(actual[0]), jax.tree.leaves(expected[0]), strict=True):
        assert np.linalg.norm(ours - theirs) <= 0.02 * np.linalg.norm(theirs) + 1e-5


@pytest.fixture(scope="module")
def one_device() -> tuple[Any, jax.Array, Any]:
    """Variables, image, and what a training step on one device gives."""
    variables = variables_of(UNet(2, features=4), bands=3)
    image = jax.random.normal(jax.random.key(1), (4, 64, 32, 3))
    step = gradient(UNet(2, features=4), variables["batch_stats"])
    return variables, image, jax.jit(step)(variables["params"], image)


def test_recomputing_blocks_changes_neither_names_nor_numbers(
    one_device: tuple[Any, jax.Array, Any],
) -> None:
    variables, image, expected = one_device
    step = gradient(UNet(2, features=4, remat=True), variables["batch_stats"])
    assert_same_step(jax.jit(step)(variables["params"], image), expected)


def test_a_training_step_on_sharded_samples_and_rows_equals_one_device(
    one_device: tuple[Any, jax.Array, Any], mesh: Mesh
) -> None:
    variables, image, expected = one_device
    step = gradient(UNet(2, features=4), variables["batch_stats"])
    placed = NamedSharding(mesh, P(("data", "fsdp"), "space"))
    on_mesh = jax.jit(step, in_shardings=(NamedSharding(mesh, P()), placed))
    assert_same_step(on_mesh(variables["params"], image), expected)
