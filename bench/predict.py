"""Measures ``predict`` of 784-256-128-10: one row, 2,560 rows, and many Python threads at once.

The sides have the same weights, give the same classes, and take turns for many short rounds;
reported are medians over the rounds, and of the ratio to culpa in each round (above 1: culpa is
faster). Times include the Python call, from a NumPy array to a NumPy array. For 2,560 rows the
share of the peak counts the matrix products alone, against the peak measured beside them. At last
1 to 8 Python threads predict one row over and over: calls per second of all together, and how many
times what one thread alone manages.

PyTorch takes part where it is installed.

    python bench/predict.py [--threads 1] [--rounds 15] [--seconds 0.1] [--json PATH]
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import culpa
from culpa import _core
from culpa.bench.machine import describe, headline, limit_threads, settle
from culpa.bench.numpy_net import NumpyNet
from culpa.bench.sides.culpa_side import make_model

SHAPE = (784, 256, 128, 10)
ROWS = 2560
CALLERS = (1, 2, 4, 8)
SETTLING = 0.1  # seconds: threads that wake share a core until the system moves one of them

Predict = Callable[[NDArray[np.float32]], NDArray[np.int64]]


def culpa_side(net: NumpyNet, threads: int) -> Predict:
    """Return culpa's predict, with the weights of `net`."""
    model = make_model(SHAPE)
    pairs = enumerate(zip(net.weights, net.biases, strict=True))
    for i, (weight, bias) in pairs:
        model.layers[i].weight, model.layers[i].bias = weight, bias
    culpa.set_num_threads(threads)
    return model.predict


def numpy_side(net: NumpyNet, threads: int) -> Predict:
    """Return NumPy's: as little around its products as there can be."""
    *hidden, (last_weight, last_bias) = zip(net.weights, net.biases, strict=True)
    zero = np.float32(0)

    def predict(X: NDArray[np.float32]) -> NDArray[np.int64]:
        for weight, bias in hidden:
            X = np.dot(X, weight)
            X += bias
            np.maximum(X, zero, out=X)
        return (np.dot(X, last_weight) + last_bias).argmax(axis=1)

    return predict


def torch_side(net: NumpyNet, threads: int) -> Predict:
    """Return PyTorch's."""
    import torch

    from culpa.bench.sides.torch_side import make_network

    torch.set_num_threads(threads)
    model = make_network(net.weights, net.biases)

    def predict(X: NDArray[np.float32]) -> NDArray[np.int64]:
        with torch.inference_mode():
            return model(torch.from_numpy(X)).argmax(1).numpy()

    return predict


def make_sides(threads: int) -> dict[str, Predict]:
    """Return every side that is installed, culpa first."""
    net = NumpyNet(SHAPE, seed=0)
    makers = {"culpa": culpa_side, "NumPy": numpy_side}
    if importlib.util.find_spec("torch") is not None:
        makers["torch"] = torch_side
    return {name: make(net, threads) for name, make in makers.items()}


def time_calls(predict: Predict, X: NDArray[np.float32], seconds: float) -> float:
    """Return the seconds of a call, over about so many seconds of calls after a warm-up."""
    settle()
    calls, end = 0, time.perf_counter() + SETTLING
    while time.perf_counter() < end:
        predict(X)
        calls += 1
    calls = max(1, round(calls * seconds / SETTLING))
    began = time.perf_counter()
    for _ in range(calls):
        predict(X)
    return (time.perf_counter() - began) / calls


def count_calls(predict: Predict, X: NDArray[np.float32], callers: int, seconds: float) -> float:
    """Return the calls per second of that many threads that call at once."""
    counts, stop = [0] * callers, threading.Event()
    gate = threading.Barrier(callers + 1)

    def call(index: int) -> None:
        calls = 0
        gate.wait()
        while not stop.is_set():
            predict(X)
            calls += 1
        counts[index] = calls

    settle()
    crew = [threading.Thread(target=call, args=(i,)) for i in range(callers)]
    for thread in crew:
        thread.start()
    gate.wait()
    began = time.perf_counter()
    time.sleep(seconds)
    stop.set()
    for thread in crew:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)


