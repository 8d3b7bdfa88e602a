"""What each input of an example did: an image, or bars by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from culpa import _checks
from culpa.answers import blame
from culpa.answers.attribution import Attribution
from culpa.data import columns
from culpa.plots import _style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["inputs"]

Array = NDArray[Any]


def inputs(
    values: blame.Blame | Attribution,
    example: int = 0,
    *,
    X: ArrayLike | None = None,
    shape: Sequence[int] | None = None,
    feature_names: Sequence[str] | None = None,
    k: int = 20,
    ax: Axes | None = None,
) -> Axes:
    """Draw what each input of one example did: as an image, or as bars by name, largest first.

    Parameters
    ----------
    values : Blame or Attribution
        From ``model.blame`` (dL/dx: red where a lower input would have lowered the loss) or
        ``model.attribute`` (red where it raised the output, blue where it lowered it).
    example : int, default 0
        The row.
    X : array_like (n, inputs), optional
        The examples that `values` is of: the image is drawn beside its blame; bars get the
        inputs' values with their names.
    shape : (height, width) or (height, width, 3), optional
        Draw an image of this shape; of three colours, the sum of their values is drawn.
    feature_names : sequence of str, optional
        A name per input; by default those of the frame that X was, if it was one.
    k : int, default 20
        How many bars.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        With the picture of `values`; ``.figure`` is the figure.

    Raises
    ------
    ImportError
        Where matplotlib is not installed.
    AttributeError
        Where the blame was not asked for ``inputs``.
    ValueError, TypeError
        Where an argument is not as described.

    Examples
    --------
    >>> import culpa
    >>> model = culpa.Sequential([culpa.Dense(1)], loss="mse", input_size=2)
    >>> model.layers[0].weight = [[2.0], [-1.0]]
    >>> blame = model.blame([[1.0, 0.0]], [0.0])
    >>> ax = culpa.plots.inputs(blame, feature_names=["age", "income"])
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['age', 'income']
    """
    if isinstance(values, blame.Blame):
        table, what = values.inputs, "Blame of the inputs"
        ends = ("too low", "too high")
    elif isinstance(values, Attribution):
        table, what = values.values, "Effect of the inputs"
        ends = ("lowers it", "raises it")
    else:
        raise TypeError(
            "values: expected what model.blame or model.attribute gave, got "
            f"{_checks.describe(values)}"
        )
    row = _checks.row("example", example, len(table))
    k = _checks.integer("k", k, 1)
    signal = np.asarray(table[row], np.float64)
    given = None
    known: Sequence[str] | None = values.feature_names
    if X is not None:
        columns.check(known, X, those="those that values is of")
        known = known or columns.column_names(X)
        given = _style.numbers_of("X", X)
        if given.shape != table.shape:
            raise ValueError(
                f"X: expected shape {table.shape}, as values has, got {given.shape}; pass the "
                "examples that it was asked about"
            )
        given = given[row]
    title = f"{what}, example {row}"
    if isinstance(values, Attribution):
        label = values.target_labels
        which = f"output {int(values.target[row])}" if label is None else f"class {label[row]}"
        title = f"{what} on {_style.shorten(which)}, example {row}"
    if shape is not None:
        sizes = _checks.image_shape(shape, len(signal))
        return _image(signal, given, sizes, title, ends, ax)
    if feature_names is None:
        feature_names = known
    names = _style.names_of("feature_names", feature_names, len(signal))
    return _bars(signal, given, names, k, title, ends, ax)


def _image(
    signal: Array,
    given: Array | None,
    shape: tuple[int, ...],
    title: str,
    ends: tuple[str, str],
    ax: Axes | None,
) -> Axes:
    picture = signal.reshape(shape)
    if len(shape) == 3:
        picture = picture.sum(axis=2)
    tall = min(max(shape[0] / shape[1], 0.25), 4.0)
    if given is None:
        ax = _style.axes(ax, 4.4, 3.3 * tall + 0.6)
        every = [ax]
    else:
        if ax is not None:
            raise ValueError(
                "ax: expected None for two pictures side by side, got Axes; leave out X or ax"
            )
        left, ax = _style.columns(2, 6.6, 2.9 * tall + 0.9)
        draw_image(left, given, shape)
        every = [left, ax]
    every[0].set_title(title, loc="left", fontsize=_style.TITLE, color=_style.INK, pad=10)
    most = _style.largest_size(picture)
    image = ax.imshow(
        picture, cmap=_style.diverging(), vmin=-most, vmax=most, interpolation="nearest"
    )
    _style.bare(ax, "left", "right", "top", "bottom")
    colour_bar(image, every, ends, most)
    return ax


def draw_image(ax: Axes, values: Array, shape: tuple[int, ...]) -> None:
    """Draw an example itself: dark is large."""
    picture = np.asarray(values, np.float64).reshape(shape)
    low, high = float(picture.min()), float(picture.max())
    if len(shape) == 3:
        ax.imshow((picture - low) / ((high - low) or 1.0), interpolation="nearest")
    else:
        ax.imshow(
            picture,
            cmap="gray_r",
            vmin=low,
            vmax=high if high > low else low + 1.0,
            interpolation="nearest",
        )
    _style.bare(ax, "left", "right", "top", "bottom")


def colour_bar(
    mappable: Any, where: list[Axes], ends: tuple[str, str], most: float | None = None
) -> None:
    """Draw a slim bar whose ends say in words what the colours mean; numbers with `most`."""
    ticks = [-1.0, 0.0, 1.0] if most is None else [-most, 0.0, most]
    figure = where[0].get_figure()
    aspect = max(16.0, 5.5 * where[0].get_figure(root=True).get_size_inches()[1])  # slim always
    bar = figure.colorbar(mappable, ax=where, shrink=0.8, aspect=aspect, pad=0.03, ticks=ticks)
    bar.outline.set_visible(False)
    labels = [ends[0], "0", ends[1]]
    if most is not None:
        size = _style.number(float(f"{most:.2g}"))
        labels = [f"{ends[0]}\n\N{MINUS SIGN}{size}", "0", f"{ends[1]}\n{size}"]
    bar.ax.set_yticklabels(labels)
    bar.ax.tick_params(length=0, labelsize=_style.SMALL, labelcolor=_style.QUIET)


def _bars(
    signal: Array,
    given: Array | None,
    names: list[str] | None,
    k: int,
    title: str,
    ends: tuple[str, str],
    ax: Axes | None,
) -> Axes:
    shown = blame.largest(signal, k)
    ax = _style.axes(ax, 7.0, 0.27 * len(shown) + 1.35)
    labels = [f"input {i}" if names is None else _style.shorten(names[i]) for i in shown]
    if given is not None:
        labels = [
            f"{label} = {_style.number(given[i])}" for label, i in zip(labels, shown, strict=True)
        ]
    heights = np.arange(len(shown))
    lengths = signal[shown]
    most = _style.largest_size(lengths)
    colours = [_style.RED if v > 0 else _style.BLUE for v in lengths]
    ax.barh(heights, lengths, height=0.72, color=colours)
    texts = [_style.number(value) for value in lengths]
    for height, value, text in zip(heights, lengths, texts, strict=True):
        ax.annotate(
            text,
            (value if np.isfinite(value) else 0.0, height),
            xytext=(4 if not value < 0 else -4, 0),
            textcoords="offset points",
            ha="left" if not value < 0 else "right",
            va="center",
            fontsize=_style.SMALL,
            color=_style.QUIET,
        )
    ax.set_yticks(heights, labels, fontsize=_style.TEXT, color=_style.INK, parse_math=False)
    ax.set_ylim(len(shown) - 0.4, -0.6)
    both = (lengths < 0).any() and not (lengths < 0).all()
    room = (5.0 * max(map(len, texts)) + 8.0) / 300.0  # of the axes' width, for the numbers
    beyond = most * (1.0 + (2.0 * room / (1.0 - 2.0 * room) if both else room / (1.0 - room)))
    low = beyond if (lengths < 0).any() else 0.02 * most
    high = beyond if not (lengths < 0).all() else 0.02 * most
    ax.set_xlim(-low, high)
    ax.axvline(0.0, color=_style.PALE, linewidth=1.0, zorder=0)
    ax.set_xticks([])
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_title(title, loc="left", fontsize=_style.TITLE, color=_style.INK)
    rest = len(signal) - len(shown)
    more = f"   and {rest:,} smaller one{'s' * (rest != 1)}" if rest else ""
    ax.set_xlabel(
        f"blue: {ends[0]}, red: {ends[1]}{more}",
        fontsize=_style.SMALL,
        color=_style.QUIET,
        loc="left",
    )
    return ax
