"""Folding batch normalisation changes no logit, and leaves none behind a convolution."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from fixtures.networks import applied, drawn, shapes
from fixtures.small_network import Small

from jaxseg.export.folding import Folded
from jaxseg.models.parts.complex_layers import ComplexBatchNorm, ComplexConv
from jaxseg.models.parts.layers import BatchNorm, Conv, ConvTranspose, DepthwiseConv
from jaxseg.models.parts.normalisation import Normalisation, normalised_by

GLOBAL = Normalisation()


class Twice(nn.Module):
    """One convolution whose outputs meet two normalisations."""

    @nn.compact
    def __call__(self, image: Any, *, train: bool) -> Any:
        """Logits."""
        conv = Conv(4, name="conv")
        first = BatchNorm(use_running_average=not train, name="first")(conv(image))
        return first + BatchNorm(use_running_average=not train, name="second")(conv(image[:, ::-1]))


class Kinds(nn.Module):
    """Every linear layer with a bias and without, each before a normalisation; one stands alone."""

    @nn.compact
    def __call__(self, image: Any, *, train: bool) -> Any:
        """Logits."""
        x = BatchNorm(use_running_average=not train, name="alone")(image)
        for layer in (Conv(4, use_bias=True), DepthwiseConv(), ConvTranspose(3), Conv(5)):
            x = nn.relu(BatchNorm(use_running_average=not train)(layer(x)))
        return x


class Phases(nn.Module):
    """A complex convolution and its normalisation."""

    @nn.compact
    def __call__(self, image: Any, *, train: bool) -> Any:
        """Logits."""
        return ComplexBatchNorm(use_running_average=not train)(ComplexConv(3)(image))


def image_of(bands: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((2, size, size, bands)).astype(np.float32)


def both(model: nn.Module, size: int = 32, norm: Normalisation = GLOBAL) -> tuple[Folded, Any, Any]:
    image = image_of(2, size)
    with normalised_by(norm):
        variables = drawn(shapes(model, 2))
        wanted = applied(model, variables, image, train=False)
    folded = Folded(model, variables, jax.ShapeDtypeStruct(image.shape, jnp.float32), norm)
    return folded, np.asarray(jax.jit(folded)(image)), np.asarray(wanted)


def close(found: Any, wanted: Any) -> None:
    assert abs(found - wanted).max() <= 1e-5 * max(1.0, abs(wanted).max())


def test_kernels_with_and_without_bias_take_their_normalisation_in() -> None:
    folded, found, wanted = both(Kinds())
    close(found, wanted)
    assert folded.left == [("alone",)]
    assert len(folded.folded) == 4
    text = str(jax.make_jaxpr(folded)(image_of(2)))
    assert "rsqrt" not in text


def test_a_convolution_that_is_called_twice_keeps_its_kernel() -> None:
    folded, found, wanted = both(Twice())
    close(found, wanted)
    assert not folded.folded
    assert folded.left == [("first",), ("second",)]


def test_complex_normalisation_mixes_into_its_kernel() -> None:
    folded, found, wanted = both(Phases())
    close(found, wanted)
    assert folded.folded
    assert not folded.left


def test_groups_are_measured_in_evaluation_and_stay() -> None:
    norm = Normalisation(kind="group", groups=2)
    model = Small(num_classes=3, features=4)
    image = image_of(2)
    with normalised_by(norm):
        made = jax.eval_shape(lambda: model.init(jax.random.key(0), image, train=False))
        variables = drawn(made)
        wanted = model.apply(variables, image, train=False)
    folded = Folded(model, variables, jax.ShapeDtypeStruct(image.shape, jnp.float32), norm)
    close(np.asarray(folded(image)), np.asarray(wanted))
    assert (folded.folded, folded.left) == ([], [])
