"""What private training says that it has spent: all of it, from above and not by much."""

import contextlib
import itertools
import math
import pickle
import signal
import sys
from typing import Any

import numpy as np
import pytest

import culpa
from culpa import Dense
from culpa.training import accounting
from culpa.training.accounting import Account
from culpa.training.options import NAMES

rng = np.random.default_rng(0)
X, y = rng.normal(size=(120, 3)), rng.integers(0, 2, 120)
OPTIONS = {"epochs": 4, "batch_size": 12, "verbose": False}  # 10 steps an epoch


def private(noise: float = 4.0, **options: Any) -> culpa.Privacy:
    return culpa.Privacy(noise, 1.0, 1e-5, seed=3, **options)


def network(**options: Any) -> culpa.Sequential:
    return culpa.Sequential([Dense(2)], "cross_entropy", **options)


class At(culpa.Callback):
    """Does something after so many steps."""

    def __init__(self, step: int, what: Any) -> None:
        self.every_steps, self.what = step, what

    def on_step(self, training: Any) -> None:
        self.what(training)


def raises(error: BaseException) -> Any:
    def throw(training: Any) -> None:
        raise error

    return throw


# --- Every step that touched the weights ---------------------------------------------------------


ENDS = {
    "stop": (lambda training: training.stop(), None),
    "ctrl_c": (raises(KeyboardInterrupt()), KeyboardInterrupt),
    "error": (raises(RuntimeError("the disk is full")), RuntimeError),
}


@pytest.mark.parametrize("step", [3, 15, 27])
@pytest.mark.parametrize("end", ENDS)
def test_epsilon_covers_the_steps_of_an_epoch_that_was_broken_off(end: str, step: int) -> None:
    pytest.importorskip("dp_accounting")
    act, error = ENDS[end]
    model = network()
    with pytest.raises(error) if error else contextlib.nullcontext():
        model.fit(X, y, privacy=private(), callbacks=At(step, act), **OPTIONS)
    history = model.history
    assert history is not None
    assert history.privacy is not None
    assert history.privacy.steps == model._network.core.steps == step
    tight = private().epsilon(step, 0.1)
    assert tight <= history.privacy.epsilon <= 1.02 * tight
    assert history.epochs == step // 10
    if history.epochs:
        assert history.epsilon[-1] == history.privacy.epsilon
        assert history.epsilon == sorted(history.epsilon)


def test_epsilon_covers_the_steps_before_ctrl_c_reached_the_core() -> None:
    pytest.importorskip("dp_accounting")
    large = culpa.Sequential([Dense(256, "relu"), Dense(2)], "cross_entropy")
    rows = np.tile(X, (200, 20))
    labels = np.tile(y, 200)
    before = signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    signal.setitimer(signal.ITIMER_REAL, 0.4)
    try:
        with pytest.raises(KeyboardInterrupt):
            large.fit(rows, labels, epochs=1000, privacy=private(), verbose=False)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert large.history is not None
    assert large.history.privacy is not None
    assert large.history.privacy.steps == large._network.core.steps > 0


def test_epsilon_covers_steps_that_diverged() -> None:
    pytest.importorskip("dp_accounting")
    model = culpa.Sequential([Dense(4, "relu"), Dense(1)], "mse")
    values = np.where(np.arange(120) < 119, 1.0, 1e30)  # its loss is infinite in float32
    with pytest.raises(culpa.DivergedError):
        model.fit(X, values, privacy=private(), shuffle=True, optimizer=culpa.SGD(1e18), **OPTIONS)
    assert model.history is not None
    assert model.history.privacy is not None
    assert model.history.privacy.steps == model._network.core.steps
    assert model.history.privacy.steps % 10 > 0


def test_epsilon_covers_the_steps_after_the_best_epoch() -> None:
    pytest.importorskip("dp_accounting")
    stopping = culpa.EarlyStopping(2, min_delta=10.0)  # nothing is ever better than the first
    model = network()
    history = model.fit(
        X, y, privacy=private(), validation_data=(X, y), early_stopping=stopping, **OPTIONS
    )
    assert (history.best_epoch, history.epochs) == (0, 3)
    assert history.privacy is not None
    assert history.privacy.steps == 30
    assert history.epsilon[-1] >= private().epsilon(30, 0.1)


def test_the_account_is_of_one_fit_and_the_fits_of_a_model_add_up_by_their_steps() -> None:
    pytest.importorskip("dp_accounting")
    model = network()
    spent = [model.fit(X, y, privacy=private(), **OPTIONS).privacy for _ in range(2)]
    assert [account.steps for account in spent] == [40, 40]
    assert model._network.core.steps == 80
    assert private().epsilon(80, 0.1) > spent[1].epsilon
    assert model.fit(X, y, **OPTIONS).privacy is None


def test_the_account_is_right_in_every_callback() -> None:
    pytest.importorskip("dp_accounting")
    seen = []
    note = At(4, lambda training: seen.append(training.history.privacy.epsilon))
    network().fit(X, y, privacy=private(), callbacks=note, **{**OPTIONS, "epochs": 2})
    for steps, epsilon in zip((4, 8, 12, 16, 20), seen, strict=True):
        tight = private().epsilon(steps, 0.1)
        assert tight <= epsilon <= 1.02 * tight


def test_without_an_accountant_the_steps_are_counted_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shuffled = network().fit(X, y, privacy=private(sampling="shuffle"), **OPTIONS).privacy
    assert (shuffled.steps, shuffled.epsilon) == (40, None)
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    history = network().fit(X, y, privacy=private(), **OPTIONS)
    assert "epsilon" not in history
    assert (history.privacy.steps, history.privacy.epsilon) == (40, None)


