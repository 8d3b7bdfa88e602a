"""What targets cost beside class indices on small networks, and a look for NaN beside NumPy's.

Sides take turns, and the least time of each counts: a busy machine changes the times, hardly the
ratios. What is printed is the time of a row and epoch, then the ratio to class indices with as many
outputs as the targets have; expected: at most 1.15.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import culpa
from culpa import _core

ROWS, EPOCHS = 200_000, 3
rng = np.random.default_rng(0)


def least(sides: Sequence[Callable[[], Any]], rounds: int) -> list[float]:
    """Return the least seconds of each side."""
    best = [np.inf] * len(sides)
    for _ in range(rounds):
        for i, side in enumerate(sides):
            begin = time.process_time()
            side()
            best[i] = min(best[i], time.process_time() - begin)
    return best


def fits(loss: str, outputs: int, X: Any, y: Any) -> list[Callable[[], Any]]:
    """Return fits of one epoch and of more: the difference is without what a fit costs once."""
    layers = [culpa.Dense(32, "relu"), culpa.Dense(outputs)]
    model = culpa.Sequential(layers, loss, input_size=X.shape[1])
    return [
        lambda epochs=epochs: model.fit(X, y, epochs=epochs, batch_size=1000, verbose=False)
        for epochs in (1, 1 + EPOCHS)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    culpa.set_num_threads(1)
    X = rng.normal(size=(ROWS, 10)).astype(np.float32)
    for outputs in (2, 10):
        y = rng.integers(0, outputs, ROWS)
        one_hot = np.eye(outputs, dtype=np.float32)[y]
        values = rng.normal(size=(ROWS, outputs)).astype(np.float32)
        sides = {
            "class indices": ("cross_entropy", outputs, y),
            "float32 one-hot": ("cross_entropy", outputs, one_hot),
            "float64 one-hot": ("cross_entropy", outputs, one_hot.astype(np.float64)),
            "one-hot, by column": ("cross_entropy", outputs, np.asfortranarray(one_hot)),
            "mse, float32": ("mse", outputs, values),
            "mse, float64": ("mse", outputs, values.astype(np.float64)),
            "binary, bool": ("binary_cross_entropy", outputs, one_hot > 0),
        }
        if outputs == 2:  # one output costs less than two classes
            sides |= {
                "binary, int64 (n,)": ("binary_cross_entropy", 1, y),
                "binary, float32 (n,)": ("binary_cross_entropy", 1, y.astype(np.float32)),
                "mse, float32 (n,)": ("mse", 1, values[:, 0].copy()),
                "mse, a column (n,)": ("mse", 1, values[:, 0]),
            }
        pairs = [fits(loss, m, X, t) for loss, m, t in sides.values()]
        times = least([fit for pair in pairs for fit in pair], rounds)
        rows = [(b - a) / EPOCHS / ROWS * 1e9 for a, b in zip(times[::2], times[1::2], strict=True)]
        for name, row in zip(sides, rows, strict=True):
            print(f"{outputs:3d} outputs  {name:22s} {row:7.1f} ns  {row / rows[0]:5.2f}")
    print("\nfind_not_finite beside numpy.isfinite(x).all(), ns a value")
    for dtype in ("float16", "float32", "float64"):
        for name, x in (
            ("one column", np.zeros((ROWS, 1), dtype)),
            ("eight columns", np.zeros((ROWS // 8, 8), dtype)),
            ("by column", np.zeros((ROWS // 8, 8), dtype, order="F")),
            ("a column of eight", np.zeros((ROWS, 8), dtype)[:, :1]),
            ("half of the columns", np.zeros((ROWS // 8, 16), dtype)[:, :8]),
        ):
            ours, numpys = least(
                [
                    lambda x=x: _core.find_not_finite(x, "float32", 1.0),
                    lambda x=x: np.isfinite(x).all(),
                ],
                rounds,
            )
            print(f"{dtype}  {name:22s} {ours / x.size * 1e9:6.2f}  {numpys / x.size * 1e9:6.2f}")


if __name__ == "__main__":
    main()
