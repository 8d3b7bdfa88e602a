"""Class weights: what "balanced" may know, and where they count."""

from typing import Any

import numpy as np
import pytest

import culpa
from culpa import Dense, _core
from culpa.studies.held_out import deal_folds
from helpers import parameter_bytes

rng = np.random.default_rng(0)
N, SEED = 200, 3
X = rng.normal(size=(N, 5))
Y = (rng.random(N) < 0.15).astype(int)
WEIGHT = rng.uniform(0.5, 2.0, N)
HELD = np.sort(_core.validation_order(N, SEED)[:60])  # what validation_split=0.3 takes
TRAIN = np.setdiff1d(np.arange(N), HELD)
FLIPPED = Y.copy()
FLIPPED[HELD] = 1 - FLIPPED[HELD]
KINDS = {"cross_entropy": 2, "binary_cross_entropy": 1}


def network(loss: str = "cross_entropy", seed: int = SEED) -> culpa.Sequential:
    return culpa.Sequential([Dense(4, "tanh"), Dense(KINDS[loss])], loss, seed=seed)


def trained(loss: str, X: Any, y: Any, **options: Any) -> bytes:
    model = network(loss)
    model.fit(X, y, epochs=3, class_weight="balanced", verbose=False, **options)
    return parameter_bytes(model)


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("loss", KINDS)
def test_balanced_counts_the_labels_trained_on_alone(loss: str, weight: Any) -> None:
    part = None if weight is None else weight[TRAIN]
    right = trained(loss, X[TRAIN], Y[TRAIN], sample_weight=part)
    for labels in (Y, FLIPPED):  # those held out do not matter
        assert trained(loss, X, labels, validation_split=0.3, sample_weight=weight) == right
        assert trained(loss, X, labels, rows=TRAIN, sample_weight=weight) == right


def test_balanced_counts_a_row_as_often_as_it_is_named() -> None:
    rows = np.append(TRAIN, TRAIN[Y[TRAIN] == 1])
    assert trained("cross_entropy", X, Y, rows=rows) == trained("cross_entropy", X[rows], Y[rows])
    # Split, too: what the split keeps of the rows, in the rows' order of positions.
    held = _core.validation_order(len(rows), SEED)[: round(0.25 * len(rows))]
    kept = np.sort(np.delete(rows, held))
    split = trained("cross_entropy", X, Y, rows=rows, validation_split=0.25)
    assert split == trained("cross_entropy", X[kept], Y[kept])


@pytest.mark.parametrize("loss", KINDS)
def test_balanced_counts_each_folds_own_labels(loss: str) -> None:
    folds = [TRAIN, np.arange(0, N, 2), np.flatnonzero(Y == 1)]
    models = [network(loss) for _ in folds]
    options = {"epochs": 3, "class_weight": "balanced"}
    culpa.fit_many(models, X, Y, rows=folds, **options)
    for model, rows in zip(models, folds, strict=True):
        assert parameter_bytes(model) == trained(loss, X[rows], Y[rows])


def test_a_label_that_is_doubted_does_not_weigh_on_the_models_that_doubt_it() -> None:
    options = {"folds": 4, "epochs": 5, "class_weight": "balanced"}
    found = culpa.find_label_errors(network(), X, Y, **options)
    seen = np.full((N, 2), np.nan)
    # The same by hand: folds and seeds as documented, each model on a copy of its own rows.
    fold_seed, *seeds = np.random.SeedSequence(0).generate_state(5, np.uint64).tolist()
    fold = deal_folds(Y, 4, fold_seed)
    for i, seed in enumerate(seeds):
        model = network(seed=seed)
        rows = np.flatnonzero(fold != i)
        model.fit(X[rows], Y[rows], epochs=5, class_weight="balanced", verbose=False)
        seen[fold == i] = model.predict_proba(X[fold == i])
    np.testing.assert_allclose(found.probabilities, seen, rtol=1e-5)


def test_a_class_that_is_held_out_whole_gets_no_weight_of_its_own() -> None:
    rows = np.flatnonzero(Y == 0)  # nothing is left to balance
    assert trained("cross_entropy", X, Y, rows=rows) == trained("cross_entropy", X[rows], Y[rows])


# --- Validation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("class_weight", ["balanced", {0: 1.0, 1: 9.0}])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
def test_validation_is_scored_by_sample_weights_alone(weight: Any, class_weight: Any) -> None:
    still: dict[str, Any] = {"epochs": 1, "optimizer": culpa.SGD(0.0), "verbose": False}
    part = None if weight is None else weight[HELD]
    model = network()
    model.fit(X, Y, epochs=0)
    want = model.evaluate(X[HELD], Y[HELD], sample_weight=part)
    given = (X[HELD], Y[HELD]) if weight is None else (X[HELD], Y[HELD], part)
    for validation in ({"validation_split": 0.3}, {"validation_data": given}):
        history = network().fit(
            X, Y, sample_weight=weight, class_weight=class_weight, **validation, **still
        )
        assert history.val_loss[0] == pytest.approx(want["loss"], rel=1e-6)
        assert history.val_accuracy[0] == pytest.approx(want["accuracy"], rel=1e-12)


# --- In words ------------------------------------------------------------------------------------


def test_the_docstrings_say_that_weights_count_within_a_batch() -> None:
    documented = [culpa.Sequential.fit, culpa.fit_many]
    try:
        from culpa.sklearn import MLPClassifier
    except ImportError:
        pass
    else:
        documented += [MLPClassifier, MLPClassifier.fit]
    for each in documented:
        text = " ".join((each.__doc__ or "").split())
        assert "batch alone" in text, each
        assert "``batch_size=1``" in text, each


def test_weights_do_nothing_at_batch_size_1_as_documented() -> None:
    def one_by_one(**options: Any) -> bytes:
        model = network()
        model.fit(X, Y, epochs=1, batch_size=1, verbose=False, **options)
        return parameter_bytes(model)

    plain = one_by_one()
    assert one_by_one(class_weight={0: 2.0, 1: 8.0}) == plain
    assert one_by_one(sample_weight=2.0 ** rng.integers(-3, 4, N)) == plain
