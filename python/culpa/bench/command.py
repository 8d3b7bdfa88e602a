"""``culpa bench``, put together."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from culpa.bench import machine, peers, table
from culpa.bench.measure import Result, measure
from culpa.bench.workloads import WORKLOADS
from culpa.data import files


@dataclass(frozen=True)
class Options:
    """What to measure. Raises a ValueError that says what is wrong.

    Parameters
    ----------
    threads : int, default 1
        For every side.
    workloads : sequence of str, optional
        Names of WORKLOADS; none means all.
    rounds : int, default 15
        Turns of every side.
    seconds : float, default 0.2
        Of a turn.
    peers : sequence of str, optional
        Keys of PEERS to measure beside Culpa; none means all that are installed.
    json : Path, optional
        A file for everything that was measured.
    """

    threads: int = 1
    workloads: Sequence[str] = ()
    rounds: int = 15
    seconds: float = 0.2
    peers: Sequence[str] = ()
    json: Path | None = None

    def __post_init__(self) -> None:
        most = machine.usable_cpus()
        if not 1 <= self.threads <= most:
            raise ValueError(
                f"--threads: expected 1 to {most}, the CPUs that this process may use; got "
                f"{self.threads}"
            )
        for name in self.workloads:
            if name not in WORKLOADS:
                raise ValueError(
                    f"--workload: expected one of {', '.join(WORKLOADS)}; got {name!r}"
                )
        if self.rounds < 1:
            raise ValueError(f"--rounds: expected at least 1; got {self.rounds}")
        if not 0 < self.seconds < math.inf:
            raise ValueError(f"--seconds: expected a time above 0; got {self.seconds}")
        peers.choose_peers(self.peers)
        if self.json is not None and (self.json.is_dir() or not self.json.parent.is_dir()):
            raise ValueError(
                f"--json: expected a file in a folder that exists; got {str(self.json)!r}"
            )
        if self.json is not None:
            files.check_output("--json", self.json, (".json",), {})


def run(options: Options) -> list[Result]:
    """Measure, print and write down.

    May start Python anew, to give every library the same threads: call it first thing.

    Parameters
    ----------
    options : Options
        What to measure.

    Returns
    -------
    list of Result
        One per workload.

    Raises
    ------
    Disagreement
        Where a peer computes other losses than Culpa: nothing of that workload is timed.
    """
    machine.limit_threads(options.threads)
    chosen, missing = peers.choose_peers(options.peers)
    sides = [peers.CULPA, *chosen]
    described = machine.describe(peers.packages(sides))
    console, progress = table.make_console(), table.Progress()
    table.print_line(console, machine.headline(described))
    console.print()
    table.print_head(console)
    results = []
    for name in dict.fromkeys(options.workloads or WORKLOADS):
        try:
            result = measure(WORKLOADS[name], sides, options.rounds, options.seconds, progress)
        finally:
            progress.clear()
        results.append(result)
        table.print_result(console, result)
        console.print()
        if getattr(console.file, "error", None) is not None and options.json is None:
            break  # nothing will be seen of the rest, nor kept
    for line in table.footnotes(results):
        table.print_line(console, line)
    if missing:
        names = ", ".join(peer.name for peer in missing)
        table.print_line(console, f"not installed: {names}; {peers.INSTALL} brings them.")
    if options.json is not None:
        content = {
            "machine": described,
            "rounds": options.rounds,
            "seconds": options.seconds,
            "missing": [peer.key for peer in missing],
            "results": [result.to_json() for result in results],
        }
        with files.replacing(options.json, "--json") as file:
            file.write(f"{json.dumps(content, indent=1)}\n".encode())
    return results
