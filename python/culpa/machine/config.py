"""What this installation is and what it runs on."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np

from culpa import _core
from culpa._terminal import say
from culpa._version import __version__

__all__ = ["config", "show_config"]


def config() -> dict[str, str]:
    """Return version, CPU, instruction set and threads, as text."""
    return {
        "culpa": __version__,
        "CPU": _cpu(),
        "instruction set": f"{_core.instruction_set()} (of {', '.join(_core.instruction_sets())})",
        "threads": str(_core.num_threads()),
        "NumPy": np.__version__,
        "Python": platform.python_version(),
        "system": platform.platform(terse=True),
    }


def show_config() -> None:
    """Print version, CPU, instruction set and threads.

    Examples
    --------
    >>> import culpa
    >>> show_config()  # doctest: +ELLIPSIS
    culpa ...
    """
    items = config()
    width = max(map(len, items))
    for key, value in items.items():
        say(f"{key:<{width}}  {value}")


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
