"""Scores of examples equal their papers' definitions; forgetting equals a slow replay of training.

Error is reference.relative_error, max|a - b| / max|b| of each array.
"""

from typing import Any

import numpy as np
import pytest

import culpa
import helpers
import reference
from culpa import _core
from helpers import DTYPES, LOSSES, TOLERANCE, assert_close

CLASSIFIERS = [case for case in LOSSES if case.targets in ("labels", "probabilities", "binary")]
REGRESSIONS = [case for case in LOSSES if case not in CLASSIFIERS]


def several(case: Any, models: int = 3, dtype: str = "float64", widths: Any = (6, 9, 4)) -> Any:
    """Problems of several models on the same examples."""
    first = helpers.make_problem(widths, ["tanh", "identity"], case, 23, dtype, seed=4)
    problems = [first]
    for seed in range(1, models):
        parameters = helpers.random_parameters(widths, np.random.default_rng(seed))
        model = helpers.make_model(parameters, first.activations, case.loss, dtype=dtype)
        problems.append(
            helpers.Problem(
                model, parameters, first.activations, first.alphas, case, first.X, first.y, None
            )
        )
    return problems


def oracle_el2n(problem: helpers.Problem) -> reference.Array:
    z = problem.walk.outputs
    if problem.case.loss.name == "binary_cross_entropy":
        p, y = 1 / (1 + np.exp(-z)), problem.y.reshape(z.shape)
    else:
        e = np.exp(z - z.max(axis=1, keepdims=True))
        p, y = e / e.sum(axis=1, keepdims=True), problem.y
        if y.ndim == 1:
            y = np.eye(z.shape[1])[y]
    return np.array([np.linalg.norm(row) for row in p - y])


# EL2N and GraNd


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("models", [1, 3])
@pytest.mark.parametrize("case", CLASSIFIERS, ids=str)
def test_el2n_is_the_norm_of_the_error_of_the_probabilities(
    case: Any, models: int, dtype: str
) -> None:
    problems = several(case, models, dtype)
    X, y = problems[0].X, problems[0].y
    got = culpa.el2n([problem.model for problem in problems], X, y)
    want = np.mean([oracle_el2n(problem) for problem in problems], axis=0)
    assert_close("el2n", got, want, TOLERANCE[dtype])
    assert got.dtype == np.float64
    if models == 1:
        np.testing.assert_array_equal(culpa.el2n(problems[0].model, X, y), got)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("models", [1, 3])
@pytest.mark.parametrize("case", LOSSES, ids=str)
def test_grand_is_the_norm_of_the_whole_gradient(case: Any, models: int, dtype: str) -> None:
    problems = several(case, models, dtype)
    X, y = problems[0].X, problems[0].y
    got = culpa.grand(tuple(problem.model for problem in problems), X, y)
    want = np.mean([problem.walk.gradient_norms for problem in problems], axis=0)
    assert_close("grand", got, want, TOLERANCE[dtype])
    assert got.dtype == np.float64


def test_el2n_of_one_binary_output_is_the_distance() -> None:
    (problem,) = several(LOSSES[4], 1, widths=(6, 9, 1))
    p = problem.model.predict_proba(problem.X)
    got = culpa.el2n(problem.model, problem.X, problem.y)
    np.testing.assert_allclose(got, np.abs(p - problem.y.ravel()), rtol=1e-12)


def test_el2n_of_many_rows_in_any_layout_is_that_of_each() -> None:
    (problem,) = several(LOSSES[0], 1)
    rows = np.random.default_rng(0).integers(0, 23, 9000)
    want = culpa.el2n(problem.model, problem.X, problem.y)[rows]
    X, y = np.asfortranarray(problem.X[rows]), problem.y[rows].astype(np.uint8)
    np.testing.assert_allclose(culpa.el2n(problem.model, X, y), want, rtol=1e-12)


def test_el2n_of_sure_guesses_is_0_or_the_square_root_of_2() -> None:
    model = culpa.Sequential([culpa.Dense(3)], "cross_entropy", input_size=1)
    model.layers[0].weight = [[1e4, 0.0, 0.0]]
    np.testing.assert_array_equal(culpa.el2n(model, [[1.0], [1.0]], [0, 1]), [0.0, np.sqrt(2.0)])


@pytest.mark.parametrize("case", REGRESSIONS, ids=str)
def test_el2n_is_for_classifiers(case: Any) -> None:
    (problem,) = several(case, 1)
    with pytest.raises(ValueError, match=f"models: .*got {case.loss.name}, .*use culpa.grand"):
        culpa.el2n(problem.model, problem.X, problem.y)


