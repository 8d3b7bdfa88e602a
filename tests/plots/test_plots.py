"""Pictures: what is drawn is what was asked for, for nets and data of every size."""

import itertools
import sys
import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import culpa
import helpers
from culpa.plots import _style
from culpa.plots._signals import _spread

REASON = "matplotlib is not installed: culpa's plots extra"
matplotlib = pytest.importorskip("matplotlib", reason=REASON)
plt = pytest.importorskip("matplotlib.pyplot", reason=REASON)

X, Y, X_TEST, Y_TEST = culpa.datasets.digits()
NAMES = ["a_long_feature_name_that_goes_on_and_on_and_on", "income $ per $ year", "x^2_{i}", "b"]


@pytest.fixture(autouse=True)
def _closed_figures() -> Iterator[None]:
    plt.switch_backend("Agg")
    assert plt.get_fignums() == []
    yield
    plt.close("all")


def trained(*layers: tuple[int, str], epochs: int = 3, **options: Any) -> culpa.Sequential:
    options = {"loss": "cross_entropy", "input_scale": 1 / 16, **options}
    model = culpa.Sequential([culpa.Dense(units, name) for units, name in layers], **options)
    model.fit(X, Y, epochs=epochs, verbose=False)
    return model


MODEL = trained((32, "relu"), (16, "tanh"), (10, "identity"))
WRONG = int(np.flatnonzero(MODEL.predict(X_TEST) != Y_TEST)[0])
BLAME = MODEL.blame(X_TEST, Y_TEST)


def texts(artist: Any) -> list[str]:
    """Everything that is written, after drawing it for real."""
    figure = artist.figure if hasattr(artist, "transAxes") else artist
    figure.canvas.draw()
    found = figure.findobj(matplotlib.text.Text)
    return [text.get_text() for text in found if text.get_text() and text.get_visible()]


def dots(ax: Any) -> list[Any]:
    return [c for c in ax.collections if isinstance(c, matplotlib.collections.PathCollection)]


def lines(ax: Any) -> list[Any]:
    return [c for c in ax.collections if isinstance(c, matplotlib.collections.LineCollection)]


def extents(ax: Any, chosen: list[Any]) -> list[Any]:
    ax.figure.canvas.draw()
    # Without the arrows of annotations.
    return [matplotlib.text.Text.get_window_extent(text) for text in chosen]


def assert_apart(boxes: list[Any]) -> None:
    for a, b in itertools.combinations(boxes, 2):
        assert not a.overlaps(b), (a, b)


def linear(weights: Any, names: Any = None) -> tuple[culpa.Sequential, Any]:
    """A model of one layer, and an example of ones whose target is 0."""
    weights = np.asarray(weights, np.float64)
    model = culpa.Sequential(
        [culpa.Dense(weights.shape[1])], "mse", input_size=len(weights), dtype="float64"
    )
    model.layers[0].weight = weights
    ones: Any = np.ones((1, len(weights)))
    if names is not None:
        pandas = pytest.importorskip("pandas", reason="pandas is not installed: the frames extra")
        ones = pandas.DataFrame(ones, columns=names)
    return model, ones


# The network


def test_network_draws_a_column_per_layer() -> None:
    ax = culpa.plots.network(MODEL, X_TEST, Y_TEST, WRONG)
    assert [len(column.get_offsets()) for column in dots(ax)] == [12, 12, 12, 10]
    written = texts(ax)
    assert {"+ 52 more", "+ 20 more", "+ 4 more"} <= set(written)
    guess, label = MODEL.predict(X_TEST)[WRONG], Y_TEST[WRONG]
    assert ax.get_title(loc="left").startswith(f"Example {WRONG}: said {guess}, was {label} (loss ")
    heads = [text.partition("\nsignals up to")[0] for text in written if "signals" in text]
    assert heads == ["inputs\n64", "dense_0\n32 relu", "dense_1\n16 tanh", "dense_2\n10 nodes"]
    assert f"{label}: {MODEL.predict_proba(X_TEST)[WRONG, label]:.0%}  ← label" in written
    assert {"too high", "too low"} <= set(written)


