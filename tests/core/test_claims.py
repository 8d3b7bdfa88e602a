"""No KeyboardInterrupt, wherever it comes, leaves a model locked; copies beside a fit are whole."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import pytest

import culpa
import helpers
from culpa import _core
from culpa.training.training import Training

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
    while interrupted(
        lambda: CALLS[call](model), {"sequential.py", "many.py", "run.py", "network.py"}, moment
    ):
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
        every_steps = 1

        def on_step(self, training: Any) -> None:
            states.append(training.model._network.core.state())

    reference = model.copy()
    reference.fit(X, y, callbacks=Note(), **{**OPTIONS, "epochs": 30})
    over = threading.Event()
    copies: list[culpa.Sequential] = []

    def copy() -> None:
        while not over.is_set():
            copies.append(model.copy())

    class Slowly(culpa.Callback):  # so that copies come in between
        every_steps = 1

        def on_step(self, training: Any) -> None:
            threading.Event().wait(0.001)

    thread = threading.Thread(target=copy)
    thread.start()
    model.fit(X, y, callbacks=Slowly(), **{**OPTIONS, "epochs": 30})
    over.set()
    thread.join()
    seen = set()
    for one in copies:
        state = one._network.core.state()
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
            *_, updates, steps = model._network.core.state()
            if updates != steps:
                torn.append((updates, steps))

    over = threading.Event()
    thread = threading.Thread(target=look)
    thread.start()
    model.fit(big, labels, epochs=20, batch_size=20, verbose=False)
    over.set()
    thread.join()
    assert not torn
    assert model._network.core.steps == 20 * 100


DRAWS: dict[str, Callable[[], object]] = {
    "permutation": lambda: _core.permutation(3_000_000, 0, 0, 0),
    "poisson_batches": lambda: _core.poisson_batches(3_000_000, 0.5, 0, 0, 1),
    "draw_numbers": lambda: _core.draw_numbers("normal", 2_000_000, 0, 0, 0),
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


def test_a_fit_that_is_refused_leaves_history_and_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make()
    model.fit(X, y, **OPTIONS)
    before, history, optimizer = model._network.core.state(), model.history, model.optimizer

    class Refuses:
        """A model's core, but for memory that runs out in the first step."""

        def __init__(self, core: Any) -> None:
            self.core = core

        def __getattr__(self, name: str) -> Any:
            if name == "train":
                raise MemoryError
            return getattr(self.core, name)

    prepare = Training.__init__

    def without_memory(self: Any, *args: Any, **options: Any) -> None:
        prepare(self, *args, **options)
        self.core = Refuses(self.core)

    monkeypatch.setattr(Training, "__init__", without_memory)
    with pytest.raises(MemoryError):
        model.fit(X, y, optimizer=culpa.SGD(0.1), **OPTIONS)
    monkeypatch.undo()
    assert model.history is history
    assert model.optimizer == optimizer
    for one, other in zip(before, model._network.core.state(), strict=True):
        assert np.array_equal(one, other)


def test_only_what_began_ends() -> None:
    log = []

    class Fails(culpa.Callback):
        def on_fit_begin(self, training: Any) -> None:
            log.append("begin")
            raise ZeroDivisionError

        def on_fit_end(self, training: Any) -> None:
            log.append("end")

    with pytest.raises(ZeroDivisionError):
        culpa.fit_many([make(), make()], X, y, callbacks=Fails())
    assert log == ["begin", "end"]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="signals are POSIX")
def test_a_handler_waits_for_no_call_that_waits_for_it() -> None:
    """Models of a fit_many in another thread, one of which this thread is guessing with."""
    models = [
        culpa.Sequential([culpa.Dense(400, "relu"), culpa.Dense(2)], "cross_entropy", input_size=3)
        for _ in range(4)
    ]
    big = np.tile(X, (4000, 1))
    handled = []

    def handle(number: int, frame: object) -> None:
        handled.append([model.predict(X[:1]) for model in models])

    over = threading.Event()

    def train() -> None:
        while not over.is_set():
            culpa.fit_many(models, X, y, epochs=5)

    thread = threading.Thread(target=train)
    before = signal.signal(signal.SIGALRM, handle)
    thread.start()
    signal.setitimer(signal.ITIMER_REAL, 0.06, 0.06)
    try:
        for _ in range(6):
            for model in models:
                model.predict(big)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        over.set()
        thread.join()
    assert handled


@pytest.mark.skipif(
    "CULPA_SANITIZED" in os.environ,
    reason="a fork may leave the sanitizer's own allocator locked in the child",
)
def test_other_threads_of_a_forked_child_may_train() -> None:
    """A new thread of the child may get the place in memory of one that trained in the parent."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork on this system")
    ran = helpers.run_program("train_in_threads_of_a_child.py", timeout=200)
    assert ran.returncode == 0


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="signals are POSIX")
def test_a_call_that_waits_for_a_model_listens_to_signals() -> None:
    layers = [culpa.Dense(1024, "relu"), culpa.Dense(1024, "relu"), culpa.Dense(2)]
    model = culpa.Sequential(layers, "cross_entropy", input_size=3)
    big = np.tile(X, (1000, 1))
    over = threading.Event()

    def train() -> None:  # one step that takes long
        model.fit(big, np.tile(y, 1000), epochs=1, batch_size=len(big), verbose=False)
        over.set()

    def handle(number: int, frame: object) -> None:
        raise ZeroDivisionError

    def ask() -> None:
        while not over.is_set():
            model.predict(X[:1])  # waits for the step

    thread = threading.Thread(target=train)
    before = signal.signal(signal.SIGALRM, handle)
    try:
        thread.start()
        threading.Event().wait(0.2)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(ZeroDivisionError):
            ask()
        assert not over.is_set()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        thread.join()
    assert model.predict(X[:1]).shape == (1,)
