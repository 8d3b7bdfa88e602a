"""One example's blame on its way back through the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from culpa import _checks, data
from culpa.answers import blame
from culpa.data.columns import check as check_columns
from culpa.data.columns import column_names
from culpa.plots import _style
from culpa.plots._inputs import colour_bar
from culpa.sequential import Sequential, check_sequential

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["network"]

Array = NDArray[Any]
FAINTEST = 0.05  # of the strongest gradient: connections below are not drawn


class Column(NamedTuple):
    """The inputs or a layer: the nodes that are drawn, top to bottom."""

    title: str
    caption: str
    nodes: NDArray[np.int64]  # (shown,)
    colours: Array  # (shown,), -1 to 1
    labels: list[str]  # (shown,), or empty
    hidden: int  # how many nodes are not drawn

    @property
    def heights(self) -> Array:
        """Where the nodes are, around 0."""
        return np.asarray((len(self.nodes) - 1) / 2.0 - np.arange(len(self.nodes)))


def network(
    model: Sequential,
    X: ArrayLike,
    y: ArrayLike,
    example: int = 0,
    *,
    nodes: int = 12,
    connections: int = 40,
    feature_names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw one example's blame: layers as columns, nodes coloured by their error signals.

    A node is red where a lower value would have lowered the loss, blue where a higher one would
    have. Each column is coloured by its own largest signal, which stands above it. Lines are the
    weights with the largest gradients, between nodes that are drawn: red where a lower weight
    would have lowered the loss, blue where a higher one would have.

    Columns are the inputs and the Dense layers, those inside a Residual too; layers of other kinds,
    and the ways around, are not drawn.

    Parameters
    ----------
    model : Sequential
        With its weights.
    X, y : array_like
        Examples, as for :meth:`Sequential.fit`.
    example : int, default 0
        The row of X to draw.
    nodes : int, default 12
        How many nodes of a layer to draw at most: those with the largest error signals. A line
        below says how many more there are.
    connections : int, default 40
        How many weights between two columns to draw at most.
    feature_names : sequence of str, optional
        A name per input; by default those of X where it is a frame with named columns.
    class_names : sequence of str, optional
        A name per output.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ImportError
        Where matplotlib is not installed.
    ValueError, TypeError
        Where an argument is not as described.

    Examples
    --------
    >>> import culpa
    >>> X, y, _, _ = culpa.datasets.digits()
    >>> model = culpa.Sequential(
    ...     [culpa.Dense(32, "relu"), culpa.Dense(10)], loss="cross_entropy", input_size=64,
    ...     input_scale=1 / 16)
    >>> ax = culpa.plots.network(model, X, y, example=17)
    >>> ax.get_title(loc="left").startswith("Example 17: ")
    True
    """
    check_sequential(model)
    model._network.check_built()
    model = model.copy()  # one state, whoever trains it meanwhile
    most = _checks.integer("nodes", nodes, 1)
    connections = _checks.integer("connections", connections, 0)
    check_columns(model.feature_names, X)
    names = feature_names if feature_names is not None else column_names(X)
    x = data.check_x(X, model.input_size, model.dtype, finite=False)
    row = _checks.row("example", example, len(x))
    targets = data.as_array("y", y)
    if targets.ndim == 0 or len(targets) != len(x):
        raise ValueError(f"y: expected one entry for each of the {len(x)} rows of X")
    names = _style.names_of("feature_names", names, x.shape[1])
    classes = _style.names_of("class_names", class_names, model.output_size)
    one, truth = data.dense(x[row : row + 1]), targets[row : row + 1]
    answer = model.blame(one, truth)
    columns = [_input_column(answer.inputs[0], one[0], names, most)]
    for i, layer in enumerate(answer.layers):
        last = i == len(answer.layers) - 1
        labels = _output_labels(model, one, truth, classes) if last else None
        columns.append(_layer_column(layer, answer.nodes[i][0], labels, most))

    tallest = max(len(column.nodes) for column in columns)
    width = 2.2 * len(columns) + (2.4 if names else 1.4)
    ax = _style.axes(ax, width, max(2.6, 0.36 * tallest + 1.9))
    for i, gradient in enumerate(answer.weights):
        _draw_connections(ax, i, columns[i], columns[i + 1], gradient, connections)
    drawn = [_draw_column(ax, i, column, tallest) for i, column in enumerate(columns)]
    _style.bare(ax)
    bottom, top = -tallest / 2.0 - 0.9, tallest / 2.0 + 1.0
    ax.set_ylim(bottom, top)
    ax.set_xlim(-0.9 if names else -0.55, len(columns) - 1 + 0.75)
    guess = _guess(model, one, truth, classes)
    ax.set_title(
        f"Example {row}: {guess} (loss {_style.number(answer.losses[0])})",
        loc="left",
        fontsize=_style.TITLE,
        color=_style.INK,
        pad=14,
        parse_math=False,
    )
    ax.set_xlabel(
        "Red: a lower value would have lowered the loss, blue: a higher one. "
        "Lines: the weights with the largest gradients.",
        fontsize=_style.SMALL,
        color=_style.QUIET,
        loc="left",
    )
    colour_bar(drawn[-1], [ax], ("too low", "too high"))
    return ax


