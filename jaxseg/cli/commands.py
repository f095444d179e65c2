"""The commands themselves: `jaxseg train` (also `train.py`), `evaluate` and the others.

A user's mistake ends with one short message and exit code 2; SIGTERM and Ctrl-C end with a saved
state and exit code 130.
"""

import dataclasses
import functools
import logging
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

import absl.logging
import jax
import tyro
from jax.experimental import multihost_utils
from rich.console import Console

from jaxseg import config as configs
from jaxseg import config_text, sharding
from jaxseg.cli import (
    border_pictures,
    catalogue,
    new_array_config,
    new_config,
    planned,
    polsar_pictures,
)
from jaxseg.cli import data as data_tables
from jaxseg.cli.evaluated_data import Asked, asked
from jaxseg.cli.flags import (
    BenchFlags,
    BorderFlags,
    ClassWeightsFlags,
    DataFlags,
    EvaluateFlags,
    ExportFlags,
    ModelsFlags,
    NewFlags,
    PackFlags,
    PlanFlags,
    PolsarFlags,
    PolygonsFlags,
    PredictFlags,
    ReportFlags,
    TrainFlags,
    evaluate_flags,
)
from jaxseg.cli.job import LOST, JobFlags, end_alone, is_lost, join, lost
from jaxseg.cli.memory import keep_freed_memory
from jaxseg.console import make_console, say, track
from jaxseg.datasets.arrays import guess as array_guess
from jaxseg.datasets.folder import guess
from jaxseg.datasets.leakage import check_splits
from jaxseg.datasets.packed import index as packed
from jaxseg.datasets.packed import writer
from jaxseg.errors import UserError
from jaxseg.evaluation import evaluate as assessment
from jaxseg.evaluation import report as results
from jaxseg.evaluation import sample, terminal, tracked
from jaxseg.evaluation.map_data import Maps
from jaxseg.evaluation.map_scores import evaluate_map
from jaxseg.evaluation.page import write as page
from jaxseg.export.onnx_file import write_onnx
from jaxseg.export.stablehlo import write_stablehlo
from jaxseg.files.cache import cache_folder
from jaxseg.losses import class_counts
from jaxseg.metrics.measure import measures_of
from jaxseg.planning import search as searching
from jaxseg.planning.plan import check
from jaxseg.planning.topology import topology
from jaxseg.prediction.archive import SceneFiles, names_many, scenes
from jaxseg.prediction.many import SHOWN, map_each
from jaxseg.prediction.polygons import Polygons, check_asked, polygonise
from jaxseg.prediction.predict import Mapper
from jaxseg.prediction.settings import Share
from jaxseg.run import bench as benches
from jaxseg.run import checkpoint, training
from jaxseg.run.loaded import load_run
from jaxseg.run.processes import UnlikeError
from jaxseg.run.step import inference_variables
from jaxseg.run.trackers.watched import check_installed
from jaxseg.scenes.sensor import listed
from jaxseg.sharding import MeshShape
from jaxseg.weights import pretrained
from jaxseg.weights.state_dict import write_state_dict

INTERRUPTED = 130
MISTAKE = 2


