"""Training from the outside: history, validation, stopping, callbacks, and what it learns."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import os
import pickle
import re
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import culpa
import helpers
import reference
from culpa.parts.losses import Loss

Array = NDArray[Any]
RNG = np.random.default_rng(0)
N = 40
X = RNG.normal(size=(N, 3))
LABELS = (X[:, 0] + 0.3 * RNG.normal(size=N) > 0).astype(np.int64)
VALUES = X @ [1.0, -2.0, 0.5] + 0.1 * RNG.normal(size=N)
STILL = culpa.SGD(0.0)  # trains without changing a weight


def classifier(outputs: int = 2, **options: Any) -> culpa.Sequential:
    layers = [culpa.Dense(6, "tanh"), culpa.Dense(outputs)]
    return culpa.Sequential(layers, **{"loss": "cross_entropy", "input_size": 3, **options})


def regressor(outputs: int = 1, **options: Any) -> culpa.Sequential:
    return classifier(outputs, **{"loss": "mse", **options})


def bits(model: culpa.Sequential) -> bytes:
    return b"".join(array.tobytes() for array in model.state_dict().values())


def all_bits(model: culpa.Sequential) -> tuple[Any, ...]:
    """Weights and everything else that training goes on from."""
    assert model._network.core is not None
    first, second, steps = model._network.core.moments()
    return (
        bits(model),
        first.tobytes(),
        second.tobytes(),
        steps if first.size or second.size else None,  # nothing else looks at them
        model._network.core.steps,
        model._network.epochs,
        model.optimizer,
    )


def fits_elsewhere(model: culpa.Sequential, y: Array | None = None, **options: Any) -> bool:
    """Whether another thread can train the model: nothing holds its lock."""
    errors: list[BaseException] = []

    def fit() -> None:
        try:
            model.fit(X, LABELS if y is None else y, epochs=1, verbose=False, **options)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=fit)
    thread.start()
    thread.join()
    return not errors


# Metrics, in NumPy


def accuracy(predicted: Array, truth: Array, weight: Array) -> float:
    right = (predicted == truth).reshape(len(truth), -1).mean(axis=1)
    return float(weight @ right / weight.sum())


def r2(predicted: Array, truth: Array, weight: Array) -> float:
    """The mean over outputs of 1 - residual / total squares, both weighted."""
    predicted, truth = predicted.reshape(len(truth), -1), truth.reshape(len(truth), -1)
    mean = np.average(truth, axis=0, weights=weight)
    residual = weight @ (predicted - truth) ** 2
    return float(np.mean(1.0 - residual / (weight @ (truth - mean) ** 2)))


# loss, outputs, and the targets
LOSSES: dict[str, tuple[str | Loss, int, Array]] = {
    "classes": ("cross_entropy", 4, RNG.integers(0, 4, N)),
    "two classes": ("cross_entropy", 2, LABELS),
    "probabilities": ("cross_entropy", 4, RNG.dirichlet(np.ones(4), N)),
    "smoothed classes": (culpa.CrossEntropy(0.2), 4, RNG.integers(0, 4, N)),
    "smoothed probabilities": (culpa.CrossEntropy(0.2), 4, RNG.dirichlet(np.ones(4), N)),
    "twenty classes": ("cross_entropy", 20, RNG.integers(0, 20, N)),
    "binary": ("binary_cross_entropy", 1, LABELS),
    "multilabel": ("binary_cross_entropy", 3, RNG.integers(0, 2, (N, 3))),
    "mse": ("mse", 1, VALUES),
    "mse of several": ("mse", 3, RNG.normal(size=(N, 3))),
    "mae of several": ("mae", 2, RNG.normal(size=(N, 2))),
    "huber": (culpa.Huber(0.5), 1, VALUES),
    "huber of several": ("huber", 2, RNG.normal(size=(N, 2))),
    "poisson": ("poisson", 1, RNG.poisson(2.0, N)),
    "poisson of several": ("poisson", 2, RNG.poisson(2.0, (N, 2))),
    "gamma": ("gamma", 1, RNG.gamma(2.0, 1.0, N)),
    "tweedie of several": (culpa.Tweedie(1.3), 2, RNG.poisson(1.0, (N, 2)) * 0.7),
    "quantile": (culpa.Quantile(0.9), 1, VALUES),
    "quantile of several": (culpa.Quantile(0.2), 2, RNG.normal(size=(N, 2))),
}


def build(case: str, **options: Any) -> tuple[culpa.Sequential, Array]:
    loss, outputs, y = LOSSES[case]
    return classifier(outputs, loss=loss, **options), y


def measured(model: culpa.Sequential, y: Array, weight: Array) -> dict[str, float]:
    """What evaluate should say, from the raw outputs alone."""
    outputs = model.predict_logits(X).astype(np.float64)
    loss = model.loss
    losses, _ = reference.LOSSES[loss.name](outputs, y, **loss.parameters)
    result = {"loss": float(weight @ losses / weight.sum())}
    if loss.name == "cross_entropy":
        truth = y if y.ndim == 1 else y.argmax(axis=1)
        return result | {"accuracy": accuracy(outputs.argmax(axis=1), truth, weight)}
    if loss.name == "binary_cross_entropy":
        truth = y.reshape(outputs.shape)
        return result | {"accuracy": accuracy(outputs > 0, truth == 1, weight)}
    response = np.exp(outputs) if loss.link == "log" else outputs
    return result | {"r2": r2(response, y.astype(np.float64), weight)}


WEIGHTS = {
    "none": None,
    "some zero": np.where(np.arange(N) % 3 == 0, 0.0, np.linspace(0.5, 2.0, N)),
}


@pytest.mark.parametrize("weighted", WEIGHTS)
@pytest.mark.parametrize("case", LOSSES)
def test_evaluate_is_what_numpy_makes_of_the_outputs(case: str, weighted: str) -> None:
    weight = WEIGHTS[weighted]
    for dtype, tolerance in (("float64", 1e-12), ("float32", 2e-6)):
        model, y = build(case, dtype=dtype)
        expected = measured(model, y, np.ones(N) if weight is None else weight)
        answer = model.evaluate(X, y, sample_weight=weight)
        assert answer == pytest.approx(expected, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("weighted", WEIGHTS)
@pytest.mark.parametrize("case", LOSSES)
def test_history_is_what_evaluate_says_while_the_weights_stand_still(
    case: str, weighted: str
) -> None:
    model, y = build(case, dtype="float64")
    weight = WEIGHTS[weighted]
    history = model.fit(X, y, epochs=2, batch_size=7, optimizer=STILL, sample_weight=weight)
    for key, value in model.evaluate(X, y, sample_weight=weight).items():
        assert history[key] == pytest.approx([value, value], rel=1e-12, abs=1e-12)


def test_r2_is_that_of_the_rows_trained_on() -> None:
    model = regressor(dtype="float64")
    seen: list[Array] = []
    history = model.fit(
        X,
        VALUES,
        epochs=1,
        batch_size=7,
        optimizer=STILL,
        validation_split=0.3,
        callbacks=lambda training: seen.append(training.rows),
    )
    kept = seen[0]
    assert history.r2[0] == pytest.approx(model.evaluate(X[kept], VALUES[kept])["r2"], rel=1e-12)


def test_r2_of_targets_that_do_not_vary_is_nan_and_no_warning() -> None:
    model = regressor()
    history = model.fit(X, np.ones(N), epochs=1)
    assert math.isnan(history.r2[0])
    answer = model.evaluate(X, np.ones(N))
    assert math.isnan(answer["r2"])
    assert math.isfinite(answer["loss"])


def test_a_perfect_guess_has_an_r2_and_an_accuracy_of_one() -> None:
    model = culpa.Sequential([culpa.Dense(1)], loss="mse", input_size=3, dtype="float64")
    model.layers[0].weight = np.array([[1.0], [-2.0], [0.5]])
    assert model.evaluate(X, X @ [1.0, -2.0, 0.5])["r2"] == 1.0
    model = classifier()
    assert model.evaluate(X, model.predict(X))["accuracy"] == 1.0


# Guesses


@pytest.mark.parametrize("case", LOSSES)
def test_predict_follows_from_the_raw_outputs(case: str) -> None:
    model, _ = build(case)
    _, outputs, _ = LOSSES[case]
    logits = model.predict_logits(X)
    guesses = model.predict(X)
    assert logits.shape == (N, outputs)
    assert logits.dtype == np.float32
    name = model.loss.name
    if name == "cross_entropy":
        assert guesses.dtype == np.int64
        np.testing.assert_array_equal(guesses, logits.argmax(axis=1))
        return
    expected: Array = logits
    if name == "binary_cross_entropy":
        assert guesses.dtype == np.int64
        expected = (logits > 0).astype(np.int64)
    elif model.loss.link == "log":
        expected = np.exp(logits)
    np.testing.assert_array_equal(guesses, expected[:, 0] if outputs == 1 else expected)


@pytest.mark.parametrize("case", [case for case in LOSSES if "a" in case])
def test_probabilities_follow_from_the_raw_outputs(case: str) -> None:
    model, _ = build(case, dtype="float64")
    if model.loss.task == "regression":
        with pytest.raises(ValueError, match=r"predict_proba: .*use predict"):
            model.predict_proba(X)
        return
    logits = model.predict_logits(X)
    probabilities = model.predict_proba(X)
    if model.loss.name == "cross_entropy":
        e = np.exp(logits)
        np.testing.assert_allclose(probabilities, e / e.sum(axis=1, keepdims=True), rtol=1e-12)
    else:
        expected = 1 / (1 + np.exp(-logits))
        np.testing.assert_allclose(
            probabilities, expected[:, 0] if logits.shape[1] == 1 else expected, rtol=1e-12
        )
    assert probabilities.min() >= 0.0
    assert probabilities.max() <= 1.0


def test_probabilities_of_extreme_outputs_neither_overflow_nor_warn() -> None:
    for loss, outputs in (("cross_entropy", 3), ("binary_cross_entropy", 1)):
        model = culpa.Sequential([culpa.Dense(outputs)], loss=loss, input_size=1)
        model.layers[0].weight = np.linspace(-1e4, 1e4, outputs)[None] if outputs > 1 else [[1e4]]
        probabilities = model.predict_proba([[1.0], [-1.0], [0.0]])
        assert np.isfinite(probabilities).all()
        if outputs > 1:
            np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
            np.testing.assert_array_equal(probabilities[:2], [[0, 0, 1], [1, 0, 0]])
        else:
            np.testing.assert_array_equal(probabilities, [1.0, 0.0, 0.5])


# History


def test_history_has_a_row_per_epoch_and_the_documented_keys() -> None:
    speed = ["learning_rate", "seconds", "examples_per_second"]
    history = classifier().fit(X, LABELS, epochs=3)
    assert list(history) == ["loss", "accuracy", *speed]
    history = regressor().fit(X, VALUES, epochs=3, validation_data=(X, VALUES))
    assert list(history) == ["loss", "r2", "val_loss", "val_r2", *speed]
    assert history.epochs == 3
    assert [len(column) for column in history.values()] == [3] * 7
    assert all(value > 0 for key in speed for value in history[key])


def test_history_gives_its_columns_by_item_and_by_attribute() -> None:
    model = classifier()
    history = model.fit(X, LABELS, epochs=3)
    assert history["loss"] == history.loss
    assert all(isinstance(value, float) for value in history.loss)
    assert model.history is history
    assert isinstance(history, Mapping)
    assert dict(history)["accuracy"] == history.accuracy


def test_history_tells_what_it_does_not_have_as_mappings_do() -> None:
    history = classifier().fit(X, LABELS, epochs=1)
    assert "loss" in history
    assert "val_loss" not in history
    assert history.get("val_loss") is None
    with pytest.raises(KeyError, match="val_loss"):
        history["val_loss"]
    with pytest.raises(AttributeError, match="val_loss"):
        _ = history.val_loss
    with pytest.raises(AttributeError, match="no epochs yet"):
        _ = classifier().fit(X, LABELS, epochs=0).loss


def test_history_shows_its_last_row() -> None:
    history = classifier().fit(X, LABELS, epochs=2)
    shown = repr(history)
    assert shown.startswith("<History of 2 epochs: loss ")
    assert f"{history.loss[-1]:.4g}" in shown
    assert repr(classifier().fit(X, LABELS, epochs=0)) == "<History of 0 epochs>"


def test_a_row_is_added_whole_or_not_at_all() -> None:
    class Interrupted(Mapping[str, float]):
        def __iter__(self) -> Iterator[str]:
            yield "loss"
            raise KeyboardInterrupt  # as if Ctrl-C came just then

        def __len__(self) -> int:
            return 2

        def __getitem__(self, key: str) -> float:
            return 9.0

    history = culpa.History()
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            history.append(Interrupted())
        history.append({"loss": 1.0, "accuracy": 0.5})
    assert dict(history) == {"loss": [1.0, 1.0], "accuracy": [0.5, 0.5]}


def test_history_is_pickled_and_copied() -> None:
    history = classifier().fit(X, LABELS, epochs=2)
    for other in (pickle.loads(pickle.dumps(history)), copy.deepcopy(history), copy.copy(history)):
        assert dict(other) == dict(history)
        assert (other.best_epoch, other.stopped) == (history.best_epoch, history.stopped)


def test_the_best_epoch_is_that_of_the_least_loss() -> None:
    history = regressor().fit(X, VALUES, epochs=15, optimizer=culpa.Adam(0.3), batch_size=5)
    assert history.best_epoch == int(np.argmin(history.loss))
    assert history.stopped is None
    history = regressor().fit(
        X, VALUES, epochs=15, optimizer=culpa.Adam(0.3), batch_size=5, validation_split=0.5
    )
    assert history.best_epoch == int(np.argmin(history.val_loss))
    assert classifier().fit(X, LABELS, epochs=0).best_epoch is None


# Validation


def test_validation_data_are_evaluated_after_each_epoch() -> None:
    weight = np.linspace(0.0, 2.0, N)
    seen: list[dict[str, float]] = []
    weighted: list[dict[str, float]] = []

    def watch(training: Any) -> None:
        seen.append(training.model.evaluate(X[::2], LABELS[::2]))
        weighted.append(training.model.evaluate(X, LABELS, sample_weight=weight))

    given: list[tuple[Any, list[dict[str, float]]]] = [
        ((X[::2], LABELS[::2]), seen),
        ([X[::2], LABELS[::2]], seen),
        ((X, LABELS, weight), weighted),
        ((X[::2].tolist(), LABELS[::2].tolist(), None), seen),
    ]
    for value, expected in given:
        seen.clear()
        weighted.clear()
        history = classifier().fit(X, LABELS, epochs=3, validation_data=value, callbacks=watch)
        assert history.val_loss == [row["loss"] for row in expected]
        assert history.val_accuracy == [row["accuracy"] for row in expected]


def test_validation_data_do_not_change_training() -> None:
    plain, watched = classifier(), classifier()
    plain.fit(X, LABELS, epochs=3)
    watched.fit(X, LABELS, epochs=3, validation_data=(X, LABELS))
    assert all_bits(plain) == all_bits(watched)


def split_of(fraction: float = 0.25, n: int = N, **options: Any) -> tuple[list[int], list[int]]:
    """Rows trained on and rows held out; the first column of X says which row it is."""
    x = np.arange(n, dtype=np.float64)[:, None]
    model = culpa.Sequential([culpa.Dense(1)], loss="mse", **options)
    parts: list[tuple[list[int], list[int]]] = []

    def watch(training: Any) -> None:
        held = training.validation.x[:, 0].astype(int).tolist()
        parts.append((training.rows.tolist(), held))

    model.fit(x, x[:, 0], epochs=1, optimizer=STILL, validation_split=fraction, callbacks=watch)
    return parts[0]


@pytest.mark.parametrize(("fraction", "held"), [(0.25, 10), (0.5, 20), (0.01, 0), (0.975, 39)])
def test_a_split_holds_out_its_fraction_and_shares_no_row(fraction: float, held: int) -> None:
    if held == 0:
        with pytest.raises(ValueError, match=r"validation_split: .*0 of them"):
            split_of(fraction)
        return
    kept, out = split_of(fraction)
    assert len(out) == held
    assert sorted(kept + out) == list(range(N))


def test_a_split_is_drawn_by_the_seed() -> None:
    assert split_of(seed=3) == split_of(seed=3)
    assert split_of(seed=3) != split_of(seed=4)
    kept, out = split_of(0.5, n=1000)
    assert abs(np.mean(kept) - np.mean(out)) < 75  # four deviations: drawn from all over


def test_rows_held_out_never_train() -> None:
    _, out = split_of(seed=5)
    changed = VALUES.copy()
    changed[out] += 100.0
    models = [regressor(seed=5), regressor(seed=5)]
    histories = [
        model.fit(X, y, epochs=3, batch_size=8, validation_split=0.25)
        for model, y in zip(models, (VALUES, changed), strict=True)
    ]
    assert bits(models[0]) == bits(models[1])
    assert histories[0].loss == histories[1].loss
    assert histories[1].val_loss[0] > histories[0].val_loss[0] + 1000
    assert histories[0].val_loss[-1] == models[0].evaluate(X[out], VALUES[out])["loss"]


def test_a_split_is_the_same_in_the_next_fit() -> None:
    once, twice = classifier(), classifier()
    once.fit(X, LABELS, epochs=4, validation_split=0.25)
    twice.fit(X, LABELS, epochs=2, validation_split=0.25)
    twice.fit(X, LABELS, epochs=2, validation_split=0.25)
    assert all_bits(once) == all_bits(twice)


def test_rows_held_out_keep_their_weights() -> None:
    weight = np.linspace(0.1, 2.0, N)
    _, out = split_of(0.25)
    model = regressor()
    history = model.fit(X, VALUES, epochs=1, validation_split=0.25, sample_weight=weight)
    answer = model.evaluate(X[out], VALUES[out], sample_weight=weight[out])
    assert history.val_loss[-1] == answer["loss"]
    assert history.val_r2[-1] == answer["r2"]


# Early stopping


class Scripted(culpa.Callback):
    """Sets the weights of each next epoch so that its validation loss and accuracy are known.

    With one input that is 1, two classes and labels (0, ..., 0, 1, ..., 1), weights (w, -w) give
    an accuracy of the part of zeros for w > 0, of the part of ones for w < 0; the loss follows
    from the size of w. The optimizer must stand still.
    """

    def __init__(self, weights: list[float]) -> None:
        self.weights = weights

    def _set(self, model: culpa.Sequential, epoch: int) -> None:
        w = self.weights[min(epoch, len(self.weights) - 1)]
        model.layers[0].weight = [[w, -w]]

    def on_fit_begin(self, training: Any) -> None:
        self._set(training.model, 0)

    def on_epoch_end(self, training: Any) -> None:
        self._set(training.model, training.epoch + 1)


def scripted_fit(
    weights: list[float], stopping: Any, zeros: int = 7
) -> tuple[culpa.Sequential, culpa.History]:
    model = culpa.Sequential([culpa.Dense(2)], loss="cross_entropy", input_size=1)
    x, y = np.ones((10, 1)), np.repeat([0, 1], [zeros, 10 - zeros])
    history = model.fit(
        x,
        y,
        epochs=50,
        optimizer=STILL,
        validation_data=(x, y),
        early_stopping=stopping,
        callbacks=Scripted(weights),
    )
    return model, history


@pytest.mark.parametrize("patience", [1, 3])
def test_early_stopping_waits_as_many_epochs_as_its_patience(patience: int) -> None:
    for stopping in (patience, culpa.EarlyStopping(patience)):
        _, history = scripted_fit([0.0, 0.1, 0.0], stopping)  # the best loss is that of epoch 1
        assert history.epochs == 2 + patience
        assert history.best_epoch == 1
        assert history.stopped == "early stopping"


def test_early_stopping_true_is_the_default_rule() -> None:
    _, history = scripted_fit([0.1], True)
    assert history.epochs == 1 + culpa.EarlyStopping().patience
    _, history = scripted_fit([0.1], False)
    assert (history.epochs, history.stopped) == (50, None)
    _, history = scripted_fit([0.1], None)
    assert history.epochs == 50


def test_an_improvement_begins_the_wait_anew() -> None:
    _, history = scripted_fit([0.0, -0.1, 0.1, -0.1, 0.2, -0.1], 2)
    assert history.best_epoch == 4
    assert history.epochs == 7


def test_min_delta_says_what_counts_as_an_improvement() -> None:
    slowly = [0.01 * i for i in range(30)]  # the loss falls by less than 0.01 an epoch
    _, history = scripted_fit(slowly, culpa.EarlyStopping(2, min_delta=0.05))
    assert history.epochs == 3
    _, history = scripted_fit(slowly, culpa.EarlyStopping(2, min_delta=1e-6))
    assert history.epochs > 25


def test_accuracies_are_maximised_and_losses_minimised() -> None:
    weights = [-1.0, 5.0, -0.01, -0.01, -0.01]  # accuracy 0.3, 0.7, 0.3, ...; the loss falls at 2
    model, history = scripted_fit(weights, culpa.EarlyStopping(2, monitor="val_accuracy"))
    assert history.val_accuracy == pytest.approx([0.3, 0.7, 0.3, 0.3])
    assert history.best_epoch == 1
    assert model.layers[0].weight[0, 0] == 5.0
    model, history = scripted_fit(weights, culpa.EarlyStopping(2, monitor="val_loss"))
    assert history.best_epoch == 2
    assert model.layers[0].weight[0, 0] == np.float32(-0.01)


@pytest.mark.parametrize("key", ["loss", "accuracy", "val_loss", "val_accuracy"])
def test_every_key_of_the_history_may_be_monitored(key: str) -> None:
    _, history = scripted_fit([0.1], culpa.EarlyStopping(2, monitor=key))
    assert (history.epochs, history.best_epoch) == (3, 0)


def test_r2_is_monitored_upwards() -> None:
    model = regressor()
    history = model.fit(
        X,
        VALUES,
        epochs=40,
        batch_size=5,
        optimizer=culpa.Adam(0.2),
        early_stopping=culpa.EarlyStopping(3, monitor="r2"),
    )
    assert history.best_epoch == int(np.argmax(history.r2))


def test_the_best_weights_come_back_unless_told_otherwise() -> None:
    weights = [0.0, 0.5, -1.0, -2.0, -3.0]  # epoch 1 is the best
    model, history = scripted_fit(weights, 2)
    assert history.best_epoch == 1
    assert model.layers[0].weight[0, 0] == 0.5
    model, history = scripted_fit(weights, culpa.EarlyStopping(2, restore_best=False))
    assert history.best_epoch == 1
    assert model.layers[0].weight[0, 0] == -3.0  # the last that was set


def test_the_best_weights_come_back_at_the_planned_end_too() -> None:
    kept: dict[int, bytes] = {}
    model = regressor()
    history = model.fit(
        X,
        VALUES,
        epochs=20,
        batch_size=5,
        optimizer=culpa.Adam(0.5),
        validation_split=0.3,
        early_stopping=100,
        callbacks=lambda training: kept.update({training.epoch: bits(training.model)}),
    )
    assert history.stopped is None
    assert history.best_epoch is not None
    assert history.best_epoch < 19  # else the test shows nothing: choose another seed
    assert bits(model) == kept[history.best_epoch]


# Callbacks


class Recorder(culpa.Callback):
    def __init__(self, every: int | None = None, name: str = "", log: list[Any] | None = None):
        self.every_steps = every
        self.name = name
        self.log: list[Any] = [] if log is None else log

    def on_fit_begin(self, training: Any) -> None:
        self.log.append((self.name, "begin", training.step))

    def on_step(self, training: Any) -> None:
        self.log.append((self.name, "step", training.step))

    def on_epoch_end(self, training: Any) -> None:
        self.log.append((self.name, "epoch", training.epoch))
        assert training.history.epochs == training.epoch + 1

    def on_fit_end(self, training: Any) -> None:
        self.log.append((self.name, "end", training.step))

    def steps(self) -> list[int]:
        return [at for _, what, at in self.log if what == "step"]


def test_a_function_is_called_with_the_training_after_each_epoch() -> None:
    seen: list[tuple[int, int, int, int, int]] = []
    model = classifier()

    def watch(training: Any) -> None:
        assert training.model is model
        assert training.history is model.history
        seen.append(
            (
                training.epoch,
                training.epochs,
                training.step,
                training.steps_per_epoch,
                training.history.epochs,
            )
        )

    model.fit(X, LABELS, epochs=3, batch_size=16, callbacks=watch)
    assert seen == [(0, 3, 3, 3, 1), (1, 3, 6, 3, 2), (2, 3, 9, 3, 3)]


def test_an_object_is_told_of_begin_epochs_and_end() -> None:
    recorder = Recorder()
    classifier().fit(X, LABELS, epochs=2, batch_size=16, callbacks=recorder)
    assert recorder.log == [("", "begin", 0), ("", "epoch", 0), ("", "epoch", 1), ("", "end", 6)]


def test_several_callbacks_are_called_in_their_order() -> None:
    log: list[Any] = []
    callbacks = [Recorder(3, "a", log), lambda _: log.append("f"), Recorder(3, "b", log)]
    classifier().fit(X, LABELS, epochs=1, batch_size=16, callbacks=callbacks)
    assert log == [
        *[("a", "begin", 0), ("b", "begin", 0)],
        *[("a", "step", 3), ("b", "step", 3)],
        *[("a", "epoch", 0), "f", ("b", "epoch", 0)],
        *[("a", "end", 3), ("b", "end", 3)],
    ]


@pytest.mark.parametrize("every", [1, 2, 4, 5, 6, 7, 15, 16])
def test_steps_are_counted_through_all_epochs(every: int) -> None:
    recorder = Recorder(every)
    model, plain = classifier(), classifier()
    model.fit(X, LABELS, epochs=5, batch_size=16, callbacks=recorder)  # 3 steps an epoch
    assert recorder.steps() == list(range(every, 16, every))
    plain.fit(X, LABELS, epochs=5, batch_size=16)
    assert all_bits(model) == all_bits(plain)


def test_callbacks_of_different_rhythms_are_each_called_at_their_own() -> None:
    recorders = [Recorder(every) for every in (2, 3, 7)]
    classifier().fit(X, LABELS, epochs=5, batch_size=16, callbacks=recorders)
    for recorder, every in zip(recorders, (2, 3, 7), strict=True):
        assert recorder.steps() == list(range(every, 16, every))


def test_a_step_callback_sees_the_weights_of_its_step() -> None:
    seen: list[bytes] = []

    class Watch(culpa.Callback):
        every_steps = 2

        def on_step(self, training: Any) -> None:
            seen.append(bits(training.model))
            assert training.model._network.core.steps == training.step

    classifier().fit(X, LABELS, epochs=2, batch_size=16, callbacks=Watch())
    assert len(set(seen)) == 3


def test_a_callback_may_stop_training_at_an_epochs_end() -> None:
    model = classifier()
    history = model.fit(
        X, LABELS, epochs=9, callbacks=lambda t: t.stop() if t.history.epochs == 3 else None
    )
    assert (history.epochs, history.stopped) == (3, "callback")
    plain = classifier()
    plain.fit(X, LABELS, epochs=3)
    assert all_bits(model) == all_bits(plain)


def test_a_callback_may_stop_training_within_an_epoch() -> None:
    class Stop(culpa.Callback):
        every_steps = 1

        def on_step(self, training: Any) -> None:
            if training.step == 5:
                training.stop()

    model = classifier()
    history = model.fit(X, LABELS, epochs=9, batch_size=16, callbacks=Stop())
    assert (history.epochs, history.stopped) == (1, "callback")
    assert model._network.core is not None
    assert model._network.core.steps == 5
    assert fits_elsewhere(model)


def test_a_callback_may_stop_training_before_it_begins() -> None:
    class Stop(Recorder):
        def on_fit_begin(self, training: Any) -> None:
            training.stop("had enough")

    stop = Stop()
    model = classifier()
    before = bits(model)
    history = model.fit(X, LABELS, callbacks=stop)
    assert (history.epochs, history.stopped) == (0, "had enough")
    assert stop.log == [("", "end", 0)]
    assert bits(model) == before


@pytest.mark.parametrize("hook", ["on_fit_begin", "on_step", "on_epoch_end", "on_fit_end"])
def test_an_exception_in_a_callback_comes_out_and_leaves_a_usable_model(hook: str) -> None:
    class Failing(culpa.Callback):
        every_steps = 2

    def fail(self: Any, training: Any) -> None:
        raise ZeroDivisionError("the callback's own")

    setattr(Failing, hook, fail)
    model = classifier()
    with pytest.raises(ZeroDivisionError, match="the callback's own"):
        model.fit(X, LABELS, epochs=2, batch_size=16, callbacks=Failing())
    assert np.isfinite(model.predict_logits(X)).all()
    assert fits_elsewhere(model)
    model.fit(X, LABELS, epochs=1)


def test_an_exception_keeps_what_was_trained() -> None:
    def fail(training: Any) -> None:
        if training.epoch == 1:
            raise ZeroDivisionError

    model, plain = classifier(), classifier()
    with pytest.raises(ZeroDivisionError):
        model.fit(X, LABELS, epochs=5, callbacks=fail)
    plain.fit(X, LABELS, epochs=2)
    assert model.history is not None
    assert model.history.epochs == 2
    assert all_bits(model) == all_bits(plain)


def test_the_end_is_told_however_training_ends() -> None:
    recorder = Recorder()

    def fail(_: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        classifier().fit(X, LABELS, callbacks=[recorder, fail])
    assert recorder.log[-1] == ("", "end", 1)


def test_a_callback_may_ask_the_model_anything(tmp_path: Any) -> None:
    path = tmp_path / "model.safetensors"

    def ask(training: Any) -> None:
        model = training.model
        assert model.predict(X).shape == (N,)
        assert model.evaluate(X, LABELS)["loss"] > 0
        assert model.blame(X, LABELS).losses.shape == (N,)
        assert model.loss_and_gradients(X, LABELS)[0] > 0
        model.save(path)
        assert bits(culpa.load(path)) == bits(model)
        assert bits(model.copy()) == bits(model)

    asked, plain = classifier(), classifier()
    asked.fit(X, LABELS, epochs=2, callbacks=ask)
    plain.fit(X, LABELS, epochs=2)
    assert all_bits(asked) == all_bits(plain)


def test_a_callback_may_load_weights() -> None:
    model = classifier()
    zeros = {key: np.zeros_like(value) for key, value in model.state_dict().items()}

    def reset(training: Any) -> None:
        training.model.load_state_dict(zeros)

    history = model.fit(X, LABELS, epochs=3, batch_size=N, callbacks=reset)
    assert all(not value.any() for value in model.state_dict().values())
    assert history.loss[1:] == pytest.approx([math.log(2)] * 2)


def test_a_callback_may_train_another_model() -> None:
    other, plain = regressor(), regressor()
    classifier().fit(
        X, LABELS, epochs=2, callbacks=lambda _: other.fit(X, VALUES, epochs=1, verbose=False)
    )
    plain.fit(X, VALUES, epochs=2)
    assert all_bits(other) == all_bits(plain)


def nested(call: Callable[[culpa.Sequential], object]) -> tuple[culpa.Sequential, list[str]]:
    """A model whose callback makes a call on it, and the errors that it got."""
    errors: list[str] = []

    def inner(training: Any) -> None:
        try:
            call(training.model)
        except RuntimeError as error:
            errors.append(str(error))

    model = classifier()
    model.fit(X, LABELS, epochs=2, callbacks=inner)
    return model, errors


def test_a_fit_within_a_fit_of_the_same_model_is_refused() -> None:
    model, errors = nested(lambda model: model.fit(X, LABELS, verbose=False))
    assert len(errors) == 2
    assert "fit: this model is being trained" in errors[0]
    plain = classifier()
    plain.fit(X, LABELS, epochs=2)
    assert all_bits(model) == all_bits(plain)


def test_after_a_refused_fit_any_thread_may_train_the_model() -> None:
    model, _ = nested(lambda model: model.fit(X, LABELS, verbose=False))
    assert fits_elsewhere(model)


def test_fit_many_within_a_fit_of_the_same_model_is_refused() -> None:
    model, errors = nested(lambda model: culpa.fit_many([model], X, LABELS, epochs=1))
    assert len(errors) == 2
    plain = classifier()
    plain.fit(X, LABELS, epochs=2)
    assert all_bits(model) == all_bits(plain)
    assert fits_elsewhere(model)


def test_fit_within_fit_many_of_the_same_model_is_refused() -> None:
    errors: list[str] = []

    def inner(training: Any) -> None:
        try:
            training.model.fit(X, LABELS, epochs=1, verbose=False)
        except RuntimeError as error:
            errors.append(str(error))

    models = [classifier(seed=seed) for seed in range(2)]
    culpa.fit_many(models, X, LABELS, epochs=1, callbacks=inner)
    assert len(errors) == 2
    assert all(fits_elsewhere(model) for model in models)


@pytest.mark.parametrize("what", ["fit", "fit_many", "load_state_dict", "assignment"])
def test_another_thread_is_refused_while_a_fit_runs(what: str) -> None:
    model = classifier()
    state = model.state_dict()
    calls: dict[str, Callable[[], object]] = {
        "fit": lambda: model.fit(X, LABELS, epochs=1, verbose=False),
        "fit_many": lambda: culpa.fit_many([model], X, LABELS, epochs=1),
        "load_state_dict": lambda: model.load_state_dict(state),
        "assignment": lambda: setattr(model.layers[0], "weight", state["dense_0.weight"]),
    }
    errors: list[BaseException | None] = []

    def elsewhere(_: Any) -> None:
        def call() -> None:
            try:
                calls[what]()
                errors.append(None)
            except RuntimeError as error:
                errors.append(error)

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()

    model.fit(X, LABELS, epochs=2, callbacks=elsewhere)
    assert len(errors) == 2
    assert all("is being trained" in str(error) for error in errors)
    plain = classifier()
    plain.fit(X, LABELS, epochs=2)
    assert all_bits(model) == all_bits(plain)
    calls[what]()


def test_other_threads_may_ask_while_a_fit_runs() -> None:
    model = classifier()
    answers: list[int] = []

    def elsewhere(_: Any) -> None:
        thread = threading.Thread(target=lambda: answers.append(len(model.predict(X))))
        thread.start()
        thread.join()

    model.fit(X, LABELS, epochs=2, callbacks=elsewhere)
    assert answers == [N, N]


def test_threads_that_guess_single_rows_never_block_a_fit() -> None:
    # Such guesses keep the GIL unless the model is locked: a fit that holds the lock wants the GIL.
    model = classifier()
    model.fit(X, LABELS, epochs=1)
    done = threading.Event()
    counts = [0, 0, 0]

    def guess(i: int) -> None:
        while not done.is_set():
            assert model.predict(X[:1]).shape == (1,)
            counts[i] += 1

    threads = [threading.Thread(target=guess, args=(i,), daemon=True) for i in range(len(counts))]
    for thread in threads:
        thread.start()
    try:
        model.fit(X, LABELS, epochs=30, batch_size=7)
    finally:
        done.set()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    assert all(counts)
    plain = classifier()
    plain.fit(X, LABELS, epochs=1)
    plain.fit(X, LABELS, epochs=30, batch_size=7)
    assert all_bits(model) == all_bits(plain)


# What a fit shows


def test_verbose_2_prints_a_line_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    history = classifier().fit(X, LABELS, epochs=3, validation_split=0.25, verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    for i, line in enumerate(lines):
        assert line.startswith(f"epoch {i + 1}/3 ")
        for key in ("loss", "accuracy", "val_loss", "val_accuracy"):
            assert f"{key.replace('_', ' ')} {history[key][i]:.4f}" in line
        assert re.search(r"\d s$", line)


@pytest.mark.parametrize("verbose", [True, 1, False, 0])
def test_nothing_is_printed_where_nobody_watches(
    verbose: bool | int, capfd: pytest.CaptureFixture[str]
) -> None:
    classifier().fit(X, LABELS, epochs=3, verbose=verbose)
    assert capfd.readouterr() == ("", "")


def on_terminal(way: str) -> tuple[str, int]:
    """What tests/programs/train_on_a_terminal.py writes to one, and its exit status."""
    pty = pytest.importorskip("pty", reason="no pseudo terminals here")
    pytest.importorskip("rich", reason="the bar needs rich")
    leader, follower = pty.openpty()
    settings = {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "30"}
    process = subprocess.Popen(
        helpers.command("train_on_a_terminal.py", way),
        stdout=follower,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **settings},
    )
    os.close(follower)
    written = b""
    try:
        while select.select([leader], [], [], 120)[0]:
            try:
                chunk = os.read(leader, 65536)
            except OSError:  # Linux says EIO where the other end is closed
                break
            if not chunk:
                break
            written += chunk
    finally:
        os.close(leader)
        status = process.wait(120)
    return written.decode(), status


def plain_text(written: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written)


def cursor_is_back(written: str) -> bool:
    return written.rfind("\x1b[?25h") >= written.rfind("\x1b[?25l")


def test_a_terminal_shows_a_bar_with_epochs_loss_and_metric() -> None:
    written, status = on_terminal("as is")
    assert status == 0
    text = plain_text(written)
    assert "epoch 3/3" in text
    last = text.rfind("epoch 3/3")
    found = re.search(r"loss (\d\.\d{4})  accuracy \d\.\d{4}  val loss \d\.\d{4}", text[last:])
    assert found, text
    assert f"last loss {found[1]}" in text
    assert cursor_is_back(written)


def test_a_terminal_stays_empty_where_verbose_is_false() -> None:
    quiet, status = on_terminal("in silence")
    assert status == 0
    assert "epoch" not in quiet
    none, _ = on_terminal("no epochs")
    assert "epoch" not in none


@pytest.mark.parametrize("where", ["in a callback's epoch end", "in a callback's beginning"])
def test_a_failing_fit_gives_the_cursor_back(where: str) -> None:
    written, status = on_terminal(f"a failure {where}")
    assert status == 0
    assert "failed" in plain_text(written)
    assert cursor_is_back(written)


# Weights of classes and examples


def fitted(
    make: Callable[[], culpa.Sequential], y: Array, **options: Any
) -> tuple[Any, list[list[float]]]:
    model = make()
    history = model.fit(X, y, epochs=3, batch_size=16, **options)
    return all_bits(model), [history[key] for key in list(history)[:2]]


CLASSES = RNG.choice(4, N, p=[0.5, 0.3, 0.2, 0.0])  # class 3 never occurs


def test_class_weights_are_sample_weights() -> None:
    def make() -> culpa.Sequential:
        return classifier(4)

    table = np.array([0.5, 2.0, 1.0, 3.0])
    by_class = fitted(make, CLASSES, class_weight={0: 0.5, 1: 2, 3: 3.0})
    assert by_class == fitted(make, CLASSES, sample_weight=table[CLASSES])
    assert by_class != fitted(make, CLASSES)
    own = np.linspace(0.5, 1.5, N)
    both = fitted(make, CLASSES, class_weight={0: 0.5, 1: 2, 3: 3.0}, sample_weight=own)
    assert both == fitted(make, CLASSES, sample_weight=own * table[CLASSES])


def test_balanced_class_weights_are_those_of_the_documented_formula() -> None:
    counts = np.bincount(CLASSES, minlength=4)
    table = N / (3 * np.maximum(counts, 1.0))  # three classes occur
    assert fitted(lambda: classifier(4), CLASSES, class_weight="balanced") == fitted(
        lambda: classifier(4), CLASSES, sample_weight=table[CLASSES]
    )
    total = table[CLASSES].sum()
    assert total == pytest.approx(N)


def test_balanced_class_weights_are_scikit_learns() -> None:
    utilities = pytest.importorskip("sklearn.utils", reason="scikit-learn is not installed")
    weight = utilities.compute_sample_weight("balanced", CLASSES)
    assert fitted(lambda: classifier(4), CLASSES, class_weight="balanced") == fitted(
        lambda: classifier(4), CLASSES, sample_weight=weight
    )


def test_class_weights_fit_one_binary_output() -> None:
    def make() -> culpa.Sequential:
        return classifier(1, loss="binary_cross_entropy")

    weight = np.where(LABELS == 1, 3.0, 0.5)
    assert fitted(make, LABELS, class_weight={0: 0.5, 1: 3}) == fitted(
        make, LABELS, sample_weight=weight
    )
    counts = np.bincount(LABELS)
    assert fitted(make, LABELS, class_weight="balanced") == fitted(
        make, LABELS, sample_weight=(N / (2 * counts))[LABELS]
    )


@pytest.mark.parametrize("case", LOSSES)
def test_an_integer_weight_is_the_row_so_many_times(case: str) -> None:
    model, y = build(case, dtype="float64")
    weight = np.arange(N) % 4
    loss, gradients = model.loss_and_gradients(X, y, sample_weight=weight)
    rows = np.repeat(np.arange(N), weight)
    repeated, expected = model.loss_and_gradients(X[rows], y[rows])
    assert loss == pytest.approx(repeated, rel=1e-12)
    for key, value in expected.items():
        assert np.abs(gradients[key] - value).max() <= 1e-10 * np.abs(value).max()


def test_rows_of_weight_zero_do_not_train() -> None:
    weight = np.ones(N)
    weight[::3] = 0.0
    changed = VALUES.copy()
    changed[::3] = 1e6
    assert (
        fitted(regressor, VALUES, sample_weight=weight)[0]
        == (fitted(regressor, changed, sample_weight=weight)[0])
    )


def test_a_batch_of_weight_zero_makes_no_update() -> None:
    weight = np.zeros(N)
    weight[:8] = 1.0  # unshuffled, all later batches weigh nothing
    model, plain = regressor(), regressor()
    model.fit(X, VALUES, epochs=2, batch_size=8, shuffle=False, sample_weight=weight)
    plain.fit(X[:8], VALUES[:8], epochs=2, batch_size=8, shuffle=False)
    assert bits(model) == bits(plain)


# Optimizers, schedules, going on


def test_without_an_optimizer_it_is_adam_and_then_the_last_one_used() -> None:
    model, explicit = classifier(), classifier()
    assert model.optimizer is None
    model.fit(X, LABELS, epochs=1)
    explicit.fit(X, LABELS, epochs=1, optimizer=culpa.Adam(1e-3))
    assert model.optimizer == culpa.Adam(1e-3)
    assert all_bits(model) == all_bits(explicit)
    chosen = culpa.SGD(0.05, momentum=0.9)
    for one in (model, explicit):
        one.fit(X, LABELS, epochs=1, optimizer=chosen)
    model.fit(X, LABELS, epochs=1)
    explicit.fit(X, LABELS, epochs=1, optimizer=chosen)
    assert model.optimizer == chosen
    assert all_bits(model) == all_bits(explicit)


OPTIMIZERS = [
    culpa.SGD(0.05),
    culpa.SGD(0.05, momentum=0.9),
    culpa.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    culpa.Adam(0.01),
    culpa.AdamW(0.01),
    culpa.RMSprop(0.01),
    culpa.RMSprop(0.01, momentum=0.9),
]


def with_dropout(**options: Any) -> culpa.Sequential:
    layers = [culpa.Dropout(0.2), culpa.Dense(6, "tanh"), culpa.Dropout(0.4), culpa.Dense(2)]
    return culpa.Sequential(layers, loss="cross_entropy", **options)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_two_fits_are_one_fit(optimizer: Any, dtype: str) -> None:
    once, twice = with_dropout(dtype=dtype), with_dropout(dtype=dtype)
    once.fit(X, LABELS, epochs=5, batch_size=16, optimizer=optimizer)
    twice.fit(X, LABELS, epochs=2, batch_size=16, optimizer=optimizer)
    twice.fit(X, LABELS, epochs=3, batch_size=16)
    assert all_bits(once) == all_bits(twice)


COPIES: dict[str, Callable[[culpa.Sequential], culpa.Sequential]] = {
    "copy": lambda model: model.copy(),
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("how", COPIES)
def test_a_copy_goes_on_as_the_original_does(how: str, optimizer: Any) -> None:
    for dtype in ("float32", "float64"):
        model = with_dropout(dtype=dtype, seed=2**64 - 1, input_scale=0.5)
        model.fit(X, LABELS, epochs=2, batch_size=16, optimizer=optimizer)
        twin = COPIES[how](model)
        assert all_bits(twin) == all_bits(model)
        assert twin.config() == model.config()
        assert dict(twin.history) == dict(model.history)
        assert twin.optimizer == optimizer
        went = [one.fit(X, LABELS, epochs=3, batch_size=16) for one in (model, twin)]
        assert all_bits(twin) == all_bits(model)
        assert went[0].loss == went[1].loss


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_independent(how: str) -> None:
    model = classifier()
    model.fit(X, LABELS, epochs=1)
    twin = COPIES[how](model)
    before = all_bits(twin)
    model.fit(X, LABELS, epochs=1)
    assert all_bits(twin) == before
    twin.layers[0].weight = np.zeros((3, 6))
    assert model.layers[0].weight.any()
    assert not twin.layers[0].weight.any()


@pytest.mark.parametrize("how", COPIES)
def test_an_unbuilt_model_is_copied_unbuilt(how: str) -> None:
    model = classifier(input_size=None, seed=7)
    twin = COPIES[how](model)
    assert twin.input_size is None
    assert twin.config() == model.config()
    for one in (model, twin):
        one.fit(X, LABELS, epochs=1)
    assert all_bits(twin) == all_bits(model)


def test_a_copy_without_a_fit_begins_as_the_original_does() -> None:
    model = classifier()
    model.layers[0].weight = np.ones((3, 6))
    twin = model.copy()
    for one in (model, twin):
        one.fit(X, LABELS, epochs=1)
    assert all_bits(twin) == all_bits(model)


def test_the_dtype_is_that_of_all_computation() -> None:
    model = classifier(dtype="float64")
    model.fit(X, LABELS, epochs=2)
    assert {value.dtype for value in model.state_dict().values()} == {np.dtype("float64")}
    assert model.predict_logits(X).dtype == np.float64
    assert model.blame(X, LABELS).inputs.dtype == np.float64
    single = classifier()
    single.fit(X, LABELS, epochs=2)
    difference = np.abs(single.predict_logits(X) - model.predict_logits(X)).max()
    assert 0 < difference < 1e-4


def test_a_seed_of_none_is_drawn_and_kept() -> None:
    one, two = classifier(seed=None), classifier(seed=None)
    assert one.seed != two.seed
    again = classifier(seed=one.seed)
    for model in (one, again):
        model.fit(X, LABELS, epochs=1)
    assert all_bits(one) == all_bits(again)


def test_unshuffled_epochs_go_through_the_rows_in_order() -> None:
    model, by_hand = regressor(), regressor()
    model.fit(X, VALUES, epochs=1, batch_size=16, shuffle=False, optimizer=culpa.SGD(0.1))
    for begin in range(0, N, 16):
        rows = slice(begin, begin + 16)
        by_hand.fit(X[rows], VALUES[rows], epochs=1, shuffle=False, optimizer=culpa.SGD(0.1))
    assert bits(model) == bits(by_hand)


STEPS = 3  # an epoch, of N rows in batches of 16
SCHEDULES: dict[str, tuple[culpa.Schedule | None, Callable[[int, int], float]]] = {
    # the factor at step k (counted within the fit) of a fit of `total` steps
    "none": (None, lambda k, total: 1.0),
    "constant": (culpa.Constant(), lambda k, total: 1.0),
    "step decay": (culpa.StepDecay(2, 0.5), lambda k, total: 0.5 ** (k // STEPS // 2)),
    "exponential": (culpa.ExponentialDecay(0.8), lambda k, total: 0.8 ** (k / STEPS)),
    "cosine": (culpa.Cosine(), lambda k, total: 0.5 * (1 + math.cos(math.pi * k / total))),
    "warm cosine": (
        culpa.Cosine(warmup=0.2, final=0.1),
        lambda k, total: (
            min(1.0, (k + 1) / (0.2 * total))
            if k < 0.2 * total
            else 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (k - 0.2 * total) / (0.8 * total)))
        ),
    ),
    "one cycle": (
        culpa.OneCycle(),
        lambda k, total: (
            0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * k / (0.3 * total)))
            if k < 0.3 * total
            else 4e-6
            + (1 - 4e-6) * 0.5 * (1 + math.cos(math.pi * (k - 0.3 * total) / (0.7 * total)))
        ),
    ),
}


@pytest.mark.parametrize("which", SCHEDULES)
def test_the_learning_rate_column_is_the_schedules_at_the_last_step_of_each_epoch(
    which: str,
) -> None:
    schedule, factor = SCHEDULES[which]
    epochs = 10
    history = classifier().fit(
        X, LABELS, epochs=epochs, batch_size=16, optimizer=culpa.Adam(0.5), schedule=schedule
    )
    last = [0.5 * factor((epoch + 1) * STEPS - 1, epochs * STEPS) for epoch in range(epochs)]
    assert history.learning_rate == pytest.approx(last, rel=1e-12)


@pytest.mark.parametrize("which", SCHEDULES)
def test_a_schedule_reaches_every_step(which: str) -> None:
    """Plain descent on a constant slope: the weight tells the sum of all rates."""
    schedule, factor = SCHEDULES[which]
    model = culpa.Sequential(
        [culpa.Dense(1, initializer="zeros")], loss="mae", input_size=1, dtype="float64"
    )
    x, y = np.ones((N, 1)), np.full(N, 1e6)  # the slope of |w + b - y| stays -1
    model.fit(x, y, epochs=4, batch_size=16, optimizer=culpa.SGD(0.5), schedule=schedule)
    total = sum(0.5 * factor(k, 4 * STEPS) for k in range(4 * STEPS))
    assert model.layers[0].weight[0, 0] == pytest.approx(total, rel=1e-12)


def test_decays_go_on_in_the_next_fit() -> None:
    for schedule in (culpa.StepDecay(2, 0.5), culpa.ExponentialDecay(0.9)):
        once, twice = classifier(), classifier()
        whole = once.fit(X, LABELS, epochs=5, batch_size=16, schedule=schedule)
        parts = [twice.fit(X, LABELS, epochs=n, batch_size=16, schedule=schedule) for n in (3, 2)]
        assert whole.learning_rate == parts[0].learning_rate + parts[1].learning_rate
        assert all_bits(once) == all_bits(twice)


# Training that diverges


def finite(model: culpa.Sequential) -> bool:
    return all(np.isfinite(array).all() for array in model.state_dict().values())


def test_divergence_in_the_first_epoch_gives_the_weights_before_fit_back() -> None:
    model = regressor()
    before = bits(model)
    with pytest.raises(culpa.DivergedError, match=r"epoch 0, step \d+ of 10;") as caught:
        model.fit(X, VALUES, epochs=3, batch_size=4, optimizer=culpa.SGD(1e30))
    assert "those it had before fit" in str(caught.value)
    assert "Lower the learning rate (now 1e+30)" in str(caught.value)
    assert isinstance(caught.value, ArithmeticError)
    assert bits(model) == before


def test_divergence_gives_the_best_weights_back() -> None:
    class Explode(culpa.Schedule):
        def factors(self, steps: Array, total: int, epochs: Array) -> Array:
            return np.where(steps < 25, 1.0, 1e35)

    kept: dict[int, bytes] = {}
    model = regressor()
    with pytest.raises(culpa.DivergedError, match=r"epoch 2, step \d of 10;.*best epoch, 1"):
        model.fit(
            X,
            VALUES,
            epochs=9,
            batch_size=4,
            optimizer=culpa.SGD(0.01),
            schedule=Explode(),
            callbacks=lambda training: kept.update({training.epoch: bits(training.model)}),
        )
    assert model.history is not None
    assert model.history.epochs == 2
    assert bits(model) == kept[1]
    assert finite(model)


@pytest.mark.parametrize("batch_size", [4, N])
def test_after_a_divergence_the_model_trains_and_is_free(batch_size: int) -> None:
    model = regressor()
    options: dict[str, Any] = {"epochs": 20, "batch_size": batch_size}
    with pytest.raises(culpa.DivergedError):
        model.fit(X, VALUES, optimizer=culpa.SGD(1e30, momentum=0.9), **options)
    assert fits_elsewhere(model, VALUES, optimizer=culpa.SGD(0.0))
    history = model.fit(X, VALUES, optimizer=culpa.SGD(0.01, momentum=0.9), **options)
    assert history.loss[-1] < history.loss[0]


def test_what_a_divergence_leaves_is_no_worse_than_what_fit_began_with() -> None:
    model = regressor()
    before = model.evaluate(X, VALUES)["loss"]
    with pytest.raises(culpa.DivergedError):
        model.fit(X, VALUES, epochs=9, batch_size=N, optimizer=culpa.SGD(1e30))
    assert model.evaluate(X, VALUES)["loss"] <= before


@pytest.mark.parametrize("batch_size", [N, 8])
@pytest.mark.parametrize("epochs", [1, 2, 5])
@pytest.mark.parametrize("rate", [1e20, 1e36, 1e38, 1e39])
def test_whatever_the_learning_rate_the_weights_end_finite(
    rate: float, epochs: int, batch_size: int
) -> None:
    model = regressor()
    with contextlib.suppress(culpa.DivergedError):
        model.fit(X, VALUES, epochs=epochs, batch_size=batch_size, optimizer=culpa.SGD(rate))
    assert finite(model)


def test_a_last_step_that_ruins_the_weights_is_a_divergence() -> None:
    model = regressor()
    before = bits(model)
    with pytest.raises(culpa.DivergedError):
        model.fit(X, VALUES, epochs=1, batch_size=N, optimizer=culpa.SGD(1e300))
    assert bits(model) == before


def test_divergence_of_one_of_many_names_it_and_frees_all() -> None:
    models = [regressor(seed=seed) for seed in range(3)]
    models[1].layers[0].weight = np.full((3, 6), 1e30)
    models[1].layers[2 - 1].weight = np.full((6, 1), 1e30)
    with pytest.raises(culpa.DivergedError):
        culpa.fit_many(models, X, VALUES, epochs=2)
    assert all(finite(model) for model in models)
    assert all(fits_elsewhere(model) for model in (models[0], models[2]))


# Ctrl-C


@pytest.mark.skipif(os.name != "posix", reason="SIGINT to another process is POSIX")
@pytest.mark.parametrize("kind", ["short steps", "long steps"])
def test_ctrl_c_ends_training_and_leaves_a_usable_model(
    kind: str, record_property: Callable[[str, object], None]
) -> None:
    process = subprocess.Popen(
        helpers.command("interrupt_training.py", kind),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "training":
            break
    sent = time.monotonic()  # one clock for all processes
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert "KeyboardInterrupt" in err
    assert process.returncode in (-signal.SIGINT, 128 + signal.SIGINT)
    answer = json.loads(out.splitlines()[-1])
    latency = answer.pop("stopped at") - sent
    record_property("latency", latency)
    print(f"{kind}: stopped {latency * 1e3:.1f} ms after the signal")
    steps, epochs = answer.pop("steps"), answer.pop("epochs")
    per_epoch = 400 if kind == "short steps" else 2
    assert steps >= (1000 if kind == "short steps" else 1)
    assert steps // per_epoch - 1 <= epochs <= steps // per_epoch
    assert answer == {
        "stopped": "interrupted",
        "columns": [epochs] if epochs else [],
        "ended": 1,
        "bits of as many whole steps": True,
        "history of as many epochs": True,
        "predicts": True,
        "trains on": 1,
        "elsewhere": 1,
    }
    assert latency < 2.0


# Many models at once


def test_fit_many_gives_each_model_the_bits_of_its_own_fit() -> None:
    together = [classifier(seed=seed) for seed in range(3)]
    alone = [classifier(seed=seed) for seed in range(3)]
    rows = [np.arange(N)[i::3] for i in range(3)]
    histories = culpa.fit_many(together, X, LABELS, rows=rows, epochs=3, batch_size=5)
    for model, twin, mine, history in zip(together, alone, rows, histories, strict=True):
        own = twin.fit(X[mine], LABELS[mine], epochs=3, batch_size=5)
        assert all_bits(model) == all_bits(twin)
        assert history.loss == own.loss
        assert model.history is history


Kinds = type[Exception] | tuple[type[Exception], ...]
BAD_MANY: dict[str, tuple[Callable[[], object], Kinds, str]] = {
    "one model": (lambda: culpa.fit_many(classifier(), X, LABELS), TypeError, "models: "),
    "no model": (lambda: culpa.fit_many([classifier(), 3], X, LABELS), TypeError, "models"),
    "a class": (lambda: culpa.fit_many([culpa.Sequential], X, LABELS), TypeError, "models"),
    "None": (lambda: culpa.fit_many(None, X, LABELS), TypeError, "models: "),
    "two dtypes": (
        lambda: culpa.fit_many([classifier(), classifier(dtype="float64")], X, LABELS),
        ValueError,
        "models: expected one dtype",
    ),
    "too few rows": (
        lambda: culpa.fit_many([classifier(), classifier()], X, LABELS, rows=[[0]]),
        ValueError,
        "rows: expected one array for each of the 2 models",
    ),
    "rows out of range": (
        lambda: culpa.fit_many([classifier()], X, LABELS, rows=[[0, N]]),
        ValueError,
        f"rows: expected row indices 0 to {N - 1}",
    ),
    "negative rows": (
        lambda: culpa.fit_many([classifier()], X, LABELS, rows=[[-1]]),
        ValueError,
        "rows: ",
    ),
    "empty rows": (
        lambda: culpa.fit_many([classifier()], X, LABELS, rows=[[]]),
        (ValueError, TypeError),
        "rows: ",
    ),
    "rows in a table": (
        lambda: culpa.fit_many([classifier()], X, LABELS, rows=[[[0, 1]]]),
        ValueError,
        "rows: ",
    ),
    "rows of floats": (
        lambda: culpa.fit_many([classifier()], X, LABELS, rows=[[0.5, 1.5]]),
        TypeError,
        "rows: ",
    ),
    "rows as a mask": (
        lambda: culpa.fit_many([classifier()], X, LABELS, rows=[np.ones(N, bool)]),
        TypeError,
        "rows: ",
    ),
    "rows of text": (
        lambda: culpa.fit_many([classifier()], X, LABELS, rows=[["a"]]),
        (TypeError, ValueError),
        "rows: ",
    ),
    "unknown option": (
        lambda: culpa.fit_many([classifier()], X, LABELS, epoch=1),
        TypeError,
        "'epoch'",
    ),
    "bad X": (lambda: culpa.fit_many([classifier()], X[:, 0], LABELS), ValueError, "X: "),
}


@pytest.mark.parametrize("what", BAD_MANY)
def test_fit_many_refuses_what_is_not_as_described(what: str) -> None:
    call, kind, says = BAD_MANY[what]
    with pytest.raises(kind) as caught:
        call()
    assert says in str(caught.value)


def test_fit_many_wants_each_model_once() -> None:
    model = classifier()
    before = bits(model)
    with pytest.raises(ValueError, match="models: expected each model once"):
        culpa.fit_many([model, model], X, LABELS)
    assert bits(model) == before


def test_fit_many_of_nobody_is_nothing() -> None:
    assert culpa.fit_many([], X, LABELS) == []


def test_a_bad_member_leaves_all_models_as_they_were() -> None:
    good, bad = classifier(), classifier(input_size=5)
    good.fit(X, LABELS, epochs=1, optimizer=culpa.SGD(0.1, momentum=0.9))
    before, history = all_bits(good), good.history
    with pytest.raises(ValueError, match="5 columns"):
        culpa.fit_many([good, bad], X, LABELS, optimizer=culpa.Adam())
    assert all_bits(good) == before
    assert good.history is history
    assert fits_elsewhere(good)


# Importing


def test_importing_culpa_imports_numpy_and_nothing_heavy() -> None:
    code = "import culpa, json, sys\nprint(json.dumps(sorted(sys.modules)))"
    modules = helpers.last_json(code)
    roots = {name.partition(".")[0] for name in modules}
    assert "numpy" in roots
    heavy = {"rich", "typer", "click", "safetensors", "sklearn", "scipy", "torch", "pandas"}
    assert not roots & (heavy | {"matplotlib", "threadpoolctl", "joblib", "IPython", "tqdm"})


def test_training_where_nobody_watches_imports_no_progress_bar() -> None:
    modules = helpers.last_json_of("list_modules_after_training.py")
    assert "rich" not in modules
    assert "safetensors" not in modules


# What it learns


def test_it_learns_xor() -> None:
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 8)
    y = x[:, 0] ^ x[:, 1]
    for loss, outputs in (("cross_entropy", 2), ("binary_cross_entropy", 1)):
        model = culpa.Sequential([culpa.Dense(8, "tanh"), culpa.Dense(outputs)], loss=loss)
        model.fit(x, y, epochs=200, batch_size=8, optimizer=culpa.Adam(0.05))
        assert model.evaluate(x, y)["accuracy"] == 1.0


def two_moons(n: int, seed: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    angle = np.pi * rng.random(n)
    y = rng.integers(0, 2, n)
    x = np.column_stack([np.cos(angle), np.sin(angle)])
    x = np.where(y[:, None] == 1, [1.0, 0.5] - x, x)
    return x + 0.1 * rng.normal(size=(n, 2)), y


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "silu"])
def test_it_tells_two_moons_apart(activation: str) -> None:
    x, y = two_moons(500, 0)
    x_test, y_test = two_moons(500, 1)
    layers = [culpa.Dense(16, activation), culpa.Dense(16, activation), culpa.Dense(2)]
    model = culpa.Sequential(layers, loss="cross_entropy")
    model.fit(x, y, epochs=60, batch_size=32, optimizer=culpa.Adam(0.01))
    assert model.evaluate(x_test, y_test)["accuracy"] >= 0.98


@pytest.mark.parametrize(
    "optimizer", [culpa.SGD(0.05, momentum=0.9), culpa.SGD(0.2), culpa.Adam(0.05)], ids=repr
)
def test_linear_regression_reaches_the_least_squares_solution(optimizer: Any) -> None:
    y = np.column_stack([VALUES, X @ [0.5, 0.5, 3.0] - 1.0 + 0.2 * np.sin(np.arange(N))])
    solution, *_ = np.linalg.lstsq(np.column_stack([X, np.ones(N)]), y, rcond=None)
    model = culpa.Sequential([culpa.Dense(2)], loss="mse", dtype="float64")
    model.fit(
        X, y, epochs=1500, batch_size=N, optimizer=optimizer, schedule=culpa.Cosine(), shuffle=False
    )
    np.testing.assert_allclose(model.layers[0].weight, solution[:3], atol=1e-6)
    np.testing.assert_allclose(model.layers[0].bias, solution[3], atol=1e-6)


def groups(n: int = 300) -> tuple[Array, Array]:
    which = np.arange(n) % 3
    return np.eye(3)[which], which


def test_poisson_regression_finds_the_mean_of_each_group() -> None:
    x, which = groups()
    y = np.random.default_rng(1).poisson(np.array([0.5, 3.0, 20.0])[which])
    model = culpa.Sequential([culpa.Dense(1)], loss="poisson", dtype="float64")
    model.fit(x, y, epochs=400, batch_size=300, optimizer=culpa.Adam(0.1), schedule=culpa.Cosine())
    means = [y[which == group].mean() for group in range(3)]
    np.testing.assert_allclose(model.predict(np.eye(3)), means, rtol=1e-4)


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_quantile_regression_finds_the_quantile_of_each_group(q: float) -> None:
    x, which = groups(303)
    y = np.random.default_rng(2).normal(size=303) * np.array([1.0, 2.0, 5.0])[which]
    model = culpa.Sequential([culpa.Dense(1)], loss=culpa.Quantile(q), dtype="float64")
    model.fit(x, y, epochs=1500, batch_size=303, optimizer=culpa.Adam(0.1), schedule=culpa.Cosine())
    guesses = model.predict(np.eye(3))
    for group in range(3):
        mine = np.sort(y[which == group])
        low, high = mine[int(q * 101) - 1], mine[int(q * 101) + 1]
        assert low - 0.02 <= guesses[group] <= high + 0.02


def test_the_absolute_error_finds_the_median_and_shrugs_at_outliers() -> None:
    y = np.array([1.0, 2.0, 3.0, 4.0, 1e6])
    model = culpa.Sequential([culpa.Dense(1)], loss="mae", dtype="float64")
    model.fit(np.ones((5, 1)), y, epochs=2000, optimizer=culpa.Adam(0.05), schedule=culpa.Cosine())
    assert model.predict([[1.0]])[0] == pytest.approx(3.0, abs=0.01)


def test_label_smoothing_bounds_what_is_learned() -> None:
    """With targets (1 - s) t + s / K the best logits differ by log((1 - s + s / K) / (s / K))."""
    model = culpa.Sequential([culpa.Dense(2)], loss=culpa.CrossEntropy(0.2), dtype="float64")
    x, y = np.eye(2), np.array([0, 1])
    model.fit(x, y, epochs=800, optimizer=culpa.Adam(0.05), schedule=culpa.Cosine())
    logits = model.predict_logits(x)
    assert logits[0, 0] - logits[0, 1] == pytest.approx(math.log(0.9 / 0.1), abs=1e-3)


def test_the_digits_are_learned() -> None:
    x, y, x_test, y_test = culpa.datasets.digits()
    model = culpa.Sequential(
        [culpa.Dense(64, "relu"), culpa.Dropout(0.1), culpa.Dense(10)],
        loss="cross_entropy",
        input_scale=1 / 16,
    )
    model.fit(x, y, epochs=30, batch_size=64, optimizer=culpa.Adam(3e-3))
    assert model.evaluate(x_test, y_test)["accuracy"] >= 0.96
