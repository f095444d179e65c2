r"""U-Net on Prithvi-EO-2.0's smallest encoder, on the embedded optical landscape.

    python train.py --config configs/foundation.py
    python train.py --config configs/foundation.py --workdir runs/prithvi \
        --config.pretrained.name prithvi-eo-v2-tiny-tl

The first command trains from scratch and reaches 0.353 mIoU on the test split (one seed), where no
classifier of single pixels can exceed 0.299 and `resnet_unet.py` reaches 0.601 with as many steps.
The second one starts with the published encoder, which it downloads (`pip install 'jaxseg[hub]'`);
without a network, give the file by `--config.pretrained.path` beside the name. It was not available
to us. Its six bands are matched by wavelength if the sensor of the data states any, else by name.
The landscape has no short-wave infrared, so these kernels are shared among its four bands.
"""

from jaxseg.config import Config
from jaxseg.datasets.landscape import MEAN, STD, Landscape
from jaxseg.losses import CrossEntropy
from jaxseg.models import PrithviUNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.transforms import Brightness, Dihedral, Standardize


def get_config() -> Config:
    """The tiny encoder on 128 x 128 windows of four optical bands, standardised by the data's."""
    return Config(
        model=PrithviUNet(num_classes=10),
        # Windows of one size: positions span whatever the network is given.
        data=Data(
            source=Landscape(modality="optical"), crop=128, batch_size=8, evaluation_crop=128
        ),
        preprocess=(Standardize(mean=MEAN["optical"], std=STD["optical"]),),
        augment=(Dihedral(), Brightness(gain=0.05, offset=0.05)),
        loss={"ce": CrossEntropy()},
        optimizer=Optimizer(learning_rate=1e-3, schedule="cosine", warmup=20, clip=1.0),
        num_steps=150,
        eval_every=150,
        save_every=150,
    )
