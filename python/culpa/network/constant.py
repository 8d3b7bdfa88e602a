"""Networks that ignore their inputs: what the core's own loss says of constant outputs."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from culpa import _core, data
from culpa.network.network import Network
from culpa.parts.architecture import Architecture
from culpa.parts.layers import Dense
from culpa.parts.losses import Loss

__all__ = ["judge_constant"]

Floats = NDArray[np.float64]


def judge_constant(loss: Loss, outputs: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    """Return what these outputs would cost as the answer to every example, in float64.

    Parameters
    ----------
    loss : Loss
        Of the outputs.
    outputs : array-like (m,)
        Before any function on them.
    y : array-like (n,) or (n, m)
        Targets that the loss accepts.

    Returns
    -------
    losses : ndarray (n,)
        Of each example.
    slopes : ndarray (n, m)
        Their derivatives with respect to the outputs.
    """
    constant = np.asarray(outputs, np.float64)
    layer = Dense(len(constant), initializer="zeros")
    network = Network(Architecture((layer,), loss, dtype="float64", input_size=1))
    (name,) = network.architecture.dense_names
    network.load_state_dict({f"{name}.bias": constant}, partial=True)
    rows = len(np.asarray(y))
    targets = data.check_targets(loss, y, rows, len(constant), "float64", "y")
    answer = network.core.blame(
        _core.ExampleArrays(np.zeros((rows, 1)), **targets.for_core()), want={"nodes"}
    )
    return answer["losses"], answer["nodes"][0]
