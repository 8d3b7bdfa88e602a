"""What may happen between steps: callbacks, early stopping, and the history of a fit."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from culpa import _checks
from culpa import _renamed as renamed

if TYPE_CHECKING:
    from culpa.training.accounting import Account
    from culpa.training.training import Training

__all__ = ["Callback", "EarlyStopping", "History", "as_callbacks", "as_early_stopping"]


class History(Mapping[str, list[float]]):
    """What a fit reported, per epoch: ``history["loss"]`` or ``history.loss``.

    Keys: ``loss``, the metric (``accuracy`` or ``r2``), with validation data ``val_loss`` and
    ``val_accuracy`` or ``val_r2``, ``learning_rate`` (the epoch's last), ``seconds`` (with
    validation) and ``examples_per_second`` (training alone); of private training ``epsilon``
    (of all steps of the fit so far, where ``dp-accounting`` is installed; the last one covers those
    of an epoch that was broken off, too). Loss and metric of the training data
    are means over the epoch, while the weights moved and with dropout on.

    Attributes
    ----------
    stopped : str or None
        Why training ended before its last epoch ("early stopping", "callback", "interrupted"), or
        None.
    best_epoch : int or None
        Index of the epoch with the best monitored value.
    privacy : Account or None
        Of private training: its ``steps`` and its ``epsilon``, also where no epoch was completed.
    """

    privacy: Account | None = None

    def __init__(self) -> None:
        self._rows: list[dict[str, float]] = []  # whole rows: Ctrl-C can never leave a ragged one
        self.stopped: str | None = None
        self.best_epoch: int | None = None

    def append(self, row: Mapping[str, float]) -> None:
        """Add an epoch."""
        self._rows.append(dict(row))

    def amend(self, values: Mapping[str, float]) -> None:
        """Put values in the place of the last epoch's."""
        self._rows[-1] = {**self._rows[-1], **values}

    def _keys(self) -> list[str]:
        rows = self.__dict__.get("_rows")
        return list(rows[0]) if rows else []

    def __getitem__(self, key: str) -> list[float]:
        if key not in self._keys():
            raise KeyError(f"history has {', '.join(self._keys()) or 'no epochs yet'}, not {key!r}")
        return [row[key] for row in self._rows]

    def __getattr__(self, key: str) -> list[float]:
        if key not in self._keys():
            raise AttributeError(
                f"history has {', '.join(self._keys()) or 'no epochs yet'}, not {key!r}"
            )
        return self[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys())

    def __len__(self) -> int:
        return len(self._keys())

    @property
    def epochs(self) -> int:
        """Epochs completed."""
        return len(self._rows)

    def __repr__(self) -> str:
        last = ", ".join(f"{k} {v:.4g}" for k, v in self._rows[-1].items()) if self._rows else ""
        return f"<History of {self.epochs} epochs{': ' + last if last else ''}>"


class Callback:
    """Base class: override what you need. A plain function counts as `on_epoch_end`.

    Attributes
    ----------
    every_steps : int or None
        Call `on_step` after every so many steps of the fit; None: never.
    wants_examples : bool
        Whether training keeps each example's own loss and score for ``training.presented()``.
    one_model : bool
        Whether ``fit_many`` refuses it, for one object would mix up what it notes of all models.
    """

    every_steps: int | None = None
    wants_examples: bool = False
    one_model: bool = False
    every = renamed.OldName()

    def check(self, training: Training) -> None:
        """Raise where this training is not for this callback; the model is not touched yet."""

    def on_fit_begin(self, training: Training) -> None:
        """Run before the first step."""

    def on_step(self, training: Training) -> None:
        """Run after every `every_steps` steps; ``training.step`` counts them from 1."""

    def on_epoch_end(self, training: Training) -> None:
        """Run after each epoch, its row already in ``training.history``."""

    def on_fit_end(self, training: Training) -> None:
        """Run once training has ended, however it ended."""


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


class _FunctionCallback(Callback):
    def __init__(self, function: Callable[[Training], object]) -> None:
        self.function = function

    def on_epoch_end(self, training: Training) -> None:
        self.function(training)


def as_callbacks(value: Any) -> list[Callback]:
    """Return callbacks as a list of Callback, of one, several or none, functions among them."""
    given = list(value or ()) if value is None or isinstance(value, (list, tuple)) else [value]
    result: list[Callback] = []
    for item in given:
        if isinstance(item, type):
            raise TypeError(f"callbacks: expected an object, got the class; use {item.__name__}()")
        if isinstance(item, Callback):
            if not isinstance(inspect.getattr_static(item, "every"), renamed.OldName):
                mend = renamed.mend_name("Callback", "every")
                raise TypeError(f"callbacks: {type(item).__name__}.{mend}")
            if item.every_steps is not None:
                _checks.integer("every_steps", item.every_steps, 1)
            result.append(item)
        elif callable(item):
            result.append(_FunctionCallback(item))
        else:
            raise TypeError(
                f"callbacks: expected functions or culpa.Callback objects, "
                f"got {_checks.describe(item)}"
            )
    return result


def as_early_stopping(value: EarlyStopping | int | bool | None) -> EarlyStopping | None:
    """Return what `fit`'s early_stopping means: True stands for the defaults, 5 for a patience."""
    if value is None or value is False:
        return None
    if value is True:
        return EarlyStopping()
    if isinstance(value, EarlyStopping):
        return value
    return EarlyStopping(patience=_checks.integer("early_stopping", value, 1))
