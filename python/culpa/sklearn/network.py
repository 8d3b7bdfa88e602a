"""Between scikit-learn's lists of arrays and the core: an estimator's network, and its loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from culpa import _core, data
from culpa.data.sparse import SparseRows, is_sparse
from culpa.network.network import Network
from culpa.parts.activations import Activation
from culpa.parts.architecture import Architecture
from culpa.parts.layer import Layer
from culpa.parts.layers import Dense, Dropout
from culpa.parts.losses import Loss
from culpa.sklearn.pace import Pace

__all__ = ["EstimatorNetwork", "Objective", "architecture_of", "as_rows"]

Array = NDArray[Any]
Rows = Array | SparseRows


def as_rows(X: Any) -> Rows:
    """Return X as the core reads it, sparse ones never made dense."""
    if isinstance(X, SparseRows):
        return X
    if is_sparse(X):
        return data.as_rows("X", X)
    return _narrow(np.asarray(X))


def _narrow(array: Array) -> Array:
    """Return numbers as the core reads them: of at most 64 bits, in this machine's byte order."""
    if array.dtype.itemsize > 8:
        return array.astype(np.float64)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


@dataclass(frozen=True)
class Objective:
    """What is minimised: a loss of the core, and how scikit-learn's relates to it.

    The core's losses are means over the outputs of an example. scikit-learn's log-loss and Poisson
    loss are sums over them; its squared error is half of the mean, and yet its gradient is that of
    half of the sum.
    """

    loss: Loss
    loss_scale: float = 1.0
    gradient_scale: float = 1.0
    clips: bool = False  # scikit-learn's value, not its gradient, clips probabilities
    deviance: bool = False  # scikit-learn's value is half a deviance: 0 for a perfect guess

    def targets(self, y: Array) -> dict[str, Array]:
        """Return y (n, outputs) as arguments of the core's Examples."""
        if self.loss.task == "classes":  # one True in a row
            return {"labels": y.argmax(axis=1).astype(np.int32)}
        return {"targets": _narrow(y)}

    def constant(self, y: Array) -> Array | None:
        """Return what scikit-learn adds to each example's loss where that is half a deviance."""
        return -y.shape[1] * self.loss.least_loss(y) if self.deviance else None


def architecture_of(
    widths: Sequence[int],
    activations: Sequence[Activation],
    dropout: Sequence[float],
    loss: Loss,
    dtype: str,
    seed: int,
) -> Architecture:
    """Return the architecture of an estimator's network.

    Parameters
    ----------
    widths : sequence of int
        Inputs, hidden layers, outputs.
    activations, dropout : sequence
        Of each hidden layer.
    loss : Loss
        The core's.
    dtype : str
        "float32" or "float64".
    seed : int
        Of dropout.
    """
    layers: list[Layer] = []
    for units, activation, rate in zip(widths[1:], activations, dropout, strict=False):
        layers.append(Dense(units, activation, initializer="zeros"))
        if rate:
            layers.append(Dropout(rate))
    layers.append(Dense(widths[-1], initializer="zeros"))
    return Architecture(tuple(layers), loss, seed=seed, dtype=dtype, input_size=widths[0])


