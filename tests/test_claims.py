"""No KeyboardInterrupt, wherever it comes, leaves a model locked; copies beside a fit are whole."""

import os
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import pytest

import culpa
from culpa import _core

rng = np.random.default_rng(0)
X, y = rng.normal(size=(40, 3)), rng.integers(0, 2, 40)
OPTIONS: dict[str, Any] = {"epochs": 1, "batch_size": 20, "verbose": False}


def interrupted(work: Callable[[], object], files: set[str], moment: int) -> bool:
    """Do the work, with a KeyboardInterrupt after the call of that number in these files.

    The interpreter looks for signals where a call has returned, among other places.
    """
    left = moment

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal left
        caller = frame.f_back if event == "return" else frame
        if event not in ("return", "c_return") or caller is None:
            return
        if os.path.basename(caller.f_code.co_filename) not in files:
            return
        left -= 1
        if left == -1:
            raise KeyboardInterrupt

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(before)
    return left < 0  # it came, and was caught


def usable(model: culpa.Sequential) -> None:
    model.load_state_dict(model.state_dict())
    model.fit(X, y, **OPTIONS)
    other = threading.Thread(target=lambda: model.fit(X, y, **OPTIONS))
    failures: list[object] = []
    hook, threading.excepthook = threading.excepthook, failures.append
    try:
        other.start()
        other.join()
    finally:
        threading.excepthook = hook
    assert not failures, failures


def make() -> culpa.Sequential:
    return culpa.Sequential([culpa.Dense(2)], "cross_entropy", input_size=3)


CALLS: dict[str, Callable[[culpa.Sequential], object]] = {
    "fit": lambda model: model.fit(X, y, **OPTIONS),
    "fit_many": lambda model: culpa.fit_many([model, make()], X, y, epochs=1),
    "load_state_dict": lambda model: model.load_state_dict(model.state_dict()),
}


@pytest.mark.parametrize("call", CALLS)
def test_no_interrupt_leaves_a_model_locked(call: str) -> None:
    model = make()
    moment = 0
    while interrupted(lambda: CALLS[call](model), {"model.py"}, moment):
        usable(model)
        moment += 1
    assert moment > 10  # calls


@pytest.mark.filterwarnings("ignore::UserWarning")  # interrupted, or not converged
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_no_interrupt_leaves_an_estimator_locked(solver: str) -> None:
    pytest.importorskip("sklearn")
    from culpa.sklearn import MLPClassifier

    options: dict[str, Any] = {"max_iter": 1, "batch_size": 40, "random_state": 0}
    estimator = MLPClassifier((3,), solver=solver, **options).fit(X, y)
    files = {"fitting.py", "perceptron.py", "network.py"}
    moment = 0
    while interrupted(lambda: estimator.fit(X, y), files, moment):
        with estimator.__dict__["_core"][1].training():
            pass  # it is free
        moment += 3
    assert moment > 10


def test_a_copy_beside_a_fit_is_of_one_step() -> None:
    layers = [culpa.Dense(24, "relu"), culpa.Dense(2)]
    model = culpa.Sequential(layers, "cross_entropy", input_size=3)
    states = []

    class Note(culpa.Callback):
        every = 1

        def on_step(self, training: Any) -> None:
            states.append(training.model._core.state())

    reference = model.copy()
    reference.fit(X, y, callbacks=Note(), **{**OPTIONS, "epochs": 30})
    over = threading.Event()
    copies: list[culpa.Sequential] = []

    def copy() -> None:
        while not over.is_set():
            copies.append(model.copy())

    class Slowly(culpa.Callback):  # so that copies come in between
        every = 1

        def on_step(self, training: Any) -> None:
            threading.Event().wait(0.001)

    thread = threading.Thread(target=copy)
    thread.start()
    model.fit(X, y, callbacks=Slowly(), **{**OPTIONS, "epochs": 30})
    over.set()
    thread.join()
    seen = set()
    for one in copies:
        state = one._built().state()
        steps = state[4]
        seen.add(steps)
        if steps == 0:
            continue
        assert state[3] == steps
        for got, expected in zip(state[:3], states[steps - 1][:3], strict=True):
            assert np.array_equal(got, expected)
    assert len(seen) > 5


def test_the_core_says_which_weights_are_of_which_step() -> None:
    """Steps are counted with the weights, while a chunk of many runs."""
    layers = [culpa.Dense(64, "relu"), culpa.Dense(64, "relu"), culpa.Dense(2)]
    model = culpa.Sequential(layers, "cross_entropy", input_size=3)
    big, labels = np.tile(X, (50, 1)), np.tile(y, 50)
    torn = []

    def look() -> None:
        while not over.is_set():
            *_, updates, steps = model._built().state()
            if updates != steps:
                torn.append((updates, steps))

    over = threading.Event()
    thread = threading.Thread(target=look)
    thread.start()
    model.fit(big, labels, epochs=20, batch_size=20, verbose=False)
    over.set()
    thread.join()
    assert not torn
    assert model._built().steps == 20 * 100


DRAWS: dict[str, Callable[[], object]] = {
    "permutation": lambda: _core.permutation(3_000_000, 0, 0, 0),
    "poisson_batches": lambda: _core.poisson_batches(3_000_000, 0.5, 0, 0, 1),
    "draw": lambda: _core.draw("normal", 2_000_000, 0, 0, 0),
}


@pytest.mark.parametrize("name", DRAWS)
def test_other_threads_run_while_numbers_are_drawn(name: str) -> None:
    ticks = 0
    over = False

    def tick() -> None:
        nonlocal ticks
        while not over:
            ticks += 1

    thread = threading.Thread(target=tick)
    thread.start()
    before = ticks
    DRAWS[name]()
    after = ticks
    over = True
    thread.join()
    assert after > before + 10
