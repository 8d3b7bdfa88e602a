"""Sparse matrices on their way in: rows of entries, checked, and never made dense."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from culpa import _core

__all__ = ["SparseRows", "is_sparse"]

Array = NDArray[Any]


def is_sparse(value: Any) -> bool:
    """Say whether a value is a sparse matrix or array such as SciPy's, without importing SciPy."""
    return hasattr(value, "tocsr") and not isinstance(value, np.ndarray)


class SparseRows:
    """A matrix (n, inputs) in compressed sparse row form (CSR), as the core reads it.

    Row i has the entries ``begins[i]`` to ``begins[i + 1]``, each a value and its column in
    `indices`. The arrays are the user's own where they can be read as they are. Where the columns
    of a row do not rise, the entries are sorted in a copy and those of one column added up, in
    their order: the matrix means the same, whatever its form.

    Attributes
    ----------
    core : _core.SparseRows
        What the core takes: it has checked the arrays, and looks again wherever it reads columns.

    Raises
    ------
    ValueError, TypeError
        Where indices or positions are out of range or of no integer dtype.
    """

    def __init__(
        self, name: str, values: Array, indices: Array, begins: Array, shape: tuple[int, int]
    ) -> None:
        values = np.require(values, None, ["C", "ALIGNED"])
        indices, begins = _integers(indices), _integers(begins)
        if len(begins) != shape[0] + 1:
            raise ValueError(
                f"{name}.indptr: expected {shape[0] + 1} positions, one more than rows, got "
                f"{len(begins)}; build the matrix anew from its parts"
            )
        self.core = _core.SparseRows(values, indices, begins, shape[1], name)
        if not self.core.canonical:
            values, indices, begins = _canonical(values, indices, begins)
            self.core = _core.SparseRows(values, indices, begins, shape[1], name)
        self.values, self.indices, self.begins, self.shape = values, indices, begins, shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""
        return self.values.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> SparseRows:
        """Return a copy of some rows."""
        if isinstance(rows, slice):
            rows = np.arange(len(self))[rows]
        counts = np.diff(self.begins)[rows]
        begins = np.append(0, np.cumsum(counts))
        entries = np.arange(begins[-1]) + np.repeat(self.begins[rows] - begins[:-1], counts)
        shape = (len(rows), self.shape[1])
        return SparseRows("X", self.values[entries], self.indices[entries], begins, shape)

    def entries(self, row: int) -> tuple[Array, Array]:
        """Return the columns and the values of one row."""
        which = slice(self.begins[row], self.begins[row + 1])
        return self.indices[which], self.values[which]

    def dense(self) -> Array:
        """Return an array (n, inputs) of the same values: for a few rows."""
        array = np.zeros(self.shape, self.dtype)
        rows = np.repeat(np.arange(len(self)), np.diff(self.begins))
        array[rows, self.indices[self.begins[0] : self.begins[-1]]] = self.used()
        return array

    def used(self) -> Array:
        """Return the values that belong to a row: arrays may be longer."""
        return self.values[self.begins[0] : self.begins[-1]]

    def row_of(self, used: int) -> int:
        """Return the row of one of the `used` values."""
        return int(np.searchsorted(self.begins, used + self.begins[0], side="right")) - 1


def _integers(array: Array) -> Array:
    """Return indices as the core takes them: int32 and int64 as they are."""
    kind = array.dtype.kind in "iu" and array.dtype not in (np.int32, np.int64)
    return np.require(array, np.int64 if kind else None, ["C", "ALIGNED"])


def _canonical(values: Array, indices: Array, begins: Array) -> tuple[Array, Array, Array]:
    """Return a copy whose columns rise in each row, equal ones added up in their order."""
    n = len(begins) - 1
    rows = np.repeat(np.arange(n), np.diff(begins))
    used = slice(begins[0], begins[-1])
    order = np.lexsort((indices[used], rows))
    rows, indices, values = rows[order], indices[used][order], values[used][order]
    first = np.append(True, (np.diff(rows) != 0) | (np.diff(indices) != 0))
    with np.errstate(over="ignore", invalid="ignore"):  # looked for later
        sums = np.add.reduceat(values, np.flatnonzero(first), dtype=values.dtype)
    counts = np.bincount(rows[first], minlength=n)
    return sums, indices[first], np.append(0, np.cumsum(counts))
