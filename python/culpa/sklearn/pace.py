"""The pace of training: an optimizer's settings and scikit-learn's learning rates."""

from __future__ import annotations

import copy
from typing import Any

from numpy.typing import NDArray

from culpa import _core
from culpa._terminal import say
from culpa.parts.optimizers import Optimizer

__all__ = ["Moments", "Pace"]

Moments = tuple[NDArray[Any], NDArray[Any], int]


class Pace:
    """What an optimizer carries from one partial_fit to the next, parameters that change or not.

    Attributes
    ----------
    optimizer : Optimizer, or dict
        A culpa optimizer, or the settings of one of scikit-learn's solvers for the core.
    learning_rate : float
        Of the next epoch.
    steps : int
        Batches seen.
    moments : tuple or None
        The optimizer's memory, in pickles; else the core has it.
    """

    def __init__(
        self,
        optimizer: Optimizer | dict[str, Any],
        learning_rate_init: float,
        schedule: str,
        power_t: float,
    ) -> None:
        self.optimizer = optimizer
        self.learning_rate_init = learning_rate_init
        self.learning_rate = float(learning_rate_init)
        self.schedule = schedule
        self.power_t = power_t
        self.steps = 0
        self.moments: Moments | None = None

    def for_core(self, alpha: float, gradient_scale: float) -> _core.Optimizer:
        """Return the core's optimizer; alpha: scikit-learn's L2, which a culpa one does without."""
        if isinstance(self.optimizer, Optimizer):
            optimizer = self.optimizer.for_core()
            optimizer.gradient_scale = gradient_scale
            return optimizer
        return _core.Optimizer(
            weight_decay=alpha,
            decay_per_example=True,
            epsilon_outside=True,
            velocity=True,
            gradient_scale=gradient_scale,
            **self.optimizer,
        )

    def iteration_ends(self, examples: int) -> None:
        """Take note of the end of an epoch, after so many examples in all fits."""
        if self.schedule == "invscaling":
            self.learning_rate = (
                float(self.learning_rate_init) / _core.power(examples + 1.0, self.power_t).item()
            )

    def trigger_stopping(self, message: str, verbose: bool | int) -> bool:
        """Say whether training ends where it no longer improves, or goes on at a slower pace."""
        stops = self.schedule != "adaptive"
        if stops:
            message += " Stopping."
        elif self.learning_rate <= 1e-6:
            stops = True
            message += " Learning rate too small. Stopping."
        else:
            self.learning_rate /= 5.0
            message += f" Setting learning rate to {self.learning_rate:f}"
        if verbose:
            say(message)
        return stops

    def with_moments(self, moments: Moments) -> Pace:
        """Return a copy that holds the optimizer's memory."""
        other = copy.copy(self)
        other.moments = moments
        return other
