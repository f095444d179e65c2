"""Your own data: a folder of images and a folder of masks, read by windows from where they are.

    images/a.tif  +  masks/a.tif   ->  one scene "a"       (PNG, JPEG and other formats likewise)

Bands in separate files: `Stacked(Folder(image_suffix="_VV", ...), Folder(image_suffix="_VH",
...))` of `jaxseg.datasets.paired`, which `jaxseg new` writes, or a VRT of GDAL (gdalbuildvrt
-separate).

Nothing is converted or copied: opening a split reads the headers of its files, and training reads
windows. What files cannot state (class names, the meaning of mask values, the split) are fields of
`Folder`.
"""

import dataclasses
import functools
import hashlib
import math
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jaxseg.datasets.folder import numbers as folder_numbers
from jaxseg.datasets.folder import pairing
from jaxseg.datasets.folder.class_fields import check_classes, check_colors, hues
from jaxseg.datasets.folder.division import Division
from jaxseg.datasets.folder.index import indexed, say_once
from jaxseg.datasets.folder.links import out_of, root_of
from jaxseg.datasets.folder.numbers import Convert, Reading
from jaxseg.datasets.folder.pairing import FLAG, Place
from jaxseg.datasets.folder.scenes import FolderScenes, MaskNodata
from jaxseg.datasets.folder.vector_labels import Vectors
from jaxseg.datasets.label_table import LabelTable, packed
from jaxseg.errors import COUNT, NOT_NEGATIVE, UserError, check_ranges
from jaxseg.files import raster
from jaxseg.files.raster import is_remote
from jaxseg.scenes.scene import Origin
from jaxseg.scenes.sensor import Sensor, Unit, visible
from jaxseg.system.cache import cache_folder


