"""Label errors: which examples carry a label that models which never saw them do not believe."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, NamedTuple, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from culpa import _checks
from culpa.answers.blame import make_frame
from culpa.data import rounding
from culpa.sequential import Sequential
from culpa.studies import held_out
from culpa.training.options import FitOptions

__all__ = ["LabelError", "LabelErrors", "find_label_errors"]

Array = NDArray[Any]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class LabelError(NamedTuple):
    """A suspicious label, from :meth:`LabelErrors.top`."""

    example: int
    label: Any
    guess: Any
    score: float


@dataclass(frozen=True, eq=False, repr=False)
class LabelErrors:
    """Labels ranked by suspicion, from :func:`find_label_errors`.

    n examples, k classes. All that is said of an example comes from models that were trained
    without it; the mean over `repeats` where there are several.

    Attributes
    ----------
    ranking : ndarray (n,), int64
        The rows of X, most suspicious first: by their losses, largest first; equal ones by the
        probability of their guesses, largest first, then by row.
    scores : ndarray (n,), float64
        In [0, 1], 1 - p(label): how probable the models hold it that the label is wrong.
    suspicious : ndarray (n,), bool
        The first `count` of the ranking, but for those whose label is the models' guess.
    count : int
        How many labels confident learning counts as wrong: the examples off the diagonal of
        `confident_joint`. Where classes are hard to tell apart, it is more than there are.
    labels : ndarray (n,)
        y, as given.
    guesses : ndarray (n,)
        The most probable class of each example.
    classes : ndarray (k,)
        What the columns of `probabilities` stand for.
    probabilities : ndarray (n, k), float64
        p(class), out of sample.
    thresholds : ndarray (k,), float64
        The mean p(class) of the examples labelled with it; infinite where there are none.
    confident_joint : ndarray (k, k), int64
        ``confident_joint[i, j]`` examples labelled ``classes[i]`` are counted as ``classes[j]``:
        the most probable of the classes whose p reaches their threshold. Examples for which none
        does are not counted.
    losses : ndarray (n,), float64
        -log p(label).
    el2n : ndarray (n,), float64
        EL2N: the Euclidean length of p - onehot(label), the error signal of the logits.
    gradient_norms : ndarray (n,), float64, or None
        The norm of each example's gradient over all weights and biases; None for estimators.
    """

    ranking: Ints
    scores: Floats
    suspicious: NDArray[np.bool_]
    count: int
    labels: Array
    guesses: Array
    classes: Array
    probabilities: Floats
    thresholds: Floats
    confident_joint: Ints
    losses: Floats
    el2n: Floats
    gradient_norms: Floats | None

    def top(self, k: int = 10) -> list[LabelError]:
        """Return the most suspicious labels.

        Parameters
        ----------
        k : int, default 10
            How many; fewer where there are not as many.

        Returns
        -------
        list of LabelError
            Tuples (example, label, guess, score), most suspicious first; `example` is the row of X.
        """
        rows = self.ranking[: _checks.integer("k", k, 1)]
        columns = (rows, self.labels[rows], self.guesses[rows], self.scores[rows])
        return [LabelError(*row) for row in zip(*(c.tolist() for c in columns), strict=True)]

    def to_frame(self, kind: str = "pandas") -> Any:
        """Return a pandas or polars frame, a row per example, most suspicious first.

        Parameters
        ----------
        kind : {"pandas", "polars"}, default "pandas"
            Neither comes with culpa: ``pip install pandas``, or polars.

        Returns
        -------
        pandas.DataFrame or polars.DataFrame
            With the columns ``example`` (the row of X), ``label``, ``guess``, ``score``,
            ``suspicious``, ``loss``, ``el2n`` and, where known, ``gradient_norm``.

        Raises
        ------
        ImportError
            Where the library is not installed.
        """
        columns = {
            "label": self.labels,
            "guess": self.guesses,
            "score": self.scores,
            "suspicious": self.suspicious,
            "loss": self.losses,
            "el2n": self.el2n,
        }
        if self.gradient_norms is not None:
            columns["gradient_norm"] = self.gradient_norms
        ranked = {name: column[self.ranking] for name, column in columns.items()}
        return make_frame(kind, {"example": self.ranking, **ranked})

    def __repr__(self) -> str:
        first = self.top(1)[0]
        return (
            f"<LabelErrors: {self.suspicious.sum():,} of {len(self.ranking):,} labels suspicious, "
            f"first example {first.example}: label {first.label!r}, guess {first.guess!r}>"
        )


def find_label_errors(
    model: Any,
    X: Any,
    y: ArrayLike,
    *,
    folds: int = 5,
    repeats: int = 1,
    seed: int | None = 0,
    sample_weight: ArrayLike | None = None,
    **options: Unpack[FitOptions],
) -> LabelErrors:
    """Find labels that are probably wrong, by what models say that never saw them.

    The rows are dealt into folds, each with its share of every class. For each fold a model is
    trained on the others, and asked for the probabilities of the fold's examples; those whose own
    label it holds for least probable come first. For wrong labels that are drawn at random this
    order is the best that there is, for given probabilities: the odds that a label is wrong then
    fall with its p, whatever the other classes' (see Notes).

    Parameters
    ----------
    model : Sequential or estimator
        A :class:`Sequential` with cross_entropy, or binary_cross_entropy and one output, is a
        description: copies of it with fresh weights are trained side by side in the core, and it
        is not touched. Or any object with ``fit(X, y)`` and ``predict_proba(X)``, such as
        scikit-learn's classifiers; copies of it are trained one after the other, made by
        ``sklearn.base.clone``, or without scikit-learn by ``copy.deepcopy``.
    X : array_like (n, inputs)
        As the model takes it; for estimators also a pandas or polars frame, whose rows are picked
        with their names, or a sparse matrix.
    y : array_like (n,)
        For a Sequential class indices, or 0 and 1 for binary_cross_entropy; for estimators labels
        of any kind that NumPy sorts. One in every row, and at least two rows of each class that
        occurs.
    folds : int, default 5
        How many; more give each model more to learn from, and take longer.
    repeats : int, default 1
        Times that all is done, each with folds and weights of its own; probabilities are averaged.
        Three find about one in a hundred more of the labels flipped in Fashion-MNIST or digits, in
        three times the time.
    seed : int or None, default 0
        Determines folds and weights: one seed, one result, at any number of threads. (What an
        estimator draws is its own affair: set its ``random_state``.) None draws one from the
        operating system.
    sample_weight : array_like (n,), optional
        Weight of each example in training, within its batch; ranking and counts ignore it.
    **options
        For a Sequential as for :meth:`Sequential.fit`; estimators' ``fit`` gets them as they are.
        ``class_weight="balanced"`` counts the labels that a fold's model is trained on.
        Where neither `epochs` nor `early_stopping` is given, a Sequential is trained for 10 epochs,
        or as many as make 1,000 steps, but at most 300; with ``schedule=culpa.Cosine()`` unless
        another is given.

    Returns
    -------
    LabelErrors
        See its attributes.

    Raises
    ------
    ValueError, TypeError
        Where an argument is not as described; where labels are missing, it says in which rows.
    culpa.DivergedError
        Where a model's loss becomes NaN or infinite.

    Notes
    -----
    If a label is replaced with probability e by another of the k classes, all alike, and q(j) is
    the probability of j as the right class, then a model of the labels says
    p(j) = (1 - e) q(j) + e (1 - q(j)) / (k - 1), and the probability that label j is right is
    (1 - e) q(j) / p(j), which rises with p(j) alone: no margin to another class, no entropy has a
    part in it. So it is measured, too: in bench/label_errors.py p(label), which is the loss, finds
    more of the flipped labels than normalized margin, confidence-weighted entropy, EL2N or the
    gradient norm from the same models. The others are there as evidence.

    Sources: counts by class thresholds from C. G. Northcutt, L. Jiang and I. L. Chuang, *Confident
    Learning: Estimating Uncertainty in Dataset Labels*, JAIR 70, 2021, section 3.1; EL2N from
    M. Paul, S. Ganguli and G. K. Dziugaite, *Deep Learning on a Data Diet*, NeurIPS 2021.

    Examples
    --------
    >>> import culpa
    >>> X, y, _, _ = culpa.datasets.digits()
    >>> y[7] = (y[7] + 5) % 10  # a slip of the pen
    >>> model = culpa.Sequential(
    ...     [culpa.Dense(32, "relu"), culpa.Dense(10)], loss="cross_entropy", input_scale=1 / 16)
    >>> errors = culpa.find_label_errors(model, X, y, epochs=20)
    >>> 7 in [error.example for error in errors.top(5)]
    True
    """
    folds = _checks.integer("folds", folds, 2)
    repeats = _checks.integer("repeats", repeats, 1)
    seed = secrets.randbits(63) if seed is None else _checks.integer("seed", seed, 0)
    ask = held_out.Networks if isinstance(model, Sequential) else held_out.Estimators
    models = ask(model, X, y, sample_weight, {**options})
    with rounding.once():
        log_p, norms = held_out.guess_examples(models, folds, repeats, seed)
    return rank_labels(log_p, models.codes, models.classes, norms)


def rank_labels(
    log_p: Floats, codes: Ints, classes: Array, gradient_norms: Floats | None = None
) -> LabelErrors:
    """Rank labels by what is known of them.

    Parameters
    ----------
    log_p : ndarray (n, k), float64
        Logarithms of probabilities: far from the label they tell what 1 - p(label) rounds away.
    codes : ndarray (n,), int64
        The index of each label in `classes`.
    classes : ndarray (k,)
        As in the result.
    gradient_norms : ndarray (n,), float64, optional
        As in the result.

    Returns
    -------
    LabelErrors
    """
    rows = np.arange(len(codes))
    p = np.exp(log_p)
    losses, best = -log_p[rows, codes], p.argmax(axis=1)
    ranking = np.lexsort((-p[rows, best], -losses))
    thresholds, joint = count_confidently(p, codes)
    count = int(joint.sum() - joint.trace())
    suspicious = np.zeros(len(codes), dtype=bool)
    suspicious[ranking[:count]] = True
    signals = p.copy()
    signals[rows, codes] -= 1.0
    return LabelErrors(
        ranking=ranking,
        scores=np.clip(1.0 - p[rows, codes], 0.0, 1.0),
        suspicious=suspicious & (best != codes),
        count=count,
        labels=classes[codes],
        guesses=classes[best],
        classes=classes,
        probabilities=p,
        thresholds=thresholds,
        confident_joint=joint,
        losses=losses,
        el2n=np.sqrt((signals**2).sum(axis=1)),
        gradient_norms=gradient_norms,
    )


def count_confidently(p: Floats, codes: Ints) -> tuple[Floats, Ints]:
    """Return the classes' thresholds (k,) and the confident joint (k, k).

    Northcutt, Jiang and Chuang 2021, equations 1 and 2: an example labelled i is counted as j where
    j is the most probable of the classes whose p reaches their threshold, the mean p(j) of the
    examples labelled j.
    """
    n, k = p.shape
    counts = np.bincount(codes, minlength=k)
    sums = np.bincount(codes, weights=p[np.arange(n), codes], minlength=k)
    thresholds = np.full(k, np.inf)
    np.divide(sums, counts, out=thresholds, where=counts > 0)
    # A class that all models give the same p must reach its own mean, whatever the rounding.
    confident = p >= thresholds - 1e-12
    counted = np.flatnonzero(confident.any(axis=1))
    picks = np.where(confident[counted], p[counted], -1.0).argmax(axis=1)
    joint = np.zeros((k, k), dtype=np.int64)
    np.add.at(joint, (codes[counted], picks), 1)
    return thresholds, joint
