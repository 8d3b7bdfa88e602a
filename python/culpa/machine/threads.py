"""How many threads: what the machine lets this process use, and who may say otherwise."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from culpa import _checks, _core

__all__ = ["cgroup_limit", "default_threads", "get_num_threads", "own_threads", "set_num_threads"]


def set_num_threads(count: int) -> None:
    """Set how many threads a call may use. Results do not depend on it, to the last bit.

    threadpoolctl's limits hold, too: ``threadpool_limits(1)`` and
    ``threadpool_limits({"culpa": 1})`` limit the calls from the thread that sets them, until they
    are restored or this is called there.

    Parameters
    ----------
    count : int
        At least 1. The default is the number of CPUs that this process may use, by affinity and
        container quota; the variables CULPA_NUM_THREADS, then OMP_NUM_THREADS, override it.

    Examples
    --------
    >>> import culpa
    >>> before = culpa.get_num_threads()
    >>> culpa.set_num_threads(1)
    >>> culpa.get_num_threads()
    1
    >>> culpa.set_num_threads(before)
    """
    count = _checks.integer("count", count, 1)
    if count > 1024:
        raise ValueError(f"count: expected at most 1024 threads, got {count}")
    _core.set_num_threads(count)
    _core.set_own_threads(0)  # what was said last holds


def get_num_threads() -> int:
    """Return how many threads a call may use."""
    return _core.num_threads()


@contextmanager
def own_threads(count: int | None) -> Iterator[None]:
    """Let calls from the calling thread alone use so many threads; None: as all others."""
    if count is None:
        yield
        return
    before = _core.set_own_threads(_checks.integer("count", count, 1))
    try:
        yield
    finally:
        _core.set_own_threads(before)


def default_threads(environment: Mapping[str, str] = os.environ) -> int:
    """Return the number of threads to begin with."""
    for name in ("CULPA_NUM_THREADS", "OMP_NUM_THREADS"):
        first = environment.get(name, "").split(",")[0].strip()
        count = _number(first)
        if count is not None and 1 <= count <= 1024:
            return count
    try:
        usable = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        usable = os.cpu_count() or 1
    limit = cgroup_limit()
    return max(1, min(usable, limit if limit is not None else usable, 1024))


def cgroup_limit(
    groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Return the CPUs that container quotas (cgroup v1 and v2) allow, or None for no limit.

    A quota of 1.5 CPUs gives 2: a thread that waits costs nothing.
    """
    limits = []
    for line in _read(groups).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":  # v2: every level above may set a tighter one
            base = root
        elif "cpu" in controllers.split(","):
            base = root / "cpu"
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts) + 1):
            folder = base.joinpath(*parts[:depth])
            if controllers == "":
                quota, _, period = _read(folder / "cpu.max").partition(" ")
            else:
                quota = _read(folder / "cpu.cfs_quota_us")
                period = _read(folder / "cpu.cfs_period_us")
            allowed, each = _number(quota.strip()), _number(period.strip())
            if allowed is not None and each:
                limits.append(-(-allowed // each))
    return max(1, min(limits)) if limits else None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
