"""The oracle: dense networks, their losses, gradients and optimizers in plain float64 NumPy.

Everything here is written as the textbook has it, one formula at a time, so that it can be checked
by reading. It shares no code with culpa, and culpa is tested against it.

Shapes: n examples, m outputs; layer l maps width_l inputs to width_{l+1} outputs by
z = h @ W + b, h' = f(z), with W (width_l, width_{l+1}) and b (width_{l+1},).

Conventions: L_i is one example's loss, the mean over its outputs where it has several. The batch
loss is sum(w_i L_i) / sum(w_i). A batch whose weights are all zero has loss 0 and makes no update.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Parameters = Sequence[tuple[Array, Array]]  # a layer each: W (inputs, outputs), b (outputs,)
Masks = Sequence[Array | None]  # a matrix h_l each, l = 0 (the inputs) .. layers - 1

# --- Activations ---------------------------------------------------------------------------------
#
# Each is a pair f(z, alpha), f'(z, alpha), elementwise; only leaky_relu and elu look at alpha.
# At a kink, z = 0, the branch z <= 0 is used:
#   relu'(0) = 0, leaky_relu'(0) = alpha, elu'(0) = alpha, selu'(0) = scale * alpha.

SELU_ALPHA = 1.6732632423543772848170429916717  # Klambauer et al. 2017, equation 14
SELU_SCALE = 1.0507009873554804934193349852946
DEFAULT_ALPHA = {"leaky_relu": 0.01, "elu": 1.0}

_erfc: Callable[[Array], Array] = np.vectorize(math.erfc, otypes=[np.float64])


def identity(z: Array, alpha: float) -> Array:
    return z.copy()


def identity_derivative(z: Array, alpha: float) -> Array:
    return np.ones_like(z)


def relu(z: Array, alpha: float) -> Array:
    return np.where(z > 0, z, 0.0)


def relu_derivative(z: Array, alpha: float) -> Array:
    return np.where(z > 0, 1.0, 0.0)


def leaky_relu(z: Array, alpha: float) -> Array:
    """Maas, Hannun & Ng 2013: alpha is the slope of the negative side."""
    return np.where(z > 0, z, alpha * z)


def leaky_relu_derivative(z: Array, alpha: float) -> Array:
    return np.where(z > 0, 1.0, alpha)


def elu(z: Array, alpha: float) -> Array:
    """Clevert, Unterthiner & Hochreiter 2016, equation 15: alpha (e^z - 1) where z <= 0."""
    return np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0.0)))


def elu_derivative(z: Array, alpha: float) -> Array:
    return np.where(z > 0, 1.0, alpha * np.exp(np.minimum(z, 0.0)))


def selu(z: Array, alpha: float) -> Array:
    """Klambauer et al. 2017, equation 2: a scaled ELU with fixed constants."""
    return SELU_SCALE * elu(z, SELU_ALPHA)


def selu_derivative(z: Array, alpha: float) -> Array:
    return SELU_SCALE * elu_derivative(z, SELU_ALPHA)


def gelu(z: Array, alpha: float) -> Array:
    """Hendrycks & Gimpel 2016: z Phi(z), Phi the standard normal distribution function.

    Phi(z) = (1 + erf(z / sqrt 2)) / 2 = erfc(-z / sqrt 2) / 2; the second form keeps the left tail.
    """
    return z * 0.5 * _erfc(-z / math.sqrt(2.0))


def gelu_derivative(z: Array, alpha: float) -> Array:
    """Phi(z) + z phi(z), phi the standard normal density."""
    density = np.exp(-0.5 * z**2) / math.sqrt(2.0 * math.pi)
    return 0.5 * _erfc(-z / math.sqrt(2.0)) + z * density


def gelu_tanh(z: Array, alpha: float) -> Array:
    """Hendrycks & Gimpel 2016, section 2: z (1 + tanh u) / 2, and (1 + tanh u) / 2 = sigmoid(2u).

    u = sqrt(2 / pi) (z + 0.044715 z^3)
    """
    u = math.sqrt(2.0 / math.pi) * (z + 0.044715 * z**3)
    return z * sigmoid(2.0 * u, 0.0)


def gelu_tanh_derivative(z: Array, alpha: float) -> Array:
    u = math.sqrt(2.0 / math.pi) * (z + 0.044715 * z**3)
    du = math.sqrt(2.0 / math.pi) * (1.0 + 3.0 * 0.044715 * z**2)
    return sigmoid(2.0 * u, 0.0) + z * sigmoid_derivative(2.0 * u, 0.0) * 2.0 * du


def silu(z: Array, alpha: float) -> Array:
    """Elfwing, Uchibe & Doya 2018: z sigmoid(z)."""
    return z * sigmoid(z, 0.0)


def silu_derivative(z: Array, alpha: float) -> Array:
    return sigmoid(z, 0.0) + z * sigmoid_derivative(z, 0.0)


def mish(z: Array, alpha: float) -> Array:
    """Misra 2019: z tanh(softplus(z))."""
    return z * np.tanh(softplus(z, 0.0))


def mish_derivative(z: Array, alpha: float) -> Array:
    s = softplus(z, 0.0)
    return np.tanh(s) + z * tanh_derivative(s, 0.0) * softplus_derivative(z, 0.0)


def tanh(z: Array, alpha: float) -> Array:
    return np.tanh(z)


def tanh_derivative(z: Array, alpha: float) -> Array:
    """1 - tanh(z)^2 = 4 sigmoid'(2z), because tanh(z) = 2 sigmoid(2z) - 1; no cancellation."""
    return 4.0 * sigmoid_derivative(2.0 * z, 0.0)


