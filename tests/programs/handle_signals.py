"""A signal handler uses the models of the call that it interrupts.

usage: handle_signals.py CALL ACTION THREADS; prints JSON
"""

import json
import os
import signal
import sys
import time

import numpy as np

import culpa

call, action, threads = sys.argv[1:]
culpa.set_num_threads(int(threads))
small = bool(os.environ.get("CULPA_SANITIZED"))  # the sanitizers take longer
rng = np.random.default_rng(0)
BATCH, STEPS = (2048 if small else 4096), 3
X = rng.integers(-8, 8, (BATCH * STEPS, 64)).astype(np.float32) / 8
y = np.arange(len(X)) % 10
TRAINS = call.startswith("fit")
EVERY = 0.12  # seconds; a step takes longer


def make(seed=0):
    layers = [culpa.Dense(768, "relu"), culpa.Dense(768, "relu"), culpa.Dense(10)]
    return culpa.Sequential(layers, "cross_entropy", input_size=64, seed=seed)


class Note(culpa.Callback):
    """The weights after each step, as a handler may find them."""

    every_steps = 1

    def __init__(self):
        self.states = []

    def on_step(self, training):
        self.states.append(training.model._network.core.copy_parameters())


OPTIONS = {"epochs": 1, "batch_size": BATCH, "verbose": False}
models = [make(0), make(1)]
TRAINED = models if call == "fit many" else models[:1]
another = make(2)
another.fit(X[:BATCH], y[:BATCH], **OPTIONS)
state = models[0].state_dict()
start = [model._network.core.copy_parameters() for model in models]

expected = []  # [model][step]: without any signal
for i, model in enumerate(models):
    note, copy = Note(), model.copy()
    if TRAINS:
        copy.fit(X, y, callbacks=note, **OPTIONS)
    expected.append([start[i], *note.states])

CALLS = {
    "fit": lambda: models[0].fit(X, y, **OPTIONS),
    "fit many": lambda: culpa.fit_many(models, X, y, **OPTIONS),
    "fit private": lambda: models[0].fit(
        X, y, privacy=culpa.Privacy(0.0, 1e9, 1e-5, sampling="shuffle"), **OPTIONS
    ),
    "predict": lambda: models[0].predict_logits(np.tile(X, (12, 1))),
    "evaluate": lambda: models[0].evaluate(np.tile(X, (12, 1)), np.tile(y, 12))["loss"],
    "blame": lambda: models[0].blame(X, y, want=("losses", "weights")).losses,
    "attribute": lambda: models[0].attribute(X[:500], target=0).values,
    "influence": lambda: models[0].influence(X, y, X[:3000], y[:3000]).scores,
}
answer = {"handled": 0, "inside": 0, "errors": [], "whole": True, "child": None}


def steps_of(model, i):
    """After which step these weights are; -1: none."""
    flat = model._network.core.copy_parameters()
    return next((k for k, one in enumerate(expected[i]) if np.array_equal(one, flat)), -1)


def read():
    seen = [steps_of(model, i) for i, model in enumerate(TRAINED)]
    copy = models[0].copy()
    answer["whole"] &= seen[0] >= 0 and len(set(seen)) == 1
    answer["whole"] &= (
        not TRAINS or copy._network.core.steps == seen[0] == copy._network.core.moments()[2]
    )
    models[0].predict(X[:5])
    models[0].blame(X[:5], y[:5])
    models[0].evaluate(X[:5], y[:5])
    models[0].save(os.path.join(os.environ["SAVE_IN"], "model.safetensors"))


def write():
    changes = [
        lambda: models[0].load_state_dict(state),
        lambda: setattr(models[0].layers[0], "bias", np.zeros(768)),
    ]
    if TRAINS:
        changes.append(lambda: models[0].fit(X[:10], y[:10], **OPTIONS))
    for change in changes:
        try:
            change()
            answer["errors"].append("none")
        except RuntimeError as error:
            answer["errors"].append(str(error))


def train_another():
    another.fit(X[:100], y[:100], **OPTIONS)


forked = False


def fork():
    global forked
    if forked or IN_CHILD:
        return
    forked = True
    child = os.fork()
    if child == 0:
        signal.setitimer(signal.ITIMER_REAL, 0)
        globals()["IN_CHILD"] = True
        if action == "fork and exit":
            models[0].predict(X[:5])
            os._exit(0)
        return  # and goes on with the call
    if action == "fork and exit":
        answer["child"] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    else:
        answer["child"] = child


IN_CHILD = False
ACTIONS = {
    "read": read,
    "write": write,
    "train another": train_another,
    "fork and exit": fork,
    "fork and go on": fork,
    "nothing": lambda: None,
}


def handle(signum, frame):
    global busy
    if busy:  # handlers interrupt each other, too
        return
    busy = True
    answer["handled"] += 1
    answer["inside"] += frame.f_code.co_filename != __file__
    ACTIONS[action]()
    busy = False


busy = False


models[0].save(os.path.join(os.environ["SAVE_IN"], "model.safetensors"))  # imports what it needs
quiet = None if TRAINS else CALLS[call]()
signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, EVERY, EVERY)
began = time.perf_counter()
result = CALLS[call]()
answer["seconds"] = time.perf_counter() - began
signal.setitimer(signal.ITIMER_REAL, 0)
if TRAINS:
    answer["same"] = all(
        np.array_equal(model._network.core.copy_parameters(), expected[i][-1])
        for i, model in enumerate(TRAINED)
    )
else:
    answer["same"] = bool(np.array_equal(result, quiet))
if IN_CHILD:
    os._exit(0 if answer["same"] else 1)
if action == "fork and go on" and answer["child"]:
    answer["child"] = os.waitstatus_to_exitcode(os.waitpid(answer["child"], 0)[1])
models[0].fit(X[:100], y[:100], **OPTIONS)  # nothing is left locked
models[0].load_state_dict(state)
print(json.dumps(answer))
