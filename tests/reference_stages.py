"""The oracle of networks of stages, in plain float64 NumPy: layers of every kind and residuals.

A network is a list of stages from the inputs to the outputs. A stage maps x (n, inputs) to
y (n, outputs), each row by itself, and carries dL_i/dy back to dL_i/dx. On its way back it forms
every example's own gradient of each array that it learns, (n, *shape). All other answers are read
off these: the gradient of the batch loss is their weighted sum, the error signal of a Dense layer
is the gradient of its bias, influence is their dot product. That costs memory and no thought.

Conventions, activations, losses and optimizers are those of reference.py.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

import reference
from reference import Array

# --- Stages --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Stage:
    """y = f(x), row by row.

    `learned` names its arrays; `factors` multiply the learning rate of each, empty: by 1.
    """

    kind: ClassVar[str] = ""  # as names of arrays begin
    learned: ClassVar[tuple[str, ...]] = ()
    factors: tuple[float, ...] = field(default=(), kw_only=True)

    def forward(self, x: Array) -> Array:
        raise NotImplementedError

    def backward(self, x: Array, dy: Array) -> tuple[Array, list[Array]]:
        """From dL_i/dy return dL_i/dx and, in the order of `learned`, dL_i/d(array)."""
        raise NotImplementedError


Stages = Sequence[Stage]


@dataclass(frozen=True, eq=False)
class Dense(Stage):
    """y = f(z), z = x @ W + b."""

    kind: ClassVar[str] = "dense"
    learned: ClassVar[tuple[str, ...]] = ("weight", "bias")
    weight: Array  # (inputs, units)
    bias: Array  # (units,)
    activation: str = "identity"
    alpha: float | None = None

    def pre_activation(self, x: Array) -> Array:
        return x @ self.weight + self.bias

    def forward(self, x: Array) -> Array:
        return Activation(self.activation, self.alpha).forward(self.pre_activation(x))

    def backward(self, x: Array, dy: Array) -> tuple[Array, list[Array]]:
        activation = Activation(self.activation, self.alpha)
        delta, _ = activation.backward(self.pre_activation(x), dy)  # (n, units), dL_i/dz
        return delta @ self.weight.T, [x[:, :, None] * delta[:, None, :], delta]


@dataclass(frozen=True, eq=False)
class Scale(Stage):
    """y = x * factor, a factor per input."""

    kind: ClassVar[str] = "scale"
    learned: ClassVar[tuple[str, ...]] = ("factor",)
    factor: Array  # (inputs,)

    def forward(self, x: Array) -> Array:
        return x * self.factor

    def backward(self, x: Array, dy: Array) -> tuple[Array, list[Array]]:
        return dy * self.factor, [dy * x]


@dataclass(frozen=True, eq=False)
class Activation(Stage):
    """y = f(x), elementwise; at a kink the slope of the negative side."""

    name: str
    alpha: float | None = None

    def parameter(self) -> float:
        default = reference.DEFAULT_ALPHA.get(self.name, 0.0)
        return default if self.alpha is None else self.alpha

    def forward(self, x: Array) -> Array:
        value, _ = reference.ACTIVATIONS[self.name]
        return value(x, self.parameter())

    def backward(self, x: Array, dy: Array) -> tuple[Array, list[Array]]:
        _, derivative = reference.ACTIVATIONS[self.name]
        return dy * derivative(x, self.parameter()), []


@dataclass(frozen=True, eq=False)
class Dropout(Stage):
    """y = x * mask while training, where the mask is given; y = x everywhere else.

    A mask holds 0 or 1 / (1 - rate): inverted dropout, Srivastava et al. 2014, section 10.
    """

    rate: float
    mask: Array | None = None  # (n, inputs)

    def forward(self, x: Array) -> Array:
        return x if self.mask is None else x * self.mask

    def backward(self, x: Array, dy: Array) -> tuple[Array, list[Array]]:
        return dy if self.mask is None else dy * self.mask, []


@dataclass(frozen=True, eq=False)
class LayerNorm(Stage):
    """y = u * gain + shift, u = (x - mean) / sqrt(var + epsilon), of each row by itself.

    Ba, Kiros & Hinton 2016, section 3; var is the biased variance, as in torch.nn.LayerNorm.
    """

    kind: ClassVar[str] = "layer_norm"
    learned: ClassVar[tuple[str, ...]] = ("gain", "shift")
    gain: Array  # (inputs,)
    shift: Array  # (inputs,)
    epsilon: float = 1e-5

    def normalise(self, x: Array) -> tuple[Array, Array]:
        """Return u (n, inputs) and sqrt(var + epsilon) (n, 1)."""
        centred = x - x.mean(axis=1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=1, keepdims=True) + self.epsilon)
        return centred / deviation, deviation

    def forward(self, x: Array) -> Array:
        u, _ = self.normalise(x)
        return u * self.gain + self.shift

    def backward(self, x: Array, dy: Array) -> tuple[Array, list[Array]]:
        """du_j/dx_k = ([j = k] - 1 / m - u_j u_k / m) / sqrt(var + epsilon), of m inputs."""
        u, deviation = self.normalise(x)
        du = dy * self.gain
        along = (du * u).mean(axis=1, keepdims=True)
        dx = (du - du.mean(axis=1, keepdims=True) - u * along) / deviation
        return dx, [dy * u, dy]


@dataclass(frozen=True, eq=False)
class Residual(Stage):
    """y = x + f(x), f a network of its own (He, Zhang, Ren & Sun 2016, equation 1)."""

    stages: Stages

    def forward(self, x: Array) -> Array:
        return x + forward(self.stages, x)

    def backward(self, x: Array, dy: Array) -> tuple[Array, list[Array]]:
        dx, gradients = backward(self.stages, x, dy)
        return dy + dx, gradients


# --- The walk forward and back -------------------------------------------------------------------


def forward(stages: Stages, x: ArrayLike) -> Array:
    """Return the outputs (n, m)."""
    y = np.asarray(x, dtype=np.float64)
    for stage in stages:
        y = stage.forward(y)
    return y


def reads(stages: Stages, x: ArrayLike) -> Iterator[tuple[Stage, Array]]:
    """Yield each stage with what it reads (n, inputs); those inside a Residual after it."""
    x = np.asarray(x, dtype=np.float64)
    for stage in stages:
        yield stage, x
        if isinstance(stage, Residual):
            yield from reads(stage.stages, x)
        x = stage.forward(x)


def fired(stages: Stages, x: ArrayLike) -> tuple[list[Array], list[Array]]:
    """Return h = f(z) and f'(z) of each Dense layer, (n, units) each.

    f is the layer's own activation, or that of an Activation right behind one that has none; the
    identity counts as none.
    """
    hidden: list[Array] = []
    slopes: list[Array] = []
    x = np.asarray(x, dtype=np.float64)
    stages = [s for s in stages if not (isinstance(s, Activation) and s.name == "identity")]
    for i, stage in enumerate(stages):
        if isinstance(stage, Residual):
            inside = fired(stage.stages, x)
            hidden, slopes = hidden + inside[0], slopes + inside[1]
        elif isinstance(stage, Dense):
            z, f = stage.pre_activation(x), Activation(stage.activation, stage.alpha)
            behind = stages[i + 1] if i + 1 < len(stages) else None
            if stage.activation == "identity" and isinstance(behind, Activation):
                f = behind
            slope, _ = f.backward(z, np.ones_like(z))
            hidden.append(f.forward(z))
            slopes.append(slope)
        x = stage.forward(x)
    return hidden, slopes


def backward(stages: Stages, x: Array, dy: Array) -> tuple[Array, list[Array]]:
    """From dL_i/dy of the last stage return dL_i/dx of the first, and all examples' gradients."""
    inputs = []  # of each stage
    for stage in stages:
        inputs.append(x)
        x = stage.forward(x)
    gradients: list[Array] = []
    for stage, x in zip(reversed(stages), reversed(inputs), strict=True):
        dy, own = stage.backward(x, dy)
        gradients = own + gradients
    return dy, gradients