class EstimatorNetwork(Network):
    """The core's copy of an estimator's weights, with its optimizer.

    The arrays in ``coefs_`` and ``intercepts_`` are the truth wherever a user can reach them:
    :meth:`load` notes what was written into them, :meth:`store` writes back what training did.
    """

    def __init__(self, architecture: Architecture, *, loss_limit: float = 0.0) -> None:
        super().__init__(architecture, loss_limit=loss_limit)
        names = architecture.dense_names
        self._weights = [self.array(f"{name}.weight") for name in names]
        self._biases = [self.array(f"{name}.bias") for name in names]
        self._pace: Pace | None = None
        self._settings: tuple[float, float] | None = None

    def training(self) -> _core.Claimed:
        """Let nothing load weights, in a `with` statement that begins with :meth:`take_over`.

        A guess that is asked for meanwhile, by another thread or a signal handler, would put back
        those from before.
        """
        return _core.claim([self.claim], "fit", trains=True)

    def take_over(self, coefs: Sequence[Array], intercepts: Sequence[Array]) -> None:
        """Note these weights, where they are not those that the core has."""
        if self.core.holds(coefs, intercepts):
            return
        own = [*self._weights, *self._biases]
        given = [*coefs, *intercepts]
        # Of another layout or dtype, but the same numbers.
        if all(np.array_equal(a, b) for a, b in zip(own, given, strict=True)):
            return
        flat = np.zeros_like(self.core.parameters())
        for places, values in zip(self.split_layers(flat), (coefs, intercepts), strict=True):
            for place, value in zip(places, values, strict=True):
                place[...] = value
        self.core.set_parameters(flat)

    def load(self, coefs: Sequence[Array], intercepts: Sequence[Array]) -> bool:
        """Take over these weights, for a guess.

        False where the network is in training, or in a call that a signal handler interrupted, with
        other weights: these need a network of their own.
        """
        if self.core.holds(coefs, intercepts):
            return True
        try:
            with _core.claim([self.claim], "load", trains=False):
                self.take_over(coefs, intercepts)
        except RuntimeError:
            return False
        return True

    def store(self, coefs: list[Array], intercepts: list[Array]) -> None:
        """Write the core's weights into these arrays, or in place of those that cannot hold them.

        (What joblib maps from a file is read-only.)
        """
        for arrays, values in ((coefs, self._weights), (intercepts, self._biases)):
            for i, value in enumerate(values):
                old = arrays[i]
                if (
                    isinstance(old, np.ndarray)
                    and old.flags.writeable
                    and (old.shape, old.dtype) == (value.shape, value.dtype)
                ):
                    np.copyto(old, value)
                else:
                    arrays[i] = value.copy()

    def use_pace(self, pace: Pace, alpha: float, gradient_scale: float) -> None:
        """Train at this pace from now on; the optimizer's moments come with it, or stay."""
        settings = alpha, gradient_scale
        if (self._pace, self._settings) == (pace, settings):
            return
        moments = self.remember(pace).moments
        self.core.set_optimizer(pace.for_core(alpha, gradient_scale))
        self.core.steps = pace.steps
        if moments is not None:
            first, second = (np.asarray(moment, self.architecture.dtype) for moment in moments[:2])
            if [len(first), len(second)] == [len(moment) for moment in self.core.moments()[:2]]:
                self.core.set_moments(first, second, moments[2])
        self._pace, self._settings, pace.moments = pace, settings, None

    def remember(self, pace: Pace) -> Pace:
        """Return the pace with the optimizer's moments, for where this network does not go."""
        if self._pace is not pace:
            return pace
        return pace.with_moments(self.core.moments())

    def outputs(self, X: Any) -> Array:
        """Return the last layer's outputs (n, outputs), before any function on them."""
        rows = as_rows(X)
        outputs, row = self.core.predict(data.for_core(rows))
        self.check_finite(rows, row)
        return outputs

    def check_finite(self, rows: Rows, row: int) -> None:
        """Raise where the core found a row with a value that its dtype cannot hold."""
        if row >= 0:
            raise data.not_finite("X", rows, row, self.architecture.dtype)

    def weighted_examples(
        self,
        rows: Rows,
        targets: dict[str, Array],
        sample_weight: Array | None,
        order: NDArray[np.int64] | None = None,
        exact: NDArray[np.float64] | None = None,
    ) -> _core.ExampleArrays:
        """Return examples as the core takes them; rows: of :func:`as_rows`."""
        weights = None if sample_weight is None else np.ascontiguousarray(sample_weight, np.float64)
        return _core.ExampleArrays(
            data.for_core(rows), sample_weights=weights, order=order, exact=exact, **targets
        )

    def gradient(
        self, X: Any, targets: dict[str, Array], sample_weight: Array | None
    ) -> dict[str, Any]:
        """Return sums of losses and weights over examples, and the flat gradient of their mean."""
        rows = as_rows(X)
        examples = self.weighted_examples(rows, targets, sample_weight)
        answer = self.core.blame(examples, want={"gradient"})
        self.check_finite(rows, answer["row"])
        return answer
