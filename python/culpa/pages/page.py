"""A page that lets anybody step through one example: guess, loss, blame, fix, new guess."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from culpa import _checks, data
from culpa.data import columns
from culpa.pages import story
from culpa.sequential import Sequential, check_sequential

__all__ = ["Story", "page", "render_page", "tell_example"]

Story: TypeAlias = dict[str, Any]
"""The numbers and sentences of a page, as values that JSON knows."""


def page(
    model: Sequential,
    X: ArrayLike,
    y: ArrayLike,
    example: int | None = None,
    *,
    feature_names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    shape: Sequence[int] | None = None,
    learning_rate: float | None = None,
    top: int = 16,
    title: str | None = None,
) -> str:
    """Return a web page that shows who is to blame for one guess, step by step.

    The page is one self-contained file for people who have never heard of backpropagation. It goes
    through the example, the guess, the loss, the blame walking back layer by layer (the error
    signals of backpropagation; a click on any node shows the numbers of its chain rule), the fix
    (one step of SGD, on a copy of the model and without dropout) and the new guess. It loads
    nothing from anywhere, and names are shown as text whatever they contain.

    Its columns are the inputs and the Dense layers, those inside a Residual too, and a Scale in
    front of the first is a factor of each input. What else lies between two columns (LayerNorm,
    the way around a Residual, ...) is not drawn, and the page says so: the next layer lists what
    arrived, and blame comes back with one row for what changed on its way. The fix moves all
    parameters.

    Parameters
    ----------
    model : Sequential
        Stays as it is. Of any layers.
    X : array_like (n, inputs)
        Examples, as for ``model.fit``; a frame's columns name the inputs.
    y : array_like
        Their targets, as for ``model.fit``.
    example : int, optional
        The row of X to tell about; by default the one with the largest loss.
    feature_names : sequence of str, optional
        A name per input.
    class_names : sequence of str, optional
        A name per output; for a single binary output two, of 0 and of 1.
    shape : sequence of int, optional
        (height, width) or (height, width, 3), for inputs that form an image, row by row.
    learning_rate : float, optional
        Of the fix; by default the first of 0.1, 0.05, 0.02, 0.01, ... whose step gains at least
        half of what the gradient promises (Armijo 1966).
    top : int, default 16
        How many nodes of a layer are shown, the most blamed; the page says how many more there are.
    title : str, optional
        What the page is headed, by default ``"Who is to blame?"``.

    Returns
    -------
    str
        HTML. Write it with ``encoding="utf-8"``. ``#step=4&node=1.17`` at the end of its address
        opens it at the fourth step with node 17 of the first layer.

    Raises
    ------
    ValueError, TypeError
        Where an argument is not as described, or the guess is not finite.
    RuntimeError
        Where the model has no weights yet.

    Examples
    --------
    >>> import culpa
    >>> X, y, X_test, y_test = culpa.datasets.digits()
    >>> model = culpa.Sequential(
    ...     [culpa.Dense(24, "relu"), culpa.Dense(10)], loss="cross_entropy", input_scale=1 / 16)
    >>> history = model.fit(X, y, epochs=2, verbose=False)
    >>> html = culpa.page(model, X_test, y_test, shape=(8, 8))  # its worst guess
    >>> html.startswith("<!doctype html>")
    True
    """
    return render_page(
        tell_example(
            model,
            X,
            y,
            example,
            feature_names=feature_names,
            class_names=class_names,
            shape=shape,
            learning_rate=learning_rate,
            top=top,
            title=title,
        )
    )


def tell_example(
    model: Sequential,
    X: Any,
    y: Any,
    example: int | None,
    *,
    feature_names: Sequence[str] | None,
    class_names: Sequence[str] | None,
    shape: Sequence[int] | None,
    learning_rate: float | None,
    top: int,
    title: str | None,
) -> Story:
    """Return what the page tells, from checked arguments; they are those of `page`."""
    check_sequential(model)
    model._network.check_built()
    model = model.copy()  # what another thread trains meanwhile would not add up
    examples = model._network.examples(X, y)
    row = _row(model, X, y, example, len(examples.x))
    x = data.dense(examples.x[row : row + 1])
    labels, values = examples.targets.labels, examples.targets.values
    if labels is not None:
        own_y: NDArray[Any] = labels[row : row + 1]
        target = np.eye(model.output_size)[own_y[0]]
    else:
        assert values is not None
        own_y = np.asarray(values[row : row + 1])
        target = own_y[0].astype(model.dtype).astype(np.float64)  # as the core sees it
    inputs, outputs = x.shape[1], model.output_size
    if feature_names is None:
        feature_names = columns.column_names(X)
    else:
        feature_names = _strings("feature_names", feature_names, [inputs], "input")
    if class_names is not None:
        two = model.loss.task == "binary" and outputs == 1
        class_names = _strings("class_names", class_names, [1, 2] if two else [outputs], "output")
    image = None if shape is None else _checks.image_shape(shape, inputs)
    names = story.Names(feature_names, class_names, image, outputs, model.loss.task)
    rate = None
    if learning_rate is not None:
        rate = _checks.number("learning_rate", learning_rate, 0.0, open_low=True)
    told = story.tell_story(model, x, own_y, target, names, rate, _checks.integer("top", top, 1))
    if title is not None and not isinstance(title, str):
        raise TypeError(f"title: expected a string, got {_checks.describe(title)}")
    return {**told, "title": title or "Who is to blame?", "example": row, "rows": len(examples.x)}


def render_page(values: Story) -> str:
    """Return the template with the values in it, and a policy that allows its own parts alone."""
    template = (files("culpa") / "assets" / "page.html").read_text(encoding="utf-8")
    sources = {}
    for tag in ("script", "style"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", template, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        sources[tag] = f"{tag}-src 'sha256-{digest}'"
    policy = "; ".join(
        ["default-src 'none'", *sources.values(), "base-uri 'none'", "form-action 'none'"]
    )
    head, tail = template.split("{{data}}")  # nothing within the data is looked at again
    return f"{head.replace('{{policy}}', policy)}{embedded(values)}{tail}"


def embedded(values: Any) -> str:
    r"""Return JSON that no HTML parser can mistake for markup; full precision, ASCII alone.

    Examples
    --------
    >>> embedded({"name": "</script>&\u2028"})
    '{"name":"\\u003c/script\\u003e\\u0026\\u2028"}'
    """
    text = json.dumps(values, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _row(model: Sequential, X: Any, y: Any, example: int | None, rows: int) -> int:
    if example is None:
        return model.blame(X, y, want=["losses"]).top_examples(1)[0].example
    return _checks.row("example", example, rows)


def _strings(name: str, given: Any, counts: list[int], per: str) -> list[str]:
    wanted = " or ".join(map(str, counts))
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"{name}: expected a list of {wanted} strings, got {given!r}")
    names = list(given)
    if not all(isinstance(each, str) for each in names):
        raise TypeError(
            f"{name}: expected a list of {wanted} strings, got {_checks.describe(given)}; "
            "list(map(str, ...)) makes strings of a list"
        )
    if len(names) not in counts:
        raise ValueError(f"{name}: expected a name per {per}, {wanted}, got {len(names)}")
    return [str(each) for each in names]