def train(arguments: list[str] | None = None) -> None:
    """The command `jaxseg train`, and `python train.py`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # Flags that begin with --config. are fields of the config file, known only after it is read.
    path = _value(arguments, "--config")
    with _Mistakes():
        if path is None or not {"-h", "--help"}.isdisjoint(arguments):
            if path is None:
                tyro.cli(TrainFlags, args=arguments, prog="train.py")
            configs.override(
                configs.load_config(str(path)), ["--help"], f"train.py --config {path}"
            )
        own, fields = _divided(arguments)
        flags = tyro.cli(TrainFlags, args=own, prog="train.py")
        _start(flags)
        module = configs.load_code(configs.found(flags.config))
        of_file = configs.built(module)
        given = configs.override(of_file, fields, "train.py")
        config, shorter = configs.shortened(of_file, given, fields)
        workdir = flags.workdir or Path("runs") / Path(flags.config).stem
        if jax.process_index() == 0:
            say(make_console(), f"jaxseg: {flags.config} -> {workdir}")
            if shorter:
                say(make_console(), f"Shortened with the run: {', '.join(shorter)}.")
        code = (module, *_code(flags.code))
        training.train(config, workdir, code, flags.profile, flags.track)


def evaluate(arguments: list[str] | None = None) -> None:
    """The command `jaxseg evaluate`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with _Mistakes():
        own, fields = _divided(arguments)
        flags: EvaluateFlags = tyro.cli(evaluate_flags(), args=own, prog="jaxseg evaluate")
        _start(flags)
        if flags.track:
            check_installed(flags.track)
        console, code = make_console(), _code(flags.code)
        console.quiet = jax.process_index() > 0
        say(console, f"jaxseg: evaluating {flags.run} ...")
        data = asked(flags, fields, code)
        if isinstance(data.source, Maps):
            _evaluate_map(flags, data, data.source, console)
            return
        found = assessment.evaluate(
            flags.run,
            data.split,
            source=data.source,
            which=flags.step,
            mesh_shape=flags.mesh,
            baseline=flags.baseline,
            measures=(*flags.measures(), *(m for module in data.code for m in measures_of(module))),
            code=data.code,
            console=console,
            check=flags.check,
            shared_ground=flags.shared_ground,
            tile=flags.tile,
            overlap=flags.overlap,
        )
        if jax.process_index() == 0:
            folder = results.write(found, flags.run, data.folder(flags.run))
            terminal.show(found, console, title=f"{flags.run}, {data.title()}")
            say(console, f"Tables and pictures: {folder}")
            if flags.track:
                told = config_text.to_json(checkpoint.config_of(flags.run, code))
                warn = functools.partial(say, console)
                tracked.send(found, flags.track, flags.run, told, split=folder.name, warn=warn)


def _evaluate_map(flags: EvaluateFlags, data: Asked, source: Maps, console: Console) -> None:
    """What `jaxseg evaluate --map` counts and estimates."""
    folder = data.folder(flags.run) or flags.run
    if flags.labels:
        found = evaluate_map(
            checkpoint.config_of(flags.run, data.code),
            source,
            measures=flags.measures(),
            shared_ground=flags.shared_ground,
            tile=flags.tile,
            console=console,
        )
        if jax.process_index() == 0:
            folder = results.write(found, flags.run, folder)
            terminal.show(found, console, title=f"{flags.run}, {data.title()}")
    if flags.sample and jax.process_index() == 0:
        estimates = sample.sampled(source, flags.sample)
        sample.write(estimates, folder)
        sample.show(estimates, console)
    say(console, f"Tables and pictures: {folder}")


def predict(arguments: list[str] | None = None) -> None:
    """The command `jaxseg predict`."""
    with _Mistakes():
        flags = tyro.cli(PredictFlags, args=arguments, prog="jaxseg predict")
        if len(flags.files) < 2:
            raise UserError("Give the files of a scene and, last, the map: scene.tif map.tif.")
        _start(flags)
        settings, shape = flags.settings(), flags.mesh
        if flags.joined:  # every process maps its part on its own devices
            share = Share(jax.process_index() + 1, jax.process_count())
            settings = dataclasses.replace(settings, share=share)
        mesh = sharding.make_mesh(shape, jax.local_devices())
        *given, last = flags.files
        out, console, code = Path(last), make_console(), _code(flags.code)
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


def report(arguments: list[str] | None = None) -> None:
    """The command `jaxseg report`."""
    with _Mistakes():
        flags = tyro.cli(ReportFlags, args=arguments, prog="jaxseg report")
        _start()
        console, out = make_console(), flags.out or flags.run / "report.html"
        say(console, f"jaxseg: a page about {flags.run} ...")
        notes = page.write(
            flags.run,
            out,
            scene_map=flags.map,
            evaluation=flags.evaluation,
            which=flags.step,
            code=_code(flags.code),
            console=console,
        )
        for note in notes:
            say(console, f"Note: {note}")
        say(console, f"Page: {out} ({out.stat().st_size / 2**20:.2g} MiB)")


