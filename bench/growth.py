"""Measures how the time of a step grows with width, depth, outputs, batch and threads.

A step is as in step.py. Its time is divided by what its matrix products would take at the measured
peak of the same threads: 1 is the limit, and a small network lies far above it, for a step costs
something even where there is nothing to compute. Sizes include powers of two and their neighbours.
Each size is timed in short rounds, with the peak measured beside every round; reported are medians.
Where other processes took cores that it needed, a size is measured again, a few times; sizes that
never had their cores to themselves get an asterisk and stay out of the picture (Linux only).

A cliff is a larger size whose time per FLOP is above that of the size before it. The worst
candidates are measured again, the two sizes taking turns, before one is named.

At last step.py's networks run with each instruction set that this CPU has, in float32 and float64,
each in a process of its own and as a fraction of that set's own peak.

    python bench/growth.py [--threads 1 2] [--axis width] [--picture PNG] [--json PATH]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import culpa
from culpa import _core
from culpa.bench.machine import describe, headline
from culpa.bench.sides.culpa_side import CHUNK_SECONDS
from culpa.bench.workloads import LEARNING_RATE, WORKLOADS, Workload

ROUNDS, ROUND_SECONDS = 5, 0.03
SETTLING = 0.1  # seconds: threads that wake share a core until the system moves one of them
TRIES, DISTURBED = 3, 0.2  # cores that others may take from a size while it is measured
CANDIDATES, TURNS = 8, 15  # cliffs that are measured again, and how often
MOST_ROWS = 1 << 14  # of the data: as many as the largest batch needs, and the caches do not hold
SAMPLED = ("tiny", "digits", "mnist", "tab")

WIDTHS = (
    *(16, 17, 24, 31, 32, 33, 48, 63, 64, 65, 80, 96, 100, 112, 120, 127, 128, 129, 160, 192, 224),
    *(240, 255, 256, 257, 320, 384, 448, 496, 511, 512, 513, 640, 768, 896, 1000, 1023, 1024, 1025),
    *(1280, 1536, 2000, 2047, 2048, 2049, 3072, 4000, 4096),
)
DEPTHS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 20, 24, 28, 31, 32)
BATCHES = (
    *(1, 2, 3, 4, 6, 7, 8, 12, 13, 14, 15, 16, 17, 20, 24, 28, 29, 31, 32, 33, 48, 63, 64, 65, 96),
    *(120, 127, 128, 129, 192, 250, 255, 256, 257, 384, 511, 512, 513, 768, 1000, 1023, 1024, 1025),
    *(1536, 2000, 2047, 2048, 2049, 3072, 4000, 4095, 4096, 4097, 6144, 8000, 8191, 8192),
)
OUTPUTS = (
    *(1, 2, 3, 4, 8, 10, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64, 65, 100, 127, 128, 129, 192, 250),
    *(255, 256, 257, 384, 500, 511, 512, 513, 768, 1000, 1023, 1024, 1025),
)
AXES = {
    "width": ("w-w-w-10, batch 128", WIDTHS, lambda w: ((w, w, w, 10), 128)),
    "depth": (
        "dense layers of 256, then 10; batch 128",
        DEPTHS,
        lambda d: ((256,) * d + (10,), 128),
    ),
    "batch": ("784-256-128-10", BATCHES, lambda b: ((784, 256, 128, 10), b)),
    "outputs": ("256-256-outputs, batch 128", OUTPUTS, lambda o: ((256, 256, o), 128)),
}


class Runner:
    """A network and data for it; takes steps through the core, a chunk per call, as ``fit``."""

    def __init__(self, shape: Sequence[int], batch: int, dtype: str = "float32") -> None:
        classes = shape[-1] > 1  # one output: yes or no
        layers = [culpa.Dense(width, "relu") for width in shape[1:-1]] + [culpa.Dense(shape[-1])]
        model = culpa.Sequential(
            layers,
            loss="cross_entropy" if classes else "binary_cross_entropy",
            input_size=shape[0],
            dtype=dtype,
        )
        self.core = model._network.core
        self.core.set_optimizer(culpa.Adam(LEARNING_RATE).for_core())
        self.float64 = dtype == "float64"
        self.flop = Workload("", tuple(shape), batch, 0).flop
        generator = np.random.default_rng(0)
        self.batches = max(2, min(MOST_ROWS // batch, 512))
        n = batch * self.batches
        X = generator.standard_normal((n, shape[0]), np.float32)
        y = generator.integers(0, max(shape[-1], 2), n, np.int32)
        targets = {"labels": y} if classes else {"targets": y[:, None].astype(np.float32)}
        self.examples = _core.ExampleArrays(X, order=generator.permutation(n), **targets)
        self.offsets = np.arange(self.batches + 1) * batch
        self.rates = np.full(self.batches, LEARNING_RATE)
        self.sums = np.zeros((3, self.batches))
        self.at = 0
        self.run(2)
        self.steps = self._steps(ROUND_SECONDS)

    def _steps(self, seconds: float) -> int:
        steps = 1
        while True:
            began = time.perf_counter()
            self.run(steps)
            took = time.perf_counter() - began
            if took > seconds / 4:
                return max(1, round(seconds * steps / took))
            steps *= 2

    def run(self, steps: int) -> None:
        """Take the next `steps` steps."""
        while steps > 0:
            first = self.at % self.batches
            end = min(first + steps, self.batches)
            job = _core.Job(
                self.examples,
                offsets=self.offsets[first : end + 1],
                learning_rates=self.rates[first:end],
                seconds=CHUNK_SECONDS,
                losses=self.sums[0, first:end],
                weight_sums=self.sums[1, first:end],
                scores=self.sums[2, first:end],
            )
            done, stop, _ = self.core.train(job)
            if stop not in ("finished", "time"):
                raise SystemExit(f"culpa stopped: {stop}")
            self.at += done
            steps -= done

    def run_for(self, seconds: float) -> None:
        """Take steps for so long."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            self.run(self.steps)

    def time_round(self, threads: int) -> tuple[float, float]:
        """Return the seconds of a step, and its multiple of the time at the peak beside it."""
        peak = _core.measure_peak(float64=self.float64, threads=threads, rounds=5)
        began = time.perf_counter()
        self.run(self.steps)
        seconds = (time.perf_counter() - began) / self.steps
        peak = max(peak, _core.measure_peak(float64=self.float64, threads=threads, rounds=5))
        return seconds, seconds * peak / self.flop


