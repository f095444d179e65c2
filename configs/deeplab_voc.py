r"""DeepLabV3 on Pascal VOC 2012, the paper's first stage: ResNet-101, output stride 16.

    python train.py --config configs/deeplab_voc.py --config.data.source.path VOCdevkit \
        --config.pretrained.path resnet101.pth

Needs accelerators, the standard VOCdevkit folder (with SegmentationClassAug for the augmented set),
and torchvision's ImageNet weights of ResNet-101. The second stage is `deeplab_voc_os8.py`. Not run
to completion by us: the paper reports 77.2 % mIoU on the validation split for a ResNet-101 at
output stride 16 after this stage.
"""

from jaxseg.config import Config
from jaxseg.datasets import VOC
from jaxseg.losses import CrossEntropy
from jaxseg.models import DeepLabV3
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.transforms import Mirror, ScaleCrop, Standardize
from jaxseg.weights import Pretrained


def get_config() -> Config:
    """Chen et al. 2017, section 4: crop 513, batch 16, poly, scales 0.5 to 2, multi-grid."""
    return Config(
        model=DeepLabV3(
            num_classes=21,
            backbone="resnet101",
            output_stride=16,
            multi_grid=(1, 2, 4),
            dropout=0.1,
            dtype="bfloat16",
        ),
        data=Data(source=VOC(path="VOCdevkit", augmented=True), crop=513, batch_size=16, pad=True),
        preprocess=(Standardize(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),),
        augment=(Mirror(), ScaleCrop(size=513, low=0.5, high=2.0)),
        loss={"ce": CrossEntropy()},
        optimizer=Optimizer(
            name="sgd", learning_rate=7e-3, schedule="poly", power=0.9, weight_decay=1e-4
        ),
        pretrained=Pretrained(path="resnet101.pth", part="encoder"),
        num_steps=30_000,
        log_every=50,
        eval_every=3_000,
        save_every=1_000,
    )
