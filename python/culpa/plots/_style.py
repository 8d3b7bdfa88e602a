"""What the pictures share: colours, letters, axes without junk, and matplotlib on demand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from culpa import _checks, data

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap


INK, QUIET, PALE = "#222222", "#6b6b6b", "#d9d9d9"  # text, secondary text, outlines
RED, BLUE = "#c8553d", "#3a7fb9"  # of bars: too high, too low
TITLE, TEXT, SMALL = 11.0, 9.0, 8.0  # points


def matplotlib() -> Any:
    """Return matplotlib.pyplot, or say how to get it."""
    try:
        import matplotlib.pyplot
    except ImportError as error:
        raise ImportError(
            f'plots: expected matplotlib, got {error}; install it: pip install "culpa[plots]"'
        ) from error
    return matplotlib.pyplot


def axes(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the axes given, or those of a new figure of this size in inches."""
    plt = matplotlib()
    if ax is None:
        return plt.subplots(figsize=(width, height), layout="constrained")[1]
    if not hasattr(ax, "transAxes"):
        raise TypeError(f"ax: expected matplotlib Axes, got {_checks.describe(ax)}")
    return ax


def columns(count: int, width: float, height: float) -> list[Axes]:
    """Return the axes, side by side, of a new figure of this size in inches."""
    _, axs = matplotlib().subplots(
        1, count, figsize=(width, height), layout="constrained", squeeze=False
    )
    return list(axs[0])


def diverging() -> Colormap:
    """Return blue for below zero, nearly white for zero, red for above: seen by all eyes alike."""
    matplotlib()
    from matplotlib.colors import LinearSegmentedColormap

    stops = ["#0b4a8f", "#4a90c9", "#b5d4ea", "#f6f6f4", "#f5c3a8", "#dd6b4d", "#9e1b2f"]
    return LinearSegmentedColormap.from_list("culpa", stops)


def bare(ax: Axes, *sides: str) -> None:
    """Remove ticks, and all spines but some."""
    ax.set_xticks([])
    ax.set_yticks([])
    for side, spine in ax.spines.items():
        spine.set_visible(side in sides)
        spine.set_color(PALE)


def largest_size(values: Any) -> float:
    """Return the largest finite |value|, 1 where all are zero: what colours are scaled by."""
    sizes = np.abs(np.asarray(values, np.float64))
    most = float(sizes[np.isfinite(sizes)].max(initial=0.0))
    return most or 1.0


def number(value: Any) -> str:
    """Return a number with about three digits, without an exponent where it is of common size."""
    v = float(value)
    if abs(v) < 1e6 and v == int(v):
        text = f"{int(v):,}"
    else:
        text = f"{v:,.0f}" if 100 <= abs(v) < 1e6 else f"{v:.3g}"
    return text.replace("-", "\N{MINUS SIGN}")


def shorten(name: Any, most: int = 28) -> str:
    """Return a name of at most so many letters: its ends, which tell names apart."""
    text = " ".join(str(name).split())  # no line breaks
    if len(text) <= most:
        return text
    head = (most - 1) * 2 // 3
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"


def numbers_of(name: str, X: Any) -> NDArray[Any]:
    """Return X as an array of numbers: also what culpa.sklearn takes and the core does not."""
    try:
        return data.as_array(name, X)
    except TypeError:
        array = np.asarray(X)
        if array.dtype.kind not in "fOU":
            raise
        try:
            return array.astype(np.float64)
        except (TypeError, ValueError):
            pass
        raise


def names_of(name: str, given: Sequence[str] | None, count: int) -> list[str] | None:
    """Return `count` names as strings, None for none."""
    if given is None:
        return None
    if isinstance(given, str) or not hasattr(given, "__len__"):
        raise TypeError(f"{name}: expected a list of {count} names, got {_checks.describe(given)}")
    if len(given) != count:
        raise ValueError(f"{name}: expected {count} names, got {len(given)}")
    return [str(each) for each in given]
