"""Training ends by Ctrl-C, and the model is that of as many whole steps.

usage: interrupt_training.py "short steps"|"long steps"
Prints "training" when the signal may come, and at the end JSON.
"""

import json
import sys
import threading
import time

import numpy as np

import culpa

rng = np.random.default_rng(0)
if sys.argv[1] == "short steps":
    n, widths, batch, begun = 20000, [64], 50, 1000
else:  # a step takes half a second or so, an epoch two
    n, widths, batch, begun = 16384, [1024, 1024], 8192, 1
X = rng.normal(size=(n, 64)).astype(np.float32)
y = rng.integers(0, 3, n)


def build():
    layers = [culpa.Dense(width, "relu") for width in widths]
    return culpa.Sequential([*layers, culpa.Dense(3)], loss="cross_entropy", input_size=64)


class Tell(culpa.Callback):
    """When training has begun, and how often it ended."""

    every_steps = begun
    ended = 0

    def on_step(self, training):
        if training.step == begun:
            print("training", flush=True)

    def on_fit_end(self, training):
        self.ended += 1


class StopAt(culpa.Callback):
    """After so many steps."""

    def __init__(self, step):
        self.every_steps = step

    def on_step(self, training):
        training.stop()


model, tell = build(), Tell()
try:
    model.fit(X, y, epochs=10**6, batch_size=batch, callbacks=tell, verbose=False)
except KeyboardInterrupt:
    stopped = time.monotonic()
    history, steps = model.history, model._network.core.steps
    uninterrupted = build()
    uninterrupted.fit(X, y, epochs=10**6, batch_size=batch, callbacks=StopAt(steps), verbose=False)
    weights, same = model._network.core.parameters(), uninterrupted._network.core.parameters()
    answer = {
        "stopped at": stopped,
        "steps": steps,
        "stopped": history.stopped,
        "epochs": history.epochs,
        "columns": sorted({len(column) for column in history.values()}),
        "ended": tell.ended,
        "bits of as many whole steps": bool(np.array_equal(weights, same)),
        "history of as many epochs": (
            history.epochs == 0 or history.loss == uninterrupted.history.loss[: history.epochs]
        ),
        "predicts": model.predict(X[:10]).shape == (10,),
        "trains on": model.fit(X[:100], y[:100], epochs=1).epochs,
    }

    def train_elsewhere():
        answer["elsewhere"] = model.fit(X[:100], y[:100], epochs=1).epochs

    other = threading.Thread(target=train_elsewhere)
    other.start()
    other.join()
    print(json.dumps(answer), flush=True)
    raise
