"""What `accelerator.py` runs: networks with their sizes, synthetic data, random weights."""

import dataclasses
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from accelerator_parts.sizes import sizes
from jax.sharding import Mesh
from numpy.typing import NDArray

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.models.deeplab import DeepLabV3
from jaxseg.models.linknet import LinkNet
from jaxseg.models.original_unet import OriginalUNet
from jaxseg.models.parts.resnet import Backbone
from jaxseg.models.pspnet import PSPNet
from jaxseg.models.resnet_unet import ResNetUNet
from jaxseg.models.unet import UNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline.windows import Data
from jaxseg.run import step
from jaxseg.scenes.sensor import Sensor
from jaxseg.sharding import MeshShape
from jaxseg.transforms.augmentation import Brightness, Dihedral
from jaxseg.transforms.radiometry import Standardize

BANDS = 3
ADAM = Optimizer(learning_rate=1e-3, schedule="cosine", warmup=5, clip=1.0)
SGD = Optimizer(name="sgd", learning_rate=7e-3)


@dataclasses.dataclass(frozen=True)
class Network:
    """A network, and what it is trained on.

    Attributes:
        model: In float32.
        size: Rows and columns of the raw images.
        optimizer: What its configs use.
        golden: The case of tests/fixtures/goldens that is of its family.
        golden_model: The network of that case.
        compared: The form that PyTorch has too.
        compared_size: Its rows and columns.
    """

    model: Any
    size: int
    optimizer: Optimizer
    golden: str
    golden_model: nn.Module
    compared: Any
    compared_size: int


def network(name: str, tiny: bool) -> Network:
    """A network by its name; `tiny` takes few features and pixels, which measures nothing."""
    _, features, classes, size, compared = sizes(name, tiny)
    backbone: Backbone = "resnet18" if tiny else "resnet50"
    if name in ("unet32", "unet64"):
        model: Any = UNet(classes, features)
        return Network(model, size, ADAM, "unet_lecture_3to1_f32", UNet(1), model, compared)
    if name == "original_unet":
        model = OriginalUNet(classes, features)
        golden, published = OriginalUNet(2, context="valid"), model.clone(context="valid")
        return Network(model, size, ADAM, "unet_original_1to2_f64", golden, published, compared)
    if name == "resnet_unet":
        published = ResNetUNet(classes)
        model = ResNetUNet(classes, "resnet18", (16, 8, 8, 4, 4)) if tiny else published
        return Network(model, size, SGD, "smp_unet_r34_5", ResNetUNet(5), published, compared)
    if name in ("deeplab16", "deeplab8"):
        published = DeepLabV3(classes, output_stride=16 if name == "deeplab16" else 8)
        model, golden = published.clone(backbone=backbone), DeepLabV3(21, aux_head=True)
        return Network(model, size, SGD, "deeplabv3_tv_r50_21_aux", golden, published, compared)
    if name == "pspnet":
        model, published = PSPNet(classes, backbone), PSPNet(classes, aux_head=False)
        return Network(model, size, SGD, "pspnet_semseg_r50_21", PSPNet(21), published, compared)
    if name == "linknet":
        model = LinkNet(classes)
        return Network(model, size, SGD, "linknet_11", LinkNet(11), model, compared)
    raise ValueError(f"no network is called {name}")


class MadeUp:
    """A source of nothing but the facts that a config needs."""

    def __init__(self, classes: int, bands: int = BANDS) -> None:
        """Classes and bands are numbered."""
        self.classes = tuple(f"class {number}" for number in range(classes))
        self.colors = ((0, 0, 0),) * classes
        self.sensor = Sensor(tuple(f"band {number}" for number in range(bands)))

    def scenes(self, split: str) -> Any:
        """Never called: batches are made on the device."""
        raise NotImplementedError(split)

    def rgb(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """Never called."""
        raise NotImplementedError


def made_config(found: Network, dtype: str, batch_size: int) -> Config:
    """A run of the network as a config would hold it."""
    return Config(
        model=found.model.clone(dtype=dtype),
        data=Data(MadeUp(found.model.num_classes), crop=found.size, batch_size=batch_size),
        preprocess=(Standardize(mean=(1200.0,) * BANDS, std=(600.0,) * BANDS),),
        augment=(Dihedral(), Brightness()),
        optimizer=found.optimizer,
        mesh=MeshShape(data=1),
    )


def one_device() -> Mesh:
    """The mesh of the first device alone."""
    return sharding.make_mesh(MeshShape(data=1), jax.devices()[:1])


def made_batch(
    mesh: Mesh, shape: tuple[int, int, int], classes: int, bands: int = BANDS
) -> dict[str, jax.Array]:
    """Raw uint16 images (B, H, W, bands) of blocks, with labels that their numbers tell."""
    batch, height, width = shape
    cell = max(4, min(height, width) // 16)

    def make() -> dict[str, jax.Array]:
        which, noise = jax.random.split(jax.random.key(0))
        blocks = (batch, -(-height // cell), -(-width // cell))
        label = jax.random.randint(which, blocks, 0, classes)
        label = label.repeat(cell, 1).repeat(cell, 2)[:, :height, :width]
        level = [(label * (2 * band + 1)) % classes for band in range(bands)]
        image = 300 + 1800 * jnp.stack(level, -1) / classes
        image += 50 * jax.random.normal(noise, image.shape)
        return {
            "image": jnp.clip(image, 1, 10_000).astype(jnp.uint16),
            "label": label.astype(jnp.uint8),
            "valid": jnp.ones(label.shape, jnp.bool),
        }

    made: dict[str, jax.Array] = jax.jit(make, out_shardings=sharding.batch_sharding(mesh))()
    return made


def abstract_batch(mesh: Mesh, size: int, batch: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and places of what `made_batch` makes."""
    place = sharding.batch_sharding(mesh)
    kinds = {"image": ((BANDS,), jnp.uint16), "label": ((), jnp.uint8), "valid": ((), jnp.bool)}
    return {
        name: jax.ShapeDtypeStruct((batch, size, size, *more), dtype, sharding=place)
        for name, (more, dtype) in kinds.items()
    }


def drawn(abstract: Any) -> Any:
    """Kernels by He's rule, ones for scales and variances, zeros for all else, placed.

    NumPy draws them: compiling the networks' own initialisers takes ten times as long. Moments of
    the optimizers begin at zero.
    """
    random = np.random.default_rng(0)

    def leaf(path: Any, like: Any) -> jax.Array:
        name = str(getattr(path[-1], "key", path[-1]))
        moment = any(getattr(entry, "name", "") == "opt_state" for entry in path)
        if name == "kernel" and not moment:
            value = random.standard_normal(like.shape, np.float32)
            value *= np.float32(math.sqrt(2 / math.prod(like.shape[:-1])))
        elif name in ("scale", "var") and not moment:
            value = np.ones(like.shape, like.dtype)
        else:
            value = np.zeros(like.shape, like.dtype)
        return jax.device_put(value, like.sharding)

    return jax.tree_util.tree_map_with_path(leaf, abstract)


def drawn_state(config: Config, mesh: Mesh) -> step.TrainState:
    """A state to train from."""
    state: step.TrainState = drawn(step.abstract_state(config, BANDS, mesh))
    return state