@dataclass(frozen=True)
class Walk:
    """One batch carried forward and back."""

    losses: Array  # (n,) L_i
    outputs: Array  # (n, m)
    inputs: Array  # (n, inputs) dL_i/dX
    hidden: list[Array]  # a Dense layer each: (n, units) f(z)
    slopes: list[Array]  # a Dense layer each: (n, units) f'(z)
    examples: dict[str, Array]  # by name of the array: (n, *shape), every example's own gradient
    share: Array  # (n,) w_i / sum(w)

    @property
    def loss(self) -> float:
        """sum(w_i L_i) / sum(w_i)."""
        return float(self.share @ self.losses)

    @property
    def gradients(self) -> dict[str, Array]:
        """Of the batch loss, by name of the array."""
        return {name: weighted_sum(self.share, own) for name, own in self.examples.items()}

    @property
    def nodes(self) -> list[Array]:
        """dL_i/dz of each Dense layer (n, units); dz/db = 1, so that it is dL_i/db."""
        return _of_dense(self.examples, "bias")

    @property
    def weights(self) -> list[Array]:
        return _of_dense(self.gradients, "weight")

    @property
    def biases(self) -> list[Array]:
        return _of_dense(self.gradients, "bias")

    @property
    def matrix(self) -> Array:
        """Each example's whole gradient as a row, (n, parameters)."""
        n = len(self.losses)
        return np.concatenate([own.reshape(n, -1) for own in self.examples.values()], axis=1)

    @property
    def gradient_norms(self) -> Array:
        norms: Array = np.linalg.norm(self.matrix, axis=1)
        return norms


