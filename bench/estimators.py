"""Fits scikit-learn's perceptrons and culpa's, alike: time to fit, and score on held-out rows.

Each row of the table is a data set with a network: for every seed both estimators get the same
parameters, the same random_state and the same split, and take turns. Times are those of ``fit``
alone, medians over the seeds; the ratio is the median of theirs / ours within each seed (above 1:
culpa is faster). Scores, accuracy or r2, are means over the seeds, with their standard deviations.
Inputs are float64 (scikit-learn's habit) unless --float32, standardised, or scaled to [0, 1] for
images; large data are fitted for a fixed number of epochs, as the table says.

`grid` is a GridSearchCV on digits: 24 candidates, 3 folds, in as many processes as --threads says,
each with one thread; and in as many threads of one process. `small` times single calls on few rows
of digits.

    python bench/estimators.py [--rows digits diabetes ...] [--networks default wide] [--seeds 5]
        [--threads 2] [--float32]

Fashion-MNIST is left out where its files are missing (Debian has them as dataset-fashion-mnist).
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import joblib
import numpy as np
import sklearn.datasets
import sklearn.neural_network
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.preprocessing import StandardScaler
from sklearn.utils.parallel import Parallel, delayed

import culpa
import culpa.sklearn
from culpa.bench.machine import describe, headline, limit_threads, settle
from turns import take_turns

Array = NDArray[Any]
NETWORKS: dict[str, dict[str, Any]] = {
    "default": {},
    "wide": {"hidden_layer_sizes": (256, 128)},
}
GRID: dict[str, list[Any]] = {
    "hidden_layer_sizes": [(50,), (100,), (50, 50)],
    "alpha": [1e-5, 1e-4, 1e-3, 1e-2],
    "learning_rate_init": [1e-3, 3e-3],
}


class Split(NamedTuple):
    """Rows to fit and rows held out."""

    X: Array
    y: Array
    X_test: Array
    y_test: Array


class Row(NamedTuple):
    """A data set, and how it is fitted."""

    estimator: str
    load: Callable[[int], Split]
    options: dict[str, Any]


def images(name: str) -> Callable[[int], Split]:
    """Return a loader of images scaled to [0, 1], with their own test set."""

    def load(seed: int) -> Split:
        data = getattr(culpa.datasets, name)()
        most = float(data.X_train.max())
        flat = [X.reshape(len(X), -1) / most for X in (data.X_train, data.X_test)]
        return Split(flat[0], data.y_train, flat[1], data.y_test)

    return load


def table(name: str) -> Callable[[int], Split]:
    """Return a loader of one of scikit-learn's tables, a quarter held out by the seed."""

    def load(seed: int) -> Split:
        if name == "synthetic":
            X, y = sklearn.datasets.make_classification(
                100_000, 100, n_informative=30, n_classes=5, random_state=0
            )
        else:
            X, y = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
        if name == "diabetes":
            y = (y - y.mean()) / y.std()
        X, X_test, y, y_test = train_test_split(X, y, test_size=0.25, random_state=seed)
        scaler = StandardScaler().fit(X)
        return Split(scaler.transform(X), y, scaler.transform(X_test), y_test)

    return load


ROWS: dict[str, Row] = {
    "digits": Row("MLPClassifier", images("digits"), {}),
    "breast_cancer": Row("MLPClassifier", table("breast_cancer"), {}),
    "diabetes": Row("MLPRegressor", table("diabetes"), {}),
    "synthetic": Row("MLPClassifier", table("synthetic"), {"max_iter": 10}),
    "fashion_mnist": Row("MLPClassifier", images("fashion_mnist"), {"max_iter": 10}),
}
SIDES: dict[str, Any] = {"culpa": culpa.sklearn, "scikit-learn": sklearn.neural_network}


class Result(NamedTuple):
    """What one fit took and gave."""

    seconds: float
    score: float
    epochs: int


def fit(side: str, row: Row, split: Split, options: dict[str, Any]) -> Result:
    """Fit one side's estimator."""
    estimator = getattr(SIDES[side], row.estimator)(**row.options, **options)
    settle()
    began = time.perf_counter()
    estimator.fit(split.X, split.y)
    seconds = time.perf_counter() - began
    return Result(seconds, estimator.score(split.X_test, split.y_test), estimator.n_iter_)


def measure(name: str, network: str, seeds: int, dtype: str) -> None:
    """Let the sides take turns over the seeds, and print a line of the table."""
    row = ROWS[name]
    results: dict[str, list[Result]] = {side: [] for side in SIDES}
    for seed in range(seeds):
        X, y, X_test, y_test = row.load(seed)
        split = Split(X.astype(dtype), y, X_test.astype(dtype), y_test)
        options = {**NETWORKS[network], "random_state": seed}
        for side in list(SIDES) if seed % 2 == 0 else reversed(SIDES):
            results[side].append(fit(side, row, split, options))
    ours, theirs = (np.array(results[side]) for side in SIDES)
    print(
        f"| {name} | {network} | {np.median(theirs[:, 2]):.0f} "
        f"| {np.median(theirs[:, 0]):.2f} s | {np.median(ours[:, 0]):.2f} s "
        f"| {np.median(theirs[:, 0] / ours[:, 0]):.1f}x "
        f"| {theirs[:, 1].mean():.4f} ± {theirs[:, 1].std():.4f} "
        f"| {ours[:, 1].mean():.4f} ± {ours[:, 1].std():.4f} |",
        flush=True,
    )


