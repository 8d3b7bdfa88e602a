"""Labels of any kind: which of them are missing, and which different ones there are, in order."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from culpa import _checks
from culpa.data.sparse import is_sparse

__all__ = [
    "as_labels",
    "is_missing",
    "missing",
    "one_each",
    "refuse_missing",
    "several",
    "sorted_labels",
]

Array = NDArray[Any]
EXACT = 2.0**53  # above it float64 has no room for every integer
NAMED = 5  # rows that an error names


def is_missing(label: Any) -> bool:
    """Say whether a label stands for none: None, NaN, NaT or pandas.NA.

    Examples
    --------
    >>> [is_missing(label) for label in (None, float("nan"), np.datetime64("NaT"), "nan", 0)]
    [True, True, True, False, False]
    """
    if label is None:
        return True
    try:
        return bool(label != label)
    except TypeError:  # pandas.NA neither is itself nor is not
        return type(label).__name__ == "NAType"
    except ArithmeticError:  # a signalling NaN of decimal
        return True
    except ValueError:  # an array
        return False


def missing(labels: Array) -> NDArray[np.bool_]:
    """Return which labels, of any shape, are missing."""
    if labels.dtype.kind == "O":
        return np.fromiter(map(is_missing, labels.flat), bool, labels.size).reshape(labels.shape)
    if labels.dtype.kind in "fcmM":
        return np.asarray(labels != labels)
    return np.zeros(labels.shape, bool)


def as_labels(given: Any) -> Array:
    """Return labels as NumPy has them: as objects where it would change those beside missing ones.

    It makes "nan" of the NaN in a list of strings, floats of large integers where pandas or polars
    lack some, and forgets masks.
    """
    if is_sparse(given):
        return np.asarray(given.toarray())
    array: Array = np.asarray(given)
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        array = array.astype(object)
        array[np.ma.getmaskarray(given)] = None
        return array
    if array.dtype.kind == "T" and hasattr(array.dtype, "na_object"):
        return array.astype(object)
    if isinstance(given, np.ndarray) or array.ndim != 1:
        return array
    large = array.dtype.kind == "f" and bool((np.abs(array) >= EXACT).any())
    if large or array.dtype.kind in "US":
        whole = next((getattr(given, m) for m in ("to_list", "tolist") if hasattr(given, m)), None)
        objects = np.fromiter(given if whole is None else whole(), object, len(array))
        there = ~missing(objects)
        if not there.all() and (array.dtype.kind in "US" or (objects[there] != array[there]).any()):
            return objects
    return array


def refuse_missing(name: str, labels: Array, what: str = "a label") -> None:
    """Raise where labels (n,) or (n, outputs) are missing, and say in which rows."""
    gaps = missing(labels)
    rows = np.flatnonzero(gaps.any(axis=1) if gaps.ndim == 2 else gaps)
    if rows.size:
        shown = [str(row) for row in rows[:NAMED]]
        rest = len(rows) - len(shown)
        last = f"{rest} more" if rest else shown.pop()
        where = f"rows {', '.join(shown)} and {last}" if shown else f"row {last}"
        raise ValueError(
            f"{name}: expected {what} in every row, got {labels[gaps][0]} in {where}; drop such "
            "rows or fill them in"
        )


def sorted_labels(array: Array, name: str) -> tuple[Array, NDArray[np.int64]]:
    """Return the different labels (groups,), sorted, and the index into them of each (n,).

    Missing labels are one, and come last: NaN among floats, NaT among dates, None among others.
    """
    objects = array.dtype.kind == "O"
    there = ~missing(array) if objects else np.ones(len(array), bool)
    try:
        labels, found = np.unique(array[there], return_inverse=True)
        if objects and not all(a < b for a, b in pairwise(labels)):
            raise TypeError("they have no order")  # sets, for example
    except (TypeError, ValueError, ArithmeticError) as error:
        raise TypeError(
            f"{name}: expected labels of one kind, which can be sorted, got "
            f"{_checks.describe(array)} ({error}); turn them into strings"
        ) from None
    if there.all():  # NumPy itself puts NaN and NaT together, at the end
        return labels, found
    codes = np.full(len(array), len(labels), np.int64)
    codes[there] = found
    return np.append(labels, [None]), codes


def one_each(given: Any, rows: int, name: str, mend_several: str) -> Array:
    """Return labels (rows,), or raise; with `mend_several` where a row has any number of them."""
    ragged = False
    try:
        array = as_labels(given)
    except ValueError:  # rows of different lengths
        array, ragged = np.empty(()), len(given) == rows
    if array.shape == (rows,):
        return array
    mend = ""
    if ragged or several(array):
        mend = f"; {mend_several}"
    elif array.ndim == 2 and len(array) == rows:
        mend = f"; use {name}.{'ravel()' if array.shape[1] == 1 else 'argmax(axis=1)'}"
    raise ValueError(
        f"{name}: expected a label for each of the {rows} examples, got "
        f"{_checks.describe(given)}{mend}"
    )


def several(y: Any) -> bool:
    """Say whether y (n, outputs) is multi-hot: zeros and ones, not always one 1 in a row."""
    try:
        array = as_labels(y)
        if array.dtype.kind == "O":  # of a frame whose columns may have gaps
            array = array.astype(np.float64)
    except (TypeError, ValueError):  # other objects, rows of different lengths
        return False
    if array.ndim != 2 or array.shape[1] < 2 or array.dtype.kind not in "biuf":
        return False
    return bool(np.isin(array, (0, 1)).all() and (array.sum(axis=1) != 1).any())
