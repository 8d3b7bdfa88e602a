"""Network: an architecture and, once it is built, the core with its numbers; no face.

Everything below the face takes a Network or an Architecture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from culpa import _checks, _core, data
from culpa.data.examples import Examples
from culpa.machine.thread_limits import follow_threadpoolctl
from culpa.parts.architecture import Architecture
from culpa.parts.layers import Activation
from culpa.parts.optimizers import Optimizer

__all__ = ["Core", "Network", "Snapshot"]

Array = NDArray[Any]
Core = _core.Model32 | _core.Model64
CORES: dict[str, type[_core.Model32] | type[_core.Model64]] = {
    "float32": _core.Model32,
    "float64": _core.Model64,
}


class Snapshot(NamedTuple):
    """What a network was when a fit began."""

    architecture: Architecture
    core: Core | None
    """None where it was not built yet."""
    parameters: Array
    moments: tuple[Array, Array, int] | None
    steps: int
    epochs: int
    optimizer: Optimizer | None


class Network:
    """What a model is without its face.

    Parameters
    ----------
    architecture : Architecture
        Where it has an input size, the network is built at once.
    loss_limit : float, default 0
        The largest value of an output's loss; 0: none.

    Attributes
    ----------
    architecture : Architecture
        Replaced by one with an input size when the network is built, and with names when they
        become known.
    optimizer : Optimizer or None
        The one used last.
    epochs : int
        Seen in all fits: what shuffles and decays count by.
    saw_inputs : bool
        Whether a fit has seen inputs, and has said what rounding does to them.
    claim : _core.Claim
        Of the thread that trains the network, or loads weights.
    """

    def __init__(self, architecture: Architecture, *, loss_limit: float = 0.0) -> None:
        self.architecture = architecture
        self.loss_limit = loss_limit
        self.optimizer: Optimizer | None = None
        self.epochs = 0
        self.saw_inputs = False
        self.claim = _core.Claim()
        self._core: Core | None = None
        if architecture.input_size is not None:
            self._core = self.initial_core(architecture.input_size)

    @classmethod
    def of(cls, architecture: Architecture, arrays: Mapping[str, ArrayLike]) -> Self:
        """Return the network of an architecture with an input size, and these arrays."""
        network = cls(replace(architecture, input_size=None, feature_names=None))
        network.load_state_dict(arrays)
        network.architecture = architecture
        return network

    # Building

    @property
    def inputs(self) -> int:
        """Number of inputs, of a network that is built."""
        inputs = self.architecture.input_size
        assert inputs is not None
        return inputs

    @property
    def is_built(self) -> bool:
        """Whether it has weights."""
        return self._core is not None

    @property
    def core(self) -> Core:
        """The core's model; raises where it is not built yet."""
        follow_threadpoolctl()
        self.check_built()
        assert self._core is not None
        return self._core

    def check_built(self) -> None:
        """Raise where the network is not built yet."""
        if self._core is None:
            raise RuntimeError(
                "the model has no weights yet, for it does not know its input size: call fit, or "
                "pass input_size= to Sequential"
            )

    def new_core(self, inputs: int) -> Core:
        """Return a core of this architecture, all weights zero; it is not this network's."""
        sizes = self.architecture.compile(inputs).dense_sizes()
        weights = sum(math.prod(size) for size in sizes)
        widest = max(sizes, key=math.prod)
        too_many = (
            f"layers: expected a model that fits into memory, got {weights:,} weights, most "
            f"of them in a layer of {widest[0]} x {widest[1]}; use fewer units or inputs"
        )
        if weights > 2**40:  # before any size leaves the range of the core's integers
            raise ValueError(too_many)
        try:
            return CORES[self.architecture.dtype](
                **self.architecture.for_core(inputs), loss_limit=self.loss_limit
            )
        except MemoryError:
            raise MemoryError(too_many) from None

    def initial_core(self, inputs: int) -> Core:
        """Return such a core with the initial weights."""
        core = self.new_core(inputs)
        flat = np.zeros_like(core.parameters())
        places = split(core, flat)
        for name, number, layer in self.architecture.compile(inputs).named:
            for array in layer.arrays:
                place = places[f"{name}.{array}"]
                place[...] = layer.initial(array, place.shape, self.architecture.seed, number)
        core.set_parameters(flat)
        return core

    def attach(self, core: Core, inputs: int) -> None:
        """Take over a core of so many inputs, which this network made."""
        self._core, self.architecture = core, self.architecture.with_inputs(inputs)

    def name_features(self, names: Any) -> None:
        """Say what the inputs are called; None forgets it."""
        if names is not None:
            self.check_built()
        self.architecture = replace(self.architecture, feature_names=names)

    def examples(self, X: Any, y: Any, sample_weight: Any = None, suffix: str = "") -> Examples:
        """Return examples checked for this network, which must be built, to ask about them."""
        self.check_built()
        warns = not self.saw_inputs
        return Examples(self.architecture, X, y, sample_weight, suffix, warns_of_inputs=warns)

    # Numbers

    def split(self, flat: Array) -> dict[str, Array]:
        """Return the arrays that a flat vector, such as a gradient, consists of: views by name."""
        return split(self.core, flat)

    def array(self, name: str) -> Array:
        """Return one array: a read-only view that follows training."""
        return self.core.array(name)

    def split_layers(self, flat: Array) -> tuple[list[Array], list[Array]]:
        """Return a flat vector's weights (inputs, units) and biases (units,), as views."""
        arrays, names = self.split(flat), self.architecture.dense_names
        return (
            [arrays[f"{name}.weight"] for name in names],
            [arrays[f"{name}.bias"] for name in names],
        )

    def dense_layers(self) -> list[tuple[str, int, Activation]]:
        """Return name, units and activation of each Dense layer."""
        described = self.architecture
        return [
            (name, layer.units, layer.activation)
            for name, layer in zip(described.dense_names, described.dense, strict=True)
        ]

    def state_dict(self) -> dict[str, Array]:
        """Return copies of all arrays by name, of one step."""
        flat = self.core.copy_parameters()
        return {name: array.copy() for name, array in self.split(flat).items()}

    def load_state_dict(self, state: Mapping[str, ArrayLike], *, partial: bool = False) -> None:
        """Copy arrays in, and build the network where it is not; see Sequential."""
        if not isinstance(state, Mapping):
            raise TypeError(
                f"state: expected a dict such as state_dict() gives, got {_checks.describe(state)}"
            )
        with _core.claim([self.claim], "load_state_dict", trains=False):
            core, inputs = self._core, self.architecture.input_size
            if core is None:
                # What lies before the first parameters changes no width.
                name, _, layer = self.architecture.compile(None).named[0]
                name = f"{name}.{layer.arrays[0]}"
                first = data.as_array(name, state.get(name, ()))
                if first.ndim not in (1, 2) or 0 in first.shape:
                    core = self.core  # raises
                inputs = first.shape[0]
                core = self.initial_core(inputs)
            flat = core.parameters().copy()
            places = split(core, flat)
            missing = [key for key in places if key not in state]
            if missing and not partial:
                raise ValueError(f"state: expected the key {missing[0]!r} too, got {list(state)}")
            for key, value in state.items():
                place = places[_checks.choice("state", key, places)]
                array = data.as_array(key, value)
                if array.shape != place.shape:
                    raise ValueError(
                        f"{key}: expected shape {place.shape}, got shape {array.shape}"
                    )
                data.check_finite(key, np.asarray(array), self.architecture.dtype)
                place[...] = array
            core.set_parameters(flat)
            assert inputs is not None
            self.attach(core, inputs)

    def frozen_core(self) -> Core:
        """Return a core with a copy of the weights: what is compared does not train meanwhile."""
        parameters = self.core.copy_parameters()
        core = self.new_core(self.inputs)
        core.set_parameters(parameters)
        return core

    # Going back

    def snapshot(self, core: Core, *, moments: bool) -> Snapshot:
        """Note what the network is, and the numbers of the core that a fit begins with."""
        if moments:
            parameters, first, second, updates, steps = core.state()
        else:
            parameters, steps = core.copy_parameters(), core.steps
        return Snapshot(
            architecture=self.architecture,
            core=self._core,
            parameters=parameters,
            moments=(first, second, updates) if moments else None,
            steps=steps,
            epochs=self.epochs,
            optimizer=self.optimizer,
        )

    def restore(self, snapshot: Snapshot, *, numbers: bool = True) -> None:
        """Return to a snapshot; with the optimizer's memory where the snapshot has it.

        Without `numbers` where none has changed: that takes no memory.
        """
        self.architecture, self._core = snapshot.architecture, snapshot.core
        self.epochs, self.optimizer = snapshot.epochs, snapshot.optimizer
        if self._core is None or not numbers:
            return
        self._core.set_parameters(snapshot.parameters)
        self._core.steps = snapshot.steps
        if snapshot.moments is not None and self.optimizer is not None:
            self._core.set_optimizer(self.optimizer.for_core())
            self._core.set_moments(*snapshot.moments)
        elif snapshot.moments is not None:  # never trained before
            self.forget_moments()

    def forget_moments(self) -> None:
        """Let the optimizer begin afresh, at the weights as they are."""
        first, second, _ = self.core.moments()
        self.core.set_moments(np.zeros_like(first), np.zeros_like(second), 0)

    # Copies

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = {
            "architecture": self.architecture,
            "loss_limit": self.loss_limit,
            "optimizer": self.optimizer,
            "epochs": self.epochs,
            "saw_inputs": self.saw_inputs,
        }
        if self._core is not None:
            parameters, first, second, updates, steps = self._core.state()
            if self.optimizer is not state["optimizer"]:  # a fit has begun in another thread
                return self.__getstate__()
            state["parameters"] = parameters
            state["moments"] = first, second, updates
            state["steps"] = steps
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        unbuilt = replace(state["architecture"], input_size=None, feature_names=None)
        self.__dict__.update(type(self)(unbuilt, loss_limit=state["loss_limit"]).__dict__)
        self.architecture, self.optimizer = state["architecture"], state["optimizer"]
        self.epochs, self.saw_inputs = state["epochs"], state["saw_inputs"]
        if "parameters" not in state:
            return
        self._core = core = self.new_core(self.inputs)
        core.set_parameters(state["parameters"])
        if self.optimizer is not None:
            core.set_optimizer(self.optimizer.for_core())
            # Of another optimizer, where a fit with a new one began that very moment.
            sizes = [len(moment) for moment in core.moments()[:2]]
            if [len(moment) for moment in state["moments"][:2]] == sizes:
                core.set_moments(*state["moments"])
        core.steps = state["steps"]

    def copy(self) -> Self:
        """Return an independent copy: weights, optimizer's memory and all."""
        other = type(self).__new__(type(self))
        other.__setstate__(self.__getstate__())
        return other


def split(core: Core, flat: Array) -> dict[str, Array]:
    """Return the arrays that a flat vector of a core consists of: views by name."""
    return {
        name: flat[offset : offset + math.prod(shape)].reshape(shape)
        for name, offset, shape, _ in core.arrays()
    }
