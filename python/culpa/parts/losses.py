"""Losses: what a wrong guess costs. Immutable descriptions; the core computes them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from culpa import _checks

__all__ = [
    "LOSSES",
    "MAE",
    "MSE",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "Huber",
    "Loss",
    "Poisson",
    "Quantile",
    "as_loss",
]


@dataclass(frozen=True)
class Loss:
    """What all losses share: a name, and at most one parameter."""

    name: ClassVar[str]
    # What the targets are: one class a row, zeros and ones, or numbers.
    task: ClassVar[str] = "regression"

    @property
    def parameter(self) -> float:
        """The loss's one number, 0 where it has none."""
        own = fields(self)
        return float(getattr(self, own[0].name)) if own else 0.0


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Softmax cross-entropy from logits; y is class indices (n,) or probabilities (n, classes).

    Parameters
    ----------
    label_smoothing : float, default 0
        s in [0, 1): the target becomes ``(1 - s) t + s / classes`` (Szegedy et al. 2016).

    Examples
    --------
    >>> import culpa
    >>> culpa.CrossEntropy(label_smoothing=0.1).parameter
    0.1
    """

    label_smoothing: float = 0.0
    name: ClassVar[str] = "cross_entropy"
    task: ClassVar[str] = "classes"

    def __post_init__(self) -> None:
        _checks.fraction("label_smoothing", self.label_smoothing)


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """Binary cross-entropy from logits, the mean over outputs; y in [0, 1], (n,) or (n, outputs).

    Several outputs make it multilabel.
    """

    name: ClassVar[str] = "binary_cross_entropy"
    task: ClassVar[str] = "binary"


@dataclass(frozen=True)
class MSE(Loss):
    """Squared error, the mean over outputs."""

    name: ClassVar[str] = "mse"


@dataclass(frozen=True)
class MAE(Loss):
    """Absolute error, the mean over outputs; its derivative at zero error is 0."""

    name: ClassVar[str] = "mae"


@dataclass(frozen=True)
class Huber(Loss):
    """Squared error / 2 up to `delta`, linear beyond (Huber 1964); the mean over outputs.

    Parameters
    ----------
    delta : float, default 1
        Where it turns linear, in the target's units; positive.
    """

    delta: float = 1.0
    name: ClassVar[str] = "huber"

    def __post_init__(self) -> None:
        _checks.number("delta", self.delta, 0.0, open_low=True)


@dataclass(frozen=True)
class Poisson(Loss):
    """Negative log-likelihood of counts whose log-mean is the output, without log(y!).

    ``predict`` gives the mean, exp of the output. y must not be negative.
    """

    name: ClassVar[str] = "poisson"


@dataclass(frozen=True)
class Quantile(Loss):
    """The pinball loss, whose best guess is the q-quantile (Koenker and Bassett 1978).

    Parameters
    ----------
    q : float, default 0.5
        In (0, 1).
    """

    q: float = 0.5
    name: ClassVar[str] = "quantile"

    def __post_init__(self) -> None:
        if _checks.number("q", self.q, 0.0, open_low=True) >= 1.0:
            raise ValueError(f"q: expected a number in (0, 1), got {self.q!r}")


LOSSES: dict[str, type[Loss]] = {
    loss.name: loss
    for loss in (CrossEntropy, BinaryCrossEntropy, MSE, MAE, Huber, Poisson, Quantile)
}


def as_loss(loss: str | Loss) -> Loss:
    """Return a loss from its name, with default parameters, or the loss itself."""
    if isinstance(loss, Loss):
        return loss
    return LOSSES[_checks.choice("loss", loss, LOSSES)]()


def probabilities(loss: Loss, logits: NDArray[Any]) -> NDArray[Any]:
    """Return a classifier's probabilities (n, outputs) from its logits, of their dtype."""
    if loss.task == "classes":
        with np.errstate(over="ignore"):  # at the ends of the range a difference is infinite
            e = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(e / e.sum(axis=1, keepdims=True))
    with np.errstate(over="ignore"):
        return np.asarray(1.0 / (1.0 + np.exp(-logits)))
