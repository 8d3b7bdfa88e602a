"""Names of columns: a model remembers those that it was fitted on, and refuses others."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import culpa
from culpa.data import columns
from culpa.parts.architecture import Architecture

pd = pytest.importorskip("pandas", reason="frames of pandas")

RNG = np.random.default_rng(0)
A = RNG.normal(size=(60, 4))
Y = (A[:, 0] > 0).astype(int)
D = pd.DataFrame(A, columns=list("abcd"))
R = D[list("dcba")]
WORDS = "The feature names should match those that were passed during fit"


def new(**options: Any) -> culpa.Sequential:
    layers = [culpa.Dense(8, "relu"), culpa.Dense(2)]
    return culpa.Sequential(layers, **{"loss": "cross_entropy", **options})


@pytest.fixture
def fitted() -> culpa.Sequential:
    model = new()
    model.fit(D, Y, epochs=1, verbose=False)
    return model


Ask = Callable[[culpa.Sequential, Any], Any]
ROWS: dict[str, Ask] = {
    "fit": lambda model, X: model.fit(X, Y, epochs=1, verbose=False),
    "validation_data": lambda model, X: model.fit(
        D, Y, epochs=1, validation_data=(X, Y), verbose=False
    ),
    "validation_data beside an array": lambda model, X: model.fit(
        A, Y, epochs=1, validation_data=(X, Y), verbose=False
    ),
    "a HealthCheck": lambda model, X: model.fit(
        D, Y, epochs=1, callbacks=culpa.HealthCheck(X, Y), verbose=False
    ),
    "fit_many": lambda model, X: culpa.fit_many([new(seed=1), model], X, Y, epochs=1),
    "predict": lambda model, X: model.predict(X),
    "predict_logits": lambda model, X: model.predict_logits(X),
    "predict_proba": lambda model, X: model.predict_proba(X),
    "evaluate": lambda model, X: model.evaluate(X, Y),
    "loss_and_gradients": lambda model, X: model.loss_and_gradients(X, Y),
    "blame": lambda model, X: model.blame(X, Y),
    "attribute": lambda model, X: model.attribute(X),
    "influence, X_train": lambda model, X: model.influence(X, Y, D, Y),
    "influence, X_test": lambda model, X: model.influence(D, Y, X, Y),
    "el2n": lambda model, X: culpa.el2n(model, X, Y),
    "grand": lambda model, X: culpa.grand([model], X, Y),
    "diagnose": lambda model, X: culpa.diagnose(model, X, Y),
    "page": lambda model, X: culpa.page(model, X, Y),
    "find_label_errors": lambda model, X: culpa.find_label_errors(model, X, Y, epochs=1),
}
COMPARED: dict[str, Ask] = {
    "a set of baselines": lambda model, X: model.attribute(D, background=X),
    "expected_gradients": lambda model, X: model.attribute(
        D, background=X, method="expected_gradients"
    ),
    "a baseline for each row": lambda model, X: model.attribute(D, baseline=X),
}
ONE_ROW: dict[str, Ask] = {
    "one baseline": lambda model, x: model.attribute(D, baseline=x),
    "noise": lambda model, x: model.attribute(D, method="smooth_grad", noise=x * x),
}


def weights(model: culpa.Sequential) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in model.state_dict().items()}


@pytest.mark.parametrize("ask", {**ROWS, **COMPARED})
def test_columns_in_another_order_are_refused(ask: str, fitted: culpa.Sequential) -> None:
    before = weights(fitted)
    with pytest.raises(ValueError, match=WORDS) as caught:
        {**ROWS, **COMPARED}[ask](fitted, R)
    assert "Feature names must be in the same order as they were in fit." in str(caught.value)
    assert weights(fitted) == before
    assert fitted.feature_names == tuple("abcd")


@pytest.mark.parametrize("ask", {**ROWS, **COMPARED})
def test_the_columns_of_fit_and_arrays_are_taken(ask: str, fitted: culpa.Sequential) -> None:
    for X in (D, A, pd.DataFrame(A)):
        {**ROWS, **COMPARED}[ask](fitted, X)


@pytest.mark.parametrize("ask", ONE_ROW)
def test_a_mean_of_columns_in_another_order_is_refused(ask: str, fitted: culpa.Sequential) -> None:
    with pytest.raises(ValueError, match=WORDS):
        ONE_ROW[ask](fitted, R.mean())
    for x in (D.mean(), A.mean(axis=0)):
        ONE_ROW[ask](fitted, x)


def test_pictures_refuse_columns_in_another_order(fitted: culpa.Sequential) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    from matplotlib import pyplot

    blame = fitted.blame(D, Y)
    with pytest.raises(ValueError, match=WORDS):
        culpa.plots.network(fitted, R, Y)
    with pytest.raises(ValueError, match=WORDS):
        culpa.plots.examples([0, 1], R, Y, fitted)
    with pytest.raises(ValueError, match="should match those that ranking is of"):
        culpa.plots.examples(blame, R, Y)
    for values in (blame, fitted.attribute(D)):
        with pytest.raises(ValueError, match="should match those that values is of"):
            culpa.plots.inputs(values, X=R)
    culpa.plots.network(fitted, D, Y)
    culpa.plots.examples(blame, D, Y, fitted)
    culpa.plots.inputs(blame, X=D)
    pyplot.close("all")


def test_frames_of_polars_have_names_too(fitted: culpa.Sequential) -> None:
    pl = pytest.importorskip("polars", reason="frames of polars")
    frame = pl.DataFrame(A, schema=list("abcd"))
    np.testing.assert_array_equal(fitted.predict(frame), fitted.predict(A))
    with pytest.raises(ValueError, match=WORDS):
        fitted.predict(frame[list("dcba")])
    with pytest.raises(TypeError, match=r"X: .*use X.collect\(\)"):
        fitted.predict(frame.lazy())


def test_the_error_lists_what_is_new_and_what_is_missing(fitted: culpa.Sequential) -> None:
    with pytest.raises(ValueError, match=WORDS) as caught:
        fitted.predict(D.rename(columns={"a": "x"}))
    assert str(caught.value).splitlines() == [
        f"X: {WORDS}.",
        "Feature names unseen at fit time:",
        "- x",
        "Feature names seen at fit time, yet now missing:",
        "- a",
        "Select the columns by name in that order: model.feature_names, or feature_names_in_ of an "
        "estimator",
    ]
    with pytest.raises(ValueError, match="unseen at fit time:\n- target\nSelect"):
        fitted.predict(D.assign(target=1))
    wide = pd.DataFrame(np.zeros((2, 9)), columns=list("stuvwxyza"))
    with pytest.raises(ValueError, match=r"- s\n- t\n- u\n- v\n- w\n- [.]{3}\n"):
        fitted.predict(wide)


def test_the_words_are_those_of_scikit_learn(fitted: culpa.Sequential) -> None:
    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    estimator = linear.LogisticRegression().fit(D, Y)
    for frame in (R, D.rename(columns={"a": "x"}), D[["a", "b"]], D.assign(e=0)):
        with pytest.raises(ValueError, match=WORDS) as theirs:
            estimator.predict(frame)
        with pytest.raises(ValueError, match=WORDS) as ours:
            fitted.predict(frame)
        assert str(ours.value).startswith(f"X: {theirs.value}")


def test_names_in_a_first_fit_are_compared_with_each_other() -> None:
    model = new()
    for options in ({"validation_data": (R, Y)}, {"callbacks": culpa.HealthCheck(R, Y)}):
        with pytest.raises(ValueError, match=WORDS):
            model.fit(D, Y, epochs=1, verbose=False, **options)
        assert (model.feature_names, model.input_size) == (None, None)
    with pytest.raises(ValueError, match=r"X \(validation\): The feature names"):
        culpa.find_label_errors(model, D, Y, epochs=1, validation_data=(R, Y))


def test_a_model_without_names_compares_what_it_is_given() -> None:
    model = new(input_size=4)
    with pytest.raises(ValueError, match=r"background: .* should match those of X"):
        model.attribute(D, background=R)
    with pytest.raises(ValueError, match=r"X_test: .* should match those of X_train"):
        model.influence(D, Y, R, Y)
    model.predict(R)
    assert model.feature_names is None


def test_the_first_frame_names_the_inputs() -> None:
    model = new()
    model.fit(A, Y, epochs=1, verbose=False)
    assert model.feature_names is None
    model.fit(R, Y, epochs=1, verbose=False)
    assert model.feature_names == tuple("dcba")
    model.fit(A, Y, epochs=1, verbose=False)
    assert model.feature_names == tuple("dcba")
    with pytest.raises(ValueError, match="to train on other columns, build a new model, or set"):
        model.fit(D, Y, epochs=1, verbose=False)
    model.feature_names = None
    model.fit(D, Y, epochs=1, verbose=False)
    assert model.feature_names == tuple("abcd")


def test_names_that_are_no_strings_are_none() -> None:
    for names in ([0, 1, 2, 3], ["a", "b", "c", 3], [("a", 1), ("b", 1), ("c", 1), ("d", 1)]):
        model = new()
        model.fit(pd.DataFrame(A, columns=pd.Index(names, dtype=object)), Y, epochs=1)
        assert model.feature_names is None


def test_a_fit_that_fails_leaves_the_names(tmp_path: Path) -> None:
    model = new(input_size=4)
    with pytest.raises(ValueError, match="y: "):
        model.fit(D, Y + 5, verbose=False)
    assert model.feature_names is None
    with pytest.raises(culpa.DivergedError, match="those it had before fit"):
        model.fit(1e3 * D, Y, epochs=3, optimizer=culpa.SGD(1e30), verbose=False)
    assert model.feature_names is None

    def fail(training: Any) -> None:
        raise OSError("the disk is full")

    class FailsAtOnce(culpa.Callback):
        on_fit_begin = staticmethod(fail)

    with pytest.raises(OSError, match="full"):
        model.fit(D, Y, callbacks=FailsAtOnce(), verbose=False)
    assert model.feature_names is None
    with pytest.raises(OSError, match="full"):  # after an epoch that the weights keep
        model.fit(D, Y, callbacks=fail, verbose=False)
    assert model.feature_names == tuple("abcd")


def test_a_frame_in_a_file_that_holds_nan_names_no_model(tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", np.where(np.arange(60) == 30, np.nan, A.T).T)

    class Mapped:
        shape, columns = A.shape, tuple("abcd")

        def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
            return np.load(tmp_path / "X.npy", mmap_mode="r")

    model = new(input_size=4)
    with pytest.raises(ValueError, match=r"X: expected finite numbers.*in row 30"):
        model.fit(Mapped(), Y, verbose=False)
    assert model.feature_names is None


def test_a_fit_of_many_that_fails_names_no_model() -> None:
    models = [new(input_size=4), new(seed=1, input_size=4)]
    models[1].feature_names = list("dcba")
    with pytest.raises(ValueError, match=WORDS):
        culpa.fit_many(models, D, Y, epochs=1)
    assert [model.feature_names for model in models] == [None, tuple("dcba")]


def test_names_come_along_with_copies_pickles_and_files(
    fitted: culpa.Sequential, tmp_path: Path
) -> None:
    fitted.save(tmp_path / "model")
    loaded = culpa.load(tmp_path / "model")
    for other in (fitted.copy(), pickle.loads(pickle.dumps(fitted)), loaded):
        assert other.feature_names == tuple("abcd")
        assert other.config()["feature_names"] == list("abcd")
        with pytest.raises(ValueError, match=WORDS):
            other.predict(R)


def test_a_file_from_before_there_were_names_is_read(
    fitted: culpa.Sequential, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = fitted.config()
    del config["feature_names"]
    monkeypatch.setattr(Architecture, "config", lambda _: config)
    fitted.save(tmp_path / "old")
    loaded = culpa.load(tmp_path / "old")
    assert loaded.feature_names is None
    assert weights(loaded) == weights(fitted)


@pytest.mark.parametrize("names", [["a"], [1, 2, 3, 4], "abcd", 5, [None] * 4, {}])
def test_a_file_with_names_that_do_not_fit_is_refused(
    names: Any, fitted: culpa.Sequential, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {**fitted.config(), "feature_names": names}
    monkeypatch.setattr(Architecture, "config", lambda _: config)
    fitted.save(tmp_path / "bad")
    with pytest.raises(ValueError, match="path: expected a model saved by culpa"):
        culpa.load(tmp_path / "bad")


def test_names_may_be_assigned_and_must_fit(fitted: culpa.Sequential) -> None:
    fitted.feature_names = list("wxyz")
    with pytest.raises(ValueError, match=WORDS):
        fitted.predict(D)
    with pytest.raises(ValueError, match="feature_names: expected a name for each of the 4"):
        fitted.feature_names = ["a"]
    for names in ("wxyz", [1, 2, 3, 4], 4):
        with pytest.raises(TypeError, match="feature_names: expected a list of 4 strings"):
            fitted.feature_names = names
    with pytest.raises(RuntimeError, match="no weights yet"):
        new().feature_names = ["a"]
    assert fitted.feature_names == tuple("wxyz")


def test_checkpoints_of_other_columns_are_refused(fitted: culpa.Sequential) -> None:
    other = new()
    other.fit(R, Y, epochs=1, verbose=False)
    with pytest.raises(ValueError, match=r"checkpoints\[0\]: expected feature_names as the model"):
        fitted.influence(D, Y, D, Y, checkpoints=other)
    other.feature_names = None
    fitted.influence(D, Y, D, Y, checkpoints=other)


def test_the_command_line_refuses_columns_in_another_order(
    fitted: culpa.Sequential, tmp_path: Path
) -> None:
    from culpa.pages.command import Options, run

    fitted.save(tmp_path / "model")
    for frame in (D, R):
        frame.assign(label=Y).to_csv(tmp_path / f"{frame.columns[0]}.csv", index=False)
    run(Options(tmp_path / "model", str(tmp_path / "a.csv")))
    with pytest.raises(ValueError, match=f"data: {WORDS}"):
        run(Options(tmp_path / "model", str(tmp_path / "d.csv")))


def test_training_does_not_depend_on_names() -> None:
    named, plain = new(), new()
    named.fit(D, Y, epochs=3, verbose=False)
    plain.fit(A, Y, epochs=3, verbose=False)
    assert weights(named) == weights(plain)


def test_tables_of_columns_are_told_from_arrays() -> None:
    class Table:  # as pyarrow's: `columns` are the values
        shape = (60, 4)
        columns = tuple(A.T)
        column_names = tuple("abcd")

        def take(self, rows: np.ndarray) -> np.ndarray:
            return A[rows]

    assert columns.column_names(Table()) == list("abcd")
    np.testing.assert_array_equal(columns.take_rows(Table(), np.arange(3)), A[:3])
    assert columns.column_names(A) is None
    assert columns.column_names(D["a"].iloc[:0]) is None
