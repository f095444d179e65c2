"""A run as one function of raw pixel values: radiometry, network, probabilities of the classes."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from jaxseg.datasets.arrays import ArrayScene
from jaxseg.datasets.folder.source import Folder
from jaxseg.datasets.wrapped import leaves
from jaxseg.errors import UserError
from jaxseg.export.folding import Folded
from jaxseg.models.structure import output_stride
from jaxseg.run.loaded import Run
from jaxseg.transforms.transform import preprocess

AGREE = 1e-4
"""Largest difference of a probability between an exported file and its run."""

NEAR = 1e-6
"""A value this close to nodata, relative to it, is nodata: callers that scale values and scale them
back, such as QGIS' Deepness, change their last digit."""


@dataclasses.dataclass(frozen=True)
class NoData:
    """Which pixels have no data, besides those with a value that is not finite.

    Attributes:
        value: The value that means no data; None = there is none.
        all_bands: Whether all bands have to have it; else one is enough.
    """

    value: float | None
    all_bands: bool = False

    def valid(self, image: Array) -> Array:
        """(B, H, W, C) -> (B, H, W) bool."""
        known = jnp.isfinite(image).all(-1)
        if self.value is None or not np.isfinite(self.value):
            return known
        empty = jnp.abs(image - np.float32(self.value)) <= np.float32(NEAR * abs(self.value))
        return known & ~(empty.all(-1) if self.all_bands else empty.any(-1))


class Inference:
    """`(B, H, W, C)` float32 raw values -> `(B, H, W, K)` float32 probabilities, traceable.

    The probabilities are those of `Run.probabilities`: softmax of the logits divided by the run's
    temperature. Where there are no data, all of them are 0. All is computed in float32, also if the
    run was trained in bfloat16, and batch normalisation is folded into the kernels.

    Attributes:
        run: The run.
        folded: Its network without batch normalisation.
        nodata: Which pixels have no data.
        stride: Output stride of the network: heights and widths of symbolic size are multiples.
    """

    def __init__(self, run: Run) -> None:
        """Folds the normalisations; compiles nothing."""
        self.run = run
        self.nodata = _nodata(run)
        self.model = plain(run.config.model)
        self.stride = output_stride(self.model)
        image = jax.eval_shape(self._ready, self.shaped(1, 64))
        self.folded = Folded(self.model, run.variables, image, run.config.norm)

    def __call__(self, image: Array) -> Array:
        """See the class."""
        image = image.astype(jnp.float32)
        logits = self.folded(self._ready(image))
        chances = jax.nn.softmax(logits / jnp.float32(self.run.temperature), axis=-1)
        return jnp.where(self.nodata.valid(image)[..., None], chances, 0.0)

    def shaped(self, batch: int, size: int) -> jax.ShapeDtypeStruct:
        """Shape and dtype of an image."""
        return jax.ShapeDtypeStruct((batch, size, size, len(self.run.sensor.bands)), jnp.float32)

    def sample(self, batch: int, height: int, width: int) -> NDArray[np.float32]:
        """Raw values within the typical range of each band, and a corner without data."""
        typical = self.run.sensor.typical or ((0.0, 0.5, 1.0),) * len(self.run.sensor.bands)
        low, high = (np.asarray([band[end] for band in typical]) for end in (0, -1))
        drawn = np.random.default_rng(0).uniform(size=(batch, height, width, len(typical)))
        image: NDArray[np.float32] = (low + drawn * (high - low)).astype(np.float32)
        image[:, : height // 8, : width // 8] = np.nan
        return image

    def expected(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the run itself answers, its normalisations as they were trained."""
        valid = np.asarray(self.nodata.valid(jnp.asarray(image)))
        model = dataclasses.replace(self.run.config, model=self.model)
        plain_run = dataclasses.replace(self.run, config=model)
        chances: NDArray[np.float32] = plain_run.probabilities(image, valid).copy()
        chances[~valid] = 0
        return chances

    def _ready(self, image: Array) -> Array:
        return preprocess(image, self.nodata.valid(image), self.run.config.preprocess)


def plain(model: nn.Module) -> nn.Module:
    """The network in float32 and without recomputation."""
    fields: dict[str, Any] = {"dtype": "float32", "remat": False}
    known = {field.name for field in dataclasses.fields(model)}
    return model.clone(**{name: value for name, value in fields.items() if name in known})


def refuse_other(found: float, where: str) -> None:
    """Compares an exported file with its run.

    Args:
        found: The largest difference of a probability.
        where: The file.

    Raises:
        UserError: It is not the same network.
    """
    if not found <= AGREE:
        raise UserError(
            f"{where} was not written: its probabilities differ from the run's by up to "
            f"{found:.2g}, more than {AGREE:g}. A network of your own may use the output of a "
            "convolution twice, before and after its normalisation; export its weights instead."
        )


def _nodata(run: Run) -> NoData:
    makers = leaves(run.config.data.source)
    all_bands = any(
        isinstance(maker, Folder | ArrayScene) and maker.nodata_where == "all_bands"
        for maker in makers
    )
    return NoData(run.sensor.nodata, all_bands and len(makers) == 1)
