"""scikit-learn users change one import: the same fits, attributes and weights."""

from __future__ import annotations

import copy
import pickle
import signal
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import culpa
import helpers

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import joblib
import scipy.sparse
import sklearn.neural_network
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import check_estimator

from culpa.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ESTIMATORS = [MLPClassifier, MLPRegressor]
THEIRS: dict[type, Any] = {
    MLPClassifier: sklearn.neural_network.MLPClassifier,
    MLPRegressor: sklearn.neural_network.MLPRegressor,
}


def table(rows: int = 240, inputs: int = 9, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Inputs, and scores that depend on them in a bent way."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, inputs))
    return X, np.sin(X[:, 0]) + X[:, 1] * X[:, 2] + 0.1 * rng.normal(size=rows)


def problem(kind: str, rows: int = 240) -> tuple[type, np.ndarray, np.ndarray]:
    """An estimator with data of that kind."""
    X, score = table(rows)
    match kind:
        case "binary":
            return MLPClassifier, X, np.where(score > 0, "yes", "no")
        case "multiclass":
            return MLPClassifier, X, np.digitize(score, [-1.0, 0.0, 1.0]) * 10
        case "multilabel":
            return MLPClassifier, X, np.column_stack([score > 0, X[:, 0] > 0.5, X[:, 1] < 0]) * 1
        case "one output":
            return MLPRegressor, X, score
        case "outputs":
            return MLPRegressor, X, np.column_stack([score, X[:, 0] ** 2, X[:, 3]])
        case "counts":
            return MLPRegressor, X, np.random.default_rng(1).poisson(np.exp(score))
    raise AssertionError(kind)


KINDS = ["binary", "multiclass", "multilabel", "one output", "outputs", "counts"]


def both(kind: str, *, weighted: bool = False, rows: int = 240, **options: Any) -> tuple[Any, Any]:
    """Ours and theirs, fitted alike."""
    estimator, X, y = problem(kind, rows)
    options = {"random_state": 0, "hidden_layer_sizes": (17, 6), **options}
    if kind == "counts":
        options["loss"] = "poisson"
    weights = np.random.default_rng(2).uniform(0.0, 2.0, len(X)) if weighted else None
    fitted = []
    for kind_of in (estimator, THEIRS[estimator]):
        fitted.append(kind_of(**options).fit(X, y, sample_weight=weights))
    return fitted[0], fitted[1]


def assert_alike(ours: Any, theirs: Any, tolerance: float = 1e-9) -> None:
    """The same curves, weights and other attributes."""
    for name in ("loss_curve_", "loss_", "best_loss_", "validation_scores_"):
        one, other = getattr(ours, name, None), getattr(theirs, name, None)
        assert (one is None) == (other is None), name
        if other is not None:
            np.testing.assert_allclose(one, other, rtol=tolerance, err_msg=name)
    for name in ("coefs_", "intercepts_"):
        for one, other in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_allclose(one, other, atol=100 * tolerance, err_msg=name)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    if ours.solver != "lbfgs":
        assert ours._no_improvement_count == theirs._no_improvement_count
    public = {name for name in vars(theirs) if name.endswith("_") and not name.startswith("_")}
    extra = {"validation_loss_curve_"}
    assert {n for n in vars(ours) if n.endswith("_") and n[0] != "_"} - extra == public - extra


# --- The same fits -------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_adam_gives_their_curve_and_weights(kind: str, weighted: bool) -> None:
    assert_alike(*both(kind, weighted=weighted, max_iter=12))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("schedule", ["constant", "invscaling", "adaptive"])
@pytest.mark.parametrize("kind", ["multiclass", "one output"])
def test_sgd_gives_their_curve_and_weights(
    kind: str, schedule: str, nesterov: bool, momentum: float
) -> None:
    # A tolerance that is hard to meet makes the adaptive schedule slow down.
    options = {"tol": 0.02, "n_iter_no_change": 2} if schedule == "adaptive" else {}
    ours, theirs = both(
        kind,
        solver="sgd",
        learning_rate=schedule,
        learning_rate_init=0.05,
        power_t=0.3,
        nesterovs_momentum=nesterov,
        momentum=momentum,
        max_iter=25,
        **options,
    )
    assert_alike(ours, theirs)
    assert ours._optimizer.learning_rate == theirs._optimizer.learning_rate
    if schedule == "adaptive":
        assert ours._optimizer.learning_rate < 0.05


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_early_stopping_holds_out_the_same_examples(kind: str, weighted: bool) -> None:
    ours, theirs = both(kind, weighted=weighted, early_stopping=True, tol=1e-3, max_iter=40)
    assert_alike(ours, theirs)
    assert ours.best_validation_score_ == pytest.approx(theirs.best_validation_score_, rel=1e-9)
    assert len(ours.validation_loss_curve_) == ours.n_iter_


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_lbfgs_takes_their_steps(kind: str, weighted: bool) -> None:
    assert_alike(*both(kind, weighted=weighted, solver="lbfgs", max_iter=15), tolerance=1e-8)


@pytest.mark.parametrize(
    "options",
    [
        {"activation": "identity"},
        {"activation": "logistic"},
        {"activation": "tanh"},
        {"alpha": 0.0},
        {"alpha": 5.0},
        {"batch_size": 1, "max_iter": 2},
        {"batch_size": 7},
        {"batch_size": 240},
        {"shuffle": False},
        {"hidden_layer_sizes": ()},
        {"hidden_layer_sizes": 1},
        {"hidden_layer_sizes": (3, 4, 5)},
        {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
        {"n_iter_no_change": np.inf, "tol": 1e9},
        {"tol": 10.0, "n_iter_no_change": 3},
        {"early_stopping": True, "validation_fraction": 0.3, "shuffle": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["binary", "outputs"])
def test_every_parameter_means_the_same(kind: str, options: dict[str, Any]) -> None:
    assert_alike(*both(kind, **{"max_iter": 10, **options}))


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "outputs"])
def test_partial_fit_goes_on_as_theirs(kind: str) -> None:
    estimator, X, y = problem(kind)
    classes = (
        {} if kind == "outputs" else {"classes": np.arange(3) if y.ndim == 2 else np.unique(y)}
    )
    for solver in ("adam", "sgd"):
        ours, theirs = (
            kind_of(random_state=3, solver=solver, learning_rate="invscaling")
            for kind_of in (estimator, THEIRS[estimator])
        )
        for i, rows in enumerate(np.array_split(np.arange(len(X)), 5)):
            for each in (ours, theirs):
                each.partial_fit(X[rows], y[rows], **(classes if i == 0 else {}))
        assert_alike(ours, theirs)


def test_partial_fit_goes_on_after_a_change_of_parameters_and_of_weights() -> None:
    _, X, y = problem("one output")
    ours, theirs = (e(random_state=0) for e in (MLPRegressor, THEIRS[MLPRegressor]))
    for each in (ours, theirs):
        each.partial_fit(X, y)
        each.set_params(alpha=0.5)  # counts at once; Adam's moments stay
        each.partial_fit(X, y)
        each.set_params(beta_1=0.1, learning_rate_init=1.0, solver="sgd")  # count in the next fit
        each.partial_fit(X, y)
        each.coefs_[0][:, :5] = 0.25  # written into
        each.intercepts_[1] = each.intercepts_[1] + 1.0  # replaced
        each.partial_fit(X, y)
    assert_alike(ours, theirs)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("kind", ["multiclass", "one output"])
def test_warm_start_goes_on_as_theirs(kind: str, early_stopping: bool) -> None:
    estimator, X, y = problem(kind)
    fitted = []
    for kind_of in (estimator, THEIRS[estimator]):
        each = kind_of(random_state=0, warm_start=True, early_stopping=early_stopping, max_iter=4)
        fitted.append(each.fit(X, y).set_params(max_iter=6))
        if not early_stopping:  # theirs goes on training the very arrays that were the best
            each.fit(X, y)
    assert_alike(*fitted)


def test_a_random_state_object_is_left_where_theirs_is() -> None:
    _, X, y = problem("multiclass")
    states = []
    for kind_of in (MLPClassifier, THEIRS[MLPClassifier]):
        rng = np.random.RandomState(5)
        kind_of(random_state=rng, max_iter=3, early_stopping=True).fit(X, y)
        states.append(rng.randint(2**31))
    assert states[0] == states[1]


@pytest.mark.parametrize("kind", KINDS)
def test_guesses_are_theirs_for_the_same_weights(kind: str) -> None:
    ours, theirs = both(kind, max_iter=5)
    X = table(50, seed=9)[0]
    theirs.coefs_, theirs.intercepts_ = ours.coefs_, ours.intercepts_
    for method in ("predict", "predict_proba", "predict_log_proba"):
        if not hasattr(theirs, method):
            continue
        one, other = getattr(ours, method)(X), getattr(theirs, method)(X)
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        if one.dtype.kind == "f":
            np.testing.assert_allclose(one, other, rtol=1e-12)
        else:
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("kind", KINDS)
def test_float32_stays_float32(kind: str, solver: str) -> None:
    estimator, X, y = problem(kind)
    options = {"loss": "poisson"} if kind == "counts" else {}
    X32 = X.astype(np.float32)
    ours = estimator(random_state=0, solver=solver, max_iter=5, **options).fit(X32, y)
    assert {array.dtype for array in ours.coefs_ + ours.intercepts_} == {np.dtype(np.float32)}
    guess = ours.predict(X32) if estimator is MLPRegressor else ours.predict_proba(X32)
    assert guess.dtype == np.float32
    other = estimator(random_state=0, solver=solver, max_iter=5, **options).fit(
        X32.astype(np.float64), y
    )
    np.testing.assert_allclose(ours.loss_, other.loss_, rtol=1e-3)


def test_what_they_print_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    for options in (
        {"tol": 1.0, "n_iter_no_change": 2},
        {"tol": 1.0, "n_iter_no_change": 2, "early_stopping": True},
        {"tol": 1.0, "n_iter_no_change": 1, "solver": "sgd", "learning_rate": "adaptive"},
    ):
        texts = []
        _, X, y = problem("multiclass")
        for kind_of in (MLPClassifier, THEIRS[MLPClassifier]):
            kind_of(random_state=0, verbose=True, max_iter=50, **options).fit(X, y)
            texts.append(capsys.readouterr().out)
        assert texts[0] == texts[1]
        assert "Iteration 2, loss = " in texts[0]


def test_their_warnings_are_given() -> None:
    _, X, y = problem("one output")
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached"):
        MLPRegressor(max_iter=2).fit(X, y)
    with pytest.warns(UserWarning, match="clipped"):
        MLPRegressor(max_iter=2, batch_size=1000).fit(X, y)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_divergence_ends_as_theirs_does(early_stopping: bool) -> None:
    _, X, y = problem("one output")
    for kind_of in (MLPRegressor, THEIRS[MLPRegressor]):
        each = kind_of(
            solver="sgd",
            learning_rate_init=100.0,
            activation="identity",
            max_iter=30,
            early_stopping=early_stopping,
            random_state=0,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not early_stopping:
                with pytest.raises(ValueError, match="non-finite parameter weights"):
                    each.fit(X, y)
                continue
            each.fit(X, y)
        assert np.isnan(each.validation_scores_[-1])
        assert np.isfinite(each.predict(X)).all()
        assert each.n_iter_ == 30


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_all_of_scikit_learns_checks_pass(estimator: type, solver: str) -> None:
    results = check_estimator(estimator(max_iter=100, solver=solver), on_skip=None)
    assert len(results) > 50
    # They ask for an environment variable, for a decision_function and for partial_fit.
    assert {result["check_name"] for result in results if result["status"] != "passed"} <= {
        "check_array_api_input",
        "check_classifiers_multilabel_output_format_decision_function",
    }


# --- State ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_into_the_weights_counts(kind: str) -> None:
    ours, _ = both(kind, max_iter=3)
    X = table()[0]
    before = ours._forward_pass_fast(X)
    ours.coefs_[0][0, 0] += 1.0
    changed = ours._forward_pass_fast(X)
    assert not np.array_equal(before, changed)
    ours.coefs_[0][0, 0] -= 1.0
    ours.intercepts_[-1] = ours.intercepts_[-1] + 0.5
    assert not np.array_equal(before, ours._forward_pass_fast(X))
    ours.intercepts_[-1] = ours.intercepts_[-1] - 0.5
    np.testing.assert_allclose(ours._forward_pass_fast(X), before, rtol=1e-9)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_pickle_goes_on_bit_for_bit(solver: str) -> None:
    _, X, y = problem("multiclass")
    ours = MLPClassifier(random_state=0, solver=solver, dropout=0.2)
    for _ in range(3):
        ours.partial_fit(X, y, classes=np.unique(y))
    copies = [pickle.loads(pickle.dumps(ours)), copy.deepcopy(ours)]
    copies.append(pickle.loads(pickle.dumps(copies[0])))  # before its core was ever built
    for each in (ours, *copies):
        each._random_state = None
        each.partial_fit(X, y)
    for each in copies:
        assert [c.tobytes() for c in each.coefs_] == [c.tobytes() for c in ours.coefs_]
        assert each.loss_curve_ == ours.loss_curve_
    assert b"Model64" not in pickle.dumps(ours)


def test_joblib_may_map_the_weights_from_a_file(tmp_path: Path) -> None:
    _, X, y = problem("multiclass")
    ours = MLPClassifier(random_state=0, max_iter=5).fit(X, y)
    joblib.dump(ours, tmp_path / "model")
    mapped = joblib.load(tmp_path / "model", mmap_mode="r")
    assert not mapped.coefs_[0].flags.writeable
    np.testing.assert_array_equal(mapped.predict_proba(X), ours.predict_proba(X))
    for each in (mapped, ours):
        each.partial_fit(X, y)
    np.testing.assert_array_equal(mapped.coefs_[0], ours.coefs_[0])


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_clone_is_fresh_and_equal(estimator: type) -> None:
    given = estimator(
        activation=["tanh", culpa.Activation("leaky_relu", 0.2)],
        hidden_layer_sizes=(5, 4),
        optimizer=culpa.AdamW(1e-2),
        schedule=culpa.Cosine(),
        dropout=[0.0, 0.1],
        random_state=0,
        max_iter=3,
    )
    X, score = table()
    y = score > 0
    other = clone(given.fit(X, y))
    assert not hasattr(other, "coefs_")
    assert {k: v for k, v in other.get_params().items() if k != "activation"} == {
        k: v for k, v in given.get_params().items() if k != "activation"
    }
    assert other.fit(X, y).loss_curve_ == given.loss_curve_


def test_ctrl_c_keeps_what_was_learnt() -> None:
    X, y = table(5000, 50)
    timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])

    def start(fit: Any) -> None:
        if fit.epoch == 0:
            timer.start()

    ours = MLPRegressor(
        hidden_layer_sizes=(200, 200), max_iter=10**6, n_iter_no_change=np.inf, callbacks=start
    )
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        ours.fit(X, y)
    timer.join()
    assert 1 <= ours.n_iter_ < 10**6
    assert np.isfinite(ours.predict(X)).all()


@pytest.mark.parametrize("kind", ["multiclass", "outputs"])
def test_the_same_bits_at_any_number_of_threads(kind: str) -> None:
    estimator, X, y = problem(kind)
    weights = []
    for threads in (1, 2, 3):
        ours = estimator(random_state=0, max_iter=5, n_threads=threads, dropout=0.1).fit(X, y)
        weights.append(b"".join(array.tobytes() for array in ours.coefs_ + ours.intercepts_))
    assert weights[0] == weights[1] == weights[2]


def test_n_threads_is_for_this_estimator_alone() -> None:
    from culpa import _core
    from culpa.machine.threads import own_threads

    seen = []
    X, y = table()
    before = culpa.get_num_threads()
    MLPRegressor(
        max_iter=2, n_threads=before + 3, callbacks=lambda fit: seen.append(_core.num_threads())
    ).fit(X, y)
    assert seen == [before + 3] * 2
    assert culpa.get_num_threads() == before
    with own_threads(before + 1):
        elsewhere: list[int] = []
        thread = threading.Thread(target=lambda: elsewhere.append(_core.num_threads()))
        thread.start()
        thread.join()
        assert (_core.num_threads(), elsewhere) == (before + 1, [before])
    assert _core.num_threads() == before


def test_without_scikit_learn_the_import_says_what_to_install() -> None:
    code = "import sys; sys.modules['sklearn'] = None; import culpa.sklearn"
    result = helpers.run_python(code)
    assert result.returncode != 0
    assert 'pip install "culpa[sklearn]"' in result.stderr
    code = "import sys, culpa; assert not {'sklearn', 'scipy'} & set(sys.modules)"
    assert helpers.run_python(code).returncode == 0


def test_another_release_of_scikit_learn_is_refused() -> None:
    code = "import sklearn; sklearn.__version__ = '1.10.0'; import culpa.sklearn"
    result = helpers.run_python(code)
    assert "needs scikit-learn 1.9, got 1.10.0" in result.stderr


@pytest.mark.parametrize("form", ["csr", "csc", "coo"])
@pytest.mark.parametrize(
    "options",
    [{}, {"solver": "sgd"}, {"solver": "lbfgs"}, {"early_stopping": True}, {"shuffle": False}],
    ids=str,
)
def test_sparse_rows_give_their_fit(options: dict[str, Any], form: str) -> None:
    X = scipy.sparse.random_array((300, 200), density=0.04, format=form, random_state=0)
    y = X.sum(axis=1) > 3.5
    ours, theirs, dense = (
        kind_of(hidden_layer_sizes=(20,), random_state=0, max_iter=6, **options)
        for kind_of in (MLPClassifier, THEIRS[MLPClassifier], MLPClassifier)
    )
    assert_alike(ours.fit(X, y), theirs.fit(X, y), 1e-8)
    assert_alike(ours, dense.fit(X.toarray(), y), 1e-8)
    for method in ("predict_proba", "predict"):
        np.testing.assert_allclose(getattr(ours, method)(X), getattr(theirs, method)(X), 1e-9)


# --- Guesses about few rows ----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", helpers.DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_one_row_gets_the_guess_of_many(kind: str, dtype: str) -> None:
    """Where nothing needs a check, the checks of scikit-learn are left out."""
    ours, _ = both(kind, max_iter=3)
    X = table(20)[0].astype(dtype)
    at_once = ours.predict(X.tolist() if dtype == "float64" else X)
    one_by_one = np.concatenate([ours.predict(X[i : i + 1]) for i in range(len(X))])
    assert one_by_one.dtype == at_once.dtype
    np.testing.assert_array_equal(one_by_one, at_once)


@pytest.mark.parametrize(
    "X",
    [
        np.full((1, 9), np.nan),
        np.full((1, 9), np.inf),
        np.zeros((1, 8)),
        np.zeros((0, 9)),
        np.zeros(9),
        np.zeros((1, 9, 1)),
        np.full((2, 9), 1e308),
        np.zeros((1, 9), dtype=complex),
        np.array([["a"] * 9]),
    ],
    ids=lambda X: f"{X.dtype}{X.shape}",
)
@pytest.mark.parametrize("kind", ["multiclass", "one output"])
def test_wrong_rows_get_their_error(kind: str, X: np.ndarray) -> None:
    for method in ("predict", "partial_fit"):
        said = []
        for each in both(kind, max_iter=2):
            given = (X,) if method == "predict" else (X, np.full(len(X), 10))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # theirs overflows
                try:
                    getattr(each, method)(*given)
                    said.append("")
                except (ValueError, TypeError) as error:
                    said.append(str(error).replace("MLP", ""))
        assert said[0] == said[1]


@pytest.mark.parametrize(
    "labels",
    [np.int64, np.int8, np.uint16, bool, str, object, float, list],
    ids=lambda value: value.__name__,
)
@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_labels_of_any_type_stream_in(kind: str, labels: Any) -> None:
    _, X, y = problem("multiclass")
    places = y // 10 if kind == "multiclass" else y // 10 > 1
    y = places.astype(str if labels is object else int if labels is list else labels)
    y = y.tolist() if labels is list else y.astype(object) if labels is object else y
    fitted = []
    for kind_of in (MLPClassifier, THEIRS[MLPClassifier]):
        each = kind_of((8,), random_state=0)
        for i in range(0, len(X), 60):
            classes = np.unique(y) if i == 0 else None
            each.partial_fit(X[i : i + 60], y[i : i + 60], classes=classes)
        fitted.append(each)
    assert_alike(*fitted)
    one, other = (each.predict(X) for each in fitted)
    assert one.dtype == other.dtype
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("y", [[40], [5], [-1], [10.5], ["10"], [True], [[10]], [10, 10], [None]])
def test_labels_that_are_new_to_a_stream_are_refused_as_theirs(y: list[Any]) -> None:
    _, X, labels = problem("multiclass")
    said = []
    for kind_of in (MLPClassifier, THEIRS[MLPClassifier]):
        each = kind_of((8,), random_state=0).partial_fit(X, labels, classes=np.unique(labels))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                each.partial_fit(X[:1], np.array(y))
                said.append("")
            except (ValueError, TypeError) as error:
                said.append(str(error))
    assert said[0] == said[1]


def test_targets_of_any_number_stream_in() -> None:
    X, score = table()
    for y in (score, score.astype("f4"), (10 * score).astype(int), score.astype(">f8")):
        fitted = []
        for kind_of in (MLPRegressor, THEIRS[MLPRegressor]):
            each = kind_of(hidden_layer_sizes=8, random_state=0)
            fitted.append(each.partial_fit(X, y).partial_fit(X[:60], y[:60]))
        assert_alike(*fitted)


@pytest.mark.parametrize("fitted_on", helpers.DTYPES)
@pytest.mark.parametrize("asked", ["f2", "f4", "f8", ">f8", "i1", "i8", "?", "g"])
@pytest.mark.parametrize("sparse", [False, True])
def test_guesses_have_the_dtype_of_theirs(fitted_on: str, asked: str, sparse: bool) -> None:
    _, X, y = problem("multiclass")
    if sparse and asked in ("f2", ">f8", "g"):
        pytest.skip("SciPy's products do not take them")
    ours, theirs = (
        kind_of((8,), random_state=0, max_iter=3).fit(X.astype(fitted_on), y)
        for kind_of in (MLPClassifier, THEIRS[MLPClassifier])
    )
    rows: Any = (2 * X[:30]).astype(asked)
    rows = scipy.sparse.csr_array(rows) if sparse else rows
    one, other = ours.predict_proba(rows), theirs.predict_proba(rows)
    assert one.dtype == other.dtype
    np.testing.assert_allclose(one, other, atol=1e-5 if fitted_on == "float32" else 1e-9)


@pytest.mark.parametrize("order", ["C", "F", "strided", "float32", "tuple"])
def test_weights_of_any_layout_are_those_of_the_guess(order: str) -> None:
    ours, theirs = both("multiclass", max_iter=3)
    X = table(5)[0]
    for each in (ours, theirs):
        for i in range(3):
            weight = each.coefs_[i] + 0.1
            if order == "strided":
                weight = np.repeat(weight, 2, axis=1)[:, ::2]
            elif order != "tuple":
                weight = (
                    weight.astype("f4") if order == "float32" else np.array(weight, order=order)
                )
            each.coefs_[i] = weight
        if order == "tuple":
            each.coefs_, each.intercepts_ = tuple(each.coefs_), tuple(each.intercepts_)
    for _ in range(2):
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-9)
        for each in (ours, theirs):
            each.coefs_[1][2, 3] -= 0.7


