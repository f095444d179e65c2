"""How far a pixel sees, against sums of kernels."""

import flax.linen as nn
from jax import Array

from jaxseg.cli.receptive_field import receptive_field
from jaxseg.models.parts.layers import BatchNorm, Conv, ConvTranspose, SeparableConv
from jaxseg.models.parts.resampling import max_pool3x3
from jaxseg.models.resc_net import ReSCNet
from jaxseg.models.two_networks import TwoNetworks
from jaxseg.models.unet import UNet


class Chain(nn.Module):
    """Two 3x3 convolutions, a pooling, an atrous one at rate 4, maybe separable, maybe a gate."""

    gated: bool = False
    separable: bool = False
    num_classes: int = 2

    @nn.compact
    def __call__(self, image: Array, *, train: bool) -> Array:  # noqa: D102
        x = nn.relu(BatchNorm(use_running_average=not train)(Conv(8)(image)))
        x = Conv(8)(x)
        x = max_pool3x3(x)
        x = (SeparableConv if self.separable else Conv)(8, dilation=4)(x)
        if self.gated:
            x = x * nn.sigmoid(x.mean((1, 2), keepdims=True))
        return ConvTranspose(self.num_classes)(x)


def test_a_pixel_sees_what_the_kernels_add_up_to() -> None:
    # 2 + 2 rows of the first two, 2 of the pooling, 8 x 2 of the atrous one: 1 + 4 + 2 + 16.
    assert receptive_field(Chain(), 2) == 23
    assert receptive_field(Chain(separable=True), 2) == 23
    assert receptive_field(Chain(gated=True), 2) is None


def test_the_farthest_pixel_of_a_unet_counts() -> None:
    # Rows at full size, 1/2, ... 1/16: a block adds 4. Down from a pixel, 5 rows lie in 3 of the
    # next stage, 7 in 4, 8 in at most 5, 9 in 5; these and 4 are 9. On the way up they are 18 + 4,
    # 44 + 4, 96 + 4 and 200 + 4 of the image.
    assert receptive_field(UNet(1, features=4), 16) == 204
    two = TwoNetworks(1, network=UNet(0, features=4))
    assert receptive_field(two, 16) == 204


def test_gates_that_act_on_one_another_do_not_hide_what_they_see() -> None:
    # 5 P + 2 rows by its docstring.
    assert receptive_field(ReSCNet(1, features=8), 1) == 5 * 9 + 2
