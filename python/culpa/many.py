"""fit_many: several models trained side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from numpy.typing import ArrayLike

from culpa import _checks
from culpa.sequential import Sequential
from culpa.training import run
from culpa.training.callbacks import Callback
from culpa.training.history import History
from culpa.training.options import FitOptions, as_options

__all__ = ["fit_many"]


def fit_many(
    models: Sequence[Sequential],
    X: ArrayLike,
    y: ArrayLike,
    *,
    rows: Sequence[ArrayLike] | None = None,
    sample_weight: ArrayLike | None = None,
    **options: Unpack[FitOptions],
) -> list[History]:
    """Train several models on the same data side by side, a model a thread.

    Each ends with the bits that its own ``fit`` would have given it. All do the same number of
    steps until the shorter epochs among them end; Ctrl-C leaves them so.

    Parameters
    ----------
    models : sequence of Sequential
        Different models of one dtype.
    X, y
        As for :meth:`Sequential.fit`.
    rows : sequence of array_like of int, optional
        For each model the rows of X to train on, as for folds; by default all.
    sample_weight : array_like (n,), optional
        As for :meth:`Sequential.fit`, the same for all.
    **options
        As for :meth:`Sequential.fit`, the same for all; `verbose` is False. Sample and class
        weights count within each batch alone (nothing at ``batch_size=1``), and
        ``class_weight="balanced"`` counts each model's own rows.

    Returns
    -------
    list of History

    Examples
    --------
    >>> import culpa
    >>> X, y, X_test, y_test = culpa.datasets.digits()
    >>> models = [
    ...     culpa.Sequential([culpa.Dense(10)], loss="cross_entropy", seed=seed, input_scale=1 / 16)
    ...     for seed in range(3)]
    >>> [history.epochs for history in culpa.fit_many(models, X, y, epochs=2)]
    [2, 2, 2]
    """
    if not isinstance(models, (list, tuple)) or not all(
        isinstance(model, Sequential) for model in models
    ):
        raise TypeError(
            f"models: expected a list of culpa.Sequential, got {_checks.describe(models)}"
        )
    if not models:
        return []
    if len({id(model) for model in models}) != len(models):
        raise ValueError("models: expected each model once")
    if len({model.dtype for model in models}) > 1:
        raise ValueError("models: expected one dtype, got float32 and float64")
    if rows is not None and len(rows) != len(models):
        raise ValueError(f"rows: expected one array for each of the {len(models)} models")
    callbacks = options.get("callbacks") or ()
    for callback in callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]:
        if isinstance(callback, Callback) and callback.one_model:
            raise ValueError(
                f"callbacks: expected no {type(callback).__name__} in fit_many, where one object "
                "would mix up what it notes of all models; call each model's fit"
            )
    if options.get("privacy") is not None:
        raise ValueError(
            "privacy: expected None in fit_many, for what several models reveal of the same data "
            "adds up; use fit"
        )
    own: list[dict[str, Any]] = [{}] * len(models)
    if rows is not None:
        own = [{"rows": each} for each in rows]
    return run.fit_side_by_side(
        [model._network for model in models],
        models,
        X,
        y,
        [
            as_options({"verbose": False, "sample_weight": sample_weight, **options, **each})
            for each in own
        ],
    )
