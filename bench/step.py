"""Measures the time of a training step: culpa beside its rivals, on five networks.

A step is: gather a shuffled batch, forward, softmax cross-entropy, backward, Adam, in float32. The
sides start from the same weights, see the same batches and are first checked to compute the same
losses. Then they take turns for many short rounds, so that a noisy machine is noisy for all, each
round from the initial weights; reported are medians over the rounds, and the ratio of each round's
times with its quartiles. A ratio above 1 means that culpa is faster. Culpa's steps run through the
core in chunks, as in ``fit``; the rival, NumPy, is numpy_net.py.

    python bench/step.py [--threads 1] [--workload tiny] [--rounds 15] [--seconds 0.2] [--json PATH]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

import culpa
from culpa import _core
from culpa.config import config
from numpy_net import NumpyNet

LEARNING_RATE = 1e-3
CHUNK_SECONDS = 0.05  # as in fit
CHECKED_STEPS, TOLERANCE = 5, 1e-4  # the sides' losses must agree to this, relatively
PAUSE, MAX_PAUSES = 0.02, 50  # between sides: seconds of a look at whether threads still spin
WARM_UP = 0.1  # untimed part of a round, as a fraction of its timed steps
THREAD_VARIABLES = (
    "CULPA_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


@dataclass(frozen=True)
class Workload:
    """A network, its batch size, and how many batches its data hold."""

    name: str
    shape: tuple[int, ...]
    batch: int
    batches: int

    @property
    def flop(self) -> int:
        """Floating-point operations in the matrix products of a step.

        Two per weight and example, three times: forward, gradient of the weights, error signals;
        the last not for the first layer, for nothing asks for the gradient of the inputs.
        """
        sizes = [a * b for a, b in zip(self.shape[:-1], self.shape[1:], strict=True)]
        return self.batch * (6 * sum(sizes) - 2 * sizes[0])


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("tiny", (8, 32, 32, 2), 32, 512),
        Workload("digits", (64, 100, 10), 200, 50),
        Workload("mnist", (784, 256, 128, 10), 128, 200),
        Workload("tab", (100, 512, 512, 512, 2), 256, 80),
        Workload("large", (1024, 2048, 2048, 1000), 512, 16),
    )
}


class Problem:
    """Random data, the order of its rows, and initial weights: the same for all sides."""

    def __init__(self, workload: Workload) -> None:
        generator = np.random.default_rng(0)
        n, shape = workload.batch * workload.batches, workload.shape
        self.workload = workload
        self.X = generator.standard_normal((n, shape[0]), np.float32)
        self.y = generator.integers(0, shape[-1], n)
        self.order = generator.permutation(n)
        net = NumpyNet(shape, seed=0)
        self.weights, self.biases = net.weights, net.biases


class CulpaSide:
    """Steps of culpa, a chunk of them per call into the core."""

    name = "culpa"

    def __init__(self, problem: Problem) -> None:
        self.workload, self.problem = problem.workload, problem
        model = make_model(self.workload.shape)
        model.load_state_dict(
            {f"dense_{i}.weight": weight for i, weight in enumerate(problem.weights)}
            | {f"dense_{i}.bias": bias for i, bias in enumerate(problem.biases)}
        )
        self.core = model._built()
        self.core.set_optimizer(culpa.Adam(LEARNING_RATE)._core())
        self.initial = self.core.parameters().copy()
        self.no_moments = np.zeros_like(self.initial)
        batches = self.workload.batches
        self.offsets = np.arange(batches + 1) * self.workload.batch
        self.rates = np.full(batches, LEARNING_RATE)
        self.sums = np.zeros((3, batches))  # of losses, weights and scores, as fit keeps them
        self.examples = _core.Examples(
            problem.X, labels=problem.y.astype(np.int32), order=problem.order
        )
        self.reset()

    def reset(self) -> None:
        """Begin afresh."""
        self.core.set_parameters(self.initial)
        self.core.set_moments(self.no_moments, self.no_moments, 0)
        self.at = 0

    def run(self, steps: int) -> None:
        """Take the next `steps` steps."""
        end = self.at + steps
        while self.at < end:
            first = self.at % self.workload.batches
            done, stop, _ = self.core.train(self._job(first, first + end - self.at))
            if stop not in ("finished", "time"):
                raise SystemExit(f"culpa stopped: {stop}")
            self.at += done

    def _job(self, first: int, end: int) -> _core.Job:
        end = min(end, self.workload.batches)
        return _core.Job(
            self.examples,
            offsets=self.offsets[first : end + 1],
            learning_rates=self.rates[first:end],
            seconds=CHUNK_SECONDS,
            losses=self.sums[0, first:end],
            weight_sums=self.sums[1, first:end],
            scores=self.sums[2, first:end],
        )

    def losses(self, count: int) -> Sequence[float]:
        """Return the losses of the first `count` steps."""
        self.reset()
        self.run(count)
        return self.sums[0, :count] / self.sums[1, :count]


class NumpySide:
    """Steps of the pure-NumPy network."""

    name = "NumPy"

    def __init__(self, problem: Problem) -> None:
        self.workload, self.problem = problem.workload, problem
        self.net = NumpyNet(self.workload.shape, seed=0, learning_rate=LEARNING_RATE)
        self.reset()

    def reset(self) -> None:
        """Begin afresh."""
        self.net.reset(self.problem.weights, self.problem.biases)
        self.at = 0
        self._losses = [0.0] * self.workload.batches

    def run(self, steps: int) -> None:
        """Take the next `steps` steps."""
        X, y, order = self.problem.X, self.problem.y, self.problem.order
        size, batches = self.workload.batch, self.workload.batches
        for at in range(self.at, self.at + steps):
            batch = at % batches
            rows = order[batch * size : (batch + 1) * size]
            self._losses[batch] = self.net.step(X, y, rows)
        self.at += steps

    def losses(self, count: int) -> Sequence[float]:
        """Return the losses of the first `count` steps."""
        self.reset()
        self.run(count)
        return self._losses[:count]


SIDES = (CulpaSide, NumpySide)  # the first is what the others are compared with


def make_model(shape: Sequence[int], **options: Any) -> culpa.Sequential:
    """Return culpa's network of this shape."""
    layers = [culpa.Dense(width, "relu") for width in shape[1:-1]] + [culpa.Dense(shape[-1])]
    return culpa.Sequential(layers, loss="cross_entropy", input_size=shape[0], **options)


