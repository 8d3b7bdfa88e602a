"""Arrays on their way in: checked completely before anything is touched, and not copied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from culpa import _checks, _core
from culpa.labels import as_labels, refuse_missing
from culpa.parts.losses import Loss
from culpa.sparse import SparseRows, is_sparse

__all__ = [
    "Targets",
    "check_dense",
    "check_targets",
    "check_trained",
    "check_weights",
    "check_x",
    "class_weights",
]

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


class _UnreadableError(TypeError):
    """An array of another library that NumPy cannot read, not even to look for missing values."""


def as_array(name: str, value: Any) -> Array:
    """Return `value` as an array of real numbers in native byte order; nothing else is copied."""
    if hasattr(value, "toarray") and not isinstance(value, np.ndarray):
        raise TypeError(
            f"{name}: expected a dense array, got a sparse {type(value).__name__}; "
            f"use {name}.toarray()"
        )
    try:
        array = np.asanyarray(value)
    except ValueError as error:  # rows of different lengths
        raise ValueError(
            f"{name}: expected rows of equal length, got {_checks.describe(value)} ({error})"
        ) from None
    except Exception as error:  # what another library's array says of itself
        raise _UnreadableError(
            f"{name}: expected numbers that NumPy can read, got {type(value).__name__}: {error}; "
            f"{_readable(name, value)}"
        ) from None
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise ValueError(f"{name}: expected no masked values; use {name}.filled(...)")
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        hint = {
            "c": f"use {name}.real or split it into two columns",
            "O": f'use {name}.astype("float32"), which says what cannot be converted',
            "U": "encode text as numbers first",
            "S": "encode text as numbers first",
            "M": "express dates as numbers first",
            "m": "express durations as numbers first",
        }.get(array.dtype.kind, f'use {name}.astype("float64")')
        if hasattr(value, "collect"):  # polars' lazy frames
            hint = f"use {name}.collect()"
        got = f"dtype {array.dtype}"
        if array.ndim == 0:
            got += f" ({_checks.describe(value)})"
        raise TypeError(
            f"{name}: expected booleans, integers or floats of at most 64 bits, got {got}; {hint}"
        )
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    # Memory maps alone stay what they are: a matrix is two-dimensional whatever is asked of it.
    return array if isinstance(array, np.memmap) else np.asarray(array)


def _readable(name: str, value: Any) -> str:
    """Return how to make an array of a value that NumPy cannot read, such as PyTorch's tensors."""
    if "sparse" in str(getattr(value, "layout", "")):
        return f"use {name}.detach().cpu().to_dense().numpy()"
    if getattr(value, "requires_grad", False):
        return f"use {name}.detach().cpu().float().numpy()"
    if hasattr(value, "detach"):
        return f"use {name}.cpu().float().numpy()"
    return f"convert {name} with numpy.asarray first"


def check_finite(
    name: str, array: Array | SparseRows, dtype: str, scale: float = 1.0, *, files: bool = False
) -> None:
    """Raise where a value is NaN or infinite in the model's dtype, times the model's input_scale.

    Memory maps are left out unless `files` says otherwise: X is checked while it is read.
    """
    if isinstance(array, SparseRows):
        values = array.used()
        if _always_finite(values.dtype, dtype, scale) or values.size == 0:
            return
        entry = _core.find_not_finite(values[:, None], dtype, scale)
        if entry >= 0:
            raise not_finite(name, array, array.row_of(entry), dtype, scale)
        return
    if _always_finite(array.dtype, dtype, scale) or (isinstance(array, np.memmap) and not files):
        return
    row = _core.find_not_finite(array if array.ndim == 2 else array.reshape(-1, 1), dtype, scale)
    if row >= 0:
        raise not_finite(name, array if array.ndim == 2 else array.ravel(), row, dtype, scale)


def _always_finite(given: np.dtype[Any], dtype: str, scale: float) -> bool:
    """Say whether no value of the dtype `given` can overflow: bytes times 1/255 need no look."""
    if given.kind == "f":
        return False
    largest = 1 if given.kind == "b" else np.iinfo(given).max + 1
    most = float(np.finfo(dtype).max)
    return 2 * largest * abs(scale) < most  # twice: value and scale are rounded to the dtype


