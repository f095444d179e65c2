"""The complex U-Net on the embedded polarimetric SAR landscape.

Reaches 0.670 mIoU on the test split in 5.2 CPU minutes on one core of a busy machine, with the
dataset already drawn; no classifier of single pixels can exceed 0.249.

    python train.py --config configs/complex_unet.py
    python train.py --config configs/complex_unet.py --config.model.activation modrelu
"""

from jaxseg.config import Config
from jaxseg.datasets.landscape import MEAN, STD, Landscape
from jaxseg.losses import CrossEntropy
from jaxseg.models import ComplexUNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.transforms import CoherencyFeatures, Dihedral, Standardize


def get_config() -> Config:
    """Eight complex channels on 128 x 128 windows of T3: dB, and coherences as complex numbers."""
    # Coherences keep their phase: no offset, one scale for both parts.
    scale = Standardize(
        mean=(*MEAN["polsar"][:3], *(0.0,) * 6), std=(*STD["polsar"][:3], *(0.35,) * 6)
    )
    return Config(
        model=ComplexUNet(num_classes=10, pairs=3, features=8),
        data=Data(source=Landscape(modality="polsar"), crop=128, batch_size=8, evaluation_crop=256),
        preprocess=(CoherencyFeatures(), scale),
        augment=(Dihedral(),),
        loss={"ce": CrossEntropy()},
        optimizer=Optimizer(learning_rate=2e-3, schedule="cosine", warmup=50, clip=1.0),
        num_steps=300,
        eval_every=100,
        save_every=100,
    )
