"""Measures whether a training step costs the same over a million steps.

Trains without a break or a reset, a tenth of the steps after the other, and prints each tenth's
time: the mean of its steps, and the median of its pieces, which a short disturbance does not move.
A cost that grew with the steps taken (memory that is not given back, numbers that become denormal)
would show in the last tenth over the first. Beside every tenth the peak of the machine is measured:
where the machine itself slows down, that moves too.

    python bench/steady.py [--threads 1] [--workload tiny] [--steps 1000000]
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from culpa import _core
from culpa.bench.machine import describe, headline, limit_threads
from culpa.bench.sides.culpa_side import CulpaSide
from culpa.bench.workloads import WORKLOADS, Problem, Workload

TENTHS, PIECES = 10, 50
WARM_UP = 0.01  # untimed, as a fraction of the steps
PEAK_LOOKS = 50  # 10 ms


def measure(workload: Workload, steps: int, threads: int) -> None:
    """Measure all tenths and print them."""
    side = CulpaSide(Problem(workload))
    piece = steps // (TENTHS * PIECES)
    side.run(max(1, int(WARM_UP * steps)))
    print(f"{workload}: {TENTHS} x {PIECES * piece:,} steps\n")
    print(f"{'steps':>12}{'us/step, mean':>16}{'median':>9}{'peak, GFLOP/s':>16}")
    means, medians = [], []
    for i in range(TENTHS):
        peak = _core.measure_peak(threads=threads, rounds=PEAK_LOOKS)
        seconds = []
        for _ in range(PIECES):
            began = time.perf_counter()
            side.run(piece)
            seconds.append((time.perf_counter() - began) / piece)
        means.append(float(np.mean(seconds)))
        medians.append(float(np.median(seconds)))
        print(
            f"{(i + 1) * PIECES * piece:>12,}{means[-1] * 1e6:>16,.3f}{medians[-1] * 1e6:>9,.3f}"
            f"{peak / 1e9:>16.0f}",
            flush=True,
        )
    print(f"{'last / first':>12}{means[-1] / means[0]:>16.3f}{medians[-1] / medians[0]:>9.3f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workload", choices=WORKLOADS, default="tiny")
    parser.add_argument("--steps", type=int, default=1_000_000)
    arguments = parser.parse_args()
    if arguments.threads < 1:
        parser.error("expected --threads of at least 1")
    if arguments.steps < TENTHS * PIECES:
        parser.error(f"expected --steps of at least {TENTHS * PIECES}")
    limit_threads(arguments.threads)
    print(headline(describe()))
    measure(WORKLOADS[arguments.workload], arguments.steps, arguments.threads)


if __name__ == "__main__":
    main()