@pytest.mark.parametrize("stack", helpers.STACKS)
def test_network_draws_the_dense_layers_of_any_stack(stack: str) -> None:
    model = culpa.Sequential(helpers.STACKS[stack], "mse", input_size=5)
    helpers.shake(model)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(1, 5)), rng.normal(size=(1, model.output_size))
    ax, blame = culpa.plots.network(model, x, y), model.blame(x, y)
    heads = [text.split("\n")[0] for text in texts(ax) if "signals up to" in text]
    assert heads == ["inputs", *(layer.name for layer in blame.layers)]
    for column, signals in zip(dots(ax), [blame.inputs, *blame.nodes], strict=True):
        chosen = np.sort(np.argsort(-np.abs(signals[0]), kind="stable")[:12])
        largest = np.abs(signals[0]).max() or 1.0
        assert np.allclose(column.get_array(), signals[0][chosen] / largest, atol=1e-5)


def test_network_shows_the_most_blamed_nodes_in_the_colour_of_their_blame() -> None:
    ax = culpa.plots.network(MODEL, X_TEST, Y_TEST, WRONG, nodes=5)
    for column, signals in zip(dots(ax), [BLAME.inputs, *BLAME.nodes], strict=True):
        signal = signals[WRONG]
        chosen = np.sort(np.argsort(-np.abs(signal), kind="stable")[:5])
        assert np.allclose(column.get_array(), signal[chosen] / np.abs(signal).max(), atol=1e-5)
    who = [who.node for who in BLAME.top_nodes(5, example=WRONG, layer="dense_0")]
    assert {str(node) for node in who} <= set(texts(ax))


def test_network_draws_the_strongest_connections() -> None:
    ax = culpa.plots.network(MODEL, X_TEST, Y_TEST, WRONG, connections=7)
    gradient = MODEL.blame(X_TEST[[WRONG]], Y_TEST[[WRONG]]).weights
    last = lines(ax)[-1]
    assert [len(each.get_segments()) for each in lines(ax)] == [7, 7, 7]
    shown = np.sort(np.argsort(-np.abs(BLAME.nodes[1][WRONG]), kind="stable")[:12])
    part = gradient[2][shown]
    i, j = np.unravel_index(np.abs(part).argmax(), part.shape)
    strongest = last.get_segments()[-1]  # on top
    assert strongest.tolist() == [[2.0, 5.5 - i], [3.0, 4.5 - j]]
    assert np.argmax(last.get_linewidths()) == 6
    red = part[i, j] > 0
    assert (last.get_colors()[-1][0] > last.get_colors()[-1][2]) == red
    assert lines(culpa.plots.network(MODEL, X_TEST, Y_TEST, connections=0)) == []


@pytest.mark.parametrize("names", [None, NAMES])
def test_network_of_a_frame(names: Any) -> None:
    model, frame = linear([[2.0], [-1.0], [0.5], [0.0]], NAMES)
    ax = culpa.plots.network(model, frame, [0.0], feature_names=names)
    written = texts(ax)
    assert "a_long_feature…_and_on = 1" in written
    assert {"income $ per $ year = 1", "x^2_{i} = 1", "b = 1"} <= set(written)
    assert "output 0: 1.5" in written
    assert ax.get_title(loc="left") == "Example 0: said 1.5, was 0 (loss 2.25)"


@pytest.mark.parametrize("width", [1, 2, 300])
def test_network_of_any_width(width: int) -> None:
    model, ones = linear(np.zeros((width, width)))
    ax = culpa.plots.network(model, ones, np.ones((1, width)), nodes=12)
    shown = min(width, 12)
    assert [len(column.get_offsets()) for column in dots(ax)] == [shown, shown]
    assert ("+ 288 more" in texts(ax)) == (width == 300)


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "poisson", "mae"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_network_of_any_loss(loss: str, outputs: int) -> None:
    model = culpa.Sequential([culpa.Dense(4, "tanh"), culpa.Dense(outputs)], loss, input_size=2)
    y = np.ones((5, outputs))
    ax = culpa.plots.network(model, np.ones((5, 2)), y, 4)
    assert len(dots(ax)[-1].get_offsets()) == outputs
    assert ax.get_title(loc="left").startswith("Example 4: ")