def sigmoid(z: Array, alpha: float) -> Array:
    """1 / (1 + e^-z) = e^z / (1 + e^z): the form whose exponential cannot overflow."""
    e = np.exp(-np.abs(z))
    return np.where(z > 0, 1.0 / (1.0 + e), e / (1.0 + e))


def sigmoid_derivative(z: Array, alpha: float) -> Array:
    """sigmoid(z) (1 - sigmoid(z)), and 1 - sigmoid(z) = sigmoid(-z)."""
    return sigmoid(z, 0.0) * sigmoid(-z, 0.0)


def softplus(z: Array, alpha: float) -> Array:
    """log(1 + e^z) = max(z, 0) + log(1 + e^-|z|)."""
    return np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z)))


def softplus_derivative(z: Array, alpha: float) -> Array:
    return sigmoid(z, 0.0)


Activation = Callable[[Array, float], Array]

ACTIVATIONS: dict[str, tuple[Activation, Activation]] = {
    "identity": (identity, identity_derivative),
    "relu": (relu, relu_derivative),
    "leaky_relu": (leaky_relu, leaky_relu_derivative),
    "elu": (elu, elu_derivative),
    "selu": (selu, selu_derivative),
    "gelu": (gelu, gelu_derivative),
    "gelu_tanh": (gelu_tanh, gelu_tanh_derivative),
    "silu": (silu, silu_derivative),
    "mish": (mish, mish_derivative),
    "tanh": (tanh, tanh_derivative),
    "sigmoid": (sigmoid, sigmoid_derivative),
    "softplus": (softplus, softplus_derivative),
}

# --- Losses --------------------------------------------------------------------------------------
#
# Each takes outputs z (n, m) and targets y, and returns L_i (n,) and dL_i/dz (n, m).
# At a kink, sign(0) = 0.


def cross_entropy(
    outputs: Array, y: NDArray[Any], label_smoothing: float = 0.0
) -> tuple[Array, Array]:
    """sum_k t_k (logsumexp(z) - z_k), from logits z; the derivative is sum(t) softmax(z) - t.

    y is a class index each (n,) or a row of probabilities each (n, m).
    Smoothing (Szegedy et al. 2016, section 7): t' = (1 - s) t + s / m.
    """
    n, m = outputs.shape
    if y.ndim == 1:
        t = np.zeros((n, m))
        t[np.arange(n), y.astype(np.int64)] = 1.0
    else:
        t = _targets(outputs, y)
    t = (1.0 - label_smoothing) * t + label_smoothing / m
    shifted = outputs - outputs.max(axis=1, keepdims=True)  # softmax does not see a common shift
    log_softmax = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    # A class of probability 0 in t adds nothing, even where log_softmax is -infinity.
    losses = -(t * np.where(t == 0.0, 0.0, log_softmax)).sum(axis=1)
    return losses, t.sum(axis=1, keepdims=True) * np.exp(log_softmax) - t


