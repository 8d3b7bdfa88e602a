"""Measures what answers about blame cost, beside those who can give the same ones.

First, what `want` costs in `model.blame`, over a plain training step without its update (gather,
walk, loss and gradient), for the step's batch and for many rows. Then each question, asked of culpa
and, where they are installed, of PyTorch (autograd, or torch.func's vmap of grad), Opacus and
Captum, with the same weights; the answers are compared before they are timed. Private training and
label errors, whose measure is not time alone, have `bench/privacy.py` and `bench/label_errors.py`.

The sides take turns. Reported are medians of the times, quartiles of the ratio to culpa in each
round (above 1: culpa is faster), and by how much the peak of the resident memory rises, each in a
process of its own.

    python bench/blame.py [--threads 1] [--rounds 9] [--question examples]
"""

from __future__ import annotations

import argparse
import importlib.util
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import culpa
from culpa import _core
from culpa.bench.machine import describe, headline, limit_threads
from culpa.bench.sides.culpa_side import CulpaSide, make_model
from culpa.bench.workloads import WORKLOADS, Problem
from turns import Call, child_memory, differences, print_times, rise, take_turns

WANTS: dict[str, tuple[str, ...]] = {
    "examples": ("examples",),
    "inputs": ("inputs",),
    "nodes": ("nodes",),
    "weights": ("weights",),
    "all": ("losses", "nodes", "inputs", "weights", "examples"),
}
ROWS = 512


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
    model._built().set_parameters(side.initial)
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


def problem() -> tuple[Any, Any, Any]:
    """Return weights as a NumpyNet, X and y."""
    from culpa.bench.numpy_net import NumpyNet

    shape = WORKLOADS["mnist"].shape
    rng = np.random.default_rng(0)
    X = rng.standard_normal((ROWS, shape[0]), np.float32)
    return NumpyNet(shape, seed=0), X, rng.integers(0, shape[-1], ROWS)


def culpa_side(question: str) -> Call:
    """Return culpa's answer."""
    net, X, y = problem()
    model = make_model(WORKLOADS["mnist"].shape)
    for i, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
        model.layers[i].weight, model.layers[i].bias = weight, bias

    def ask() -> Any:
        blame = model.blame(X, y, want=(question,))
        return blame.nodes[0] if question == "nodes" else getattr(blame, question)

    return ask


def torch_parts() -> tuple[Any, Any, Any, Any]:
    """Return torch, the network, X and y."""
    import torch

    from culpa.bench.sides.torch_side import make_network

    torch.set_num_threads(culpa.get_num_threads())
    net, X, y = problem()
    return torch, make_network(net.weights, net.biases), torch.from_numpy(X), torch.from_numpy(y)


def autograd_side(question: str) -> Call:
    """Return autograd's answer: error signals of the inputs or of the nodes."""
    torch, network, X, y = torch_parts()

    def ask() -> Any:
        x = X.clone().requires_grad_() if question == "inputs" else X
        asked, h = [x], x
        for layer in network:
            h = layer(h)
            if isinstance(layer, torch.nn.Linear) and question == "nodes":
                asked.append(h)
        wanted = asked[1:] or asked
        loss = torch.nn.functional.cross_entropy(h, y, reduction="sum")
        return torch.autograd.grad(loss, wanted)[0].numpy()

    return ask


def norms(torch: Any, gradients: Any) -> Any:
    """Return each example's norm over all parameters' gradients."""
    squares = [gradient.flatten(1).square().sum(1) for gradient in gradients]
    return torch.stack(squares).sum(0).sqrt().numpy()


def torch_func_side(question: str) -> Call:
    """Return the norms of per-example gradients by vmap(grad)."""
    torch, network, X, y = torch_parts()
    parameters = {name: value.detach() for name, value in network.named_parameters()}

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        outputs = torch.func.functional_call(network, parameters, (x[None],))
        return torch.nn.functional.cross_entropy(outputs, y[None])

    gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))

    def ask() -> Any:
        parts = gradients(parameters, X, y).values()
        return (
            torch.stack([part.flatten(1).square().sum(1) for part in parts]).sum(0).sqrt().numpy()
        )

    return ask


def opacus_side(question: str) -> Call:
    """Return the norms of the per-example gradients that Opacus's hooks leave."""
    torch, network, X, y = torch_parts()
    from opacus import GradSampleModule

    warnings.filterwarnings("ignore", message="Full backward hook")
    model = GradSampleModule(network, loss_reduction="sum")

    def ask() -> Any:
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(X), y, reduction="sum").backward()
        parts = [parameter.grad_sample for parameter in model.parameters()]
        return (
            torch.stack([part.flatten(1).square().sum(1) for part in parts]).sum(0).sqrt().numpy()
        )

    return ask


Make = Callable[[str], Call]
QUESTIONS: dict[str, tuple[str, dict[str, tuple[Make, str]]]] = {  # sides with what they need
    "examples": (
        "norm of each example's gradient",
        {
            "culpa": (culpa_side, "culpa"),
            "torch.func": (torch_func_side, "torch"),
            "Opacus": (opacus_side, "opacus"),
        },
    ),
    "inputs": (
        "gradient of each example's loss by its inputs",
        {"culpa": (culpa_side, "culpa"), "autograd": (autograd_side, "torch")},
    ),
    "nodes": (
        "error signals of all nodes",
        {"culpa": (culpa_side, "culpa"), "autograd": (autograd_side, "torch")},
    ),
}


def measure_question(question: str, rounds: int) -> None:
    """Print a question's times and memory."""
    title, all_sides = QUESTIONS[question]
    sides = {
        name: make(question)
        for name, (make, module) in all_sides.items()
        if importlib.util.find_spec(module)
    }
    worst = differences({name: call() for name, call in sides.items()})
    if worst > 1e-3:
        raise SystemExit(f"{title}: the sides differ by {worst:.2g}")
    times = take_turns(sides, rounds)
    threads = culpa.get_num_threads()
    memory = {name: child_memory(__file__, question, name, threads) for name in sides}
    print(f"\n{title}, {ROWS} rows (values differ by at most {worst:.1g})")
    print_times(times, memory)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--question", choices=("want", *QUESTIONS), action="append")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        question, side, threads = arguments.child
        limit_threads(int(threads))
        make = QUESTIONS[question][1][side][0]
        print(rise(lambda: make(question)))
        return
    if arguments.threads < 1 or arguments.rounds < 1:
        parser.error("expected --threads and --rounds of at least 1")
    limit_threads(arguments.threads)
    print(headline(describe()))
    for question in arguments.question or ("want", *QUESTIONS):
        if question == "want":
            for workload in ("digits", "mnist", "tab"):
                measure_wants(workload, arguments.rounds)
        else:
            measure_question(question, arguments.rounds)


if __name__ == "__main__":
    main()
