"""Blame's answers are what plain NumPy makes of the oracle's error signals, losses and norms."""

import copy
import pickle
import re
import sys
from typing import Any

import numpy as np
import pytest

import culpa
import helpers
import reference
from culpa.answers.blame import QUANTITIES, ExampleBlame, InputBlame, NodeBlame

N, WIDTHS = 23, (5, 7, 4, 3)
PROBLEM = helpers.make_problem(
    WIDTHS,
    ["tanh", "leaky_relu", "identity"],
    helpers.LOSSES[0],
    N,
    alphas=[None, 0.2, None],
)
X, Y, WALK = PROBLEM.X, PROBLEM.y, PROBLEM.walk
BLAME = PROBLEM.model.blame(X, Y, want=QUANTITIES)
LAYERS = ["dense_0", "dense_1", "dense_2"]
OWNERS = [(name, j) for name, units in zip(LAYERS, WIDTHS[1:], strict=True) for j in range(units)]
NAMES = ["age", "height", "weight", "pulse", "income"]


def asked_for(*want: str) -> culpa.Blame:
    return PROBLEM.model.blame(X, Y, want=want)


def ranked(values: np.ndarray) -> list[int]:
    """Indices by falling size, then by index."""
    return sorted(range(len(values)), key=lambda i: (-abs(values[i]), i))


def assert_close(got: Any, want: Any) -> None:
    error = reference.relative_error(np.asarray(got, np.float64), np.asarray(want))
    assert error < 1e-10, error


def hand_made(outputs: int = 4) -> culpa.Blame:
    """Error signals that are known, with ties: those of mse are 2 (h - y) / outputs."""
    model = culpa.Sequential(
        [culpa.Dense(outputs, initializer="zeros")], "mse", input_size=2, dtype="float64"
    )
    y = np.array([[-1.0, 3.0, 1.0, -3.0], [1.0, -3.0, -1.0, -3.0]])[:, :outputs]
    return model.blame([[1.0, 0.0], [0.0, 1.0]], y)


# What it knows


def test_blame_knows_its_layers_as_state_dict_names_them() -> None:
    assert [layer.name for layer in BLAME.layers] == LAYERS
    assert [layer.units for layer in BLAME.layers] == list(WIDTHS[1:])
    assert [layer.activation for layer in BLAME.layers] == [
        culpa.Activation("tanh"),
        culpa.Activation("leaky_relu", 0.2),
        culpa.Activation("identity"),
    ]
    keys = {key.partition(".")[0] for key in PROBLEM.model.state_dict()}
    assert keys == {layer.name for layer in BLAME.layers}


def test_dropout_takes_no_part_in_the_names() -> None:
    model = culpa.Sequential(
        [culpa.Dropout(0.1), culpa.Dense(4, "relu"), culpa.Dropout(0.5), culpa.Dense(3)],
        "cross_entropy",
        input_size=5,
    )
    blame = model.blame(X, Y, want=["nodes"])
    assert [layer.name for layer in blame.layers] == ["dense_0", "dense_1"]
    assert {who.layer for who in blame.top_nodes(7)} == {"dense_0", "dense_1"}


def test_repr_says_what_there_is() -> None:
    layers = "dense_0 (7 tanh), dense_1 (4 leaky_relu), dense_2 (3 identity)"
    assert (
        repr(asked_for("losses", "inputs")) == f"<Blame: losses, inputs of 23 examples; {layers}>"
    )
    assert repr(asked_for()) == f"<Blame: nothing of 23 examples; {layers}>"
    one = PROBLEM.model.blame(X[:1], Y[:1], want="losses")
    assert repr(one) == f"<Blame: losses of 1 example; {layers}>"
    groups = asked_for("losses", "nodes").groups(by=Y)
    assert repr(groups) == "<Groups: 3 labels of 23 examples, with sums and means of losses, nodes>"
    assert repr(groups.means) == "<Quantities: losses, nodes>"


