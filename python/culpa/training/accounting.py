"""Accounting for private training: the steps that touched the weights, and what they may reveal."""

from __future__ import annotations

import functools
import importlib
import math
from typing import Any

from culpa.parts.privacy import Privacy

__all__ = ["Account"]

GRID = 1e-4  # dp-accounting's own
FINEST = 1e-7
MOST_POINTS = 1e5


def grid(noise: float, rate: float) -> float:
    """Return the interval at which privacy losses are discretised: a fraction of their width.

    A coarse grid is quick and errs upwards: the curve of delta over e^epsilon is convex, and a
    mechanism whose curve is its chords on a grid dominates it (Doroshenko et al. 2022, "Connect the
    dots"). Grids are dp-accounting's own, doubled, so that each lies in the next finer one and the
    result is not below dp-accounting's but where that one's grid is too coarse for a step.
    """
    # The standard deviation of a step's privacy loss, from above: of small ones and of great ones.
    small = rate * math.sqrt(math.expm1(min(noise**-2, 700.0)))
    width = min(small, math.sqrt(rate) / noise)
    # Of rare and narrow losses the tail is long: a fourth took 70 ms an epoch, and gained 0.3 %.
    width /= 4 if width > 16 * GRID else 2
    longest = noise**-2 / MOST_POINTS  # next to no noise: losses reach 1 / noise^2
    interval = GRID * 2.0 ** math.floor(math.log2(max(width, longest) / GRID))
    return max(interval, GRID if 2 * width >= GRID else FINEST)


@functools.lru_cache(maxsize=8)
def one_step(noise: float, rate: float) -> Any:
    """Return the privacy loss distribution of a step with Poisson sampling, of dp-accounting."""
    from dp_accounting.pld import privacy_loss_distribution

    return privacy_loss_distribution.from_gaussian_mechanism(
        noise, sampling_prob=rate, value_discretization_interval=grid(noise, rate)
    )


class Account:
    """What one private fit has spent: ``history.privacy``.

    It counts every step that touched the weights, however the fit ended: those of an epoch that was
    broken off by a callback, by Ctrl-C or by an error too, and those after the best epoch whose
    weights early stopping put back. A step that was interrupted before it touched the weights does
    not count. Other fits on the same data do not count either: they add up.

    Attributes
    ----------
    steps : int
        Batches whose noisy gradient went into the weights.
    sample_rate : float
        Probability of an example to be in a batch.
    delta : float
        That of the ``Privacy``.
    """

    def __init__(self, privacy: Privacy, sample_rate: float) -> None:
        self.steps = 0
        self.sample_rate = sample_rate
        self.delta = float(privacy.delta)
        self._privacy = privacy
        self._known: tuple[int, float] | None = None  # steps, and their epsilon
        self._sum: tuple[int, Any] = (0, None)  # steps, and their privacy loss distribution
        self._part: tuple[int, Any] = (0, None)  # the same of the stretch that was added last

    @property
    def epsilon(self) -> float | None:
        """Epsilon of all the steps so far; None where it is not known.

        From above, by some thousandths, and by some hundredths where epsilon itself is below 0.01:
        from privacy loss distributions (Koskela et al. 2020) on a coarse grid. An epoch is composed
        once, and the epochs one by one. None for ``sampling="shuffle"``, and where
        ``dp-accounting`` is not installed.
        """
        if self._known is None or self._known[0] != self.steps:
            value = self._compute_epsilon()
            if value is None:
                return None
            self._known = self.steps, value
        return self._known[1]

    def _compute_epsilon(self) -> float | None:
        noise = float(self._privacy.noise_multiplier)
        if self._privacy.sampling != "poisson":
            return None
        if self.steps == 0:
            return 0.0
        if noise == 0.0:
            return math.inf
        try:
            importlib.import_module("dp_accounting")
            known, total = self._sum
            if self.steps > known:
                part = self._composed(noise, self.steps - known)
                total = part if total is None else total.compose(part)
                self._sum = self.steps, total
            epsilon = float(total.get_epsilon_for_delta(self.delta))
            return epsilon * (1.0 + 1e-8)  # more than rounding can have taken from it
        except ImportError:
            return None
        except OverflowError:  # next to no noise
            return math.inf

    def _composed(self, noise: float, steps: int) -> Any:
        """Return the privacy loss distribution of so many steps: mostly those of an epoch again."""
        if self._part[0] != steps:
            self._part = steps, one_step(noise, self.sample_rate).self_compose(steps)
        return self._part[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_sum": (0, None), "_part": (0, None)}

    def __repr__(self) -> str:
        epsilon = "unknown" if self.epsilon is None else f"{self.epsilon:.4g}"
        return f"<{self.steps} private steps: epsilon {epsilon} at delta {self.delta:g}>"
