"""What every command does around its work: its flags divided, its settings, its end.

A user's mistake ends with one short message and exit code 2. SIGTERM and Ctrl-C end with one
sentence that says what is saved: in the loop of a training with a saved state and exit code 130,
elsewhere with 130 (Ctrl-C) or 143 (SIGTERM).
"""

import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import NoReturn

import absl.logging
import jax
from rich.console import Console

from jaxseg import config as configs
from jaxseg.cli.job import LAST, LOST, TOGETHER, JobFlags, end_alone, is_lost, join, lost
from jaxseg.cli.memory import keep_freed_memory
from jaxseg.errors import DiskError, UserError
from jaxseg.run.failed_saves import FailedSaveError
from jaxseg.run.processes import UnlikeError
from jaxseg.run.training import Interrupted
from jaxseg.system import disk, interrupts
from jaxseg.system.cache import cache_folder
from jaxseg.system.console import make_console, say, track

INTERRUPTED = 130
MISTAKE = 2


AGAIN = "What it was making is not complete; the same command makes it again."
CONTINUES = "What is finished is kept; the same command makes the rest."
"""What stays of a command that is stopped."""


class Mistakes:
    """Turns self-explanatory errors, Ctrl-C and SIGTERM into a message and an exit code."""

    def __init__(self, stays: str = AGAIN) -> None:
        """Takes what is said of a command that is stopped, until `interrupts.leave` changes it."""
        self._stays = stays

    def __enter__(self) -> None:
        """From now on a signal raises."""
        interrupts.begin(self._stays)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        """Says what was wrong, and ends the process."""
        interrupts.over()
        if isinstance(error, Interrupted):
            make_console(sys.stderr).print(str(error), markup=False, soft_wrap=True)
            interrupts.done()
            sys.exit(INTERRUPTED)
        # Libraries turn the exception of a signal into their own.
        if isinstance(error, KeyboardInterrupt) or (
            isinstance(error, Exception) and interrupts.asked()
        ):
            _stopped(interrupts.asked() or signal.SIGINT)
        interrupts.done()
        console = make_console(sys.stderr)
        known = isinstance(error, UserError)
        if isinstance(error, Exception) and not known and (told := disk.fault(error)):
            error = DiskError(told)
        if isinstance(error, UserError):
            console.print("Error:", style="bold red", end=" ")
            console.print(str(error), markup=False, soft_wrap=True)
            if not isinstance(error, UnlikeError):
                end_alone(MISTAKE, TOGETHER if isinstance(error, FailedSaveError) else LAST)
            sys.exit(MISTAKE)
        if isinstance(error, Exception) and jax.distributed.is_initialized():
            if is_lost(error):
                console.print(lost(error), markup=False, soft_wrap=True)
            else:
                traceback.print_exception(error)
            end_alone(LOST)


def _stopped(number: int) -> NoReturn:
    if interrupts.watched() and not jax.distributed.is_initialized():
        interrupts.end(number)
    say(make_console(sys.stderr), interrupts.told(number))
    interrupts.said()
    end_alone(interrupts.code(number))
    sys.exit(interrupts.code(number))


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
        if job.joined and jax.process_index() == 0:
            interrupts.wait_for_others(LAST)
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
