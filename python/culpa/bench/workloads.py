"""What is trained: five networks from tiny to large, and random data for each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from culpa.bench.numpy_net import NumpyNet

LEARNING_RATE = 1e-3  # Adam's, on every side
CHUNK_FLOP = 5e9  # of a chunk, unless two steps are more: about 50 ms
SHORTEST_CHUNK = 2


@dataclass(frozen=True)
class Workload:
    """A network, its batch size, and how many batches its data hold.

    Parameters
    ----------
    name : str
        What the command line and the table call it.
    shape : tuple of int
        Inputs, the widths of the hidden layers, classes.
    batch : int
        Examples in a batch.
    batches : int
        Batches in an epoch.
    """

    name: str
    shape: tuple[int, ...]
    batch: int
    batches: int

    @property
    def flop(self) -> int:
        """Floating-point operations in the matrix products of a step.

        Two per weight and example, three times: forward, gradient of the weights, error signals;
        the last not for the first layer, for nothing asks for the gradient of the inputs.
        """
        sizes = [a * b for a, b in zip(self.shape[:-1], self.shape[1:], strict=True)]
        return self.batch * (6 * sum(sizes) - 2 * sizes[0])

    @property
    def chunk(self) -> int:
        """Steps per call for sides that take many: an epoch, or a whole part of a long one."""
        most = max(SHORTEST_CHUNK, int(CHUNK_FLOP / self.flop))
        parts = [n for n in range(1, self.batches + 1) if self.batches % n == 0]
        return max(n for n in parts if n <= most)

    def __str__(self) -> str:
        return f"{self.name} {'-'.join(map(str, self.shape))}, batch {self.batch}"


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("tiny", (8, 32, 32, 2), 32, 512),
        Workload("digits", (64, 100, 10), 200, 50),
        Workload("mnist", (784, 256, 128, 10), 128, 200),
        Workload("tab", (100, 512, 512, 512, 2), 256, 80),
        Workload("large", (1024, 2048, 2048, 1000), 512, 16),
    )
}


class Problem:
    """Random data, the order of its rows, and initial weights: the same for all sides.

    Attributes
    ----------
    X : ndarray of float32, (rows, inputs)
    y : ndarray of int64, (rows,)
        The class of each row.
    order : ndarray of int64, (rows,)
        All rows, shuffled; step i trains on its i-th piece of `workload.batch` rows, and begins
        again after the last.
    weights, biases : list of ndarray of float32
        One of each per layer, (inputs, outputs) and (outputs,).
    """

    def __init__(self, workload: Workload) -> None:
        generator = np.random.default_rng(0)
        n, shape = workload.batch * workload.batches, workload.shape
        self.workload = workload
        self.X = generator.standard_normal((n, shape[0]), np.float32)
        self.y = generator.integers(0, shape[-1], n)
        self.order = generator.permutation(n)
        net = NumpyNet(shape, seed=0)
        self.weights, self.biases = net.weights, net.biases
