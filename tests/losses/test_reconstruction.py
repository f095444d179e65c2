"""Masked reconstruction: hidden pixels with data count, and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.losses.reconstruction import MaskedReconstruction, reconstructs
from jaxseg.scenes.scene import IGNORE, Batch

LOSS = MaskedReconstruction()


def batch_of() -> tuple[jax.Array, Batch]:
    random = np.random.default_rng(1)
    output, target = random.standard_normal((2, 2, 4, 4, 3)).astype(np.float32)
    hidden, valid = random.random((2, 2, 4, 4)) < 0.5
    label = np.full((2, 4, 4), IGNORE)
    arrays = {"target": target, "hidden": hidden, "valid": valid, "label": label}
    return jnp.asarray(output), {name: jnp.asarray(array) for name, array in arrays.items()}


def test_it_is_the_mean_absolute_difference_of_hidden_pixels_with_data() -> None:
    output, batch = batch_of()
    counted = np.asarray(batch["hidden"] & batch["valid"])
    assert 0 < counted.sum() < counted.size / 2
    expected = np.abs(np.asarray(output) - np.asarray(batch["target"]))[counted].mean()
    assert float(LOSS(output, batch, batch["valid"])) == pytest.approx(expected, rel=1e-6)


def test_a_visible_or_invalid_pixel_has_no_gradient_and_a_hidden_one_without_label_has() -> None:
    output, batch = batch_of()
    counted = batch["hidden"] & batch["valid"]
    none = jnp.zeros_like(counted)  # no pixel has a label
    gradient = jax.grad(lambda out: LOSS(out, batch, none))(output)
    assert not gradient[~counted].any()
    assert (gradient[counted] != 0).all()


def test_a_batch_without_hidden_data_has_loss_0_and_a_finite_gradient() -> None:
    output, batch = batch_of()
    batch["valid"] = ~batch["hidden"]
    value, gradient = jax.value_and_grad(lambda out: LOSS(out, batch, batch["valid"]))(output)
    assert value == 0
    assert not gradient.any()


def test_nothing_hidden_and_another_number_of_outputs_are_refused() -> None:
    output, batch = batch_of()
    with pytest.raises(UserError, match="2 outputs for 3 bands"):
        LOSS(output[..., :2], batch, batch["valid"])
    batch.pop("hidden")
    with pytest.raises(UserError, match="HidePatches"):
        LOSS(output, batch, batch["valid"])
    with pytest.raises(UserError, match="weight"):
        MaskedReconstruction(weight=-1.0)


def test_a_config_reconstructs_if_one_of_its_losses_does() -> None:
    assert reconstructs([LOSS])
    assert not reconstructs([])
