"""Layers with a way around them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from culpa import _checks
from culpa.parts.layer import Layer, Stages, compile_layers, layers_from_config
from culpa.parts.layers import Dropout

__all__ = ["Residual", "checked_layers"]


@dataclass(frozen=True)
class Residual(Layer):
    """Layers and a way around them, ``h = x + f(x)`` (He et al. 2016, equation 1).

    Parameters
    ----------
    layers : sequence of layers
        f, which must give as many values as it reads. Another Residual may be among them.

    Raises
    ------
    TypeError, ValueError
        Where `layers` are not layers, or their width is not that of their input.

    Examples
    --------
    >>> import culpa
    >>> block = culpa.Residual([culpa.LayerNorm(), culpa.Dense(16, "relu"), culpa.Dense(16)])
    >>> model = culpa.Sequential(
    ...     [culpa.Dense(16), block, culpa.Activation("relu"), culpa.Dense(1)], "mse")
    """

    layers: tuple[Layer, ...]
    kind: ClassVar[str] = "residual"

    def __init__(self, layers: Sequence[Layer]) -> None:
        object.__setattr__(self, "layers", checked_layers(layers))

    def compile(self, stages: Stages, where: str) -> None:
        """Append the stages of its layers, and one that adds what they read."""
        width, value = stages.width, stages.branch()
        compile_layers(self.layers, stages, f"{where}.layers")
        if width is not None and stages.width != width:
            raise ValueError(
                f"{where}: expected a Residual whose layers give as many values as they read, got "
                f"{stages.width} from {width}; end it with culpa.Dense({width})"
            )
        stages.add(self, "add", skip=value)

    def parts(self) -> Iterator[Layer]:
        """Yield the layers inside."""
        for layer in self.layers:
            yield from layer.parts()

    def config(self) -> dict[str, Any]:
        """Return the description as values that JSON knows."""
        return {"kind": self.kind, "layers": [layer.config() for layer in self.layers]}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return the layer that gave this `config`."""
        return cls(layers_from_config(config["layers"]))


def checked_layers(layers: Any) -> tuple[Layer, ...]:
    """Return layers in a row, checked for what the widths do not tell."""
    if isinstance(layers, Layer) or not isinstance(layers, (list, tuple)):
        raise TypeError(
            "layers: expected a list of layers such as culpa.Dense and culpa.Dropout, "
            f"got {_checks.describe(layers)}"
        )
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(
                f"layers[{i}]: expected a layer such as culpa.Dense or culpa.Dropout, got "
                f"{_checks.describe(layer)}"
            )
        if isinstance(layer, Dropout) and i and isinstance(layers[i - 1], Dropout):
            raise ValueError(f"layers[{i}]: expected no Dropout after a Dropout; use one")
    if not layers:
        raise ValueError("layers: expected at least one layer, got none")
    return tuple(layers)