def test_network_names_its_classes() -> None:
    classes = [f"class $_{i}$" for i in range(10)]
    ax = culpa.plots.network(MODEL, X_TEST, Y_TEST, WRONG, class_names=classes)
    label = Y_TEST[WRONG]
    assert f"was class $_{label}$" in ax.get_title(loc="left")
    assert any(text.startswith(f"class $_{label}$: ") for text in texts(ax))
    right = int(np.flatnonzero(MODEL.predict(X_TEST) == Y_TEST)[0])
    ax = culpa.plots.network(MODEL, X_TEST, Y_TEST, right, class_names=classes)
    assert ", and right" in ax.get_title(loc="left")
    ax = culpa.plots.network(MODEL, X_TEST, Y_TEST, WRONG, class_names=["same"] * 10)
    assert "said same, was same" in ax.get_title(loc="left")
    one_hot = np.eye(10)[Y_TEST]
    ax = culpa.plots.network(MODEL, X_TEST, one_hot, right)
    assert ", and right" in ax.get_title(loc="left")


def test_nothing_written_in_a_network_overlaps() -> None:
    model = trained((2000, "relu"), (16, "tanh"), (10, "identity"), epochs=1)
    for ax in (
        culpa.plots.network(MODEL, X_TEST, Y_TEST, WRONG, class_names=["a long class name"] * 10),
        culpa.plots.network(model, X_TEST, Y_TEST, WRONG, nodes=30),
        culpa.plots.network(*linear([[1.0]]), [0.0]),
    ):
        assert_apart(extents(ax, [*ax.texts, ax.xaxis.label, ax._left_title]))


# Inputs


def test_inputs_as_an_image() -> None:
    ax = culpa.plots.inputs(BLAME, 3, shape=np.array([8, 8]))
    assert np.array_equal(ax.images[0].get_array(), BLAME.inputs[3].reshape(8, 8))
    low, high = ax.images[0].get_clim()
    assert -low == high == np.abs(BLAME.inputs[3]).max()  # white is zero
    assert ax.get_title(loc="left") == "Blame of the inputs, example 3"
    assert any(text.startswith("too high") for text in texts(ax))


def test_inputs_beside_the_image_itself() -> None:
    ax = culpa.plots.inputs(BLAME, 3, X=X_TEST, shape=(8, 8))
    left, right, _ = ax.figure.axes
    assert right is ax
    assert np.array_equal(left.images[0].get_array(), X_TEST[3].reshape(8, 8))
    assert np.array_equal(ax.images[0].get_array(), BLAME.inputs[3].reshape(8, 8))
    texts(ax)


def test_inputs_of_coloured_images() -> None:
    model, ones = linear(np.arange(12.0)[:, None])
    ax = culpa.plots.inputs(model.blame(ones, [0.0]), X=ones, shape=(2, 2, 3))
    assert ax.images[0].get_array().shape == (2, 2)
    assert ax.figure.axes[0].images[0].get_array().shape == (2, 2, 3)
    texts(ax)


def test_inputs_as_bars() -> None:
    model, frame = linear([[2.0], [-1.0], [0.5], [0.0]], NAMES)
    ax = culpa.plots.inputs(model.blame(frame, [0.0]))  # 2 (h - y) w = 3 w
    assert [bar.get_width() for bar in ax.patches] == [6.0, -3.0, 1.5, 0.0]
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "a_long_feature_nam…on_and_on",
        *NAMES[1:],
    ]
    red, blue = ax.patches[0].get_facecolor(), ax.patches[1].get_facecolor()
    assert (red[0] > red[2], blue[0] > blue[2]) == (True, False)
    assert {"6", "\N{MINUS SIGN}3", "1.5", "0"} <= set(texts(ax))
    ax = culpa.plots.inputs(model.blame(frame, [0.0]), X=frame, k=2, feature_names=list("wxyz"))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["w = 1", "x = 1"]
    assert "and 2 smaller ones" in ax.get_xlabel()


def test_inputs_of_an_attribution() -> None:
    answer = MODEL.attribute(X_TEST[:5], target=7)
    ax = culpa.plots.inputs(answer, 2)
    assert ax.get_title(loc="left") == "Effect of the inputs on output 7, example 2"
    assert len(ax.patches) == 20
    values = [bar.get_width() for bar in ax.patches]
    top = np.argsort(-np.abs(answer.values[2]), kind="stable")[:20]
    assert np.array_equal(values, answer.values[2][top].astype(np.float64))
    assert ax.get_yticklabels()[0].get_text() == f"input {top[0]}"
    assert "raises it" in ax.get_xlabel()


