"""Columns that float32 cannot tell apart: said once, with the mend, and measured in float64."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import culpa
import helpers
import reference
from culpa import Dense, RoundingWarning
from culpa.data import rounding

rng = np.random.default_rng(0)
N = 240
X = rng.normal(size=(N, 3))
WEIGHT = rng.uniform(0.5, 2.0, N)
LOSSES = {
    "mse": culpa.MSE(),
    "mae": culpa.MAE(),
    "huber": culpa.Huber(0.5),
    "huber wide": culpa.Huber(40.0),
    "quantile": culpa.Quantile(0.3),
    "poisson": culpa.Poisson(),
    "gamma": culpa.Gamma(),
    "tweedie": culpa.Tweedie(),
    "tweedie 1": culpa.Tweedie(1.0),
    "tweedie 2.5": culpa.Tweedie(2.5),
}
CASES = {"1e8": (1e8, 1.0), "seconds": (1.7e9, 10.0), "just": (1e6, 3.0)}


def far(case: str = "1e8", outputs: int = 1) -> np.ndarray:
    offset, spread = CASES[case]
    return offset + spread * (X[:, :outputs] if outputs > 1 else X[:, 0])


def guesser(y: np.ndarray, loss: Any = "mse", dtype: str = "float32") -> culpa.Sequential:
    """A network whose guesses are near y, the same for all rows."""
    y = y.reshape(len(y), -1)
    model = culpa.Sequential([Dense(y.shape[1])], loss, input_size=3, dtype=dtype)
    model.layers[0].weight = np.zeros((3, y.shape[1]))
    logs = model.loss.link == "log"
    model.layers[0].bias = np.log(y.mean(axis=0)) if logs else y.mean(axis=0)
    return model


def losses_of(model: culpa.Sequential, X: Any, y: np.ndarray) -> np.ndarray:
    """Of the model's own guesses, in float64, by the oracle."""
    z = model.predict_logits(X).astype(np.float64)
    loss = model.loss
    return reference.LOSSES[loss.name](z, y.reshape(len(y), -1), **loss.parameters)[0]


def r2_of(guess: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None) -> float:
    guess, y = guess.reshape(len(y), -1).astype(np.float64), y.reshape(len(y), -1)
    mean = np.average(y, axis=0, weights=weight)
    missed = np.average((y - guess) ** 2, axis=0, weights=weight)
    return float(np.mean(1 - missed / np.average((y - mean) ** 2, axis=0, weights=weight)))


# --- Measured in float64 -------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("loss", LOSSES)
def test_evaluate_measures_the_guesses_against_y_as_passed(
    loss: str, case: str, outputs: int, weight: Any
) -> None:
    y = far(case, outputs)
    model = guesser(y, LOSSES[loss])
    want = losses_of(model, X, y)
    with pytest.warns(RoundingWarning, match=r"^y: column \d"):
        got = model.evaluate(X, y, sample_weight=weight)
    assert got["loss"] == pytest.approx(np.average(want, weights=weight), rel=1e-12)
    guess = model.predict(X)
    if model.loss.link == "log":  # NumPy's exp of float32 may err in its last bit, which counts
        guess = np.exp(model.predict_logits(X).astype(np.float64)).astype(np.float32)
    assert got["r2"] == pytest.approx(r2_of(guess, y, weight), rel=1e-9)
    with pytest.warns(RoundingWarning, match=r"^y: "):
        blame = model.blame(X, y, want=("losses", "weights"))
    np.testing.assert_allclose(blame.losses, want, rtol=1e-12, atol=1e-12)
    with pytest.warns(RoundingWarning, match=r"^y: "):
        loss_sum, _ = model.loss_and_gradients(X, y)
    assert loss_sum == pytest.approx(want.mean(), rel=1e-12)


