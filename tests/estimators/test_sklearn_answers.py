"""Estimators answer for all that they fit: data of any kind, and labels of two classes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import culpa
import helpers

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import scipy.sparse as sp

from culpa.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
N = 80
A = RNG.normal(size=(N, 4))
TWO = (A[:, 0] > 0).astype(int)
THREE = TWO + (A[:, 0] > 1)
METHODS = {
    "gradient": {},
    "input_x_gradient": {},
    "smooth_grad": {"noise": 0.1},
    "integrated_gradients": {"baseline": np.full(4, 0.5)},
    "expected_gradients": {"background": A[:9]},
    "deeplift": {"background": A[:9]},
    "lrp": {},
    "conductance": {"steps": 9},
}


def classifier(X: Any = A, y: Any = TWO, **options: Any) -> MLPClassifier:
    settings = {"max_iter": 20, "random_state": 0, **options}
    return MLPClassifier((6, 5), **settings).fit(X, y)


# --- Two classes: the target is a label ----------------------------------------------------------


@pytest.mark.parametrize("labels", [[0, 1], [1, 2], ["no", "yes"], [False, True], [-1.0, 1.0]])
def test_attributions_of_two_classes_follow_the_class(labels: list[Any]) -> None:
    ours = classifier(y=np.array(labels)[TWO], activation="tanh")
    step = 1e-5 * np.eye(4)
    for place, label in enumerate(labels):
        slopes = [
            np.diff([log_odds(ours, A + s * step[i])[:, place] for s in (-1, 1)], axis=0)[0] / 2e-5
            for i in range(4)
        ]
        answer = ours.attribute(A, target=label, method="gradient")
        np.testing.assert_allclose(answer.values, np.transpose(slopes), rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(answer.output, log_odds(ours, A)[:, place], rtol=1e-9)
        assert answer.target.tolist() == [place] * N
        assert answer.target_labels is not None
        assert answer.target_labels.tolist() == [label] * N


def log_odds(estimator: MLPClassifier, X: np.ndarray) -> np.ndarray:
    p = estimator.predict_proba(X)
    return np.log(p) - np.log(p[:, ::-1])


@pytest.mark.parametrize("method", METHODS)
def test_the_first_of_two_classes_has_minus_the_attributions(method: str) -> None:
    ours = classifier(y=np.array(["no", "yes"])[TWO])
    second, first, default = (
        ours.attribute(A, target=target, method=method, **METHODS[method])
        for target in ("yes", "no", None)
    )
    model = ours.to_sequential().attribute(A, method=method, **METHODS[method])
    for one, other in ((default, second), (model, second)):
        for name in ("values", "output", "baseline_output"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in ("values", "output", "baseline_output"):
        if getattr(second, name) is not None:
            np.testing.assert_array_equal(getattr(first, name), -getattr(second, name))
    for name in ("completeness_error", "node_completeness_error"):
        np.testing.assert_equal(getattr(first, name), getattr(second, name))
    if second.baseline_output is not None:
        change = first.output - first.baseline_output
        error = np.abs(first.values.sum(axis=1) - change)
        np.testing.assert_allclose(error, first.completeness_error, atol=1e-12)
    for one, other in zip(first.nodes or [], second.nodes or [], strict=True):
        np.testing.assert_array_equal(one, -other)


def test_each_row_of_two_classes_may_ask_about_its_own() -> None:
    words = np.array(["no", "yes"])[TWO]
    ours = classifier(y=words)
    second = ours.attribute(A, target="yes").values
    for target in (words, words.tolist(), words[:, None], words.astype(object)):
        answer = ours.attribute(A, target=target)
        signs = np.where(TWO == 1, 1.0, -1.0)
        np.testing.assert_array_equal(answer.values, signs[:, None] * second)
        assert answer.target.tolist() == TWO.tolist()
    with pytest.raises(ValueError, match=r"target: expected labels among .*got \[0\]"):
        ours.attribute(A, target=0)
    with pytest.raises(ValueError, match="target: expected one label, or one for each of the 80"):
        ours.attribute(A, target=words[:5])
    with pytest.raises(ValueError, match="target: expected a label in every row, got nan in row 0"):
        ours.attribute(A, target=np.nan)


def test_several_classes_name_what_was_asked_about() -> None:
    words = np.array(["ant", "bee", "cat"])[THREE]
    ours = classifier(y=words)
    assert ours.attribute(A, target=words).target_labels.tolist() == words.tolist()
    guesses = ours.attribute(A)
    np.testing.assert_array_equal(guesses.target_labels, ours.predict(A))


def test_outputs_that_are_no_classes_are_asked_for_by_index() -> None:
    several = RNG.integers(0, 2, (N, 3))
    for ours in (classifier(y=several), MLPRegressor(max_iter=3).fit(A, A)):
        answer = ours.attribute(A, target=1)
        assert (answer.target.tolist(), answer.target_labels) == ([1] * N, None)
        model = ours.to_sequential().attribute(A, target=1)
        np.testing.assert_array_equal(answer.values, model.values)
    with pytest.raises(ValueError, match="y: expected 3 zeros and ones in every row"):
        classifier(y=several).blame(A, several[:, 0])


def test_pictures_name_the_class() -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    from matplotlib import pyplot

    ours = classifier(y=np.array(["no", "yes"])[TWO])
    ax = culpa.plots.inputs(ours.attribute(A, target="no"), 3)
    assert ax.get_title(loc="left") == "Effect of the inputs on class no, example 3"
    ax = culpa.plots.inputs(ours.to_sequential().attribute(A), 3)
    assert ax.get_title(loc="left") == "Effect of the inputs on output 0, example 3"
    pyplot.close("all")


# --- All that fit takes --------------------------------------------------------------------------

INTEGERS = RNG.integers(0, 9, (N, 4))
SUMS = (INTEGERS.sum(axis=1) > 16).astype(int)


def frame(change: Callable[[Any], Any]) -> Callable[[], Any]:
    def make() -> Any:
        pd = pytest.importorskip("pandas", reason="frames of pandas")
        return change(pd.DataFrame(INTEGERS, columns=list("abcd")))

    return make


def polars() -> Any:
    return pytest.importorskip("polars", reason="frames of polars").DataFrame(
        INTEGERS, schema=list("abcd")
    )


INPUTS: dict[str, Callable[[], Any]] = {
    "integers": frame(lambda d: d),
    "nullable": frame(lambda d: d.convert_dtypes()),
    "Float32": frame(lambda d: d.astype("Float32")),
    "booleans": frame(lambda d: (d > 4).astype("boolean")),
    "objects": frame(lambda d: d.astype(object)),
    "strings": frame(lambda d: d.astype(str)),
    "polars": polars,
    "an array of objects": lambda: INTEGERS.astype(object),
    "an array of strings": lambda: INTEGERS.astype(str),
    "long doubles": lambda: INTEGERS.astype(np.longdouble),
    "big-endian": lambda: INTEGERS.astype(">f8"),
    "lists": lambda: INTEGERS.tolist(),
    "bytes": lambda: INTEGERS.astype(np.uint8),
    "sparse rows": lambda: sp.csr_array(INTEGERS),
    "sparse columns": lambda: sp.csc_matrix(INTEGERS),
}


@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("kind", INPUTS)
def test_estimators_answer_for_the_inputs_that_they_fit(estimator: Any, kind: str) -> None:
    X = INPUTS[kind]()
    ours = estimator(hidden_layer_sizes=(6,), max_iter=3, random_state=0).fit(X, SUMS)
    names = tuple("abcd") if hasattr(X, "columns") else None
    numbers = X.toarray() if sp.issparse(X) else np.asarray(X).astype(np.float64)
    model = ours.to_sequential()
    assert model.feature_names == names

    want = ("losses", "hidden", "slopes")
    blame, others = ours.blame(X, SUMS, want=want), model.blame(numbers, SUMS, want=want)
    np.testing.assert_array_equal(blame.losses, others.losses)
    np.testing.assert_array_equal(blame.hidden[0], others.hidden[0])
    np.testing.assert_array_equal(blame.slopes[0], others.slopes[0])
    assert blame.feature_names == names
    if not sp.issparse(X):
        answer = ours.attribute(X, background=X, method="deeplift")
        wanted = model.attribute(numbers, background=numbers, method="deeplift")
        np.testing.assert_array_equal(answer.values, wanted.values)
        assert answer.feature_names == names
        each = ours.attribute(X, baseline=X)
        np.testing.assert_array_equal(each.values, np.zeros((N, 4)))
    again = estimator(hidden_layer_sizes=(6,), max_iter=3, random_state=0)
    again.fit(X, SUMS, X_val=X, y_val=SUMS)
    assert len(again.validation_scores_) == 3


def test_one_baseline_and_noise_may_be_of_any_kind_too() -> None:
    pd = pytest.importorskip("pandas", reason="frames of pandas")
    table = pd.DataFrame(A, columns=list("abcd"))
    ours = classifier(table)
    wanted = ours.attribute(table, baseline=table.mean().to_numpy()).values
    mean = table.mean()
    for baseline in (mean, mean.astype("Float64"), mean.astype(object), mean.tolist()):
        np.testing.assert_array_equal(ours.attribute(table, baseline=baseline).values, wanted)
    options = {"method": "smooth_grad", "samples": 3}
    wanted = ours.attribute(table, noise=A.std(axis=0), **options).values
    noise = pd.Series(A.std(axis=0), index=list("abcd"), dtype="Float64")
    np.testing.assert_array_equal(ours.attribute(table, noise=noise, **options).values, wanted)


def test_columns_in_another_order_are_refused_wherever_rows_come_in() -> None:
    pd = pytest.importorskip("pandas", reason="frames of pandas")
    table = pd.DataFrame(A, columns=list("abcd"))
    other = table[list("dcba")]
    ours = classifier(table)
    words = "The feature names should match those that were passed during fit"
    asked: list[Callable[[Any], Any]] = [
        lambda X: ours.blame(X, TWO),
        lambda X: ours.attribute(X),
        lambda X: ours.attribute(table, background=X),
        lambda X: ours.attribute(table, background=X, method="expected_gradients"),
        lambda X: ours.attribute(table, baseline=X),
        lambda X: ours.attribute(table, baseline=X.mean()),
        lambda X: ours.attribute(table, method="smooth_grad", noise=X.std()),
        lambda X: ours.to_sequential().predict(X),
        lambda X: MLPClassifier(max_iter=2).fit(table, TWO, X_val=X, y_val=TWO),
    ]
    for ask in asked:
        ask(table)
        with pytest.raises(ValueError, match=words):
            ask(other)
    unnamed = classifier()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X has feature names")
        with pytest.raises(ValueError, match=r"background: .* should match those of X"):
            unnamed.attribute(table, background=other)


SEVERAL = RNG.integers(0, 2, (N, 3))
MULTILABEL: dict[str, Callable[[], Any]] = {
    "csr": lambda: sp.csr_matrix(SEVERAL),
    "csc": lambda: sp.csc_array(SEVERAL),
    "coo": lambda: sp.coo_array(SEVERAL),
    "lists": lambda: SEVERAL.tolist(),
    "booleans": lambda: SEVERAL > 0,
    "nullable": lambda: (
        pytest.importorskip("pandas", reason="frames").DataFrame(SEVERAL).astype("Int64")
    ),
}


@pytest.mark.parametrize("kind", MULTILABEL)
def test_estimators_answer_for_several_labels_that_they_fit(kind: str) -> None:
    y = MULTILABEL[kind]()
    ours = classifier(y=y)
    wanted = classifier(y=SEVERAL).blame(A, SEVERAL)
    np.testing.assert_array_equal(ours.blame(A, y).losses, wanted.losses)
    again = MLPClassifier((6,), max_iter=3).fit(A, y, X_val=A, y_val=y)
    assert len(again.validation_scores_) == 3
    with pytest.raises(ValueError, match="with a model per output: y"):
        ours.label_errors(A, y, folds=2)


WORDS = np.array(["no", "perhaps", "yes"])[THREE]
LABELS: dict[str, Callable[[Any], Any]] = {
    "objects": lambda pd: WORDS.astype(object),
    "list": lambda pd: WORDS.tolist(),
    "categories": lambda pd: pd.Series(WORDS, dtype="category"),
    "strings": lambda pd: pd.Series(WORDS, dtype="string"),
    "Int64": lambda pd: pd.Series(THREE, dtype="Int64"),
    "boolean": lambda pd: pd.Series(TWO, dtype="boolean"),
    "bytes": lambda pd: THREE.astype(np.uint8),
    "floats": lambda pd: THREE.astype(float),
    "a column": lambda pd: WORDS[:, None],
}


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
def test_estimators_answer_for_the_labels_that_they_fit(kind: str) -> None:
    y = LABELS[kind](pytest.importorskip("pandas", reason="labels of pandas"))
    ours = classifier(y=y)
    p = ours.predict_proba(A)
    places = TWO if kind == "boolean" else THREE
    blame = ours.blame(A, y)
    np.testing.assert_allclose(blame.losses, -np.log(p[np.arange(N), places]), rtol=1e-9)
    assert ours.attribute(A, target=y).target.tolist() == places.tolist()
    MLPClassifier((6,), max_iter=2).fit(A, y, X_val=A, y_val=y)


@pytest.mark.parametrize("kind", ["Float64", "object", "longdouble", "float16"])
def test_regressors_answer_for_the_targets_that_they_fit(kind: str) -> None:
    pd = pytest.importorskip("pandas", reason="targets of pandas")
    y = pd.Series(A[:, 0], dtype=kind) if kind == "Float64" else A[:, 0].astype(kind)
    ours = MLPRegressor(hidden_layer_sizes=(6,), max_iter=3, random_state=0).fit(A, y)
    errors = ours.predict(A) - np.asarray(y, np.float64)
    np.testing.assert_allclose(ours.blame(A, y).losses, errors**2, rtol=1e-9)
    MLPRegressor(hidden_layer_sizes=(6,), max_iter=3).fit(A, y, X_val=A, y_val=y)


def test_weights_may_be_all_that_fit_takes() -> None:
    pd = pytest.importorskip("pandas", reason="weights of pandas")
    ours = classifier()
    wanted = ours.blame(A, TWO, sample_weight=np.ones(N)).weights
    for weight in (2.0, [1.0] * N, pd.Series(np.ones(N), dtype="Float64"), np.ones(N, object)):
        got = ours.blame(A, TWO, sample_weight=weight).weights
        for one, other in zip(got, wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12)


def test_what_is_wrong_with_targets_is_said() -> None:
    ours = classifier(y=np.array(["no", "yes"])[TWO])
    for y, message in (
        (np.where(TWO == 1, "yes", None), "y: expected a label in every row, got None in rows"),
        ([*["no"] * (N - 1), np.nan], "y: expected a label in every row, got nan in row 79"),
        (WORDS, "y: expected labels among .*perhaps"),
        (np.eye(2)[TWO], r"y: expected a label in every row.*classes_\[y.argmax\(axis=1\)\]"),
        (SEVERAL, r"y: expected a label in every row, as in fit, got shape \(80, 3\)$"),
        ([{}] * N, "y: expected labels among"),
        (["no"] * 5, "y: expected one entry for each of the 80 rows of X, got 5"),
    ):
        with pytest.raises(ValueError, match=message):
            ours.blame(A, y)
    regressor = MLPRegressor(hidden_layer_sizes=(6,), max_iter=2).fit(A, A[:, 0])
    with pytest.raises(ValueError, match="y: expected a number in every row, got None in row 0;"):
        regressor.blame(A, [None, *A[1:, 0]])
    with pytest.raises(ValueError, match=r"y: expected finite numbers.*got nan in row 0"):
        regressor.blame(A, [np.nan, *A[1:, 0]])


def test_pictures_take_what_estimators_take() -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    pd = pytest.importorskip("pandas", reason="frames of pandas")
    from matplotlib import pyplot

    table = pd.DataFrame(INTEGERS, columns=list("abcd")).convert_dtypes()
    ours = classifier(table, SUMS)
    ax = culpa.plots.inputs(ours.attribute(table), 5, X=table)
    shown = {label.get_text() for label in ax.get_yticklabels()}
    assert shown == {f"{name} = {INTEGERS[5, i]}" for i, name in enumerate("abcd")}
    y = [*SUMS[:-1].tolist(), pd.NA]
    figure = culpa.plots.examples([N - 1, 0], table, y, ours.predict(table))
    texts = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert texts[0].startswith("row 79: label missing, guess ")
    figure = culpa.plots.examples([0, 1], table, SEVERAL, SEVERAL)
    for row, label in enumerate(figure.axes[0].get_yticklabels()):
        numbers = ", ".join(map(str, SEVERAL[row]))
        assert label.get_text() == f"row {row}: label {numbers}, guess {numbers}"
    pyplot.close("all")


@pytest.mark.parametrize("dtype", helpers.DTYPES)
def test_blame_has_the_dtype_of_the_weights(dtype: str) -> None:
    ours = classifier(A.astype(dtype))
    assert ours.blame(INTEGERS, TWO).inputs.dtype == dtype