def polygons(arguments: list[str] | None = None) -> None:
    """The command `jaxseg polygons`."""
    with _Mistakes():
        flags = tyro.cli(PolygonsFlags, args=arguments, prog="jaxseg polygons")
        check_asked(flags.file, overwrite=flags.overwrite)
        _polygons(flags.map, flags.file, flags.polygon, make_console())


def _polygons(path: Path, out: Path, asked: Polygons, console: Console) -> None:
    """Writes the polygons of a map and says how many."""
    counts = polygonise(path, out, asked)
    told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    say(console, f"polygons   {out}: {told or 'none'}")


def export(arguments: list[str] | None = None) -> None:
    """The command `jaxseg export`."""
    with _Mistakes():
        flags = tyro.cli(ExportFlags, args=arguments, prog="jaxseg export")
        _start()
        if flags.format != "weights":
            _export_network(flags)
            return
        config, state = checkpoint.reopen(flags.run, MeshShape(), flags.step, _code(flags.code))
        weights = pretrained.exported(config.model, jax.device_get(inference_variables(state)))
        write_state_dict(weights, flags.file)
        say(make_console(), f"{len(weights)} tensors of step {int(state.step)}: {flags.file}")


def _export_network(flags: ExportFlags) -> None:
    if flags.size < 0 or flags.file.suffix == ".safetensors":
        raise UserError(
            f"--size {flags.size}, {flags.file}: --format {flags.format} is written into a folder, "
            "for images of --size rows and columns, or 0 = as in training."
        )
    console = make_console()
    say(console, f"jaxseg: {flags.run} -> {flags.file}, {flags.format}")
    run = load_run(flags.run, flags.step, code=_code(flags.code))
    write = write_stablehlo if flags.format == "stablehlo" else write_onnx
    for file in write(run, flags.file, flags.size):
        say(console, f"written    {file}")


def models(arguments: list[str] | None = None) -> None:
    """The command `jaxseg models`."""
    with _Mistakes():
        flags = tyro.cli(ModelsFlags, args=arguments, prog="jaxseg models")
        _start()
        sizes = {"bands": flags.bands, "classes": flags.classes, "size": flags.size}
        if min(sizes.values()) < 1:
            raise UserError(f"{sizes}: each must be at least 1.")
        if flags.name:
            catalogue.print_layers(make_console(), flags.name, **sizes)
        else:
            catalogue.print_catalogue(make_console(), **sizes)


def border(arguments: list[str] | None = None) -> None:
    """The command `jaxseg border`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with _Mistakes():
        own, fields = _divided(arguments)
        flags = tyro.cli(BorderFlags, args=own, prog="jaxseg border")
        if flags.count < 1 or flags.file.suffix != ".png":
            raise UserError(
                f"--count {flags.count}, file {flags.file}: at least one window, and a name that "
                "ends in .png."
            )
        _start()
        if flags.config.is_dir():
            config = checkpoint.config_of(flags.config, _code(flags.code))
        else:
            config = configs.load_config(str(flags.config))
        config = configs.override(config, fields, "jaxseg border")
        border_pictures.border_figure(config, flags.split, flags.count).savefig(flags.file)
        say(make_console(), f"Border weights of the {flags.split} split: {flags.file}")


def class_weights(arguments: list[str] | None = None) -> None:
    """The command `jaxseg class-weights`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with _Mistakes():
        own, fields = _divided(arguments)
        flags = tyro.cli(ClassWeightsFlags, args=own, prog="jaxseg class-weights")
        _start()
        config = configs.override(configs.load_config(flags.config), fields, "jaxseg class-weights")
        source, console = config.data.source, make_console()
        counts = class_counts.class_counts(
            source, threads=config.data.threads, console=console, recount=flags.recount
        )
        class_counts.print_class_weights(console, source.classes, counts)


