"""The auxiliary head of dilated ResNets: predicts classes from layer3, which then learns sooner.

    (B,h,w,C) ─ 3x3, C/4 ─ dropout ─ 1x1 ─ (B,h,w,K)

Source: Zhao et al., Pyramid Scene Parsing Network, CVPR 2017, arXiv:1612.01105; checked against
hszhao/semseg and, as its FCN head, torchvision.
"""

import flax.linen as nn
from jax import Array

from jaxseg.models.parts.layers import LayerOf


class AuxHead(nn.Module):
    """3x3 to a quarter of the channels, dropout 0.1, 1x1 to classes.

    Attributes:
        outputs: K.
        conv: Makes a convolution.
        norm: Makes a normalisation.
        drop_channels: Whether dropout drops whole channels, as in PSPNet, or single values, as in
            torchvision.
    """

    outputs: int
    conv: LayerOf
    norm: LayerOf
    drop_channels: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """(B, h, w, C) -> (B, h, w, K)."""
        x = self.conv(x.shape[-1] // 4, name="conv")(x)
        x = nn.relu(self.norm(name="norm")(x))
        alike = (1, 2) if self.drop_channels else ()
        x = nn.Dropout(0.1, broadcast_dims=alike, deterministic=not train)(x)
        return self.conv(self.outputs, kernel_size=1, use_bias=True, name="head")(x)
