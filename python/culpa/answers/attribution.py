"""Attributions: how much each input of an example did to one of the model's outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from culpa import _checks, data
from culpa.answers import quadrature
from culpa.data import columns, rounding
from culpa.network.network import Network
from culpa.parts.architecture import Architecture

__all__ = ["Attribution", "compute_attribution"]

Array = NDArray[Any]
# What the core calls each, and which of the arguments it compares x to.
METHODS = {
    "gradient": ("gradient", ()),
    "input_x_gradient": ("gradient", ()),
    "integrated_gradients": ("path", ("baseline", "background")),
    "expected_gradients": ("expected", ("background",)),
    "smooth_grad": ("smooth", ()),
    "deeplift": ("deeplift", ("baseline", "background")),
    "lrp": ("lrp", ()),
    "conductance": ("path", ("baseline", "background")),
}
RULES = ("gauss_legendre", "riemann")


class Attribution:
    """What each input did to f, one raw output of each example.

    Attributes
    ----------
    values : ndarray (n, inputs), of the model's dtype
        The attributions, of the raw inputs (before `input_scale`).
    target : ndarray (n,), int64
        The output that was asked about; of a classifier in culpa.sklearn the class, by its place
        in ``classes_``.
    target_labels : ndarray (n,), or None
        The labels of the classes that were asked about, of a classifier in culpa.sklearn.
    output : ndarray (n,), of the model's dtype
        f(x).
    baseline_output : ndarray (n,), of the model's dtype, or None
        f(baseline), or the mean of f over the background; None for methods with neither.
    completeness_error : ndarray (n,), float64, or None
        How far the values are from adding up: ``|sum of values - (f(x) - baseline_output)|``. For
        integrated gradients and conductance it is the error of the path's sum, which more steps
        make smaller; for deeplift rounding; for expected_gradients the error of sampling, which
        falls with the square root of `samples`. For lrp, ``|sum of values - f(x)|`` is the
        relevance that biases and epsilon absorbed: part of the method, not an error of the sum.
        None for methods that promise no sum: gradient, input_x_gradient and smooth_grad.
    nodes : list of ndarray (n, units), of the model's dtype, or None
        The conductance of each node, one array per hidden Dense layer, first to last; None for
        other methods.
    node_completeness_error : list of ndarray (n,), float64, or None
        The same error for the nodes of each hidden layer: their conductances, too, sum to
        f(x) - f(baseline).
    feature_names : tuple of str, or None
        The columns of X where it was a pandas or polars frame with named ones.
    """

    def __init__(
        self, answer: Mapping[str, Any], method: str, feature_names: Sequence[str] | None = None
    ) -> None:
        self.feature_names = None if feature_names is None else tuple(feature_names)
        self.values: Array = answer["values"]
        self.target: NDArray[np.int64] = answer["targets"]
        self.target_labels: Array | None = None
        self.output: Array = answer["outputs"]
        self.baseline_output: Array | None = None
        self.completeness_error: NDArray[np.float64] | None = None
        self.nodes: list[Array] | None = None
        self.node_completeness_error: list[NDArray[np.float64]] | None = None
        change = self.output.astype(np.float64)
        if METHODS[method][1]:
            self.baseline_output = answer["baseline_outputs"]
            change -= self.baseline_output
        if METHODS[method][1] or method == "lrp":
            self.completeness_error = np.abs(answer["sums"] - change)
        if method == "conductance":
            self.nodes = answer["nodes"]
            self.node_completeness_error = [
                np.abs(nodes.sum(axis=1, dtype=np.float64) - change) for nodes in answer["nodes"]
            ]

    def __repr__(self) -> str:
        error = self.completeness_error
        worst = ""
        if error is not None and error.size:
            worst = f", completeness error at most {error.max():.2g}"
        return f"<Attribution: {self.values.shape[0]} x {self.values.shape[1]}{worst}>"


def compute_attribution(
    network: Network,
    X: Any,
    target: Any,
    method: str,
    *,
    baseline: Any,
    background: Any,
    steps: int,
    rule: str,
    samples: int,
    noise: Any,
    seed: int,
    epsilon: float,
) -> Attribution:
    """Check what is asked and walk the examples through the network."""
    _checks.choice("method", method, METHODS)
    _checks.choice("rule", rule, RULES)
    steps = _checks.integer("steps", steps, 1)
    samples = _checks.integer("samples", samples, 1)
    seed = _checks.integer("seed", seed, 0)
    if seed >= 2**64:
        raise ValueError(f"seed: expected an integer below 2**64, got {seed}")
    described = network.architecture
    epsilon = _checks.number("epsilon", epsilon, float(np.finfo(described.dtype).tiny), 1e30)
    core = network.core
    columns.check_beside(
        described.feature_names, X, baseline=baseline, background=background, noise=noise
    )
    x = data.check_dense(X, described.input_size, described.dtype, "attribute")
    if not network.saw_inputs:
        rounding.warn("X", rounding.drowned(x, described.dtype), columns.column_names(X))
    options: dict[str, Any] = {"targets": _check_target(described, target, len(x))}
    options.update(_check_compared(network, method, baseline, background, x))
    kind = METHODS[method][0]
    if kind == "path":
        points = quadrature.midpoints if rule == "riemann" else quadrature.gauss_legendre
        options["points"], options["weights"] = points(steps)
    if kind in ("expected", "smooth"):
        options.update(samples=samples, seed=seed)
    if kind == "smooth":
        options["noise"] = _check_noise(described, noise, x.shape[1])
    elif noise is not None:
        raise ValueError(
            f"noise: expected none for method {method!r}, got {_checks.describe(noise)}; leave it "
            "out, or use method='smooth_grad'"
        )
    if kind == "lrp":
        options["epsilon"] = epsilon
    answer = core.attribute(
        x,
        method=kind,
        times_inputs=method not in ("gradient", "smooth_grad"),
        nodes=method == "conductance",
        **options,
    )
    if answer["row"] >= 0:
        raise data.not_finite("X", x, answer["row"], described.dtype, described.input_scale)
    if answer["baseline_row"] >= 0:
        name = "background" if "background" in options else "baseline"
        row = answer["baseline_row"]
        raise data.not_finite(name, options[name], row, described.dtype, described.input_scale)
    return Attribution(answer, method, columns.column_names(X))


def _check_target(described: Architecture, target: Any, rows: int) -> NDArray[np.int64] | None:
    """Return an output per row (rows,), None for the model's own guess, or raise."""
    outputs = described.output_size
    if target is None:
        if outputs == 1 or described.loss.task == "classes":
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
            f"{array.shape}{'; use target.ravel()' if array.size == rows else ''}"
        )
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= outputs:
        got = f"{low}" if low == high else f"{low} to {high}"
        raise ValueError(
            f"target: expected output indices 0 to {outputs - 1}, got {got}; the model has "
            f"{outputs} output{'s' if outputs > 1 else ''}, numbered from 0"
        )
    return np.ascontiguousarray(np.broadcast_to(array, rows), dtype=np.int64)


