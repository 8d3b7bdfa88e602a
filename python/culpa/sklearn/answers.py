"""What fitted estimators can be asked: who is to blame, what each input did; and their export."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import (
    _check_sample_weight,
    check_array,
    check_is_fitted,
    validate_data,
)

from culpa.answers import blame
from culpa.answers.attribution import Attribution
from culpa.data import columns
from culpa.machine.threads import own_threads
from culpa.network.network import Network
from culpa.sequential import Sequential
from culpa.sklearn.network import EstimatorNetwork

__all__ = ["Answers", "numbers"]

Array = NDArray[Any]
AS_IN_FIT = (np.float64, np.float32)  # what is neither becomes float64


def numbers(value: Any, name: str) -> Any:
    """Return numbers as an array that the core reads, converted where fit would convert them."""
    if np.ndim(value) == 0 or _plain(value):
        return value
    return check_array(
        value,
        accept_sparse=True,
        dtype=AS_IN_FIT,
        ensure_all_finite=False,  # the core names the row
        ensure_2d=False,
        ensure_min_samples=0,
        ensure_min_features=0,
        input_name=name,
    )


def _plain(value: Any) -> bool:
    """Say whether the core reads a value's dtype."""
    dtype = getattr(value, "dtype", None)
    return isinstance(dtype, np.dtype) and dtype.kind in "biuf" and dtype.itemsize <= 8


class Answers:
    """Mixed into the estimators, which have weights and know how their targets are encoded."""

    coefs_: list[Array]
    intercepts_: list[Array]
    n_threads: int | None
    classes_: Array

    def _network(self) -> EstimatorNetwork:
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
        names = self._names()
        architecture = replace(
            self._network().architecture, feature_names=None if names is None else tuple(names)
        )
        arrays = itertools.chain.from_iterable(zip(self.coefs_, self.intercepts_, strict=True))
        return Sequential._of(
            Network.of(architecture, dict(zip(architecture.shapes(), arrays, strict=True)))
        )

    def _names(self) -> list[str] | None:
        names = getattr(self, "feature_names_in_", None)
        return None if names is None else list(names)

    def _rows(self, X: Any) -> Any:
        """Return X as the network is to read it, checked by scikit-learn."""
        dtype = "numeric" if _plain(X) else AS_IN_FIT
        return validate_data(self, X, accept_sparse=["csr", "csc"], reset=False, dtype=dtype)

    def _places(self, labels: Any, rows: int) -> NDArray[np.int64]:
        """Return the place in `classes_` of a label, or of one for each row: (rows,)."""
        encoded = self._encoded(np.atleast_1d(labels) if np.ndim(labels) == 0 else labels, "target")
        places = encoded[:, 0] if encoded.shape[1] == 1 else encoded.argmax(axis=1)
        if np.ndim(labels) and len(places) != rows:
            raise ValueError(
                f"target: expected one label, or one for each of the {rows} rows of X, got "
                f"{len(places)}"
            )
        return np.broadcast_to(places, rows).astype(np.int64)

    def blame(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        want: Collection[str] = ("losses", "nodes", "inputs", "weights", "gradient_norms"),
    ) -> blame.Blame:
        """Ask who is at fault for the guesses: the error signals and gradients, kept.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data.
        y : {array-like, sparse matrix} of shape (n_samples,) or (n_samples, n_outputs)
            Targets, as for ``fit``.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights; they matter to ``weights`` and ``biases`` alone.
        want : collection of str
            Any of ``"losses"``, ``"nodes"``, ``"inputs"``, ``"weights"`` (with the biases) and
            ``"gradient_norms"``, which are the default, ``"hidden"`` and ``"slopes"``; only what
            is named is kept.

        Returns
        -------
        culpa.Blame
            Of the core's loss: the mean over the outputs of an example, without L2.
        """
        model = self.to_sequential()
        rows = self._rows(X)
        encoded = self._encoded(y)
        if model.loss.task == "classes":
            encoded = encoded.argmax(axis=1)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, rows)
        with own_threads(self.n_threads):
            answer = model.blame(rows, encoded, sample_weight=sample_weight, want=want)
        names = columns.column_names(X)
        answer.feature_names = None if names is None else tuple(names)
        return answer

    def attribute(self, X: Any, *, target: Any = None, **options: Any) -> Attribution:
        """Ask how much each input did to one output, for each example.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The input data.
        target : label or array-like of shape (n_samples,), default=None
            What to explain, for all rows or for each: of a classifier a label, by default the
            guess where there are several classes, and ``classes_[1]`` where there are two. Their
            only output speaks for ``classes_[1]``; asked about ``classes_[0]``, all is of minus
            that output. With several outputs or in regression the index of an output, by default
            the only one.
        **options
            Of :meth:`culpa.Sequential.attribute`: ``method``, ``baseline``, ``steps``, ...;
            ``baseline``, ``background`` and ``noise`` may be of any dtype that ``fit`` takes.

        Returns
        -------
        culpa.Attribution
            Attributions of the last layer's output before softmax, logistic or exp.
        """
        model = self.to_sequential()
        compared = {name: options.get(name) for name in ("baseline", "background", "noise")}
        columns.check_beside(self._names(), X, **compared)
        rows = self._rows(X)
        options |= {name: numbers(value, name) for name, value in compared.items()}
        two = model.loss.task == "binary" and model.output_size == 1
        places: NDArray[np.int64] | None = None
        if target is not None and (two or model.loss.task == "classes"):
            places = target = self._places(target, rows.shape[0])
        elif two:
            places = np.full(rows.shape[0], len(self.classes_) - 1)
        with own_threads(self.n_threads):
            answer = model.attribute(rows, target=None if two else target, **options)
        if two and places is not None:
            answer.target = places
            _of_minus(answer, places == 0)
        if two or model.loss.task == "classes":
            answer.target_labels = self.classes_[answer.target]
        names = columns.column_names(X)
        answer.feature_names = None if names is None else tuple(names)
        return answer


def _of_minus(answer: Attribution, rows: NDArray[np.bool_]) -> None:
    """Turn some rows of an answer about f into those about -f; errors of sums stay the same."""
    arrays = [answer.values, answer.output, answer.baseline_output, *(answer.nodes or [])]
    for array in arrays:
        if array is not None:
            array[rows] = -array[rows]