def binary_cross_entropy(outputs: Array, y: NDArray[Any]) -> tuple[Array, Array]:
    """Mean over outputs of -y log s(z) - (1 - y) log(1 - s(z)), from logits; derivative s(z) - y.

    -log s(z) = softplus(-z), -log(1 - s(z)) = softplus(z).
    """
    t = _targets(outputs, y)
    losses = t * softplus(-outputs, 0.0) + (1.0 - t) * softplus(outputs, 0.0)
    return losses.mean(axis=1), (sigmoid(outputs, 0.0) - t) / outputs.shape[1]


def mse(outputs: Array, y: NDArray[Any]) -> tuple[Array, Array]:
    """Mean over outputs of (z - y)^2."""
    residual = outputs - _targets(outputs, y)
    return (residual**2).mean(axis=1), 2.0 * residual / outputs.shape[1]


def mae(outputs: Array, y: NDArray[Any]) -> tuple[Array, Array]:
    """Mean over outputs of |z - y|."""
    residual = outputs - _targets(outputs, y)
    return np.abs(residual).mean(axis=1), np.sign(residual) / outputs.shape[1]


def huber(outputs: Array, y: NDArray[Any], delta: float = 1.0) -> tuple[Array, Array]:
    """Huber 1964: r^2 / 2 where |r| <= delta, else delta (|r| - delta / 2); mean over outputs."""
    residual = outputs - _targets(outputs, y)
    size = np.abs(residual)
    losses = np.where(size <= delta, 0.5 * residual**2, delta * (size - 0.5 * delta))
    return losses.mean(axis=1), np.clip(residual, -delta, delta) / outputs.shape[1]


def poisson(outputs: Array, y: NDArray[Any]) -> tuple[Array, Array]:
    """Mean over outputs of e^z - y z: the negative log likelihood at rate e^z, less log(y!)."""
    t = _targets(outputs, y)
    rate = np.exp(outputs)
    # e^z outgrows t z: where both are infinite, the loss is.
    losses = rate - np.where(np.isinf(rate), 0.0, t * outputs)
    return losses.mean(axis=1), (rate - t) / outputs.shape[1]


def gamma(outputs: Array, y: NDArray[Any]) -> tuple[Array, Array]:
    """Mean over outputs of z + y / e^z: the negative log likelihood at mean e^z and shape 1."""
    ratio = _targets(outputs, y) * np.exp(-outputs)
    # e^-z outgrows z: where both are infinite, the loss is.
    losses = ratio + np.where(np.isinf(ratio), 0.0, outputs)
    return losses.mean(axis=1), (1.0 - ratio) / outputs.shape[1]


def tweedie(outputs: Array, y: NDArray[Any], power: float = 1.5) -> tuple[Array, Array]:
    """Jorgensen 1987, kappa(theta) - y theta with theta = m^(1 - p) / (1 - p), where m = e^z.

    kappa = m^(2 - p) / (2 - p); at p = 1 and 2 theta and kappa are Poisson's and the gamma's.
    """
    if power in (1.0, 2.0):
        return (poisson if power == 1.0 else gamma)(outputs, y)
    t = _targets(outputs, y)
    push = np.exp((2.0 - power) * outputs)
    pull = t * np.exp((1.0 - power) * np.where(t > 0.0, outputs, 0.0))
    push = np.where(np.isinf(pull), 0.0, push)  # where both are infinite, pull is more
    losses = push / (2.0 - power) - pull / (1.0 - power)
    return losses.mean(axis=1), (push - pull) / outputs.shape[1]


def quantile(outputs: Array, y: NDArray[Any], q: float = 0.5) -> tuple[Array, Array]:
    """Koenker & Bassett 1978, the pinball loss: mean of max(q (y - z), (q - 1)(y - z))."""
    miss = _targets(outputs, y) - outputs
    losses = np.maximum(q * miss, (q - 1.0) * miss)
    slope = np.where(miss > 0, -q, np.where(miss < 0, 1.0 - q, 0.0))
    return losses.mean(axis=1), slope / outputs.shape[1]


def _targets(outputs: Array, y: NDArray[Any]) -> Array:
    """y as float64 of the outputs' shape; (n,) means (n, 1)."""
    t = np.asarray(y, dtype=np.float64)
    t = t.reshape(-1, 1) if t.ndim == 1 else t
    if t.shape != outputs.shape:
        raise ValueError(f"y has shape {np.shape(y)}, the outputs have {outputs.shape}")
    return t


