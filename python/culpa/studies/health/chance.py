"""What the best constant guess would lose: the loss of a network that ignores its inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from culpa.data.examples import Examples
from culpa.network.constant import judge_constant

if TYPE_CHECKING:
    from culpa.parts.losses import Loss
__all__ = ["chance_loss"]


def chance_loss(loss: Loss, examples: Examples, outputs: int) -> float:
    """Return the mean loss of the best constant outputs, by the core's own loss."""
    labels, values = examples.targets.labels, examples.targets.values
    y = values if labels is None else labels
    assert y is not None
    losses, _ = judge_constant(loss, loss.best_constant(y, outputs=outputs), y)
    return float(losses.mean())
