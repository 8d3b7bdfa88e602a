"""Networks of stages of every kind answer what their oracle says, to the same bits on any plan.

Error is reference.relative_error, max|a - b| / max|b| of each array: at most 1e-10 in float64 and
1e-4 in float32. What the oracle has as 0, behind a LayerNorm of one number, is 0 to the bit.
"""

import functools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import culpa
import helpers
import reference_stages as oracle
import stacks
from helpers import DTYPES, TOLERANCE
from reference_stages import Residual, Stage
from stacks import StageProblem, dense, norm, scale

PLANS = [(1, "rows"), (2, "rows"), (3, "rows"), (2, "columns"), (3, "columns")]
BY_NAME = {str(case): case for case in helpers.LOSSES}
MSE, CROSS_ENTROPY = BY_NAME["mse-real"], BY_NAME["cross_entropy-labels-0.0"]


def act(name: str, alpha: float | None = None) -> oracle.Activation:
    return oracle.Activation(name, alpha)


def block(width: int, hidden: int, activation: str = "gelu") -> Residual:
    """As transformers have them: normalised, widened, narrowed, added."""
    return Residual([norm(width), dense(width, hidden), act(activation), dense(hidden, width)])


# What each kind does where it is first, last or alone, and shapes that hypothesis does not reach.
STACKS: dict[str, tuple[list[Stage], int]] = {
    "scale first": ([scale(9), dense(9, 4)], 7),
    "scale alone but for one layer": ([scale(1), dense(1, 1), scale(1)], 1),
    "two scales": ([scale(33), scale(33), dense(33, 3)], 12),
    "scale last": ([dense(5, 8, "tanh"), scale(8)], 9),
    "activation first": ([act("tanh"), dense(6, 3)], 8),
    "activation last": ([dense(6, 17), act("softplus")], 8),
    "activation behind activation": ([dense(7, 31), act("relu"), act("tanh"), dense(31, 2)], 11),
    "activation behind an activated layer": ([dense(7, 16, "relu"), act("elu"), dense(16, 2)], 11),
    "relu behind relu": ([dense(7, 16, "relu"), act("relu"), act("leaky_relu"), dense(16, 2)], 11),
    "layer norm first": ([norm(19), dense(19, 3)], 6),
    "layer norm last": ([dense(4, 19, "silu"), norm(19)], 6),
    "linear, layer norm, relu": (
        [dense(8, 33), norm(33), act("relu"), dense(33, 17), norm(17), act("relu"), dense(17, 3)],
        32,
    ),
    "layer norm of 1": ([dense(3, 1), norm(1), dense(1, 4, "tanh"), dense(4, 2)], 5),
    "layer norm of 1 on the inputs": ([norm(1), dense(1, 2)], 5),
    "layer norm of 1,000": ([dense(3, 1000, "gelu"), norm(1000), dense(1000, 4)], 6),
    "layer norm of 1,000 on the inputs": ([norm(1000), dense(1000, 4)], 6),
    "layer norm of more than a block of the depth": ([norm(1030), dense(1030, 3)], 3),
    "residual first": ([Residual([dense(5, 9, "tanh"), dense(9, 5)]), dense(5, 2)], 7),
    "residual last": ([dense(5, 9), Residual([dense(9, 9, "silu")])], 7),
    "residual of width 1": ([dense(4, 1), Residual([dense(1, 5, "mish"), dense(5, 1)])], 3),
    "residual that begins with an activation": (
        [dense(6, 12), Residual([act("relu"), dense(12, 12)]), dense(12, 2)],
        10,
    ),
    "residual of an activation": ([dense(6, 12), Residual([act("tanh")]), dense(12, 2)], 10),
    "residual behind residual": ([dense(6, 16), block(16, 33), block(16, 8), dense(16, 2)], 21),
    "residual in residual": (
        [
            dense(5, 8),
            Residual([act("silu"), Residual([norm(8), Residual([dense(8, 8)]), scale(8)])]),
            dense(8, 3),
        ],
        13,
    ),
    "residual of a wide branch": ([dense(3, 7), block(7, 530), dense(7, 2)], 6),
    "dropout wherever it may stand": (
        [
            oracle.Dropout(0.5),
            scale(6),
            dense(6, 9),
            oracle.Dropout(0.3),
            act("relu"),
            oracle.Dropout(0.2),
            Residual([norm(9), dense(9, 9), oracle.Dropout(0.2)]),
            dense(9, 3),
        ],
        10,
    ),
    "more outputs than a unit of the update has": ([scale(12), block(12, 20), dense(12, 515)], 9),
    "more rows than a block of the weight gradient": (
        [scale(17), dense(17, 31), norm(31), block(31, 16), dense(31, 3)],
        129,
    ),
    "rows of several blocks": (
        [scale(5), dense(5, 8), norm(8), act("relu"), block(8, 6), dense(8, 3)],
        4096 + 137,
    ),
}


