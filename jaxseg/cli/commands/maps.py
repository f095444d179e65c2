"""The commands that write maps: `predict` and `polygons`."""

import dataclasses
from pathlib import Path

import jax
import tyro
from jax.experimental import multihost_utils
from rich.console import Console

from jaxseg import sharding
from jaxseg.cli.commands.frame import CONTINUES, Mistakes, code_of, start
from jaxseg.cli.flags.maps import PolygonsFlags, PredictFlags
from jaxseg.errors import UserError
from jaxseg.prediction.archive import SceneFiles, names_many, scenes
from jaxseg.prediction.many import SHOWN, map_each
from jaxseg.prediction.polygons import Polygons, check_asked, polygonise
from jaxseg.prediction.predict import Mapper
from jaxseg.prediction.settings import Share
from jaxseg.run.loaded import load_run
from jaxseg.scenes.sensor import listed
from jaxseg.system.console import make_console, say


def predict(arguments: list[str] | None = None) -> None:
    """The command `jaxseg predict`."""
    with Mistakes(CONTINUES):
        flags = tyro.cli(PredictFlags, args=arguments, prog="jaxseg predict")
        if len(flags.files) < 2:
            raise UserError("Give the files of a scene and, last, the map: scene.tif map.tif.")
        start(flags)
        settings, shape = flags.settings(), flags.mesh
        if flags.joined:  # every process maps its part on its own devices
            share = Share(jax.process_index() + 1, jax.process_count())
            settings = dataclasses.replace(settings, share=share)
        mesh = sharding.make_mesh(shape, jax.local_devices())
        *given, last = flags.files
        out, console, code = Path(last), make_console(), code_of(flags.code)
        one_map = out.suffix.lower() in (".tif", ".tiff")
        if flags.polygons is not None:
            check_asked(flags.polygons, overwrite=flags.overwrite)
            if not one_map or "classes" not in flags.layers:
                raise UserError(
                    f"--polygons {flags.polygons} needs one map of classes. Of others: jaxseg "
                    "polygons MAP.tif FILE.gpkg."
                )
        say(console, f"jaxseg: {flags.run}, {listed(given)} -> {out}")
        runs = [load_run(run, flags.step, code=code) for run in (flags.run, *flags.ensemble)]
        mapper = Mapper(runs, settings, mesh)
        if one_map and not flags.mosaic and not any(map(names_many, given)):
            scene = SceneFiles(Path(given[0]).stem, tuple(given))
            files = mapper.map([scene], out, flags.preview)
        else:
            maps = None if one_map else out
            found = scenes(given, runs[0].sensor.bands, remote=flags.remote, maps=maps)
            if one_map and not flags.mosaic and len(found) > 1:
                raise UserError(
                    f"{len(found)} scenes and one map, {out}: give a folder for their maps, or "
                    "--mosaic to put them together."
                )
            if one_map:
                files = mapper.map(found, out, flags.preview)
            else:
                files = map_each(mapper, found, out, flags.preview)
        for file in files[:SHOWN]:
            what = "map" if file != flags.preview else "preview"
            say(console, f"{what:<10} {file}")
        if len(files) > SHOWN:
            say(console, f"           and {len(files) - SHOWN} more")
        if flags.polygons is not None and files:  # else other processes have work to do
            _polygons(out, flags.polygons, flags.polygon, console)
        if flags.joined:  # who leaves early takes the others along
            multihost_utils.sync_global_devices("maps")


def polygons(arguments: list[str] | None = None) -> None:
    """The command `jaxseg polygons`."""
    with Mistakes():
        flags = tyro.cli(PolygonsFlags, args=arguments, prog="jaxseg polygons")
        check_asked(flags.file, overwrite=flags.overwrite)
        _polygons(flags.map, flags.file, flags.polygon, make_console())


def _polygons(path: Path, out: Path, asked: Polygons, console: Console) -> None:
    """Writes the polygons of a map and says how many."""
    counts = polygonise(path, out, asked)
    told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    say(console, f"polygons   {out}: {told or 'none'}")
