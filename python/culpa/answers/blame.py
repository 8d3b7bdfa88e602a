"""Answers about blame: the error signals of backpropagation, kept instead of consumed."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from culpa import _checks
from culpa.answers.groups import Groups, Quantities, group_blame
from culpa.data.columns import column_names
from culpa.data.examples import Examples
from culpa.network.network import Network
from culpa.parts.activations import Activation

__all__ = [
    "Blame",
    "ExampleBlame",
    "Groups",
    "InputBlame",
    "Layer",
    "NodeBlame",
    "compute_blame",
    "loss_and_gradients",
]

Array = NDArray[Any]
QUANTITIES = ("losses", "nodes", "inputs", "weights", "gradient_norms", "hidden", "slopes")
FRAMES = ("pandas", "polars")


class Layer(NamedTuple):
    """A Dense layer as blame names it, in the order of ``blame.nodes``."""

    name: str
    """As in ``state_dict``: "dense_0", "dense_1", ..."""
    units: int
    activation: Activation


class NodeBlame(NamedTuple):
    """A node and its error signal, from :meth:`Blame.top_nodes`."""

    layer: str
    node: int
    value: float


class InputBlame(NamedTuple):
    """An input and its gradient, from :meth:`Blame.top_inputs`; `name` None where unknown."""

    input: int
    value: float
    name: str | None


class ExampleBlame(NamedTuple):
    """A row of X, from :meth:`Blame.top_examples`; None for what was not asked for."""

    example: int
    loss: float | None
    gradient_norm: float | None


class Blame(Quantities):
    """Who is at fault for a guess. In the standard terms: error signals and gradients.

    L_i is the loss of example i. Per-example quantities are unweighted; `weights`, `biases` and
    `gradients` are those of the weighted mean loss. What was not asked for raises AttributeError.

    Attributes
    ----------
    losses : ndarray (n,), float64
        L_i, how wrong each guess was; where float32 rounds the differences of y away, in float64
        from y as it was passed (:class:`culpa.RoundingWarning`). Gradients are of the rounded y.
    nodes : list of ndarray (n, units)
        dL_i/dz of every node of each Dense layer, z its value before the activation.
    inputs : ndarray (n, inputs)
        dL_i/dx, of the raw inputs (before `input_scale`).
    weights, biases : list of ndarray (inputs, units) and (units,)
        Gradient of the batch loss, of each Dense layer.
    gradients : dict of ndarray
        The same by the names of ``state_dict``, over the parameters of all layers; asked for as
        ``weights``.
    gradient_norms : ndarray (n,), float64
        The exact norm of each example's own gradient over the parameters of all layers.
    hidden : list of ndarray (n, units)
        h = f(z), what every node of each Dense layer sent on: f its activation, without dropout.
        Where the last layer is Dense, its own are :meth:`Sequential.predict_logits`.
    slopes : list of ndarray (n, units)
        f'(z), by which a node's blame is multiplied: nodes[l] = slopes[l] * dL_i/dh. At a kink
        that of the branch z <= 0, of relu 0; ones where there is no activation.
    layers : tuple of Layer
        Name, units and activation of each Dense layer, in the order of the lists above.
    feature_names : tuple of str, or None
        The columns of X where it was a pandas or polars frame with named ones.

    Examples
    --------
    >>> import culpa
    >>> model = culpa.Sequential([culpa.Dense(1)], loss="mse", input_size=2)
    >>> model.layers[0].weight = [[2.0], [-1.0]]
    >>> blame = model.blame([[1.0, 0.0], [0.0, 1.0], [1.0, 3.0]], [2.0, 0.0, 0.0])
    >>> blame.losses
    array([0., 1., 1.])
    >>> blame.top_inputs(1, example=2)
    [InputBlame(input=0, value=-4.0, name=None)]
    >>> blame.top_nodes(1, example=2)
    [NodeBlame(layer='dense_0', node=0, value=-2.0)]
    >>> [who.example for who in blame.top_examples(2)]
    [2, 1]
    >>> groups = blame.groups(by=["right", "wrong", "wrong"])
    >>> dict(zip(groups.labels.tolist(), groups.means.losses.tolist()))
    {'right': 0.0, 'wrong': 1.0}

    What the nodes sent on, and how strongly they were reacting:

    >>> model = culpa.Sequential([culpa.Dense(2, "relu")], loss="mse", input_size=1)
    >>> model.layers[0].weight = [[1.0, -1.0]]
    >>> blame = model.blame([[3.0]], [[0.0, 0.0]], want=("hidden", "slopes"))
    >>> blame.hidden[0].tolist(), blame.slopes[0].tolist()
    ([[3.0, 0.0]], [[1.0, 0.0]])
    """

    askable = QUANTITIES
    weights: list[Array]
    biases: list[Array]
    gradients: dict[str, Array]

    def __init__(
        self,
        values: dict[str, Any],
        layers: Sequence[Layer],
        rows: int,
        feature_names: Sequence[str] | None = None,
    ) -> None:
        super().__init__(values)
        self.layers = tuple(layers)
        self.feature_names = None if feature_names is None else tuple(feature_names)
        self._rows = rows

    def __repr__(self) -> str:
        layers = ", ".join(f"{x.name} ({x.units} {x.activation.name})" for x in self.layers)
        what = ", ".join(self._values) or "nothing"
        return f"<Blame: {what} of {self._rows:,} example{'s' * (self._rows != 1)}; {layers}>"

    # Who comes first

    def top_nodes(
        self, k: int = 10, *, example: int | None = None, layer: str | int | None = None
    ) -> list[NodeBlame]:
        """Return the nodes with the largest error signals.

        Parameters
        ----------
        k : int, default 10
            How many; fewer where there are not as many.
        example : int, optional
            A row of X to look at alone; by default all of them.
        layer : str or int, optional
            A layer's name or index to look at alone; by default all of them.

        Returns
        -------
        list of NodeBlame
            Tuples (layer, node, value), largest first, ties by index, NaN last. `value` is the mean
            of |dL_i/dz| over all examples; for one example it is dL_i/dz with its sign, ranked by
            size: above 0, a lower z would have lowered the loss.

        Raises
        ------
        AttributeError
            Where ``nodes`` was not asked for.
        ValueError, TypeError
            Where an argument is not as described.
        """
        layers = self._which(layer)
        values = np.concatenate([self._signal(self.nodes[i], example) for i in layers])
        owners = self._owners(layers)
        return [NodeBlame(*owners[i], float(values[i])) for i in largest(values, k)]

    def top_inputs(
        self,
        k: int = 10,
        *,
        example: int | None = None,
        feature_names: Sequence[str] | None = None,
    ) -> list[InputBlame]:
        """Return the inputs with the largest gradients.

        Parameters
        ----------
        k : int, default 10
            How many; fewer where there are not as many.
        example : int, optional
            A row of X to look at alone; by default all of them.
        feature_names : sequence of str, optional
            A name per input; by default those of the frame that X was, if it was one.

        Returns
        -------
        list of InputBlame
            Tuples (input, value, name), largest first, ties by index, NaN last. `value` is the
            mean of |dL_i/dx| over all examples; for one example it is dL_i/dx with its sign.

        Raises
        ------
        AttributeError
            Where ``inputs`` was not asked for.
        ValueError, TypeError
            Where an argument is not as described.
        """
        values = self._signal(self.inputs, example)
        names = self._names(feature_names)
        return [
            InputBlame(i, float(values[i]), None if names is None else names[i])
            for i in largest(values, k)
        ]

    def top_examples(self, k: int = 10) -> list[ExampleBlame]:
        """Return the examples that pull hardest at the weights: mislabelled ones are often here.

        They are ranked by the norm of their gradient where ``gradient_norms`` was asked for,
        else by their loss.

        Parameters
        ----------
        k : int, default 10
            How many; fewer where there are not as many.

        Returns
        -------
        list of ExampleBlame
            Tuples (example, loss, gradient_norm), largest first, ties by index, NaN last; `example`
            is the row of X.

        Raises
        ------
        AttributeError
            Where neither ``gradient_norms`` nor ``losses`` was asked for.
        ValueError, TypeError
            Where `k` is not an integer of at least 1.
        """
        scores = self._scores()
        losses, norms = scores.get("loss"), scores.get("gradient_norm")
        ranking = losses if norms is None else norms
        assert ranking is not None
        return [
            ExampleBlame(
                i,
                None if losses is None else float(losses[i]),
                None if norms is None else float(norms[i]),
            )
            for i in largest(ranking, k)
        ]

    # Together

    def groups(self, by: ArrayLike) -> Groups:
        """Sum and average over groups of examples: which class, which source, which week is hard.

        Parameters
        ----------
        by : array_like (n,)
            A label for each example, ``y`` for one: integers, strings, booleans or anything else
            that NumPy sorts. Missing labels (None, NaN, NaT, pandas.NA) form one group, the last.

        Returns
        -------
        Groups
            `labels`, `counts`, `sums` and `means` of all per-example quantities asked for.

        Raises
        ------
        ValueError, TypeError
            Where `by` is not n labels.

        Examples
        --------
        >>> import culpa
        >>> X, y, _, _ = culpa.datasets.digits()
        >>> model = culpa.Sequential([culpa.Dense(10)], loss="cross_entropy", input_size=64)
        >>> groups = model.blame(X, y, want=("losses", "nodes")).groups(by=y)
        >>> groups.means.losses.shape, groups.means.nodes[0].shape  # per class, per class and node
        ((10,), (10, 10))
        """
        return group_blame(self._values, by, self._rows)

    def to_frame(
        self,
        kind: str = "pandas",
        what: str = "examples",
        *,
        feature_names: Sequence[str] | None = None,
    ) -> Any:
        """Return a pandas or polars frame.

        Parameters
        ----------
        kind : {"pandas", "polars"}, default "pandas"
            Neither comes with culpa: ``pip install pandas``, or polars.
        what : {"examples", "nodes", "inputs"}, default "examples"
            "examples" gives a row per example, with the columns ``example``, ``loss`` and
            ``gradient_norm``, the latter two where asked for. "nodes" gives a row per node:
            ``layer``, ``node``, and over the examples ``mean`` and ``mean_abs`` of dL_i/dz,
            ``mean_hidden`` and ``mean_slope``, each where asked for. "inputs" gives a row per
            input: ``input``, ``name`` where known, and ``mean`` and ``mean_abs`` of dL_i/dx.
        feature_names : sequence of str, optional
            As for :meth:`top_inputs`.

        Returns
        -------
        pandas.DataFrame or polars.DataFrame

        Raises
        ------
        ImportError
            Where the library is not installed.
        AttributeError
            Where what the rows consist of was not asked for.
        ValueError, TypeError
            Where an argument is not as described.
        """
        _checks.choice("kind", kind, FRAMES)
        _checks.choice("what", what, ("examples", "nodes", "inputs"))
        columns: dict[str, Any] = {}
        if what == "examples":
            columns = {"example": np.arange(self._rows), **self._scores()}
        elif what == "nodes":
            names, nodes = zip(*self._owners(range(len(self.layers))), strict=True)
            columns = {"layer": list(names), "node": np.array(nodes), **self._node_means()}
        else:
            columns = {"input": np.arange(self.inputs.shape[1])}
            feature_names = self._names(feature_names)
            if feature_names is not None:
                columns["name"] = list(feature_names)
            columns |= over_examples([self.inputs])
        return make_frame(kind, columns)

    # Parts of the answers

    def _signal(self, array: Array, example: int | None) -> Array:
        """Return what to rank: one row of (n, width), or the mean size over all of them."""
        if example is None:
            return np.asarray(np.abs(array).mean(axis=0, dtype=np.float64))
        return np.asarray(array[_checks.row("example", example, self._rows)])

    def _scores(self) -> dict[str, Array]:
        columns = {"loss": "losses", "gradient_norm": "gradient_norms"}
        scores = {c: self._values[name] for c, name in columns.items() if name in self._values}
        if not scores:
            raise AttributeError(
                "neither losses nor gradient_norms was asked for; "
                "pass want=('losses', 'gradient_norms')"
            )
        return scores

    def _node_means(self) -> dict[str, Array]:
        columns = over_examples(self.nodes) if "nodes" in self._values else {}
        for column, name in (("mean_hidden", "hidden"), ("mean_slope", "slopes")):
            if name in self._values:
                columns[column] = over_examples(self._values[name])["mean"]
        if not columns:
            raise AttributeError(
                "none of nodes, hidden and slopes was asked for; "
                "pass want=('nodes', 'hidden', 'slopes')"
            )
        return columns

    def _which(self, layer: str | int | None) -> Sequence[int]:
        names = [x.name for x in self.layers]
        if layer is None:
            return range(len(names))
        if isinstance(layer, str):
            return [names.index(_checks.choice("layer", layer, names))]
        index = _checks.integer("layer", layer, 0, f"or its name, {' or '.join(names)}")
        if index >= len(names):
            raise ValueError(
                f"layer: expected an index from 0 to {len(names) - 1}, or a name "
                f"({', '.join(names)}), got {index}"
            )
        return [index]

    def _owners(self, layers: Iterable[int]) -> list[tuple[str, int]]:
        """Return layer and index of every node of some layers."""
        return [(self.layers[i].name, j) for i in layers for j in range(self.layers[i].units)]

    def _names(self, given: Sequence[str] | None) -> Sequence[str] | None:
        """Return a name for each input, None for none."""
        if given is None:
            return self.feature_names
        return _checks.feature_names(given, self.inputs.shape[1])


def largest(values: Array, k: int) -> list[int]:
    """Return the indices of the `k` largest by size: ties by index, NaN last."""
    order = np.argsort(-np.abs(values), kind="stable")
    return [int(i) for i in order[: _checks.integer("k", k, 1)]]


def over_examples(arrays: Sequence[Array]) -> dict[str, Array]:
    """Return mean and mean size, over the rows, of arrays (n, width) side by side."""
    return {
        "mean": np.concatenate([a.mean(axis=0, dtype=np.float64) for a in arrays]),
        "mean_abs": np.concatenate([np.abs(a).mean(axis=0, dtype=np.float64) for a in arrays]),
    }


def make_frame(kind: str, columns: dict[str, Any]) -> Any:
    """Return a pandas or polars frame of these columns."""
    _checks.choice("kind", kind, FRAMES)
    try:
        library = importlib.import_module(kind)
    except ImportError as error:
        raise ImportError(
            f"to_frame: {kind} is not installed ({error}); use `pip install {kind}`"
        ) from error
    return library.DataFrame(columns)


def compute_blame(
    network: Network, X: Any, y: Any, sample_weight: Any, want: Collection[str]
) -> Blame:
    """Walk the examples through the network and keep what is asked for."""
    if isinstance(want, str):
        want = (want,)
    if not isinstance(want, Iterable):
        raise TypeError(
            f"want: expected names among {', '.join(QUANTITIES)}, got {_checks.describe(want)}"
        )
    wanted = {_checks.choice("want", name, QUANTITIES) for name in want}
    core_wants = {"gradient" if name == "weights" else name for name in wanted} - {"losses"}
    examples, answer = _walk(network, X, y, sample_weight, core_wants)
    values: dict[str, Any] = {k: answer[k] for k in QUANTITIES if k in answer and k in wanted}
    if "weights" in wanted:
        values["weights"], values["biases"] = network.split_layers(answer["gradient"])
        values["gradients"] = network.split(answer["gradient"])
    layers = [Layer(*layer) for layer in network.dense_layers()]
    return Blame(values, layers, len(examples.x), column_names(X))


def loss_and_gradients(
    network: Network, X: Any, y: Any, sample_weight: Any
) -> tuple[float, dict[str, Array]]:
    """Return the batch loss and its gradient, as views by name."""
    _, answer = _walk(network, X, y, sample_weight, {"gradient"})
    return answer["loss_sum"] / answer["weight_sum"], network.split(answer["gradient"])


def _walk(
    network: Network, X: Any, y: Any, sample_weight: Any, want: set[str]
) -> tuple[Examples, dict[str, Any]]:
    examples = network.examples(X, y, sample_weight)
    answer = network.core.blame(examples.for_core(), want=want)
    if answer["row"] >= 0:
        examples.raise_not_finite(answer["row"])
    return examples, answer
