"""Steps of PyTorch in eager mode, with its fused Adam."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from culpa.bench.workloads import LEARNING_RATE, Problem
from culpa.machine.threads import get_num_threads


def make_network(weights: Sequence[Any], biases: Sequence[Any]) -> nn.Sequential:
    """Return PyTorch's network of these weights (inputs, outputs) and biases, relu in between."""
    layers: list[nn.Module] = []
    for weight, bias in zip(weights, biases, strict=True):
        dense = nn.Linear(*weight.shape)
        with torch.no_grad():
            dense.weight.copy_(torch.from_numpy(weight.T))
            dense.bias.copy_(torch.from_numpy(bias))
        layers += [dense, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class TorchSide:
    """Steps of PyTorch: nothing is read back before the last one."""

    def __init__(self, problem: Problem) -> None:
        torch.set_num_threads(get_num_threads())
        self.problem, self.workload = problem, problem.workload
        self.X, self.y = torch.from_numpy(problem.X), torch.from_numpy(problem.y)
        self.batches = torch.from_numpy(problem.order).split(self.workload.batch)
        self.loss = nn.CrossEntropyLoss()
        self.reset()

    def reset(self) -> None:
        """Begin afresh."""
        self.model = make_network(self.problem.weights, self.problem.biases)
        self.optimizer = torch.optim.Adam(self.model.parameters(), LEARNING_RATE, fused=True)
        self.at = 0
        self._losses = [torch.zeros(())] * self.workload.batches

    def run(self, steps: int) -> int:
        """Take the next steps."""
        for at in range(self.at, self.at + steps):
            batch = at % len(self.batches)
            rows = self.batches[batch]
            logits = self.model(self.X.index_select(0, rows))
            loss = self.loss(logits, self.y.index_select(0, rows))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self._losses[batch] = loss.detach()
        self.at += steps
        return steps

    def losses(self, count: int) -> Sequence[float]:
        """Return the losses of the first steps."""
        self.reset()
        self.run(count)
        return [loss.item() for loss in self._losses[:count]]
