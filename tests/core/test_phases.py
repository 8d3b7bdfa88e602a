"""What the benchmarks read from the core: where a step's time goes, and the peak."""

from __future__ import annotations

import time

import numpy as np
import pytest

import culpa
from culpa import _core
from culpa.bench.sides.culpa_side import CulpaSide
from culpa.bench.workloads import WORKLOADS, Problem


def train(threads: int, phases: np.ndarray | None) -> tuple[bytes, float]:
    """Train the smallest workload; return its weights and the seconds of the call."""
    side = CulpaSide(Problem(WORKLOADS["digits"]))
    job = _core.Job(side.examples, offsets=side.offsets, learning_rates=side.rates, phases=phases)
    before = culpa.get_num_threads()
    culpa.set_num_threads(threads)
    try:
        began = time.perf_counter()
        side.core.train(job)
        return side.core.parameters().tobytes(), time.perf_counter() - began
    finally:
        culpa.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2])
def test_phases_are_parts_of_the_whole_and_change_no_bits(threads: int) -> None:
    plain, _ = train(threads, None)
    phases = np.zeros(len(_core.phase_names()))
    timed, seconds = train(threads, phases)
    assert timed == plain
    named = dict(zip(_core.phase_names(), phases, strict=True))
    always = ("gather", "forward", "loss", "backward", "gradient", "optimizer")
    assert all(named[name] > 0 for name in always)
    assert named["barrier"] >= 0
    assert sum(named.values()) <= seconds


def test_phases_add_up_over_calls() -> None:
    phases = np.ones(len(_core.phase_names()))
    train(1, phases)
    assert (phases >= 1).all()


def test_phases_of_another_length_are_refused() -> None:
    with pytest.raises(TypeError, match="phases"):
        train(1, np.zeros(3))


@pytest.mark.parametrize("float64", [False, True])
def test_the_peak_is_a_rate(float64: bool) -> None:
    for threads, rounds in ((1, 3), (2, 0)):
        peak = _core.measure_peak(float64=float64, threads=threads, rounds=rounds)
        assert 0 < peak < np.inf
