"""Compares the time of a training step of two builds of Culpa, by turns.

BEFORE and AFTER are wheels, or revisions of this repository, which are built into wheels first.
Each wheel is installed into an environment of its own, beside the NumPy of the Python that runs
this script. Then they take turns, a fresh process each and every other pair in the other order, so
that a noisy machine and an unlucky layout of memory hit both alike.

    python bench/versions.py BEFORE AFTER [--runs 30] [--threads 1] [--workload tiny]
        [--seconds 0.2] [--instructions]

Printed are the medians, their ratio before / after (below 1: the later build is slower), and the
quartiles of that ratio over neighbouring runs. A workload counts as slower where its ratio is below
0.99 by more than the spread, half the distance of the quartiles.

--instructions also counts the instructions of a tiny step on one thread, which no neighbour
disturbs: callgrind runs so many steps and twice as many, and the difference leaves out whatever
happens before and after them. It knows no AVX-512, so both builds run their AVX2 kernels where
there are any. Without times: --runs 0. Needs valgrind; all needs Linux or macOS.

The processes that are measured run this file too, by each build's own `culpa.bench`: what is
imported from there must exist in both.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import culpa
from culpa import _core
from culpa.bench import cpu_use, machine
from culpa.bench.measure import CHECKED_STEPS, TOLERANCE, steps_per_round, time_round
from culpa.bench.sides import culpa_side
from culpa.bench.workloads import WORKLOADS, Problem

LEAST_RATIO = 0.99  # before / after: below it by more than the spread is slower
MOST_INSTRUCTIONS = 1.02  # after / before
COUNTED, COUNTED_STEPS = "tiny", 5000
GIT = ("git", "-C", str(Path(__file__).resolve().parents[1]))
REQUIREMENTS = ("numpy", "safetensors", "typer")


@dataclass(frozen=True)
class Run:
    """What one process measured: the seconds of a step, the CPUs' use, and its first losses."""

    seconds: float
    use: cpu_use.Use
    losses: tuple[float, ...]


class Build:
    """A wheel in an environment of its own.

    Parameters
    ----------
    title : str
        What the tables call it.
    source : str
        A wheel, or a revision of this repository.
    folder : Path
        An empty one, for the environment and what is built.
    """

    def __init__(self, title: str, source: str, folder: Path) -> None:
        self.title, self.folder = title, folder
        venv.create(folder, with_pip=True, symlinks=True)
        self.python = folder / "bin" / "python"
        wheel = Path(source) if source.endswith(".whl") else self._build(source)
        self._pip("install", wheel)
        # What Culpa needs: the same copies for both builds. A line in a .pth file comes behind the
        # environment's own packages, and other .pth files there (an editable Culpa) are not read.
        found = [importlib.util.find_spec(name) for name in REQUIREMENTS]
        folders = {str(Path(spec.origin).parents[1]) for spec in found if spec and spec.origin}
        packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
        (packages / "requirements.pth").write_text("\n".join(sorted(folders)), encoding="utf-8")

    def child(self, *arguments: object, under: Sequence[str] = (), **environment: str) -> str:
        """Run this file in the environment, under a tool or not; return what it prints."""
        inherited = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [*under, self.python, "-P", Path(__file__).resolve(), "--child", *map(str, arguments)],
            cwd=self.folder,
            env=inherited | environment,
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
        return done.stdout

    def time(self, workload: str, seconds: float, threads: int) -> Run:
        """Time a step in a process of its own."""
        environment = machine.thread_environment(threads)
        found = json.loads(self.child("time", workload, seconds, **environment))
        return Run(found["seconds"], cpu_use.Use(**found["use"]), tuple(found["losses"]))

    def instructions(self) -> float:
        """Count the instructions of a step by callgrind."""
        environment = machine.thread_environment(1) | {"PYTHONHASHSEED": "0"}
        if "avx2" in _core.instruction_sets():
            environment["CULPA_FORCE_ISA"] = "avx2"
        counts = []
        for steps in (COUNTED_STEPS, 2 * COUNTED_STEPS):
            out = self.folder / f"{steps}.callgrind"
            callgrind = ("valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}")
            self.child("train", COUNTED, steps, under=callgrind, **environment)
            totals = re.search(r"^totals: (\d+)", out.read_text(encoding="utf-8"), re.MULTILINE)
            if totals is None:
                raise RuntimeError(f"callgrind wrote no totals into {out}")
            counts.append(int(totals[1]))
        return (counts[1] - counts[0]) / COUNTED_STEPS

    def _build(self, revision: str) -> Path:
        """Return the wheel of this revision."""
        checkout, wheels = self.folder / "checkout", self.folder / "wheels"
        checkout.mkdir()
        archive = self.folder / "checkout.tar"
        subprocess.run([*GIT, "archive", "-o", archive, f"{revision}^{{commit}}"], check=True)
        shutil.unpack_archive(archive, checkout, filter="data")
        self._pip("wheel", "--wheel-dir", wheels, checkout)
        (wheel,) = wheels.iterdir()
        return wheel

    def _pip(self, command: str, *arguments: object) -> None:
        quiet = ("-q", "--disable-pip-version-check", "--no-deps")
        subprocess.run(
            [self.python, "-m", "pip", command, *quiet, *map(str, arguments)], check=True
        )


