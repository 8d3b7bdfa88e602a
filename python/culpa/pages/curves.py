"""Activations and their slopes in plain float64 NumPy, for showing one example's numbers.

Training never comes here: the core has its own (``csrc/kernels/activation.inc``).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from culpa.parts.activations import Activation

__all__ = ["value_and_slope"]

Array = NDArray[np.float64]
SELU_ALPHA = 1.6732632423543772848170429916717  # Klambauer et al. 2017, equation 14
SELU_SCALE = 1.0507009873554804934193349852946


def value_and_slope(activation: Activation, z: NDArray[Any]) -> tuple[Array, Array]:
    """Return f(z) and f'(z), elementwise; at a kink the slope of the branch z <= 0.

    Examples
    --------
    >>> import numpy as np
    >>> import culpa
    >>> h, slope = value_and_slope(culpa.Activation("leaky_relu", 0.1), np.array([-2.0, 3.0]))
    >>> h.tolist(), slope.tolist()
    ([-0.2, 3.0], [0.1, 1.0])
    """
    z = np.asarray(z, np.float64)
    alpha = activation.alpha or 0.0
    match activation.name:
        case "identity":
            return z, np.ones_like(z)
        case "relu":
            return np.maximum(z, 0.0), np.where(z > 0, 1.0, 0.0)
        case "leaky_relu":
            slope = np.where(z > 0, 1.0, alpha)
            return z * slope, slope
        case "elu":
            return _elu(z, alpha)
        case "selu":
            h, slope = _elu(z, SELU_ALPHA)
            return SELU_SCALE * h, SELU_SCALE * slope
        case "gelu":  # z Phi(z); erfc keeps the left tail
            tail = [math.erfc(-v / math.sqrt(2.0)) for v in z.ravel()]
            phi = 0.5 * np.array(tail, np.float64).reshape(z.shape)
            return z * phi, phi + z * np.exp(-0.5 * z**2) / math.sqrt(2.0 * math.pi)
        case "gelu_tanh":  # (1 + tanh u) / 2 = sigmoid(2u)
            c = math.sqrt(2.0 / math.pi)
            near = np.clip(z, -30.0, 30.0)  # beyond, the slope is 0 or 1
            s = _sigmoid(2.0 * c * (near + 0.044715 * near**3))
            return z * s, s + near * s * (1.0 - s) * 2.0 * c * (1.0 + 0.134145 * near**2)
        case "silu":
            s = _sigmoid(z)
            return z * s, s + z * s * _sigmoid(-z)
        case "mish":
            t = np.tanh(_softplus(z))
            return z * t, t + z * _one_minus_square_of_tanh(_softplus(z)) * _sigmoid(z)
        case "tanh":
            return np.tanh(z), _one_minus_square_of_tanh(z)
        case "sigmoid":
            return _sigmoid(z), _sigmoid(z) * _sigmoid(-z)
        case "softplus":
            return _softplus(z), _sigmoid(z)
    raise AssertionError(activation.name)


def _elu(z: Array, alpha: float) -> tuple[Array, Array]:
    below = np.minimum(z, 0.0)
    return np.where(z > 0, z, alpha * np.expm1(below)), np.where(z > 0, 1.0, alpha * np.exp(below))


def _sigmoid(z: Array) -> Array:
    e = np.exp(-np.abs(z))  # cannot overflow
    return np.where(z > 0, 1.0 / (1.0 + e), e / (1.0 + e))


def _softplus(z: Array) -> Array:
    return np.asarray(np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z))))


def _one_minus_square_of_tanh(z: Array) -> Array:
    return np.asarray(4.0 * _sigmoid(2.0 * z) * _sigmoid(-2.0 * z))  # no cancellation far out