def test_copies_and_pickles_answer_alike() -> None:
    for other in (copy.copy(BLAME), copy.deepcopy(BLAME), pickle.loads(pickle.dumps(BLAME))):
        assert other.top_nodes(5) == BLAME.top_nodes(5)
        assert other.layers == BLAME.layers
    assert {"nodes", "losses", "top_nodes"} <= set(dir(asked_for("nodes", "losses")))


# What the nodes sent on


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("dtype", helpers.DTYPES)
@pytest.mark.parametrize("split", ["rows", "columns"])
def test_hidden_and_slopes_are_the_oracles(split: str, dtype: str, threads: int) -> None:
    problem = helpers.make_problem(
        (5, 33, 1, 17, 3), ["relu", "gelu", "identity", "softplus"], helpers.LOSSES[0], 600, dtype
    )
    with helpers.plan(threads, split):
        blame = problem.model.blame(problem.X, problem.y, want=("hidden", "slopes"))
    assert dir(blame).count("nodes") == 0
    for name in ("hidden", "slopes"):
        pairs = zip(getattr(blame, name), getattr(problem.walk, name), strict=True)
        for layer, (got, want) in enumerate(pairs):
            helpers.assert_close(f"{name}[{layer}]", got, want, helpers.TOLERANCE[dtype])
    assert set(np.unique(blame.slopes[0]).tolist()) == {0.0, 1.0}
    assert (blame.slopes[2] == 1.0).all()


