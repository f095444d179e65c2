"""ReSC-Net on Salinas-A, a small hyperspectral scene of vegetables in a few large fields.

Reaches 1.000 mIoU on test pixels at least 5 pixels away from all training blocks, in 1.1 CPU
minutes; a Gaussian classifier of single pixels reaches 0.988: the scene hardly distinguishes
methods.

    python train.py --config configs/salinas_a.py --config.data.source.path FOLDER
"""

from jaxseg.config import Config
from jaxseg.datasets.salinas_a import SalinasA
from jaxseg.losses import CrossEntropy
from jaxseg.models import ReSCNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.transforms import CenterGain, Dihedral, Standardize


def get_config() -> Config:
    """ReSC-Net on 64 x 64 windows of 204 bands; evaluation is one pass over the whole scene."""
    return Config(
        model=ReSCNet(num_classes=6),
        data=Data(source=SalinasA(), crop=64, batch_size=8, evaluation_crop=86),
        preprocess=(Standardize(),),
        augment=(Dihedral(), CenterGain(strength=0.1, share=0.1)),
        loss={"ce": CrossEntropy()},
        optimizer=Optimizer(learning_rate=2e-3, schedule="cosine", warmup=25, clip=1.0),
        num_steps=100,
        eval_every=50,
        save_every=50,
    )
