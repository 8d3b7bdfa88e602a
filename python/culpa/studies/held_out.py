"""Held-out guesses: what models say of examples that they were not trained on."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from culpa import _checks, _core, data
from culpa.data import columns, labels
from culpa.many import fit_many
from culpa.network.network import Network
from culpa.parts.schedules import Cosine
from culpa.sequential import Sequential

__all__ = ["Estimators", "Models", "Networks", "Split", "deal_folds", "guess_examples"]

Array = NDArray[Any]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCK = 4096  # rows guessed at a time: a fold is never copied whole
A_MODEL_EACH = (
    "ask about several labels a row with a model per output: y[:, 0] with one, y[:, 1] with another"
)
LEAST_EPOCHS, MOST_EPOCHS, LEAST_STEPS = 10, 300, 1000


class Split(NamedTuple):
    """The rows that a model is trained on, those that it is asked about, and its seed."""

    train: Ints
    test: Ints
    seed: int


class Models(Protocol):
    """Models of one kind that can be trained on part of the examples and asked about others."""

    classes: Array
    """(k,), what is told apart."""
    codes: Ints
    """(n,), each label's index into them."""

    def answers(self, splits: Sequence[Split]) -> Iterator[tuple[Ints, Floats, Floats | None]]:
        """Train a model a split; yield rows, their log p (rows, k) and gradient norms (rows,)."""
        ...


def guess_examples(
    models: Models, folds: int, repeats: int, seed: int
) -> tuple[Floats, Floats | None]:
    """Return log p (n, k) and gradient norms (n,) of all examples, from models without them.

    p and the norms are means over the repeats; the norms are None where the models have none.
    """
    _check_counts(models.classes, models.codes, folds)
    # A row of seeds per repeat: the folds' first, then those of their models.
    seeds = np.random.SeedSequence(seed).generate_state(repeats * (folds + 1), np.uint64)
    splits = []
    for fold_seed, *model_seeds in seeds.reshape(repeats, folds + 1).tolist():
        fold = deal_folds(models.codes, folds, fold_seed)
        for i, model_seed in enumerate(model_seeds):
            splits.append(Split(np.flatnonzero(fold != i), np.flatnonzero(fold == i), model_seed))
    log_p = np.full((len(models.codes), len(models.classes)), -np.inf)
    norms: Floats | None = None
    for rows, answer, norm in models.answers(splits):
        log_p[rows] = np.logaddexp(log_p[rows], answer)
        if norm is not None:
            norms = np.zeros(len(log_p)) if norms is None else norms
            norms[rows] += norm / repeats
    return log_p - np.log(repeats), norms


def deal_folds(codes: Ints, folds: int, seed: int) -> Ints:
    """Return the fold of each row (n,), dealt like cards: the rows shuffled, sorted by class.

    So folds differ by at most one row, in all and in each class, and the rows of a class that has
    two or more are never all in one fold.
    """
    order = _core.permutation(len(codes), seed, 0, 0)
    order = order[np.argsort(codes[order], kind="stable")]
    fold = np.empty(len(codes), dtype=np.int64)
    fold[order] = np.arange(len(codes)) % folds
    return fold


def _check_counts(classes: Array, codes: Ints, folds: int) -> None:
    if folds > len(codes):
        raise ValueError(
            f"folds: expected at most one for each of the {len(codes)} rows, got {folds}"
        )
    counts = np.bincount(codes, minlength=len(classes))
    present = np.flatnonzero(counts)
    if len(present) < 2:
        raise ValueError(
            f"y: expected labels of at least two classes, got {classes[present].tolist()} alone; "
            "there is nothing to mistake them for"
        )
    rare = present[counts[present] < 2]
    if rare.size:
        raise ValueError(
            "y: expected at least 2 rows of each class, one to learn from while the other is held "
            f"out, got 1 of {classes[rare].tolist()[0]!r}; drop such rows or merge their classes"
        )


