"""Steps of scikit-learn's MLPClassifier, a chunk of them per ``partial_fit``.

A ``partial_fit`` per batch would take up to ten times as long: it validates its input anew. Given
many batches at once, it shuffles their rows itself and gathers batch by batch, as in ``fit``. So
its timed batches are of other rows than everybody else's; those of the checked losses are the same.

Two more things differ. Two classes it trains as one logistic output, with half of the last layer:
the same loss from the same weights, but another path from there, so that only the first loss can be
compared. And its Adam adds epsilon before the second moment's bias is corrected, not after: given
everybody's epsilon times what corrects the first step, it follows them closely for a few steps.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier

from culpa.bench.numpy_net import BETA_2, EPSILON
from culpa.bench.workloads import LEARNING_RATE, Problem


class SklearnSide:
    """Steps of MLPClassifier."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.workload = workload = problem.workload
        self.model = MLPClassifier(
            workload.shape[1:-1],
            solver="adam",
            alpha=0,
            batch_size=workload.batch,
            learning_rate_init=LEARNING_RATE,
            epsilon=EPSILON * math.sqrt(1 - BETA_2),
            random_state=0,
        )
        self.classes = np.arange(workload.shape[-1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            first = slice(workload.batch)
            self.model.partial_fit(problem.X[first], problem.y[first], classes=self.classes)
        self.weights = [weight.copy() for weight in problem.weights]
        self.biases = [bias.copy() for bias in problem.biases]
        if self.two_classes:  # softmax of two logits is the logistic function of their difference
            self.weights[-1] = self.weights[-1][:, 1:] - self.weights[-1][:, :1]
            self.biases[-1] = self.biases[-1][1:] - self.biases[-1][:1]
        self.reset()

    @property
    def two_classes(self) -> bool:
        """Whether this is the case described above."""
        return len(self.classes) == 2

    def reset(self) -> None:
        """Begin afresh."""
        self.model.coefs_ = [weight.copy() for weight in self.weights]
        self.model.intercepts_ = [bias.copy() for bias in self.biases]
        self.model.loss_curve_ = []
        vars(self.model).pop("_optimizer", None)  # partial_fit makes a new one
        self.at = 0

    def run(self, steps: int) -> int:
        """Take the next steps, rounded up to whole chunks."""
        chunk, batch = self.workload.chunk, self.workload.batch
        end = self.at + steps
        while self.at < end:
            first = self.at % self.workload.batches
            self._fit(slice(first * batch, (first + chunk) * batch))
            self.at += chunk
        return steps + self.at - end

    def _fit(self, rows: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that 512 labels of 1000 classes are many
            self.model.partial_fit(self.problem.X[rows], self.problem.y[rows])

    def losses(self, count: int) -> Sequence[float]:
        """Return the losses of the first steps; with two classes, only of the first."""
        self.reset()
        for batch in range(1 if self.two_classes else count):
            first = batch * self.workload.batch
            self._fit(self.problem.order[first : first + self.workload.batch])
        losses: list[float] = self.model.loss_curve_
        return losses