@pytest.mark.parametrize("activation", ["identity", "relu", "tanh"])
def test_hidden_and_slopes_are_without_dropout(activation: str) -> None:
    layers = [culpa.Dense(9, activation), culpa.Dropout(0.5), culpa.Dense(3)]
    dropping = culpa.Sequential(layers, "cross_entropy", input_size=5)
    plain = culpa.Sequential(layers[::2], "cross_entropy", input_size=5)
    plain.load_state_dict(dropping.state_dict())
    got, want = (m.blame(X, Y, want=("hidden", "slopes")) for m in (dropping, plain))
    for name in ("hidden", "slopes"):
        for one, other in zip(getattr(got, name), getattr(want, name), strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_last_hidden_values_are_what_predict_logits_gives() -> None:
    last = asked_for("hidden").hidden[-1]
    assert last.tobytes() == PROBLEM.model.predict_logits(X).tobytes()


# Who comes first


def test_top_nodes_over_all_examples() -> None:
    means = np.concatenate([np.abs(nodes).mean(axis=0) for nodes in WALK.nodes])
    got = BLAME.top_nodes(6)
    assert [who[:2] for who in got] == [OWNERS[i] for i in ranked(means)[:6]]
    assert_close([who.value for who in got], means[ranked(means)[:6]])


@pytest.mark.parametrize("example", [0, 11, N - 1, np.int64(3)])
def test_top_nodes_of_one_example_keep_their_sign(example: int) -> None:
    signals = np.concatenate([nodes[example] for nodes in WALK.nodes])
    got = BLAME.top_nodes(14, example=example)
    assert [who[:2] for who in got] == [OWNERS[i] for i in ranked(signals)]
    assert_close([who.value for who in got], signals[ranked(signals)])


@pytest.mark.parametrize("layer", [1, "dense_1"])
def test_top_nodes_of_one_layer(layer: int | str) -> None:
    means = np.abs(WALK.nodes[1]).mean(axis=0)
    got = BLAME.top_nodes(2, layer=layer)
    assert [who[:2] for who in got] == [("dense_1", i) for i in ranked(means)[:2]]
    signals = WALK.nodes[1][5]
    got = BLAME.top_nodes(2, layer=layer, example=5)
    assert [who.node for who in got] == ranked(signals)[:2]


def test_top_inputs() -> None:
    means = np.abs(WALK.inputs).mean(axis=0)
    got = BLAME.top_inputs(3)
    assert [who.input for who in got] == ranked(means)[:3]
    assert [who.name for who in got] == [None] * 3
    assert_close([who.value for who in got], means[ranked(means)[:3]])
    got = BLAME.top_inputs(5, example=7, feature_names=NAMES)
    assert [who.input for who in got] == ranked(WALK.inputs[7])
    assert [who.name for who in got] == [NAMES[who.input] for who in got]
    assert_close([who.value for who in got], WALK.inputs[7][ranked(WALK.inputs[7])])


def test_top_examples_go_by_gradient_norm_where_there_is_one() -> None:
    got = BLAME.top_examples(8)
    best = ranked(WALK.gradient_norms)[:8]
    assert [who.example for who in got] == best
    assert_close([who.gradient_norm for who in got], WALK.gradient_norms[best])
    assert_close([who.loss for who in got], WALK.losses[best])
    norms_alone = asked_for("gradient_norms").top_examples(8)
    assert [who.example for who in norms_alone] == best
    assert {who.loss for who in norms_alone} == {None}


def test_top_examples_go_by_loss_otherwise() -> None:
    got = asked_for("losses").top_examples(8)
    best = ranked(WALK.losses)[:8]
    assert best != ranked(WALK.gradient_norms)[:8]
    assert [who.example for who in got] == best
    assert {who.gradient_norm for who in got} == {None}


def test_ties_go_by_index() -> None:
    blame = hand_made()
    assert blame.top_nodes(3, example=0) == [
        NodeBlame("dense_0", 1, -1.5),
        NodeBlame("dense_0", 3, 1.5),
        NodeBlame("dense_0", 0, 0.5),
    ]
    assert [who.node for who in blame.top_nodes()] == [1, 3, 0, 2]
    assert blame.top_nodes(1)[0].value == 1.5
    assert [who.example for who in blame.top_examples()] == [0, 1]
    assert blame.top_inputs() == [InputBlame(0, 0.0, None), InputBlame(1, 0.0, None)]


def test_nan_comes_last() -> None:
    blame = hand_made()
    blame.nodes[0][0, 1] = np.nan
    assert [who.node for who in blame.top_nodes(example=0)] == [3, 0, 2, 1]


def test_more_than_there_are_gives_all() -> None:
    assert len(BLAME.top_nodes(1000)) == sum(WIDTHS[1:])
    assert len(BLAME.top_nodes(1000, layer="dense_2")) == 3
    assert len(BLAME.top_inputs(1000)) == 5
    assert len(BLAME.top_examples(1000)) == N
    assert [len(top()) for top in (BLAME.top_nodes, BLAME.top_inputs, BLAME.top_examples)] == [
        10,
        5,
        10,
    ]


def test_values_are_plain_python() -> None:
    for who in (*BLAME.top_nodes(2), *BLAME.top_inputs(2, example=1), *BLAME.top_examples(2)):
        assert {type(field) for field in who} <= {int, float, str, type(None)}


def test_one_example() -> None:
    blame = PROBLEM.model.blame(X[:1], Y[:1])
    over_all, of_it = blame.top_nodes(14), blame.top_nodes(14, example=0)
    assert [who[:2] for who in over_all] == [who[:2] for who in of_it]
    assert [who.value for who in over_all] == [abs(who.value) for who in of_it]
    assert blame.top_examples() == [
        ExampleBlame(0, float(blame.losses[0]), float(blame.gradient_norms[0]))
    ]
    groups = blame.groups(["all"])
    assert groups.counts.tolist() == [1]
    np.testing.assert_array_equal(groups.means.inputs, np.abs(blame.inputs))


# Groups

LABELS = {
    "ints": Y,
    "large ints": (Y - 1) * 10**15,
    "strings": np.array(["cat", "ant", "bee"])[Y],
    "a list of strings": [["cat", "ant", "bee"][y] for y in Y],
    "objects": np.array(["cat", "ant", "bee"], dtype=object)[Y],
    "booleans": Y > 0,
    "floats": Y / 3,
    "NaN": np.array([0.5, np.nan, -1.0])[Y],
    "dates": np.array(["2024-01-01", "2025-01-01", "2023-01-01"], "datetime64[D]")[Y],
    "all alike": np.zeros(N),
    "all different": np.arange(N)[::-1],
}


@pytest.mark.parametrize("kind", LABELS)
def test_sums_and_means_over_groups(kind: str) -> None:
    by = LABELS[kind]
    groups = BLAME.groups(by)
    labels = np.unique(np.asarray(by))
    np.testing.assert_array_equal(groups.labels, labels)
    assert groups.counts.sum() == N
    for g, label in enumerate(labels.tolist()):
        rows = np.array(
            [v == label or (v != v and label != label) for v in np.asarray(by).tolist()]
        )
        assert groups.counts[g] == rows.sum() > 0
        for got, function in ((groups.sums, np.sum), (groups.means, np.mean)):
            assert_close(got.losses[g], function(WALK.losses[rows]))
            assert_close(got.gradient_norms[g], function(WALK.gradient_norms[rows]))
            assert_close(got.inputs[g], function(np.abs(WALK.inputs[rows]), axis=0))
            for nodes, want in zip(got.nodes, WALK.nodes, strict=True):
                assert_close(nodes[g], function(np.abs(want[rows]), axis=0))
            for name in ("hidden", "slopes"):  # with their signs
                for values, want in zip(getattr(got, name), getattr(WALK, name), strict=True):
                    assert_close(values[g], function(want[rows], axis=0))
    assert groups.means.nodes[1].shape == (len(labels), 4)
    assert {a.dtype for a in (groups.sums.losses, *groups.sums.nodes, groups.means.inputs)} == {
        np.dtype(np.float64)
    }


def test_groups_leave_blame_as_it_is() -> None:
    blame = PROBLEM.model.blame(X, Y)
    blame.groups(by=Y)
    np.testing.assert_array_equal(blame.inputs, BLAME.inputs)
    for one, other in zip(blame.nodes, BLAME.nodes, strict=True):
        np.testing.assert_array_equal(one, other)


def test_losses_below_zero_keep_their_sign_in_groups() -> None:
    model = culpa.Sequential([culpa.Dense(1)], "poisson", input_size=1, dtype="float64")
    model.load_state_dict({"dense_0.weight": [[0.0]], "dense_0.bias": [2.0]})
    blame = model.blame(np.zeros((3, 1)), [9.0, 8.0, 0.0], want=["losses"])
    assert blame.losses[0] < 0
    np.testing.assert_allclose(blame.groups([1, 1, 2]).sums.losses[0], blame.losses[:2].sum())


def test_small_values_of_float32_are_summed_in_float64() -> None:
    model = culpa.Sequential([culpa.Dense(1, initializer="zeros")], "mse", input_size=1)
    y = np.full(200_000, 0.1, np.float32)
    blame = model.blame(np.zeros((len(y), 1)), y, want=["nodes"])
    want = 2 * float(np.float32(0.1))
    assert blame.top_nodes()[0].value == pytest.approx(want, rel=1e-9)
    assert blame.groups(np.zeros(len(y))).means.nodes[0][0, 0] == pytest.approx(want, rel=1e-9)


# What was not asked for


def test_groups_have_what_was_asked_for_and_nothing_else() -> None:
    groups = asked_for("losses", "weights").groups(by=Y)
    assert groups.means.losses.shape == (3,)
    with pytest.raises(AttributeError, match=re.escape("pass want=('nodes', ...)")):
        _ = groups.means.nodes
    with pytest.raises(AttributeError, match="Quantities has losses, not 'weights'"):
        _ = groups.sums.weights


ABSENT = {
    "top_nodes": (lambda b: b.top_nodes(), ("losses", "inputs"), "nodes was not asked for"),
    "top_nodes, one": (lambda b: b.top_nodes(example=0), (), "nodes was not asked for"),
    "top_inputs": (lambda b: b.top_inputs(), ("nodes",), "inputs was not asked for"),
    "top_examples": (lambda b: b.top_examples(), ("nodes",), "neither losses nor gradient_norms"),
    "to_frame": (lambda b: b.to_frame(), ("nodes",), "neither losses nor gradient_norms"),
    "nodes' frame": (lambda b: b.to_frame(what="nodes"), (), "none of nodes, hidden and slopes"),
    "hidden": (lambda b: b.hidden, ("slopes",), "pass want=('hidden', ...)"),
    "slopes": (lambda b: b.slopes, QUANTITIES[:5], "pass want=('slopes', ...)"),
    "inputs' frame": (lambda b: b.to_frame(what="inputs"), (), "inputs was not asked for"),
    "losses": (lambda b: b.losses, ("nodes",), "losses was not asked for"),
    "biases": (lambda b: b.biases, ("nodes",), "pass want=('weights', ...)"),
    "a wrong name": (lambda b: b.loss, ("losses", "nodes"), "Blame has losses, nodes, not 'loss'"),
}


@pytest.mark.parametrize("what", ABSENT)
def test_what_was_not_asked_for_is_an_attribute_error(what: str) -> None:
    call, want, says = ABSENT[what]
    with pytest.raises(AttributeError, match=re.escape(says)):
        call(asked_for(*want))


# Bad arguments

BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "k of 0": (lambda: BLAME.top_nodes(0), ValueError, "k: expected an integer of at least 1"),
    "inputs, k of 0": (lambda: BLAME.top_inputs(0), ValueError, "k: expected an integer"),
    "examples, k of -1": (lambda: BLAME.top_examples(-1), ValueError, "k: expected an integer"),
    "half a k": (lambda: BLAME.top_examples(2.5), TypeError, "k: expected an integer"),
    "k of True": (lambda: BLAME.top_nodes(True), TypeError, "k: expected an integer"),
    "example n": (lambda: BLAME.top_nodes(example=N), ValueError, "of X, 0 to 22, got 23"),
    "example -1": (lambda: BLAME.top_inputs(example=-1), ValueError, "example: expected"),
    "example 1.0": (lambda: BLAME.top_nodes(example=1.0), TypeError, "example: expected"),
    "layer 3": (
        lambda: BLAME.top_nodes(layer=3),
        ValueError,
        "0 to 2, or a name (dense_0, dense_1",
    ),
    "layer -1": (lambda: BLAME.top_nodes(layer=-1), ValueError, "or its name, dense_0"),
    "a wrong layer": (
        lambda: BLAME.top_nodes(layer="dense1"),
        ValueError,
        "did you mean 'dense_1'?",
    ),
    "a list of layers": (lambda: BLAME.top_nodes(layer=[0]), TypeError, "layer: expected"),
    "one name": (lambda: BLAME.top_inputs(feature_names="a"), TypeError, "feature_names: expected"),
    "a number": (lambda: BLAME.top_inputs(feature_names=5), TypeError, "feature_names: expected"),
    "numbers": (lambda: BLAME.top_inputs(feature_names=range(5)), TypeError, "list(map(str"),
    "few names": (lambda: BLAME.top_inputs(feature_names=["a"]), ValueError, "5 inputs, got 1"),
    "few labels": (
        lambda: BLAME.groups(Y[:-1]),
        ValueError,
        "by: expected a label for each of the",
    ),
    "one label": (lambda: BLAME.groups("y"), ValueError, "of the 23 examples, got 'y'"),
    "a column": (lambda: BLAME.groups(Y[:, None]), ValueError, "use by.ravel()"),
    "one-hot": (lambda: BLAME.groups(np.eye(3)[Y]), ValueError, "use by.argmax(axis=1)"),
    "ragged": (lambda: BLAME.groups([[1], [2, 3]]), ValueError, "by: expected a label for each"),
    "mixed": (
        lambda: BLAME.groups(np.array([None, "a", 3] * 7 + [4, 5], dtype=object)),
        TypeError,
        "by: expected labels of one kind",
    ),
    "another frame": (lambda: BLAME.to_frame("panda"), ValueError, "did you mean 'pandas'?"),
    "other rows": (lambda: BLAME.to_frame(what="node"), ValueError, "did you mean 'nodes'?"),
    "weights": (lambda: BLAME.to_frame(what="weights"), ValueError, "what: expected one of"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_argument_is_named(what: str) -> None:
    call, kind, says = BAD[what]
    with pytest.raises(kind, match=re.escape(says)):
        call()


# Frames

KINDS = ["pandas", "polars"]


def columns(frame: Any) -> dict[str, list[Any]]:
    return {name: frame[name].to_numpy().tolist() for name in frame.columns}


def library(kind: str) -> Any:
    return pytest.importorskip(kind, reason=f"{kind} is not installed: culpa's frames extra")


@pytest.mark.parametrize("kind", KINDS)
def test_frame_of_examples(kind: str) -> None:
    frames = library(kind)
    frame = BLAME.to_frame(kind)
    assert isinstance(frame, frames.DataFrame)
    got = columns(frame)
    assert list(got) == ["example", "loss", "gradient_norm"]
    assert got["example"] == list(range(N))
    assert_close(got["loss"], WALK.losses)
    assert_close(got["gradient_norm"], WALK.gradient_norms)
    assert list(asked_for("losses").to_frame(kind).columns) == ["example", "loss"]
    assert list(asked_for("gradient_norms").to_frame(kind).columns) == ["example", "gradient_norm"]


@pytest.mark.parametrize("kind", KINDS)
def test_frame_of_nodes(kind: str) -> None:
    library(kind)
    got = columns(BLAME.to_frame(kind, "nodes"))
    assert list(got) == ["layer", "node", "mean", "mean_abs", "mean_hidden", "mean_slope"]
    assert list(zip(got["layer"], got["node"], strict=True)) == OWNERS
    assert_close(got["mean"], np.concatenate([nodes.mean(axis=0) for nodes in WALK.nodes]))
    assert_close(
        got["mean_abs"], np.concatenate([np.abs(nodes).mean(axis=0) for nodes in WALK.nodes])
    )
    assert_close(got["mean_hidden"], np.concatenate([h.mean(axis=0) for h in WALK.hidden]))
    assert_close(got["mean_slope"], np.concatenate([s.mean(axis=0) for s in WALK.slopes]))
    for want, names in (("nodes", ["mean", "mean_abs"]), ("slopes", ["mean_slope"])):
        alone = asked_for(want).to_frame(kind, "nodes")
        assert list(alone.columns) == ["layer", "node", *names]


@pytest.mark.parametrize("kind", KINDS)
def test_frame_of_inputs(kind: str) -> None:
    library(kind)
    got = columns(BLAME.to_frame(kind, "inputs"))
    assert list(got) == ["input", "mean", "mean_abs"]
    assert got["input"] == list(range(5))
    assert_close(got["mean"], WALK.inputs.mean(axis=0))
    assert_close(got["mean_abs"], np.abs(WALK.inputs).mean(axis=0))
    got = columns(BLAME.to_frame(kind, "inputs", feature_names=NAMES))
    assert list(got) == ["input", "name", "mean", "mean_abs"]
    assert got["name"] == NAMES


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_of_inputs_brings_its_names(kind: str) -> None:
    frames = library(kind)
    table = frames.DataFrame({name: X[:, i] for i, name in enumerate(NAMES)})
    blame = PROBLEM.model.blame(table, Y)
    assert blame.feature_names == tuple(NAMES)
    assert [who.name for who in blame.top_inputs(5)] == [
        NAMES[who.input] for who in BLAME.top_inputs(5)
    ]
    assert columns(blame.to_frame(kind, "inputs"))["name"] == NAMES
    assert blame.top_inputs(1, feature_names=list("abcde"))[0].name in "abcde"
    groups = blame.groups(frames.Series([["cat", "ant", "bee"][y] for y in Y]))
    assert groups.labels.tolist() == ["ant", "bee", "cat"]


def test_numbered_columns_are_no_names() -> None:
    table = library("pandas").DataFrame(X)
    assert PROBLEM.model.blame(table, Y).feature_names is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_library_says_how_to_get_it(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, kind, None)
    with pytest.raises(ImportError, match=f"pip install {kind}"):
        BLAME.to_frame(kind)


def test_importing_culpa_imports_no_frames() -> None:
    code = (
        "import json, sys, culpa; "
        "print(json.dumps([m for m in ('pandas', 'polars') if m in sys.modules]))"
    )
    assert helpers.last_json(code) == []


def test_want_must_be_names() -> None:
    with pytest.raises(TypeError, match=r"want: expected names among losses, nodes, .*got None"):
        PROBLEM.model.blame(X, Y, want=None)  # type: ignore[arg-type]