def data(arguments: list[str] | None = None) -> None:
    """The command `jaxseg data`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with _Mistakes():
        own, fields = _divided(arguments)
        flags = tyro.cli(DataFlags, args=own, prog="jaxseg data")
        if bool(flags.config) == bool(flags.images and flags.masks):
            raise UserError("Give a config, or --images and --masks.")
        _start()
        console = make_console()
        if flags.config:
            config = configs.override(configs.load_config(flags.config), fields, "jaxseg data")
            source, allowed = config.data.source, config.data.shared_ground
        else:
            allowed = 0.0
            source = data_tables.source_of(flags.images, flags.masks, console)
        data_tables.show(source, console, allowed)
        for picture in data_tables.write_pictures(source, flags.out):
            say(console, f"Picture: {picture}")


def pack(arguments: list[str] | None = None) -> None:
    """The command `jaxseg pack`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with _Mistakes():
        own, fields = _divided(arguments)
        flags = tyro.cli(PackFlags, args=own, prog="jaxseg pack")
        console = make_console()
        tracked = functools.partial(_tracked, console, "files")
        if flags.out is None and not flags.check:
            raise UserError("Give the folder of the pack behind the config: packs/fields.")
        say(console, f"jaxseg: {flags.config} -> {flags.out or 'checked'}")
        out = Path(flags.config) if flags.out is None else flags.out
        if flags.out is not None:
            data = configs.override(configs.load_config(flags.config), fields, "jaxseg pack").data
            check_splits(data.source, data.shared_ground)
            how = {"compress": flags.compress}
            writer.pack(data.source, out, flags.tile, data.threads, tracked, **how)
        found = writer.check(out, tracked) if flags.check else packed.opened(str(out))
        scenes = ", ".join(f"{len(split.names)} {name}" for name, split in found.splits.items())
        say(console, f"{out}: {scenes} scenes{', as they were written' if flags.check else ''}")
        say(console, f'In a config: data=Data(source=Packed("{out}"))')


def bench(arguments: list[str] | None = None) -> None:
    """The command `jaxseg bench`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with _Mistakes():
        own, fields = _divided(arguments)
        flags = tyro.cli(BenchFlags, args=own, prog="jaxseg bench")
        if not flags.seconds > 0:
            raise UserError(f"--seconds {flags.seconds:g}: give more than 0, such as 60.")
        console, told = make_console(), functools.partial(say, make_console())
        say(console, f"jaxseg: {flags.config} for about {flags.seconds:g} s")
        _start()
        module = configs.load_code(configs.found(flags.config))
        config = configs.override(configs.built(module), fields, "jaxseg bench")
        code = (module, *_code(flags.code))
        tracked = functools.partial(_tracked, console, "rounds")
        rates = benches.bench(config, flags.seconds, code, told, tracked)
        for line in (f"{jax.device_count()} x {jax.devices()[0].device_kind}", ""):
            say(console, line)
        for line in benches.lines(rates, config):
            say(console, line)


def _tracked(console: Console, what: str, names: Iterable[str], count: int) -> Iterator[str]:
    yield from track(names, what, total=count, console=console)


def new(arguments: list[str] | None = None) -> None:
    """The command `jaxseg new`."""
    with _Mistakes():
        flags = tyro.cli(NewFlags, args=arguments, prog="jaxseg new")
        if array_guess.are_arrays(flags.images):
            scene = array_guess.guess_scene(flags.images, flags.masks)
            count, bands = 1, scene.bands
            content = new_array_config.text(scene, flags.file.name)
        else:
            found = guess.guess(flags.images, flags.masks)
            count, bands = found.scenes, found.bands
            content = new_config.text(found, flags.file.name)
        new_config.write(content, flags.file, overwrite=flags.overwrite)
        console = make_console()
        say(console, f"{flags.file}: {count} scene(s), {bands} band(s).")
        say(console, f"Look at it, then: python train.py --config {flags.file}")


def plan(arguments: list[str] | None = None) -> None:
    """The command `jaxseg plan`; starts no device: the work is done in the compiler's process."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with _Mistakes():
        own, fields = _divided(arguments)
        flags = tyro.cli(PlanFlags, args=own, prog="jaxseg plan")
        if flags.bands < 0:
            raise UserError(f"--bands {flags.bands}: give a positive number, or 0 to read it.")
        machine, console = topology(flags.topology), make_console()
        path = configs.found(flags.config)
        config = configs.override(configs.load_config(path), fields, "jaxseg plan")
        say(console, f"jaxseg: the training step of {flags.config} on {machine.name}, predicted")
        attempt = planned.attempt(machine.name, flags.bands, (path, *flags.code), console)
        if flags.search:
            found = searching.search(config, machine, attempt)
            planned.show_search(found, console)
            planned.show(found.largest or found.best, console)
        else:
            check(config, machine)
            planned.show(attempt(config), console)


