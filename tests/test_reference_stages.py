"""The oracle of stages is right: against PyTorch's autograd, finite differences, known answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import helpers
import reference
import reference_stages as oracle
import stacks
from reference_stages import Array, Stages
from stacks import StageProblem
from test_reference import import_torch
from torch_stages import torch_answers, torch_network

BY_NAME = {str(case): case for case in helpers.LOSSES}
MSE, HUBER = BY_NAME["mse-real"], BY_NAME["huber-real-1.0"]
CASES = [MSE, HUBER, BY_NAME["cross_entropy-labels-0.1"], BY_NAME["binary_cross_entropy-binary"]]

# --- PyTorch --------------------------------------------------------------------------------------


def assert_agrees_with_torch(problem: StageProblem) -> None:
    """One output's targets may be flat, which PyTorch would broadcast."""
    if problem.y.ndim == 1 and problem.case.targets != "labels":
        problem.y = problem.y[:, None]
    expected = torch_answers(problem)
    ours = stacks.answers_of(problem.walk)
    assert list(ours) == list(expected)
    largest = max(np.abs(array).max() for array in ours.values())
    for name, got in ours.items():
        if got.any():
            helpers.assert_close(name, got, expected[name], 1e-10)
        else:  # behind a LayerNorm of one number, where PyTorch keeps a rest of its roundings
            assert np.abs(expected[name]).max() <= 1e-10 * largest, name


@settings(deadline=None, max_examples=100)
@given(problem=stacks.problems(CASES))
def test_any_stack_agrees_with_autograd(problem: StageProblem) -> None:
    assert_agrees_with_torch(problem)


@pytest.mark.parametrize("width", [1, 2, 3, 17, 1000])
@pytest.mark.parametrize("place", ["first", "between", "last"])
def test_layer_norm_agrees_with_torchs(place: str, width: int) -> None:
    norm = stacks.norm(width, 0.5 if width == 2 else 1e-5)
    stages: list[oracle.Stage] = {
        "first": [norm, stacks.dense(width, 3)],
        "between": [stacks.dense(4, width), norm, stacks.dense(width, 3, "tanh")],
        "last": [stacks.dense(4, width, "gelu"), norm],
    }[place]
    assert_agrees_with_torch(stacks.make_problem(stages, MSE, 9, weighted=True))


# --- Finite differences --------------------------------------------------------------------------


def finite_differences(problem: StageProblem, step: float = 1e-6) -> tuple[dict[str, Array], Array]:
    """Gradients of the batch loss by name, and dL_i/dx, as (L(p + step) - L(p - step)) / 2 step."""
    values = oracle.arrays(problem.stages)
    vector = oracle.flatten(values)
    gradient = np.zeros_like(vector)
    for k, unit in enumerate(np.eye(len(vector)) * step):
        above, below = (
            problem.walk_of(oracle.with_arrays(problem.stages, oracle.unflatten(moved, values)))
            for moved in (vector + unit, vector - unit)
        )
        gradient[k] = (above.loss - below.loss) / (2.0 * step)
    inputs = np.zeros_like(problem.X)
    for k, unit in enumerate(np.eye(problem.X.shape[1]) * step):
        losses = []
        for X in (problem.X + unit, problem.X - unit):
            outputs = oracle.forward(problem.stages, X)
            name, options = problem.case.loss.name, problem.case.options
            losses.append(reference.LOSSES[name](outputs, problem.y, **options)[0])
        inputs[:, k] = (losses[0] - losses[1]) / (2.0 * step)
    return oracle.unflatten(gradient, values), inputs


@settings(deadline=None, max_examples=40)
@given(problem=stacks.problems(CASES, widths=[1, 2, 3, 5]))
def test_any_stack_agrees_with_finite_differences(problem: StageProblem) -> None:
    problem.X, problem.input_scale = problem.X * problem.input_scale, 1.0
    gradients, inputs = finite_differences(problem)
    exact = problem.walk.gradients | {"inputs": problem.walk.inputs}
    largest = max(np.abs(gradient).max() for gradient in exact.values())
    for name, near in (gradients | {"inputs": inputs}).items():
        # What differences lose is relative to the loss, not to the smaller of the gradients.
        error = np.abs(near - exact[name]).max()
        assert error < 1e-6 * max(largest, problem.walk.loss, 1e-3), name