@pytest.mark.parametrize("score", [culpa.el2n, culpa.grand])
def test_scores_name_bad_input(score: Any) -> None:
    (problem,) = several(LOSSES[0], 1)
    model, X, y = problem.model, problem.X, problem.y
    for models, kind, message in (
        ([], ValueError, "models: expected at least one culpa.Sequential, got none"),
        (None, TypeError, "models: expected a culpa.Sequential or a list of them, got None"),
        ([model, 3], TypeError, "models\\[1\\]: expected a culpa.Sequential, got 3"),
    ):
        with pytest.raises(kind, match=message):
            score(models, X, y)
    with pytest.raises(ValueError, match="X: expected 6 columns"):
        score(model, X[:, 1:], y)
    with pytest.raises(ValueError, match="y: expected class indices 0 to 3"):
        score(model, X, y + 7)
    with pytest.raises(ValueError, match="y: expected one entry for each"):
        score([model, model], X, y[1:])
    with pytest.raises(ValueError, match="X: expected at least one row"):
        score(model, X[:0], y[:0])
    with pytest.raises(RuntimeError, match="the model has no weights yet"):
        score(culpa.Sequential([culpa.Dense(4)], "cross_entropy"), X, y)


# Forgetting events

RNG = np.random.default_rng(0)
N = 83
X = RNG.normal(size=(N, 5))
LABELS = RNG.integers(0, 3, N)  # noise: much is forgotten
BITS = RNG.integers(0, 2, (N, 2)).astype(np.float64)
RATE = culpa.SGD(0.5)


def fresh(loss: str = "cross_entropy", **options: Any) -> culpa.Sequential:
    units = 3 if loss == "cross_entropy" else 2
    return culpa.Sequential([culpa.Dense(8, "tanh"), culpa.Dense(units)], loss, **options)


def replay(
    model: culpa.Sequential,
    y: Any,
    batches: list[tuple[int, Any]],
    counts: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Algorithm 1 of the paper, a batch a step: the guess before the update, then the update."""
    if counts is None:
        counts = {
            "events": np.zeros(N, int),
            "presentations": np.zeros(N, int),
            "learned_epoch": np.full(N, -1),
            "before": [False] * N,
        }
    model._network.attach(model._network.initial_core(5), 5)
    for epoch, rows in batches:
        if len(rows):
            guesses = model.predict(X[rows])
            for row, guess in zip(rows, guesses, strict=True):
                right = bool(np.all(guess == y[row]))
                if counts["before"][row] and not right:
                    counts["events"][row] += 1
                if right and counts["learned_epoch"][row] < 0:
                    counts["learned_epoch"][row] = epoch
                counts["before"][row] = right
                counts["presentations"][row] += 1
            model.fit(
                X[rows],
                y[rows],
                epochs=1,
                batch_size=len(rows),
                optimizer=RATE,
                shuffle=False,
                verbose=False,
            )
    return counts


def assert_counts(forgetting: culpa.Forgetting, counts: dict[str, Any]) -> None:
    for name in ("events", "presentations", "learned_epoch"):
        np.testing.assert_array_equal(getattr(forgetting, name), counts[name], name)
    np.testing.assert_array_equal(forgetting.learned, counts["learned_epoch"] >= 0)
    never = (counts["learned_epoch"] < 0) & (counts["presentations"] > 0)
    np.testing.assert_array_equal(forgetting.never_learned, never)
    kept = (counts["learned_epoch"] >= 0) & (counts["events"] == 0)
    np.testing.assert_array_equal(forgetting.unforgettable, kept)


def batches_of(epochs: Any, size: int, rows: Any = None, *, seed: int = 0) -> Any:
    """What fit's shuffles make of the rows."""
    result = []
    for epoch in epochs:
        order = _core.permutation(N if rows is None else len(rows), seed, 0, epoch)
        order = order if rows is None else rows[order]
        result += [(epoch, order[at : at + size]) for at in range(0, len(order), size)]
    return result


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 7, 16, 83, 200])
@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
def test_events_are_those_of_a_slow_replay(loss: str, size: int, dtype: str) -> None:
    y = LABELS if loss == "cross_entropy" else BITS
    forgetting, model = culpa.Forgetting(), fresh(loss, dtype=dtype)
    model.fit(X, y, epochs=6, batch_size=size, optimizer=RATE, callbacks=forgetting, verbose=False)
    slow = fresh(loss, dtype=dtype)
    counts = replay(slow, y, batches_of(range(6), size))
    assert helpers.parameter_bytes(slow) == helpers.parameter_bytes(model)
    assert_counts(forgetting, counts)
    assert size > 16 or forgetting.events.sum() > 0


