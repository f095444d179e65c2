"""Normalisations that see one value per channel in training are found while a step is traced."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from jaxseg.errors import UserError
from jaxseg.models import ComplexUNet, DeepLabV3, PSPNet, UNet
from jaxseg.models.parts.layers import BatchNorm
from jaxseg.run import single_values


def found_in(model: nn.Module, windows: int, *, crop: int = 32, train: bool = True) -> list[str]:
    """Paths of such normalisations, without computing anything."""
    key = jax.random.key(0)
    image = jax.ShapeDtypeStruct((windows, crop, crop, 9), jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(key, x, train=False), image)
    with single_values.watched() as found:
        jax.eval_shape(
            lambda v, x: model.apply(
                v, x, train=train, rngs={"dropout": key}, mutable=["batch_stats", "aux_logits"]
            ),
            variables,
            image,
        )
    return list(found)


def test_they_are_found_wherever_one_value_is_left() -> None:
    deeplab = DeepLabV3(num_classes=2, backbone="resnet18", features=8)
    assert found_in(deeplab, 1) == ["pyramid/image_norm"]
    assert found_in(deeplab, 2) == []
    assert found_in(deeplab, 1, train=False) == []
    assert found_in(deeplab.clone(freeze_batch_norm=True), 1) == []
    assert found_in(PSPNet(2, "resnet18"), 1) == ["pyramid/level0_norm"]
    for unet in (UNet(2, features=4, remat=True), ComplexUNet(2, features=4)):
        assert found_in(unet, 1, crop=32) == []
        deepest = found_in(unet, 1, crop=16)
        assert [path.split("/")[0] for path in deepest] == ["bottleneck"] * 2


class Gate(nn.Module):
    """The mean of an image, normalised."""

    norm: type[nn.BatchNorm] = nn.BatchNorm

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        """(B, H, W, C) -> (B, 1, 1, C)."""
        gate: jax.Array = self.norm(use_running_average=not train, name="gate")(
            image.mean((1, 2), keepdims=True)
        )
        return gate


def test_flaxs_own_normalisation_of_one_value_is_refused_with_what_to_use() -> None:
    with pytest.raises(UserError, match=r"normalisation gate has one value .* Use BatchNorm of"):
        found_in(Gate(), 1)
    assert found_in(Gate(), 1, train=False) == []
    assert found_in(Gate(), 2) == []
    assert found_in(Gate(BatchNorm), 1) == ["gate"]


def test_the_report_names_the_first_and_the_batch_that_has_two_windows_in_a_slice() -> None:
    said = single_values.report({"pyramid/image_norm": None, "b": None}, 4, 4)
    assert "Normalisation pyramid/image_norm and 1 more: one value per channel in 1 window" in said
    assert said.endswith("--config.data.batch-size 8.")
