"""Losses: what a wrong guess costs. Immutable descriptions; the core computes them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from culpa import _checks
from culpa.parts.loss import (
    Loss,
    as_columns,
    check_range,
    entropy_of,
    mean_of,
    quantile_of,
)

__all__ = [
    "LOSSES",
    "MAE",
    "MSE",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "Gamma",
    "Huber",
    "Loss",
    "Poisson",
    "Quantile",
    "Tweedie",
    "as_loss",
    "loss_of",
]

Array = NDArray[Any]
Floats = NDArray[np.float64]
LEAST = 1e-30  # what a logarithm is taken of


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Softmax cross-entropy from logits; y is class indices (n,) or probabilities (n, classes).

    Parameters
    ----------
    label_smoothing : float, default 0
        s in [0, 1): the target becomes ``(1 - s) t + s / classes`` (Szegedy et al. 2016).

    Examples
    --------
    >>> import culpa
    >>> culpa.CrossEntropy(label_smoothing=0.1).parameters
    {'label_smoothing': 0.1}
    """

    label_smoothing: float = 0.0
    name: ClassVar[str] = "cross_entropy"
    task: ClassVar[str] = "classes"
    link: ClassVar[str] = "multinomial_logit"

    def __post_init__(self) -> None:
        _checks.fraction("label_smoothing", self.label_smoothing)

    def check(self, y: ArrayLike, *, name: str = "y", dtype: str = "float64") -> None:
        """Raise where rows are not probabilities, or class indices are below 0."""
        y = np.asarray(y)
        if y.ndim == 1:
            if y.dtype.kind not in "biu" or (y.size and y.min() < 0):
                raise ValueError(
                    f"{name}: expected integer class indices of at least 0 for {self.name}, got "
                    f"{_checks.describe(y)}; numpy.unique(..., return_inverse=True) numbers classes"
                )
            return
        check_range(self, y, name)
        sums = y.sum(axis=1, dtype=np.float64)
        worst = int(np.argmax(np.abs(sums - 1.0)))
        if abs(sums[worst] - 1.0) > 1e-3:
            raise ValueError(
                f"{name}: expected rows of probabilities that sum to 1, got {sums[worst]:g} in "
                f"row {worst}; divide each row by its sum"
            )

    def response(self, outputs: ArrayLike) -> Array:
        """Return probabilities (n, classes): softmax."""
        logits = np.asarray(outputs)
        with np.errstate(over="ignore"):  # at the ends of the range a difference is infinite
            e = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(e / e.sum(axis=1, keepdims=True))

    def decide(self, outputs: ArrayLike) -> Array:
        """Return the class (n,) of the largest output, the first of equals."""
        return np.asarray(np.argmax(outputs, axis=1), np.int64)

    def best_constant(
        self, y: ArrayLike, sample_weight: ArrayLike | None = None, *, outputs: int | None = None
    ) -> Floats:
        """Return the logs of the classes' frequencies, smoothed as the targets are."""
        given = np.asarray(y)
        if given.ndim == 1:
            counts = np.bincount(given, sample_weight, minlength=outputs or 0)
            mean = counts / counts.sum()
        else:
            mean = mean_of(as_columns(given), sample_weight)
        return np.asarray(np.log(np.maximum(self.wanted(mean[None, :])[0], LEAST)))

    def least_loss(self, y: ArrayLike) -> Floats:
        """Return the entropy (n,) of each row of smoothed targets."""
        return entropy_of(self.wanted(y))

    def wanted(self, y: ArrayLike) -> Floats:
        """Return the targets (n, classes) as they are smoothed."""
        t = as_columns(y)
        return np.asarray((1.0 - self.label_smoothing) * t + self.label_smoothing / t.shape[1])


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """Binary cross-entropy from logits, the mean over outputs; y in [0, 1], (n,) or (n, outputs).

    Several outputs make it multilabel.
    """

    name: ClassVar[str] = "binary_cross_entropy"
    task: ClassVar[str] = "binary"
    link: ClassVar[str] = "logit"

    def check(self, y: ArrayLike, *, name: str = "y", dtype: str = "float64") -> None:
        """Raise where a value is not in [0, 1]."""
        check_range(self, np.asarray(y), name)

    def response(self, outputs: ArrayLike) -> Array:
        """Return the probability of 1 at each output: the logistic function."""
        with np.errstate(over="ignore"):
            return np.asarray(1.0 / (1.0 + np.exp(-np.asarray(outputs))))

    def decide(self, outputs: ArrayLike) -> Array:
        """Return 1 at each output that is above 0, else 0."""
        return (np.asarray(outputs) > 0).astype(np.int64)

    def best_constant(
        self, y: ArrayLike, sample_weight: ArrayLike | None = None, *, outputs: int | None = None
    ) -> Floats:
        """Return the log-odds of the means."""
        mean = mean_of(as_columns(y), sample_weight)
        return np.asarray(np.log(np.maximum(mean, LEAST)) - np.log(np.maximum(1.0 - mean, LEAST)))

    def least_loss(self, y: ArrayLike) -> Floats:
        """Return the mean entropy (n,) of the targets."""
        t = as_columns(y)
        return np.asarray(entropy_of(np.stack([t, 1.0 - t], axis=-1)).mean(axis=1))


