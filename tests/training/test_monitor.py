"""What early stopping watches: measurable, and never NaN in silence; and r2 of several outputs."""

import math
from typing import Any

import numpy as np
import pytest

import culpa
from culpa import Dense

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 3))
Y = X[:, 0]
PLAIN: dict[str, Any] = {"epochs": 5, "verbose": False}


def network(outputs: int = 1, **options: Any) -> culpa.Sequential:
    return culpa.Sequential([Dense(8, "relu"), Dense(outputs)], "mse", input_size=3, **options)


def stopping(monitor: str | None, patience: int = 2) -> culpa.EarlyStopping:
    return culpa.EarlyStopping(patience, monitor=monitor)


# --- Known before training -----------------------------------------------------------------------


UNMEASURABLE: dict[str, dict[str, Any]] = {
    "constant": {"validation_data": (X[:20], np.ones(20))},
    "one row": {"validation_data": (X[:1], Y[:1])},
    "one weight": {"validation_data": (X[:20], Y[:20], np.eye(20)[3])},
    "split off": {"validation_split": 1 / 60},
}


@pytest.mark.parametrize("case", UNMEASURABLE)
def test_a_validation_r2_that_y_alone_makes_nan_is_refused_as_monitor(case: str) -> None:
    model = network()
    before = model.state_dict()
    options = {**UNMEASURABLE[case], **PLAIN}
    with pytest.raises(
        ValueError, match=r"^monitor: expected a value that can be measured.*val_r2"
    ):
        model.fit(X, Y, early_stopping=stopping("val_r2"), **options)
    assert all(np.array_equal(a, before[key]) for key, a in model.state_dict().items())
    assert model.history is None
    for monitor in ("val_loss", "loss", "r2", None):
        model.fit(X, Y, early_stopping=stopping(monitor), **options)
    assert math.isnan(model.fit(X, Y, **options).val_r2[-1])  # unwatched: NaN, and no error


def test_a_training_r2_that_y_alone_makes_nan_is_refused_as_monitor() -> None:
    for options in ({"rows": [4]}, {"rows": [4, 4]}, {"sample_weight": np.eye(60)[4]}):
        with pytest.raises(ValueError, match=r"^monitor: .*'r2'"):
            network().fit(X, Y, early_stopping=stopping("r2"), **options, **PLAIN)
    with pytest.raises(ValueError, match=r"^monitor: .*'r2'"):
        culpa.fit_many([network(), network()], X, np.ones(60), early_stopping=stopping("r2"))


# --- Met in training -----------------------------------------------------------------------------


def test_nan_is_no_improvement_and_that_is_said_once() -> None:
    model = culpa.Sequential([Dense(2), Dense(1)], "mse", input_size=3)
    model.layers[0].weight = np.full((3, 2), 2.0)
    model.layers[1].weight = np.array([[1.0], [-1.0]])
    beyond = (np.full((4, 3), 3e38), np.arange(4.0))  # inf - inf in float32
    options = {"epochs": 9, "optimizer": culpa.SGD(0.0), "verbose": False}
    with pytest.warns(RuntimeWarning, match=r"^early_stopping: val_loss is NaN in epoch 0") as said:
        history = model.fit(X, Y, validation_data=beyond, early_stopping=3, **options)
    assert len(said) == 1
    assert said[0].filename == __file__
    assert np.isnan(history.val_loss).all()
    assert (history.stopped, history.epochs, history.best_epoch) == ("early stopping", 3, None)
    model.fit(X, Y, validation_data=beyond, **options)  # nothing is decided by it: nothing is said


# --- r2 of several outputs -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_r2_is_the_mean_over_the_outputs_that_vary(dtype: str) -> None:
    still = np.c_[Y, np.ones(60), 2.0 * X[:, 1] + Y, np.full(60, 0.1)]
    weight = rng.uniform(0.5, 2.0, 60)
    model = network(4, dtype=dtype)
    model.fit(X, still, epochs=3, verbose=False)
    guess = model.predict(X).astype(np.float64)

    def r2(column: int) -> float:
        mean = np.average(still[:, column], weights=weight)
        missed = np.average((still[:, column] - guess[:, column]) ** 2, weights=weight)
        return float(1 - missed / np.average((still[:, column] - mean) ** 2, weights=weight))

    got = model.evaluate(X, still, sample_weight=weight)["r2"]
    assert got == pytest.approx((r2(0) + r2(2)) / 2, rel=1e-5)
    metrics = pytest.importorskip("sklearn.metrics")
    both = metrics.r2_score(still[:, [0, 2]], guess[:, [0, 2]], sample_weight=weight)
    assert got == pytest.approx(both, rel=1e-5)
    history = model.fit(X, still, epochs=1, optimizer=culpa.SGD(0.0), validation_data=(X, still))
    assert history.r2[0] == pytest.approx(history.val_r2[0], rel=1e-5)


def test_a_constant_output_does_not_keep_r2_from_being_watched() -> None:
    still = np.c_[Y, np.ones(60)]
    options: dict[str, Any] = {"validation_split": 0.3, "verbose": False}
    history = network(2).fit(X, still, epochs=9, early_stopping=stopping("val_r2"), **options)
    assert np.isfinite(history.val_r2).all()
    assert history.best_epoch == int(np.argmax(history.val_r2))
    assert math.isnan(network(2).evaluate(X, np.ones((60, 2)))["r2"])  # of no output is it known
