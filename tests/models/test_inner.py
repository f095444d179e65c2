"""Logits of the inner part of an image are those of the whole image."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.networks import drawn, shapes

from jaxseg.models import AttentionUNet, OriginalUNet, UNet
from jaxseg.models.parts.inner import InnerLogits, inner_logits

NETWORKS = [
    UNet(3, features=2),
    AttentionUNet(3, features=2),
    OriginalUNet(3, features=2),
]


@pytest.mark.parametrize("model", NETWORKS, ids=lambda model: type(model).__name__)
@pytest.mark.parametrize(
    ("size", "margin"),
    [
        ((250, 231), 101),
        pytest.param((80, 64), 7, marks=pytest.mark.slow),
        pytest.param((240, 320), 112, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_inner_logits_are_those_of_the_whole_image(
    model: nn.Module, size: tuple[int, int], margin: int
) -> None:
    variables = drawn(shapes(model, bands=2))
    image = np.random.default_rng(0).normal(size=(2, *size, 2)).astype(np.float32)
    whole = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, image)
    inner = jax.jit(lambda v, x: inner_logits(model, v, x, margin))(variables, image)
    expected = np.asarray(whole)[:, margin:-margin, margin:-margin]
    np.testing.assert_allclose(inner, expected, atol=1e-5 * np.abs(expected).max())


class Brighter(UNet):
    """A network of a user's own, which knows of no margin."""

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        """The first band, for the first class."""
        return jnp.zeros((*image.shape[:3], self.num_classes)).at[..., 0].set(image[..., 0])


def test_a_derived_network_with_another_call_answers_as_it_is_called() -> None:
    image = np.random.default_rng(0).normal(size=(1, 40, 40, 2)).astype(np.float32)
    found = inner_logits(Brighter(3), {}, image, 8)
    np.testing.assert_array_equal(found[..., 0], image[:, 8:-8, 8:-8, 0])


@pytest.mark.parametrize("model", NETWORKS, ids=lambda model: type(model).__name__)
def test_what_only_the_outer_logits_depend_on_is_not_computed(model: InnerLogits) -> None:
    model = dataclasses.replace(model, features=8)
    variables = shapes(model, bands=2)
    image = jax.ShapeDtypeStruct((1, 384, 384, 2), np.float32)

    def work(margin: int) -> float:
        program = jax.jit(lambda v, x: inner_logits(model, v, x, margin)).lower(variables, image)
        return float((program.cost_analysis() or {})["flops"])

    assert work(112) < 0.75 * work(0)
