"""Callbacks: what may happen between steps."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from culpa import _checks, _renamed

if TYPE_CHECKING:
    from culpa.training.training import Training

__all__ = ["Callback", "as_callbacks"]


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
    every = _renamed.OldName()

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
            if not isinstance(inspect.getattr_static(item, "every"), _renamed.OldName):
                mend = _renamed.mend_name("Callback", "every")
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
