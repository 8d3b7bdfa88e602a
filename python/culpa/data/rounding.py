"""Columns whose spread float32 rounds away: found before they are used, and said aloud."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from culpa import _checks
from culpa.data.sparse import SparseRows

__all__ = ["Column", "RoundingWarning", "drowned", "once", "warn"]

Array = NDArray[Any]
Floats = NDArray[np.float64]

# float32's step at the largest value of a column, over its standard deviation: rounding then moves
# values by 0.3 % of their spread, and an r2 by 1e-5.
MOST = 0.01
STEP = 2.0**-23  # of float32, relative, at most
NOISE = 64 * 2.0**-52  # a range of this much of the size: a constant, and float64's own rounding
LEAST_GUESSES = 16  # rows: to look at fewer would take as long as to guess
PROBES = 16
BLOCK, STRETCHES, MOST_ROWS = 4096, 16, 65536  # of a memory map

_said: ContextVar[set[str] | None] = ContextVar("said", default=None)


class RoundingWarning(UserWarning):
    """A column varies so little for its size that float32 rounds its differences away.

    A float32 model warns of columns of X, and of y where the loss is one of regression, whose
    standard deviation is less than a hundred of float32's steps at their largest value: seconds
    since 1970 over an hour or a day, a price index around 1e8. Columns that float32 holds exactly
    (integers up to 2^24, whatever is float32 already) and constants are none of them. Each call
    that reads the data warns, a whole ``fit``, ``fit_many`` or ``find_label_errors`` too, at most
    once of X and once of y. What a model that was fitted is asked about later, and validation data,
    are not looked at for X: differences that were too small to train on are noise by design. Nor
    are guesses about fewer than 16 rows.

    Where it is y, losses and r2 would measure the rounding: ``evaluate``, ``blame(...).losses`` and
    the history, training and validation, are computed in float64 from the guesses and from y as it
    was passed. Training and gradients see the rounded columns all the same. The mend: subtract the
    column's mean, and divide by its standard deviation; or ``Sequential(..., dtype="float64")``.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> import culpa
    >>> seconds = 1.7e9 + np.arange(90.0)[:, None]
    >>> model = culpa.Sequential([culpa.Dense(1)], loss="mse", input_size=1)
    >>> with warnings.catch_warnings(record=True) as said:
    ...     warnings.simplefilter("always")
    ...     _ = model.predict(seconds)
    >>> said[0].category.__name__
    'RoundingWarning'
    """


class Column(NamedTuple):
    """A column that is drowned in its size."""

    place: int
    size: float
    """The largest absolute value."""
    spread: float
    """The standard deviation."""
    step: float
    """Of float32 at that size."""


def drowned(x: Array | SparseRows, dtype: str) -> list[Column]:
    """Return the columns of x (rows, columns) whose spread is lost in the model's dtype.

    Those where the step of float32 at the column's largest value is more than a hundredth of its
    standard deviation; but not columns whose values float32 holds exactly (integers up to 2^24
    among them), nor constants. A few rows clear most columns, in some microseconds; what is left is
    looked at whole, and of memory maps 65,536 rows.

    Parameters
    ----------
    x : ndarray or SparseRows (rows, columns)
        Checked rows.
    dtype : str
        The model's; float64 drowns nothing here.
    """
    if dtype != "float32" or len(x) < 2 or _holds_all(x.dtype):
        return []
    with np.errstate(over="ignore", invalid="ignore"):  # memory maps are not checked yet
        columns = _suspects(x)
        if not len(columns):
            return []
        if isinstance(x, SparseRows):
            columns, values = _entries(x, columns)
            return _judge(columns, [values]) if len(columns) else []
        return _judge(columns, _blocks(x, columns))


def _holds_all(given: np.dtype[Any]) -> bool:
    """Say whether float32 holds every value of the dtype."""
    return given.itemsize <= 2 or given == np.float32


def _suspects(x: Array | SparseRows) -> NDArray[np.intp]:
    """Return the columns that a few rows cannot clear; mostly two do.

    If step > MOST std, then std < STEP size / MOST, and any two of n rows differ by at most
    sqrt(2 n) std, the largest from the first as well: |a - b| <= c size and size <= |a| / (1 - c),
    with c = sqrt(2 n) STEP / MOST. (No column with a 0 in it is drowned, below 3e9 rows.)
    """
    n = len(x)
    c = (2.0 * n) ** 0.5 * STEP / MOST
    reach = c / (1.0 - c) if c < 0.5 else np.inf
    columns, first = _row(x, 0)
    for row in (n - 1, *range(n // PROBES or 1, n - 1, n // PROBES or 1)):
        others, values = _row(x, row, columns)
        if isinstance(x, SparseRows):
            columns, own, other = np.intersect1d(columns, others, return_indices=True)
            first, values = first[own], values[other]
        close = np.abs(first - values) < reach * np.abs(first)
        columns, first = columns[close], first[close]
        if not len(columns):
            break
    return columns


def _row(
    x: Array | SparseRows, row: int, columns: NDArray[np.intp] | None = None
) -> tuple[NDArray[np.intp], Floats]:
    """Return the columns of one row that are there, of dense rows those asked for, and values."""
    if isinstance(x, SparseRows):
        indices, entries = x.entries(row)
        return indices.astype(np.intp), entries.astype(np.float64)
    if columns is None:
        columns = np.arange(x.shape[1])
    few = 2 * len(columns) < x.shape[1]  # to pick them out takes longer than to take all
    values = np.asarray(x[row, columns] if few else x[row], np.float64).ravel()
    return columns, values if few else values[columns]


def _blocks(x: Array, columns: NDArray[np.intp]) -> Iterator[Floats]:
    """Yield these columns (rows, k), block by block."""
    begins: Any = range(0, len(x), BLOCK)
    if isinstance(x, np.memmap) and len(x) > MOST_ROWS:
        begins = np.linspace(0, len(x) - BLOCK, STRETCHES, dtype=np.int64)
    for begin in begins:
        yield np.asarray(x[begin : begin + BLOCK, columns], np.float64)


def _entries(x: SparseRows, columns: NDArray[np.intp]) -> tuple[NDArray[np.intp], Floats]:
    """Return those of the columns that are full, and their values; others hold zeros."""
    indices = x.indices[x.begins[0] : x.begins[-1]]
    counts = np.bincount(indices[np.isin(indices, columns)], minlength=x.shape[1])
    columns = columns[counts[columns] == len(x)]
    values = x.used()[np.isin(indices, columns)].astype(np.float64)
    return columns, values.reshape(len(x), -1)


def _judge(columns: NDArray[np.intp], blocks: Iterable[Floats]) -> list[Column]:
    n, k = 0, len(columns)
    first: Floats | None = None
    total, squares, size = np.zeros(k), np.zeros(k), np.zeros(k)
    low, high = np.zeros(k), np.zeros(k)
    exact = np.ones(k, bool)
    for values in blocks:
        first = values[0].copy() if first is None else first
        moved = values - first
        n += len(values)
        total += moved.sum(axis=0)
        squares += (moved * moved).sum(axis=0)
        low, high = np.minimum(low, moved.min(axis=0)), np.maximum(high, moved.max(axis=0))
        size = np.maximum(size, np.abs(values).max(axis=0))
        exact &= (values.astype(np.float32) == values).all(axis=0)
    spread = np.sqrt(np.maximum(squares / n - (total / n) ** 2, 0.0))
    step = np.spacing(size.astype(np.float32)).astype(np.float64)
    lost = ~exact & (high - low > NOISE * size) & (step > MOST * spread)
    return [
        Column(int(columns[i]), float(size[i]), float(spread[i]), float(step[i]))
        for i in np.flatnonzero(lost)
    ]


# What is said


@contextmanager
def once() -> Iterator[None]:
    """Warn once of X and once of y until the block ends, however many calls are made in it."""
    token = None if _said.get() is not None else _said.set(set())
    try:
        yield
    finally:
        if token is not None:
            _said.reset(token)


def warn(name: str, columns: Sequence[Column], names: Sequence[str] | None = None) -> None:
    """Warn of the drowned columns of X or y, of that name, where there are any."""
    if not columns:
        return
    said, kind = _said.get(), name.split()[0].split("_")[0]  # X, X_train, X (validation)
    if said is not None:
        if kind in said:
            return
        said.add(kind)
    worst = max(columns, key=lambda column: column.step / column.spread)
    which = f"column {worst.place}"
    if names is not None:
        which += f" ({names[worst.place]!r})"
    others = f" and {len(columns) - 1} more" if len(columns) > 1 else ""
    text = (
        f"{name}: {which}{others} varies too little for its size: float32 has steps of "
        f"{worst.step:.3g} at {worst.size:.4g}, and the standard deviation is {worst.spread:.3g}, "
        "so that rounding takes its differences away. Subtract the column's mean (and divide by "
        'its standard deviation), or compute in float64: dtype="float64" (estimators: X in float64)'
    )
    if kind == "y":
        text += "; losses and metrics are computed in float64 from y as it was passed"
    warnings.warn(text, RoundingWarning, stacklevel=_checks.outside())
