"""Whatever uses an old public name raises, and the error says the new one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import culpa
from culpa.renamed import NAMES

X, Y = np.ones((4, 3)), [0, 1, 0, 1]
MODEL = culpa.Sequential([culpa.Dense(2)], loss="cross_entropy", input_size=3, seed=0)
BLAME = MODEL.blame(X, Y)

# Each door at which an old name may come in: where, the name, the error, and what uses it.
DOORS: dict[str, tuple[str, str, type[Exception], Callable[[], Any]]] = {
    "asked for": ("want", "examples", ValueError, lambda: MODEL.blame(X, Y, want="examples")),
    "asked for among others": (
        "want", "examples", ValueError, lambda: MODEL.blame(X, Y, want=("losses", "examples")),
    ),
    "read": ("Blame", "examples", AttributeError, lambda: BLAME.examples),
    "read where it was not asked for": (
        "Blame", "examples", AttributeError, lambda: MODEL.blame(X, Y, want="losses").examples,
    ),
    "read of groups": ("Blame", "examples", AttributeError, lambda: BLAME.groups(Y).sums.examples),
}  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
def test_an_old_name_raises_with_the_new_one(door: str) -> None:
    where, old, error, use = DOORS[door]
    with pytest.raises(error, match=rf"it is called '{NAMES[where][old]}' (now|here)$") as caught:
        use()
    assert old in str(caught.value)


def test_every_old_name_has_its_door() -> None:
    named = {(where, old) for where, old, _, _ in DOORS.values()}
    assert named == {(where, old) for where, names in NAMES.items() for old in names}
