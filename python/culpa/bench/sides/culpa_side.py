"""Steps of Culpa, a chunk of them per call into the core, as ``fit`` takes them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from culpa import _core
from culpa.bench.workloads import LEARNING_RATE, Problem
from culpa.parts.layers import Dense
from culpa.parts.optimizers import Adam
from culpa.sequential import Sequential

CHUNK_SECONDS = 0.05  # as in fit


def make_model(shape: Sequence[int], **options: Any) -> Sequential:
    """Return culpa's network of this shape."""
    layers = [Dense(width, "relu") for width in shape[1:-1]] + [Dense(shape[-1])]
    return Sequential(layers, loss="cross_entropy", input_size=shape[0], **options)


class CulpaSide:
    """Steps of Culpa."""

    def __init__(self, problem: Problem) -> None:
        self.workload = problem.workload
        self.options: dict[str, Any] = {}  # more that the core's Job is told
        model = make_model(self.workload.shape)
        pairs = zip(problem.weights, problem.biases, strict=True)
        model.load_state_dict(dict(zip(model.state_dict(), itertools.chain(*pairs), strict=True)))
        self.core = model._network.core
        self.core.set_optimizer(Adam(LEARNING_RATE).for_core())
        self.initial = self.core.parameters().copy()
        self.no_moments = np.zeros_like(self.initial)
        batches = self.workload.batches
        self.offsets = np.arange(batches + 1) * self.workload.batch
        self.rates = np.full(batches, LEARNING_RATE)
        self.sums = np.zeros((3, batches))  # of losses, weights and scores, as fit keeps them
        self.examples = _core.ExampleArrays(
            problem.X, labels=problem.y.astype(np.int32), order=problem.order
        )
        self.reset()

    def reset(self) -> None:
        """Begin afresh."""
        self.core.set_parameters(self.initial)
        self.core.set_moments(self.no_moments, self.no_moments, 0)
        self.at = 0

    def run(self, steps: int) -> int:
        """Take the next steps."""
        end = self.at + steps
        while self.at < end:
            first = self.at % self.workload.batches
            done, stop, _ = self.core.train(self._job(first, first + end - self.at))
            if stop == "interrupted":
                raise KeyboardInterrupt
            if stop not in ("finished", "time"):
                raise RuntimeError(f"culpa stopped: {stop}")
            self.at += done
        return steps

    def _job(self, first: int, end: int) -> _core.Job:
        end = min(end, self.workload.batches)
        return _core.Job(
            self.examples,
            offsets=self.offsets[first : end + 1],
            learning_rates=self.rates[first:end],
            seconds=CHUNK_SECONDS,
            losses=self.sums[0, first:end],
            weight_sums=self.sums[1, first:end],
            scores=self.sums[2, first:end],
            **self.options,
        )

    def losses(self, count: int) -> Sequence[float]:
        """Return the losses of the first steps."""
        self.reset()
        self.run(count)
        losses: list[float] = (self.sums[0, :count] / self.sums[1, :count]).tolist()
        return losses
