"""How large the targets of a regression are: beside values around 1, others slow or wreck learning.

Outputs begin around 0 to 1, and error signals of squared errors are as large as the targets are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from culpa.data.examples import Examples

__all__ = ["SCALE_TARGETS", "TargetSize", "advice", "measure_targets"]

TOO_LARGE, TOO_SMALL = 30.0, 1e-3
"""Root mean square of a target: as for inputs, counts and grades still train well, years, prices
and timestamps do not. Small ones drown in the steps of adaptive optimizers, which have the size of
the learning rate (1e-3 by default) whatever the error."""

SCALE_TARGETS = (
    "train on (y - y.mean(axis=0)) / y.std(axis=0), and undo that for what predict gives"
)


class TargetSize(NamedTuple):
    """The target whose values are the largest."""

    rms: float
    """Its root mean square."""
    name: str
    """"y", or "column 2 of y"."""

    @property
    def fault(self) -> str:
        """Return "large" or "small" where it keeps a network from learning, else ""."""
        if self.rms > TOO_LARGE:
            return "large"
        return "small" if 0.0 < self.rms < TOO_SMALL else ""

    def __str__(self) -> str:
        bound = "of about" if self.rms > TOO_LARGE else "of only some"
        return f"{self.name} has values {bound} {self.rms:.1g}"


def measure_targets(examples: Examples) -> TargetSize | None:
    """Return the size of the targets; None where the loss does not compare them with outputs.

    A loss of log-means compares them with exp of the output: targets of any size are welcome.
    """
    values = examples.targets.values
    if values is None or examples.loss.link != "identity":
        return None
    blocks = np.array_split(values, len(values) // 4096 + 1)  # bounded memory
    with np.errstate(over="ignore"):
        squares = sum(np.square(block, dtype=np.float64).sum(axis=0) for block in blocks)
    rms = np.sqrt(squares / len(values))
    column = int(rms.argmax())
    return TargetSize(float(rms[column]), "y" if len(rms) == 1 else f"column {column} of y")


def advice(examples: Examples) -> str:
    """Return a sentence where targets are so large that training may diverge of it, else ""."""
    size = measure_targets(examples)
    if size is None or size.fault != "large":
        return ""
    return f"The targets were never scaled: {size}; {SCALE_TARGETS}. "
