"""The questions of `bench/blame.py`: what is asked of each library, with the same weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import culpa
from culpa.bench.numpy_net import NumpyNet
from culpa.bench.sides.culpa_side import make_model

SHAPE = (784, 256, 128, 10)

Call = Callable[[], Any]


class Side(NamedTuple):
    """Someone who is asked."""

    make: Callable[[], Call]
    """Prepares everything, and returns the call that is timed: NumPy array in, NumPy array out."""
    module: str = "culpa"
    """Without which it does not take part."""


class Question(NamedTuple):
    """Something that is asked; the first side is culpa."""

    title: str
    sides: Mapping[str, Side]
    tolerance: float | None = 1e-3
    """Largest difference between answers; None where they need not be the same."""


def make_examples(rows: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return random rows and labels."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, SHAPE[0]), np.float32), rng.integers(0, SHAPE[-1], rows)


def culpa_model() -> culpa.Sequential:
    """Return culpa's network."""
    net, model = NumpyNet(SHAPE, seed=0), make_model(SHAPE)
    for i, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
        model.layers[i].weight, model.layers[i].bias = weight, bias
    return model


def torch_network() -> Any:
    """Return PyTorch's network of the same weights."""
    import torch

    from culpa.bench.sides.torch_side import make_network

    torch.set_num_threads(culpa.get_num_threads())
    net = NumpyNet(SHAPE, seed=0)
    return make_network(net.weights, net.biases)


def torch_gradients(network: Any) -> Callable[[Any, Any], list[Any]]:
    """Return what gives each example's own gradients by torch.func's vmap of grad."""
    import torch

    parameters = {name: value.detach() for name, value in network.named_parameters()}

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        outputs = torch.func.functional_call(network, parameters, (x[None],))
        return torch.nn.functional.cross_entropy(outputs, y[None])

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
    return lambda X, y: list(each(parameters, X, y).values())
