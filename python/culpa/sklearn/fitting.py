"""One stochastic fit of an estimator: scikit-learn's epochs, each worked through by the core.

Draws come in scikit-learn's order (the validation split, then one shuffle an epoch), so that the
same random_state gives the same batches.
"""

from __future__ import annotations

import math
import time
import warnings
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from culpa import _core, data
from culpa._terminal import say
from culpa.data import rounding
from culpa.parts.optimizers import Optimizer
from culpa.parts.schedules import as_schedule
from culpa.sklearn.network import as_rows
from culpa.studies.forgetting import Forgetting
from culpa.studies.health.healthcheck import HealthCheck
from culpa.training.callbacks import as_callbacks
from culpa.training.history import History
from culpa.training.monitor import warn_of_nan
from culpa.training.progress import Reporter, make_reporter
from culpa.training.rates import checked_factors
from culpa.training.training import CHUNK_SECONDS, MOST_ROWS

if TYPE_CHECKING:
    from culpa.sklearn.perceptron import Perceptron

__all__ = ["Fit", "HeldOut"]

Array = NDArray[Any]


class HeldOut:
    """Validation examples, as the estimator scores them and as the core does."""

    def __init__(self, X: Any, y: Array, encoded: Array, sample_weight: Array | None) -> None:
        self.X, self.y, self.encoded, self.sample_weight = X, y, encoded, sample_weight


