"""What a meeting of threads costs is measured, and a bad moment's measurement is not for life."""

from __future__ import annotations

import pytest

import helpers

ASK = """
import json
from culpa import _core

_core.set_barrier_seconds(2, 1.0)
first = [_core.barrier_seconds(2) for _ in range(8)]
_core.set_barrier_seconds(2, 1.0)
second = [_core.barrier_seconds(2) for _ in range(8)]
print(json.dumps([first, second]))
"""


def test_a_poor_measurement_is_made_again() -> None:
    for answers in helpers.last_json(ASK):
        assert answers[:7] == [1.0] * 7
        assert 0 < answers[7] < 1.0


MANY = """
import json
from culpa import _core

looks = []
for i in range(1, 1001):
    _core.set_barrier_seconds(3, PLANTED)
    if _core.barrier_seconds(3) != PLANTED:
        looks.append(i)
print(json.dumps(looks))
"""


def test_looks_become_rarer_however_poor_they_are() -> None:
    assert helpers.last_json(MANY.replace("PLANTED", "1.0")) == [8, 16, 32, 64, 128, 256, 512]


def test_a_good_measurement_stands() -> None:
    assert helpers.last_json(MANY.replace("PLANTED", "1e-6")) == []


WORSE = """
import json
from culpa import _core

_core.set_barrier_seconds(2, 4e-6)
print(json.dumps(max(_core.barrier_seconds(2) for _ in range(100))))
"""


def test_a_worse_look_does_not_replace_a_better_one() -> None:
    assert helpers.last_json(WORSE) <= 4e-6


CALLS = """
import json
import numpy as np
import culpa
from culpa import _core

X, y = np.ones((2000, 50), np.float32), np.zeros(2000, int)
layers = [culpa.Dense(64, "relu"), culpa.Dense(3)]
model = culpa.Sequential(layers, loss="cross_entropy", input_size=50)
_core.set_barrier_seconds(2, 1.0)  # threads do not pay
for _ in range(8):
    CALL
print(json.dumps(_core.barrier_seconds(2)))
"""


@pytest.mark.parametrize(
    "call",
    [
        "model.fit(X, y, epochs=1, verbose=False)",
        "model.predict(X)",
        'model.blame(X, y, want=["losses"])',
        "model.influence(X, y, X[:50], y[:50])",
    ],
)
def test_calls_that_do_without_threads_for_its_sake_measure_it_again(call: str) -> None:
    assert helpers.last_json(CALLS.replace("CALL", call), CULPA_NUM_THREADS="2") < 1.0
