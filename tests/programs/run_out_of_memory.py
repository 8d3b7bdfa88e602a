"""Each allocation of a call fails, one after the other, in a child of its own; prints JSON.

usage: run_out_of_memory.py LIBRARY THREADS
"""

import collections
import ctypes
import json
import os
import sys

import numpy as np

import culpa
from culpa import _core
from culpa.answers.blame import QUANTITIES

library = ctypes.CDLL(sys.argv[1])
library.arm.argtypes = [ctypes.c_long]
library.count.restype = ctypes.c_long
culpa.set_num_threads(int(sys.argv[2]))
rng = np.random.default_rng(0)
X, y = rng.normal(size=(300, 20)), rng.integers(0, 3, 300)
LAYERS = [culpa.Dense(16, "tanh"), culpa.Dense(3)]
one, other = (culpa.Sequential(LAYERS, "cross_entropy", input_size=20) for _ in range(2))
one.fit(X, y, epochs=1, verbose=False)
state = one.state_dict()
CALLS = {
    "predict": lambda: one.predict_logits(X),
    "evaluate": lambda: one.evaluate(X, y),
    "blame": lambda: one.blame(X, y, want=QUANTITIES),
    "attribute": lambda: one.attribute(X, target=0),
    "influence": lambda: one.influence(X, y, X, y, top=3),
    "fit": lambda: one.fit(X, y, epochs=1, verbose=False),
    "fit_many": lambda: culpa.fit_many([one, other], X, y, epochs=1),
    "load_state_dict": lambda: one.load_state_dict(state),
    "Sequential": lambda: culpa.Sequential(LAYERS, "cross_entropy", input_size=20),
    "copy": lambda: one.copy(),
    "permutation": lambda: _core.permutation(1000, 0, 0, 0),
    "validation_order": lambda: _core.validation_order(1000, 0),
    "poisson_batches": lambda: _core.poisson_batches(1000, 0.1, 0, 0, 5),
}
NAMES = ("finished", "MemoryError", "another error", "changed", "all done")


def run_once(call, n):
    """In a child: 0 where the call finished all the same, 1 after a MemoryError, ..."""
    before = one._network.core.copy_parameters()
    enough = False
    try:
        library.arm(n)
        try:
            call()
        finally:
            enough = library.count() <= n
            library.arm(-1)
        return 4 if enough else 0
    except MemoryError:
        trains = call in (CALLS["fit"], CALLS["fit_many"])
        same = np.array_equal(before, one._network.core.copy_parameters())
        one.predict(X[:3])
        one.fit(X[:3], y[:3], epochs=1, verbose=False)  # not locked
        return 1 if same or trains else 3
    except BaseException:
        return 2


answer = {}
for name, call in CALLS.items():
    call()
    ends = collections.Counter()
    for n in range(1000):
        child = os.fork()
        if child == 0:
            os._exit(run_once(call, n))
        end = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if end == 4:
            break
        ends[NAMES[end] if end >= 0 else f"signal {-end}"] += 1
    answer[name] = ends
print(json.dumps(answer))
