"""Steps of the pure-NumPy network."""

from __future__ import annotations

from collections.abc import Sequence

from culpa.bench.numpy_net import NumpyNet
from culpa.bench.workloads import LEARNING_RATE, Problem


class NumpySide:
    """Steps of numpy_net.NumpyNet, a Python call each."""

    def __init__(self, problem: Problem) -> None:
        self.workload, self.problem = problem.workload, problem
        self.net = NumpyNet(self.workload.shape, seed=0, learning_rate=LEARNING_RATE)
        self.reset()

    def reset(self) -> None:
        """Begin afresh."""
        self.net.reset(self.problem.weights, self.problem.biases)
        self.at = 0
        self._losses = [0.0] * self.workload.batches

    def run(self, steps: int) -> int:
        """Take the next steps."""
        X, y, order = self.problem.X, self.problem.y, self.problem.order
        size, batches = self.workload.batch, self.workload.batches
        for at in range(self.at, self.at + steps):
            batch = at % batches
            rows = order[batch * size : (batch + 1) * size]
            self._losses[batch] = self.net.step(X, y, rows)
        self.at += steps
        return steps

    def losses(self, count: int) -> Sequence[float]:
        """Return the losses of the first steps."""
        self.reset()
        self.run(count)
        return self._losses[:count]