@dataclasses.dataclass(frozen=True, kw_only=True)
class Folder:
    """A labelled collection of files; fulfils `jaxseg.scenes.scene.Source`.

    A pixel is valid if the image has data there: finite, not the nodata value, not transparent.

    Attributes:
        images: Folder or pattern ('scenes/**/*.tif') of the images; `{split}` in it stands for the
            split's name.
        masks: The same for the masks, which may also be vector files, or one for all images (see
            `vectors`); empty = `instances` gives the class: no object or object. Without
            instances, too, the images have no labels: `classes` is one name, which all pixels get,
            for pre-training.
        instances: The same for integer object ids, 0 = no object; empty = objects are not known.
        validity: The same for pictures that are 0 where the image has no data, as the field of
            view of an eye camera; empty = as the images state.
        separate_touching: Whether pixels of an object that touch another object become the first
            class, so that every object is a separate region, as in the U-Net paper.
        image_suffix: Suffix of the images' stems after the scene's: '_S1' in a_S1.tif. Files
            without it are left out.
        mask_suffix: The same for masks: '_mask' in a_mask.tif.
        instance_suffix: The same for object ids.
        validity_suffix: The same for `validity`.
        image_prefix: Prefix of the images' stems before the scene's: 'img_' in img_1.tif.
        mask_prefix: The same for masks.
        instance_prefix: The same for object ids.
        validity_prefix: The same for `validity`.
        classes: Names of the classes.
        ids: Mask value of each class; empty = 0, 1, 2, ...
        mask_colors: RGB colour of each class if masks are colours (RGB or palette); empty = ids.
        ignore_ids: Mask values to ignore.
        ignore_colors: Mask colours to ignore.
        mask_nodata: Meaning of the nodata value that a mask is tagged with, and of its transparent
            pixels: `ignore` = ignored, and an error where they hold a class; `keep` = ids like the
            others; `hide` = ignored, also where they hold a class.
        resample_masks: Whether masks may lie on another grid or in another CRS than their images:
            each pixel is read from the nearest one, and pixels outside the mask are ignored.
        vectors: How vector files become masks.
        map_colors: RGB colour of each class in maps; empty = `mask_colors`, else distinct hues.
        band_numbers: Bands to read, counted from 1; empty = all but opacity. A near infrared band
            tagged as opacity (as GDAL tags the fourth band of 8-bit files) must be listed here.
        band_names: Name of each band read; empty = as the file describes them, else band1, band2...
        wavelengths: Centre of each band read in nanometres; empty = as the file tags them.
        added: Offset to subtract: Sentinel-2's processing baseline 04.00 and later added 1000 to
            the values; None = as tags or names of the files state.
        unit: Unit of the files' values, such as `reflectance` or `decibel`; empty = not known.
        convert: Conversion of the unit while reading.
        multiply: Factor applied after that: 10000 brings reflectance of 0..1 to the scale of a run
            that was trained on 0..10000.
        nodata: Value that means no data; None = by each file's own tag.
        nodata_where: Whether the nodata value in `any_band` or only in `all_bands` makes a pixel
            invalid. NaN and infinity in any band always do.
        split_by: `files` = shares of the files in order of their names (2 before 10), so that
            neighbours stay together; `columns`, `rows` = shares of every scene from left or top,
            for overlapping scenes; `blocks` = shares of a grid over all scenes, drawn at random,
            for few large scenes; `folders` = a folder per split, images/train or the `{split}` of
            the path; `lists` = text files.
        fractions: Shares of train, validation and test; not for `folders` and `lists`.
        block: Rows and columns of a block, about; for `blocks`. At least the crop.
        guard: Rows and columns beside a training block that are left out of the other splits.
        split_seed: Seed of the assignment of blocks.
        lists: Folder of train.txt, val.txt and test.txt with one stem per line; for `lists`. A
            file is the list of the test split.
    """

    images: str = dataclasses.field(metadata={"path": True})
    masks: str = dataclasses.field(default="", metadata={"path": True})
    instances: str = dataclasses.field(default="", metadata={"path": True})
    validity: str = dataclasses.field(default="", metadata={"path": True})
    separate_touching: bool = False
    image_suffix: str = ""
    mask_suffix: str = ""
    instance_suffix: str = ""
    validity_suffix: str = ""
    image_prefix: str = ""
    mask_prefix: str = ""
    instance_prefix: str = ""
    validity_prefix: str = ""
    classes: tuple[str, ...]
    ids: tuple[int, ...] = ()
    mask_colors: tuple[tuple[int, int, int], ...] = ()
    ignore_ids: tuple[int, ...] = ()
    ignore_colors: tuple[tuple[int, int, int], ...] = ()
    mask_nodata: MaskNodata = "ignore"
    resample_masks: bool = False
    vectors: Vectors = Vectors()
    map_colors: tuple[tuple[int, int, int], ...] = ()
    band_numbers: tuple[int, ...] = ()
    band_names: tuple[str, ...] = ()
    wavelengths: tuple[float, ...] = ()
    added: int | None = None
    unit: Unit = ""
    convert: Convert = ""
    multiply: float = 1.0
    nodata: float | None = dataclasses.field(default=None, metadata={"may_be_nan": True})
    nodata_where: Literal["any_band", "all_bands"] = "any_band"
    split_by: Literal["files", "columns", "rows", "blocks", "folders", "lists"] = "files"
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15)
    block: int = dataclasses.field(default=512, metadata=COUNT)
    guard: int = dataclasses.field(default=16, metadata=NOT_NEGATIVE)
    split_seed: int = dataclasses.field(default=0, metadata=NOT_NEGATIVE)
    lists: str = dataclasses.field(default="", metadata={"path": True})

    def __post_init__(self) -> None:
        """Rejects fields that contradict each other; no file is opened.

        Raises:
            UserError: A field's length or value does not fit.
        """
        check_ranges(self, FLAG)
        per_class = {
            "ids": self.ids,
            "mask_colors": self.mask_colors,
            "map_colors": self.map_colors,
        }
        if self.masks or self.instances or len(self.classes) != 1:
            check_classes(self.classes, {name: given for name, given in per_class.items() if given})
        check_colors((*self.mask_colors, *self.ignore_colors, *self.map_colors))
        told = (*self.mask_colors, *self.ignore_colors)
        for color in told:
            if told.count(color) > 1:
                raise UserError(f"Mask colour {color} is given twice. Give each one meaning.")
        if self.mask_colors and (self.ids or self.ignore_ids):
            raise UserError(
                f"{FLAG}.mask_colors is for colour masks, ids and ignore_ids are for masks of ids: "
                "leave one of them empty."
            )
        if self.ignore_colors and not self.mask_colors:
            raise UserError(f"{FLAG}.ignore_colors needs mask_colors, one colour per class.")
        unlabelled = not self.instances and len(self.classes) == 1
        if not (self.masks or unlabelled or (self.instances and len(self.classes) == 2)):
            raise UserError(
                f"{FLAG}.masks is empty. Give masks, or instances and exactly two classes "
                "(no object, object), or one class for images without labels."
            )
        if self.resample_masks and self.mask_nodata == "keep":
            raise UserError(
                f"{FLAG}.resample-masks ignores what lies outside of a mask, which is its nodata: "
                f"leave {FLAG}.mask-nodata keep out."
            )
        if self.separate_touching and not self.instances:
            raise UserError(f"{FLAG}.separate_touching needs instances: give their folder.")
        if min(self.fractions) < 0 or abs(sum(self.fractions) - 1) > 1e-6:
            raise UserError(
                f"{FLAG}.fractions {self.fractions}: train, validation and test, none below 0, "
                "together 1."
            )
        if self.band_numbers and min(self.band_numbers) < 1:
            raise UserError(f"{FLAG}.band_numbers {self.band_numbers}: bands count from 1.")
        if len(set(self.band_numbers)) < len(self.band_numbers):
            raise UserError(f"{FLAG}.band_numbers {self.band_numbers}: a band is given twice.")
        if not (self.multiply and math.isfinite(self.multiply)):
            raise UserError(f"{FLAG}.multiply {self.multiply}: give a finite factor, not 0.")
        if self.added is not None and self.added < 0:
            raise UserError(f"{FLAG}.added {self.added}: give 0 or more.")
        self._table()

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        """One RGB colour per class."""
        return self.map_colors or self.mask_colors or hues(len(self.classes))

    @functools.cached_property
    def sensor(self) -> Sensor:
        """Bands, unit and scale by the first image, unless fields give them.

        Raises:
            UserError: There is no image, it cannot be read, or names do not fit its bands.
        """
        return folder_numbers.sensor(
            self._first,
            self._numbers,
            self._names,
            wavelengths=self.wavelengths,
            unit=self.unit,
            nodata=self.nodata,
            added=self.added,
            reading=Reading(self.convert, self.multiply),
        )

    @functools.cached_property
    def _names(self) -> tuple[str, ...]:
        first = self._first
        numbers = self._numbers
        if self.band_names and len(self.band_names) != len(numbers):
            raise UserError(
                f"{FLAG}.band_names has {len(self.band_names)} entries, but {len(numbers)} band(s) "
                f"are read of {first.path}."
            )
        return self.band_names or tuple(
            first.descriptions[number - 1] or f"band{number}" for number in numbers
        )

    def scenes(self, split: str) -> FolderScenes:
        """The scenes of `train`, `validation` or `test`; their headers are read once.

        Raises:
            UserError: Files are missing, unmatched or unreadable, or differ in size, position,
                bands or data type.
        """
        pairing.check_split(split)
        if split not in self._splits:
            self._splits[split] = self._index(split)
        return self._splits[split]

    def splits(self) -> tuple[str, ...]:
        """The splits that have a folder or a list; those of parts of files always exist."""
        if self.split_by == "folders":
            return pairing.with_folders(self._places())
        return pairing.with_lists(self.lists) if self.split_by == "lists" else tuple(pairing.SPLITS)

    def origin(self) -> Origin:
        """The images and how they are divided."""
        names = ["split_by", "fractions", "lists"]
        if self.split_by == "blocks":
            names += ["block", "guard", "split_seed"]
        split = {name: getattr(self, name) for name in names}
        return Origin(self.images, split, whole=True)

    def rgb(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """Red, green and blue by name (also Sentinel-2's), else bands 1 to 3, else 1 as gray."""
        return image[..., visible(self._names)].astype(np.float32)

    def counts_file(self) -> Path | None:
        """File of the class counts, in the user's cache; nothing is written to the data folders.

        Its name depends on the settings and on path, size and time of every training file. None
        if the user has no cache.
        """
        cache = cache_folder()
        if cache is None:
            return None
        digest = hashlib.sha256(repr(self).encode())
        scenes = self.scenes("train")
        for index in range(len(scenes)):
            for path in scenes.files(index):
                status = Path(path).stat()
                facts = f"{Path(path).resolve()} {status.st_size} {status.st_mtime_ns}\n"
                digest.update(facts.encode())
        return cache / "class_counts" / f"{digest.hexdigest()[:16]}.json"

    def check_first(self, header: raster.Header) -> None:
        """Rejects a file whose values are not measurements.

        Raises:
            UserError: It is a palette picture, or holds complex values.
        """
        if header.palette is not None:
            raise UserError(
                f"{header.path} is a palette picture: its values are indices of colours, not "
                "measurements. Convert it to RGB."
            )
        if any(dtype.kind == "c" for dtype in header.dtypes):
            raise UserError(
                f"{header.path} holds complex values. Use LabelledPolsar for scenes with four "
                "polarisations; for other images write amplitudes or intensities."
            )

    def _index(self, split: str) -> FolderScenes:
        places = self._places()
        if self.split_by == "folders":
            places = pairing.in_folders(places, split)
        files = pairing.paired(places)
        stems = list(files)
        if self.split_by == "files":
            stems = pairing.in_fraction(stems, split, self.fractions)
        elif self.split_by == "lists":
            stems = pairing.in_lists(files, split, self.lists, places[0])
        division = None
        if self.split_by in ("columns", "rows", "blocks"):
            division = Division(
                self.split_by, self.fractions, self.block, self.guard, self.split_seed
            )
        given = [place.field for place in places]

        def of_kinds(stem: str) -> tuple[str, str, str, str]:
            found = dict(zip(given, files[stem], strict=True))
            masks, objects = found.get("masks", ""), found.get("instances", "")
            return found["images"], masks, objects, found.get("validity", "")

        for place in places:
            if not (is_remote(place.path) or place.path.startswith("/vsi")):
                number = given.index(place.field)
                if said := out_of(root_of(place.path), (files[stem][number] for stem in stems)):
                    say_once(said)
        return indexed(
            [of_kinds(stem) for stem in stems],
            reference=self._first,
            bands=dict(zip(self._numbers, self._names, strict=True)),
            named=bool(self.band_names),
            added=self.added,
            table=self._table(),
            classes=self.classes,
            by_color=bool(self.mask_colors),
            mask_nodata=self.mask_nodata,
            nodata=self.nodata,
            nodata_in_all=self.nodata_where == "all_bands",
            separate_touching=self.separate_touching,
            reading=Reading(self.convert, self.multiply),
            vectors=self.vectors,
            resample_masks=self.resample_masks,
            division=division,
            split=split,
        )

    def _places(self) -> list[Place]:
        places = (
            Place("images", self.images, self.image_suffix, self.image_prefix),
            Place("masks", self.masks, self.mask_suffix, self.mask_prefix),
            Place("instances", self.instances, self.instance_suffix, self.instance_prefix),
            Place("validity", self.validity, self.validity_suffix, self.validity_prefix),
        )
        return [place for place in places if place.path]

    def _table(self) -> LabelTable:
        if self.mask_colors:
            colors = packed(np.asarray(self.mask_colors)).tolist()
            ignored = packed(np.asarray(self.ignore_colors).reshape(-1, 3)).tolist()
            return LabelTable.of(colors, ignored)
        return LabelTable.of(self.ids or range(len(self.classes)), self.ignore_ids)

    @functools.cached_property
    def _splits(self) -> dict[str, FolderScenes]:
        return {}

    @functools.cached_property
    def _first(self) -> raster.Header:
        """The header of the first image, with which all others have to agree."""
        places = self._places()
        if self.split_by == "folders":  # data for testing alone have no folder for training
            places = pairing.in_folders(places, next(iter(self.splits()), "train"))
        header = raster.header(next(iter(pairing.paired(places).values()))[0])
        self.check_first(header)
        return header

    @functools.cached_property
    def _numbers(self) -> tuple[int, ...]:
        first = self._first
        if self.band_numbers and max(self.band_numbers) > first.bands:
            raise UserError(
                f"{FLAG}.band_numbers {self.band_numbers}: {first.path} has {first.bands} band(s)."
            )
        return self.band_numbers or tuple(
            number for number in range(1, first.bands + 1) if number != first.alpha
        )
