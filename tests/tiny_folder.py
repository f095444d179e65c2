"""A tiny folder of images with masks and objects, and the config that trains on it in seconds."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CONFIG = """
from jaxseg.config import Config
from jaxseg.data import Data
from jaxseg.datasets.folder import Folder
from jaxseg.losses import CrossEntropy, EdgeWeightedCrossEntropy
from jaxseg.models.unet import UNet
from jaxseg.optimizer import Optimizer
from jaxseg.sharding import MeshShape
from jaxseg.transforms import Brightness, Dihedral, Noise, ScaleCrop, Standardize


def get_config() -> Config:
    source = Folder(
        images="FOLDER/images",
        masks="FOLDER/masks",
        instances="FOLDER/instances",
        classes=("ground", "disc", "square"),
        fractions=(0.5, 0.25, 0.25),
    )
    return Config(
        model=UNet(num_classes=3, features=4),
        data=Data(source=source, crop=32, batch_size=4, evaluation_crop=48, separation=True),
        augment=(Dihedral(), ScaleCrop(low=0.8, high=1.25), Brightness(), Noise()),
        loss={"ce": CrossEntropy(), "edge": EdgeWeightedCrossEntropy(weight=0.5)},
        optimizer=Optimizer(learning_rate=3e-3, schedule="cosine", warmup=2, clip=1.0, ema=0.9),
        num_steps=12,
        log_every=2,
        eval_every=6,
        save_every=3,
        mesh=MeshShape(data=4, space=2),
    )
"""


def write_folder(folder: Path, scenes: int = 8, height: int = 48, width: int = 72) -> None:
    """Scenes of discs and squares on ground, as PNG images, id masks and object ids."""
    for name in ("images", "masks", "instances"):
        (folder / name).mkdir(parents=True)
    rows, columns = np.mgrid[:height, :width]
    for scene in range(scenes):
        random = np.random.default_rng(scene)
        label = np.zeros((height, width), np.uint8)
        instance = np.zeros((height, width), np.uint16)
        for number in range(5):
            y, x, r = random.uniform(0, height), random.uniform(0, width), random.uniform(5, 10)
            kind = int(random.integers(1, 3))
            inside = (
                (rows - y) ** 2 + (columns - x) ** 2 < r * r
                if kind == 1
                else (abs(rows - y) < r) & (abs(columns - x) < r)
            )
            label[inside], instance[inside] = kind, number + 1
        color = np.array([[60, 90, 60], [150, 80, 70], [90, 110, 170]])[label]
        image = np.clip(color + random.normal(0, 20, color.shape), 1, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / "images" / f"scene{scene}.png")
        Image.fromarray(label).save(folder / "masks" / f"scene{scene}.png")
        Image.fromarray(instance).save(folder / "instances" / f"scene{scene}.png")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images, masks and instances, and `config.py`, which trains on them in seconds."""
    folder = tmp_path_factory.mktemp("tiny")
    write_folder(folder)
    (folder / "config.py").write_text(CONFIG.replace("FOLDER", str(folder)))
    return folder