def _check_compared(
    network: Network, method: str, baseline: Any, background: Any, x: Array
) -> dict[str, Array]:
    """Return what the method compares x to, under its name, or raise."""
    taken, dtype = METHODS[method][1], network.architecture.dtype
    for name, value in (("baseline", baseline), ("background", background)):
        if value is not None and name not in taken:
            others = " or ".join(repr(m) for m, (_, names) in METHODS.items() if name in names)
            mend = "pass a background instead" if taken else f"leave it out, or use method {others}"
            raise ValueError(
                f"{name}: expected none for method {method!r}, got {_checks.describe(value)}; "
                f"{mend}"
            )
    if not taken:
        return {}
    if background is not None:
        if baseline is not None:
            raise ValueError(
                "background: expected either a baseline or a background, got both; the answer is "
                "relative to one baseline, or the mean over a set"
            )
        rows = data.check_dense(background, x.shape[1], dtype, "attribute", "background")
        if not network.saw_inputs:
            rounding.warn("background", rounding.drowned(rows, dtype))
        return {"background": rows}
    if "baseline" not in taken:
        raise ValueError(
            f"background: expected rows (m, {x.shape[1]}) to draw baselines from, got None; pass "
            "for example a hundred rows of the training data"
        )
    if baseline is None:
        return {"baseline": np.zeros((1, x.shape[1]), dtype)}
    array = data.as_array("baseline", baseline)
    inputs = x.shape[1]
    if array.shape not in ((inputs,), x.shape):
        mend = f"numpy.full({inputs}, value) makes one of a number"
        if array.ndim == 2 and array.shape[1] == inputs:
            mend = "pass a set to take the mean over as background="
        raise ValueError(
            f"baseline: expected shape ({inputs},) for one baseline or {x.shape} for one per row "
            f"of X, got shape {array.shape}; {mend}"
        )
    return {"baseline": array if array.ndim == 2 else array[None, :]}


def _check_noise(described: Architecture, noise: Any, inputs: int) -> NDArray[np.float64]:
    """Return the standard deviation of each input's noise, (inputs,), or raise."""
    expected = f"a standard deviation in the units of X, or one for each of the {inputs} inputs"
    if noise is None:
        raise ValueError(
            f"noise: expected {expected}, got None; Smilkov et al. 2017 use 0.1 to 0.2 of the "
            "range of X: 0.15 * (X.max() - X.min())"
        )
    array = data.as_array("noise", noise)
    if array.shape not in ((), (inputs,)):
        raise ValueError(
            f"noise: expected {expected}, got shape {array.shape}; numpy.ptp(X, axis=0) gives the "
            "range of each"
        )
    values = array.astype(np.float64)
    with np.errstate(over="ignore"):
        fits = np.isfinite((values * described.input_scale).astype(described.dtype)) & (values >= 0)
    if not fits.all():
        raise ValueError(
            f"noise: expected finite numbers of at least 0 that fit {described.dtype}, got "
            f"{values[~fits][0]:g}; noise is a standard deviation"
        )
    return np.ascontiguousarray(np.broadcast_to(values, inputs))
