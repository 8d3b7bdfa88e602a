"""A signal handler may use the models of the call that it interrupts.

A job that is about to be cut off gets SIGTERM or SIGUSR1, and its handler saves the model.
"""

import os
from pathlib import Path
from typing import Any

import pytest

import helpers

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="signals and forks are POSIX")
SANITIZED = "CULPA_SANITIZED" in os.environ  # all takes ten times as long: a few of each
TRAINING = ["fit", "fit many"]
READING = ["blame"] if SANITIZED else ["predict", "evaluate", "blame", "attribute", "influence"]


def handled(call: str, action: str, tmp_path: Path, threads: int = 2) -> Any:
    """What came of a call during which a handler does something every 0.12 s."""
    answer = helpers.last_json_of(
        "handle_signals.py",
        call,
        action,
        threads,
        timeout=400 if SANITIZED else 120,  # it hung for ever
        SAVE_IN=str(tmp_path),
    )
    assert answer["handled"] >= 1, "no signal came in time"
    assert answer["inside"] >= 1, "no signal came inside of the call"
    return answer


@pytest.mark.parametrize("threads", [2] if SANITIZED else [1, 2])
@pytest.mark.parametrize("call", [*TRAINING, *READING])
def test_a_handler_reads_the_last_finished_step(call: str, threads: int, tmp_path: Path) -> None:
    answer = handled(call, "read", tmp_path, threads)
    assert answer["whole"]
    assert answer["same"]


@pytest.mark.parametrize("call", [*TRAINING, *(call for call in READING if call != "influence")])
def test_a_handler_that_writes_gets_an_error_and_the_call_goes_on(
    call: str, tmp_path: Path
) -> None:
    answer = handled(call, "write", tmp_path)
    assert answer["same"]
    inside = "is being trained" if call in TRAINING else "the call that this signal handler"
    # Of a call that reads, some signals come before the core is entered: there it may write.
    assert any(inside in error for error in answer["errors"])
    if call in TRAINING:
        assert all(inside in error for error in answer["errors"])


@pytest.mark.skipif(SANITIZED, reason="takes long under the sanitizers")
def test_influence_is_that_of_the_weights_it_began_with(tmp_path: Path) -> None:
    assert handled("influence", "write", tmp_path)["same"]  # it works on a copy


@pytest.mark.parametrize("call", TRAINING)
def test_a_handler_trains_another_model(call: str, tmp_path: Path) -> None:
    assert handled(call, "train another", tmp_path)["same"]


@pytest.mark.parametrize("call", [*TRAINING, *READING[::2]])
@pytest.mark.parametrize("action", ["fork and exit", "fork and go on"])
def test_a_handler_that_forks_does_no_harm(call: str, action: str, tmp_path: Path) -> None:
    answer = handled(call, action, tmp_path)
    assert answer["same"]
    assert answer["child"] == 0  # the child's answer is the same, too
