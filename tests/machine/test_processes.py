"""Processes: forks in the middle of the core's work, spawn and forkserver, one pinned CPU."""

from __future__ import annotations

import json
import os

import pytest

import helpers


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.skipif(
    "CULPA_SANITIZED" in os.environ,
    reason="a fork may leave the sanitizer's own allocator locked in the child",
)
def test_children_train_that_were_forked_while_threads_are_in_the_core() -> None:
    bad, parent = helpers.last_json_of("fork_beside_training.py")
    assert bad == []
    assert parent


@pytest.mark.skipif(os.name != "posix", reason="forkserver is POSIX")
@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_workers_of_multiprocessing_give_the_bits_of_their_parent(method: str) -> None:
    answers, expected = helpers.last_json_of(
        "train_in_workers.py", method, timeout=300, CULPA_NUM_THREADS="2"
    )
    assert answers == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
@pytest.mark.parametrize(
    ("rows", "inputs", "width", "batch", "epochs", "forced"),
    [
        (2000, 20, 32, 32, 10, 0),  # steps of some microseconds
        (4000, 100, 256, 500, 1, 0),
        (4000, 100, 128, 500, 1, 8),  # though all threads are made to take part
    ],
)
def test_eight_threads_on_one_cpu_take_at_most_three_times_as_long_as_one(
    rows: int, inputs: int, width: int, batch: int, epochs: int, forced: int
) -> None:
    sizes = {
        "rows": rows,
        "inputs": inputs,
        "width": width,
        "batch": batch,
        "epochs": epochs,
        "forced": forced,
    }
    ratios = helpers.last_json_of("time_threads_on_one_cpu.py", json.dumps(sizes))
    assert sorted(ratios)[len(ratios) // 2] <= 3, ratios
