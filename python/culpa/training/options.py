"""What fit takes beside X and y."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypedDict

from culpa import _checks
from culpa.parts.optimizers import Optimizer
from culpa.parts.privacy import Privacy
from culpa.parts.schedules import Schedule
from culpa.training.callbacks import Callback
from culpa.training.stopping import EarlyStopping

__all__ = ["FitOptions", "Options", "as_options"]

Callbacks = Callback | Callable[[Any], object] | Sequence[Any]


@dataclass(frozen=True)
class Options:
    """The options of one fit, not yet checked; ``Sequential.fit`` describes them."""

    rows: Any = None
    epochs: int = 10
    batch_size: int = 128
    optimizer: str | Optimizer | None = None
    validation_data: Any = None
    validation_split: float = 0.0
    sample_weight: Any = None
    class_weight: Any = None
    clip_norm: float | None = None
    privacy: Privacy | None = None
    early_stopping: EarlyStopping | int | bool | None = None
    schedule: str | Schedule | None = None
    callbacks: Callbacks = ()
    shuffle: bool = True
    verbose: bool | int = True


class FitOptions(TypedDict, total=False):
    """The keywords of ``Sequential.fit`` for functions that hand them on.

    Without `rows` and `sample_weight`, which such functions name themselves.
    """

    epochs: int
    batch_size: int
    optimizer: str | Optimizer | None
    validation_data: Sequence[Any] | None
    validation_split: float
    class_weight: Mapping[int, float] | str | None
    clip_norm: float | None
    privacy: Privacy | None
    early_stopping: EarlyStopping | int | bool | None
    schedule: str | Schedule | None
    callbacks: Callbacks
    shuffle: bool
    verbose: bool | int


NAMES = tuple(field.name for field in fields(Options))


def as_options(given: Mapping[str, Any]) -> Options:
    """Return keywords as options; what other libraries call them is told in the error."""
    for name in given:
        try:
            _checks.choice("fit", name, NAMES)
        except ValueError as error:
            raise TypeError(str(error)) from None
    return Options(**given)
