"""The page: its numbers are the core's, its sentences true, its names harmless."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import math
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import culpa
import helpers
import reference
from culpa.answers.blame import QUANTITIES
from culpa.pages import plain_words, readers
from culpa.pages.page import embedded, tell_example

HOSTILE = [
    "<script>window.pwned = 1</script>",
    "</script><script>window.pwned = 2</script>",
    "<!-- <script>",
    "\"'><img src=x onerror=window.pwned=3>",
    "&lt;b&gt; &amp; \u2028\u2029 \u202e \\u003c {{data}} {{policy}}",
    "]]></style><svg onload=window.pwned=4>",
]


def story(
    model: culpa.Sequential, X: Any, y: Any, example: int | None = 0, **options: Any
) -> dict[str, Any]:
    """What the page tells, read back from the page itself."""
    return read_data(culpa.page(model, X, y, example, **options))


class Markup(html.parser.HTMLParser):
    """The tags of a page, and what its scripts and styles hold."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.content: list[tuple[str, dict[str, str | None], str]] = []
        self._inside: tuple[str, dict[str, str | None]] | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = (tag, dict(attrs))
        self.tags.append(self._inside)

    def handle_endtag(self, tag: str) -> None:
        self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside is not None:
            self.content.append((*self._inside, data))


def read_data(page: str) -> dict[str, Any]:
    (found,) = [text for _, a, text in Markup(page).content if a.get("id") == "data"]
    answer = json.loads(found)
    assert isinstance(answer, dict)
    return answer


def assert_adds_up(model: culpa.Sequential, told: dict[str, Any], X: Any, y: Any) -> None:
    """Each node's numbers are the core's, and give each other by the chain rule."""
    tolerance = helpers.TOLERANCE[model.dtype]
    blame = model.blame(X[:1], y[:1], want=QUANTITIES)
    deltas = [blame.inputs, *blame.nodes]
    assert len(told["columns"]) == len(deltas)
    assert told["lossValue"] == blame.losses[0]
    for c, (column, delta) in enumerate(zip(told["columns"], deltas, strict=True)):
        size = np.abs(delta).max()
        assert column["units"] == delta.shape[1]
        for node in column["nodes"]:
            j = node["index"]
            assert node["delta"] == float(delta[0, j])
            product = node["sum"] * node["slope"]
            assert product + node["rounding"] == pytest.approx(node["delta"], rel=1e-14, abs=1e-300)
            assert abs(node["rounding"]) <= 10 * tolerance * max(size, abs(node["sum"]))
            if c < len(deltas) - 1:
                W = model.layers[c].weight
                for term in node["terms"]:
                    assert term["weight"] == float(W[j, term["index"]])
                    assert term["signal"] == float(deltas[c + 1][0, term["index"]])
                    assert term["product"] == term["weight"] * term["signal"]
                assert node["others"] == W.shape[1] - len(node["terms"])
                assert_sums(node["terms"], node["rest"], node["sum"])
            if c > 0:
                came = node["incoming"]
                assert_sums(came["terms"], came["rest"] + node["bias"], node["z"])
                assert node["h"] == float(blame.hidden[c - 1][0, j])
                assert node["slope"] == float(blame.slopes[c - 1][0, j])
                activation = model.layers[c - 1].activation
                value, derivative = reference.ACTIVATIONS[activation.name]
                z, alpha = np.array(node["z"]), activation.alpha or 0.0
                near = {"rel": 10 * tolerance, "abs": tolerance}
                assert node["h"] == pytest.approx(float(value(z, alpha)), **near)
                assert node["slope"] == pytest.approx(float(derivative(z, alpha)), **near)


def assert_sums(terms: list[dict[str, float]], rest: float, total: float) -> None:
    sizes = sum(abs(term["product"]) for term in terms) + abs(rest)
    assert abs(sum(term["product"] for term in terms) + rest - total) <= 1e-13 * sizes


# The numbers


@pytest.mark.parametrize("dtype", helpers.DTYPES)
@pytest.mark.parametrize("case", helpers.LOSSES, ids=str)
def test_every_loss_adds_up(case: helpers.LossCase, dtype: str) -> None:
    for outputs in (1, 4):
        activations = ["tanh", "relu", "identity"]
        if case.targets != "probabilities" or outputs > 1:
            problem = helpers.make_problem(
                (5, 9, 7, outputs), activations, case, 3, dtype, input_scale=0.5
            )
            told = story(problem.model, problem.X, problem.y)
            assert_adds_up(problem.model, told, problem.X, problem.y)