@pytest.mark.parametrize("weights", [[1.0], [0.0], [-1.0], [1e-9, -1e-9], [1e9, 1.0]])
def test_bars_of_few_inputs_and_any_size(weights: list[float]) -> None:
    model, ones = linear(np.array(weights)[:, None])
    ax = culpa.plots.inputs(model.blame(ones, [-1.0]), X=ones)
    assert len(ax.patches) == len(weights)
    low, high = ax.get_xlim()
    assert low <= 0.0 <= high
    assert low < high
    texts(ax)


def test_numbers_stay_clear_of_names() -> None:
    model, frame = linear([[-12345.0], [12345.0], [-11111.0], [5.0]], NAMES)
    ax = culpa.plots.inputs(model.blame(frame, [-1.0]), X=frame)
    assert_apart(extents(ax, [*ax.texts, *ax.get_yticklabels(), ax._left_title]))


# Examples


def test_gallery_of_the_most_blamed() -> None:
    figure = culpa.plots.examples(BLAME, X_TEST, Y_TEST, MODEL, k=7, shape=(8, 8))
    top = [who.example for who in BLAME.top_examples(7)]
    assert len(figure.axes) == 7
    guesses = MODEL.predict(X_TEST)
    for ax, row in zip(figure.axes, top, strict=True):
        assert np.array_equal(ax.images[0].get_array(), X_TEST[row].reshape(8, 8))
        assert ax.get_title() == f"label {Y_TEST[row]}\nguess {guesses[row]}"
        assert ax.get_xlabel() == f"row {row:,}"
    assert "The 7 examples most to blame" in texts(figure)


def test_gallery_takes_guesses_names_and_rows() -> None:
    names = [f"$digit_{i}$" for i in range(10)]
    guesses = (Y_TEST + 1) % 10
    figure = culpa.plots.examples([4, 2], X_TEST, Y_TEST, guesses, shape=(8, 8), class_names=names)
    assert [ax.get_title() for ax in figure.axes] == [
        f"label {names[Y_TEST[i]]}\nguess {names[guesses[i]]}" for i in (4, 2)
    ]
    figure = culpa.plots.examples(np.array([4]), X_TEST, np.eye(10)[Y_TEST], shape=(4, 16))
    assert figure.axes[0].get_title() == f"label {Y_TEST[4]}"
    assert "Most to blame" in texts(figure)
    words = np.array(["cat", "dog"])[Y_TEST % 2]
    figure = culpa.plots.examples([4], X_TEST, words, words, shape=(8, 8))
    assert figure.axes[0].get_title() == f"label {words[4]}\nguess {words[4]}"


def test_gallery_of_label_errors() -> None:
    """Whatever has a ranking of all rows, their scores and guesses."""
    errors = SimpleNamespace(
        ranking=np.arange(len(Y_TEST))[::-1], scores=np.linspace(0, 1, len(Y_TEST)), guesses=Y_TEST
    )
    figure = culpa.plots.examples(errors, X_TEST, Y_TEST, k=2, shape=(8, 8))
    assert [ax.get_xlabel() for ax in figure.axes] == ["row 359", "row 358"]
    assert figure.axes[0].get_title() == f"label {Y_TEST[359]}\nguess {Y_TEST[359]}"
    ax = culpa.plots.examples(errors, X_TEST, Y_TEST, k=2).axes[0]
    assert [bar.get_width() for bar in ax.patches] == errors.scores[[359, 358]].tolist()


@pytest.mark.parametrize("k", [1, 5, 20, 360, 1000])
def test_galleries_of_any_length(k: int) -> None:
    if k < 360:
        assert len(culpa.plots.examples(BLAME, X_TEST, Y_TEST, k=k, shape=(8, 8)).axes) == k
    ax = culpa.plots.examples(BLAME, X_TEST, Y_TEST, k=k).axes[0]
    assert len(ax.patches) == min(k, 360)


def test_bars_of_examples_without_images() -> None:
    ax = culpa.plots.examples(BLAME, X_TEST, Y_TEST, MODEL, k=3).axes[0]
    top = BLAME.top_examples(3)
    assert [bar.get_width() for bar in ax.patches] == [who.gradient_norm for who in top]
    guesses = MODEL.predict(X_TEST)
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        f"row {row}: label {Y_TEST[row]}, guess {guesses[row]}" for row in (w.example for w in top)
    ]
    losses = MODEL.blame(X_TEST, Y_TEST, want="losses")
    ax = culpa.plots.examples(losses, X_TEST, Y_TEST, k=3).axes[0]
    assert ax.get_xlabel() == "loss"
    regression, ones = linear([[2.5]])
    ax = culpa.plots.examples(regression.blame(ones, [0.25]), ones, [0.25], regression).axes[0]
    assert ax.get_yticklabels()[0].get_text() == "row 0: label 0.25, guess 2.5"
    texts(culpa.plots.examples([1, 2], X_TEST, Y_TEST))


