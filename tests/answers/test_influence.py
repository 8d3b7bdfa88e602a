"""Influence equals dot products of explicit per-example gradients; the top is that of the matrix.

Error is reference.relative_error, max|a - b| / max|b| of each array: at most 1e-10 in float64 and
1e-4 in float32.
"""

import os
import pathlib
import signal
import threading
from typing import Any

import numpy as np
import pytest

import culpa
import helpers
import reference
from culpa import _core
from helpers import ACTIVATIONS, DTYPES, LOSSES, TOLERANCE, assert_close

CROSS_ENTROPY, MSE = LOSSES[0], LOSSES[5]


def oracle_gradients(problem: helpers.Problem) -> reference.Array:
    """Each example's whole gradient, (n, parameters): (h outer delta, delta) of every layer."""
    X = problem.X * problem.model.input_scale
    _, hiddens = reference.forward(problem.parameters, X, problem.activations, problem.alphas)
    parts = []
    for h, delta in zip(hiddens[:-1], problem.walk.nodes, strict=True):
        parts += [(h[:, :, None] * delta[:, None, :]).reshape(len(h), -1), delta]
    return np.concatenate(parts, axis=1)


def make(
    widths: Any = (7, 33, 17, 5),
    activations: Any = ("tanh", "gelu", "identity"),
    train: int = 29,
    test: int = 13,
    case: Any = CROSS_ENTROPY,
    **options: Any,
) -> tuple[helpers.Problem, tuple[Any, Any, Any, Any], reference.Array]:
    """A problem, its examples as influence takes them, and the scores (test, train)."""
    problem = helpers.make_problem(widths, activations, case, train + test, **options)
    gradients = oracle_gradients(problem)
    X, y = problem.X, problem.y
    parts = X[:train], y[:train], X[train:], y[train:]
    return problem, parts, gradients[train:] @ gradients[:train].T


