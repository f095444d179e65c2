"""The program for accelerators ends in time, loses one case at most, and says what it measured."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "benchmarks"))

from accelerator_parts import jax_side, programs, workers  # noqa: E402
from accelerator_parts.cases import Case, planned  # noqa: E402
from accelerator_parts.flops import flops  # noqa: E402
from accelerator_parts.report import NOTHING, Report  # noqa: E402
from accelerator_parts.sizes import SIZES  # noqa: E402
from accelerator_parts.traffic import bytes_moved  # noqa: E402
from accelerator_parts.workers import Lost, Worker  # noqa: E402

SERVER = """
import os, sys, time
sys.path.insert(0, {folder!r})
from accelerator_parts.workers import serve

def answer(request, note):
    note("at work")
    print("this is no answer")
    if request["do"] == "sleep":
        time.sleep(60)
    if request["do"] == "die":
        sys.stderr.write("out of paper\\n")
        sys.stderr.flush()
        os.abort()
    if request["do"] == "import":
        import no_such_package
    return {{"number": request["number"] + 1}}

serve(answer)
"""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """A worker that needs no JAX."""
    program = tmp_path / "server.py"
    program.write_text(SERVER.format(folder=str(ROOT / "benchmarks")))
    monkeypatch.setattr(workers, "PROGRAM", program)
    made = Worker("any", tmp_path / "worker.log", {})
    yield made
    made.stop()


def test_a_request_that_takes_too_long_is_ended_and_the_next_one_is_answered(
    worker: Worker,
) -> None:
    assert worker.ask({"do": "add", "number": 1}, 30) == {"number": 2}
    with pytest.raises(Lost, match="ended after 1 s, while at work") as lost:
        worker.ask({"do": "sleep"}, 1)
    assert lost.value.status == "overran"
    assert worker.ask({"do": "add", "number": 2}, 30) == {"number": 3}


def test_a_process_that_dies_costs_its_own_request_and_its_last_words_are_kept(
    worker: Worker,
) -> None:
    with pytest.raises(Lost, match=r"SIGABRT.*out of paper") as lost:
        worker.ask({"do": "die"}, 30)
    assert lost.value.status == "failed"
    assert worker.ask({"do": "add", "number": 4}, 30) == {"number": 5}


def test_what_needs_a_package_that_is_missing_is_left_out(worker: Worker) -> None:
    with pytest.raises(Lost, match="no_such_package") as lost:
        worker.ask({"do": "import"}, 30)
    assert lost.value.status == "left out"


def test_results_are_whole_after_every_case_and_name_what_was_not_reached(tmp_path: Path) -> None:
    report = Report(tmp_path, time.monotonic())
    report.plan([Case("learn"), Case("training", "unet32", "bfloat16")])
    found = {"status": "done", "finite": True, "falling": True, "losses": [2.0, float("nan")]}
    report.record(Case("learn"), found)
    written = json.loads((tmp_path / "accelerator.json").read_text())
    assert [case["status"] for case in written["cases"]] == ["done", "not reached"]
    assert written["cases"][0]["losses"] == [2.0, "nan"]
    lines = (tmp_path / "accelerator.md").read_text().splitlines()
    assert lines[0] == NOTHING
    assert lines[-1] == "Not reached: training unet32 bfloat16."


def test_the_largest_gaps_are_those_of_the_least_share_of_the_nearer_ceiling(
    tmp_path: Path,
) -> None:
    report = Report(tmp_path, time.monotonic())
    names = ("unet32", "unet64", "pspnet", "linknet")
    cases = [Case("ceilings"), *(Case("training", name, "bfloat16") for name in names)]
    report.plan(cases)
    report.record(cases[0], {"status": "done", "bfloat16": 1e15, "float32": 1e14, "copy": 1e12})
    for case, product, copy in zip(
        cases[1:], (0.4, 0.5, 0.2, 0.1), (0.3, 0.1, 0.1, 0.9), strict=True
    ):
        rates = {"flops_per_second": product * 1e15, "bytes_per_second": copy * 1e12}
        step = {
            "batch": 8,
            "step_seconds": 0.1,
            "images_per_second": 80.0,
            "losses": [2.0, 1.0],
            "size": 512,
        }
        compiled = {"memory": {"total": 2**30}, "lower_seconds": 2.0, "compile_seconds": 30.0}
        learned = {"finite": True, "falling": True}
        report.record(case, {"status": "done"} | rates | step | compiled | learned)
    gaps = json.loads(report.json.read_text())["gaps"]
    assert gaps == [
        *("training pspnet bfloat16: 20 %", "training unet32 bfloat16: 40 %"),
        "training unet64 bfloat16: 50 %",
    ]
    assert (
        "| PSPNet-50, bfloat16 | 512 | 8 | 80.0 | 100 | 1.00 | 200 (20 %) | 100 (10 %) | 32 |"
        in (report.markdown.read_text())
    )


def test_the_first_network_is_trained_and_compared_before_the_others_begin() -> None:
    parts = [(case.part, case.network) for case in planned(list(SIZES), compared=True)]
    first = ("training", "unet32"), ("PyTorch", "unet32"), ("training", "unet64")
    assert tuple(parts[parts.index(first[0]) :][:3]) == first
    assert [network for part, network in parts if part == "golden"] == [
        *("unet32", "original_unet", "resnet_unet", "deeplab16", "pspnet", "linknet")
    ]


def test_flops_leave_padding_out_and_count_loops_as_often_as_they_run() -> None:
    def one(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    def network(x: jax.Array, kernel: jax.Array) -> jax.Array:
        for_ever = jax.lax.scan(lambda y, _: (one(y, kernel), None), x, length=3)[0]
        return jnp.einsum("bhwc,cd->bhwd", for_ever, kernel[0, 0])

    image, kernel = jnp.zeros((2, 4, 5, 6)), jnp.zeros((3, 3, 6, 6))
    rows, columns = 4 * 3 - 2, 5 * 3 - 2  # taps that meet a pixel, of all output pixels
    assert flops(jax.make_jaxpr(network)(image, kernel)) == (
        3 * 2 * 2 * rows * columns * 6 * 6 + 2 * 2 * 4 * 5 * 6 * 6
    )


PROGRAM = """
HloModule jit_f

