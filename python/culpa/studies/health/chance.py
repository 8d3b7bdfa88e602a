"""What the best constant guess would lose: the loss of a network that ignores its inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from culpa import _core
from culpa.data.examples import Examples
from culpa.parts.layers import Dense
from culpa.sequential import Sequential

if TYPE_CHECKING:
    from culpa.parts.losses import Loss
__all__ = ["best_constant", "chance_loss"]


def chance_loss(loss: Loss, examples: Examples, outputs: int) -> float:
    """Return the mean loss of the best constant outputs, by the core's own loss."""
    n = len(examples.x)
    core = _constant_model(loss, best_constant(loss, examples, outputs))._network.core
    losses, _, _ = core.evaluate(
        _core.ExampleArrays(np.zeros((n, 1)), **examples.targets.for_core())
    )
    return float(losses.mean())


def _constant_model(loss: Loss, outputs: NDArray[np.float64]) -> Sequential:
    layer = Dense(len(outputs), initializer="zeros")
    model = Sequential([layer], loss, input_size=1, dtype="float64")
    model.layers[0].bias = outputs  # type: ignore[union-attr]
    return model


def best_constant(loss: Loss, examples: Examples, outputs: int) -> NDArray[np.float64]:
    """Return the raw outputs (outputs,) that have the least mean loss if given to all examples."""
    least = 1e-30  # what a logarithm is taken of
    if examples.targets.labels is not None:
        counts = np.bincount(examples.targets.labels, minlength=outputs)
        y = counts[None, :] / counts.sum()
    else:
        assert examples.targets.values is not None
        y = np.asarray(examples.targets.values, np.float64)
    mean: NDArray[np.float64] = y.mean(axis=0)
    match loss.name:
        case "cross_entropy":  # the frequencies, smoothed as the targets are
            smoothing = loss.parameter
            best = np.log(np.maximum((1.0 - smoothing) * mean + smoothing / outputs, least))
        case "binary_cross_entropy":
            best = np.log(np.maximum(mean, least)) - np.log(np.maximum(1.0 - mean, least))
        case "poisson":
            best = np.log(np.maximum(mean, least))
        case "mae":
            best = np.median(y, axis=0)
        case "quantile":
            best = np.quantile(y, loss.parameter, axis=0, method="inverted_cdf")
        case "huber":
            best = _huber_center(y, loss.parameter)
        case _:
            best = mean
    return np.asarray(best)


def _huber_center(y: NDArray[np.float64], delta: float) -> NDArray[np.float64]:
    """Return the least constants by bisection: the loss's derivative grows with the constant."""
    low, high = y.min(axis=0), y.max(axis=0)
    for _ in range(100):
        middle = (low + high) / 2.0
        rises = np.clip(middle - y, -delta, delta).sum(axis=0) > 0.0
        low, high = np.where(rises, low, middle), np.where(rises, middle, high)
    return np.asarray((low + high) / 2.0)