@pytest.mark.parametrize("dtype", helpers.DTYPES)
@pytest.mark.parametrize("name", helpers.ACTIVATIONS)
def test_every_activation_adds_up(name: str, dtype: str) -> None:
    case = helpers.LossCase(culpa.MSE(), "real")
    problem = helpers.make_problem((4, 8, 6, 2), [name] * 3, case, 2, dtype)
    told = story(problem.model, problem.X, problem.y)
    assert_adds_up(problem.model, told, problem.X, problem.y)


@pytest.mark.parametrize("widths", [(1, 1), (1, 1, 1), (3, 1, 2), (40, 33, 17, 21)])
def test_odd_sizes_add_up(widths: tuple[int, ...]) -> None:
    case = helpers.LossCase(culpa.MAE(), "real")
    activations = ["softplus"] * (len(widths) - 2) + ["identity"]
    problem = helpers.make_problem(widths, activations, case, 1)
    for top in (1, 16):
        told = story(problem.model, problem.X, problem.y, top=top)
        assert_adds_up(problem.model, told, problem.X, problem.y)


def test_only_the_most_blamed_nodes_are_shown_in_their_order() -> None:
    problem = helpers.make_problem((9, 40, 3), ["tanh", "identity"], helpers.LOSSES[0], 1)
    told = story(problem.model, problem.X, problem.y, top=7)
    column = told["columns"][1]
    delta = np.abs(problem.model.blame(problem.X, problem.y).nodes[0][0])
    assert [node["index"] for node in column["nodes"]] == sorted(np.argsort(-delta)[:7].tolist())
    assert column["most"] == int(delta.argmax())
    assert column["units"] == 40
    W = problem.model.layers[0].weight
    before = [node["index"] for node in told["columns"][0]["nodes"]]
    after = [node["index"] for node in column["nodes"]]
    assert column["weights"] == W[np.ix_(before, after)].tolist()


def test_guess_and_truth_are_among_the_outputs_shown() -> None:
    case = helpers.LossCase(culpa.CrossEntropy(), "labels")
    problem = helpers.make_problem((3, 30), ["identity"], case, 1)
    told = story(problem.model, problem.X, problem.y, top=1)
    shown = {output["index"] for output in told["outputs"]}
    assert {int(problem.y[0]), int(problem.model.predict(problem.X)[0])} <= shown


def test_slopes_at_a_kink_are_those_of_the_core() -> None:
    # float32 sums 1e8 - 1e8 + 1 in some order to 0 or 1; the page follows what the core did.
    model = culpa.Sequential([culpa.Dense(3, "relu"), culpa.Dense(1)], "mse", input_size=3)
    model.layers[0].weight = [[1e8, 1e8, 1.0], [-1e8, 1.0, 1e8], [1.0, -1e8, -1e8]]
    model.layers[1].weight = [[1.0], [1.0], [1.0]]
    told = story(model, np.ones((1, 3)), [5.0])
    for node in told["columns"][1]["nodes"]:
        assert node["slope"] in (0.0, 1.0)
        assert node["sum"] * node["slope"] == pytest.approx(node["delta"], rel=1e-6)


def test_the_worst_guess_is_the_default_example() -> None:
    problem = helpers.make_problem((5, 4), ["identity"], helpers.LOSSES[0], 30)
    losses = problem.model.blame(problem.X, problem.y, want=["losses"]).losses
    assert story(problem.model, problem.X, problem.y, None)["example"] == int(losses.argmax())


# Layers of other kinds


