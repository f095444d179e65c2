"""What varies from image to image and must not matter: symmetry, zoom, light, noise.

Each maps (key, batch) -> batch; geometric changes apply to image, label, valid and separation.
"""

import dataclasses

import jax
import jax.numpy as jnp

from jaxseg.errors import NOT_NEGATIVE, POSITIVE, SHARE, UserError, check_ranges
from jaxseg.scenes.scene import IGNORE, Batch
from jaxseg.transforms.transform import IMAGES, is_length


@dataclasses.dataclass(frozen=True)
class Dihedral:
    """One of the eight symmetries of the square for each image; one of four if not square."""

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        """See the class."""
        size, height, width = batch["label"].shape
        upside, mirror, turn = jax.random.bernoulli(key, 0.5, (3, size))

        def apply(array: jax.Array) -> jax.Array:
            def choose(mask: jax.Array, changed: jax.Array, kept: jax.Array) -> jax.Array:
                return jnp.where(mask.reshape(-1, *[1] * (array.ndim - 1)), changed, kept)

            array = choose(upside, array[:, ::-1], array)
            array = choose(mirror, array[:, :, ::-1], array)
            return choose(turn, array.swapaxes(1, 2), array) if height == width else array

        return {name: apply(array) for name, array in batch.items()}


@dataclasses.dataclass(frozen=True)
class Mirror:
    """A horizontal flip with probability 0.5: for photographs, which have a fixed up direction."""

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        """See the class."""
        mirror = jax.random.bernoulli(key, 0.5, batch["label"].shape[:1])
        return {
            name: jnp.where(mirror.reshape(-1, *[1] * (array.ndim - 1)), array[:, :, ::-1], array)
            for name, array in batch.items()
        }


@dataclasses.dataclass(frozen=True)
class ScaleCrop:
    """Zooms each image by a random factor and cuts a random square of `size` pixels out of it.

    The image is sampled bilinearly, and averaged over the footprint of an output pixel when it
    shrinks; label, valid and separation are sampled at the nearest pixel. Pixels outside the input
    window are invalid.

    `separation` is a length, so it is multiplied by the zoom. Computing it again from warped object
    ids would cost little (12 ms of CPU for 8 windows of 128 x 128) but would not be better: objects
    outside the window would be missing, which changes the border term by 12 % in its outer 8
    pixels, and gaps would be rounded to whole pixels. On touching nuclei the two methods differ by
    6 to 14 % where the term exceeds 1, for zooms from 0.5 to 2; without the factor by 9 to 66 %.

    Attributes:
        size: Rows and columns of the output; 0 = those of the input.
        low: Smallest zoom; 0.5 shows twice as much ground along each axis.
        high: Largest zoom.
    """

    size: int = dataclasses.field(default=0, metadata=NOT_NEGATIVE)
    low: float = dataclasses.field(default=1.0, metadata=POSITIVE)
    high: float = dataclasses.field(default=1.0, metadata=POSITIVE)

    def __post_init__(self) -> None:
        """Rejects numbers outside their ranges, and a smallest zoom above the largest."""
        check_ranges(self, "ScaleCrop")
        if self.low > self.high:
            raise UserError(
                f"ScaleCrop.low is {self.low} and ScaleCrop.high {self.high}: low must not be the "
                "larger one."
            )

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        """See the class."""
        count, height, width = batch["label"].shape
        zoom_key, row_key, column_key = jax.random.split(key, 3)
        zoom = jax.random.uniform(zoom_key, (count,), minval=self.low, maxval=self.high)

        def positions(axis_key: jax.Array, length: int) -> jax.Array:
            """(B, size) source coordinates, in pixels, of the output's rows or columns."""
            size = self.size or length
            extent = size / zoom
            start = jax.random.uniform(axis_key, (count,)) * (length - extent)
            # At zoom 1 the pixels are copied, not blended, so starts are whole pixels.
            start = jnp.where(zoom == 1.0, jnp.round(start), start)
            return start[:, None] + (jnp.arange(size) + 0.5) / zoom[:, None] - 0.5

        rows, columns = positions(row_key, height), positions(column_key, width)

        def weights(centres: jax.Array, length: int) -> jax.Array:
            """(B, size, length) interpolation matrix: triangles as wide as the larger pixel."""
            reach = jnp.maximum(1.0, 1.0 / zoom)[:, None, None]
            weight: jax.Array = jnp.maximum(
                0.0, 1.0 - jnp.abs(centres[..., None] - jnp.arange(length)) / reach
            )
            return weight / jnp.maximum(weight.sum(-1, keepdims=True), 1e-6)

        def nearest(array: jax.Array) -> jax.Array:
            row = jnp.clip(jnp.round(rows), 0, height - 1).astype(jnp.int32)
            column = jnp.clip(jnp.round(columns), 0, width - 1).astype(jnp.int32)
            cut: jax.Array = jax.vmap(lambda a, r, c: a[r][:, c])(array, row, column)
            return cut

        inside_rows = (rows > -0.5) & (rows < height - 0.5)
        inside_columns = (columns > -0.5) & (columns < width - 0.5)
        inside = inside_rows[:, :, None] & inside_columns[:, None, :]
        out = {name: nearest(array) for name, array in batch.items() if name not in IMAGES}
        for name in IMAGES & batch.keys():
            out[name] = jnp.einsum(
                "byh,bhwc,bxw->byxc", weights(rows, height), batch[name], weights(columns, width)
            )
        for name in filter(is_length, batch):
            out[name] = out[name] * zoom[:, None, None]
        for name in {"valid", "side_valid"} & batch.keys():
            out[name] = out[name] & inside
        out["label"] = jnp.where(inside, out["label"], IGNORE)
        return out


