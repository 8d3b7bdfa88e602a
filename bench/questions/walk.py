"""The walk's own answers: norms of examples' gradients, gradients of inputs, error signals."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

from questions import (
    Call,
    Question,
    Side,
    culpa_model,
    make_examples,
    torch_gradients,
    torch_network,
)

ROWS = 512


def culpa_side(want: str) -> Call:
    model, (X, y) = culpa_model(), make_examples(ROWS)

    def ask() -> Any:
        blame = model.blame(X, y, want=(want,))
        return blame.nodes[0] if want == "nodes" else getattr(blame, want)

    return ask


def autograd_side(want: str) -> Call:
    """Return the gradients of the losses' sum, by the inputs or by what each layer gives."""
    import torch

    network, (X, y) = torch_network(), map(torch.from_numpy, make_examples(ROWS))

    def ask() -> Any:
        h = X.clone().requires_grad_() if want == "inputs" else X
        asked = [h] if want == "inputs" else []
        for layer in network:
            h = layer(h)
            if isinstance(layer, torch.nn.Linear) and want == "nodes":
                asked.append(h)
        loss = torch.nn.functional.cross_entropy(h, y, reduction="sum")
        return torch.autograd.grad(loss, asked)[0].numpy()

    return ask


def norms(gradients: Any) -> Any:
    """Return each example's norm over all parameters' gradients."""
    return sum(part.flatten(1).square().sum(1) for part in gradients).sqrt().numpy()


def torch_func_side() -> Call:
    import torch

    gradients, (X, y) = (
        torch_gradients(torch_network()),
        map(torch.from_numpy, make_examples(ROWS)),
    )
    return lambda: norms(gradients(X, y))


def opacus_side() -> Call:
    """Return the norms of what Opacus's hooks leave in each parameter's grad_sample."""
    import torch
    from opacus import GradSampleModule

    warnings.filterwarnings("ignore", message="Full backward hook")
    model = GradSampleModule(torch_network(), loss_reduction="sum")
    X, y = map(torch.from_numpy, make_examples(ROWS))

    def ask() -> Any:
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(X), y, reduction="sum").backward()
        return norms(parameter.grad_sample for parameter in model.parameters())

    return ask


QUESTIONS = {
    "gradient_norms": Question(
        f"the norm of each example's gradient, {ROWS} rows",
        {
            "culpa": Side(partial(culpa_side, "gradient_norms")),
            "torch.func": Side(torch_func_side, "torch"),
            "Opacus": Side(opacus_side, "opacus"),
        },
    ),
    "inputs": Question(
        f"gradients of the losses by the inputs, {ROWS} rows",
        {
            "culpa": Side(partial(culpa_side, "inputs")),
            "autograd": Side(partial(autograd_side, "inputs"), "torch"),
        },
    ),
    "nodes": Question(
        f"error signals of all nodes, {ROWS} rows",
        {
            "culpa": Side(partial(culpa_side, "nodes")),
            "autograd": Side(partial(autograd_side, "nodes"), "torch"),
        },
    ),
}
