"""Attributions equal the oracle's, add up where they promise it, and never depend on threads.

Error is reference.relative_error, max|a - b| / max|b| of each array: at most 1e-10 in float64 and
1e-4 in float32.
"""

import os
import signal
import threading
from typing import Any

import numpy as np
import pytest

import culpa
import helpers
from attributions import (
    METHODS,
    MSE,
    RULES,
    make,
    options,
    oracle,
    oracle_deeplift,
    oracle_gradient,
    oracle_outputs,
    smooth,
)
from culpa import _core
from helpers import ACTIVATIONS, DTYPES, TOLERANCE, assert_close

CROSS_ENTROPY = helpers.LOSSES[0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_of_every_activation_equal_the_oracle(activation: str, dtype: str) -> None:
    activations = [activation, activation, "identity"]
    problem, target = make((7, 33, 17, 5), activations, 13, dtype=dtype)
    for method in ("gradient", "input_x_gradient"):
        got = problem.model.attribute(problem.X, target=target, method=method)
        want = oracle(problem, problem.X, target, method)
        assert_close(method, got.values, want, TOLERANCE[dtype])
        assert got.values.dtype == dtype
        assert got.completeness_error is None
        assert got.baseline_output is None


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_last_layers_activation_is_part_of_f(activation: str) -> None:
    problem, target = make((6, 9, 4), ["tanh", activation], 11)
    got = problem.model.attribute(problem.X, target=target, method="gradient")
    want = oracle_gradient(problem, problem.X, target)
    assert_close("gradient", got.values, want, TOLERANCE["float64"])
    logits = problem.model.predict_logits(problem.X)
    np.testing.assert_array_equal(got.output, logits[np.arange(11), target])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("steps", [1, 2, 7, 50, 300])
def test_integrated_gradients_equal_the_explicit_sum(steps: int, rule: str, dtype: str) -> None:
    problem, target = smooth((9, 33, 17, 5), 13, dtype=dtype)
    rng = np.random.default_rng(3)
    for baseline in (
        np.zeros(9),
        helpers.rounded(rng.normal(size=9)),
        helpers.rounded(rng.normal(size=(13, 9))),
    ):
        got = problem.model.attribute(
            problem.X, target=target, baseline=baseline, steps=steps, rule=rule
        )
        want = oracle(problem, problem.X, target, "integrated_gradients", baseline, steps, rule)
        assert_close("values", got.values, want, TOLERANCE[dtype])
        below = np.broadcast_to(oracle_outputs(problem, np.atleast_2d(baseline)), (13, 5))
        rows = np.arange(13)
        tolerance = TOLERANCE[dtype]
        assert_close("f(x)", got.output, problem.walk.outputs[rows, target], tolerance)
        assert_close("f(baseline)", got.baseline_output, below[rows, target], tolerance)
        change = got.output.astype(np.float64) - got.baseline_output
        sums = got.values.sum(axis=1, dtype=np.float64)
        np.testing.assert_allclose(got.completeness_error, abs(sums - change), atol=1e-13)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_integrated_gradients_of_every_activation(activation: str) -> None:
    problem, target = make((3, 5, 4, 2), [activation, activation, "identity"], 4)
    got = problem.model.attribute(problem.X, target=target, steps=9)
    want = oracle(problem, problem.X, target, "integrated_gradients", steps=9)
    assert_close(activation, got.values, want, TOLERANCE["float64"])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_deeplift_of_every_activation(activation: str, dtype: str) -> None:
    problem, target = make((7, 33, 17, 5), [activation, activation, "identity"], 13, dtype=dtype)
    for baseline in (np.zeros(7), np.linspace(-1, 1, 7), problem.X[::-1] + 0.25):
        got = problem.model.attribute(
            problem.X, target=target, method="deeplift", baseline=baseline
        )
        want = oracle_deeplift(problem, problem.X, target, baseline)
        assert_close(activation, got.values, want, 1e-9 if dtype == "float64" else 1e-3)
        assert got.completeness_error.max() < (1e-12 if dtype == "float64" else 1e-4)


def test_deeplift_takes_the_slope_where_nothing_differs() -> None:
    problem, target = make((7, 33, 5), ["relu", "identity"], 13)
    answer = problem.model.attribute(
        problem.X, target=target, method="deeplift", baseline=problem.X
    )
    assert (answer.values == 0).all()
    assert (answer.completeness_error == 0).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("widths", "rows"),
    [
        ((1, 1), 1),
        ((1, 3, 1), 1),
        ((2, 1, 3), 4),
        ((31, 65, 33, 17), 1),
        ((33, 63, 31, 3), 65),
        ((5, 7, 3), 1000),  # more rows than one block
        ((700, 515, 12), 9),
    ],
)
def test_any_shape(widths: tuple[int, ...], rows: int, method: str) -> None:
    problem, target = smooth(widths, rows)
    extra = options(method, widths[0])
    got = problem.model.attribute(problem.X, target=target, method=method, steps=5, **extra)
    want = oracle(problem, problem.X, target, method, steps=5, **extra)
    assert_close(method, got.values, want, TOLERANCE["float64"])