@pytest.mark.parametrize("dtype", helpers.DTYPES)
@pytest.mark.parametrize("stack", helpers.STACKS)
def test_other_layers_add_up(stack: str, dtype: str) -> None:
    model = culpa.Sequential(helpers.STACKS[stack], "mse", input_size=5, dtype=dtype)
    helpers.shake(model)
    rng, tolerance = np.random.default_rng(3), helpers.TOLERANCE[dtype]
    X, y = rng.normal(size=(1, 5)), rng.normal(size=(1, model.output_size))
    told, blame = story(model, X, y), model.blame(X, y, want=QUANTITIES)
    deltas, columns = [blame.inputs[0], *(d[0] for d in blame.nodes)], told["columns"]
    names = [layer.name for layer in blame.layers]
    assert [column["name"] for column in columns] == ["inputs", *names]
    state = model.state_dict()
    assert told["parameters"] == sum(array.size for array in state.values())
    for c, column in enumerate(columns):
        for node in column["nodes"]:
            j = node["index"]
            assert node["delta"] == float(deltas[c][j])
            if "through" in node:
                total = node["sum"] + node["through"]
                assert total == pytest.approx(node["delta"], rel=1e-12, abs=1e-13)
            else:
                size = np.abs(deltas[c]).max()
                assert abs(node["sum"] * node["slope"] - node["delta"]) <= 10 * tolerance * size
            if c < len(names):
                shares = state[f"{names[c]}.weight"][j].astype(float) @ deltas[c + 1]
                assert node["sum"] == pytest.approx(shares, rel=1e-12, abs=1e-13)
                assert_sums(node["terms"], node["rest"], node["sum"])
            if c > 0:
                came = node["incoming"]
                assert_sums(came["terms"], came["rest"] + node["bias"], node["z"])
                activation = blame.layers[c - 1].activation
                value = reference.ACTIVATIONS[activation.name][0](np.array(node["z"]), 0.0)
                assert node["h"] == pytest.approx(float(value), rel=10 * tolerance, abs=tolerance)
    for w in told["fix"]["weights"]:
        near = {"rel": 100 * tolerance, "abs": 10 * tolerance}
        assert w["gradient"] == pytest.approx(w["signal"] * w["delta"], **near)
    assert told["after"]["loss"] < told["lossValue"]


def test_what_a_layer_norm_changes() -> None:
    layers = [culpa.Dense(4, "tanh"), culpa.LayerNorm(), culpa.Dense(2)]
    model = culpa.Sequential(layers, "mse", input_size=3, dtype="float64")
    helpers.shake(model)
    state, X, y = model.state_dict(), np.array([[0.5, -1.0, 2.0]]), np.array([[1.0, -1.0]])
    h = np.tanh(X[0] @ state["dense_0.weight"] + state["dense_0.bias"])
    deviation = np.sqrt(h.var() + 1e-5)
    normal = (h - h.mean()) / deviation
    read = normal * state["layer_norm_0.gain"] + state["layer_norm_0.shift"]
    outputs = read @ state["dense_1.weight"] + state["dense_1.bias"]
    by_read = state["dense_1.weight"] @ (outputs - y[0])  # two outputs: 2 / 2
    by_normal = by_read * state["layer_norm_0.gain"]
    by_h = (by_normal - by_normal.mean() - normal * (by_normal * normal).mean()) / deviation
    told = story(model, X, y)
    inputs, hidden, last = told["columns"]
    assert hidden["between"] == ["LayerNorm"]
    assert not {"between"} & (inputs.keys() | last.keys())
    for node in hidden["nodes"]:
        j = node["index"]
        assert node["arrives"] == pytest.approx(read[j], rel=1e-12)
        assert node["through"] == pytest.approx(by_h[j] * (1 - h[j] ** 2) - by_read[j], rel=1e-10)
        assert "rounding" not in node
    for node in last["nodes"]:
        for term in node["incoming"]["terms"]:
            assert term["signal"] == pytest.approx(read[term["index"]], rel=1e-12)


def test_a_scale_in_front_is_a_slope_of_the_inputs() -> None:
    layers = [culpa.Dropout(0.5), culpa.Scale(), culpa.Dense(3, "relu"), culpa.Dense(1)]
    model = culpa.Sequential(layers, "mse", input_size=3, dtype="float64", input_scale=0.5)
    model.layers[1].factor = [2.0, -0.5, 0.0]
    X, y = np.array([[1.0, 2.0, 3.0]]), [7.0]
    told = story(model, X, y)
    assert told["leftOut"] is None
    for node, factor in zip(told["columns"][0]["nodes"], [2.0, -0.5, 0.0], strict=True):
        assert node["z"] == X[0, node["index"]]
        assert (node["factor"], node["slope"], node["h"]) == (
            factor,
            0.5 * factor,
            0.5 * factor * node["z"],
        )
        assert abs(node["rounding"]) <= 1e-15 * abs(node["sum"])
    # The factors are fixed too.
    _, gradients = model.loss_and_gradients(X, y)
    after = model.layers[1].factor - told["fix"]["rate"] * gradients["scale_0.factor"]
    sent = [node["hAfter"] for node in told["columns"][0]["nodes"]]
    assert sent == pytest.approx((0.5 * X[0] * after).tolist(), rel=1e-12)


