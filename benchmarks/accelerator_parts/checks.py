"""Checks that the device computes correctly: known logits, a decreasing loss, equal runs."""

import dataclasses
import json
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
from accelerator_parts.networks import (
    BANDS,
    abstract_batch,
    drawn_state,
    made_batch,
    made_config,
    network,
    one_device,
)
from accelerator_parts.programs import NO_TRITON, NO_TUNING, is_gpu
from accelerator_parts.workers import Facts, Note
from numpy.typing import NDArray

from jaxseg.run import checkpoint, step
from jaxseg.sharding import MeshShape
from jaxseg.weights import pretrained

GOLDENS = Path(__file__).parents[2] / "tests" / "fixtures" / "goldens"
TOLERANCE = 1e-4
"""Largest difference of logits, as a share of the largest logit: that of tests/fixtures/goldens."""


def golden(request: Facts, note: Note) -> Facts:
    """Logits in float32 against the CPU's and against those of the reference implementation.

    `precise` is with `jax.default_matmul_precision("highest")`, `usual` with the default, in which
    accelerators may multiply with fewer bits. Differences are shares of the largest logit.
    """
    found = network(request["network"], tiny=False)
    facts = json.loads((GOLDENS / f"{found.golden}.json").read_text())
    expected = np.load(GOLDENS / f"{found.golden}.npz")["out"].transpose(0, 2, 3, 1)
    state = {name: _tensor(name, tuple(shape)) for name, shape in facts["state_dict"]}
    variables = pretrained.load(found.golden_model, state)
    shape = facts["input_shape_nchw"]
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    image = image.transpose(0, 2, 3, 1)

    def logits(device: jax.Device, precision: str | None) -> NDArray[np.float32]:
        with jax.default_matmul_precision(precision):
            values = jax.device_put((variables, image), device)
            jitted = jax.jit(lambda v, x: found.golden_model.apply(v, x, train=False))
            compiled = _quickly(jitted.lower(*values), device)
            answer = compiled(*values)
            logsoftmax = found.golden == "linknet_11"
            return np.asarray(jax.nn.log_softmax(answer) if logsoftmax else answer)

    first = jax.devices()[0]
    places: dict[str, tuple[jax.Device, str | None]] = {
        "precise": (first, "highest"),
        "usual": (first, None),
    }
    try:
        places["cpu"] = (jax.devices("cpu")[0], "highest")
    except RuntimeError:  # JAX was told to see no CPU
        note("no CPU to compare with")
    with ThreadPoolExecutor(len(places)) as pool:  # compilers work side by side
        begun = {name: pool.submit(logits, *place) for name, place in places.items()}
        results = {name: future.result() for name, future in begun.items()}
    largest = max(1.0, float(np.abs(expected).max()))
    against = {name: value for name, value in results.items() if name == "cpu"}
    differences = {
        f"{name}_{other}": float(np.abs(results[name] - reference).max()) / largest
        for name in ("precise", "usual")
        for other, reference in (against | {"reference": expected}).items()
    }
    within = all(differences[name] <= TOLERANCE for name in differences if "precise" in name)
    return {
        "case": found.golden,
        "tolerance": TOLERANCE,
        "within": within,
    } | differences


def _quickly(lowered: jax.stages.Lowered, device: jax.Device) -> Callable[..., Any]:
    """Compiled without trying kernels on the device: one call is not worth it."""
    if not is_gpu(device):
        return lowered.compile()
    try:
        return lowered.compile(compiler_options=NO_TUNING)
    except (RuntimeError, ValueError):
        return lowered.compile(compiler_options=NO_TUNING | NO_TRITON)


def learn(request: Facts, note: Note) -> Facts:
    """Ten steps on one batch that can be learned, in float32: the loss is finite and falls."""
    del request
    mesh, found = one_device(), network("unet32", tiny=True)
    model, size, batch = found.model.clone(features=8), 64, 4
    optimizer = dataclasses.replace(found.optimizer, learning_rate=1e-2, warmup=0)
    found = dataclasses.replace(found, model=model, size=size, optimizer=optimizer)
    config = dataclasses.replace(made_config(found, "float32", batch), augment=())
    abstract = step.abstract_state(config, BANDS, mesh)
    note("compiling")
    lowered = step.jit_train_step(config, mesh, abstract).lower(
        abstract, abstract_batch(mesh, size, batch)
    )
    train_step = _quickly(lowered, jax.devices()[0])
    state, losses = drawn_state(config, mesh), []
    arrays = made_batch(mesh, (batch, size, size), model.num_classes)
    for _ in range(10):
        state, metrics = train_step(state, arrays)
        losses.append(float(metrics["loss"]))
    fell = losses[-1] < losses[0]
    return {"losses": losses, "finite": bool(np.isfinite(losses).all()), "falling": fell}


def differences(request: Facts, note: Note) -> Facts:
    """Of the last checkpoints of two runs: how many numbers differ, and by how much."""
    del note
    states = []
    for run in (request["one"], request["other"]):
        _, state = checkpoint.reopen(Path(run), MeshShape(), "latest")
        states.append([np.asarray(leaf) for leaf in jax.tree.leaves(state)])
    pairs = list(zip(*states, strict=True))
    unequal = sum(int((a != b).sum()) for a, b in pairs)
    largest = max(float(np.abs(a.astype(np.float64) - b).max()) for a, b in pairs)
    return {"unequal": unequal, "numbers": sum(a.size for a, _ in pairs), "largest": largest}


def _tensor(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The rule of tests/fixtures/goldens/README.md, by which both sides make the weights."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("running_var"):
        value = random.uniform(0.5, 1.5, shape)
    elif name.endswith("running_mean"):
        value = 0.1 * random.standard_normal(shape)
    elif len(shape) >= 2:
        value = random.standard_normal(shape) * np.sqrt(1 / np.prod(shape[1:]))
    elif name.endswith("bias"):
        value = 0.05 * random.standard_normal(shape)
    else:
        value = random.uniform(0.5, 1.5, shape)
    return value.astype(np.float32)
