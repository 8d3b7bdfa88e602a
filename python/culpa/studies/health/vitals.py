"""What a network is judged by: its activations, slopes, error signals and next step, in numbers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from culpa import data
from culpa.data import target_size
from culpa.data.examples import Examples
from culpa.network.layers import DenseLayer, dense_layers, factors_in_front, layers_between
from culpa.parts.optimizers import Adam
from culpa.sequential import Sequential
from culpa.studies.health.chance import chance_loss
from culpa.studies.health.findings import LayerHealth, Vitals

__all__ = ["measure_vitals"]

Array = NDArray[Any]

BATCH_VALUES = 2**20  # of the widest layer, held at once

# The steepest slope of activations that are flat on both sides; the others die on one side.
STEEPEST = {"tanh": 1.0, "sigmoid": 0.25}
SATURATED_SLOPE = 0.05  # of the steepest: tanh beyond 0.975, as Glorot & Bengio 2010 look at it
SATURATED_EXAMPLES = 0.95
DEAD_SLOPE = 1e-6  # relu's is 0; gelu, silu, elu, ... come down to it smoothly


def measure_vitals(
    model: Sequential, examples: Examples, names: list[str] | None, rate: float
) -> Vitals:
    """Walk the examples through the network and try the next step, on a copy.

    Parameters
    ----------
    model : Sequential
        Left as it is.
    examples : Examples
        Checked, without weights.
    names : list of str, optional
        Of the columns.
    rate : float
        Learning rate of the step that is tried.
    """
    core = model._network.core
    layers = list(dense_layers(model.layers))
    bad = _bad_weights(model)
    sound = not any(bad.values())
    nodes, outputs = [_Nodes(layer) for layer in layers], _Values(model.output_size)
    last_gives = not layers_between(model._network.architecture)[-1]
    n = len(examples.x)
    squares = np.zeros(len(layers))
    overflow: int | None = None
    widest = max(examples.x.shape[1], *(layer.units for layer in layers))
    for rows in np.array_split(np.arange(n), -(-n // max(1, BATCH_VALUES // widest))):
        batch = examples.part(rows)
        want = {"nodes", "hidden", "slopes"} if sound else {"nodes"}
        answer = core.blame(batch.for_core(), want=want)
        if answer["row"] >= 0:
            batch.raise_not_finite(answer["row"])
        squares += [float(np.square(x, dtype=np.float64).sum()) for x in answer["nodes"]]
        if sound:
            given = answer["hidden"][-1] if last_gives else core.predict(data.for_core(batch.x))[0]
            stop = _add(nodes, answer["hidden"], answer["slopes"], outputs, given)
            overflow = min((i for i in (stop, overflow) if i is not None), default=None)
    whole = core.blame(examples.for_core(), want={"gradient"})
    gradients, _ = model._network.split_layers(whole["gradient"])
    steps = _next_step(model, whole["gradient"], rate)
    ok = [sound and (overflow is None or i < overflow) for i in range(len(layers))]
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
        chance_loss(model.loss, examples, model.output_size),
        rate,
        model.dtype,
        model._network.epochs > 0,
        bad,
        overflow,
        outputs.relative_change() if sound and overflow is None else np.nan,
        _differ(examples),
        rms,
        name,
        target_size.measure_targets(examples),
        _bypassed(model),
        tuple(layer.description.factors()[0] == 0.0 for layer in layers),
    )


def _bad_weights(model: Sequential) -> dict[str, int]:
    """Return how many parameters of each layer, of any kind, are NaN or infinite."""
    bad: dict[str, int] = {}
    for name, array in model.state_dict().items():
        layer = name.rpartition(".")[0]
        bad[layer] = bad.get(layer, 0) + int(np.sum(~np.isfinite(array)))
    return bad


def _bypassed(model: Sequential) -> tuple[bool, ...]:
    """Return of each Dense layer whether a Residual leads around it."""
    stages = model._network.architecture.compile(model.input_size).specs
    ways = [(stage["skip"], to) for to, stage in enumerate(stages) if "skip" in stage]
    return tuple(
        any(begin <= i < end for begin, end in ways)
        for i, stage in enumerate(stages)
        if stage["kind"] == "dense"
    )


class _Values:
    """Sums over the examples, for each of some values."""

    def __init__(self, width: int) -> None:
        self.rows = 0
        # Of what lies above the first example's, so that nothing cancels where nothing varies.
        self.shift: NDArray[np.float64] | None = None
        self.sums = np.zeros((2, width))

    def add(self, h: Array) -> None:
        """Count a batch: values (rows, width)."""
        if self.shift is None:
            self.shift = h[0].astype(np.float64)
        above = h - self.shift
        self.sums += [above.sum(axis=0), np.square(above).sum(axis=0)]
        self.rows += len(h)

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


class _Nodes(_Values):
    """The same of the activations of a layer's nodes, and what their slopes come to."""

    def __init__(self, layer: DenseLayer) -> None:
        super().__init__(layer.units)
        self.steepest = STEEPEST.get(layer.activation.name)
        self.most_slope = np.zeros(layer.units)
        self.flat = np.zeros(layer.units)

    def add_slopes(self, slopes: Array) -> None:
        """Count a batch: slopes (rows, units)."""
        steep = np.abs(slopes)
        self.most_slope = np.maximum(self.most_slope, steep.max(axis=0))
        if self.steepest is not None:
            self.flat += (steep < SATURATED_SLOPE * self.steepest).sum(axis=0)

    def dead(self) -> float:
        return 0.0 if self.steepest is not None else float(np.mean(self.most_slope < DEAD_SLOPE))

    def saturated(self) -> float:
        return float(np.mean(self.flat >= SATURATED_EXAMPLES * self.rows)) if self.steepest else 0.0


