"""The U-Net's border weights: w(x) = wc(x) + w0 exp(-(d1(x) + d2(x))^2 / (2 sigma^2)).

d1 and d2 are the Euclidean distances to the nearest and the second nearest object, so that the thin
gaps between touching objects have the largest weight. Both are exact up to a limit. The cost is
proportional to image size times limit, whatever the number, size and nesting of the objects:

    along rows     the nearest object left or right of each pixel, at g1, and the nearest other one,
                   at g2, by running maxima
    along columns  d1^2 = the minimum over shifts s of g1(y + s)^2 + s^2, which also gives the id;
                   d2^2 = the same minimum of g1 where that is another object, else of g2

The same array code runs in NumPy on the host and jitted on a device; on the host, d1 is computed by
SciPy's distance transform.

Source: Ronneberger, Fischer, Brox, MICCAI 2015, equation 2; separable distances as in Felzenszwalb,
Huttenlocher, Theory of Computing 2012. Keeping the two nearest objects per row is our extension.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, ClassVar, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from jaxseg.errors import UserError
from jaxseg.scenes.scene import IGNORE, Sample

LIMIT = 32.0
"""Pixels up to which distances are exact by default: more than w0 = 10 and sigma = 5 need."""

NOTHING = 1e-6
"""A border term below this is negligible."""

_BLOCK = 32
_Array = TypeVar("_Array", NDArray[Any], jax.Array)


def border_weight_map(
    instance: NDArray[np.integer[Any]],
    label: NDArray[np.integer[Any]] | None = None,
    *,
    w0: float = 10.0,
    sigma: float = 5.0,
    class_weights: Sequence[float] = (),
    background_only: bool = False,
    spacing: tuple[float, float] = (1.0, 1.0),
) -> NDArray[np.float32]:
    """The weight of every pixel; 0 where the label is IGNORE.

    The paper only states that wc balances the class frequencies. Two versions are in use: the
    inverse number of pixels of the class, divided by the largest (deepCyAn's `unetwmap.m`, which
    also limits the border term to the background), and a fixed table.

    Args:
        instance: (H, W) object ids, 0 = no object. With fewer than two objects the weight is wc.
        label: (H, W) class ids or IGNORE; None = 1 in objects and 0 elsewhere.
        w0: Height of the border term.
        sigma: Width of the border term, in units of `spacing`.
        class_weights: wc, one per class; empty = from the class frequencies of this image.
        background_only: Whether the border term is limited to pixels outside objects.
        spacing: Height and width of a pixel.

    Raises:
        UserError: The maps differ in size, ids or classes are negative or not whole, or a class
            has no weight.
    """
    check_instances(instance)
    if label is None:
        label = (instance > 0).astype(np.uint8)
    if label.shape != instance.shape:
        raise UserError(
            f"The class map has {label.shape} pixels, the object map {instance.shape}. Bring both "
            "to one grid."
        )
    if label.dtype.kind not in "iub":
        raise UserError(f"A class map of type {label.dtype}: classes are whole numbers.")
    known = label != IGNORE
    classes = np.where(known, label, 0)
    if classes.min(initial=0) < 0:
        raise UserError(
            f"Class {classes.min()} is negative: classes count from 0, and {IGNORE} means no label."
        )
    weights = np.asarray(class_weights or inverse_frequencies(label), np.float32)
    if classes.max(initial=0) >= len(weights):
        raise UserError(
            f"Class {classes.max()} for {len(weights)} class weights: give one per class, or none."
        )
    gap = separation(instance, reach(w0, sigma), spacing=spacing)
    border = w0 * np.exp(-np.square(gap) / (2 * sigma**2))
    if background_only:
        border[instance > 0] = 0
    return np.where(known, weights[classes] + border, 0).astype(np.float32)


def inverse_frequencies(label: NDArray[np.integer[Any]]) -> tuple[float, ...]:
    """1 / pixels of each class, divided by the largest of these; 0 for a class without pixels."""
    counts = np.bincount(label[label != IGNORE].ravel(), minlength=1)
    inverse = np.divide(1.0, counts, out=np.zeros(len(counts)), where=counts > 0)
    largest = inverse.max()
    return tuple((inverse / (largest or 1.0)).tolist())


@dataclasses.dataclass(frozen=True)
class Separation:
    """d1 + d2 as an input of a loss, computed from the object ids of a scene.

    If the source has no object ids, every connected region of a class except the first is an
    object, as far as it lies in the window and its margin.

    Attributes:
        limit: Distance in pixels up to which it is exact.
    """

    limit: float = LIMIT

    name: ClassVar[str] = "separation"
    fill: ClassVar[float] = math.inf

    @property
    def margin(self) -> int:
        """Pixels around a window whose objects count too."""
        return math.ceil(self.limit)

    def at_zoom(self, zoom: float) -> "Separation":
        """With a larger limit if the batch is zoomed out, where distances shrink."""
        return Separation(float(math.ceil(self.limit / zoom)))

    def __call__(self, sample: Sample) -> NDArray[np.float32]:
        """See the class.

        Raises:
            UserError: The ids are not a map of objects.
        """
        instance = sample.get("instance")
        if instance is None:
            instance = components(sample["label"].astype(np.uint8))
        check_instances(instance)
        return separation(instance.astype(np.int32), self.limit)


def reach(w0: float, sigma: float) -> float:
    """The d1 + d2 beyond which the border term is below `NOTHING`; 28.4 for w0 = 10, sigma = 5."""
    return sigma * math.sqrt(2 * math.log(max(1.0, w0 / NOTHING)))


def components(label: NDArray[np.integer[Any]], *, background: int | None = 0) -> NDArray[np.int32]:
    """Objects if only classes are known: 4-connected regions of one class.

    Args:
        label: (H, W) class ids or IGNORE.
        background: The class that is not an object; None = all classes are objects.

    Returns:
        (H, W) ids 1, 2, ...; 0 in the background and where the label is IGNORE.
    """
    instance = np.zeros(label.shape, np.int32)
    found = 0
    for k in np.unique(label):
        if k not in (background, IGNORE):
            regions, count = ndimage.label(label == k)
            instance += np.where(regions > 0, regions + found, 0)
            found += count
    return instance


def touching(instance: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Pixels of an object that have a pixel of another one among their eight neighbours, (H, W).

    Without them, every object is a separate connected region. The paper inserts such gaps by
    morphological operations that it does not describe; a gap of two pixels, one of each object, is
    our interpretation.
    """
    largest = ndimage.maximum_filter(instance, 3, mode="nearest")
    absent = np.iinfo(instance.dtype).max
    smallest = ndimage.minimum_filter(np.where(instance > 0, instance, absent), 3, mode="nearest")
    touch: NDArray[np.bool_] = (largest != instance) | (smallest != instance)
    return touch & (instance > 0)