@dataclass(frozen=True)
class MSE(Loss):
    """Squared error, the mean over outputs."""

    name: ClassVar[str] = "mse"


@dataclass(frozen=True)
class MAE(Loss):
    """Absolute error, the mean over outputs; its derivative at zero error is 0."""

    name: ClassVar[str] = "mae"

    def best_constant(
        self, y: ArrayLike, sample_weight: ArrayLike | None = None, *, outputs: int | None = None
    ) -> Floats:
        """Return the medians."""
        if sample_weight is None:
            return np.asarray(np.median(as_columns(y), axis=0))
        return quantile_of(as_columns(y), 0.5, sample_weight)


@dataclass(frozen=True)
class Huber(Loss):
    """Squared error / 2 up to `delta`, linear beyond (Huber 1964); the mean over outputs.

    Parameters
    ----------
    delta : float, default 1
        Where it turns linear, in the target's units; positive.
    """

    delta: float = 1.0
    name: ClassVar[str] = "huber"

    def __post_init__(self) -> None:
        _checks.number("delta", self.delta, 0.0, open_low=True)

    def best_constant(
        self, y: ArrayLike, sample_weight: ArrayLike | None = None, *, outputs: int | None = None
    ) -> Floats:
        """Return the least constants by bisection: the loss's derivative grows with a constant."""
        t = as_columns(y)
        weight = np.ones(len(t)) if sample_weight is None else np.asarray(sample_weight, np.float64)
        low, high = t.min(axis=0), t.max(axis=0)
        for _ in range(100):
            middle = (low + high) / 2.0
            slopes = np.clip(middle - t, -self.delta, self.delta) * weight[:, None]
            rises = slopes.sum(axis=0) > 0.0
            low, high = np.where(rises, low, middle), np.where(rises, middle, high)
        return np.asarray((low + high) / 2.0)


class _OfLogMean(Loss):
    """What losses share whose outputs are logs of the means that are guessed."""

    link: ClassVar[str] = "log"
    says: ClassVar[str] = "expects"

    def response(self, outputs: ArrayLike) -> Array:
        """Return the means: exp of the outputs, infinite where it leaves the dtype's range."""
        return np.asarray(np.exp(np.asarray(outputs)))

    def best_constant(
        self, y: ArrayLike, sample_weight: ArrayLike | None = None, *, outputs: int | None = None
    ) -> Floats:
        """Return the logs of the means."""
        return np.log(np.maximum(mean_of(as_columns(y), sample_weight), LEAST))

    def least_loss(self, y: ArrayLike) -> Floats:
        """Return the loss (n,) of guesses that equal the targets."""
        return np.array(
            [np.mean([self.value(t, t) for t in row]) for row in as_columns(y).tolist()]
        )


