"""Measures what private training costs: a step with clipped examples and noise, over a plain one.

Both take the same batches, in turns, so that what disturbs the machine disturbs both. Further rows
say what the clipping alone costs (noise 0), and, where Opacus is installed, what its steps on
PyTorch take, by ghost clipping and by hooks, beside PyTorch's plain step.

    python bench/privacy.py [--threads 1] [--threads 2] [--workload mnist] [--rounds 15]
"""

from __future__ import annotations

import argparse
import importlib.util
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from culpa import _core
from culpa.bench.machine import describe, headline, limit_threads
from culpa.bench.sides.culpa_side import CulpaSide
from culpa.bench.workloads import LEARNING_RATE, WORKLOADS, Problem, Workload

ROUND_SECONDS = 0.1
CLIP = 1.0


def private_side(problem: Problem, noise: float) -> CulpaSide:
    """Return steps of culpa with each example's gradient clipped, and noise in their sum."""
    side = CulpaSide(problem)
    divisor = float(problem.workload.batch)
    side.options = {"example_clip": CLIP, "noise": noise, "divisor": divisor, "noise_seed": 1}
    return side


def opacus_sides(problem: Problem) -> dict[str, Callable[[int], Any]]:
    """Return PyTorch's plain step and Opacus's, where it is installed."""
    if importlib.util.find_spec("opacus") is None:
        return {}
    import torch
    from opacus import GradSampleModule
    from opacus.grad_sample import GradSampleModuleFastGradientClipping
    from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
    from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping

    from culpa.bench.sides.torch_side import make_network

    warnings.filterwarnings("ignore", message="Full backward hook")
    torch.set_num_threads(_core.num_threads())
    workload = problem.workload
    X, y = torch.from_numpy(problem.X[problem.order]), torch.from_numpy(problem.y[problem.order])
    settings: dict[str, Any] = {
        "noise_multiplier": 1.0,
        "max_grad_norm": CLIP,
        "expected_batch_size": workload.batch,
    }

    def make(kind: str) -> Callable[[int], Any]:
        model: Any = make_network(problem.weights, problem.biases)
        loss: Any = torch.nn.CrossEntropyLoss()
        optimizer: Any = torch.optim.Adam(model.parameters(), LEARNING_RATE)
        if kind == "hooks":
            model = GradSampleModule(model)
            optimizer = DPOptimizer(optimizer, **settings)
        elif kind == "ghost":
            model = GradSampleModuleFastGradientClipping(
                model, max_grad_norm=CLIP, use_ghost_clipping=True
            )
            optimizer = DPOptimizerFastGradientClipping(optimizer, **settings)
            loss = DPLossFastGradientClipping(model, optimizer, loss)

        def run(steps: int) -> None:
            for i in range(steps):
                at = i % workload.batches * workload.batch
                optimizer.zero_grad()
                loss(model(X[at : at + workload.batch]), y[at : at + workload.batch]).backward()
                optimizer.step()

        return run

    return {"torch, plain": make("plain"), **{f"opacus, {x}": make(x) for x in ("ghost", "hooks")}}


def measure(workload: Workload, rounds: int, threads: int) -> None:
    """Measure one workload and print times and ratios."""
    problem = Problem(workload)
    sides: dict[str, Callable[[int], Any]] = {
        "plain": CulpaSide(problem).run,
        "clipped": private_side(problem, 0.0).run,
        "private": private_side(problem, CLIP).run,
        **opacus_sides(problem),
    }
    steps: dict[str, int] = {}
    for name, run in sides.items():
        run(2)
        began = time.perf_counter()
        run(3)
        steps[name] = max(2, int(ROUND_SECONDS * 3 / (time.perf_counter() - began)))
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            began = time.perf_counter()
            run(steps[name])
            seconds[name].append((time.perf_counter() - began) / steps[name])
    print(f"\n{workload}, {threads} thread{'s' * (threads > 1)}")
    for name, times in seconds.items():
        base = "torch, plain" if name.startswith("opacus") else "plain"
        ratios = np.divide(times, seconds[base])
        low, middle, high = np.percentile(ratios, [25, 50, 75])
        ratio = f"{middle:6.2f}x {base} ({low:.2f} to {high:.2f})" if name != base else ""
        print(f"  {name:<14}{np.median(times) * 1e6:12,.1f} us {ratio}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, action="append", help="default: 1 and 2")
    parser.add_argument("--workload", choices=WORKLOADS, default="mnist")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    counts = arguments.threads or [1, 2]
    limit_threads(max(counts))
    print(headline(describe()))
    for threads in counts:
        _core.set_num_threads(threads)
        measure(WORKLOADS[arguments.workload], arguments.rounds, threads)


if __name__ == "__main__":
    main()