def test_finite_differences_agree_behind_dropout() -> None:
    """A mask is a factor like any other."""
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 2, (5, 4)) * 2.0
    stages = [stacks.dense(3, 4), oracle.Dropout(0.5, mask), stacks.norm(4), stacks.dense(4, 2)]
    problem = stacks.make_problem(stages, MSE, 5)
    gradients, inputs = finite_differences(problem)
    for name, near in gradients.items():
        assert reference.relative_error(near, problem.walk.gradients[name]) < 1e-6, name
    assert reference.relative_error(inputs, problem.walk.inputs) < 1e-6


# --- What is read off the walk -------------------------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(layers=st.lists(st.sampled_from(stacks.WIDTHS), min_size=2, max_size=5), data=st.data())
def test_dense_layers_alone_are_those_of_the_other_oracle(
    layers: list[int], data: st.DataObject
) -> None:
    names = [data.draw(stacks.activations()) for _ in layers[1:]]
    stages = [
        stacks.dense(m, n, name, alpha=alpha)
        for m, n, (name, alpha) in zip(layers[:-1], layers[1:], names, strict=True)
    ]
    problem = stacks.find_problem(stages, HUBER, 7, weighted=True)
    if problem is None:
        return
    walk = reference.backpropagate(
        [(stage.weight, stage.bias) for stage in problem.stages],  # type: ignore[attr-defined]
        problem.X,
        problem.y,
        [name for name, _ in names],
        HUBER.loss.name,
        HUBER.options,
        [alpha for _, alpha in names],
        problem.sample_weight,
    )
    ours = stacks.answers_of(problem.walk)
    for name, expected in vars(walk).items():
        if isinstance(expected, list):
            for i, part in enumerate(expected):
                helpers.assert_close(f"{name}[{i}]", ours[f"{name}[{i}]"], part, 1e-12)
        else:
            helpers.assert_close(name, ours[name], expected, 1e-12)


def factorised_square_norms(stages: Stages, x: Array, dy: Array) -> tuple[Array, Array]:
    """Squared norms (n,) of examples' gradients without forming them, and dL_i/dx.

    ||h outer delta||^2 = ||h||^2 ||delta||^2; the other arrays' gradients have a row an example.
    """
    squares = np.zeros(len(x))
    pairs = [(stage, h) for stage, h in oracle.reads(stages, x) if stage in stages]
    for stage, h in reversed(pairs):
        if isinstance(stage, oracle.Residual):
            inner, dx = factorised_square_norms(stage.stages, h, dy)
            squares, dy = squares + inner, dy + dx
            continue
        before = dy
        dy, own = stage.backward(h, before)
        if isinstance(stage, oracle.Dense):
            delta = own[1]
            squares += (delta**2).sum(axis=1) * ((h**2).sum(axis=1) + 1.0)
        elif isinstance(stage, oracle.Scale):
            squares += ((h * before) ** 2).sum(axis=1)
        elif isinstance(stage, oracle.LayerNorm):
            u, _ = stage.normalise(h)
            squares += ((u * before) ** 2).sum(axis=1) + (before**2).sum(axis=1)
    return squares, dy


@settings(deadline=None, max_examples=60)
@given(problem=stacks.problems([MSE]))
def test_norms_of_formed_gradients_are_those_of_their_factors(problem: StageProblem) -> None:
    x = problem.X * problem.input_scale
    _, dy = reference.LOSSES["mse"](problem.walk.outputs, problem.y)
    squares, inputs = factorised_square_norms(problem.stages, x, dy)
    helpers.assert_close("norms", np.sqrt(squares), problem.walk.gradient_norms, 1e-12)
    helpers.assert_close("inputs", inputs, problem.walk.inputs, 1e-12)