@functools.cache
def problem_of(name: str, dtype: str = "float64", **options: Any) -> StageProblem:
    stages, rows = STACKS[name]
    case = MSE if list(STACKS).index(name) % 2 else CROSS_ENTROPY
    if stacks.output_size(stages) == 1:
        case = MSE
    return stacks.make_problem(stages, case, rows, dtype, weighted=rows > 8, **options)


def assert_agrees(problem: StageProblem) -> None:
    model = problem.model()
    assert list(model.state_dict()) == list(oracle.arrays(problem.stages))
    got = stacks.answers_of_model(model, problem.X, problem.y, problem.sample_weight)
    assert list(got) == list(problem.answers)
    for name, want in problem.answers.items():
        helpers.assert_close(name, got[name], want, TOLERANCE[problem.dtype])


# --- Against the oracle --------------------------------------------------------------------------


@settings(deadline=None, max_examples=200)
@given(problem=stacks.problems(dropout=True))
def test_any_stack_answers_what_the_oracle_says(problem: StageProblem) -> None:
    assert_agrees(problem)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", STACKS)
def test_stacks_of_note_answer_what_the_oracle_says(name: str, dtype: str) -> None:
    assert_agrees(problem_of(name, dtype, input_scale=0.5))


@pytest.mark.parametrize("name", STACKS)
def test_a_batch_of_one_row(name: str) -> None:
    stages, _ = STACKS[name]
    assert_agrees(stacks.make_problem(stages, MSE, 1))


def test_slopes_at_a_kink_behind_another_are_those_of_the_negative_side() -> None:
    one = [np.array([[-1.0], [0.0], [-0.0], [2.0]]), np.full(4, -9.0)]
    behind: list[Stage] = [act("leaky_relu", 0.25), Residual([act("elu", 0.5)])]
    linear = oracle.Dense(np.ones((1, 1)), np.zeros(1))
    blame = stacks.make_model([linear, act("relu"), *behind], "mae").blame(*one)
    assert blame.nodes[0].tolist() == [[0.0], [0.0], [0.0], [2.0]]
    blame = stacks.make_model([oracle.Scale(np.ones(1)), *behind, linear], "mae").blame(*one)
    want = [0.25 * (1.0 + 0.5 * np.exp(-0.25)), 0.375, 0.375, 2.0]
    np.testing.assert_allclose(blame.inputs[:, 0], want, rtol=1e-15)


def test_an_answer_does_not_depend_on_what_else_is_asked_for() -> None:
    problem = problem_of("residual in residual")
    model, X, y = problem.model(), problem.X, problem.y
    everything = model.blame(X, y)
    for name in ("losses", "inputs", "gradient_norms"):
        alone = getattr(model.blame(X, y, want=[name]), name)
        np.testing.assert_array_equal(alone, getattr(everything, name), name)
    for got, want in zip(model.blame(X, y, want=["nodes"]).nodes, everything.nodes, strict=True):
        np.testing.assert_array_equal(got, want)
    gradients = model.blame(X, y, want=["weights"]).gradients
    stacks.assert_same_bits(gradients, everything.gradients)


# --- New layers ----------------------------------------------------------------------------------


def test_arrays_of_a_new_model_begin_as_the_identity() -> None:
    layers = [
        culpa.Scale(),
        culpa.LayerNorm(),
        culpa.Residual([culpa.LayerNorm(), culpa.Dense(4)]),
        culpa.Dense(2),
    ]
    arrays = culpa.Sequential(layers, "mse", input_size=4, dtype="float64").state_dict()
    assert list(arrays) == [
        "scale_0.factor",
        "layer_norm_0.gain",
        "layer_norm_0.shift",
        "layer_norm_1.gain",
        "layer_norm_1.shift",
        "dense_0.weight",
        "dense_0.bias",
        "dense_1.weight",
        "dense_1.bias",
    ]
    for name, array in arrays.items():
        if name.endswith((".factor", ".gain")):
            np.testing.assert_array_equal(array, 1.0, name)
        elif not name.endswith(".weight"):
            np.testing.assert_array_equal(array, 0.0, name)


