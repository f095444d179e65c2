r"""Clouds and their shadows: a published network for them, trained further on a labelled scene.

    pip install -e '.[clouds]'
    python train.py --config configs/clouds.py --config.data.source.image clouds/sentinel2.npz

The network is one of the four of the German Aerospace Center (DLR) in the package ukis-csmask
(Apache-2.0): smp's U-Net on EfficientNet-B4 for six bands of Sentinel-2 or Landsat as reflectance
at the top of the atmosphere, at about 30 m. `ukis-csmask-6b-l2a` is that for reflectance of the
ground; `ukis-csmask-4b-l1c` and `ukis-csmask-4b-l2a` see the first four bands. `jaxseg weights`
shows their cards, from which `Standardize()` takes mean and deviation. Without the package, its
file model_6b_l1c.onnx is given by `--config.pretrained.path`; `--config.pretrained.name ""` trains
from scratch.

The scene is an .npz of `img` (H, W, 6) and `msk` (H, W, 1): 0 = cloud shadow, 1 = water, 2 = snow
or ice, 3 = land, 4 = cloud, as in the test files of ukis-csmask. Blocks of 64 x 64 pixels of it
train, validate and test. Normalisations keep the statistics that they were published with.

**Source:** Wieland, Li, Martinis, Multi-sensor cloud and cloud shadow segmentation with a
convolutional neural network, Remote Sensing of Environment 230, 2019.
"""

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
        preprocess=(Standardize(),),
        augment=(Dihedral(),),
        loss={"ce": CrossEntropy()},
        optimizer=Optimizer(learning_rate=1e-4, schedule="cosine", warmup=10, clip=1.0),
        norm=Normalisation("frozen"),
        pretrained=Pretrained(name="ukis-csmask-6b-l1c"),
        num_steps=60,
        eval_every=20,
        save_every=20,
    )
