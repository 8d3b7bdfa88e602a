"""Measures where the time of a training step goes: phase by phase, beside the machine's peak.

The core charges its first thread's time to the phase that it is in. Reading the clock costs some 25
ns a change of phase, so the step is also timed without it, and the difference is shown. FLOP are
those of the matrix products: forward, backward (error signals) and gradient (of the weights).

    python bench/phases.py [--threads 1] [--workload tiny] [--rounds 15]
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from culpa import _core
from culpa.bench.machine import limit_threads
from culpa.bench.sides.culpa_side import CulpaSide
from culpa.bench.workloads import WORKLOADS, Problem, Workload

ROUND_SECONDS = 0.1


def phase_flop(workload: Workload) -> dict[str, float]:
    """Return the operations of a step's matrix products, by phase."""
    sizes = [a * b for a, b in zip(workload.shape[:-1], workload.shape[1:], strict=True)]
    forward = 2.0 * workload.batch * sum(sizes)
    return {
        "forward": forward,
        "gradient": forward,
        "backward": forward - 2.0 * workload.batch * sizes[0],
    }


def measure(workload: Workload, rounds: int, threads: int) -> None:
    """Measure one workload and print its phases."""
    side = CulpaSide(Problem(workload))
    names = list(_core.phase_names())
    side.run(2)
    began = time.perf_counter()
    side.run(3)
    steps = max(2, int(ROUND_SECONDS * 3 / (time.perf_counter() - began)))
    spent, bare, timed, peaks = np.zeros((rounds, len(names))), [], [], []
    for i in range(rounds):
        peaks.append(_core.measure_peak(threads=threads, rounds=3))
        for phases in (None, spent[i]):
            side.options = {} if phases is None else {"phases": phases}
            side.reset()
            side.run(max(1, steps // 5))
            spent[i] = 0
            began = time.perf_counter()
            side.run(steps)
            (bare if phases is None else timed).append((time.perf_counter() - began) / steps)
    peak, step = np.median(peaks), np.median(bare)
    print(
        f"{workload.name}: {step * 1e6:,.2f} us a step, {workload.flop / step / 1e9:.1f} GFLOP/s, "
        f"{workload.flop / step / peak:.1%} of {peak / 1e9:.0f}; "
        f"with the clock {np.median(timed) / step:.2f}x"
    )
    flop = phase_flop(workload)
    for name, seconds in zip(names, np.median(spent, axis=0) / steps, strict=True):
        rate = f"{flop[name] / seconds / peak:8.1%} of peak" if name in flop else ""
        print(f"  {name:<10}{seconds * 1e6:12,.2f} us {seconds / step:7.1%} {rate}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workload", action="append", choices=WORKLOADS, help="default: all")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    limit_threads(arguments.threads)
    for name in arguments.workload or WORKLOADS:
        measure(WORKLOADS[name], arguments.rounds, arguments.threads)


if __name__ == "__main__":
    main()
