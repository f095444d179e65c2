"""The multi-scale SAR network: its denoiser codes sparsely and cleans, its own loss is trained."""

import dataclasses
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from fixtures.networks import applied, initialised

from jaxseg import config as configs
from jaxseg import sharding
from jaxseg.models.multiscale_sar import (
    Denoiser,
    MultiscaleSAR,
    adjoint,
    denoised,
    soft,
    sparse_loss,
)
from jaxseg.models.parts.convolution import conv2d
from jaxseg.pipeline import windows as pipeline
from jaxseg.run import completion, step
from jaxseg.sharding import MeshShape
from jaxseg.transforms.radiometry import Standardize

LOOKS = 4
MEAN, STD = -10.0, 4.0
"""Of the speckled scene in dB, about."""


def equivalent_looks(db: Any) -> float:
    """Mean squared over variance of the linear power."""
    power = 10 ** (np.asarray(db, np.float64) / 10)
    return float(power.mean() ** 2 / power.var())


def speckled(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two fields of -7 and -13 dB side by side, (2, 48, 48, 1): clean, and with speckle."""
    clean = np.full((2, 48, 48, 1), -7.0, np.float32)
    clean[:, :, 24:] = -13
    noise = np.random.default_rng(seed).gamma(LOOKS, 1 / LOOKS, clean.shape)
    return clean, (clean + 10 * np.log10(noise)).astype(np.float32)


def test_soft_thresholding_shrinks_towards_zero() -> None:
    actual = soft(jnp.array([-3.0, -0.5, 0.0, 0.2, 2.0]), jnp.array(1.0))
    np.testing.assert_allclose(actual, [-2.0, 0, 0, 0, 1.0])


def test_the_adjoint_satisfies_its_definition() -> None:
    random = np.random.default_rng(0)
    kernel = jnp.asarray(random.standard_normal((5, 5, 3, 4)), jnp.float32)
    a = jnp.asarray(random.standard_normal((1, 9, 8, 3)), jnp.float32)
    b = jnp.asarray(random.standard_normal((1, 9, 8, 4)), jnp.float32)
    left = (conv2d(a, kernel, padding=2) * b).sum()
    right = (a * conv2d(b, adjoint(kernel), padding=2)).sum()
    np.testing.assert_allclose(left, right, rtol=1e-4)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_every_step_of_the_coder_is_one_of_iterative_shrinkage(steps: int) -> None:
    random = np.random.default_rng(0)
    image = jnp.asarray(random.standard_normal((1, 12, 10, 2)), jnp.float32)
    coder = Denoiser(atoms=8, sparsity=0.5, size=3, steps=steps)
    variables = initialised(coder, image)
    p = variables["params"]
    gain = (1 + np.sqrt(8 / 2)) ** 2
    d = p["synthesis"] / jnp.sqrt((p["synthesis"] ** 2).sum((0, 1, 3), keepdims=True))
    w = p["analysis"] / (gain * 3 * np.sqrt(2))
    codes = jnp.zeros((1, 12, 10, 8))
    for _ in range(steps):
        error = conv2d(codes, d, padding=1) - image
        codes = soft(codes - conv2d(error, w, padding=1), jnp.float32(0.5 / 2 / gain))
    result, found = applied(coder, variables, image)
    np.testing.assert_allclose(found, codes, atol=1e-5)
    np.testing.assert_allclose(result, conv2d(codes, d, padding=1), atol=1e-5)


@pytest.mark.parametrize("bands", [1, 2, 40])
def test_steps_of_the_untrained_coder_lower_what_they_minimise(bands: int) -> None:
    image = jnp.asarray(np.random.default_rng(0).standard_normal((1, 24, 24, bands)), jnp.float32)
    variables = initialised(Denoiser(), image)
    losses = []
    for steps in (1, 3, 9):
        result, codes = applied(Denoiser(steps=steps), variables, image)
        losses.append(float(sparse_loss(image, result, codes, sparsity=1.0)))
    assert losses[0] > losses[1] > losses[2]
    assert losses[0] < float((image**2).mean())  # the loss of codes that are all zero


def test_the_length_of_the_atoms_does_not_matter() -> None:
    image = jnp.asarray(np.random.default_rng(0).standard_normal((1, 24, 24, 2)), jnp.float32)
    params = initialised(Denoiser(), image)["params"]
    longer = params | {"synthesis": 5 * params["synthesis"]}
    for one, other in zip(
        applied(Denoiser(), {"params": params}, image),
        applied(Denoiser(), {"params": longer}, image),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_sparse_loss_raises_the_number_of_looks_and_keeps_the_edge() -> None:
    stage, tx = Denoiser(), optax.adam(1e-2)
    _, seen = speckled(0)
    params = stage.init(jax.random.key(0), jnp.asarray(seen))["params"]

    @jax.jit
    def update(params: Any, moments: Any, image: Any) -> Any:
        def loss(params: Any) -> Any:
            return sparse_loss(image, *stage.apply({"params": params}, image), sparsity=1.0)

        change, moments = tx.update(jax.grad(loss)(params), moments, params)
        return optax.apply_updates(params, change), moments

    moments = tx.init(params)
    for seed in range(60):
        params, moments = update(params, moments, (speckled(seed)[1] - MEAN) / STD)

    clean, seen = speckled(1000)
    model = MultiscaleSAR(2)
    variables = {"params": {"denoiser": params}}
    result = denoised(model, variables, jnp.asarray((seen - MEAN) / STD)) * STD + MEAN
    for field in (np.s_[:, 4:44, 4:20], np.s_[:, 4:44, 28:44]):
        assert equivalent_looks(seen[field]) == pytest.approx(LOOKS, rel=0.15)
        assert equivalent_looks(result[field]) > 2.5 * LOOKS
    # Less variance by forgetting the image would not count: it came closer to the truth.
    truth = clean - clean.mean()
    assert np.square(result - result.mean() - truth).mean() < 0.5 * np.square(seen - clean).mean()
    step_of = [float(x[:, :, 20:22].mean() - x[:, :, 26:28].mean()) for x in (result, clean)]
    assert 0.7 * step_of[1] < step_of[0] < step_of[1]


def test_the_sparse_loss_leaves_weighted_and_only_when_asked_for() -> None:
    model = MultiscaleSAR(3, (4, 4, 4), kernel_sizes=(3,), atoms=8, sparse_weight=0.5)
    image = jnp.asarray(np.random.default_rng(0).standard_normal((2, 24, 24, 2)), jnp.float32)
    variables = jax.jit(lambda x: model.init(jax.random.key(0), x, train=False))(image)
    assert set(variables) == {"params", "batch_stats"}
    evaluate = jax.jit(model.apply, static_argnames=("train", "mutable"))
    logits, sown = evaluate(variables, image, train=False, mutable=("regularizers",))
    parts = applied(Denoiser(8), {"params": variables["params"]["denoiser"]}, image)
    (actual,) = sown["regularizers"]["sparse"]
    np.testing.assert_allclose(actual, 0.5 * sparse_loss(image, *parts, 1.0), rtol=1e-5)
    np.testing.assert_allclose(logits, evaluate(variables, image, train=False), atol=1e-5)


class Priced(nn.Module):
    """A linear network that sows the price of a parameter that its logits do not need."""

    price: float = 1.0
    num_classes: int = 3

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:  # noqa: D102
        idle = self.param("idle", nn.initializers.constant(2.0), ())
        if not self.is_initializing():
            self.sow("regularizers", "square", self.price * idle**2)
            self.sow("regularizers", "constant", jnp.float32(0.25))
        return nn.Conv(self.num_classes, (1, 1))(image)


def test_the_training_step_adds_what_networks_sow_as_regularizers(tiny: Path) -> None:
    config = dataclasses.replace(
        configs.load_config(str(tiny / "config.py")),
        model=Priced(price=0.5),
        preprocess=(Standardize((80.0, 90.0, 80.0), (40.0, 30.0, 50.0)),),
    )
    mesh = sharding.make_mesh(MeshShape(), jax.devices()[:1])
    state = step.init_state(config, 3, mesh)
    inputs = completion.inputs_of(config)
    (batch,) = pipeline.training_batches(
        config.data, seed=0, positions=[0], first=0, last=1, inputs=inputs
    )
    new, metrics = jax.jit(step.make_train_step(config, mesh))(
        state, sharding.place_batch(mesh, batch)
    )
    losses = [config.loss[name].weight * float(metrics[f"loss/{name}"]) for name in config.loss]
    assert float(metrics["loss/regularizers"]) == pytest.approx(0.5 * 2**2 + 0.25)
    assert float(metrics["loss"]) == pytest.approx(sum(losses) + 2.25, rel=1e-5)
    assert float(new.params["idle"]) < 2
