"""Steps of JAX, compiled by XLA, with optax's Adam: a call per step, and a scan over many.

Data and row indices lie on the device before the clock runs, parameters and moments are donated,
and what was compiled is compiled by then: the losses are checked first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from culpa.bench.workloads import LEARNING_RATE, Problem


class JaxSide:
    """Steps of JAX, a call of one jitted function each."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.optimizer = optax.adam(LEARNING_RATE)
        self.X, self.y = jnp.array(problem.X), jnp.array(problem.y.astype(np.int32))
        self.call = jax.jit(self._call, donate_argnums=0)
        order = problem.order.reshape(-1, problem.workload.batch).astype(np.int32)
        self.pieces = self._cut(order)
        self.reset()

    def _cut(self, order: Any) -> list[Any]:
        """Return what each call takes of the order (batches, batch)."""
        return [jnp.array(rows) for rows in order]

    @property
    def steps_per_call(self) -> int:
        """Steps that a call takes."""
        return 1

    def reset(self) -> None:
        """Begin afresh."""
        weights = [jnp.array(weight) for weight in self.problem.weights]
        biases = [jnp.array(bias) for bias in self.problem.biases]
        parameters = list(zip(weights, biases, strict=True))
        self.state: Any = (parameters, self.optimizer.init(parameters))
        self.calls = 0
        self._losses: list[Any] = [None] * len(self.pieces)

    def run(self, steps: int) -> int:
        """Take the next steps, rounded up to whole calls."""
        calls = -(-steps // self.steps_per_call)
        for call in range(self.calls, self.calls + calls):
            piece = call % len(self.pieces)
            self.state, self._losses[piece] = self.call(
                self.state, self.X, self.y, self.pieces[piece]
            )
        jax.block_until_ready((self.state, self._losses))
        self.calls += calls
        return calls * self.steps_per_call

    def losses(self, count: int) -> Sequence[float]:
        """Return the losses of the first steps."""
        self.reset()
        self.run(count)
        known = [np.atleast_1d(loss) for loss in self._losses if loss is not None]
        losses: list[float] = np.concatenate(known)[:count].tolist()
        return losses

    def _loss(self, parameters: Any, inputs: Any, labels: Any) -> Any:
        """Return the mean loss of inputs (batch, inputs) and labels (batch,)."""
        hidden = inputs
        for weight, bias in parameters[:-1]:
            hidden = jax.nn.relu(hidden @ weight + bias)
        weight, bias = parameters[-1]
        logits = hidden @ weight + bias
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def _call(self, state: Any, X: Any, y: Any, piece: Any) -> Any:
        """Return the state after what is compiled as one call, and its losses."""
        return self._step(state, X, y, piece)

    def _step(self, state: Any, X: Any, y: Any, rows: Any) -> Any:
        """Return the state after a step on these rows (batch,) of X and y, and the loss."""
        parameters, moments = state
        inputs = X.at[rows].get(mode="promise_in_bounds")
        labels = y.at[rows].get(mode="promise_in_bounds")
        loss, gradients = jax.value_and_grad(self._loss)(parameters, inputs, labels)
        updates, moments = self.optimizer.update(gradients, moments, parameters)
        return (optax.apply_updates(parameters, updates), moments), loss


class JaxScanSide(JaxSide):
    """Steps of JAX, a chunk of them per call: ``lax.scan`` over their batches."""

    def _cut(self, order: Any) -> list[Any]:
        chunks = order.reshape(-1, self.steps_per_call, order.shape[1])
        return [jnp.array(rows) for rows in chunks]

    @property
    def steps_per_call(self) -> int:
        """Steps that a call takes."""
        return self.problem.workload.chunk

    def _call(self, state: Any, X: Any, y: Any, order: Any) -> Any:
        """Return the state after a step for each row of `order` (steps, batch), and the losses."""
        return jax.lax.scan(lambda state, rows: self._step(state, X, y, rows), state, order)
