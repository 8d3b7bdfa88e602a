"""The examples that are most to blame, with label and guess."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from culpa import _checks, data
from culpa.answers import blame
from culpa.answers.influence import Influence
from culpa.data import columns
from culpa.data.labels import as_labels, is_missing, several
from culpa.data.sparse import is_sparse
from culpa.plots import _style
from culpa.plots._inputs import draw_image
from culpa.sequential import Sequential

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["examples"]

Array = NDArray[Any]


def examples(
    ranking: Any,
    X: ArrayLike,
    y: ArrayLike,
    guesses: Sequential | ArrayLike | None = None,
    *,
    k: int = 20,
    shape: Sequence[int] | None = None,
    class_names: Sequence[str] | None = None,
) -> Figure:
    """Draw the examples that are most to blame, with label and guess.

    With `shape` it is a gallery of images; without, a bar for each example, as long as its
    gradient's norm (or its loss).

    Parameters
    ----------
    ranking : Blame, label errors, or rows of X in order
        From ``model.blame`` with ``"gradient_norms"`` or ``"losses"``, or from
        ``culpa.find_label_errors``; or row indices, the most suspicious first.
    X, y : array_like
        The examples and their labels, (n, inputs) and (n,), or (n, classes) of probabilities; with
        a model of another loss what it takes, (n, outputs).
    guesses : Sequential or array_like (n,), optional
        The model, which guesses the examples drawn, or its guesses; by default those that label
        errors bring.
    k : int, default 20
        How many examples.
    shape : (height, width) or (height, width, 3), optional
        Shape of an example's image.
    class_names : sequence of str, optional
        A name per class.

    Returns
    -------
    matplotlib Figure

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
    ...     [culpa.Dense(10)], loss="cross_entropy", input_size=64, input_scale=1 / 16)
    >>> blame = model.blame(X, y, want=("losses", "gradient_norms"))
    >>> figure = culpa.plots.examples(blame, X, y, model, k=6, shape=(8, 8))
    >>> len(figure.axes)
    6
    """
    k = _checks.integer("k", k, 1)
    if isinstance(guesses, Sequential):
        columns.check(guesses.feature_names, X)
    if isinstance(ranking, blame.Blame):
        columns.check(ranking.feature_names, X, those="those that ranking is of")
    rows_of_x = X if is_sparse(X) else _style.numbers_of("X", X)
    x = data.check_x(rows_of_x, None, "float64", finite=False)
    labels = as_labels(y)  # strings, too
    if labels.ndim == 0 or len(labels) != len(x):
        got = "a single number" if labels.ndim == 0 else f"{len(labels)}"
        raise ValueError(f"y: expected one entry for each of the {len(x)} rows of X, got {got}")
    ranked = _ranked(ranking, len(x), k)
    rows = ranked.rows
    sizes = None if shape is None else _checks.image_shape(shape, x.shape[1])
    drawn = data.dense(x[rows])
    said = _guesses(ranked.guesses if guesses is None else guesses, drawn, rows, len(x))
    # Of rows of numbers, those that a classifier of several outputs takes are probabilities.
    classes = not isinstance(guesses, Sequential) or guesses.loss.task == "classes"
    classes = classes and not several(labels)
    captions = [
        _caption(
            _value(labels[row], classes),
            None if said is None else _value(said[i], classes),
            class_names,
        )
        for i, row in enumerate(rows)
    ]
    if sizes is None:
        return _bars(ranked, captions)
    return _gallery(drawn, rows, captions, sizes)


class Ranked(NamedTuple):
    """The rows to draw, the most suspicious first."""

    rows: NDArray[np.int64]
    scores: Array | None  # (rows,), None where only an order is known
    measure: str
    guesses: Any = None  # (n,), where the ranking brings them


def _ranked(ranking: Any, n: int, k: int) -> Ranked:
    if isinstance(ranking, blame.Blame):
        top = ranking.top_examples(k)
        by_norm = top[0].gradient_norm is not None
        scores = np.array([who.gradient_norm if by_norm else who.loss for who in top], np.float64)
        _same_length(ranking._rows, n)
        measure = "norm of the example's gradient" if by_norm else "loss"
        return Ranked(np.array([who.example for who in top]), scores, measure)
    if hasattr(ranking, "ranking") and hasattr(ranking, "scores"):  # find_label_errors
        rows = np.asarray(ranking.ranking)[:k]
        _same_length(len(ranking.scores), n)
        return Ranked(
            rows, np.asarray(ranking.scores)[rows], "suspicion", getattr(ranking, "guesses", None)
        )
    if isinstance(ranking, Influence):
        raise TypeError(
            "ranking: expected an order of the rows of X, got an Influence, which has one for each "
            "test example; pass influence.proponents[i] or influence.opponents[i], made with top="
        )
    given = data.as_array("ranking", ranking)
    if given.ndim != 1 or given.dtype.kind not in "iu" or given.size == 0:
        raise TypeError(
            "ranking: expected what model.blame or culpa.find_label_errors gave, or row indices "
            f"in order, got {_checks.describe(given)}; numpy.argsort(-scores) makes them of scores"
        )
    if given.min() < 0 or given.max() >= n:
        raise ValueError(
            f"ranking: expected rows of X, 0 to {n - 1}, got {given.min()} to {given.max()}"
        )
    return Ranked(given[:k].astype(np.int64), None, "")


def _same_length(rows: int, n: int) -> None:
    if rows != n:
        raise ValueError(
            f"X: expected the {rows} examples that ranking is of, got {n} rows; pass the X that "
            "it was made from"
        )


def _guesses(given: Any, drawn: Array, rows: NDArray[np.int64], n: int) -> Array | None:
    """Return the guesses of the rows that are drawn, of n; None for none."""
    if given is None:
        return None
    if isinstance(given, Sequential):
        return given.predict(drawn)
    array = np.asarray(given)
    if array.ndim == 0 or len(array) != n:
        raise ValueError(
            f"guesses: expected a model, or a guess for each of the {n} rows of X, got "
            f"{_checks.describe(array)}"
        )
    return array[rows]


def _caption(label: Any, guess: Any, names: Sequence[str] | None) -> tuple[str, str | None, bool]:
    """Return label and guess as text, and whether they agree."""
    meant = _as_text(label, names)
    if guess is None:
        return meant, None, True
    return meant, _as_text(guess, names), bool(guess == label)


def _value(value: Any, classes: bool) -> Any:
    """Return a label: one number or text, of probabilities the likeliest class, else a tuple."""
    value = np.asarray(value)
    if value.size > 1:
        return int(value.argmax()) if classes else tuple(value.ravel().tolist())
    one = value.item()
    if is_missing(one):
        return None
    return int(one) if isinstance(one, bool) else one


def _as_text(value: Any, names: Sequence[str] | None) -> str:
    if value is None:
        return "missing"
    if isinstance(value, tuple):
        return _style.shorten(", ".join(map(_style.number, value)), 24)
    if names is not None and isinstance(value, (int, float)) and float(value).is_integer():
        if not 0 <= value < len(names):
            raise ValueError(
                f"class_names: expected a name for class {value} too, got {len(names)} names"
            )
        return _style.shorten(names[int(value)], 16)
    return _style.number(value) if isinstance(value, float) else _style.shorten(value, 16)


def _gallery(
    drawn: Array,
    rows: NDArray[np.int64],
    captions: list[tuple[str, str | None, bool]],
    shape: tuple[int, ...],
) -> Figure:
    plt = _style.matplotlib()
    # As few gaps in the last row as can be, about six beside each other.
    n = len(rows)
    across = n if n <= 6 else min((5, 6, 7, 8), key=lambda c: (-n % c, abs(c - 6)))
    down = -(-len(rows) // across)
    tall = min(max(shape[0] / shape[1], 0.4), 2.5)
    figure, grid = plt.subplots(
        down,
        across,
        figsize=(max(1.3 * across, 3.6), (1.2 * tall + 0.55) * down + 0.55),
        layout="constrained",
        squeeze=False,
    )
    for ax in grid.flat[len(rows) :]:
        ax.remove()
    for ax, row, values, caption in zip(grid.flat, rows, drawn, captions, strict=False):
        meant, said, right = caption
        draw_image(ax, values, shape)
        ax.set_title(
            f"label {meant}" + ("" if said is None else f"\nguess {said}"),
            fontsize=_style.SMALL,
            color=_style.QUIET if right else _style.INK,
            parse_math=False,
        )
        ax.set_xlabel(f"row {row:,}", fontsize=6.5, color=_style.QUIET, labelpad=2)
    figure.suptitle(_title(rows), x=0.01, ha="left", fontsize=_style.TITLE, color=_style.INK)
    return figure


def _title(rows: NDArray[np.int64]) -> str:
    return f"The {len(rows)} examples most to blame" if len(rows) > 1 else "Most to blame"


def _bars(ranked: Ranked, captions: list[tuple[str, str | None, bool]]) -> Figure:
    rows, scores = ranked.rows, ranked.scores
    ax = _style.axes(None, 7.0, 0.27 * len(rows) + 1.2)
    heights = np.arange(len(rows))
    names = [
        f"row {row:,}: label {meant}" + ("" if said is None else f", guess {said}")
        for row, (meant, said, _) in zip(rows, captions, strict=True)
    ]
    if scores is None:  # only an order is known
        ax.scatter(np.zeros(len(rows)), heights, s=14, color=_style.RED)
        ax.set_xlim(-0.05, 1.0)
    else:
        finite = np.where(np.isfinite(scores), scores, 0.0)
        ax.barh(heights, finite, height=0.72, color=_style.RED)
        for height, length, score in zip(heights, finite, scores, strict=True):
            ax.annotate(
                _style.number(score),
                (length, height),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=_style.SMALL,
                color=_style.QUIET,
            )
        ax.set_xlim(0.0, 1.15 * _style.largest_size(finite))
        ax.set_xlabel(ranked.measure, fontsize=_style.SMALL, color=_style.QUIET, loc="left")
    ax.set_yticks(heights, names, fontsize=_style.TEXT, color=_style.INK, parse_math=False)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xticks([])
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_title(_title(rows), loc="left", fontsize=_style.TITLE, color=_style.INK)
    return ax.figure
