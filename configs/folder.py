r"""Your own folder of images and masks, with the padded U-Net.

    python train.py --config configs/folder.py \
        --config.data.source.images photos/images --config.data.source.masks photos/masks \
        --config.data.source.classes water land road \
        --config.data.source.mask-colors 226 169 41 132 41 246 110 193 228

Masks hold ids 0, 1, 2, ... unless `ids` or `mask-colors` is given. `--help` lists every field
of the source. Bands, number of classes, mean and standard deviation are taken from the data.
"""

from jaxseg.config import Config
from jaxseg.datasets import Folder
from jaxseg.losses import CrossEntropy
from jaxseg.models import UNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.transforms import Brightness, Dihedral, Standardize


def get_config() -> Config:
    """The padded U-Net with 16 features on your own files."""
    return Config(
        model=UNet(num_classes=0, features=16),  # 0 = as many as the source has
        data=Data(
            source=Folder(images="images", masks="masks", classes=("background", "object")),
            crop=128,
            batch_size=8,
        ),
        preprocess=(Standardize(),),
        augment=(Dihedral(), Brightness(gain=0.1, offset=0.1)),
        loss={"ce": CrossEntropy()},
        optimizer=Optimizer(learning_rate=2e-3, schedule="cosine", warmup=50, clip=1.0),
        num_steps=1000,
        eval_every=250,
        save_every=250,
    )
