"""The multi-scale SAR network on the embedded SAR landscape.

Reaches 0.535 mIoU on the test split in 5.4 CPU minutes on one core of a busy machine, with the
dataset already drawn; no classifier of single pixels can exceed 0.164.

    python train.py --config configs/multiscale_sar.py
"""

from jaxseg.config import Config
from jaxseg.datasets.landscape import MEAN, STD, Landscape
from jaxseg.losses import CrossEntropy
from jaxseg.models import MultiscaleSAR
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.transforms import Dihedral, LogIntensity, Standardize


def get_config() -> Config:
    """The network with half its default features on 64 x 64 windows of VV and VH in dB."""
    return Config(
        model=MultiscaleSAR(num_classes=10, features=(16, 32, 32), hidden=64),
        data=Data(source=Landscape(modality="sar"), crop=64, batch_size=8, evaluation_crop=256),
        preprocess=(LogIntensity(), Standardize(mean=MEAN["sar"], std=STD["sar"])),
        augment=(Dihedral(),),
        loss={"ce": CrossEntropy()},
        optimizer=Optimizer(learning_rate=2e-3, schedule="cosine", warmup=50, clip=1.0),
        num_steps=400,
        eval_every=200,
        save_every=100,
    )