@pytest.mark.parametrize("dtype", helpers.DTYPES)
def test_the_core_tells_its_weights_from_others(dtype: str) -> None:
    model = culpa.Sequential(
        [culpa.Dense(3, "relu"), culpa.Dense(1)], "mse", input_size=2, dtype=dtype
    )
    core = model._network.core
    weights = [np.array(core.array(f"dense_{i}.weight")) for i in range(2)]
    biases = [np.array(core.array(f"dense_{i}.bias")) for i in range(2)]
    assert core.holds(weights, biases)
    assert core.holds(tuple(weights), tuple(biases))
    other = "float32" if dtype == "float64" else "float64"
    for wrong in (
        weights[0].astype(other),
        np.asfortranarray(weights[0]),
        weights[0].ravel(),
        weights[0].T.copy(),
        weights[0][:1],
        weights[0].tolist(),
        np.nextafter(weights[0], 9, dtype=dtype),
        -weights[0],
        None,
    ):
        assert not core.holds([wrong, weights[1]], biases)
    assert not core.holds(weights[:1], biases)
    assert not core.holds(weights, [biases[0], biases[1] + 1])


# --- Saturated probabilities ---------------------------------------------------------------------


@pytest.mark.parametrize("dtype", helpers.DTYPES)
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_the_loss_of_a_probability_of_zero_is_theirs(kind: str, solver: str, dtype: str) -> None:
    """They clip probabilities where they report a loss; its gradient is that of no clipping."""
    _, X, y = problem(kind)
    X = (100 * X).astype(dtype)
    ours, theirs = (
        kind_of((17,), random_state=0, max_iter=4, solver=solver, learning_rate_init=1e-4).fit(X, y)
        for kind_of in (MLPClassifier, THEIRS[MLPClassifier])
    )
    # theirs takes 1 - p, of which little is left: that is a relative error of 1e-16 / (1 - p)
    np.testing.assert_allclose(
        ours.loss_curve_, theirs.loss_curve_, rtol=1e-4 if dtype == "float64" else 2e-2
    )
    for one, other in zip(ours.coefs_, theirs.coefs_, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9 if dtype == "float64" else 1e-2, atol=1e-4)
    exact = ours.blame(X, y, want=["losses"]).losses.mean() * (3 if kind == "multilabel" else 1)
    assert exact > 1.05 * ours.loss_curve_[-1]


