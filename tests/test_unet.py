"""The lecture's U-Net answers as its reference does."""

from collections.abc import Callable

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
    golden: Callable[[str], object], name: str, model: UNet
) -> None:
    reference = golden(name)
    variables = pretrained.load(model, reference.state)
    logits = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, reference.image)
    expected = reference.outputs["out"]
    assert np.abs(logits - expected).max() <= 1e-4 * max(1, np.abs(expected).max())


def variables_of(model: UNet, bands: int) -> object:
    key = jax.random.key(0, impl="rbg")
    return jax.jit(lambda: model.init(key, jnp.zeros((1, 16, 16, bands)), train=False))()


def test_an_image_of_any_size_is_padded_by_its_edge_and_cropped_again() -> None:
    model = UNet(2, features=4)
    variables = variables_of(model, bands=3)
    image = jax.random.normal(jax.random.key(1), (2, 37, 50, 3))
    apply = jax.jit(lambda v, x: model.apply(v, x, train=False))
    padded = jnp.pad(image, ((0, 0), (0, 11), (0, 14), (0, 0)), mode="edge")
    chex.assert_trees_all_close(
        apply(variables, image), apply(variables, padded)[:, :37, :50], atol=1e-5
    )


def test_recomputing_blocks_changes_neither_names_nor_numbers() -> None:
    image = jax.random.normal(jax.random.key(1), (2, 32, 32, 3))
    variables = variables_of(UNet(2, features=4), bands=3)

    def gradient(model: UNet) -> object:
        def loss(params: object) -> jax.Array:
            given = {**variables, "params": params}
            logits, _ = model.apply(given, image, train=True, mutable=["batch_stats"])
            return jnp.sin(logits).sum()

        return jax.jit(jax.grad(loss))(variables["params"])

    chex.assert_trees_all_close(
        gradient(UNet(2, features=4)),
        gradient(UNet(2, features=4, remat=True)),
        rtol=1e-3,
        atol=1e-3,
    )


def test_a_training_step_on_sharded_samples_and_rows_equals_one_device(mesh: Mesh) -> None:
    model = UNet(2, features=4)
    variables = variables_of(model, bands=3)
    image = jax.random.normal(jax.random.key(1), (4, 64, 32, 3))

    def step(params: object, image: jax.Array) -> object:
        def loss(params: object) -> tuple[jax.Array, object]:
            given = {**variables, "params": params}
            logits, updates = model.apply(given, image, train=True, mutable=["batch_stats"])
            return jnp.sin(logits).mean(), updates["batch_stats"]

        return jax.grad(loss, has_aux=True)(params)

    expected = jax.jit(step)(variables["params"], image)
    placed = NamedSharding(mesh, P(("data", "fsdp"), "space"))
    on_mesh = jax.jit(step, in_shardings=(NamedSharding(mesh, P()), placed))
    chex.assert_trees_all_close(on_mesh(variables["params"], image), expected, rtol=1e-4, atol=1e-5)
