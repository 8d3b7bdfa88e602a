"""Expected gradients, SmoothGrad, LRP, conductance and sets of baselines: each by its definition.

tests/answers/test_attribution.py has what all methods share.
"""

import math
import os
import signal
import threading
from typing import Any

import numpy as np
import pytest

import culpa
import helpers
from attributions import (
    RULES,
    draws,
    make,
    normals,
    oracle,
    oracle_conductance,
    oracle_lrp,
    oracle_outputs,
    smooth,
)
from helpers import ACTIVATIONS, DTYPES, TOLERANCE, assert_close

SETS = ("integrated_gradients", "deeplift", "conductance")


def rows_of(seed: int, rows: int, inputs: int) -> np.ndarray:
    return helpers.rounded(np.random.default_rng(seed).normal(size=(rows, inputs)))


def tiny(weights: list[Any], activations: list[str]) -> culpa.Sequential:
    """A float64 model with these weights and biases."""
    parameters = [
        (np.array(w, dtype=np.float64), np.array(b, dtype=np.float64)) for w, b in weights
    ]
    return helpers.make_model(parameters, activations, "mse", dtype="float64")


# --- By hand -------------------------------------------------------------------------------------

# h = relu(x1 + 2 x2 - 1), f = 3 h + 0.5; at (1, 2): z = 4, f = 12.5
ONE_UNIT = [([[1.0], [2.0]], [-1.0]), ([[3.0]], [0.5])]
# h = (relu(x), relu(-x + 1)), f = 2 h1 - 5 h2
TWO_UNITS = [([[1.0, -1.0]], [0.0, 1.0]), ([[2.0], [-5.0]], [0.0])]


def test_lrp_by_hand() -> None:
    answer = tiny(ONE_UNIT, ["relu", "identity"]).attribute(
        [[1.0, 2.0]], method="lrp", epsilon=1e-12
    )
    # R_h = 12.5 * 12 / 12.5; R_x = (1, 4) * 12 / 4. The output's bias took 0.5, the unit's -3.
    np.testing.assert_allclose(answer.values, [[3.0, 12.0]], rtol=1e-11)
    np.testing.assert_allclose(answer.completeness_error, [2.5], rtol=1e-11)
    answer = tiny(ONE_UNIT, ["relu", "identity"]).attribute([[1.0, 2.0]], method="lrp", epsilon=1.0)
    # R_h = 12.5 * 12 / 13.5; R_x = (1, 4) R_h / 5
    relevance = 12.5 * 12 / 13.5
    np.testing.assert_allclose(answer.values, [[relevance / 5, 4 * relevance / 5]], rtol=1e-14)
    assert answer.baseline_output is None


def test_lrp_pushes_denominators_away_from_zero_on_both_sides() -> None:
    # f = z = x1 + x2: R_i = x_i z / (z + epsilon sign(z)), sign(0) = 1
    model = tiny([([[1.0], [1.0]], [0.0])], ["identity"])
    X = np.array([[3.0, -1.0], [-3.0, 1.0], [1.0, -1.0], [0.0, 0.0]])
    answer = model.attribute(X, method="lrp", epsilon=0.5)
    np.testing.assert_allclose(answer.values[0], np.array([3.0, -1.0]) * 2 / 2.5, rtol=1e-15)
    np.testing.assert_allclose(answer.values[1], np.array([-3.0, 1.0]) * -2 / -2.5, rtol=1e-15)
    assert (answer.values[2:] == 0).all()


def test_conductance_by_hand() -> None:
    # From 0 to 3: h1 goes from 0 to 3, h2 from 1 to 0.
    answer = tiny(TWO_UNITS, ["relu", "identity"]).attribute(
        [[3.0]], method="conductance", steps=3000, rule="riemann"
    )
    np.testing.assert_allclose(answer.nodes[0], [[6.0, 5.0]], rtol=1e-12)
    np.testing.assert_allclose(answer.values, [[11.0]], rtol=1e-12)
    assert answer.node_completeness_error[0].max() < 1e-11


def test_a_background_is_a_mean_by_hand() -> None:
    # f(3) = 6; f(0) = -5, f(-1) = -10, f(2) = 4: one input gets all of the difference.
    model = tiny(TWO_UNITS, ["relu", "identity"])
    background = [[0.0], [-1.0], [2.0]]
    answer = model.attribute([[3.0]], method="deeplift", background=background)
    np.testing.assert_allclose(answer.values, [[(11 + 16 + 2) / 3]], rtol=1e-14)
    np.testing.assert_allclose(answer.baseline_output, [-11 / 3], rtol=1e-15)
    assert answer.completeness_error.max() < 1e-14


