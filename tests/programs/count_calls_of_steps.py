"""The C library's functions that are called while a model is built, and while it takes steps.

usage: count_calls_of_steps.py LIBRARY COUNTS FUNCTION...; COUNTS is a JSON list; prints JSON
LIBRARY counts the calls of the functions, and stands before the C library.
"""

import ctypes
import gc
import json
import sys

import numpy as np

import culpa
from culpa import _core
from culpa.bench.sides.culpa_side import make_model
from culpa.bench.workloads import WORKLOADS, Problem

gc.disable()
path, counts, *names = sys.argv[1:]
COUNTS = json.loads(counts)
library = ctypes.CDLL(path)
counters = [ctypes.c_long.in_dll(library, f"calls_of_{name}") for name in names]


def count(work):
    before = [counter.value for counter in counters]
    work()
    after = [counter.value for counter in counters]
    return dict(zip(names, (b - a for a, b in zip(before, after, strict=True)), strict=True))


def train(steps):
    job = jobs[steps]
    done, stop, _ = core.train(job)
    assert (done, stop) == (steps, "finished"), (done, stop)


workload = WORKLOADS["tiny"]
problem = Problem(workload)
core = make_model(workload.shape)._network.core
core.set_optimizer(culpa.Adam().for_core())
examples = _core.ExampleArrays(
    problem.X,
    labels=problem.y.astype(np.int32),
    order=np.resize(problem.order, max(COUNTS) * workload.batch),
)
# One call into the core takes all steps of a count. Its time is limited, as in fit, so that the
# clock is read, but never up.
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
    count(lambda steps=steps: train(steps))
building = count(lambda: make_model(workload.shape)._network.core)
training = [count(lambda steps=steps: train(steps)) for steps in COUNTS]
print(json.dumps({"building": building, "steps": training}))
