"""Normalization of a layer's values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from culpa import _checks
from culpa.parts.layer import Layer, Stages, checked_factor, factors_for_core

__all__ = ["LayerNorm"]


@dataclass(frozen=True)
class LayerNorm(Layer):
    """Layer normalization (Ba, Kiros and Hinton 2016, "Layer normalization").

    Each row by its own mean and variance, over its values:
    ``h = (x - mean(x)) / sqrt(variance(x) + epsilon) * gain + shift``, as ``torch.nn.LayerNorm``.
    No row waits for another, so an example's own gradient keeps its meaning. Gains begin at 1,
    shifts at 0; neither decays.

    Parameters
    ----------
    epsilon : float, default 1e-5
        Added to the variance; positive.
    learning_rate_factor : float or (float, float), default 1
        Multiplies the learning rate of the gains and of the shifts: one number for both, or one
        each. 0 keeps them as they are.

    Raises
    ------
    ValueError, TypeError
        Where an argument is out of range.

    Examples
    --------
    >>> import culpa
    >>> model = culpa.Sequential(
    ...     [culpa.Dense(8), culpa.LayerNorm(), culpa.Activation("relu"), culpa.Dense(1)],
    ...     "mse", input_size=3)
    >>> list(model.state_dict())[2:4]
    ['layer_norm_0.gain', 'layer_norm_0.shift']
    """

    epsilon: float = 1e-5
    learning_rate_factor: float | tuple[float, ...] = 1.0
    kind: ClassVar[str] = "layer_norm"
    arrays: ClassVar[tuple[str, ...]] = ("gain", "shift")

    def __post_init__(self) -> None:
        epsilon = _checks.number("epsilon", self.epsilon, 0.0, open_low=True)
        factor = checked_factor(self.learning_rate_factor, self.arrays)
        object.__setattr__(self, "epsilon", epsilon)
        object.__setattr__(self, "learning_rate_factor", factor)

    def compile(self, stages: Stages, where: str) -> None:
        """Append its stage."""
        factors = factors_for_core(self.learning_rate_factor, self.arrays)
        stages.add(self, self.kind, epsilon=self.epsilon, **factors)

    def initial(self, array: str, shape: tuple[int, ...], seed: int, number: int) -> NDArray[Any]:
        """Return ones for the gains, zeros for the shifts."""
        return np.ones(shape) if array == "gain" else np.zeros(shape)
