"""Whatever uses an old public name raises, and the error says the new one."""

from __future__ import annotations

import inspect
import pickle
import pydoc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import culpa
from culpa._renamed import NAMES

X, Y = np.ones((4, 3)), [0, 1, 0, 1]
MODEL = culpa.Sequential([culpa.Dense(2)], loss="cross_entropy", input_size=3, seed=0)
BLAME = MODEL.blame(X, Y)


class Counted(culpa.Callback):
    every = 2


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
    "in a callback's class": (
        "Callback", "every", TypeError, lambda: MODEL.copy().fit(X, Y, callbacks=[Counted()]),
    ),
    "in a callback's class, side by side": (
        "Callback", "every", TypeError,
        lambda: culpa.fit_many([MODEL.copy()], X, Y, callbacks=Counted()),
    ),
    "set in a callback": (
        "Callback", "every", AttributeError, lambda: setattr(culpa.Callback(), "every", 2),
    ),
    "read of a callback": ("Callback", "every", AttributeError, lambda: culpa.Callback().every),
    "passed to HealthCheck": (
        "HealthCheck", "every", TypeError, lambda: culpa.HealthCheck(every=2),
    ),
    "read of HealthCheck": (
        "HealthCheck", "every", AttributeError, lambda: culpa.HealthCheck().every,
    ),
    "passed to StepDecay": (
        "StepDecay", "every", TypeError, lambda: culpa.StepDecay(every=2),
    ),
    "read of StepDecay": ("StepDecay", "every", AttributeError, lambda: culpa.StepDecay(2).every),
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


def test_a_perceptron_refuses_a_callback_that_sets_an_old_name() -> None:
    pytest.importorskip("sklearn")
    from culpa.sklearn import MLPClassifier

    with pytest.raises(TypeError, match="'every_steps' now"):
        MLPClassifier(callbacks=[Counted()]).fit(X, Y)


def test_signatures_and_help_show_the_new_names() -> None:
    assert (
        str(inspect.signature(culpa.StepDecay))
        == "(every_epochs: 'int', factor: 'float' = 0.1) -> None"
    )
    assert "every" not in inspect.signature(culpa.HealthCheck).parameters
    assert (
        culpa.StepDecay(3)
        == culpa.StepDecay(every_epochs=3)
        == pickle.loads(pickle.dumps(culpa.StepDecay(3)))
    )
    assert repr(culpa.StepDecay(3)) == "StepDecay(every_epochs=3, factor=0.1)"
    for thing in (culpa.Callback, culpa.HealthCheck, culpa.StepDecay):
        assert "every_" in pydoc.render_doc(thing)
