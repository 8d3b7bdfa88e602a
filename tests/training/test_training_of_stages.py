"""Training networks of stages takes the oracle's steps, to the same bits on any plan.

What an array gained is compared: to 1e-9 of the largest gain, or to what rounding the array costs.
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, currently_in_test_context, given, reject, settings
from hypothesis import strategies as st

import culpa
import helpers
import reference
import reference_stages as oracle
import stacks
from reference_stages import Residual, Stage
from stacks import StageProblem, dense, norm, scale

PLANS = [(1, "rows"), (2, "rows"), (3, "rows"), (2, "columns"), (3, "columns")]
BY_NAME = {str(case): case for case in helpers.LOSSES}
MSE, CROSS_ENTROPY = BY_NAME["mse-real"], BY_NAME["cross_entropy-labels-0.0"]
SMOOTH = [MSE, CROSS_ENTROPY, BY_NAME["huber-real-1.0"], BY_NAME["binary_cross_entropy-binary"]]


def everything(dropout: bool = False) -> list[Stage]:
    """All kinds, with a factor of the rate for every array; some are frozen."""
    masks = [oracle.Dropout(0.3)] if dropout else []
    branch = [norm(17, factors=(0.0, 2.0)), dense(17, 9, "gelu"), *masks, dense(9, 17)]
    return [
        scale(6, factors=(3.0,)),
        dense(6, 17, factors=(0.5, 2.0)),
        oracle.Activation("silu"),
        *masks,
        Residual([*branch, Residual([scale(17, factors=(0.0,)), dense(17, 17, "tanh")])]),
        norm(17, factors=(0.25, 0.0)),
        dense(17, 4, factors=(1.0, 0.0)),
        scale(4),
    ]


def batches_of(problem: StageProblem, batch_size: int, epochs: int) -> list[oracle.Batch]:
    """As fit takes them without shuffling; the oracle reads scaled inputs."""
    X, y, w = problem.X * problem.input_scale, problem.y, problem.sample_weight
    starts = range(0, len(X), batch_size)
    parts = [slice(start, start + batch_size) for start in starts]
    return [oracle.Batch(X[p], y[p], None if w is None else w[p]) for p in parts] * epochs


def assert_steps_agree(
    problem: StageProblem,
    optimizer: Any,
    expected: reference.Optimizer,
    batch_size: int,
    epochs: int = 2,
    clip_norm: float | None = None,
    max_norm: float | None = None,
) -> None:
    batches = batches_of(problem, batch_size, epochs)
    case = problem.case
    losses, trained = oracle.training_steps(
        problem.stages, batches, expected, case.loss.name, case.options, clip_norm, max_norm
    )
    calm = np.isfinite(losses).all() and max(losses) <= 10.0 * losses[0]  # it does not diverge
    if not calm and currently_in_test_context():
        reject()
    assert calm
    options: dict[str, Any] = {"sample_weight": problem.sample_weight, "shuffle": False}
    if max_norm is not None:  # whole batches: their rows are drawn
        privacy = culpa.Privacy(0.0, max_norm, 1e-5, sampling="shuffle")
        options = {"privacy": privacy}
    model = problem.model()
    model.fit(
        problem.X,
        problem.y,
        batch_size=batch_size,
        epochs=epochs,
        optimizer=optimizer,
        clip_norm=clip_norm,
        verbose=False,
        **options,
    )
    after = oracle.arrays(trained)
    factors = oracle.rate_factors(problem.stages)
    for name, got in model.state_dict().items():
        before = oracle.arrays(problem.stages)[name]
        if factors[name] == 0.0:
            np.testing.assert_array_equal(got, before, name)
        gained = np.abs(after[name] - before).max()
        allowed = 1e-9 * gained + 1e-14 * np.abs(after[name]).max()
        assert np.abs(got - after[name]).max() <= allowed, name


# --- Against the oracle --------------------------------------------------------------------------


@settings(deadline=None, max_examples=100)
@given(
    problem=stacks.problems(SMOOTH, factors=True),
    batch_size=st.integers(1, 40),
    momentum=st.sampled_from([0.0, 0.9]),
)
def test_any_stack_takes_the_steps_of_the_oracle(
    problem: StageProblem, batch_size: int, momentum: float
) -> None:
    problem.dtype = "float64"
    assert_steps_agree(
        problem,
        culpa.SGD(0.01, momentum=momentum),
        reference.SGD(0.01, momentum=momentum),
        max(batch_size, len(problem.X) // 4),
    )


OPTIMIZERS: dict[str, tuple[Any, Any]] = {
    "SGD": (
        culpa.SGD(0.02, momentum=0.9, nesterov=True, weight_decay=0.1),
        lambda: reference.SGD(0.02, momentum=0.9, nesterov=True, weight_decay=0.1),
    ),
    "Adam": (
        culpa.Adam(0.01, weight_decay=0.1),
        lambda: reference.Adam(0.01, weight_decay=0.1),
    ),
    "AdamW": (
        culpa.AdamW(0.01, weight_decay=0.1),
        lambda: reference.AdamW(0.01, weight_decay=0.1),
    ),
    "RMSprop": (
        culpa.RMSprop(0.01, momentum=0.5, weight_decay=0.1),
        lambda: reference.RMSprop(0.01, momentum=0.5, weight_decay=0.1),
    ),
}


@pytest.mark.parametrize("clip_norm", [None, 0.1])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_heeds_factors_of_its_rate(name: str, clip_norm: float | None) -> None:
    """Decay beside the gradient included; the norm that is clipped is that of all arrays."""
    optimizer, expected = OPTIMIZERS[name]
    problem = stacks.make_problem(everything(), CROSS_ENTROPY, 30, weighted=True)
    assert_steps_agree(problem, optimizer, expected(), 8, clip_norm=clip_norm)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_is_frozen_keeps_every_bit_and_everything_else_moves(name: str) -> None:
    problem = stacks.make_problem(everything(dropout=True), CROSS_ENTROPY, 30, "float32")
    model = problem.model()
    before = model.state_dict()
    model.fit(problem.X, problem.y, epochs=3, optimizer=OPTIMIZERS[name][0], verbose=False)
    for array, factor in oracle.rate_factors(problem.stages).items():
        same = np.array_equal(model.state_dict()[array], before[array])
        assert same == (factor == 0.0), array


def test_one_number_is_the_factor_of_all_arrays_of_a_layer() -> None:
    problem = stacks.make_problem([dense(5, 7), norm(7), dense(7, 3)], MSE, 12)
    found = []
    for first, second in ((0.5, 3.0), ((0.5, 0.5), (3.0, 3.0))):
        layers = [
            culpa.Dense(7, learning_rate_factor=first),
            culpa.LayerNorm(learning_rate_factor=second),
            culpa.Dense(3),
        ]
        model = culpa.Sequential(layers, "mse", input_size=5)
        model.fit(problem.X, problem.y, epochs=2, verbose=False)
        found.append(helpers.parameter_bytes(model))
    assert found[0] == found[1]


def test_factors_of_1_change_no_bit() -> None:
    problem = stacks.make_problem([dense(5, 7), dense(7, 3)], MSE, 12)
    found = []
    for options in ({}, {"learning_rate_factor": 1}, {"learning_rate_factor": (1.0, 1.0)}):
        layers = [culpa.Dense(7, "tanh", **options), culpa.Dense(3, **options)]
        model = culpa.Sequential(layers, "mse", input_size=5)
        model.fit(problem.X, problem.y, epochs=2, optimizer=culpa.AdamW(0.01), verbose=False)
        found.append(helpers.parameter_bytes(model))
    assert found[0] == found[1] == found[2]


def test_a_batch_of_several_blocks_is_one_step() -> None:
    stages = [scale(5), dense(5, 8), norm(8), Residual([dense(8, 8, "silu")]), dense(8, 3)]
    problem = stacks.make_problem(stages, CROSS_ENTROPY, 4096 + 137, weighted=True)
    assert_steps_agree(problem, culpa.SGD(0.1), reference.SGD(0.1), 10_000)


# --- Private training ----------------------------------------------------------------------------


@pytest.mark.parametrize("quantile", [0.0, 0.5, 1.0])
def test_private_training_clips_each_examples_whole_gradient(quantile: float) -> None:
    problem = stacks.make_problem(everything(), CROSS_ENTROPY, 24)
    norms = problem.walk.gradient_norms
    limit = float(np.quantile(norms, quantile)) * (0.9 if quantile < 1.0 else 1.1)
    assert_steps_agree(problem, culpa.SGD(0.1), reference.SGD(0.1), 24, max_norm=limit)


@settings(deadline=None, max_examples=60)
@given(problem=stacks.problems(SMOOTH), share=st.sampled_from([0.3, 0.9, 1.1]))
def test_private_training_of_any_stack_clips_as_the_oracle(
    problem: StageProblem, share: float
) -> None:
    problem.dtype, problem.sample_weight = "float64", None
    norms = problem.walk.gradient_norms
    assume(norms.all())
    rate, limit = culpa.SGD(0.01), share * float(np.median(norms))
    assume(np.abs(norms / limit - 1.0).min() > 1e-6)
    assert_steps_agree(problem, rate, reference.SGD(0.01), len(norms), 1, max_norm=limit)


def test_with_a_huge_bound_private_training_has_the_bits_of_plain_training() -> None:
    problem = stacks.make_problem(everything(dropout=True), CROSS_ENTROPY, 60, "float32")
    options: dict[str, Any] = {"epochs": 3, "batch_size": 20, "verbose": False}
    plain, private = problem.model(), problem.model()
    plain.fit(problem.X, problem.y, **options)
    privacy = culpa.Privacy(0.0, 1e30, 1e-5, sampling="shuffle")
    private.fit(problem.X, problem.y, privacy=privacy, **options)
    assert helpers.parameter_bytes(plain) == helpers.parameter_bytes(private)


# --- The same bits -------------------------------------------------------------------------------


def trained(problem: StageProblem, plan: tuple[int, str], **options: Any) -> bytes:
    model = problem.model(seed=9)
    with helpers.plan(*plan):
        model.fit(problem.X, problem.y, epochs=2, verbose=False, **options)
    return helpers.parameter_bytes(model)


FITS: dict[str, dict[str, Any]] = {
    "plain": {"batch_size": 7},
    "one row at a time": {"batch_size": 1, "optimizer": culpa.SGD(1e-3)},
    "clipped": {"batch_size": 16, "clip_norm": 0.05},
    "private": {"batch_size": 16, "privacy": culpa.Privacy(0.7, 0.5, 1e-5, seed=9)},
}


@pytest.mark.parametrize("dtype", helpers.DTYPES)
@pytest.mark.parametrize("name", FITS)
def test_same_weights_at_any_thread_count(name: str, dtype: str) -> None:
    problem = stacks.make_problem(everything(dropout=True), CROSS_ENTROPY, 40, dtype)
    found = {trained(problem, plan, **FITS[name]) for plan in PLANS}
    assert len(found) == 1


@settings(deadline=None, max_examples=60)
@given(
    problem=stacks.problems([MSE], dropout=True, factors=True),
    batch_size=st.integers(1, 40),
    plan=st.sampled_from(PLANS[1:]),
    clip_norm=st.sampled_from([None, 0.01]),
)
def test_any_stack_trains_to_the_same_weights_on_any_plan(
    problem: StageProblem, batch_size: int, plan: tuple[int, str], clip_norm: float | None
) -> None:
    options = {"batch_size": batch_size, "clip_norm": clip_norm, "optimizer": culpa.SGD(1e-3)}
    assert trained(problem, plan, **options) == trained(problem, PLANS[0], **options)


@pytest.mark.parametrize("dtype", helpers.DTYPES)
def test_same_weights_for_several_blocks_at_any_thread_count(dtype: str) -> None:
    stages = [scale(5), dense(5, 8), norm(8), Residual([dense(8, 8, "silu")]), dense(8, 3)]
    problem = stacks.make_problem(stages, CROSS_ENTROPY, 4096 + 137, dtype)
    assert len({trained(problem, plan, batch_size=10_000) for plan in PLANS}) == 1


def test_two_fits_equal_one_twice_as_long() -> None:
    problem = stacks.make_problem(everything(dropout=True), CROSS_ENTROPY, 40, "float32")
    once, twice = problem.model(), problem.model()
    once.fit(problem.X, problem.y, epochs=6, batch_size=16, verbose=False)
    for _ in range(2):
        twice.fit(problem.X, problem.y, epochs=3, batch_size=16, verbose=False)
    assert helpers.parameter_bytes(once) == helpers.parameter_bytes(twice)


@pytest.mark.parametrize("threads", [1, 2])
def test_fit_many_gives_each_model_the_bits_of_its_own_fit(threads: int) -> None:
    problem = stacks.make_problem(everything(dropout=True), CROSS_ENTROPY, 50, "float32")
    options: dict[str, Any] = {"epochs": 3, "batch_size": 16, "clip_norm": 1.0}
    alone, together = ([problem.model(seed=seed) for seed in range(3)] for _ in range(2))
    for model in alone:
        model.fit(problem.X, problem.y, verbose=False, **options)
    with helpers.plan(threads):
        culpa.fit_many(together, problem.X, problem.y, **options)
    bits = [helpers.parameter_bytes(model) for model in alone]
    assert [helpers.parameter_bytes(model) for model in together] == bits
    assert len(set(bits)) == 3  # their masks and shuffles differ
