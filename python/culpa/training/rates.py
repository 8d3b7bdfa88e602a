"""Learning rates of a chunk: a schedule's factors, checked, for a user's own may be anything."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from culpa import data
from culpa.parts.schedules import Schedule

__all__ = ["checked_factors"]


def checked_factors(
    schedule: Schedule, steps: NDArray[np.float64], total: int, epochs: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return a schedule's factors on the learning rate (steps,), a user's own among them."""
    given = schedule.factors(steps, total, epochs)
    factors = np.asarray(data.as_array("schedule", given), dtype=np.float64)
    expected = f"schedule: expected factors() to give {len(steps)} finite numbers of at least 0"
    if factors.shape != steps.shape:
        raise ValueError(f"{expected}, one per step, got shape {factors.shape}")
    bad = np.flatnonzero(~np.isfinite(factors) | (factors < 0))
    if bad.size:
        raise ValueError(f"{expected}, got {factors[bad[0]]} for step {bad[0]}")
    return factors
