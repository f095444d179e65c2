"""From a run and a scene to a map: `predict(run, [scene], out)`, of any size, resumed after a kill.

    files --window--> tiles --batch--> devices --probabilities--> rows --layers--> blocks --> map

Reading, computing and writing go on at the same time: threads read rows of tiles ahead, the devices
have the next batch while the host adds up the last one, and another thread writes blocks.
"""

import contextlib
import copy
import dataclasses
import hashlib
import importlib.metadata
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh

from jaxseg import sharding
from jaxseg.datasets.folder import Folder
from jaxseg.datasets.packed.source import originals
from jaxseg.datasets.wrapped import leaves
from jaxseg.errors import UserError
from jaxseg.files.maps import BLOCK, CLASSES, MapFacts, assemble
from jaxseg.models.receptive_field import Sight, sight
from jaxseg.models.structure import output_stride
from jaxseg.prediction import layers as drawing
from jaxseg.prediction import outputs
from jaxseg.prediction.adaptation import adapted_to
from jaxseg.prediction.archive import SceneFiles, refuse_remote_sources
from jaxseg.prediction.computing import compute
from jaxseg.prediction.image import Scene, check_sensor
from jaxseg.prediction.layers import Layer
from jaxseg.prediction.network import TileNetwork
from jaxseg.prediction.opening import open_mosaic, open_scene
from jaxseg.prediction.preview import check_name, write_preview
from jaxseg.prediction.region import region
from jaxseg.prediction.seams import seams
from jaxseg.prediction.settings import Settings, Share
from jaxseg.prediction.tiling import Grid, grid_for
from jaxseg.prediction.work import Plan, Work
from jaxseg.run.adapted import SAID, refuse_unadaptable
from jaxseg.run.loaded import Run
from jaxseg.run.reconstruction import refuse_reconstruction
from jaxseg.scenes.scene import Window
from jaxseg.scenes.sensor import listed
from jaxseg.system.console import make_console, say

SUMS = 256 * 2**20
"""Bytes of probabilities that are added up at a time; wider scenes are cut into panels."""


def predict(
    runs: Sequence[Run],
    paths: Sequence[str],
    out: Path,
    settings: Settings = Settings(),
    *,
    mesh: Mesh | None = None,
) -> list[Path]:
    """Makes the map of one scene, or this process's part of it.

    Args:
        runs: One, or an ensemble whose probabilities are averaged.
        paths: Files of the scene, of one grid.
        out: The map; other layers are written beside it, map_confidence.tif and so on.
        settings: How.
        mesh: Devices; None = all.

    Returns:
        The files of the map; empty if other processes have not finished their parts.

    Raises:
        UserError: The scene cannot be read or the map not written, or another map is there.
        SensorError: The scene is of another sensor than the run's.
    """
    return Mapper(runs, settings, mesh).map([SceneFiles(Path(paths[0]).stem, tuple(paths))], out)