Loss = Callable[..., tuple[Array, Array]]

LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "mse": mse,
    "mae": mae,
    "huber": huber,
    "poisson": poisson,
    "gamma": gamma,
    "tweedie": tweedie,
    "quantile": quantile,
}

# --- The walk forward and back -------------------------------------------------------------------


@dataclass
class Walk:
    """One batch carried forward and back."""

    loss: float  # sum(w_i L_i) / sum(w_i)
    losses: Array  # (n,) L_i
    outputs: Array  # (n, m)
    nodes: list[Array]  # a layer each: (n, width) dL_i/dz, unweighted
    inputs: Array  # (n, inputs) dL_i/dX, unweighted
    weights: list[Array]  # a layer each: (inputs, outputs), gradient of the batch loss
    biases: list[Array]  # a layer each: (outputs,), gradient of the batch loss
    gradient_norms: Array  # (n,) norm of example i's own gradient over all weights and biases
    hidden: list[Array]  # a layer each: (n, width) f(z), before a mask drops some
    slopes: list[Array]  # a layer each: (n, width) f'(z)


def forward(
    parameters: Parameters,
    X: ArrayLike,
    activations: Sequence[str],
    alphas: Sequence[float | None] | None = None,
    masks: Masks | None = None,
) -> tuple[list[Array], list[Array]]:
    """Return the pre-activations z_l of every layer, and [h_0 = X, h_1, ..., outputs].

    activations, and alphas where given, hold one entry per layer; an alpha of None is the default.
    masks hold 0 or 1 / (1 - p) and multiply h_0 .. h_{layers-1} as the next layer reads them
    (inverted dropout, Srivastava et al. 2014, section 10). The h returned are the masked ones.
    """
    h = np.asarray(X, dtype=np.float64)  # (n, inputs)
    pre_activations, hiddens = [], []
    for layer, (W, b) in enumerate(parameters):
        mask = None if masks is None else masks[layer]
        if mask is not None:
            h = h * mask
        hiddens.append(h)
        z = h @ W + b  # (n, width)
        value, _ = ACTIVATIONS[activations[layer]]
        h = value(z, _alpha(layer, activations, alphas))
        pre_activations.append(z)
    return pre_activations, [*hiddens, h]


def backpropagate(
    parameters: Parameters,
    X: ArrayLike,
    y: NDArray[Any],
    activations: Sequence[str],
    loss: str,
    loss_options: Mapping[str, float] | None = None,
    alphas: Sequence[float | None] | None = None,
    sample_weight: ArrayLike | None = None,
    masks: Masks | None = None,
) -> Walk:
    """Loss and every gradient of one batch (Rumelhart, Hinton & Williams 1986).

    delta_l = dL_i/dz_l = (dL_i/dh_{l+1}) f'(z_l), dL_i/dh_l = delta_l @ W_l.T,
    dL/dW_l = sum_i share_i h_l,i outer delta_l,i, share_i = w_i / sum(w).
    """
    pre_activations, hiddens = forward(parameters, X, activations, alphas, masks)
    outputs = hiddens[-1]  # (n, m)
    losses, dh = LOSSES[loss](outputs, y, **(loss_options or {}))  # (n,), (n, m)
    share = batch_shares(len(losses), sample_weight)  # (n,)

    nodes: list[Array] = []
    weights: list[Array] = []
    biases: list[Array] = []
    hidden: list[Array] = []
    slopes: list[Array] = []
    for layer in reversed(range(len(parameters))):
        value, derivative = ACTIVATIONS[activations[layer]]
        alpha = _alpha(layer, activations, alphas)
        hidden.insert(0, value(pre_activations[layer], alpha))
        slopes.insert(0, derivative(pre_activations[layer], alpha))
        delta = dh * slopes[0]  # (n, width)
        W, _ = parameters[layer]
        nodes.insert(0, delta)
        weights.insert(0, hiddens[layer].T @ (share[:, None] * delta))
        biases.insert(0, share @ delta)
        dh = delta @ W.T  # (n, inputs of this layer)
        mask = None if masks is None else masks[layer]
        if mask is not None:
            dh = dh * mask

    return Walk(
        loss=float(share @ losses),
        losses=losses,
        outputs=outputs,
        nodes=nodes,
        inputs=dh,
        weights=weights,
        biases=biases,
        gradient_norms=_gradient_norms(hiddens, nodes),
        hidden=hidden,
        slopes=slopes,
    )


