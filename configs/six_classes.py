"""A U-Net of the first six classes of the embedded landscape; all others are `other`.

The first stage of `configs/incremental.py`, which adds classes whose labels alone are given.

    python train.py --config configs/six_classes.py
"""

from jaxseg.config import Config
from jaxseg.datasets import Stage
from jaxseg.datasets.landscape import MEAN, STD, Landscape
from jaxseg.models import UNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.transforms import Dihedral, Standardize


def get_config() -> Config:
    """The padded U-Net with 16 features on 128 x 128 windows."""
    return Config(
        model=UNet(num_classes=0, features=16),
        data=Data(
            source=Stage(
                Landscape(modality="optical"),
                new=("lake", "river", "forest", "hedge", "cropland", "meadow"),
            ),
            crop=128,
            batch_size=8,
            evaluation_crop=256,
        ),
        preprocess=(Standardize(mean=MEAN["optical"], std=STD["optical"]),),
        augment=(Dihedral(),),
        optimizer=Optimizer(learning_rate=2e-3, schedule="cosine", warmup=50, clip=1.0),
        num_steps=400,
        eval_every=200,
        save_every=100,
    )