def test_smooth_grad_of_a_kink_is_the_normal_distribution_function() -> None:
    # f = relu(x): the mean slope is the probability that x + noise is positive.
    model = tiny([([[1.0]], [0.0]), ([[1.0]], [0.0])], ["relu", "identity"])
    X, samples = np.array([[-1.0], [0.0], [0.7]]), 200_000
    answer = model.attribute(X, method="smooth_grad", noise=0.5, samples=samples, seed=3)
    want = np.array([[0.5 * math.erfc(-x / 0.5 / math.sqrt(2))] for x in X[:, 0]])
    assert (abs(answer.values - want) < 5 * np.sqrt(want * (1 - want) / samples)).all()


# --- Sets of baselines ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", SETS)
@pytest.mark.parametrize(("rows", "baselines", "steps"), [(1, 30, 3), (13, 7, 5), (150, 3, 200)])
def test_a_background_gives_the_mean_over_its_rows(
    rows: int, baselines: int, steps: int, method: str, dtype: str
) -> None:
    problem, target = smooth((9, 33, 17, 5), rows, dtype=dtype)
    background = rows_of(3, baselines, 9)
    got = problem.model.attribute(
        problem.X, target=target, method=method, background=background, steps=steps
    )
    want = oracle(problem, problem.X, target, method, steps=steps, background=background)
    tolerance = (1e-9 if dtype == "float64" else 1e-3) if method == "deeplift" else TOLERANCE[dtype]
    assert_close("values", got.values, want, tolerance)
    mean = oracle_outputs(problem, background).mean(axis=0)
    assert_close("f(background)", got.baseline_output, mean[target], TOLERANCE[dtype])
    change = got.output.astype(np.float64) - got.baseline_output
    sums = got.values.sum(axis=1, dtype=np.float64)
    np.testing.assert_allclose(got.completeness_error, abs(sums - change), atol=1e-13)


@pytest.mark.parametrize("method", SETS)
def test_a_background_of_one_row_is_a_baseline(method: str) -> None:
    problem, target = smooth((9, 33, 17, 5), 13)
    one = rows_of(3, 1, 9)
    asked = {"target": target, "method": method, "steps": 6}
    got = problem.model.attribute(problem.X, background=one, **asked)
    want = problem.model.attribute(problem.X, baseline=one[0], **asked)
    assert got.values.tobytes() == want.values.tobytes()
    assert got.baseline_output.tobytes() == want.baseline_output.tobytes()


def test_a_background_of_as_many_rows_as_x_is_a_set() -> None:
    problem, target = smooth((9, 33, 5), 13)
    rows = rows_of(3, 13, 9)
    each = problem.model.attribute(problem.X, target=target, baseline=rows)
    mean = problem.model.attribute(problem.X, target=target, background=rows)
    assert abs(each.values - mean.values).max() > 1e-3
    want = oracle(problem, problem.X, target, "integrated_gradients", background=rows)
    assert_close("values", mean.values, want, TOLERANCE["float64"])


def test_a_background_may_have_any_dtype_and_layout() -> None:
    problem, target = smooth((9, 33, 5), 13)
    background = np.random.default_rng(0).integers(-3, 4, (20, 9))
    wide = np.zeros((40, 18), dtype=np.int16)
    wide[::2, ::2] = background
    for method in ("integrated_gradients", "deeplift", "expected_gradients"):
        asked = {"target": target, "method": method, "steps": 4, "samples": 9}
        want = problem.model.attribute(problem.X, background=background * 1.0, **asked)
        for given in (background.astype(np.int8), wide[::2, ::2], np.asfortranarray(background)):
            got = problem.model.attribute(problem.X, background=given, **asked)
            assert got.values.tobytes() == want.values.tobytes()


def test_a_background_of_many_rows_is_read_to_its_end() -> None:
    problem, target = smooth((3, 5, 2), 2)
    background = rows_of(3, 9001, 3)
    asked = {"target": target, "method": "deeplift", "background": background}
    got = problem.model.attribute(problem.X, **asked)
    mean = oracle_outputs(problem, background).mean(axis=0)
    assert_close("f(background)", got.baseline_output, mean[target], TOLERANCE["float64"])
    assert got.completeness_error.max() < 1e-12
    background[9000, 1] = np.inf
    with pytest.raises(ValueError, match=r"background: .*got inf in row 9000, column 1"):
        problem.model.attribute(problem.X, **asked)


