"""Memory that runs out in any small allocation is a MemoryError, and the model is as before."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

import helpers
import toolchain


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or not shutil.which("g++"), reason="needs glibc and g++"
)
@pytest.mark.skipif("CULPA_SANITIZED" in os.environ, reason="the sanitizer has its own allocator")
@pytest.mark.parametrize("threads", ["1", "2"])
def test_any_allocation_may_fail(threads: str, tmp_path: Path) -> None:
    library = tmp_path / "fail_allocations.so"
    source = Path(__file__).with_name("fail_allocations.cpp")
    compiler = ["g++", "-O1", "-shared", "-fPIC", str(source), "-o", str(library)]
    subprocess.run(compiler, check=True, env=toolchain.ENVIRONMENT)
    answer = helpers.last_json_of(
        "run_out_of_memory.py", library, threads, timeout=600, LD_PRELOAD=str(library)
    )
    for call, ends in answer.items():
        assert ends.get("MemoryError", 0) >= 2, call
        assert set(ends) <= {"MemoryError", "finished"}, (call, ends)