def test_the_page_says_what_lies_between_the_layers() -> None:
    between = {
        "scale": [[], [], []],
        "norm": [[], ["LayerNorm", "Activation"], []],
        "residual": [
            [],
            ["Residual", "LayerNorm"],
            [],
            ["Residual", "LayerNorm"],
            [],
            ["Residual", "Activation"],
            [],
        ],
        "norm-first-and-last": [["LayerNorm"], [], ["LayerNorm"]],
        "residual-first-and-last": [
            ["Residual"],
            [],
            ["Residual"],
            ["Residual", "LayerNorm"],
            [],
            ["Residual"],
        ],
        "nested": [[], ["Residual"], ["Residual", "Scale"], ["Residual", "Scale"]],
        "odd": [[], ["Activation"], []],
    }
    for stack, layers in helpers.STACKS.items():
        model = culpa.Sequential(layers, "mse", input_size=5)
        told = story(model, np.ones((1, 5)), np.zeros((1, model.output_size)))
        assert [column.get("between", []) for column in told["columns"]] == between[stack], stack
        kinds = {kind for column in between[stack] for kind in column}
        assert all(kind in told["leftOut"] for kind in kinds)
        assert (told["leftOut"] is None) == (not kinds)


# The fix


@pytest.mark.parametrize("case", helpers.LOSSES, ids=str)
def test_the_fix_lowers_the_loss_and_leaves_the_model_alone(case: helpers.LossCase) -> None:
    problem = helpers.make_problem((5, 8, 3), ["tanh", "identity"], case, 2)
    model, X, y = problem.model, 1000 * problem.X, problem.y  # too steep for large steps
    before = helpers.parameter_bytes(model)
    told = story(model, X, y)
    assert helpers.parameter_bytes(model) == before
    assert told["after"]["loss"] < told["lossValue"]


def test_the_fix_is_one_step_of_sgd_without_dropout() -> None:
    layers = [culpa.Dropout(0.5), culpa.Dense(7, "relu"), culpa.Dropout(0.5), culpa.Dense(3)]
    model = culpa.Sequential(layers, "cross_entropy", input_size=4, dtype="float64")
    X, y = np.array([[1.0, -2.0, 0.5, 3.0]]), np.array([2])
    told = story(model, X, y, learning_rate=0.03)
    plain = culpa.Sequential(
        [culpa.Dense(7, "relu"), culpa.Dense(3)], "cross_entropy", input_size=4, dtype="float64"
    )
    plain.load_state_dict(model.state_dict())
    plain.fit(X, y, epochs=1, optimizer=culpa.SGD(0.03), verbose=False)
    after = plain.evaluate(X, y)["loss"]
    assert told["after"]["loss"] == pytest.approx(after, rel=1e-12)
    hidden_after = plain.blame(X, y, want="hidden").hidden
    for column, h in zip(told["columns"][1:], hidden_after, strict=True):
        for node in column["nodes"]:
            assert node["hAfter"] == pytest.approx(h[0, node["index"]], rel=1e-12)
    _, gradients = model.loss_and_gradients(X, y)
    for w in told["fix"]["weights"]:
        key = f"dense_{w['column'] - 1}.weight"
        at = (w["input"], w["node"])
        assert w["weight"] == model.state_dict()[key][at]
        assert w["gradient"] == gradients[key][at]
        assert w["gradient"] == pytest.approx(w["signal"] * w["delta"], rel=1e-12)
        assert w["after"] == pytest.approx(plain.state_dict()[key][at], rel=1e-13)
    first = [abs(w["gradient"]) for w in told["fix"]["weights"] if w["column"] == 1]
    assert first == sorted(np.abs(gradients["dense_0.weight"]).ravel())[::-1][: len(first)]