def finite_differences(
    parameters: Parameters,
    X: ArrayLike,
    y: NDArray[Any],
    activations: Sequence[str],
    loss: str,
    loss_options: Mapping[str, float] | None = None,
    alphas: Sequence[float | None] | None = None,
    sample_weight: ArrayLike | None = None,
    masks: Masks | None = None,
    step: float = 1e-6,
) -> tuple[list[Array], list[Array]]:
    """Gradient of the batch loss, weights and biases, as (L(p + step) - L(p - step)) / (2 step)."""

    def batch_loss(vector: Array) -> float:
        _, hiddens = forward(unflatten(vector, parameters), X, activations, alphas, masks)
        losses, _ = LOSSES[loss](hiddens[-1], y, **(loss_options or {}))
        return float(batch_shares(len(losses), sample_weight) @ losses)

    vector = flatten(parameters)
    gradient = np.zeros_like(vector)
    for k in range(len(vector)):
        above, below = vector.copy(), vector.copy()
        above[k] += step
        below[k] -= step
        gradient[k] = (batch_loss(above) - batch_loss(below)) / (2.0 * step)
    layers = unflatten(gradient, parameters)
    return [W for W, _ in layers], [b for _, b in layers]


def batch_shares(n: int, sample_weight: ArrayLike | None) -> Array:
    """w_i / sum(w), (n,); zeros where all weights are zero."""
    w = np.ones(n) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    if w.shape != (n,):
        raise ValueError(f"sample_weight has shape {w.shape}, expected {(n,)}")
    return w / w.sum() if w.any() else w


def _alpha(layer: int, activations: Sequence[str], alphas: Sequence[float | None] | None) -> float:
    given = None if alphas is None else alphas[layer]
    return DEFAULT_ALPHA.get(activations[layer], 0.0) if given is None else given


def _gradient_norms(hiddens: list[Array], nodes: list[Array]) -> Array:
    """Each example's gradient is built in full: (h outer delta, delta) of every layer."""
    norms = []
    for i in range(len(nodes[0])):
        gradient = []
        for h, delta in zip(hiddens[:-1], nodes, strict=True):
            gradient += [np.outer(h[i], delta[i]).ravel(), delta[i]]
        norms.append(np.linalg.norm(np.concatenate(gradient)))
    return np.array(norms, dtype=np.float64)


# --- Parameters as one vector --------------------------------------------------------------------


def flatten(parameters: Parameters) -> Array:
    """W_0 row by row, b_0, W_1, b_1, ... without gaps."""
    pieces = [np.ravel(array) for layer in parameters for array in layer]
    return np.concatenate(pieces).astype(np.float64)


def unflatten(vector: Array, like: Parameters) -> list[tuple[Array, Array]]:
    """The inverse of flatten, with the shapes of `like`."""
    parameters, start = [], 0
    for W, b in like:
        middle, end = start + W.size, start + W.size + b.size
        parameters.append((vector[start:middle].reshape(W.shape), vector[middle:end]))
        start = end
    return parameters


def weight_mask(parameters: Parameters) -> Array:
    """1 where flatten has a weight, 0 where it has a bias: what weight decay acts on."""
    return flatten([(np.ones_like(W), np.zeros_like(b)) for W, b in parameters])


# --- Optimizers ----------------------------------------------------------------------------------
#
# step(p, g, mask) returns the next p; all three are flat vectors. Weight decay acts where mask is
# 1. Coupled decay (SGD, Adam, RMSprop) is L2: weight_decay * p joins the gradient. The conventions
# are PyTorch's, except in the two classes named after scikit-learn. learning_rate may be changed
# between steps.


class Optimizer(Protocol):
    learning_rate: float

    def step(self, p: Array, g: Array, mask: Array) -> Array: ...


