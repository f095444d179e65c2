"""PASCAL VOC segmentation, 21 classes, from a downloaded standard VOCdevkit folder.

    VOCdevkit/VOC2012/JPEGImages/ID.jpg             photographs, about 500 x 375 pixels
                      SegmentationClass/ID.png      palette pictures of ids, 255 = void
                      SegmentationClassAug/ID.png   the same for 10,582 images (optional)
                      ImageSets/Segmentation/       train.txt, val.txt, and trainaug.txt (optional)

TFDS' `voc` has boxes but no masks, so this file defines its own TFDS builder, `voc_segmentation`,
which writes ArrayRecord files.

**Source:** Everingham et al., The PASCAL Visual Object Classes Challenge, IJCV 2010; the additional
masks by Hariharan et al., Semantic Contours from Inverse Detectors, ICCV 2011. Flickr's terms.
"""

import dataclasses
import hashlib
import io
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorflow_datasets as tfds
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from jaxseg.datasets.tiles import TileScenes, picture
from jaxseg.datasets.written_once import Checked, opened, written
from jaxseg.errors import UserError
from jaxseg.scenes.scene import IGNORE, Sample
from jaxseg.scenes.sensor import Sensor

CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)

SENSOR = Sensor(("red", "green", "blue"), unit="digital number", scale=1.0)


def _color(label: int) -> tuple[int, int, int]:
    """The challenge's colour of a class: bits 0, 3, 6 of the id are red's highest bits, etc."""
    parts = [
        sum((label >> (3 * bit + part) & 1) << (7 - bit) for bit in range(3)) for part in range(3)
    ]
    return parts[0], parts[1], parts[2]


COLORS = tuple(_color(label) for label in range(len(CLASSES)))


