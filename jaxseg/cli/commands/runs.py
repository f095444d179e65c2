"""Commands about a run: `evaluate`, `doubts`, `report`, `card`, `export`; `models`, `weights`."""

import functools
import sys

import jax
import tyro
from rich.console import Console

from jaxseg import config_text
from jaxseg.cli import catalogue, weight_cards
from jaxseg.cli.commands.frame import Mistakes, code_of, divided, start
from jaxseg.cli.evaluated_data import Asked, asked
from jaxseg.cli.flags.runs import (
    CardFlags,
    DoubtsFlags,
    EvaluateFlags,
    ExportFlags,
    ModelsFlags,
    ReportFlags,
    WeightsFlags,
    evaluate_flags,
)
from jaxseg.errors import UserError
from jaxseg.evaluation import evaluate as assessment
from jaxseg.evaluation import model_card, own_data, pushing, sample, terminal, tracked
from jaxseg.evaluation import report as results
from jaxseg.evaluation.doubts import find as finding
from jaxseg.evaluation.doubts import terminal as doubts_terminal
from jaxseg.evaluation.map_data import Maps
from jaxseg.evaluation.map_scores import evaluate_map
from jaxseg.evaluation.page import write as page
from jaxseg.export.onnx_file import write_onnx
from jaxseg.export.stablehlo import write_stablehlo
from jaxseg.metrics.measure import measures_of
from jaxseg.run import checkpoint
from jaxseg.run.loaded import load_run
from jaxseg.run.step import inference_variables
from jaxseg.run.trackers.watched import check_installed
from jaxseg.sharding import MeshShape
from jaxseg.system.console import make_console, say
from jaxseg.weights import pretrained
from jaxseg.weights.state_dict import write_state_dict


def evaluate(arguments: list[str] | None = None) -> None:
    """The command `jaxseg evaluate`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with Mistakes():
        own, fields = divided(arguments)
        flags: EvaluateFlags = tyro.cli(evaluate_flags(), args=own, prog="jaxseg evaluate")
        start(flags)
        if flags.track:
            check_installed(flags.track)
        console, code = make_console(), code_of(flags.code)
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
            adapt=flags.adapt,
            make=flags.make,
        )
        if jax.process_index() == 0:
            terminal.show(found, console, title=f"{flags.run}, {data.title()}")
            folder = data.folder(flags.run, flags.out)
            folder = results.write(found, flags.run, folder, keep=flags.out is None)
            say(console, f"Tables and pictures: {folder}")
            if flags.track:
                told = config_text.to_json(checkpoint.config_of(flags.run, code))
                warn = functools.partial(say, console)
                tracked.send(found, flags.track, flags.run, told, split=folder.name, warn=warn)


def _evaluate_map(flags: EvaluateFlags, data: Asked, source: Maps, console: Console) -> None:
    """What `jaxseg evaluate --map` counts and estimates."""
    if flags.labels:
        config = checkpoint.config_of(flags.run, data.code)
        trained = config.data.source
        with own_data.opened(flags.run, trained, make=flags.make, console=console):
            found = evaluate_map(
                config,
                source,
                measures=flags.measures(),
                shared_ground=flags.shared_ground,
                tile=flags.tile,
                console=console,
            )
    if jax.process_index() > 0:
        return
    if flags.labels:
        terminal.show(found, console, title=f"{flags.run}, {data.title()}")
    if flags.sample:
        estimates = sample.sampled(source, flags.sample)
        sample.show(estimates, console)
    folder = data.folder(flags.run, flags.out) or flags.run
    if flags.labels:
        folder = results.write(found, flags.run, folder, keep=flags.out is None)
    if flags.sample:
        sample.write(estimates, folder)
    say(console, f"Tables and pictures: {folder}")


def doubts(arguments: list[str] | None = None) -> None:
    """The command `jaxseg doubts`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with Mistakes():
        own, fields = divided(arguments)
        flags = tyro.cli(DoubtsFlags, args=own, prog="jaxseg doubts")
        start()
        console = make_console()
        say(console, f"jaxseg: labels that {flags.run} doubts ...")
        data = asked(flags, fields, code_of(flags.code))
        folder = data.folder(flags.run, flags.out or flags.run / "doubts")
        if folder is None:
            raise AssertionError("a folder is given")
        found = finding.find(
            flags.run,
            data.split,
            folder,
            source=data.source,
            which=flags.step,
            smallest=flags.smallest,
            shared_ground=flags.shared_ground,
            code=data.code,
            check=flags.check,
            tile=flags.tile,
            overlap=flags.overlap,
            make=flags.make,
            polygons=flags.polygons,
            console=console,
        )
        title = f"{flags.run}, {data.title()}"
        doubts_terminal.show(found, console, title=title, top=flags.top)
        say(console, f"Table, picture and maps: {folder}")


