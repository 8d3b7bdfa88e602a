"""Blame over groups of examples: which class, which source, which week is hard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from culpa import _renamed
from culpa.data.labels import one_each, sorted_labels

__all__ = ["Groups", "Quantities", "group_blame"]

Array = NDArray[Any]
PER_EXAMPLE = ("losses", "nodes", "inputs", "gradient_norms", "hidden", "slopes")
SIGNED = ("losses", "hidden", "slopes")  # summed as they are; the others by their size


class Quantities:
    """Arrays by name, and a word on those that were not asked for."""

    askable: tuple[str, ...] = PER_EXAMPLE
    losses: NDArray[np.float64]
    nodes: list[Array]
    inputs: Array
    gradient_norms: NDArray[np.float64]
    hidden: list[Array]
    slopes: list[Array]

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("_values", {})
        if name in values:
            return values[name]
        if mend := _renamed.mend_name("Blame", name):
            raise AttributeError(mend)
        asked = "weights" if name == "biases" else name
        if asked in self.askable:
            raise AttributeError(f"{name} was not asked for; pass want=({asked!r}, ...)")
        raise AttributeError(f"{type(self).__name__} has {', '.join(values)}, not {name!r}")

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *self._values]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {', '.join(self._values)}>"


@dataclass(frozen=True, eq=False, repr=False)
class Groups:
    """Sums and means of blame over groups of examples, from :meth:`Blame.groups`.

    `sums` and `means` have what was asked for of ``losses`` (groups,), ``nodes``, ``hidden`` and
    ``slopes`` (lists of (groups, units)), ``inputs`` (groups, inputs) and ``gradient_norms``
    (groups,), all float64; error signals and input gradients count by their size, |dL_i/dz| and
    |dL_i/dx|, the others with their sign.

    Attributes
    ----------
    labels : ndarray (groups,)
        The different labels, sorted. Missing ones (None, NaN, NaT, pandas.NA, what a mask hides)
        are one group, the last: NaN among floats, NaT among dates, None among anything else.
    counts : ndarray (groups,), int64
        Examples in each group.
    sums, means
        ``groups.means.losses[g]`` is the mean loss of the examples labelled ``groups.labels[g]``.
    """

    labels: Array
    counts: NDArray[np.int64]
    sums: Quantities
    means: Quantities

    def __repr__(self) -> str:
        return (
            f"<Groups: {len(self.labels):,} labels of {self.counts.sum():,} examples, with sums "
            f"and means of {', '.join(self.sums._values)}>"
        )


def group_blame(values: Mapping[str, Any], by: ArrayLike, rows: int) -> Groups:
    """Sum and average what `values` has of the per-example quantities, by label (rows,)."""
    mend = "group by one label at a time, such as by[:, 0]"
    labels, codes = sorted_labels(one_each(by, rows, "by", mend), "by")
    counts = np.bincount(codes, minlength=len(labels))
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(counts)[:-1])

    # A group at a time: np.add.reduceat takes ten times as long, and a sorted copy.
    def total(array: Array, signed: bool) -> Array:
        groups = (array[rows] for rows in members)
        sizes = groups if signed else map(np.abs, groups)
        return np.array([group.sum(axis=0, dtype=np.float64) for group in sizes])

    sums, means = {}, {}
    for name in PER_EXAMPLE:
        if name in values:
            sums[name] = each(partial(total, signed=name in SIGNED), values[name])
            means[name] = each(lambda a: (a.T / counts).T, sums[name])
    return Groups(labels, counts, Quantities(sums), Quantities(means))


def each(function: Callable[[Array], Array], value: Any) -> Any:
    """Return the function of an array, or of each in a list of them."""
    return [function(array) for array in value] if isinstance(value, list) else function(value)
