"""Flags of the commands about data."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxseg.datasets.packed.writer import TILE


@dataclasses.dataclass(frozen=True)
class DataFlags:
    """Look at data before anything is trained: jaxseg data configs/folder.py, with its flags.

    Says what the splits hold, by a sample of them, and what is odd; draws images with their labels.
    With --images and --masks instead of a config, it also lists the values of the masks.

    Attributes:
        config: Path of a config file, or the name of a shipped one.
        images: Folder or pattern of images, without a config.
        masks: The same for masks.
        out: Folder for the pictures.
    """

    config: Annotated[str, tyro.conf.Positional] = ""
    images: str = ""
    masks: str = ""
    out: Path = Path("data_pictures")


@dataclasses.dataclass(frozen=True)
class PackFlags:
    """Convert a folder of images once, to be read faster: jaxseg pack my.py packs/fields.

    Train from it with data=Data(source=Packed("packs/fields")). Started again after an
    interruption, the same command continues. `jaxseg pack packs/fields --check` reads a pack.

    Attributes:
        config: Path of a config file whose data are packed, or the name of a shipped one; with
            --check alone, the pack.
        out: Folder of the pack.
        tile: Rows and columns of a tile.
        compress: Whether tiles are compressed without loss: half the bytes or less, read at half
            the rate; for a disk that is slower than that.
        check: Whether every byte of the pack is compared with its digest, and the packed files
            with their sizes and times.
    """

    config: Annotated[str, tyro.conf.Positional]
    out: Annotated[Path | None, tyro.conf.Positional] = None
    tile: int = TILE
    compress: bool = False
    check: bool = False


@dataclasses.dataclass(frozen=True)
class NewFlags:
    """Write a config for your own files: jaxseg new my.py --images photos --masks labels.

    What masks hold, how names belong together, splits, unit, and sizes are guessed; the evidence
    stands beside each guess.

    Attributes:
        file: The config file to write.
        images: Folder, file or pattern of images; {split} in it stands for the split's name.
        masks: The same for masks.
        overwrite: Whether an existing file is replaced.
    """

    file: Annotated[Path, tyro.conf.Positional]
    images: str
    masks: str
    overwrite: bool = False


@dataclasses.dataclass(frozen=True)
class BorderFlags:
    """Draw the border weights of some windows: jaxseg border configs/nuclei.py border.png.

    Flags like --config.data.source.images change the config's fields, as in training.

    Attributes:
        config: Path of the config file, or the workdir of a run.
        file: File of the picture, a name that ends in .png.
        split: The split to draw.
        count: Number of windows.
        make: Whether data that a run's config names may be fetched from other machines, drawn or
            downloaded where they are missing.
        code: Files (.py) or packages that define classes of the run from outside jaxseg.
    """

    config: Annotated[Path, tyro.conf.Positional]
    file: Annotated[Path, tyro.conf.Positional] = Path("border.png")
    split: Literal["test", "validation", "train"] = "train"
    count: int = 4
    make: bool = False
    code: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class ClassWeightsFlags:
    """Count the classes of a training split: jaxseg class-weights --config configs/deeplab.py.

    Prints the weights that every rule computes from the counts, and stores the counts with the data
    for training, where a loss may have `class_weights="median_frequency"` or another rule.

    Attributes:
        config: Path of the config file.
        recount: Whether to count again even if stored counts exist.
    """

    config: str
    recount: bool = False


@dataclasses.dataclass(frozen=True)
class PolsarFlags:
    """Check and draw a polarimetric SAR scene: jaxseg polsar data/T3 --out pictures.

    Reads PolSARpro folders (T3, C3, C2, S2) and complex GeoTIFF: four files or four bands.

    Counts pixels without data and those that are not valid matrices, and draws all products.

    Attributes:
        path: The folder or file.
        out: Folder for the pictures.
        average: Rows and columns of the sliding mean before entropy, anisotropy, alpha and
            Freeman-Durden, odd; 0 = 7 for single looks, 3 otherwise.
        looks: Number of looks for the refined Lee filter; 0 = the median of the measured looks.
    """

    path: Annotated[str, tyro.conf.Positional]
    out: Path = Path("polsar")
    average: int = 0
    looks: float = 0.0
