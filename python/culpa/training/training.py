"""Training: one fit as a row of chunks that the core works through.

The core gets a chunk of steps and comes back when it is done or 50 ms have passed; between chunks
Python draws the progress bar, notices Ctrl-C and runs callbacks. Where chunks end never shows in
the result.
"""

from __future__ import annotations

import math
import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from culpa import _checks, _core, data
from culpa.data import columns, target_size
from culpa.data.examples import Examples, measure_alike, split_rows, validation_examples
from culpa.network.network import Network, Snapshot
from culpa.parts.optimizers import Adam, as_optimizer
from culpa.parts.privacy import check_examples, check_privacy
from culpa.parts.schedules import as_schedule
from culpa.training import monitor
from culpa.training.accounting import Account
from culpa.training.callbacks import as_callbacks
from culpa.training.history import History
from culpa.training.options import Options
from culpa.training.progress import Reporter, make_reporter
from culpa.training.rates import checked_factors
from culpa.training.stopping import EarlyStopping, as_early_stopping

__all__ = ["CHUNK_SECONDS", "MOST_ROWS", "DivergedError", "Training"]

ANEW = "; to train on other columns, build a new model, or set feature_names to None"
CHUNK_SECONDS = 0.05
MOST_ROWS = 2_000_000  # of a chunk


class DivergedError(ArithmeticError):
    """The loss became NaN or infinite; the model holds the best weights that it had."""


class Presented(NamedTuple):
    """Examples in the order in which batches brought them, before each batch's update."""

    rows: NDArray[np.int64]
    """Of X, (m,)."""
    losses: NDArray[np.float64]
    """Each example's own loss, (m,), unweighted."""
    scores: NDArray[np.float64]
    """1 where the guess is right, 0 where not; of several binary outputs the fraction."""


