"""Measures attributions: 128 rows of 784-256-128-10, float32, each method beside Captum's.

The sides have the same weights, and where nothing is random the same attributions; they take turns
for many short rounds. Reported are medians over the rounds, and of the ratio to culpa in each round
(above 1: culpa is faster). Times include the Python call, from a NumPy array to a NumPy array.

Expected gradients and SmoothGrad draw other numbers than Captum's, but as many. Captum takes
conductance layer by layer and from differences between the points; culpa gives both hidden layers
and the integrated gradients in one walk.

Captum takes part where it is installed (with PyTorch).

    python bench/attribute.py [--threads 1] [--rounds 15] [--methods integrated_gradients lrp ...]
"""

from __future__ import annotations

import argparse
import importlib.util
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import culpa
from culpa.bench.machine import describe, headline, limit_threads, settle
from culpa.bench.numpy_net import NumpyNet
from culpa.bench.sides.culpa_side import make_model

SHAPE = (784, 256, 128, 10)
ROWS, STEPS, SAMPLES, BACKGROUND = 128, 50, 50, 20
EPSILON = 1e-6
METHODS = {
    "gradient": "gradients",
    "input_x_gradient": "input times gradient",
    "integrated_gradients": f"integrated gradients, {STEPS} steps",
    "integrated_gradients_set": f"integrated gradients, {STEPS} steps, {BACKGROUND} baselines",
    "expected_gradients": f"expected gradients, {SAMPLES} samples",
    "smooth_grad": f"SmoothGrad, {SAMPLES} samples",
    "deeplift": "DeepLIFT",
    "deeplift_set": f"DeepLIFT, {BACKGROUND} baselines",
    "lrp": "layer-wise relevance propagation",
    "conductance": f"conductance of both hidden layers, {STEPS} steps",
}
RANDOM = ("expected_gradients", "smooth_grad")

Values = NDArray[np.float32]
Attribute = Callable[[Values, NDArray[np.int64], str], Values]


def make_background() -> Values:
    """Return the set of baselines, (BACKGROUND, inputs)."""
    return np.random.default_rng(1).standard_normal((BACKGROUND, SHAPE[0]), np.float32)


def culpa_side(net: NumpyNet, threads: int) -> Attribute:
    """Return culpa's attribute, with the weights of `net`."""
    model = make_model(SHAPE)
    for i, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
        model.layers[i].weight, model.layers[i].bias = weight, bias
    culpa.set_num_threads(threads)
    background = make_background()

    def attribute(X: Values, target: NDArray[np.int64], case: str) -> Values:
        options: dict[str, Any] = {}
        if case.endswith("_set") or case == "expected_gradients":
            options["background"] = background
        if case == "smooth_grad":
            options["noise"] = 0.5
        answer = model.attribute(
            X,
            target=target,
            method=case.removesuffix("_set"),
            steps=STEPS,
            samples=SAMPLES,
            epsilon=EPSILON,
            **options,
        )
        return answer.values if answer.nodes is None else np.hstack(answer.nodes)

    return attribute


def captum_side(net: NumpyNet, threads: int) -> Attribute:
    """Return Captum's."""
    import captum.attr
    import torch
    from captum.attr._utils.lrp_rules import EpsilonRule

    from culpa.bench.sides.torch_side import make_network

    warnings.filterwarnings("ignore", category=UserWarning, module="captum")
    torch.set_num_threads(threads)
    model, ruled = (make_network(net.weights, net.biases) for _ in range(2))
    for module in ruled:
        if isinstance(module, torch.nn.Linear):
            module.rule = EpsilonRule(EPSILON)
    hidden = [module for module in model if isinstance(module, torch.nn.ReLU)]
    background = torch.from_numpy(make_background())
    slope, path = captum.attr.Saliency(model), captum.attr.IntegratedGradients(model)
    tunnel, shap = captum.attr.NoiseTunnel(slope), captum.attr.GradientShap(model)
    product, lift = captum.attr.InputXGradient(model), captum.attr.DeepLift(model)
    lift_set, relevance = captum.attr.DeepLiftShap(model), captum.attr.LRP(ruled)
    nodes = [captum.attr.LayerConductance(model, module) for module in hidden]
    rule: dict[str, Any] = {"n_steps": STEPS, "method": "gausslegendre"}
    cases: dict[str, Callable[[Any, Any], Any]] = {
        "gradient": lambda x, t: slope.attribute(x, target=t, abs=False),
        "input_x_gradient": lambda x, t: product.attribute(x, target=t),
        "integrated_gradients": lambda x, t: path.attribute(x, target=t, **rule),
        "integrated_gradients_set": lambda x, t: (
            sum(path.attribute(x, one[None], target=t, **rule) for one in background)
            / len(background)
        ),
        "expected_gradients": lambda x, t: shap.attribute(
            x, background, n_samples=SAMPLES, target=t
        ),
        "smooth_grad": lambda x, t: tunnel.attribute(
            x, nt_samples=SAMPLES, stdevs=0.5, target=t, abs=False
        ),
        "deeplift": lambda x, t: lift.attribute(x, target=t),
        "deeplift_set": lambda x, t: lift_set.attribute(x, background, target=t),
        "lrp": lambda x, t: relevance.attribute(x, target=t),
        "conductance": lambda x, t: torch.hstack(
            [layer.attribute(x, target=t, **rule) for layer in nodes]
        ),
    }

    def attribute(X: Values, target: NDArray[np.int64], case: str) -> Values:
        x, which = torch.from_numpy(X), torch.from_numpy(target)
        if case not in ("integrated_gradients", "integrated_gradients_set"):
            x.requires_grad_()
        return cases[case](x, which).detach().numpy()

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
    # A unit near its kink may fall on either side of it; Captum's conductance is approximate.
    if worst > (0.2 if method == "conductance" else 1e-2) and method not in RANDOM:
        raise SystemExit(f"the sides give different attributions: error {worst:.2g}")
    times: dict[str, list[float]] = {name: [] for name in sides}
    for i in range(rounds):
        for name in list(sides) if i % 2 == 0 else reversed(sides):
            attribute = sides[name]
            times[name].append(time_call(lambda one=attribute: one(X, target, method)))
    differ = "own draws" if method in RANDOM else f"values differ by at most {worst:.1g}"
    print(f"\n{METHODS[method]}, {ROWS} rows ({differ})")
    for name, seconds in times.items():
        low, middle, high = np.percentile(np.array(seconds) / times["culpa"], (25, 50, 75))
        ratio = "" if name == "culpa" else f"   ratio {middle:.2f} ({low:.2f}-{high:.2f})"
        print(f"{name:8}{np.median(seconds) * 1e3:>10.2f} ms{ratio}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    arguments = parser.parse_args()
    if arguments.threads < 1 or arguments.rounds < 1:
        parser.error("expected --threads and --rounds of at least 1")
    limit_threads(arguments.threads)
    print(headline(describe()))
    net = NumpyNet(SHAPE, seed=0)
    sides = {"culpa": culpa_side(net, arguments.threads)}
    if importlib.util.find_spec("captum") is not None:
        sides["Captum"] = captum_side(net, arguments.threads)
    for method in arguments.methods:
        measure(sides, method, arguments.rounds)


if __name__ == "__main__":
    main()
