"""What culpa's estimators have beyond scikit-learn's, and how they work inside its tools."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import pytest

import culpa
import helpers
import reference
from culpa.parts.layers import ACTIVATIONS
from culpa.parts.optimizers import Optimizer

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import joblib
from sklearn.calibration import CalibratedClassifierCV
from sklearn.callback import ScoringMonitor
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits
from sklearn.inspection import permutation_importance
from sklearn.metrics import f1_score, log_loss, mean_squared_error
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import compute_sample_weight

from culpa.sklearn import MLPClassifier, MLPRegressor
from test_sklearn import ESTIMATORS, KINDS, problem, table

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def bits(estimator: Any) -> bytes:
    return b"".join(array.tobytes() for array in estimator.coefs_ + estimator.intercepts_)


# --- Losses, activations, label smoothing --------------------------------------------------------


def gradients_are_those_of_the_loss(estimator: Any, X: np.ndarray, y: np.ndarray) -> None:
    """What L-BFGS is told is the slope of the loss it is told."""
    rest = [[None] * (estimator.n_layers_ - 1) for _ in range(4)]
    weights = np.random.default_rng(0).uniform(0.5, 2.0, len(X))

    def loss_and_gradient(theta: np.ndarray) -> tuple[float, np.ndarray]:
        return estimator._loss_grad_lbfgs(theta, X, y, weights, *rest)

    theta = np.hstack([a.ravel() for a in estimator.coefs_ + estimator.intercepts_])
    _, gradient = loss_and_gradient(theta)
    for i in np.random.default_rng(1).choice(len(theta), 20, replace=False):
        step = np.zeros_like(theta)
        step[i] = 1e-6
        slope = (loss_and_gradient(theta + step)[0] - loss_and_gradient(theta - step)[0]) / 2e-6
        assert slope == pytest.approx(gradient[i], rel=1e-5, abs=1e-8)


@pytest.mark.parametrize(
    ("options", "oracle"),
    [
        ({"loss": "huber", "delta": 0.3}, lambda z, y: reference.huber(z, y, 0.3)[0]),
        ({"loss": "absolute_error"}, lambda z, y: reference.mae(z, y)[0]),
        ({"loss": "quantile", "quantile": 0.8}, lambda z, y: reference.quantile(z, y, 0.8)[0]),
        ({"loss": "squared_error"}, lambda z, y: 0.5 * reference.mse(z, y)[0]),
    ],
    ids=lambda value: value["loss"] if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("kind", ["one output", "outputs"])
def test_losses_of_regression_are_those_of_the_oracle(
    kind: str, options: dict[str, Any], oracle: Any
) -> None:
    _, X, y = problem(kind)
    one = MLPRegressor(
        random_state=0, max_iter=1, batch_size=len(X), activation="tanh", alpha=0.3, **options
    ).fit(X, y)
    fresh = MLPRegressor(
        random_state=0, max_iter=1, learning_rate_init=1e-300, activation="tanh", **options
    ).fit(X, y)  # the weights before the first step
    l2 = 0.15 * sum((weight**2).sum() for weight in fresh.coefs_) / len(X)
    targets = y.reshape(len(X), -1)
    guess = fresh.predict(X).reshape(targets.shape)
    assert one.loss_ == pytest.approx(oracle(guess, targets).mean() + l2, rel=1e-12)
    if options["loss"] != "squared_error" or y.ndim == 1:  # scikit-learn's is another's slope
        with np.errstate(all="ignore"):
            fresh.set_params(solver="lbfgs", max_iter=2).fit(X, y)
        gradients_are_those_of_the_loss(fresh, X, targets)


def test_the_quantile_loss_finds_the_quantile() -> None:
    X = np.random.default_rng(0).uniform(-1, 1, size=(4000, 1))
    y = X[:, 0] + np.random.default_rng(1).exponential(size=4000)
    ours = MLPRegressor("quantile", (20,), quantile=0.9, random_state=0).fit(X, y)
    assert np.mean(y < ours.predict(X)) == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_label_smoothing_is_that_of_smoothed_targets(kind: str) -> None:
    _, X, y = problem(kind)
    smooth = MLPClassifier(random_state=0, max_iter=1, batch_size=len(X), label_smoothing=0.2)
    smooth.fit(X, y)
    fresh = MLPClassifier(random_state=0, max_iter=1, learning_rate_init=1e-300).fit(X, y)
    probabilities = fresh._forward_pass_fast(X)
    truth = fresh._encoded(y) * 1.0
    l2 = 0.5e-4 * sum((weight**2).sum() for weight in fresh.coefs_) / len(X)
    if kind == "multiclass":
        truth = 0.8 * truth + 0.2 / truth.shape[1]
        expected = -(truth * np.log(probabilities)).sum(axis=1).mean()
    else:
        truth = 0.8 * truth + 0.1
        both = truth * np.log(probabilities) + (1 - truth) * np.log(1 - probabilities)
        expected = -both.sum(axis=1).mean()
    assert smooth.loss_ == pytest.approx(expected + l2, rel=1e-12)
    smooth.set_params(activation="tanh", solver="lbfgs", max_iter=2).fit(X, y)
    gradients_are_those_of_the_loss(smooth, X, smooth._encoded(y))


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_every_activation_of_the_core(name: str) -> None:
    X, y = table(60)
    ours = MLPRegressor(random_state=0, max_iter=2, activation=name, hidden_layer_sizes=(7, 5))
    ours.fit(X, y)
    parameters = list(zip(ours.coefs_, ours.intercepts_, strict=True))
    _, hiddens = reference.forward(parameters, X, [name, name, "identity"])
    np.testing.assert_allclose(ours.predict(X), hiddens[-1][:, 0], rtol=1e-9)


def test_an_activation_for_each_layer() -> None:
    X, y = table(60)
    leaky = culpa.Activation("leaky_relu", 0.3)
    ours = MLPRegressor(
        random_state=0, max_iter=2, activation=["logistic", leaky], hidden_layer_sizes=(7, 5)
    ).fit(X, y)
    parameters = list(zip(ours.coefs_, ours.intercepts_, strict=True))
    names = ["sigmoid", "leaky_relu", "identity"]
    _, hiddens = reference.forward(parameters, X, names, [None, 0.3, None])
    np.testing.assert_allclose(ours.predict(X), hiddens[-1][:, 0], rtol=1e-9)
    ours.set_params(learning_rate_init=1e-300).fit(X, y)
    for weight, factor in zip(ours.coefs_, (2.0, 6.0, 6.0), strict=True):
        bound = np.sqrt(factor / sum(weight.shape))
        assert 0.6 * bound < np.abs(weight).max() <= bound
    same = [MLPRegressor(random_state=0, max_iter=2, activation=a) for a in ("tanh", ["tanh"])]
    assert bits(same[0].fit(X, y)) == bits(same[1].fit(X, y))


# --- Optimizers, schedules, dropout: as Sequential trains ----------------------------------------


@pytest.mark.parametrize(
    "optimizer",
    [
        culpa.AdamW(1e-2, weight_decay=0.1),
        culpa.RMSprop(1e-3, momentum=0.5),
        culpa.Adam(1e-2, weight_decay=0.01),
        culpa.SGD(0.05, momentum=0.9, nesterov=True),
    ],
    ids=lambda o: type(o).__name__,
)
@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_optimizers_and_schedules_train_as_in_sequential(kind: str, optimizer: Optimizer) -> None:
    _, X, y = problem(kind)
    options = {"random_state": 0, "shuffle": False, "batch_size": 50, "dropout": 0.2}
    start = MLPClassifier(max_iter=1, learning_rate_init=1e-300, **options).fit(X, y)
    model = start.to_sequential()
    ours = MLPClassifier(
        max_iter=4, optimizer=optimizer, schedule=culpa.OneCycle(warmup=0.5), **options
    ).fit(X, y)
    model.fit(
        X,
        np.unique(y, return_inverse=True)[1],
        epochs=4,
        batch_size=50,
        shuffle=False,
        optimizer=optimizer,
        schedule=culpa.OneCycle(warmup=0.5),
        verbose=False,
    )
    for layer, weight in zip(model.layers[::2], ours.coefs_, strict=True):
        np.testing.assert_allclose(layer.weight, weight, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(model.history.loss, ours.loss_curve_, rtol=1e-12)


def test_learning_rate_schedules_act_on_any_optimizer() -> None:
    X, y = table()
    rates: list[float] = []
    ours = MLPRegressor(
        optimizer=culpa.AdamW(1e-2),
        learning_rate="invscaling",
        max_iter=3,
        callbacks=lambda fit: rates.append(fit.history.learning_rate[-1]),
    ).fit(X, y)
    assert rates == [1e-2, 1e-2 / (240 + 1) ** 0.5, 1e-2 / (480 + 1) ** 0.5]
    assert ours._optimizer.learning_rate == 1e-2 / (720 + 1) ** 0.5


def test_dropout_trains_with_the_masks_of_the_core() -> None:
    X, y = table(64)
    options = {
        "random_state": 0,
        "hidden_layer_sizes": (12, 9),
        "dropout": [0.25, 0.5],
        "shuffle": False,
        "activation": "tanh",
    }
    start = MLPRegressor("absolute_error", max_iter=1, learning_rate_init=1e-300, **options)
    start.fit(X, y)
    ours = MLPRegressor(
        "absolute_error", max_iter=1, optimizer=culpa.SGD(0.1), batch_size=64, **options
    ).fit(X, y)
    parameters = list(zip(start.coefs_, start.intercepts_, strict=True))
    masks = helpers.dropout_masks(start.to_sequential(), 64, step=0)
    walk = reference.backpropagate(
        parameters, X, y[:, None], ["tanh", "tanh", "identity"], "mae", masks=masks
    )
    for (before, _), weight, gradient in zip(parameters, ours.coefs_, walk.weights, strict=True):
        np.testing.assert_allclose(weight, before - 0.1 * gradient, rtol=1e-9, atol=1e-12)
    assert np.array_equal(ours.predict(X), ours.predict(X))


# --- Weights of classes --------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_class_weights_are_sample_weights(kind: str, solver: str) -> None:
    _, X, y = problem(kind)
    options: dict[str, Any] = {"random_state": 0, "max_iter": 5, "solver": solver}
    given: Any = "balanced"
    own = np.random.default_rng(0).uniform(0.5, 1.5, len(X))
    for _ in range(2):
        ours = MLPClassifier(class_weight=given, **options).fit(X, y, sample_weight=own)
        expected = MLPClassifier(**options).fit(
            X, y, sample_weight=own * compute_sample_weight(given, y)
        )
        assert bits(ours) == bits(expected)
        if kind == "multilabel":
            return
        given = {label: 1.0 + i for i, label in enumerate(np.unique(y).tolist())}


# --- Validation data and early stopping ----------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_validation_data_are_scored_after_each_epoch(kind: str) -> None:
    estimator, X, y = problem(kind)
    options = {"loss": "poisson"} if kind == "counts" else {}
    options |= {"random_state": 0, "max_iter": 4, "alpha": 0.0}
    X_val, y_val = X[:50], y[:50]
    scores, losses = [], []

    def note(fit: Any) -> None:
        scores.append(fit.model.score(X_val, y_val))
        # Of one batch, the loss before its update: so that of these weights
        single = estimator(**{**options, "max_iter": 1, "warm_start": True})
        single.fit(X_val, y_val)
        single.coefs_ = [weight.copy() for weight in fit.model.coefs_]
        single.intercepts_ = [bias.copy() for bias in fit.model.intercepts_]
        losses.append(single.fit(X_val, y_val).loss_)

    ours = estimator(callbacks=note, **options).fit(X, y, X_val=X_val, y_val=y_val)
    np.testing.assert_allclose(ours.validation_scores_, scores, rtol=1e-12)
    np.testing.assert_allclose(ours.validation_loss_curve_, losses, rtol=1e-12)
    assert bits(ours) == bits(estimator(**options).fit(X, y))  # they teach nothing


def test_early_stopping_by_validation_data_restores_the_best_weights() -> None:
    _, X, y = problem("multiclass")
    ours = MLPClassifier(
        random_state=0, early_stopping=True, n_iter_no_change=3, learning_rate_init=0.05
    ).fit(X, y, X_val=X[:60], y_val=y[:60], sample_weight_val=np.ones(60))
    assert ours.n_iter_ < 200
    assert ours.score(X[:60], y[:60]) == ours.best_validation_score_ == max(ours.validation_scores_)
    plain = MLPClassifier(random_state=0, learning_rate_init=0.05, max_iter=5).fit(X, y)
    assert plain.loss_curve_ == ours.loss_curve_[:5]  # nothing was split off


def test_any_scorer_may_decide() -> None:
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    _, X, y = problem("multiclass")
    frame = pd.DataFrame(X, columns=[f"column {i}" for i in range(X.shape[1])])
    ours = MLPClassifier(random_state=0, max_iter=6, early_stopping=True, scoring="neg_log_loss")
    ours.fit(frame, y)
    # Of a validation set that training holds out too, without smoothing and L2.
    np.testing.assert_allclose(ours.validation_scores_, -np.array(ours.validation_loss_curve_))

    def macro(estimator: Any, X: Any, y: Any) -> float:
        return f1_score(y, estimator.predict(X), average="macro")

    by_name, by_function = (
        MLPClassifier(random_state=0, max_iter=6, early_stopping=True, scoring=scoring).fit(X, y)
        for scoring in ("f1_macro", macro)
    )
    assert by_name.validation_scores_ == by_function.validation_scores_
    assert bits(by_name) == bits(by_function)


@pytest.mark.parametrize("seed", range(6))  # weights that overflow, or only their guesses
def test_a_scorer_is_not_asked_about_guesses_that_overflow(seed: int) -> None:
    X, y = table()
    ours = MLPRegressor(
        solver="sgd",
        learning_rate_init=1e6,
        activation="identity",
        max_iter=20,
        early_stopping=True,
        scoring="neg_mean_absolute_error",
        random_state=seed,
    ).fit(X, y)
    assert np.isnan(ours.validation_scores_[-1])


# --- Callbacks and progress ----------------------------------------------------------------------


def test_callbacks_see_the_fit_and_may_stop_it() -> None:
    X, y = table()
    seen: list[Any] = []

    class Watch(culpa.Callback):
        every_steps = 3

        def on_fit_begin(self, fit: Any) -> None:
            seen.append(("begin", fit.epochs, fit.steps_per_epoch))

        def on_step(self, fit: Any) -> None:
            seen.append((fit.step, np.array(fit.model.coefs_[0])))

        def on_fit_end(self, fit: Any) -> None:
            seen.append(("end", fit.history.stopped))

    def stop(fit: Any) -> None:
        if fit.epoch == 1:
            fit.stop()

    options = {"random_state": 0, "batch_size": 48, "max_iter": 9}
    ours = MLPRegressor(callbacks=[Watch(), stop], **options).fit(X, y)
    assert seen[0] == ("begin", 9, 5)
    assert seen[-1] == ("end", "callback")
    assert [step for step, _ in seen[1:-1]] == [3, 6, 9]
    assert not np.array_equal(seen[1][1], seen[2][1])
    assert ours.n_iter_ == 2
    plain = MLPRegressor(**{**options, "max_iter": 2}).fit(X, y)
    assert bits(ours) == bits(plain)  # where chunks end never shows


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_an_interrupt_in_a_callback_keeps_the_epochs_so_far(estimator: type) -> None:
    X, score = table()

    def interrupt(fit: Any) -> None:
        if fit.epoch == 2:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="Training interrupted by user"):
        ours = estimator(callbacks=interrupt).fit(X, score > 0)
    assert len(ours.loss_curve_) == ours.n_iter_ == 3


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_scikit_learns_own_callbacks_run(solver: str) -> None:
    _, X, y = problem("multiclass")

    class Tasks:
        def __init__(self) -> None:
            self.seen: list[tuple[str, int]] = []
            self.losses: list[float] = []

        def setup(self, estimator: Any, context: Any) -> None: ...

        def teardown(self, estimator: Any, context: Any) -> None: ...

        def on_fit_task_begin(self, estimator: Any, context: Any) -> None: ...

        def on_fit_task_end(
            self, estimator: Any, context: Any, *, X: Any, y: Any, fitted_estimator: Any
        ) -> bool:
            self.seen.append((context.task_name, context.task_id))
            self.losses.append(log_loss(y, fitted_estimator.predict_proba(X)))
            return len(self.seen) == 4

    tasks = Tasks()
    ours = MLPClassifier(random_state=0, max_iter=20, solver=solver)
    ours.set_callbacks(tasks).fit(X, y)
    if solver == "lbfgs":
        assert tasks.seen == [("fit", 0)]
        return
    assert tasks.seen == [*(("epoch", i) for i in range(4)), ("fit", 0)]
    assert ours.n_iter_ == 4
    assert sorted(tasks.losses, reverse=True) == tasks.losses  # each of its own weights


def test_scikit_learns_scoring_monitor_follows_the_epochs() -> None:
    _, X, y = problem("multiclass")
    monitor = ScoringMonitor(scoring="accuracy")
    scores: list[float] = []
    ours = MLPClassifier(
        random_state=0, max_iter=3, callbacks=lambda fit: scores.append(fit.model.score(X, y))
    )
    make_pipeline(ours.set_callbacks(monitor)).fit(X, y)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert [row["accuracy"] for row in rows] == scores
    assert len(scores) == 3


def test_progress_is_drawn_where_somebody_watches(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rich", reason="rich is not installed")
    X, y = table()
    MLPRegressor(max_iter=2, progress=True).fit(X, y)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    MLPRegressor(max_iter=2, progress=True).fit(X, y)
    assert "epoch 2/2" in capsys.readouterr().out


# --- Blame, attributions, export -----------------------------------------------------------------


@pytest.mark.parametrize("dtype", helpers.DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_exported_model_guesses_the_same(kind: str, dtype: str) -> None:
    estimator, X, y = problem(kind)
    options = {"loss": "poisson"} if kind == "counts" else {}
    X = X.astype(dtype)
    ours = estimator(random_state=0, max_iter=5, dropout=[0.1], **options).fit(X, y)
    model = ours.to_sequential()
    assert model.dtype == dtype
    if estimator is MLPRegressor:
        np.testing.assert_allclose(model.predict(X), ours.predict(X), rtol=1e-5)
    else:
        guess = model.predict(X)
        guess = ours.classes_[guess] if y.ndim == 1 else guess
        np.testing.assert_array_equal(guess, ours.predict(X))
        probabilities = model.predict_proba(X)
        theirs = ours.predict_proba(X)
        theirs = theirs[:, 1] if kind == "binary" else theirs
        np.testing.assert_allclose(probabilities, theirs, rtol=1e-5)
    assert any(isinstance(layer, culpa.Dropout) for layer in model.layers)


@pytest.mark.parametrize("kind", KINDS)
def test_blame_takes_the_targets_of_fit(kind: str) -> None:
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    estimator, X, y = problem(kind)
    options = {"loss": "poisson"} if kind == "counts" else {}
    frame = pd.DataFrame(X, columns=[f"column {i}" for i in range(X.shape[1])])
    ours = estimator(random_state=0, max_iter=5, **options).fit(frame, y)
    blame = ours.blame(frame, y)
    assert blame.feature_names == tuple(frame.columns)
    if kind in ("binary", "multiclass"):
        probabilities = ours.predict_proba(frame)
        right = probabilities[np.arange(len(y)), np.searchsorted(ours.classes_, y)]
        np.testing.assert_allclose(blame.losses, -np.log(right), rtol=1e-9)
    elif estimator is MLPRegressor and kind != "counts":
        errors = (ours.predict(frame) - y).reshape(len(X), -1)
        np.testing.assert_allclose(blame.losses, (errors**2).mean(axis=1), rtol=1e-9)
    assert blame.inputs.shape == X.shape
    answer = ours.attribute(frame, target=0 if y.ndim == 2 else None)
    assert answer.values.shape == X.shape
    assert answer.completeness_error is not None


def test_attributions_are_asked_for_by_label() -> None:
    _, X, y = problem("multiclass")
    ours = MLPClassifier(random_state=0, max_iter=5).fit(X, y)
    model = ours.to_sequential()
    for asked, index in ((20, 2), (y, np.searchsorted(ours.classes_, y))):
        answer = ours.attribute(X, target=asked, method="gradient")
        expected = model.attribute(X, target=index, method="gradient")
        np.testing.assert_array_equal(answer.values, expected.values)
    with pytest.raises(ValueError, match="target: expected labels among"):
        ours.attribute(X, target=7)
    with pytest.raises(ValueError, match="y_val: expected labels among"):
        ours.fit(X, y, X_val=X, y_val=y + 1)


def test_label_errors_are_those_of_find_label_errors() -> None:
    X, y = load_digits(return_X_y=True)
    wrong = y.copy()
    flipped = np.random.default_rng(0).choice(len(y), 60, replace=False)
    wrong[flipped] = (y[flipped] + 1) % 10
    ours = MLPClassifier((32,), random_state=0, max_iter=30)
    errors = ours.label_errors(X / 16, wrong)
    assert np.isin(errors.ranking[:60], flipped).mean() > 0.8


# --- Errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "fit", "message"),
    [
        ({"activation": ["relu", "tanh"]}, {}, "activation: expected one value for each of the 1"),
        ({"activation": ["rleu"]}, {}, "did you mean 'relu'"),
        ({"activation": "rleu"}, {}, "'activation' parameter of MLPRegressor must be"),
        ({"dropout": [0.1, 0.1]}, {}, "dropout: expected one value"),
        ({"dropout": 1.0}, {}, "'dropout' parameter"),
        ({"dropout": [1.0]}, {}, "rate: expected a number in"),
        ({"optimizer": "adamw2"}, {}, "'optimizer' parameter"),
        ({"optimizer": culpa.Adam(), "solver": "lbfgs"}, {}, "optimizer: expected None"),
        ({"quantile": 1.0}, {}, "'quantile' parameter"),
        ({"callbacks": culpa.HealthCheck()}, {}, "callbacks: expected none that needs"),
        ({"callbacks": [3]}, {}, "callbacks: expected functions"),
        ({"n_threads": 0}, {}, "'n_threads' parameter"),
        ({"scoring": "acuracy"}, {}, "'scoring' parameter"),
        ({}, {"X_val": np.zeros((5, 9))}, "X_val, y_val: expected both"),
        ({}, {"X_val": np.zeros((5, 8)), "y_val": np.zeros(5)}, "8 features"),
        ({}, {"X_val": np.zeros((5, 9)), "y_val": np.zeros((5, 2))}, "y_val: expected 1 outputs"),
        (
            {"solver": "lbfgs"},
            {"X_val": np.zeros((5, 9)), "y_val": np.zeros(5)},
            "X_val: expected None with",
        ),
        ({}, {"sample_weight": np.zeros(240)}, "at least one non-zero"),
        ({}, {"sample_weight": -np.ones(240)}, "sample_weight: expected numbers"),
    ],
)
def test_what_is_wrong_is_said(options: Any, fit: Any, message: str) -> None:
    X, y = table()
    with pytest.raises((ValueError, TypeError), match=message):
        MLPRegressor(**{"max_iter": 2, **options}).fit(X, y, **fit)


def test_balanced_weights_need_all_labels() -> None:
    _, X, y = problem("binary")
    with pytest.raises(ValueError, match="class_weight: expected weights per class"):
        MLPClassifier(class_weight="balanced").partial_fit(X, y, classes=["no", "yes"])


# --- Inside scikit-learn's tools -----------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:A worker stopped:UserWarning")  # of a slow machine
@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_grid_search_gives_the_same_with_processes_and_threads(backend: str) -> None:
    X, y = load_digits(n_class=4, return_X_y=True)
    grid = {"hidden_layer_sizes": [(8,), (16,)], "optimizer": [None, culpa.AdamW(1e-2)]}
    results = []
    for jobs in (1, 2):
        search = GridSearchCV(MLPClassifier(random_state=0, max_iter=5), grid, cv=2, n_jobs=jobs)
        with joblib.parallel_config(backend):
            search.fit(X / 16, y)
        results.append(search.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(*results)
    assert results[0].max() > 0.8


def test_processes_keep_to_joblibs_limit() -> None:
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        counts = joblib.Parallel(n_jobs=2)(joblib.delayed(_threads)() for _ in range(2))
    if "CULPA_NUM_THREADS" not in os.environ:
        assert counts == [1, 1]


def _threads() -> int:
    import culpa.sklearn

    return culpa.get_num_threads()


def test_pipelines_of_columns() -> None:
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    X, score = table(300, 3)
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    frame["kind"] = np.where(score > 0, "red", "blue")
    columns = ColumnTransformer(
        [("numbers", StandardScaler(), ["a", "b", "c"]), ("kinds", OneHotEncoder(), ["kind"])],
        sparse_threshold=0.0,
    )
    pipeline = make_pipeline(columns, MLPRegressor(random_state=0, max_iter=30))
    assert pipeline.fit(frame, score).score(frame, score) > 0.5
    named = make_pipeline(
        StandardScaler().set_output(transform="pandas"), MLPRegressor(max_iter=3)
    ).fit(frame[["a", "b", "c"]], score)
    assert list(named[-1].feature_names_in_) == ["a", "b", "c"]
    assert len(cross_val_score(named, frame[["a", "b", "c"]], score, cv=3)) == 3


def test_calibration_and_permutation_importance() -> None:
    _, X, y = problem("binary")
    ours = CalibratedClassifierCV(MLPClassifier((8,), random_state=0, max_iter=20), cv=2)
    ours.fit(X, y, sample_weight=np.ones(len(X)))
    assert ours.predict_proba(X).shape == (len(X), 2)
    one = MLPRegressor(hidden_layer_sizes=20, random_state=0, max_iter=100).fit(X, X[:, 4] ** 2)
    importance = permutation_importance(one, X, X[:, 4] ** 2, n_repeats=3, random_state=0)
    assert importance.importances_mean.argmax() == 4


def test_metadata_is_routed() -> None:
    import sklearn

    X, y = table()
    with sklearn.config_context(enable_metadata_routing=True):
        ours = MLPRegressor(random_state=0, max_iter=3).set_fit_request(
            sample_weight=True, X_val=True, y_val=True
        )
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, ours)
        weights = np.linspace(0.5, 1.5, len(X))
        pipeline.fit(X, y, sample_weight=weights, X_val=X[:40], y_val=y[:40])
    assert len(ours.validation_scores_) == 3
    plain = make_pipeline(StandardScaler(), MLPRegressor(random_state=0, max_iter=3))
    plain.fit(X, y, mlpregressor__sample_weight=weights)
    assert bits(plain[-1]) == bits(ours)


def test_guesses_may_be_asked_for_by_many_threads_at_once() -> None:
    X, y = table(2000)
    ours = MLPRegressor(random_state=0, max_iter=3).fit(X, y)
    expected = ours.predict(X)
    del ours._core  # it is built by whoever comes first
    guesses = joblib.Parallel(n_jobs=4, backend="threading")(
        joblib.delayed(ours.predict)(X) for _ in range(16)
    )
    assert all(np.array_equal(guess, expected) for guess in guesses)
    assert mean_squared_error(y, guesses[0]) < 10


# --- What early stopping holds out ---------------------------------------------------------------


def held_out(y: np.ndarray, **options: Any) -> np.ndarray:
    """The rows that early stopping holds out, found by what the validation examples are."""
    rows = np.arange(len(y))[:, None] / len(y)
    seen: list[Any] = []
    note = [lambda fit: seen.append(fit._held_out.X)]
    MLPClassifier((2,), early_stopping=True, max_iter=1, callbacks=note, **options).fit(rows, y)
    return np.rint(seen[0][:, 0] * len(y)).astype(int)


def test_balanced_does_not_count_what_early_stopping_holds_out() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(210, 4))
    y = (np.arange(210) % 8 == 0).astype(int)
    own = rng.uniform(0.5, 1.5, 210)
    options: dict[str, Any] = {"random_state": 0, "max_iter": 5, "early_stopping": True}
    held = held_out(y, random_state=0)
    train = np.setdiff1d(np.arange(210), held)
    weight = (len(train) / 2 / np.bincount(y[train]))[y]
    for sample_weight in (None, own):
        ours = MLPClassifier((4,), class_weight="balanced", **options).fit(X, y, sample_weight)
        given = weight if sample_weight is None else weight * own
        by_hand = MLPClassifier((4,), **options).fit(X, y, given)
        np.testing.assert_allclose(ours.loss_curve_, by_hand.loss_curve_, rtol=1e-13)
        assert np.mean(y) != np.mean(y[train])


@pytest.mark.parametrize("class_weight", ["balanced", {0: 1.0, 1: 9.0}])
def test_class_weights_play_no_part_in_validation(class_weight: Any) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 4))
    y = (rng.random(400) < 0.1).astype(int)
    own = rng.uniform(0.5, 1.5, 400)
    still = culpa.SGD(1e-12)
    options: dict[str, Any] = {"random_state": 0, "max_iter": 1, "optimizer": still}
    given = {"X_val": X, "y_val": y, "sample_weight_val": own}
    for stops, data in ((True, {}), (True, given), (False, given)):
        plain, weighed = (
            MLPClassifier((4,), early_stopping=stops, class_weight=w, **options).fit(
                X, y, own, **data
            )
            for w in (None, class_weight)
        )
        assert weighed.validation_scores_ == plain.validation_scores_
        np.testing.assert_allclose(
            weighed.validation_loss_curve_, plain.validation_loss_curve_, rtol=1e-9
        )


def test_early_stopping_by_an_r2_of_one_row_is_refused() -> None:
    _, X, y = problem("one output")
    regressor = MLPRegressor(early_stopping=True, max_iter=3)
    for scoring in (None, "r2"):
        with pytest.raises(ValueError, match=r"^X_val: expected at least 2 rows"):
            regressor.set_params(scoring=scoring).fit(X, y, X_val=X[:1], y_val=y[:1])
    regressor.set_params(scoring="neg_mean_squared_error")
    assert np.isfinite(regressor.fit(X, y, X_val=X[:1], y_val=y[:1]).validation_scores_).all()


def test_a_validation_score_of_nan_is_said_and_no_progress() -> None:
    _, X, y = problem("one output")

    def unknown(*_: Any) -> float:
        return float("nan")

    regressor = MLPRegressor(
        early_stopping=True, scoring=unknown, n_iter_no_change=3, max_iter=50, random_state=0
    )
    with pytest.warns(RuntimeWarning, match="the validation score is NaN in epoch 0") as said:
        regressor.fit(X, y)
    assert len(said) == 1
    assert said[0].filename == __file__
    assert regressor.n_iter_ == 4
    # No epoch was the best: the last one's weights stay, not those from before training.
    assert regressor.score(X, y) > MLPRegressor(max_iter=1, random_state=0).fit(X, y).score(X, y)


def test_the_best_weights_stay_the_best_where_a_warm_start_finds_no_better_ones() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    y = X[:, 0] * X[:, 1] + 0.3 * rng.normal(size=300)
    regressor = MLPRegressor(
        hidden_layer_sizes=(8,),
        random_state=0,
        warm_start=True,
        early_stopping=True,
        max_iter=40,
        n_iter_no_change=3,
        learning_rate_init=0.05,
    )
    best = -np.inf
    for _ in range(4):
        before = bits(regressor) if best > -np.inf else b""
        regressor.fit(X, y)
        if regressor.best_validation_score_ == best:
            assert bits(regressor) == before
        best = regressor.best_validation_score_


# --- Targets that float32 cannot tell apart ------------------------------------------------------


@pytest.mark.parametrize("early_stopping", [False, True])
def test_losses_of_targets_that_float32_rounds_away_are_measured_in_float64(
    early_stopping: bool,
) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3)).astype(np.float32)
    y = 1e8 + X[:, 0].astype(np.float64)
    options: dict[str, Any] = {"random_state": 0, "optimizer": culpa.SGD(1e-30), "shuffle": False}
    options |= {"hidden_layer_sizes": (2,), "warm_start": True, "early_stopping": early_stopping}
    regressor = MLPRegressor(max_iter=1, **options)
    with pytest.warns(culpa.RoundingWarning, match=r"^y: column 0"):
        regressor.fit(X, y)
    regressor.coefs_[1][:] = 0.0
    regressor.intercepts_[1][:] = 1e8
    with pytest.warns(culpa.RoundingWarning, match=r"^y: column 0") as said:
        regressor.fit(X, y, X_val=X[:50], y_val=y[:50])
    rounds = [each for each in said if each.category is culpa.RoundingWarning]
    assert [each.filename for each in rounds] == [__file__]
    guess = regressor.predict(X).astype(np.float64)
    if not early_stopping:
        assert regressor.loss_curve_[-1] == pytest.approx(0.5 * np.mean((guess - y) ** 2))
    want = 0.5 * np.mean((guess[:50] - y[:50]) ** 2)
    assert regressor.validation_loss_curve_[-1] == pytest.approx(want)
    with pytest.warns(culpa.RoundingWarning, match=r"^y: column 0"):
        losses = regressor.blame(X, y, want="losses").losses
    np.testing.assert_allclose(losses, (guess - y) ** 2)
    wide = X.astype(np.float64) + np.array([0.0, 0.0, 1e8])
    with pytest.warns(culpa.RoundingWarning, match=r"^X: column 2"):
        regressor.predict(wide)
    MLPRegressor(max_iter=1, **options).fit(X.astype(np.float64), y)  # float64 rounds nothing away
