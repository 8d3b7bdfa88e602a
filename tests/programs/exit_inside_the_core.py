"""The interpreter ends while a daemon thread is in the middle of a call.

usage: exit_inside_the_core.py CALL THREADS
"""

import sys
import threading
import time

import numpy as np

import culpa

name, threads = sys.argv[1:]
culpa.set_num_threads(int(threads))
rng = np.random.default_rng(0)
X, y = rng.normal(size=(2000, 64)), rng.integers(0, 10, 2000)
layers = [culpa.Dense(128, "relu"), culpa.Dense(10)]
model = culpa.Sequential(layers, loss="cross_entropy", input_size=64)
model.fit(X[:10], y[:10], epochs=1, verbose=False)
ready = threading.Event()
ENDLESS = {"epochs": 10**6, "verbose": False, "callbacks": lambda training: ready.set()}
CALLS = {
    "fit": lambda: model.fit(X, y, **ENDLESS),
    "fit_many": lambda: culpa.fit_many([model, model.copy()], X, y, **ENDLESS),
    "predict": lambda: model.predict(X),
    "one row": lambda: model.predict(X[:1]),
    "evaluate": lambda: model.evaluate(X, y),
    "blame": lambda: model.blame(X, y),
    "attribute": lambda: model.attribute(X),
    "influence": lambda: model.influence(X, y, X, y, top=3),
    "draws": lambda: culpa._core.permutation(300_000, 0, 0, 0),
    "find_not_finite": lambda: culpa._core.find_not_finite(X, "float32"),
}
call = CALLS[name]


def work():
    call()
    ready.set()
    while True:
        call()


threading.Thread(target=work, daemon=True).start()
assert ready.wait(100)
time.sleep(0.02)