def test_a_step_that_is_too_long_is_called_so() -> None:
    model = culpa.Sequential([culpa.Dense(1)], "mse", input_size=1)
    model.layers[0].weight = [[1.0]]
    told = story(model, [[1.0]], [0.0], learning_rate=5.0)
    assert told["after"]["loss"] > told["lossValue"]
    assert "rose" in told["after"]["change"]
    with pytest.raises(ValueError, match="learning_rate: expected one that keeps weights"):
        culpa.page(model, [[1e9]], [0.0], learning_rate=1e30)


def test_a_perfect_guess_has_nothing_to_fix() -> None:
    model = culpa.Sequential([culpa.Dense(2)], "mse", input_size=2)
    told = story(model, [[1.0, 1.0]], model.predict(np.ones((1, 2))))
    assert told["lossValue"] == 0.0
    assert "nothing to fix" in told["after"]["change"]


# The sentences


@pytest.mark.parametrize("case", helpers.LOSSES, ids=str)
@pytest.mark.parametrize("outputs", [1, 3])
def test_the_arithmetic_in_the_sentences_is_true(case: helpers.LossCase, outputs: int) -> None:
    if case.targets in ("labels", "probabilities"):
        outputs += 1  # one class is no choice
    seen = 0
    for seed in range(8):
        problem = helpers.make_problem((4, outputs), ["identity"], case, 1, "float32", seed=seed)
        told = story(problem.model, problem.X, problem.y)
        for sentence in told["lossSentences"]:
            assert not re.search("nan|inf|None|True|False", sentence.replace("minus inf", ""))
            if " = " in sentence:
                seen += 1
                left, right = to_python(sentence).split(" = ")
                value = eval(left, {"log": math.log, "abs": abs})
                assert plain_words.amount(value) == plain_words.amount(float(right)), sentence
    plain = outputs == 1 or (case.targets == "labels" and not any(case.options.values()))
    assert seen or not plain


def to_python(line: str) -> str:
    line = line.replace("−", "-").replace("×", "*").replace("²", "**2").replace("^", "**")
    return re.sub(r"\|([^|]+)\|", r"abs(\1)", line)


@pytest.mark.parametrize("case", helpers.LOSSES, ids=str)
def test_no_loss_is_below_the_least(case: helpers.LossCase) -> None:
    rng = np.random.default_rng(0)
    problem = helpers.make_problem((4, 3), ["identity"], case, 20)
    values, m = problem.model.blame(problem.X, problem.y).losses, 3
    for i in range(20):
        target = np.eye(m)[problem.y[i]] if problem.y.ndim == 1 else problem.y[i]
        outcome = plain_words.Outcome(
            problem.model.loss, rng.random(m), target, list("abc"), float(values[i])
        )
        assert outcome.least_loss() <= values[i] + 1e-12
        perfect = math.inf
        if case.targets == "labels" and not any(case.options.values()):
            perfect = 0.0
        elif case.loss.name in ("mse", "mae", "huber", "quantile"):
            perfect = reference.LOSSES[case.loss.name](target[None], target[None])[0][0]
        elif case.loss.link == "log":
            logs = np.log(np.maximum(target, 1e-300))[None]
            perfect = reference.LOSSES[case.loss.name](logs, target[None], **case.options)[0][0]
        assert outcome.least_loss() == pytest.approx(perfect, abs=1e-12) or perfect == math.inf


def test_guess_and_truth_are_told_by_name() -> None:
    model = culpa.Sequential([culpa.Dense(3)], "cross_entropy", input_size=1)
    model.layers[0].bias = [0.0, 2.0, 0.0]
    told = story(model, [[0.0]], [2], class_names=["cat", "dog", "owl"])
    assert told["guess"]["sentence"] == "It says “dog” and gives that a chance of 78.7 %."
    assert told["guess"]["wanted"] == "The truth is “owl”."
    assert told["guess"]["right"] is False
    binary = culpa.Sequential([culpa.Dense(1)], "binary_cross_entropy", input_size=1)
    binary.layers[0].bias = [-1.0]
    told = story(binary, [[0.0]], [1], class_names=["ham", "spam"])
    said = "It gives “spam” a chance of 26.9 %, so it says “ham”."
    assert told["guess"]["sentence"] == said
    assert told["guess"]["wanted"] == "The truth is “spam”."


