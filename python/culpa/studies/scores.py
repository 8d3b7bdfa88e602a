"""Scores of examples: how hard a model, or several, found each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from culpa import _checks, data
from culpa.sequential import Sequential

__all__ = ["el2n", "grand"]

Scores = NDArray[np.float64]
BLOCK = 4096  # rows at a time: bounded memory


def el2n(models: Sequential | Sequence[Sequential], X: ArrayLike, y: ArrayLike) -> Scores:
    """Return the EL2N score of each example: ``||p - y||_2``, the mean over the models.

    The length of the error between the probabilities p and the true ones y, over the model's
    outputs (Paul, Ganguli & Dziugaite 2021, "Deep learning on a data diet"). Their scores are means
    over about ten models that were trained from different seeds for a few epochs; examples with
    small scores can be left out of training, and those with the largest are often mislabelled.

    Parameters
    ----------
    models : Sequential, or a list of them
        Trained classifiers: ``cross_entropy`` (p: softmax) or ``binary_cross_entropy`` (p: sigmoid
        of each output; for one output the score is ``|p - y|``).
    X : array_like (n, inputs)
        Any real dtype.
    y : array_like
        As for :meth:`Sequential.fit`. Label smoothing does not count.

    Returns
    -------
    ndarray (n,), float64
        0 where the guess is certain and right; at most sqrt(2) for ``cross_entropy``, at most
        sqrt(outputs) for ``binary_cross_entropy``.

    Raises
    ------
    ValueError, TypeError
        Where a model is no classifier, or an argument is not as described.
    RuntimeError
        Where a model has no weights yet.

    Examples
    --------
    >>> import culpa
    >>> X, y, _, _ = culpa.datasets.digits()
    >>> models = [
    ...     culpa.Sequential([culpa.Dense(10)], loss="cross_entropy", seed=seed, input_scale=1 / 16)
    ...     for seed in range(3)]
    >>> _ = culpa.fit_many(models, X, y, epochs=2)
    >>> culpa.el2n(models, X, y).shape
    (1437,)
    """
    several = _as_models(models)
    for model in several:
        if model.loss.task == "regression":
            raise ValueError(
                "models: expected classifiers, with cross_entropy or binary_cross_entropy, got "
                f"{model.loss.name}, which has no probabilities; use culpa.grand"
            )
    return _mean(_error_norms, several, X, y)


def grand(models: Sequential | Sequence[Sequential], X: ArrayLike, y: ArrayLike) -> Scores:
    """Return the GraNd score of each example: the norm of its gradient, the mean over the models.

    The gradient of the example's own loss over all weights and biases (Paul, Ganguli & Dziugaite
    2021, "Deep learning on a data diet"), as ``model.blame(X, y).gradient_norms`` gives it for one
    model: exact, without any per-example gradient.

    Parameters
    ----------
    models : Sequential, or a list of them
        Any loss.
    X : array_like (n, inputs)
        Any real dtype.
    y : array_like
        As for :meth:`Sequential.fit`.

    Returns
    -------
    ndarray (n,), float64

    Raises
    ------
    ValueError, TypeError
        Where an argument is not as described.
    RuntimeError
        Where a model has no weights yet.

    Examples
    --------
    >>> import culpa
    >>> model = culpa.Sequential([culpa.Dense(1)], loss="mse", input_size=2)
    >>> model.layers[0].weight = [[2.0], [-1.0]]
    >>> culpa.grand(model, [[1.0, 0.0], [2.0, 2.0]], [2.0, 1.0])
    array([0., 6.])
    """
    return _mean(
        lambda model, X, y: model.blame(X, y, want="gradient_norms").gradient_norms,
        _as_models(models),
        X,
        y,
    )


def _as_models(models: Any) -> list[Sequential]:
    several = list(models) if isinstance(models, (list, tuple)) else [models]
    for i, model in enumerate(several):
        if not isinstance(model, Sequential):
            name = f"models[{i}]" if isinstance(models, (list, tuple)) else "models"
            raise TypeError(
                f"{name}: expected a culpa.Sequential"
                f"{' or a list of them' if name == 'models' else ''}, got "
                f"{_checks.describe(model)}"
            )
    if not several:
        raise ValueError("models: expected at least one culpa.Sequential, got none")
    return several


def _mean(
    score: Callable[[Sequential, Any, Any], Scores], models: list[Sequential], X: Any, y: Any
) -> Scores:
    total = score(models[0], X, y)
    for model in models[1:]:
        total = total + score(model, X, y)
    return total / len(models)


def _error_norms(model: Sequential, X: Any, y: Any) -> Scores:
    core, examples = model._network.core, model._network.examples(X, y)
    labels, values = examples.targets.labels, examples.targets.values
    norms = np.empty(len(examples.x))
    for at in range(0, len(norms), BLOCK):
        rows = slice(at, at + BLOCK)
        x: Any = examples.x[rows]
        # From float64 logits: in float32, 1 - p of a guess that is nearly right is lost.
        logits, row = core.predict(data.for_core(x))
        if row >= 0:
            examples.raise_not_finite(at + row)
        error = model.loss.response(logits.astype(np.float64))
        if labels is not None:
            error[np.arange(len(error)), labels[rows]] -= 1.0
        else:
            assert values is not None
            error -= values[rows]
        norms[rows] = np.sqrt(np.square(error).sum(axis=1))
    return norms
