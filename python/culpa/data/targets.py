"""Targets and weights on their way in: checked completely before anything is touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from culpa import _checks
from culpa.data.arrays import UnreadableError, as_array, check_finite
from culpa.data.labels import as_labels, refuse_missing
from culpa.parts.losses import Loss

__all__ = ["Targets", "check_targets", "check_trained", "check_weights", "class_weights"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Targets:
    """What the core needs of y: class labels (n,) int32, or values (n, outputs)."""

    labels: NDArray[np.int32] | None = None
    values: Array | None = None

    def for_core(self) -> dict[str, Array]:
        """Return the arguments that they make for the core's Examples."""
        if self.labels is not None:
            return {"labels": self.labels}
        assert self.values is not None
        return {"targets": self.values}


def check_targets(loss: Loss, y: Any, rows: int, outputs: int, dtype: str, name: str) -> Targets:
    """Return y in the form that the core takes for this loss, or raise."""
    try:
        array = as_array(name, y)
    except UnreadableError:
        raise
    except TypeError:
        what = "a number" if loss.task == "regression" else "a label"
        refuse_missing(name, as_labels(y), what)  # more to the point than a dtype
        raise
    if array.ndim == 0 or len(array) != rows:
        got = "a single number" if array.ndim == 0 else f"{len(array)}"
        raise ValueError(f"{name}: expected one entry for each of the {rows} rows of X, got {got}")
    if loss.task == "classes" and array.ndim == 1:
        return Targets(labels=_check_labels(array, outputs, name))
    if array.ndim == 1 and outputs == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] != outputs:
        shape = f"({rows}, {outputs})"
        if loss.task == "classes":
            shape = f"({rows},) of class indices or {shape} of probabilities"
        elif outputs == 1:
            shape = f"({rows},) or {shape}"
        mend = ""
        if loss.task == "classes" and array.ndim == 2 and array.shape[1] == 1:
            mend = f"; use {name}.ravel()"
        elif loss.task != "classes":
            mend = (
                f"; or give the last Dense layer {array.shape[-1] if array.ndim > 1 else 1} units"
            )
        raise ValueError(f"{name}: expected shape {shape}, got shape {array.shape}{mend}")
    check_finite(name, array, dtype, files=True)
    loss.check(array, name=name, dtype=dtype)
    return Targets(values=array)


def _check_labels(array: Array, outputs: int, name: str) -> NDArray[np.int32]:
    refuse_missing(name, array)
    if array.dtype.kind not in "biu":
        raise TypeError(
            f"{name}: expected integer class indices 0 to {outputs - 1}, got dtype {array.dtype}; "
            f"use {name}.astype(int), or a regression loss such as mse"
        )
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= outputs:
        wider = "" if low < 0 else f" or give the last Dense layer {high + 1} units"
        raise ValueError(
            f"{name}: expected class indices 0 to {outputs - 1}, got {low} to {high}; number the "
            f"classes from 0 (numpy.unique(..., return_inverse=True)){wider}"
        )
    return np.require(array, np.int32, ["C", "ALIGNED"])


def check_weights(name: str, weight: Any, rows: int) -> NDArray[np.float64] | None:
    """Return weights (rows,) float64, None for none, or raise."""
    if weight is None:
        return None
    array = as_array(name, weight)
    if array.shape != (rows,):
        raise ValueError(f"{name}: expected shape ({rows},), got shape {array.shape}")
    with np.errstate(invalid="ignore"):  # a signalling NaN
        array = np.require(array, np.float64, ["C", "ALIGNED"])
    if not np.isfinite(array).all() or (array < 0).any() or not (array > 0).any():
        raise ValueError(
            f"{name}: expected finite numbers of at least 0, some above 0, got {array.min()} to "
            f"{array.max()}"
        )
    # Only ratios count: a power of two keeps sums of weights times losses inside float64's range.
    _, exponent = np.frexp(array.max())
    shift = int(np.clip(exponent, -400, 400) - exponent)
    return np.ldexp(array, shift) if shift else array


def check_trained(
    weights: Mapping[str, NDArray[np.float64] | None],
    rows: NDArray[np.int64] | None = None,
    which: str = "",
) -> None:
    """Raise where the rows to train on (None: all) have no weight, and name the first cause.

    Parameters
    ----------
    weights : mapping of str to ndarray (n,) or None
        What multiplies, by the names of the arguments.
    rows : ndarray (m,), optional
        Those to train on.
    which : str
        What the message says of them.
    """
    rest = slice(None) if rows is None else rows
    some: Any = True
    for name, given in weights.items():
        if given is None:
            continue
        some = some & (given[rest] > 0)
        if not some.any():
            raise ValueError(
                f"{name}: expected some weight above 0 on the {some.size} rows to train on{which}, "
                "got 0 on each; train on other rows, or give some of these a weight"
            )


def class_weights(
    class_weight: Any,
    targets: Targets,
    loss: Loss,
    outputs: int,
    rows: NDArray[np.int64] | None = None,
) -> NDArray[np.float64] | None:
    """Return each example's class weight (n,), None for none.

    Parameters
    ----------
    class_weight : mapping, "balanced" or None
        Class index to weight (1 where a class is not named); "balanced" weighs each class by
        ``n / (classes * count)``, as scikit-learn does, of the rows trained on.
    targets : Targets
        The checked y.
    loss : Loss
        cross_entropy with class indices, or binary_cross_entropy with one output.
    outputs : int
        The model's outputs.
    rows : ndarray of int64, optional
        Those trained on; None: all.
    """
    if class_weight is None:
        return None
    labels: Array
    if targets.labels is not None:
        labels, classes = targets.labels, outputs
    elif loss.task == "binary" and outputs == 1 and targets.values is not None:
        values = targets.values[:, 0]
        labels, classes = (values > 0.5).astype(np.int32), 2
        if not np.isin(values, (0, 1)).all():
            raise ValueError("class_weight: expected y of zeros and ones with it")
    else:
        raise ValueError(
            "class_weight: expected class indices in y (or one binary output) with it; use "
            "sample_weight instead"
        )
    table = np.ones(classes)
    if isinstance(class_weight, str):
        _checks.choice("class_weight", class_weight, ["balanced"])
        seen = labels if rows is None else labels[rows]  # those held out stay unknown
        counts = np.bincount(seen, minlength=classes)
        present = np.count_nonzero(counts)
        table = len(seen) / (present * np.maximum(counts, 1.0))
    elif isinstance(class_weight, Mapping):
        for key, value in class_weight.items():
            index = _checks.integer("class_weight", key, 0, "its keys are class indices")
            if index >= classes:
                raise ValueError(
                    f"class_weight: expected class indices 0 to {classes - 1}, got {index}"
                )
            table[index] = _checks.number(f"class_weight[{index}]", value, 0.0)
    else:
        raise TypeError(
            f'class_weight: expected a dict or "balanced", got {_checks.describe(class_weight)}'
        )
    return np.asarray(table[labels], dtype=np.float64)
