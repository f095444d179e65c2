"""ReSC-Net on Indian Pines, the hyperspectral scene of Indiana farmland.

Reaches 0.521 mIoU on test pixels at least 5 pixels away from all training blocks: overall accuracy
67.5 %, average accuracy 72.3 %, kappa 0.626 (one seed; a few classes lie entirely in one block
each). A Gaussian classifier of single pixels reaches 0.303 mIoU.

    pip install 'jaxseg[hyperspectral]'
    python train.py --config configs/indian_pines.py
    python train.py --config configs/indian_pines.py --config.data.source.split.kind pixels  # leaks
"""

from jaxseg.config import Config
from jaxseg.datasets.indian_pines import IndianPines
from jaxseg.losses import CrossEntropy
from jaxseg.models import ReSCNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.transforms import CenterGain, Dihedral, Standardize


def get_config() -> Config:
    """ReSC-Net on 64 x 64 windows of 200 bands; evaluation is one pass over the whole scene."""
    return Config(
        model=ReSCNet(num_classes=16),
        data=Data(source=IndianPines(), crop=64, batch_size=8, evaluation_crop=145),
        preprocess=(Standardize(),),
        augment=(Dihedral(), CenterGain(strength=0.1, share=0.1)),
        loss={"ce": CrossEntropy()},
        optimizer=Optimizer(learning_rate=2e-3, schedule="cosine", warmup=50, clip=1.0),
        num_steps=300,
        eval_every=100,
        save_every=100,
    )
