"""What a terminal shows while a model trains.

usage: train_on_a_terminal.py WAY
"""

import os
import sys

import numpy as np

import culpa

X = np.random.default_rng(0).normal(size=(40, 3))
y = (X[:, 0] > 0).astype(int)
model = culpa.Sequential([culpa.Dense(2)], loss="cross_entropy")


def fail(_):
    raise ZeroDivisionError


class FailsAtOnce(culpa.Callback):
    """As soon as training begins."""

    def on_fit_begin(self, training):
        fail(training)


def train():
    history = model.fit(X, y, epochs=3, validation_data=(X, y))
    print(f"last loss {history.loss[-1]:.4f}")


def train_quietly(**options):
    model.fit(X, y, **options)
    print("end")


def train_and_fail(callbacks):
    try:
        model.fit(X, y, callbacks=callbacks)
    except ZeroDivisionError:
        print("failed", flush=True)
    os._exit(0)  # no clean-up at exit that would hide it


WAYS = {
    "as is": train,
    "in silence": lambda: train_quietly(verbose=False),
    "no epochs": lambda: train_quietly(epochs=0),
    "a failure in a callback's epoch end": lambda: train_and_fail(fail),
    "a failure in a callback's beginning": lambda: train_and_fail(FailsAtOnce()),
}
WAYS[sys.argv[1]]()