@dataclasses.dataclass(frozen=True)
class Brightness:
    """One random gain and offset per image, as from other illumination or another atmosphere.

    Attributes:
        gain: Standard deviation of the gain around 1.
        offset: Standard deviation of the offset, in units of the preprocessed image.
    """

    gain: float = dataclasses.field(default=0.1, metadata=NOT_NEGATIVE)
    offset: float = dataclasses.field(default=0.1, metadata=NOT_NEGATIVE)

    def __post_init__(self) -> None:
        """Rejects numbers outside their ranges."""
        check_ranges(self, "Brightness")

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        """See the class."""
        draw = jax.random.normal(key, (2, batch["image"].shape[0], 1, 1, 1))
        return batch | {"image": batch["image"] * (1 + self.gain * draw[0]) + self.offset * draw[1]}


@dataclasses.dataclass(frozen=True)
class Noise:
    """Independent Gaussian noise on every pixel and band.

    Attributes:
        std: Standard deviation in units of the preprocessed image.
    """

    std: float = dataclasses.field(default=0.05, metadata=NOT_NEGATIVE)

    def __post_init__(self) -> None:
        """Rejects numbers outside their ranges."""
        check_ranges(self, "Noise")

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        """See the class."""
        image = batch["image"]
        return batch | {"image": image + self.std * jax.random.normal(key, image.shape)}


@dataclasses.dataclass(frozen=True)
class CenterGain:
    """A random gain, equal in all bands, on each pixel of a random share of the labelled pixels.

    In the paper a network classifies the centre of a patch, and only that centre is multiplied: the
    pixel varies with illumination and mixture while its surroundings stay the same. In dense
    training every labelled pixel is such a centre, so only a share of them is changed and most
    neighbours stay the same. The share and the uniform distribution of the gains are our choice.

    Source: Fu, Du, Zhang, ReSC-net, IEEE TGRS 2024, doi:10.1109/TGRS.2024.3402364, its abstract.

    Attributes:
        strength: Gains lie between 1 - strength and 1 + strength.
        share: Share (0..1) of the labelled pixels that are multiplied.
    """

    strength: float = dataclasses.field(default=0.1, metadata=SHARE)
    share: float = dataclasses.field(default=0.1, metadata=SHARE)

    def __post_init__(self) -> None:
        """Rejects numbers outside their ranges."""
        check_ranges(self, "CenterGain")

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        """See the class."""
        pick_key, gain_key = jax.random.split(key)
        pixels = batch["label"].shape
        low, high = 1 - self.strength, 1 + self.strength
        gain = jax.random.uniform(gain_key, pixels, minval=low, maxval=high)
        picked = jax.random.bernoulli(pick_key, self.share, pixels) & (batch["label"] != IGNORE)
        return batch | {"image": batch["image"] * jnp.where(picked, gain, 1.0)[..., None]}
