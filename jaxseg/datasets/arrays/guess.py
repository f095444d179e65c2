"""What arrays in files are, guessed from their shapes, names and values, with the evidence."""

import dataclasses
import glob
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jaxseg.datasets import label_file
from jaxseg.datasets.arrays import axes
from jaxseg.datasets.arrays.axes import Order, agreeing, by
from jaxseg.datasets.arrays.source import ArrayScene
from jaxseg.datasets.folder.guess import MOST
from jaxseg.datasets.folder.pairing import EXTENSIONS
from jaxseg.datasets.label_file import SHOWN
from jaxseg.errors import UserError
from jaxseg.files import arrays
from jaxseg.files.arrays import Stored
from jaxseg.files.pool import ARRAYS

MANY = 32
"""Bands from which a scene is hyperspectral; public ones mark pixels without a label by 0."""

LABELS = ("gt", "label", "mask", "msk", "class", "truth", "annot")
"""Parts of the names of arrays of labels."""

WAVELENGTHS = (100.0, 20_000.0)
"""Wavelengths of optical sensors in nanometres."""

LOOKED_AT = 512
"""Rows of a scene that are looked at, about."""

BANDS = 8
"""Bands that are looked at."""

RISING = 0.9
"""Share of neighbouring bands of which the second has the longer wavelength."""

_POLSAR = "PolSAR matrices are read by LabelledPolsar: jaxseg configs airsar --copy my.py"


@dataclasses.dataclass(frozen=True)
class ArrayGuess:
    """Fields of an `ArrayScene`, with evidence.

    Attributes:
        fields: Name -> value, but for the split.
        evidence: Name -> what it was guessed from.
        size: Rows and columns.
        bands: Number of bands.
    """

    fields: dict[str, object]
    evidence: dict[str, str]
    size: tuple[int, int]
    bands: int


def are_arrays(place: str) -> bool:
    """Whether a path, a folder or a pattern holds files of arrays and no image files."""
    if Path(place).is_dir():
        names = [file.name.lower() for file in Path(place).iterdir()]
        return any(map(arrays.is_array_file, names)) and not any(
            name.endswith(EXTENSIONS) for name in names
        )
    return arrays.is_array_file(place)


def guess_scene(images: str, masks: str) -> ArrayGuess:
    """Guesses the fields of an `ArrayScene`.

    Args:
        images: File of the image, or a folder or a pattern that holds it.
        masks: The same for its labels; they may be the same file. A picture is read, too.

    Raises:
        UserError: Files are missing or damaged, there is not one image, or not one array of labels
            of its size.
    """
    image_file, image = _image(_files(images))
    shape = image.shape
    fields: dict[str, object] = {"image": image_file}
    evidence = {"image": f"{image} has three axes"}
    several = sum(a.size > 0 and a.axes == 3 for a in arrays.contents(image_file)) > 1
    if several:
        fields["image_name"] = image.name
        evidence["image_name"] = (
            f"the largest of {arrays.listed(arrays.contents(image_file))}, of which several have "
            "three axes"
        )
    pixels = arrays.read(image_file, image.name)
    if pixels.dtype.kind == "c":
        raise UserError(f"{image_file}: {image} holds complex numbers. {_POLSAR}")
    label_path, found = _labels(masks, image_file, image)
    values = label_file.read_labels(label_path, found.name if found else "")
    orders = list(agreeing(shape, values.shape))
    if not orders:
        raise UserError(
            f"{image_file}: {image} and the labels of {label_path} ({by(values.shape)}) have no "
            "order of axes in which they are of one size."
        )
    seen = f"{found or 'the picture'} has the rows and columns of the image"
    if label_path != image_file:
        fields["labels"] = label_path
        evidence["labels"] = seen
    else:
        evidence["image"] += f"; {seen}"
    if found is not None and not _is_only(found, label_path, image_file, image):
        fields["labels_name"] = found.name
        evidence["labels_name"] = f"of {arrays.listed(arrays.contents(label_path))}"
    image_axes, label_axes = _axes(fields, evidence, pixels, values, orders)
    count = axes.bands(shape, image_axes)
    _classes(fields, evidence, values, count)
    _wavelengths(fields, evidence, image_file, count)
    return ArrayGuess(fields, evidence, axes.size(values.shape, label_axes), count)


