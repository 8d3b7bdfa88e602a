"""Learning-rate schedules: a factor on the optimizer's learning rate for every step.

A schedule is immutable. ``factors`` gets the steps of a chunk, counted within this fit, the number
of steps of the whole fit, and the epochs that the model has seen before each step (a fraction
inside an epoch, counted over all its fits).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from culpa import _aliases, _checks, _core, _renamed

__all__ = [
    "SCHEDULES",
    "Constant",
    "Cosine",
    "ExponentialDecay",
    "OneCycle",
    "Schedule",
    "StepDecay",
    "as_schedule",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Schedule(ABC):
    """Base class: subclass it and define `factors` for a schedule of your own."""

    @abstractmethod
    def factors(self, steps: Floats, total: int, epochs: Floats) -> Floats:
        """Return one factor per step; see the module's docstring."""


@dataclass(frozen=True)
class Constant(Schedule):
    """The optimizer's learning rate, always."""

    def factors(self, steps: Floats, total: int, epochs: Floats) -> Floats:
        """Return ones."""
        return np.ones_like(steps)


@_renamed.refuse_old_arguments
@dataclass(frozen=True)
class StepDecay(Schedule):
    """Times `factor` after every `every_epochs` epochs.

    Parameters
    ----------
    every_epochs : int
        Epochs between two decays.
    factor : float, default 0.1
        What the rate is multiplied by each time, in (0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> import culpa
    >>> culpa.StepDecay(10).factors(np.zeros(2), 100, np.array([9.9, 10.0]))
    array([1. , 0.1])
    """

    every_epochs: int
    factor: float = 0.1
    every = _renamed.OldName()

    def __post_init__(self) -> None:
        _checks.integer("every_epochs", self.every_epochs, 1)
        _checks.number("factor", self.factor, 0.0, 1.0, open_low=True)

    def factors(self, steps: Floats, total: int, epochs: Floats) -> Floats:
        """Return factor ** (whole periods seen)."""
        return _core.power(self.factor, np.floor(np.asarray(epochs) / self.every_epochs))


@dataclass(frozen=True)
class ExponentialDecay(Schedule):
    """Times `factor` per epoch, smoothly, step by step.

    Parameters
    ----------
    factor : float
        In (0, 1].
    """

    factor: float

    def __post_init__(self) -> None:
        _checks.number("factor", self.factor, 0.0, 1.0, open_low=True)

    def factors(self, steps: Floats, total: int, epochs: Floats) -> Floats:
        """Return factor ** epochs."""
        return _core.power(self.factor, np.asarray(epochs, np.float64))


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine down to `final` (Loshchilov and Hutter 2017), after a linear warm-up.

    Parameters
    ----------
    warmup : float, default 0
        Fraction of all steps that the rate takes to rise to full, in [0, 1).
    final : float, default 0
        The factor at the end, in [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> import culpa
    >>> culpa.Cosine().factors(np.array([0.0, 50.0]), 100, np.zeros(2))
    array([1. , 0.5])
    """

    warmup: float = 0.0
    final: float = 0.0

    def __post_init__(self) -> None:
        _checks.fraction("warmup", self.warmup)
        _checks.number("final", self.final, 0.0, 1.0)

    def factors(self, steps: Floats, total: int, epochs: Floats) -> Floats:
        """Return the warm-up's and the cosine's factors."""
        rise = self.warmup * total
        done = np.clip((steps - rise) / max(total - rise, 1.0), 0.0, 1.0)
        fall = self.final + (1.0 - self.final) * _half_cosine(done)
        return np.where(steps < rise, (steps + 1.0) / max(rise, 1.0), fall).clip(max=1.0)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up along a cosine and down again (Smith and Topin 2018), the learning rate at the top.

    Parameters
    ----------
    warmup : float, default 0.3
        Fraction of all steps that the rise takes, in [0, 1).
    start : float, default 0.04
        The factor at the first step.
    final : float, default 4e-6
        The factor at the end.

    Examples
    --------
    >>> import numpy as np
    >>> import culpa
    >>> culpa.OneCycle().factors(np.array([30.0]), 100, np.zeros(1))
    array([1.])
    """

    warmup: float = 0.3
    start: float = 0.04
    final: float = 4e-6

    def __post_init__(self) -> None:
        _checks.fraction("warmup", self.warmup)
        _checks.number("start", self.start, 0.0, 1.0)
        _checks.number("final", self.final, 0.0, 1.0)

    def factors(self, steps: Floats, total: int, epochs: Floats) -> Floats:
        """Return the two half cosines."""
        top = self.warmup * total
        risen = np.clip(steps / max(top, 1.0), 0.0, 1.0)
        up = self.start + (1.0 - self.start) * (1.0 - _half_cosine(risen))
        done = np.clip((steps - top) / max(total - top, 1.0), 0.0, 1.0)
        down = self.final + (1.0 - self.final) * _half_cosine(done)
        return np.where(steps < top, up, down)


def _half_cosine(done: Floats) -> Floats:
    """Return 1 where nothing is done, 0 where all is, and half a cosine between."""
    return 0.5 * (1.0 + _core.cosine_of_turns(0.5 * done))


SCHEDULES: dict[str, type[Constant] | type[Cosine] | type[OneCycle]] = {
    "constant": Constant,
    "cosine": Cosine,
    "one_cycle": OneCycle,
}
"""Those that need no parameter, by name."""


def as_schedule(schedule: str | Schedule) -> Schedule:
    """Return a schedule from its name, with default parameters, or the schedule itself."""
    if isinstance(schedule, Schedule):
        return schedule
    if isinstance(schedule, str):
        return SCHEDULES[_checks.choice("schedule", schedule, SCHEDULES)]()
    mend = _aliases.mend_name("schedule", schedule, SCHEDULES)
    raise TypeError(
        f"schedule: expected a name ({', '.join(SCHEDULES)}) or a schedule such as "
        f"culpa.Cosine(), got {_checks.describe(schedule)}{mend and '; ' + mend}"
    )