def child(task: str, *arguments: str) -> None:
    """Do what one of the environments is asked for."""
    if not Path(culpa.__file__).is_relative_to(sys.prefix):
        sys.exit(f"expected the environment's own Culpa, in {sys.prefix}; got {culpa.__file__}")
    if task == "headline":
        print(machine.headline(machine.describe()))
        return
    workload, count = arguments
    side = culpa_side.CulpaSide(Problem(WORKLOADS[workload]))
    if task == "train":
        # An epoch per call of the core: cut by time, a slow callgrind would mean more calls.
        culpa_side.CHUNK_SECONDS = 3600.0
        side.run(int(count))
        return
    losses = list(side.losses(CHECKED_STEPS))
    seconds, use = time_round(side, steps_per_round(side, float(count)))
    print(json.dumps({"seconds": seconds, "use": vars(use), "losses": losses}))


def take_turns(
    builds: Sequence[Build], workload: str, runs: int, seconds: float, threads: int
) -> list[list[Run]]:
    """Return the runs of each build; every other round goes backward."""
    done: list[list[Run]] = [[] for _ in builds]
    turns = list(zip(builds, done, strict=True))
    for i in range(runs):
        for build, its_runs in turns if i % 2 == 0 else reversed(turns):
            its_runs.append(build.time(workload, seconds, threads))
    return done


def compare(before: Sequence[float], after: Sequence[float]) -> tuple[float, float, float, bool]:
    """Return the ratio of the medians, quartiles of the pairs' ratios, and whether that is slower.

    Examples
    --------
    >>> compare([1.0, 1.0, 1.0], [1.25, 1.25, 1.25])
    (0.8, 0.8, 0.8, True)
    """
    ratio = float(np.median(before) / np.median(after))
    low, high = (float(part) for part in np.percentile(np.divide(before, after), (25, 75)))
    return ratio, low, high, ratio < LEAST_RATIO - (high - low) / 2


def check_losses(workload: str, before: Run, after: Run) -> bool:
    """Return whether both computed the same bits; end where they did other work."""
    if not np.allclose(after.losses, before.losses, rtol=TOLERANCE, atol=0):
        sys.exit(
            f"{workload}: the builds compute other losses, so their times cannot be compared: "
            f"before {before.losses}, after {after.losses}"
        )
    return after.losses == before.losses


