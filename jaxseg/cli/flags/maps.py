"""Flags of the commands about maps."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from jaxseg.cli.job import JobFlags
from jaxseg.prediction.image import Image
from jaxseg.prediction.layers import Layer
from jaxseg.prediction.network import Augmentation
from jaxseg.prediction.polygons import Polygons
from jaxseg.prediction.settings import Settings, Share
from jaxseg.run.adapted import Adapt
from jaxseg.scenes.scene import Window
from jaxseg.sharding import MeshShape


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
        adapt: How the network is adapted to each scene, without any label: its batch statistics
            are measured on it (AdaBN), its histograms matched to those of the training, or both.
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
    adapt: Adapt = "none"
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
            adapt=self.adapt,
            resample=self.resample,
            seams=self.seams,
            share=Share.parse(self.shard),
            finish=self.finish,
            overwrite=self.overwrite,
            check=self.check,
            remote=self.remote,
        )


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