@pytest.mark.parametrize("method", METHODS)
def test_wide_networks_take_few_rows_at_a_time(method: str) -> None:
    rng = np.random.default_rng(0)
    parameters = helpers.random_parameters((60000, 3, 2), rng)
    activations = ["tanh", "identity"]
    model = helpers.make_model(parameters, activations, "mse", dtype="float64")
    X, target = rng.normal(size=(70, 60000)), rng.integers(0, 2, 70)
    problem = helpers.Problem(
        model, parameters, activations, [None, None], MSE, X, np.zeros((70, 2)), None
    )
    extra = options(method, 60000)
    got = model.attribute(X, target=target, method=method, steps=3, **extra)
    want = oracle(problem, X, target, method, steps=3, **extra)
    assert_close(method, got.values, want, TOLERANCE["float64"])


@pytest.mark.parametrize("rule", RULES)
def test_smooth_networks_are_complete_with_enough_steps(rule: str) -> None:
    problem, target = smooth((9, 33, 17, 5), 40)
    errors = [
        problem.model.attribute(problem.X, target=target, steps=n, rule=rule).completeness_error
        for n in (4, 60, 900)
    ]
    assert errors[1].max() < errors[0].max()
    assert errors[2].max() < (1e-12 if rule == "gauss_legendre" else 1e-5)


def test_deeper_kinks_leave_an_error_that_is_reported() -> None:
    problem, target = make((9, 33, 17, 5), ["relu", "relu", "identity"], 40)
    answer = problem.model.attribute(problem.X, target=target, steps=3)
    assert answer.completeness_error.max() > 1e-6
    assert f"{answer.completeness_error.max():.2g}" in repr(answer)


@pytest.mark.parametrize("steps", [1, 2, 50])
@pytest.mark.parametrize("rule", RULES)
def test_linear_networks_are_exact(rule: str, steps: int) -> None:
    problem, target = make((9, 8, 5), ["identity", "identity"], 13)
    baseline = np.linspace(-1, 1, 9)
    answer = problem.model.attribute(
        problem.X, target=target, baseline=baseline, steps=steps, rule=rule
    )
    weights = problem.parameters[0][0] @ problem.parameters[1][0]
    want = (problem.X - baseline) * weights[:, target].T
    assert_close("values", answer.values, want, 1e-13)
    assert answer.completeness_error.max() < 1e-12


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 5, 300])
def test_same_bits_at_any_thread_count(rows: int, dtype: str) -> None:
    problem, target = make((33, 65, 31, 7), ["relu", "tanh", "identity"], rows, dtype=dtype)
    before = culpa.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            culpa.set_num_threads(threads)
            _core.force_plan(threads)
            results.append(
                [
                    problem.model.attribute(
                        problem.X, target=target, method=method, **options(method, 33)
                    )
                    for method in METHODS
                ]
            )
    finally:
        _core.force_plan(0)
        culpa.set_num_threads(before)
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            assert one.values.tobytes() == two.values.tobytes()
            assert one.output.tobytes() == two.output.tobytes()
            if one.completeness_error is not None:
                assert one.completeness_error.tobytes() == two.completeness_error.tobytes()


def test_each_row_has_the_bits_it_has_alone() -> None:
    problem, target = smooth((33, 65, 31, 7), 150)
    for method in METHODS:
        extra = options(method, 33)
        together = problem.model.attribute(problem.X, target=target, method=method, **extra)
        draws = "samples" in extra  # by the row's place in X
        for row in (0,) if draws else (0, 77, 149):
            alone = problem.model.attribute(
                problem.X[row : row + 1], target=int(target[row]), method=method, **extra
            )
            assert alone.values.tobytes() == together.values[row].tobytes()
            for one, all_rows in zip(alone.nodes or [], together.nodes or [], strict=True):
                assert one.tobytes() == all_rows[row].tobytes()


@pytest.mark.parametrize("method", METHODS)
def test_attributions_are_of_raw_inputs(method: str) -> None:
    problem, target = smooth((9, 33, 5), 13, input_scale=1 / 255)
    raw = np.random.default_rng(0).integers(0, 256, (13, 9), dtype=np.uint8)
    extra: dict[str, Any] = {}
    if method in ("integrated_gradients", "deeplift", "conductance"):
        extra["baseline"] = np.full(9, 128, np.uint8)
    elif method == "expected_gradients":
        extra["background"] = raw[::-2].copy()
    elif method == "smooth_grad":
        extra["noise"] = 20.0
    got = problem.model.attribute(raw, target=target, method=method, **extra)
    want = oracle(problem, raw.astype(np.float64), target, method, **extra)
    assert_close(method, got.values, want, TOLERANCE["float64"])