def print_times(builds: Sequence[Build], given: argparse.Namespace) -> list[str]:
    """Time all workloads and print them; return what is slower."""
    print(f"{'us/step':8}{'before':>14}{'after':>14}{'ratio':>8}  {'quartiles':13}{'CPU time':>9}")
    slower = []
    for name in dict.fromkeys(given.workload or WORKLOADS):
        before, after = take_turns(builds, name, given.runs, given.seconds, given.threads)
        same = check_losses(name, before[0], after[0])
        seconds = [[run.seconds for run in runs] for runs in (before, after)]
        ratio, low, high, is_slower = compare(*seconds)
        share = cpu_use.share([run.use for run in (*before, *after)])
        slower += [name] if is_slower else []
        print(
            f"{name:8}{np.median(seconds[0]) * 1e6:>14,.2f}{np.median(seconds[1]) * 1e6:>14,.2f}"
            f"{ratio:>8.3f}  {f'{low:.3f}-{high:.3f}':13}"
            f"{'' if share is None else f'{share:.0%}':>9}"
            f"{'' if same else '  other bits'}{'  slower' if is_slower else ''}",
            flush=True,
        )
    print(
        f"\nratio: before / after, {given.runs} runs each; CPU time: what both got of what they "
        f"asked for\nbelow {LEAST_RATIO} by more than the spread: {', '.join(slower) or 'none'}"
    )
    return slower


def print_instructions(builds: Sequence[Build]) -> bool:
    """Count both builds' instructions and print them; return whether they are too many."""
    before, after = (build.instructions() for build in builds)
    print(
        f"instructions of a {COUNTED} step: before {before:,.0f}, after {after:,.0f}; "
        f"before / after {before / after:.4f}, promised: after at most {MOST_INSTRUCTIONS} x before"
    )
    return after > MOST_INSTRUCTIONS * before


def parse_arguments() -> argparse.Namespace:
    """Return what is asked for, checked before anything is built."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("before", metavar="BEFORE", help="a wheel or a revision")
    parser.add_argument("after", metavar="AFTER", help="a wheel or a revision")
    parser.add_argument("--runs", type=int, default=30, help="of each build per workload; 0: none")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workload", action="append", choices=WORKLOADS, help="may be repeated")
    parser.add_argument("--seconds", type=float, default=0.2, help="of a run, without its start")
    parser.add_argument("--instructions", action="store_true", help="count them by callgrind")
    given = parser.parse_args()
    for source in (given.before, given.after):
        if source.endswith(".whl"):
            if not Path(source).is_file():
                parser.error(f"expected a wheel that exists; got {source!r}")
        elif subprocess.run(
            [*GIT, "rev-parse", "-q", "--verify", f"{source}^{{commit}}"], stdout=subprocess.DEVNULL
        ).returncode:
            parser.error(
                f"expected a wheel (.whl) or a revision of this repository; got {source!r}"
            )
    if given.runs < 0:
        parser.error(f"expected --runs of at least 0; got {given.runs}")
    if not 1 <= given.threads <= machine.usable_cpus():
        parser.error(f"expected --threads from 1 to {machine.usable_cpus()}; got {given.threads}")
    if not 0 < given.seconds < float("inf"):
        parser.error(f"expected --seconds above 0; got {given.seconds}")
    if given.instructions and shutil.which("valgrind") is None:
        parser.error("--instructions: expected valgrind on the PATH; install it (apt, brew)")
    return given


def main() -> int:
    """Compare and print; 1 where the later build is slower."""
    given = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="culpa-versions-") as folder:
        builds = [
            Build(title, source, Path(folder) / title)
            for title, source in (("before", given.before), ("after", given.after))
        ]
        for build, source in zip(builds, (given.before, given.after), strict=True):
            headline = build.child("headline", **machine.thread_environment(given.threads))
            print(f"{build.title} ({source}): {headline}", end="", flush=True)
        if sys.platform == "linux":  # the processes inherit it; building needed all CPUs
            cpus = machine.choose_cpus(os.sched_getaffinity(0), given.threads)
            os.sched_setaffinity(0, cpus)
        slower = print_times(builds, given) if given.runs else []
        more = given.instructions and print_instructions(builds)
    return int(bool(slower) or more)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        sys.exit(main())