def report(arguments: list[str] | None = None) -> None:
    """The command `jaxseg report`."""
    with Mistakes():
        flags = tyro.cli(ReportFlags, args=arguments, prog="jaxseg report")
        start()
        console, out = make_console(), flags.out or flags.run / "report.html"
        say(console, f"jaxseg: a page about {flags.run} ...")
        notes = page.write(
            flags.run,
            out,
            scene_map=flags.map,
            evaluation=flags.evaluation,
            which=flags.step,
            code=code_of(flags.code),
            console=console,
        )
        for note in notes:
            say(console, f"Note: {note}")
        say(console, f"Page: {out} ({out.stat().st_size / 2**20:.2g} MiB)")


def card(arguments: list[str] | None = None) -> None:
    """The command `jaxseg card`."""
    with Mistakes():
        flags = tyro.cli(CardFlags, args=arguments, prog="jaxseg card")
        start()
        console, code = make_console(), code_of(flags.code)
        out = flags.out or flags.run / "README.md"
        there = out.exists()
        if flags.push:
            licence = flags.licence or (model_card.licence_of(out) if there else "")
            pushing.check(flags.push, licence)
        elif there:
            raise UserError(
                f"{out} is there, perhaps with text that was filled in. Remove it or give another "
                "--out; --push OWNER/NAME pushes it as it is."
            )
        if not there:
            notes = model_card.write(
                flags.run,
                out,
                licence=flags.licence,
                evaluation=flags.evaluation,
                which=flags.step,
                repository=flags.push,
                code=code,
            )
            for note in notes:
                say(console, f"Note: {note}")
        say(console, f"Model card: {out}")
        if flags.push:
            _, step = checkpoint.chosen(flags.run, flags.step, code)
            say(console, f"Pushed: {pushing.push(flags.push, flags.run, step, out)}")


def weights(arguments: list[str] | None = None) -> None:
    """The command `jaxseg weights`."""
    with Mistakes():
        flags = tyro.cli(WeightsFlags, args=arguments, prog="jaxseg weights")
        weight_cards.show(make_console(), flags.name)


def export(arguments: list[str] | None = None) -> None:
    """The command `jaxseg export`."""
    with Mistakes():
        flags = tyro.cli(ExportFlags, args=arguments, prog="jaxseg export")
        start()
        if flags.format != "weights":
            _export_network(flags)
            return
        config, state = checkpoint.reopen(flags.run, MeshShape(), flags.step, code_of(flags.code))
        variables = jax.device_get(inference_variables(state))
        tensors = pretrained.exported(config.model, variables, reference=flags.reference)
        write_state_dict(tensors, flags.file)
        say(make_console(), f"{len(tensors)} tensors of step {int(state.step)}: {flags.file}")


def _export_network(flags: ExportFlags) -> None:
    if flags.size < 0 or flags.file.suffix == ".safetensors":
        raise UserError(
            f"--size {flags.size}, {flags.file}: --format {flags.format} is written into a folder, "
            "for images of --size rows and columns, or 0 = as in training."
        )
    console = make_console()
    say(console, f"jaxseg: {flags.run} -> {flags.file}, {flags.format}")
    run = load_run(flags.run, flags.step, code=code_of(flags.code))
    write = write_stablehlo if flags.format == "stablehlo" else write_onnx
    for file in write(run, flags.file, flags.size):
        say(console, f"written    {file}")


def models(arguments: list[str] | None = None) -> None:
    """The command `jaxseg models`."""
    with Mistakes():
        flags = tyro.cli(ModelsFlags, args=arguments, prog="jaxseg models")
        start()
        sizes = {"bands": flags.bands, "classes": flags.classes, "size": flags.size}
        if min(sizes.values()) < 1:
            raise UserError(f"{sizes}: each must be at least 1.")
        if flags.name:
            catalogue.print_layers(make_console(), flags.name, **sizes)
        else:
            catalogue.print_catalogue(make_console(), **sizes)
