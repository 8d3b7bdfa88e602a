"""Calls that take turns, and the memory of each: what the scripts that compare answers share."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from culpa.bench.machine import settle
from memory import MB, peak

Call = Callable[[], Any]


def time_call(call: Call, seconds: float) -> float:
    """Return the seconds of a call, over about so many seconds of calls after a warm-up."""
    settle()
    began, calls = time.perf_counter(), 0
    while calls == 0 or time.perf_counter() - began < seconds / 2:
        call()
        calls += 1
    began = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - began) / calls


def take_turns(
    sides: Mapping[str, Call], rounds: int, seconds: float = 0.2
) -> dict[str, list[float]]:
    """Return the seconds of each side's call in each round; every other round goes backward."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for i in range(rounds):
        for name in list(sides) if i % 2 == 0 else reversed(sides):
            times[name].append(time_call(sides[name], seconds))
    return times


def differences(answers: Mapping[str, Any]) -> float:
    """Return the largest difference from the first answer, relative to its largest value."""
    first, *others = (np.asarray(answer) for answer in answers.values())
    largest = np.abs(first).max()
    return max((float(np.abs(other - first).max() / largest) for other in others), default=0.0)


def print_times(
    times: Mapping[str, Sequence[float]],
    memory: Mapping[str, float] | None = None,
    base: str = "culpa",
) -> None:
    """Print each side's median, its quartiles over the base's, round by round, and its memory."""
    for name, seconds in times.items():
        low, middle, high = np.percentile(np.divide(seconds, times[base]), (25, 50, 75))
        ratio = "" if name == base else f"{middle:8.2f} ({low:.2f}-{high:.2f})"
        bytes_ = "" if memory is None else f"{memory[name] / MB:>9.1f} MB"
        print(f"  {name:<22}{np.median(seconds) * 1e3:>10.3f} ms{bytes_}{ratio}", flush=True)


def child_memory(script: str, *arguments: object) -> float:
    """Run ``script --child ARGUMENTS`` in a process of its own; return the bytes that it prints."""
    command = [sys.executable, script, "--child", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return float(json.loads(done.stdout))


def rise(make: Callable[[], Call]) -> int:
    """Return by how many bytes the peak of this process rises while a call is made and runs once.

    What `make` prepares, imports and data among it, comes before.
    """
    call = make()
    with contextlib.suppress(OSError):  # Linux: the peak begins again at what is resident now
        Path("/proc/self/clear_refs").write_text("5", "ascii")
    before = peak()
    call()
    return peak() - before
