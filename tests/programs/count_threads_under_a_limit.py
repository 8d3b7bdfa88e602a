"""How many threads a fit starts under a limit of threadpoolctl, and without one; prints JSON.

usage: count_threads_under_a_limit.py MODULE...; the modules are imported in this order
That is: the threads begun under the limit, those begun at last, whether the bits are the same,
and how many threads culpa takes afterwards.
"""

import importlib
import json
import os
import sys

import numpy as np

for name in sys.argv[1:]:
    importlib.import_module(name)
import threadpoolctl  # noqa: E402

import culpa  # noqa: E402

rng = np.random.default_rng(0)
X, y = rng.normal(size=(4000, 256)).astype("f4"), rng.integers(0, 10, 4000)


def model():
    layers = [culpa.Dense(512, "relu"), culpa.Dense(10)]
    return culpa.Sequential(layers, loss="cross_entropy", input_size=256)


def threads():
    return len(os.listdir("/proc/self/task"))


culpa._core.set_barrier_seconds(3, 1e-6)
culpa._core.set_barrier_seconds(2, 1e-6)
before = threads()
with threadpoolctl.threadpool_limits(1):
    first = model()
    first.fit(X, y, epochs=1, verbose=False)
    first.predict(X)
limited = threads() - before
second = model()
second.fit(X, y, epochs=1, verbose=False)
same = first.layers[0].weight.tobytes() == second.layers[0].weight.tobytes()
print(json.dumps([limited, threads() - before, same, culpa.get_num_threads()]))
