"""Architecture: all that determines a network but its numbers, as one frozen description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from culpa import _checks, _core
from culpa.parts.activations import Activation
from culpa.parts.layer import Layer, Stages, compile_layers, layers_from_config
from culpa.parts.layers import Dense, Dropout
from culpa.parts.losses import Loss, as_loss, loss_of
from culpa.parts.residual import checked_layers

__all__ = ["Architecture"]

DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Architecture:
    """Layers, loss and what else a network is made from; formats write it beside the arrays.

    Attributes
    ----------
    layers : tuple of layers
        From the inputs to the outputs; one of them is Dense.
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

    layers: tuple[Layer, ...]
    loss: Loss
    seed: int = 0
    dtype: str = "float32"
    input_scale: float = 1.0
    input_size: int | None = None
    feature_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        most = float(np.finfo(_checks.choice("dtype", self.dtype, DTYPES)).max)
        checked: dict[str, Any] = {
            "layers": _checked(checked_layers(self.layers)),
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
        self.compile(self.input_size)  # raises where widths do not fit

    @cached_property
    def dense(self) -> tuple[Dense, ...]:
        """The Dense layers in the order of the walk, those inside others too."""
        parts = (part for layer in self.layers for part in layer.parts())
        return tuple(part for part in parts if isinstance(part, Dense))

    @cached_property
    def output_size(self) -> int:
        """Number of outputs."""
        width = self.compile(self.input_size).width
        assert width is not None
        return width

    @cached_property
    def dense_names(self) -> list[str]:
        """What the arrays of each Dense layer begin with: "dense_0", "dense_1", ..."""
        return list(self.activations)

    @cached_property
    def activations(self) -> dict[str, Activation]:
        """The activation of each Dense layer's nodes, its own or of an Activation behind it."""
        return {
            spec["name"]: Activation.from_file(
                spec.get("activation", "identity"), spec.get("alpha", 0.0)
            )
            for spec in self.compile(self.input_size).specs
            if spec["kind"] == "dense"
        }

    def compile(self, inputs: int | None) -> Stages:
        """Return the stages of a network of so many inputs; None: not known yet.

        Raises
        ------
        ValueError
            Where widths do not fit each other.
        """
        stages = Stages(inputs)
        compile_layers(self.layers, stages, "layers")
        return stages

    def with_inputs(self, inputs: int) -> Self:
        """Return the same with so many inputs."""
        return self if self.input_size == inputs else replace(self, input_size=inputs)

    def for_core(self, inputs: int) -> dict[str, Any]:
        """Return the arguments that the core builds a network of so many inputs from."""
        stages = self.compile(inputs)
        return {
            "stages": stages.for_core(),
            "loss": self.loss.name,
            "loss_parameters": self.loss.parameters,
            "input_scale": self.input_scale,
            "input_dropout": stages.input_dropout,
            "seed": self.seed,
            "member": 0,
        }

    def shapes(self, inputs: int | None = None) -> dict[str, tuple[int, ...]]:
        """Return the shape of each array by name, of so many inputs or of `input_size`."""
        inputs = _checks.integer("input_size", inputs or self.input_size, 1)
        arrays = _core.arrays_of(self.for_core(inputs)["stages"])
        return {name: shape for name, _, shape, _ in arrays}

    def config(self) -> dict[str, Any]:
        """Return the description as values that JSON knows."""
        return {
            "layers": [layer.config() for layer in self.layers],
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
        return cls(
            layers_from_config(config["layers"]),
            loss_of(config["loss"]),
            seed=config["seed"],
            dtype=config["dtype"],
            input_scale=config["input_scale"],
            input_size=config["input_size"],
            feature_names=config.get("feature_names"),
        )


def _checked(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    if isinstance(layers[-1], Dropout):
        raise ValueError(
            "layers: expected a Dense layer last, or another that gives the outputs, got "
            f"{layers[-1]!r}"
        )
    if not any(isinstance(part, Dense) for layer in layers for part in layer.parts()):
        raise ValueError(
            f"layers: expected at least one Dense layer, got {', '.join(map(repr, layers))}"
        )
    return layers