@dataclass
class SGD:
    """torch.optim.SGD: velocity = momentum * velocity + g; p -= learning_rate * velocity.

    Nesterov (Sutskever et al. 2013): p -= learning_rate * (g + momentum * velocity).
    """

    learning_rate: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    velocity: Array | float = field(default=0.0, init=False)

    def step(self, p: Array, g: Array, mask: Array) -> Array:
        g = g + self.weight_decay * mask * p
        self.velocity = self.momentum * self.velocity + g
        direction = g + self.momentum * self.velocity if self.nesterov else self.velocity
        return p - self.learning_rate * direction


@dataclass
class ScikitSGD:
    """sklearn's SGDOptimizer: velocity = momentum * velocity - learning_rate * g; p += velocity.

    Nesterov: p += momentum * velocity - learning_rate * g. While the learning rate is constant this
    is torch's rule; after a change the old velocity keeps the old rate.
    """

    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 0.0
    velocity: Array | float = field(default=0.0, init=False)

    def step(self, p: Array, g: Array, mask: Array) -> Array:
        g = g + self.weight_decay * mask * p
        self.velocity = self.momentum * self.velocity - self.learning_rate * g
        if self.nesterov:
            return p + (self.momentum * self.velocity - self.learning_rate * g)
        return p + self.velocity


@dataclass
class Adam:
    """Kingma & Ba 2015, algorithm 1: p -= learning_rate * m_hat / (sqrt(v_hat) + epsilon)."""

    learning_rate: float = 1e-3
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    m: Array | float = field(default=0.0, init=False)
    v: Array | float = field(default=0.0, init=False)
    t: int = field(default=0, init=False)

    def step(self, p: Array, g: Array, mask: Array) -> Array:
        return self._adam_step(p, g + self.weight_decay * mask * p)

    def _adam_step(self, p: Array, g: Array) -> Array:
        self.t += 1
        self.m = self.beta_1 * self.m + (1.0 - self.beta_1) * g
        self.v = self.beta_2 * self.v + (1.0 - self.beta_2) * g**2
        m_hat = self.m / (1.0 - self.beta_1**self.t)
        v_hat = self.v / (1.0 - self.beta_2**self.t)
        return p - self.learning_rate * m_hat / (np.sqrt(v_hat) + self.epsilon)


@dataclass
class AdamW(Adam):
    """Loshchilov & Hutter 2019, algorithm 2, as torch.optim.AdamW: decay beside the gradient.

    p -= learning_rate * weight_decay * p, then Adam's step.
    """

    weight_decay: float = 0.01

    def step(self, p: Array, g: Array, mask: Array) -> Array:
        return self._adam_step(p - self.learning_rate * self.weight_decay * mask * p, g)


@dataclass
class ScikitAdam(Adam):
    """sklearn's AdamOptimizer, the form at the end of Kingma & Ba 2015, section 2.

    rate_t = learning_rate * sqrt(1 - beta_2^t) / (1 - beta_1^t); p -= rate_t * m / (sqrt(v) + eps).
    Its epsilon is torch's epsilon times sqrt(1 - beta_2^t).
    """

    def _adam_step(self, p: Array, g: Array) -> Array:
        self.t += 1
        self.m = self.beta_1 * self.m + (1.0 - self.beta_1) * g
        self.v = self.beta_2 * self.v + (1.0 - self.beta_2) * g**2
        rate = self.learning_rate * math.sqrt(1.0 - self.beta_2**self.t)
        rate /= 1.0 - self.beta_1**self.t
        return p - rate * self.m / (np.sqrt(self.v) + self.epsilon)


@dataclass
class RMSprop:
    """Tieleman & Hinton 2012, as torch.optim.RMSprop: v = rho v + (1 - rho) g^2.

    velocity = momentum * velocity + g / (sqrt(v) + epsilon); p -= learning_rate * velocity.
    """

    learning_rate: float = 0.01
    rho: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0
    weight_decay: float = 0.0
    v: Array | float = field(default=0.0, init=False)
    velocity: Array | float = field(default=0.0, init=False)

    def step(self, p: Array, g: Array, mask: Array) -> Array:
        g = g + self.weight_decay * mask * p
        self.v = self.rho * self.v + (1.0 - self.rho) * g**2
        self.velocity = self.momentum * self.velocity + g / (np.sqrt(self.v) + self.epsilon)
        return p - self.learning_rate * self.velocity


