"""MLPClassifier and MLPRegressor: scikit-learn's parameters, and more."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
import sklearn.neural_network
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_array

from culpa.data import labels
from culpa.parts.losses import MAE, MSE, BinaryCrossEntropy, CrossEntropy, Huber, Poisson, Quantile
from culpa.sklearn.answers import numbers
from culpa.sklearn.network import Objective
from culpa.sklearn.perceptron import CONSTRAINTS, Perceptron, is_finite
from culpa.studies.label_errors import LabelErrors, find_label_errors

__all__ = ["MLPClassifier", "MLPRegressor"]

Array = NDArray[Any]


class MLPClassifier(Perceptron, sklearn.neural_network.MLPClassifier):
    """Multi-layer perceptron classifier, trained by culpa's core.

    The first row of parameters, all attributes and methods are those of
    :class:`sklearn.neural_network.MLPClassifier`, of which this is a subclass: see there. The
    others, by keyword, default to scikit-learn's behaviour.

    Parameters
    ----------
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, \
power_t, max_iter, shuffle, random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, \
early_stopping, validation_fraction, beta_1, beta_2, epsilon, n_iter_no_change, max_fun
        As in scikit-learn. ``activation`` takes all of culpa's names too, a
        :class:`culpa.Activation`, or a list with one for each hidden layer.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class, times the sample weight, and as that within a batch alone (see
        Notes). "balanced" weighs a class by ``n_samples / (n_classes * count)`` of the samples
        trained on: what early stopping holds out does not count. Validation, by the own split or
        by `X_val`, is scored by sample weights, without class weights.
    label_smoothing : float, default=0.0
        s in [0, 1): targets become ``(1 - s) t + s / n_classes`` (Szegedy et al. 2016), of a
        binary or multilabel output ``(1 - s) t + s / 2``.
    dropout : float or list of float, default=0.0
        Rate of inverted dropout after each hidden layer, while the stochastic solvers train.
    optimizer : str, culpa optimizer or None, default=None
        As for :meth:`culpa.Sequential.fit`, such as ``"adamw"`` or ``culpa.AdamW(1e-3)``: takes
        the place of the stochastic solver, of learning_rate_init and, by its weight_decay, of
        alpha. ``learning_rate``'s schedules then act on it too.
    schedule : str, culpa schedule or None, default=None
        Factor on the learning rate by step, such as ``"cosine"`` or ``culpa.Cosine()``; steps are
        counted from the beginning of the fit, max_iter epochs are the whole. For any stochastic
        solver.
    scoring : str, callable or None, default=None
        What validation examples are scored by: a scorer's name or a scorer; None: accuracy.
    callbacks : function, culpa.Callback, a list of them, or None, default=None
        Called while the stochastic solvers train, with a fit that has ``model``, ``history``,
        ``epoch``, ``epochs``, ``step``, ``steps_per_epoch`` and ``stop()``; functions after each
        epoch. (scikit-learn's own go to ``set_callbacks``.)
    progress : bool, default=False
        Show a progress bar, where a terminal or notebook is watching.
    n_threads : int or None, default=None
        Threads of this estimator; None: ``culpa.get_num_threads()``. The weights do not depend on
        it, to the last bit.

    Attributes
    ----------
    validation_loss_curve_ : list of float
        Loss of the validation examples after each epoch, where there are any; without the L2 term.

    See Also
    --------
    sklearn.neural_network.MLPClassifier : Parameters, attributes and methods in full.

    Notes
    -----
    Different on purpose: L-BFGS minimises the log-loss as it is. scikit-learn clips probabilities
    in its value but not in its gradient, so that line searches give up where inputs are large.
    With the other solvers the reported loss is clipped as there. Weights fitted on float32 are
    float32, by L-BFGS too; ``sample_weight`` below 0, or 0 on all rows to train on, is refused, and
    a batch whose weights are all 0 is passed over. With ``warm_start`` and ``early_stopping``, a
    further fit that brings no better validation score puts back the weights of the best one:
    scikit-learn goes on training the very arrays that it keeps as the best, so that its last
    weights remain. A validation score that is NaN counts as no improvement, with a RuntimeWarning;
    scikit-learn takes it for progress.

    As in scikit-learn, the loss of a batch is the weighted mean of its samples' losses, so that
    sample and class weights count within a batch alone: at ``batch_size=1`` they do nothing, and
    the smaller the batches the less they do.

    Examples
    --------
    >>> import culpa
    >>> from culpa.sklearn import MLPClassifier
    >>> X, y, X_test, y_test = culpa.datasets.digits()
    >>> classifier = MLPClassifier(random_state=0, tol=1e-3).fit(X, y)
    >>> classifier.score(X_test, y_test) > 0.9
    True
    >>> blame = classifier.blame(X_test, y_test, want="losses")
    >>> blame.losses.shape
    (360,)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **sklearn.neural_network.MLPClassifier._parameter_constraints,
        **CONSTRAINTS,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        class_weight: Any = None,
        label_smoothing: float = 0.0,
        dropout: Any = 0.0,
        optimizer: Any = None,
        schedule: Any = None,
        scoring: Any = None,
        callbacks: Any = None,
        progress: bool = False,
        n_threads: int | None = None,
    ) -> None:
        super().__init__(
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            solver=solver,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            power_t=power_t,
            max_iter=max_iter,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            verbose=verbose,
            warm_start=warm_start,
            momentum=momentum,
            nesterovs_momentum=nesterovs_momentum,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            n_iter_no_change=n_iter_no_change,
            max_fun=max_fun,
        )
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.dropout = dropout
        self.optimizer = optimizer
        self.schedule = schedule
        self.scoring = scoring
        self.callbacks = callbacks
        self.progress = progress
        self.n_threads = n_threads

    def _objective(self) -> Objective:
        clips = self.label_smoothing == 0.0
        if self.out_activation_ == "softmax":
            return Objective(CrossEntropy(self.label_smoothing), clips=clips)
        outputs = np.shape(self.coefs_[-1])[1]
        return Objective(BinaryCrossEntropy(), outputs, outputs, clips)

    def _smoothed(self, y: Array) -> Array:
        s = self.label_smoothing
        if s == 0.0 or self.out_activation_ == "softmax":  # where the core smooths
            return y
        return (1.0 - s) * y + 0.5 * s

    def _decoded(self, y: Array) -> Array:
        labels: Array = self._label_binarizer.inverse_transform(y.astype(int))
        return labels

    def _encoded(self, y: Any, name: str = "y") -> Array:
        if self._label_binarizer.y_type_ == "multilabel-indicator":
            y = check_array(y, accept_sparse="csr", ensure_2d=False, dtype=None, input_name=name)
            if y.shape[1:] != self.classes_.shape:
                raise ValueError(
                    f"{name}: expected {len(self.classes_)} zeros and ones in every row, as in "
                    f"fit, got shape {y.shape}"
                )
            encoded: Array = self._label_binarizer.transform(y).astype(bool)
            return encoded
        y = labels.as_labels(y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = y.ravel()
        if y.ndim != 1:
            one_hot = y.shape[1:] == self.classes_.shape and not labels.several(y)
            mend = f"; use classes_[{name}.argmax(axis=1)]" if one_hot else ""
            raise ValueError(
                f"{name}: expected a label in every row, as in fit, got shape {y.shape}{mend}"
            )
        valid = self._encoded_if_valid(y)
        if valid is not None:
            return valid
        labels.refuse_missing(name, y)
        known = {label: place for place, label in enumerate(self.classes_.tolist())}
        given = y.tolist()
        try:
            unknown = list(dict.fromkeys(label for label in given if label not in known))
        except TypeError:  # of no kind that a label can be
            unknown = given
        if unknown:
            raise ValueError(
                f"{name}: expected labels among {self.classes_}, those of fit, got {unknown[:5]}"
            )
        return self._encoded_places(np.array([known[label] for label in given], np.int64))

    def _encoded_if_valid(self, y: Array) -> Array | None:
        classes = self.classes_
        if (
            y.dtype.kind not in "biuU"
            or y.dtype.kind != classes.dtype.kind
            or self._label_binarizer.y_type_ not in ("binary", "multiclass")
            or len(classes) < 2
        ):
            return None
        places = np.searchsorted(classes, y).clip(max=len(classes) - 1)
        if not np.array_equal(classes[places], y):
            return None
        return self._encoded_places(places)

    def _encoded_places(self, places: Array) -> Array:
        """Return classes, given by their places in `classes_`, encoded."""
        if self.n_outputs_ == 1:
            return np.asarray(places == 1).reshape(-1, 1)
        return np.asarray(places[:, None] == np.arange(len(self.classes_)))

    def _predict(self, X: Any, check_input: bool = True) -> Array:
        if self._label_binarizer.y_type_ != "multiclass":
            guesses: Array = super()._predict(X, check_input)
            return guesses
        # What the label binarizer gives, without its checks.
        places = self._forward_pass_fast(X, check_input).argmax(axis=1)
        return np.asarray(self._label_binarizer.classes_.take(places))

    def label_errors(self, X: Any, y: Any, **options: Any) -> LabelErrors:
        """Rank examples by how suspicious their labels are: :func:`culpa.find_label_errors`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The input data.
        y : array-like of shape (n_samples,)
            The labels to doubt.
        **options
            Of :func:`culpa.find_label_errors`.

        Returns
        -------
        culpa.LabelErrors
            By copies of this estimator, each fitted on a part of X; it need not be fitted itself.
        """
        return find_label_errors(self, X, y, **options)


class MLPRegressor(Perceptron, sklearn.neural_network.MLPRegressor):
    """Multi-layer perceptron regressor, trained by culpa's core.

    The first row of parameters, all attributes and methods are those of
    :class:`sklearn.neural_network.MLPRegressor`, of which this is a subclass: see there. The
    others, by keyword, default to scikit-learn's behaviour.

    Parameters
    ----------
    loss : str, default="squared_error"
        ``"squared_error"`` and ``"poisson"`` as in scikit-learn; ``"absolute_error"``,
        ``"huber"`` (with `delta`) and ``"quantile"`` (with `quantile`), the means over outputs.
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, \
power_t, max_iter, shuffle, random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, \
early_stopping, validation_fraction, beta_1, beta_2, epsilon, n_iter_no_change, max_fun
        As in scikit-learn. ``activation`` takes all of culpa's names too, a
        :class:`culpa.Activation`, or a list with one for each hidden layer.
    delta : float, default=1.0
        Where the Huber loss turns from ``error ** 2 / 2`` to linear, in the units of y.
    quantile : float, default=0.5
        In (0, 1): which quantile of y given X the quantile loss asks for.
    dropout, optimizer, schedule, scoring, callbacks, progress, n_threads
        As for :class:`MLPClassifier`; ``scoring=None`` is r2.

    Attributes
    ----------
    validation_loss_curve_ : list of float
        Loss of the validation examples after each epoch, where there are any; without the L2 term.

    See Also
    --------
    sklearn.neural_network.MLPRegressor : Parameters, attributes and methods in full.

    Notes
    -----
    What differs from scikit-learn on purpose stands in the notes of :class:`MLPClassifier`:
    ``warm_start`` with ``early_stopping``, validation scores that are NaN, weights below 0; and how
    sample weights count.

    Examples
    --------
    >>> import numpy as np
    >>> from culpa.sklearn import MLPRegressor
    >>> X = np.random.default_rng(0).normal(size=(500, 3))
    >>> y = X[:, 0] * X[:, 1]
    >>> regressor = MLPRegressor(random_state=0, max_iter=500).fit(X, y)
    >>> regressor.score(X, y) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **sklearn.neural_network.MLPRegressor._parameter_constraints,
        **CONSTRAINTS,
        "loss": [StrOptions({"squared_error", "poisson", "absolute_error", "huber", "quantile"})],
        "delta": [Interval(Real, 0, None, closed="neither")],
        "quantile": [Interval(Real, 0, 1, closed="neither")],
    }

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        delta: float = 1.0,
        quantile: float = 0.5,
        dropout: Any = 0.0,
        optimizer: Any = None,
        schedule: Any = None,
        scoring: Any = None,
        callbacks: Any = None,
        progress: bool = False,
        n_threads: int | None = None,
    ) -> None:
        super().__init__(
            loss=loss,
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            solver=solver,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            power_t=power_t,
            max_iter=max_iter,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            verbose=verbose,
            warm_start=warm_start,
            momentum=momentum,
            nesterovs_momentum=nesterovs_momentum,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            n_iter_no_change=n_iter_no_change,
            max_fun=max_fun,
        )
        self.delta = delta
        self.quantile = quantile
        self.dropout = dropout
        self.optimizer = optimizer
        self.schedule = schedule
        self.scoring = scoring
        self.callbacks = callbacks
        self.progress = progress
        self.n_threads = n_threads

    def _objective(self) -> Objective:
        outputs = np.shape(self.coefs_[-1])[1]
        match self.loss:
            case "squared_error":
                return Objective(MSE(), 0.5, 0.5 * outputs)
            case "poisson":
                return Objective(Poisson(), outputs, outputs, deviance=True)
            case "absolute_error":
                return Objective(MAE())
            case "huber":
                return Objective(Huber(self.delta))
            case _:
                return Objective(Quantile(self.quantile))

    def _decoded(self, y: Array) -> Array:
        return y

    def _encoded_if_valid(self, y: Array) -> Array | None:
        return y if y.dtype.kind in "iuf" and is_finite(y) else None

    def _encoded(self, y: Any, name: str = "y") -> Array:
        y = labels.as_labels(y)
        if y.dtype.kind == "O":
            labels.refuse_missing(name, y, "a number")
        targets: Array = np.asarray(numbers(y, name))
        return targets if targets.ndim == 2 else targets.reshape(-1, 1)
