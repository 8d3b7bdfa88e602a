"""What a loss is: a name, parameters, and answers about targets and outputs."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Loss", "as_columns", "check_range", "entropy_of", "mean_of", "quantile_of"]

Array = NDArray[Any]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Loss:
    """What all losses share. A loss is its name, its fields and what these methods answer."""

    name: ClassVar[str]
    # What the targets are: one class a row, zeros and ones, or numbers.
    task: ClassVar[str] = "regression"
    # What the outputs are of the means that are guessed: the means themselves, their logs, ...
    link: ClassVar[str] = "identity"
    # For pages: what a guess does, and what the loss is. {mean} is the end of a sentence: that the
    # loss is the mean over several outputs.
    says: ClassVar[str] = "says"
    in_words: ClassVar[str] = ""

    @property
    def parameters(self) -> dict[str, float]:
        """The loss's parameters by name.

        Examples
        --------
        >>> import culpa
        >>> culpa.Huber(0.5).parameters, culpa.MSE().parameters
        ({'delta': 0.5}, {})
        """
        return {field.name: float(getattr(self, field.name)) for field in fields(self)}

    def check(self, y: ArrayLike, *, name: str = "y", dtype: str = "float64") -> None:
        """Raise where targets are not of the values that the loss is made for.

        Parameters
        ----------
        y : array-like (n,) or (n, outputs)
            Finite numbers.
        name : str, default "y"
            What the error calls them.
        dtype : str, default "float64"
            In which they count: small ones may be 0 in float32.

        Raises
        ------
        ValueError
            Where a value is out of the loss's range.

        Examples
        --------
        >>> import culpa
        >>> culpa.Poisson().check([0, 3, 1])
        """

    def response(self, outputs: ArrayLike) -> Array:
        """Return what outputs (n, outputs) say, of their dtype.

        Numbers, means (exp where the outputs are their logs) or probabilities (softmax of
        cross_entropy, the logistic function of binary_cross_entropy).

        Examples
        --------
        >>> import culpa
        >>> culpa.Poisson().response([[0.0]]), culpa.CrossEntropy().response([[1.0, 1.0]])
        (array([[1.]]), array([[0.5, 0.5]]))
        """
        return np.asarray(outputs)

    def decide(self, outputs: ArrayLike) -> Array:
        """Return the guess that outputs (n, outputs) make: the response, or classes of int64.

        Examples
        --------
        >>> import culpa
        >>> culpa.CrossEntropy().decide([[1.0, 3.0]]), culpa.BinaryCrossEntropy().decide([[-2.0]])
        (array([1]), array([[0]]))
        """
        return self.response(outputs)

    def best_constant(
        self, y: ArrayLike, sample_weight: ArrayLike | None = None, *, outputs: int | None = None
    ) -> Floats:
        """Return the outputs that have the least mean loss if given to all examples.

        Parameters
        ----------
        y : array-like (n,) or (n, outputs)
            Targets that the loss accepts, for cross_entropy class indices too.
        sample_weight : array-like (n,), optional
            What each example counts.
        outputs : int, optional
            For class indices: how many classes there are; default the highest index + 1.

        Returns
        -------
        ndarray (outputs,) of float64
            Before any function on them, as the last layer would give them. Where a loss has no
            least value (a class that never comes) it is one as good as any in float32.

        Examples
        --------
        >>> import culpa
        >>> culpa.MSE().best_constant([1.0, 2.0, 6.0]), culpa.MAE().best_constant([1.0, 2.0, 6.0])
        (array([3.]), array([2.]))
        """
        return mean_of(as_columns(y), sample_weight)

    def least_loss(self, y: ArrayLike) -> Floats:
        """Return the loss (n,) of each example whose guess is perfect; y (n, outputs).

        Examples
        --------
        >>> import culpa
        >>> culpa.MSE().least_loss([[5.0]]), culpa.Poisson().least_loss([[1.0]])
        (array([0.]), array([1.]))
        """
        return np.zeros(len(as_columns(y)))

    def wanted(self, y: ArrayLike) -> Floats:
        """Return what the loss compares responses with, of targets (n, outputs): y itself."""
        return as_columns(y)

    def formula(self) -> str:
        """Return the loss of one guess {x} beside its target {t} as a line of arithmetic."""
        raise NotImplementedError

    def value(self, x: float, t: float) -> float:
        """Return what :meth:`formula` comes to."""
        raise NotImplementedError


def check_range(loss: Loss, y: Array, name: str) -> None:
    """Raise where a value is not in [0, 1]."""
    if y.size and (y.min() < 0 or y.max() > 1):
        raise ValueError(
            f"{name}: expected values in [0, 1] for {loss.name}, got {y.min()} to {y.max()}"
        )


def as_columns(y: ArrayLike) -> Floats:
    """Return targets as (n, outputs) in float64."""
    t = np.asarray(y, np.float64)
    return t[:, None] if t.ndim == 1 else t


def mean_of(t: Floats, sample_weight: ArrayLike | None) -> Floats:
    """Return the (weighted) mean of each column."""
    if sample_weight is None:
        return np.asarray(t.mean(axis=0))
    return np.asarray(np.average(t, axis=0, weights=np.asarray(sample_weight, np.float64)))


def quantile_of(t: Floats, q: float, sample_weight: ArrayLike | None) -> Floats:
    """Return the (weighted) q-quantile of each column, one of its values."""
    weights = None if sample_weight is None else np.asarray(sample_weight, np.float64)
    return np.asarray(np.quantile(t, q, axis=0, method="inverted_cdf", weights=weights))


def entropy_of(t: Floats) -> Floats:
    """Return the entropy of probabilities along the last axis."""
    logs = np.log(t, where=t > 0, out=np.zeros_like(t))
    return np.asarray(-(t * logs).sum(axis=-1) + 0.0)
