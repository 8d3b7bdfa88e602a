"""Examples from files for the command line: ``.npz``, ``.csv`` and the digits that ship."""

from __future__ import annotations

import csv
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from culpa import datasets
from culpa.labels import refuse_missing
from culpa.losses import Loss

__all__ = ["Table", "read"]


@dataclass
class Table:
    """Examples, and what their inputs and outputs are called where the file says so."""

    X: NDArray[Any]
    y: NDArray[Any]
    feature_names: list[str] | None = None
    class_names: list[str] | None = None
    shape: tuple[int, ...] | None = None


def read(source: str, loss: Loss, outputs: int, target: str | None = None) -> Table:
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
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"data: expected a .npz file of plain arrays, got {str(path)!r}: {error}; write it "
            "with numpy.savez, names as arrays of strings"
        ) from None
    missing = [name for name in ("X", "y") if name not in arrays]
    if missing:
        raise ValueError(
            f"data: expected the arrays X and y in {str(path)!r}, got {', '.join(arrays) or 'none'}"
        )
    features, classes = (
        [str(each) for each in arrays[name].ravel()] if name in arrays else None
        for name in ("feature_names", "class_names")
    )
    return Table(arrays["X"], arrays["y"], features, classes)


def _read_csv(path: Path, loss: Loss, outputs: int, target: str | None) -> Table:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"data: expected a .csv file in UTF-8, got {str(path)!r}: {error}"
        ) from None
    if len(rows) < 2 or len(rows[0]) < 2:
        raise ValueError(
            f"data: expected a header of at least two columns and a row below it in {str(path)!r}"
        )
    header, rows = rows[0], rows[1:]
    for number, row in enumerate(rows):
        if len(row) != len(header):
            raise ValueError(
                f"data: expected {len(header)} columns as in the header, got {len(row)} in row "
                f"{number}"
            )
    if target is not None and header.count(target) != 1:
        raise ValueError(
            f"target: expected the name of one of the columns {', '.join(header)}, got {target!r}"
        )
    at = len(header) - 1 if target is None else header.index(target)
    features = [k for k in range(len(header)) if k != at]
    X = np.array([[_number(row[k], header[k], i) for k in features] for i, row in enumerate(rows)])
    y, classes = _targets([row[at] for row in rows], header[at], loss, outputs)
    return Table(X, y, [header[k] for k in features], classes)


def _targets(
    cells: list[str], name: str, loss: Loss, outputs: int
) -> tuple[NDArray[Any], list[str] | None]:
    """Return a column as targets, with the names of the classes where it is text."""
    if loss.task == "regression":
        return np.array([_number(cell, name, i) for i, cell in enumerate(cells)]), [name][:outputs]
    try:
        y = np.array([float(cell) for cell in cells])
        if loss.task == "classes" and np.array_equal(y, np.round(y)):
            y = y.astype(np.int64)
        return y, None
    except ValueError:
        labels = np.array([cell if cell.strip() else None for cell in cells], object)
        refuse_missing(f"data: column {name!r}", labels)
        classes, y = np.unique(cells, return_inverse=True)
    wanted = 2 if loss.task == "binary" else outputs
    if len(classes) != wanted:
        raise ValueError(
            f"data: expected {wanted} different texts in column {name!r}, a class each, got "
            f"{len(classes)}; number the classes from 0, as for the training"
        ) from None
    return y, [str(each) for each in classes]


def _number(cell: str, column: str, row: int) -> float:
    try:
        return float(cell)
    except ValueError:
        raise ValueError(
            f"data: expected a number in column {column!r}, row {row}, got {cell!r}; leave out "
            "columns of text, and fill in or drop rows that lack a value"
        ) from None
