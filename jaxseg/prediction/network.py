"""The networks as one compiled function: a batch of tiles in, weighted class probabilities out."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from numpy.typing import NDArray

from jaxseg import sharding
from jaxseg.errors import UserError
from jaxseg.models.parts.inner import inner_logits, without_outer
from jaxseg.models.parts.normalisation import normalised_by
from jaxseg.models.parts.platforms import compiled_for
from jaxseg.models.structure import output_stride
from jaxseg.prediction.tiling import Grid
from jaxseg.run.loaded import Run
from jaxseg.transforms.transform import preprocess

Augmentation = Literal["none", "flips", "dihedral"]
"""Which symmetries of a tile are averaged: one, four or eight."""

_SYMMETRIES: dict[str, tuple[tuple[int, bool], ...]] = {
    "none": ((0, False),),
    "flips": ((0, False), (2, False), (0, True), (2, True)),
    "dihedral": tuple((turns, mirrored) for mirrored in (False, True) for turns in range(4)),
}
"""Quarter turns, and whether the tile is mirrored before."""


class TileNetwork:
    """Averages the calibrated probabilities of one network or several over symmetries of a tile."""

    def __init__(
        self,
        runs: Sequence[Run],
        mesh: Mesh,
        grid: Grid,
        *,
        augmentation: Augmentation = "none",
        scales: tuple[float, ...] = (1.0,),
        classes_only: bool = False,
    ) -> None:
        """Places the variables on all devices; compiles nothing yet.

        Args:
            runs: Of the same bands and classes.
            mesh: Where tiles are computed: batches over `data` and `fsdp`, rows over `space`.
            grid: Of the tiles.
            augmentation: Which symmetries are averaged.
            scales: Sizes of a tile, relative to its own, that are averaged.
            classes_only: Whether the most probable class is enough. Where tiles do not share
                pixels, the devices then answer with that alone: a byte instead of 4 K.

        Raises:
            UserError: The runs do not fit each other, or the mesh does not cut the tiles evenly.
        """
        for run in runs[1:]:
            if (run.classes, run.sensor.bands) != (runs[0].classes, runs[0].sensor.bands):
                raise UserError(
                    f"Runs of the classes {', '.join(runs[0].classes)} and "
                    f"{', '.join(run.classes)}: an ensemble needs runs of the same classes and "
                    "bands, in the same order."
                )
        self.grid, self._runs = grid, tuple(runs)
        self._symmetries = _SYMMETRIES[augmentation]
        self._stride = stride = math.lcm(*(output_stride(run.config.model) for run in runs))
        self._sizes = tuple(max(1, round(grid.size * s / stride)) * stride for s in scales)
        for size in (grid.size, *self._sizes):
            sharding.check_batch(mesh, mesh.shape["data"] * mesh.shape["fsdp"], size)
        self.dtype: type[np.generic] = np.float32
        if classes_only and not grid.ramp:
            self.dtype = np.uint8 if self.classes < np.iinfo(np.uint8).max else np.uint16
        # The largest of the logits is that of the probabilities, if these are not averaged.
        self._of_logits = self.dtype != np.float32 and (
            len(self._runs) * len(self._symmetries) * len(self._sizes) == 1
        )
        # Rows that are cut off where rows are divided over devices would be moved between them.
        self._platform = sharding.platform_of(mesh)
        # What measures a tile itself has to see all of it.
        whole = mesh.shape["space"] > 1 or any(run.config.norm.kind == "group" for run in runs)
        self._left_out = 0 if whole else grid.margin
        place = sharding.replicated(mesh)
        self._variables = jax.device_put([run.variables for run in runs], place)
        batch = sharding.batch_sharding(mesh)
        self._answer: Callable[..., jax.Array] = jax.jit(
            self._probabilities, in_shardings=(place, batch, batch)
        )

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self._runs[0].classes)

    @property
    def stride(self) -> int:
        """Output stride of all networks together."""
        return self._stride

    @property
    def channels(self) -> int:
        """Of an answer: a probability of each class, or one number."""
        return self.classes if self.dtype == np.float32 else 1

    def __call__(self, image: NDArray[np.generic], valid: NDArray[np.bool_]) -> jax.Array:
        """(B, K, core, core) float32: probability of each class times the weight of the pixel.

        Or (B, 1, core, core) of `dtype`, if classes are enough: the number of the most probable
        one, or the largest number of the type where a probability is not finite. Returns at once;
        the devices compute while the caller goes on.

        Args:
            image: (B, size, size, C) raw values.
            valid: (B, size, size), False where there are no data.
        """
        return self._answer(self._variables, image, valid)

    def _probabilities(self, variables: Any, image: jax.Array, valid: jax.Array) -> jax.Array:  # noqa: ANN401
        total: Any = 0
        for run, of_run in zip(self._runs, variables, strict=True):
            ready = preprocess(image, valid, run.config.preprocess)
            for size in self._sizes:
                scaled = _resized(ready, size)
                for turns, mirrored in self._symmetries:
                    total += self._once(run, of_run, scaled, turns, mirrored)
        if self.dtype != np.float32:
            return _number_of_largest(total, self.dtype)[:, None]
        along = jnp.asarray(self.grid.weights())
        weight = (
            along[:, None] * along / (len(self._runs) * len(self._symmetries) * len(self._sizes))
        )
        return jnp.moveaxis(total * weight[..., None], -1, 1)

    def _once(
        self,
        run: Run,
        variables: Any,  # noqa: ANN401
        image: jax.Array,
        turns: int,
        mirrored: bool,
    ) -> jax.Array:
        """(B, core, core, K) of a tile, which may have another size."""
        turn = functools.partial(jnp.rot90, axes=(1, 2))
        seen = turn(image[:, :, ::-1] if mirrored else image, turns)
        margin = self._left_out if image.shape[1] == self.grid.size else 0
        with compiled_for(self._platform), normalised_by(run.config.norm):
            logits = inner_logits(run.config.model, variables, seen, margin)
        logits = turn(logits, -turns)
        logits = logits[:, :, ::-1] if mirrored else logits
        if not self._of_logits:
            logits = jax.nn.softmax(logits / jnp.float32(run.temperature), axis=-1)
        if margin:
            return logits
        return without_outer(_resized(logits, self.grid.size), self.grid.margin)


def _resized(image: jax.Array, size: int) -> jax.Array:
    """(B, h, w, C) -> (B, size, size, C); linear, and averaging where it becomes smaller."""
    if image.shape[1] == size:
        return image
    shape = (image.shape[0], size, size, image.shape[-1])
    resized: jax.Array = jax.image.resize(image, shape, "linear")
    return resized


def _number_of_largest(scores: jax.Array, dtype: type[np.generic]) -> jax.Array:
    """(..., K) -> (...); the largest number of the type where one is not finite."""
    finite = jnp.isfinite(scores.max(-1))
    return jnp.where(finite, scores.argmax(-1), largest(dtype)).astype(dtype)


def largest(dtype: Any) -> int:  # noqa: ANN401  (what NumPy takes for a type)
    """The largest whole number of a type."""
    return int(np.iinfo(dtype).max)