def test_shapes_follow_from_the_first_data() -> None:
    layers = [culpa.Scale(), culpa.Residual([culpa.Dense(6, "relu"), culpa.Dense(5)])]
    model = culpa.Sequential([*layers, culpa.LayerNorm(), culpa.Dense(2)], "mse")
    model.fit(np.ones((3, 5)), np.ones((3, 2)), epochs=1, verbose=False)
    assert {name: array.shape for name, array in model.state_dict().items()} == {
        "scale_0.factor": (5,),
        "dense_0.weight": (5, 6),
        "dense_0.bias": (6,),
        "dense_1.weight": (6, 5),
        "dense_1.bias": (5,),
        "layer_norm_0.gain": (5,),
        "layer_norm_0.shift": (5,),
        "dense_2.weight": (5, 2),
        "dense_2.bias": (2,),
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", helpers.ACTIVATIONS)
def test_an_activation_behind_a_layer_has_the_bits_of_the_layers_own(
    activation: str, dtype: str
) -> None:
    own = [culpa.Dense(33, activation), culpa.Dropout(0.2), culpa.Dense(3)]
    behind = [culpa.Dense(33), culpa.Activation(activation), culpa.Dropout(0.2), culpa.Dense(3)]
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 7)), rng.normal(size=(50, 3))
    found = []
    for layers in (own, behind):
        model = culpa.Sequential(layers, "mse", seed=4, input_size=7, dtype=dtype)
        before = stacks.answers_of_model(model, X, y)
        model.fit(X, y, epochs=2, batch_size=16, verbose=False)
        found.append((before, model.state_dict(), model.predict_logits(X).tobytes()))
    stacks.assert_same_bits(found[1][0], found[0][0])
    stacks.assert_same_bits(found[1][1], found[0][1])
    assert found[1][2] == found[0][2]


# --- Threads -------------------------------------------------------------------------------------


def assert_same_answers_on_every_plan(problem: StageProblem) -> None:
    model = problem.model()
    found = []
    for plan in PLANS:
        with helpers.plan(*plan):
            found.append(
                stacks.answers_of_model(model, problem.X, problem.y, problem.sample_weight)
            )
    for answers in found[1:]:
        stacks.assert_same_bits(answers, found[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", STACKS)
def test_same_answers_at_any_thread_count(name: str, dtype: str) -> None:
    assert_same_answers_on_every_plan(problem_of(name, dtype))


@settings(deadline=None, max_examples=80)
@given(problem=stacks.problems(dropout=True))
def test_any_stack_gives_the_same_answers_at_any_thread_count(problem: StageProblem) -> None:
    assert_same_answers_on_every_plan(problem)


# --- Influence -----------------------------------------------------------------------------------


def assert_influence_agrees(problem: StageProblem, train: int) -> None:
    """Errors are relative to the longest gradients: a dot product may be a small rest."""

    def walk_of(rows: slice) -> oracle.Walk:
        part = StageProblem(problem.stages, problem.case, problem.X[rows], problem.y[rows], None)
        part.input_scale = problem.input_scale
        return part.walk

    first, second = walk_of(slice(train)), walk_of(slice(train, None))
    X, y = problem.X, problem.y
    got = problem.model().influence(X[:train], y[:train], X[train:], y[train:]).scores
    want = oracle.influence(first, second)
    assert got is not None
    assert got.shape == want.shape
    largest = first.gradient_norms.max() * second.gradient_norms.max()
    assert np.abs(got - want).max() <= TOLERANCE[problem.dtype] * largest


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", STACKS)
def test_influence_is_the_oracles(name: str, dtype: str) -> None:
    problem = problem_of(name, dtype)
    rows = min(len(problem.X), 129)
    if rows > 1:
        problem = StageProblem(
            problem.stages, problem.case, problem.X[:rows], problem.y[:rows], None, dtype
        )
        assert_influence_agrees(problem, rows - max(1, rows // 3))


@settings(deadline=None, max_examples=60)
@given(problem=stacks.problems().filter(lambda problem: len(problem.X) > 1))
def test_influence_of_any_stack_is_the_oracles(problem: StageProblem) -> None:
    assert_influence_agrees(problem, (len(problem.X) + 1) // 2)


# --- Saved and copied ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", STACKS)
def test_what_is_saved_pickled_and_copied_keeps_every_bit(
    name: str, dtype: str, tmp_path: Path
) -> None:
    problem = problem_of(name, dtype)
    model = problem.model(seed=7)
    if len(problem.X) < 1000:
        model.fit(problem.X, problem.y, epochs=1, verbose=False)
    model.save(tmp_path / "model.safetensors")
    want = stacks.answers_of_model(model, problem.X, problem.y)
    for other in (
        culpa.load(tmp_path / "model.safetensors"),
        pickle.loads(pickle.dumps(model)),
        model.copy(),
    ):
        assert other.config() == model.config()
        assert helpers.parameter_bytes(other) == helpers.parameter_bytes(model)
        stacks.assert_same_bits(stacks.answers_of_model(other, problem.X, problem.y), want)


def test_a_copy_goes_on_where_the_model_stands() -> None:
    stages = [scale(5, factors=(0.5,)), dense(5, 8), norm(8, factors=(2.0, 0.0)), dense(8, 2)]
    problem = stacks.make_problem([*stages, block(2, 4)], MSE, 20)
    options = {"epochs": 2, "batch_size": 8, "optimizer": culpa.Adam(0.01), "verbose": False}
    model = problem.model(seed=3)
    model.fit(problem.X, problem.y, **options)
    copies = [model.copy(), pickle.loads(pickle.dumps(model))]
    for each in (model, *copies):
        each.fit(problem.X, problem.y, **options)
    for other in copies:
        assert helpers.parameter_bytes(other) == helpers.parameter_bytes(model)