def backpropagate(
    stages: Stages,
    X: ArrayLike,
    y: NDArray[Any],
    loss: str,
    loss_options: Mapping[str, float] | None = None,
    sample_weight: ArrayLike | None = None,
) -> Walk:
    """Loss and every gradient of one batch."""
    x = np.asarray(X, dtype=np.float64)
    outputs = forward(stages, x)
    losses, dy = reference.LOSSES[loss](outputs, y, **(loss_options or {}))
    dx, gradients = backward(stages, x, dy)
    hidden, slopes = fired(stages, x)
    return Walk(
        losses=losses,
        outputs=outputs,
        inputs=dx,
        hidden=hidden,
        slopes=slopes,
        examples=dict(zip(arrays(stages), gradients, strict=True)),
        share=reference.batch_shares(len(losses), sample_weight),
    )


def influence(train: Walk, test: Walk) -> Array:
    """Dot products of examples' gradients, (n_test, n_train)."""
    return test.matrix @ train.matrix.T


def clipped_gradients(walk: Walk, max_norm: float, divisor: float) -> dict[str, Array]:
    """Examples' gradients cut to a length, summed, divided (Abadi et al. 2016, algorithm 1)."""
    factors = np.minimum(1.0, max_norm / walk.gradient_norms)
    return {name: weighted_sum(factors, own) / divisor for name, own in walk.examples.items()}


def weighted_sum(factors: Array, examples: Array) -> Array:
    """sum_i factors_i examples_i, of (n,) and (n, ...)."""
    total: Array = np.tensordot(factors, examples, axes=1)
    return total


def _of_dense(by_name: Mapping[str, Array], array: str) -> list[Array]:
    return [
        value
        for name, value in by_name.items()
        if name.startswith("dense_") and name.endswith(f".{array}")
    ]


# --- Arrays by name ------------------------------------------------------------------------------


