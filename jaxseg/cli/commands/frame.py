"""What every command does around its work: its flags divided, its settings, its end.

A user's mistake ends with one short message and exit code 2; SIGTERM and Ctrl-C end with a saved
state and exit code 130.
"""

import logging
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from types import ModuleType

import absl.logging
import jax
from rich.console import Console

from jaxseg import config as configs
from jaxseg import disk
from jaxseg.cli.job import LAST, LOST, TOGETHER, JobFlags, end_alone, is_lost, join, lost
from jaxseg.cli.memory import keep_freed_memory
from jaxseg.console import make_console, track
from jaxseg.errors import DiskError, UserError
from jaxseg.files.cache import cache_folder
from jaxseg.run.failed_saves import FailedSaveError
from jaxseg.run.processes import UnlikeError
from jaxseg.run.training import Interrupted

INTERRUPTED = 130
MISTAKE = 2


class Mistakes:
    """Turns self-explanatory errors into a message and an exit code."""

    def __enter__(self) -> None:
        """Nothing: all is done at the end."""

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        """Says what was wrong, and ends the process."""
        console = make_console(sys.stderr)
        known = isinstance(error, UserError | Interrupted)
        if isinstance(error, Exception) and not known and (told := disk.fault(error)):
            error = DiskError(told)
        if isinstance(error, UserError):
            console.print("Error:", style="bold red", end=" ")
            console.print(str(error), markup=False, soft_wrap=True)
            if not isinstance(error, UnlikeError):
                end_alone(MISTAKE, TOGETHER if isinstance(error, FailedSaveError) else LAST)
            sys.exit(MISTAKE)
        if isinstance(error, Interrupted):
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


def code_of(names: tuple[str, ...]) -> tuple[ModuleType, ...]:
    """The files and packages that the user has named."""
    return tuple(configs.load_code(name) for name in names)


def start(job: JobFlags | None = None) -> None:
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


def value_of(arguments: list[str], flag: str) -> str | None:
    """What is given for a flag, or None."""
    for number, argument in enumerate(arguments):
        if argument == flag and number + 1 < len(arguments):
            return arguments[number + 1]
        if argument.startswith(flag + "="):
            return argument.partition("=")[2]
    return None


def divided(arguments: list[str]) -> tuple[list[str], list[str]]:
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


def progress(console: Console, what: str, names: Iterable[str], count: int) -> Iterator[str]:
    """Goes through the names with a bar."""
    yield from track(names, what, total=count, console=console)