def test_same_counts_at_any_thread_count_and_the_same_training_without_them() -> None:
    answers = set()
    for threads in (1, 2, 3):
        for schedule in ("rows", "columns"):
            with helpers.plan(threads, schedule):
                forgetting, model, plain = culpa.Forgetting(), fresh(), fresh()
                model.fit(X, LABELS, epochs=5, batch_size=9, callbacks=[forgetting], verbose=False)
                plain.fit(X, LABELS, epochs=5, batch_size=9, verbose=False)
            assert helpers.parameter_bytes(model) == helpers.parameter_bytes(plain)
            assert model.history is not None
            assert plain.history is not None
            assert model.history.loss == plain.history.loss
            answers.add((forgetting.events.tobytes(), forgetting.learned_epoch.tobytes()))
    assert len(answers) == 1


def test_batches_of_several_blocks_are_counted_whole() -> None:
    y = RNG.integers(0, 3, 5000)
    x = RNG.normal(size=(5000, 5))
    forgetting, model = culpa.Forgetting(), fresh()
    guesses = []

    def guess(training: Any) -> None:
        guesses.append(training.model.predict(x) == y)

    model.fit(x, y, epochs=0, verbose=False)
    guesses.append(model.predict(x) == y)
    model.fit(
        x, y, epochs=6, batch_size=5000, optimizer=culpa.SGD(3.0),
        callbacks=[guess, forgetting], verbose=False,
    )  # fmt: skip
    right = np.array(guesses[:6])
    np.testing.assert_array_equal(forgetting.events, (right[:-1] & ~right[1:]).sum(axis=0))
    assert forgetting.events.sum() > 0


def test_a_second_fit_goes_on_counting() -> None:
    once, twice = culpa.Forgetting(), culpa.Forgetting()
    fresh().fit(X, LABELS, epochs=6, batch_size=8, callbacks=once, verbose=False)
    model = fresh()
    for _ in range(2):
        model.fit(X, LABELS, epochs=3, batch_size=8, callbacks=twice, verbose=False)
    for name in ("events", "presentations", "learned_epoch"):
        np.testing.assert_array_equal(getattr(once, name), getattr(twice, name))


def test_rows_held_out_are_never_presented() -> None:
    forgetting = culpa.Forgetting()
    fresh().fit(
        X, LABELS, epochs=4, batch_size=8, validation_split=0.25, callbacks=forgetting,
        verbose=False,
    )  # fmt: skip
    assert sorted(np.unique(forgetting.presentations)) == [0, 4]
    out = forgetting.presentations == 0
    assert out.sum() == round(0.25 * N)
    assert not (forgetting.learned[out] | forgetting.never_learned[out]).any()


def test_batches_without_weight_are_not_presented() -> None:
    weights = np.ones(N)
    weights[16:32] = 0.0
    forgetting = culpa.Forgetting()
    fresh().fit(
        X, LABELS, epochs=3, batch_size=16, sample_weight=weights, shuffle=False,
        callbacks=forgetting, verbose=False,
    )  # fmt: skip
    np.testing.assert_array_equal(forgetting.presentations, np.where(weights > 0, 3, 0))


class StopsAt(culpa.Callback):
    """Ends training after a step, in one way or another."""

    every_steps = 1

    def __init__(self, step: int, error: type[BaseException] | None) -> None:
        self.step, self.error = step, error

    def on_step(self, training: Any) -> None:
        if training.step == self.step:
            if self.error is not None:
                raise self.error
            training.stop()


@pytest.mark.parametrize("steps", [1, 10, 11, 13, 22])
@pytest.mark.parametrize("error", [None, KeyboardInterrupt, ZeroDivisionError])
def test_an_epoch_that_is_broken_off_counts_to_its_last_batch(steps: int, error: Any) -> None:
    forgetting, model = culpa.Forgetting(), fresh()
    options = {"epochs": 5, "batch_size": 8, "optimizer": RATE, "verbose": False}
    stop = StopsAt(steps, error)
    if error is None:
        model.fit(X, LABELS, callbacks=[stop, forgetting], **options)
    else:
        with pytest.raises(error):
            model.fit(X, LABELS, callbacks=[stop, forgetting], **options)
    slow = fresh()
    counts = replay(slow, LABELS, batches_of(range(5), 8)[:steps])
    assert helpers.parameter_bytes(slow) == helpers.parameter_bytes(model)
    assert_counts(forgetting, counts)