def check_instances(instance: NDArray[Any]) -> None:
    """Rejects arrays that are not maps of object ids.

    Raises:
        UserError: Ids are not integers, are negative, or do not form an (H, W) map.
    """
    if instance.ndim != 2 or instance.dtype.kind not in "iub":
        raise UserError(
            f"An object map of shape {instance.shape} and type {instance.dtype}: it must be "
            "(H, W) whole numbers, 0 = no object."
        )
    if instance.dtype.kind == "i" and instance.min(initial=0) < 0:
        raise UserError(
            f"Object id {instance.min()} is negative: ids count from 1, and 0 means no object."
        )


def separation(
    instance: NDArray[np.integer[Any]],
    limit: float = LIMIT,
    *,
    spacing: tuple[float, float] = (1.0, 1.0),
) -> NDArray[np.float32]:
    """d1 + d2: the sum of each pixel's distances to the nearest and second nearest object.

    Args:
        instance: (H, W) object ids; 0 or less = no object. Inside an object d1 is 0.
        limit: Distance up to which the result is exact, in units of `spacing`.
        spacing: Height and width of a pixel.

    Returns:
        (H, W) float32; infinity where there is no second object within `limit`.
    """
    out = np.full(instance.shape, np.inf, np.float32)
    nothing = instance <= 0
    if nothing.all():
        return out
    near, index = ndimage.distance_transform_edt(nothing, sampling=spacing, return_indices=True)
    nearest_id = instance[tuple(index)]
    found = _along_rows(np, np.maximum.accumulate, instance, spacing[1])
    shifts = _Shifts.of(len(out), limit, spacing[0])
    found = shifts.padded(np, found)
    for top in range(0, len(out), _BLOCK):  # a few rows at a time fit into the cache
        rows = slice(top, top + _BLOCK)
        parts = [part[top : top + _BLOCK + 2 * shifts.side] for part in found]
        second = out[rows]
        for shift, square in enumerate(shifts.squares):
            other = [part[shift : shift + len(second)] for part in parts]
            second = _closer(np, other, square, nearest_id[rows], second)
        out[rows] = second
    return np.where(out <= np.float32(limit) ** 2, near + np.sqrt(out), np.inf).astype(np.float32)


