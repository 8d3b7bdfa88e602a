"""A training step costs what it computes: it allocates nothing and takes no lock.

A small library that counts such calls is compiled here and loaded before the C library into a
Python that trains; see count_calls.cpp.
"""

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

# One call into the core takes all steps of a count. Its time is limited, as in fit, so that the
# clock is read, but never up.
TRAIN = """
import ctypes, gc, json
import numpy as np
import culpa
from culpa import _core
from culpa.bench.sides.culpa_side import make_model
from culpa.bench.workloads import WORKLOADS, Problem

gc.disable()
library = ctypes.CDLL(LIBRARY)
counters = [ctypes.c_long.in_dll(library, f"calls_of_{name}") for name in NAMES]


def count(work):
    before = [counter.value for counter in counters]
    work()
    after = [counter.value for counter in counters]
    return dict(zip(NAMES, (b - a for a, b in zip(before, after))))


def train(steps):
    job = jobs[steps]
    done, stop, _ = core.train(job)
    assert (done, stop) == (steps, "finished"), (done, stop)


workload = WORKLOADS["tiny"]
problem = Problem(workload)
core = make_model(workload.shape)._built()
core.set_optimizer(culpa.Adam()._core())
examples = _core.ExampleArrays(
    problem.X,
    labels=problem.y.astype(np.int32),
    order=np.resize(problem.order, max(COUNTS) * workload.batch),
)
jobs = {
    steps: _core.Job(
        examples,
        offsets=np.arange(steps + 1) * workload.batch,
        learning_rates=np.full(steps, 1e-3),
        seconds=1e9,
        losses=np.zeros(steps),
        weight_sums=np.zeros(steps),
        scores=np.zeros(steps),
    )
    for steps in COUNTS
}
for steps in COUNTS:  # the first makes room
    count(lambda: train(steps))
print(json.dumps({
    "building": count(lambda: make_model(workload.shape)._built()),
    "steps": [count(lambda: train(steps)) for steps in COUNTS],
}))
"""

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
    names = f"LIBRARY, NAMES, COUNTS = {str(library)!r}, {ALLOCATOR + LOCKS}, (1_000, 11_000)\n"
    # One thread for all: the counters count the whole process, and NumPy's library has locks too.
    answer: dict[str, Any] = helpers.last_json(
        names + TRAIN, LD_PRELOAD=str(library), **thread_environment(1)
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
