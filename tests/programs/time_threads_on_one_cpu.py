"""How much longer eight threads take than one where all share a CPU; prints ratios as JSON.

usage: time_threads_on_one_cpu.py SIZES
SIZES is a JSON object of rows, inputs, width, batch, epochs and forced threads (0: none are).
"""

import json
import os
import sys
import time

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before the libraries count the CPUs
import numpy as np  # noqa: E402

import culpa  # noqa: E402
from culpa import _core  # noqa: E402

sizes = json.loads(sys.argv[1])
rng = np.random.default_rng(0)
X = rng.normal(size=(sizes["rows"], sizes["inputs"])).astype(np.float32)
y = rng.integers(0, 3, sizes["rows"])
hidden = [culpa.Dense(sizes["width"], "relu") for _ in range(2)]
model = culpa.Sequential([*hidden, culpa.Dense(3)], loss="cross_entropy")


def work():
    model.fit(X, y, epochs=sizes["epochs"], batch_size=sizes["batch"], verbose=False)
    model.predict(X)


def seconds(threads):
    culpa.set_num_threads(threads)
    _core.force_plan(0 if threads == 1 else sizes["forced"])
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


seconds(1), seconds(8)  # what happens once
ratios = []
for _ in range(7):
    before, many, after = seconds(1), seconds(8), seconds(1)
    ratios.append(2 * many / (before + after))
print(json.dumps(ratios))
