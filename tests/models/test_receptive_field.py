"""How far a pixel sees, against sums of kernels."""

import flax.linen as nn
from jax import Array

from jaxseg.models.parts.layers import BatchNorm, Conv, ConvTranspose, SeparableConv
from jaxseg.models.parts.resampling import max_pool3x3
from jaxseg.models.receptive_field import Sight, receptive_field, sight
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


def test_what_lies_beyond_the_border_spoils_as_much_as_the_kernels_add_up_to() -> None:
    # The same without stride: half of it to each side.
    assert sight(Straight(), 1) == Sight(5 + 2 * 3, 5)
    # A cell of 16 rows spoils 2 rows of each block: 2 + 4 + 8 + 16 + 32 on the way down, and, of
    # whole cells on the way up, 2 more at 1/8, 1/4, 1/2 and full size.
    down = 2 + 2 * 2 + 2 * 4 + 2 * 8
    at_16 = -(-down // 16) * 16 + 2 * 16
    assert sight(UNet(1, features=4), 16) == Sight(204, at_16 + 2 * 8 + 2 * 4 + 2 * 2 + 2)


def test_gates_that_act_on_one_another_do_not_hide_what_they_see() -> None:
    # 5 P + 2 rows by its docstring.
    assert receptive_field(ReSCNet(1, features=8), 1) == 5 * 9 + 2


class Straight(nn.Module):
    """A convolution of 5 rows and one of 3 at a rate, no stride; two of them see other rows."""

    rate: int = 3
    up: bool = False
    num_classes: int = 2

    @nn.compact
    def __call__(self, image: Array, *, train: bool) -> Array:  # noqa: D102
        x = nn.relu(Conv(4, kernel_size=5)(image))
        x = Conv(4, dilation=self.rate)(x)
        if self.up:
            x = ConvTranspose(4, kernel_size=3, padding=1, output_padding=1)(x)
            x = Conv(4, kernel_size=3, stride=2)(x)
        return Conv(self.num_classes, kernel_size=1, use_bias=True)(x)


def test_rows_are_counted_without_strides_and_through_transposed_convolutions() -> None:
    assert receptive_field(Straight(), 1) == 5 + 2 * 3
    assert receptive_field(Straight(rate=9), 1) == 5 + 2 * 9
    # Painted by 3 rows two apart, then looked at by 3: one neighbour more on either side.
    assert receptive_field(Straight(up=True), 1) == 5 + 2 * 3 + 2


def test_what_reaches_the_first_or_the_last_row_is_called_global() -> None:
    assert receptive_field(Straight(rate=764), 1) == 5 + 2 * 764
    assert receptive_field(Straight(rate=765), 1) is None
