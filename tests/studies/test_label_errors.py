"""Label errors: what is held out, how labels are ranked and counted, and that slips are found."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import culpa
import helpers
from culpa.studies import held_out, label_errors

SKLEARN = "scikit-learn's estimators are tried where it is installed"
CLEANLAB = "cleanlab counts and ranks the same where it is installed"


def digits() -> tuple[np.ndarray, np.ndarray]:
    X, y, X_test, y_test = culpa.datasets.digits()
    return np.vstack([X, X_test]), np.concatenate([y, y_test])


def flipped(y: np.ndarray, seed: int, share: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Labels of which a share is another class at random, and the rows of those."""
    rng = np.random.default_rng(seed)
    classes = int(y.max()) + 1
    rows = rng.choice(len(y), round(share * len(y)), replace=False)
    labels = y.copy()
    labels[rows] = (labels[rows] + rng.integers(1, classes, len(rows))) % classes
    return labels, rows


def digits_model(**options: Any) -> culpa.Sequential:
    return culpa.Sequential(
        [culpa.Dense(32, "relu"), culpa.Dropout(0.1), culpa.Dense(10)],
        "cross_entropy",
        **{"input_scale": 1 / 16, **options},
    )


def blobs(n: int = 90, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Well separated classes in the plane, as many rows of each as n allows."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    angles = 2 * np.pi * y / classes
    return 4 * np.c_[np.cos(angles), np.sin(angles)] + rng.normal(size=(n, 2)), y


def small_model(classes: int = 3, **options: Any) -> culpa.Sequential:
    return culpa.Sequential(
        [culpa.Dense(8, "tanh"), culpa.Dense(classes)], "cross_entropy", **options
    )


def bits(errors: culpa.LabelErrors) -> dict[str, bytes]:
    return {
        name: value.tobytes() for name, value in vars(errors).items() if hasattr(value, "tobytes")
    }


class Memory:
    """Knows the labels of the rows that it was trained on by heart, and of no others."""

    def fit(self, X: np.ndarray, y: np.ndarray, sample_weight: Any = None) -> Memory:
        self.known = dict(zip(map(tuple, X.tolist()), y.tolist(), strict=True))
        self.classes_ = np.unique(y)
        self.weights = sample_weight
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        p = np.full((len(X), len(self.classes_)), 1 / len(self.classes_))
        for i, row in enumerate(map(tuple, X.tolist())):
            if row in self.known:
                p[i] = self.classes_ == self.known[row]
        return p


class Neighbours:
    """The share of each class among the three nearest rows; its columns run backwards."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> Neighbours:
        self.X, self.y = X, y
        self.classes_ = np.unique(y)[::-1]
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        distances = ((X[:, None, :] - self.X[None, :, :]) ** 2).sum(axis=2)
        nearest = self.y[distances.argsort(axis=1, kind="stable")[:, :3]]
        return (nearest[:, :, None] == self.classes_).mean(axis=1)


# Folds


@pytest.mark.parametrize("n", [7, 60, 61, 103])
@pytest.mark.parametrize("folds", [2, 3, 5])
def test_folds_have_their_share_of_every_class(n: int, folds: int) -> None:
    codes = np.random.default_rng(n).integers(0, 3, n)
    fold = held_out.deal_folds(codes, folds, seed=n)
    sizes = np.bincount(fold, minlength=folds)
    assert sizes.max() - sizes.min() <= 1
    for code in range(3):
        shares = np.bincount(fold[codes == code], minlength=folds)
        assert shares.max() - shares.min() <= 1
    assert held_out.deal_folds(codes, folds, seed=n).tolist() == fold.tolist()
    assert held_out.deal_folds(codes, folds, seed=n + 1).tolist() != fold.tolist()


def test_no_model_is_asked_about_what_it_learned_by_heart() -> None:
    X, y = blobs(40, 4)
    errors = culpa.find_label_errors(Memory(), X, y, folds=4, repeats=3)
    np.testing.assert_allclose(errors.probabilities, 0.25, rtol=1e-15)
    known = Memory().fit(X, y).predict_proba(X)
    assert known.max(axis=1).tolist() == [1.0] * 40


def test_networks_are_trained_on_the_other_folds_alone() -> None:
    X, y = blobs(31)
    model = small_model(input_size=2)
    codes = y.astype(np.int64)
    networks = held_out.Networks(model, X, y, None, {"epochs": 3})
    log_p, norms = held_out.guess_examples(networks, folds=3, repeats=2, seed=5)

    seeds = np.random.SeedSequence(5).generate_state(8, np.uint64).reshape(2, 4).tolist()
    p, lengths = np.zeros((31, 3)), np.zeros(31)
    for fold_seed, *model_seeds in seeds:
        fold = held_out.deal_folds(codes, 3, fold_seed)
        for k, seed in enumerate(model_seeds):
            own = small_model(seed=seed)
            own.fit(X[fold != k], y[fold != k], epochs=3, verbose=False)
            rest = np.flatnonzero(fold == k)
            p[rest] += own.predict_proba(X[rest]) / 2
            lengths[rest] += own.blame(X[rest], y[rest], want="gradient_norms").gradient_norms / 2
    np.testing.assert_allclose(np.exp(log_p), p, rtol=1e-5)
    assert norms is not None
    np.testing.assert_allclose(norms, lengths, rtol=1e-4)


# Ranking and counting


def by_hand() -> tuple[np.ndarray, np.ndarray]:
    p = np.array(
        [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.5, 0.5, 0.0], [0.1, 0.9, 0.0], [0.6, 0.4, 0.0]]
    )
    return p, np.array([0, 0, 1, 1, 1])


def test_ranking_and_counts_by_hand() -> None:
    p, codes = by_hand()
    with np.errstate(divide="ignore"):
        errors = label_errors.rank_labels(np.log(p), codes, np.array(["cat", "dog", "eel"]))
    # p(label) is 0.9, 0.2, 0.5, 0.9, 0.4: rows 0 and 3 are equal, and so are their guesses.
    assert errors.ranking.tolist() == [1, 4, 2, 0, 3]
    np.testing.assert_allclose(errors.scores, [0.1, 0.8, 0.5, 0.1, 0.6], atol=1e-15)
    np.testing.assert_allclose(errors.losses, -np.log([0.9, 0.2, 0.5, 0.9, 0.4]), rtol=1e-14)
    # Thresholds: cat (0.9 + 0.2) / 2, dog (0.5 + 0.9 + 0.4) / 3, and nothing is labelled eel.
    np.testing.assert_allclose(errors.thresholds, [0.55, 0.6, np.inf])
    # Row 2 reaches none; row 1, labelled cat, is counted as a dog, and row 4 the other way round.
    assert errors.confident_joint.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert errors.count == 2
    assert errors.suspicious.tolist() == [False, True, False, False, True]
    assert errors.guesses.tolist() == ["cat", "dog", "cat", "dog", "cat"]
    np.testing.assert_allclose(errors.el2n, np.sqrt([0.02, 1.28, 0.5, 0.02, 0.72]))
    assert errors.gradient_norms is None
    first, second = errors.top(2)
    assert first == (1, "cat", "dog", pytest.approx(0.8))
    assert second.example == 4
    assert len(errors.top(99)) == 5
    assert repr(errors) == (
        "<LabelErrors: 2 of 5 labels suspicious, first example 1: label 'cat', guess 'dog'>"
    )


def test_losses_rank_where_scores_round_to_one() -> None:
    log_p = np.array([[0.0, -50.0], [0.0, -90.0], [0.0, -70.0], [-0.1, -2.4]])
    errors = label_errors.rank_labels(log_p, np.array([1, 1, 1, 0]), np.arange(2))
    assert errors.scores[:3].tolist() == [1.0] * 3
    assert errors.ranking.tolist() == [1, 2, 0, 3]


def test_equally_impossible_labels_rank_by_the_certainty_of_their_guess() -> None:
    p = np.array([[0.0, 0.6, 0.4], [0.0, 0.9, 0.1], [0.5, 0.3, 0.2], [0.0, 0.6, 0.4]])
    with np.errstate(divide="ignore"):
        errors = label_errors.rank_labels(np.log(p), np.zeros(4, dtype=np.int64), np.arange(3))
    assert errors.ranking.tolist() == [1, 0, 3, 2]
    assert np.isinf(errors.losses[[0, 1, 3]]).all()


def test_an_example_that_is_guessed_to_be_its_label_is_never_suspicious() -> None:
    errors = label_errors.rank_labels(np.log(by_hand()[0] + 0.01), by_hand()[1], np.arange(3))
    assert not (errors.suspicious & (errors.guesses == errors.labels)).any()


def random_guesses(seed: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.append(rng.integers(0, classes, 300), np.arange(classes))
    logits = rng.normal(size=(len(y), classes))
    logits[np.arange(len(y)), y] += 2.0
    p = np.exp(logits)
    return p / p.sum(axis=1, keepdims=True), flipped(y, seed, 0.1)[0]


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_counts_equal_a_loop_over_the_definition(classes: int) -> None:
    p, y = random_guesses(classes, classes)
    thresholds, joint = label_errors.count_confidently(p, y)
    expected = Counter[tuple[int, int]]()
    for row, label in zip(p, y.tolist(), strict=True):
        reached = [j for j in range(classes) if row[j] >= p[y == j, j].mean()]
        if reached:
            expected[label, max(reached, key=lambda j: float(row[j]))] += 1
    assert {(i, j): int(joint[i, j]) for i, j in np.argwhere(joint).tolist()} == dict(expected)
    np.testing.assert_allclose(thresholds, [p[y == j, j].mean() for j in range(classes)])


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_same_ranking_and_thresholds_as_cleanlab(classes: int) -> None:
    count = pytest.importorskip("cleanlab.count", reason=CLEANLAB)
    quality = pytest.importorskip("cleanlab.rank", reason=CLEANLAB)
    p, y = random_guesses(classes + 50, classes)
    errors = label_errors.rank_labels(np.log(p), y, np.arange(classes))
    theirs = quality.get_label_quality_scores(y, p, method="self_confidence")
    np.testing.assert_allclose(errors.scores, 1 - theirs, atol=1e-12)
    np.testing.assert_allclose(errors.thresholds, count.get_confident_thresholds(y, p))
    joint = count.compute_confident_joint(y, p, calibrate=False)
    # Where several classes are reached, cleanlab takes the most probable of all, reached or not.
    assert np.abs(joint - errors.confident_joint).sum() <= (0 if classes == 2 else 6)


# What it finds


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_finds_digits_with_flipped_labels(seed: int) -> None:
    X, y = digits()
    labels, rows = flipped(y, seed)
    errors = culpa.find_label_errors(digits_model(), X, labels, seed=seed)
    found = np.isin(errors.ranking[: len(rows)], rows).mean()
    assert found >= 0.85  # 0.05 by chance
    assert np.mean(errors.guesses[rows] == y[rows]) >= 0.85
    suspicious = np.flatnonzero(errors.suspicious)
    assert 0.5 * len(rows) <= errors.count <= 2 * len(rows)
    assert np.isin(suspicious, rows).mean() >= 0.8


def test_the_default_training_suits_few_rows() -> None:
    X, y = blobs(60)
    labels = y.copy()
    labels[[4, 33]] = (labels[[4, 33]] + 1) % 3
    errors = culpa.find_label_errors(small_model(), X, labels)
    assert {error.example for error in errors.top(2)} == {4, 33}
    assert errors.guesses[[4, 33]].tolist() == y[[4, 33]].tolist()


@pytest.mark.parametrize(
    ("n", "batch_size", "epochs"),
    [(60, 128, 300), (60, 1, 21), (150, 1, 10)],  # at most, for 1,000 steps, at least
)
def test_trains_by_default_for_enough_steps(n: int, batch_size: int, epochs: int) -> None:
    X, y = blobs(n)
    options: dict[str, Any] = {"batch_size": batch_size}
    default = culpa.find_label_errors(small_model(), X, y, **options)
    options |= {"epochs": epochs, "schedule": culpa.Cosine()}
    assert bits(culpa.find_label_errors(small_model(), X, y, **options)) == bits(default)
    stopping = culpa.find_label_errors(small_model(), X, y, early_stopping=10)
    plain = culpa.find_label_errors(small_model(), X, y, epochs=10)
    assert bits(stopping) == bits(plain)  # nothing stops so early, and no schedule is added


def test_finds_flips_between_two_classes_with_one_output() -> None:
    X, y = blobs(80, 2)
    labels = y.astype(np.float64)
    labels[[5, 10]] = 1 - labels[[5, 10]]
    model = culpa.Sequential([culpa.Dense(16, "relu"), culpa.Dense(1)], "binary_cross_entropy")
    errors = culpa.find_label_errors(model, X, labels)
    assert {error.example for error in errors.top(2)} == {5, 10}
    np.testing.assert_allclose(errors.probabilities.sum(axis=1), 1.0, rtol=1e-12)
    assert errors.labels.dtype == np.int64
    assert errors.classes.tolist() == [0, 1]


def test_classes_without_examples_are_never_counted() -> None:
    X, y = blobs(30)
    errors = culpa.find_label_errors(small_model(classes=5), X, y, epochs=2)
    assert errors.probabilities.shape == (30, 5)
    assert np.isinf(errors.thresholds[3:]).all()
    assert errors.confident_joint[:, 3:].sum() == 0


def test_repeats_average_probabilities() -> None:
    X, y = blobs(45)
    once = [culpa.find_label_errors(small_model(), X, y, epochs=2, repeats=r) for r in (1, 2)]
    assert np.abs(once[0].probabilities - once[1].probabilities).max() > 1e-3
    np.testing.assert_allclose(once[1].probabilities.sum(axis=1), 1.0, rtol=1e-12)


# Promises


@pytest.mark.parametrize("dtype", helpers.DTYPES)
def test_same_bits_at_any_thread_count(dtype: str) -> None:
    X, y = digits()
    answers = []
    for threads in (1, 2, 3):
        with helpers.plan(threads):
            model = digits_model(dtype=dtype)
            answers.append(bits(culpa.find_label_errors(model, X[:301], y[:301], epochs=2)))
    assert answers[0] == answers[1] == answers[2]


def test_one_seed_one_result() -> None:
    X, y = blobs()
    runs = [
        bits(culpa.find_label_errors(small_model(), X, y, epochs=2, seed=seed))
        for seed in (0, 0, 1, None)
    ]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert runs[2] != runs[3]


def test_the_given_model_is_not_touched() -> None:
    X, y = blobs()
    model = small_model()
    culpa.find_label_errors(model, X, y, epochs=2)
    assert model.input_size is None
    model.fit(X, y, epochs=1, optimizer=culpa.SGD(0.1), verbose=False)
    before, history = helpers.parameter_bytes(model), model.history
    first = culpa.find_label_errors(model, X, y, epochs=2)
    assert helpers.parameter_bytes(model) == before
    assert model.history is history
    # Its weights do not count, its optimizer does.
    again = culpa.find_label_errors(small_model(), X, y, epochs=2, optimizer=culpa.SGD(0.1))
    assert bits(first) == bits(again)


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float64"])
def test_memory_layout_does_not_count(dtype: str) -> None:
    X, y = digits()
    X, y = X[:200].astype(dtype), y[:200]
    plain = bits(culpa.find_label_errors(digits_model(), X, y, epochs=1))
    strided = np.repeat(X, 2, axis=1)[:, ::2]
    backwards = np.repeat(y, 3)[::3].astype(np.int8)
    for x in (strided, np.asfortranarray(X)):
        assert bits(culpa.find_label_errors(digits_model(), x, backwards, epochs=1)) == plain


def test_one_input_and_as_many_folds_as_rows() -> None:
    X, y = np.array([[0.0], [0.1], [1.0], [1.1]]), [0, 0, 1, 1]
    errors = culpa.find_label_errors(small_model(2), X, y, folds=4, epochs=1, batch_size=1)
    assert sorted(errors.ranking.tolist()) == [0, 1, 2, 3]


def test_blocks_of_a_fold_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = blobs(101)
    whole = culpa.find_label_errors(small_model(), X, y, epochs=1)
    monkeypatch.setattr(held_out, "BLOCK", 4)
    assert bits(culpa.find_label_errors(small_model(), X, y, epochs=1)) == bits(whole)


def test_sample_weights_reach_the_training() -> None:
    X, y = blobs(60)
    labels = y.copy()
    labels[30:] = 0  # and the weights say that these do not count
    weight = (np.arange(60) < 30) * 1.0
    errors = culpa.find_label_errors(small_model(), X, labels, sample_weight=weight)
    assert np.mean(errors.guesses == y) > 0.9

    seen: list[tuple[np.ndarray, Any]] = []

    class Witness(Memory):
        def fit(self, X: np.ndarray, y: np.ndarray, sample_weight: Any = None) -> Memory:
            seen.append((X, sample_weight))
            return super().fit(X, y)

    culpa.find_label_errors(Witness(), np.c_[X, weight], y, folds=3, sample_weight=weight)
    assert len(seen) == 3
    for x, used in seen:
        assert x[:, 2].tolist() == used.tolist()
    culpa.find_label_errors(Witness(), X, y, folds=2)
    assert seen[-1][1] is None


# Estimators


def test_labels_may_be_words_and_columns_in_any_order() -> None:
    X, y = blobs(60)
    words = np.array(["ant", "bee", "cow"])[y]
    words[[7, 20]] = ["cow", "ant"]  # a bee and a cow
    errors = culpa.find_label_errors(Neighbours(), X, words.tolist())
    assert {(e.example, e.label, e.guess) for e in errors.top(2)} == {
        (7, "cow", "bee"),
        (20, "ant", "cow"),
    }
    assert errors.classes.tolist() == ["ant", "bee", "cow"]
    assert errors.gradient_norms is None


def test_estimators_are_copied() -> None:
    X, y = blobs()
    model = Memory()
    culpa.find_label_errors(model, X, y)
    assert not vars(model)


def test_options_reach_the_estimator() -> None:
    class Curious(Memory):
        def fit(self, X: np.ndarray, y: np.ndarray, *, mood: str = "") -> Memory:  # type: ignore[override]
            if mood != "good":
                raise AssertionError(mood)
            return super().fit(X, y)

    culpa.find_label_errors(Curious(), *blobs(), mood="good")


def test_finds_digits_with_scikit_learn() -> None:
    linear = pytest.importorskip("sklearn.linear_model", reason=SKLEARN)
    pipeline = pytest.importorskip("sklearn.pipeline", reason=SKLEARN)
    preprocessing = pytest.importorskip("sklearn.preprocessing", reason=SKLEARN)
    sparse = pytest.importorskip("scipy.sparse", reason=SKLEARN)
    X, y = digits()
    labels, rows = flipped(y, 0)
    model = pipeline.make_pipeline(
        preprocessing.MaxAbsScaler(), linear.LogisticRegression(C=0.1, max_iter=300)
    )
    errors = culpa.find_label_errors(model, X, labels)
    assert np.isin(errors.ranking[: len(rows)], rows).mean() >= 0.8
    again = culpa.find_label_errors(model, sparse.csr_array(X), labels)
    np.testing.assert_allclose(again.probabilities, errors.probabilities, atol=1e-3)
    assert not hasattr(model[-1], "coef_")


def test_takes_frames() -> None:
    pandas = pytest.importorskip("pandas", reason="frames of pandas")
    X, y = blobs(60)
    frame = pandas.DataFrame(X, columns=["a", "b"], index=np.arange(60)[::-1])

    class Named(Neighbours):
        def fit(self, X: Any, y: np.ndarray) -> Neighbours:
            assert list(X.columns) == ["a", "b"]
            return super().fit(X.to_numpy(), y)

        def predict_proba(self, X: Any) -> np.ndarray:
            return super().predict_proba(X.to_numpy())

    errors = culpa.find_label_errors(Named(), frame, pandas.Series(y))
    plain = culpa.find_label_errors(Neighbours(), X, y)
    assert bits(errors) == bits(plain)


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_frame_of_the_ranking(kind: str) -> None:
    pytest.importorskip(kind, reason=f"frames of {kind}")
    errors = culpa.find_label_errors(small_model(), *blobs(30), epochs=1)
    frame = errors.to_frame(kind)
    assert list(frame["example"]) == errors.ranking.tolist()
    assert list(frame["loss"]) == sorted(errors.losses, reverse=True)
    assert list(frame.columns) == [
        *("example", "label", "guess", "score", "suspicious", "loss", "el2n", "gradient_norm")
    ]
    estimated = culpa.find_label_errors(Neighbours(), *blobs(30)).to_frame(kind)
    assert "gradient_norm" not in list(estimated.columns)


def test_says_how_to_get_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = culpa.find_label_errors(Neighbours(), *blobs(30))
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(ImportError, match="pip install polars"):
        errors.to_frame("polars")
    with pytest.raises(ValueError, match="kind: expected one of pandas, polars"):
        errors.to_frame("excel")


# Errors


def regression() -> culpa.Sequential:
    return culpa.Sequential([culpa.Dense(1)], "mse")


def multilabel() -> culpa.Sequential:
    return culpa.Sequential([culpa.Dense(3)], "binary_cross_entropy")


def binary() -> culpa.Sequential:
    return culpa.Sequential([culpa.Dense(1)], "binary_cross_entropy")


class Shrugs(Memory):
    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        return np.full((len(X), 3), np.nan)


X, Y = blobs(30)
RARE = np.where(np.arange(30) == 3, 2, Y % 2)
HOLES = np.where(np.arange(60).reshape(30, 2) == 11, np.nan, X)


@pytest.mark.parametrize(
    ("make", "X", "y", "options", "error", "message"),
    [
        (regression, X, Y, {}, ValueError, "model: expected a classifier.*got mse and 1"),
        (multilabel, X, Y, {}, ValueError, "model: .*binary_cross_entropy and 3.*a model for each"),
        (lambda: small_model(1), X, Y * 0, {}, ValueError, "got cross_entropy and 1"),
        (small_model, X, np.eye(3)[Y], {}, ValueError, r"y: .*use y.argmax\(axis=1\)"),
        (small_model, X, Y[:-1], {}, ValueError, "y: expected one entry for each of the 30 rows"),
        (small_model, X, Y + 1, {}, ValueError, "y: expected class indices 0 to 2, got 1 to 3"),
        (small_model, X, Y * 0.5, {}, TypeError, "y: expected integer class indices"),
        (small_model, X, Y.astype(str), {}, TypeError, "y: .*got dtype <U.*encode text as numbers"),
        (small_model, X, Y * 0, {}, ValueError, r"y: expected labels of at least two classes.*\[0"),
        (small_model, X, RARE, {}, ValueError, "y: expected at least 2 rows of each.*got 1 of 2"),
        (small_model, HOLES, Y, {}, ValueError, "X: expected finite numbers.*row 5, column 1"),
        (small_model, X[:, 0], Y, {}, ValueError, "X: expected shape"),
        (small_model, X, Y, {"folds": 1}, ValueError, "folds: expected an integer of at least 2"),
        (small_model, X, Y, {"folds": 31}, ValueError, "folds: .*each of the 30 rows, got 31"),
        (small_model, X, Y, {"repeats": 0}, ValueError, "repeats: expected an integer of at least"),
        (small_model, X, Y, {"seed": "a"}, TypeError, "seed: expected an integer"),
        (small_model, X, Y, {"rows": [0]}, TypeError, "rows: expected none"),
        (small_model, X, Y, {"speed": 9}, TypeError, "speed"),
        (small_model, X, Y, {"batch_size": 0}, ValueError, "batch_size: expected an integer"),
        (small_model, X, Y, {"sample_weight": X}, ValueError, "sample_weight: expected shape"),
        (binary, X, Y / 2, {}, ValueError, "y: expected zeros and ones.*got 0.5"),
        (object, X, Y, {}, TypeError, "model: expected a culpa.Sequential, or an object with fit"),
        (lambda: Memory, X, Y, {}, TypeError, r"got <class.*; use Memory\(...\)"),
        (Memory, X, Y[:-1], {}, ValueError, "y: expected a label for each of the 30 examples"),
        (Memory, X, np.eye(3)[Y], {}, ValueError, r"y: .*use y.argmax\(axis=1\)"),
        (Memory, X, Y[:, None], {}, ValueError, r"y: .*use y.ravel\(\)"),
        (Memory, X, Y + 0.5, {}, ValueError, "y: expected class labels, got numbers such as 0.5"),
        (
            Memory,
            X,
            np.where(Y, Y, np.nan),
            {},
            ValueError,
            "y: expected a label .*got nan in rows 0,",
        ),
        (
            Memory,
            X,
            [None, *Y[1:].tolist()],
            {},
            ValueError,
            "y: .*got None in row 0; drop such rows",
        ),
        (Memory, X, ["a", *Y[1:].tolist()], {}, ValueError, "y: expected at least 2 rows of each"),
        (
            Memory,
            X,
            np.array(["a", *Y[1:]], object),
            {},
            TypeError,
            "y: expected labels of one kind",
        ),
        (Memory, X, RARE, {}, ValueError, "y: expected at least 2 rows of each class"),
        (Memory, X, Y, {"sample_weight": -Y}, ValueError, "sample_weight: expected finite numbers"),
        (Memory, 3.0, Y, {}, ValueError, "X: expected rows of examples, got 3.0"),
        (Shrugs, X, Y, {}, ValueError, "predict_proba: expected probabilities of shape"),
    ],
)
def test_errors_name_the_argument(
    make: Callable[[], Any],
    X: Any,
    y: Any,
    options: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        culpa.find_label_errors(make(), X, y, **options)


def test_top_wants_a_count() -> None:
    errors = culpa.find_label_errors(Neighbours(), *blobs(30))
    with pytest.raises(ValueError, match="k: expected an integer of at least 1"):
        errors.top(0)