def polsar(arguments: list[str] | None = None) -> None:
    """The command `jaxseg polsar`."""
    with _Mistakes():
        flags = tyro.cli(PolsarFlags, args=arguments, prog="jaxseg polsar")
        if flags.average < 0 or not flags.looks >= 0:  # NaN is not
            raise UserError(
                f"--average {flags.average}, --looks {flags.looks}: both must be 0 or more."
            )
        if flags.average and flags.average % 2 == 0:
            raise UserError(
                f"--average {flags.average}: a mean around a pixel needs an odd number of rows and "
                "columns."
            )
        if flags.out.exists() and not flags.out.is_dir():
            raise UserError(f"--out {flags.out} is a file: name a folder for the pictures.")
        _start()
        console = make_console()
        found = polsar_pictures.survey(flags.path, console)
        polsar_pictures.show(found, console)
        pictures = polsar_pictures.figures(found, average=flags.average, looks=flags.looks)
        flags.out.mkdir(parents=True, exist_ok=True)
        for name, figure in pictures.items():
            figure.savefig(flags.out / f"{name}.png", bbox_inches="tight")
        say(console, f"Pictures: {flags.out}/ {', '.join(pictures)}")


class _Mistakes:
    """Turns self-explanatory errors into a message and an exit code."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        console = make_console(sys.stderr)
        if isinstance(error, UserError):
            console.print("Error:", style="bold red", end=" ")
            console.print(str(error), markup=False, soft_wrap=True)
            if not isinstance(error, UnlikeError):
                end_alone(MISTAKE)
            sys.exit(MISTAKE)
        if isinstance(error, training.Interrupted):
            console.print(str(error), markup=False, soft_wrap=True)
            sys.exit(INTERRUPTED)
        if isinstance(error, KeyboardInterrupt):
            console.print("Interrupted; what was finished is kept, the same command continues.")
            end_alone(INTERRUPTED)
            sys.exit(INTERRUPTED)
        if isinstance(error, Exception) and jax.distributed.is_initialized():
            if is_lost(error):
                console.print(lost(error), markup=False, soft_wrap=True)
            else:
                traceback.print_exception(error)
            end_alone(LOST)


def _code(names: tuple[str, ...]) -> tuple[ModuleType, ...]:
    """The files and packages that the user has named."""
    return tuple(configs.load_code(name) for name in names)


def _start(job: JobFlags | None = None) -> None:
    """Settings before the first array: quiet libraries, compilation cache, processes, memory."""
    absl.logging.set_verbosity(absl.logging.ERROR)
    logging.getLogger("absl").setLevel(logging.ERROR)
    cache = cache_folder()
    if cache is not None and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    if job is not None:
        join(job)
    if jax.default_backend() == "cpu":
        keep_freed_memory()


def _value(arguments: list[str], flag: str) -> str | None:
    for number, argument in enumerate(arguments):
        if argument == flag and number + 1 < len(arguments):
            return arguments[number + 1]
        if argument.startswith(flag + "="):
            return argument.partition("=")[2]
    return None


def _divided(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The flags of the command itself, and those of the config's fields."""
    own: list[str] = []
    fields: list[str] = []
    target = own
    for argument in arguments:
        if argument.startswith("--"):
            is_field = argument.startswith(("--config.", "--no-config.", "--config-"))
            target = fields if is_field else own
        target.append(argument)
    return own, fields