def not_finite(
    name: str, array: Array | SparseRows, row: int, dtype: str, scale: float = 1.0
) -> ValueError:
    """Return the error for a row that holds NaN, infinity, or a value too large for the dtype."""
    if isinstance(array, SparseRows):
        columns, given = array.entries(row)
    else:
        given = np.atleast_1d(np.asarray(array[row]))
        columns = np.arange(given.size)
    with np.errstate(over="ignore", invalid="ignore"):
        values = given.astype(np.float64)
        fits = np.isfinite(values.astype(dtype) * np.dtype(dtype).type(scale))
    if fits.all():
        return ValueError(
            f"{name}: row {row} changed while it was read: expected data that stay as they are"
        )
    worst = int(np.argmin(fits))
    scaled = "" if scale == 1.0 else f", also times input_scale={scale:g}"
    return ValueError(
        f"{name}: expected finite numbers that fit {dtype}{scaled}, got {values[worst]} in row "
        f"{row}, column {columns[worst]}; drop such rows or fill them in"
    )


def check_x(
    X: Any,
    inputs: int | None,
    dtype: str,
    name: str = "X",
    *,
    scale: float = 1.0,
    finite: bool = True,
) -> Array | SparseRows:
    """Return X as rows (n, inputs) that the core can read, or raise."""
    if isinstance(X, SparseRows):
        array: Array | SparseRows = X
    elif is_sparse(X):
        array = as_rows(name, X)
    else:
        array = as_array(name, X)
    _check_shape(name, array.shape, inputs)
    if finite:
        check_finite(name, array, dtype, scale)
    return array


def check_dense(X: Any, inputs: int | None, dtype: str, purpose: str, name: str = "X") -> Array:
    """Return X as an array (n, inputs), not yet looked through for NaN; sparse ones are refused."""
    if is_sparse(X):
        raise TypeError(
            f"{name}: expected a dense array for {purpose}, got a sparse matrix; use "
            f"{name}.toarray()"
        )
    array = check_x(X, inputs, dtype, name, finite=False)
    assert not isinstance(array, SparseRows)
    return array


def as_rows(name: str, X: Any) -> SparseRows:
    """Return a sparse matrix of any format as rows of entries, by way of its own ``tocsr``."""
    if len(X.shape) != 2:
        raise ValueError(
            f"{name}: expected shape (n, inputs), got shape {X.shape}; use "
            f"{name}.reshape(1, -1) for one example"
        )
    csr = X if getattr(X, "format", None) == "csr" else X.tocsr()
    values = as_array(f"{name}.data", csr.data)
    indices, begins = np.asarray(csr.indices), np.asarray(csr.indptr)
    return SparseRows(name, values, indices, begins, (int(X.shape[0]), int(X.shape[1])))


def dense(x: Array | SparseRows) -> Array:
    """Return a few checked rows as an array."""
    return x.dense() if isinstance(x, SparseRows) else np.asarray(x)


def for_core(x: Array | SparseRows) -> Array | _core.SparseRows:
    """Return checked rows as the core takes them."""
    return x.core if isinstance(x, SparseRows) else x


def _check_shape(name: str, shape: tuple[int, ...], inputs: int | None) -> None:
    width = inputs if inputs is not None else "inputs"
    if len(shape) != 2:
        mend = f"use {name}.reshape(len({name}), -1)"
        if len(shape) == 1:
            mend = f"use {name}[None, :] for one example or {name}[:, None] for one input"
        raise ValueError(f"{name}: expected shape (n, {width}), got shape {shape}; {mend}")
    if shape[0] == 0 or shape[1] == 0:
        raise ValueError(f"{name}: expected at least one row and one column, got shape {shape}")
    if inputs is not None and shape[1] != inputs:
        raise ValueError(
            f"{name}: expected {inputs} columns, the model's input size, got shape {shape}; "
            "pass the columns that the model was built for, or build a new model"
        )


def check_targets(loss: Loss, y: Any, rows: int, outputs: int, dtype: str, name: str) -> Targets:
    """Return y in the form that the core takes for this loss, or raise."""
    try:
        array = as_array(name, y)
    except _UnreadableError:
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
    if loss.task == "classes" or loss.task == "binary":
        if array.size and (array.min() < 0 or array.max() > 1):
            raise ValueError(
                f"{name}: expected values in [0, 1] for {loss.name}, got {array.min()} to "
                f"{array.max()}"
            )
        if loss.task == "classes":
            sums = array.sum(axis=1, dtype=np.float64)
            worst = int(np.argmax(np.abs(sums - 1.0)))
            if abs(sums[worst] - 1.0) > 1e-3:
                raise ValueError(
                    f"{name}: expected rows of probabilities that sum to 1, got {sums[worst]:g} in "
                    f"row {worst}; divide each row by its sum"
                )
    if loss.name == "poisson" and array.min() < 0:
        raise ValueError(f"{name}: expected no negative counts for poisson, got {array.min()}")
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
