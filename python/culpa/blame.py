"""Answers about blame: the error signals of backpropagation, kept instead of consumed."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from culpa import _checks
from culpa.examples import Examples

if TYPE_CHECKING:
    from culpa.model import Sequential

__all__ = ["Blame", "compute"]

Array = NDArray[Any]
QUANTITIES = ("losses", "nodes", "inputs", "weights", "examples")


class Blame:
    """Who is at fault for a guess. In the standard terms: error signals and gradients.

    L_i is the loss of example i. Per-example quantities are unweighted; `weights` and `biases` are
    the gradient of the weighted mean loss. What was not asked for raises AttributeError.

    Attributes
    ----------
    losses : ndarray (n,), float64
        L_i, how wrong each guess was.
    nodes : list of ndarray (n, units)
        dL_i/dz of every node of each Dense layer, z its value before the activation.
    inputs : ndarray (n, inputs)
        dL_i/dx, of the raw inputs (before `input_scale`).
    weights, biases : list of ndarray (inputs, units) and (units,)
        Gradient of the batch loss.
    examples : ndarray (n,), float64
        The exact norm of each example's own gradient over all weights and biases.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("_values", {})
        if name in values:
            return values[name]
        if name in (*QUANTITIES, "biases"):
            asked = "weights" if name == "biases" else name
            raise AttributeError(f"{name} was not asked for; pass want=({asked!r}, ...)")
        raise AttributeError(name)

    def __repr__(self) -> str:
        return f"<Blame: {', '.join(self._values)}>"


def compute(model: Sequential, X: Any, y: Any, sample_weight: Any, want: Collection[str]) -> Blame:
    """Walk the examples through the model and keep what is asked for."""
    if isinstance(want, str):
        want = (want,)
    wanted = {_checks.choice("want", name, QUANTITIES) for name in want}
    core = model._built()
    examples = Examples(model, X, y, sample_weight)
    answer = core.blame(
        examples.core(),
        nodes="nodes" in wanted,
        inputs="inputs" in wanted,
        norms="examples" in wanted,
        gradient="weights" in wanted,
    )
    if answer["row"] >= 0:
        examples.raise_not_finite(answer["row"])
    values: dict[str, Any] = {k: answer[k] for k in QUANTITIES if k in answer and k in wanted}
    if "weights" in wanted:
        values["weights"], values["biases"] = split_gradient(model, answer["gradient"])
    return Blame(values)


def split_gradient(model: Sequential, flat: Array) -> tuple[list[Array], list[Array]]:
    """Return a flat gradient's weights (inputs, units) and biases (units,), layer by layer."""
    core = model._built()
    weights, biases = [], []
    for i, (weight, bias) in enumerate(core.offsets()):
        shape = core.weight(i).shape
        weights.append(flat[weight : weight + shape[0] * shape[1]].reshape(shape))
        biases.append(flat[bias : bias + shape[1]])
    return weights, biases


def softmax(logits: Array) -> Array:
    """Return probabilities (n, classes) from logits (n, classes)."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))
