"""Layers and what they are made of: small descriptions without state."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from culpa import _checks, _core

__all__ = ["ACTIVATIONS", "INITIALIZERS", "Activation", "Dense", "Dropout"]

# Name -> default alpha.
ACTIVATIONS: dict[str, float] = {
    "identity": 0.0,
    "relu": 0.0,
    "leaky_relu": 0.01,
    "elu": 1.0,
    "selu": 0.0,
    "gelu": 0.0,
    "gelu_tanh": 0.0,
    "silu": 0.0,
    "mish": 0.0,
    "tanh": 0.0,
    "sigmoid": 0.0,
    "softplus": 0.0,
}

# Name -> (variance times this sum of fans, whether fan_out counts too, distribution).
INITIALIZERS: dict[str, tuple[float, bool, str]] = {
    "glorot_uniform": (2.0, True, "uniform"),
    "glorot_normal": (2.0, True, "normal"),
    "he_uniform": (2.0, False, "uniform"),
    "he_normal": (2.0, False, "normal"),
    "lecun_uniform": (1.0, False, "uniform"),
    "lecun_normal": (1.0, False, "normal"),
    "zeros": (0.0, False, "uniform"),
}


@dataclass(frozen=True)
class Activation:
    """An activation with its parameter, where the name alone is not enough.

    Parameters
    ----------
    name : str
        ``"identity"``, ``"relu"``, ``"leaky_relu"``, ``"elu"``, ``"selu"``, ``"gelu"`` (exact, by
        the error function), ``"gelu_tanh"`` (its tanh approximation), ``"silu"``, ``"mish"``,
        ``"tanh"``, ``"sigmoid"`` or ``"softplus"``.
    alpha : float, optional
        The slope of leaky_relu below zero (default 0.01), or the alpha of elu (default 1).

    Raises
    ------
    ValueError
        Where the name is unknown, or has no parameter and gets one.

    Examples
    --------
    >>> import culpa
    >>> culpa.Dense(8, culpa.Activation("leaky_relu", 0.2)).activation.alpha
    0.2
    """

    name: str
    alpha: float | None = None

    def __post_init__(self) -> None:
        _checks.choice("activation", self.name, ACTIVATIONS)
        if self.alpha is None:
            object.__setattr__(self, "alpha", ACTIVATIONS[self.name])
        elif self.name not in ("leaky_relu", "elu"):
            raise ValueError(
                f"alpha: expected none for {self.name!r}, got {self.alpha!r}; "
                "only leaky_relu and elu take one"
            )
        else:
            object.__setattr__(self, "alpha", _checks.number("alpha", self.alpha, 0.0))


@dataclass(frozen=True)
class Dense:
    """A fully connected layer, ``h = activation(x @ weight + bias)``.

    Parameters
    ----------
    units : int
        Number of nodes, the width of the layer's output.
    activation : str or Activation, default "identity"
        See :class:`Activation` for the names.
    initializer : str, default "glorot_uniform"
        How weights begin: ``"glorot_uniform"``, ``"glorot_normal"`` (Glorot and Bengio 2010),
        ``"he_uniform"``, ``"he_normal"`` (He et al. 2015), ``"lecun_uniform"``,
        ``"lecun_normal"`` (LeCun et al. 1998) or ``"zeros"``. Biases begin at zero.

    Raises
    ------
    ValueError, TypeError
        Where an argument is out of range or a name is unknown.

    Examples
    --------
    >>> import culpa
    >>> culpa.Dense(256, "relu").units
    256
    """

    units: int
    activation: Activation = Activation("identity")
    initializer: str = "glorot_uniform"

    def __init__(
        self,
        units: int,
        activation: str | Activation = "identity",
        *,
        initializer: str = "glorot_uniform",
    ) -> None:
        if not isinstance(activation, Activation):
            activation = Activation(_checks.choice("activation", activation, ACTIVATIONS))
        object.__setattr__(self, "units", _checks.integer("units", units, 1))
        object.__setattr__(self, "activation", activation)
        object.__setattr__(
            self, "initializer", _checks.choice("initializer", initializer, INITIALIZERS)
        )

    def initial_weight(self, inputs: int, seed: int, layer: int) -> NDArray[np.float64]:
        """Draw the initial weights (inputs, units) from the core's counter-based generator."""
        scale, both_fans, distribution = INITIALIZERS[self.initializer]
        n = inputs * self.units
        if scale == 0.0:
            return np.zeros((inputs, self.units))
        deviation = math.sqrt(scale / (inputs + self.units if both_fans else inputs))
        drawn = _core.draw_numbers(distribution, n, seed, layer, 0)
        if distribution == "uniform":  # [0, 1) to a variance of 1
            drawn = (2.0 * drawn - 1.0) * math.sqrt(3.0)
        return (deviation * drawn).reshape(inputs, self.units)


@dataclass(frozen=True)
class Dropout:
    """Inverted dropout (Srivastava et al. 2014) of the layer before it, or of the inputs.

    While training, each value is zero with probability `rate` and divided by ``1 - rate``
    otherwise. Everywhere else it does nothing.

    Parameters
    ----------
    rate : float
        Probability in [0, 1) of dropping a value.

    Examples
    --------
    >>> import culpa
    >>> culpa.Dropout(0.1)
    Dropout(rate=0.1)
    """

    rate: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", _checks.fraction("rate", self.rate))
