"""Arrays on their way in: checked completely before anything is touched, and not copied."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from culpa import _checks, _core
from culpa.data.sparse import SparseRows, is_sparse

__all__ = [
    "UnreadableError",
    "as_array",
    "as_rows",
    "check_dense",
    "check_finite",
    "check_x",
    "dense",
    "for_core",
    "not_finite",
    "refuse_sparse",
]

Array = NDArray[Any]


class UnreadableError(TypeError):
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
        raise UnreadableError(
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


def refuse_sparse(X: Any, purpose: str, name: str = "X") -> None:
    """Raise where X is a sparse matrix, for a purpose that needs dense rows."""
    if is_sparse(X):
        raise TypeError(
            f"{name}: expected a dense array for {purpose}, got a sparse matrix; use "
            f"{name}.toarray()"
        )


def check_dense(X: Any, inputs: int | None, dtype: str, purpose: str, name: str = "X") -> Array:
    """Return X as an array (n, inputs), not yet looked through for NaN; sparse ones are refused."""
    refuse_sparse(X, purpose, name)
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