@pytest.mark.parametrize("y", [[0, 1, 1], [0.0, 1.0, 1.0], [False, True, True], [[0], [1], [1]]])
def test_a_binary_label_and_its_guess_are_written_alike(y: Any) -> None:
    model = culpa.Sequential([culpa.Dense(1)], "binary_cross_entropy", input_size=2)
    model.layers[0].weight, model.layers[0].bias = [[1.0], [0.0]], [-0.5]
    x = np.array([[0.0, 1.0], [0.0, 2.0], [1.0, 0.0]])
    for shape in (None, (1, 2)):
        written = texts(
            culpa.plots.examples([0, 1], x, y, model, shape=shape, class_names=["a", "b"])
        )
        said = [
            text.partition("label ")[2].replace("\n", ", ") for text in written if "label" in text
        ]
        assert said == ["a, guess a", "b, guess a"]
        written = texts(culpa.plots.examples([1], x, np.array(y, int), model, shape=shape))
        assert any("label 1" in text and "guess 0" in text for text in written)


def test_several_outputs_are_written_out_where_they_are_no_classes() -> None:
    y = np.array([[0.5, -2.0, 3.0]])
    regression, ones = linear([[1.0, 2.0, 3.0]])
    ax = culpa.plots.examples([0], ones, y, regression).axes[0]
    label = ax.get_yticklabels()[0].get_text()
    assert label == "row 0: label 0.5, −2, 3, guess 1, 2, 3"
    binary = culpa.Sequential([culpa.Dense(3)], "binary_cross_entropy", input_size=1)
    binary.layers[0].weight = [[1.0, -1.0, 1.0]]
    ax = culpa.plots.examples([0], ones, [[0, 1, 0]], binary).axes[0]
    assert ax.get_yticklabels()[0].get_text() == "row 0: label 0, 1, 0, guess 1, 0, 1"


def test_gallery_of_influence_says_which_order_to_pass() -> None:
    influence = MODEL.influence(X, Y, X_TEST[:2], Y_TEST[:2], top=3)
    with pytest.raises(TypeError, match=r"ranking: .*got an Influence.*pass influence.proponents"):
        culpa.plots.examples(influence, X, Y)
    figure = culpa.plots.examples(influence.proponents[0], X, Y, MODEL, shape=(8, 8))
    assert [ax.get_xlabel() for ax in figure.axes] == [
        f"row {row:,}" for row in influence.proponents[0]
    ]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_an_attribution_knows_the_names_of_a_frames_columns(library: str) -> None:
    frames = pytest.importorskip(library, reason=f"{library} is not installed: the frames extra")
    model, _ = linear([[1.0], [-3.0], [2.0]])
    frame = frames.DataFrame({"age": [1.0], "height": [1.0], "pulse": [1.0]})
    answer = model.attribute(frame, method="gradient")
    assert answer.feature_names == ("age", "height", "pulse")
    ax = culpa.plots.inputs(answer)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["height", "pulse", "age"]
    assert model.attribute(np.ones((1, 3))).feature_names is None


# Signals


def checked(*layers: tuple[int, str], epochs: int, every_epochs: int = 1) -> culpa.HealthCheck:
    check = culpa.HealthCheck(every_epochs=every_epochs, max_examples=100)
    model = culpa.Sequential(
        [culpa.Dense(units, name) for units, name in layers], "cross_entropy", input_scale=1 / 16
    )
    model.fit(X, Y, epochs=epochs, callbacks=check, verbose=False)
    return check


def test_signals_draw_a_line_per_layer_with_its_name_at_its_end() -> None:
    check = checked((16, "relu"), (8, "tanh"), (10, "identity"), epochs=4, every_epochs=2)
    ax = culpa.plots.signals(check)
    assert ax.get_yscale() == "log"
    for line, norms in zip(ax.lines, check.signal_norms.T, strict=True):
        assert line.get_xdata().tolist() == [2, 4]
        assert np.array_equal(line.get_ydata(), norms)
    assert [text.get_text() for text in ax.texts] == ["dense_0", "dense_1", "dense_2"]
    for text, line in zip(ax.texts, ax.lines, strict=True):
        assert text.xy == (4.0, line.get_ydata()[-1])
        assert text.get_color() == line.get_color()


