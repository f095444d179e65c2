"""The JAX side of `accelerator.py`: the library's own steps at the largest batch that fits."""

import gc
import importlib
import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from accelerator_parts import checks, device, plain
from accelerator_parts.flops import BACKWARD, flops
from accelerator_parts.networks import (
    BANDS,
    Network,
    abstract_batch,
    drawn,
    drawn_state,
    made_batch,
    made_config,
    network,
    one_device,
)
from accelerator_parts.programs import (
    Program,
    build,
    is_out_of_memory,
    memory_limit,
    memory_statistics,
    predicted,
    timed,
)
from accelerator_parts.workers import Facts, Note

from jaxseg.config import Config
from jaxseg.run import step


def answer(request: Facts, note: Note) -> Facts:
    """Handles one request."""
    note(str(request["do"]))
    if request["do"] != "turn":
        plain.HELD.clear()  # it occupies memory
    try:
        return REQUESTS[request["do"]](request, note)
    finally:
        if request["do"] != "turn":
            jax.clear_caches()
            gc.collect()


def training(request: Facts, note: Note) -> Facts:
    """The library's own training step, at the largest batch that fits."""
    mesh, found = one_device(), network(request["network"], request["tiny"])
    config = made_config(found, request["dtype"], max(request["batches"]))
    abstract = step.abstract_state(config, BANDS, mesh)

    def lower(batch: int) -> jax.stages.Lowered:
        return step.jit_train_step(config, mesh, abstract).lower(
            abstract, abstract_batch(mesh, found.size, batch)
        )

    def run(program: Program, batch: int) -> Facts:
        shape = (batch, found.size, found.size)
        arrays = made_batch(mesh, shape, found.model.num_classes)
        state, losses = drawn_state(config, mesh), []

        def once() -> None:
            nonlocal state
            state, metrics = program.compiled(state, arrays)
            jax.block_until_ready((state, metrics))
            losses.append(metrics["loss"])

        seconds = timed(once, **request["timing"])
        return _rates(seconds, batch) | _course([float(loss) for loss in losses])

    facts = _at_the_largest_batch(lower, run, request, note)
    work = flops(_forward(found, config, abstract, train=True)) * (1 + BACKWARD)
    parameters = step.count_parameters(abstract.params)
    return facts | _work(facts, work) | {"parameters": parameters, "size": found.size}


def inference(request: Facts, note: Note) -> Facts:
    """What evaluation does to come to a map: radiometry, the network, the largest logit."""
    mesh, found = one_device(), network(request["network"], request["tiny"])
    config = made_config(found, request["dtype"], max(request["batches"]))
    abstract = step.abstract_state(config, BANDS, mesh)
    variables = step.inference_variables(abstract)
    evaluate = step.make_eval_step(config, mesh)

    def predict(variables: Any, batch: Any) -> jax.Array:
        return evaluate(variables, batch)["prediction"]  # the counts are not computed then

    def lower(batch: int) -> jax.stages.Lowered:
        return jax.jit(predict).lower(variables, abstract_batch(mesh, found.size, batch))

    def run(program: Program, batch: int) -> Facts:
        shape = (batch, found.size, found.size)
        arrays = made_batch(mesh, shape, found.model.num_classes)
        values = drawn(variables)

        def once() -> None:
            jax.block_until_ready(program.compiled(values, arrays))

        return _rates(timed(once, **request["timing"]), batch)

    facts = _at_the_largest_batch(lower, run, request, note)
    work = flops(_forward(found, config, abstract, train=False))
    parameters = step.count_parameters(abstract.params)
    return facts | _work(facts, work) | {"parameters": parameters, "size": found.size}


