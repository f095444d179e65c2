r"""Touching nuclei with the padded U-Net and border weights, on a folder with object ids.

    python train.py --config configs/nuclei.py \
        --config.data.source.images nuclei/images --config.data.source.instances nuclei/instances
    jaxseg border configs/nuclei.py border.png --config.data.source.images nuclei/images \
        --config.data.source.instances nuclei/instances

Object maps hold an integer per pixel, 0 = no object; every object becomes a separate region,
because pixels where two objects touch become background. Mean and standard deviation are computed
from the data. For masks of classes without object ids, such as cell membranes, give `masks` and
`ids`, `--config.data.source.instances ""` and `--config.data.source.no-separate-touching`: then
connected regions are the objects.
"""

from jaxseg.config import Config
from jaxseg.datasets import Folder
from jaxseg.losses import EdgeWeightedCrossEntropy
from jaxseg.models import UNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.transforms import Brightness, Dihedral, ScaleCrop, Standardize


def get_config() -> Config:
    """The padded U-Net with 16 features and the paper's w0 = 10, sigma = 5."""
    return Config(
        model=UNet(num_classes=2, features=16),
        data=Data(
            source=Folder(
                images="images",
                instances="instances",
                separate_touching=True,
                classes=("background", "nucleus"),
                map_colors=((30, 30, 60), (250, 200, 80)),
            ),
            crop=128,
            batch_size=8,
            evaluation_crop=256,
            pad=True,
        ),
        preprocess=(Standardize(),),
        augment=(Dihedral(), ScaleCrop(low=0.8, high=1.25), Brightness(gain=0.2, offset=0.2)),
        loss={"edge": EdgeWeightedCrossEntropy()},
        optimizer=Optimizer(learning_rate=2e-3, schedule="cosine", warmup=50, clip=1.0),
        num_steps=400,
        eval_every=200,
        save_every=200,
    )
