"""Oxford-IIIT Pet: 7,349 photographs of cats and dogs with trimaps; TFDS `oxford_iiit_pet`, 800 MB.

While building, TFDS re-encodes a dozen broken photographs with TensorFlow; here Pillow does it.
Records, version and folder are those of TFDS, so a copy built elsewhere as ArrayRecord is reused.

**Source:** Parkhi, Vedaldi, Zisserman and Jawahar, Cats and Dogs, CVPR 2012. Licence CC BY-SA 4.0.
"""

import dataclasses
import functools
import io
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from numpy.typing import NDArray
from PIL import Image
from tensorflow_datasets.datasets.oxford_iiit_pet import (
    oxford_iiit_pet_dataset_builder as original,
)

from jaxseg.datasets.tiles import TileScenes, picture
from jaxseg.datasets.written_once import Checked, opened, written
from jaxseg.errors import UserError
from jaxseg.scenes.scene import Sample
from jaxseg.scenes.sensor import Sensor

CLASSES = ("pet", "background", "outline")

COLORS = ((224, 142, 60), (64, 92, 120), (240, 240, 240))

SENSOR = Sensor(("red", "green", "blue"), unit="digital number", scale=1.0)


@dataclasses.dataclass(frozen=True)
class OxfordPets:
    """The dataset as a config holds it; downloaded and built on first use.

    Attributes:
        validation_percent: Share of TFDS' train split, taken from its end, that is `validation`.
        data_dir: TFDS' data folder; empty = TFDS' default, ~/tensorflow_datasets.
    """

    validation_percent: int = 10
    data_dir: str = dataclasses.field(default="", metadata={"path": True})

    @property
    def classes(self) -> tuple[str, ...]:
        """Pet, background and the outline between them, which is a separate class."""
        return CLASSES

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        """RGB per class."""
        return COLORS

    @property
    def sensor(self) -> Sensor:
        """Red, green and blue, 0..255; photographs have no ground sample distance."""
        return SENSOR

    def scenes(self, split: str) -> TileScenes:
        """The photographs of `train`, `validation` (the end of TFDS' train) or `test`.

        Raises:
            UserError: There is no such split, or the dataset can be neither found nor downloaded.
        """
        if not 1 <= self.validation_percent <= 99:
            raise UserError(
                f"--config.data.source.validation_percent {self.validation_percent}: 1 to 99."
            )
        border = 100 - self.validation_percent
        slices = {"train": f"train[:{border}%]", "validation": f"train[{border}%:]", "test": "test"}
        if split not in slices:
            raise UserError(f"Split {split!r} of OxfordPets: choose one of {', '.join(slices)}.")
        return _scenes(self.data_dir, slices[split])

    def counts_file(self) -> Path:
        """File of the class counts beside the built files, one for each size of the split."""
        folder = Path(_built(self.data_dir).data_path)
        return folder / f"class_counts_{100 - self.validation_percent}_percent.json"

    def rgb(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """The photograph itself."""
        return image.astype(np.float32)


class PetsBuilder(original.Builder, skip_registration=True):  # type: ignore[misc, call-arg]
    """TFDS' builder without TensorFlow, with the same name, description and checksums."""

    name = "oxford_iiit_pet"
    pkg_dir_path = original.Builder._get_pkg_dir_path()
    url_infos = original.Builder.url_infos

    def _generate_examples(
        self, images_dir_path: str, annotations_dir_path: str, images_list_file: str
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for line in Path(images_list_file).read_text().splitlines():
            name, label, species, _ = line.split()
            data = Path(images_dir_path, f"{name}.jpg").read_bytes()
            if name in original._CORRUPT_SAMPLES:
                data = _mended(data)
            boxes = Path(annotations_dir_path, "xmls", f"{name}.xml")
            box = original._get_head_bbox(boxes) if boxes.exists() else original._EMPTY_BBOX
            yield (
                f"{name}.jpg",
                {
                    "image": io.BytesIO(data),
                    "label": int(label) - 1,
                    "species": int(species) - 1,
                    "file_name": f"{name}.jpg",
                    "segmentation_mask": str(Path(annotations_dir_path, "trimaps", f"{name}.png")),
                    "head_bbox": box,
                },
            )


def _mended(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        image.convert("RGB").save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


@functools.cache
def _built(data_dir: str) -> PetsBuilder:
    builder = PetsBuilder(data_dir=data_dir or None)

    def write() -> None:
        sys.stderr.write(f"oxford_iiit_pet: downloading 800 MB to {builder.data_path} ...\n")
        try:
            builder.download_and_prepare(file_format="array_record")
        except (OSError, tfds.download.DownloadError) as error:
            raise UserError(
                f"oxford_iiit_pet could not be downloaded: {error}. Connect this machine, or copy "
                f"{builder.data_path} from one where it was built."
            ) from error

    written(Path(builder.data_path), write, "oxford_iiit_pet")
    if builder.info.file_format.value != "array_record":
        raise UserError(
            f"{builder.data_path} was built as {builder.info.file_format.value}, which has no "
            "random access. Give another --config.data.source.data_dir, or remove it."
        )
    if not builder.info.splits:  # another process was faster
        builder = PetsBuilder(data_dir=data_dir or None)
    return builder


@functools.cache
def _scenes(data_dir: str, split: str) -> TileScenes:
    builder = _built(data_dir)
    skip = tfds.decode.SkipDecoding()
    folder, skipped = Path(builder.data_path), {"image": skip, "segmentation_mask": skip}
    records = Checked(
        opened(folder, lambda: builder.as_data_source(split=split, decoders=skipped)), folder
    )
    sizes, names = [], []
    for index in range(len(records)):  # reads the headers; no pixel is decoded
        record = records[index]
        with Image.open(io.BytesIO(record["segmentation_mask"])) as image:
            sizes.append((image.height, image.width))
        names.append(record["file_name"].decode())
    return TileScenes(records, _sample, sizes, names)


def _sample(record: Mapping[str, Any]) -> Sample:
    name = record["file_name"].decode()
    image = picture(record["image"], name)
    trimap = picture(record["segmentation_mask"], name, mode="L")
    if trimap.min() < 1 or trimap.max() > len(CLASSES):
        raise UserError(f"{name}: its trimap holds {trimap.min()} to {trimap.max()}, not 1 to 3.")
    return {"image": image, "label": trimap - 1, "valid": np.ones(trimap.shape, bool)}
