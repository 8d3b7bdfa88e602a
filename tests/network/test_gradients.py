"""Losses, outputs and every gradient equal the oracle's, for any net, data and memory layout.

Error is reference.relative_error, max|a - b| / max|b| of each array: at most 1e-10 in float64 and
1e-4 in float32.
"""

import itertools
import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import culpa
import helpers
import reference
from culpa import _core
from culpa.answers.blame import QUANTITIES
from culpa.parts.losses import Loss
from helpers import ACTIVATIONS, DTYPES, LOSSES, LossCase

BY_NAME = {str(case): case for case in LOSSES}
MSE, MAE = BY_NAME["mse-real"], BY_NAME["mae-real"]

# Widths from inputs to outputs, and rows.
SMALL_SHAPES = [
    ((1, 1), 1),
    ((2, 1, 3), 1),
    ((3, 1, 1), 4),
    ((3, 15, 16, 4), 5),
    ((7, 31, 33, 1), 13),
    ((16, 32, 64, 17), 32),
    ((5, 9, 8, 7, 6, 4), 11),
]
LARGE_SHAPES = [
    ((17, 63, 65, 3), 129),  # rows cross a block of the weight gradient
    ((10, 65, 33, 17, 15, 3), 1000),
    ((12, 20, 515), 9),  # more outputs than a unit of the update has
    ((1030, 33, 4), 21),  # inputs cross blocks of the depth
    ((3, 520, 400, 2), 6),  # so do hidden layers, forward and back
    ((6, 8, 3), 4096 + 137),  # rows cross a block of the batch
]


def fits(case: LossCase, outputs: int) -> bool:
    """Probabilities of one class are always 1."""
    return outputs > 1 or case.targets != "probabilities"


def cases(shapes: list[tuple[tuple[int, ...], int]]) -> list[Any]:
    """Every shape with every loss that fits its outputs."""
    return [
        pytest.param(widths, rows, case, id="-".join(map(str, widths)) + f"x{rows}-{case}")
        for widths, rows in shapes
        for case in LOSSES
        if fits(case, widths[-1])
    ]


def network(layers: int, activation: str, variant: int) -> tuple[list[str], list[float | None]]:
    """The activation in every layer, the outputs included every other time; alphas too."""
    names = [activation] * layers
    if variant % 2 and layers > 1:
        names[-1] = "identity"
    alpha = 0.3 if variant % 3 == 0 and activation in ("leaky_relu", "elu") else None
    return names, [alpha if name == activation else None for name in names]


def single_node(activation: str, dtype: str, alpha: float | None = None) -> culpa.Sequential:
    """f(x), and nothing else: its slope is its error signal where the loss's slope is 1."""
    one, zero = np.ones((1, 1)), np.zeros(1)
    return helpers.make_model([(one, zero)], [activation], "mae", alphas=[alpha], dtype=dtype)


def values_and_slopes(
    activation: str, z: np.ndarray, alpha: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    model = single_node(activation, str(z.dtype), alpha)
    below_all = np.full(len(z), -np.finfo(z.dtype).max / 4)
    blame = model.blame(z[:, None], below_all, want=("nodes", "hidden", "slopes"))
    assert np.array_equal(blame.slopes[0], blame.nodes[0])  # the loss's slope is 1
    return blame.hidden[0][:, 0].astype(np.float64), blame.slopes[0][:, 0].astype(np.float64)


def test_the_instruction_set_asked_for_is_the_one_that_runs() -> None:
    asked = os.environ.get("CULPA_FORCE_ISA") or _core.instruction_sets()[0]
    assert _core.instruction_set() == asked


# --- Against the oracle --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("widths", "rows", "case"), cases(SMALL_SHAPES))
def test_every_loss_with_every_activation(
    widths: tuple[int, ...], rows: int, case: LossCase, dtype: str
) -> None:
    for variant, activation in enumerate(ACTIVATIONS):
        names, alphas = network(len(widths) - 1, activation, variant + LOSSES.index(case))
        problem = helpers.make_problem(
            widths,
            names,
            case,
            rows,
            dtype,
            seed=variant,
            weighted=variant // 2 % 2 == 1,
            alphas=alphas,
            input_scale=(1.0, 1.0, 0.125, -3.0)[variant % 4],
        )
        helpers.assert_all_blame_agrees(problem, activation)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("widths", "rows", "case"), cases(LARGE_SHAPES))
