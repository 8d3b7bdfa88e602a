"""Do denormals slow training? A step on weights of 1e-40 beside one on ordinary weights.

Numbers below 1.2e-38 in float32 cost 5 to 40 times as much on some CPUs (Intel's above all), and
come by themselves where weights decay or gradients vanish. Promised: at most 1.5 times. Both sides
take turns within one run; printed are medians and quartiles of the ratio, round by round.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

import culpa
from culpa import _core
from culpa.bench import machine
from culpa.bench.measure import steps_per_round, time_round
from culpa.bench.sides.culpa_side import CulpaSide
from culpa.bench.workloads import WORKLOADS, Problem

PROMISED = 1.5


class Scaled(CulpaSide):
    """Steps of Culpa from weights times a factor, at a rate that leaves them as small."""

    def __init__(self, problem: Problem, factor: float) -> None:
        super().__init__(problem)
        self.core.set_optimizer(culpa.SGD(1e-30).for_core())
        self.initial = (self.initial.astype(np.float64) * factor).astype(self.initial.dtype)
        self.rates = np.full_like(self.rates, 1e-30)
        self.reset()

    def reset(self) -> None:
        """Begin afresh; plain SGD has no moments."""
        self.core.set_parameters(self.initial)
        self.at = 0


def main() -> int:
    """Print the ratios; 1 where one is above what is promised."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.1)
    given = parser.parse_args()
    machine.limit_threads(given.threads)
    print(machine.headline(machine.describe()))
    worst = 0.0
    for name in ("tiny", "digits", "mnist"):
        problem = Problem(WORKLOADS[name])
        sides = [Scaled(problem, 1.0), Scaled(problem, 1e-39)]
        steps = steps_per_round(sides[0], given.seconds)
        ratios = []
        for _ in range(given.rounds):
            normal, denormal = (time_round(side, steps)[0] for side in sides)
            ratios.append(denormal / normal)
        small = np.abs(sides[1].initial[sides[1].initial != 0])
        low, middle, high = np.percentile(ratios, (25, 50, 75))
        worst = max(worst, middle)
        print(
            f"{name:8} weights of 1e-39 over weights of 1: {middle:.2f} ({low:.2f} - {high:.2f}); "
            f"{np.mean(small < np.finfo(np.float32).tiny):.0%} of them denormal, "
            f"{_core.instruction_set()}"
        )
    print(f"promised: at most {PROMISED}; worst: {worst:.2f}")
    return int(worst > PROMISED)


if __name__ == "__main__":
    sys.exit(main())
