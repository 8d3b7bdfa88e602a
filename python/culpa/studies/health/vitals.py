"""What a network is judged by: its activations, slopes, error signals and next step, in numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from culpa import data
from culpa.data import target_size
from culpa.data.examples import Examples
from culpa.network.layers import DenseLayer, dense_layers
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
    bad = tuple(int(np.sum(~np.isfinite(x.weight)) + np.sum(~np.isfinite(x.bias))) for x in layers)
    sound = not any(bad)
    nodes = [_Nodes(layer) for layer in layers]
    n = len(examples.x)
    squares = np.zeros(len(layers))
    overflow: int | None = None
    widest = max(examples.x.shape[1], *(layer.units for layer in layers))
    for rows in np.array_split(np.arange(n), -(-n // max(1, BATCH_VALUES // widest))):
        batch = examples.part(rows)
        answer = core.blame(batch.for_core(), nodes=True, hidden=sound, slopes=sound)
        if answer["row"] >= 0:
            batch.raise_not_finite(answer["row"])
        squares += [float(np.square(x, dtype=np.float64).sum()) for x in answer["nodes"]]
        stop = _add(nodes, answer["hidden"], answer["slopes"]) if sound else None
        if stop is not None:
            overflow = stop if overflow is None else min(stop, overflow)
    whole = core.blame(examples.for_core(), gradient=True)
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
        nodes[-1].relative_change() if all(ok) else np.nan,
        _differ(examples),
        rms,
        name,
        target_size.measure_targets(examples),
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


def _add(nodes: list[_Nodes], hidden: list[Array], slopes: list[Array]) -> int | None:
    """Count a batch; return the first layer whose activations are not finite, and stop there."""
    for i, (node, h, slope) in enumerate(zip(nodes, hidden, slopes, strict=True)):
        if not np.isfinite(h).all():
            return i
        node.add(h, slope)
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
    """Return the largest root mean square of a column, after input_scale, and the column's name."""
    squares = sum(np.square(block, dtype=np.float64).sum(axis=0) for block in _blocks(examples))
    rms = np.sqrt(squares / len(examples.x)) * abs(model.input_scale)
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
