"""Two more classes for the network of `configs/six_classes.py`, whose run it begins from.

Training labels know orchards and gardens alone: all else is `other`. New classifiers are prepared
as in NeST, the losses are those of MiB, and Local POD of PLOP.

    python train.py --config configs/six_classes.py
    python train.py --config configs/incremental.py
    python train.py --config configs/incremental.py --workdir runs/ten_classes \
        --config.incremental.run runs/incremental \
        --config.data.source.old lake river forest hedge cropland meadow orchard garden \
        --config.data.source.new road building
"""

from jaxseg.config import Config
from jaxseg.datasets import Stage
from jaxseg.datasets.landscape import MEAN, STD, Landscape
from jaxseg.losses import LocalPOD, UnbiasedCrossEntropy, UnbiasedDistillation
from jaxseg.models import UNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.transforms import Dihedral, Standardize
from jaxseg.weights import Incremental


def get_config() -> Config:
    """The padded U-Net with 16 features on 128 x 128 windows."""
    return Config(
        model=UNet(num_classes=0, features=16),
        data=Data(
            source=Stage(
                Landscape(modality="optical"),
                old=("lake", "river", "forest", "hedge", "cropland", "meadow"),
                new=("orchard", "garden"),
            ),
            crop=128,
            batch_size=8,
            evaluation_crop=256,
        ),
        preprocess=(Standardize(mean=MEAN["optical"], std=STD["optical"]),),
        augment=(Dihedral(),),
        loss={
            "ce": UnbiasedCrossEntropy(),
            "distillation": UnbiasedDistillation(),
            "pod": LocalPOD(layers=("bottleneck", "decoder4", "decoder3", "decoder2")),
        },
        optimizer=Optimizer(learning_rate=5e-4, schedule="cosine", warmup=10, clip=1.0),
        num_steps=200,
        incremental=Incremental(run="runs/six_classes", pretuning=50),
        eval_every=100,
        save_every=100,
    )