def test_any_memory_layout() -> None:
    problem, target = smooth((9, 33, 5), 13)
    wide = np.zeros((26, 18))
    wide[::2, ::2] = problem.X
    want = problem.model.attribute(problem.X, target=target, baseline=problem.X[::-1].copy())
    for X in (wide[::2, ::2], np.asfortranarray(problem.X), problem.X[::-1].copy()[::-1]):
        got = problem.model.attribute(X, target=target, baseline=X[::-1])
        assert got.values.tobytes() == want.values.tobytes()
    whole = np.broadcast_to(problem.X[0], problem.X.shape)
    one = problem.model.attribute(problem.X, target=target, baseline=problem.X[0])
    many = problem.model.attribute(problem.X, target=target, baseline=whole.copy())
    strided = problem.model.attribute(problem.X, target=target, baseline=whole)
    assert one.values.tobytes() == many.values.tobytes() == strided.values.tobytes()
    assert one.baseline_output.tobytes() == many.baseline_output.tobytes()


def test_a_classifier_explains_its_guess_by_default() -> None:
    problem, _ = smooth((9, 33, 5), 13, case=CROSS_ENTROPY)
    guess = problem.model.predict(problem.X)
    answer = problem.model.attribute(problem.X)
    np.testing.assert_array_equal(answer.target, guess)
    assert answer.target.dtype == np.int64
    asked = problem.model.attribute(problem.X, target=guess.astype(np.int8))
    assert asked.values.tobytes() == answer.values.tobytes()
    for target in (3, np.int32(3), np.full(13, 3)):
        assert (problem.model.attribute(problem.X, target=target).target == 3).all()


def test_one_output_needs_no_target() -> None:
    problem, _ = smooth((9, 33, 1), 13)
    answer = problem.model.attribute(problem.X)
    assert (answer.target == 0).all()
    np.testing.assert_array_equal(answer.output, problem.model.predict(problem.X))


def test_dropout_is_off() -> None:
    parameters = helpers.random_parameters((9, 33, 5), np.random.default_rng(0))
    X = np.random.default_rng(1).normal(size=(13, 9))
    with_it, without = (
        helpers.make_model(parameters, ["relu", "identity"], "cross_entropy", dropout=dropout)
        for dropout in ([0.3, 0.5], None)
    )
    assert with_it.attribute(X).values.tobytes() == without.attribute(X).values.tobytes()


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("rule", RULES)
def test_integrated_gradients_equal_captums(rule: str, activation: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare to")
    captum = pytest.importorskip(
        "captum.attr", reason="Captum is not installed: nothing to compare to"
    )
    problem, target = make((9, 33, 17, 5), [activation, activation, "identity"], 13)
    layers: list[Any] = []
    kinds = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh, "gelu": torch.nn.GELU}
    for weight, bias in problem.parameters:
        layer = torch.nn.Linear(*weight.shape, dtype=torch.float64)
        layer.weight.data, layer.bias.data = torch.tensor(weight.T.copy()), torch.tensor(bias)
        layers += [layer, kinds[activation]()]
    peer = captum.IntegratedGradients(torch.nn.Sequential(*layers[:-1]))
    baseline = np.random.default_rng(3).normal(size=(13, 9))
    want, delta = peer.attribute(
        torch.tensor(problem.X),
        torch.tensor(baseline),
        target=torch.tensor(target),
        n_steps=50,
        method="gausslegendre" if rule == "gauss_legendre" else "riemann_middle",
        return_convergence_delta=True,
    )
    got = problem.model.attribute(problem.X, target=target, baseline=baseline, rule=rule)
    assert_close("values", got.values, want.numpy(), 1e-7)  # Captum's weights are float32
    np.testing.assert_allclose(got.completeness_error, delta.abs().numpy(), atol=1e-7)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Captum's own hooks