def count_cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cores_of_others() -> Callable[[], float]:
    """Return a function that tells how many cores other processes used since this call."""

    def used() -> float:
        try:
            first = Path("/proc/stat").read_text("ascii").partition("\n")[0].split()
        except OSError:  # not Linux
            return 0.0
        user, nice, system, _, _, interrupts, soft = map(int, first[1:8])
        ticks = user + nice + system + interrupts + soft
        return ticks / os.sysconf("SC_CLK_TCK") - time.process_time()

    began, before = time.perf_counter(), used()
    return lambda: (used() - before) / (time.perf_counter() - began)


def measure(runner: Runner, threads: int) -> dict[str, float]:
    """Return the medians over the rounds, of the least disturbed try."""
    best: dict[str, float] = {}
    for _ in range(TRIES):
        runner.run_for(SETTLING if threads > 1 else 0)
        others = cores_of_others()
        rounds = [runner.time_round(threads) for _ in range(ROUNDS)]
        disturbance = max(0.0, others() - (count_cores() - threads))
        if not best or disturbance < best["taken"]:
            seconds, multiple = map(float, np.median(rounds, axis=0))
            best = {"seconds": seconds, "multiple": multiple, "taken": disturbance}
        if disturbance < DISTURBED:
            break
    return best | {"flop": runner.flop}


def measure_axis(axis: str, threads: int) -> list[dict[str, Any]]:
    """Return a result for each size of an axis."""
    culpa.set_num_threads(threads)
    _, sizes, network = AXES[axis]
    return [
        {"axis": axis, "threads": threads, "size": size} | measure(Runner(*network(size)), threads)
        for size in sizes
    ]


