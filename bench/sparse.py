"""Measures a training step on sparse rows, beside scikit-learn's MLPClassifier on the same matrix.

The shape is that of the 20 newsgroups as TF-IDF: batches of 200 rows, about 100 entries a row in
130,000 columns (few columns in most rows, most columns in few), 100 hidden units, 20 classes, Adam;
and the same with 10,000 columns. One epoch of ten batches by turns: ``partial_fit`` there,
``fit(epochs=1)`` here, shuffling, checks and all; reported are medians over the rounds, and of the
ratio in each round. Before, both must give the same probabilities with the same weights.

    python bench/sparse.py [--threads 1] [--threads 2] [--dtype float64] [--rounds 5]
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

import culpa
from culpa.bench.machine import describe, headline, limit_threads

BATCH, BATCHES, ENTRIES, HIDDEN, CLASSES = 200, 10, 100, 100, 20
COLUMNS = (130_000, 10_000)
DTYPES = ("float32", "float64")


def make_rows(columns: int, dtype: str) -> tuple[Any, NDArray[np.int64]]:
    """Return rows whose entries are as rare as words are (Zipf), of length 1, and labels."""
    import scipy.sparse

    rng = np.random.default_rng(0)
    n = BATCH * BATCHES
    y = rng.integers(0, CLASSES, n)
    place = rng.permutation(columns)  # words are in alphabetical order, not by how common they are
    indices, begins = [], [0]
    for _ in range(n):
        ranks = np.exp(rng.uniform(0, np.log(columns), 4 * ENTRIES)).astype(np.int64)
        indices.append(np.sort(place[rng.permutation(np.unique(ranks))[:ENTRIES]]))
        begins.append(begins[-1] + len(indices[-1]))
    values = rng.random(begins[-1])
    X = scipy.sparse.csr_array((values, np.concatenate(indices), begins), shape=(n, columns))
    X = X.multiply(1 / np.sqrt(X.multiply(X).sum(axis=1))[:, None]).tocsr().astype(dtype)
    X.indices, X.indptr = X.indices.astype(np.int32), X.indptr.astype(np.int32)
    return X, y


def measure(columns: int, dtype: str, threads: int, rounds: int) -> None:
    """Measure one shape and print times and ratios."""
    from sklearn.neural_network import MLPClassifier

    X, y = make_rows(columns, dtype)
    theirs = MLPClassifier((HIDDEN,), batch_size=BATCH, random_state=0)
    theirs.partial_fit(X, y, classes=np.arange(CLASSES))
    ours = culpa.Sequential(
        [culpa.Dense(HIDDEN, "relu"), culpa.Dense(CLASSES)],
        "cross_entropy",
        input_size=columns,
        dtype=dtype,
    )
    for i, (weight, bias) in enumerate(zip(theirs.coefs_, theirs.intercepts_, strict=True)):
        ours.layers[i].weight, ours.layers[i].bias = weight, bias
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-5)

    def train() -> None:
        ours.fit(X, y, epochs=1, batch_size=BATCH, optimizer=culpa.Adam(1e-3), verbose=False)

    train()
    seconds: dict[str, list[float]] = {"culpa": [], "scikit-learn": []}
    for _ in range(rounds):
        began = time.perf_counter()
        train()
        middle = time.perf_counter()
        theirs.partial_fit(X, y)
        seconds["culpa"].append((middle - began) / BATCHES)
        seconds["scikit-learn"].append((time.perf_counter() - middle) / BATCHES)
    print(
        f"\n{columns:,} columns, {X.nnz / X.shape[0]:.0f} entries a row, batch {BATCH}, {dtype}, "
        f"{threads} thread{'s' * (threads > 1)}"
    )
    low, ratio, high = np.percentile(
        np.divide(seconds["scikit-learn"], seconds["culpa"]), [25, 50, 75]
    )
    for name, times in seconds.items():
        more = f"{ratio:7.1f}x culpa's ({low:.1f} to {high:.1f})" if name != "culpa" else ""
        print(f"  {name:<13}{np.median(times) * 1e3:10,.2f} ms a step {more}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, action="append", help="default: 1 and 2")
    parser.add_argument("--dtype", choices=DTYPES, action="append", help="default: both")
    parser.add_argument("--columns", type=int, action="append", help="default: 130000 and 10000")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    counts = arguments.threads or [1, 2]
    limit_threads(max(counts))
    print(headline(describe()))
    from threadpoolctl import threadpool_limits

    for threads in counts:
        culpa.set_num_threads(threads)
        with threadpool_limits(threads):
            for columns in arguments.columns or COLUMNS:
                for dtype in arguments.dtype or DTYPES:
                    measure(columns, dtype, threads, arguments.rounds)


if __name__ == "__main__":
    main()
