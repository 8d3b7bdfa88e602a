"""The health of a network: what each layer does with examples, and what keeps it from learning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from culpa import _checks, _core
from culpa.data import columns
from culpa.data.examples import Examples
from culpa.parts.optimizers import Adam
from culpa.sequential import Sequential, check_sequential
from culpa.studies.health.findings import Finding, LayerHealth, judge_vitals
from culpa.studies.health.vitals import measure_vitals

__all__ = ["Diagnosis", "diagnose", "diagnose_examples", "sample_examples"]

MAX_EXAMPLES = 4096


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """How a network is, layer by layer, and what is wrong with it; from :func:`culpa.diagnose`.

    Printing it gives a table and the findings.

    Attributes
    ----------
    layers : tuple of LayerHealth
        A Dense layer each: ``layer``, ``units``, ``activation``, ``dead``, ``saturated``, ``mean``,
        ``spread``, ``signal_norm``, ``gradient_norm``, ``weight_norm`` and ``update_ratio``;
        ``pandas.DataFrame(diagnosis.layers)`` makes a table of them.
    findings : list of Finding
        What keeps the network from learning, causes first; empty where it looks healthy.
    loss : float
        Mean loss over the examples looked at.
    chance_loss : float
        The loss of the best constant guess: the frequencies of the classes, the mean or median.
    examples : int
        How many examples were looked at.
    """

    layers: tuple[LayerHealth, ...]
    findings: list[Finding]
    loss: float
    chance_loss: float
    examples: int

    @property
    def healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def __repr__(self) -> str:
        rows = [["layer", "nodes", "dead", "saturated", "mean", "spread"]]
        rows[0] += ["signal", "gradient", "weights", "update"]
        for x in self.layers:
            cells = [_shown(x.dead, ".0%"), _shown(x.saturated, ".0%")]
            cells += [_shown(value, ".3g") for value in x[5:]]
            rows.append([x.layer, f"{x.units:,} {x.activation}", *cells])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            f"Diagnosis by {_count(self.examples, 'example')}: loss {self.loss:.3g} "
            f"({self.chance_loss:.3g} for the best constant guess)",
            *(
                "  ".join(
                    cell.ljust(width) if i < 2 else cell.rjust(width)
                    for i, (cell, width) in enumerate(zip(row, widths, strict=True))
                )
                for row in rows
            ),
        ]
        if self.healthy:
            return "\n".join([*lines, "Nothing found: the network looks healthy."])
        lines.append(f"{_count(len(self.findings), 'finding')}:")
        for i, finding in enumerate(self.findings, 1):
            lines += [f"{i}. {finding.sentence}", f"   Try: {finding.advice}"]
        return "\n".join(lines)


def diagnose(
    model: Sequential, X: ArrayLike, y: ArrayLike, *, max_examples: int = MAX_EXAMPLES
) -> Diagnosis:
    """Look for what keeps a network from learning: dead nodes, lost signals, wild steps.

    The examples are walked through the layers in batches of bounded memory, without dropout. The
    next step is tried on a copy; the model stays as it is.

    Parameters
    ----------
    model : Sequential
        Trained or not. Its optimizer with its memory makes the step that is tried, or
        ``culpa.Adam(1e-3)`` where it has none.
    X, y
        As for :meth:`Sequential.fit`; the data that it learns from.
    max_examples : int, default 4096
        Where X has more rows, so many of them are looked at, drawn at random by a fixed seed: the
        same ones each time.

    Returns
    -------
    Diagnosis
        See its attributes. Its ``findings`` are empty where the network looks healthy.

    Raises
    ------
    ValueError, TypeError
        Where an argument is not as described.
    RuntimeError
        Where the model has no weights yet.

    Notes
    -----
    What counts as a finding is set by the constants of ``culpa.health.findings``, each with its
    reason and source. A node is dead where its activation's slope is 0 (below 1e-6) for every
    example; tanh and sigmoid, flat on both sides, are saturated instead.

    The table has the Dense layers, those inside a Residual too, each with its own activation, to
    which an Activation right behind it belongs; one behind a LayerNorm, say, is looked at only by
    what it does to the signals. Layers of other kinds are looked at for broken numbers. What a
    Residual leads around blocks nothing before it, and weights with a learning_rate_factor of 0
    are meant to stay.

    Examples
    --------
    >>> import numpy as np
    >>> import culpa
    >>> model = culpa.Sequential(
    ...     [culpa.Dense(4, "relu"), culpa.Dense(1)], loss="mse", input_size=2)
    >>> model.layers[0].bias = np.full(4, -100.0)
    >>> X = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> diagnosis = culpa.diagnose(model, X, [1.0, 1.0, 2.0])
    >>> diagnosis.layers[0].dead
    1.0
    >>> print(diagnosis.findings[0].sentence)  # doctest: +NORMALIZE_WHITESPACE
    All 4 nodes of dense_0 never respond to any of the 3 examples: switched off, they cannot learn.
    Nothing before them can learn either.
    """
    check_sequential(model)
    max_examples = _checks.integer("max_examples", max_examples, 1)
    examples = sample_examples(model._network.examples(X, y), max_examples)
    model = model.copy()  # another thread may train it meanwhile
    return diagnose_examples(model, examples, columns.column_names(X))


def sample_examples(
    examples: Examples, most: int, rows: NDArray[np.int64] | None = None
) -> Examples:
    """Return at most so many of the examples, of the given rows where there are any."""
    if rows is None:
        rows = np.arange(len(examples.x), dtype=np.int64)
    if len(rows) > most:
        rows = rows[np.sort(_core.permutation(len(rows), 0, 0, 0)[:most])]
    if len(rows) == len(examples.x):
        return examples
    return examples.part(rows)


def diagnose_examples(
    model: Sequential,
    examples: Examples,
    names: list[str] | None = None,
    learning_rate: float | None = None,
) -> Diagnosis:
    """Return the diagnosis by these examples, of a step with this learning rate."""
    optimizer = model.optimizer or Adam(1e-3)
    rate = optimizer.learning_rate if learning_rate is None else learning_rate
    with np.errstate(all="ignore"):  # where weights or activations are not finite, so be it
        vitals = measure_vitals(model, examples, names, rate)
    findings = judge_vitals(vitals)
    return Diagnosis(vitals.layers, findings, vitals.loss, vitals.chance_loss, vitals.examples)


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'s' * (n != 1)}"


def _shown(value: float, form: str) -> str:
    return "-" if np.isnan(value) else format(value, form)
