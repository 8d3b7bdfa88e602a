"""Measures influence at full size: every training image of Fashion-MNIST on every test image.

784-256-128-10, float32, two epochs trained; the top ten proponents and opponents of each of the
10,000 test images among 60,000 training images. The matrix of all 600 million scores (2.4 GB) is
never there: printed are the seconds of the call, the pairs' arithmetic per second, and by how much
the peak of the resident memory rises. (`bench/blame.py` has small sizes, beside PyTorch.)

    python bench/influence.py [--threads 2] [--rows 60000]
"""

from __future__ import annotations

import argparse
import itertools
import time

import culpa
from culpa.bench.machine import describe, headline, limit_threads
from culpa.bench.sides.culpa_side import make_model
from memory import MB
from questions import SHAPE, Call
from turns import rise

TOP = 10


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, default=60_000, help="of the training images")
    arguments = parser.parse_args()
    limit_threads(arguments.threads)
    print(headline(describe()))
    X, y, X_test, y_test = culpa.datasets.fashion_mnist()
    X, y = X[: arguments.rows], y[: arguments.rows]
    model = make_model(SHAPE, input_scale=1 / 255)
    model.fit(X, y, epochs=2, verbose=False)
    seconds = 0.0

    def make() -> Call:
        def ask() -> culpa.Influence:
            nonlocal seconds
            began = time.perf_counter()
            answer = model.influence(X, y, X_test, y_test, top=TOP)
            seconds = time.perf_counter() - began
            return answer

        return ask

    memory = rise(make)
    pairs = len(X) * len(X_test)
    flops = 2 * sum(a + b for a, b in itertools.pairwise(SHAPE)) * pairs
    print(
        f"{len(X):,} x {len(X_test):,}, the top {TOP}: {seconds:.1f} s, "
        f"{flops / seconds / 1e9:.0f} GFLOP/s, memory rises by {memory / MB:.0f} MB"
    )


if __name__ == "__main__":
    main()
