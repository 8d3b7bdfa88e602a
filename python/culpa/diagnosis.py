"""The health of a network: what each layer does with examples, and what keeps it from learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from culpa import _checks, _core, blame
from culpa.examples import Examples
from culpa.findings import Finding, LayerHealth, Vitals, judge
from culpa.layers import Dense, DenseLayer
from culpa.optimizers import Adam

if TYPE_CHECKING:
    from culpa.losses import Loss
    from culpa.model import Sequential

__all__ = ["Diagnosis", "diagnose", "diagnose_examples", "sample"]

Array = NDArray[Any]

MAX_EXAMPLES = 4096
BATCH_VALUES = 2**20  # of the widest layer, held at once

# The steepest slope of activations that are flat on both sides; the others die on one side.
STEEPEST = {"tanh": 1.0, "sigmoid": 0.25}
SATURATED_SLOPE = 0.05  # of the steepest: tanh beyond 0.975, as Glorot & Bengio 2010 look at it
SATURATED_EXAMPLES = 0.95
DEAD_SLOPE = 1e-6  # relu's is 0; gelu, silu, elu, ... come down to it smoothly


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """How a network is, layer by layer, and what is wrong with it; from :func:`culpa.diagnose`.

    Printing it gives a table and the findings.

    Attributes
    ----------
    layers : tuple of LayerHealth
        A Dense layer each: ``layer``, ``units``, ``activation``, ``dead``, ``saturated``, ``mean``,
        ``spread``, ``signal_norm``, ``gradient_norm``, ``weight_norm`` and ``update_ratio``;
        ``pandas.DataFrame(diagnosis.layers)`` makes a table of them.
    findings : list of Finding
        What keeps the network from learning, causes first; empty where it looks healthy.
    loss : float
        Mean loss over the examples looked at.
    chance_loss : float
        The loss of the best constant guess: the frequencies of the classes, the mean or median.
    examples : int
        How many examples were looked at.
    """

    layers: tuple[LayerHealth, ...]
    findings: list[Finding]
    loss: float
    chance_loss: float
    examples: int

    @property
    def healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def __repr__(self) -> str:
        rows = [["layer", "nodes", "dead", "saturated", "mean", "spread"]]
        rows[0] += ["signal", "gradient", "weights", "update"]
        for x in self.layers:
            cells = [_shown(x.dead, ".0%"), _shown(x.saturated, ".0%")]
            cells += [_shown(value, ".3g") for value in x[5:]]
            rows.append([x.layer, f"{x.units:,} {x.activation}", *cells])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            f"Diagnosis by {_count(self.examples, 'example')}: loss {self.loss:.3g} "
            f"({self.chance_loss:.3g} for the best constant guess)",
            *(
                "  ".join(
                    cell.ljust(width) if i < 2 else cell.rjust(width)
                    for i, (cell, width) in enumerate(zip(row, widths, strict=True))
                )
                for row in rows
            ),
        ]
        if self.healthy:
            return "\n".join([*lines, "Nothing found: the network looks healthy."])
        lines.append(f"{_count(len(self.findings), 'finding')}:")
        for i, finding in enumerate(self.findings, 1):
            lines += [f"{i}. {finding.sentence}", f"   Try: {finding.advice}"]
        return "\n".join(lines)


def diagnose(
    model: Sequential, X: ArrayLike, y: ArrayLike, *, max_examples: int = MAX_EXAMPLES
) -> Diagnosis:
    """Look for what keeps a network from learning: dead nodes, lost signals, wild steps.

    The examples are walked through the layers in batches of bounded memory, without dropout. The
    next step is tried on a copy; the model stays as it is.

    Parameters
    ----------
    model : Sequential
        Trained or not. Its optimizer with its memory makes the step that is tried, or
        ``culpa.Adam(1e-3)`` where it has none.
    X, y
        As for :meth:`Sequential.fit`; the data that it learns from.
    max_examples : int, default 4096
        Where X has more rows, so many of them are looked at, drawn at random by a fixed seed: the
        same ones each time.

    Returns
    -------
    Diagnosis
        See its attributes. Its ``findings`` are empty where the network looks healthy.

    Raises
    ------
    ValueError, TypeError
        Where an argument is not as described.
    RuntimeError
        Where the model has no weights yet.

    Notes
    -----
    What counts as a finding is set by the constants of ``culpa.findings``, each with its reason
    and source. A node is dead where its activation's slope is 0 (below 1e-6) for every example;
    tanh and sigmoid, flat on both sides, are saturated instead.

    Examples
    --------
    >>> import numpy as np
    >>> import culpa
    >>> model = culpa.Sequential(
    ...     [culpa.Dense(4, "relu"), culpa.Dense(1)], loss="mse", input_size=2)
    >>> model.layers[0].bias = np.full(4, -100.0)
    >>> X = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> diagnosis = culpa.diagnose(model, X, [1.0, 1.0, 2.0])
    >>> diagnosis.layers[0].dead
    1.0
    >>> print(diagnosis.findings[0].sentence)  # doctest: +NORMALIZE_WHITESPACE
    All 4 nodes of dense_0 never respond to any of the 3 examples: switched off, they cannot learn.
    Nothing before them can learn either.
    """
    check_model(model)
    max_examples = _checks.integer("max_examples", max_examples, 1)
    model._built()
    return diagnose_examples(model, sample(model, X, y, max_examples), blame.column_names(X))


def check_model(model: Any) -> None:
    """Raise where `model` is no Sequential."""
    from culpa.model import Sequential  # which imports what this module imports

    if not isinstance(model, Sequential):
        raise TypeError(f"model: expected a culpa.Sequential, got {_checks.describe(model)}")


def sample(
    model: Sequential, X: Any, y: Any, most: int, rows: NDArray[np.int64] | None = None
) -> Examples:
    """Return at most so many of the examples, of the given rows where there are any."""
    examples = Examples(model, X, y, None)
    if rows is None:
        rows = np.arange(len(examples.x), dtype=np.int64)
    if len(rows) > most:
        rows = rows[np.sort(_core.permutation(len(rows), 0, 0, 0)[:most])]
    if len(rows) == len(examples.x):
        return examples
    return _part(model, examples, rows)


def diagnose_examples(
    model: Sequential,
    examples: Examples,
    names: list[str] | None = None,
    learning_rate: float | None = None,
) -> Diagnosis:
    """Return the diagnosis by these examples, of a step with this learning rate."""
    optimizer = model.optimizer or Adam(1e-3)
    rate = optimizer.learning_rate if learning_rate is None else learning_rate
    with np.errstate(all="ignore"):  # where weights or activations are not finite, so be it
        vitals = _measure(model, examples, names, rate)
    findings = judge(vitals)
    return Diagnosis(vitals.layers, findings, vitals.loss, vitals.chance_loss, vitals.examples)


def _measure(model: Sequential, examples: Examples, names: list[str] | None, rate: float) -> Vitals:
    core = model._built()
    layers = [layer for layer in model.layers if isinstance(layer, DenseLayer)]
    bad = tuple(int(np.sum(~np.isfinite(x.weight)) + np.sum(~np.isfinite(x.bias))) for x in layers)
    nodes = [_Nodes(layer) for layer in layers]
    n = len(examples.x)
    squares = np.zeros(len(layers))
    overflow: int | None = None
    probes = [] if any(bad) else [_probe(model, layer) for layer in layers]
    widest = max(examples.x.shape[1], *(layer.units for layer in layers))
    for rows in np.array_split(np.arange(n), -(-n // max(1, BATCH_VALUES // widest))):
        batch = _part(model, examples, rows)
        answer = core.blame(batch.core(), nodes=True)
        if answer["row"] >= 0:
            batch.raise_not_finite(answer["row"])
        squares += [float(np.square(x, dtype=np.float64).sum()) for x in answer["nodes"]]
        stop = _walk(probes, nodes, batch.x) if probes else None
        if stop is not None:
            overflow = stop if overflow is None else min(stop, overflow)
    whole = core.blame(examples.core(), gradient=True)
    gradients, _ = blame.split_gradient(model, whole["gradient"])
    steps = _next_step(model, whole["gradient"], rate)
    ok = [not any(bad) and (overflow is None or i < overflow) for i in range(len(layers))]
    table = tuple(
        LayerHealth(
            layer.name,
            layer.units,
            layer.activation.name,
            node.dead() if fine else np.nan,
            node.saturated() if fine else np.nan,
            node.mean() if fine else np.nan,
            node.spread() if fine else np.nan,
            float(np.sqrt(square / n)),
            _norm(gradient),
            _norm(layer.weight),
            step / _norm(layer.weight) if _norm(layer.weight) else np.nan,
        )
        for layer, node, fine, square, gradient, step in zip(
            layers, nodes, ok, squares, gradients, steps, strict=True
        )
    )
    rms, name = _largest_input(model, examples, names)
    return Vitals(
        table,
        n,
        whole["loss_sum"] / n,
        _chance_loss(model.loss, examples, model.output_size),
        rate,
        model.dtype,
        model._epochs > 0,
        bad,
        overflow,
        nodes[-1].relative_change() if all(ok) else np.nan,
        bool((examples.x != examples.x[0]).any()),
        rms,
        name,
    )


class _Nodes:
    """Sums over the examples, for each node of a layer, of its activations and slopes."""

    def __init__(self, layer: DenseLayer) -> None:
        self.steepest = STEEPEST.get(layer.activation.name)
        self.rows = 0
        # Of what lies above the first example's, so that nothing cancels where nothing varies.
        self.shift: NDArray[np.float64] | None = None
        self.sums = np.zeros((2, layer.units))
        self.most_slope = np.zeros(layer.units)
        self.flat = np.zeros(layer.units)

    def add(self, h: Array, slopes: Array) -> None:
        """Count a batch: activations and slopes (rows, units)."""
        if self.shift is None:
            self.shift = h[0].astype(np.float64)
        above = h - self.shift
        self.sums += [above.sum(axis=0), np.square(above).sum(axis=0)]
        self.rows += len(h)
        steep = np.abs(slopes)
        self.most_slope = np.maximum(self.most_slope, steep.max(axis=0))
        if self.steepest is not None:
            self.flat += (steep < SATURATED_SLOPE * self.steepest).sum(axis=0)

    def means(self) -> NDArray[np.float64]:
        assert self.shift is not None
        return np.asarray(self.shift + self.sums[0] / self.rows)

    def variances(self) -> NDArray[np.float64]:
        mean, square = self.sums / self.rows
        return np.asarray(np.maximum(square - mean**2, 0.0))

    def mean(self) -> float:
        return float(self.means().mean())

    def spread(self) -> float:
        return float(np.sqrt(self.variances().mean() + self.means().var()))

    def relative_change(self) -> float:
        """Return the largest spread of a node over the examples, by the size of its values."""
        size = np.sqrt(self.variances() + self.means() ** 2)
        spread = np.sqrt(self.variances())
        return float(np.divide(spread, size, out=np.zeros_like(size), where=size > 0).max())

    def dead(self) -> float:
        return 0.0 if self.steepest is not None else float(np.mean(self.most_slope < DEAD_SLOPE))

    def saturated(self) -> float:
        return float(np.mean(self.flat >= SATURATED_EXAMPLES * self.rows)) if self.steepest else 0.0


def _probe(model: Sequential, layer: DenseLayer) -> Sequential:
    """Return one layer as a model of its own, whose loss makes its slopes its error signals."""
    probe = type(model)(
        [Dense(layer.units, layer.activation, initializer="zeros")],
        loss="mae",
        input_size=layer.weight.shape[0],
        dtype=model.dtype,
        input_scale=model.input_scale if layer.name == "dense_0" else 1.0,
    )
    probe.load_state_dict({"dense_0.weight": layer.weight, "dense_0.bias": layer.bias})
    return probe


def _walk(probes: list[Sequential], nodes: list[_Nodes], h: Array) -> int | None:
    """Carry a batch through the layers; return the first whose activations are not finite."""
    for i, (probe, node) in enumerate(zip(probes, nodes, strict=True)):
        core, units = probe._built(), probe.output_size
        # Targets far below any output: mae's derivative is 1 / units, and the error signals are
        # the slopes over the units, as the core itself computes them.
        far_below = np.full((len(h), units), -np.finfo(probe.dtype).max / 4, probe.dtype)
        answer = core.blame(_core.Examples(h, targets=far_below), nodes=True)
        h, _ = core.predict(h)
        if not np.isfinite(h).all():
            return i
        node.add(h, answer["nodes"][0] * units)
    return None


def _next_step(model: Sequential, gradient: Array, rate: float) -> list[float]:
    """Return the norm of each layer's change of weights, were this the next step's gradient."""
    twin = model.copy()
    core = twin._built()
    if model.optimizer is None:
        core.set_optimizer(Adam(1e-3)._core())
    core.apply(gradient, rate)
    pairs = zip(model.state_dict().items(), twin.state_dict().values(), strict=True)
    return [
        _norm(after.astype(np.float64) - before)
        for (name, before), after in pairs
        if name.endswith("weight")
    ]


def _norm(array: Array) -> float:
    return float(np.sqrt(np.square(array, dtype=np.float64).sum()))


def _largest_input(
    model: Sequential, examples: Examples, names: list[str] | None
) -> tuple[float, str]:
    """Return the largest root mean square of a column, after input_scale, and the column's name."""
    blocks = np.array_split(examples.x, len(examples.x) // 256 + 1)
    squares = sum(np.square(block, dtype=np.float64).sum(axis=0) for block in blocks)
    rms = np.sqrt(squares / len(examples.x)) * abs(model.input_scale)
    column = int(rms.argmax())
    return float(rms[column]), f"input {column}" if names is None else f"{names[column]!r}"


def _chance_loss(loss: Loss, examples: Examples, outputs: int) -> float:
    """Return the mean loss of the best constant outputs, by the core's own loss."""
    n = len(examples.x)
    core = _constant_model(loss, _best_constant(loss, examples, outputs))._built()
    losses, _, _ = core.evaluate(_core.Examples(np.zeros((n, 1)), **examples.targets.keywords()))
    return float(losses.mean())


def _constant_model(loss: Loss, outputs: NDArray[np.float64]) -> Sequential:
    from culpa.model import Sequential  # as in check_model

    layer = Dense(len(outputs), initializer="zeros")
    model = Sequential([layer], loss, input_size=1, dtype="float64")
    model.layers[0].bias = outputs  # type: ignore[union-attr]
    return model


def _best_constant(loss: Loss, examples: Examples, outputs: int) -> NDArray[np.float64]:
    """Return the raw outputs (outputs,) that have the least mean loss if given to all examples."""
    least = 1e-30  # what a logarithm is taken of
    if examples.targets.labels is not None:
        counts = np.bincount(examples.targets.labels, minlength=outputs)
        y = counts[None, :] / counts.sum()
    else:
        assert examples.targets.values is not None
        y = np.asarray(examples.targets.values, np.float64)
    mean: NDArray[np.float64] = y.mean(axis=0)
    match loss.name:
        case "cross_entropy":  # the frequencies, smoothed as the targets are
            smoothing = loss.parameter
            best = np.log(np.maximum((1.0 - smoothing) * mean + smoothing / outputs, least))
        case "binary_cross_entropy":
            best = np.log(np.maximum(mean, least)) - np.log(np.maximum(1.0 - mean, least))
        case "poisson":
            best = np.log(np.maximum(mean, least))
        case "mae":
            best = np.median(y, axis=0)
        case "quantile":
            best = np.quantile(y, loss.parameter, axis=0, method="inverted_cdf")
        case "huber":
            best = _huber_center(y, loss.parameter)
        case _:
            best = mean
    return np.asarray(best)


def _huber_center(y: NDArray[np.float64], delta: float) -> NDArray[np.float64]:
    """Return the least constants by bisection: the loss's derivative grows with the constant."""
    low, high = y.min(axis=0), y.max(axis=0)
    for _ in range(100):
        middle = (low + high) / 2.0
        rises = np.clip(middle - y, -delta, delta).sum(axis=0) > 0.0
        low, high = np.where(rises, low, middle), np.where(rises, middle, high)
    return np.asarray((low + high) / 2.0)


def _part(model: Sequential, examples: Examples, rows: NDArray[Any]) -> Examples:
    """Return a copy of some rows, checked already."""
    targets = examples.targets
    y = targets.labels if targets.labels is not None else targets.values
    assert y is not None
    return Examples(model, examples.x[rows], y[rows], None)


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'s' * (n != 1)}"


def _shown(value: float, form: str) -> str:
    return "-" if np.isnan(value) else format(value, form)