def _at_the_largest_batch(
    lower: Callable[[int], jax.stages.Lowered],
    run: Callable[[Program, int], Facts],
    request: Facts,
    note: Note,
) -> Facts:
    """Compiles what is predicted to fit, and halves the batch where it does not.

    Raises:
        MemoryError: Not even the smallest batch fits.
    """
    batches, limit = sorted(request["batches"]), request.get("limit") or memory_limit()
    first, facts = None, Facts(too_large={})
    if limit and request["predict"] and len(batches) > 1:
        note(f"compiling for the memory of batch {batches[0]}")
        try:
            first = build(lambda: lower(batches[0]), quickly=True)
        except (RuntimeError, ValueError) as error:  # then without a prediction
            facts["not_predicted"] = " ".join(str(error).split())[:300]
    if first is not None and first.memory is not None:
        facts |= {"first_compile_seconds": first.lower_seconds + first.compile_seconds}
        facts["predicted"] = {b: predicted(first.memory, batches[0], b) for b in batches}
        batches = [b for b in batches if facts["predicted"][b] <= limit] or batches[:1]
    for batch in reversed(batches):
        try:
            if first is not None and first.as_always and batch == min(request["batches"]):
                program = first
            else:
                note(f"compiling at batch {batch}")
                program = build(lambda batch=batch: lower(batch))
            if limit and program.memory and program.memory["total"] > limit:
                facts["too_large"][batch] = f"needs {program.memory['total'] / 2**30:.1f} GiB"
                continue
            note(f"running at batch {batch}")
            peak = (memory_statistics() or {}).get("peak_bytes_in_use")
            result = run(program, batch)
        except (RuntimeError, ValueError) as error:
            if not is_out_of_memory(error):
                raise
            facts["too_large"][batch] = "RESOURCE_EXHAUSTED"
            gc.collect()
            continue
        facts |= {"limit": limit} | program.facts() | result
        return facts | _peak(peak)
    raise MemoryError(f"batch {min(request['batches'])} does not fit: {facts['too_large']}")


def _peak(before: int | None) -> Facts:
    """The device's own count, where this case raised it: it never falls within a process."""
    after = (memory_statistics() or {}).get("peak_bytes_in_use")
    return {"peak": after if after is not None and after != before else None}


def _rates(seconds: list[float], batch: int) -> Facts:
    quarter = statistics.quantiles(seconds, n=4) if len(seconds) > 1 else [seconds[0]] * 3
    median = statistics.median(seconds)
    return {
        "batch": batch,
        "steps": len(seconds),
        "step_seconds": median,
        "quartiles": [quarter[0], quarter[2]],
        "images_per_second": batch / median,
    }


def _course(losses: list[float]) -> Facts:
    return {
        "losses": losses[:10],
        "finite": bool(np.isfinite(losses).all()),
        "falling": losses[-1] < losses[0] if len(losses) >= 8 else None,
    }


def _work(facts: Facts, flops_of_an_image: int) -> Facts:
    seconds, moved = facts["step_seconds"], facts["bytes_accessed"]
    total = flops_of_an_image * facts["batch"]
    return {
        "flops": total,
        "flops_per_second": total / seconds,
        "bytes_per_second": moved / seconds if moved else None,
    }


def _forward(found: Network, config: Config, abstract: step.TrainState, *, train: bool) -> Any:
    """The jaxpr of one image's logits; in evaluation without the head that training adds."""
    model = config.model
    if not train and getattr(model, "aux_head", False):
        model = model.clone(aux_head=False)
    image = jax.ShapeDtypeStruct((1, found.size, found.size, BANDS), jnp.float32)
    variables = step.inference_variables(abstract)
    return jax.make_jaxpr(lambda v, x: model.apply(v, x, train=False))(variables, image)


def _about_data(request: Facts, note: Note) -> Facts:
    # Rasterio and TFDS are needed for this alone.
    data = importlib.import_module("accelerator_parts.data")
    found: Facts = getattr(data, request["do"])(request, note)
    return found


REQUESTS: dict[str, Callable[[Facts, Note], Facts]] = {
    "device": device.device,
    "ceilings": device.ceilings,
    "training": training,
    "inference": inference,
    "prepare": plain.prepare,
    "turn": plain.turn,
    "golden": checks.golden,
    "learn": checks.learn,
    "differences": checks.differences,
    "write": _about_data,
    "pipeline": _about_data,
}
