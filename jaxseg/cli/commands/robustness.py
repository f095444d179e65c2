"""The command `jaxseg robustness`: what corruptions and attacks cost a run."""

import tyro

from jaxseg.cli.commands.frame import Mistakes, code_of, start
from jaxseg.cli.flags.robustness import RobustnessFlags
from jaxseg.evaluation.robustness import measure, show, write
from jaxseg.run import checkpoint
from jaxseg.system.console import make_console, say


def robustness(arguments: list[str] | None = None) -> None:
    """The command `jaxseg robustness`."""
    with Mistakes():
        flags = tyro.cli(RobustnessFlags, args=arguments, prog="jaxseg robustness")
        start()
        console = make_console()
        say(console, f"jaxseg: how robust is {flags.run} ...")
        attacks, generation, code = flags.attacks(), flags.generation(), code_of(flags.code)
        classes = checkpoint.config_of(flags.run, code).data.source.classes
        found = measure.measure(
            flags.run,
            flags.split,
            which=flags.step,
            corruptions=flags.kinds(),
            attacks=attacks,
            generation=generation,
            conditions=flags.conditions(tuple(classes)),
            others=flags.transfer,
            windows=flags.windows,
            seed=flags.seed,
            mesh_shape=flags.mesh,
            code=code,
            make=flags.make,
            console=console,
        )
        show.show(found, console, title=str(flags.run))
        folder = write.write(found, flags.run, flags.out)
        say(console, f"Tables and chart: {folder}")
