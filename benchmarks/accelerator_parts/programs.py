"""Programs for a device: their compilation, memory and step times."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from accelerator_parts.traffic import bytes_moved
from accelerator_parts.workers import Facts

Options = dict[str, bool | int]

NO_TRITON: Options = {"xla_gpu_enable_triton_gemm": False}
"""XLA has refused products of `resize` for GPUs without it: 'Couldn't find output tile sizes'."""

NO_TUNING: Options = {"xla_gpu_autotune_level": 0}


class Program(NamedTuple):
    """A compiled program.

    Attributes:
        compiled: To be called.
        lower_seconds: Tracing and lowering.
        compile_seconds: What XLA took, of the attempt that succeeded.
        options: What the compiler was told.
        as_always: Whether that is what users' programs are compiled with.
        memory: Bytes of `arguments`, `outputs`, `temporaries`, those shared by arguments and
            outputs (`alias`), and the `total`; None where the backend does not say.
        refused: What the compiler said to attempts before.
    """

    compiled: jax.stages.Compiled
    lower_seconds: float
    compile_seconds: float
    options: Options
    as_always: bool
    memory: dict[str, int] | None
    refused: list[str]

    def facts(self) -> Facts:
        """All but the program."""
        moved, source = _bytes_accessed(self.compiled)
        return {
            "lower_seconds": self.lower_seconds,
            "compile_seconds": self.compile_seconds,
            "compiler_options": self.options,
            "refused": self.refused,
            "memory": self.memory,
            "bytes_accessed": moved or None,
            "bytes_from": source,
        }


def build(lower: Callable[[], jax.stages.Lowered], *, quickly: bool = False) -> Program:
    """Lowers and compiles as users' programs are, or in the first way in which that works.

    Args:
        lower: Traces and lowers.
        quickly: Without trying kernels on the device, where that is how it is done: enough to learn
            how much memory a program needs.
    """
    gpu = is_gpu(jax.devices()[0])
    usual = NO_TUNING if quickly and gpu else {}
    ways = [usual, usual | NO_TRITON] if gpu else [usual]
    began = time.perf_counter()
    lowered = lower()
    lowering = time.perf_counter() - began
    refused: list[str] = []
    for options in ways:
        began = time.perf_counter()
        try:
            compiled = lowered.compile(compiler_options=options or None)
        except (RuntimeError, ValueError) as error:
            if is_out_of_memory(error) or options is ways[-1]:
                raise
            refused.append(" ".join(str(error).split())[:300])
            continue
        seconds = time.perf_counter() - began
        memory = _memory(compiled)
        return Program(compiled, lowering, seconds, options, not options, memory, refused)
    raise AssertionError("the last way either compiles or raises")


def is_gpu(device: jax.Device) -> bool:
    """Whether kernels are chosen by trying them."""
    return device.platform in ("gpu", "cuda", "rocm")


def is_out_of_memory(error: Exception) -> bool:
    """Whether the error of XLA means that memory is exhausted."""
    return "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower()


def memory_statistics() -> dict[str, int] | None:
    """The allocator's of the first device; None where it has none, as on CPUs."""
    statistics: dict[str, int] | None = jax.devices()[0].memory_stats()
    return statistics


def memory_limit() -> int | None:
    """Bytes that programs may use: what the allocator has less what is in use, and a small rest."""
    statistics = memory_statistics()
    if not statistics or "bytes_limit" not in statistics:
        return None
    return int(0.97 * statistics["bytes_limit"]) - statistics.get("bytes_in_use", 0)


def predicted(memory: dict[str, int], of: int, batch: int) -> int:
    """Bytes at another batch, all but what the outputs share with the arguments in proportion."""
    return memory["alias"] + (memory["total"] - memory["alias"]) * batch // of


def timed(
    call: Callable[[], Any],
    seconds: float = 3.0,
    least: int = 5,
    most: int = 30,
    left_out: int = 3,
) -> list[float]:
    """Seconds of each call, the first ones left out; `call` waits for its results itself."""
    for _ in range(left_out):
        call()
    taken: list[float] = []
    while len(taken) < least or (len(taken) < most and sum(taken) < seconds):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return taken


def _memory(compiled: jax.stages.Compiled) -> dict[str, int] | None:
    found = compiled.memory_analysis()
    if found is None:
        return None
    sizes = {
        "arguments": int(found.argument_size_in_bytes),
        "outputs": int(found.output_size_in_bytes),
        "temporaries": int(found.temp_size_in_bytes),
        "alias": int(found.alias_size_in_bytes),
    }
    return sizes | {"total": sum(sizes.values()) - 2 * sizes["alias"]}


def _bytes_accessed(compiled: jax.stages.Compiled) -> tuple[float, str]:
    """Bytes that the program reads and writes, and the source of this number."""
    try:
        costs: Any = compiled.cost_analysis()
    except (RuntimeError, NotImplementedError):
        costs = None
    costs = costs[0] if isinstance(costs, list) and costs else costs
    moved = (costs or {}).get("bytes accessed", 0.0)
    if moved > 0:
        return float(moved), "the compiler's estimate"
    return float(bytes_moved(compiled.as_text() or "")), "the optimised program's arrays"