@dataclasses.dataclass(frozen=True)
class VOC:
    """The dataset as a config holds it; ArrayRecord files are built on first use.

    The labels of VOC's test images are not public, so both `test` and `validation` are VOC's val,
    on which papers report as well. Only classes are read: for border weights, the objects are the
    connected regions of a class, so two objects that touch are one unless void separates them.

    Attributes:
        path: The folder VOCdevkit.
        year: Year of the challenge.
        augmented: Whether to train on trainaug.txt and SegmentationClassAug (10,582 images instead
            of 1,464 in 2012).
        data_dir: Folder of the built files; empty = TFDS' default, ~/tensorflow_datasets.
    """

    path: str = dataclasses.field(metadata={"path": True})
    year: Literal["2012", "2007"] = "2012"
    augmented: bool = False
    data_dir: str = dataclasses.field(default="", metadata={"path": True})

    @property
    def classes(self) -> tuple[str, ...]:
        """Background and twenty kinds of objects."""
        return CLASSES

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        """The challenge's colours."""
        return COLORS

    @property
    def sensor(self) -> Sensor:
        """Red, green and blue, 0..255; photographs have no ground sample distance."""
        return SENSOR

    def scenes(self, split: str) -> TileScenes:
        """The photographs of `train`, or of VOC's val for `validation` and `test`.

        Raises:
            UserError: The folder is incomplete, a file is damaged, or there is no such split.
        """
        if split not in ("train", "validation", "test"):
            raise UserError(f"Split {split!r} of VOC: choose train, validation or test.")
        builder = _built(self, _plan(self))
        stored = "train" if split == "train" else "validation"
        folder, skip = Path(builder.data_path), {"image": tfds.decode.SkipDecoding()}
        records = Checked(
            opened(folder, lambda: builder.as_data_source(split=stored, decoders=skip)), folder
        )
        facts = builder.info.metadata[stored]
        sizes = [(height, width) for height, width in facts["sizes"]]
        return TileScenes(records, _sample, sizes, facts["names"])

    def counts_file(self) -> Path:
        """File of the class counts beside the built files, whose folder depends on VOC's files."""
        return Path(_built(self, _plan(self)).data_path) / "class_counts.json"

    def rgb(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """The photograph itself."""
        return image.astype(np.float32)


@dataclasses.dataclass(frozen=True)
class _Plan:
    """The files of each split, and a name that changes with them."""

    files: Mapping[str, list[tuple[Path, Path]]]
    digest: str


@dataclasses.dataclass(kw_only=True)
class VOCConfig(tfds.core.BuilderConfig):  # type: ignore[misc]
    """A TFDS config that holds the list of its files."""

    plan: _Plan


class VOCBuilder(tfds.core.GeneratorBasedBuilder):  # type: ignore[misc]
    """The TFDS builder: photographs as JPEG, masks as arrays, in the order of the lists."""

    name = "voc_segmentation"
    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "name": tfds.features.Text(),
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "label": tfds.features.Tensor(shape=(None, None), dtype=np.uint8, encoding="zlib"),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager: object) -> dict[str, Iterator[tuple[int, Any]]]:
        del dl_manager  # nothing is downloaded
        files = self.builder_config.plan.files
        return {split: self._generate_examples(split, pairs) for split, pairs in files.items()}

    def _generate_examples(
        self, split: str, pairs: list[tuple[Path, Path]]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        sizes = []
        for index, (photograph, mask) in enumerate(pairs):
            label = _label(mask)
            jpeg = photograph.read_bytes()
            size = picture(jpeg, str(photograph)).shape[:2]
            if size != label.shape:
                raise UserError(
                    f"{mask} has {label.shape[0]} x {label.shape[1]} pixels, {photograph} "
                    f"{size[0]} x {size[1]}. Fetch both again."
                )
            sizes.append(size)
            yield index, {"name": photograph.stem, "image": io.BytesIO(jpeg), "label": label}
        names = [photograph.stem for photograph, _ in pairs]
        self.info.metadata[split] = {"sizes": sizes, "names": names}


def _label(path: Path) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as mask:
            ids = np.asarray(mask)
    except (OSError, UnidentifiedImageError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"Cannot read {path}: {error}. Fetch it again.") from error
    if ids.ndim != 2 or ids.dtype != np.uint8:
        raise UserError(
            f"{path} holds colours, not ids. VOC's masks are palette pictures: use the originals."
        )
    wrong = (ids >= len(CLASSES)) & (ids != IGNORE)
    if wrong.any():
        row, column = (int(axis[0]) for axis in np.nonzero(wrong))
        raise UserError(
            f"{path}: value {ids[row, column]} at row {row}, column {column} is not a class of VOC "
            f"(0 to {len(CLASSES) - 1}, {IGNORE} = void)."
        )
    return ids


def _plan(settings: VOC) -> _Plan:
    root = Path(settings.path)
    year = root / f"VOC{settings.year}"
    if not year.is_dir() and root.name == year.name:
        year = root  # the user gave the inner folder
    needed = [year / "JPEGImages", year / "SegmentationClass", year / "ImageSets" / "Segmentation"]
    train = "train.txt"
    if settings.augmented:
        needed.append(year / "SegmentationClassAug")
        train = "trainaug.txt"
    needed += [needed[2] / train, needed[2] / "val.txt"]
    for part in needed:
        if not part.exists():
            raise UserError(
                f"There is no {part}. --config.data.source.path has to be the folder VOCdevkit "
                f"with VOC{settings.year}/{part.relative_to(year)} in it."
            )
    files = {
        "train": _pairs(needed[0], needed[3] if settings.augmented else needed[1], needed[-2]),
        "validation": _pairs(needed[0], needed[1], needed[-1]),
    }
    digest = hashlib.sha256()
    for split, pairs in files.items():
        digest.update(split.encode())
        for path in (path for pair in pairs for path in pair):
            if not path.is_file():
                raise UserError(f"There is no {path}, which a list names. Complete the folder.")
            status = path.stat()
            digest.update(f"{path.resolve()} {status.st_size} {status.st_mtime_ns}\n".encode())
    return _Plan(files, digest.hexdigest()[:12])


def _pairs(photographs: Path, masks: Path, names: Path) -> list[tuple[Path, Path]]:
    listed = [line.split()[0] for line in names.read_text().splitlines() if line.strip()]
    if not listed:
        raise UserError(f"{names} names no image. Fetch it again.")
    return [
        (photographs / f"{Path(name).stem}.jpg", masks / f"{Path(name).stem}.png")
        for name in listed
    ]


def _sample(record: Mapping[str, Any]) -> Sample:
    image = picture(record["image"], record["name"].decode())
    return {
        "image": image,
        "label": record["label"],
        "valid": np.ones(image.shape[:2], bool),
    }


def _built(settings: VOC, plan: _Plan) -> VOCBuilder:
    name = settings.year + ("_augmented" if settings.augmented else "") + f"_{plan.digest}"
    config = VOCConfig(name=name, description=f"{settings}", plan=plan)
    builder = VOCBuilder(config=config, data_dir=settings.data_dir or None)

    def write() -> None:
        count = sum(len(pairs) for pairs in plan.files.values())
        sys.stderr.write(f"VOC: storing {count} images in {builder.data_path} ...\n")
        tfds.disable_progress_bar()
        builder.download_and_prepare(file_format="array_record")

    written(Path(builder.data_path), write, "VOC")
    if not builder.info.splits:  # another process was faster
        builder = VOCBuilder(config=config, data_dir=settings.data_dir or None)
    return builder
