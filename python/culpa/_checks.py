"""Error messages that name the argument, what was expected, what came and how to mend it."""

from __future__ import annotations

import difflib
import math
import os
import sys
from collections.abc import Iterable
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from culpa import _aliases

__all__ = [
    "choice",
    "describe",
    "feature_names",
    "fraction",
    "image_shape",
    "integer",
    "number",
    "outside",
    "path",
    "row",
]


def describe(value: Any) -> str:
    """Say what a value is, shortly enough for an error message."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}... ({type(value).__name__})"


def choice(name: str, value: Any, valid: Iterable[str]) -> str:
    """Return `value` where it is one of the valid names; else say what it is called here."""
    names = list(valid)
    if isinstance(value, str) and value in names:
        return value
    mend = _aliases.mend_name(name, value, names)
    mend = f"; {mend}" if mend else ""
    if not isinstance(value, str):
        raise TypeError(
            f"{name}: expected a name as a string ({', '.join(names)}), got {describe(value)}{mend}"
        )
    near = difflib.get_close_matches(value.lower().replace("-", "_"), names, 1, 0.5)
    if near and not mend:
        mend = f"; did you mean {near[0]!r}?"
    raise ValueError(f"{name}: expected one of {', '.join(names)}, got {value!r}{mend}")


def integer(name: str, value: Any, least: int, mend: str = "") -> int:
    """Return `value` as an int where it is a whole number of at least `least`."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if whole and int(value) >= least:
        return int(value)
    raise (ValueError if whole else TypeError)(
        f"{name}: expected an integer of at least {least}, got {describe(value)}"
        + (f"; {mend}" if mend else "")
    )


def number(
    name: str, value: Any, low: float = -math.inf, high: float = math.inf, *, open_low: bool = False
) -> float:
    """Return `value` as a float where it is finite and lies in [low, high], or (low, high]."""
    bounds = f"{'(' if open_low else '['}{low:g}, {high:g}]"
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name}: expected a number in {bounds}, got {describe(value)}")
    x = float(value)
    if not math.isfinite(x) or not low <= x <= high or (open_low and x == low):
        raise ValueError(f"{name}: expected a finite number in {bounds}, got {describe(value)}")
    return x


def fraction(name: str, value: Any) -> float:
    """Return `value` as a float where it lies in [0, 1)."""
    x = number(name, value, 0.0, 1.0)
    if x == 1.0:
        raise ValueError(f"{name}: expected a number in [0, 1), got {describe(value)}")
    return x


def row(name: str, value: Any, rows: int) -> int:
    """Return `value` as an int where it is a row of X, which has so many."""
    index = integer(name, value, 0, "it is a row of X, counted from 0")
    if index >= rows:
        raise ValueError(f"{name}: expected a row of X, 0 to {rows - 1}, got {index}")
    return index


def path(name: str, value: Any) -> Path:
    """Return `value` as a path where it is one, as text or an object such as pathlib.Path."""
    text = value
    if isinstance(value, PathLike):
        text = os.fspath(value)
    if not isinstance(text, str):
        mend = ""
        if isinstance(text, (bytes, bytearray)):
            mend = "; use os.fsdecode"
        elif hasattr(value, "read") or hasattr(value, "write"):
            mend = "; pass the name of the file, which is opened here"
        raise TypeError(
            f"{name}: expected a path as a string or pathlib.Path, got {describe(value)}{mend}"
        )
    if not text or "\0" in text:
        raise ValueError(f"{name}: expected a path, got {text!r}, which names no file")
    return Path(text)


def image_shape(value: Any, inputs: int) -> tuple[int, ...]:
    """Return `value` as the shape of an image of so many inputs, row by row."""
    expected = "shape: expected (height, width) or (height, width, 3)"
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"{expected}, got {describe(value)}")
    sizes = tuple(integer("shape", size, 1) for size in value)
    fits = len(sizes) == 2 or (len(sizes) == 3 and sizes[2] == 3)
    if not fits or math.prod(sizes) != inputs:
        raise ValueError(f"{expected} of the {inputs} inputs, got {sizes}")
    return sizes


def feature_names(names: Any, inputs: int) -> tuple[str, ...] | None:
    """Return a name for each of so many inputs, None for none, or raise."""
    if names is None:
        return None
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(
            f"feature_names: expected a list of {inputs} strings, got {describe(names)}"
        )
    given = list(names)
    if not all(isinstance(name, str) for name in given):
        raise TypeError(
            f"feature_names: expected a list of {inputs} strings, got {describe(names)}; "
            "list(map(str, ...)) makes strings of a list"
        )
    if len(given) != inputs:
        raise ValueError(
            f"feature_names: expected a name for each of the {inputs} inputs, got {len(given)}"
        )
    return tuple(map(str, given))


def outside() -> int:
    """Return the stacklevel at which a warning of this function's caller names the user's line."""
    level, frame = 1, sys._getframe(1)
    inside = ("culpa", "sklearn", "contextlib")  # estimators are called by way of scikit-learn
    while frame.f_globals.get("__name__", "").split(".")[0] in inside and frame.f_back is not None:
        level, frame = level + 1, frame.f_back
    return level