# --- Expected gradients --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "samples"), [(1, 1), (1, 300), (13, 20), (150, 3)])
def test_expected_gradients_equal_the_mean_over_the_same_draws(
    rows: int, samples: int, dtype: str
) -> None:
    problem, target = smooth((9, 33, 17, 5), rows, dtype=dtype)
    extra = {"background": rows_of(3, 11, 9), "samples": samples, "seed": 2**40 + 5}
    got = problem.model.attribute(problem.X, target=target, method="expected_gradients", **extra)
    want = oracle(problem, problem.X, target, "expected_gradients", **extra)
    assert_close("values", got.values, want, TOLERANCE[dtype])
    mean = oracle_outputs(problem, extra["background"]).mean(axis=0)
    assert_close("f(background)", got.baseline_output, mean[target], TOLERANCE[dtype])


def test_draws_are_uniform_and_independent() -> None:
    drawn = np.array([draws(7, row, 50, 8) for row in range(200)])  # (rows, samples, 2)
    which, points = drawn[..., 0].ravel(), drawn[..., 1].ravel()
    n = len(points)
    counts = np.bincount(which.astype(int), minlength=8)
    assert ((counts - n / 8) ** 2 / (n / 8)).sum() < 30  # chi-squared, 7 degrees of freedom
    assert abs(points.mean() - 0.5) < 5 * math.sqrt(1 / 12 / n)
    assert abs(np.corrcoef(which, points)[0, 1]) < 5 / math.sqrt(n)


def test_expected_gradients_tend_to_the_double_sum_and_report_the_error() -> None:
    problem, target = smooth((9, 33, 17, 5), 13)
    background = rows_of(3, 11, 9)
    asked = {"target": target, "background": background}
    exact = problem.model.attribute(problem.X, **asked)
    assert exact.completeness_error.max() < 1e-12
    answers = [
        problem.model.attribute(
            problem.X, method="expected_gradients", samples=1000, seed=seed, **asked
        )
        for seed in range(20)
    ]
    values = np.array([answer.values for answer in answers])
    spread = values.std(axis=0, ddof=1) / math.sqrt(len(values))
    assert (abs(values.mean(axis=0) - exact.values) < 6 * spread).all()
    assert answers[0].completeness_error.max() > 1e-4
    few = problem.model.attribute(problem.X, method="expected_gradients", samples=10, **asked)
    assert answers[0].completeness_error.mean() < few.completeness_error.mean()


def test_expected_gradients_of_a_linear_model_need_only_the_drawn_baselines() -> None:
    problem, target = make((4, 3), ["identity"], 5)
    background = rows_of(3, 6, 4)
    answer = problem.model.attribute(
        problem.X, target=target, method="expected_gradients", background=background, samples=7
    )
    weights = problem.parameters[0][0][:, target].T
    below = [np.mean([background[b] for b, _ in draws(0, row, 7, 6)], axis=0) for row in range(5)]
    assert_close("values", answer.values, (problem.X - below) * weights, 1e-13)


# --- SmoothGrad ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "samples"), [(1, 1), (1, 300), (13, 20), (150, 3)])
@pytest.mark.parametrize("noise", [0.3, [0.0, 0.1, 0.2, 0.0, 0.4, 0.5, 2.0, 0.0, 1.0]])
def test_smooth_grad_equals_the_mean_over_the_same_noise(
    noise: Any, rows: int, samples: int, dtype: str
) -> None:
    problem, target = smooth((9, 33, 17, 5), rows, dtype=dtype)
    extra = {"noise": noise, "samples": samples, "seed": 2**63 + 1}
    got = problem.model.attribute(problem.X, target=target, method="smooth_grad", **extra)
    want = oracle(problem, problem.X, target, "smooth_grad", **extra)
    assert_close("values", got.values, want, TOLERANCE[dtype])
    assert got.completeness_error is None
    assert got.baseline_output is None


