"""Whether the processes of one job are about to do the same.

Processes that disagree do not fail: they wait for each other in a collective, or train one network
on two sets of data. So they compare what they were given before anything is computed, and all of
them raise the same error.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxseg import config_text
from jaxseg.config import Config
from jaxseg.errors import UserError
from jaxseg.run import data_files

PACKAGES = ("jaxseg", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
"""What has to be of one version in all processes."""

MOST = 10
"""Differences that are listed."""

Facts = Mapping[str, str]
"""Name in a message -> value."""


class UnlikeError(UserError):
    """Processes were not given the same: raised by all of them, which end together."""


def check_alike(config: Config, workdir: Path) -> None:
    """Compares versions, config, workdir and the files of the data of all processes.

    Files are compared by path and size: each process may read its own copies.

    Args:
        config: As this process was given it, with absolute paths.
        workdir: The run's folder.

    Raises:
        UnlikeError: Processes differ; the same error in each.
    """
    if jax.process_count() == 1:
        return
    everyone = exchanged(_facts(config, workdir))
    if found := differences(everyone):
        more = f"\n  and {len(found) - MOST} more" if len(found) > MOST else ""
        raise UnlikeError(
            "The processes of this job were not given the same:\n  "
            + "\n  ".join(found[:MOST])
            + more
            + "\nStart all of them with one command, one installation and the same data."
        )


def differences(everyone: list[Facts]) -> list[str]:
    """A line for each fact in which a process differs from the first one.

    Args:
        everyone: The facts of all processes, in their order.
    """
    lines = []
    for name in sorted({name for facts in everyone for name in facts}):
        values = [facts.get(name, "absent") for facts in everyone]
        others = [number for number, value in enumerate(values) if value != values[0]]
        if others:
            who = ", ".join(map(str, others[:4])) + (" ..." if len(others) > 4 else "")
            process = "process" if len(others) == 1 else "processes"
            lines.append(
                f"{name}: {values[0]} in process 0, {values[others[0]]} in {process} {who}"
            )
    return lines


def _facts(config: Config, workdir: Path) -> Facts:
    found = {f"version of {name}": importlib.metadata.version(name) for name in PACKAGES}
    for name, value in config_text.flat(config_text.to_json(config)).items():
        text = json.dumps(value)
        found[name] = text if len(text) <= 60 else f"{text[:40]}... ({_digest(text)})"
    return found | {"workdir": str(workdir.absolute()), "data": _data(config)}


def _data(config: Config) -> str:
    """The files of the data in short; the error of a process that has none is for all."""
    try:
        files = data_files.sizes(config.data.source)
    except UserError as error:
        return str(error)
    lines = "\n".join(f"{size} {path}" for path, size in sorted(files.items()))
    return f"{len(files)} files, {sum(files.values())} bytes ({_digest(lines)})"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=4).hexdigest()


def exchanged(mine: Facts) -> list[Facts]:
    """The facts of all processes, in their order."""
    if jax.process_count() == 1:
        return [mine]
    text = np.frombuffer(json.dumps(mine).encode(), np.uint8)
    lengths = np.asarray(multihost_utils.process_allgather(np.int32(len(text))))
    padded = np.zeros(lengths.max(), np.uint8)
    padded[: len(text)] = text
    texts = np.asarray(multihost_utils.process_allgather(padded))
    return [json.loads(row[:length].tobytes()) for row, length in zip(texts, lengths, strict=True)]
