"""Public names that changed: what is still called by its old name says the new one."""

from __future__ import annotations

__all__ = ["NAMES", "mend_name"]

NAMES: dict[str, dict[str, str]] = {
    "want": {"examples": "gradient_norms"},
    "Blame": {"examples": "gradient_norms"},
}
"""An argument, or a class -> old names of its values, or of its attributes -> the new ones."""


def mend_name(owner: str, old: str) -> str:
    """Return what an old name is called now, "" where it is none.

    Examples
    --------
    >>> mend_name("Blame", "examples")
    "examples: it is called 'gradient_norms' now"
    """
    new = NAMES[owner].get(old)
    return f"{old}: it is called {new!r} now" if new else ""