@dataclass(frozen=True)
class Poisson(_OfLogMean):
    """Negative log-likelihood of counts whose log-mean is the output, without log(y!).

    ``predict`` gives the mean, exp of the output. y must not be negative.
    """

    name: ClassVar[str] = "poisson"
    says: ClassVar[str] = "expects a count of"
    in_words: ClassVar[str] = (
        "The loss says how surprising the true count is where counts scatter around the expected "
        "one (Poisson loss, without the part that no guess can change){mean} It can be below 0."
    )

    def check(self, y: ArrayLike, *, name: str = "y", dtype: str = "float64") -> None:
        """Raise where a count is negative."""
        y = np.asarray(y)
        if y.size and y.min() < 0:
            raise ValueError(
                f"{name}: expected no negative counts for {self.name}, got {y.min()}; use another "
                "loss, such as mse, for numbers below 0"
            )

    def formula(self) -> str:
        """Return the mean less what the count makes of its log."""
        return "{x} − {t} × log({x})"

    def value(self, x: float, t: float) -> float:
        """Return what :meth:`formula` comes to."""
        if x <= 0.0:
            return 0.0 if t == 0.0 else math.inf
        return x - t * math.log(x)


@dataclass(frozen=True)
class Gamma(_OfLogMean):
    """Negative log-likelihood of amounts above 0 whose log-mean is the output, at shape 1.

    ``output + y * exp(-output)``, the terms that depend on the output; the mean over outputs. Less
    its least value, 1 + log(y), it is half of scikit-learn's ``mean_gamma_deviance``. An error
    counts by its ratio to the amount, as for amounts whose spread grows with their mean (McCullagh
    and Nelder 1989, chapter 8). ``predict`` gives the mean, exp of the output.

    Examples
    --------
    >>> import culpa
    >>> culpa.Gamma().best_constant([1.0, 3.0]).round(3)  # log of 2
    array([0.693])
    """

    name: ClassVar[str] = "gamma"
    in_words: ClassVar[str] = (
        "The loss says how surprising the true amount is where amounts scatter around the expected "
        "one in proportion to it (gamma loss, without the part that no guess can change){mean} It "
        "can be below 0."
    )

    def check(self, y: ArrayLike, *, name: str = "y", dtype: str = "float64") -> None:
        """Raise where an amount is not above 0."""
        _check_positive(self, np.asarray(y), name, dtype)

    def formula(self) -> str:
        """Return the log of the mean and the amount's ratio to it."""
        return "log({x}) + {t} / {x}"

    def value(self, x: float, t: float) -> float:
        """Return what :meth:`formula` comes to."""
        return math.log(x) + t / x if x > 0.0 else math.inf


