"""Whether the numbers and the texts of a checkpoint are those that were saved.

    WORKDIR/checkpoints/STEP/digests     a digest of each leaf of the state, of config and metrics

The digest of a leaf is computed where the leaf is: each device hashes its own part, and the mesh
adds the parts up. No host holds a whole leaf for it, and the sum does not depend on how the leaf is
divided, so that a state saved on 8 devices is verified on one, and the other way round. An element
counts by its bits and its place: one changed element always changes the digest, and any other
damage goes unseen in one of 2**32 cases. It is a digest against damage, not against people.
"""

import json
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import keystr

ITEM = "digests"
"""Name of the item in a checkpoint."""

TEXTS = {"config": "config/metadata", "metrics": "metrics/metrics"}
"""Files of a checkpoint that are JSON."""

Digests = dict[str, Any]
"""`step`, the `state` as {leaf: digest}, `config`, and `metrics` if there are any."""


class DamagedError(Exception):
    """What a checkpoint holds is not what was saved; the message names the first such thing."""


def digests_of(state: Any, step: int, config: Any, metrics: Any) -> Digests:  # noqa: ANN401
    """What is stored with a checkpoint; all processes call it together.

    Args:
        state: The state, a tree of arrays.
        step: The step that it is saved under.
        config: The config as JSON.
        metrics: The metrics as JSON, or None.
    """
    return fetched(begun(state, step, config, metrics))


def begun(state: Any, step: int, config: Any, metrics: Any) -> Digests:  # noqa: ANN401
    """Like `digests_of`, but nothing waits: digests of leaves are arrays () that devices compute.

    They come before everything that is asked of the devices later, a step that takes the memory of
    the state included.
    """
    texts = {"config": config, "metrics": metrics}
    return {
        "step": step,
        "state": _of_leaves(state),
        **{name: _of_json(content) for name, content in texts.items() if content is not None},
    }


def fetched(started: Digests) -> Digests:
    """The digests as text, when the devices have computed them.

    Args:
        started: The result of `begun`.
    """
    values = jax.device_get(started["state"])
    return started | {"state": {name: f"{int(value):08x}" for name, value in values.items()}}


def read(folder: Path) -> Digests | None:
    """The digests of a checkpoint, after its texts were compared with them.

    Args:
        folder: The checkpoint.

    Returns:
        None if an earlier version wrote it, without digests.

    Raises:
        DamagedError: A text is not as it was saved, or the digests are lost.
    """
    stored = _stored(folder)
    if stored is not None:
        for name in TEXTS:
            _compare(folder, name, stored)
    return stored


def check_metrics(folder: Path) -> None:
    """Compares the metrics alone; digests that are lost are named by `read`.

    Raises:
        DamagedError: They are not as they were saved.
    """
    try:
        stored = _stored(folder)
    except DamagedError:
        return
    if stored is not None:
        _compare(folder, "metrics", stored)


def check(state: Any, stored: Digests) -> None:  # noqa: ANN401  (any tree of arrays)
    """Compares a state that was read with the digests; all processes call it together.

    Args:
        state: The state, a tree of arrays, divided in any way.
        stored: The result of `read`.

    Raises:
        DamagedError: A leaf is not as it was saved.
    """
    found, saved = fetched({"state": _of_leaves(state)})["state"], stored["state"]
    for name in (*found, *saved):
        if found.get(name) != saved.get(name):
            raise DamagedError(f"{name} is not as it was saved")


def _stored(folder: Path) -> Digests | None:
    file = folder / ITEM / "metadata"
    if not file.exists():
        if ITEM in _text(folder / "_CHECKPOINT_METADATA"):
            raise DamagedError(f"{file} is missing")
        return None
    try:
        stored = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedError(f"{file} cannot be read ({error})") from None
    if not (isinstance(stored, dict) and isinstance(stored.get("state"), dict)):
        raise DamagedError(f"{file} is not as it was saved")
    if str(stored.get("step")) != folder.name:
        raise DamagedError(f"the state of step {stored.get('step')} lies in folder {folder.name}")
    return stored


def _compare(folder: Path, name: str, stored: Digests) -> None:
    if _of_file(folder / TEXTS[name]) != stored.get(name):
        raise DamagedError(f"{folder / TEXTS[name]} is not as it was saved")


def _of_leaves(state: Any) -> dict[str, jax.Array]:  # noqa: ANN401
    # One small program for each shape: a program of all leaves takes twice as long to compile.
    return {
        keystr(path, simple=True, separator="/"): _of_leaf(leaf)
        for path, leaf in jax.tree.leaves_with_path(state)
    }


@jax.jit
def _of_leaf(leaf: jax.Array) -> jax.Array:
    """() uint32 sum over the elements of a hash of their bits and places."""
    if leaf.dtype == jnp.bool:
        leaf = leaf.astype(jnp.uint8)
    if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
        leaf = jnp.stack([leaf.real, leaf.imag], -1)
    word = jnp.dtype(f"uint{8 * min(leaf.dtype.itemsize, 4)}")
    bits = jax.lax.bitcast_convert_type(leaf, word).astype(jnp.uint32)
    place, stride = jnp.zeros(bits.shape, jnp.uint32), 1
    for axis in reversed(range(bits.ndim)):
        steps = jax.lax.broadcasted_iota(jnp.uint32, bits.shape, axis)
        place += steps * jnp.uint32(stride % 2**32)
        stride *= bits.shape[axis]
    return _mixed(bits ^ _mixed(place + 1)).sum(dtype=jnp.uint32)


def _mixed(x: jax.Array) -> jax.Array:
    """A permutation of the 32-bit numbers in which each bit of `x` changes half of the others.

    **Source:** Appleby, MurmurHash3 (2011), its last step `fmix32`.
    """
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


def _of_json(content: Any) -> str:  # noqa: ANN401  (any JSON)
    text = json.dumps(json.loads(json.dumps(content)), sort_keys=True)
    return f"{zlib.crc32(text.encode()):08x}"


def _of_file(path: Path) -> str | None:
    """The digest of a text that is JSON; None if there is none."""
    try:
        return _of_json(json.loads(path.read_bytes())) if path.exists() else None
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedError(f"{path} cannot be read ({error})") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
