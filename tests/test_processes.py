"""Processes: forks in the middle of the core's work, spawn and forkserver, one pinned CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import helpers

TRAIN = """
import hashlib
import numpy as np
import culpa

rng = np.random.default_rng(0)
X, y = rng.normal(size=(400, 30)), rng.integers(0, 5, 400)

def build(seed=0):
    layers = [culpa.Dense(40, "relu"), culpa.Dropout(0.2), culpa.Dense(5)]
    return culpa.Sequential(layers, "cross_entropy", seed=seed, input_size=30)

def digest(model):
    bits = model._network.core.parameters().tobytes() + model.predict_logits(X).tobytes()
    return hashlib.sha256(bits).hexdigest()

def train(model=None):
    model = build() if model is None else model
    model.fit(X, y, epochs=3, verbose=False)
    return digest(model)
"""

FORK = (
    TRAIN
    + """
import json, os, signal, threading, time, warnings
from culpa import _core

_core.force_plan(3, "rows")
expected = train()
over = False
trained, other, read = (build(seed=seed) for seed in (1, 2, 3))
wanted = read.predict(X).tobytes()

def fit_on():
    while not over:
        trained.fit(X, y, epochs=20, batch_size=400, verbose=False)

def fit_another():
    while not over:
        other.fit(X, y, epochs=20, verbose=False)

def blame_on():
    while not over:
        read.blame(X, y)

threads = [threading.Thread(target=work) for work in (fit_on, fit_another, blame_on)]
for thread in threads:
    thread.start()
bad = []
for generation in range(20):
    out, into = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of threads at a fork: here is the proof
        child = os.fork()
    if child == 0:
        signal.alarm(60)  # a child that hangs is ended
        try:
            # What other threads were just working on is free here.
            same = train() == expected and read.predict(X).tobytes() == wanted
            trained.fit(X, y, epochs=1, verbose=False)
            same = same and bool(np.isfinite(trained.predict_logits(X)).all())
            os.write(into, b"same" if same else b"other bits")
        except BaseException as error:
            os.write(into, repr(error).encode())
        finally:
            os._exit(0)
    os.close(into)
    with os.fdopen(out) as answer:
        said = answer.read()
    status = os.waitpid(child, 0)[1]
    if (said, status) != ("same", 0):
        bad.append([generation, said, status])
        break
over = True
for thread in threads:
    thread.join()
print(json.dumps([bad, train() == expected]))
"""
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.skipif(
    "CULPA_SANITIZED" in os.environ,
    reason="a fork may leave the sanitizer's own allocator locked in the child",
)
def test_children_train_that_were_forked_while_threads_are_in_the_core() -> None:
    bad, parent = helpers.last_json(FORK)
    assert bad == []
    assert parent


WORKERS = """
import json, multiprocessing, sys

def work(task):
    kind, model = task
    if kind == "train":
        return train()
    if kind == "go on":
        return train(model)
    return digest(model)

if __name__ == "__main__":
    first = train()  # the team of this process has begun
    model = build(seed=1)
    train(model)
    tasks = [("train", None), ("go on", model), ("answer", model), ("train", None)]
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        answers = pool.map_async(work, tasks).get(timeout=200)
    there = digest(model)
    print(json.dumps([answers, [first, train(model), there, first]]))
"""


@pytest.mark.skipif(os.name != "posix", reason="forkserver is POSIX")
@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_workers_of_multiprocessing_give_the_bits_of_their_parent(
    method: str, tmp_path: Path
) -> None:
    script = tmp_path / "work.py"
    script.write_text(TRAIN + WORKERS)
    result = subprocess.run(
        [sys.executable, str(script), method],
        env={**os.environ, "CULPA_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    answers, expected = json.loads(result.stdout.splitlines()[-1])
    assert answers == expected


PINNED = """
import json, os, statistics, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import numpy as np
import culpa
from culpa import _core

rng = np.random.default_rng(0)
X, y = rng.normal(size=(ROWS, INPUTS)).astype(np.float32), rng.integers(0, 3, ROWS)
layers = [culpa.Dense(WIDTH, "relu"), culpa.Dense(WIDTH, "relu"), culpa.Dense(3)]
model = culpa.Sequential(layers, loss="cross_entropy")

def work():
    model.fit(X, y, epochs=EPOCHS, batch_size=BATCH, verbose=False)
    model.predict(X)

def seconds(threads):
    culpa.set_num_threads(threads)
    _core.force_plan(0 if threads == 1 else FORCED)
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin

seconds(1), seconds(8)  # what happens once
ratios = []
for _ in range(7):
    before, many, after = seconds(1), seconds(8), seconds(1)
    ratios.append(2 * many / (before + after))
print(json.dumps(ratios))
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
@pytest.mark.parametrize(
    ("rows", "inputs", "width", "batch", "epochs", "forced"),
    [
        (2000, 20, 32, 32, 10, 0),  # steps of some microseconds
        (4000, 100, 256, 500, 1, 0),
        (4000, 100, 128, 500, 1, 8),  # though all threads are made to take part
    ],
)
def test_eight_threads_on_one_cpu_take_at_most_three_times_as_long_as_one(
    rows: int, inputs: int, width: int, batch: int, epochs: int, forced: int
) -> None:
    code = PINNED
    for name, value in {
        "ROWS": rows,
        "INPUTS": inputs,
        "WIDTH": width,
        "BATCH": batch,
        "EPOCHS": epochs,
        "FORCED": forced,
    }.items():
        code = code.replace(name, str(value))
    ratios = helpers.last_json(code)
    assert sorted(ratios)[len(ratios) // 2] <= 3, ratios
