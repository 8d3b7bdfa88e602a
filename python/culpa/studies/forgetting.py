"""Forgetting events: which training examples a model gets right and then wrong again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from culpa.training.callbacks import Callback

if TYPE_CHECKING:
    from culpa.training.training import Training

__all__ = ["Forgetting"]


class Forgetting(Callback):
    """Count how often training forgets each example: a callback for ``fit`` of classifiers.

    Each time an example is presented in a batch, its guess is right or wrong, before that batch's
    update. A *forgetting event* is a wrong guess where the last one was right (Toneva et al. 2019,
    "An empirical study of example forgetting during deep neural network learning", algorithm 1).
    The guesses are those of training itself, dropout included, so that counting costs next to
    nothing and changes no bit of the training. A guess of several binary outputs is right where all
    of them are.

    A second fit on the same data goes on counting. Not for ``fit_many``, whose models would be
    counted together. What it counts is not covered by ``privacy``.

    Attributes
    ----------
    events : ndarray (n,), int64
        Forgetting events of each row of X.
    presentations : ndarray (n,), int64
        How often it was presented: 0 for rows held out by ``validation_split``.
    learned_epoch : ndarray (n,), int64
        The epoch, counted from 0 over all fits of this callback, in which it was first right; -1
        where it never was.
    learned : ndarray (n,), bool
        Whether it ever was right.
    never_learned : ndarray (n,), bool
        Whether it was presented and never right. The paper counts such an example as forgotten an
        infinite number of times.
    unforgettable : ndarray (n,), bool
        Whether it was right once and then always.

    Raises
    ------
    ValueError
        By ``fit``, before the model is touched: where the loss is no classifier's, or X has another
        number of rows than in the fit before.

    Examples
    --------
    >>> import culpa
    >>> X, y, _, _ = culpa.datasets.digits()
    >>> model = culpa.Sequential([culpa.Dense(10)], loss="cross_entropy", input_scale=1 / 16)
    >>> forgetting = culpa.Forgetting()
    >>> history = model.fit(X, y, epochs=5, callbacks=forgetting, verbose=False)
    >>> forgetting.events.shape, int(forgetting.presentations.max())
    ((1437,), 5)
    """

    wants_examples = True
    one_model = True

    def __init__(self) -> None:
        self.events: NDArray[np.int64] = np.zeros(0, np.int64)
        self.presentations: NDArray[np.int64] = np.zeros(0, np.int64)
        self.learned_epoch: NDArray[np.int64] = np.zeros(0, np.int64)
        self._right: NDArray[np.bool_] = np.zeros(0, np.bool_)  # when last presented
        self._epochs = 0
        self._counted = -1  # epoch of this fit

    @property
    def learned(self) -> NDArray[np.bool_]:
        """Whether each example was ever right."""
        return self.learned_epoch >= 0

    @property
    def never_learned(self) -> NDArray[np.bool_]:
        """Whether each example was presented and never right."""
        return (self.presentations > 0) & ~self.learned

    @property
    def unforgettable(self) -> NDArray[np.bool_]:
        """Whether each example was right once and then always."""
        return np.asarray(self.learned & (self.events == 0))

    def check(self, training: Training) -> None:
        """Raise where the events cannot be counted."""
        examples = training.examples
        if examples.metric != "accuracy":
            raise ValueError(
                "callbacks: expected a classifier for culpa.Forgetting (cross_entropy or "
                f"binary_cross_entropy), got {training.model.loss.name}, whose guesses are neither "
                "right nor wrong; leave it out"
            )
        n = len(examples.x)
        if len(self.events) not in (0, n):
            raise ValueError(
                f"callbacks: expected the {len(self.events)} rows that this culpa.Forgetting has "
                f"counted so far, got {n}; pass a new culpa.Forgetting()"
            )

    def on_fit_begin(self, training: Training) -> None:
        """Make room for the counts, in the first fit."""
        self._counted = -1
        if not len(self.events):
            n = len(training.examples.x)
            self.events = np.zeros(n, np.int64)
            self.presentations = np.zeros(n, np.int64)
            self.learned_epoch = np.full(n, -1, np.int64)
            self._right = np.zeros(n, np.bool_)

    def on_epoch_end(self, training: Training) -> None:
        """Count the epoch's events."""
        self._count(training)
        self._counted = training.epoch
        self._epochs += 1

    def on_fit_end(self, training: Training) -> None:
        """Count those of an epoch that was broken off."""
        if training.epoch != self._counted:  # else another callback broke it off, after this one
            self._count(training)

    def _count(self, training: Training) -> None:
        seen = training.presented()
        if not len(seen.rows):
            return
        # One example may come several times (Poisson sampling, rows named twice): each one's
        # presentations side by side, in their order.
        order = np.argsort(seen.rows, kind="stable")
        rows, right = seen.rows[order], seen.scores[order] == 1.0
        first = np.append(True, rows[1:] != rows[:-1])
        before = np.where(first, self._right[rows], np.append(False, right[:-1]))
        np.add.at(self.events, rows[before & ~right], 1)
        np.add.at(self.presentations, rows, 1)
        last = np.append(first[1:], True)
        self._right[rows[last]] = right[last]
        learned = rows[right]
        self.learned_epoch[learned[self.learned_epoch[learned] < 0]] = self._epochs
