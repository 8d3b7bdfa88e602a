"""Activations: part of a Dense layer, or a layer of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from culpa import _checks
from culpa.parts.layer import Layer, Stages

__all__ = ["ACTIVATIONS", "Activation"]

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
TAKE_ALPHA = ("leaky_relu", "elu")


@dataclass(frozen=True)
class Activation(Layer):
    """An activation: a layer of its own, or with its parameter where a name is not enough.

    Behind a Dense layer it is what the layer's own `activation` is, to the bit.

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
    >>> model = culpa.Sequential(
    ...     [culpa.Dense(8), culpa.LayerNorm(), culpa.Activation("relu"), culpa.Dense(1)], "mse")
    """

    name: str
    alpha: float | None = None
    kind: ClassVar[str] = "activation"

    def __post_init__(self) -> None:
        _checks.choice("activation", self.name, ACTIVATIONS)
        if self.alpha is None:
            object.__setattr__(self, "alpha", ACTIVATIONS[self.name])
        elif self.name not in TAKE_ALPHA:
            raise ValueError(
                f"alpha: expected none for {self.name!r}, got {self.alpha!r}; "
                "only leaky_relu and elu take one"
            )
        else:
            object.__setattr__(self, "alpha", _checks.number("alpha", self.alpha, 0.0))

    @classmethod
    def from_file(cls, name: str, alpha: float | None) -> Activation:
        """Return it from what files say, which have an alpha for each."""
        return cls(name, alpha if name in TAKE_ALPHA else None)

    def compile(self, stages: Stages, where: str) -> None:
        """Append it to the stage before, or as a stage."""
        stages.activate(self, self.name, self.alpha or 0.0)

    def config(self) -> dict[str, object]:
        """Return the description as values that JSON knows."""
        return {"kind": self.kind, "name": self.name} | (
            {"alpha": self.alpha} if self.name in TAKE_ALPHA else {}
        )