def test_lbfgs_goes_on_where_their_clipped_loss_is_flat() -> None:
    _, X, y = problem("multiclass")
    ours = MLPClassifier((17,), random_state=0, solver="lbfgs", max_iter=400).fit(1e4 * X, y)
    assert ours.n_iter_ > 20
    assert ours.score(1e4 * X, y) > 0.7


# --- Threads that share an estimator -------------------------------------------------------------


def test_guesses_do_not_disturb_a_stream() -> None:
    """What is asked by another thread while a chunk is learnt does not put old weights back."""
    _, X, y = problem("multiclass")
    streams = []
    for threads in (0, 2):
        ours = MLPClassifier((8,), random_state=0).partial_fit(X, y, classes=np.unique(y))
        ours = pickle.loads(pickle.dumps(ours))  # several threads may find no core yet
        over = threading.Event()
        started = threading.Barrier(threads + 1)

        def ask(model: Any = ours, over: Any = over, started: Any = started) -> None:
            started.wait()
            while not over.is_set():
                model.predict(X[:3])

        asking = [threading.Thread(target=ask) for _ in range(threads)]
        for thread in asking:
            thread.start()
        started.wait()
        for i in range(60):
            ours.partial_fit(X[i : i + 100], y[i : i + 100])
        over.set()
        for thread in asking:
            thread.join()
        streams.append(ours)
    assert streams[0].loss_curve_ == streams[1].loss_curve_
    for one, other in zip(streams[0].coefs_, streams[1].coefs_, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_guess_in_the_middle_of_a_fit_is_by_the_last_epoch() -> None:
    _, X, y = problem("multiclass")
    guesses = []

    def ask(fit: Any) -> None:
        guess = []
        thread = threading.Thread(target=lambda: guess.append(fit.model.predict_proba(X)))
        fit.model.coefs_[0][0, 0] += 0.5  # lasts until the next epoch has been learnt
        thread.start()
        thread.join()
        guesses.append((guess[0], [c.copy() for c in fit.model.coefs_ + fit.model.intercepts_]))

    options = {"hidden_layer_sizes": (8,), "random_state": 0, "max_iter": 3}
    ours = MLPClassifier(**options, callbacks=ask).fit(X, y)
    other = MLPClassifier(**options).fit(X, y)
    assert ours.loss_curve_ == other.loss_curve_
    for guess, weights in guesses:
        other.coefs_, other.intercepts_ = weights[:2], weights[2:]
        np.testing.assert_array_equal(guess, other.predict_proba(X))


def test_a_network_put_together_by_hand_guesses() -> None:
    weights = [np.arange(12.0).reshape(3, 4) / 10, np.ones((4, 1))]
    guesses = []
    for kind_of in (MLPRegressor, THEIRS[MLPRegressor]):
        each = kind_of()
        each.coefs_, each.intercepts_ = weights, [np.zeros(4), np.ones(1)]
        each.n_layers_, each.n_outputs_, each.out_activation_ = 3, 1, "identity"
        guesses.append(each.predict(np.eye(3)))
    np.testing.assert_allclose(guesses[0], guesses[1], rtol=1e-12)