def test_the_gradient_is_the_weighted_sum_of_the_examples() -> None:
    stages = [stacks.scale(3), oracle.Residual([stacks.norm(3), stacks.dense(3, 3, "silu")])]
    problem = stacks.make_problem(stages, MSE, 6, weighted=True)
    alone = [
        oracle.backpropagate(problem.stages, problem.X[i : i + 1], problem.y[i : i + 1], "mse")
        for i in range(6)
    ]
    for name, gradient in problem.walk.gradients.items():
        total = sum(
            share * one.gradients[name]
            for share, one in zip(problem.walk.share, alone, strict=True)
        )
        helpers.assert_close(name, gradient, total, 1e-14)
    norms = [np.linalg.norm(oracle.flatten(one.gradients)) for one in alone]
    helpers.assert_close("norms", problem.walk.gradient_norms, norms, 1e-14)
    scores = [
        [oracle.flatten(a.gradients) @ oracle.flatten(b.gradients) for b in alone] for a in alone
    ]
    helpers.assert_close("scores", oracle.influence(problem.walk, problem.walk), scores, 1e-13)


def test_clipped_gradients_are_no_longer_than_the_bound_and_untouched_below_it() -> None:
    stages = [stacks.norm(3), stacks.dense(3, 2, "tanh")]
    walk = stacks.make_problem(stages, MSE, 6).walk
    limit = float(np.median(walk.gradient_norms))
    cut = [
        oracle.Walk(
            walk.losses[i : i + 1],
            walk.outputs[i : i + 1],
            walk.inputs[i : i + 1],
            [],
            [],
            {name: own[i : i + 1] for name, own in walk.examples.items()},
            np.ones(1),
        )
        for i in range(6)
    ]
    parts = [oracle.flatten(oracle.clipped_gradients(one, limit, 1.0)) for one in cut]
    lengths = np.linalg.norm(parts, axis=1)
    np.testing.assert_allclose(lengths, np.minimum(walk.gradient_norms, limit), rtol=1e-14)
    total = oracle.flatten(oracle.clipped_gradients(walk, limit, 4.0))
    np.testing.assert_allclose(total, np.sum(parts, axis=0) / 4.0, rtol=1e-13, atol=1e-16)


# --- Known answers -------------------------------------------------------------------------------


def test_arrays_are_counted_by_kind_in_the_order_of_the_walk() -> None:
    inner = oracle.Residual([stacks.norm(4), stacks.dense(4, 4)])
    stages = [
        stacks.scale(3, factors=(0.5,)),
        stacks.dense(3, 4),
        oracle.Residual([stacks.scale(4), inner, oracle.Activation("relu")]),
        stacks.norm(4, factors=(0.0, 2.0)),
        stacks.dense(4, 2, factors=(1.0, 3.0)),
    ]
    assert oracle.rate_factors(stages) == {
        "scale_0.factor": 0.5,
        "dense_0.weight": 1.0,
        "dense_0.bias": 1.0,
        "scale_1.factor": 1.0,
        "layer_norm_0.gain": 1.0,
        "layer_norm_0.shift": 1.0,
        "dense_1.weight": 1.0,
        "dense_1.bias": 1.0,
        "layer_norm_1.gain": 0.0,
        "layer_norm_1.shift": 2.0,
        "dense_2.weight": 1.0,
        "dense_2.bias": 3.0,
    }
    assert list(oracle.arrays(stages)) == list(oracle.rate_factors(stages))
    values = {name: np.full_like(v, i) for i, (name, v) in enumerate(oracle.arrays(stages).items())}
    again = oracle.arrays(oracle.with_arrays(stages, values))
    for name, value in values.items():
        assert again[name] is value
    back = oracle.unflatten(oracle.flatten(values), values)
    for name, value in values.items():
        np.testing.assert_array_equal(back[name], value)


def test_layer_norm_of_one_number_gives_its_shift_and_passes_nothing_back() -> None:
    norm = oracle.LayerNorm(np.array([3.0]), np.array([0.7]))
    x, dy = np.array([[5.0], [-1e9]]), np.array([[2.0], [-3.0]])
    assert norm.forward(x).tolist() == [[0.7], [0.7]]
    dx, (gain, shift) = norm.backward(x, dy)
    assert not dx.any()
    assert not gain.any()
    np.testing.assert_array_equal(shift, dy)


