"""Golden runs: parameters after 200 steps on ten configurations, hashed per instruction set.

    python tests/golden/runs.py                     prints the hashes of this process
    python tests/golden/runs.py --record "reason"   writes hashes.json anew, with the reason

Data are made of integers, and the core's scalar functions are its own, so the bits depend on our
code and on the instruction set alone. An instruction set that this machine lacks keeps no hash
where the hashes change: a machine that has it must record them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import culpa
from culpa import Dense, Dropout, _core

HASHES = Path(__file__).with_name("hashes.json")
STEPS = 200
PLANS = ((1, "rows"), (3, "rows"), (3, "columns"))  # threads, and what they share out

Array = NDArray[Any]


def fractions(rows: int, columns: int, prime: int) -> Array:
    """Return numbers in [-1, 1) that look random, from integers."""
    i = np.arange(1, rows + 1, dtype=np.int64)[:, None]
    j = np.arange(1, columns + 1, dtype=np.int64)
    values = (i * 7919 + j * 104729 + i * i * j * 31) % prime
    return (values * (values + 17) % prime) / (prime / 2) - 1.0


def classes(X: Array, count: int) -> Array:
    """Return labels that a network can learn, and some that it cannot."""
    best = (X[:, :count] + X[:, count : 2 * count]).argmax(axis=1)  # no sums: NumPy's may differ
    best[::11] = np.arange(len(best[::11])) % count
    return best


def plain_classifier() -> tuple[culpa.Sequential, dict[str, Any]]:
    model = culpa.Sequential(
        [Dense(37, "relu"), Dense(16, "relu", initializer="he_normal"), Dense(5)],
        loss="cross_entropy",
        seed=1,
    )
    X = fractions(640, 13, 9973)
    return model, {"X": X, "y": classes(X, 5), "batch_size": 32, "epochs": 10}


def clipped_float64() -> tuple[culpa.Sequential, dict[str, Any]]:
    model = culpa.Sequential(
        [Dense(23, "tanh", initializer="lecun_normal"), Dense(19, "softplus"), Dense(3)],
        loss="mse",
        seed=2,
        dtype="float64",
    )
    X = fractions(1000, 7, 9931)
    optimizer = culpa.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.01)
    y = X[:, :3] * X[:, 3:6] + X[:, 6:]
    return model, {
        "X": X, "y": y, "batch_size": 50, "epochs": 10, "optimizer": optimizer, "clip_norm": 0.5,
    }  # fmt: skip


def dropout_and_cosine() -> tuple[culpa.Sequential, dict[str, Any]]:
    model = culpa.Sequential(
        [Dropout(0.2), Dense(33, "gelu"), Dropout(0.4), Dense(17, "silu"), Dense(4)],
        loss="binary_cross_entropy",
        seed=3,
    )
    X = fractions(500, 20, 9949)
    return model, {
        "X": X,
        "y": (X[:, :4] + X[:, 4:8] > 0).astype(np.int64),
        "batch_size": 25,
        "epochs": 10,
        "optimizer": culpa.AdamW(0.005, weight_decay=0.02),
        "schedule": culpa.Cosine(warmup=0.1),
    }


def robust_float64() -> tuple[culpa.Sequential, dict[str, Any]]:
    model = culpa.Sequential(
        [Dense(29, "elu"), Dense(11, "mish"), Dense(1)],
        loss=culpa.Huber(0.7),
        seed=4,
        dtype="float64",
    )
    X = fractions(401, 9, 9967)
    return model, {
        "X": X.astype(np.float16),
        "y": X[:, 0] + X[:, 1] * X[:, 2],
        "batch_size": 41,
        "epochs": 20,
        "optimizer": culpa.RMSprop(0.003, momentum=0.5),
        "schedule": culpa.StepDecay(4, 0.5),
    }


def counts_with_weights() -> tuple[culpa.Sequential, dict[str, Any]]:
    model = culpa.Sequential(
        [Dense(24, "sigmoid"), Dense(8, "leaky_relu"), Dense(2)], loss="poisson", seed=5
    )
    X = fractions(800, 6, 9973)
    return model, {
        "X": X,
        "y": (np.abs(X[:, :2]) * 7).astype(np.int64),
        "sample_weight": 1.0 + np.arange(800) % 5,
        "batch_size": 40,
        "epochs": 10,
        "optimizer": culpa.Adam(0.01),
        "schedule": "one_cycle",
    }


def held_out_quantile() -> tuple[culpa.Sequential, dict[str, Any]]:
    model = culpa.Sequential(
        [Dense(31, "gelu_tanh"), Dense(1)], loss=culpa.Quantile(0.8), seed=6, input_scale=0.5
    )
    X = fractions(1250, 10, 9941)
    return model, {
        "X": X,
        "y": X[:, 0] * X[:, 1] - X[:, 2],
        "validation_split": 0.2,
        "early_stopping": culpa.EarlyStopping(patience=9),
        "batch_size": 50,
        "epochs": 10,
        "optimizer": culpa.SGD(0.1, momentum=0.5),
        "clip_norm": 1.0,
    }


def wide_with_class_weights() -> tuple[culpa.Sequential, dict[str, Any]]:
    model = culpa.Sequential(
        [Dense(260, "relu", initializer="he_uniform"), Dense(130, "tanh"), Dense(10)],
        loss=culpa.CrossEntropy(label_smoothing=0.1),
        seed=7,
        input_scale=1 / 255,
    )
    X = ((fractions(400, 100, 9929) + 1) * 127).astype(np.uint8)
    return model, {
        "X": X,
        "y": np.arange(400) * np.arange(400) % 10,
        "class_weight": {k: 1.0 + k / 4 for k in range(10)},
        "batch_size": 20,
        "epochs": 10,
        "optimizer": culpa.Adam(0.002, beta_1=0.8, weight_decay=0.001),
    }


def private() -> tuple[culpa.Sequential, dict[str, Any]]:
    model = culpa.Sequential([Dense(20, "relu"), Dense(3)], loss="cross_entropy", seed=8)
    X = fractions(600, 12, 9973)
    return model, {
        "X": X,
        "y": classes(X, 3),
        "privacy": culpa.Privacy(noise_multiplier=0.8, max_grad_norm=1.0, delta=1e-5, seed=5),
        "batch_size": 30,
        "epochs": 10,
        "optimizer": culpa.SGD(0.2),
    }


def sparse_float64() -> tuple[culpa.Sequential, dict[str, Any]]:
    import scipy.sparse

    model = culpa.Sequential(
        [Dense(18, "relu"), Dropout(0.3), Dense(6)], loss="cross_entropy", seed=9, dtype="float64"
    )
    X = fractions(500, 200, 9923)
    X[np.abs(X) < 0.9] = 0.0
    return model, {
        "X": scipy.sparse.csr_array(X),
        "y": classes(X, 6),
        "batch_size": 25,
        "epochs": 10,
        "optimizer": culpa.Adam(0.01),
    }


def full_batches() -> tuple[culpa.Sequential, dict[str, Any]]:
    model = culpa.Sequential([Dense(40, "relu"), Dense(40, "relu"), Dense(2)], loss="mae", seed=10)
    X = fractions(3000, 8, 9973)
    return model, {
        "X": np.asfortranarray(X, np.float32),
        "y": np.abs(X[:, :2]) - X[:, 2:4],
        "batch_size": 3000,
        "epochs": STEPS,
        "shuffle": False,
        "optimizer": culpa.AdamW(0.003),
        "schedule": culpa.ExponentialDecay(0.99),
        "clip_norm": 2.0,
    }


RUNS: dict[str, Callable[[], tuple[culpa.Sequential, dict[str, Any]]]] = {
    run.__name__: run
    for run in (
        plain_classifier,
        clipped_float64,
        dropout_and_cosine,
        robust_float64,
        counts_with_weights,
        held_out_quantile,
        wide_with_class_weights,
        private,
        sparse_float64,
        full_batches,
    )
}


def hash_of(name: str) -> str:
    """Return the hash of a run's parameters, the same for every plan, or raise."""
    hashes = []
    for threads, shared in PLANS:
        _core.force_plan(threads, shared)
        model, options = RUNS[name]()
        model.fit(**options, verbose=False)
        flat = b"".join(array.tobytes() for array in model.state_dict().values())
        hashes.append(hashlib.sha256(flat).hexdigest()[:32])
    _core.force_plan(0)
    if len(set(hashes)) > 1:
        raise AssertionError(
            f"{name}: other bits with another plan: {dict(zip(PLANS, hashes, strict=True))}"
        )
    return hashes[0]


def hashes_here() -> dict[str, str]:
    """Return the hash of each run that this environment can do."""
    found = {}
    for name in RUNS:
        try:
            found[name] = hash_of(name)
        except ModuleNotFoundError:  # SciPy
            continue
    return found


def record(reason: str) -> None:
    """Write the hashes of every instruction set of this CPU."""
    hashes = {}
    for isa in _core.instruction_sets():
        answer = subprocess.run(
            [sys.executable, __file__],
            env={**os.environ, "CULPA_FORCE_ISA": isa},
            stdout=subprocess.PIPE,
            check=True,
        )
        hashes[isa] = json.loads(answer.stdout)
        missing = sorted(set(RUNS) - set(hashes[isa]))
        if missing:
            raise SystemExit(f"{missing}: install what these runs need first")
    before = json.loads(HASHES.read_text()) if HASHES.exists() else {"reasons": []}
    said = {"reasons": [*before["reasons"], reason], "hashes": hashes}
    HASHES.write_text(json.dumps(said, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--record", metavar="REASON")
    reason = parser.parse_args().record
    if reason:
        record(reason)
    else:
        print(json.dumps(hashes_here(), indent=2))