def each(stages: Stages) -> Iterator[Stage]:
    """Yield the stages in the order of the walk, in place of a Residual those inside it."""
    for stage in stages:
        if isinstance(stage, Residual):
            yield from each(stage.stages)
        else:
            yield stage


def arrays(stages: Stages) -> dict[str, Array]:
    """What is learned: "dense_0.weight", counted by kind in the order of the walk."""
    found, counts = {}, Counter[str]()
    for stage in each(stages):
        for array in stage.learned:
            found[f"{stage.kind}_{counts[stage.kind]}.{array}"] = getattr(stage, array)
        counts[stage.kind] += 1
    return found


def with_arrays(stages: Stages, values: Mapping[str, Array]) -> list[Stage]:
    """Return the same network with other numbers, one for each name of `arrays`."""
    ordered = iter([values[name] for name in arrays(stages)])

    def renew(stages: Stages) -> list[Stage]:
        renewed: list[Stage] = []
        for stage in stages:
            if isinstance(stage, Residual):
                renewed.append(Residual(renew(stage.stages)))
            else:
                changes: dict[str, Any] = {name: next(ordered) for name in stage.learned}
                renewed.append(replace(stage, **changes))
        return renewed

    return renew(stages)


def rate_factors(stages: Stages) -> dict[str, float]:
    """The factor of the learning rate of each array."""
    factors = [stage.factors or (1.0,) * len(stage.learned) for stage in each(stages)]
    return dict(zip(arrays(stages), itertools.chain(*factors), strict=True))


def flatten(values: Mapping[str, Array]) -> Array:
    """Return all arrays as one vector, in their order, without gaps."""
    return np.concatenate([np.ravel(value) for value in values.values()])


def unflatten(vector: Array, like: Mapping[str, Array]) -> dict[str, Array]:
    """The inverse of flatten, with the names and shapes of `like`."""
    ends = np.cumsum([value.size for value in like.values()])
    parts = np.split(vector, ends[:-1])
    return {
        name: part.reshape(value.shape)
        for (name, value), part in zip(like.items(), parts, strict=True)
    }


# --- Training ------------------------------------------------------------------------------------


class Batch(NamedTuple):
    X: Array  # (n, inputs)
    y: NDArray[Any]
    sample_weight: Array | None = None  # (n,)


def training_steps(
    stages: Stages,
    batches: Sequence[Batch],
    optimizer: reference.Optimizer,
    loss: str,
    loss_options: Mapping[str, float] | None = None,
    clip_norm: float | None = None,
    max_norm: float | None = None,
) -> tuple[list[float], list[Stage]]:
    """Take a step a batch; return the loss before each, and the network after the last.

    clip_norm bounds the whole gradient; max_norm each example's, as private training without noise
    does, whose divisor is the number of examples here. Every step of an optimizer is proportional
    to its learning rate, decay beside the gradient included, so an array's factor of the rate
    multiplies its step. Weight decay acts on the weights of Dense layers alone.
    """
    values = arrays(stages)
    factor = flatten({k: np.full_like(values[k], f) for k, f in rate_factors(stages).items()})
    decays = flatten({k: np.full_like(v, k.endswith(".weight")) for k, v in values.items()})
    vector, losses = flatten(values), []
    for X, y, sample_weight in batches:
        network = with_arrays(stages, unflatten(vector, values))
        walk = backpropagate(network, X, y, loss, loss_options, sample_weight)
        losses.append(walk.loss)
        if not walk.share.any():
            continue
        gradient = flatten(walk.gradients)
        if max_norm is not None:
            gradient = flatten(clipped_gradients(walk, max_norm, len(walk.losses)))
        if clip_norm is not None:
            gradient, _ = reference.clip_by_global_norm(gradient, clip_norm)
        vector = vector + factor * (optimizer.step(vector, gradient, decays) - vector)
    return losses, with_arrays(stages, unflatten(vector, values))