%body (p: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0)
  ROOT %copy.1 = f32[8]{0} copy(%p)
}

ENTRY %main (a: bf16[2,4], k: f32[8]) -> (f32[8], f32[8]) {
  %a = bf16[2,4]{1,0} parameter(0)
  %k = f32[8]{0} parameter(1)
  %conv = (f32[8]{0}, /*index=1*/u8[999]{0}) custom-call(%a, %k), custom_call_target="f(x)"
  %y = f32[8]{0} get-tuple-element(%conv), index=0
  %loop = f32[8]{0} call(%y), to_apply=%body
  ROOT %tuple = (f32[8]{0}, f32[8]{0}) tuple(%y, %loop)
}
"""


def test_bytes_are_those_of_operands_and_results_without_scratch() -> None:
    convolution = 2 * 4 * 2 + 8 * 4 + 8 * 4
    assert bytes_moved(PROGRAM) == convolution + 2 * 8 * 4


def test_bytes_of_a_real_program_are_those_that_xla_counts() -> None:
    x = jnp.zeros((64, 128))
    compiled = jax.jit(lambda x: jnp.sort(x @ x.T)).lower(x).compile()
    assert bytes_moved(compiled.as_text()) == compiled.cost_analysis()["bytes accessed"]


class Small(NamedTuple):
    """A request of training, and what the device is made to say."""

    limit: int
    refuses: int


def at_the_largest_batch(case: Small) -> dict[str, Any]:
    """Of 8, 16, 32 and 64, where a batch of `refuses` or more runs out of memory."""

    def lower(batch: int) -> jax.stages.Lowered:
        return jax.jit(lambda x: jnp.sort(x) + 1).lower(jnp.zeros((batch, 1000)))

    def run(program: programs.Program, batch: int) -> dict[str, Any]:
        if batch >= case.refuses:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return {"batch": batch}

    request = {"batches": (8, 16, 32, 64), "predict": True, "limit": case.limit}
    return jax_side._at_the_largest_batch(lower, run, request, lambda text: None)


def test_the_largest_batch_is_the_one_whose_program_fits() -> None:
    smallest = at_the_largest_batch(Small(limit=10**9, refuses=100))["predicted"][8]
    found = at_the_largest_batch(Small(limit=int(2.5 * smallest), refuses=100))
    assert found["batch"] == 16
    assert found["memory"]["total"] <= 2.5 * smallest
    assert at_the_largest_batch(Small(limit=10 * smallest, refuses=100))["batch"] == 64


@pytest.mark.slow
def test_a_batch_that_runs_out_of_memory_is_halved() -> None:
    found = at_the_largest_batch(Small(limit=10**9, refuses=32))
    assert found["batch"] == 16
    assert found["too_large"] == {64: "RESOURCE_EXHAUSTED", 32: "RESOURCE_EXHAUSTED"}


def program(out: Path, *flags: str) -> subprocess.Popen[str]:
    """The real program at small sizes, on one device."""
    command = [sys.executable, str(ROOT / "benchmarks" / "accelerator.py"), "--tiny"]
    environment = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", "COLUMNS": "80"}
    return subprocess.Popen(
        [*command, "--networks", "unet32", "--out", str(out), *flags],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def cases_of(out: Path) -> dict[str, dict[str, Any]]:
    """What is on the disk, by the title of the case."""
    path = out / "accelerator.json"
    if not path.exists():
        return {}
    found = json.loads(path.read_text())["cases"]
    return {" ".join(filter(None, (c["part"], c["network"], c["dtype"]))): c for c in found}


@pytest.mark.slow
def test_the_whole_program_runs_at_small_sizes_and_says_that_nothing_was_measured(
    tmp_path: Path,
) -> None:
    output, _ = program(tmp_path, "--minutes", "9").communicate(timeout=580)
    assert output.splitlines()[0] == NOTHING
    assert max(map(len, output.replace(str(tmp_path), "").splitlines())) <= 80, output
    assert (tmp_path / "accelerator.md").read_text().splitlines()[0] == NOTHING
    cases = cases_of(tmp_path)
    compared = {name: case for name, case in cases.items() if case["part"] != "PyTorch"}
    assert {case["status"] for case in compared.values()} == {"done"}, output
    for dtype in ("bfloat16", "float32"):
        training, inference = (
            cases[f"{part} unet32 {dtype}"] for part in ("training", "inference")
        )
        for case in (training, inference):
            assert case["images_per_second"] > 0
            assert case["compile_seconds"] > 10 * case["step_seconds"] > 0
            assert 0 < case["share_of_product"] < 1
        assert training["flops"] == 3 * inference["flops"]
        assert training["finite"]
    assert cases["golden unet32"]["within"]
    assert cases["learn"]["falling"]
    assert cases["resume"]["ways"]["as always"]["unequal"] == 0
    assert all(0 <= s["waiting"] <= 1 < s["alone"] for s in cases["pipeline"]["sources"].values())
    versions = json.loads((tmp_path / "accelerator.json").read_text())["device"]["versions"]
    assert versions["jax"] == jax.__version__


@pytest.mark.slow
def test_a_case_that_overruns_is_listed_and_a_killed_program_leaves_its_results(
    tmp_path: Path,
) -> None:
    process = program(tmp_path, "--minutes", "9", "--bound", "1")
    try:
        deadline = time.monotonic() + 540
        while cases_of(tmp_path).get("pipeline", {"status": "not reached"})["status"] != "done":
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
    finally:
        process.kill()
        process.communicate()
    cases = cases_of(tmp_path)
    assert cases["ceilings"]["status"] == "done"
    assert cases["training unet32 bfloat16"]["status"] == "overran"
    assert "ended after 1 s" in cases["training unet32 bfloat16"]["reason"]
    assert cases["inference unet32 float32"]["status"] == "not reached"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--networks", "unet33"), "invalid choice: 'unet33'"),
        (("--minutes", "0"), "give more than 0"),
        (("--out", str(Path(__file__) / "folder")), "give a folder"),
    ],
)
def test_a_mistake_ends_with_a_message(tmp_path: Path, flags: tuple[str, ...], said: str) -> None:
    process = program(tmp_path, *flags)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert said in output
    assert "Traceback" not in output
