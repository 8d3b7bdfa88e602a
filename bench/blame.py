"""Measures what answers about blame cost, beside those who can give the same ones.

First, what `want` costs in `model.blame`, over a plain training step without its update (gather,
walk, loss and gradient), for the step's batch and for many rows. Then each question of
`bench/questions/`, asked of culpa and, where they are installed, of PyTorch (autograd, or
torch.func's vmap of grad), Captum and Opacus: float32, the same weights (784-256-128-10) and
examples; where nothing is random, the answers are compared before they are timed. Label errors,
whose measure is not time, are hunted last, beside cleanlab (`bench/label_errors.py` has more).

The sides take turns. Reported are medians of the times, medians and quartiles of the ratio to culpa
in each round (above 1: culpa is faster), and by how much the peak of the resident memory rises
while a first answer is given, each in a process of its own.

    python bench/blame.py [--threads 1] [--rounds 9] [--question lrp --question want ...]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import culpa
from culpa import _core
from culpa.bench.machine import describe, headline, limit_threads
from culpa.bench.sides.culpa_side import CulpaSide, make_model
from culpa.bench.workloads import WORKLOADS, Problem
from questions import Call, attributions, influence, private, walk
from turns import child_memory, differences, print_times, rise, take_turns

WANTS: dict[str, tuple[str, ...]] = {
    "norms": ("gradient_norms",),
    "inputs": ("inputs",),
    "nodes": ("nodes",),
    "weights": ("weights",),
    "all": ("losses", "nodes", "inputs", "weights", "gradient_norms"),
}


# What want costs


def step_without_update(side: CulpaSide) -> float:
    """Return the seconds of a training step but for its update, by the core's own clock."""
    names = _core.phase_names()
    phases, steps = np.zeros(len(names)), side.workload.batches
    side.options = {"phases": phases}
    began = time.perf_counter()
    done = 0
    while time.perf_counter() - began < 0.1:
        done += side.run(steps)
    return float(phases.sum() - phases[names.index("optimizer")]) / done


def measure_wants(workload: str, rounds: int) -> None:
    """Print what each want costs over a step without its update."""
    problem = Problem(WORKLOADS[workload])
    side, batch = CulpaSide(problem), problem.workload.batch
    model = make_model(problem.workload.shape)
    model._network.core.set_parameters(side.initial)
    X, y = problem.X[problem.order], problem.y[problem.order]
    sizes = (batch, len(X))
    calls: dict[str, Call] = {
        f"{name} {rows}": lambda want=want, rows=rows: model.blame(X[:rows], y[:rows], want=want)
        for rows in sizes
        for name, want in WANTS.items()
    }
    steps: list[float] = []
    times: dict[str, list[float]] = {name: [] for name in calls}
    step_without_update(side)
    for _ in range(rounds):
        steps.append(step_without_update(side))
        for name, seconds in take_turns(calls, 1, 0.1).items():
            times[name] += seconds
    print(f"\n{problem.workload}: {np.median(steps) * 1e6:,.1f} us a step without its update")
    print(f"  {'blame, over it':<16}" + "".join(f"{name:>10}" for name in WANTS))
    for rows in sizes:
        ratios = [
            np.median(np.divide(times[f"{name} {rows}"], steps)) * batch / rows for name in WANTS
        ]
        print(f"  {rows:>7,} rows    " + "".join(f"{ratio:>10.2f}" for ratio in ratios), flush=True)


# The questions

QUESTIONS = {**walk.QUESTIONS, **attributions.QUESTIONS, **influence.QUESTIONS, **private.QUESTIONS}


def measure_question(name: str, rounds: int) -> None:
    """Print a question's times and memory."""
    question = QUESTIONS[name]
    present = [side for side in question.sides if find_spec(question.sides[side].module)]
    calls = {side: question.sides[side].make() for side in present}
    differ = ""
    if question.tolerance is not None and len(calls) > 1:
        worst = differences({side: call() for side, call in calls.items()})
        if worst > question.tolerance:
            raise SystemExit(f"{question.title}: the sides' answers differ by {worst:.2g}")
        differ = f" (answers differ by at most {worst:.1g})"
    times = take_turns(calls, rounds)
    threads = culpa.get_num_threads()
    memory = {side: child_memory(__file__, name, side, threads) for side in present}
    print(f"\n{question.title}{differ}")
    print_times(times, memory)


def hunt_label_errors(threads: int) -> None:
    """Flip labels of Fashion-MNIST and hunt them, where the data are there."""
    print("\nlabel errors", flush=True)
    script = Path(__file__).with_name("label_errors.py")
    subprocess.run([sys.executable, script, "--seeds", "1", "--threads", str(threads)], check=False)


def main() -> None:
    """Measure and print."""
    names = ("want", *QUESTIONS, "label_errors")
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--question", choices=names, action="append", help="default: all")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        question, side, threads = arguments.child
        limit_threads(int(threads))
        print(rise(QUESTIONS[question].sides[side].make))
        return
    if arguments.threads < 1 or arguments.rounds < 1:
        parser.error("expected --threads and --rounds of at least 1")
    limit_threads(arguments.threads)
    print(headline(describe()))
    for question in arguments.question or names:
        if question == "want":
            for workload in ("digits", "mnist", "tab"):
                measure_wants(workload, arguments.rounds)
        elif question == "label_errors":
            hunt_label_errors(arguments.threads)
        else:
            measure_question(question, arguments.rounds)


if __name__ == "__main__":
    main()
