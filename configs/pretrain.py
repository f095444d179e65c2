r"""Masked pre-training of the padded U-Net (SimMIM's form) on images without labels.

Hides 60 % of the 16 x 16 patches of every image, more of those where the image changes most, and
learns to say what was there. It needs no labels, on your own folder of images:

    python train.py --config configs/pretrain.py --config.data.source.images photos

A network with classes then starts from its encoder:

    jaxseg export runs/pretrain pretrained.safetensors
    python train.py --config configs/folder.py \
        --config.pretrained.path pretrained.safetensors --config.pretrained.part encoder \
        --workdir runs/from_pretraining

`--config.augment.2.share` and `--config.augment.2.odds` change what is hidden; odds of 1 hide all
patches alike. docs/guides/pretraining.md says what was measured.
"""

from jaxseg.config import Config
from jaxseg.datasets import Folder
from jaxseg.losses import MaskedReconstruction
from jaxseg.models import UNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.transforms import Brightness, Dihedral, HidePatches, OfGradients, Standardize


def get_config() -> Config:
    """The padded U-Net with 16 features on your own images."""
    return Config(
        model=UNet(num_classes=0, features=16),  # 0 = as many as the images have bands
        data=Data(source=Folder(images="images", classes=("any",)), crop=128, batch_size=8),
        preprocess=(Standardize(),),
        augment=(
            Dihedral(),
            Brightness(gain=0.1, offset=0.1),
            HidePatches(patch=16, share=0.6, proposals=OfGradients()),
        ),
        loss={"reconstruction": MaskedReconstruction()},
        optimizer=Optimizer(learning_rate=2e-3, schedule="cosine", warmup=50, clip=1.0),
        num_steps=1000,
        eval_every=250,
        save_every=250,
    )
