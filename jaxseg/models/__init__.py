"""The networks: one file per architecture, each a Linen module `(image, *, train) -> logits`.

The contract: `(B, H, W, C)` preprocessed image -> `(B, H, W, K)` float32 logits of the image's
size, for any C, H and W. A network that needs multiples of a stride pads internally by edge
replication and crops its logits. Auxiliary heads sow further (B, H, W, K) float32 logits by
`self.sow("aux_logits", ...)`, and image-level heads (B, K) float32 logits of the classes in the
image by `self.sow("class_logits", ...)`. No activation at the end, no weight loading.
"""

from jaxseg.models.attention_unet import AttentionUNet, GridAttentionUNet
from jaxseg.models.chws_unet import CHWSUNet
from jaxseg.models.complex_unet import ComplexUNet
from jaxseg.models.deeplab import DeepLabV3
from jaxseg.models.deeplab_plus import DeepLabV3Plus
from jaxseg.models.domain_prompted import DomainPrompted
from jaxseg.models.linknet import LinkNet
from jaxseg.models.multiscale_sar import MultiscaleSAR
from jaxseg.models.original_unet import OriginalUNet
from jaxseg.models.prithvi import PrithviLinear, PrithviUNet
from jaxseg.models.pspnet import LecturePSPNet, PSPNet
from jaxseg.models.refined_pspnet import RefinedPSPNet
from jaxseg.models.resc_net import ReSCNet
from jaxseg.models.resnet_unet import ResNetUNet
from jaxseg.models.two_networks import TwoNetworks
from jaxseg.models.unet import UNet
from jaxseg.models.unet3plus import UNet3Plus
from jaxseg.models.unet_plus_plus import UNetPlusPlus

__all__ = [
    "AttentionUNet",
    "CHWSUNet",
    "ComplexUNet",
    "DeepLabV3",
    "DeepLabV3Plus",
    "DomainPrompted",
    "GridAttentionUNet",
    "LecturePSPNet",
    "LinkNet",
    "MultiscaleSAR",
    "OriginalUNet",
    "PSPNet",
    "PrithviLinear",
    "PrithviUNet",
    "ReSCNet",
    "RefinedPSPNet",
    "ResNetUNet",
    "TwoNetworks",
    "UNet",
    "UNet3Plus",
    "UNetPlusPlus",
]
