"""Hiding patches of an image, for pre-training that has to guess what was there.

    image (B, H, W, C) -> patches (B, h, w) -> as many of them in each image are hidden, at random
                                               more of those with objects, if proposals say which

A hidden patch is 0 in every band, the mean of a standardised image; what was there stays in the
batch as `target`, and `hidden` (B, H, W) says where. `jaxseg.losses.MaskedReconstruction` reads
both.

Source: dense masking for any network, Xie et al., SimMIM, CVPR 2022, arXiv:2111.09886; a random
share of patches, He et al., MAE, CVPR 2022, arXiv:2111.06377; proposals of objects that raise the
chance of their patches, Basu et al., FocusMAE, CVPR 2024, arXiv:2403.08848. Not checked against
the authors' code. Differences: SimMIM learns the value of hidden patches, here it is 0; FocusMAE
reads videos of tokens, has a detector for its proposals and trains the sampler; here proposals are
values of the batch and the sampler has one fixed parameter. FocusMAE's text hides more of the
objects, its code draws the visible tokens with the raised chance; `odds` above 1 is the text's
form, below 1 the code's.
"""

import dataclasses
import math
from typing import Protocol

import jax
import jax.numpy as jnp

from jaxseg.errors import COUNT, POSITIVE, SHARE, UserError, check_ranges
from jaxseg.scenes.scene import Batch


class Proposals(Protocol):
    """Where objects are, by what is in a batch."""

    def __call__(self, batch: Batch) -> jax.Array:
        """(B, H, W) float32 in 0..1: how much a pixel is part of an object."""


@dataclasses.dataclass(frozen=True)
class OfClasses:
    """Objects are the pixels of some classes.

    The masks of the source need not be labels: those of a saliency file or a detector, with 1 where
    it sees an object, are proposals in the same way.

    Attributes:
        classes: Numbers of the classes, from 0.
    """

    classes: tuple[int, ...] = (1,)

    def __call__(self, batch: Batch) -> jax.Array:
        """See the class; without a label there is no object."""
        hit = batch["label"][..., None] == jnp.asarray(self.classes, jnp.int32)
        return hit.any(-1).astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class OfGradients:
    """Objects are where the image changes most: no labels are needed. Our choice.

    Sobel's gradient, its length averaged over bands; a pixel beside one without data has none.

    Attributes:
        share: Share (0..1) of the pixels of an image that are objects, those of the largest
            gradient.
    """

    share: float = dataclasses.field(default=0.25, metadata=SHARE)

    def __post_init__(self) -> None:
        """Rejects a share outside 0..1."""
        check_ranges(self, "OfGradients")

    def __call__(self, batch: Batch) -> jax.Array:
        """See the class."""
        image, valid = batch["image"], batch["valid"]
        rows, columns = image.shape[1:3]
        padded = jnp.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")

        def at(row: int, column: int) -> jax.Array:
            return padded[:, row : row + rows, column : column + columns]

        down = sum(n * (at(2, c) - at(0, c)) for c, n in enumerate((1, 2, 1)))
        right = sum(n * (at(r, 2) - at(r, 0)) for r, n in enumerate((1, 2, 1)))
        length = jnp.hypot(down, right).mean(-1)  # (B, H, W)
        known = jnp.pad(valid, ((0, 0), (1, 1), (1, 1)), constant_values=True)
        around = [known[:, r : r + rows, c : c + columns] for r in range(3) for c in range(3)]
        length = jnp.where(jnp.stack(around).all(0), length, 0.0)
        least = jnp.quantile(length, 1 - self.share, axis=(1, 2), keepdims=True)
        return ((length >= least) & (length > 0)).astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class HidePatches:
    """Hides a share of the patches of every image; the last step of `Config.augment`.

    Patches are drawn one after the other without replacement, each with a chance in proportion to

        1 + (odds - 1) p        p = mean of the proposals over the patch, 0..1

    as the largest of log weight + Gumbel noise (Vieira 2014; Efraimidis, Spirakis 2006), so that
    the number of hidden patches is the same in all images and for all proposals.

    Attributes:
        patch: Rows and columns of a patch; a multiple of it has to be the size of the image.
        share: Share (0..1) of the patches that are hidden, rounded to whole patches.
        proposals: Where objects are; None = all patches are alike.
        odds: How much likelier a patch full of objects is drawn than one without. e^2, FocusMAE's
            sum of 2 in the logits; 1 = alike; below 1 = objects stay visible.
    """

    patch: int = dataclasses.field(default=16, metadata=COUNT)
    share: float = dataclasses.field(default=0.6, metadata=SHARE)
    proposals: Proposals | None = None
    odds: float = dataclasses.field(default=math.e**2, metadata=POSITIVE)

    def __post_init__(self) -> None:
        """Rejects numbers outside their ranges."""
        check_ranges(self, "HidePatches")

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        """The batch with hidden patches, `target` and `hidden`; see the class.

        Raises:
            UserError: Patches do not fit the image, or the share hides none or all of them.
        """
        grid = self.grid(*batch["label"].shape[1:])
        weights = jnp.ones((len(batch["label"]), math.prod(grid)))
        if self.proposals is not None:
            found = self.proposals(batch).reshape(-1, grid[0], self.patch, grid[1], self.patch)
            weights += (self.odds - 1) * found.mean((2, 4)).reshape(weights.shape)
        return self._hiding(batch, self._drawn(key, weights), grid)

    def alike(self, key: jax.Array, batch: Batch) -> Batch:
        """The same patches of all images are hidden, without a look at proposals.

        For validation: the patches depend on the key and the size alone, not on how images are
        grouped into batches, and differently trained networks have the same ones to guess.

        Raises:
            UserError: As in a call.
        """
        size, *sides = batch["label"].shape
        grid = self.grid(*sides)
        cells = self._drawn(key, jnp.ones((1, math.prod(grid))))
        return self._hiding(batch, jnp.broadcast_to(cells, (size, cells.shape[1])), grid)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches.

        Raises:
            UserError: They do not fit the image, or the share hides none or all of them.
        """
        if height % self.patch or width % self.patch:
            raise UserError(
                f"HidePatches with patches of {self.patch} pixels for images of {height} x "
                f"{width}: make the patch a divisor of the crop and of the evaluation crop."
            )
        grid = height // self.patch, width // self.patch
        if not 0 < self._number(math.prod(grid)) < math.prod(grid):
            raise UserError(
                f"HidePatches.share {self.share:g} hides {self._number(math.prod(grid))} of "
                f"{math.prod(grid)} patches: some have to be hidden and some visible. Use a "
                "smaller patch, or another share."
            )
        return grid

    def _number(self, patches: int) -> int:
        return round(self.share * patches)

    def _drawn(self, key: jax.Array, weights: jax.Array) -> jax.Array:
        """(B, N) bool, `_number` of them True in each row, drawn in proportion to the weights."""
        score = jnp.log(weights) + jax.random.gumbel(key, weights.shape)
        rank = jnp.argsort(jnp.argsort(-score, axis=-1), axis=-1)
        return rank < self._number(weights.shape[1])

    def _hiding(self, batch: Batch, cells: jax.Array, grid: tuple[int, int]) -> Batch:
        rows = jnp.repeat(cells.reshape(-1, *grid), self.patch, axis=1)
        hidden = jnp.repeat(rows, self.patch, axis=2)
        image = jnp.where(hidden[..., None], 0.0, batch["image"])
        return batch | {"image": image, "target": batch["image"], "hidden": hidden}