@pytest.mark.parametrize("layers", [1, 9, 25])
@pytest.mark.parametrize("epochs", [1, 2])
def test_names_of_lines_stay_apart(layers: int, epochs: int) -> None:
    check = checked(*[(6, "tanh")] * (layers - 1), (10, "identity"), epochs=epochs)
    ax = culpa.plots.signals(check)
    assert len(ax.texts) == layers
    assert_apart(extents(ax, ax.texts))


def test_lines_without_room_for_all_names_name_the_first_and_the_last() -> None:
    check = checked(*[(4, "tanh")] * 40, (10, "identity"), epochs=2)
    _, ax = plt.subplots(figsize=(4, 2), layout="constrained")
    culpa.plots.signals(check, ax=ax)
    names = [text.get_text() for text in ax.texts]
    assert len(ax.lines) == 41
    assert (names[0], names[-1]) == ("dense_0", "dense_40")
    assert 5 < len(names) < 25
    assert_apart(extents(ax, ax.texts))


def test_signals_that_are_zero_or_alike() -> None:
    check = checked((4, "relu"), (10, "identity"), epochs=2)
    row = check.diagnoses[0].layers
    for norms, labels in (
        ((0.0, 0.0), ["no error signal in any layer"]),
        ((0.0, 2.0), ["dense_1"]),
        ((2.0, 2.0), ["dense_0", "dense_1"]),
        ((np.nan, 1e-30), ["dense_1"]),
    ):
        layers = tuple(x._replace(signal_norm=n) for x, n in zip(row, norms, strict=True))
        check.diagnoses = [
            culpa.Diagnosis(layers, [], d.loss, d.chance_loss, d.examples) for d in check.diagnoses
        ]
        ax = culpa.plots.signals(check)
        assert [text.get_text() for text in ax.texts] == labels
        low, high = ax.get_ylim()
        assert 0 < low < high
        texts(ax)


def test_labels_move_apart_as_little_as_they_can() -> None:
    assert _spread(np.array([0.5, 0.1]), 0.1).tolist() == [0.5, 0.1]
    assert _spread(np.array([0.5, 0.5]), 0.1) == pytest.approx([0.45, 0.55])
    crowd = _spread(np.array([0.9, 0.5, 0.5, 0.52]), 0.1)
    assert np.diff(np.sort(crowd)).min() > 0.1 - 1e-12
    assert crowd[0] == 0.9


# Whatever is drawn


