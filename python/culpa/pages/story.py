"""One example's guess, loss, blame, fix and new guess, as plain numbers for the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from culpa.answers.blame import Blame, largest
from culpa.network.constant import judge_constant
from culpa.network.layers import dense_layers, factors_in_front, layers_between
from culpa.pages import plain_words
from culpa.pages.plain_words import Outcome
from culpa.sequential import Sequential

__all__ = ["Names", "fix_weights", "outcome", "tell_story"]

Array = NDArray[Any]
TERMS = 5  # of a node's sums: so many one by one, the rest together
FIXED = 12  # weights whose fix is shown, over all layers


class Names:
    """What inputs and outputs are called."""

    def __init__(
        self,
        features: Sequence[str] | None,
        classes: Sequence[str] | None,
        shape: tuple[int, ...] | None,
        outputs: int,
        task: str,
    ) -> None:
        self._features, self.shape = features, shape
        self.binary: tuple[str, str] | None = None
        if task == "binary" and outputs == 1 and classes is not None and len(classes) == 2:
            self.binary = (classes[0], classes[1])
            classes = [classes[1]]
        if classes is None:
            classes = (
                ["1" if task == "binary" else "the answer"]
                if outputs == 1
                else [str(k) if task == "classes" else f"output {k}" for k in range(outputs)]
            )
        self.outputs = list(classes)

    def input(self, i: int) -> str:
        """Return an input's name."""
        if self._features is not None:
            return self._features[i]
        if self.shape is None:
            return f"input {i}"
        place = np.unravel_index(i, self.shape)
        colour = f", {('red', 'green', 'blue')[int(place[2])]}" if len(place) == 3 else ""
        return f"row {place[0]}, column {place[1]}{colour}"


def outcome(model: Sequential, x: Array, target: Array, loss: float, names: Names) -> Outcome:
    """Return the model's guess for x (1, inputs) beside the target (outputs,)."""
    logits = model.predict_logits(x).astype(np.float64)
    with np.errstate(over="ignore"):
        response = model.loss.response(logits)
    return Outcome(model.loss, response[0], target, names.outputs, loss, names.binary)


def fix_weights(
    model: Sequential, x: Array, y: Array, blame: Blame, rate: float | None
) -> tuple[Sequential, float, float]:
    """Take one step of SGD on a copy; return the copy, its loss and the learning rate.

    Where no rate is given it is the first of 0.1, 0.05, 0.02, 0.01, ... whose step gains at least
    half of what the gradient promises (Armijo 1966). Dropout takes no part.
    """
    gradients = blame.gradients
    promise = sum(float(np.square(g, dtype=np.float64).sum()) for g in gradients.values())
    before, state, copy = float(blame.losses[0]), model.state_dict(), model.copy()
    descending = [float(f"{a}e-{e}") for e in range(2, 15) for a in (10, 5, 2)]  # 0.1 first
    for tried in descending if rate is None else [rate]:
        with np.errstate(over="ignore"):
            moved = {key: value - tried * gradients[key] for key, value in state.items()}
        loss = np.inf
        if all(np.isfinite(value).all() for value in moved.values()):
            copy.load_state_dict(moved)
            walk = copy.blame(x, y, want=("losses", "hidden"))
            if all(np.isfinite(h).all() for h in walk.hidden):
                loss = float(walk.losses[0])
        if rate is None and promise > 0.0 and not loss <= before - 0.5 * tried * promise:
            continue
        break
    if not np.isfinite(loss):
        raise ValueError(
            "learning_rate: expected one that keeps weights and guess finite, got "
            f"{tried:g}; use a smaller one"
        )
    return copy, loss, tried


def tell_story(
    model: Sequential,
    x: Array,
    y: Array,
    target: Array,
    names: Names,
    rate: float | None,
    top: int,
) -> dict[str, Any]:
    """Return the story of one example as values that JSON knows.

    x (1, inputs) and y (1,) or (1, outputs) are as the model takes them; target (outputs,) is y
    as one number per output.
    """
    want = ("losses", "nodes", "inputs", "weights", "hidden", "slopes")
    blame = model.blame(x, y, want=want)
    before = outcome(model, x, target, float(blame.losses[0]), names)
    check_finite(before, blame)
    fixed, loss_after, rate = fix_weights(model, x, y, blame, rate)
    after = outcome(fixed, x, target, loss_after, names)
    walk = Walk(model, x, y, blame, before, fixed)
    return {
        "task": model.loss.task,
        "loss": model.loss.name,
        "dtype": model.dtype,
        "parameters": sum(gradient.size for gradient in blame.gradients.values()),
        "leftOut": plain_words.left_out(walk.between),
        "inputScale": model.input_scale,
        "shape": names.shape,
        # An image is drawn whole; of a table only what is shown is named.
        "image": None if names.shape is None else [float(v) for v in x[0]],
        "imageBlame": None if names.shape is None else [float(v) for v in blame.inputs[0]],
        "columns": [walk.column(c, top, names) for c in range(len(walk.h))],
        "guess": {
            "sentence": before.guessed(),
            "wanted": before.wanted(),
            "right": before.right,
            "guess": before.guess,
            "label": before.label,
        },
        "lossValue": before.loss_value,
        "lossSentences": before.measured(),
        "fix": {
            "rate": rate,
            "weights": walk.fixes(names),
        },
        "after": {
            "sentence": after.guessed(),
            "loss": after.loss_value,
            "change": plain_words.improved(before, after),
            "guess": after.guess,
        },
        "outputs": [
            {
                "index": k,
                "name": names.outputs[k],
                "wanted": float(target[k]),
                "before": float(before.response[k]),
                "after": float(after.response[k]),
            }
            for k in walk.shown(len(walk.h) - 1, top)
        ],
    }


