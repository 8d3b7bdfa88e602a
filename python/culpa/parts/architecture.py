"""Architecture: all that determines a network but its numbers, as one frozen description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from culpa import _checks, _core
from culpa.parts.layers import Activation, Dense, Dropout
from culpa.parts.losses import Loss, as_loss, loss_of

__all__ = ["Architecture"]

DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Architecture:
    """Layers, loss and what else a network is made from; formats write it beside the arrays.

    Attributes
    ----------
    layers : tuple of Dense and Dropout
        From the inputs to the outputs, a Dense layer last.
    loss : Loss
        What training minimises.
    seed : int
        Of initial weights, shuffles and dropout, below 2**64.
    dtype : str
        "float32" or "float64".
    input_scale : float
        Multiplies all inputs.
    input_size : int or None
        Number of inputs; None until the first data are seen.
    feature_names : tuple of str, or None
        What the inputs are called.
    """

    layers: tuple[Dense | Dropout, ...]
    loss: Loss
    seed: int = 0
    dtype: str = "float32"
    input_scale: float = 1.0
    input_size: int | None = None
    feature_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        most = float(np.finfo(_checks.choice("dtype", self.dtype, DTYPES)).max)
        checked: dict[str, Any] = {
            "layers": _checked_layers(self.layers),
            "loss": as_loss(self.loss),
            "seed": _checks.integer("seed", self.seed, 0),
            "input_scale": _checks.number("input_scale", self.input_scale, -most, most),
        }
        if checked["seed"] >= 2**64:
            raise ValueError(f"seed: expected an integer below 2**64, got {self.seed!r}")
        if self.input_size is not None:
            checked["input_size"] = _checks.integer("input_size", self.input_size, 1)
        checked["feature_names"] = _checks.feature_names(self.feature_names, self.input_size or 0)
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def dense(self) -> tuple[Dense, ...]:
        """The Dense layers, in order."""
        return tuple(layer for layer in self.layers if isinstance(layer, Dense))

    @property
    def output_size(self) -> int:
        """Number of outputs."""
        return self.dense[-1].units

    def with_inputs(self, inputs: int) -> Self:
        """Return the same with so many inputs."""
        return self if self.input_size == inputs else replace(self, input_size=inputs)

    def for_core(self, inputs: int) -> dict[str, Any]:
        """Return the arguments that the core builds a network of so many inputs from."""
        specs: list[tuple[int, int, str, float, float]] = []
        input_dropout, width = 0.0, inputs
        for layer in self.layers:
            if isinstance(layer, Dense):
                alpha = layer.activation.alpha or 0.0
                specs.append((width, layer.units, layer.activation.name, alpha, 0.0))
                width = layer.units
            elif specs:
                specs[-1] = (*specs[-1][:4], layer.rate)
            else:
                input_dropout = layer.rate
        return {
            "layers": specs,
            "loss": self.loss.name,
            "loss_parameters": self.loss.parameters,
            "input_scale": self.input_scale,
            "input_dropout": input_dropout,
            "seed": self.seed,
            "member": 0,
        }

    def shapes(self, inputs: int | None = None) -> dict[str, tuple[int, ...]]:
        """Return the shape of each array by name, of so many inputs or of `input_size`."""
        inputs = _checks.integer("input_size", inputs or self.input_size, 1)
        arrays = _core.arrays_of(self.for_core(inputs)["layers"])
        return {name: shape for name, _, shape, _ in arrays}

    def dense_names(self) -> list[str]:
        """Return the names of the Dense layers, as those of their arrays begin."""
        names = self.shapes(1)  # which do not depend on the number of inputs
        return [name.removesuffix(".weight") for name in names if name.endswith(".weight")]

    def config(self) -> dict[str, Any]:
        """Return the description as values that JSON knows."""
        layers: list[dict[str, Any]] = []
        for layer in self.layers:
            if isinstance(layer, Dropout):
                layers.append({"dropout": layer.rate})
            else:
                layers.append(
                    {
                        "dense": layer.units,
                        "activation": layer.activation.name,
                        "alpha": layer.activation.alpha,
                        "initializer": layer.initializer,
                    }
                )
        return {
            "layers": layers,
            "loss": {"name": self.loss.name, "parameters": self.loss.parameters},
            "seed": self.seed,
            "input_size": self.input_size,
            "dtype": self.dtype,
            "input_scale": self.input_scale,
            "feature_names": None if self.feature_names is None else list(self.feature_names),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return the description that gave this `config`.

        Raises
        ------
        KeyError, TypeError, ValueError
            Where it is not such a config.
        """
        layers: list[Dense | Dropout] = []
        for layer in config["layers"]:
            if "dropout" in layer:
                layers.append(Dropout(layer["dropout"]))
                continue
            name, alpha = layer["activation"], layer["alpha"]
            takes_alpha = name in ("leaky_relu", "elu")
            activation = Activation(name, alpha if takes_alpha else None)
            layers.append(Dense(layer["dense"], activation, initializer=layer["initializer"]))
        return cls(
            tuple(layers),
            loss_of(config["loss"]),
            seed=config["seed"],
            dtype=config["dtype"],
            input_scale=config["input_scale"],
            input_size=config["input_size"],
            feature_names=config.get("feature_names"),
        )


def _checked_layers(layers: Sequence[Dense | Dropout]) -> tuple[Dense | Dropout, ...]:
    if isinstance(layers, (Dense, Dropout)) or not isinstance(layers, (list, tuple)):
        raise TypeError(
            f"layers: expected a list of culpa.Dense and culpa.Dropout, "
            f"got {_checks.describe(layers)}"
        )
    for i, layer in enumerate(layers):
        if not isinstance(layer, (Dense, Dropout)):
            raise TypeError(
                f"layers[{i}]: expected culpa.Dense or culpa.Dropout, got {_checks.describe(layer)}"
            )
        if isinstance(layer, Dropout) and i and isinstance(layers[i - 1], Dropout):
            raise ValueError(f"layers[{i}]: expected no Dropout after a Dropout; use one")
    if not layers or not isinstance(layers[-1], Dense):
        raise ValueError(
            "layers: expected a Dense layer last, the outputs; got "
            + (f"{layers[-1]!r}" if layers else "none")
        )
    return tuple(layers)