def separation_on_device(
    instance: jax.Array, limit: float = LIMIT, *, spacing: tuple[float, float] = (1.0, 1.0)
) -> jax.Array:
    """`separation` of a batch inside a jitted step: (B, H, W) ids -> (B, H, W) float32.

    For labels warped in a way that a scale factor does not describe. `Dihedral` and `ScaleCrop` do
    not need it, as they transform `separation` themselves.
    """
    shifts = _Shifts.of(instance.shape[1], limit, spacing[0])
    found = _along_rows(jnp, jax.lax.cummax, instance, spacing[1])
    found = shifts.padded(jnp, found)
    squares = jnp.asarray(shifts.squares)
    nothing = jnp.full(instance.shape, jnp.inf, jnp.float32)

    def at(shift: jax.Array) -> list[jax.Array]:
        height = instance.shape[1]
        return [jax.lax.dynamic_slice_in_dim(part, shift, height, axis=1) for part in found]

    def nearest(shift: jax.Array, known: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, ...]:
        gap, name, _ = at(shift)
        distance = gap + squares[shift]
        closer = distance < known[0]
        return jnp.where(closer, distance, known[0]), jnp.where(closer, name, known[1])

    def other(shift: jax.Array, known: jax.Array) -> jax.Array:
        closer: jax.Array = _closer(jnp, at(shift), squares[shift], nearest_id, known)
        return closer

    count = len(shifts.squares)
    first, nearest_id = jax.lax.fori_loop(0, count, nearest, (nothing, jnp.zeros_like(instance)))
    second = jax.lax.fori_loop(0, count, other, nothing)
    distance: jax.Array = jnp.where(second <= limit**2, jnp.sqrt(first) + jnp.sqrt(second), jnp.inf)
    return distance


def _along_rows(
    xp: ModuleType, running_maximum: Callable[..., Any], instance: _Array, width: float
) -> list[_Array]:
    """In each row: g1^2 and the id of the nearest object, and g2^2 of the nearest other object."""
    axis = instance.ndim - 1
    column = xp.arange(instance.shape[-1], dtype=xp.int32)

    def one_way(ids: _Array) -> list[_Array]:
        """Objects to the left: g1, the id, g2."""
        last = running_maximum(xp.where(ids > 0, column, -1), axis)
        name = xp.take_along_axis(ids, xp.maximum(last, 0), axis)
        # The last pixel of the preceding object is known where an object directly follows another
        # one, and stays the same until the next object begins. These positions only grow.
        before = xp.where(column > 0, xp.roll(last, 1, axis), -1)
        follows = (ids > 0) & (before >= 0) & (xp.roll(name, 1, axis) != ids)
        second = running_maximum(xp.where(follows, before, -1), axis)
        gaps = [
            xp.where(place >= 0, (column - place).astype(xp.float32), np.float32(np.inf))
            for place in (last, second)
        ]
        return [gaps[0], name, gaps[1]]

    left, left_id, left_other = one_way(instance)
    right, right_id, right_other = (xp.flip(a, axis) for a in one_way(xp.flip(instance, axis)))
    same = left_id == right_id
    other = xp.minimum(
        xp.where(same | (left <= right), left_other, left),
        xp.where(same | (left > right), right_other, right),
    )
    name = xp.where(left <= right, left_id, right_id)
    unit = np.float32(width)
    return [(xp.minimum(left, right) * unit) ** 2, name, (other * unit) ** 2]


def _closer(
    xp: ModuleType, found: list[_Array], square: _Array, nearest_id: _Array, known: _Array
) -> _Array:
    """The smaller of the known d2^2 and the squared distance to the objects of another row."""
    first, name, second = found
    distance = xp.where(name != nearest_id, first, second) + square
    closer: _Array = xp.minimum(known, distance)
    return closer


class _Shifts(NamedTuple):
    """The rows that are searched for objects: `side` above each pixel and as many below.

    Attributes:
        side: Number of rows.
        squares: (2 side + 1,) squared distances of the rows.
    """

    side: int
    squares: NDArray[np.float32]

    @classmethod
    def of(cls, rows: int, limit: float, height: float) -> "_Shifts":
        """The rows within the limit, in an image of `rows` rows with this pixel height."""
        side = max(0, min(math.ceil(limit / height), rows - 1))
        return cls(side, np.square(np.arange(-side, side + 1) * height).astype(np.float32))

    def padded(self, xp: ModuleType, found: list[_Array]) -> list[_Array]:
        """The result of `_along_rows`, with `side` empty rows above and below."""
        pads = [(0, 0)] * (found[0].ndim - 2) + [(self.side, self.side), (0, 0)]
        fills = (np.inf, 0, np.inf)
        return [
            xp.pad(part, pads, constant_values=fill)
            for part, fill in zip(found, fills, strict=True)
        ]
