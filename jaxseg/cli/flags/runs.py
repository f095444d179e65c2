"""Flags of the commands about finished runs."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxseg.cli.job import JobFlags
from jaxseg.evaluation.doubts.find import SMALLEST
from jaxseg.metrics.measure import Measure, measures
from jaxseg.run.adapted import Adapt
from jaxseg.sharding import MeshShape


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
        adapt: How the network is adapted to the evaluated images, without their labels: its batch
            statistics are measured on them (AdaBN), their histograms matched to those of the
            training, or both.
        out: Folder in which that of the results is made, called like the split, such as OUT/test;
            RUN/evaluation if left out. With it, nothing is written into the run, which may be
            read-only: jaxseg predict does not know the temperature and thresholds then.
        make: Whether data that the run's config names may be fetched from other machines, drawn or
            downloaded where they are missing; a training does so without being asked.
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
    adapt: Adapt = "none"
    out: Path | None = None
    make: bool = False
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
class DoubtsFlags:
    """List and map the labels that are probably wrong: jaxseg doubts runs/unet.

    By confident learning, with the network of a run that has not been trained on these labels: by
    default those of the test split. Labels of other images: jaxseg doubts runs/unet --images A
    --masks B; or of another config (--config).

    Attributes:
        run: The workdir of the training.
        images: Folder, file or pattern of the images of other data.
        masks: The same for their masks.
        instances: The same for their object ids.
        list: A file that names the scenes to look at, one per line; all of them if left out.
        config: Path of a config file whose data are used; the run's own if left out.
        split: The split to look at; by default all of --images, otherwise test. held-out: the
            scenes that the source of the run keeps out of the training. train: labels that the
            network has been trained on, and may repeat.
        step: best, latest, or the step of a checkpoint.
        smallest: Pixels that a region of doubted labels needs to be listed; maps hold all.
        top: Regions that the terminal shows.
        polygons: Whether the regions of each scene are written as polygons (GeoPackage), too.
        shared_ground: Share of the ground of the split, 0..1, that the training may have shown.
        check: Whether other data are compared with the images of the training.
        tile: Rows and columns of the windows that scenes are cut into; those of the run if 0.
        overlap: Share of a window's side that two neighbours have in common, from 0 to less than 1.
        out: Folder in which that of the results is made, called like the split; RUN/doubts if left
            out.
        make: Whether data that the run's config names may be fetched from other machines, drawn or
            downloaded where they are missing.
        code: Files (.py) or packages that define classes of the run from outside jaxseg.
    """

    run: Annotated[Path, tyro.conf.Positional]
    images: str = ""
    masks: str = ""
    instances: str = ""
    list: str = ""
    config: str = ""
    split: Literal["test", "validation", "train", "held-out", "all"] | None = None
    step: str = "best"
    smallest: int = SMALLEST
    top: int = 10
    polygons: bool = False
    shared_ground: float = 0.0
    check: bool = True
    tile: int = 0
    overlap: float = 0.0
    out: Path | None = None
    make: bool = False
    code: tuple[str, ...] = ()


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
class CardFlags:
    """Write the model card of a run: jaxseg card runs/unet --licence apache-2.0.

    A README.md as the Hugging Face hub reads it: data, sensor, scores with intervals, training and
    licence. With --push, card and checkpoint are uploaded, from where load_run opens them; a card
    that is there, with what was filled in, is pushed as it is.

    Attributes:
        run: The workdir of the training.
        out: The card; RUN/README.md if left out.
        licence: Identifier of the licence of the weights on the hub, such as apache-2.0 or
            cc-by-4.0; to be filled in by hand if left out, and needed for --push.
        push: OWNER/NAME of a model on the hub, created as a private one if it does not exist.
        evaluation: Folder of the evaluation, RUN/evaluation/test; the last one if left out.
        step: best, latest, or the step of a checkpoint.
        code: Files (.py) or packages that define classes of the run from outside jaxseg.
    """

    run: Annotated[Path, tyro.conf.Positional]
    out: Path | None = None
    licence: str = ""
    push: str = ""
    evaluation: Path | None = None
    step: str = "best"
    code: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class WeightsFlags:
    """List published weights, or show the card of one: jaxseg weights [prithvi-eo-v2-tiny-tl].

    Attributes:
        name: Name of a card, or a part of names; all if left out.
    """

    name: Annotated[str, tyro.conf.Positional] = ""


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
        reference: Whose names weights have, if there are several implementations, such as vainf or
            smp; empty = the first that computes the same.
        step: best, latest, or the step of a checkpoint.
        code: Files (.py) or packages that define classes of the run from outside jaxseg.
    """

    run: Annotated[Path, tyro.conf.Positional]
    file: Annotated[Path, tyro.conf.Positional]
    format: Literal["weights", "stablehlo", "onnx"] = "weights"
    size: int = 0
    reference: str = ""
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
