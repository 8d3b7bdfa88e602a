"""Attributions: how much each input of an example did to one of the model's outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from culpa import _checks, data

if TYPE_CHECKING:
    from culpa.model import Sequential

__all__ = ["Attribution", "compute"]

Array = NDArray[Any]
METHODS = ("gradient", "input_x_gradient", "integrated_gradients", "deeplift")
RULES = ("gauss_legendre", "riemann")


class Attribution:
    """What each input did to f, one raw output of each example.

    Attributes
    ----------
    values : ndarray (n, inputs), of the model's dtype
        The attributions, of the raw inputs (before `input_scale`).
    target : ndarray (n,), int64
        The output that was asked about.
    output : ndarray (n,), of the model's dtype
        f(x).
    baseline_output : ndarray (n,), of the model's dtype, or None
        f(baseline); None for methods without a baseline.
    completeness_error : ndarray (n,), float64, or None
        ``|sum of values - (f(x) - f(baseline))|``, the error of the path's sum: more steps make it
        smaller. None for methods that do not promise completeness.
    """

    def __init__(self, answer: Mapping[str, Array], *, complete: bool) -> None:
        self.values: Array = answer["values"]
        self.target: NDArray[np.int64] = answer["targets"]
        self.output: Array = answer["outputs"]
        self.baseline_output: Array | None = None
        self.completeness_error: NDArray[np.float64] | None = None
        if complete:
            self.baseline_output = answer["baseline_outputs"]
            change = self.output.astype(np.float64) - self.baseline_output
            self.completeness_error = np.abs(answer["sums"] - change)

    def __repr__(self) -> str:
        error = self.completeness_error
        worst = ""
        if error is not None and error.size:
            worst = f", completeness error at most {error.max():.2g}"
        return f"<Attribution: {self.values.shape[0]} x {self.values.shape[1]}{worst}>"


def compute(
    model: Sequential, X: Any, target: Any, method: str, baseline: Any, steps: int, rule: str
) -> Attribution:
    """Check what is asked and walk the examples through the model."""
    _checks.choice("method", method, METHODS)
    _checks.choice("rule", rule, RULES)
    steps = _checks.integer("steps", steps, 1)
    core = model._built()
    x = data.check_dense(X, model.input_size, model.dtype, "attribute")
    targets = _check_target(model, target, len(x))
    follows_path = method == "integrated_gradients"
    base = None
    if follows_path or method == "deeplift":
        base = _check_baseline(model, baseline, x)
    elif baseline is not None:
        raise ValueError(
            f"baseline: expected none for method {method!r}, got {_checks.describe(baseline)}; "
            "leave it out, or use method='integrated_gradients' or 'deeplift'"
        )
    points, weights = _path(rule, steps) if follows_path else (np.ones(1), np.ones(1))
    answer = core.attribute(
        x,
        baseline=base,
        targets=targets,
        points=points,
        weights=weights,
        rescale=method == "deeplift",
        times_inputs=method != "gradient",
    )
    if answer["row"] >= 0:
        raise data.not_finite("X", x, answer["row"], model.dtype, model.input_scale)
    if base is not None and answer["baseline_row"] >= 0:
        row = answer["baseline_row"]
        raise data.not_finite("baseline", base, row, model.dtype, model.input_scale)
    return Attribution(answer, complete=base is not None)


def _check_target(model: Sequential, target: Any, rows: int) -> NDArray[np.int64] | None:
    """Return an output per row (rows,), None for the model's own guess, or raise."""
    outputs = model.output_size
    if target is None:
        if outputs == 1 or model.loss.task == "classes":
            return None
        raise ValueError(
            f"target: expected which of the {outputs} outputs to explain (only a classifier has "
            "one guess), got None; pass target=0, or one index per row"
        )
    array = data.as_array("target", target)
    if array.dtype.kind not in "iu":
        raise TypeError(
            f"target: expected output indices 0 to {outputs - 1}, got dtype {array.dtype}; "
            "use integers"
        )
    if array.shape not in ((), (rows,)):
        raise ValueError(
            f"target: expected one index, or one for each of the {rows} rows of X, got shape "
            f"{array.shape}"
        )
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= outputs:
        got = f"{low}" if low == high else f"{low} to {high}"
        raise ValueError(
            f"target: expected output indices 0 to {outputs - 1}, got {got}; the last Dense layer "
            f"has {outputs} unit{'s' if outputs > 1 else ''}, numbered from 0"
        )
    return np.ascontiguousarray(np.broadcast_to(array, rows), dtype=np.int64)


def _check_baseline(model: Sequential, baseline: Any, x: Array) -> Array:
    """Return one row or as many as x has, or raise."""
    if baseline is None:
        return np.zeros((1, x.shape[1]), model.dtype)
    array = data.as_array("baseline", baseline)
    inputs = x.shape[1]
    if array.shape not in ((inputs,), x.shape):
        raise ValueError(
            f"baseline: expected shape ({inputs},) for one baseline or {x.shape} for one per row "
            f"of X, got shape {array.shape}; numpy.full({inputs}, value) makes one of a number"
        )
    return array if array.ndim == 2 else array[None, :]


def _path(rule: str, steps: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points in (0, 1) and weights that sum to 1, (steps,) each."""
    if rule == "riemann":  # the middles: the error falls with the square of the steps
        return (np.arange(steps) + 0.5) / steps, np.full(steps, 1.0 / steps)
    points, weights = np.polynomial.legendre.leggauss(steps)
    return (points + 1.0) / 2.0, weights / 2.0
