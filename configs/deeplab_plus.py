"""DeepLabV3+ in the paper's form on the embedded optical landscape.

Reaches 0.536 mIoU on the test split in 202 CPU seconds of training, compiling included; no
classifier of single pixels can exceed 0.299.

    python train.py --config configs/deeplab_plus.py
    python train.py --config configs/deeplab_plus.py --config.model.backbone resnet50
"""

from jaxseg.config import Config
from jaxseg.datasets.landscape import MEAN, STD, Landscape
from jaxseg.losses import CrossEntropy
from jaxseg.models import DeepLabV3Plus
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.transforms import Brightness, Dihedral, Standardize


def get_config() -> Config:
    """DeepLabV3+ with ResNet-18 and separable convolutions on 128 x 128 windows of four bands."""
    return Config(
        model=DeepLabV3Plus(
            num_classes=10,
            backbone="resnet18",
            separable=True,
            decoder_convs=2,
            low_first=False,
            first_rate="own",
            align_corners=True,
        ),
        data=Data(
            source=Landscape(modality="optical"), crop=128, batch_size=8, evaluation_crop=256
        ),
        preprocess=(Standardize(mean=MEAN["optical"], std=STD["optical"]),),
        augment=(Dihedral(), Brightness(gain=0.05, offset=0.05)),
        loss={"ce": CrossEntropy()},
        optimizer=Optimizer(learning_rate=2e-3, schedule="cosine", warmup=20, clip=1.0),
        num_steps=150,
        eval_every=150,
        save_every=150,
    )