class Training:
    """One fit under way; callbacks receive it.

    Attributes
    ----------
    model : Sequential
        The model in training; predict and evaluate work meanwhile.
    architecture : Architecture
        What the model is, with its number of inputs.
    history : History
        Rows of the epochs completed.
    epoch, epochs : int
        Index of the current epoch, and how many are planned.
    step, steps_per_epoch : int
        Steps done in this fit, and in each epoch.
    feature_names : list of str, or None
        The columns of X where it was a pandas or polars frame with named ones.
    """

    def __init__(
        self,
        network: Network,
        model: Any,
        X: Any,
        y: Any,
        options: Options,
    ) -> None:
        self.epochs = _checks.integer("epochs", options.epochs, 0)
        batch_size = _checks.integer("batch_size", options.batch_size, 1)
        self.clip_norm = 0.0
        if options.clip_norm is not None:
            self.clip_norm = _checks.number("clip_norm", options.clip_norm, 0.0, open_low=True)
        split = _checks.fraction("validation_split", options.validation_split)
        self.stopping = as_early_stopping(options.early_stopping)
        schedule, optimizer = options.schedule, options.optimizer
        self.schedule = as_schedule("constant" if schedule is None else schedule)
        if optimizer is None:
            optimizer = network.optimizer or Adam(1e-3)
        self.optimizer = as_optimizer(optimizer)
        self.callbacks = as_callbacks(options.callbacks)
        self.privacy = privacy = options.privacy
        if privacy is not None:
            check_privacy(
                privacy,
                options.sample_weight,
                options.class_weight,
                options.clip_norm,
                options.shuffle,
            )

        # Everything is checked before the network is touched: one that knows no input size yet gets
        # the core that is made here in begin().
        described = network.architecture
        self.feature_names = columns.column_names(X)
        self.examples = Examples(
            described,
            X,
            y,
            options.sample_weight,
            feature_names=self.feature_names,
            columns_mend=ANEW,
        )
        x = self.examples.x
        self.core = network.core if network.is_built else network.initial_core(x.shape[1])
        self.architecture = described = described.with_inputs(x.shape[1])
        self.rows, held_out = split_rows(
            described.seed, len(x), options.rows, split, options.validation_data
        )
        if privacy is not None and options.rows is not None:
            check_examples(options.rows)
        self.validation: Examples | None = None
        if held_out is not None:
            self.validation = self.examples.part(held_out, " (validation part)")
        elif options.validation_data is not None:
            self.validation = validation_examples(
                described, options.validation_data, self.feature_names
            )
        if held := self.validation:
            measure_alike(self.examples, held)
        self._weigh_classes(options.class_weight)  # not of what is validated on
        self._score_scale = self.examples.score_scale(self.rows)
        scales = {"r2": self._score_scale, "val_r2": held.score_scale() if held else None}
        self.monitor = monitor.choose_key(self.stopping, self.examples.metric, validated=bool(held))
        monitor.check_measurable(self.monitor, scales)
        if privacy is not None and self.stopping and not self.monitor.startswith("val_"):
            raise ValueError(
                "early_stopping: expected validation data beside privacy, for what the training "
                f"data decide is not covered; got monitor {self.monitor!r}"
            )

        self.model = model
        self.network = network
        n = len(self.rows) if self.rows is not None else len(x)
        self.shuffle = bool(options.shuffle)
        self.batch_size = min(batch_size, n)
        self.offsets = np.append(np.arange(0, n, self.batch_size), n).astype(np.int64)
        self.steps_per_epoch = len(self.offsets) - 1
        self.total_steps = self.steps_per_epoch * self.epochs
        self.n_examples = n
        self._private: dict[str, Any] = {}  # what the core is told of privacy
        self._account: Account | None = None
        self._steps_before = self.core.steps
        if privacy is not None:
            self._account = Account(privacy, self.batch_size / n)
            self._private = {
                "example_clip": privacy.max_grad_norm,
                "noise": privacy.noise_multiplier * privacy.max_grad_norm,
                "divisor": float(self.batch_size),
                "noise_seed": privacy._seed(),
            }
        self._validation_core: _core.ExampleArrays | None = None
        if held is not None:  # prepared once, evaluated each epoch
            self._validation_core = held.for_core(score_scale=scales["val_r2"])

        self.history = History()
        self._begun: Snapshot | None = None  # until it begins
        self.epoch = 0
        self.step = 0
        self._in_epoch = 0
        self._stop: str | None = None
        self._best: NDArray[Any] | None = None
        self._best_value: float | None = None
        self._waited = 0
        self._met_nan = False
        self._rates = self._epoch_rates()  # of a schedule of the user's own, checked here
        # Each example's own loss and score by its position in the epoch; NaN: not presented yet.
        self._keeps_examples = any(callback.wants_examples for callback in self.callbacks)
        self._presented = np.empty((2, 0))
        self._records: dict[str, Any] = {}  # what the core is told of them
        self._epoch_order: NDArray[np.int64] | None = None
        self._verbose = options.verbose
        self.reporter = Reporter()
        for callback in self.callbacks:
            callback.check(self)

    def _weigh_classes(self, class_weight: Any) -> None:
        examples, described = self.examples, self.architecture
        by_class = data.class_weights(
            class_weight, examples.targets, described.loss, described.output_size, self.rows
        )
        own = examples.weights
        by_class = data.check_weights("class_weight", by_class, len(examples.x))
        data.check_trained({"sample_weight": own, "class_weight": by_class}, self.rows)
        if by_class is not None:
            weights = by_class if own is None else own * by_class
            examples.weights = data.check_weights("class_weight", weights, len(weights))

    def begin(self) -> None:
        """Touch the network for the first time: all that could be wrong has been checked."""
        network = self.network
        changes = self.optimizer != network.optimizer
        self._history_before = self.model.history
        self._begun = network.snapshot(
            self.core, moments=changes or isinstance(self.examples.x, np.memmap)
        )
        network.attach(self.core, self.examples.x.shape[1])
        self.history.privacy = self._account
        self.model.history = self.history
        if changes:
            self.core.set_optimizer(self.optimizer.for_core())
        network.optimizer = self.optimizer
        self.reporter = make_reporter(self._verbose, self)
        with _core.lend(network.claim):
            for callback in self.callbacks:
                callback.on_fit_begin(self)
        if network.architecture.feature_names is None:
            network.name_features(self.feature_names)
        network.saw_inputs = True

    def take_back(self) -> None:
        """Leave the model as it was, where the core refused to take the first step."""
        begun = self._begun
        if begun is None or self.step > 0:
            return
        changed = self.optimizer is self.network.optimizer and begun.optimizer != self.optimizer
        self.network.restore(begun, numbers=changed)
        self.model.history = self._history_before

    # The chunks

    def next_job(self, seconds: float, most_rows: int = MOST_ROWS) -> _core.Job | None:
        """Return the next chunk, of at most so many seconds, or None once training has ended."""
        if self._stop is not None or self.epoch >= self.epochs or self.steps_per_epoch == 0:
            return None
        if self._in_epoch == 0:
            self._begin_epoch()
        first = self._in_epoch
        # The core checks a chunk's part of the order each time: no longer than it can use.
        end = min(self.steps_per_epoch, first + max(1, most_rows // self.batch_size))
        for callback in self.callbacks:
            if callback.every_steps:  # stop exactly where it runs next
                to_next = callback.every_steps - self.step % callback.every_steps
                end = min(end, first + to_next)
        return _core.Job(
            self._epoch_examples,
            offsets=self.offsets[first : end + 1],
            learning_rates=self._rates[first:end],
            clip_norm=self.clip_norm,
            seconds=seconds,
            losses=self._sums[0, first:end],
            weight_sums=self._sums[1, first:end],
            scores=self._sums[2, first:end],
            **self._private,
            **self._records,
        )

    def _begin_epoch(self) -> None:
        described, epochs = self.architecture, self.network.epochs
        order = self.rows
        if self.privacy is not None and self.privacy.sampling == "poisson":
            drawn, self.offsets = _core.poisson_batches(
                self.n_examples,
                self.batch_size / self.n_examples,
                self._private["noise_seed"],
                epochs * self.steps_per_epoch,
                self.steps_per_epoch,
            )
            order = drawn if self.rows is None else self.rows[drawn]
        elif self.shuffle:
            shuffled = _core.permutation(self.n_examples, described.seed, 0, epochs)
            order = shuffled if self.rows is None else self.rows[shuffled]
        self._epoch_order = order
        self._epoch_examples = self.examples.for_core(order, self._score_scale)
        if self._keeps_examples:
            n = len(self.examples.x) if order is None else len(order)
            self._presented = np.full((2, n), np.nan)
            self._records = {
                "example_losses": self._presented[0],
                "example_scores": self._presented[1],
            }
        self._rates = self._epoch_rates()
        self._sums = np.zeros((3, self.steps_per_epoch))
        self._epoch_began = time.perf_counter()

    def _epoch_rates(self) -> NDArray[np.float64]:
        """Return the learning rate of each step of the current epoch."""
        steps = np.arange(self.steps_per_epoch, dtype=np.float64)
        return self.optimizer.learning_rate * checked_factors(
            self.schedule,
            steps + self.epoch * self.steps_per_epoch,
            self.total_steps,
            self.network.epochs + steps / max(self.steps_per_epoch, 1),
        )

    def take_result(self, result: tuple[int, str, int]) -> None:
        """Take note of what a chunk did; run what is due."""
        done, stop, row = result
        self._in_epoch += done
        self.step += done
        self._count_private_steps()
        if stop == "not_finite":
            assert self._begun is not None
            self.network.restore(self._begun)
            self.model.history = self._history_before
            self.examples.raise_not_finite(row)
        if stop == "diverged":
            self._diverge()
        for callback in self.callbacks:
            if callback.every_steps and done and self.step % callback.every_steps == 0:
                with _core.lend(self.network.claim):
                    callback.on_step(self)
        if self._in_epoch == self.steps_per_epoch:
            self._end_epoch()
        self.reporter.update()

    def running(self) -> tuple[float, float]:
        """Return loss and metric of the current epoch so far."""
        loss, weight, score = self._sums[:, : self._in_epoch].sum(axis=1)
        if weight == 0:
            return math.nan, math.nan
        if self.examples.metric == "r2":  # scaled to the part of the epoch that is done
            score *= self.n_examples / max(self.offsets[self._in_epoch], 1)
        return loss / weight, self.examples.score(score, weight)

    def presented(self) -> Presented:
        """Return the examples that the current epoch has presented so far, for callbacks.

        Kept where a callback's `wants_examples` says so, else none are there. `on_fit_end` sees
        those of an epoch that was broken off, to the last batch, whatever broke it.
        """
        positions = np.flatnonzero(np.isfinite(self._presented[0]))
        order = self._epoch_order
        rows = positions if order is None else order[positions]
        return Presented(rows, *self._presented[:, positions])

    @property
    def progress(self) -> float:
        """Fraction of the current epoch that is done."""
        return self._in_epoch / max(self.steps_per_epoch, 1)

    def stop(self, reason: str = "callback") -> None:
        """Ask training to end after the current chunk."""
        self._stop = reason

    def _end_epoch(self) -> None:
        trained = time.perf_counter()
        loss, metric = self.running()
        row = {"loss": loss, self.examples.metric: metric}
        if not np.isfinite(self.core.parameters()).all():
            self._diverge()
        if self.validation is not None and self._validation_core is not None:
            measured = self.validation.evaluate(self.core, self._validation_core)
            row |= {f"val_{key}": value for key, value in measured.items()}
        row["learning_rate"] = float(self._rates[-1])
        row["seconds"] = time.perf_counter() - self._epoch_began
        row["examples_per_second"] = self.n_examples / max(trained - self._epoch_began, 1e-9)
        if self._account is not None and (epsilon := self._account.epsilon) is not None:
            row["epsilon"] = epsilon
        self.history.append(row)
        self._note_best(row[self.monitor])
        self.network.epochs += 1
        with _core.lend(self.network.claim):
            for callback in self.callbacks:
                callback.on_epoch_end(self)
        self.reporter.epoch_end(row)
        self.epoch += 1
        self._in_epoch = 0
        self._presented = np.empty((2, 0))

    def _count_private_steps(self) -> None:
        if self._account is not None:  # not by `step`: Ctrl-C may come before a chunk's report
            self._account.steps = self.core.steps - self._steps_before

    def _note_best(self, value: float) -> None:
        rule = self.stopping or EarlyStopping()
        if self.stopping and not self._met_nan:
            self._met_nan = monitor.warn_of_nan(self.monitor, value, self.epoch, rule.patience)
        if rule.better(self.monitor, value, self._best_value):
            self._best_value = value
            self._best = self.core.parameters().copy()
            self.history.best_epoch = self.history.epochs - 1
            self._waited = 0
        else:
            self._waited += 1
            if self.stopping is not None and self._waited >= self.stopping.patience:
                self.stop("early stopping")

    def _diverge(self) -> None:
        """Put back weights that work, and raise.

        The epoch's loss was measured while the weights moved, so the weights at its end may already
        be lost: they are tried on the examples, beside those from before the fit.
        """
        self.network.forget_moments()
        assert self._begun is not None
        before = self._begun.parameters
        candidates = [(before, "those it had before fit")]
        if self._best is not None and self.privacy is None:  # it was chosen by the data
            candidates.append((self._best, f"those of its best epoch, {self.history.best_epoch}"))
        judge = self.validation or self.examples
        kept, least = candidates[0], math.inf
        for candidate in candidates:
            self.core.set_parameters(candidate[0])
            try:
                loss = judge.evaluate(self.core)["loss"]
            except ValueError:  # a memory map with NaN in it, too
                break
            if loss < least:
                kept, least = candidate, loss
        self.core.set_parameters(kept[0])
        if kept[0] is before:
            self.network.architecture = self._begun.architecture.with_inputs(self.network.inputs)
        done = min(self._in_epoch, self.steps_per_epoch - 1)
        raise DivergedError(
            f"the loss became NaN or infinite in epoch {self.epoch}, step {self._in_epoch} of "
            f"{self.steps_per_epoch}; the model keeps its weights: {kept[1]}. "
            f"{target_size.advice(self.examples)}Lower the learning rate (now "
            f"{self._rates[done]:g}), scale the inputs (input_scale) or pass clip_norm=1.0"
        )

    def finish(self) -> History:
        """Put back the best weights where asked; say why training ended."""
        self.history.stopped = self._stop
        if self.stopping is not None and self.stopping.restore_best and self._best is not None:
            self.core.set_parameters(self._best)
        return self.history

    def close(self) -> None:
        """Run what runs however training ended."""
        self._count_private_steps()
        if "epsilon" in self.history and self._account and (epsilon := self._account.epsilon):
            self.history.amend({"epsilon": epsilon})
        self.reporter.close()
        with _core.lend(self.network.claim):
            for callback in self.callbacks:
                callback.on_fit_end(self)
