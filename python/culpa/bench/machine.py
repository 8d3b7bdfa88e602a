"""The same threads for everybody, and what machine this is."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import numpy as np

from culpa._terminal import stdout
from culpa.machine.config import config
from culpa.machine.threads import set_num_threads

PAUSE, MAX_PAUSES = 0.02, 50  # between sides: seconds of a look at whether threads still spin
THREAD_VARIABLES = (
    "CULPA_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "PJRT_NPROC",  # JAX's
)
XLA_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
TOPOLOGY = Path("/sys/devices/system/cpu")


def limit_threads(count: int) -> None:
    """Let this process use `count` threads, and on Linux as many CPUs.

    Most libraries read such limits when they are imported, and JAX's pool has a thread for each CPU
    that the process may use: so this starts Python anew wherever the limits were others. Call it
    first thing in a program.
    """
    wanted = thread_environment(count)
    restart = any(os.environ.get(name) != value for name, value in wanted.items())
    if sys.platform == "linux":
        cpus = choose_cpus(os.sched_getaffinity(0), count)
        if cpus != os.sched_getaffinity(0):
            os.sched_setaffinity(0, cpus)
            restart = True
    if restart:
        stdout().flush()
        os.execve(sys.executable, sys.orig_argv, os.environ | wanted)
    set_num_threads(count)


def thread_environment(count: int, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables that limit every library to `count` threads, and JAX to the CPU."""
    wanted = dict.fromkeys(THREAD_VARIABLES, str(count)) | {"JAX_PLATFORMS": "cpu"}
    flags = environment.get("XLA_FLAGS", "")
    if count == 1 and XLA_ONE_THREAD not in flags:
        wanted["XLA_FLAGS"] = f"{flags} {XLA_ONE_THREAD}".strip()
    return wanted


def usable_cpus() -> int:
    """Return how many CPUs this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose_cpus(usable: set[int], count: int, topology: Path = TOPOLOGY) -> set[int]:
    """Return `count` of these CPUs, no two of one core while there are others: they share it."""

    def place_in_core(cpu: int) -> int:
        siblings = _siblings(topology / f"cpu{cpu}" / "topology" / "thread_siblings_list")
        return len([sibling for sibling in siblings if sibling in usable and sibling < cpu])

    return set(sorted(usable, key=lambda cpu: (place_in_core(cpu), cpu))[:count])


def _siblings(path: Path) -> list[int]:
    """Return the CPUs in a list as Linux writes it, such as 0-1 or 0,4."""
    siblings: list[int] = []
    try:
        for part in path.read_text(encoding="ascii").strip().split(","):
            first, _, last = part.partition("-")
            siblings += range(int(first), int(last or first) + 1)
    except (OSError, ValueError):  # not told: each its own
        pass
    return siblings


def settle() -> None:
    """Wait until this process is idle: OpenBLAS's threads spin for 100 ms after their work."""
    for _ in range(MAX_PAUSES):
        before = time.process_time()
        time.sleep(PAUSE)
        if time.process_time() - before < PAUSE / 10:
            return


def describe(packages: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what is measured, on what and when.

    Parameters
    ----------
    packages : mapping of str to str, optional
        Versions to name.
    """
    items = config()
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "culpa": items["culpa"],
        "threads": items["threads"],
        "CPU": f"{items['CPU']}, {os.cpu_count()} CPUs",
        "instruction set": items["instruction set"].split()[0],
        "numpy": items["NumPy"],
        "BLAS": f"{blas['name']} {blas['version']}",
        **{name: text for name, text in (packages or {}).items() if name != "culpa"},
        "Python": items["Python"],
        "date": datetime.now().astimezone().isoformat(" ", "minutes"),
    }


def headline(machine: Mapping[str, str]) -> str:
    """Return that on one line."""
    first = f"Culpa {machine['culpa']} on {machine['CPU']}"
    threads = f"{machine['threads']} thread{'s' if machine['threads'] != '1' else ''}"
    apart = ("culpa", "threads", "CPU", "instruction set", "date")
    versions = ", ".join(f"{key} {value}" for key, value in machine.items() if key not in apart)
    return f"{first}, {machine['instruction set']}; {threads}; {versions}; {machine['date']}"
