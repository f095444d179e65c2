r"""Surface water in Sentinel-1 chips of floods, Sen1Floods11, with the padded U-Net.

Only five of the 446 labelled chips were available (three for training, one of them without data,
one for validation): it ends at 0.797 mIoU on the fifth, where a Gaussian classifier of single
pixels reaches 0.712. This shows that it runs, not how good it is.

    python train.py --config configs/sen1floods11.py \
        --config.data.source.images sen1floods11/S1 --config.data.source.masks sen1floods11/labels

Chips S1/NAME_S1Hand.tif hold VV and VH in dB, labels/NAME_LabelHand.tif -1 = not known, 0 = land,
1 = water. Pixels without data are NaN; a chip without any data, or without any known label, has no
effect on training. Names begin with the country, so shares of the files in order of their names
keep countries together; give `--config.data.source.split-by lists` for the published split.

**Source:** Bonafilia, Tellman, Anderson, Issenberg, Sen1Floods11: A Georeferenced Dataset to Train
and Test Deep Learning Flood Algorithms for Sentinel-1, CVPR Workshops 2020.
"""

from jaxseg.config import Config
from jaxseg.datasets import Folder
from jaxseg.losses import CrossEntropy
from jaxseg.models import UNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.transforms import Dihedral, Speckle, Standardize


def get_config() -> Config:
    """The padded U-Net with 16 features on 128 x 128 windows, with some additional speckle."""
    return Config(
        model=UNet(num_classes=2, features=16),
        data=Data(
            source=Folder(
                images="S1",
                masks="labels",
                image_suffix="_S1Hand",
                mask_suffix="_LabelHand",
                classes=("land", "water"),
                ignore_ids=(-1,),
                map_colors=((120, 100, 70), (60, 120, 220)),
                band_names=("VV", "VH"),
                unit="decibel",
                fractions=(0.6, 0.2, 0.2),
            ),
            crop=128,
            batch_size=8,
            evaluation_crop=512,
        ),
        preprocess=(Standardize(),),
        augment=(Dihedral(),),
        augment_raw=(Speckle(looks=16, unit="decibel"),),
        loss={"ce": CrossEntropy()},
        optimizer=Optimizer(learning_rate=2e-3, schedule="cosine", warmup=50, clip=1.0),
        num_steps=400,
        eval_every=100,
        save_every=100,
    )
