"""The padded U-Net on TFDS' Oxford-IIIT Pet: 7,349 photographs, pet / background / outline.

    python train.py --config configs/unet_pets.py

Downloads 800 MB on first use. Meant for one accelerator; not run to completion by us.
"""

from jaxseg.config import Config
from jaxseg.datasets import OxfordPets
from jaxseg.losses import CrossEntropy
from jaxseg.models import UNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.transforms import Brightness, Mirror, ScaleCrop, Standardize


def get_config() -> Config:
    """The padded U-Net with 32 features on 256 x 256 windows, zoomed by 0.5 to 1."""
    return Config(
        model=UNet(num_classes=3, features=32),
        data=Data(source=OxfordPets(), crop=512, batch_size=32, pad=True),
        preprocess=(Standardize(mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4)),),
        augment=(Mirror(), ScaleCrop(size=256, low=0.5, high=1.0), Brightness()),
        loss={"ce": CrossEntropy()},
        optimizer=Optimizer(learning_rate=1e-3, schedule="cosine", warmup=200, clip=1.0),
        num_steps=10_000,
        log_every=50,
        eval_every=1_000,
        save_every=1_000,
    )