def take_turns(
    sides: dict[str, Predict], rounds: int, measure: Callable[[Predict], Any]
) -> dict[str, list[Any]]:
    """Return what `measure` gives for every side and round."""
    results: dict[str, list[Any]] = {name: [] for name in sides}
    for i in range(rounds):
        for name in list(sides) if i % 2 == 0 else reversed(sides):
            results[name].append(measure(sides[name]))
    return results


def print_times(title: str, results: dict[str, list[float]], unit: str, scale: float) -> None:
    """Print each side's median, and the ratio to culpa."""
    print(f"\n{title}")
    reference = np.array(results["culpa"])
    for name, seconds in results.items():
        median = f"{name:8}{np.median(seconds) * scale:>10.2f} {unit}"
        low, middle, high = np.percentile(np.array(seconds) / reference, (25, 50, 75))
        ratio = "" if name == "culpa" else f"   ratio {middle:.2f} ({low:.2f}-{high:.2f})"
        print(median + ratio)


def print_share(seconds: Sequence[float], peaks: Sequence[float]) -> None:
    """Print how near culpa comes to the peak."""
    flop = 2 * ROWS * sum(a * b for a, b in itertools.pairwise(SHAPE))
    share = np.median(flop / (np.array(seconds) * peaks))
    print(f"culpa: {100 * share:.0f} % of the peak, {np.median(peaks) / 1e9:.0f} GFLOP/s")


def print_callers(results: dict[str, list[list[float]]]) -> None:
    """Print calls per second by number of callers."""
    print("\n1 row, Python threads at once: calls per second, and times those of one")
    print(f"{'':8}" + "".join(f"{n:>18}" for n in CALLERS))
    for name, rounds in results.items():
        rates = np.array(rounds)
        gains = np.median(rates / rates[:, :1], axis=0)
        cells = zip(np.median(rates, axis=0), gains, strict=True)
        print(f"{name:8}" + "".join(f"{rate:>11,.0f} {gain:>5.2f}x" for rate, gain in cells))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.1, help="per side and round")
    parser.add_argument("--json", type=Path, help="write all times to this file")
    arguments = parser.parse_args()
    if arguments.threads < 1 or arguments.rounds < 1 or arguments.seconds <= 0:
        parser.error("expected --threads and --rounds of at least 1, and --seconds above 0")
    return arguments


def main() -> None:
    """Measure, print and write down."""
    arguments = parse_arguments()
    threads, rounds, seconds = arguments.threads, arguments.rounds, arguments.seconds
    limit_threads(threads)
    machine = describe()
    print(headline(machine))
    X = np.random.default_rng(0).standard_normal((ROWS, SHAPE[0]), np.float32)
    row = X[:1].copy()
    sides = make_sides(threads)
    classes = [predict(X) for predict in sides.values()]
    if any(np.mean(other == classes[0]) < 0.999 for other in classes):  # near ties may differ
        raise SystemExit("the sides give different classes")

    one = take_turns(sides, rounds, lambda predict: time_calls(predict, row, seconds))
    print_times("1 row", one, "us", 1e6)
    peaks = []

    def many_rows(predict: Predict) -> float:
        took = time_calls(predict, X, seconds)
        if predict is sides["culpa"]:
            peaks.append(_core.measure_peak(threads=threads))
        return took

    many = take_turns(sides, rounds, many_rows)
    print_times(f"{ROWS:,} rows", many, "ms", 1e3)
    print_share(many["culpa"], peaks)
    callers = take_turns(
        sides, rounds, lambda predict: [count_calls(predict, row, n, seconds) for n in CALLERS]
    )
    print_callers(callers)
    if arguments.json is not None:
        measured = {"row": one, "rows": many, "peaks": peaks, "callers": callers}
        content = {"machine": machine, "seconds": measured}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