class Mapper:
    """Maps scene after scene with programs that are compiled once."""

    def __init__(
        self, runs: Sequence[Run], settings: Settings = Settings(), mesh: Mesh | None = None
    ) -> None:
        """Looks at the networks; compiles nothing yet.

        Args:
            runs: One, or an ensemble whose probabilities are averaged.
            settings: How maps are made.
            mesh: Devices; None = all.

        Raises:
            UserError: The runs lack what the settings need, or one is pre-training.
        """
        for run in runs:
            refuse_reconstruction(run.config)
            refuse_unadaptable(run.config, run.variables, settings.adapt)
        self._runs, self.settings = tuple(runs), settings
        self._mesh = sharding.make_mesh(runs[0].config.mesh) if mesh is None else mesh
        self._thresholds = _thresholds(runs, settings)
        self._sight, self._stride = _reach(runs, settings.scales)
        self._digests = [_digest(run) for run in runs]
        self._networks: dict[Grid, TileNetwork] = {}
        self._console = make_console()

    def whole(self) -> "Mapper":
        """One that maps all blocks of a scene, with the same programs."""
        other = copy.copy(self)
        other.settings = dataclasses.replace(self.settings, share=Share())
        return other

    def map(
        self, scenes: Sequence[SceneFiles], out: Path, preview: Path | None = None
    ) -> list[Path]:
        """Makes the map of one scene, or the mosaic of several; see `predict`.

        Args:
            scenes: One, or several for a mosaic.
            out: The map.
            preview: A picture of it to draw, too, when it is complete; None = no picture.
        """
        if preview is not None:
            check_name(preview, self.settings.layers)
        files, scene = self._mapped(scenes, out)
        if preview is None or not files:
            return files
        layers = dict(zip(self.settings.layers, files, strict=True))
        title = f"{out.name}, a map of {listed([_name(path) for path in scene.paths])}"
        window, source = region(self.settings, scene), self._runs[0].config.data.source
        write_preview(preview, scene, window, source, layers, title, self._console)
        return [*files, preview]

    def _mapped(self, scenes: Sequence[SceneFiles], out: Path) -> tuple[list[Path], Scene]:
        """The files of the map, and the scene that it shows."""
        settings, runs = self.settings, self._runs
        files = {layer: outputs.layer_file(out, layer) for layer in settings.layers}
        outputs.check_names(files.values(), [path for scene in scenes for path in scene.paths])
        scene = self._opened(scenes)
        window = region(settings, scene)
        self._say("scene", f"{scene.height} x {scene.width} pixels, {scene.title}")
        if scene.header.crs is None:
            self._say("place", "no CRS in the scene, and none in the map")
        data = runs[0].config.data
        grid, exact = grid_for(
            border=None if self._sight is None else self._sight.border,
            stride=self._stride,
            crop=data.evaluation_crop or data.crop,
            tile=settings.tile,
            overlap=settings.overlap,
            context=settings.context,
            extent=max(scene.height, scene.width),
        )
        exact = exact and settings.scales == (1.0,)
        columns = SUMS // (4 * len(runs[0].classes) * grid.core) // BLOCK * BLOCK
        plan = Plan(window, max(BLOCK, min(columns, -(-window.width // BLOCK) * BLOCK)))
        job = self._job(scene, grid, plan)
        tag = outputs.tag_of(job)
        if outputs.made(files.values(), tag):
            self._say("there", f"{out} was made by the same command")
            return list(files.values()), scene
        outputs.refuse_others(files.values(), overwrite=settings.overwrite)
        if said := scene.clipped():
            self._say("clipped", said)
        if settings.check:
            for run in runs:  # each of an ensemble has to understand the values
                for said in check_sensor(scene, run.sensor, settings.image):
                    self._say("unusual", said)
        if settings.finish and not Work.folder_of(out).is_dir():
            raise UserError(f"{out}: no process has begun it.")
        work = Work(out, plan, settings.layers, job, again=settings.overwrite)
        if damaged := work.put_damaged_aside():
            self._say("damaged", f"{damaged} files in {work.folder}, made again")
        try:
            complete = self._worked(work, files, scene, grid, tag, exact=exact)
        except UserError:
            if not outputs.made(files.values(), tag):
                raise
            complete = True  # another process made it, and took the folder away
        if not complete and not outputs.made(files.values(), tag):
            left, of = len(work.missing()), plan.down * plan.across
            missing = f"{left} of {of} blocks are missing in {work.folder}"
            if settings.finish:
                raise UserError(f"{missing}. Start the process again whose part they are.")
            self._say("parts", missing)
            return [], scene
        work.remove()
        return list(files.values()), scene

    def _worked(
        self,
        work: Work,
        files: Mapping[Layer, Path],
        scene: Scene,
        grid: Grid,
        tag: str,
        *,
        exact: bool,
    ) -> bool:
        """Computes the blocks of this process, and puts them together if no other is missing."""
        settings, window = self.settings, work.plan.window
        if settings.adapt != "none":
            self._networks.clear()  # of another scene
        if not settings.finish:
            if grid not in self._networks:
                self._say("tiles", _told(grid, exact, self._sight))
            compute(
                self._network(grid, scene),
                scene,
                work,
                self._batch(),
                share=settings.share,
                thresholds=self._thresholds,
            )
        if work.missing():
            return False
        tags = self._tags(scene, tag, self._seams(scene, work, grid, window, exact))
        for layer, file in files.items():
            assemble(work.blocks(layer), self._facts(layer, scene, window, tags), file)
        return True

    def _opened(self, scenes: Sequence[SceneFiles]) -> Scene:
        run, settings = self._runs[0], self.settings
        how = {"check": settings.check, "resample": settings.resample}
        source = run.config.data.source
        for scene in scenes:
            for path in scene.paths:
                refuse_remote_sources(path, remote=settings.remote)
        if len(scenes) == 1:
            return open_scene(scenes[0].paths, source, run.sensor, settings.image, **how)
        return open_mosaic(scenes, source, run.sensor, settings.image, **how)

    def _say(self, what: str, text: str) -> None:
        say(self._console, f"{what:<10} {text}".replace("\n", f"\n{'':<11}"))

    def _network(self, grid: Grid, scene: Scene) -> TileNetwork:
        if grid not in self._networks:
            adapt, runs = self.settings.adapt, self._runs
            if adapt != "none":
                self._say("adapted", SAID[adapt])
                runs = tuple(adapted_to(scene, runs, adapt))
            self._networks[grid] = TileNetwork(
                runs,
                self._mesh,
                grid,
                augmentation=self.settings.augmentation,
                scales=self.settings.scales,
                classes_only=self.settings.layers == ("classes",) and not self._thresholds,
            )
        return self._networks[grid]

    def _batch(self) -> int:
        """Tiles that are computed at a time."""
        return self.settings.batch * int(self._mesh.shape["data"] * self._mesh.shape["fsdp"])

    def _seams(self, scene: Scene, work: Work, grid: Grid, window: Window, exact: bool) -> str:
        """What the map says of its seams; found once, so that a resumed map says the same."""
        if exact:
            return "none: equal to one pass over the scene"
        if not self.settings.seams:
            return "not measured"
        found = work.noted("seams.txt", lambda: str(self._scored(scene, grid, window)))
        self._say("seams", found)
        return found

    def _scored(self, scene: Scene, grid: Grid, window: Window) -> str:
        return str(seams(self._network(grid, scene), scene, window, self._batch()))

    def _job(self, scene: Scene, grid: Grid, plan: Plan) -> dict[str, object]:
        """All that decides the numbers in the map."""
        settings = self.settings
        return {
            "version": importlib.metadata.version("jaxseg"),
            "runs": [
                [run.step, run.temperature, digest]
                for run, digest in zip(self._runs, self._digests, strict=True)
            ],
            "scene": [_state(path) for path in scene.paths],
            "grid": [scene.height, scene.width, *scene.header.transform[:6]],
            "image": dataclasses.asdict(settings.image),
            "layers": list(settings.layers),
            "window": list(plan.window),
            "blocks": plan.columns,
            "tiles": dataclasses.asdict(grid),
            "augmentation": settings.augmentation,
            "scales": list(settings.scales),
            "thresholds": list(self._thresholds),
            "adapt": settings.adapt,
        }

    def _tags(self, scene: Scene, tag: str, seam: str) -> dict[str, str]:
        """What the map says of itself."""
        runs, sensor = self._runs, self._runs[0].sensor
        tags = {
            "SOFTWARE": f"jaxseg {importlib.metadata.version('jaxseg')}",
            "JAXSEG_RUN": ", ".join(run.name or "not known" for run in runs),
            "JAXSEG_STEP": ", ".join(str(run.step) for run in runs),
            "JAXSEG_WEIGHTS": ", ".join(self._digests),
            "JAXSEG_TEMPERATURE": ", ".join(f"{run.temperature:.6g}" for run in runs),
            CLASSES: ", ".join(runs[0].classes),
            "JAXSEG_BANDS": ", ".join(sensor.bands),
            "JAXSEG_UNIT": sensor.unit or "not known",
            "JAXSEG_SCENE": listed([_name(path) for path in scene.paths]),
            "JAXSEG_SEAMS": seam.replace("\n", " "),
            outputs.JOB: tag,
        }
        sources = leaves(originals(runs[0].config.data.source))
        if any(isinstance(leaf, Folder) and leaf.separate_touching for leaf in sources):
            tags[outputs.OBJECTS] = "yes"
        if self.settings.adapt != "none":
            tags["JAXSEG_ADAPTED"] = SAID[self.settings.adapt]
        if self._thresholds:
            tags["JAXSEG_THRESHOLDS"] = ", ".join(f"{value:.4g}" for value in self._thresholds)
        return tags

    def _facts(self, layer: Layer, scene: Scene, window: Window, tags: dict[str, str]) -> MapFacts:
        source = self._runs[0].config.data.source
        stored = drawing.numbers(layer, source.classes)
        transform = scene.header.transform
        return MapFacts(
            height=window.height,
            width=window.width,
            dtype=stored.dtype,
            bands=stored.bands,
            nodata=stored.nodata,
            crs=scene.header.crs,
            transform=transform @ transform.translation(window.x, window.y),
            classes=tuple(source.classes) if layer == "classes" else (),
            colors=tuple(source.colors) if layer == "classes" else (),
            tags=tags,
        )


def _thresholds(runs: Sequence[Run], settings: Settings) -> tuple[float, ...]:
    """The thresholds of the classes; none = the most probable class.

    Raises:
        UserError: They are asked for and not known.
    """
    if not settings.thresholds:
        return ()
    if len(runs) > 1:
        raise UserError("--thresholds were fitted to one network each: leave --ensemble out.")
    if not runs[0].thresholds:
        raise UserError(
            f"--thresholds: no evaluation has fitted any to step {runs[0].step} of this run. "
            "jaxseg evaluate RUN does so."
        )
    return runs[0].thresholds


def _reach(runs: Sequence[Run], scales: tuple[float, ...]) -> tuple[Sight | None, int]:
    """Sight in pixels of the scene, and output stride, of all networks together."""
    strides = [output_stride(run.config.model) for run in runs]
    sights = [
        # The mean of a group of channels is over the whole image.
        None if run.config.norm.kind == "group" else sight(run.config.model, stride)
        for run, stride in zip(runs, strides, strict=True)
    ]
    known = [found for found in sights if found is not None]
    if len(known) < len(sights):
        return None, math.lcm(*strides)
    farthest = (max(numbers) / min(scales) for numbers in zip(*known, strict=True))
    return Sight(*map(math.ceil, farthest)), math.lcm(*strides)


def _told(grid: Grid, exact: bool, seen: Sight | None) -> str:
    sees = "the whole image" if seen is None else f"{seen.rows} pixels"
    equal = "equal to one pass over the scene" if exact else "blended, not equal to one pass"
    return (
        f"{grid.size} x {grid.size} pixels, {2 * grid.margin + grid.ramp} shared; a pixel depends "
        f"on {sees}:\n{equal}"
    )


def _name(path: str) -> str:
    """The name of a file, without the folders and keys of its address."""
    return Path(path.partition("?")[0]).name


def _state(path: str) -> list[object]:
    """A file as it is now; what is not a local file is known by its name alone."""
    with contextlib.suppress(OSError):
        status = os.stat(path)  # noqa: PTH116
        return [str(Path(path).resolve()), status.st_size, status.st_mtime_ns]
    return [path]


def _digest(run: Run) -> str:
    """Of the weights."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(run.variables):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()[:16]