def test_a_layers_activation_is_its_own_or_the_one_right_behind_it() -> None:
    z = np.array([[-1.0, 2.0]])
    linear = oracle.Dense(np.eye(2), np.zeros(2))
    relu, tanh = oracle.Activation("relu"), oracle.Activation("tanh")
    activated = oracle.Dense(np.eye(2), np.zeros(2), "relu")
    for stages, hidden, slopes in (
        ([linear, relu, tanh], [[0.0, 2.0]], [[0.0, 1.0]]),
        ([activated, tanh], [[0.0, 2.0]], [[0.0, 1.0]]),
        ([linear, oracle.Dropout(0.5), relu], [[-1.0, 2.0]], [[1.0, 1.0]]),
        ([oracle.Residual([linear, relu])], [[0.0, 2.0]], [[0.0, 1.0]]),
        ([linear, oracle.Activation("identity"), relu], [[0.0, 2.0]], [[0.0, 1.0]]),
        ([oracle.Residual([linear]), relu], [[-1.0, 2.0]], [[1.0, 1.0]]),
    ):
        got = oracle.fired(stages, z)
        assert [array.tolist() for array in got[0]] == [hidden]
        assert [array.tolist() for array in got[1]] == [slopes]


def test_an_activation_behind_an_activation_takes_the_slope_at_a_kink_from_below() -> None:
    stages = [
        stacks.dense(1, 1),
        oracle.Activation("relu"),
        oracle.Activation("leaky_relu", 0.25),
    ]
    values = {"dense_0.weight": np.ones((1, 1)), "dense_0.bias": np.zeros(1)}
    walk = oracle.backpropagate(
        oracle.with_arrays(stages, values),
        np.array([[-1.0], [0.0], [2.0]]),
        np.full(3, -9.0),
        "mae",
    )
    assert walk.outputs.tolist() == [[0.0], [0.0], [2.0]]
    assert walk.nodes[0].tolist() == [[0.0], [0.0], [1.0]]
    below, _ = oracle.Activation("leaky_relu", 0.25).backward(np.zeros((1, 1)), np.ones((1, 1)))
    assert below.tolist() == [[0.25]]


# --- Training ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_factors_of_the_rate_are_torchs_groups(name: str) -> None:
    torch = import_torch()
    stages = [
        stacks.scale(4, factors=(2.0,)),
        stacks.dense(4, 6, "tanh", factors=(0.5, 3.0)),
        oracle.Residual([stacks.norm(6, factors=(0.25, 0.0)), stacks.dense(6, 6, "silu")]),
        stacks.dense(6, 2, factors=(0.0, 1.0)),
    ]
    problem = stacks.make_problem(stages, MSE, 8)
    batch = oracle.Batch(problem.X, problem.y)
    optimizer = getattr(reference, name)(0.02, weight_decay=0.1)
    losses, trained = oracle.training_steps(
        problem.stages, [batch] * 5, optimizer, "mse", clip_norm=0.5
    )

    network = torch_network(problem.stages)
    names = list(oracle.arrays(stages))
    groups = [
        {
            "params": [parameter],
            "lr": 0.02 * factor,
            "weight_decay": 0.1 if name.endswith(".weight") else 0.0,
        }
        for (name, factor), parameter in zip(
            oracle.rate_factors(stages).items(), network.parameters(), strict=True
        )
    ]
    theirs = getattr(torch.optim, name)(groups)
    for ours in losses:
        outputs = network(torch.tensor(problem.X))
        loss = ((outputs - torch.tensor(problem.y)) ** 2).mean()
        assert loss.item() == pytest.approx(ours, rel=1e-12)
        theirs.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        theirs.step()
    parameters = [parameter.detach().numpy() for parameter in network.parameters()]
    for key, expected in zip(names, parameters, strict=True):
        expected = expected.T if key.endswith(".weight") else expected
        helpers.assert_close(key, oracle.arrays(trained)[key], expected, 1e-10)
    for key in ("layer_norm_0.shift", "dense_2.weight"):
        np.testing.assert_array_equal(
            oracle.arrays(trained)[key], oracle.arrays(problem.stages)[key]
        )