def source_of(found: ArrayGuess) -> ArrayScene:
    """The source that was guessed."""
    return ArrayScene(**found.fields)  # type: ignore[arg-type]


def _files(place: str) -> list[str]:
    if Path(place).is_dir():
        candidates = [str(Path(place) / file.name) for file in sorted(Path(place).iterdir())]
    elif Path(place).exists():
        candidates = [place]
    else:
        candidates = sorted(glob.glob(place, recursive=True))  # noqa: PTH207  (absolute patterns)
    if not candidates and not glob.has_magic(place) and not Path(place).is_dir():
        raise UserError(f"{place}: no such file or folder. Check the path.")
    found = [path for path in candidates if arrays.is_array_file(path)]
    if not found:
        raise UserError(f"{place} holds no file of arrays ({' '.join(ARRAYS)}).")
    return found


def _image(files: Sequence[str]) -> tuple[str, Stored]:
    """The array of three axes; of several in one file the largest."""
    found = [
        (path, array)
        for path in files
        for array in arrays.contents(path)
        if array.size and array.axes == 3 and len(array.shape) == 3
    ]
    if len({path for path, _ in found}) > 1:
        some = ", ".join(f"{path}: {array}" for path, array in found[:SHOWN])
        raise UserError(
            f"Several files hold an array of three axes ({some}), and an ArrayScene reads one "
            "scene. Give the file itself as --images."
        )
    if not found:
        held = "; ".join(f"{path}: {arrays.listed(arrays.contents(path))}" for path in files)
        raise UserError(
            f"No array has three axes (rows, columns, bands). There are: {held}. {_POLSAR}"
        )
    return max(found, key=lambda pair: math.prod(pair[1].shape))


def _labels(masks: str, image_file: str, image: Stored) -> tuple[str, Stored | None]:
    """The array of two axes that has the image's size; None for a picture."""
    if not are_arrays(masks) and not glob.has_magic(masks):
        if Path(masks).is_file():
            return masks, None
        raise UserError(
            f"{masks}: the image is an array ({image_file}), so give the file of its labels as "
            "--masks: arrays, or a picture of ids."
        )
    files = _files(masks)
    every = [
        (path, array)
        for path in files
        for array in arrays.contents(path)
        if array.size and array.axes == 2 and (path, array.name) != (image_file, image.name)
    ]
    found = [
        (path, array)
        for path, array in every
        if next(agreeing(image.shape, tuple(n for n in array.shape if n != 1)), None) is not None
    ]
    if len(found) > 1:
        named = [(p, a) for p, a in found if any(part in a.name.lower() for part in LABELS)]
        found = named or found
    if len(found) == 1:
        return found[0]
    held = "; ".join(f"{path}: {arrays.listed(arrays.contents(path))}" for path in files)
    what = f"There are {len(found)} arrays" if found else "There is no array"
    raise UserError(
        f"{what} of two axes with the size of the image {image_file}: {image}. Give the file of "
        f"its labels as --masks, with one such array in it. It holds: {held}."
    )


def _is_only(found: Stored, path: str, image_file: str, image: Stored) -> bool:
    """Whether `ArrayScene` finds the labels by itself."""
    of_two = [
        array
        for array in arrays.contents(path)
        if array.size and array.axes == 2 and (path, array.name) != (image_file, image.name)
    ]
    return of_two == [found]


