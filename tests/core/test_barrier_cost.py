"""What a meeting of threads costs is measured, and a bad moment's measurement is not for life."""

from __future__ import annotations

import pytest

import helpers


def asked(threads: int, planted: float, rounds: int, asks: int) -> list[list[float]]:
    """What the core says the meeting costs: in each round, `planted` is said to be measured."""
    answers: list[list[float]] = helpers.last_json_of(
        "ask_for_barrier_cost.py", threads, planted, rounds, asks
    )
    return answers


def test_a_poor_measurement_is_made_again() -> None:
    for answers in asked(2, 1.0, rounds=2, asks=8):
        assert answers[:7] == [1.0] * 7
        assert 0 < answers[7] < 1.0


def looks(planted: float) -> list[int]:
    """The rounds in which the core measured anew."""
    answers = asked(3, planted, rounds=1000, asks=1)
    return [i for i, answer in enumerate(answers, 1) if answer != [planted]]


def test_looks_become_rarer_however_poor_they_are() -> None:
    assert looks(1.0) == [8, 16, 32, 64, 128, 256, 512]


def test_a_good_measurement_stands() -> None:
    assert looks(1e-6) == []


def test_a_worse_look_does_not_replace_a_better_one() -> None:
    (answers,) = asked(2, 4e-6, rounds=1, asks=100)
    assert max(answers) <= 4e-6


@pytest.mark.parametrize("call", ["fit", "predict", "blame", "influence"])
def test_calls_that_do_without_threads_for_its_sake_measure_it_again(call: str) -> None:
    assert helpers.last_json_of("call_without_threads.py", call, CULPA_NUM_THREADS="2") < 1.0