@pytest.mark.parametrize("batch_size", [7, N])
@pytest.mark.parametrize("how", ["split", "data", "rows"])
def test_the_history_measures_the_guesses_against_y_as_passed(how: str, batch_size: int) -> None:
    y = far("seconds")
    model = guesser(y)
    options: dict[str, Any] = {"epochs": 2, "batch_size": batch_size, "optimizer": culpa.SGD(0.0)}
    seen: list[Any] = []
    options["callbacks"] = lambda training: seen.append(training.rows)
    options |= {
        "split": {"validation_split": 0.3},
        "data": {"validation_data": (X[:50], y[:50])},
        "rows": {"rows": np.arange(0, N, 2), "validation_data": (X[:50], y[:50])},
    }[how]
    with pytest.warns(RoundingWarning, match=r"^y: ") as said:
        history = model.fit(X, y, **options)
    assert len(said) == 1
    assert said[0].filename == __file__
    rows = np.arange(N) if seen[0] is None else seen[0]
    held = np.setdiff1d(np.arange(N), rows) if how == "split" else np.arange(50)
    losses, guess = losses_of(model, X, y), model.predict(X)
    for got, part in (("", rows), ("val_", held)):
        assert history[f"{got}loss"] == pytest.approx([losses[part].mean()] * 2, rel=1e-12)
        assert history[f"{got}r2"] == pytest.approx([r2_of(guess[part], y[part])] * 2, rel=1e-9)


def test_validation_is_measured_as_training_is_where_either_is_drowned() -> None:
    wide = 1e8 * (1.0 + X[:, 0] ** 2)
    options: dict[str, Any] = {"epochs": 1, "optimizer": culpa.SGD(0.0)}
    for y, held in ((far(), wide), (wide, far())):
        model = guesser(far())
        with pytest.warns(RoundingWarning) as said:
            history = model.fit(X, y, validation_data=(X, held), **options)
        assert len(said) == 1
        assert history.loss[0] == pytest.approx(losses_of(model, X, y).mean(), rel=1e-12)
        assert history.val_loss[0] == pytest.approx(losses_of(model, X, held).mean(), rel=1e-12)


def test_a_part_of_the_examples_is_measured_as_the_whole() -> None:
    y, rows = far(), np.arange(0, N, 3)
    model = guesser(y)
    with pytest.warns(RoundingWarning):
        part = model._network.examples(X, y).part(rows, " (part)")
    want = losses_of(model, X[rows], y[rows]).mean()
    assert part.evaluate(model._network.core)["loss"] == pytest.approx(want, rel=1e-12)


def test_training_takes_the_steps_that_it_took() -> None:
    y = far("just")
    drowned, rounded = guesser(y), guesser(y)
    options: dict[str, Any] = {"epochs": 3, "validation_split": 0.2, "optimizer": culpa.Adam(1.0)}
    with pytest.warns(RoundingWarning):
        drowned.fit(X, y, **options)
    rounded.fit(X, y.astype(np.float32), **options)
    assert helpers.parameter_bytes(drowned) == helpers.parameter_bytes(rounded)


def test_same_bits_at_any_thread_count() -> None:
    y = far("seconds", 3)
    answers = []
    for threads, schedule in [(1, "rows"), (2, "rows"), (3, "rows"), (2, "columns")]:
        model = culpa.Sequential([Dense(33, "relu"), Dense(3)], "huber", input_size=3)
        with helpers.plan(threads, schedule), warnings.catch_warnings():
            warnings.simplefilter("ignore", RoundingWarning)
            history = model.fit(X, y, epochs=2, batch_size=32, validation_split=0.2)
            losses = model.blame(X, y, want="losses").losses.tobytes()
            rows = [history[key] for key in ("loss", "r2", "val_loss", "val_r2")]
            answers.append((rows, losses, model.evaluate(X, y)))
    assert all(answer == answers[0] for answer in answers)


def test_early_stopping_watches_what_is_measured() -> None:
    y = far()
    with pytest.warns(RoundingWarning):
        history = guesser(y).fit(
            X, y, epochs=4, optimizer=culpa.SGD(1e-3), validation_split=0.3, early_stopping=9
        )
    assert history.best_epoch == int(np.argmin(history.val_loss))
    assert max(history.val_r2) < 0.9  # which rounded targets made 1


