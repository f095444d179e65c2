"""Batch number N of a source: which windows, in which order, on which process.

Only this module uses Grain. The order is a pure function of (seed, step), so no pipeline state is
stored and a run can continue with other numbers of threads, devices or hosts. The host reads, cuts
and stacks raw sensor values; everything else happens in the step.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import grain
import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError, check_ranges
from jaxseg.scenes.cover import Cover, Windows
from jaxseg.scenes.scene import IGNORE, PixelInput, Sample, Scenes, Source, Window
from jaxseg.system import limits

SIDE, BATCH, THREADS = 2**16, 2**20, 1024
"""What no window, batch and process has more of: a stored config could say anything."""


@dataclasses.dataclass(frozen=True)
class Data:
    """The source, and how it is cut into batches.

    Attributes:
        source: The labelled collection.
        crop: Rows and columns of a training window.
        batch_size: Windows per step, over all devices and processes.
        evaluation_crop: Rows and columns of the windows that tile a scene in evaluation; 0 =
            `crop`.
        pad: Whether scenes smaller than `crop` are padded with invalid pixels (an error otherwise).
        threads: Reading threads of each process; does not affect results.
        shared_ground: Share of the ground of the validation or the test split, 0..1, that the
            training split may show, too. More is an error: scores of such pixels say little.
    """

    source: Source
    crop: int = dataclasses.field(default=256, metadata={"least": 1, "most": SIDE})
    batch_size: int = dataclasses.field(default=16, metadata={"least": 1, "most": BATCH})
    evaluation_crop: int = dataclasses.field(default=0, metadata={"least": 0, "most": SIDE})
    pad: bool = False
    threads: int = dataclasses.field(
        default=8, metadata={"least": 1, "most": THREADS, "free_on_resume": True}
    )
    shared_ground: float = dataclasses.field(
        default=0.0, metadata={"least": 0, "most": 1, "free_on_resume": True}
    )

    def __post_init__(self) -> None:
        """Rejects sizes that are too small.

        Raises:
            UserError: A field is too small; the message names it.
        """
        check_ranges(self, "--config.data")


def training_batches(
    data: Data,
    *,
    seed: int,
    positions: list[int],
    first: int,
    last: int,
    inputs: tuple[PixelInput, ...] = (),
) -> Iterator[Sample]:
    """Batches of the steps `first` to `last - 1`: shuffled windows at random offsets.

    In each epoch a scene contributes one window per `crop` x `crop` pixels of its area.

    Args:
        data: What to read.
        seed: Seed of order and offsets.
        positions: The positions of each global batch that this process reads.
        first: First step.
        last: One past the last step.
        inputs: Further maps that the losses need.

    Raises:
        UserError: The split is empty or has no labelled, valid pixel, a scene is smaller than the
            crop, or a file cannot be read.
    """
    check_memory(len(positions), data.crop)
    scenes = data.source.scenes("train")
    place_of = _places(scenes, data, seed)
    refuse_blank(scenes, data, "train")

    def read(index: int) -> Sample:
        step, place = divmod(index, len(positions))
        scene, window = place_of(step * data.batch_size + positions[place])
        return read_window(scenes, scene, window, data, inputs)

    local = grain.MapDataset.range(first * len(positions), last * len(positions))
    options = grain.ReadOptions(num_threads=data.threads, prefetch_buffer_size=4 * data.batch_size)
    return iter(local.map(read).batch(len(positions)).to_iter_dataset(options))


def check_memory(count: int, side: int) -> None:
    """Rejects a batch that this machine cannot hold, before a window of it is read.

    Args:
        count: Windows of a batch that this process reads.
        side: Rows and columns of a window.

    Raises:
        UserError: It is larger than `limits.ARRAY`.
    """
    limits.check_array(
        f"A batch of {count} windows of {side} x {side} pixels, were they of one band,",
        count * side**2 * 3,  # a byte for it, labels and validity
        "Make --config.data.crop or --config.data.batch-size smaller.",
    )


def windows_of_step(
    data: Data, seed: int, positions: list[int], step: int
) -> Iterator[tuple[str, Sample]]:
    """The windows of one batch of `training_batches`, each with the name of its scene.

    Args:
        data: What to read.
        seed: Seed of order and offsets.
        positions: The positions of the global batch that are wanted.
        step: The step, from 0.

    Raises:
        UserError: As for `training_batches`.
    """
    scenes = data.source.scenes("train")
    place_of = _places(scenes, data, seed)
    for position in positions:
        scene, window = place_of(step * data.batch_size + position)
        yield scenes.name(scene), read_window(scenes, scene, window, data)


def _places(scenes: Scenes, data: Data, seed: int) -> Callable[[int], tuple[int, Window]]:
    """Number of a training window -> its scene and place."""
    cells = training_cells(scenes, data)
    order = grain.MapDataset.range(cells.total).seed(seed).shuffle().repeat()

    def place_of(number: int) -> tuple[int, Window]:
        scene = cells.scene(order[number])
        random = np.random.default_rng((seed, number))
        height, width = scenes.size(scene)
        y = int(random.integers(max(0, height - data.crop) + 1))
        x = int(random.integers(max(0, width - data.crop) + 1))
        return scene, Window(y, x, data.crop, data.crop)

    return place_of


def cover_of(data: Data, overlap: float = 0.0, stride: int = 1) -> Cover:
    """How windows cover the scenes of an evaluation.

    Args:
        data: Names the size of the windows.
        overlap: Share of a window's side, 0 <= overlap < 1, that two neighbours have in common at
            least.
        stride: Output stride of the network: windows start at its multiples, so that the network
            samples all of them at the same places.

    Raises:
        UserError: The overlap is not a share.
    """
    side = data.evaluation_crop or data.crop
    if not 0 <= overlap < 1:  # NaN is not
        hint = f" {overlap:g} of {side} pixels are --overlap {overlap / side:.3g}."
        raise UserError(
            f"--overlap {overlap:g}: give the share of a window's side that two windows have in "
            f"common, from 0 to less than 1, such as 0.25.{hint if 2 <= overlap < side else ''}"
        )
    if not overlap:
        return Cover(side, side)
    unit = stride if stride < side else 1
    return Cover(side, max(1, int(side * (1 - overlap)) // unit) * unit)


def evaluation_windows(scenes: Scenes, data: Data) -> Windows:
    """Non-overlapping windows that cover every scene once; the last ones may extend beyond it.

    Raises:
        UserError: They are more than `limits.WINDOWS`.
    """
    return windows_of(cover_of(data), scenes)


def windows_of(cover: Cover, scenes: Scenes) -> Windows:
    """The windows of an evaluation, of each of which some counts are kept.

    Raises:
        UserError: They are more than `limits.WINDOWS`.
    """
    windows = cover.windows(scenes)
    if len(windows) > (limit := limits.WINDOWS.now()):
        largest = max(
            range(len(scenes)), key=lambda scene: np.prod(scenes.size(scene), dtype=float)
        )
        height, width = scenes.size(largest)
        raise UserError(
            f"{len(windows)} windows of {cover.side} x {cover.side} pixels are more than the limit "
            f"of {limit:.0f}: the largest of {len(scenes)} scene(s), {scenes.name(largest)}, says "
            f"that it has {height} x {width} pixels. If that is right, evaluate larger windows "
            f"(--config.data.evaluation-crop), or give {limits.WINDOWS.variable}={len(windows)}."
        )
    return windows


def evaluation_batches(
    scenes: Scenes,
    windows: Sequence[tuple[int, Window]],
    data: Data,
    *,
    positions: list[int],
    cover: Cover | None = None,
) -> Iterator[Sample]:
    """The batches of `windows` in order, the last one filled up with invalid windows.

    Args:
        scenes: The split.
        windows: Scene and window of each.
        data: What to read.
        positions: The positions of each global batch that this process reads.
        cover: The windows' own parts of the scenes, outside of which labels are IGNORE; None = all
            of a window counts.

    Raises:
        UserError: A file cannot be read.
    """

    def read(index: int) -> Sample:
        batch, place = divmod(index, len(positions))
        number = batch * data.batch_size + positions[place]
        scene, window = windows[min(number, len(windows) - 1)]
        sample = read_window(scenes, scene, window, data)
        if cover is not None:
            own = cover.own(scenes.size(scene), window)
            sample["label"] = _inside(sample["label"], window, own)
        if number >= len(windows):
            sample["valid"] = np.zeros_like(sample["valid"])
        return sample

    batches = -(-len(windows) // data.batch_size)
    options = grain.ReadOptions(num_threads=data.threads, prefetch_buffer_size=4 * data.batch_size)
    local = grain.MapDataset.range(batches * len(positions))
    return iter(local.map(read).batch(len(positions)).to_iter_dataset(options))


def _inside(label: NDArray[np.generic], window: Window, own: Window) -> NDArray[np.generic]:
    """The labels of a window, IGNORE outside its own part."""
    y, x = own.y - window.y, own.x - window.x
    place = slice(y, y + own.height), slice(x, x + own.width)
    kept = np.full_like(label, IGNORE)
    kept[place] = label[place]
    return kept


def read_window(
    scenes: Scenes, scene: int, window: Window, data: Data, inputs: tuple[PixelInput, ...] = ()
) -> Sample:
    """One window, invalid outside the scene, with the maps of `inputs` instead of object ids.

    Raises:
        UserError: The window cannot be read, or a label or object id is not allowed.
    """
    height, width = scenes.size(scene)
    margin = max((wanted.margin for wanted in inputs), default=0)
    top, left = max(0, window.y - margin), max(0, window.x - margin)
    bottom = min(height, window.y + window.height + margin)
    right = min(width, window.x + window.width + margin)
    sample = dict(scenes.read(scene, Window(top, left, bottom - top, right - left)))
    _check_label(sample, data.source.classes, scenes.name(scene))
    try:
        computed = {wanted.name: wanted(sample) for wanted in inputs}
    except UserError as error:
        raise UserError(f"{scenes.name(scene)}: {error}") from None
    sample.pop("instance", None)
    inner = (slice(window.y - top, None), slice(window.x - left, None))
    # Outside the scene: label IGNORE, maps their fill value, everything else 0 or False.
    fill = {"label": float(IGNORE)} | {wanted.name: wanted.fill for wanted in inputs}
    return {
        name: _fit(array[inner], window.height, window.width, fill.get(name, 0))
        for name, array in (sample | computed).items()
    }


class Cells(NamedTuple):
    """The training windows of one epoch, numbered scene by scene; one number is kept of each scene.

    Attributes:
        ends: (N,) number of the windows of the scenes up to and including each.
    """

    ends: NDArray[np.int64]

    @property
    def total(self) -> int:
        """How many there are."""
        return int(self.ends[-1])

    def scene(self, number: int) -> int:
        """The index of the scene of a window."""
        return int(np.searchsorted(self.ends, number, side="right"))


def training_cells(scenes: Scenes, data: Data) -> Cells:
    """The training windows of one epoch.

    Raises:
        UserError: There is no scene, or a scene is smaller than the crop.
    """
    if len(scenes) == 0:
        raise UserError("The training split holds no scene. Check the source's paths and split.")
    counts = np.empty(len(scenes), np.int64)
    for index in range(len(scenes)):
        height, width = scenes.size(index)
        if min(height, width) < data.crop and not data.pad:
            raise UserError(
                f"{scenes.name(index)} has {height} x {width} pixels, smaller than the crop of "
                f"{data.crop}. Use "
                f"--config.data.crop {min(height, width)} or less, or --config.data.pad to "
                "pad with no data."
            )
        counts[index] = -(-height // data.crop) * -(-width // data.crop)
    return Cells(np.cumsum(counts))


def refuse_blank(scenes: Scenes, data: Data, split: str) -> None:
    """Rejects a split without a labelled, valid pixel; reads only until it finds one.

    Raises:
        UserError: No pixel of the split is labelled and valid, or a file cannot be read.
    """
    for scene, window in cover_of(data).windows(scenes):
        sample = read_window(scenes, scene, window, data)
        if (sample["valid"].astype(bool) & (sample["label"] != IGNORE)).any():
            return
    raise UserError(
        f"The split {split} has no labelled, valid pixel in {len(scenes)} scene(s), the first "
        f"being {scenes.name(0)}: there is nothing to count. Check the masks and the nodata value."
    )


def _check_label(sample: Sample, classes: tuple[str, ...], name: str) -> None:
    """Rejects labels that are not classes: they would corrupt the loss and be missing in scores."""
    label = sample["label"]
    if label.dtype.kind not in "iub":
        raise UserError(f"{name}: labels of type {label.dtype}; classes are whole numbers.")
    outside = np.greater_equal(label, len(classes)) & (label != IGNORE)
    if label.dtype.kind == "i":
        outside |= np.less(label, 0)
    if not outside.any():  # so that a window is looked at once, in its own type
        return
    wrong = label[outside & sample["valid"].astype(bool)]
    if len(wrong):
        raise UserError(
            f"{name}: label {wrong[0]} is not a class: the source names {len(classes)} "
            f"({', '.join(classes)}). Add the class, or store the label as {IGNORE}."
        )


def _fit(array: NDArray[np.generic], height: int, width: int, fill: float) -> NDArray[np.generic]:
    """Cuts or pads the first two axes to (height, width)."""
    array = array[:height, :width]
    missing = [(0, height - array.shape[0]), (0, width - array.shape[1])]
    if not any(after for _, after in missing):
        return array
    return np.pad(array, missing + [(0, 0)] * (array.ndim - 2), constant_values=fill)