def ranked(scores: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows by falling and by rising score, ties by index, NaN last."""
    return tuple(  # type: ignore[return-value]
        np.array(
            [
                sorted(range(len(row)), key=lambda i: (np.isnan(row[i]), sign * row[i], i))[:top]
                for row in scores
            ]
        )
        for sign in (-1.0, 1.0)
    )


def assert_top_is_that_of(scores: np.ndarray, answer: culpa.Influence, top: int) -> None:
    proponents, opponents = ranked(scores, top)
    np.testing.assert_array_equal(answer.proponents, proponents)
    np.testing.assert_array_equal(answer.opponents, opponents)
    assert answer.proponents is not None
    assert answer.proponents.dtype == np.int64
    for rows, values in (
        (proponents, answer.proponent_scores),
        (opponents, answer.opponent_scores),
    ):
        np.testing.assert_array_equal(values, np.take_along_axis(scores, rows, axis=1))


# The scores


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", LOSSES, ids=str)
def test_scores_of_every_loss_equal_explicit_gradients(case: Any, dtype: str) -> None:
    problem, parts, want = make(case=case, dtype=dtype)
    answer = problem.model.influence(*parts)
    assert_close("scores", answer.scores, want, TOLERANCE[dtype])
    assert answer.scores is not None
    assert answer.scores.dtype == dtype
    assert answer.proponents is answer.opponents is answer.proponent_scores is None


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_scores_of_every_activation_equal_explicit_gradients(activation: str) -> None:
    problem, parts, want = make(activations=(activation, activation, "identity"))
    assert_close("scores", problem.model.influence(*parts).scores, want, 1e-10)


SHAPES = [
    ((1, 1), 1, 1),
    ((1, 1), 2, 3),
    ((1, 1, 1), 5, 1),
    ((3, 2), 1, 40),
    ((2, 65, 1), 64, 33),
    ((17, 16, 15, 3), 63, 16),
    ((33, 31, 2), 130, 65),
    ((9, 8, 4), 600, 150),  # several blocks of training examples and tiles of tests
    ((100, 3), 31, 32),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("widths", "train", "test"), SHAPES)
def test_scores_of_odd_shapes_equal_explicit_gradients(
    widths: tuple[int, ...], train: int, test: int, dtype: str
) -> None:
    activations = ["tanh"] * (len(widths) - 2) + ["identity"]
    problem, parts, want = make(widths, activations, train, test, MSE, dtype=dtype)
    scores = problem.model.influence(*parts).scores
    assert_close("scores", scores, want, TOLERANCE[dtype])
    assert_top_is_that_of(np.asarray(scores), problem.model.influence(*parts, top=3), min(3, train))


def test_input_scale_and_dropout_count_as_in_blame() -> None:
    problem, parts, want = make(input_scale=1 / 16)
    assert_close("scores", problem.model.influence(*parts).scores, want, 1e-10)
    dropped = helpers.make_model(
        problem.parameters,
        problem.activations,
        problem.case.loss,
        dropout=[0.5, 0.2, 0.9],
        dtype="float64",
        input_scale=1 / 16,
    )
    assert_close("scores", dropped.influence(*parts).scores, want, 1e-10)


def test_of_an_example_on_itself_it_is_the_squared_gradient_norm() -> None:
    problem, (X, y, _, _), _ = make()
    scores = problem.model.influence(X, y, X, y).scores
    assert scores is not None
    norms = problem.model.blame(X, y, want="gradient_norms").gradient_norms
    np.testing.assert_allclose(np.diag(scores), norms**2, rtol=1e-12)
    np.testing.assert_array_equal(scores, scores.T)


def test_the_sign_says_whether_a_step_on_the_training_example_helps() -> None:
    problem, (X, y, X_test, y_test), _ = make(train=6, test=4, case=MSE)
    model = problem.model
    scores = model.influence(X, y, X_test, y_test).scores
    assert scores is not None
    before = model.blame(X_test, y_test, want=("losses",)).losses
    rate = 1e-6
    for i in range(len(X)):
        other = model.copy()
        other.fit(X[i : i + 1], y[i : i + 1], epochs=1, optimizer=culpa.SGD(rate), verbose=False)
        fall = before - other.blame(X_test, y_test, want=("losses",)).losses
        np.testing.assert_allclose(fall / rate, scores[:, i], atol=1e-3 * np.abs(scores).max())


@pytest.mark.parametrize("top", [None, 4])
def test_any_layout_of_the_same_numbers_gives_the_same_bits(top: int | None) -> None:
    problem, (X, y, X_test, y_test), _ = make(dtype="float32")
    want = problem.model.influence(X, y, X_test, y_test, top=top)
    wide = np.zeros((3 * len(X), 2 * X.shape[1]))
    wide[::3, ::2] = X
    for a, b in (
        (X.astype(np.float32), X_test.astype(np.float32)),
        (np.asfortranarray(X), X_test[::-1][::-1]),
        (wide[::3, ::2], X_test.tolist()),
    ):
        got = problem.model.influence(a, y.tolist(), b, y_test.astype(np.int16), top=top)
        for name, value in vars(want).items():
            np.testing.assert_array_equal(getattr(got, name), value)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("top", [None, 5])
def test_same_bits_at_any_thread_count(top: int | None, dtype: str) -> None:
    problem, parts, _ = make((9, 8, 4), ("relu", "identity"), 1200, 130, dtype=dtype)
    before, answers = culpa.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            culpa.set_num_threads(threads)
            _core.force_plan(threads)
            answer = problem.model.influence(*parts, top=top)
            answers.append([None if v is None else v.tobytes() for v in vars(answer).values()])
    finally:
        _core.force_plan(0)
        culpa.set_num_threads(before)
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize("loss", ["CrossEntropyLoss", "MSELoss"])
def test_scores_equal_those_of_torch_func(loss: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare to")
    case = CROSS_ENTROPY if loss == "CrossEntropyLoss" else MSE
    problem, (X, y, X_test, y_test), _ = make(activations=("relu", "tanh", "identity"), case=case)
    layers: list[Any] = []
    for (weight, bias), activation in zip(
        problem.parameters, (torch.nn.ReLU(), torch.nn.Tanh(), torch.nn.Identity()), strict=True
    ):
        layer = torch.nn.Linear(*weight.shape, dtype=torch.float64)
        layer.weight.data, layer.bias.data = torch.tensor(weight.T.copy()), torch.tensor(bias)
        layers += [layer, activation]
    network = torch.nn.Sequential(*layers)
    parameters = {name: value.detach() for name, value in network.named_parameters()}
    criterion = getattr(torch.nn, loss)()

    def example_loss(parameters: Any, x: Any, y: Any) -> Any:
        outputs = torch.func.functional_call(network, parameters, (x[None],))
        return criterion(outputs, y[None])

    each = torch.func.vmap(torch.func.grad(example_loss), in_dims=(None, 0, 0))

    def gradients(X: Any, y: Any) -> Any:
        parts = each(parameters, torch.tensor(X), torch.tensor(y)).values()
        return torch.cat([part.flatten(1) for part in parts], dim=1)

    want = gradients(X_test, y_test) @ gradients(X, y).T
    got = problem.model.influence(X, y, X_test, y_test).scores
    assert_close("scores", got, want.numpy(), 1e-10)


# The top


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("top", [1, 2, 7, 28, 29, 30, 1000])
def test_the_top_is_that_of_the_sorted_matrix(top: int, dtype: str) -> None:
    problem, parts, _ = make(dtype=dtype)
    scores = problem.model.influence(*parts).scores
    answer = problem.model.influence(*parts, top=top)
    assert scores is not None
    assert answer.scores is None
    assert answer.proponents is not None
    assert answer.proponents.shape == (13, min(top, 29))
    assert_top_is_that_of(scores, answer, top)


def test_the_top_of_many_blocks_is_that_of_the_sorted_matrix() -> None:
    problem, parts, _ = make((9, 8, 4), ("relu", "identity"), 1700, 150, dtype="float32")
    scores = problem.model.influence(*parts).scores
    assert scores is not None
    for threads in (1, 2, 3):
        with helpers.plan(threads):
            assert_top_is_that_of(scores, problem.model.influence(*parts, top=9), 9)


def test_tests_that_do_not_fit_into_memory_together_are_taken_in_turns() -> None:
    # The wider the network, the fewer tests are kept at a time: here about 830.
    model = culpa.Sequential(
        [culpa.Dense(8, "tanh"), culpa.Dense(3)], "cross_entropy", input_size=40_000
    )
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, (10, 40_000), dtype=np.uint8)
    y = rng.integers(0, 3, 10)
    tests = rng.integers(0, 10, 1100)
    answer = model.influence(X, y, X[tests], y[tests], top=2)
    each = model.influence(X, y, X, y)
    assert each.scores is not None
    assert_top_is_that_of(each.scores[tests], answer, 2)
    full = model.influence(X, y, X[tests], y[tests]).scores
    np.testing.assert_array_equal(full, each.scores[tests])


def test_ties_go_to_the_lowest_row() -> None:
    problem, (X, y, X_test, y_test), _ = make(train=5, dtype="float32")
    rows = np.random.default_rng(1).integers(0, 5, 700)
    for threads in (1, 2, 3):
        with helpers.plan(threads):
            scores = problem.model.influence(X[rows], y[rows], X_test, y_test).scores
            answer = problem.model.influence(X[rows], y[rows], X_test, y_test, top=300)
        assert scores is not None
        assert len(np.unique(scores[0])) <= 5
        assert_top_is_that_of(scores, answer, 300)


def test_examples_without_a_gradient_have_no_influence() -> None:
    model = culpa.Sequential([culpa.Dense(1, initializer="zeros")], "mse", input_size=2)
    answer = model.influence(np.ones((600, 2)), np.zeros(600), np.ones((3, 2)), np.ones(3), top=4)
    np.testing.assert_array_equal(answer.proponents, [[0, 1, 2, 3]] * 3)
    np.testing.assert_array_equal(answer.opponents, [[0, 1, 2, 3]] * 3)
    assert not np.any(answer.proponent_scores)


def test_what_is_not_a_number_comes_last() -> None:
    model = culpa.Sequential([culpa.Dense(2, initializer="zeros")], "mse", input_size=1)
    X = np.array([[1e30], [1.0], [2.0], [-1e30]])  # 1e30^2 overflows; times a delta of 0: NaN
    y = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    test = np.array([[1e30]]), np.array([[1.0, 1.0]])
    scores = model.influence(X, y, *test).scores
    assert scores is not None
    assert np.isnan(scores[0]).any()
    for top in (1, 2, 3, 4):
        assert_top_is_that_of(scores, model.influence(X, y, *test, top=top), top)


# Checkpoints


def test_checkpoints_add_up_each_times_its_learning_rate(tmp_path: pathlib.Path) -> None:
    problem, parts, _ = make()
    models, want = [], 0.0
    rates = [0.5, 0.0, 2.0, 0.25]
    for seed, rate in enumerate(rates):
        parameters = helpers.random_parameters((7, 33, 17, 5), np.random.default_rng(seed))
        other = helpers.Problem(
            helpers.make_model(parameters, problem.activations, problem.case.loss, dtype="float64"),
            parameters,
            *(problem.activations, problem.alphas, problem.case, problem.X, problem.y, None),
        )
        gradients = oracle_gradients(other)
        want = want + rate * (gradients[29:] @ gradients[:29].T)
        models.append(other.model)
    path = tmp_path / "model.safetensors"
    models[1].save(path)
    models[3].save(str(path) + "2")
    checkpoints = [models[0], path, models[2].state_dict(), str(path) + "2"]
    before = helpers.parameter_bytes(problem.model)
    answer = problem.model.influence(*parts, checkpoints=checkpoints, learning_rates=rates)
    assert_close("scores", answer.scores, want, 1e-10)
    assert helpers.parameter_bytes(problem.model) == before
    assert answer.scores is not None
    assert_top_is_that_of(
        answer.scores,
        problem.model.influence(
            *parts, checkpoints=tuple(checkpoints), learning_rates=np.array(rates), top=6
        ),
        6,
    )


def test_one_checkpoint_needs_no_list_and_one_model_may_come_twice(tmp_path: pathlib.Path) -> None:
    problem, parts, want = make()
    path = tmp_path / "model.safetensors"
    problem.model.save(path)
    for one in (problem.model, problem.model.state_dict(), path, str(path)):
        got = problem.model.influence(*parts, checkpoints=one, learning_rates=2)
        assert_close("scores", got.scores, 2 * want, 1e-10)
    twice = problem.model.influence(*parts, checkpoints=[problem.model] * 2)
    assert_close("scores", twice.scores, 2 * want, 1e-10)


def test_a_callback_may_keep_checkpoints_while_training_goes_on() -> None:
    X, y, X_test, y_test = culpa.datasets.digits()
    model = culpa.Sequential(
        [culpa.Dense(16, "relu"), culpa.Dense(10)], "cross_entropy", input_scale=1 / 16
    )
    kept: list[Any] = []
    seen: list[Any] = []

    def keep(training: Any) -> None:
        kept.append(training.model.state_dict())
        seen.append(training.model.influence(X[:50], y[:50], X_test[:9], y_test[:9]).scores)

    model.fit(X, y, epochs=3, callbacks=keep, verbose=False)
    got = model.influence(X[:50], y[:50], X_test[:9], y_test[:9], checkpoints=kept).scores
    np.testing.assert_allclose(got, sum(seen), rtol=1e-4, atol=1e-5 * np.abs(sum(seen)).max())


# What it is given


def test_it_says_what_it_holds() -> None:
    problem, parts, _ = make()
    assert repr(problem.model.influence(*parts)) == (
        "<Influence: 29 training examples on 13 test examples>"
    )
    assert repr(problem.model.influence(*parts, top=3)) == (
        "<Influence: the top 3 and the last 3 on 13 test examples>"
    )


def other(**options: Any) -> culpa.Sequential:
    options = {"input_size": 2, "loss": "cross_entropy", **options}
    return culpa.Sequential([culpa.Dense(4, "relu"), culpa.Dense(3)], **options)


BAD = [
    ({"top": 0}, ValueError, "top: expected an integer of at least 1, got 0; None gives all"),
    ({"top": 2.0}, TypeError, "top: expected an integer"),
    ({"top": "all"}, TypeError, "top: expected an integer"),
    ({"X_train": np.zeros((0, 2))}, ValueError, "X_train: expected at least one row"),
    ({"X_test": np.zeros((0, 2))}, ValueError, "X_test: expected at least one row"),
    ({"X_train": np.zeros((4, 3))}, ValueError, "X_train: expected 2 columns"),
    ({"X_test": np.zeros(2)}, ValueError, "X_test: expected shape \\(n, 2\\)"),
    ({"X_test": [[0, np.nan]] * 3}, ValueError, "X_test: .*got nan in row 0, column 1"),
    ({"y_train": [0, 1, 2, 3]}, ValueError, "y_train: expected class indices 0 to 2"),
    ({"y_test": [0, 1]}, ValueError, "y_test: expected one entry for each of the 3 rows"),
    ({"checkpoints": []}, ValueError, "checkpoints: expected at least one, got none"),
    ({"checkpoints": 3}, TypeError, "checkpoints\\[0\\]: expected a culpa.Sequential, the path"),
    ({"checkpoints": [None]}, TypeError, "checkpoints\\[0\\]: expected a culpa.Sequential"),
    ({"checkpoints": "nowhere"}, FileNotFoundError, "checkpoints\\[0\\]: path: expected a file"),
    ({"checkpoints": [{}]}, (ValueError, RuntimeError), "checkpoints\\[0\\]: "),
    (
        {"checkpoints": [other().state_dict(), {"dense_0.weight": np.zeros((2, 4))}]},
        ValueError,
        "checkpoints\\[1\\]: state: expected the key 'dense_0.bias' too",
    ),
    (
        {"checkpoints": other(input_size=5).state_dict()},
        ValueError,
        "checkpoints\\[0\\]: state: expected 2 inputs, got 5",
    ),
    ({"checkpoints": other(loss="mse")}, ValueError, "expected loss as the model's, .*got .*mse"),
    ({"checkpoints": other(dtype="float64")}, ValueError, "expected dtype as the model's, float32"),
    ({"checkpoints": other(input_size=None)}, ValueError, "expected input_size as .*, 2, got None"),
    ({"checkpoints": other(input_scale=2.0)}, ValueError, "expected input_scale as the model's"),
    (
        {"checkpoints": culpa.Sequential([culpa.Dense(3)], "cross_entropy", input_size=2)},
        ValueError,
        "expected layers as the model's",
    ),
    ({"learning_rates": -1.0}, ValueError, "learning_rates: expected a finite number"),
    ({"learning_rates": np.nan}, ValueError, "learning_rates: expected a finite number"),
    ({"learning_rates": [0.1, 0.2]}, ValueError, "one for each of the 1 checkpoints, got shape"),
    ({"learning_rates": [np.inf]}, ValueError, "learning_rates: expected a finite number"),
    ({"learning_rates": "fast"}, TypeError, "learning_rates: "),
]


@pytest.mark.parametrize(("change", "kind", "message"), BAD)
def test_bad_input_is_named(change: dict[str, Any], kind: Any, message: str) -> None:
    call: dict[str, Any] = {
        "X_train": np.zeros((4, 2)),
        "y_train": [0, 1, 2, 0],
        "X_test": np.ones((3, 2)),
        "y_test": [2, 1, 0],
        **change,
    }
    with pytest.raises(kind, match=message):
        other().influence(**call)


def test_a_model_without_weights_says_so() -> None:
    with pytest.raises(RuntimeError, match="the model has no weights yet"):
        other(input_size=None).influence(np.zeros((4, 2)), [0] * 4, np.zeros((4, 2)), [0] * 4)


def test_rows_of_a_memory_map_that_are_not_finite_are_named(tmp_path: pathlib.Path) -> None:
    data = np.zeros((40, 2), np.float32)
    data[33, 1] = np.inf
    data.tofile(tmp_path / "x")
    X = np.memmap(tmp_path / "x", np.float32, "r", shape=(40, 2))
    with pytest.raises(ValueError, match=r"X_train: .*got inf in row 33, column 1"):
        other().influence(X, [0] * 40, np.ones((3, 2)), [0] * 3)
    with pytest.raises(ValueError, match=r"X_test: .*got inf in row 33, column 1"):
        other().influence(np.ones((3, 2)), [0] * 3, X, [0] * 40, top=2)


def test_an_answer_larger_than_memory_says_what_to_do() -> None:
    X = np.broadcast_to(np.float32(0), (2**23, 1))
    model = culpa.Sequential([culpa.Dense(1)], "mse", input_size=1)
    y = np.zeros(len(X), np.float32)
    with pytest.raises(MemoryError, match=r"8,388,608 x 8,388,608 scores .*pass top=10"):
        model.influence(X, y, X, y)


@pytest.mark.skipif(os.name != "posix", reason="raising SIGINT from a thread is POSIX")
@pytest.mark.parametrize("top", [None, 3])
def test_ctrl_c_stops_it_and_leaves_the_model_usable(top: int | None) -> None:
    problem, parts, _ = make(dtype="float32")
    want = problem.model.influence(*parts, top=top)
    rows, tests = np.zeros(10_000, np.int64), np.arange(1000) % len(parts[2])
    many = parts[0][rows], parts[1][rows], parts[2][tests], parts[3][tests]
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        problem.model.influence(*many, checkpoints=[problem.model] * 500, top=top)
    timer.join()
    again = problem.model.influence(*parts, top=top)
    for name, value in vars(want).items():
        np.testing.assert_array_equal(getattr(again, name), value)