def limit_threads(count: int) -> None:
    """Let culpa and NumPy use `count` threads; starts Python anew, for NumPy reads it at import."""
    wanted = dict.fromkeys(THREAD_VARIABLES, str(count))
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        sys.stdout.flush()
        os.execve(sys.executable, sys.orig_argv, os.environ | wanted)
    culpa.set_num_threads(count)


def describe_machine() -> dict[str, str]:
    """Return what was measured, on what and when."""
    items = config()
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        cores = os.cpu_count() or 1
    return {
        "CPU": f"{items['CPU']}, {cores} cores, {items['instruction set'].split()[0]}",
        "threads": items["threads"],
        "culpa": items["culpa"],
        "NumPy": f"{items['NumPy']} with {blas['name']} {blas['version']}",
        "Python": items["Python"],
        "date": datetime.now().astimezone().isoformat(" ", "minutes"),
    }


def print_machine(machine: dict[str, str]) -> None:
    """Print that on one line."""
    named = [f"{key} {value}" for key, value in machine.items() if key not in ("CPU", "date")]
    print("; ".join([machine["CPU"], *named, machine["date"]]))


def check_agreement(sides: Sequence[Any]) -> float:
    """Return the largest error of the sides' first losses; exit where that is too much."""
    losses = np.array([side.losses(CHECKED_STEPS) for side in sides])
    difference = float(np.abs(losses - losses[0]).max() / np.abs(losses[0]).max())
    if not difference <= TOLERANCE:
        lines = [f"{side.name}: {values}" for side, values in zip(sides, losses, strict=True)]
        raise SystemExit("\n".join(["the sides compute different losses:", *lines]))
    return difference


