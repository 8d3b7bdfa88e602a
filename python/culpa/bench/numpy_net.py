"""The pure-NumPy rival: a dense classifier trained by Adam, written as well as NumPy allows.

ReLU hidden layers, softmax cross-entropy, PyTorch's conventions for Adam, float32. No step
allocates much: operations write into buffers (``out=``), kept per batch size; the parameters are
one flat vector with the weights as views into it; Adam works in place, in pieces that stay in the
cache, and keeps denormal numbers out. Of several ways to write an operation it uses the one that
measured fastest. NumPy is all it needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
PIECE = 1 << 15  # parameters that Adam takes at once: four arrays of them fit in the L2 cache
NEGLIGIBLE = 1e-30  # Adam's moments below this are zeroed, this often in steps: see _flush
FLUSH_EVERY = 100
PREDICT_ROWS = 1000  # rows that predict takes at once

Array = NDArray[Any]


class _Buffers:
    """What a batch of `rows` examples needs, made once."""

    def __init__(self, shape: Sequence[int], rows: int, dtype: Any) -> None:
        self.raw = np.empty((rows, shape[0]), np.uint8)
        self.values = [np.empty((rows, width), dtype) for width in shape]  # X, then each layer's
        self.transposed = [values.T for values in self.values]
        self.deltas = [np.empty((rows, width), dtype) for width in shape[1:-1]]
        self.masks = [np.empty((rows, width), bool) for width in shape[1:-1]]
        self.logits = self.values[-1]
        self.flat_logits = self.logits.reshape(-1)
        self.labels = np.empty(rows, np.int64)
        self.first_logit = np.arange(rows) * shape[-1]
        self.at_label = np.empty(rows, np.int64)
        self.picked, self.sums, self.losses = np.empty((3, rows), dtype)
        self.highest = np.empty((rows, 1), dtype)
        self.column = self.sums[:, None]
        self.ones = np.ones(rows, dtype)


class NumpyNet:
    """A dense classifier.

    Parameters
    ----------
    shape : sequence of int
        Inputs, the widths of the hidden layers, classes.
    seed : int
        For the initial weights (He et al. 2015, uniform).
    learning_rate : float
        Adam's.
    input_scale : float, optional
        X is then bytes (uint8), multiplied by this; otherwise of type `dtype`.
    dtype : dtype
        What it computes in.
    """

    def __init__(
        self,
        shape: Sequence[int],
        seed: int,
        learning_rate: float = 1e-3,
        input_scale: float | None = None,
        dtype: Any = np.float32,
    ) -> None:
        self.shape, self.learning_rate, self.dtype = tuple(shape), learning_rate, np.dtype(dtype)
        self.scale = None if input_scale is None else self.dtype.type(input_scale)
        self._zero = self.dtype.type(0)
        size = sum((inputs + 1) * outputs for inputs, outputs in self._pairs())
        self.parameters, self.gradient, self._first, self._second = np.zeros((4, size), dtype)
        self.weights, self.biases = self._views(self.parameters)
        self._weight_gradients, self._bias_gradients = self._views(self.gradient)
        self._transposed = [weight.T for weight in self.weights]
        self._ones = np.ones(self.shape[-1], dtype)
        self._pieces = self._split()
        self._buffers: dict[int, _Buffers] = {}
        self.steps = 0
        self._draw(seed)

    def _pairs(self) -> list[tuple[int, int]]:
        return list(zip(self.shape[:-1], self.shape[1:], strict=True))

    def _views(self, flat: Array) -> tuple[list[Array], list[Array]]:
        weights, biases, at = [], [], 0
        for inputs, outputs in self._pairs():
            end = at + inputs * outputs
            weights.append(flat[at:end].reshape(inputs, outputs))
            biases.append(flat[end : end + outputs])
            at = end + outputs
        return weights, biases

    def _split(self) -> list[tuple[Array, ...]]:
        vectors = (self.parameters, self.gradient, self._first, self._second)
        starts = range(0, self.parameters.size, PIECE)
        return [tuple(vector[at : at + PIECE] for vector in vectors) for at in starts]

    def _draw(self, seed: int) -> None:
        generator = np.random.default_rng(seed)
        for weight in self.weights:
            limit = np.sqrt(6 / len(weight))
            weight[:] = generator.uniform(-limit, limit, weight.shape)

    def reset(self, weights: Sequence[Array], biases: Sequence[Array]) -> None:
        """Take these parameters and begin afresh."""
        for own, given in zip(self.weights + self.biases, [*weights, *biases], strict=True):
            own[:] = given
        self._first[:] = self._second[:] = 0
        self.steps = 0

    def step(self, X: Array, y: Array, order_slice: Array) -> float:
        """Train on the rows `order_slice` of X (n, inputs) and y (n,); return their mean loss."""
        loss = self.loss_and_gradient(X, y, order_slice)
        self._adam()
        return loss

    def loss_and_gradient(self, X: Array, y: Array, order_slice: Array) -> float:
        """Return the mean loss of these rows; its gradient is then in ``gradient``."""
        buffers = self._buffers_for(len(order_slice))
        # mode="clip" checks no indices; the default does, and copies through a buffer of its own.
        np.take(y, order_slice, out=buffers.labels, mode="clip")
        if self.scale is None:
            np.take(X, order_slice, axis=0, out=buffers.values[0], mode="clip")
        else:
            np.take(X, order_slice, axis=0, out=buffers.raw, mode="clip")
            np.multiply(buffers.raw, self.scale, out=buffers.values[0])
        self._forward(buffers)
        loss = self._softmax_cross_entropy(buffers)
        self._backward(buffers)
        return loss

    def predict(self, X: Array) -> NDArray[np.int64]:
        """Return the class of each row of X (n, inputs)."""
        classes = np.empty(len(X), np.int64)
        for at in range(0, len(X), PREDICT_ROWS):
            rows = X[at : at + PREDICT_ROWS]
            buffers = self._buffers_for(len(rows))
            np.multiply(rows, 1 if self.scale is None else self.scale, out=buffers.values[0])
            self._forward(buffers)
            np.argmax(buffers.logits, axis=1, out=classes[at : at + PREDICT_ROWS])
        return classes

    def _buffers_for(self, rows: int) -> _Buffers:
        if rows not in self._buffers:
            self._buffers[rows] = _Buffers(self.shape, rows, self.dtype)
        return self._buffers[rows]

    def _forward(self, buffers: _Buffers) -> None:
        values = buffers.values
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            np.dot(values[i], weight, out=values[i + 1])
            np.add(values[i + 1], bias, out=values[i + 1])
            if i + 1 < len(self.weights):
                np.maximum(values[i + 1], self._zero, out=values[i + 1])

    def _softmax_cross_entropy(self, buffers: _Buffers) -> float:
        """Return the mean loss; turn the logits into its derivatives by them."""
        rows, logits = len(buffers.labels), buffers.logits
        np.maximum.reduce(logits, axis=1, keepdims=True, out=buffers.highest)
        np.subtract(logits, buffers.highest, out=logits)
        np.add(buffers.first_logit, buffers.labels, out=buffers.at_label)
        np.take(buffers.flat_logits, buffers.at_label, out=buffers.picked, mode="clip")
        np.exp(logits, out=logits)
        np.dot(logits, self._ones, out=buffers.sums)
        np.log(buffers.sums, out=buffers.losses)
        np.subtract(buffers.losses, buffers.picked, out=buffers.losses)
        np.multiply(buffers.sums, rows, out=buffers.sums)
        np.divide(logits, buffers.column, out=logits)
        buffers.flat_logits[buffers.at_label] -= 1 / rows
        return float(np.dot(buffers.losses, buffers.ones)) / rows

    def _backward(self, buffers: _Buffers) -> None:
        delta = buffers.logits
        for i in reversed(range(len(self.weights))):
            np.dot(buffers.transposed[i], delta, out=self._weight_gradients[i])
            np.dot(buffers.ones, delta, out=self._bias_gradients[i])
            if i > 0:
                np.greater(buffers.values[i], self._zero, out=buffers.masks[i - 1])
                delta = np.dot(delta, self._transposed[i], out=buffers.deltas[i - 1])
                np.multiply(delta, buffers.masks[i - 1], out=delta)

    def _adam(self) -> None:
        """Fix the parameters; leaves no gradient behind.

        The moments lack their factors 1 - beta, which saves two passes: the step is
        ``rate * first / (sqrt(second) + epsilon)`` with all constants folded into those two.
        """
        self.steps += 1
        root = np.sqrt((1 - BETA_2**self.steps) / (1 - BETA_2))
        rate = self.learning_rate * (1 - BETA_1) / (1 - BETA_1**self.steps) * float(root)
        epsilon = EPSILON * float(root)
        for parameters, gradient, first, second in self._pieces:
            np.multiply(first, BETA_1, out=first)
            np.add(first, gradient, out=first)
            np.multiply(second, BETA_2, out=second)
            np.multiply(gradient, gradient, out=gradient)
            np.add(second, gradient, out=second)
            np.sqrt(second, out=gradient)
            np.add(gradient, epsilon, out=gradient)
            np.divide(first, gradient, out=gradient)
            np.multiply(gradient, rate, out=gradient)
            np.subtract(parameters, gradient, out=parameters)
        if self.steps % FLUSH_EVERY == 0:
            self._flush()

    def _flush(self) -> None:
        """Zero negligible moments.

        Where a gradient stays zero (a dead unit, a pixel that is always black), the moments decay
        into denormal numbers and stay there, which makes Adam up to three times slower on CPUs that
        handle those in microcode. A moment this small moves no parameter.
        """
        for _, gradient, first, second in self._pieces:
            for moment in (first, second):
                np.abs(moment, out=gradient)
                np.putmask(moment, gradient < NEGLIGIBLE, 0)
