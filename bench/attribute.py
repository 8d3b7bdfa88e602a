"""Measures integrated gradients: 50 steps, 128 rows of 784-256-128-10, float32.

The sides have the same weights and the same quadrature, give the same attributions, and take turns
for many short rounds; reported are medians over the rounds, and of the ratio to culpa in each round
(above 1: culpa is faster). Times include the Python call, from a NumPy array to a NumPy array.
Plain gradients take part too, which cost one walk instead of 50.

Captum takes part where it is installed (with PyTorch).

    python bench/attribute.py [--threads 1] [--rounds 15]
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import culpa
from culpa.bench.machine import describe, headline, limit_threads, settle
from culpa.bench.numpy_net import NumpyNet
from culpa.bench.sides.culpa_side import make_model

SHAPE = (784, 256, 128, 10)
ROWS, STEPS = 128, 50
METHODS = {"integrated_gradients": f"integrated gradients, {STEPS} steps", "gradient": "gradients"}

Values = NDArray[np.float32]
Attribute = Callable[[Values, NDArray[np.int64], str], Values]


def culpa_side(net: NumpyNet, threads: int) -> Attribute:
    """Return culpa's attribute, with the weights of `net`."""
    model = make_model(SHAPE)
    for i, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
        model.layers[i].weight, model.layers[i].bias = weight, bias
    culpa.set_num_threads(threads)

    def attribute(X: Values, target: NDArray[np.int64], method: str) -> Values:
        return model.attribute(X, target=target, method=method, steps=STEPS).values

    return attribute


def captum_side(net: NumpyNet, threads: int) -> Attribute:
    """Return Captum's."""
    import captum.attr
    import torch

    from culpa.bench.sides.torch_side import make_network

    torch.set_num_threads(threads)
    model = make_network(net.weights, net.biases)
    path, slope = captum.attr.IntegratedGradients(model), captum.attr.Saliency(model)

    def attribute(X: Values, target: NDArray[np.int64], method: str) -> Values:
        x, which = torch.from_numpy(X), torch.from_numpy(target)
        if method == "gradient":
            values = slope.attribute(x.requires_grad_(), target=which, abs=False)
        else:
            values = path.attribute(x, target=which, n_steps=STEPS, method="gausslegendre")
        return values.detach().numpy()

    return attribute


def time_call(call: Callable[[], Any], seconds: float = 0.1) -> float:
    """Return the seconds of a call, over about so many seconds of calls after a warm-up."""
    settle()
    began, calls = time.perf_counter(), 0
    while calls == 0 or time.perf_counter() - began < seconds:
        call()
        calls += 1
    began = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - began) / calls


def measure(sides: dict[str, Attribute], method: str, rounds: int) -> None:
    """Let the sides take turns and print each one's median and its ratio to culpa."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((ROWS, SHAPE[0]), np.float32)
    target = rng.integers(0, SHAPE[-1], ROWS)
    values = [attribute(X, target, method) for attribute in sides.values()]
    worst = max(np.abs(other - values[0]).max() / np.abs(values[0]).max() for other in values)
    if worst > 1e-2:  # a unit near its kink may fall on either side of it
        raise SystemExit(f"the sides give different attributions: error {worst:.2g}")
    times: dict[str, list[float]] = {name: [] for name in sides}
    for i in range(rounds):
        for name in list(sides) if i % 2 == 0 else reversed(sides):
            attribute = sides[name]
            times[name].append(time_call(lambda one=attribute: one(X, target, method)))
    print(f"\n{METHODS[method]}, {ROWS} rows (values differ by at most {worst:.1g})")
    for name, seconds in times.items():
        low, middle, high = np.percentile(np.array(seconds) / times["culpa"], (25, 50, 75))
        ratio = "" if name == "culpa" else f"   ratio {middle:.2f} ({low:.2f}-{high:.2f})"
        print(f"{name:8}{np.median(seconds) * 1e3:>10.2f} ms{ratio}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    if arguments.threads < 1 or arguments.rounds < 1:
        parser.error("expected --threads and --rounds of at least 1")
    limit_threads(arguments.threads)
    print(headline(describe()))
    net = NumpyNet(SHAPE, seed=0)
    sides = {"culpa": culpa_side(net, arguments.threads)}
    if importlib.util.find_spec("captum") is not None:
        sides["Captum"] = captum_side(net, arguments.threads)
    for method in METHODS:
        measure(sides, method, arguments.rounds)


if __name__ == "__main__":
    main()
