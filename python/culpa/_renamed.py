"""Public names that changed: what is still called by its old name says the new one."""

from __future__ import annotations

import functools
from typing import Any, NoReturn, TypeVar

__all__ = ["NAMES", "OldName", "mend_name", "refuse_old_arguments"]

T = TypeVar("T")

NAMES: dict[str, dict[str, str]] = {
    "want": {"examples": "gradient_norms"},
    "Blame": {"examples": "gradient_norms"},
    "Callback": {"every": "every_steps"},
    "HealthCheck": {"every": "every_epochs"},
    "StepDecay": {"every": "every_epochs"},
}
"""An argument or a class -> old names of its values or of its attributes -> the new ones."""


def mend_name(owner: str, old: str) -> str:
    """Return what an old name is called now, "" where it is none.

    Examples
    --------
    >>> mend_name("Blame", "examples")
    "examples: it is called 'gradient_norms' now"
    """
    new = NAMES[owner].get(old)
    return f"{old}: it is called {new!r} now" if new else ""


class OldName:
    """An attribute under its old name in a class's body: to read or set it raises."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._mend = mend_name(owner.__name__, name)

    def __get__(self, instance: Any, owner: type | None = None) -> NoReturn:
        raise AttributeError(self._mend)

    def __set__(self, instance: Any, value: Any) -> NoReturn:
        raise AttributeError(self._mend)


def refuse_old_arguments(cls: type[T]) -> type[T]:
    """Let a class raise TypeError where it is called with an argument under its old name."""
    init = cls.__init__

    @functools.wraps(init)
    def checked_init(self: T, *args: Any, **options: Any) -> None:
        for name in options:
            if mend := mend_name(cls.__name__, name):
                raise TypeError(f"{cls.__name__}: {mend}")
        init(self, *args, **options)

    cls.__init__ = checked_init  # type: ignore[assignment]
    return cls
