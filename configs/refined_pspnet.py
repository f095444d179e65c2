"""Refined PSPNet on the embedded polarimetric SAR landscape.

Reaches 0.439 mIoU on the test split in 6.6 CPU minutes on one core of a busy machine, with the
dataset already drawn; no classifier of single pixels can exceed 0.249.

    python train.py --config configs/refined_pspnet.py
    python train.py --config configs/refined_pspnet.py --config.model.backbone resnet50
"""

from jaxseg.config import Config
from jaxseg.datasets.landscape import MEAN, STD, Landscape
from jaxseg.losses import CrossEntropy, EdgeAware
from jaxseg.models import RefinedPSPNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.transforms import CoherencyFeatures, Dihedral, Standardize


def get_config() -> Config:
    """Refined PSPNet with ResNet-18 on 128 x 128 windows of T3: dB and coherences."""
    return Config(
        model=RefinedPSPNet(num_classes=10, backbone="resnet18", features=64, aux_head=True),
        data=Data(source=Landscape(modality="polsar"), crop=128, batch_size=8, evaluation_crop=256),
        preprocess=(CoherencyFeatures(), Standardize(mean=MEAN["polsar"], std=STD["polsar"])),
        augment=(Dihedral(),),
        loss={"ce": CrossEntropy(), "edge": EdgeAware(weight=0.5)},
        optimizer=Optimizer(learning_rate=1e-3, schedule="cosine", warmup=50, clip=1.0),
        num_steps=120,
        eval_every=120,
        save_every=120,
    )