def test_inputs_have_the_names_of_a_frames_columns_or_their_place_in_the_image() -> None:
    model = culpa.Sequential([culpa.Dense(1)], "mse", input_size=6)
    X, y = np.arange(6.0)[None], [1.0]

    def names(told: dict[str, Any]) -> list[str]:
        return [node["name"] for node in told["columns"][0]["nodes"]]

    assert names(story(model, X, y))[:2] == ["input 0", "input 1"]
    assert names(story(model, X, y, shape=(2, 3)))[4] == "row 1, column 1"
    assert names(story(model, X, y, shape=[1, 2, 3]))[4] == "row 0, column 1, green"
    assert names(story(model, X, y, feature_names=list("abcdef"))) == list("abcdef")
    pandas = pytest.importorskip("pandas", reason="names from a frame need pandas")
    assert names(story(model, pandas.DataFrame(X, columns=list("uvwxyz")), y)) == list("uvwxyz")


# What a page is made of


def hostile_page() -> str:
    case = helpers.LossCase(culpa.CrossEntropy(), "labels")
    problem = helpers.make_problem((6, 5, 6), ["relu", "identity"], case, 2)
    return culpa.page(
        problem.model,
        problem.X,
        problem.y,
        0,
        feature_names=HOSTILE,
        class_names=HOSTILE,
        title=HOSTILE[1],
    )


def test_hostile_names_stay_text() -> None:
    page = hostile_page()
    markup = Markup(page)
    tags = [tag for tag, _ in markup.tags]
    assert tags.count("script") == 2
    assert tags.count("style") == 1
    assert not {"img", "svg", "b", "iframe", "link"} & set(tags)
    told = read_data(page)
    assert told["title"] == HOSTILE[1]
    assert [node["name"] for node in told["columns"][0]["nodes"]] == HOSTILE
    assert [output["name"] for output in told["outputs"]] == HOSTILE
    (data,) = [text for _, a, text in markup.content if a.get("id") == "data"]
    assert not set("<>&\u2028\u2029") & set(data)
    assert json.loads(embedded(HOSTILE)) == HOSTILE