@dataclass
class Lion:
    """Chen et al. 2023, algorithm 2: c = beta_1 m + (1 - beta_1) g; p -= rate (sign(c) + decay p).

    Then m = beta_2 m + (1 - beta_2) g. The decay is decoupled; sign(0) = 0.
    """

    learning_rate: float = 1e-4
    beta_1: float = 0.9
    beta_2: float = 0.99
    weight_decay: float = 0.0
    m: Array | float = field(default=0.0, init=False)

    def step(self, p: Array, g: Array, mask: Array) -> Array:
        update = np.sign(self.beta_1 * self.m + (1.0 - self.beta_1) * g)
        self.m = self.beta_2 * self.m + (1.0 - self.beta_2) * g
        return p - self.learning_rate * (update + self.weight_decay * mask * p)


def clip_by_global_norm(gradient: Array, max_norm: float) -> tuple[Array, float]:
    """Return the clipped gradient and the norm before, as torch.nn.utils.clip_grad_norm_.

    Pascanu, Mikolov & Bengio 2013, algorithm 1, with factor min(1, max_norm / (norm + 1e-6)).
    """
    norm = float(np.linalg.norm(gradient))
    return gradient * min(1.0, max_norm / (norm + 1e-6)), norm


# --- Training ------------------------------------------------------------------------------------


class Batch(NamedTuple):
    X: Array  # (n, inputs)
    y: NDArray[Any]
    sample_weight: Array | None = None  # (n,)
    masks: Masks | None = None


def training_steps(
    parameters: Parameters,
    batches: Sequence[Batch],
    steps: int,
    optimizer: Optimizer,
    activations: Sequence[str],
    loss: str,
    loss_options: Mapping[str, float] | None = None,
    alphas: Sequence[float | None] | None = None,
    clip_norm: float | None = None,
    learning_rates: Sequence[float] | None = None,
) -> tuple[list[float], list[tuple[Array, Array]]]:
    """Train for `steps` steps; return the loss before each, and the final parameters.

    Step t takes batches[t % len(batches)], and learning_rates[t] where given. The optimizer keeps
    its state, so a second call goes on where the first stopped. Clipping comes before weight decay.
    """
    vector, mask = flatten(parameters), weight_mask(parameters)
    losses = []
    for t in range(steps):
        X, y, sample_weight, masks = batches[t % len(batches)]
        walk = backpropagate(
            unflatten(vector, parameters),
            X,
            y,
            activations,
            loss,
            loss_options,
            alphas,
            sample_weight,
            masks,
        )
        losses.append(walk.loss)
        if not batch_shares(len(walk.losses), sample_weight).any():
            continue
        gradient = flatten(list(zip(walk.weights, walk.biases, strict=True)))
        if clip_norm is not None:
            gradient, _ = clip_by_global_norm(gradient, clip_norm)
        if learning_rates is not None:
            optimizer.learning_rate = learning_rates[t]
        vector = optimizer.step(vector, gradient, mask)
    return losses, unflatten(vector, parameters)


# --- Comparing -----------------------------------------------------------------------------------


def relative_error(a: ArrayLike, b: ArrayLike) -> float:
    """max|a - b| / max|b|; 0 where both are all zero (or empty), inf where only b is."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"shapes {a.shape} and {b.shape} differ")
    difference = float(np.abs(a - b).max(initial=0.0))
    size = float(np.abs(b).max(initial=0.0))
    if size == 0.0:
        return 0.0 if difference == 0.0 else math.inf
    return difference / size


# --- Random numbers ------------------------------------------------------------------------------


def philox(counter: NDArray[np.uint32], key: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Philox4x32-10: counter (..., 4) and key (2,) give four random words each (..., 4).

    Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3.
    """
    low = 0xFFFFFFFF
    c0, c1, c2, c3 = np.moveaxis(np.asarray(counter, dtype=np.uint32).astype(np.uint64), -1, 0)
    k0, k1 = int(key[0]), int(key[1])
    for _ in range(10):
        product_0, product_1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2  # 32 x 32 -> 64 bits, exact
        c0 = (product_1 >> 32) ^ c1 ^ k0
        c2 = (product_0 >> 32) ^ c3 ^ k1
        c1, c3 = product_1 & low, product_0 & low
        k0 = (k0 + 0x9E3779B9) & low  # the golden ratio
        k1 = (k1 + 0xBB67AE85) & low  # sqrt(3) - 1
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)
