"""Frames: what their columns are called, whether a model was fitted on the same, and their rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from culpa._terminal import printable

__all__ = [
    "check",
    "check_beside",
    "check_names",
    "column_names",
    "is_frame",
    "take_rows",
]

NAMED = 5  # names of each kind that an error lists
FIT = "those that were passed during fit"


def is_frame(X: Any) -> bool:
    """Say whether X is a table with columns: a pandas, polars or pyarrow one, for example."""
    # In this order: polars' lazy frames have no shape, and warn where they are asked for columns.
    return len(getattr(X, "shape", ())) == 2 and hasattr(X, "columns")


def column_names(X: Any) -> list[str] | None:
    """Return what the inputs are called: the columns of a frame, the index of a pandas Series.

    None where X is neither, or where they are not all strings.
    """
    if is_frame(X):
        names = list(getattr(X, "column_names", X.columns))  # the former in pyarrow
    elif hasattr(X, "iloc") and getattr(X, "ndim", 0) == 1:  # one row, such as a mean
        names = list(X.index)
    else:
        return None
    return names if names and all(isinstance(name, str) for name in names) else None


def take_rows(X: Any, rows: NDArray[np.int64]) -> Any:
    """Return some rows of X, of a frame as a frame."""
    if hasattr(X, "iloc"):
        return X.iloc[rows]
    return X.take(rows) if hasattr(X, "column_names") else X[rows]


def check(
    expected: Sequence[str] | None, X: Any, name: str = "X", *, those: str = FIT, mend: str = ""
) -> None:
    """Raise where the columns of X are not those expected, in their order.

    Where either side has no names there is nothing to compare: arrays are taken as they are.
    """
    given = None if expected is None else column_names(X)
    if expected is not None and given is not None:
        check_names(expected, given, name, those=those, mend=mend)


def check_beside(expected: Sequence[str] | None, X: Any, **others: Any) -> None:
    """Raise where the columns of X, or those of other arguments, are not those expected.

    Where nothing is expected, those of the others must be those of X.
    """
    check(expected, X)
    for name, value in others.items():
        check(expected, value, name)
        check(column_names(X), value, name, those="those of X")


def check_names(
    expected: Sequence[str], given: Sequence[str], name: str, *, those: str = FIT, mend: str = ""
) -> None:
    """Raise where names differ; in scikit-learn's words where they are `those` of fit."""
    if list(expected) == list(given):
        return
    fit = those == FIT
    unseen, lacking = sorted({*given} - {*expected}), sorted({*expected} - {*given})
    lines = [f"{name}: The feature names should match {those}."]
    if unseen:
        lines += ["Feature names unseen at fit time:" if fit else "Not among them:", *_few(unseen)]
    if lacking:
        missing = "Feature names seen at fit time, yet now missing:" if fit else "Now missing:"
        lines += [missing, *_few(lacking)]
    if not unseen and not lacking:
        as_there = "as they were in fit" if fit else "as there"
        lines.append(f"Feature names must be in the same order {as_there}.")
    order = ": model.feature_names, or feature_names_in_ of an estimator" if fit else ""
    lines.append(f"Select the columns by name in that order{order}{mend}")
    raise ValueError("\n".join(lines))


def _few(names: list[str]) -> list[str]:
    return [f"- {printable(name)}" for name in names[:NAMED]] + ["- ..."] * (len(names) > NAMED)
