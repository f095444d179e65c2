r"""PSPNet on Pascal VOC 2012, the paper's recipe: ResNet-101, crop 473, 30k steps.

    python train.py --config configs/pspnet_voc.py --config.data.source.path VOCdevkit \
        --config.pretrained.path resnet101_v2.pth

Needs accelerators, the standard VOCdevkit folder (with SegmentationClassAug for the augmented set),
and semseg's ImageNet weights of the ResNet-101 with the deep stem. Not run to completion by us:
semseg reports 79.07 % mIoU on the validation split for ResNet-101 after 50 epochs, at one scale.

Differences from the recipe: all layers learn at the base rate, because the optimizer has only one,
whereas the paper's new layers learn ten times as fast; no rotation by up to 10 degrees and no blur;
evaluation uses adjacent windows of the crop's size, without overlap and at one scale.
"""

from jaxseg.config import Config
from jaxseg.datasets import VOC
from jaxseg.losses import CrossEntropy
from jaxseg.models import PSPNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.transforms import Mirror, ScaleCrop, Standardize
from jaxseg.weights import Pretrained


def get_config() -> Config:
    """Zhao et al. 2017, section 5.1: batch 16, poly, scales 0.5 to 2, auxiliary head at 0.4."""
    return Config(
        model=PSPNet(num_classes=21, backbone="resnet101", dtype="bfloat16"),
        data=Data(source=VOC(path="VOCdevkit", augmented=True), crop=473, batch_size=16, pad=True),
        preprocess=(Standardize(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),),
        augment=(Mirror(), ScaleCrop(size=473, low=0.5, high=2.0)),
        loss={"ce": CrossEntropy()},
        aux_weight=0.4,
        optimizer=Optimizer(
            name="sgd", learning_rate=1e-2, schedule="poly", power=0.9, weight_decay=1e-4
        ),
        pretrained=Pretrained(path="resnet101_v2.pth", part="encoder"),
        num_steps=30_000,
        log_every=50,
        eval_every=3_000,
        save_every=1_000,
    )