def _axes(
    fields: dict[str, object],
    evidence: dict[str, str],
    image: NDArray[np.generic],
    values: NDArray[np.generic],
    orders: Sequence[Order],
) -> Order:
    """The order of axes: that which fits, and of a square scene that which separates classes."""
    shapes = f"{by(image.shape)}, and labels of {by(values.shape)}"
    # To turn image and labels alike mirrors the scene: it is the same one.
    order = orders[0]
    mirrored: Order = (order[0], "columns-rows")
    if mirrored in orders:
        shares = [_explained(image, values, each) for each in (order, mirrored)]
        if shares[1] > shares[0]:
            order, shares = mirrored, shares[::-1]
        shapes += (
            f"; classes explain {100 * shares[0]:.2g} % of the variance of the image, and "
            f"{100 * shares[1]:.2g} % if labels are turned at the diagonal"
        )
    fields["image_axes"], evidence["image_axes"] = order[0], shapes
    if order[1] != "rows-columns":
        fields["label_axes"] = order[1]
    return order


def _explained(image: NDArray[np.generic], labels: NDArray[np.generic], order: Order) -> float:
    """Share of the variance of some bands that is between classes, 0..1."""
    cube = axes.by_rows(image, order[0])
    label = axes.labels_by_rows(labels, order[1])
    step = max(1, label.shape[0] // LOOKED_AT)
    bands = np.unique(np.linspace(0, cube.shape[-1] - 1, BANDS).astype(int))
    values = cube[::step, ::step][..., bands].reshape(-1, len(bands)).astype(np.float64)
    of = label[::step, ::step].ravel()
    known = np.isfinite(values).all(-1)
    values, of = values[known], of[known]
    inside = sum(values[of == number].var(0) * (of == number).sum() for number in np.unique(of))
    whole = values.var(0) * len(values)
    return float(np.mean(1 - inside / np.where(whole > 0, whole, np.inf)))


def _classes(
    fields: dict[str, object], evidence: dict[str, str], values: NDArray[np.generic], bands: int
) -> None:
    known = values[np.isfinite(values)]
    if (known != np.rint(known)).any():
        raise UserError(f"The labels hold {known[known != np.rint(known)][0]:g}: not a class.")
    found, pixels = np.unique(known.astype(np.int64), return_counts=True)
    ids = [int(value) for value in found if value >= 0]
    if bands >= MANY and ids[:1] == [0]:
        ids = ids[1:]
        why = f"by convention 0 means no label in scenes of many bands ({bands}); if it is a class"
        evidence["ignore_ids"] = f"{why}, move it to ids"
    if len(ids) > 2 and ids[-1] == 255 and ids[-2] < 2 * len(ids):
        ids = ids[:-1]
        evidence["ignore_ids"] = "255 beside few ids is usually no label"
    ignored = tuple(int(value) for value in found if value not in ids)
    if not 1 < len(ids) <= MOST:
        raise UserError(
            f"The labels hold {len(found)} values, from {found[0]} to {found[-1]}: {len(ids)} "
            "cannot be classes. Give the file of the labels as --masks."
        )
    share = zip(found[:SHOWN], 100 * pixels / pixels.sum(), strict=False)
    fields["classes"] = tuple(f"class{value}" for value in ids)
    evidence["classes"] = "files do not state names: write yours, in the order of ids"
    fields["ids"] = tuple(ids)
    evidence["ids"] = f"values {', '.join(f'{value}: {part:.3g} %' for value, part in share)}"
    if ignored:
        fields["ignore_ids"] = ignored
        evidence.setdefault("ignore_ids", "no class is below 0")
    elif ids[0] == 0:
        evidence["ids"] += "; if 0 means no label, write ignore_ids=(0,) and leave it out here"


def _wavelengths(
    fields: dict[str, object], evidence: dict[str, str], path: str, bands: int
) -> None:
    for array in arrays.contents(path):
        if not array.size or math.prod(array.shape) != bands or bands < 2 or array.axes != 1:
            continue
        values = arrays.read(path, array.name).astype(np.float64).ravel()
        if (np.diff(values) > 0).mean() < RISING:  # widths of bands, flags of bad ones
            continue
        for unit in (1.0, 1000.0):
            if WAVELENGTHS[0] <= unit * values.min() and unit * values.max() <= WAVELENGTHS[1]:
                fields["wavelengths_name"] = array.name
                evidence["wavelengths_name"] = (
                    f"{array} has a number for each band, from {values[0]:g} to {values[-1]:g}"
                )
                return