def test_an_account_can_be_pickled_and_read() -> None:
    pytest.importorskip("dp_accounting")
    model = network()
    history = model.fit(X, y, privacy=private(), **OPTIONS)
    for other in (pickle.loads(pickle.dumps(history)), model.copy().history):
        assert other.privacy.epsilon == history.privacy.epsilon == history.epsilon[-1]
        assert repr(other.privacy).startswith("<40 private steps: epsilon ")


# --- From above, and not by much -----------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.001, 0.03, 1.0])
@pytest.mark.parametrize("noise", [0.7, 1.0, 4.0])
def test_epsilon_is_at_least_the_accountants_and_at_most_some_hundredths_more(
    noise: float, rate: float
) -> None:
    pytest.importorskip("dp_accounting")
    privacy = culpa.Privacy(noise, 1.0, 1e-5)
    for an_epoch, epochs in ((1, 1), (40, 4)):
        account = Account(privacy, rate)
        for _ in range(epochs):
            account.steps += an_epoch
            assert account.epsilon is not None  # asked for as an epoch ends
        tight = privacy.epsilon(account.steps, rate)
        best = min(tight, privacy.epsilon(account.steps, rate, accountant="rdp"))
        assert tight <= account.epsilon <= 1.02 * best, account


def test_epsilon_of_narrow_losses_is_between_the_truth_and_the_accountants() -> None:
    pytest.importorskip("dp_accounting")
    from dp_accounting.pld import privacy_loss_distribution

    noise, rate, steps = 8.0, 0.0005, 2000  # the width of a loss is below the accountant's grid
    account = Account(culpa.Privacy(noise, 1.0, 1e-6), rate)
    account.steps = steps
    fine = privacy_loss_distribution.from_gaussian_mechanism(
        noise, sampling_prob=rate, value_discretization_interval=2e-6
    )
    truth = fine.self_compose(steps).get_epsilon_for_delta(1e-6)
    assert truth <= account.epsilon <= 1.03 * truth
    assert account.epsilon <= culpa.Privacy(noise, 1.0, 1e-6).epsilon(steps, rate)


def test_epsilon_of_one_step_of_all_rows_is_that_of_the_gaussian_mechanism() -> None:
    pytest.importorskip("dp_accounting")

    def phi(t: float) -> float:
        return 0.5 * math.erfc(-t / math.sqrt(2))

    for noise in (0.5, 1.1, 6.0):
        account = Account(culpa.Privacy(noise, 1.0, 1e-5), 1.0)
        account.steps = 1
        assert account.epsilon is not None
        a, b = 0.5 / noise, account.epsilon * noise  # Balle and Wang 2018, theorem 8
        delta = phi(a - b) - math.exp(account.epsilon) * phi(-a - b)
        assert 0.8e-5 < delta <= 1e-5


def test_epsilon_at_the_ends() -> None:
    pytest.importorskip("dp_accounting")
    for noise, want in ((0.0, math.inf), (1e-9, math.inf), (1e9, 0.0)):
        account = Account(culpa.Privacy(noise, 1.0, 1e-5), 0.01)
        assert account.epsilon == 0.0
        account.steps = 5
        assert account.epsilon == want


def test_an_epoch_is_accounted_for_once_and_composed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dp_accounting")
    calls = []
    compute = Account._compute_epsilon
    monkeypatch.setattr(
        Account, "_compute_epsilon", lambda self: calls.append(self.steps) or compute(self)
    )
    one = accounting.one_step(4.0, 0.1)
    composed = []

    class Counted:
        def self_compose(self, steps: int) -> Any:
            composed.append(steps)
            return one.self_compose(steps)

    monkeypatch.setattr(accounting, "one_step", lambda noise, rate: Counted())
    read = [lambda training: training.history.epsilon]
    history = network().fit(X, y, privacy=private(), callbacks=read, **OPTIONS)
    assert history.privacy is not None
    assert history.privacy.epsilon == history.epsilon[-1]
    assert calls == [10, 20, 30, 40]
    assert composed == [10]


# --- Rows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", ["poisson", "shuffle"])
@pytest.mark.parametrize("split", [0.0, 0.5])
def test_rows_that_are_named_twice_are_refused_beside_privacy(sampling: str, split: float) -> None:
    model = network(input_size=3)
    before = model.state_dict()
    options = {"validation_split": split, "privacy": private(sampling=sampling), **OPTIONS}
    for rows in ([0] * 50, [3, 1, 2, 1], np.append(np.arange(120), 7)):
        with pytest.raises(ValueError, match=r"^rows: expected each row once beside privacy"):
            model.fit(X, y, rows=rows, **options)
    for name, array in model.state_dict().items():
        assert np.array_equal(array, before[name])
    assert model.history is None


def test_rows_that_are_named_once_count_as_all_there_are() -> None:
    pytest.importorskip("dp_accounting")
    history = network().fit(X, y, rows=np.arange(60)[::-1], privacy=private(), **OPTIONS)
    assert history.privacy is not None
    assert (history.privacy.steps, history.privacy.sample_rate) == (20, 0.2)
    plain = network().fit(X, y, rows=[0, 0, 1], **OPTIONS)  # without privacy they may be repeated
    assert plain.epochs == 4


def test_the_docstring_of_fit_names_all_its_options() -> None:
    text = culpa.Sequential.fit.__doc__
    assert text is not None
    for name in itertools.chain(("X", "y"), NAMES):
        assert f"\n        {name} : " in text, name
