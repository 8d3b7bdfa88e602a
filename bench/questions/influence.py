"""Influence: the dot products of all training with all test examples' gradients.

culpa         model.influence
culpa, top    the same with top=10: the matrix is never built
torch.func    per-example gradients, vmap(grad), 128 training examples at a time, times those of
the tests
torch, Gram   culpa's formula by hand: hidden values and error signals from autograd, two
products a layer
"""

from __future__ import annotations

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

TRAIN, TEST, TOP, CHUNK = 1000, 200, 10, 128


def culpa_side(top: int | None) -> Call:
    model = culpa_model()
    train, test = make_examples(TRAIN), make_examples(TEST, seed=1)

    def ask() -> Any:
        answer = model.influence(*train, *test, top=top)
        return answer.scores if top is None else answer.proponent_scores

    return ask


def torch_func_side() -> Call:
    import torch

    each = torch_gradients(torch_network())
    X, y = map(torch.from_numpy, make_examples(TRAIN))
    tests = list(map(torch.from_numpy, make_examples(TEST, seed=1)))

    def gradients(X: Any, y: Any) -> Any:
        return torch.cat([part.flatten(1) for part in each(X, y)], dim=1)

    def ask() -> Any:
        those = gradients(*tests)
        chunks = zip(X.split(CHUNK), y.split(CHUNK), strict=True)
        return torch.cat([those @ gradients(*chunk).T for chunk in chunks], dim=1).numpy()

    return ask


def torch_gram_side() -> Call:
    import torch

    network = torch_network()
    train = list(map(torch.from_numpy, make_examples(TRAIN)))
    test = list(map(torch.from_numpy, make_examples(TEST, seed=1)))

    def walk(X: Any, y: Any) -> list[tuple[Any, Any]]:
        hidden, signals, h = [], [], X
        for layer in network:
            if isinstance(layer, torch.nn.Linear):
                hidden.append(h.detach())
                h = layer(h)
                signals.append(h)
            else:
                h = layer(h)
        total = torch.nn.functional.cross_entropy(h, y, reduction="sum")
        return list(zip(hidden, torch.autograd.grad(total, signals), strict=True))

    def ask() -> Any:
        return sum(
            (h_test @ h.T + 1) * (delta_test @ delta.T)
            for (h, delta), (h_test, delta_test) in zip(walk(*train), walk(*test), strict=True)
        ).numpy()

    return ask


QUESTIONS = {
    "influence": Question(
        f"influence of {TRAIN:,} training on {TEST} test examples",
        {
            "culpa": Side(partial(culpa_side, None)),
            "torch.func": Side(torch_func_side, "torch"),
            "torch, Gram": Side(torch_gram_side, "torch"),
        },
        1e-2,
    ),
    "influence_top": Question(
        f"influence of {TRAIN:,} on {TEST}: the top {TOP} alone",
        {
            "culpa": Side(partial(culpa_side, TOP)),
        },
    ),
}