def candidates(results: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the neighbours between which time per FLOP rises most, worst first."""
    quiet = [result for result in results if result["taken"] < DISTURBED]
    pairs = [
        (a, b)
        for a, b in itertools.pairwise(quiet)
        if (a["axis"], a["threads"]) == (b["axis"], b["threads"])
    ]
    pairs.sort(key=lambda pair: pair[0]["multiple"] / pair[1]["multiple"])
    return pairs[:CANDIDATES]


def measure_again(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return how much more time per FLOP the larger of two sizes takes, measured in turns."""
    threads, network = before["threads"], AXES[before["axis"]][2]
    culpa.set_num_threads(threads)
    runners = [Runner(*network(result["size"])) for result in (before, after)]
    for runner in runners:
        runner.run_for(SETTLING)
    ratios = []
    for _ in range(TURNS):
        small, large = (runner.time_round(threads)[1] for runner in runners)
        ratios.append(large / small)
    sizes = {"from": before["size"], "to": after["size"]}
    return {"axis": before["axis"], "threads": threads, **sizes, "ratio": float(np.median(ratios))}


def sample() -> list[dict[str, Any]]:
    """Return how near step.py's networks come to the peak, one thread, both dtypes in turns."""
    culpa.set_num_threads(1)
    results = []
    for name in SAMPLED:
        workload = WORKLOADS[name]
        dtypes = ("float32", "float64")
        runners = [Runner(workload.shape, workload.batch, dtype) for dtype in dtypes]
        rounds = [[runner.time_round(1) for runner in runners] for _ in range(2 * ROUNDS)]
        for dtype, (seconds, multiple) in zip(dtypes, np.median(rounds, axis=0), strict=True):
            results.append(
                {
                    "instruction_set": _core.instruction_set(),
                    "workload": name,
                    "dtype": dtype,
                    "seconds": float(seconds),
                    "gflops": workload.flop / float(seconds) / 1e9,
                    "multiple": float(multiple),
                }
            )
    return results


def sample_all() -> list[dict[str, Any]]:
    """Return the samples of every instruction set."""
    results = []
    for name in _core.instruction_sets():
        command = [sys.executable, __file__, "--sample"]
        environment = os.environ | {"CULPA_FORCE_ISA": name}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        results += json.loads(done.stdout)
    return results


def print_axes(results: Sequence[dict[str, Any]]) -> None:
    """Print all sizes, the thread counts side by side."""
    counts = sorted({result["threads"] for result in results})
    heads = "".join(f"{f'us/step, {n} thr.':>18}{'over peak':>11}" for n in counts)
    for axis in dict.fromkeys(result["axis"] for result in results):
        print(f"\n{axis}: {AXES[axis][0]}\n{axis:>8}{heads}")
        rows: dict[int, str] = {}
        for result in results:
            if result["axis"] == axis:
                cells = f"{result['seconds'] * 1e6:>18,.1f}{result['multiple']:>10.2f}"
                cells += "*" if result["taken"] >= DISTURBED else " "
                rows[result["size"]] = rows.get(result["size"], "") + cells
        for size, cells in rows.items():
            print(f"{size:>8,}{cells.rstrip()}")


def print_samples(samples: Sequence[dict[str, Any]]) -> None:
    """Print how near each instruction set comes to its own peak."""
    print("\none thread, GFLOP/s and % of the set's own peak")
    print(f"{'':10}{'':10}" + "".join(f"{name:>16}" for name in SAMPLED))
    seconds = {}
    for name in dict.fromkeys(s["instruction_set"] for s in samples):
        for dtype in ("float32", "float64"):
            own = [s for s in samples if (s["instruction_set"], s["dtype"]) == (name, dtype)]
            seconds[dtype] = np.array([s["seconds"] for s in own])
            cells = "".join(f"{s['gflops']:>10.1f}{100 / s['multiple']:>4.0f} %" for s in own)
            print(f"{name:10}{dtype:10}{cells}")
        cells = "".join(f"{r:>16.2f}" for r in seconds["float32"] / seconds["float64"])
        print(f"{name:10}{'64 by 32':10}{cells}")
    print("64 by 32: speed in float64 as a part of that in float32")


def print_cliffs(cliffs: Sequence[dict[str, Any]]) -> None:
    """Name the worst cliff, and the runners-up."""
    print("\ntime per FLOP of a size over that of the size before it, worst first")
    for c in sorted(cliffs, key=lambda cliff: -cliff["ratio"]):
        sizes = f"{c['axis']} {c['from']:,} to {c['to']:,}"
        print(f"{c['ratio']:>8.2f}  {sizes}, {c['threads']} thread{'s'[: c['threads'] - 1]}")


def draw(results: Sequence[dict[str, Any]], machine: dict[str, str], path: Path) -> None:
    """Draw the growth along three axes, and what threads give."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from PIL import Image

    counts = sorted({result["threads"] for result in results})
    shades = plt.get_cmap("viridis")(np.linspace(0.15, 0.7, len(counts)))
    colors = dict(zip(counts, shades, strict=True))
    results = [result for result in results if result["taken"] < DISTURBED]
    style = {"font.size": 11, "axes.spines.top": False, "axes.spines.right": False}
    with plt.rc_context(style):
        figure, panels = plt.subplots(2, 2, figsize=(12, 8.4), layout="constrained")
        for axis, panel in zip(("width", "depth", "batch"), panels.flat, strict=False):
            draw_axis(panel, axis, results, colors)
        draw_threads(panels[1, 1], results, colors)
        panels[0, 0].legend(frameon=False)
        figure.suptitle(
            "Time of a training step over the time of its arithmetic at the peak (1: the limit)\n"
            f"{machine['CPU']}, float32, Adam",
            fontsize=13,
        )
        figure.savefig(path, dpi=100)
        plt.close(figure)
    with Image.open(path) as picture:  # with a palette it takes half the bytes
        picture.convert("RGB").quantize(64).save(path, optimize=True)


def draw_axis(
    panel: Any, axis: str, results: Sequence[dict[str, Any]], colors: dict[int, Any]
) -> None:
    """Draw one axis, a line per number of threads; below the limit, times on one."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    title, sizes, _ = AXES[axis]
    for n, color in colors.items():
        own = [r for r in results if (r["axis"], r["threads"]) == (axis, n)]
        x, y = [r["size"] for r in own], [r["multiple"] for r in own]
        label = f"{n} thread{'s'[: n - 1]}"
        panel.plot(x, y, "o-", color=color, markersize=3.2, linewidth=1.3, label=label)
    panel.axhline(1, color="0.45", linewidth=1, linestyle=(0, (5, 3)))
    panel.set_title(f"{axis.capitalize()}: {title}", loc="left", fontsize=12)
    panel.set(xscale="log", yscale="log", xlabel=axis, ylabel="time over time at peak")
    panel.set_ylim(bottom=max(panel.get_ylim()[1], 10) ** -0.11)
    powers = [2**i for i in range(14) if min(sizes) <= 2**i <= max(sizes)]
    powers = powers[:: 1 + len(powers) // 10]
    for r in results:
        if r["axis"] == axis and r["threads"] == 1 and r["size"] in powers:
            text, place = format_seconds(r["seconds"]), (r["size"], 0.02)
            where = panel.get_xaxis_transform()
            panel.annotate(text, place, xycoords=where, fontsize=9, ha="center", color=colors[1])
    plain = FuncFormatter(lambda value, _: f"{value:,g}")
    panel.xaxis.set_major_locator(FixedLocator(powers))
    panel.yaxis.set_major_locator(FixedLocator([1, 1.5, 2, 3, 5, 10, 20, 50, 100]))
    for scale in (panel.xaxis, panel.yaxis):
        scale.set_major_formatter(plain)
        scale.set_minor_locator(NullLocator())


def draw_threads(panel: Any, results: Sequence[dict[str, Any]], colors: dict[int, Any]) -> None:
    """Draw the speed-up of every size by threads, against the time it takes on one."""
    alone = {(r["axis"], r["size"]): r["seconds"] for r in results if r["threads"] == 1}
    for n in list(colors)[1:]:
        own = [r for r in results if r["threads"] == n and (r["axis"], r["size"]) in alone]
        x = np.array([alone[r["axis"], r["size"]] for r in own])
        y = x / [r["seconds"] for r in own]
        panel.scatter(1e6 * x, y, s=16, color=colors[n], linewidths=0)
        panel.axhline(n, color="0.45", linewidth=1, linestyle=(0, (5, 3)))
    panel.set_title("Threads: all sizes of all axes", loc="left", fontsize=12)
    panel.set(xscale="log", xlabel="us per step on one thread", ylabel="speed-up over one thread")
    panel.set_ylim(0, 1.2 * max(colors))


def format_seconds(seconds: float) -> str:
    """Return two or three digits and a unit."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.{int(seconds < 1e-5)}f} us"
    return f"{seconds * 1e3:.{int(seconds < 1e-2)}f} ms"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, count_cores()}))
    parser.add_argument("--axis", action="append", choices=AXES, help="default: all")
    parser.add_argument("--picture", type=Path, help="draw to this PNG; takes all axes")
    parser.add_argument("--json", type=Path, help="write all results to this file")
    parser.add_argument("--sample", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if min(arguments.threads) < 1:
        parser.error("expected --threads of at least 1")
    if arguments.picture and arguments.axis:
        parser.error("expected no --axis beside --picture")
    return arguments


def main() -> None:
    """Measure, print, draw and write down."""
    arguments = parse_arguments()
    if arguments.sample:
        print(json.dumps(sample()))
        return
    machine = describe()
    print(headline(machine))
    results = []
    for axis in arguments.axis or AXES:
        for threads in sorted(arguments.threads):
            print(f"measuring {axis}, threads: {threads} ...", file=sys.stderr)
            results += measure_axis(axis, threads)
    print_axes(results)
    samples = sample_all()
    print_samples(samples)
    cliffs = [measure_again(*pair) for pair in candidates(results)]
    print_cliffs(cliffs)
    if arguments.picture is not None:
        draw(results, machine, arguments.picture)
    if arguments.json is not None:
        content = {"machine": machine, "sizes": results, "samples": samples, "cliffs": cliffs}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
