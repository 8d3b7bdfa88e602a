"""What all layers share, and the list of the core's stages that they compile to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from culpa import _checks, _core

__all__ = [
    "Layer",
    "Stages",
    "checked_factor",
    "compile_layers",
    "layers_from_config",
]

# By the name that files know them by.
KINDS: dict[str, type[Layer]] = {}


class Layer(ABC):
    """A small description without state. A new kind of layer is a subclass with a `kind`."""

    kind: ClassVar[str]
    """What files call it, and the core where the layer is a stage of its own."""
    arrays: ClassVar[tuple[str, ...]] = ()
    """Names of its parameters, in the order of the core."""
    learning_rate_factor: float | tuple[float, ...] = 1.0
    """Of all its parameters, or of each."""

    def __init_subclass__(cls) -> None:
        KINDS[cls.kind] = cls

    def factors(self) -> list[float]:
        """Return the learning rate's factor for each parameter."""
        given = self.learning_rate_factor
        return list(given) if isinstance(given, tuple) else [given] * len(self.arrays)

    @abstractmethod
    def compile(self, stages: Stages, where: str) -> None:
        """Append its stages; `where` is what messages call the layer."""

    def parts(self) -> Iterator[Layer]:
        """Yield the layers that it consists of, in the order of the walk: itself."""
        yield self

    def initial(self, array: str, shape: tuple[int, ...], seed: int, number: int) -> NDArray[Any]:
        """Return the values that a parameter begins with; `number` is the layer's in its kind."""
        raise NotImplementedError(f"{self.kind} has no parameters")

    def config(self) -> dict[str, Any]:
        """Return the description as values that JSON knows."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {"kind": self.kind, **values}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return the layer that gave this `config`."""
        return cls(**{name: value for name, value in config.items() if name != "kind"})


class Stages:
    """The stages of a network, as its layers append them.

    Parameters
    ----------
    inputs : int or None
        None: not known yet. Then widths are checked as far as Dense layers tell them.
    """

    def __init__(self, inputs: int | None) -> None:
        self.width = inputs
        self.specs: list[dict[str, Any]] = []
        self.named: list[tuple[str, int, Layer]] = []
        """Name, number in its kind and description of each layer with parameters."""
        self.input_dropout = 0.0
        self._counts: Counter[str] = Counter()
        self._may_follow = False  # whether the last stage's value is read by the next alone
        self._begun = False

    def add(self, layer: Layer, kind: str, outputs: int | None = None, **options: Any) -> None:
        """Append a stage; without `outputs` it gives as many values as it reads."""
        name = f"{kind}_{self._counts[kind]}"
        if layer.arrays:
            self.named.append((name, self._counts[kind], layer))
            options["learning_rate_factors"] = layer.factors()
        self._counts[kind] += 1
        outputs = self.width if outputs is None else outputs
        self.specs.append(
            {"kind": kind, "name": name, "inputs": self.width, "outputs": outputs, **options}
        )
        self.width = outputs
        self._may_follow = self._begun = True

    def branch(self) -> int:
        """Return the number of the last value, which a later stage will add to its own."""
        self._may_follow, self._begun = False, True
        return len(self.specs)

    def activate(self, layer: Layer, activation: str, alpha: float) -> None:
        """Apply an activation to the last value: in the last stage, or in one of its own."""
        if activation == "identity":
            return
        last = self.specs[-1] if self._may_follow else {"activation": ""}
        if "activation" in last or "dropout" in last:
            self.add(layer, "elementwise")
        self.specs[-1] |= {"activation": activation, "alpha": alpha}

    def drop(self, layer: Layer, rate: float) -> None:
        """Apply dropout to the last value: in the last stage, to the inputs, or in a stage."""
        if rate == 0.0:
            return
        if not self._begun:
            self.input_dropout = rate
            return
        if not self._may_follow or "dropout" in self.specs[-1]:
            self.add(layer, "elementwise")
        self.specs[-1]["dropout"] = rate

    def dense_sizes(self) -> list[tuple[int, int]]:
        """Return inputs and units of each Dense layer; all widths are known."""
        dense = (spec for spec in self.specs if spec["kind"] == "dense")
        return [(spec["inputs"], spec["outputs"]) for spec in dense]

    def for_core(self) -> list[_core.Stage]:
        """Return them as the core takes them; all widths are known."""
        return [_core.Stage(**spec) for spec in self.specs]


def compile_layers(layers: Iterable[Layer], stages: Stages, where: str) -> None:
    """Append the stages of some layers in a row."""
    for i, layer in enumerate(layers):
        layer.compile(stages, f"{where}[{i}]")


def layers_from_config(configs: Sequence[Mapping[str, Any]]) -> tuple[Layer, ...]:
    """Return the layers that gave these configs."""
    layers: list[Layer] = []
    for config in configs:
        # Dense and Dropout go by their first value, as when there was nothing else.
        first = next((kind for kind in ("dense", "dropout") if kind in config), "")
        kind = _checks.choice("layers", config.get("kind", first), KINDS)
        layers.append(KINDS[kind].from_config(config))
    return tuple(layers)


def checked_factor(value: Any, arrays: tuple[str, ...]) -> float | tuple[float, ...]:
    """Return a factor for all of a layer's parameters, or one for each, checked."""
    name = "learning_rate_factor"
    if isinstance(value, (tuple, list, np.ndarray)) and len(arrays) > 1:
        if len(value) != len(arrays):
            raise ValueError(
                f"{name}: expected a number, or one each for {' and '.join(arrays)}, "
                f"got {len(value)} numbers"
            )
        return tuple(_checks.number(name, factor, 0.0) for factor in value)
    return _checks.number(name, value, 0.0)
