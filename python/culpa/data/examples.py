"""Checked examples: X, y and their weights, as the core takes them, and how to score them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from culpa import _checks, _core, data
from culpa.data import columns, rounding
from culpa.parts.architecture import Architecture

__all__ = ["Examples", "measure_alike", "split_rows", "validation_examples"]


class Examples:
    """Checked examples, and how to score them.

    Parameters
    ----------
    architecture : Architecture
        Of the network that they are for; it may not know its input size yet.
    X, y, sample_weight
        As for ``Sequential.fit``.
    suffix : str, default ""
        What errors name X, y and sample_weight with.
    feature_names : list of str, optional
        By default the columns of X.
    columns_mend : str, default ""
        What an error about other columns recommends beside.
    whole : bool, default True
        False: a part of examples that have been looked through for what rounding does to them.
    warns_of_inputs : bool, default True
        Whether to look for columns of X that rounding drowns. What is fine in training, or was said
        there, is fine later.

    Attributes
    ----------
    exact : ndarray (n * outputs,) of float64, or None
        The targets as they were passed, where the model's dtype rounds their spread away: losses
        and scores are then computed from them, in float64.
    """

    def __init__(
        self,
        architecture: Architecture,
        X: Any,
        y: Any,
        sample_weight: Any,
        suffix: str = "",
        *,
        feature_names: list[str] | None = None,
        columns_mend: str = "",
        whole: bool = True,
        warns_of_inputs: bool = True,
    ) -> None:
        names = [f"{name}{suffix}" for name in ("X", "y", "sample_weight")]
        loss, dtype, scale = architecture.loss, architecture.dtype, architecture.input_scale
        columns.check(architecture.feature_names, X, names[0], mend=columns_mend)
        self.x = data.check_x(X, architecture.input_size, dtype, names[0], scale=scale)
        self.targets = data.check_targets(
            loss, y, len(self.x), architecture.output_size, dtype, names[1]
        )
        self.weights = data.check_weights(names[2], sample_weight, len(self.x))
        self.loss = loss
        self.metric = "r2" if loss.task == "regression" else "accuracy"
        self._architecture = architecture
        self._names = names
        self.exact: NDArray[np.float64] | None = None
        if whole:
            feature_names = feature_names or columns.column_names(X)
            if warns_of_inputs:
                rounding.warn(names[0], rounding.drowned(self.x, dtype), feature_names)
            values = self.targets.values
            if self.metric == "r2" and values is not None:
                lost = rounding.drowned(values, dtype)
                own = columns.column_names(y) if columns.is_frame(y) else None
                rounding.warn(names[1], lost, own)
                if lost:
                    self.judge_exactly()

    def judge_exactly(self) -> None:
        """Compute losses and scores from the targets as they were passed, in float64."""
        self.exact = np.require(self.targets.values, np.float64, ["C", "ALIGNED"]).ravel()

    def for_core(
        self,
        order: NDArray[np.int64] | None = None,
        score_scale: NDArray[np.float64] | None = None,
    ) -> _core.ExampleArrays:
        """Return the core's view of them, in an order; with a score scale, r2 can be read off."""
        return _core.ExampleArrays(
            data.for_core(self.x),
            sample_weights=self.weights,
            order=order,
            score_scale=score_scale,
            exact=self.exact,
            **self.targets.for_core(),
        )

    def score_scale(self, rows: NDArray[np.int64] | None = None) -> NDArray[np.float64] | None:
        """Return what squared errors count per output, so that r2 = 1 - their sum.

        1 / (m * total squares around the weighted mean), m the outputs whose y varies: r2 is their
        mean. 0 where an output's y does not vary, and NaN where that of none does; None where the
        metric is accuracy.
        """
        if self.metric != "r2":
            return None
        values = self.targets.values
        assert values is not None
        rows = np.arange(len(values)) if rows is None else rows
        blocks = np.array_split(rows, len(rows) // 4096 + 1)  # bounded memory
        weights = np.ones(len(values)) if self.weights is None else self.weights

        def total(function: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Any:
            return sum(
                (function(np.asarray(values[block], np.float64)) * weights[block, None]).sum(axis=0)
                for block in blocks
            )

        mean = total(lambda y: y) / weights[rows].sum()
        squares = total(lambda y: (y - mean) ** 2)
        first = np.asarray(values[rows[0]])
        varies = np.any([np.any(values[block] != first, axis=0) for block in blocks], axis=0)
        varies &= squares > 0.0
        if not varies.any():
            return np.full(len(varies), np.nan)
        return np.where(
            varies, 1.0 / np.where(varies, squares * np.count_nonzero(varies), 1.0), 0.0
        )

    def score(self, weighted_scores: float, weight_sum: float) -> float:
        """Return the metric from the core's sum of scores."""
        if self.metric == "r2":
            return 1.0 - weighted_scores
        return weighted_scores / weight_sum

    def evaluate(
        self, core: _core.Model32 | _core.Model64, prepared: _core.ExampleArrays | None = None
    ) -> dict[str, float]:
        """Return loss and metric of the model as it is; prepared: of `for_core`, with the scale."""
        prepared = prepared or self.for_core(score_scale=self.score_scale())
        losses, scores, row = core.evaluate(prepared)
        if row >= 0:
            self.raise_not_finite(row)
        weights = np.ones(len(losses)) if self.weights is None else self.weights
        total = float(weights.sum())
        return {
            # Not `@`: its order of summation may depend on the threads of NumPy's BLAS.
            "loss": float((weights * losses).sum()) / total,
            self.metric: self.score(float((weights * scores).sum()), total),
        }

    def raise_not_finite(self, row: int) -> None:
        """Raise the error for a row that the core found to hold NaN or infinity."""
        described = self._architecture
        raise data.not_finite(self._names[0], self.x, row, described.dtype, described.input_scale)

    def unweighted(self) -> Examples:
        """Return the same examples, each of which counts alike."""
        twin = copy.copy(self)
        twin.weights = None
        return twin

    def part(self, rows: NDArray[np.int64], suffix: str = "") -> Examples:
        """Return a copy of some rows; errors name X and y with the suffix."""
        y = self.targets.labels if self.targets.labels is not None else self.targets.values
        assert y is not None
        weights = None if self.weights is None else self.weights[rows]
        part = Examples(self._architecture, self.x[rows], y[rows], weights, suffix, whole=False)
        if self.exact is not None:
            part.judge_exactly()
        return part


def measure_alike(one: Examples, other: Examples) -> None:
    """Compute losses and scores of both exactly where those of one are."""
    if one.exact is not None or other.exact is not None:
        one.judge_exactly()
        other.judge_exactly()


def validation_examples(
    architecture: Architecture, value: Any, names: list[str] | None
) -> Examples:
    """Return fit's `validation_data` checked, memory maps too; names: of the columns of X."""
    if not isinstance(value, (tuple, list)) or len(value) not in (2, 3):
        raise TypeError(
            "validation_data: expected a tuple (X, y) or (X, y, sample_weight), "
            f"got {_checks.describe(value)}"
        )
    weight = value[2] if len(value) == 3 else None
    columns.check(names, value[0], "X (validation)")
    examples = Examples(
        architecture, value[0], value[1], weight, " (validation)", warns_of_inputs=False
    )
    if isinstance(examples.x, np.memmap):  # what is in memory has been checked
        dtype, scale = architecture.dtype, architecture.input_scale
        data.check_finite("X (validation)", examples.x, dtype, scale, files=True)
    return examples


def split_rows(
    seed: int, n: int, rows: Any, split: float, validation_data: Any
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
    """Return the rows to train on (None: all) and those held out (None: none)."""
    if rows is not None:
        rows = data.as_array("rows", rows)
        if rows.dtype.kind not in "iu":
            raise TypeError(
                f"rows: expected integer row indices, got dtype {rows.dtype}; use "
                "numpy.flatnonzero on a mask"
            )
        rows = np.require(rows, np.int64, ["C", "ALIGNED"])
        if rows.ndim != 1 or rows.size == 0 or rows.min() < 0 or rows.max() >= n:
            raise ValueError(
                f"rows: expected row indices 0 to {n - 1}, got {_checks.describe(rows)}"
            )
    if split == 0.0:
        return rows, None
    if validation_data is not None:
        raise ValueError("validation_split: expected 0 beside validation_data; pass only one")
    base = np.arange(n, dtype=np.int64) if rows is None else rows
    held = round(split * len(base))
    if held == 0 or held == len(base):
        raise ValueError(
            f"validation_split: expected a part of the {len(base)} rows, got {split:g}, which is "
            f"{held} of them"
        )
    shuffled = base[_core.validation_order(len(base), seed)]
    return np.sort(shuffled[held:]), np.sort(shuffled[:held])
