"""Examples from files for the command line: ``.npz``, ``.csv`` and the digits that ship."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from culpa import _checks, datasets
from culpa._terminal import printable
from culpa.data.labels import refuse_missing
from culpa.pages.arrays import read_arrays
from culpa.parts.losses import Loss

__all__ = ["Table", "read_table"]

MOST_NAMES = 1_000_000  # of inputs or classes: as many make a list of 100 MB
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass
class Table:
    """Examples, and what their inputs and outputs are called where the file says so."""

    X: NDArray[Any]
    y: NDArray[Any]
    feature_names: list[str] | None = None
    class_names: list[str] | None = None
    shape: tuple[int, ...] | None = None


def read_table(source: str, loss: Loss, outputs: int, target: str | None = None) -> Table:
    """Read examples for a model.

    Parameters
    ----------
    source : str
        A ``.npz`` file with ``X`` and ``y``, and maybe ``feature_names`` and ``class_names``; a
        ``.csv`` file with a header, numbers below it and the target in one column (for a model of
        classes it may be text, numbered in sorted order); or ``digits``, the 360 held-out digits of
        ``culpa.datasets``.
    loss : Loss
        The model's.
    outputs : int
        How many the model has.
    target : str, optional
        The target's column in a ``.csv`` file, by default the last.

    Returns
    -------
    Table

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    ValueError
        Where the file is not as described. Nothing in it is ever executed.
    """
    if target is not None and not source.lower().endswith(".csv"):
        raise ValueError(f"target: expected none for {source!r}; only a .csv file has columns")
    if source == "digits":
        _, _, X, y = datasets.digits()
        return Table(X, y, shape=(8, 8))
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(
            f"data: expected a .npz or .csv file, or digits, got {source!r}, which does not exist"
        )
    if path.suffix.lower() == ".npz":
        return _read_npz(path)
    if path.suffix.lower() == ".csv":
        return _read_csv(path, loss, outputs, target)
    raise ValueError(f"data: expected a .npz or .csv file, or digits, got {source!r}")


def _read_npz(path: Path) -> Table:
    try:
        arrays, names = read_arrays(path, ("X", "y", "feature_names", "class_names"))
        missing = [name for name in ("X", "y") if name not in arrays]
        features, classes = (_names(arrays, name) for name in ("feature_names", "class_names"))
    except ValueError as error:
        raise ValueError(
            f"data: expected a .npz file of plain arrays, got {str(path)!r}: "
            f"{printable(str(error))}; write it with numpy.savez, names as arrays of strings"
        ) from None
    if missing:
        raise ValueError(
            f"data: expected the arrays X and y in {str(path)!r}, got {_listed(names) or 'none'}"
        )
    return Table(arrays["X"], arrays["y"], features, classes)


def _names(arrays: dict[str, NDArray[Any]], name: str) -> list[str] | None:
    array = arrays.get(name)
    if array is None:
        return None
    if array.size > MOST_NAMES:
        raise ValueError(f"{name} has {array.size:,} names")
    if array.dtype.kind == "S":
        return [each.decode("utf-8", "replace") for each in array.ravel().tolist()]
    try:
        return [str(each) for each in array.ravel().tolist()]
    except SystemError:  # beyond Unicode
        raise ValueError(f"{name} is damaged") from None


def _read_csv(path: Path, loss: Loss, outputs: int, target: str | None) -> Table:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"data: expected a .csv file in UTF-8, got {str(path)!r}: {error}"
        ) from None
    _check_separator(path, rows)
    if len(rows) < 2 or len(rows[0]) < 2:
        raise ValueError(
            f"data: expected a header of at least two columns and a row below it in {str(path)!r}"
        )
    header, rows = rows[0], rows[1:]
    if target is not None and header.count(target) != 1:
        raise ValueError(
            f"target: expected the name of one of the columns {_listed(header)}, got {target!r}"
        )
    at = len(header) - 1 if target is None else header.index(target)
    _check_header(path, header, at, [row[at] for row in rows if len(row) > at])
    for number, row in enumerate(rows):
        if len(row) != len(header):
            raise ValueError(
                f"data: expected {len(header)} columns as in the header, got {len(row)} in row "
                f"{number}"
            )
    features = [k for k in range(len(header)) if k != at]
    X = np.array([[_number(row[k], header[k], i) for k in features] for i, row in enumerate(rows)])
    y, classes = _targets([row[at] for row in rows], header[at], loss, outputs)
    return Table(X, y, [header[k] for k in features], classes)


def _check_separator(path: Path, rows: list[list[str]]) -> None:
    """Raise where columns are separated by anything but commas."""
    if not rows or len(rows[0]) > 1:
        return
    for separator, name in SEPARATORS.items():
        if separator in rows[0][0]:
            raise ValueError(
                f"data: expected commas between the columns of {str(path)!r}, got {name}; write "
                "it with commas, and numbers with a decimal point"
            )


def _check_header(path: Path, header: list[str], at: int, targets: list[str]) -> None:
    """Raise where the first line is no header but an example, which would be lost.

    All its cells are numbers, or all but a target that may be one of the labels below. Columns may
    be called 0, 1, 2, ... or 400.5, 401.5, ... all the same, where the target's name is a word
    above numbers.
    """
    others = [cell for k, cell in enumerate(header) if k != at]
    if not any(cell.strip() for cell in others) or not all(map(_is_number, others)):
        return
    numbered = len(set(others)) == len(others) and all(cell.isdecimal() for cell in others)
    names_target = not _is_number(header[at]) and all(map(_is_number, targets))
    if not names_target and (_is_number(header[at]) or header[at] in targets or not numbered):
        raise ValueError(
            f"data: expected a header that names the columns in the first line of {str(path)!r}, "
            f"got the example {_listed(header, 6)}; put a line of names above it"
        )


def _listed(names: list[str], most: int = 20) -> str:
    """Return names from a file for an error message."""
    more = f", ... ({len(names):,} in all)" if len(names) > most else ""
    return ", ".join(printable(name[:60]) for name in names[:most]) + more


def _targets(
    cells: list[str], name: str, loss: Loss, outputs: int
) -> tuple[NDArray[Any], list[str] | None]:
    """Return a column as targets, with the names of the classes where it is text."""
    if loss.task == "regression":
        return np.array([_number(cell, name, i) for i, cell in enumerate(cells)]), [name][:outputs]
    if all(_is_number(cell) and cell.strip() for cell in cells):
        y = np.array([float(cell) for cell in cells])
        if loss.task == "classes" and np.array_equal(y, np.round(y)) and np.abs(y).max() < 2**53:
            y = y.astype(np.int64)
        return y, None
    labels = np.array([cell if cell.strip() else None for cell in cells], object)
    refuse_missing(f"data: column {name!r}", labels)
    classes, y = np.unique(cells, return_inverse=True)
    wanted = 2 if loss.task == "binary" else outputs
    if len(classes) != wanted:
        raise ValueError(
            f"data: expected {wanted} different texts in column {name!r}, a class each, got "
            f"{len(classes)}; number the classes from 0, as for the training"
        )
    return y, [str(each) for each in classes]


def _is_number(cell: str) -> bool:
    """Say whether a cell holds a number, or nothing: a value that is missing."""
    try:
        float(cell.strip() or "nan")
    except ValueError:
        return False
    return "_" not in cell  # Python reads 1_0 as 10, and no other program does


def _number(cell: str, column: str, row: int) -> float:
    if cell.strip() and _is_number(cell):
        return float(cell)
    raise ValueError(
        f"data: expected a number in column {column!r}, row {row}, got {_checks.describe(cell)}; "
        "leave out columns of text, and fill in or drop rows that lack a value"
    )
