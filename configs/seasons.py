"""PSPNet with thin layers on the embedded landscape with seasons, which ask for global context.

No classifier of 65 x 65 pixels can exceed 0.786 mIoU. docs/claims/global-context.md compares it
with the same network without its pyramid, and with others.

    python train.py --config configs/seasons.py
    python train.py --config configs/seasons.py --config.model.bins
"""

from jaxseg.config import Config
from jaxseg.datasets.landscape import MEAN, STD, Landscape
from jaxseg.losses import CrossEntropy
from jaxseg.models import PSPNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.transforms import Brightness, Dihedral, Standardize


def get_config() -> Config:
    """PSPNet with a ResNet-18 of an eighth of the channels, on whole scenes of 128 x 128 pixels."""
    return Config(
        model=PSPNet(num_classes=10, backbone="resnet18", width=8),
        data=Data(
            source=Landscape(tiles=(400, 40, 80), seasons=True),
            crop=128,
            batch_size=8,
            evaluation_crop=128,
        ),
        preprocess=(Standardize(mean=MEAN["optical"], std=STD["optical"]),),
        augment=(Dihedral(), Brightness(gain=0.05, offset=0.05)),
        loss={"ce": CrossEntropy()},
        optimizer=Optimizer(learning_rate=3e-3, schedule="cosine", warmup=20, clip=1.0),
        num_steps=400,
        eval_every=100,
        save_every=200,
    )