@pytest.mark.parametrize("activation", ["ReLU", "Tanh", "Sigmoid"])
def test_deeplift_equals_captums(activation: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare to")
    captum = pytest.importorskip(
        "captum.attr", reason="Captum is not installed: nothing to compare to"
    )
    name = activation.lower()
    problem, target = make((9, 33, 17, 5), [name, name, "identity"], 13)
    layers: list[Any] = []
    for weight, bias in problem.parameters:
        layer = torch.nn.Linear(*weight.shape, dtype=torch.float64)
        layer.weight.data, layer.bias.data = torch.tensor(weight.T.copy()), torch.tensor(bias)
        layers += [layer, getattr(torch.nn, activation)()]
    peer = captum.DeepLift(torch.nn.Sequential(*layers[:-1]))
    baseline = np.random.default_rng(3).normal(size=(13, 9))
    want = peer.attribute(
        torch.tensor(problem.X), torch.tensor(baseline), target=torch.tensor(target)
    )
    got = problem.model.attribute(problem.X, target=target, method="deeplift", baseline=baseline)
    assert_close("values", got.values, want.detach().numpy(), 1e-9)


BAD = [
    ({"method": "saliency"}, ValueError, "method: expected one of gradient"),
    ({"method": "integrated-gradients"}, ValueError, "did you mean 'integrated_gradients'"),
    ({"method": 3}, TypeError, "method: expected a name as a string"),
    ({"rule": "simpson"}, ValueError, "rule: expected one of gauss_legendre, riemann"),
    ({"steps": 0}, ValueError, "steps: expected an integer of at least 1, got 0"),
    ({"steps": 2.5}, TypeError, "steps: expected an integer of at least 1, got 2.5"),
    ({"target": None}, ValueError, "target: expected which of the 3 outputs to explain"),
    ({"target": 3}, ValueError, "target: expected output indices 0 to 2, got 3"),
    ({"target": [0, 1, 2, -1]}, ValueError, "target: expected output indices 0 to 2, got -1 to 2"),
    ({"target": [0, 1]}, ValueError, "one for each of the 4 rows of X, got shape \\(2,\\)"),
    ({"target": 1.0}, TypeError, "target: expected output indices 0 to 2, got dtype float64"),
    ({"target": True}, TypeError, "target: expected output indices 0 to 2, got dtype bool"),
    ({"target": "cat"}, TypeError, "target: "),
    ({"baseline": 0.0}, ValueError, "baseline: expected shape \\(2,\\) for one baseline"),
    ({"baseline": np.zeros((3, 2))}, ValueError, "baseline: expected shape \\(2,\\)"),
    ({"baseline": "black"}, TypeError, "baseline: "),
    ({"baseline": [0.0, np.nan]}, ValueError, "baseline: .*got nan in row 0, column 1"),
    (
        {"baseline": np.array([[0, 0], [0, 0], [np.inf, 0], [0, 0]])},
        ValueError,
        "baseline: .*got inf in row 2, column 0",
    ),
    (
        {"baseline": np.zeros(2), "method": "gradient"},
        ValueError,
        "baseline: expected none for method 'gradient'",
    ),
    ({"target": [[0]] * 4}, ValueError, "target: .*got shape \\(4, 1\\); use target.ravel"),
    ({"X": np.zeros(2)}, ValueError, "X: expected shape \\(n, 2\\), got shape \\(2,\\)"),
    ({"X": np.zeros((4, 3))}, ValueError, "X: expected 2 columns"),
    ({"X": np.zeros((0, 2))}, ValueError, "X: expected at least one row"),
    ({"X": np.array([["a", "b"]])}, TypeError, "X: expected booleans, integers or floats"),
    (
        {"X": np.array([[0, 0], [0, 0], [0, np.nan], [0, 0]])},
        ValueError,
        "X: .*got nan in row 2, column 1",
    ),
    ({"X": np.full((4, 2), 1e39)}, ValueError, "X: .*got 1e\\+39 in row 0, column 0"),
]


@pytest.mark.parametrize(("change", "kind", "message"), BAD)
def test_bad_input_is_named(change: dict[str, Any], kind: type[Exception], message: str) -> None:
    model = culpa.Sequential([culpa.Dense(4, "relu"), culpa.Dense(3)], loss="mse", input_size=2)
    call = {"X": np.zeros((4, 2)), "target": 0, **change}
    with pytest.raises(kind, match=message):
        model.attribute(**call)


def test_a_model_without_weights_says_so() -> None:
    model = culpa.Sequential([culpa.Dense(3)], loss="cross_entropy")
    with pytest.raises(RuntimeError, match="the model has no weights yet"):
        model.attribute(np.zeros((4, 2)))


@pytest.mark.skipif(os.name != "posix", reason="raising SIGINT from a thread is POSIX")
def test_ctrl_c_stops_a_long_path_and_leaves_the_model_usable() -> None:
    problem, target = smooth((33, 65, 31, 7), 3)
    want = problem.model.attribute(problem.X, target=target)
    timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        problem.model.attribute(problem.X, target=target, steps=20_000_000, rule="riemann")
    timer.join()
    again = problem.model.attribute(problem.X, target=target)
    assert again.values.tobytes() == want.values.tobytes()