@dataclass(frozen=True)
class Tweedie(_OfLogMean):
    """Negative log-likelihood of amounts whose variance is a power of their mean (Jorgensen 1987).

    At power p and mean m = exp(output), ``m ** (2 - p) / (2 - p) + y * m ** (1 - p) / (p - 1)``:
    the terms that depend on the output, at dispersion 1; the mean over outputs. Less its least
    value it is half of scikit-learn's ``mean_tweedie_deviance``. ``predict`` gives the mean.

    Parameters
    ----------
    power : float, default 1.5
        From 1 to 100. Between 1 and 2, sums of a Poisson number of gamma amounts: y may be 0, as
        for claims or rain. 1 is :class:`Poisson`, 2 is :class:`Gamma`, 3 the inverse Gaussian;
        from 2 on y must be above 0.

    Examples
    --------
    >>> import culpa
    >>> culpa.Tweedie(1.2).parameters
    {'power': 1.2}
    """

    power: float = 1.5
    name: ClassVar[str] = "tweedie"
    in_words: ClassVar[str] = (
        "The loss says how surprising the true amount is where amounts scatter around the expected "
        "one, the wider the larger it is (Tweedie loss, without the part that no guess can "
        "change){mean}"
    )

    def __post_init__(self) -> None:
        if not 1.0 <= _checks.number("power", self.power) <= 100.0:
            raise ValueError(
                f"power: expected a number from 1 (Poisson) by 2 (gamma) to 100, got "
                f"{self.power!r}; no distribution has a power between 0 and 1, and for 0 use mse"
            )

    def check(self, y: ArrayLike, *, name: str = "y", dtype: str = "float64") -> None:
        """Raise where an amount is negative, or 0 and the power is 2 or more."""
        y = np.asarray(y)
        if self.power >= 2.0:
            _check_positive(self, y, name, dtype)
        elif y.size and y.min() < 0:
            raise ValueError(
                f"{name}: expected no negative amounts for {self.name}, got {y.min()}; use another "
                "loss, such as mse, for numbers below 0"
            )

    def formula(self) -> str:
        """Return the two powers of the mean, each over its exponent."""
        if self.power in (1.0, 2.0):
            return (Poisson() if self.power == 1.0 else Gamma()).formula()
        up, down = f"{abs(2.0 - self.power):.15g}", f"{self.power - 1.0:.15g}"
        pull = f"{{t}} / ({down} × {{x}}^{down})"
        if self.power < 2.0:
            return f"{{x}}^{up} / {up} + {pull}"
        return f"{pull} − 1 / ({up} × {{x}}^{up})"

    def value(self, x: float, t: float) -> float:
        """Return what :meth:`formula` comes to."""
        if self.power in (1.0, 2.0):
            return (Poisson() if self.power == 1.0 else Gamma()).value(x, t)
        if x <= 0.0:
            return 0.0 if t == 0.0 else math.inf
        up, down, mean = 2.0 - self.power, self.power - 1.0, np.float64(x)
        with np.errstate(over="ignore"):
            return float(mean**up / up + t * mean**-down / down)


@dataclass(frozen=True)
class Quantile(Loss):
    """The pinball loss, whose best guess is the q-quantile (Koenker and Bassett 1978).

    Parameters
    ----------
    q : float, default 0.5
        In (0, 1).
    """

    q: float = 0.5
    name: ClassVar[str] = "quantile"

    def __post_init__(self) -> None:
        if _checks.number("q", self.q, 0.0, open_low=True) >= 1.0:
            raise ValueError(f"q: expected a number in (0, 1), got {self.q!r}")

    def best_constant(
        self, y: ArrayLike, sample_weight: ArrayLike | None = None, *, outputs: int | None = None
    ) -> Floats:
        """Return the q-quantiles."""
        return quantile_of(as_columns(y), self.q, sample_weight)


LOSSES: dict[str, type[Loss]] = {
    loss.name: loss
    for loss in (
        CrossEntropy,
        BinaryCrossEntropy,
        MSE,
        MAE,
        Huber,
        Poisson,
        Gamma,
        Tweedie,
        Quantile,
    )
}


def as_loss(loss: str | Loss) -> Loss:
    """Return a loss from its name, with default parameters, or the loss itself."""
    if isinstance(loss, Loss):
        return loss
    return LOSSES[_checks.choice("loss", loss, LOSSES)]()


def loss_of(config: Mapping[str, Any]) -> Loss:
    """Return the loss that is described by its name and its parameters, as files have it."""
    kind = LOSSES[_checks.choice("loss", config["name"], LOSSES)]
    names = [field.name for field in fields(kind)]
    if "parameter" in config:  # files from when a loss had one at most
        return kind(**dict.fromkeys(names, config["parameter"]))
    parameters = config["parameters"]
    if sorted(parameters) != sorted(names):
        raise ValueError(
            f"loss: expected the parameters {names} of {kind.name}, got {list(parameters)}"
        )
    return kind(**parameters)


def _check_positive(loss: Loss, y: Array, name: str, dtype: str) -> None:
    """Raise where a value is not above 0; the core takes denormal numbers for 0."""
    least = float(np.finfo(dtype).tiny)
    if y.size and y.min() < least:
        raise ValueError(
            f"{name}: expected amounts above 0 for {loss.name} (at least {least:g} in {dtype}), "
            f"got {y.min()}; leave such rows out, or use culpa.Tweedie(1.5), which takes zeros"
        )
