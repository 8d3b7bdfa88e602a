"""Optimizers: how the weights are fixed. Immutable descriptions; the model owns the moments.

Conventions are PyTorch's ``torch.optim``, except that weight decay acts on weights only, never on
biases.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from culpa import _aliases, _checks, _core

__all__ = ["OPTIMIZERS", "SGD", "Adam", "AdamW", "Lion", "Optimizer", "RMSprop", "as_optimizer"]


@dataclass(frozen=True)
class Optimizer(ABC):
    """What all optimizers share.

    Parameters
    ----------
    learning_rate : float
        Step size; a schedule multiplies it.
    weight_decay : float
        L2 on weights (not biases): ``weight_decay * weight`` joins the gradient.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _checks.number("learning_rate", self.learning_rate, 0.0)
        _checks.number("weight_decay", self.weight_decay, 0.0)

    @abstractmethod
    def for_core(self) -> _core.Optimizer:
        """Return the core's description."""


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked.

    Parameters
    ----------
    learning_rate : float, default 0.01
        Step size.
    momentum : float, default 0
        In [0, 1): ``buffer = momentum * buffer + gradient``; the step is along the buffer.
    nesterov : bool, default False
        Nesterov's look-ahead (Sutskever et al. 2013); needs momentum.
    weight_decay : float, default 0
        L2 on weights.

    Examples
    --------
    >>> import culpa
    >>> culpa.SGD(0.1, momentum=0.9, nesterov=True).momentum
    0.9
    """

    learning_rate: float = 1e-2
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _checks.fraction("momentum", self.momentum)
        if self.nesterov and self.momentum == 0.0:
            raise ValueError("nesterov: expected momentum above 0 with it; pass momentum=0.9")

    def for_core(self) -> _core.Optimizer:
        """Return the core's description."""
        return _core.Optimizer(
            "sgd",
            momentum=self.momentum,
            nesterov=bool(self.nesterov),
            weight_decay=self.weight_decay,
        )


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma and Ba 2015).

    Parameters
    ----------
    learning_rate : float, default 1e-3
        Step size.
    beta_1, beta_2 : float, default 0.9 and 0.999
        Decay of the moving means of the gradient and of its square, in [0, 1).
    epsilon : float, default 1e-8
        Added to the root of the bias-corrected second moment; positive.
    weight_decay : float, default 0
        L2 on weights, as part of the gradient.

    Examples
    --------
    >>> import culpa
    >>> culpa.Adam(3e-4).learning_rate
    0.0003
    """

    learning_rate: float = 1e-3
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _checks.fraction("beta_1", self.beta_1)
        _checks.fraction("beta_2", self.beta_2)
        _checks.number("epsilon", self.epsilon, 0.0, open_low=True)

    def _settings(self) -> dict[str, Any]:
        return {
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "weight_decay": self.weight_decay,
        }

    def for_core(self) -> _core.Optimizer:
        """Return the core's description."""
        return _core.Optimizer("adam", **self._settings())


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019).

    Parameters as :class:`Adam`, but weights shrink by ``learning_rate * weight_decay`` beside the
    gradient (default 0.01).

    Examples
    --------
    >>> import culpa
    >>> culpa.AdamW().weight_decay
    0.01
    """

    weight_decay: float = 1e-2

    def for_core(self) -> _core.Optimizer:
        """Return the core's description."""
        return _core.Optimizer("adam", decoupled=True, **self._settings())


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton 2012), momentum as in PyTorch.

    Parameters
    ----------
    learning_rate : float, default 0.01
        Step size.
    rho : float, default 0.99
        Decay of the moving mean of squared gradients, in [0, 1).
    epsilon : float, default 1e-8
        Added to its root; positive.
    momentum : float, default 0
        In [0, 1).
    weight_decay : float, default 0
        L2 on weights.

    Examples
    --------
    >>> import culpa
    >>> culpa.RMSprop(momentum=0.9).rho
    0.99
    """

    learning_rate: float = 1e-2
    rho: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _checks.fraction("rho", self.rho)
        _checks.fraction("momentum", self.momentum)
        _checks.number("epsilon", self.epsilon, 0.0, open_low=True)

    def for_core(self) -> _core.Optimizer:
        """Return the core's description."""
        return _core.Optimizer(
            "rmsprop",
            beta_2=self.rho,
            epsilon=self.epsilon,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )


@dataclass(frozen=True)
class Lion(Optimizer):
    """Lion (Chen et al. 2023, "Symbolic discovery of optimization algorithms", algorithm 2).

    Each parameter moves by the learning rate, whatever its gradient's size, against the sign of
    ``beta_1 * momentum + (1 - beta_1) * gradient``; where that is 0 it stays. Then
    ``momentum = beta_2 * momentum + (1 - beta_2) * gradient``, all that is remembered. The paper
    recommends a learning rate 3 to 10 times below AdamW's, and a weight decay as many times above.

    Parameters
    ----------
    learning_rate : float, default 1e-4
        Step size.
    beta_1, beta_2 : float, default 0.9 and 0.99
        What the momentum counts in the step, and in the next momentum; in [0, 1).
    weight_decay : float, default 0
        Weights shrink by ``learning_rate * weight_decay`` beside the gradient, as in AdamW.

    Examples
    --------
    >>> import culpa
    >>> culpa.Lion(weight_decay=0.1).learning_rate
    0.0001
    """

    learning_rate: float = 1e-4
    beta_1: float = 0.9
    beta_2: float = 0.99
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _checks.fraction("beta_1", self.beta_1)
        _checks.fraction("beta_2", self.beta_2)

    def for_core(self) -> _core.Optimizer:
        """Return the core's description."""
        return _core.Optimizer(
            "lion",
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            weight_decay=self.weight_decay,
            decoupled=True,
        )


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "lion": Lion,
}


def as_optimizer(optimizer: str | Optimizer) -> Optimizer:
    """Return an optimizer from its name, with default parameters, or the optimizer itself."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, str):
        return OPTIMIZERS[_checks.choice("optimizer", optimizer, OPTIMIZERS)]()
    mend = _aliases.mend_name("optimizer", optimizer, OPTIMIZERS)
    raise TypeError(
        f"optimizer: expected a name ({', '.join(OPTIMIZERS)}) or an optimizer such as "
        f"culpa.Adam(1e-3), got {_checks.describe(optimizer)}{mend and '; ' + mend}"
    )
