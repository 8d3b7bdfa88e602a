"""What both estimators change in scikit-learn's perceptrons: the seams where numbers are crunched.

Validation, labels, tags, metadata routing and the order of random draws are scikit-learn's own
code; that is why one minor release of it is required. The core trains, guesses and gives the
gradients for L-BFGS.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import _fit_context
from sklearn.callback import CallbackSupportMixin
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.neural_network._base import ACTIVATIONS as OUTPUT_ACTIVATIONS
from sklearn.utils import compute_sample_weight
from sklearn.utils._param_validation import Interval, InvalidParameterError, StrOptions
from sklearn.utils.validation import _check_sample_weight, validate_data

from culpa import _aliases, data
from culpa.data import rounding
from culpa.machine.threads import own_threads
from culpa.parts.activations import ACTIVATIONS, Activation
from culpa.parts.layers import Dropout
from culpa.parts.optimizers import OPTIMIZERS, Optimizer, as_optimizer
from culpa.parts.schedules import SCHEDULES, Schedule
from culpa.sklearn.answers import Answers
from culpa.sklearn.fitting import Fit, HeldOut
from culpa.sklearn.network import EstimatorNetwork, Objective, architecture_of, as_rows
from culpa.sklearn.pace import Pace
from culpa.training.callbacks import Callback

__all__ = ["CONSTRAINTS", "Perceptron", "is_finite"]

Array = NDArray[Any]

# Of the parameters that scikit-learn does not have, or has with fewer values.
CONSTRAINTS: dict[str, list[Any]] = {
    "activation": [StrOptions({"logistic", *ACTIVATIONS}), Activation, "array-like"],
    "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
    "optimizer": [Optimizer, StrOptions(set(OPTIMIZERS)), None],
    "schedule": [Schedule, StrOptions(set(SCHEDULES)), None],
    "scoring": [StrOptions(set(get_scorer_names())), callable, None],
    "callbacks": [callable, Callback, list, tuple, None],
    "progress": ["boolean"],
    "n_threads": [Interval(Integral, 1, None, closed="left"), None],
}

# What of them has names that differ between libraries.
NAMED = {
    "activation": ("logistic", *ACTIVATIONS),
    "optimizer": tuple(OPTIMIZERS),
    "schedule": tuple(SCHEDULES),
}

# What the core's network depends on, beside the shapes of the weights.
SHAPING = (
    "activation",
    "solver",
    "dropout",
    "_dropout_seed",
    "out_activation_",
    "label_smoothing",
    "loss",
    "delta",
    "quantile",
)


def _frozen(value: Any) -> Any:
    """Return a parameter so that it can be told later whether it has changed."""
    single = value is None or isinstance(value, (str, float, int, np.generic, Activation))
    return value if single else tuple(value)


def is_finite(array: Array) -> bool:
    """Say whether all numbers are finite; False where their sum is too large, too."""
    with np.errstate(over="ignore", invalid="ignore"):
        return math.isfinite(array.sum())


class Perceptron(Answers, CallbackSupportMixin):
    """Mixed in before one of scikit-learn's perceptrons."""

    _optimizer: Pace
    _core: tuple[list[Any], EstimatorNetwork]

    def _validate_params(self) -> None:
        """Check the parameters as scikit-learn does; say what a name from elsewhere is here."""
        try:
            super()._validate_params()
        except InvalidParameterError as error:
            for name, valid in NAMED.items():
                value = getattr(self, name)
                mend = _aliases.mend_name(name, value, valid) if isinstance(value, str) else ""
                if mend and value not in valid and f"{name!r} parameter" in str(error):
                    raise InvalidParameterError(f"{error}; {mend}") from None
            raise

    # What the parameters mean to the core

    def _hidden(self, name: str, value: Any) -> list[Any]:
        """Return a parameter's value for each hidden layer, of one for all or a list."""
        hidden = len(self.coefs_) - 1
        if isinstance(value, (str, Activation)) or np.isscalar(value):
            return [value] * hidden
        values = list(value)
        if len(values) != hidden:
            raise ValueError(
                f"{name}: expected one value for each of the {hidden} hidden layers, or one for "
                f"all, got {len(values)}"
            )
        return values

    def _activations(self) -> list[Activation]:
        """Return the hidden layers' activations."""
        return [
            value
            if isinstance(value, Activation)
            else Activation("sigmoid" if value == "logistic" else value)
            for value in self._hidden("activation", self.activation)
        ]

    def _dropout(self) -> list[float]:
        """Return the hidden layers' dropout rates."""
        return [Dropout(rate).rate for rate in self._hidden("dropout", self.dropout)]

    def _objective(self) -> Objective:
        raise NotImplementedError  # the estimators know

    def _smoothed(self, y: Array) -> Array:
        """Return encoded targets, changed where a parameter says so."""
        return y

    def _decoded(self, y: Array) -> Array:
        """Return encoded targets as a user would have given them."""
        return y

    def _network(self) -> EstimatorNetwork:
        """Return the core's network, with the weights that the estimator has now."""
        known: tuple[list[Any], EstimatorNetwork] | None = self.__dict__.get("_core")
        settings = [_frozen(self.__dict__.get(name)) for name in SHAPING]
        # A guess about one row takes less time than to work out its network.
        if (
            known is not None
            and known[0] == settings
            and known[1].core.holds(self.coefs_, self.intercepts_)
        ):
            return known[1]
        weights = [*self.coefs_, *self.intercepts_]
        single = all(np.asarray(weight).dtype == np.float32 for weight in weights)
        dtype = "float32" if single else "float64"
        dropout, objective = tuple(self._dropout()), self._objective()
        # A line search fails where the value stops but the gradient goes on: L-BFGS has no limit.
        clips = objective.clips and self.solver != "lbfgs"
        architecture = architecture_of(
            widths=(len(self.coefs_[0]), *(np.shape(weight)[1] for weight in self.coefs_)),
            activations=self._activations(),
            dropout=dropout,
            loss=objective.loss,
            dtype=dtype,
            seed=self.__dict__.get("_dropout_seed", 0) if any(dropout) else 0,
        )
        limit = -math.log(np.finfo(dtype).eps) if clips else 0.0
        new = functools.partial(EstimatorNetwork, architecture, loss_limit=limit)
        if known is None:  # of several threads that come at once, all take one's
            known = self.__dict__.setdefault("_core", (settings, new()))
        network = known[1]
        if (network.architecture, network.loss_limit) != (architecture, limit):
            if "_optimizer" in self.__dict__:
                self._optimizer = network.remember(self._optimizer)
            network = new()
        if not network.load(self.coefs_, self.intercepts_):  # another thread is training it
            network = new()
            network.load(self.coefs_, self.intercepts_)
            return network
        if known != (settings, network):
            self._core = settings, network
        return network

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        known = state.pop("_core", None)
        if known is not None and "_optimizer" in state:
            state["_optimizer"] = known[1].remember(state["_optimizer"])
        return state

    # Training

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Any:
        """Fit the model to data matrix X and target(s) y.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data; float32 stays float32, all else becomes float64. Sparse rows are never
            made dense.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels in classification, real numbers in regression.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights. The loss of a batch is the weighted mean of its samples' losses, so that
            they count within a batch alone: at ``batch_size=1`` they do nothing.
        X_val, y_val, sample_weight_val : array-like, default=None
            Validation data, scored after each epoch, by these weights and without class weights.
            Early stopping uses them in place of a part of X. Only for ``solver='sgd'`` and
            ``'adam'``.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val, y_val: expected both or neither, got one of them")
        if X_val is not None and self.solver == "lbfgs":
            raise ValueError("X_val: expected None with solver='lbfgs', which has no epochs")
        self._validation_given = None if X_val is None else (X_val, y_val, sample_weight_val)
        root = None
        if "_skl_callbacks" in self.__dict__ or "_parent_callback_ctx" in self.__dict__:
            epochs = 0 if self.solver == "lbfgs" else self.max_iter
            root = self._init_callback_context(max_subtasks=epochs)
            root.call_on_fit_task_begin(estimator=self, X=X, y=y)
        try:
            self._fit(X, y, sample_weight=sample_weight, incremental=False)
        finally:
            del self._validation_given
        if root is not None:
            root.call_on_fit_task_end(estimator=self, X=X, y=y, reconstruction_attributes=dict)
        return self

    def _fit(self, X: Any, y: Any, sample_weight: Any = None, incremental: bool = False) -> Any:
        with own_threads(self.n_threads), rounding.once():
            return super()._fit(X, y, sample_weight=sample_weight, incremental=incremental)

    def _initialize(self, y: Array, layer_units: Sequence[int], dtype: Any) -> None:
        super()._initialize(y, layer_units, dtype)
        self.__dict__.pop("validation_loss_curve_", None)
        self.__dict__.pop("_dropout_seed", None)

    def _init_coef(self, fan_in: int, fan_out: int, dtype: Any) -> Any:
        """Draw a layer's first weights as scikit-learn does, by the activation of the layer."""
        given = self.activation
        if not isinstance(given, (str, Activation)):
            values = list(given) or ["identity"]
            given = values[min(len(self.coefs_), len(values) - 1)]
        name = given.name if isinstance(given, Activation) else given
        bound = np.sqrt((2.0 if name in ("logistic", "sigmoid") else 6.0) / (fan_in + fan_out))
        weight = self._random_state.uniform(-bound, bound, (fan_in, fan_out))
        bias = self._random_state.uniform(-bound, bound, fan_out)
        return weight.astype(dtype, copy=False), bias.astype(dtype, copy=False)

    def _fit_stochastic(
        self,
        X: Any,
        y: Array,
        sample_weight: Array | None,
        activations: Any,
        deltas: Any,
        coef_grads: Any,
        intercept_grads: Any,
        layer_units: Any,
        incremental: bool,
    ) -> None:
        if any(self._dropout()) and "_dropout_seed" not in self.__dict__:
            self._dropout_seed = int(self._random_state.randint(2**31 - 1))
        Fit(self, X, y, sample_weight, incremental).run()

    def _weighs_classes(self) -> bool:
        return self.__dict__.get("class_weight") is not None

    def _weighed_by_class(
        self,
        y: Array,
        sample_weight: Array | None,
        incremental: bool,
        rows: NDArray[np.int64] | None = None,
    ) -> Array | None:
        """Return the sample weights, times those of the classes in these rows (None: in all)."""
        if sample_weight is not None and sample_weight.min() < 0:
            raise ValueError(
                f"sample_weight: expected numbers of at least 0, got {sample_weight.min()}"
            )
        class_weight = self.__dict__.get("class_weight")
        if class_weight is None:
            return sample_weight
        if incremental and isinstance(class_weight, str):
            raise ValueError(
                "class_weight: expected weights per class with partial_fit, got 'balanced'; use "
                "sklearn.utils.compute_class_weight on all of y and pass a dict"
            )
        known = rows if isinstance(class_weight, str) else None  # labels held out stay unknown
        weights: Array = compute_sample_weight(class_weight, self._decoded(y), indices=known)
        data.check_trained({"sample_weight": sample_weight, "class_weight": weights}, rows)
        return weights if sample_weight is None else weights * sample_weight

    def _paced(self, incremental: bool) -> Pace:
        """Return the pace of the last partial_fit, or a new one."""
        if not incremental or "_optimizer" not in self.__dict__:
            given = None if self.optimizer is None else as_optimizer(self.optimizer)
            names = {"sgd": ("momentum",), "adam": ("beta_1", "beta_2", "epsilon")}[self.solver]
            settings = {"rule": self.solver} | {name: getattr(self, name) for name in names}
            if self.solver == "sgd":
                settings["nesterov"] = self.nesterovs_momentum
            self._optimizer = Pace(
                settings if given is None else given,
                self.learning_rate_init if given is None else given.learning_rate,
                "constant" if given is None and self.solver == "adam" else self.learning_rate,
                self.power_t,
            )
        return self._optimizer

    def _given_validation(self) -> HeldOut | None:
        """Return the validation data that fit was given, checked."""
        given = self.__dict__.get("_validation_given")
        if given is None:
            return None
        X, y, sample_weight = given
        X, y = validate_data(
            self,
            X,
            y,
            reset=False,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            dtype=(np.float64, np.float32),
        )
        encoded = self._encoded(y, "y_val")
        if encoded.shape[1] != self.n_outputs_:
            raise ValueError(
                f"y_val: expected {self.n_outputs_} outputs as in y, got {encoded.shape[1]}"
            )
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
        return HeldOut(X, y, encoded, sample_weight)

    def _score(self, X: Any, y: Array, sample_weight: Array | None = None) -> float:
        """Score validation examples by `scoring`, or as scikit-learn's perceptrons do."""
        if self.scoring is None:
            return float(super()._score(X, y, sample_weight=sample_weight))
        if not np.isfinite(self._forward_pass_fast(X, check_input=False)).all():
            return math.nan  # as theirs: training has diverged, and scorers refuse such guesses
        judge = copy.copy(self)  # X has no feature names any more
        judge.__dict__.pop("feature_names_in_", None)
        scorer = check_scoring(judge, self.scoring)
        options = {} if sample_weight is None else {"sample_weight": sample_weight}
        return float(scorer(judge, X, y, **options))

    # L-BFGS

    def _fit_lbfgs(
        self,
        X: Any,
        y: Array,
        sample_weight: Array | None,
        activations: Any,
        deltas: Any,
        coef_grads: Any,
        intercept_grads: Any,
        layer_units: Any,
    ) -> None:
        if self.optimizer is not None:
            raise ValueError(
                f"optimizer: expected None with solver='lbfgs', got {self.optimizer!r}; leave "
                "solver out"
            )
        weights = self._weighed_by_class(y, sample_weight, False)
        rest = activations, deltas, coef_grads, intercept_grads, layer_units
        super()._fit_lbfgs(as_rows(X), y, weights, *rest)
        # L-BFGS needs float64 to tell small steps apart; what it finds has the dtype of X.
        self.coefs_ = [np.asarray(weight, X.dtype) for weight in self.coefs_]
        self.intercepts_ = [np.asarray(bias, X.dtype) for bias in self.intercepts_]

    def _backprop(
        self,
        X: Any,
        y: Array,
        sample_weight: Array | None,
        activations: Any,
        deltas: Any,
        coef_grads: Any,
        intercept_grads: Any,
    ) -> tuple[float, list[Array], list[Array]]:
        """Return the loss of all examples, L2 included, and its gradients."""
        network, objective = self._network(), self._objective()
        targets = objective.targets(self._smoothed(y))
        with network.training():
            network.take_over(self.coefs_, self.intercepts_)
            answer = network.gradient(X, targets, sample_weight)
        total = answer["weight_sum"]
        loss = answer["loss_sum"] * objective.loss_scale
        constant = objective.constant(y)
        if constant is not None:
            loss += constant.sum() if sample_weight is None else (constant * sample_weight).sum()
        loss += 0.5 * self.alpha * sum(float(np.vdot(weight, weight)) for weight in self.coefs_)
        answer["gradient"] *= objective.gradient_scale
        weights, biases = network.split_layers(answer["gradient"])
        for gradient, weight in zip(weights, self.coefs_, strict=True):
            gradient += self.alpha / total * weight
        return loss / total, weights, biases

    # Guesses

    def _is_valid(self, X: Any) -> bool:
        """Say whether scikit-learn's validation would give back X itself.

        It takes longer than many a guess and partial_fit. False: it may have to say what is wrong.
        """
        return (
            type(X) is np.ndarray
            and X.ndim == 2
            and X.dtype in (np.float64, np.float32)
            and X.shape[0] > 0
            and X.shape[1] == self.__dict__.get("n_features_in_")
            and "feature_names_in_" not in self.__dict__
            and is_finite(X)
        )

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Array]:
        """Return X and encoded y, checked by scikit-learn where there is anything to check."""
        if incremental and not reset and not self.warm_start and self._is_valid(X):
            alike = type(y) is np.ndarray and y.shape == X.shape[:1]
            encoded = self._encoded_if_valid(y) if alike else None
            if encoded is not None:
                return X, encoded
        checked: tuple[Any, Array] = super()._validate_input(X, y, incremental, reset)
        return checked

    def _encoded_if_valid(self, y: Array) -> Array | None:
        """Return targets (n,) of a partial_fit encoded, or None: scikit-learn looks at them."""
        raise NotImplementedError  # the estimators know

    def _forward_pass_fast(self, X: Any, check_input: bool = True) -> Array:
        """Return what the last layer gives: probabilities, or the response."""
        if check_input and not self._is_valid(X):
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        with own_threads(self.n_threads):
            network, rows = self._network(), as_rows(X)
            if check_input and len(rows) >= rounding.LEAST_GUESSES:
                names = self.__dict__.get("feature_names_in_")
                rounding.warn("X", rounding.drowned(rows, network.architecture.dtype), names)
            outputs = network.outputs(rows)
        # Float64 rows give float64 guesses, as those of matrix products, by float32 weights too.
        outputs = outputs.astype(np.result_type(X.dtype, outputs.dtype), copy=False)
        OUTPUT_ACTIVATIONS[self.out_activation_](outputs)
        return outputs
