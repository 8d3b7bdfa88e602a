"""Record what PyTorch's optimizers do, so that the tests can compare without PyTorch.

Run by hand, with torch installed, from the root of the repository:

    python tests/record_optimizers.py

It trains a 5-7-3 net (tanh, cross entropy) in float64 for 50 steps with each configuration below
and writes tests/recorded_optimizers.json:

    torch            the version that was recorded
    activations      ["tanh", "identity"]
    loss             "cross_entropy"
    batch_size       11; step t takes rows 11 t .. 11 t + 10 modulo 33, in order, never shuffled
    X, y             (33, 5) inputs and (33,) class indices
    weights, biases  initial values, a layer each; weights are (inputs, outputs)
    configurations   a list of
        name             the optimizer's class in culpa
        arguments        its keyword arguments
        clip_norm        maximum global norm of the gradient, or null
        losses           the batch loss before each step
        weights, biases  after the last step

Weight decay acts on the weights only. Numbers are written with repr, so they read back exactly.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

STEPS = 50
BATCH_SIZE = 11
PATH = Path(__file__).with_name("recorded_optimizers.json")

SGD = {"learning_rate": 0.1, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
ADAM = {
    "learning_rate": 0.01,
    "beta_1": 0.9,
    "beta_2": 0.999,
    "epsilon": 1e-8,
    "weight_decay": 0.0,
}
RMSPROP = {
    "learning_rate": 0.01,
    "rho": 0.9,
    "epsilon": 1e-8,
    "momentum": 0.0,
    "weight_decay": 0.0,
}
CONFIGURATIONS: list[tuple[str, dict[str, Any], float | None]] = [
    ("SGD", SGD, None),
    ("SGD", SGD | {"momentum": 0.9}, None),
    ("SGD", SGD | {"momentum": 0.9, "nesterov": True}, None),
    ("SGD", SGD | {"momentum": 0.9, "weight_decay": 0.01}, None),
    ("Adam", ADAM, None),
    ("Adam", ADAM | {"weight_decay": 0.01}, None),
    ("Adam", ADAM | {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-4}, None),
    ("AdamW", ADAM | {"weight_decay": 0.05}, None),
    ("RMSprop", RMSPROP, None),
    ("RMSprop", RMSPROP | {"momentum": 0.9, "learning_rate": 0.003}, None),
    ("Adam", ADAM, 0.05),
]


def initial() -> dict[str, Any]:
    """Data and starting point; three decimals keep the file short and lose nothing."""
    rng = np.random.default_rng(0)
    return {
        "X": rng.standard_normal((33, 5)).round(3),
        "y": rng.integers(0, 3, 33),
        "weights": [rng.uniform(-0.7, 0.7, shape).round(3) for shape in ((5, 7), (7, 3))],
        "biases": [rng.uniform(-0.1, 0.1, width).round(3) for width in (7, 3)],
    }


def torch_optimizer(
    name: str, arguments: dict[str, Any], weights: list[torch.Tensor], biases: list[torch.Tensor]
) -> torch.optim.Optimizer:
    """The optimizer of torch for culpa's names; weight decay for the weights alone."""
    options = dict(arguments)
    options["lr"] = options.pop("learning_rate")
    decay = options.pop("weight_decay")
    if "beta_1" in options:
        options["betas"] = (options.pop("beta_1"), options.pop("beta_2"))
    if "rho" in options:
        options["alpha"] = options.pop("rho")
    if "epsilon" in options:
        options["eps"] = options.pop("epsilon")
    groups = [
        {"params": weights, "weight_decay": decay},
        {"params": biases, "weight_decay": 0.0},
    ]
    optimizer: torch.optim.Optimizer = getattr(torch.optim, name)(groups, **options)
    return optimizer


def train(
    start: dict[str, Any], name: str, arguments: dict[str, Any], clip_norm: float | None
) -> dict[str, Any]:
    X, y = torch.tensor(start["X"]), torch.tensor(start["y"])
    weights = [torch.tensor(W, requires_grad=True) for W in start["weights"]]
    biases = [torch.tensor(b, requires_grad=True) for b in start["biases"]]
    optimizer = torch_optimizer(name, arguments, weights, biases)
    losses = []
    for step in range(STEPS):
        rows = torch.arange(step * BATCH_SIZE, (step + 1) * BATCH_SIZE) % len(X)
        hidden = torch.tanh(X[rows] @ weights[0] + biases[0])
        loss = torch.nn.functional.cross_entropy(hidden @ weights[1] + biases[1], y[rows])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(weights + biases, clip_norm)
        optimizer.step()
        losses.append(loss.item())
    return {
        "name": name,
        "arguments": arguments,
        "clip_norm": clip_norm,
        "losses": losses,
        "weights": [W.tolist() for W in weights],
        "biases": [b.tolist() for b in biases],
    }


def record() -> dict[str, Any]:
    start = initial()
    return {
        "torch": torch.__version__,
        "activations": ["tanh", "identity"],
        "loss": "cross_entropy",
        "batch_size": BATCH_SIZE,
        "X": start["X"].tolist(),
        "y": start["y"].tolist(),
        "weights": [W.tolist() for W in start["weights"]],
        "biases": [b.tolist() for b in start["biases"]],
        "configurations": [train(start, *configuration) for configuration in CONFIGURATIONS],
    }


def write(document: dict[str, Any], path: Path = PATH) -> None:
    """A line for each entry and each configuration, so that a difference is easy to read."""
    runs = ",\n".join("  " + json.dumps(run) for run in document["configurations"])
    lines = [
        f" {json.dumps(key)}: {json.dumps(value)}"
        for key, value in document.items()
        if key != "configurations"
    ]
    lines.append(f' "configurations": [\n{runs}\n ]')
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    write(record())
