r"""DeepLabV3 on Pascal VOC 2012, the paper's second stage: output stride 8, frozen batch norm.

    python train.py --config configs/deeplab_voc_os8.py --config.data.source.path VOCdevkit \
        --config.init-from runs/deeplab_voc

Starts from the parameters of `deeplab_voc.py` and trains on VOC's own masks, which are better than
the augmented ones. Not run to completion by us: the paper reports 78.5 % mIoU on the validation
split at output stride 8.
"""

from jaxseg.config import Config
from jaxseg.datasets import VOC
from jaxseg.losses import CrossEntropy
from jaxseg.models import DeepLabV3
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.transforms import Mirror, ScaleCrop, Standardize


def get_config() -> Config:
    """Chen et al. 2017, section 4.1: learning rate 0.001 and batch norm frozen."""
    return Config(
        model=DeepLabV3(
            num_classes=21,
            backbone="resnet101",
            output_stride=8,
            multi_grid=(1, 2, 4),
            dropout=0.1,
            dtype="bfloat16",
            freeze_batch_norm=True,
        ),
        data=Data(source=VOC(path="VOCdevkit"), crop=513, batch_size=16, pad=True),
        preprocess=(Standardize(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),),
        augment=(Mirror(), ScaleCrop(size=513, low=0.5, high=2.0)),
        loss={"ce": CrossEntropy()},
        optimizer=Optimizer(
            name="sgd", learning_rate=1e-3, schedule="poly", power=0.9, weight_decay=1e-4
        ),
        init_from="runs/deeplab_voc",
        num_steps=30_000,
        log_every=50,
        eval_every=3_000,
        save_every=1_000,
    )
