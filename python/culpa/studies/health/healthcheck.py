"""A callback that looks after a network's health while it trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from culpa import _checks, _renamed
from culpa.data import columns
from culpa.data.examples import Examples
from culpa.studies.health.diagnosis import Diagnosis, diagnose_examples, sample_examples
from culpa.studies.health.findings import Finding
from culpa.training.callbacks import Callback

if TYPE_CHECKING:
    from culpa.training.training import Training

__all__ = ["HealthCheck"]


@_renamed.refuse_old_arguments
class HealthCheck(Callback):
    """Diagnose the network at the end of epochs; training itself stays the same, bit for bit.

    Printing it gives the last diagnosis and how the error signals went. Each fit starts anew. Not
    for ``fit_many``, whose models would need one each. What it tells of data trained on with
    ``culpa.Privacy`` is not covered by that guarantee.

    Parameters
    ----------
    X, y : array_like, optional
        What to diagnose by, as for :meth:`Sequential.fit`; by default the data trained on.
    every_epochs : int, default 1
        Diagnose at the end of every so many epochs.
    max_examples : int, default 1024
        As for :func:`culpa.diagnose`; fewer, so that a check costs little beside an epoch.

    Attributes
    ----------
    diagnoses : list of Diagnosis
        One per epoch looked at; the step that is tried has the epoch's last learning rate.
    epochs : list of int
        The index in the fit of each epoch looked at.
    layer_names : tuple of str
        "dense_0", ...

    Raises
    ------
    ValueError, TypeError
        Where an argument is not as described; X and y by ``fit``, before the model is touched.

    Examples
    --------
    >>> import culpa
    >>> X, y, _, _ = culpa.datasets.digits()
    >>> model = culpa.Sequential(
    ...     [culpa.Dense(32, "relu"), culpa.Dense(10)], loss="cross_entropy", input_scale=1 / 16)
    >>> check = culpa.HealthCheck()
    >>> history = model.fit(X, y, epochs=5, callbacks=check, verbose=False)
    >>> check.signal_norms.shape, check.update_ratios.shape
    ((5, 2), (5, 2))
    >>> check.findings
    []
    """

    one_model = True
    every = _renamed.OldName()

    def __init__(
        self,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        every_epochs: int = 1,
        *,
        max_examples: int = 1024,
    ) -> None:
        if (X is None) != (y is None):
            missing, given = ("X", "y") if X is None else ("y", "X")
            raise ValueError(f"{missing}: expected it beside {given}, got None; pass both or none")
        self._data = None if X is None else (X, y)
        self.every_epochs = _checks.integer("every_epochs", every_epochs, 1)
        self._most = _checks.integer("max_examples", max_examples, 1)
        self._training: Training | None = None
        self._forget()

    def _forget(self) -> None:
        self.diagnoses: list[Diagnosis] = []
        self.epochs: list[int] = []
        self.layer_names: tuple[str, ...] = ()
        self._examples: Examples | None = None
        self._names: list[str] | None = None

    @property
    def signal_norms(self) -> NDArray[np.float64]:
        """RMS norm of each layer's error signals, (epochs looked at, layers)."""
        return self._table("signal_norm")

    @property
    def update_ratios(self) -> NDArray[np.float64]:
        """Size of a step by that of the weights, (epochs looked at, layers)."""
        return self._table("update_ratio")

    @property
    def findings(self) -> list[Finding]:
        """The last diagnosis' findings."""
        return self.diagnoses[-1].findings if self.diagnoses else []

    def _table(self, name: str) -> NDArray[np.float64]:
        rows = [[getattr(layer, name) for layer in d.layers] for d in self.diagnoses]
        return np.array(rows, np.float64).reshape(len(rows), len(self.layer_names))

    def check(self, training: Training) -> None:
        """Raise where X and y are not for this model, or another thread's fit uses this object."""
        if self._training is not None:
            raise ValueError(
                "callbacks: expected a HealthCheck of its own for each model that trains at the "
                "same time, got one for several; pass a new culpa.HealthCheck()"
            )
        if self._data is not None:
            columns.check(training.feature_names, self._data[0], "X (HealthCheck)")
            Examples(training.architecture, *self._data, None, warns_of_inputs=False)

    def on_fit_begin(self, training: Training) -> None:
        """Choose the examples to look at."""
        self._forget()
        self._training = training
        model = training.model
        if self._data is not None:
            examples = Examples(training.architecture, *self._data, None)
            self._examples = sample_examples(examples, self._most)
            self._names = columns.column_names(self._data[0])
        else:
            self._names = training.feature_names
            # A copy without weights: each example counts alike.
            self._examples = sample_examples(
                training.examples.unweighted(), self._most, training.rows
            )
        self.layer_names = tuple(key[:-7] for key in model.state_dict() if key.endswith(".weight"))

    def on_epoch_end(self, training: Training) -> None:
        """Diagnose, where it is due."""
        due = (training.epoch + 1) % self.every_epochs == 0
        if due and self._training is training and self._examples is not None:
            rate = training.history["learning_rate"][-1]
            found = diagnose_examples(training.model, self._examples, self._names, rate)
            self.diagnoses.append(found)
            self.epochs.append(training.epoch)

    def on_fit_end(self, training: Training) -> None:
        """Let go of the data."""
        if self._training is training:
            self._training = self._examples = None

    def __repr__(self) -> str:
        if not self.diagnoses:
            return "HealthCheck: no epoch looked at yet; pass it to fit as callbacks="
        lines = [f"HealthCheck after epoch {self.epochs[-1]}. {self.diagnoses[-1]!r}"]
        if len(self.diagnoses) > 1:
            first, last = self.signal_norms[0], self.signal_norms[-1]
            lines.append(f"Error signal, epoch {self.epochs[0]} to {self.epochs[-1]}:")
            width = max(map(len, self.layer_names))
            lines += [
                f"  {name:<{width}}  {a:.3g} to {b:.3g}"
                for name, a, b in zip(self.layer_names, first, last, strict=True)
            ]
        return "\n".join(lines)

    __str__ = __repr__