class Fit:
    """One fit under way; callbacks receive it, as those of Sequential receive a Training.

    Attributes
    ----------
    model : MLPClassifier or MLPRegressor
        The estimator; between epochs its weights are those of the last step.
    history : History
        ``loss``, with validation data ``val_loss`` and ``val_score``, ``learning_rate``,
        ``seconds`` and ``examples_per_second`` of the epochs completed.
    epoch, epochs : int
        Index of the current epoch, and how many there may be.
    step, steps_per_epoch : int
        Steps done in this fit, and in each epoch.
    """

    def __init__(
        self, model: Perceptron, X: Any, y: Array, sample_weight: Array | None, incremental: bool
    ) -> None:
        self.model = model
        self._incremental = incremental
        if model.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        self._rows, self._held_out = self._split(X, y, sample_weight)
        self._x = as_rows(X)
        weights = model._weighed_by_class(y, sample_weight, incremental, self._rows)
        self._weights = None if weights is None else np.ascontiguousarray(weights, np.float64)
        names = "sample_weight, class_weight" if model._weighs_classes() else "sample_weight"
        data.check_trained({names: self._weights}, self._rows)
        self._objective = model._objective()
        self._targets = self._objective.targets(model._smoothed(y))
        self._constant = self._objective.constant(y)
        self._n = self._x.shape[0] if self._rows is None else len(self._rows)
        self._offsets = self._batches()
        self._sizes = np.diff(self._offsets)

        self._network = model._network()
        self._pace = model._paced(incremental)
        # A culpa optimizer has a weight decay of its own in place of alpha.
        self._alpha = 0.0 if isinstance(self._pace.optimizer, Optimizer) else float(model.alpha)
        self._network.use_pace(self._pace, self._alpha, self._objective.gradient_scale)
        self._callbacks = as_callbacks(model.callbacks)
        for callback in self._callbacks:
            if isinstance(callback, (HealthCheck, Forgetting)):
                raise TypeError(
                    f"callbacks: expected none that needs a Sequential, got {callback!r}; pass a "
                    "function that asks fit.model.to_sequential(), or fit a Sequential"
                )
        self._context = model.__dict__.get("_callback_fit_ctx")
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._data = {"X": X, "y": lambda: model._decoded(y), "metadata": metadata}
        self._rounds = self._is_rounded(y)
        self._exact = self._exactly(y)
        if (held := self._held_out) is not None:  # prepared once, evaluated each epoch
            targets = self._objective.targets(model._smoothed(held.encoded))
            self._held_x = as_rows(held.X)
            self._validation = self._network.weighted_examples(
                self._held_x,
                targets,
                held.sample_weight,
                exact=self._exactly(held.encoded),
            )

        self.history = History()
        self.epoch = self.step = 0
        self.epochs = 1 if incremental else model.max_iter
        self.steps_per_epoch = len(self._offsets) - 1
        self._in_epoch = 0
        self._stop = False
        self._diverged = False
        self._met_nan = False
        self.reporter = Reporter()

    # Before the first epoch

    def _split(
        self, X: Any, y: Array, sample_weight: Array | None
    ) -> tuple[NDArray[np.int64] | None, HeldOut | None]:
        """Return the rows to train on (None: all), and the examples held out (None: none)."""
        model = self.model
        given = model._given_validation()
        if given is not None or not model.early_stopping:
            if given is not None and model.early_stopping:
                self._check_score(len(given.encoded))
            return None, given
        # Not of multilabel targets: most combinations of labels are too rare.
        stratify = y if is_classifier(model) and model.n_outputs_ == 1 else None
        rows, held = train_test_split(
            np.arange(X.shape[0]),
            random_state=model._random_state,
            test_size=model.validation_fraction,
            stratify=stratify,
        )
        if len(held) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' "
                "or the size of your dataset."
            )
        weights = None if sample_weight is None else sample_weight[held]
        return rows, HeldOut(X[held], model._decoded(y[held]), y[held], weights)

    def _check_score(self, rows: int) -> None:
        """Raise where the number of validation rows alone tells that all scores will be NaN."""
        if rows < 2 and not is_classifier(self.model) and self.model.scoring in (None, "r2"):
            raise ValueError(
                "X_val: expected at least 2 rows for early stopping by r2, which is NaN for one, "
                "got 1; pass more, or another scoring such as 'neg_mean_squared_error'"
            )

    def _exactly(self, y: Array) -> NDArray[np.float64] | None:
        """Return targets as they were passed, where the network's dtype rounds them too much."""
        return np.ascontiguousarray(y, np.float64).ravel() if self._rounds else None

    def _is_rounded(self, y: Array) -> bool:
        """Warn where the network's dtype rounds the spread of targets away; say whether it does."""
        if is_classifier(self.model):
            return False
        dtype, held = self._network.architecture.dtype, self._held_out
        lost = rounding.drowned(y, dtype)
        name = "y" if lost or held is None else "y_val"
        lost = lost or (rounding.drowned(held.encoded, dtype) if held is not None else [])
        rounding.warn(name, lost)
        return bool(lost)

    def _batches(self) -> NDArray[np.int64]:
        """Return where each batch begins in an epoch's order, and where the last one ends."""
        batch = self.model.batch_size
        if batch == "auto":
            batch = 200
        elif batch > self._n:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than "
                "sample size. It is going to be clipped",
                stacklevel=2,
            )
        return np.append(np.arange(0, self._n, min(int(batch), self._n)), self._n)

    # The epochs

    def run(self) -> None:
        """Train, and leave on the estimator what scikit-learn leaves there."""
        model = self.model
        if self._held_out is not None and model.validation_scores_ is None:
            model.validation_scores_ = []
        if self._held_out is not None and "validation_loss_curve_" not in model.__dict__:
            model.validation_loss_curve_ = []
        self.reporter = make_reporter(model.progress, cast(Any, self))
        try:
            for callback in self._callbacks:
                callback.on_fit_begin(cast(Any, self))
            with self._network.training():
                self._network.take_over(model.coefs_, model.intercepts_)
                self._run_epochs()
        except KeyboardInterrupt:
            self._note_weights()
            self.history.stopped = "interrupted"
            warnings.warn("Training interrupted by user.", stacklevel=2)
        finally:
            self.reporter.close()
            for callback in self._callbacks:
                callback.on_fit_end(cast(Any, self))
        unknown = self._met_nan and math.isinf(model.best_validation_score_)
        if model.early_stopping and not unknown:  # the best weights
            model.coefs_ = [weight.copy() for weight in model._best_coefs]
            model.intercepts_ = [bias.copy() for bias in model._best_intercepts]

    def _run_epochs(self) -> None:
        model, pace = self.model, self._pace
        order = np.arange(self._n)
        model.n_iter_ = 0
        for epoch in range(model.max_iter):
            self.epoch, self._in_epoch = epoch, 0
            context = self._enter_task()
            began = time.perf_counter()
            if model.shuffle:
                # What sklearn.utils.shuffle(order) gives, without its 200 us of checks.
                model._random_state.shuffle(order)
            rows = order if self._rows is None else self._rows[order]
            loss = self._train_epoch(rows)
            seconds = time.perf_counter() - began

            model.n_iter_ += 1
            model.loss_ = loss
            model.t_ += self._n
            model.loss_curve_.append(loss)
            if model.verbose:
                say(f"Iteration {model.n_iter_}, loss = {loss:.8f}")
            self._note_weights()
            self._validate()
            self._finish_epoch(loss, seconds, began)
            if self._leave_task(context):
                self._stop = True
            pace.iteration_ends(model.t_)
            if model._no_improvement_count > model.n_iter_no_change:
                what = "Validation score" if model.early_stopping else "Training loss"
                message = (
                    f"{what} did not improve more than tol={model.tol:f} for "
                    f"{model.n_iter_no_change:d} consecutive epochs."
                )
                if pace.trigger_stopping(message, model.verbose):
                    self.history.stopped = "early stopping"
                    break
                model._no_improvement_count = 0
            if self._stop:
                self.history.stopped = "callback"
                break
            if self._incremental:
                break
            if model.n_iter_ == model.max_iter:
                warnings.warn(
                    f"Stochastic Optimizer: Maximum iterations ({model.max_iter}) "
                    "reached and the optimization hasn't converged yet.",
                    ConvergenceWarning,
                    stacklevel=2,
                )

    def _train_epoch(self, rows: NDArray[np.int64]) -> float:
        """Train on all batches; return the mean of their losses, weighed by their sizes."""
        steps = self.steps_per_epoch
        sums = np.zeros((3, steps))  # of losses, weights, squared weights
        examples = self._network.weighted_examples(
            self._x, self._targets, self._weights, rows, self._exact
        )
        self._rates = rates = self._epoch_rates()
        while self._in_epoch < steps and not self._diverged:
            first = self._in_epoch
            end = min(steps, first + max(1, MOST_ROWS // int(self._offsets[1])))
            for callback in self._callbacks:
                if callback.every_steps:
                    end = min(end, first + callback.every_steps - self.step % callback.every_steps)
            done, stop, row = self._network.core.train(
                _core.Job(
                    examples,
                    offsets=self._offsets[first : end + 1],
                    learning_rates=rates[first:end],
                    seconds=CHUNK_SECONDS,
                    losses=sums[0, first:end],
                    weight_sums=sums[1, first:end],
                    squares=sums[2, first:end],
                )
            )
            self._in_epoch += done
            self.step += done
            self._pace.steps += done
            if stop == "not_finite":
                self._network.check_finite(self._x, row)
            self._diverged = stop == "diverged"
            for callback in self._callbacks:
                if callback.every_steps and done and self.step % callback.every_steps == 0:
                    self._note_weights()
                    callback.on_step(cast(Any, self))
            self.reporter.update()
        if self._diverged:  # as in scikit-learn, all is NaN from here on
            core = self._network.core
            core.set_parameters(np.full_like(core.parameters(), math.nan))
            return math.nan
        return self._epoch_loss(sums, rows)

    def _epoch_rates(self) -> NDArray[np.float64]:
        """Return the learning rate of each step of an epoch."""
        steps = np.arange(self.steps_per_epoch, dtype=np.float64) + self._pace.steps
        schedule = self.model.schedule
        if schedule is None:
            return np.full(len(steps), self._pace.learning_rate)
        total = self.steps_per_epoch * self.model.max_iter
        epochs = steps / self.steps_per_epoch
        factors = checked_factors(as_schedule(schedule), steps, total, epochs)
        return self._pace.learning_rate * factors

    def _epoch_loss(self, sums: NDArray[np.float64], rows: NDArray[np.int64]) -> float:
        losses, weights, squares = sums
        losses = losses * self._objective.loss_scale + 0.5 * self._alpha * squares
        if self._constant is not None:
            own = self._constant[rows]
            if self._weights is not None:
                own = own * self._weights[rows]
            losses += np.add.reduceat(own, self._offsets[:-1])
        means = np.divide(losses, weights, out=np.zeros_like(losses), where=weights > 0)
        loss: float = (means * self._sizes).sum() / self._n  # of NumPy's type, as theirs
        return loss

    # Between epochs

    def _note_weights(self) -> None:
        self._network.store(self.model.coefs_, self.model.intercepts_)

    def _validate(self) -> None:
        """Score the held-out examples; count the epochs without improvement."""
        model, held = self.model, self._held_out
        if held is not None:
            model.validation_loss_curve_.append(self._validation_loss(held))
        if model.early_stopping:
            assert held is not None
            waited = model._no_improvement_count
            model._update_no_improvement_count(True, held.X, held.y, held.sample_weight)
            score = model.validation_scores_[-1]
            if math.isnan(score) and math.isfinite(model.loss_):
                model._no_improvement_count = waited + 1  # scikit-learn takes NaN for progress
                if not self._met_nan:
                    patience = int(min(model.n_iter_no_change, model.max_iter))
                    warn_of_nan("the validation score", float(score), self.epoch, patience)
                    self._met_nan = True
            return
        if held is not None:
            score = model._score(held.X, held.y, sample_weight=held.sample_weight)
            model.validation_scores_.append(score)
            if model.verbose:
                say(f"Validation score: {score:f}")
        model._update_no_improvement_count(False, None, None, None)

    def _validation_loss(self, held: HeldOut) -> float:
        losses, _, row = self._network.core.evaluate(self._validation)
        self._network.check_finite(self._held_x, row)
        losses = losses * self._objective.loss_scale
        constant = self._objective.constant(held.encoded)
        if constant is not None:
            losses += constant
        return float(np.average(losses, weights=held.sample_weight))

    def _finish_epoch(self, loss: float, seconds: float, began: float) -> None:
        model = self.model
        row = {"loss": loss}
        if self._held_out is not None:
            row["val_loss"] = model.validation_loss_curve_[-1]
            row["val_score"] = float(model.validation_scores_[-1])
        row["learning_rate"] = float(self._rates[-1])
        row["seconds"] = time.perf_counter() - began
        row["examples_per_second"] = self._n / max(seconds, 1e-9)
        self.history.append(row)
        for callback in self._callbacks:
            callback.on_epoch_end(cast(Any, self))
        self.reporter.epoch_end(row)

    def _enter_task(self) -> Any:
        """Tell scikit-learn's callbacks that an epoch begins."""
        if self._context is None:
            return None
        return self._context.subcontext(task_name="epoch").call_on_fit_task_begin(
            estimator=self.model, **self._data
        )

    def _leave_task(self, context: Any) -> bool:
        """Tell them that it has ended; return whether one of them asks to stop."""
        if context is None:
            return False
        model = self.model
        return bool(
            context.call_on_fit_task_end(
                estimator=model,
                reconstruction_attributes=lambda: {
                    "coefs_": [weight.copy() for weight in model.coefs_],
                    "intercepts_": [bias.copy() for bias in model.intercepts_],
                },
                **self._data,
            )
        )

    # What callbacks and progress bars ask

    @property
    def progress(self) -> float:
        """Fraction of the current epoch that is done."""
        return self._in_epoch / max(self.steps_per_epoch, 1)

    def running(self) -> tuple[float, float]:
        """Return loss and metric of the current epoch so far: not known."""
        return math.nan, math.nan

    def stop(self, reason: str = "callback") -> None:
        """Ask training to end after the current epoch."""
        self._stop = True