# --- Said once, and where ------------------------------------------------------------------------


def doors(x: Any, y: Any) -> dict[str, Any]:
    labels = (X[:, 0] > 0).astype(int)

    def regressor() -> culpa.Sequential:
        return culpa.Sequential([Dense(2, "tanh"), Dense(1)], "mse", input_size=x.shape[1])

    def classifier() -> culpa.Sequential:
        return culpa.Sequential([Dense(2)], "cross_entropy", input_size=x.shape[1])

    def fit_many() -> None:
        culpa.fit_many([regressor() for _ in range(3)], x, y, epochs=1, validation_split=0.2)

    evaluated: list[Any] = []

    def with_callbacks() -> None:
        watch = [lambda t: evaluated.append(t.model.evaluate(x, y)), culpa.HealthCheck()]
        regressor().fit(x, y, epochs=3, validation_data=(x, y), callbacks=watch)

    return {
        "fit": lambda: regressor().fit(x, y, epochs=2, validation_data=(x, y)),
        "fit with callbacks": with_callbacks,
        "fit_many": fit_many,
        "evaluate": lambda: regressor().evaluate(x, y),
        "blame": lambda: regressor().blame(x, y),
        "gradients": lambda: regressor().loss_and_gradients(x, y),
        "diagnose": lambda: culpa.diagnose(regressor(), x, y),
        "influence": lambda: regressor().influence(x, y, x, y),
        "predict": lambda: regressor().predict(x),
        "predict_logits": lambda: regressor().predict_logits(x),
        "predict_proba": lambda: classifier().predict_proba(x),
        "attribute": lambda: regressor().attribute(x),
        "scores": lambda: culpa.grand(classifier(), x, labels),
        "label errors": lambda: culpa.find_label_errors(classifier(), x, labels, epochs=1),
    }


TIMES = np.c_[X[:, 0], 1.7e9 + np.arange(N) % 90]
WITH_Y = ("fit", "fit with callbacks", "fit_many", "evaluate", "blame", "gradients", "influence")


@pytest.mark.parametrize("door", doors(TIMES, X[:, 0]))
def test_a_column_of_x_is_said_once_by_each_call(door: str) -> None:
    with pytest.warns(RoundingWarning, match=r"^X\S*: column 1 varies too little") as said:
        doors(TIMES, X[:, 0])[door]()
    assert len(said) == 1
    assert said[0].filename == __file__
    for mend in ("Subtract the column's mean", 'dtype="float64"', "steps of 128 at 1.7e+09"):
        assert mend in str(said[0].message)


@pytest.mark.parametrize("door", WITH_Y)
def test_a_column_of_y_is_said_once_by_each_call(door: str) -> None:
    with pytest.warns(RoundingWarning, match=r"^y\S*: column 0 varies too little") as said:
        doors(X, far())[door]()
    assert len(said) == 1
    assert said[0].filename == __file__


def test_a_column_of_the_background_is_said() -> None:
    model = culpa.Sequential([Dense(1)], "mse", input_size=2)
    with pytest.warns(RoundingWarning, match=r"^background: column 1"):
        model.attribute(np.ones((3, 2)), background=TIMES)


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_a_column_with_a_name_is_named(kind: str) -> None:
    library = pytest.importorskip(kind, reason=f"{kind} is not installed")
    frame = library.DataFrame({"age": X[:, 0], "seen at": TIMES[:, 1]})
    model = culpa.Sequential([Dense(1)], "mse")
    fresh = culpa.Sequential([Dense(1)], "mse", input_size=2)
    for call in (lambda: model.fit(frame, X[:, 1], epochs=1), lambda: fresh.predict(frame)):
        with pytest.warns(RoundingWarning, match=r"^X: column 1 \('seen at'\) varies"):
            call()


