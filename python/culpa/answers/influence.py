"""Influence: which training examples helped a guess, and which harmed it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from culpa import _checks, data
from culpa.data import columns, rounding
from culpa.network.network import Network

__all__ = ["Influence", "compute_influence"]

Array = NDArray[Any]


class Influence:
    """What each training example did to each test example's loss.

    A score is the sum over checkpoints of learning rate times the dot product of the two examples'
    gradients. Above 0, a step of gradient descent on the training example lowers the test example's
    loss (to first order): it helped, a *proponent*. Below 0 it harmed, an *opponent*.

    Attributes
    ----------
    scores : ndarray (n_test, n_train), of the model's dtype, or None
        All scores; None where only the top ones were asked for.
    proponents : ndarray (n_test, k), int64, or None
        Rows of X_train with the largest scores, largest first; of equal scores the lowest row
        first, NaN last. k is `top`, or n_train where that is less. None without `top`.
    proponent_scores : ndarray (n_test, k), of the model's dtype, or None
        Their scores.
    opponents, opponent_scores : ndarray (n_test, k), or None
        The same for the smallest scores, smallest first.
    """

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.scores: Array | None = answer.get("scores")
        self.proponents: NDArray[np.int64] | None = answer.get("highest")
        self.proponent_scores: Array | None = answer.get("highest_scores")
        self.opponents: NDArray[np.int64] | None = answer.get("lowest")
        self.opponent_scores: Array | None = answer.get("lowest_scores")

    def __repr__(self) -> str:
        if self.scores is not None:
            tests, trains = self.scores.shape
            return f"<Influence: {trains:,} training examples on {tests:,} test examples>"
        assert self.proponents is not None
        tests, top = self.proponents.shape
        return f"<Influence: the top {top} and the last {top} on {tests:,} test examples>"


def compute_influence(
    network: Network,
    X_train: Any,
    y_train: Any,
    X_test: Any,
    y_test: Any,
    checkpoints: Sequence[Network | Mapping[str, Any]] | None,
    learning_rates: Any,
    top: Any,
) -> Influence:
    """Check what is asked and let the core compare the examples.

    The checkpoints are networks, or the arrays of one by name; None: the network as it is.
    """
    k = 0 if top is None else _checks.integer("top", top, 1, "None gives all scores")
    core = network.frozen_core()
    for name, X in (("X_train", X_train), ("X_test", X_test)):
        data.refuse_sparse(X, "influence", name)
    with rounding.once():
        train = network.examples(X_train, y_train, suffix="_train")
        test = network.examples(X_test, y_test, suffix="_test")
    columns.check(columns.column_names(X_train), X_test, "X_test", those="those of X_train")
    cores = [core]
    if checkpoints is not None:
        cores = [
            _as_network(network, checkpoint, f"checkpoints[{i}]").frozen_core()
            for i, checkpoint in enumerate(checkpoints)
        ]
    factors = _factors(learning_rates, len(cores))
    kind: Any = type(cores[0])
    try:
        answer = kind.influence(
            cores, factors=factors, train=train.for_core(), test=test.for_core(), top=k
        )
    except MemoryError as error:
        pairs = f"{len(test.x):,} x {len(train.x):,} scores"
        mend = "pass top=10 to keep those of each test example alone" if k == 0 else "lower it"
        raise MemoryError(
            f"top: expected {pairs} to fit into memory, got {top} ({error}); {mend}"
        ) from None
    if answer["train_row"] >= 0:
        train.raise_not_finite(answer["train_row"])
    if answer["test_row"] >= 0:
        test.raise_not_finite(answer["test_row"])
    return Influence(answer)


def _factors(learning_rates: Any, checkpoints: int) -> NDArray[np.float64]:
    """Return a factor for each checkpoint."""
    if learning_rates is None:
        return np.ones(checkpoints)
    if isinstance(learning_rates, Real):
        return np.full(checkpoints, _checks.number("learning_rates", learning_rates, 0.0))
    rates = np.asarray(data.as_array("learning_rates", learning_rates), np.float64)
    if rates.shape != (checkpoints,):
        raise ValueError(
            f"learning_rates: expected a number, or one for each of the {checkpoints} checkpoints, "
            f"got shape {rates.shape}"
        )
    return np.array([_checks.number("learning_rates", float(rate), 0.0) for rate in rates])


def _as_network(network: Network, checkpoint: Network | Mapping[str, Any], name: str) -> Network:
    """Return a checkpoint as a network that computes as this one but for its weights, or raise."""
    if isinstance(checkpoint, Mapping):
        # Not a copy of the network: its optimizer's moments are not needed.
        other = Network(replace(network.architecture, input_size=None, feature_names=None))
        try:
            other.load_state_dict(checkpoint)
            if other.inputs != network.inputs:
                raise ValueError(f"state: expected {network.inputs} inputs, got {other.inputs}")
        except (ValueError, TypeError, RuntimeError) as error:
            raise type(error)(f"{name}: {error}") from None
        return other
    for what, (got, expected) in _differences(checkpoint, network).items():
        raise ValueError(
            f"{name}: expected {what} as the model's, {expected}, got {got}; pass checkpoints of "
            "this model's own training"
        )
    return checkpoint


def _differences(one: Network, other: Network) -> dict[str, tuple[Any, Any]]:
    """Return in what the functions that two networks compute differ, beside their weights."""

    def description(network: Network) -> dict[str, Any]:
        config = network.architecture.config()
        # What guesses do not depend on, or the input size tells.
        left_out = ("name", "inputs", "dropout", "learning_rate_factors")
        layers = [
            {name: value for name, value in spec.items() if name not in left_out}
            for spec in network.architecture.compile(None).specs
        ]
        names = ("input_size", "loss", "dtype", "input_scale")
        return {"layers": layers, **{name: config[name] for name in names}}

    a, b = description(one), description(other)
    names = [network.architecture.feature_names for network in (one, other)]
    if all(names):  # without names there is nothing to compare
        a["feature_names"], b["feature_names"] = names
    return {name: (a[name], b[name]) for name in a if a[name] != b[name]}
