"""Refined PSPNet on the polarimetric scene of San Francisco (AIRSAR, L-band, PolSF labels).

On the test blocks the better of its two validated checkpoints (step 100) reaches OA 98.2 %, AA
94.7 %, kappa 0.961, mIoU 0.878; 7.9 CPU minutes on one core of a busy machine, one seed. On the
same blocks `jaxseg evaluate` measures 92.8 %, 75.5 %, 0.849, 0.618 for a Wishart maximum-likelihood
classifier and 97.4 %, 91.2 %, 0.944, 0.826 for a Gaussian classifier on dB and coherences, both of
single pixels.

The data are not part of jaxseg: a PolSARpro folder T3 and label.png, of the same pixels, with ids 0
unlabelled, 1 bare soil, 2 mountain, 3 water, 4 urban, 5 vegetation (PolSF, Liu et al., 2022,
arXiv:1912.07259, whose list has another order than its file). Give their paths as
--config.data.source.path and --config.data.source.labels.

    python train.py --config configs/airsar.py
"""

from jaxseg.config import Config
from jaxseg.datasets import LabelledPolsar
from jaxseg.losses import CrossEntropy, EdgeAware
from jaxseg.models import RefinedPSPNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.transforms import CoherencyFeatures, Dihedral, Standardize


def get_config() -> Config:
    """Refined PSPNet with ResNet-18 on 128 x 128 windows, split by blocks of 48 x 48 pixels."""
    source = LabelledPolsar(
        path="data/polsar_sf_airsar/T3",
        labels="data/polsar_sf_airsar/label.png",
        classes=("bare soil", "mountain", "water", "urban", "vegetation"),
        ids=(1, 2, 3, 4, 5),
        map_colors=((222, 184, 110), (120, 90, 60), (44, 92, 176), (206, 44, 40), (60, 140, 60)),
    )
    return Config(
        model=RefinedPSPNet(num_classes=5, backbone="resnet18", features=64, aux_head=True),
        data=Data(source=source, crop=128, batch_size=8, evaluation_crop=272),
        preprocess=(CoherencyFeatures(), Standardize()),
        augment=(Dihedral(),),
        loss={"ce": CrossEntropy(), "edge": EdgeAware(weight=0.5)},
        optimizer=Optimizer(learning_rate=1e-3, schedule="cosine", warmup=30, clip=1.0),
        num_steps=200,
        eval_every=100,
        save_every=100,
    )
