"""The compiler's process: ended when its program is there, and never waited for in vain."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jaxseg.config import Config
from jaxseg.datasets import Landscape
from jaxseg.errors import UserError
from jaxseg.models import UNet
from jaxseg.pipeline import Data
from jaxseg.planning import compiling
from jaxseg.planning.request import request

CONFIG = Config(model=UNet(num_classes=10, features=2), data=Data(Landscape(), crop=32))

PRETENDED = """\
#!{python}
import json, os, re, sys, time
from pathlib import Path

folder, mode = Path(sys.argv[3]), {mode!r}
assert json.loads((folder / "request.json").read_text())["topology"] == "v5e:1x1"
assert os.environ["JAX_PLATFORMS"] == "cpu"

def fail(kind, message):
    (folder / "failure.json").write_text(json.dumps({{"kind": kind, "message": message}}))
    sys.exit(1)

if mode == "mistake":
    fail("mistake", "Image of 250 pixels: give 256.")
if mode == "refused":
    fail("compiler", "INTERNAL: no tiles")
if mode == "dies":
    sys.stderr.write("out of paper\\n")
    sys.stderr.flush()
    os.abort()
if mode == "hangs":
    time.sleep(60)
(folder / "lowered.json").write_text('{{"parameters": 7}}')
dump = Path(re.search(r"--xla_dump_to=(\\S+)", os.environ["XLA_FLAGS"])[1])
dump.mkdir()
name = "module_0000.jit_train_step.cl_1.after_optimizations"
(dump / f"{{name}}.txt").write_text("the program")
(dump / f"{{name}}-buffer-assignment.txt").write_text(
    "allocation 0: size 400, page 0, parameter 0, shape |f32[100]|:\\n"
)
(dump / f"{{name}}-memory-usage-report.txt").write_text(
    "Memory Space: default (color=0)\\nTotal bytes: 1000 (1000B)\\n"
)
if mode == "too large":
    fail("memory", "RESOURCE_EXHAUSTED: 253.04G exceeds 31.24G")
(dump / f"{{name}}_after_buffer_assignment.txt").write_text("the program")
time.sleep(60)  # the generation of code
"""


@pytest.fixture
def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replaces the compiler's process by a program that does one thing."""

    def as_if(mode: str) -> None:
        program = tmp_path / "pretended"
        program.write_text(PRETENDED.format(python=sys.executable, mode=mode))
        program.chmod(0o755)
        monkeypatch.setattr(compiling.sys, "executable", str(program))
        needed = {"tpu": ("json", "a compiler", "it is there")}
        monkeypatch.setattr(compiling, "NEEDED", needed)

    return as_if


def test_the_process_is_ended_once_its_program_is_there(
    pretend: Callable[[str], None],
) -> None:
    pretend("compiles")
    waited: list[float] = []
    found = compiling.compiled(request(CONFIG, "v5e:1x1"), waiting=waited.append)
    assert (found.text, found.arguments, found.temporaries) == ("the program", 400, 600)
    assert (found.fits, found.parameters) == (True, 7)
    assert found.seconds < 20  # it would sleep for a minute
    assert waited == sorted(waited)
    assert waited


def test_what_is_refused_for_its_memory_is_read_all_the_same(
    pretend: Callable[[str], None],
) -> None:
    pretend("too large")
    found = compiling.compiled(request(CONFIG, "v5e:1x1"))
    assert (found.text, found.fits) == ("the program", False)


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("mistake", r"^Image of 250 pixels: give 256\.$"),
        ("refused", "XLA cannot compile this step for v5e:1x1.*INTERNAL: no tiles"),
        ("dies", r"process for v5e:1x1 ended with code -6[\s\S]*out of paper"),
        ("hangs", "v5e:1x1 has not optimised the step in 1 s"),
    ],
)
def test_a_process_without_a_program_says_why(
    pretend: Callable[[str], None], mode: str, said: str
) -> None:
    pretend(mode)
    began = time.monotonic()
    with pytest.raises(UserError, match=said):
        compiling.compiled(request(CONFIG, "v5e:1x1"), limit=1 if mode == "hangs" else 30)
    assert time.monotonic() - began < 20


def test_the_request_is_json(tmp_path: Path) -> None:
    request(CONFIG, "v5e:1x1").write(tmp_path / "request.json")
    assert json.loads((tmp_path / "request.json").read_text())["bands"] == 4
