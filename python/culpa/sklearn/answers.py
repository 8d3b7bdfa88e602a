"""What fitted estimators can be asked: who is to blame, what each input did; and their export."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted, validate_data

from culpa import blame
from culpa.attribution import Attribution
from culpa.layers import Dense, Dropout
from culpa.model import Sequential
from culpa.sklearn.network import Network
from culpa.threads import own_threads

__all__ = ["Answers"]

Array = NDArray[Any]


class Answers:
    """Mixed into the estimators, which have weights and know how their targets are encoded."""

    coefs_: list[Array]
    intercepts_: list[Array]
    n_threads: int | None

    def _network(self) -> Network:
        raise NotImplementedError

    def _encoded(self, y: Any, name: str = "y") -> Array:
        """Return a user's targets (n,) or (n, outputs), of that name, encoded: (n, outputs)."""
        raise NotImplementedError

    def to_sequential(self) -> Sequential:
        """Return a copy of the fitted network as a :class:`culpa.Sequential`.

        Its guesses are the same, as it numbers them: a classifier's classes by their places in
        ``classes_``. It can be saved, loaded, trained further, asked about blame and exported.

        Returns
        -------
        Sequential
            With dropout where the estimator has it, and the core's loss: the mean over the outputs
            of an example.
        """
        check_is_fitted(self)
        shape = self._network().shape
        layers: list[Dense | Dropout] = []
        for units, activation, rate in zip(
            shape.widths[1:], shape.activations, shape.dropout, strict=False
        ):
            layers.append(Dense(units, activation, initializer="zeros"))
            if rate:
                layers.append(Dropout(rate))
        layers.append(Dense(shape.widths[-1], initializer="zeros"))
        model = Sequential(
            layers,
            shape.loss,
            seed=shape.seed,
            input_size=shape.widths[0],
            dtype=shape.dtype,
        )
        state: dict[str, ArrayLike] = {}
        for i, (weight, bias) in enumerate(zip(self.coefs_, self.intercepts_, strict=True)):
            state |= {f"dense_{i}.weight": weight, f"dense_{i}.bias": bias}
        model.load_state_dict(state)
        return model

    def blame(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        want: Collection[str] = ("losses", "nodes", "inputs", "weights", "examples"),
    ) -> blame.Blame:
        """Ask who is at fault for the guesses: the error signals and gradients, kept.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets, as for ``fit``.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights; they matter to ``weights`` and ``biases`` alone.
        want : collection of str
            Any of ``"losses"``, ``"nodes"``, ``"inputs"``, ``"weights"`` (with the biases) and
            ``"examples"``; only what is named is computed.

        Returns
        -------
        culpa.Blame
            Of the core's loss: the mean over the outputs of an example, without L2.
        """
        model = self.to_sequential()
        validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        encoded = self._encoded(y)
        if model.loss.task == "classes":
            encoded = encoded.argmax(axis=1)
        with own_threads(self.n_threads):
            return model.blame(X, encoded, sample_weight=sample_weight, want=want)

    def attribute(self, X: Any, *, target: Any = None, **options: Any) -> Attribution:
        """Ask how much each input did to one output, for each example.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The input data.
        target : label or array-like of shape (n_samples,), default=None
            Which output to explain, for all rows or for each: with several classes a label, by
            default the guess; else the index of an output, by default the only one.
        **options
            Of :meth:`culpa.Sequential.attribute`: ``method``, ``baseline``, ``steps``, ...

        Returns
        -------
        culpa.Attribution
            Attributions of the last layer's output before softmax, logistic or exp.
        """
        model = self.to_sequential()
        validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        if target is not None and model.loss.task == "classes":
            places = self._encoded(np.atleast_1d(target), "target").argmax(axis=1)
            target = places if np.ndim(target) else int(places[0])
        with own_threads(self.n_threads):
            return model.attribute(X, target=target, **options)