def _add(
    nodes: list[_Nodes], hidden: list[Array], slopes: list[Array], outputs: _Values, given: Array
) -> int | None:
    """Count a batch, up to the first layer whose activations are not finite; return that.

    Where the outputs alone are not, return how many layers there are.
    """
    for i, (node, h, slope) in enumerate(zip(nodes, hidden, slopes, strict=True)):
        if not np.isfinite(h).all():
            return i
        node.add(h)
        node.add_slopes(slope)
    if not np.isfinite(given).all():
        return len(nodes)
    outputs.add(given)
    return None


def _next_step(model: Sequential, gradient: Array, rate: float) -> list[float]:
    """Return the norm of each layer's change of weights, were this the next step's gradient."""
    twin = model.copy()
    core = twin._network.core
    if model.optimizer is None:
        core.set_optimizer(Adam(1e-3).for_core())
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
    """Return the largest root mean square of a column, and the column's name.

    After input_scale and a Scale in front; NaN where a LayerNorm comes first, whatever their size.
    """
    squares = sum(np.square(block, dtype=np.float64).sum(axis=0) for block in _blocks(examples))
    rms = np.sqrt(squares / len(examples.x)) * abs(model.input_scale)
    factors = factors_in_front(model._network)
    if factors is not None:
        rms = rms * np.abs(factors)
    in_front = layers_between(model._network.architecture)[0]
    if "LayerNorm" in itertools.takewhile(lambda kind: kind != "Residual", in_front):
        rms = np.full_like(rms, np.nan)
    column = int(rms.argmax())
    return float(rms[column]), f"input {column}" if names is None else f"{names[column]!r}"


def _blocks(examples: Examples) -> Iterator[Array]:
    """Yield the rows of X, some at a time."""
    for at in range(0, len(examples.x), 256):
        yield data.dense(examples.x[at : at + 256])


def _differ(examples: Examples) -> bool:
    """Return whether there are different rows."""
    first = data.dense(examples.x[:1])
    return any((block != first).any() for block in _blocks(examples))
