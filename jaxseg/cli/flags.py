"""The flags of each command, as frozen dataclasses whose docstrings are printed by `--help`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxseg.cli.job import JobFlags
from jaxseg.datasets.packed.writer import TILE
from jaxseg.metrics.measure import Measure, measures
from jaxseg.prediction.image import Image
from jaxseg.prediction.layers import Layer
from jaxseg.prediction.network import Augmentation
from jaxseg.prediction.polygons import Polygons
from jaxseg.prediction.settings import Settings, Share
from jaxseg.scenes.scene import Window
from jaxseg.sharding import MeshShape


@dataclasses.dataclass(frozen=True)
class TrainFlags(JobFlags):
    """Train a network: python train.py --config configs/deeplab.py [--config.seed 1 ...].

    Started again with the same workdir, it continues. `--config PATH --help` lists every field of
    that config.

    Attributes:
        config: Path of the config file, or the name of a shipped one.
        workdir: Folder of checkpoints, metrics and pictures; default runs/NAME-OF-THE-CONFIG-FILE.
        code: Files (.py) or packages that define classes of other runs that this one starts from.
        profile: Number of steps that are recorded in WORKDIR/profile, for Perfetto and TensorBoard.
        track: wandb, mlflow or trackio get config, numbers, pictures and tables as well.
    """

    config: str
    workdir: Path | None = None
    code: tuple[str, ...] = ()
    profile: int = 0
    track: Literal["", "wandb", "mlflow", "trackio"] = ""


@dataclasses.dataclass(frozen=True)
class EvaluateFlags(JobFlags):
    """Evaluate a run: jaxseg evaluate runs/deeplab.

    On other data: jaxseg evaluate runs/deeplab --images A --masks B. Classes, their ids, bands and
    suffixes are those of the run; flags like --config.data.source.image-suffix change them, as in
    training. With --config the data are those of another config. A map that was written:
    jaxseg evaluate runs/deeplab --map map.tif --labels labels.gpkg

    Attributes:
        run: The workdir of the training.
        map: A map of the run, or a folder or pattern of maps, to be counted as it was written.
        labels: Labels of the map: a raster, a vector file, or a folder or pattern.
        sample: Points with their true class, drawn at random in each class of the map (a vector
            file): estimates of areas and accuracies with confidence intervals.
        images: Folder, file or pattern of the images of other data.
        masks: The same for their masks.
        instances: The same for their object ids.
        list: A file that names the scenes to evaluate, one per line; all of them if left out.
        config: Path of a config file whose data are used; the run's own if left out.
        split: The split to evaluate; by default all of --images, otherwise test.
        step: best, latest, or the step of a checkpoint.
        baseline: Whether to fit and show the per-pixel baseline, too.
        shared_ground: Share of the ground of the split, 0..1, that the training may have shown.
        check: Whether other data are compared with the images of the training.
        tile: Rows and columns of the windows that scenes are cut into; those of the run if 0.
        overlap: Share of a window's side that two neighbours have in common, from 0 to less than 1;
            each pixel counts once, from the window in whose middle it lies.
        mesh: Devices along each axis.
        code: Files (.py) or packages that define classes of the run from outside jaxseg, or
            further measures.
        track: wandb, mlflow or trackio get scores and tables as well, in the run of the training if
            it was tracked there.
    """

    run: Annotated[Path, tyro.conf.Positional]
    map: str = ""
    labels: str = ""
    sample: str = ""
    images: str = ""
    masks: str = ""
    instances: str = ""
    list: str = ""
    config: str = ""
    split: Literal["test", "validation", "train", "all"] | None = None
    step: str = "best"
    baseline: bool = True
    shared_ground: float = 0.0
    check: bool = True
    tile: int = 0
    overlap: float = 0.0
    mesh: MeshShape = MeshShape()
    code: tuple[str, ...] = ()
    track: Literal["", "wandb", "mlflow", "trackio"] = ""

    def measures(self) -> tuple[Measure, ...]:
        """Every measure with the given parameters."""
        values = (getattr(self, field.name) for field in dataclasses.fields(self))
        return tuple(value for value in values if isinstance(value, Measure))


def evaluate_flags() -> type[EvaluateFlags]:
    """`EvaluateFlags` and the parameters of every measure, such as --tolerance of boundaries."""
    unnamed = tyro.conf.arg(name="")
    return dataclasses.make_dataclass(
        "EvaluateFlags",
        [
            (
                f"measure_{measure.name}",
                Annotated[type(measure), unnamed],
                dataclasses.field(default_factory=type(measure)),
            )
            for measure in measures()
        ],
        bases=(EvaluateFlags,),
        frozen=True,
        namespace={"__doc__": EvaluateFlags.__doc__},
    )


@dataclasses.dataclass(frozen=True)
class PredictFlags(JobFlags):
    """Map a scene: jaxseg predict runs/unet scene.tif map.tif.

    Several files of one grid make one scene: jaxseg predict RUN vv.tif vh.tif map.tif. Many scenes
    have a map each: jaxseg predict RUN scenes/ maps/ where scenes/ may also be a pattern, a list
    (.txt) or a STAC file (.json). Started again after an interruption, the same command continues
    where it stopped.

    Attributes:
        run: The workdir of the training.
        files: The files of the scene, and last the map to be written (.tif); or scenes, and last
            the folder of their maps.
        layers: What is written; all but classes in files beside the map, map_confidence.tif.
        preview: A picture (.png) of scene, map and confidence to draw; of many maps, its folder.
        step: best, latest, or the step of a checkpoint.
        ensemble: Further runs, whose probabilities are averaged with those of the first.
        tta: Symmetries of a tile that are averaged: none, four flips, or eight of the square.
        scales: Sizes of a tile that are averaged, such as 0.75 1 1.25.
        thresholds: Whether classes are decided by the thresholds that jaxseg evaluate has fitted.
        window: First row, first column, rows and columns of the part that is mapped.
        bounds: The same in coordinates of the scene: west, south, east, north.
        tile: Rows and columns of a tile; chosen by the network if 0.
        overlap: Pixels that two tiles share; the network's receptive field if left out.
        context: Pixels around the part of a tile that counts; for networks with global pooling.
        seams: Whether the disagreement of two tilings is measured where a seam is possible.
        batch: Tiles that each device computes at a time.
        image: How the files are read; what is left out is read as the run's source reads it.
        check: Whether the scene is compared with the images of the training.
        resample: Whether a scene of another pixel size is brought to that of the training.
        remote: Whether files on other machines are read that a list, item or VRT names.
        mosaic: Whether many scenes make one map.
        shard: Part of the work of this process, such as 3/16; the last one writes the map.
        finish: Whether nothing is computed, and the parts of all processes are put together.
        polygons: File of the polygons of the map (.gpkg, .fgb, .geojson, .parquet).
        polygon: Which polygons.
        overwrite: Whether to replace a map that another command has made.
        mesh: Devices along each axis.
        code: Files (.py) or packages that define classes of the run from outside of jaxseg.
    """

    run: Annotated[Path, tyro.conf.Positional]
    files: Annotated[tuple[str, ...], tyro.conf.Positional]
    layers: tuple[Layer, ...] = ("classes",)
    preview: Path | None = None
    step: str = "best"
    ensemble: tuple[Path, ...] = ()
    tta: Augmentation = "none"
    scales: tuple[float, ...] = (1.0,)
    thresholds: bool = False
    window: tuple[int, int, int, int] | None = None
    bounds: tuple[float, float, float, float] | None = None
    tile: int = 0
    overlap: int | None = None
    context: int | None = None
    seams: bool = True
    batch: int = 1
    image: Image = dataclasses.field(default_factory=Image)
    check: bool = True
    resample: bool = False
    remote: bool = False
    mosaic: bool = False
    shard: str = "1/1"
    finish: bool = False
    polygons: Path | None = None
    polygon: Polygons = Polygons()
    overwrite: bool = False
    mesh: MeshShape = MeshShape()
    code: tuple[str, ...] = ()

    def settings(self) -> Settings:
        """How maps are made, by these flags."""
        return Settings(
            layers=self.layers,
            image=self.image,
            window=None if self.window is None else Window(*self.window),
            bounds=self.bounds,
            tile=self.tile,
            overlap=self.overlap,
            context=self.context,
            batch=self.batch,
            augmentation=self.tta,
            scales=self.scales,
            thresholds=self.thresholds,
            resample=self.resample,
            seams=self.seams,
            share=Share.parse(self.shard),
            finish=self.finish,
            overwrite=self.overwrite,
            check=self.check,
            remote=self.remote,
        )


@dataclasses.dataclass(frozen=True)
class ReportFlags:
    """Write a page about a run that can be sent to others: jaxseg report runs/unet --map map.tif.

    One HTML file with everything in it: training curves, scores with intervals, confusions,
    reliability, the best and the worst windows, the data, the config. It takes what the last
    evaluation of the checkpoint has written, and evaluates the test split if there was none.

    Attributes:
        run: The workdir of the training.
        map: A map that the run has made (.tif), to be shown.
        out: The page; RUN/report.html if left out.
        evaluation: Folder of the evaluation, RUN/evaluation/test; the last one if left out.
        step: best, latest, or the step of a checkpoint.
        code: Files (.py) or packages that define classes of the run from outside jaxseg.
    """

    run: Annotated[Path, tyro.conf.Positional]
    map: Path | None = None
    out: Path | None = None
    evaluation: Path | None = None
    step: str = "best"
    code: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class PolygonsFlags:
    """Write the polygons of a map: jaxseg polygons map.tif fields.gpkg.

    One polygon for each connected region, with class, area and, if map_confidence.tif is beside the
    map, mean confidence. The map may be any raster of class numbers.

    Attributes:
        map: The map.
        file: The file to write (.gpkg, .fgb, .geojson, .parquet).
        polygon: Which polygons.
        overwrite: Whether a file that is there is replaced.
    """

    map: Annotated[Path, tyro.conf.Positional]
    file: Annotated[Path, tyro.conf.Positional]
    polygon: Polygons = Polygons()
    overwrite: bool = False


@dataclasses.dataclass(frozen=True)
class ExportFlags:
    """Write a run for other programs: jaxseg export runs/unet unet.safetensors.

    Weights have the names and shapes of the network's reference implementation in PyTorch. The
    other formats hold the network with its radiometry, and are written into a folder with a JSON
    file that states bands, units, sizes and classes:
    jaxseg export runs/unet out --format onnx.

    Attributes:
        run: The workdir of the training.
        file: File to write, a name that ends in .safetensors; a folder for stablehlo and onnx.
        format: weights; stablehlo for JAX and XLA; onnx for onnxruntime and QGIS.
        size: Rows and columns of an image, where a format or network has one size; 0 = as in
            training.
        step: best, latest, or the step of a checkpoint.
        code: Files (.py) or packages that define classes of the run from outside jaxseg.
    """

    run: Annotated[Path, tyro.conf.Positional]
    file: Annotated[Path, tyro.conf.Positional]
    format: Literal["weights", "stablehlo", "onnx"] = "weights"
    size: int = 0
    step: str = "best"
    code: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class ModelsFlags:
    """List the networks, or the layers of one: `jaxseg models [deeplabv3] [--size 512]`.

    Attributes:
        name: A network; all networks if left out.
        size: Rows and columns of the image.
        bands: Bands of the image.
        classes: Number of classes.
    """

    name: Annotated[str, tyro.conf.Positional] = ""
    size: int = 512
    bands: int = 3
    classes: int = 21


@dataclasses.dataclass(frozen=True)
class BorderFlags:
    """Draw the border weights of some windows: jaxseg border configs/nuclei.py border.png.

    Flags like --config.data.source.images change the config's fields, as in training.

    Attributes:
        config: Path of the config file, or the workdir of a run.
        file: File of the picture, a name that ends in .png.
        split: The split to draw.
        count: Number of windows.
        code: Files (.py) or packages that define classes of the run from outside jaxseg.
    """

    config: Annotated[Path, tyro.conf.Positional]
    file: Annotated[Path, tyro.conf.Positional] = Path("border.png")
    split: Literal["test", "validation", "train"] = "train"
    count: int = 4
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
class BenchFlags:
    """Windows per second of reading, of the step, and of both: jaxseg bench configs/unet.py.

    Uses all devices, and the pipeline and the step of a training with this config, whose fields
    flags change as in training. Nothing is stored.

    Attributes:
        config: Path of the config file, or the name of a shipped one.
        seconds: How long is measured, after compiling.
        code: Files (.py) or packages that define classes of other runs that this one starts from.
    """

    config: Annotated[str, tyro.conf.Positional]
    seconds: float = 60.0
    code: tuple[str, ...] = ()


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
class PlanFlags:
    """Predict memory and speed of a training step: jaxseg plan unet --topology v5e:2x4.

    The very step is optimised by XLA for TPUs (package libtpu) or GPUs that need not be there; what
    is said of it is read from its program. Flags like --config.mesh.fsdp 8 change the config.

    Attributes:
        config: Path of the config file, or the name of a shipped one.
        topology: The machine: v5e:2x4, v6e:4x4, v5p:2x2x2, h100x8; a wrong name lists all.
        search: Whether to find the best mesh and the largest batch that fits; takes minutes.
        bands: Number of bands of an image; as the data state if 0.
        code: Files (.py) or packages that define classes of the config from outside jaxseg.
    """

    config: Annotated[str, tyro.conf.Positional]
    topology: str
    search: bool = False
    bands: int = 0
    code: tuple[str, ...] = ()


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
