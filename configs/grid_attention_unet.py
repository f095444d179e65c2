"""The authors' Attention U-Net on the embedded optical landscape.

Reaches 0.658 mIoU on the test split in 220 CPU seconds of training, compiling included; no
classifier of single pixels can exceed 0.299.

    python train.py --config configs/grid_attention_unet.py
"""

from jaxseg.config import Config
from jaxseg.datasets.landscape import MEAN, STD, Landscape
from jaxseg.losses import CrossEntropy
from jaxseg.models import GridAttentionUNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.transforms import Brightness, Dihedral, Standardize


def get_config() -> Config:
    """The authors' form, with 16 features, on 128 x 128 windows of four optical bands."""
    return Config(
        model=GridAttentionUNet(num_classes=10),
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
