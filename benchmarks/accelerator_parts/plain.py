"""The JAX side of the plain step that PyTorch does too: prepared, and run in turns with it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import plain_training
from accelerator_parts.networks import (
    BANDS,
    drawn,
    made_batch,
    made_config,
    network,
    one_device,
)
from accelerator_parts.programs import build, timed
from accelerator_parts.workers import Facts, Note

from jaxseg.run import step

HELD: dict[str, Callable[[], Any]] = {}
"""The step that turns are taken with."""


def prepare(request: Facts, note: Note) -> Facts:
    """Compiles the plain step that PyTorch does too, in bfloat16, and takes some first ones."""
    mesh, found = one_device(), network(request["network"], request["tiny"])
    model, size = found.compared, found.compared_size
    found = dataclasses.replace(found, model=model, size=size)
    batch = request["batch"]
    config = made_config(found, "bfloat16", batch)
    abstract = step.abstract_state(config, BANDS, mesh)
    arrays = made_batch(mesh, (batch, size, size), model.num_classes)
    image, label = arrays["image"].astype(jnp.float32) / 1200 - 1, arrays["label"]
    inner = size - 184 if request["network"] == "original_unet" else size
    label = label[:, (size - inner) // 2 :, (size - inner) // 2 :][:, :inner, :inner]
    state = plain_training.start(drawn(step.inference_variables(abstract)))
    key = jax.random.key(0)
    note(f"compiling the plain step at batch {batch}")
    update = plain_training.make_update(config.model)
    program = build(lambda: update.lower(state, image, label, key))
    box = [state]

    def once() -> None:
        box[0] = jax.block_until_ready(program.compiled(box[0], image, label, key))

    timed(once, seconds=0.5, least=2, most=3, left_out=0)
    HELD["jaxseg"] = once
    parameters = step.count_parameters(abstract.params)
    return program.facts() | {"parameters": parameters, "size": size}


def turn(request: Facts, note: Note) -> Facts:
    """Some steps of what was prepared: seconds of each but the first."""
    del note
    steps = request["steps"]
    return {"seconds": timed(HELD["jaxseg"], seconds=60, least=steps, most=steps, left_out=1)}
