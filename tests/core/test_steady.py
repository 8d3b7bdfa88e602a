"""A training step costs what it computes: it allocates nothing and takes no lock.

A small library that counts such calls is compiled here and loaded before the C library into a
Python that trains; see count_calls.cpp.
"""

import json
import os
import platform
import shutil
from pathlib import Path
from typing import Any

import pytest

import helpers
import toolchain
from culpa.bench.machine import thread_environment

SOURCE = Path(__file__).with_name("count_calls.cpp")
ALLOCATOR = ("malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign", "free")
WAYS = ("", "try", "timed", "clock")
LOCKS = (
    *(f"pthread_mutex_{way}lock" for way in WAYS),
    *(f"pthread_rwlock_{way}{side}lock" for side in ("rd", "wr") for way in WAYS),
    "futex",
)

pytestmark = [
    pytest.mark.skipif(
        platform.libc_ver()[0] != "glibc", reason="counts by standing in front of glibc"
    ),
    pytest.mark.skipif(
        "CULPA_SANITIZED" in os.environ or "LD_PRELOAD" in os.environ,
        reason="a sanitizer, or whatever LD_PRELOAD names, stands there already",
    ),
]


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The calls while a model is built, and while it takes 1,000 steps and 11,000."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed")
    library = tmp_path_factory.mktemp("steady") / "count_calls.so"
    options = ["-std=c++20", "-O1", "-fPIC", "-shared"]
    toolchain.call(compiler, *options, SOURCE, "-o", library, "-ldl")
    # One thread for all: the counters count the whole process, and NumPy's library has locks too.
    answer: dict[str, Any] = helpers.last_json_of(
        "count_calls_of_steps.py",
        library,
        json.dumps([1_000, 11_000]),
        *(ALLOCATOR + LOCKS),
        LD_PRELOAD=str(library),
        **thread_environment(1),
    )
    return answer


def test_a_step_allocates_nothing_and_takes_no_lock(counted: dict[str, Any]) -> None:
    """What a call costs, it costs once, however many steps it takes."""
    few, many = counted["steps"]
    assert many == few


def test_the_counters_see_the_allocations_and_the_locks_of_the_core(
    counted: dict[str, Any],
) -> None:
    """Else the test above looks at the wrong thing."""
    building, call = counted["building"], counted["steps"][0]
    assert building["malloc"] > 0
    assert building["aligned_alloc"] + building["posix_memalign"] > 0  # the core's buffers
    # Training locks out whoever reads the weights.
    assert sum(call[f"pthread_rwlock_{way}wrlock"] for way in WAYS) > 0