def _input_column(signal: Array, x: Array, names: list[str] | None, most: int) -> Column:
    shown = np.sort(blame.largest(signal, most))
    labels = [
        f"{f'input {i}' if names is None else _style.shorten(names[i], 22)} = {_style.number(x[i])}"
        for i in shown
    ]
    return _column("inputs", f"{len(signal):,}", signal, shown, labels)


def _layer_column(layer: blame.Layer, signal: Array, labels: list[str] | None, most: int) -> Column:
    shown = np.sort(blame.largest(signal, most))
    own = [str(i) for i in shown] if labels is None else [labels[i] for i in shown]
    kind = layer.activation.name
    if kind == "identity":
        kind = "node" if layer.units == 1 else "nodes"
    return _column(layer.name, f"{layer.units:,} {kind}", signal, shown, own)


def _column(
    title: str, size: str, signal: Array, shown: NDArray[np.int64], labels: list[str]
) -> Column:
    largest = float(np.abs(signal).max(initial=0.0))
    colours = np.asarray(signal[shown], np.float64) / _style.largest_size(signal)
    hidden = len(signal) - len(shown)
    return Column(
        title,
        f"{size}\nsignals up to {_style.number(float(f'{largest:.2g}'))}",
        shown,
        colours,
        labels,
        hidden,
    )


def _output_labels(model: Sequential, x: Array, y: Array, classes: list[str] | None) -> list[str]:
    """Return what the network said at each output."""
    if model.loss.task == "regression":
        said = np.atleast_2d(model.predict(x))[0]
        names = classes or [f"output {i}" for i in range(model.output_size)]
    else:
        said = np.atleast_2d(model.predict_proba(x))[0]
        names = classes or [str(i) for i in range(model.output_size)]
    form = _style.number if model.loss.task == "regression" else "{:.0%}".format
    texts = [
        f"{_style.shorten(name, 18)}: {form(float(v))}" for name, v in zip(names, said, strict=True)
    ]
    if model.loss.task == "classes":
        texts[_label(y)] += "  \N{LEFTWARDS ARROW} label"
    return texts


def _label(y: Array) -> int:
    """Return the class that an example has, or has most of."""
    return int(y[0]) if y.ndim == 1 else int(y[0].argmax())


def _guess(model: Sequential, x: Array, y: Array, classes: list[str] | None) -> str:
    guess = model.predict(x)[0]
    if model.loss.task == "classes":
        said, meant = (
            str(k) if classes is None else _style.shorten(classes[k]) for k in (guess, _label(y))
        )
        return f"{said}, and right" if guess == _label(y) else f"said {said}, was {meant}"
    if np.size(guess) == 1:
        return f"said {_style.number(np.ravel(guess)[0])}, was {_style.number(np.ravel(y)[0])}"
    return f"{np.size(guess)} outputs"


def _draw_connections(
    ax: Axes, at: int, left: Column, right: Column, gradient: Array, most: int
) -> None:
    from matplotlib.collections import LineCollection

    part = np.asarray(gradient[np.ix_(left.nodes, right.nodes)], np.float64)
    sizes = np.abs(part) / _style.largest_size(part)
    order = [
        i for i in np.argsort(-sizes, axis=None, kind="stable")[:most] if sizes.flat[i] > FAINTEST
    ]
    if not order:
        return
    rows, cols = np.unravel_index(np.array(order[::-1]), part.shape)  # the strongest on top
    ends = [
        [(at, left.heights[i]), (at + 1, right.heights[j])] for i, j in zip(rows, cols, strict=True)
    ]
    strength = sizes[rows, cols]
    colours = _style.diverging()(0.5 + 0.42 * np.sign(part[rows, cols]))
    colours[:, 3] = 0.12 + 0.55 * strength
    ax.add_collection(
        LineCollection(ends, colors=colours, linewidths=0.5 + 2.0 * strength, zorder=1)
    )


def _draw_column(ax: Axes, at: int, column: Column, tallest: int) -> Any:
    """Draw nodes, labels, heading and what is left out; return the nodes."""
    heights = column.heights
    dots = ax.scatter(
        np.full(len(heights), float(at)),
        heights,
        c=column.colours,
        cmap=_style.diverging(),
        vmin=-1.0,
        vmax=1.0,
        s=190,
        edgecolors="#8a8a8a",
        linewidths=0.8,
        zorder=3,
    )
    left = at == 0
    for height, label, colour in zip(heights, column.labels, column.colours, strict=True):
        inside = label.isdecimal() and not left
        ax.annotate(
            label,
            (at, height),
            xytext=(0 if inside else (-11 if left else 11), 0),
            textcoords="offset points",
            ha="center" if inside else ("right" if left else "left"),
            va="center",
            fontsize=6.0 - max(0, len(label) - 3) if inside else _style.SMALL,
            color="white" if inside and abs(colour) > 0.55 else _style.INK,
            zorder=4,
            parse_math=False,
        )
    ax.text(
        at,
        tallest / 2.0 + 0.25,
        f"{column.title}\n{column.caption}",
        ha="center",
        va="bottom",
        fontsize=_style.SMALL,
        color=_style.QUIET,
    )
    if column.hidden:
        ax.text(
            at,
            heights[-1] - 0.75,
            f"+ {column.hidden:,} more",
            ha="center",
            va="center",
            fontsize=_style.SMALL,
            color=_style.QUIET,
            style="italic",
        )
    return dots
