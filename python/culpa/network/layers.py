"""The layers of a model as its user meets them: descriptions, and views of the parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from culpa.network.network import Network
from culpa.parts.activations import Activation
from culpa.parts.architecture import Architecture
from culpa.parts.layer import KINDS, Layer
from culpa.parts.layers import Dense, Scale
from culpa.parts.residual import Residual

__all__ = [
    "DenseLayer",
    "LayerView",
    "ResidualLayer",
    "dense_layers",
    "factors_in_front",
    "layers_between",
    "layers_of",
]


class LayerView:
    """A layer of a model: its description, and its parameters in the model's memory.

    Obtained from ``model.layers[i]``. Each parameter is an attribute, ``factor`` of a Scale,
    ``gain`` and ``shift`` of a LayerNorm: a read-only view that follows training. Assign to change
    it.
    """

    _network: Network
    description: Layer
    name: str
    """The layer's name in ``state_dict``: "dense_0", "dense_1", ..."""

    def __init__(self, network: Network, description: Layer, name: str) -> None:
        self.__dict__.update(_network=network, description=description, name=name)

    def __getattr__(self, name: str) -> NDArray[Any]:
        if name not in self._arrays():
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return self._network.array(f"{self.name}.{name}")

    def __setattr__(self, name: str, value: ArrayLike) -> None:
        if name not in self._arrays():
            raise AttributeError(
                f"{name}: expected a parameter of the layer ({', '.join(self._arrays())}); a "
                "layer's description cannot be changed"
            )
        self._network.load_state_dict({f"{self.name}.{name}": value}, partial=True)

    def _arrays(self) -> tuple[str, ...]:
        # A copy under way has no attributes yet.
        return self.description.arrays if "description" in self.__dict__ else ()

    def __repr__(self) -> str:
        return repr(self.description)


class DenseLayer(LayerView):
    """A dense layer of a model: its description, and its weights in the model's memory.

    Obtained from ``model.layers[i]``.

    Attributes
    ----------
    weight : ndarray (inputs, units)
        A read-only view that follows training. Assign to change.
    bias : ndarray (units,)
        The same.
    """

    description: Dense
    weight: Any
    bias: Any

    @property
    def units(self) -> int:
        """Number of nodes."""
        return self.description.units

    @property
    def activation(self) -> Activation:
        """The activation of its nodes: its own, or that of an Activation right behind it."""
        return self._network.architecture.activations[self.name]


class ResidualLayer:
    """A residual of a model: its description, and the layers inside.

    Obtained from ``model.layers[i]``.
    """

    def __init__(self, description: Residual, layers: list[ModelLayer]) -> None:
        self.description = description
        self.layers = layers

    def __repr__(self) -> str:
        return repr(self.description)


ModelLayer = LayerView | ResidualLayer | Layer


def layers_of(network: Network) -> list[ModelLayer]:
    """Return the layers of a network, in order; with their parameters where they have some."""
    # The widths do not matter here, nor whether they are known.
    names = iter([name for name, _, _ in network.architecture.compile(None).named])
    return _faces(network, network.architecture.layers, names)


def _faces(network: Network, layers: Iterable[Layer], names: Iterator[str]) -> list[ModelLayer]:
    faces: list[ModelLayer] = []
    for layer in layers:
        if isinstance(layer, Residual):
            faces.append(ResidualLayer(layer, _faces(network, layer.layers, names)))
        elif isinstance(layer, Dense):
            faces.append(DenseLayer(network, layer, next(names)))
        elif layer.arrays:
            faces.append(LayerView(network, layer, next(names)))
        else:
            faces.append(layer)
    return faces


def dense_layers(layers: Iterable[ModelLayer]) -> Iterator[DenseLayer]:
    """Yield the dense layers among these, those inside others too, in the order of the walk."""
    for layer in layers:
        if isinstance(layer, DenseLayer):
            yield layer
        elif isinstance(layer, ResidualLayer):
            yield from dense_layers(layer.layers)


def layers_between(architecture: Architecture) -> list[list[str]]:
    """Return what lies before the first Dense layer, between each two, and behind the last.

    By the names of their classes, each once. An Activation right behind a Dense layer is part of
    it, and Dropout does nothing outside of training. A Residual lies where its way around begins,
    and where it ends.
    """
    stages = architecture.compile(architecture.input_size).specs
    branches = {stage["skip"] for stage in stages if "skip" in stage}
    between: list[list[str]] = [[]]
    for value, stage in enumerate(stages):  # each reads the value of its own number
        kind = stage["kind"]
        if value in branches or kind == "add":
            between[-1].append(Residual.__name__)
        if kind == "dense":
            between.append([])
            continue
        if kind in KINDS:
            between[-1].append(KINDS[kind].__name__)
        if "activation" in stage:
            between[-1].append(Activation.__name__)
    return [list(dict.fromkeys(names)) for names in between]


def factors_in_front(network: Network) -> NDArray[Any] | None:
    """Return the factors (inputs,) of a Scale that alone lies before the first Dense layer."""
    if layers_between(network.architecture)[0] != [Scale.__name__]:
        return None
    factors = np.ones(network.inputs)
    for layer in layers_of(network):
        if isinstance(layer, DenseLayer):
            break
        if isinstance(layer, LayerView):
            factors *= layer.factor
    return factors
