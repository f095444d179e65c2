"""The commands that train, or say what a training would cost: `train`, `bench`, `plan`."""

import functools
import sys
from pathlib import Path

import jax
import tyro

from jaxseg import config as configs
from jaxseg.cli import planned
from jaxseg.cli.commands.frame import Mistakes, code_of, divided, progress, start, value_of
from jaxseg.cli.flags.training import BenchFlags, PlanFlags, TrainFlags
from jaxseg.errors import UserError
from jaxseg.planning import search as searching
from jaxseg.planning.plan import check
from jaxseg.planning.topology import topology
from jaxseg.run import bench as benches
from jaxseg.run import training
from jaxseg.run.stopping import saved
from jaxseg.system import interrupts
from jaxseg.system.console import make_console, say


def train(arguments: list[str] | None = None) -> None:
    """The command `jaxseg train`, and `python train.py`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # Flags that begin with --config. are fields of the config file, known only after it is read.
    path = value_of(arguments, "--config")
    with Mistakes("The training has not begun; the same command begins it."):
        if path is None or not {"-h", "--help"}.isdisjoint(arguments):
            if path is None:
                tyro.cli(TrainFlags, args=arguments, prog="train.py")
            configs.override(
                configs.load_config(str(path)), ["--help"], f"train.py --config {path}"
            )
        own, fields = divided(arguments)
        flags = tyro.cli(TrainFlags, args=own, prog="train.py")
        start(flags)
        module = configs.load_code(configs.found(flags.config))
        of_file = configs.built(module)
        given = configs.override(of_file, fields, "train.py")
        config, shorter = configs.shortened(of_file, given, fields)
        workdir = flags.workdir or Path("runs") / Path(flags.config).stem
        interrupts.leave(functools.partial(saved, workdir))
        if jax.process_index() == 0:
            say(make_console(), f"jaxseg: {flags.config} -> {workdir}")
            if shorter:
                say(make_console(), f"Shortened with the run: {', '.join(shorter)}.")
        code = (module, *code_of(flags.code))
        training.train(
            config,
            workdir,
            code,
            flags.profile,
            flags.track,
            flags.changed_files,
            take_over=flags.take_over,
        )


def bench(arguments: list[str] | None = None) -> None:
    """The command `jaxseg bench`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with Mistakes():
        own, fields = divided(arguments)
        flags = tyro.cli(BenchFlags, args=own, prog="jaxseg bench")
        if not flags.seconds > 0:
            raise UserError(f"--seconds {flags.seconds:g}: give more than 0, such as 60.")
        console, told = make_console(), functools.partial(say, make_console())
        say(console, f"jaxseg: {flags.config} for about {flags.seconds:g} s")
        start()
        module = configs.load_code(configs.found(flags.config))
        config = configs.override(configs.built(module), fields, "jaxseg bench")
        code = (module, *code_of(flags.code))
        shown = functools.partial(progress, console, "rounds")
        rates = benches.bench(config, flags.seconds, code, told, shown)
        for line in (f"{jax.device_count()} x {jax.devices()[0].device_kind}", ""):
            say(console, line)
        for line in benches.lines(rates, config):
            say(console, line)


def plan(arguments: list[str] | None = None) -> None:
    """The command `jaxseg plan`; starts no device: the work is done in the compiler's process."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with Mistakes():
        own, fields = divided(arguments)
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
