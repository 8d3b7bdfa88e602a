"""Dense layers, factors of inputs, and dropout."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from culpa import _checks, _core
from culpa.parts.activations import ACTIVATIONS, Activation
from culpa.parts.layer import Layer, Stages, factors_for_core, checked_factor

__all__ = ["BIAS_INITIALIZERS", "INITIALIZERS", "Dense", "Dropout", "Scale"]

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
BIAS_INITIALIZERS = ("zeros", "normal")
# Biases are drawn from streams of their own, behind those of as many layers' weights.
BIAS_STREAMS = 2048


@dataclass(frozen=True)
class Dense(Layer):
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
        ``"lecun_normal"`` (LeCun et al. 1998) or ``"zeros"``.
    bias_initializer : str, default "zeros"
        How biases begin: ``"zeros"``, or ``"normal"``, standard normal numbers.
    learning_rate_factor : float or (float, float), default 1
        Multiplies the learning rate, and AdamW's decay with it, of the weights and of the biases:
        one number for both, or one each. 0 keeps them as they are.

    Raises
    ------
    ValueError, TypeError
        Where an argument is out of range or a name is unknown.

    Examples
    --------
    >>> import culpa
    >>> culpa.Dense(256, "relu").units
    256
    >>> culpa.Dense(256, "selu", learning_rate_factor=(1, 0.1)).learning_rate_factor
    (1.0, 0.1)
    """

    units: int
    activation: Activation = Activation("identity")
    initializer: str = "glorot_uniform"
    bias_initializer: str = "zeros"
    learning_rate_factor: float | tuple[float, ...] = 1.0
    kind: ClassVar[str] = "dense"
    arrays: ClassVar[tuple[str, ...]] = ("weight", "bias")

    def __init__(
        self,
        units: int,
        activation: str | Activation = "identity",
        *,
        initializer: str = "glorot_uniform",
        bias_initializer: str = "zeros",
        learning_rate_factor: float | tuple[float, float] = 1.0,
    ) -> None:
        if not isinstance(activation, Activation):
            activation = Activation(_checks.choice("activation", activation, ACTIVATIONS))
        values = {
            "units": _checks.integer("units", units, 1),
            "activation": activation,
            "initializer": _checks.choice("initializer", initializer, INITIALIZERS),
            "bias_initializer": _checks.choice(
                "bias_initializer", bias_initializer, BIAS_INITIALIZERS
            ),
            "learning_rate_factor": checked_factor(learning_rate_factor, self.arrays),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def compile(self, stages: Stages, where: str) -> None:
        """Append its stage."""
        factors = factors_for_core(self.learning_rate_factor, self.arrays)
        stages.add(self, self.kind, self.units, **factors)
        self.activation.compile(stages, where)

    def initial(self, array: str, shape: tuple[int, ...], seed: int, number: int) -> NDArray[Any]:
        """Draw the initial weights or biases from the core's counter-based generator."""
        if array == "weight":
            return self.initial_weight(shape[0], seed, number)
        if self.bias_initializer == "zeros":
            return np.zeros(shape)
        return np.asarray(
            _core.draw_numbers("normal", self.units, seed, BIAS_STREAMS + number, 0)
        )

    def initial_weight(self, inputs: int, seed: int, layer: int) -> NDArray[np.float64]:
        """Draw the initial weights (inputs, units)."""
        scale, both_fans, distribution = INITIALIZERS[self.initializer]
        n = inputs * self.units
        if scale == 0.0:
            return np.zeros((inputs, self.units))
        deviation = math.sqrt(scale / (inputs + self.units if both_fans else inputs))
        drawn = _core.draw_numbers(distribution, n, seed, layer, 0)
        if distribution == "uniform":  # [0, 1) to a variance of 1
            drawn = (2.0 * drawn - 1.0) * math.sqrt(3.0)
        return (deviation * drawn).reshape(inputs, self.units)

    def config(self) -> dict[str, Any]:
        """Return the description as values that JSON knows."""
        config: dict[str, Any] = {
            "dense": self.units,
            "activation": self.activation.name,
            "alpha": self.activation.alpha,
            "initializer": self.initializer,
        }
        if self.bias_initializer != "zeros":
            config["bias_initializer"] = self.bias_initializer
        if self.learning_rate_factor != 1.0:
            config["learning_rate_factor"] = self.learning_rate_factor
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return the layer that gave this `config`."""
        return cls(
            config["dense"],
            Activation.from_file(config["activation"], config["alpha"]),
            initializer=config["initializer"],
            bias_initializer=config.get("bias_initializer", "zeros"),
            learning_rate_factor=config.get("learning_rate_factor", 1.0),
        )


@dataclass(frozen=True)
class Scale(Layer):
    """A learned factor for each input, ``h = x * factor``; factors begin at 1.

    In front of the first Dense layer it lets training weigh the columns of a table (Holzmüller,
    Grinsztajn and Steinwart 2024, "Better by default", section 3). Of sparse rows it works on the
    entries alone.

    Parameters
    ----------
    learning_rate_factor : float, default 1
        Multiplies the learning rate; 0 keeps the factors as they are.

    Raises
    ------
    ValueError, TypeError
        Where the argument is not a number of at least 0.

    Examples
    --------
    >>> import culpa
    >>> model = culpa.Sequential([culpa.Scale(), culpa.Dense(1)], "mse", input_size=3)
    >>> model.layers[0].factor
    array([1., 1., 1.], dtype=float32)
    """

    learning_rate_factor: float = 1.0
    kind: ClassVar[str] = "scale"
    arrays: ClassVar[tuple[str, ...]] = ("factor",)

    def __post_init__(self) -> None:
        factor = checked_factor(self.learning_rate_factor, self.arrays)
        object.__setattr__(self, "learning_rate_factor", factor)

    def compile(self, stages: Stages, where: str) -> None:
        """Append its stage."""
        stages.add(self, self.kind, **factors_for_core(self.learning_rate_factor, self.arrays))

    def initial(self, array: str, shape: tuple[int, ...], seed: int, number: int) -> NDArray[Any]:
        """Return ones."""
        return np.ones(shape)


@dataclass(frozen=True)
class Dropout(Layer):
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
    kind: ClassVar[str] = "dropout"

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", _checks.fraction("rate", self.rate))

    def compile(self, stages: Stages, where: str) -> None:
        """Append it to the stage before, to the inputs, or as a stage."""
        stages.drop(self, self.rate)

    def config(self) -> dict[str, Any]:
        """Return the description as values that JSON knows."""
        return {"dropout": self.rate}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return the layer that gave this `config`."""
        return cls(config["dropout"])