def test_what_a_fit_saw_is_not_said_again() -> None:
    """A batch of ten minutes, by a model of ten years: its differences are noise by design."""
    years = np.c_[X[:, 0], 1.7e9 + np.linspace(-1.5e8, 1.5e8, N)]
    model = culpa.Sequential([Dense(1)], "mse")
    model.fit(years, X[:, 0], epochs=1, validation_data=(TIMES, X[:, 0]), verbose=False)
    for asked in (model, model.copy()):
        asked.predict(TIMES)
        asked.evaluate(TIMES, X[:, 0])
        asked.attribute(TIMES, background=TIMES[:5])
    with pytest.warns(RoundingWarning, match=r"^X: column 1"):
        model.fit(TIMES, X[:, 0], epochs=1, verbose=False)


@pytest.mark.parametrize("rows", [100, 10_000])  # blocks
def test_el2n_says_it_once(rows: int) -> None:
    x = np.c_[1.7e9 + np.arange(rows) % 90, np.arange(rows) % 7]
    model = culpa.Sequential([Dense(2)], "cross_entropy", input_size=2, input_scale=1e-9)
    with pytest.warns(RoundingWarning) as said:
        culpa.el2n(model, x, np.arange(rows) % 2)
    assert len(said) == 1


def test_a_warning_that_is_an_error_loses_nothing() -> None:
    model = culpa.Sequential([Dense(1)], "mse")
    with pytest.raises(RoundingWarning):  # as the tests' own filter makes it
        model.fit(TIMES, X[:, 0], epochs=1)
    assert model.input_size is None
    assert model.history is None
    model.fit(X, X[:, 0], epochs=1)


# --- Which columns -------------------------------------------------------------------------------


def found(column: Any, dtype: str = "float32") -> bool:
    return bool(rounding.drowned(np.asarray(column)[:, None], dtype))


@pytest.mark.parametrize("rows", [2, 16, 17, 4096, 10_000])
def test_the_criterion_is_a_hundredth_of_the_spread(rows: int) -> None:
    wave = np.where(np.arange(rows) % 2 == 0, -1.0, 1.0)
    shift = np.linspace(0, 1e-3, rows)  # so that float32 holds none of them exactly
    for offset, step in ((2.0**27, 16.0), (-(2.0**27), 16.0), (2.0**-10, 2.0**-33)):
        for ratio, lost in ((0.5, True), (0.05, True), (0.0105, True), (0.0095, False)):
            column = offset + (wave + shift) * step / ratio
            got = rounding.drowned(column[:, None], "float32")
            assert bool(got) == lost, (offset, ratio)
            if got:
                assert got[0].step == step
                assert got[0].spread == pytest.approx(column.std(), rel=1e-6)
                assert got[0].size == np.abs(column).max()


ORDINARY = {
    "normal": X[:, 0],
    "integers to 2^24": 2**24 - np.arange(N),
    "even integers above": 2**25 - 2 * np.arange(N),
    "years": 1990 + np.arange(N) % 30,
    "prices": 2e5 + 8e4 * X[:, 0],
    "kelvin": 293.15 + X[:, 0],
    "pascal": 101325 + 300 * X[:, 0],
    "seconds of a year": 1.7e9 + 3.15e7 * np.arange(N) / N,
    "constant": np.full(N, 0.1),
    "large constant": np.full(N, 1.7e9 + 1),
    "constant but for float64's rounding": 0.1 * (1 + 1e-16 * rng.integers(0, 3, N)),
    "one outlier": np.where(np.arange(N) == 5, 1e30, X[:, 0]),
    "mostly one value": np.where(np.arange(N) == 5, 0.0, 1e8 + X[:, 0]),
    "ones and zeros": (np.arange(N) == 3) * 0.1,
    "zeros": np.zeros(N),
    "tiny": 1e-30 * X[:, 0],
    "both signs": 1e12 * np.sign(X[:, 0]) + X[:, 1],
    "float32": (1e8 + X[:, 0]).astype(np.float32),
    "int16": np.arange(N).astype(np.int16) + 30000,
    "alternating": np.where(np.arange(N) % 2, 1e6 + 1e-3 * X[:, 0], 2e6),
}