def search(seeds: int, jobs: int, backend: str) -> None:
    """Time a grid search in processes or threads, and print a line of the table."""
    X, y, X_test, y_test = images("digits")(0)
    os.environ.pop("CULPA_NUM_THREADS", None)  # so that joblib's limit counts in the processes
    warm = delayed(fit)("culpa", ROWS["diabetes"], ROWS["diabetes"].load(0), {})
    processes = backend == "loky"
    limits = {"inner_max_num_threads": 1} if processes else {}
    own = {} if processes else {"culpa": {"n_threads": 1}}  # threads share one set of limits
    with joblib.parallel_config(backend, **limits):
        Parallel(n_jobs=jobs)(warm for _ in range(2 * jobs))  # now the processes are there
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    scores: dict[str, list[float]] = {side: [] for side in SIDES}
    for seed in range(seeds):
        for side in list(SIDES) if seed % 2 == 0 else reversed(SIDES):
            options = {"random_state": seed, "max_iter": 50, **own.get(side, {})}
            estimator = SIDES[side].MLPClassifier(**options)
            grid = GridSearchCV(estimator, GRID, cv=3, n_jobs=jobs)
            settle()
            began = time.perf_counter()
            with joblib.parallel_config(backend, **limits):
                grid.fit(X, y)
            seconds[side].append(time.perf_counter() - began)
            scores[side].append(grid.score(X_test, y_test))
    ours, theirs = (np.array(seconds[side]) for side in SIDES)
    print(
        f"| grid of 24 on digits, {'processes' if processes else 'threads'} | max_iter 50 | "
        f"| {np.median(theirs):.2f} s | {np.median(ours):.2f} s | {np.median(theirs / ours):.1f}x "
        f"| {np.mean(scores['scikit-learn']):.4f} ± {np.std(scores['scikit-learn']):.4f} "
        f"| {np.mean(scores['culpa']):.4f} ± {np.std(scores['culpa']):.4f} |",
        flush=True,
    )


def small_calls(rounds: int = 15) -> None:
    """Time single calls on few rows, and print a line of the table for each."""
    X, y, _, _ = images("digits")(0)
    calls: dict[str, dict[str, Callable[[], Any]]] = {}
    for side, module in SIDES.items():
        fitted = module.MLPClassifier(random_state=0, max_iter=5).fit(X, y)
        stream = module.MLPClassifier(random_state=0)
        stream.partial_fit(X[:32], y[:32], classes=np.unique(y))
        calls.setdefault("predict, 1 row", {})[side] = lambda one=fitted: one.predict(X[:1])
        calls.setdefault("partial_fit, 32 rows", {})[side] = lambda one=stream: one.partial_fit(
            X[:32], y[:32]
        )
    for name, sides in calls.items():
        times = take_turns(sides, rounds, 0.05)
        ours, theirs = (np.array(times[side]) for side in SIDES)
        print(
            f"| {name} | default | | {np.median(theirs) * 1e6:.0f} us "
            f"| {np.median(ours) * 1e6:.0f} us | {np.median(theirs / ours):.1f}x | | |",
            flush=True,
        )


def main() -> None:
    """Measure and print."""
    names = [*ROWS, "grid", "small"]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", nargs="+", choices=names, default=names)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--float32", action="store_true")
    arguments = parser.parse_args()
    if arguments.threads < 1 or arguments.seeds < 1:
        parser.error("expected --threads and --seeds of at least 1")
    limit_threads(arguments.threads)
    culpa.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore", ConvergenceWarning)
    dtype = "float32" if arguments.float32 else "float64"
    print(headline(describe({"scikit-learn": sklearn.__version__})))
    print(f"{arguments.threads} threads, {dtype}, {arguments.seeds} seeds\n")
    print("| data | network | epochs | scikit-learn | culpa | ratio | their score | our score |")
    print("|---|---|---|---|---|---|---|---|")
    for name in arguments.rows:
        if name == "grid":
            for backend in ("loky", "threading"):
                search(arguments.seeds, arguments.threads, backend)
            continue
        if name == "small":
            small_calls()
            continue
        for network in arguments.networks:
            try:
                measure(name, network, arguments.seeds, dtype)
            except FileNotFoundError as error:
                print(f"| {name} | {network} | left out: {error} |", flush=True)
                break


if __name__ == "__main__":
    main()