def test_smooth_grad_without_noise_is_the_gradient() -> None:
    problem, target = smooth((9, 33, 5), 13)
    got = problem.model.attribute(problem.X, target=target, method="smooth_grad", noise=0)
    want = problem.model.attribute(problem.X, target=target, method="gradient")
    assert_close("values", got.values, want.values, 1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_noise_is_standard_normal_and_differs_between_rows_and_seeds(dtype: str) -> None:
    drawn = np.array([[normals(seed, row, 5000, dtype) for row in range(8)] for seed in (0, 1)])
    z, n = drawn.ravel(), drawn.size
    assert abs(z.mean()) < 5 / math.sqrt(n)
    assert abs((z**2).mean() - 1) < 5 * math.sqrt(2 / n)
    assert abs((z**4).mean() - 3) < 5 * math.sqrt(96 / n)
    correlation = np.corrcoef(drawn.reshape(16, -1)) - np.eye(16)
    assert abs(correlation).max() < 5 / math.sqrt(5000)


@pytest.mark.parametrize("method", ["expected_gradients", "smooth_grad"])
def test_draws_belong_to_the_seed_and_begin_the_same(method: str) -> None:
    problem, target = smooth((9, 33, 5), 4)
    extra: dict[str, Any] = {"noise": 0.3} if method == "smooth_grad" else {}
    if method == "expected_gradients":
        extra["background"] = rows_of(3, 11, 9)

    def ask(samples: int, seed: int) -> np.ndarray:
        return problem.model.attribute(
            problem.X, target=target, method=method, samples=samples, seed=seed, **extra
        ).values

    assert ask(5, 1).tobytes() == ask(5, 1).tobytes()
    assert abs(ask(5, 1) - ask(5, 2)).max() > 1e-3
    assert abs(ask(5, 1) - ask(5, 1 + 2**32)).max() > 1e-3
    # The sixth draw alone is the difference between the sums of six and five: of the same size.
    sixth = 6 * ask(6, 1) - 5 * ask(5, 1)
    assert abs(sixth).max() < 10 * abs(ask(1, 1)).max()
    parts = oracle(problem, problem.X, target, method, samples=6, seed=1, **extra)
    assert_close("six", ask(6, 1), parts, TOLERANCE["float64"])


# --- Layer-wise relevance propagation ------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("epsilon", [1e-6, 0.01, 1.0])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_lrp_of_every_activation(activation: str, epsilon: float, dtype: str) -> None:
    problem, target = make((7, 33, 17, 5), [activation, activation, "identity"], 13, dtype=dtype)
    got = problem.model.attribute(problem.X, target=target, method="lrp", epsilon=epsilon)
    want, absorbed = oracle_lrp(problem, problem.X, target, epsilon)
    assert_close(activation, got.values, want, TOLERANCE[dtype])
    if dtype == "float64":  # the account balances: inputs, biases and epsilon share f(x)
        outputs = problem.walk.outputs[np.arange(13), target]
        np.testing.assert_allclose(want.sum(axis=1) + absorbed, outputs, rtol=1e-9, atol=1e-9)
        error = abs(got.values.sum(axis=1) - got.output)
        np.testing.assert_allclose(got.completeness_error, error, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(error, abs(absorbed), rtol=1e-7, atol=1e-7)


def test_lrp_conserves_relevance_without_biases() -> None:
    problem, target = make((7, 33, 17, 5), ["relu", "relu", "identity"], 13)
    for layer in problem.model.layers:
        layer.bias = np.zeros_like(layer.bias)
    answer = problem.model.attribute(problem.X, target=target, method="lrp", epsilon=1e-12)
    assert answer.completeness_error.max() < 1e-9
    # Ancona et al. 2018: then LRP is input times gradient.
    product = problem.model.attribute(problem.X, target=target, method="input_x_gradient")
    assert_close("values", answer.values, product.values, 1e-8)


# --- Conductance ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("rows", "steps"), [(1, 1), (1, 300), (13, 7), (150, 3)])
def test_conductance_equals_the_definition(rows: int, steps: int, rule: str, dtype: str) -> None:
    problem, target = smooth((9, 33, 17, 6, 5), rows, dtype=dtype, input_scale=0.5)
    for baseline in (np.zeros(9), rows_of(3, rows, 9)):
        asked = {"target": target, "baseline": baseline, "steps": steps, "rule": rule}
        got = problem.model.attribute(problem.X, method="conductance", **asked)
        path = problem.model.attribute(problem.X, **asked)
        want = oracle_conductance(problem, problem.X, target, baseline, steps, rule)
        assert len(got.nodes) == len(want) == 3
        for layer, nodes in enumerate(got.nodes):
            assert nodes.dtype == dtype
            assert_close(f"nodes[{layer}]", nodes, want[layer], TOLERANCE[dtype])
            change = got.output.astype(np.float64) - got.baseline_output
            error = abs(nodes.sum(axis=1, dtype=np.float64) - change)
            np.testing.assert_allclose(got.node_completeness_error[layer], error, atol=1e-13)
        assert_close("values", got.values, path.values, TOLERANCE[dtype])
        assert path.nodes is None
        assert path.node_completeness_error is None


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_conductance_of_every_activation(activation: str) -> None:
    problem, target = make((3, 5, 4, 2), [activation, activation, activation], 4)
    got = problem.model.attribute(problem.X, target=target, method="conductance", steps=9)
    want = oracle_conductance(problem, problem.X, target, steps=9)
    for layer, nodes in enumerate(got.nodes):
        assert_close(f"nodes[{layer}]", nodes, want[layer], TOLERANCE["float64"])


@pytest.mark.parametrize("rows", [1, 13])
def test_conductance_against_a_background_is_the_mean(rows: int) -> None:
    problem, target = smooth((9, 33, 17, 5), rows)
    background = rows_of(3, 6, 9)
    got = problem.model.attribute(
        problem.X, target=target, method="conductance", background=background, steps=8
    )
    want = [oracle_conductance(problem, problem.X, target, one, 8) for one in background]
    for layer, nodes in enumerate(got.nodes):
        mean = np.mean([one[layer] for one in want], axis=0)
        assert_close(f"nodes[{layer}]", nodes, mean, TOLERANCE["float64"])


def test_conductance_is_complete_in_every_hidden_layer() -> None:
    problem, target = smooth((9, 33, 17, 5), 13)
    got = problem.model.attribute(problem.X, target=target, method="conductance", steps=60)
    for error in got.node_completeness_error:
        assert error.max() < 1e-12
    # With one hidden layer a node's share is what it adds: v_j (h_j(x) - h_j(baseline)).
    problem, target = smooth((9, 33, 5), 13)
    got = problem.model.attribute(problem.X, target=target, method="conductance", steps=60)
    (weight, bias), (last, _) = problem.parameters
    moves = np.tanh(problem.X @ weight + bias) - np.tanh(bias)
    assert_close("nodes", got.nodes[0], moves * last[:, target].T, 1e-12)


def test_a_network_without_hidden_layers_conducts_through_none() -> None:
    problem, target = make((4, 3), ["identity"], 5)
    answer = problem.model.attribute(problem.X, target=target, method="conductance")
    assert answer.nodes == []
    assert answer.node_completeness_error == []
    assert answer.completeness_error.max() < 1e-13


# --- Threads -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 5, 300])
@pytest.mark.parametrize("method", [*SETS, "expected_gradients", "smooth_grad"])
def test_same_bits_at_any_thread_count(method: str, rows: int, dtype: str) -> None:
    problem, target = make((33, 65, 31, 7), ["relu", "tanh", "identity"], rows, dtype=dtype)
    extra: dict[str, Any] = {"steps": 70, "samples": 70}
    if method == "smooth_grad":
        extra["noise"] = 0.2
    else:
        extra["background"] = rows_of(3, 5, 33)
    results = []
    for threads in (1, 2, 3):
        with helpers.plan(threads):
            results.append(
                problem.model.attribute(problem.X, target=target, method=method, **extra)
            )
    for other in results[1:]:
        assert other.values.tobytes() == results[0].values.tobytes()
        for one, two in zip(other.nodes or [], results[0].nodes or [], strict=True):
            assert one.tobytes() == two.tobytes()
        if other.completeness_error is not None:
            assert other.completeness_error.tobytes() == results[0].completeness_error.tobytes()


@pytest.mark.skipif(os.name != "posix", reason="raising SIGINT from a thread is POSIX")
@pytest.mark.parametrize("method", ["deeplift", "expected_gradients", "smooth_grad"])
def test_ctrl_c_stops_a_long_mean(method: str) -> None:
    problem, target = smooth((33, 65, 31, 7), 3)
    extra: dict[str, Any] = {"samples": 50_000_000}
    if method == "smooth_grad":
        extra["noise"] = 0.2
    else:
        extra["background"] = np.broadcast_to(problem.X[0], (20_000_000, 33))
    timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        problem.model.attribute(problem.X, target=target, method=method, **extra)
    timer.join()
    problem.model.attribute(problem.X, target=target)


# --- Captum --------------------------------------------------------------------------------------


def captum_model(problem: helpers.Problem) -> tuple[Any, Any, Any]:
    """captum.attr, torch, and the same network in float64."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare to")
    captum = pytest.importorskip(
        "captum.attr", reason="Captum is not installed: nothing to compare to"
    )
    kinds = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh, "sigmoid": torch.nn.Sigmoid}
    layers: list[Any] = []
    for (weight, bias), name in zip(problem.parameters, problem.activations, strict=True):
        layer = torch.nn.Linear(*weight.shape, dtype=torch.float64)
        layer.weight.data, layer.bias.data = torch.tensor(weight.T.copy()), torch.tensor(bias)
        layers.append(layer)
        if name != "identity":
            layers.append(kinds[name]())
    return captum, torch, torch.nn.Sequential(*layers)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Captum's own hooks
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("epsilon", [1e-9, 0.01])
def test_lrp_equals_captums(epsilon: float, activation: str) -> None:
    problem, target = make((9, 33, 17, 5), [activation, activation, "identity"], 13)
    captum, torch, network = captum_model(problem)
    from captum.attr._utils.lrp_rules import EpsilonRule

    for module in network:
        if isinstance(module, torch.nn.Linear):
            module.rule = EpsilonRule(epsilon)
    want = captum.LRP(network).attribute(torch.tensor(problem.X), target=torch.tensor(target))
    got = problem.model.attribute(problem.X, target=target, method="lrp", epsilon=epsilon)
    assert_close("values", got.values, want.detach().numpy(), 1e-9)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Captum's own hooks
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_deeplift_against_a_background_equals_captums_deeplift_shap(activation: str) -> None:
    problem, target = make((9, 33, 17, 5), [activation, activation, "identity"], 13)
    captum, torch, network = captum_model(problem)
    background = rows_of(3, 6, 9)
    want = captum.DeepLiftShap(network).attribute(
        torch.tensor(problem.X), torch.tensor(background), target=torch.tensor(target)
    )
    got = problem.model.attribute(
        problem.X, target=target, method="deeplift", background=background
    )
    assert_close("values", got.values, want.detach().numpy(), 1e-9)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_conductance_tends_to_captums(activation: str) -> None:
    problem, target = make((9, 33, 17, 5), [activation, activation, "identity"], 5)
    captum, torch, network = captum_model(problem)
    got = problem.model.attribute(
        problem.X, target=target, method="conductance", steps=2000, rule="riemann"
    )
    for layer, module in enumerate((network[1], network[3])):
        peer = captum.LayerConductance(network, module)
        want = peer.attribute(  # its derivative of h is a difference between neighbouring points
            torch.tensor(problem.X),
            torch.zeros(5, 9, dtype=torch.float64),
            target=torch.tensor(target),
            n_steps=2000,
            method="riemann_middle",
        )
        assert_close(f"nodes[{layer}]", got.nodes[layer], want.detach().numpy(), 2e-3)


def test_expected_gradients_and_smooth_grad_agree_with_captums_within_their_errors() -> None:
    problem, target = make((9, 33, 17, 5), ["tanh", "tanh", "identity"], 4)
    captum, torch, network = captum_model(problem)
    background = rows_of(3, 6, 9)
    x, which = torch.tensor(problem.X), torch.tensor(target)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 (Captum draws from it)
    gradient_shap = captum.GradientShap(network)
    tunnel = captum.NoiseTunnel(captum.Saliency(network))
    peers: dict[str, Any] = {
        "expected_gradients": lambda: gradient_shap.attribute(
            x, torch.tensor(background), n_samples=200, target=which
        ),
        "smooth_grad": lambda: tunnel.attribute(
            x, nt_samples=200, stdevs=0.4, target=which, abs=False
        ),
    }
    for method, peer in peers.items():
        extra = {"noise": 0.4} if method == "smooth_grad" else {"background": background}
        ours = np.array(
            [
                problem.model.attribute(
                    problem.X, target=target, method=method, samples=200, seed=seed, **extra
                ).values
                for seed in range(20)
            ]
        )
        theirs = np.array([peer().detach().numpy() for _ in range(20)])
        error = np.sqrt((ours.var(axis=0, ddof=1) + theirs.var(axis=0, ddof=1)) / 20)
        assert (abs(ours.mean(axis=0) - theirs.mean(axis=0)) < 6 * error).all()


# --- Errors --------------------------------------------------------------------------------------

LRP, SMOOTH, EXPECTED = (
    {"method": "lrp"},
    {"method": "smooth_grad"},
    {"method": "expected_gradients"},
)
BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    (EXPECTED, ValueError, r"background: expected rows \(m, 2\) to draw baselines from, got None"),
    (
        {**EXPECTED, "baseline": [0, 0]},
        ValueError,
        "baseline: expected none for method 'expected_gradients'.*; pass a background instead",
    ),
    (
        {"baseline": [0, 0], "background": [[0, 0]]},
        ValueError,
        "background: expected either a baseline or a background, got both",
    ),
    ({"background": [0, 0]}, ValueError, r"background: expected shape \(n, 2\), got shape \(2,\)"),
    ({"background": np.zeros((3, 3))}, ValueError, "background: expected 2 columns"),
    ({"background": np.zeros((0, 2))}, ValueError, "background: expected at least one row"),
    ({"background": "images"}, TypeError, "background: "),
    (
        {"background": [[0, 0], [0, np.nan]]},
        ValueError,
        "background: .*got nan in row 1, column 1",
    ),
    (
        {**EXPECTED, "background": [[0, 0], [0, np.inf]]},
        ValueError,
        "background: .*got inf in row 1, column 1",
    ),
    (
        {**SMOOTH, "noise": 1, "background": [[0, 0]]},
        ValueError,
        "background: expected none for method 'smooth_grad'.*'expected_gradients'",
    ),
    ({"baseline": np.zeros((3, 2))}, ValueError, "baseline: .*pass a set .* as background="),
    ({**EXPECTED, "background": [[0, 0]], "samples": 0}, ValueError, "samples: expected an int"),
    ({**EXPECTED, "background": [[0, 0]], "samples": 1.5}, TypeError, "samples: expected an int"),
    ({**SMOOTH, "noise": 1, "seed": -1}, ValueError, "seed: expected an integer of at least 0"),
    ({**SMOOTH, "noise": 1, "seed": 2**64}, ValueError, r"seed: expected an integer below 2\*\*64"),
    ({**SMOOTH, "noise": 1, "seed": None}, TypeError, "seed: expected an integer"),
    (SMOOTH, ValueError, r"noise: expected a standard deviation.*0.15 \* \(X.max\(\) - X.min\(\)"),
    ({**SMOOTH, "noise": -0.1}, ValueError, "noise: expected finite numbers of at least 0.*-0.1"),
    ({**SMOOTH, "noise": [0.1, np.nan]}, ValueError, "noise: expected finite numbers.*got nan"),
    ({**SMOOTH, "noise": 1e39}, ValueError, r"noise: expected finite.*fit float32, got 1e\+39"),
    ({**SMOOTH, "noise": [1, 2, 3]}, ValueError, r"noise: expected .*got shape \(3,\)"),
    ({**SMOOTH, "noise": "much"}, TypeError, "noise: "),
    ({"noise": 0.1}, ValueError, "noise: expected none for method 'integrated_gradients'"),
    ({**LRP, "epsilon": 0}, ValueError, "epsilon: expected a finite number"),
    ({**LRP, "epsilon": -1e-6}, ValueError, "epsilon: expected a finite number"),
    ({**LRP, "epsilon": 1e-50}, ValueError, "epsilon: expected a finite number"),
    ({**LRP, "epsilon": np.nan}, ValueError, "epsilon: expected a finite number"),
    ({**LRP, "epsilon": "small"}, TypeError, "epsilon: expected a number"),
    ({**LRP, "baseline": [0, 0]}, ValueError, "baseline: expected none for method 'lrp'"),
    ({"method": "smoothgrad"}, ValueError, "did you mean 'smooth_grad'"),
]


@pytest.mark.parametrize(("change", "kind", "message"), BAD)
def test_bad_input_is_named(change: dict[str, Any], kind: type[Exception], message: str) -> None:
    model = culpa.Sequential([culpa.Dense(4, "relu"), culpa.Dense(3)], loss="mse", input_size=2)
    with pytest.raises(kind, match=message):
        model.attribute(np.zeros((4, 2)), target=0, **change)
