"""Freed memory is kept: allocating it again costs no page faults."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
import numpy as np
from jaxseg.cli.memory import keep_freed_memory
keep_freed_memory()
np.ones(2**27, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(2**27, np.uint8)  # 32768 pages of 4 KiB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_memory_once_freed_is_there_without_page_faults() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert int(answer.stdout) < 100
