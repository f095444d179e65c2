r"""Clouds and their shadows: a published network for them, trained further on a labelled scene.

    pip install -e '.[clouds]'
    python train.py --config configs/clouds.py --config.data.source.image clouds/sentinel2.npz

The network is one of the four of the German Aerospace Center (DLR) in the package ukis-csmask
(Apache-2.0): smp's U-Net on EfficientNet-B4 for six bands of Sentinel-2 or Landsat as reflectance
at the top of the atmosphere, at about 30 m. `model_6b_l2a` is that for reflectance of the ground;
`model_4b_l1c` and `model_4b_l2a` see the first four bands. Their means and deviations stand in the
.json beside them. Where the package is not installed, the file is ukis_csmask/model_6b_l1c.onnx of
its wheel in the folder of the command, or that of `--config.pretrained.path`; None trains from
scratch.

The scene is an .npz of `img` (H, W, 6) and `msk` (H, W, 1): 0 = cloud shadow, 1 = water, 2 = snow
or ice, 3 = land, 4 = cloud, as in the test files of ukis-csmask. Blocks of 64 x 64 pixels of it
train, validate and test. Normalisations keep the statistics that they were published with.

**Source:** Wieland, Li, Martinis, Multi-sensor cloud and cloud shadow segmentation with a
convolutional neural network, Remote Sensing of Environment 230, 2019.
"""

import importlib.util
from pathlib import Path

from jaxseg.config import Config
from jaxseg.datasets import ArrayScene
from jaxseg.datasets.one_scene import SceneSplit
from jaxseg.losses import CrossEntropy
from jaxseg.models import ResNetUNet
from jaxseg.models.parts.normalisation import Normalisation
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.transforms import Dihedral, Standardize
from jaxseg.weights import Pretrained

# of the published network's training, from model_6b_l1c.json
MEAN = (0.27552253, 0.25566444, 0.26980153, 0.33431220, 0.20851292, 0.15826508)
STD = (0.24488002, 0.22757471, 0.25371522, 0.23213787, 0.14873883, 0.12604216)


def published(file: str) -> str:
    """Path of a file of the package ukis-csmask, which is not imported."""
    package = importlib.util.find_spec("ukis_csmask")
    folder = Path(package.origin).parent if package and package.origin else Path("ukis_csmask")
    return str(folder / file)


def get_config() -> Config:
    """U-Net on EfficientNet-B4 on 128 x 128 windows of six bands, with frozen statistics."""
    return Config(
        model=ResNetUNet(num_classes=3, backbone="efficientnet-b4"),
        data=Data(
            source=ArrayScene(
                image="clouds/sentinel2.npz",
                image_name="img",
                labels_name="msk",
                classes=("clear", "cloud", "shadow"),
                ids=(3, 4, 0),
                same_ids=((1, 3), (2, 3)),  # water and snow are clear, too
                map_colors=((90, 140, 80), (240, 240, 240), (60, 60, 110)),
                band_names=("blue", "green", "red", "nir", "swir16", "swir22"),
                wavelengths=(490.0, 560.0, 665.0, 842.0, 1610.0, 2190.0),
                unit="reflectance",
                gsd=30.0,
                split=SceneSplit(block=64, guard=8),
            ),
            crop=128,
            batch_size=8,
            evaluation_crop=256,
        ),
        preprocess=(Standardize(mean=MEAN, std=STD),),
        augment=(Dihedral(),),
        loss={"ce": CrossEntropy()},
        optimizer=Optimizer(learning_rate=1e-4, schedule="cosine", warmup=10, clip=1.0),
        norm=Normalisation("frozen"),
        pretrained=Pretrained(path=published("model_6b_l1c.onnx")),
        num_steps=60,
        eval_every=20,
        save_every=20,
    )