def test_a_callback_that_fails_after_an_epoch_was_counted_counts_nothing_twice() -> None:
    def fail(training: Any) -> None:
        if training.epoch == 1:
            raise ZeroDivisionError

    forgetting = culpa.Forgetting()
    with pytest.raises(ZeroDivisionError):
        fresh().fit(X, LABELS, epochs=5, callbacks=[forgetting, fail], verbose=False)
    np.testing.assert_array_equal(forgetting.presentations, np.full(N, 2))


@pytest.mark.parametrize("sampling", ["poisson", "shuffle"])
def test_private_batches_are_counted_as_they_were_drawn(sampling: str) -> None:
    privacy = culpa.Privacy(
        noise_multiplier=0.5, max_grad_norm=1.0, delta=1e-5, seed=3, sampling=sampling
    )
    forgetting, drawn = culpa.Forgetting(), []

    class Sees(culpa.Callback):
        wants_examples = True

        def on_epoch_end(self, training: Any) -> None:
            drawn.append(training.presented())

    fresh().fit(
        X, LABELS, epochs=4, batch_size=20, privacy=privacy, callbacks=[Sees(), forgetting],
        verbose=False,
    )  # fmt: skip
    before, events = [False] * N, np.zeros(N, int)
    for epoch in drawn:
        for row, score in zip(epoch.rows, epoch.scores, strict=True):
            events[row] += before[row] and not score
            before[row] = bool(score)
    np.testing.assert_array_equal(forgetting.events, events)
    rows = np.concatenate([epoch.rows for epoch in drawn])
    np.testing.assert_array_equal(forgetting.presentations, np.bincount(rows, minlength=N))
    assert sampling == "shuffle" or len(set(forgetting.presentations)) > 2


def test_training_presents_each_examples_own_loss() -> None:
    seen = []

    class Sees(culpa.Callback):
        wants_examples = True
        every_steps = 3

        def on_step(self, training: Any) -> None:
            seen.append(training.presented())

    for shuffle in (True, False):
        seen.clear()
        model = fresh("mse", input_size=5, dtype="float64")
        losses = model.blame(X, BITS, want=("losses",)).losses
        weights = np.linspace(0.5, 1.5, N)
        model.fit(
            X, BITS, epochs=1, batch_size=8, optimizer=culpa.SGD(1e-300), sample_weight=weights,
            callbacks=Sees(), shuffle=shuffle, verbose=False,
        )  # fmt: skip
        assert [len(one.rows) for one in seen] == [24, 48, 72]
        order = _core.permutation(N, 0, 0, 0) if shuffle else np.arange(N)
        np.testing.assert_array_equal(seen[-1].rows, order[:72])
        np.testing.assert_allclose(seen[-1].losses, losses[order[:72]], rtol=1e-12)


def test_nothing_is_kept_for_those_who_do_not_ask() -> None:
    seen = []
    fresh().fit(
        X, LABELS, epochs=1, callbacks=lambda training: seen.append(training.presented()),
        verbose=False,
    )  # fmt: skip
    assert [len(array) for array in seen[0]] == [0, 0, 0]


def test_forgetting_is_for_classifiers() -> None:
    model = fresh("mse")
    with pytest.raises(ValueError, match=r"callbacks: .*culpa.Forgetting.*got mse.*leave it out"):
        model.fit(X, BITS, callbacks=culpa.Forgetting(), verbose=False)
    assert model.input_size is None
    assert model.history is None


def test_forgetting_counts_one_set_of_examples() -> None:
    forgetting, model = culpa.Forgetting(), fresh()
    model.fit(X, LABELS, epochs=1, callbacks=forgetting, verbose=False)
    before = helpers.parameter_bytes(model)
    with pytest.raises(ValueError, match=r"callbacks: expected the 83 rows .*got 82; pass a new"):
        model.fit(X[1:], LABELS[1:], epochs=1, callbacks=forgetting, verbose=False)
    assert helpers.parameter_bytes(model) == before


@pytest.mark.parametrize("wrap", [list, tuple, lambda callbacks: callbacks[0]])
def test_forgetting_counts_one_model(wrap: Any) -> None:
    with pytest.raises(ValueError, match=r"callbacks: .*in fit_many.*call each model's fit"):
        culpa.fit_many([fresh()], X, LABELS, callbacks=wrap([culpa.Forgetting()]))


def test_before_any_fit_nothing_is_counted() -> None:
    forgetting = culpa.Forgetting()
    for name in ("events", "presentations", "learned_epoch", "learned", "never_learned"):
        assert getattr(forgetting, name).shape == (0,)
    fresh().fit(X, LABELS, epochs=0, callbacks=forgetting)
    np.testing.assert_array_equal(forgetting.events, np.zeros(N))
