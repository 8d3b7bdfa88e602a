"""Eight calls for which threads do not pay, as the cost of their barrier is planted.

usage: call_without_threads.py CALL; prints the cost that is measured afterwards
"""

import json
import sys

import numpy as np

import culpa
from culpa import _core

X, y = np.ones((2000, 50), np.float32), np.zeros(2000, int)
layers = [culpa.Dense(64, "relu"), culpa.Dense(3)]
model = culpa.Sequential(layers, loss="cross_entropy", input_size=50)
CALLS = {
    "fit": lambda: model.fit(X, y, epochs=1, verbose=False),
    "predict": lambda: model.predict(X),
    "blame": lambda: model.blame(X, y, want=["losses"]),
    "influence": lambda: model.influence(X, y, X[:50], y[:50]),
}
_core.set_barrier_seconds(2, 1.0)
for _ in range(8):
    CALLS[sys.argv[1]]()
print(json.dumps(_core.barrier_seconds(2)))
