"""How a process joins the others of its job, and how it ends if one of them has ended."""

import dataclasses
import os
import sys
import time

import jax

from jaxseg.errors import UserError

HEARTBEAT = 30
"""Seconds without a sign of life after which a process counts as lost."""

LOST = 3
"""Exit code of a process whose partners are gone."""

LAST = 10.0
"""Seconds by which the first process ends later than it could, because it is the one that connects
the others: without it, JAX aborts them before they have said what is wrong."""

TOGETHER = 2.0
"""The same where all processes end for one reason that all of them know."""

CONNECTIONS = ("Gloo", "NCCL", "UNAVAILABLE", "coordination service", "closed by peer")
"""In the text of an error that came over a connection."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobFlags:
    """Which other processes this one works with.

    Attributes:
        distributed: Whether to join the other processes of this job, as SLURM, Open MPI, Kubernetes
            (an indexed job) or a TPU slice has started it.
        coordinator: Instead, HOST:PORT of the first process, which all can reach.
        process: With a coordinator, which process this is of how many, such as 1/4.
    """

    distributed: bool = False
    coordinator: str = ""
    process: str = ""

    @property
    def joined(self) -> bool:
        """Whether there are other processes."""
        return self.distributed or bool(self.coordinator)


def join(flags: JobFlags) -> None:
    """Joins the other processes; before the first use of a device.

    Raises:
        UserError: The flags contradict each other, or there is no job to join.
    """
    # Of SIGTERM, jaxseg.run.stopping tells the others; JAX's own handler would only swallow it.
    jax.config.update("jax_enable_preemption_service", False)
    if flags.coordinator or flags.process:
        number, count = _place(flags)
        jax.distributed.initialize(
            coordinator_address=flags.coordinator,
            num_processes=count,
            process_id=number - 1,
            heartbeat_timeout_seconds=HEARTBEAT,
        )
    elif flags.distributed:
        try:
            jax.distributed.initialize(heartbeat_timeout_seconds=HEARTBEAT)
        except ValueError as error:
            raise UserError(
                "--distributed: no job was found. It is joined where SLURM, Open MPI, Kubernetes "
                "(an indexed job) or a TPU slice has started the processes. Otherwise give each of "
                f"them --coordinator HOST:PORT --process 1/4. JAX says: {error}"
            ) from error


def _place(flags: JobFlags) -> tuple[int, int]:
    number, slash, count = flags.process.partition("/")
    good = slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)
    host, _, port = flags.coordinator.rpartition(":")
    if not good or not host or not port.isdecimal():
        raise UserError(
            f"--coordinator {flags.coordinator or '(not given)'} --process "
            f"{flags.process or '(not given)'}: give both to every process, the address of the "
            "first one and the number of each, such as --coordinator node1:1234 --process 1/4."
        )
    return int(number), int(count)


def end_alone(code: int, last: float = LAST) -> None:
    """Ends a process that has joined others, at once.

    To leave in order, it would wait for the others, and they for it. They find that it is gone:
    at their next exchange, or after `HEARTBEAT` seconds.

    Args:
        code: The exit code.
        last: Seconds that the first process leaves the others to say what is wrong.
    """
    if jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        if jax.process_index() == 0:
            time.sleep(last)
        os._exit(code)


def is_lost(error: BaseException) -> bool:
    """Whether an error, or one that caused it, says that devices could not go on together."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, jax.errors.JaxRuntimeError):
            return True
        if any(text in str(seen) for text in CONNECTIONS):  # some pass as ValueError, or through a
            return True  # library that wraps them
        seen = seen.__cause__ or seen.__context__
    return False


def lost(error: BaseException) -> str:
    """What a process says whose devices could not go on together with those of others."""
    first = str(error).strip().partition("\n")[0]
    return (
        f"Process {jax.process_index()} of {jax.process_count()} has ended, because devices could "
        f"not go on together: {first}\nIf a connection was lost, another process has ended before; "
        "see its output. Started again, all together, the same command continues a training at its "
        "newest checkpoint."
    )
