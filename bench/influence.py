"""Measures influence: the dot products of all training with all test examples' gradients.

784-256-128-10, float32. The sides have the same weights, give the same scores, and take turns for
several rounds; reported are medians over the rounds, and of the ratio to culpa in each round (above
1: culpa is faster). Times include the Python call, from NumPy arrays to a NumPy array. Memory is
the peak of a process of its own, less what it had after the imports.

    culpa         model.influence
    culpa, top    the same with top=10: the matrix is never built
    torch.func    per-example gradients, vmap(grad), 128 training examples at a time, times those of
                  the tests
    torch, Gram   culpa's formula by hand: hidden values and error signals from autograd, two
                  products a layer

PyTorch takes part where it is installed.

    python bench/influence.py [--threads 1] [--rounds 5] [--train 1000] [--test 200]
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import culpa
from culpa.bench.machine import describe, headline, limit_threads, settle
from culpa.bench.numpy_net import NumpyNet
from culpa.bench.sides.culpa_side import make_model
from memory import MB, peak

SHAPE = (784, 256, 128, 10)
CHUNK = 128
TOP = 10

Examples = tuple[NDArray[np.float32], NDArray[np.int64]]
Score = Callable[[Examples, Examples], Any]


def culpa_side(net: NumpyNet, top: int | None = None) -> Score:
    """Return culpa's influence, with the weights of `net`."""
    model = make_model(SHAPE)
    for i, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
        model.layers[i].weight, model.layers[i].bias = weight, bias

    def score(train: Examples, test: Examples) -> Any:
        answer = model.influence(*train, *test, top=top)
        return answer.scores if top is None else answer.proponent_scores

    return score


def culpa_top_side(net: NumpyNet) -> Score:
    """Return culpa's influence with its top alone."""
    return culpa_side(net, TOP)


def torch_func_side(net: NumpyNet) -> Score:
    """Return per-example gradients and their products."""
    import torch

    from culpa.bench.sides.torch_side import make_network

    torch.set_num_threads(culpa.get_num_threads())
    model = make_network(net.weights, net.biases)
    parameters = {name: value.detach() for name, value in model.named_parameters()}

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        outputs = torch.func.functional_call(model, parameters, (x[None],))
        return torch.nn.functional.cross_entropy(outputs, y[None])

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))

    def gradients(X: Any, y: Any) -> Any:
        return torch.cat([part.flatten(1) for part in each(parameters, X, y).values()], dim=1)

    def score(train: Examples, test: Examples) -> Any:
        X, y = map(torch.from_numpy, train)
        tests = gradients(*map(torch.from_numpy, test))
        parts = [
            tests @ gradients(x, labels).T
            for x, labels in zip(X.split(CHUNK), y.split(CHUNK), strict=True)
        ]
        return torch.cat(parts, dim=1).numpy()

    return score


def torch_gram_side(net: NumpyNet) -> Score:
    """Return two products for each layer."""
    import torch

    from culpa.bench.sides.torch_side import make_network

    torch.set_num_threads(culpa.get_num_threads())
    model = make_network(net.weights, net.biases)

    def walk(X: Any, y: Any) -> list[tuple[Any, Any]]:
        hidden, signals, h = [], [], X
        for layer in model:
            if isinstance(layer, torch.nn.Linear):
                hidden.append(h.detach())
                h = layer(h)
                signals.append(h)
            else:
                h = layer(h)
        total = torch.nn.functional.cross_entropy(h, y, reduction="sum")
        return list(zip(hidden, torch.autograd.grad(total, signals), strict=True))

    def score(train: Examples, test: Examples) -> Any:
        trains, tests = walk(*map(torch.from_numpy, train)), walk(*map(torch.from_numpy, test))
        return sum(
            (h_test @ h.T + 1) * (delta_test @ delta.T)
            for (h, delta), (h_test, delta_test) in zip(trains, tests, strict=True)
        ).numpy()

    return score


SIDES = {
    "culpa": culpa_side,
    "culpa, top": culpa_top_side,
    "torch.func": torch_func_side,
    "torch, Gram": torch_gram_side,
}


def make_examples(rows: int, seed: int) -> Examples:
    """Return random images and labels."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, SHAPE[0]), np.float32), rng.integers(0, SHAPE[-1], rows)


def measure_times(names: list[str], train: Examples, test: Examples, rounds: int) -> None:
    """Let the sides take turns and print each one's median and its ratio to culpa."""
    net = NumpyNet(SHAPE, seed=0)
    sides = {name: SIDES[name](net) for name in names}
    scores = {name: score(train, test) for name, score in sides.items()}
    want = scores["culpa"]
    for name, other in scores.items():
        expected = -np.sort(-want, axis=1)[:, :TOP] if name == "culpa, top" else want
        worst = np.abs(other - expected).max() / np.abs(expected).max()
        if worst > 1e-2:  # a unit near its kink may fall on either side of it
            raise SystemExit(f"{name} gives other scores: error {worst:.2g}")
    times: dict[str, list[float]] = {name: [] for name in sides}
    for i in range(rounds):
        for name in names if i % 2 == 0 else reversed(names):
            settle()
            began = time.perf_counter()
            sides[name](train, test)
            times[name].append(time.perf_counter() - began)
    pairs = len(train[0]) * len(test[0])
    flops = 2 * sum(a + b for a, b in itertools.pairwise(SHAPE)) * pairs
    print(f"\n{len(train[0])} training x {len(test[0])} test examples")
    for name, seconds in times.items():
        low, middle, high = np.percentile(np.array(seconds) / times["culpa"], (25, 50, 75))
        ratio = "" if name == "culpa" else f"   ratio {middle:.2f} ({low:.2f}-{high:.2f})"
        speed = "" if name == "torch.func" else f"{flops / np.median(seconds) / 1e9:>8.0f} GFLOP/s"
        print(f"{name:13}{np.median(seconds) * 1e3:>10.1f} ms{speed:>16}{ratio}", flush=True)


def measure_memory(names: list[str], train: int, test: int) -> None:
    """Print what each side takes in a process of its own."""
    print("\npeak of memory beyond the imports, the examples among it")
    for name in names:
        command = [sys.executable, __file__, "--child", name]
        command += ["--train", str(train), "--test", str(test)]
        command += ["--threads", str(culpa.get_num_threads())]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        print(f"{name:13}{json.loads(done.stdout) / MB:>10.0f} MB", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--train", type=int, default=1000)
    parser.add_argument("--test", type=int, default=200)
    parser.add_argument("--child", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if min(arguments.threads, arguments.rounds, arguments.test) < 1 or arguments.train < TOP:
        parser.error(f"expected at least 1 of everything, and --train {TOP}")
    limit_threads(arguments.threads)
    if arguments.child:
        score = SIDES[arguments.child](NumpyNet(SHAPE, seed=0))
        imports = peak()
        score(make_examples(arguments.train, 0), make_examples(arguments.test, 1))
        print(peak() - imports)
        return
    print(headline(describe()))
    torch = importlib.util.find_spec("torch") is not None
    names = [name for name in SIDES if torch or not name.startswith("torch")]
    train, test = make_examples(arguments.train, 0), make_examples(arguments.test, 1)
    measure_times(names, train, test, arguments.rounds)
    measure_memory(names, arguments.train, arguments.test)


if __name__ == "__main__":
    main()
