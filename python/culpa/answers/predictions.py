"""Guesses of a network, and how good they are."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from culpa import data
from culpa.data import columns, rounding
from culpa.network.network import Network

__all__ = ["evaluate", "predict", "predict_logits", "predict_probabilities"]

Array = NDArray[Any]


def predict_logits(network: Network, X: Any) -> Array:
    """Return the raw outputs (n, outputs)."""
    return _outputs(network, X, classes=False)


def predict(network: Network, X: Any) -> Array:
    """Return class indices, zeros and ones, means or numbers, as the loss has it."""
    loss = network.architecture.loss
    if loss.task == "classes":  # the core decides, without a copy of the outputs
        return _outputs(network, X, classes=True)
    guesses = loss.decide(_outputs(network, X, classes=False))
    return guesses[:, 0] if network.architecture.output_size == 1 else guesses


def predict_probabilities(network: Network, X: Any) -> Array:
    """Return probabilities of each class (n, classes), or of 1 for each binary output."""
    loss = network.architecture.loss
    if loss.task == "regression":
        raise ValueError(
            f"predict_proba: expected a model with cross_entropy or binary_cross_entropy, "
            f"got {loss.name}; use predict"
        )
    answer = loss.response(_outputs(network, X, classes=False))
    one = loss.task == "binary" and network.architecture.output_size == 1
    return answer[:, 0] if one else answer


def evaluate(network: Network, X: Any, y: Any, sample_weight: Any) -> dict[str, float]:
    """Return the loss and the metric on examples."""
    examples = network.examples(X, y, sample_weight)
    return examples.evaluate(network.core)


def _outputs(network: Network, X: Any, *, classes: bool) -> Array:
    core, described = network.core, network.architecture
    columns.check(described.feature_names, X)
    x = data.check_x(X, described.input_size, described.dtype, finite=False)
    if not network.saw_inputs and len(x) >= rounding.LEAST_GUESSES:
        rounding.warn("X", rounding.drowned(x, described.dtype), columns.column_names(X))
    answer, row = core.predict(data.for_core(x), classes)
    if row >= 0:
        raise data.not_finite("X", x, row, described.dtype, described.input_scale)
    return answer
