"""The layers of a model as its user meets them: descriptions, and views of the weights."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike, NDArray

from culpa.network.network import Network
from culpa.parts.layers import Activation, Dense, Dropout

__all__ = ["DenseLayer", "layers_of"]


class DenseLayer:
    """A dense layer of a model: its description, and its weights in the model's memory.

    Obtained from ``model.layers[i]``.
    """

    def __init__(self, network: Network, description: Dense, index: int) -> None:
        self._network = network
        self._index = index
        self.description = description

    @property
    def name(self) -> str:
        """The layer's name in ``state_dict``: "dense_0", "dense_1", ..."""
        return self._network.architecture.dense_names()[self._index]

    @property
    def units(self) -> int:
        """Number of nodes."""
        return self.description.units

    @property
    def activation(self) -> Activation:
        """The activation."""
        return self.description.activation

    @property
    def weight(self) -> NDArray[Any]:
        """Weights (inputs, units): a read-only view that follows training. Assign to change."""
        return self._network.core.weight(self._index)

    @weight.setter
    def weight(self, value: ArrayLike) -> None:
        self._network.load_state_dict({f"{self.name}.weight": value}, partial=True)

    @property
    def bias(self) -> NDArray[Any]:
        """Biases (units,): a read-only view that follows training. Assign to change."""
        return self._network.core.bias(self._index)

    @bias.setter
    def bias(self, value: ArrayLike) -> None:
        self._network.load_state_dict({f"{self.name}.bias": value}, partial=True)

    def __repr__(self) -> str:
        return repr(self.description)


def layers_of(network: Network) -> list[DenseLayer | Dropout]:
    """Return the layers of a network, in order; of dense ones with their weights."""
    layers: list[DenseLayer | Dropout] = []
    for layer in network.architecture.layers:
        if isinstance(layer, Dense):
            index = sum(isinstance(other, DenseLayer) for other in layers)
            layers.append(DenseLayer(network, layer, index))
        else:
            layers.append(layer)
    return layers
