"""Early stopping: when nothing improves any more."""

from __future__ import annotations

import math
from dataclasses import dataclass

from culpa import _checks

__all__ = ["EarlyStopping", "as_early_stopping"]


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when nothing improves any more.

    Parameters
    ----------
    patience : int, default 10
        Epochs without improvement before training stops.
    min_delta : float, default 0
        What counts as an improvement, in the monitored value's units.
    monitor : str, optional
        A key of the history; by default ``val_loss`` with validation data, else ``loss``. Losses
        are minimised, accuracies and r2 maximised. An r2 that is NaN by y alone is refused; NaN in
        an epoch counts as no improvement, with a RuntimeWarning.
    restore_best : bool, default True
        Put back the weights of the best epoch at the end.

    Examples
    --------
    >>> import culpa
    >>> culpa.EarlyStopping(patience=3).patience
    3
    """

    patience: int = 10
    min_delta: float = 0.0
    monitor: str | None = None
    restore_best: bool = True

    def __post_init__(self) -> None:
        _checks.integer("patience", self.patience, 1)
        _checks.number("min_delta", self.min_delta, 0.0)

    def better(self, key: str, value: float, best: float | None) -> bool:
        """Return whether `value` improves on `best` (None: nothing yet)."""
        if math.isnan(value):
            return False
        if best is None:
            return True
        if key.endswith(("accuracy", "r2")):
            return value > best + self.min_delta
        return value < best - self.min_delta


def as_early_stopping(value: EarlyStopping | int | bool | None) -> EarlyStopping | None:
    """Return what `fit`'s early_stopping means: True stands for the defaults, 5 for a patience."""
    if value is None or value is False:
        return None
    if value is True:
        return EarlyStopping()
    if isinstance(value, EarlyStopping):
        return value
    return EarlyStopping(patience=_checks.integer("early_stopping", value, 1))