def settle() -> None:
    """Wait until this process is idle: OpenBLAS's threads spin for 100 ms after their work."""
    for _ in range(MAX_PAUSES):
        before = time.process_time()
        time.sleep(PAUSE)
        if time.process_time() - before < PAUSE / 10:
            return


def steps_per_round(side: Any, seconds: float) -> int:
    """Return how many steps of this side take about so long."""
    settle()
    steps = 1
    while True:
        began = time.perf_counter()
        side.run(steps)
        took = time.perf_counter() - began
        if took > seconds / 4:
            return max(1, round(seconds * steps / took))
        steps *= 2


def time_round(side: Any, steps: int) -> float:
    """Return the seconds of a step, over `steps` of them after a warm-up."""
    settle()
    side.reset()
    side.run(max(1, round(WARM_UP * steps)))
    began = time.perf_counter()
    side.run(steps)
    return (time.perf_counter() - began) / steps


def measure(workload: Workload, rounds: int, seconds: float) -> dict[str, Any]:
    """Return the seconds per step of every side and round."""
    problem = Problem(workload)
    sides = [side(problem) for side in SIDES]
    difference = check_agreement(sides)
    steps = [steps_per_round(side, seconds) for side in sides]
    times = np.empty((len(sides), rounds))
    for i in range(rounds):
        turns = list(range(len(sides)))
        for j in turns if i % 2 == 0 else reversed(turns):
            times[j, i] = time_round(sides[j], steps[j])
    return {
        "workload": workload.name,
        "shape": "-".join(map(str, workload.shape)),
        "batch": workload.batch,
        "flop": workload.flop,
        "loss_difference": difference,
        "steps_per_round": {side.name: count for side, count in zip(sides, steps, strict=True)},
        "seconds": {side.name: row.tolist() for side, row in zip(sides, times, strict=True)},
    }


def table_rows(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return a row of the table for each side."""
    rows = []
    reference = np.array(next(iter(result["seconds"].values())))
    for name, seconds in result["seconds"].items():
        median = float(np.median(seconds))
        low, middle, high = np.percentile(np.array(seconds) / reference, (25, 50, 75))
        first = not rows
        rows.append(
            (
                result["workload"] if first else "",
                result["shape"] if first else "",
                str(result["batch"]) if first else "",
                name,
                f"{median * 1e6:,.1f}",
                f"{result['flop'] / median / 1e9:.1f}",
                "" if first else f"{middle:.2f}",
                "" if first else f"{low:.2f}-{high:.2f}",
                f"{result['loss_difference']:.0e}" if first else "",
            )
        )
    return rows


def print_table(results: Sequence[dict[str, Any]]) -> None:
    """Print all results, aligned."""
    head = (
        "workload",
        "shape",
        "batch",
        "side",
        "us/step",
        "GFLOP/s",
        "ratio",
        "quartiles",
        "diff",
    )
    rows = [head] + [row for result in results for row in table_rows(result)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if head[i] in ("workload", "shape", "side") else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
    rounds = len(results[0]["seconds"][SIDES[0].name])
    print(f"ratio: a side's time over {SIDES[0].name}'s, median of {rounds} rounds; ", end="")
    print(f"diff: relative, of the losses in the first {CHECKED_STEPS} steps")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workload", action="append", choices=WORKLOADS, help="default: all")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.2, help="per side and round")
    parser.add_argument("--json", type=Path, help="write all times to this file")
    arguments = parser.parse_args()
    if arguments.threads < 1 or arguments.rounds < 1 or arguments.seconds <= 0:
        parser.error("expected --threads and --rounds of at least 1, and --seconds above 0")
    return arguments


def main() -> None:
    """Measure, print and write down."""
    arguments = parse_arguments()
    limit_threads(arguments.threads)
    machine = describe_machine()
    print_machine(machine)
    results = []
    for name in arguments.workload or WORKLOADS:
        print(f"measuring {name} ...", file=sys.stderr)
        results.append(measure(WORKLOADS[name], arguments.rounds, arguments.seconds))
    print_table(results)
    if arguments.json is not None:
        content = {"machine": machine, "results": results}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