def test_every_loss_on_large_shapes(
    widths: tuple[int, ...], rows: int, case: LossCase, dtype: str
) -> None:
    variant = LOSSES.index(case)  # 20 losses, so that all 12 activations come up
    names, alphas = network(len(widths) - 1, ACTIVATIONS[variant % 12], variant)
    problem = helpers.make_problem(
        widths, names, case, rows, dtype, weighted=variant % 2 == 1, alphas=alphas
    )
    helpers.assert_all_blame_agrees(problem, names[0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_so_wide_that_blocks_of_the_batch_are_shorter(dtype: str) -> None:
    problem = helpers.make_problem((4200, 2, 1), ["silu", "identity"], MSE, 1050, dtype)
    helpers.assert_all_blame_agrees(problem)


WIDTHS = st.sampled_from([1, 2, 3, 5, 8, 15, 16, 17, 31, 32, 33, 40, 63, 64, 65])


@settings(deadline=None, max_examples=150)
@given(
    widths=st.lists(WIDTHS, min_size=2, max_size=5),
    rows=st.integers(1, 40),
    case=st.sampled_from(LOSSES),
    dtype=st.sampled_from(DTYPES),
    weighted=st.booleans(),
    input_scale=st.sampled_from([1.0, 1 / 255, -2.5, 40.0]),
    alpha=st.sampled_from([0.0, 0.2, 1.0, 2.5]),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_any_network(
    widths: list[int],
    rows: int,
    case: LossCase,
    dtype: str,
    weighted: bool,
    input_scale: float,
    alpha: float,
    seed: int,
    data: st.DataObject,
) -> None:
    if not fits(case, widths[-1]):
        widths[-1] = 2
    layers = len(widths) - 1
    names = data.draw(st.lists(st.sampled_from(ACTIVATIONS), min_size=layers, max_size=layers))
    alphas = [alpha if name in ("leaky_relu", "elu") else None for name in names]
    problem = helpers.make_problem(
        widths,
        names,
        case,
        rows,
        dtype,
        seed=seed,
        weighted=weighted,
        alphas=alphas,
        input_scale=input_scale,
    )
    helpers.assert_all_blame_agrees(problem)


def test_finite_differences_agree_for_every_loss_and_activation() -> None:
    step = 1e-5
    for case, activation in itertools.product(LOSSES, ACTIVATIONS):
        problem = helpers.make_problem(
            (3, 4, 3),
            [activation, "identity" if case.targets == "counts" else activation],
            case,
            4,
            seed=len(activation),
            weighted=True,
        )
        model = problem.model

        def loss_at(vector: np.ndarray, problem: helpers.Problem = problem) -> float:
            layers = reference.unflatten(vector, problem.parameters)
            problem.model.load_state_dict(helpers.state(layers))
            loss, _ = problem.model.loss_and_gradients(
                problem.X, problem.y, sample_weight=problem.sample_weight
            )
            return loss

        _, gradients = model.loss_and_gradients(
            problem.X, problem.y, sample_weight=problem.sample_weight
        )
        start = reference.flatten(problem.parameters)
        slopes = np.zeros_like(start)
        for k in range(len(start)):
            above, below = start.copy(), start.copy()
            above[k] += step
            below[k] -= step
            slopes[k] = (loss_at(above) - loss_at(below)) / (2.0 * step)
        flat = reference.flatten(
            [(gradients[f"dense_{i}.weight"], gradients[f"dense_{i}.bias"]) for i in range(2)]
        )
        helpers.assert_close(f"{case} {activation}", slopes, flat, 1e-7)


def test_blame_does_not_depend_on_what_else_is_asked_for() -> None:
    problem = helpers.make_problem((9, 20, 17, 3), ["relu", "mish", "identity"], MSE, 37)
    everything = problem.model.blame(problem.X, problem.y, want=QUANTITIES)
    for name in ("losses", "inputs", "gradient_norms"):
        alone = problem.model.blame(problem.X, problem.y, want=[name])
        assert np.array_equal(getattr(alone, name), getattr(everything, name))
    gradient = problem.model.blame(problem.X, problem.y, want=["weights"])
    for name in ("nodes", "hidden", "slopes"):
        lists = getattr(problem.model.blame(problem.X, problem.y, want=name), name)
        for alone, other in zip(lists, getattr(everything, name), strict=True):
            assert alone.tobytes() == other.tobytes()  # signs of zeros too
    for i in range(3):
        assert np.array_equal(gradient.weights[i], everything.weights[i])
        assert np.array_equal(gradient.biases[i], everything.biases[i])


def test_sample_weights_change_the_gradient_alone() -> None:
    problem = helpers.make_problem((5, 8, 2), ["tanh", "identity"], MSE, 9)
    weight = np.linspace(0.0, 4.0, 9)
    plain = problem.model.blame(problem.X, problem.y)
    weighted = problem.model.blame(problem.X, problem.y, sample_weight=weight)
    for name in ("losses", "inputs", "gradient_norms"):
        assert np.array_equal(getattr(plain, name), getattr(weighted, name))
    assert np.array_equal(plain.nodes[0], weighted.nodes[0])
    assert not np.array_equal(plain.weights[0], weighted.weights[0])
    scaled = problem.model.blame(problem.X, problem.y, sample_weight=1e-30 * weight)
    helpers.assert_close("weights", scaled.weights[0], weighted.weights[0], 1e-12)


@pytest.mark.parametrize("value", [0.1, 0.3, 1 / 3, 1e-3, 12345.678])
def test_r2_has_no_value_where_targets_do_not_vary(value: float) -> None:
    model = culpa.Sequential([culpa.Dense(1)], "mse", input_size=2)
    for rows in (1, 7, 10):
        X, y = np.ones((rows, 2)), np.full(rows, value)
        weight = np.linspace(0.1, 1.0, rows)
        assert math.isnan(model.evaluate(X, y)["r2"])
        assert math.isnan(model.evaluate(X, y, sample_weight=weight)["r2"])


# --- At the kinks --------------------------------------------------------------------------------

SELU_BELOW = reference.SELU_SCALE * reference.SELU_ALPHA


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("zero", [0.0, -0.0])
@pytest.mark.parametrize(
    ("activation", "alpha", "slope"),
    [
        ("relu", None, 0.0),
        ("leaky_relu", None, 0.01),
        ("leaky_relu", 0.25, 0.25),
        ("leaky_relu", 0.0, 0.0),
        ("elu", None, 1.0),
        ("elu", 0.5, 0.5),
        ("selu", None, SELU_BELOW),
    ],
)
def test_the_slope_at_a_kink_is_that_of_the_negative_side(
    activation: str, alpha: float | None, slope: float, zero: float, dtype: str
) -> None:
    values, slopes = values_and_slopes(activation, np.array([zero], dtype), alpha)
    assert values[0] == 0.0
    assert slopes[0] == pytest.approx(slope, rel=2 * float(np.finfo(dtype).eps), abs=0.0)


def test_a_hidden_relu_at_zero_passes_no_blame_back() -> None:
    """Two of three hidden nodes are at zero, one of them with a weight that would carry blame."""
    parameters = [
        (np.array([[1.0, -1.0, 2.0]]), np.array([-1.0, 1.0, 0.0])),
        (np.array([[3.0], [5.0], [7.0]]), np.zeros(1)),
    ]
    model = helpers.make_model(parameters, ["relu", "identity"], "mae", dtype="float64")
    blame = model.blame([[1.0]], [0.0], want=QUANTITIES)
    assert blame.hidden[0].tolist() == [[0.0, 0.0, 2.0]]
    assert blame.slopes[0].tolist() == [[0.0, 0.0, 1.0]]
    assert blame.nodes[0].tolist() == [[0.0, 0.0, 7.0]]
    assert blame.inputs.tolist() == [[14.0]]


def error_signal(loss: Loss, residual: list[float], dtype: str) -> tuple[Any, Any]:
    """L_i and dL_i/dz where z = residual and y = 0, each an example."""
    model = helpers.make_model([(np.ones((1, 1)), np.zeros(1))], ["identity"], loss, dtype=dtype)
    X = np.array(residual, dtype)[:, None]
    blame = model.blame(X, np.zeros(len(X)))
    return blame.losses.tolist(), blame.nodes[0][:, 0].tolist()


@pytest.mark.parametrize("dtype", DTYPES)
def test_mae_has_no_slope_at_zero_error(dtype: str) -> None:
    losses, slopes = error_signal(culpa.MAE(), [0.0, -0.0, 0.5, -0.5], dtype)
    assert losses == [0.0, 0.0, 0.5, 0.5]
    assert slopes == [0.0, 0.0, 1.0, -1.0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_huber_turns_linear_at_delta(dtype: str) -> None:
    residual = [0.0, 0.25, 0.5, -0.5, 0.75, -0.75]
    losses, slopes = error_signal(culpa.Huber(0.5), residual, dtype)
    assert losses == [0.0, 0.03125, 0.125, 0.125, 0.25, 0.25]
    assert slopes == [0.0, 0.25, 0.5, -0.5, 0.5, -0.5]


@pytest.mark.parametrize("dtype", DTYPES)
def test_quantile_has_no_slope_where_the_guess_is_right(dtype: str) -> None:
    losses, slopes = error_signal(culpa.Quantile(0.25), [0.0, -0.0, 1.0, -1.0], dtype)
    assert losses == [0.0, 0.0, 0.75, 0.25]
    assert slopes == [0.0, 0.0, 0.75, -0.25]


# --- Elementary functions ------------------------------------------------------------------------
#
# Bounds in units of the dtype's epsilon. A value's error is relative to the value itself, with two
# exceptions: gelu's e^(-z^2 / 2) makes z^2 / 2 ulps of one in z, and gelu_tanh's 1 + tanh cancels,
# so that its error is relative to |z|. A slope's error is relative to 1 (or to the slope where that
# is more): 1 - tanh^2 and its like cancel where they vanish. Below the smallest normal number the
# core takes values for zero.
VALUE_BOUND = {"identity": 0.0, "relu": 0.0, "leaky_relu": 1.0, "elu": 2.0}  # others: 4
SLOPE_BOUND = {"identity": 0.0, "relu": 0.0, "leaky_relu": 1.0, "silu": 40.0, "gelu_tanh": 60.0}


def grid(dtype: str) -> np.ndarray:
    tiny = np.geomspace(1e-30, 1.0, 1000)
    ends = [0.0, -0.0, 1e-8, -1e-8, 1e3, -1e3, float(np.finfo(dtype).smallest_subnormal)]
    return np.concatenate(
        [np.linspace(-100, 100, 20001), np.linspace(-6, 6, 20001), tiny, -tiny, ends]
    ).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_are_accurate_from_minus_100_to_100(activation: str, dtype: str) -> None:
    z = grid(dtype)
    values, slopes = values_and_slopes(activation, z)
    wide = np.where(np.abs(z) < np.finfo(dtype).tiny, 0.0, z.astype(np.float64))
    alpha = reference.DEFAULT_ALPHA.get(activation, 0.0)
    value, derivative = reference.ACTIVATIONS[activation]
    want, slope = value(wide, alpha), derivative(wide, alpha)
    eps, smallest = float(np.finfo(dtype).eps), float(np.finfo(dtype).tiny)

    allowed = VALUE_BOUND.get(activation, 4.0) * eps * np.abs(want)
    if activation == "gelu":
        allowed = (4.0 + wide**2) * eps * np.abs(want)
    if activation == "gelu_tanh":
        allowed = 4.0 * eps * np.maximum(np.abs(want), np.abs(wide))
    excess = np.abs(values - want) - allowed - smallest * (1.0 + np.abs(wide))
    assert excess.max() <= 0.0, f"the value at z = {z[excess.argmax()]!r}"

    allowed = SLOPE_BOUND.get(activation, 4.0) * eps * np.maximum(np.abs(slope), 1.0)
    excess = np.abs(slopes - slope) - allowed - smallest
    assert excess.max() <= 0.0, f"the slope at z = {z[excess.argmax()]!r}"


# What each activation tends to at +z and at -z for a great z: value as (factor of z, constant), and
# slope.
LIMITS = {
    "identity": (((1, 0), 1), ((1, 0), 1)),
    "relu": (((1, 0), 1), ((0, 0), 0)),
    "leaky_relu": (((1, 0), 1), ((0.01, 0), 0.01)),
    "elu": (((1, 0), 1), ((0, -1), 0)),
    "selu": (((reference.SELU_SCALE, 0), reference.SELU_SCALE), ((0, -SELU_BELOW), 0)),
    "gelu": (((1, 0), 1), ((0, 0), 0)),
    "gelu_tanh": (((1, 0), 1), ((0, 0), 0)),
    "silu": (((1, 0), 1), ((0, 0), 0)),
    "mish": (((1, 0), 1), ((0, 0), 0)),
    "tanh": (((0, 1), 0), ((0, -1), 0)),
    "sigmoid": (((0, 1), 0), ((0, 0), 0)),
    "softplus": (((1, 0), 1), ((0, 0), 0)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_reach_their_limits(activation: str, dtype: str) -> None:
    great = np.array([1e3, 1e6, 1e10, 1e15, 1e20, 1e30, 1e37], dtype)
    if dtype == "float64":
        great = np.append(great, [1e100, 1e150, 1e200, 1e300])
    eps = 4.0 * float(np.finfo(dtype).eps)
    for sign, ((factor, constant), slope) in zip((1, -1), LIMITS[activation], strict=True):
        values, slopes = values_and_slopes(activation, sign * great)
        want = sign * factor * great.astype(np.float64) + constant
        np.testing.assert_allclose(values, want, rtol=eps, atol=eps)
        np.testing.assert_allclose(slopes, np.full(len(great), slope), rtol=eps, atol=eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_nan_comes_out_of_every_activation_as_a_nan(activation: str, dtype: str) -> None:
    """A network that overflows must show it: infinity - infinity here."""
    great = float(np.finfo(dtype).max)
    parameters = [
        (np.full((1, 2), great), np.zeros(2)),
        (np.array([[1.0], [-1.0]]), np.zeros(1)),
    ]
    model = helpers.make_model(parameters, ["identity", activation], "mse", dtype=dtype)
    assert np.isnan(model.predict_logits([[2.0]])).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", LOSSES, ids=str)
def test_a_nan_comes_out_of_every_loss_as_a_nan(case: LossCase, dtype: str) -> None:
    great = float(np.finfo(dtype).max)
    parameters = [
        (np.full((1, 2), great), np.zeros(2)),
        (np.array([[1.0, 1.0], [-1.0, 0.0]]), np.zeros(2)),
    ]
    model = helpers.make_model(parameters, ["identity", "identity"], case.loss, dtype=dtype)
    y = np.array([1]) if case.targets == "labels" else np.array([[0.0, 1.0]])
    y = y + 1.0 if case.targets == "positive" else y
    assert np.isnan(model.blame([[2.0]], y, want=["losses"]).losses).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_losses_of_great_logits_are_finite(dtype: str) -> None:
    """exp of such logits overflows; their losses are known all the same."""
    parameters = [(np.array([[1.0, -1.0]]), np.zeros(2))]
    model = helpers.make_model(parameters, ["identity"], "cross_entropy", dtype=dtype)
    blame = model.blame([[1e4], [1e4], [0.0]], np.array([0, 1, 1]))
    np.testing.assert_allclose(blame.losses, [0.0, 2e4, math.log(2.0)], rtol=1e-6)
    np.testing.assert_allclose(blame.nodes[0], [[0, 0], [1, -1], [0.5, -0.5]], atol=1e-6)

    model = helpers.make_model(parameters, ["identity"], "binary_cross_entropy", dtype=dtype)
    blame = model.blame([[1e4], [0.0]], np.array([[1.0, 1.0], [1.0, 0.0]]))
    np.testing.assert_allclose(blame.losses, [5e3, math.log(2.0)], rtol=1e-6)
    np.testing.assert_allclose(blame.nodes[0], [[0, -0.5], [-0.25, 0.25]], atol=1e-6)


# --- Data of any dtype and layout ----------------------------------------------------------------

INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
DATA_DTYPES = [*INTEGERS, "float16", "float32", "float64", "bool"]


def answers(model: culpa.Sequential, X: Any, y: Any, weight: Any = None) -> list[np.ndarray]:
    """Everything that reads data: two arrays are the same data where all of this is equal."""
    blame = model.blame(X, y, sample_weight=weight)
    trained = model.copy()
    trained.fit(X, y, sample_weight=weight, epochs=2, batch_size=4, verbose=False)
    return [
        model.predict_logits(X),
        blame.losses,
        blame.inputs,
        *blame.nodes,
        *blame.weights,
        *blame.biases,
        np.array(model.evaluate(X, y, sample_weight=weight)["loss"]),
        *trained.state_dict().values(),
    ]


def assert_same_answers(
    model: culpa.Sequential, given: tuple[Any, ...], plain: tuple[Any, ...]
) -> None:
    for got, want in zip(answers(model, *given), answers(model, *plain), strict=True):
        np.testing.assert_array_equal(got, want)


def small_model(dtype: str, loss: str = "mse", outputs: int = 3, inputs: int = 21) -> Any:
    return culpa.Sequential(
        [culpa.Dense(19, "tanh"), culpa.Dense(outputs)],
        loss,
        seed=3,
        input_size=inputs,
        dtype=dtype,
        input_scale=1 / 16,
    )


def some_data(data_dtype: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Values of both signs where the dtype has them, small enough to train on."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(data_dtype).kind
    if kind == "f":
        return rng.normal(scale=4.0, size=shape).astype(data_dtype)
    return rng.integers(-16 if kind == "i" else 0, 2 if kind == "b" else 17, shape).astype(
        data_dtype
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("data_dtype", DATA_DTYPES)
def test_data_of_any_dtype_count_as_the_numbers_that_they_hold(data_dtype: str, dtype: str) -> None:
    X, y = some_data(data_dtype, (11, 21)), some_data(data_dtype, (11, 3), 1)
    assert_same_answers(small_model(dtype), (X, y), (X.astype(dtype), y.astype(dtype)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("data_dtype", DATA_DTYPES)
def test_every_value_of_a_dtype_converts_as_numpy_converts_it(data_dtype: str, dtype: str) -> None:
    if data_dtype == "float16":
        values = np.arange(2**16, dtype=np.uint16).view(np.float16)  # subnormals too
        values = values[np.isfinite(values)]
    elif np.dtype(data_dtype).kind == "f":
        size = np.geomspace(1e-30, 1e30, 999)
        values = np.concatenate([size, -size, [0.0, 1 + 2**-24, 1 + 2**-24 + 2**-40]])
        values = values.astype(data_dtype)
    elif data_dtype == "bool":
        values = np.array([False, True])
    elif np.dtype(data_dtype).itemsize <= 2:
        limits = np.iinfo(data_dtype)
        values = np.arange(limits.min, limits.max + 1).astype(data_dtype)
    else:  # ends, and around every power of two, where rounding happens
        limits = np.iinfo(data_dtype)
        powers = [sign * 2**k + d for k in range(64) for d in (-1, 0, 1) for sign in (1, -1)]
        ends = [limits.min, limits.max, limits.max - 1, limits.max - 2**6]
        inside = sorted({v for v in powers + ends if limits.min <= v <= limits.max})
        values = np.array(inside, dtype=data_dtype)
    model = single_node("identity", dtype)
    np.testing.assert_array_equal(model.predict_logits(values[:, None])[:, 0], values.astype(dtype))


def fortran(a: np.ndarray) -> np.ndarray:
    return np.asfortranarray(a)


def every_second_row_and_third_column(a: np.ndarray) -> np.ndarray:
    wide = np.zeros((2 * a.shape[0], 1 + 3 * a.shape[1]), a.dtype)
    view = wide[::2, 1::3]
    view[...] = a
    return view


def backwards(a: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1]


def read_only(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a.flags.writeable = False
    return a


def big_endian(a: np.ndarray) -> np.ndarray:
    return a.astype(a.dtype.newbyteorder(">"))


def little_endian(a: np.ndarray) -> np.ndarray:
    return a.astype(a.dtype.newbyteorder("<"))


def field_of_packed_records(a: np.ndarray) -> np.ndarray:
    """Numbers at odd addresses, one byte after the other's end."""
    records = np.zeros(a.shape, dtype=[("byte", "u1"), ("value", a.dtype)])
    records["value"] = a
    return records["value"]


def unaligned_rows(a: np.ndarray) -> np.ndarray:
    """Rows without gaps that begin at an odd address."""
    memory = np.zeros(a.nbytes + 1, np.uint8)
    view = memory[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


LAYOUTS = [
    fortran,
    every_second_row_and_third_column,
    backwards,
    read_only,
    big_endian,
    little_endian,
    field_of_packed_records,
    unaligned_rows,
]


@pytest.mark.parametrize("data_dtype", DATA_DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_data_of_any_layout_give_the_same_bits(
    layout: Callable[[np.ndarray], np.ndarray], data_dtype: str
) -> None:
    X, y = some_data(data_dtype, (9, 21)), some_data(data_dtype, (9, 3), 1)
    given = layout(X), layout(y)
    assert all(np.array_equal(a, b) for a, b in zip(given, (X, y), strict=True))
    assert_same_answers(small_model("float32"), given, (X, y))


@pytest.mark.parametrize("data_dtype", DATA_DTYPES)
def test_broadcast_data_give_the_same_bits(data_dtype: str) -> None:
    row, column = some_data(data_dtype, (1, 21)), some_data(data_dtype, (9, 1), 1)
    y = np.broadcast_to(some_data(data_dtype, (1, 3), 2), (9, 3))
    for X in (np.broadcast_to(row, (9, 21)), np.broadcast_to(column, (9, 21))):
        assert 0 in X.strides
        assert_same_answers(small_model("float64"), (X, y), (X.copy(), y.copy()))


@pytest.mark.parametrize("inputs", [1, 2, 16, 33])
def test_one_column_or_row_of_any_layout_gives_the_same_bits(inputs: int) -> None:
    model = small_model("float32", outputs=1, inputs=inputs)
    for layout, rows in itertools.product(LAYOUTS, (1, 5)):
        X, y = some_data("float64", (rows, inputs)), some_data("float64", (rows, 1), 1)
        assert_same_answers(model, (layout(X), layout(y)), (X, y))


@pytest.mark.parametrize("label_dtype", [*INTEGERS, "bool", ">i4", ">u8"])
def test_labels_and_weights_of_any_dtype_and_layout_give_the_same_bits(label_dtype: str) -> None:
    X = some_data("float32", (12, 21))
    labels = np.random.default_rng(2).integers(0, 2, 12)
    weights = np.arange(12) % 5
    plain = (X, labels, weights.astype(np.float64))
    model = small_model("float32", "cross_entropy")
    doubled = np.repeat(labels.astype(label_dtype), 2)
    for y in (doubled[::2], np.ascontiguousarray(labels[::-1]).astype(label_dtype)[::-1]):
        assert_same_answers(model, (X, y, weights.astype("int16")[::-1][::-1]), plain)
        assert_same_answers(model, (X, y.tolist(), weights.tolist()), plain)
    assert_same_answers(model, (X, doubled[::2], weights.astype(">f4")), plain)


def test_input_scale_stands_for_scaled_data_and_blame_refers_to_the_raw() -> None:
    X, y = some_data("uint8", (14, 21)), some_data("float64", (14, 3), 1)
    scaled = small_model("float64")
    plain = culpa.Sequential(
        [culpa.Dense(19, "tanh"), culpa.Dense(3)], "mse", input_size=21, dtype="float64"
    )
    plain.load_state_dict(scaled.state_dict())
    ours, theirs = scaled.blame(X, y), plain.blame(X / 16, y)
    assert np.array_equal(ours.losses, theirs.losses)
    assert np.array_equal(ours.weights[0], theirs.weights[0])
    assert np.array_equal(ours.inputs, theirs.inputs / 16)
    assert np.array_equal(ours.gradient_norms, theirs.gradient_norms)
    assert np.array_equal(scaled.predict_logits(X), plain.predict_logits(X / 16))


# --- A row and its batch -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "widths", [(1, 1), (7, 33, 5), (30, 130, 257, 3), (410, 17, 70), (5, 600, 515)]
)
def test_a_row_is_predicted_the_same_whatever_its_batch(
    widths: tuple[int, ...], dtype: str
) -> None:
    names = ["gelu", "silu", "identity"][-len(widths) + 1 :]
    rng = np.random.default_rng(1)
    parameters = helpers.random_parameters(widths, rng)
    model = helpers.make_model(parameters, names, "mse", dtype=dtype)
    X = rng.normal(size=(150, widths[0]))
    together = model.predict_logits(X)
    y = np.zeros_like(together)
    losses = model.blame(X, y, want=["losses"]).losses
    for size in (1, 2, 3, 7, 14, 15, 29, 127):
        for start in (0, 1, 20):
            part = X[start : start + size]
            np.testing.assert_array_equal(
                model.predict_logits(part), together[start : start + size]
            )
            blame = model.blame(part, y[start : start + size], want=["losses"])
            np.testing.assert_array_equal(blame.losses, losses[start : start + size])
    alone = np.concatenate([model.predict_logits(X[i : i + 1]) for i in range(len(X))])
    np.testing.assert_array_equal(alone, together)
