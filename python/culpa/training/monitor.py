"""What a fit is judged by, epoch by epoch: chosen before training, and never NaN in silence."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from culpa import _checks
from culpa.training.stopping import EarlyStopping

__all__ = ["check_measurable", "choose_key", "warn_of_nan"]


def choose_key(stopping: EarlyStopping | None, metric: str, *, validated: bool) -> str:
    """Return the key of the history that early stopping watches."""
    keys = ["loss", metric]
    if validated:
        keys += [f"val_{key}" for key in keys]
    if stopping is None or stopping.monitor is None:
        return "val_loss" if validated else "loss"
    return _checks.choice("monitor", stopping.monitor, keys)


def check_measurable(monitor: str, scales: Mapping[str, Any]) -> None:
    """Raise where y alone tells that the monitored r2 will be NaN.

    Parameters
    ----------
    monitor : str
        A key of the history.
    scales : mapping
        What :meth:`Examples.score_scale` gives, for ``r2`` and ``val_r2``.
    """
    scale = scales.get(monitor)
    if scale is not None and np.isnan(scale).all():
        what, loss = ("y", "loss") if monitor == "r2" else ("the validation y", "val_loss")
        raise ValueError(
            f"monitor: expected a value that can be measured, got {monitor!r}, which is NaN, for "
            f"{what} does not vary (is it a single row, or one constant?); use monitor={loss!r}"
        )


def warn_of_nan(monitor: str, value: float, epoch: int, patience: int) -> bool:
    """Warn where the monitored value is NaN; say whether it is."""
    if not math.isnan(value):
        return False
    warnings.warn(
        f"early_stopping: {monitor} is NaN in epoch {epoch}, which counts as an epoch without "
        f"improvement; after {patience} of them in a row training stops. Look for overflow, or for "
        "a metric that these data do not determine, or use another monitor",
        RuntimeWarning,
        stacklevel=_checks.outside(),
    )
    return True
