"""One file a library, each training the same steps the way its users would."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Side(Protocol):
    """A network, data and Adam in one library, built from a Problem.

    A step gathers its batch by row index, walks forward and backward, updates all weights, and
    leaves its loss where `losses` finds it.
    """

    def reset(self) -> None:
        """Begin afresh: initial weights, no moments, the first batch."""

    def run(self, steps: int) -> int:
        """Take the next `steps` steps or a few more, to their end; return how many."""

    def losses(self, count: int) -> Sequence[float]:
        """Return the losses of the first `count` steps, or of those that can be compared."""