def check_finite(before: Outcome, blame: Blame) -> None:
    """Raise where the guess or its blame overflowed."""
    layers = [*blame.nodes, *blame.hidden, *blame.gradients.values()]
    arrays = [blame.losses, blame.inputs, *layers, before.response]
    if not all(np.isfinite(a).all() for a in arrays):
        raise ValueError(
            "model: expected a finite guess and blame for this example, got NaN or infinity on the "
            "way; scale the inputs (input_scale=) or train again with a smaller learning_rate"
        )


class Walk:
    """The numbers of one example at every node, column by column: the inputs, then the layers.

    Activations, slopes and error signals are the core's; sums are worked out again in float64, of
    the terms that the page shows, and differ from the core's by its rounding. Columns are the Dense
    layers; what else lies between two of them is told by what the second one reads.
    """

    def __init__(
        self,
        model: Sequential,
        x: Array,
        y: Array,
        blame: Blame,
        before: Outcome,
        fixed: Sequential,
    ) -> None:
        self.layers = list(dense_layers(model.layers))
        self.fixed = list(dense_layers(fixed.layers))
        self.before, self.blame = before, blame
        # dL/dh of the outputs, h their values after the activation
        _, slopes = judge_constant(model.loss, model.predict_logits(x)[0], y)
        self.loss_slopes: Array = slopes[0]
        self.x = x[0].astype(np.float64)
        # Of each column: what lies between it and the next.
        self.between = layers_between(model._network.architecture)
        self.factors = factors_in_front(model._network)
        if self.factors is not None:  # no more than slopes of the inputs
            self.between[0] = []
        hidden_after = fixed.blame(x, y, want="hidden").hidden
        self.slope = [self._input_slopes(model), *map(only_row, blame.slopes)]
        self.h = [self.x * self.slope[0], *map(only_row, blame.hidden)]
        self.h_after = [self.x * self._input_slopes(fixed), *map(only_row, hidden_after)]
        self.read = self._arrived(model, x, y, self.h)
        self.read_after = self._arrived(fixed, x, y, self.h_after)
        self.delta = [only_row(d) for d in [blame.inputs, *blame.nodes]]
        self.z = [self.x]
        for values, layer in zip(self.read, self.layers, strict=True):
            self.z.append(times(values, layer.weight) + layer.bias)

    def _input_slopes(self, model: Sequential) -> Array:
        factors = factors_in_front(model._network)
        slopes = np.full(len(self.x), model.input_scale)
        return slopes if factors is None else slopes * factors

    def _arrived(self, model: Sequential, x: Array, y: Array, sent: list[Array]) -> list[Array]:
        """Return what each Dense layer read: what was sent on, where nothing lies between."""
        if not any(self.between[:-1]):
            return sent[:-1]
        examples = model._network.examples(x, y).for_core()
        read = model._network.core.blame(examples, want={"read"})["read"]
        each = zip(read, sent, self.between, strict=False)
        return [only_row(values) if between else h for values, h, between in each]

    def shown(self, c: int, top: int) -> list[int]:
        """Return the most blamed nodes of a column, in their order."""
        chosen = set(largest(self.delta[c], top))
        if c == len(self.h) - 1 and self.before.loss.task == "classes":
            chosen |= {self.before.guess, self.before.label}
        return sorted(chosen)

    def _sent_back(self, c: int, j: int) -> Array:
        """Return what each node of the next column sends back to node j: delta_k w_jk."""
        if c == len(self.layers):
            return self.loss_slopes[j : j + 1]
        return np.asarray(self.delta[c + 1] * self.layers[c].weight[j].astype(np.float64))

    # What the page shows of a node

    def column(self, c: int, top: int, names: Names) -> dict[str, Any]:
        """Return a column: its shown nodes, and the weights between them and those before."""
        last, shown = c == len(self.layers), self.shown(c, top)
        column = {
            "name": "inputs" if c == 0 else self.layers[c - 1].name,
            "title": "Inputs" if c == 0 else "Output layer" if last else f"Hidden layer {c}",
            "units": len(self.h[c]),
            "most": largest(self.delta[c], 1)[0],
            "silent": int((self.delta[c] == 0).sum()),
            "nodes": [self.node(c, j, names) for j in shown],
        }
        if self.between[c]:
            column["between"] = self.between[c]
        if c > 0:
            activation = self.layers[c - 1].activation
            column["activation"] = activation.name
            column["does"] = plain_words.ACTIVATIONS[activation.name]
            between = np.ix_(self.shown(c - 1, top), shown)
            column["weights"] = self.layers[c - 1].weight[between].tolist()
            column["weightsAfter"] = self.fixed[c - 1].weight[between].tolist()
        return column

    def node(self, c: int, j: int, names: Names) -> dict[str, Any]:
        """Return a node's numbers: what came in, what it sent on, and its blame."""
        last = c == len(self.layers)
        node: dict[str, Any] = {
            "index": j,
            "name": self.name(c, j, names),
            "z": float(self.z[c][j]),
            "h": float(self.h[c][j]),
            "hAfter": float(self.h_after[c][j]),
            "slope": float(self.slope[c][j]),
            "delta": float(self.delta[c][j]),
        }
        sent = self._sent_back(c, j)
        if last:
            node["out"] = self.output(j)
            node["sum"] = float(sent[0])
        else:
            weights = self.layers[c].weight[j]
            parts = [(k, self.delta[c + 1][k], weights[k]) for k in largest(sent, TERMS)]
            node.update(self.parts(sent, parts, c + 1, names))
        if self.between[c]:  # the terms are of what the next layer read, and this of all before it
            node["through"] = node["delta"] - node["sum"]
        else:  # what the core's rounding makes of (sum of terms) * slope
            node["rounding"] = node["delta"] - node["sum"] * node["slope"]
        if self.between[c] and not last:
            node["arrives"] = float(self.read[c][j])
            node["arrivesAfter"] = float(self.read_after[c][j])
        if c == 0 and self.factors is not None:
            node["factor"] = float(self.factors[j])
        if c > 0:
            weights = self.layers[c - 1].weight[:, j].astype(np.float64)
            came = self.read[c - 1] * weights
            parts = [(i, self.read[c - 1][i], weights[i]) for i in largest(came, TERMS)]
            node["bias"] = float(self.layers[c - 1].bias[j])
            node["incoming"] = self.parts(came, parts, c - 1, names)
            node["incoming"]["sum"] = node["z"]
        return node

    def parts(
        self, products: Array, parts: list[tuple[int, Any, Any]], c: int, names: Names
    ) -> dict[str, Any]:
        """Return a sum's largest terms one by one and the rest together."""
        terms = [
            {
                "index": k,
                "name": self.name(c, k, names),
                "signal": float(signal),
                "weight": float(weight),
                "product": float(products[k]),
            }
            for k, signal, weight in parts
        ]
        others = np.delete(products, [k for k, _, _ in parts])
        return {
            "terms": terms,
            "rest": float(others.sum()),
            "others": len(others),
            "sum": float(products.sum()),
        }

    def name(self, c: int, j: int, names: Names) -> str:
        """Return what a node is called."""
        if c == 0:
            return names.input(j)
        return names.outputs[j] if c == len(self.layers) else f"node {j}"

    def output(self, k: int) -> dict[str, Any]:
        """Return how the loss blames an output: what it said, what was wanted, and the rule."""
        return {
            "response": float(self.before.response[k]),
            "wanted": float(self.before.wanted_response[k]),
            "outputs": 1 if self.before.loss.task == "classes" else len(self.before.response),
        }

    def fixes(self, names: Names) -> list[dict[str, Any]]:
        """Return the weights of each layer with the largest gradients, before and after."""
        each, answer = max(1, FIXED // len(self.layers)), []
        for c, gradient in enumerate(self.blame.weights):
            for at in largest_few(gradient, each):
                i, j = divmod(at, gradient.shape[1])
                answer.append(
                    {
                        "column": c + 1,
                        "node": j,
                        "from": self.name(c, i, names),
                        "to": self.name(c + 1, j, names),
                        "input": i,
                        "weight": float(self.layers[c].weight[i, j]),
                        "gradient": float(gradient[i, j]),
                        "signal": float(self.read[c][i]),
                        "delta": float(self.delta[c + 1][j]),
                        "after": float(self.fixed[c].weight[i, j]),
                    }
                )
        return answer


def only_row(array: Array) -> Array:
    """Return the one row of an answer (1, width), in float64."""
    return np.asarray(array[0], np.float64)


def times(h: Array, weight: Array) -> Array:
    """Return h (inputs,) @ weight (inputs, units) in float64, without a float64 copy of it all."""
    total = np.zeros(weight.shape[1])
    rows = max(1, 2**20 // weight.shape[1])
    for at in range(0, len(h), rows):
        total += h[at : at + rows] @ weight[at : at + rows].astype(np.float64)
    return total


def largest_few(array: Array, k: int) -> list[int]:
    """Return the flat indices of the k largest by size, without sorting everything."""
    sizes = np.abs(array).ravel()
    k = min(k, sizes.size)
    few = np.argpartition(-sizes, k - 1)[:k]
    return [int(i) for i in few[np.lexsort((few, -sizes[few]))]]