class Networks:
    """Copies of a Sequential with fresh weights, trained side by side in the core."""

    def __init__(
        self, model: Sequential, X: Any, y: Any, sample_weight: Any, options: dict[str, Any]
    ) -> None:
        task, outputs = model.loss.task, model.output_size
        if task == "regression" or (task == "binary") != (outputs == 1):
            raise ValueError(
                "model: expected a classifier, with cross_entropy and two outputs or more, or with "
                f"binary_cross_entropy and one, got {model.loss.name} and {outputs}; ask about "
                "several binary outputs with a model for each"
            )
        if "rows" in options:
            raise TypeError("rows: expected none, for the folds choose them; pass X[rows], y[rows]")
        self.model = model
        columns.check(model.feature_names, X)
        validation = options.get("validation_data")
        if isinstance(validation, (tuple, list)) and validation:  # copies get X without its names
            columns.check(columns.column_names(X), validation[0], "X (validation)")
        self.x: Any = data.check_x(X, model.input_size, model.dtype, finite=False)
        if labels.several(y):
            raise ValueError(f"y: expected one label a row, got several; {A_MODEL_EACH}")
        targets = data.check_targets(model.loss, y, len(self.x), outputs, model.dtype, "y")
        if task == "classes":
            if targets.labels is None:
                raise ValueError(
                    "y: expected class indices, for a label that is right or wrong, got "
                    "probabilities; use y.argmax(axis=1)"
                )
            own: Array = targets.labels
        else:
            assert targets.values is not None
            own = targets.values[:, 0]
            if not np.isin(own, (0, 1)).all():
                raise ValueError(
                    "y: expected zeros and ones, for a label that is right or wrong, got "
                    f"{_checks.describe(own[~np.isin(own, (0, 1))][0].item())}"
                )
        self.codes = own.astype(np.int64)
        self.classes = np.arange(max(outputs, 2))
        self.options = {"optimizer": model.optimizer, "sample_weight": sample_weight, **options}

    def answers(self, splits: Sequence[Split]) -> Iterator[tuple[Ints, Floats, Floats]]:
        """Train all; yield blocks of rows."""
        unbuilt = replace(self.model._network.architecture, input_size=None, feature_names=None)
        models = [Sequential._of(Network(replace(unbuilt, seed=split.seed))) for split in splits]
        rows = [split.train for split in splits]
        fit_many(models, self.x, self.codes, rows=rows, **self._with_epochs(len(rows[0])))
        for model, split in zip(models, splits, strict=True):
            for block in np.array_split(split.test, len(split.test) // BLOCK + 1):
                x = self.x[block]
                logits = model.predict_logits(x).astype(np.float64)
                if logits.shape[1] == 1:  # of class 1 against class 0
                    logits = np.hstack([np.zeros_like(logits), logits])
                log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
                norms = model.blame(x, self.codes[block], want="gradient_norms").gradient_norms
                yield block, log_p, norms

    def _with_epochs(self, rows: int) -> dict[str, Any]:
        """Return the options, by default with enough steps to learn from few rows, too.

        A learning rate that falls to 0 ends where the probabilities hardly depend on the last
        batches: that counts for more than the number of epochs.
        """
        if "epochs" in self.options or self.options.get("early_stopping"):
            return self.options
        batch_size = _checks.integer("batch_size", self.options.get("batch_size", 128), 1)
        epochs = -(-LEAST_STEPS // -(-rows // batch_size))
        epochs = min(max(epochs, LEAST_EPOCHS), MOST_EPOCHS)
        return {"schedule": Cosine(), **self.options, "epochs": epochs}


class Estimators:
    """Copies of anything with fit and predict_proba, trained one after the other."""

    def __init__(
        self, model: Any, X: Any, y: Any, sample_weight: Any, options: dict[str, Any]
    ) -> None:
        methods = ("fit", "predict_proba")
        if isinstance(model, type) or not all(callable(getattr(model, m, None)) for m in methods):
            mend = f"; use {model.__name__}(...)" if isinstance(model, type) else ""
            raise TypeError(
                "model: expected a culpa.Sequential, or an object with fit and predict_proba such "
                f"as scikit-learn's classifiers, got {_checks.describe(model)}{mend}"
            )
        self.model = model
        kept = hasattr(X, "iloc") or columns.is_frame(X)
        self.X = X.tocsr() if hasattr(X, "tocsr") else X if kept else np.asarray(X)
        if not self.X.shape:
            raise ValueError(f"X: expected rows of examples, got {_checks.describe(X)}")
        given = labels.one_each(y, self.X.shape[0], "y", A_MODEL_EACH)
        labels.refuse_missing("y", given)
        self.classes, self.codes = labels.sorted_labels(given, "y")
        if self.classes.dtype.kind == "f":  # whole numbers count as labels
            broken = self.classes[self.classes != np.rint(self.classes)]
            if broken.size:
                raise ValueError(
                    f"y: expected class labels, got numbers such as {broken[0]}; put numbers into "
                    "classes"
                )
        self.weights = data.check_weights("sample_weight", sample_weight, len(self.codes))
        self.options = options

    def answers(self, splits: Sequence[Split]) -> Iterator[tuple[Ints, Floats, None]]:
        """Train one; yield its rows; go on to the next."""
        for train, _, _ in splits:
            data.check_trained({"sample_weight": self.weights}, train, " of a fold")
        for train, test, _ in splits:
            model = _clone(self.model)
            weight = {} if self.weights is None else {"sample_weight": self.weights[train]}
            model.fit(
                columns.take_rows(self.X, train),
                self.classes[self.codes[train]],
                **weight,
                **self.options,
            )
            with np.errstate(divide="ignore"):
                log_p = np.log(self._probabilities(model, test))
            yield test, log_p, None

    def _probabilities(self, model: Any, rows: Ints) -> Floats:
        """Return p (rows, k), the columns those of `classes`."""
        p = np.asarray(model.predict_proba(columns.take_rows(self.X, rows)), dtype=np.float64)
        known = np.asarray(getattr(model, "classes_", self.classes))
        if p.shape != (len(rows), len(known)) or not ((p >= 0) & (p <= 1 + 1e-6)).all():
            raise ValueError(
                f"predict_proba: expected probabilities of shape {(len(rows), len(known))}, in "
                f"[0, 1], got {_checks.describe(p)}"
            )
        # All classes are in every training part; some estimators order them in their own way.
        return p[:, [known.tolist().index(label) for label in self.classes.tolist()]]


def _clone(model: Any) -> Any:
    """Return a copy to train: of scikit-learn's estimators unfitted, of others as they are."""
    if hasattr(model, "get_params"):
        try:
            from sklearn.base import clone
        except ImportError:
            pass
        else:
            return clone(model)
    return copy.deepcopy(model)
