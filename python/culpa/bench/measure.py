"""The sides take turns for many short rounds, so that a noisy machine is noisy for all."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from culpa import _core
from culpa.bench import cpu_use
from culpa.bench.cpu_use import Look, Use
from culpa.bench.machine import settle
from culpa.bench.peers import Peer
from culpa.bench.sides import Side
from culpa.bench.workloads import Problem, Workload
from culpa.machine.threads import get_num_threads

CHECKED_STEPS, TOLERANCE = 5, 1e-4  # the sides' losses must agree to this, relatively
WARM_UP = 0.1  # untimed part of a round, as a fraction of its timed steps
PEAK_LOOKS = 50  # at the peak, per round: 10 ms


class Disagreement(Exception):  # noqa: N818 - it says more without "Error"
    """Two sides computed different losses: they do not do the same work."""


@dataclass
class Row:
    """What a side computed and took.

    Attributes
    ----------
    losses : list of float
        Of the first steps that can be compared.
    loss_difference : float
        The largest, relatively, from the first side's.
    steps : int
        In a round.
    seconds : list of float
        Of a step, per round.
    uses : list of Use
        Of the CPUs, per round.
    """

    name: str
    losses: list[float]
    loss_difference: float
    steps: int
    seconds: list[float] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)

    @property
    def cpus(self) -> float:
        """CPUs that were kept busy, at the median."""
        return float(np.median([use.ran / use.wall for use in self.uses]))


@dataclass
class Result:
    """What was measured of a workload; the first row is what the others are compared with.

    Attributes
    ----------
    peak : list of float
        Floating-point operations per second at the most, per round.
    """

    workload: Workload
    rows: list[Row]
    peak: list[float] = field(default_factory=list)

    def ratios(self, seconds: Sequence[float]) -> tuple[float, float, float]:
        """Return the quartiles of these times over the first row's, round by round."""
        low, middle, high = np.percentile(np.divide(seconds, self.rows[0].seconds), (25, 50, 75))
        return float(low), float(middle), float(high)

    def speed(self, seconds: Sequence[float]) -> float:
        """Return the operations per second at the median of these times."""
        return float(self.workload.flop / np.median(seconds))

    @property
    def seconds_at_peak(self) -> list[float]:
        """What the matrix products of a step would take at the peak, per round."""
        return [self.workload.flop / peak for peak in self.peak]

    def to_json(self) -> dict[str, Any]:
        """Return all of it, and what the table shows."""
        peak = float(np.median(self.peak))
        return {
            "workload": self.workload.name,
            "shape": list(self.workload.shape),
            "batch": self.workload.batch,
            "flop_per_step": self.workload.flop,
            "peak_flop_per_second": peak,
            "peak_per_round": self.peak,
            "sides": {
                row.name: {
                    "seconds_per_step": float(np.median(row.seconds)),
                    "flop_per_second": self.speed(row.seconds),
                    "part_of_peak": self.speed(row.seconds) / peak,
                    "ratio_quartiles": self.ratios(row.seconds),
                    "steps_per_round": row.steps,
                    "seconds_per_round": row.seconds,
                    "cpus_per_round": [use.ran / use.wall for use in row.uses],
                    "share_of_cpu_time_asked_for": cpu_use.share(row.uses),
                    "on_cpus": cpu_use.busy_cpus(row.uses),
                    "losses": row.losses,
                    "loss_difference": row.loss_difference,
                }
                for row in self.rows
            },
        }


def measure(
    workload: Workload,
    peers: Sequence[Peer],
    rounds: int,
    seconds: float,
    report: Callable[[str], None] = lambda text: None,
) -> Result:
    """Measure a training step of every peer, each round from the initial weights.

    Parameters
    ----------
    workload : Workload
        What to train.
    peers : sequence of Peer
        Who; the first is what the others are compared with.
    rounds : int
        In each, every peer has its turn.
    seconds : float
        Of a turn, without its warm-up.
    report : callable, optional
        Is told what is going on.

    Returns
    -------
    Result

    Raises
    ------
    Disagreement
        Where a peer computes other losses than the first.
    """
    report(f"{workload.name}: checking that all compute the same losses")
    problem = Problem(workload)
    sides = [peer.build(problem) for peer in peers]
    losses = check_agreement([peer.name for peer in peers], sides)
    rows = []
    for peer, side, (own, difference) in zip(peers, sides, losses, strict=True):
        rows.append(Row(peer.name, own, difference, steps_per_round(side, seconds)))
    result = Result(workload, rows)
    turns = list(zip(rows, sides, strict=True))
    for i in range(rounds):
        report(f"{workload.name}: round {i + 1} of {rounds}")
        settle()
        result.peak.append(
            _core.measure_peak(float64=False, threads=get_num_threads(), rounds=PEAK_LOOKS)
        )
        for row, side in turns if i % 2 == 0 else reversed(turns):
            seconds_per_step, use = time_round(side, row.steps)
            row.seconds.append(seconds_per_step)
            row.uses.append(use)
    return result


def check_agreement(names: Sequence[str], sides: Sequence[Side]) -> list[tuple[list[float], float]]:
    """Return each side's first losses and their largest relative difference from the first's."""
    checked: list[tuple[list[float], float]] = []
    expected: np.ndarray[Any, Any] | None = None
    for name, side in zip(names, sides, strict=True):
        losses = np.asarray(side.losses(CHECKED_STEPS), np.float64)
        if expected is None:
            expected = losses
        same = expected[: len(losses)]
        difference = float(np.abs(losses - same).max() / np.abs(same).max())
        if not difference <= TOLERANCE:
            raise Disagreement(
                f"{name} computes other losses than {names[0]}, so their times cannot be compared: "
                f"expected {same.tolist()} to {TOLERANCE:.0e}, got {losses.tolist()}"
            )
        checked.append((losses.tolist(), difference))
    return checked


def steps_per_round(side: Side, seconds: float) -> int:
    """Return how many steps of this side take about so long."""
    settle()
    steps = 1
    while True:
        began = time.perf_counter()
        done = side.run(steps)
        took = time.perf_counter() - began
        if took > seconds / 4:
            return max(1, round(seconds * done / took))
        steps = 2 * done


def time_round(side: Side, steps: int) -> tuple[float, Use]:
    """Return the seconds of a step, over `steps` of them after a warm-up, and the CPUs' use."""
    settle()
    side.reset()
    side.run(max(1, round(WARM_UP * steps)))
    before = Look.now()
    began = time.perf_counter()
    done = side.run(steps)
    took = time.perf_counter() - began
    return took / done, Look.now() - before