def test_the_policy_allows_the_pages_own_parts_alone() -> None:
    markup = Markup(hostile_page())
    (policy,) = [
        a["content"] or ""
        for _, a in markup.tags
        if a.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["base-uri"] == rules["form-action"] == "'none'"
    for tag in ("script", "style"):
        (text,) = [text for t, a, text in markup.content if t == tag and "type" not in a]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"


def test_the_page_names_no_other_place() -> None:
    page = hostile_page()
    assert not re.findall(r"(?:src|href|action)\s*=\s*[\"']?\w", page.split('id="data"')[0])
    addresses = set(re.findall(r"https?://[^\"'\s]+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not a place


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(scheme: str) -> None:
    """WCAG 2.2, 1.4.3: a contrast of at least 4.5."""
    page = hostile_page()
    light, dark = re.findall(r":root \{(.*?)\}", page, re.DOTALL)
    colours = dict(re.findall(r"--(\w+): (#\w{6});", light if scheme == "light" else dark))

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(a: str, b: str) -> float:
        high, low = sorted([luminance(colours[a]), luminance(colours[b])], reverse=True)
        return (high + 0.05) / (low + 0.05)

    for ground in ("paper", "card", "faint"):
        for text in ("ink", "soft", "more", "less"):
            assert contrast(text, ground) >= 4.5, (text, ground)
    for fill in ("more", "less", "calm"):
        assert contrast("on", fill) >= 4.5, fill


# Errors


def test_errors_name_the_argument() -> None:
    problem = helpers.make_problem((6, 3), ["identity"], helpers.LOSSES[0], 4)
    model, X, y = problem.model, problem.X, problem.y
    cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (ValueError, "example: expected a row of X, 0 to 3, got 4", {"example": 4}),
        (TypeError, "example: expected an integer", {"example": 1.5}),
        (ValueError, "feature_names: expected a name per input, 6, got 1", {"feature_names": "a"}),
        (TypeError, "feature_names: expected a list of 6 strings", {"feature_names": "abcdef"}),
        (TypeError, "class_names: expected a list of 3 strings", {"class_names": [0, 1, 2]}),
        (
            ValueError,
            "class_names: expected a name per output, 3, got 2",
            {"class_names": ["a", "b"]},
        ),
        (ValueError, "shape: expected .height, width. .* of the 6 inputs", {"shape": (2, 2)}),
        (TypeError, "shape: expected", {"shape": "2x3"}),
        (ValueError, "learning_rate: expected", {"learning_rate": 0.0}),
        (ValueError, "top: expected an integer of at least 1", {"top": 0}),
        (TypeError, "title: expected a string", {"title": 3}),
    ]
    for kind, message, options in cases:
        if options.get("feature_names") == "a":
            options = {"feature_names": ["a"]}
        with pytest.raises(kind, match=message):
            culpa.page(model, X, y, **options)
    with pytest.raises(RuntimeError, match="no weights yet"):
        culpa.page(culpa.Sequential([culpa.Dense(1)], "mse"), X, y)
    with pytest.raises(ValueError, match="y: expected"):
        culpa.page(model, X, y[:2])


def test_only_a_model_has_a_page() -> None:
    with pytest.raises(TypeError, match=r"model: expected a culpa.Sequential, got 'm.safetensors'"):
        culpa.page("m.safetensors", [[1.0]], [1.0])  # type: ignore[arg-type]


def test_a_page_adds_up_while_another_thread_trains_the_model() -> None:
    problem = helpers.make_problem((6, 9, 3), ["tanh", "identity"], helpers.LOSSES[0], 40)
    model, over = problem.model, threading.Event()

    def until_over(training: Any) -> None:
        if over.is_set():
            training.stop()

    def fit() -> None:
        options: dict[str, Any] = {"optimizer": culpa.SGD(0.5), "callbacks": until_over}
        model.fit(problem.X, problem.y, epochs=10**6, batch_size=1, verbose=False, **options)

    thread = threading.Thread(target=fit)
    thread.start()
    try:
        for _ in range(30):
            for column in story(model, problem.X, problem.y)["columns"]:
                for node in column["nodes"]:
                    assert abs(node["rounding"]) <= 1e-9 * max(1.0, abs(node["sum"]))
    finally:
        over.set()
        thread.join()


def test_a_guess_beyond_all_numbers_is_refused() -> None:
    model = culpa.Sequential([culpa.Dense(1)], "poisson", input_size=1)
    model.layers[0].weight = [[1.0]]
    with pytest.raises(ValueError, match="model: expected a finite guess"):
        culpa.page(model, [[1000.0]], [1.0])


# The command


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "culpa.cli", "blame", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=folder,
        timeout=300,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models and data as files."""
    folder = tmp_path_factory.mktemp("page")
    digits = culpa.Sequential([culpa.Dense(10)], "cross_entropy", input_size=64)
    digits.save(folder / "digits.safetensors")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 3)).round(3)
    y = rng.integers(0, 3, 20)
    model = culpa.Sequential(
        [culpa.Dense(4, "tanh"), culpa.Dense(3)], "cross_entropy", input_size=3
    )
    model.save(folder / "classes.safetensors")
    np.savez(
        folder / "classes.npz",
        X=X,
        y=y,
        feature_names=HOSTILE[:3],
        class_names=["a", "b", "\x1b[2J"],
    )
    np.savez(folder / "bare.npz", X=X)
    np.savez(folder / "objects.npz", X=X, y=np.array([object()] * 20))
    words = np.array(["owl", "cat", "dog"])[y]
    rows = [f"{w},{a},{b},{c}" for w, (a, b, c) in zip(words, X, strict=True)]
    (folder / "classes.csv").write_text("\n".join(["animal,height,age,mass", *rows]), "utf-8")
    culpa.Sequential([culpa.Dense(1)], "mse", input_size=3).save(folder / "price.safetensors")
    rows = [f"{a},{b},{c},{a + b}" for a, b, c in X]
    (folder / "price.csv").write_text("\ufeffrooms,age,sea,price\r\n" + "\r\n".join(rows), "utf-8")
    (folder / "gap.csv").write_text("a,b,c,price\n1,,3,4\n", "utf-8")
    (folder / "ragged.csv").write_text("a,b,c,price\n1,2\n", "utf-8")
    return folder


def test_the_command_prints_a_summary(folder: Path) -> None:
    result = run("digits.safetensors", "digits", "--example", "17", folder=folder)
    assert result.returncode == 0, result.stderr
    for part in (
        "Example 17 of 360",
        "The truth is",
        "Loss:",
        "dense_0, ",
        "row ",
        "learning rate",
    ):
        assert part in result.stdout


def test_the_command_writes_a_page(folder: Path) -> None:
    result = run("classes.safetensors", "classes.npz", "--html", "page.html", folder=folder)
    assert result.returncode == 0, result.stderr
    told = read_data((folder / "page.html").read_text("utf-8"))
    assert [node["name"] for node in told["columns"][0]["nodes"]] == HOSTILE[:3]
    assert told["outputs"][2]["name"] == "\x1b[2J"
    digits = run("digits.safetensors", "digits", "--html", "digits.html", folder=folder)
    assert digits.returncode == 0, digits.stderr
    assert read_data((folder / "digits.html").read_text("utf-8"))["shape"] == [8, 8]


def test_the_command_reads_tables(folder: Path) -> None:
    options = ["--target", "animal", "--html", "animal.html", "--example", "3"]
    result = run("classes.safetensors", "classes.csv", *options, folder=folder)
    assert result.returncode == 0, result.stderr
    told = read_data((folder / "animal.html").read_text("utf-8"))
    assert [node["name"] for node in told["columns"][0]["nodes"]] == ["height", "age", "mass"]
    assert [output["name"] for output in told["outputs"]] == ["cat", "dog", "owl"]
    y = np.load(folder / "classes.npz")["y"]
    assert told["guess"]["label"] == {0: 2, 1: 0, 2: 1}[int(y[3])]  # owl, cat, dog
    result = run("price.safetensors", "price.csv", folder=folder)
    assert result.returncode == 0, result.stderr
    assert "rooms (value" in result.stdout


def test_text_names_the_two_classes_of_a_binary_model(tmp_path: Path) -> None:
    path, loss = tmp_path / "mail.csv", culpa.BinaryCrossEntropy()
    path.write_text("length,kind\n1,spam\n2,ham\n3.5,spam\n", "utf-8")
    table = readers.read_table(str(path), loss, 1)
    assert table.X.tolist() == [[1.0], [2.0], [3.5]]
    assert table.y.tolist() == [1, 0, 1]
    assert table.feature_names == ["length"]
    assert table.class_names == ["ham", "spam"]
    with pytest.raises(ValueError, match="expected 5 different texts in column 'kind'"):
        readers.read_table(str(path), culpa.CrossEntropy(), 5)


def test_names_cannot_steer_the_terminal(folder: Path) -> None:
    shown = "".join(
        run("classes.safetensors", "classes.npz", "--example", str(i), folder=folder).stdout
        for i in range(3)
    )
    assert "Example" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.safetensors", "digits"], "does not exist"),
        (["digits.safetensors", "nothing.csv"], "data: expected a .npz or .csv file"),
        (["digits.safetensors", "digits.safetensors"], "data: expected a .npz or .csv file"),
        (["digits.safetensors", "digits", "--shape", "8"], "shape: expected"),
        (["digits.safetensors", "digits", "--shape", "8 by 8"], "shape: expected HEIGHTxWIDTH"),
        (["digits.safetensors", "digits", "--example", "-1"], "example: expected"),
        (["digits.safetensors", "digits", "--target", "x"], "target: expected none"),
        (["digits.safetensors", "classes.npz"], "X: expected 64 columns"),
        (["classes.safetensors", "bare.npz"], "expected the arrays X and y"),
        (["classes.safetensors", "objects.npz"], "data: expected a .npz file of plain arrays"),
        (["price.safetensors", "gap.csv"], "data: expected a number in column 'b', row 0, got ''"),
        (["price.safetensors", "ragged.csv"], "data: expected 4 columns as in the header, got 2"),
        (
            ["price.safetensors", "price.csv", "--target", "cost"],
            "target: expected the name of one",
        ),
        (["digits.safetensors", "digits", "--html", "no/such/page.html"], "no/such"),
    ],
)
def test_the_command_says_what_is_wrong(folder: Path, arguments: list[str], message: str) -> None:
    result = run(*arguments, folder=folder)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_page_and_summary_share_one_story() -> None:
    problem = helpers.make_problem((3, 2), ["identity"], helpers.LOSSES[0], 2)
    none = dict.fromkeys(("feature_names", "class_names", "shape", "learning_rate", "title"))
    told = tell_example(problem.model, problem.X, problem.y, 1, top=16, **none)  # type: ignore[arg-type]
    assert json.loads(json.dumps(told)) == story(problem.model, problem.X, problem.y, 1)
