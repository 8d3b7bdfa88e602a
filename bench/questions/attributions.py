"""Attributions, each method beside Captum's.

Expected gradients and SmoothGrad draw other numbers than Captum's, but as many. Captum takes
conductance layer by layer and from differences between the points, which is approximate; culpa
gives both hidden layers and the integrated gradients in one walk.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from questions import Call, Question, Side, culpa_model, make_examples, torch_network

ROWS, STEPS, SAMPLES, BACKGROUND = 128, 50, 50, 20
EPSILON, NOISE = 1e-6, 0.5
CASES = {  # what is measured, and by how much the answers may differ: kinks fall on either side
    "gradient": ("gradients of an output", 1e-2),
    "input_x_gradient": ("input times gradient", 1e-2),
    "integrated_gradients": (f"integrated gradients, {STEPS} steps", 1e-2),
    "integrated_gradients_set": (
        f"integrated gradients, {STEPS} steps, {BACKGROUND} baselines",
        1e-2,
    ),
    "expected_gradients": (f"expected gradients, {SAMPLES} samples", None),
    "smooth_grad": (f"SmoothGrad, {SAMPLES} samples", None),
    "deeplift": ("DeepLIFT", 1e-2),
    "deeplift_set": (f"DeepLIFT, {BACKGROUND} baselines", 1e-2),
    "lrp": ("layer-wise relevance propagation", 1e-2),
    "conductance": (f"conductance of both hidden layers, {STEPS} steps", 0.2),
}


def culpa_side(case: str) -> Call:
    model, (X, target) = culpa_model(), make_examples(ROWS)
    options: dict[str, Any] = {"steps": STEPS, "samples": SAMPLES, "epsilon": EPSILON}
    if case.endswith("_set") or case == "expected_gradients":
        options["background"] = make_examples(BACKGROUND, seed=1)[0]
    if case == "smooth_grad":
        options["noise"] = NOISE

    def ask() -> Any:
        method = case.removesuffix("_set")
        answer = model.attribute(X, target=target, method=method, **options)
        return answer.values if answer.nodes is None else np.hstack(answer.nodes)

    return ask


def captum_side(case: str) -> Call:
    import torch
    from captum import attr
    from captum.attr._utils.lrp_rules import EpsilonRule

    warnings.filterwarnings("ignore", category=UserWarning, module="captum")
    model = torch_network()
    X, target = map(torch.from_numpy, make_examples(ROWS))
    background = torch.from_numpy(make_examples(BACKGROUND, seed=1)[0])
    rule: dict[str, Any] = {"n_steps": STEPS, "method": "gausslegendre"}

    def over_set(x: Any) -> Any:
        path = attr.IntegratedGradients(model)
        parts = [path.attribute(x, one[None], target=target, **rule) for one in background]
        return sum(parts) / len(parts)

    def relevance() -> Callable[[Any], Any]:
        for module in model:
            if isinstance(module, torch.nn.Linear):
                module.rule = EpsilonRule(EPSILON)
        return partial(attr.LRP(model).attribute, target=target)

    def conductance() -> Callable[[Any], Any]:
        hidden = [module for module in model if isinstance(module, torch.nn.ReLU)]
        layers = [attr.LayerConductance(model, module) for module in hidden]
        return lambda x: torch.hstack([one.attribute(x, target=target, **rule) for one in layers])

    calls: dict[str, Callable[[], Callable[[Any], Any]]] = {
        "gradient": lambda: partial(attr.Saliency(model).attribute, target=target, abs=False),
        "input_x_gradient": lambda: partial(attr.InputXGradient(model).attribute, target=target),
        "integrated_gradients": lambda: partial(
            attr.IntegratedGradients(model).attribute, target=target, **rule
        ),
        "integrated_gradients_set": lambda: over_set,
        "expected_gradients": lambda: partial(
            attr.GradientShap(model).attribute,
            baselines=background,
            n_samples=SAMPLES,
            target=target,
        ),
        "smooth_grad": lambda: partial(
            attr.NoiseTunnel(attr.Saliency(model)).attribute,
            nt_samples=SAMPLES,
            stdevs=NOISE,
            target=target,
            abs=False,
        ),
        "deeplift": lambda: partial(attr.DeepLift(model).attribute, target=target),
        "deeplift_set": lambda: partial(
            attr.DeepLiftShap(model).attribute, baselines=background, target=target
        ),
        "lrp": relevance,
        "conductance": conductance,
    }
    attribute = calls[case]()

    def ask() -> Any:
        walks_path = case.startswith("integrated_gradients")
        return attribute(X if walks_path else X.clone().requires_grad_()).detach().numpy()

    return ask


QUESTIONS = {
    case: Question(
        f"{title}, {ROWS} rows",
        {
            "culpa": Side(partial(culpa_side, case)),
            "Captum": Side(partial(captum_side, case), "captum"),
        },
        tolerance,
    )
    for case, (title, tolerance) in CASES.items()
}