@pytest.mark.parametrize("case", ORDINARY)
def test_ordinary_columns_raise_no_alarm(case: str) -> None:
    column = ORDINARY[case]
    assert not found(column)
    assert not found(-1.0 * column)
    model = culpa.Sequential([Dense(1)], "mse", input_size=1)
    model.evaluate(np.c_[column], np.arange(N))  # the filter would raise


LOST = {
    "seconds": 1.7e9 + np.arange(N) % 90,
    "int64 seconds": 1_700_000_000 + np.arange(N) % 90,
    "nanoseconds": 1_700_000_000_000_000_000 + 1_000_000 * np.arange(N),
    "uint64": np.uint64(2**60) + np.arange(N).astype(np.uint64) * np.uint64(10**6),
    "julian days": 2.46e6 + np.arange(N) / 24,
    "negative": -1e8 + X[:, 0],
    "integers above 2^24": 2**24 + np.arange(N),
    "first and last equal": np.where(np.arange(N) % (N - 1) == 0, 1e8, 1e8 + X[:, 0]),
}


@pytest.mark.parametrize("case", LOST)
def test_drowned_columns_are_found_wherever_they_are_and_in_float32_alone(case: str) -> None:
    column = np.asarray(LOST[case])
    assert found(column)
    assert not found(column, "float64")
    table = np.c_[X, column.astype(np.float64), np.ones(N)]
    for x in (table, np.asfortranarray(table), table[::-1], np.repeat(table, 2, axis=1)[:, ::2]):
        assert [lost.place for lost in rounding.drowned(x, "float32")] == [3]


@pytest.mark.parametrize("rows", [N, 100_000])
def test_memory_maps_are_looked_at_in_part(tmp_path: Path, rows: int) -> None:
    path = tmp_path / "x.npy"
    table = np.random.default_rng(1).normal(size=(rows, 3))
    table[:, 1] += 1e8
    np.save(path, table)
    mapped = np.load(path, mmap_mode="r")
    assert [lost.place for lost in rounding.drowned(mapped, "float32")] == [1]
    read = sum(len(block) for block in rounding._blocks(mapped, np.array([1])))
    assert read == min(rows, rounding.MOST_ROWS)


def test_sparse_rows_are_looked_at_where_a_column_is_full() -> None:
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    table = np.c_[X[:, 0], 1e8 + X[:, 1], np.where(np.arange(N) == 7, 0.0, 1e8 + X[:, 2]), X]
    table[rng.random((N, 6)) < 0.5 * np.array([1, 0, 0, 1, 1, 1])] = 0.0
    model = culpa.Sequential([Dense(1)], "mse", input_size=6)
    for kind in (sparse.csr_array, sparse.csc_matrix, sparse.coo_array):
        with pytest.warns(RoundingWarning, match=r"^X: column 1 varies"):
            model.evaluate(kind(table), X[:, 0])
    model.evaluate(sparse.csr_array(table[:, [0, 2, 3, 4, 5, 5]]), X[:, 0])
    model.evaluate(sparse.csr_array((N, 6)), X[:, 0])


def test_nan_in_a_column_is_the_other_errors_affair() -> None:
    model = culpa.Sequential([Dense(1)], "mse", input_size=1)
    for value in (np.nan, np.inf, 1e300):
        column = 1e8 + X[:, :1]
        column[N // 2] = value
        with pytest.raises(ValueError, match="expected finite numbers"):
            model.evaluate(column, X[:, 0])
        with pytest.raises(ValueError, match="expected finite numbers"):
            model.predict(column)


def test_targets_of_classifiers_are_not_looked_at() -> None:
    model = culpa.Sequential([Dense(1)], "binary_cross_entropy", input_size=3)
    model.evaluate(X, 0.1 + 1e-9 * (X[:, 0] > 0))
