"""How much of the CPUs a side got, of what it asked for, and which: a busy neighbour shows.

A thread that could run and had no CPU was waiting for one. Linux counts both for every thread
(/proc/self/task/*/schedstat: nanoseconds on a CPU, nanoseconds waiting for one); what a side asked
for is their sum, so a side that chooses fewer threads, or lets them sleep, is not blamed for it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

TASKS = Path("/proc/self/task")
LEAST_SHARE = 0.8  # of the time asked for; a side that got less was disturbed


@dataclass(frozen=True)
class Use:
    """What one turn used.

    Attributes
    ----------
    wall : float
        Seconds that it lasted.
    ran : float
        Seconds on a CPU, of all threads together.
    waited : float or None
        Seconds that threads could have run and had no CPU; None where the system does not tell.
    cpus : dict of int to float
        Seconds by CPU. A thread's time counts for the CPU that it was last on.
    """

    wall: float
    ran: float
    waited: float | None = None
    cpus: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Look:
    """The clocks at one moment; ``end - begin`` is the use between them."""

    wall: float
    process: float
    threads: dict[str, tuple[float, float, int]]  # seconds run, seconds waited, last CPU

    @classmethod
    def now(cls, tasks: Path = TASKS) -> Look:
        """Read the clocks."""
        return cls(time.perf_counter(), time.process_time(), dict(_threads(tasks)))

    def __sub__(self, before: Look) -> Use:
        """Return what was used since then."""
        wall = self.wall - before.wall
        if not self.threads:
            return Use(wall, self.process - before.process)
        cpus: dict[int, float] = {}
        waited = 0.0
        for name, (ran_now, waited_now, cpu) in self.threads.items():
            ran_then, waited_then, _ = before.threads.get(name, (0.0, 0.0, cpu))
            waited += waited_now - waited_then
            if ran_now > ran_then:
                cpus[cpu] = cpus.get(cpu, 0.0) + ran_now - ran_then
        return Use(wall, sum(cpus.values()), waited, cpus)


def _threads(tasks: Path) -> Iterable[tuple[str, tuple[float, float, int]]]:
    try:
        folders = list(tasks.iterdir())
    except OSError:  # no Linux
        return
    for folder in folders:
        try:
            ran, waited, _ = (folder / "schedstat").read_text(encoding="ascii").split()
            # The name, in parentheses, may hold spaces; the CPU is the 39th field of the line.
            rest = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")
            yield folder.name, (int(ran) / 1e9, int(waited) / 1e9, int(rest[2].split()[36]))
        except (OSError, ValueError, IndexError):  # the thread has ended; a kernel without counts
            continue


def share(uses: Sequence[Use]) -> float | None:
    """Return which part of the CPU time asked for these turns got; None where nobody can tell.

    Examples
    --------
    >>> share([Use(1.0, 1.5, 0.5), Use(1.0, 1.5, 0.5)])
    0.75
    """
    waited = [use.waited for use in uses if use.waited is not None]
    ran = sum(use.ran for use in uses)
    asked = ran + sum(waited)
    return ran / asked if uses and len(waited) == len(uses) and asked > 0 else None


def was_disturbed(uses: Sequence[Use]) -> bool:
    """Whether other work took so much of the CPUs that the times say little."""
    part = share(uses)
    return part is not None and part < LEAST_SHARE


def busy_cpus(uses: Sequence[Use]) -> list[int]:
    """Return the CPUs that these turns ran on, those of less than 1 % of the time left out."""
    total: dict[int, float] = {}
    for use in uses:
        for cpu, seconds in use.cpus.items():
            total[cpu] = total.get(cpu, 0.0) + seconds
    least = 0.01 * sum(total.values())
    return sorted(cpu for cpu, seconds in total.items() if seconds > least)
