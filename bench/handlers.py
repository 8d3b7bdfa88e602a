"""What signal handlers cost a fit: a timer every 10 ms beside steps of some 400 ms.

A handler that returns costs no step. Promised: the same bits, and at most 1.1 times the time. Fits
with the timer and without take turns; printed are the medians of the ratio, round by round, with
quartiles, of one model and of two side by side.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time

import numpy as np

import culpa
from culpa.bench import machine

PROMISED = 1.1
EVERY = 0.01


def make(seed: int) -> culpa.Sequential:
    """Return a model whose step of 4,096 rows takes long."""
    layers = [culpa.Dense(768, "relu"), culpa.Dense(768, "relu"), culpa.Dense(10)]
    return culpa.Sequential(layers, "cross_entropy", input_size=64, seed=seed)


def fit(models: list[culpa.Sequential], rows: int, steps: int) -> tuple[float, list[np.ndarray]]:
    """Train copies; return the seconds of a step, and the weights."""
    copies = [model.copy() for model in models]
    X = np.random.default_rng(0).integers(-8, 8, (rows * steps, 64)).astype(np.float32) / 8
    y = np.arange(len(X)) % 10
    began = time.perf_counter()
    if len(copies) == 1:
        copies[0].fit(X, y, epochs=1, batch_size=rows, verbose=False)
    else:
        culpa.fit_many(copies, X, y, epochs=1, batch_size=rows)
    taken = time.perf_counter() - began
    return taken / steps, [copy.state_dict()["dense_0.weight"] for copy in copies]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.4, help="of a step, about")
    options = parser.parse_args()
    if not hasattr(signal, "setitimer"):
        sys.exit("needs setitimer, which this system lacks")
    culpa.set_num_threads(options.threads)
    calls = 0

    def handle(number: int, frame: object) -> None:
        nonlocal calls
        calls += 1

    signal.signal(signal.SIGALRM, handle)
    print(machine.headline(machine.describe()))
    for count in (1, 2):
        models = [make(seed) for seed in range(count)]
        fit(models, 512, 1)
        rows = max(512, int(512 * options.seconds / fit(models, 512, 2)[0]))
        ratios, plain, calls = [], [], 0
        for _ in range(options.rounds):
            seconds, expected = fit(models, rows, 4)
            signal.setitimer(signal.ITIMER_REAL, EVERY, EVERY)
            disturbed, weights = fit(models, rows, 4)
            signal.setitimer(signal.ITIMER_REAL, 0)
            same = all(map(np.array_equal, weights, expected))
            assert same, "a handler changed the weights"
            ratios.append(disturbed / seconds)
            plain.append(seconds)
        low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
        print(
            f"{count} model{'s' * (count > 1)}: steps of {np.median(plain) * 1e3:.0f} ms, with a "
            f"handler every 10 ms {middle:.3f} times ({low:.3f} to {high:.3f}), {calls} calls, "
            f"the same bits{'' if middle <= PROMISED else f'; promised: {PROMISED}'}"
        )


if __name__ == "__main__":
    main()