def test_axes_can_be_given() -> None:
    check = checked((10, "identity"), epochs=1)
    _, ax = plt.subplots()
    for draw in (
        lambda ax: culpa.plots.network(MODEL, X_TEST, Y_TEST, ax=ax),
        lambda ax: culpa.plots.inputs(BLAME, ax=ax),
        lambda ax: culpa.plots.inputs(BLAME, shape=(8, 8), ax=ax),
        lambda ax: culpa.plots.signals(check, ax=ax),
    ):
        assert draw(ax) is ax
        with pytest.raises(TypeError, match="ax: expected matplotlib Axes, got 3"):
            draw(3)
        texts(ax)
        ax.clear()
    assert len(plt.get_fignums()) == 1
    figure = plt.figure(figsize=(16, 5), layout="constrained")
    left, right = figure.subfigures(1, 2)
    culpa.plots.network(MODEL, X_TEST, Y_TEST, ax=left.subplots())
    culpa.plots.signals(check, ax=right.subplots())
    assert "epoch" in texts(figure)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (3.0, "3"),
        (-3, "-3"),
        (12345.6, "12,346"),
        (99.96, "100"),
        (0.012345, "0.0123"),
        (1e7, "1e+07"),
        (-1e-6, "-1e-06"),
        (np.nan, "nan"),
        (-np.inf, "-inf"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert _style.number(value) == text.replace("-", "\N{MINUS SIGN}")


def test_long_names_keep_their_ends() -> None:
    assert _style.shorten("a" * 20 + "_1", 12) == "aaaaaaa…aa_1"
    assert len(_style.shorten("x" * 99, 12)) == 12
    assert _style.shorten("two\nlines") == "two lines"


def test_errors_name_the_argument() -> None:
    plots = culpa.plots
    for error, message, draw in (
        (TypeError, "model: expected a culpa", lambda: plots.network(3, X, Y)),
        (ValueError, "example: expected a row of X, 0 to 1436, got 1437",
         lambda: plots.network(MODEL, X, Y, 1437)),
        (TypeError, "example: expected an integer", lambda: plots.network(MODEL, X, Y, "a")),
        (ValueError, "nodes: expected", lambda: plots.network(MODEL, X, Y, nodes=0)),
        (ValueError, "connections: expected", lambda: plots.network(MODEL, X, Y, connections=-1)),
        (ValueError, "y: expected one entry", lambda: plots.network(MODEL, X, Y[:3])),
        (ValueError, "feature_names: expected 64 names, got 2",
         lambda: plots.network(MODEL, X, Y, feature_names=["a", "b"])),
        (TypeError, "class_names: expected a list of 10 names",
         lambda: plots.network(MODEL, X, Y, class_names="0123456789")),
        (TypeError, "values: expected what model", lambda: plots.inputs(X)),
        (ValueError, "example: expected a row of X, 0 to 359", lambda: plots.inputs(BLAME, 360)),
        (ValueError, "k: expected", lambda: plots.inputs(BLAME, k=0)),
        (ValueError, "shape: .* 64 inputs", lambda: plots.inputs(BLAME, shape=(8, 9))),
        (TypeError, "shape: expected", lambda: plots.inputs(BLAME, shape=64)),
        (ValueError, "shape: .*width, 3", lambda: plots.inputs(BLAME, shape=(8, 8, 1))),
        (ValueError, "X: expected shape", lambda: plots.inputs(BLAME, X=X)),
        (ValueError, "ax: expected None for two",
         lambda: plots.inputs(BLAME, X=X_TEST, shape=(8, 8), ax=plt.subplots()[1])),
        (AttributeError, "inputs was not asked for",
         lambda: plots.inputs(MODEL.blame(X, Y, want="losses"))),
        (TypeError, "ranking: expected", lambda: plots.examples([0.5], X, Y)),
        (ValueError, "ranking: expected rows of X, 0 to 1436",
         lambda: plots.examples([1437], X, Y)),
        (ValueError, "X: expected the 360 examples", lambda: plots.examples(BLAME, X, Y)),
        (ValueError, "y: expected one entry for each of the 1437 rows of X, got 1",
         lambda: plots.examples([0], X, [1])),
        (ValueError, "guesses: expected a model", lambda: plots.examples([0], X, Y, [1])),
        (ValueError, "class_names: expected a name for class",
         lambda: plots.examples(np.arange(99), X, Y, class_names=["zero"])),
        (AttributeError, "neither losses nor gradient_norms",
         lambda: plots.examples(MODEL.blame(X, Y, want="nodes"), X, Y)),
        (TypeError, "health_check: expected a culpa.HealthCheck", lambda: plots.signals(3)),
        (ValueError, "health_check: expected at least one epoch",
         lambda: plots.signals(culpa.HealthCheck())),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            draw()
    assert len(plt.get_fignums()) == 1  # what was refused leaves no empty figure behind


def test_without_matplotlib_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    check = checked((10, "identity"), epochs=1)
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    for draw in (
        lambda: culpa.plots.network(MODEL, X, Y),
        lambda: culpa.plots.inputs(BLAME),
        lambda: culpa.plots.examples(BLAME, X_TEST, Y_TEST),
        lambda: culpa.plots.examples(BLAME, X_TEST, Y_TEST, shape=(8, 8)),
        lambda: culpa.plots.signals(check),
    ):
        with pytest.raises(ImportError, match=r'pip install "culpa\[plots\]"'):
            draw()


def test_importing_culpa_imports_no_matplotlib() -> None:
    code = (
        "import json, sys, culpa; culpa.plots.network; "
        "print(json.dumps([m for m in sys.modules if m.startswith(('matplotlib', 'PIL'))]))"
    )
    assert helpers.last_json(code) == []


def test_drawing_warns_of_nothing_and_draws_the_same_each_time() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pictures = []
        for _ in range(2):
            figure = culpa.plots.network(MODEL, X_TEST, Y_TEST, WRONG).figure
            figure.canvas.draw()
            pictures.append(np.asarray(figure.canvas.buffer_rgba()).copy())
    assert np.array_equal(*pictures)
