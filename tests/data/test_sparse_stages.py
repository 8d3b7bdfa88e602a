"""Networks of stages give on CSR rows, to the bit, what they give on the same rows made dense."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import culpa
import helpers
import reference_stages as oracle
import stacks
from reference_stages import Residual, Stage
from stacks import dense, norm, scale

sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")

PLANS = [(1, "rows"), (2, "rows"), (2, "columns")]
BY_NAME = {str(case): case for case in helpers.LOSSES}
CROSS_ENTROPY = BY_NAME["cross_entropy-labels-0.0"]
INPUTS = 90


def behind(width: int) -> list[Stage]:
    """A network of all kinds that reads so many numbers."""
    return [
        dense(width, 19),
        norm(19),
        oracle.Activation("tanh"),
        Residual([dense(19, 19, "gelu"), scale(19)]),
        dense(19, 5),
    ]


# What the sparse rows meet before the first Dense layer, whose product leaves out their zeros.
FIRST: dict[str, list[Stage]] = {
    "dense": [],
    "dropout": [oracle.Dropout(0.4)],
    "scale": [scale(INPUTS)],
    "two scales": [scale(INPUTS), scale(INPUTS)],
    "dropout and scale": [oracle.Dropout(0.4), scale(INPUTS)],
}
# What would make them dense is refused.
REFUSED: dict[str, list[Stage]] = {
    "scale and dropout": [scale(INPUTS), oracle.Dropout(0.4)],
    "scale and relu": [scale(INPUTS), oracle.Activation("relu")],
    "scale and layer norm": [scale(INPUTS), norm(INPUTS)],
    "softplus": [oracle.Activation("softplus")],
    "layer norm": [norm(INPUTS)],
    "residual": [Residual([scale(INPUTS)])],
    "residual of dense": [Residual([dense(INPUTS, 7, "tanh"), dense(7, INPUTS)])],
}


def make_problem(name: str, rows: int, dtype: str, density: float = 0.1) -> stacks.StageProblem:
    stages = FIRST[name] + behind(INPUTS)
    problem = stacks.make_problem(
        stages, CROSS_ENTROPY, rows, dtype, density=density, weighted=True, input_scale=0.75
    )
    X = problem.X.copy()
    X[0] = 0.0  # a row without entries
    return replace(problem, X=X)


def answers(problem: stacks.StageProblem, X: Any) -> dict[str, np.ndarray]:
    return stacks.answers_of_model(problem.model(), X, problem.y, problem.sample_weight)


@pytest.mark.parametrize("dtype", helpers.DTYPES)
@pytest.mark.parametrize("name", FIRST)
def test_every_answer_is_that_of_dense_rows(name: str, dtype: str) -> None:
    for rows, density in ((1, 0.5), (23, 0.02), (61, 0.3)):
        problem = make_problem(name, rows, dtype, density)
        want = answers(problem, problem.X)
        loss = want.pop("loss")
        for plan in PLANS:
            with helpers.plan(*plan):
                got = answers(problem, sparse.csr_array(problem.X))
            assert got.pop("loss") == pytest.approx(loss, rel=1e-14)
            stacks.assert_same_bits(got, want)


@pytest.mark.parametrize("dtype", helpers.DTYPES)
@pytest.mark.parametrize("name", FIRST)
def test_answers_are_the_oracles(name: str, dtype: str) -> None:
    problem = make_problem(name, 30, dtype)
    got = answers(problem, sparse.csr_array(problem.X))
    for key, want in problem.answers.items():
        helpers.assert_close(key, got[key], want, helpers.TOLERANCE[dtype])


@pytest.mark.parametrize("optimizer", [culpa.SGD(0.05, momentum=0.9), culpa.AdamW(1e-2)])
@pytest.mark.parametrize("dtype", helpers.DTYPES)
@pytest.mark.parametrize("name", FIRST)
def test_training_has_the_bits_of_dense_rows(name: str, dtype: str, optimizer: Any) -> None:
    problem = make_problem(name, 64, dtype)
    for batch_size in (1, 7, 64):
        options = {"batch_size": batch_size, "optimizer": optimizer, "epochs": 2, "verbose": False}
        one, two = problem.model(), problem.model()
        one.fit(sparse.csr_array(problem.X), problem.y, **options)
        two.fit(problem.X, problem.y, **options)
        assert helpers.parameter_bytes(one) == helpers.parameter_bytes(two)


CALLS: dict[str, Callable[[culpa.Sequential, Any, np.ndarray], object]] = {
    "fit": lambda model, X, y: model.fit(X, y, verbose=False),
    "predict": lambda model, X, y: model.predict(X),
    "predict_logits": lambda model, X, y: model.predict_logits(X),
    "predict_proba": lambda model, X, y: model.predict_proba(X),
    "evaluate": lambda model, X, y: model.evaluate(X, y),
    "blame": lambda model, X, y: model.blame(X, y),
    "loss_and_gradients": lambda model, X, y: model.loss_and_gradients(X, y),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", REFUSED)
def test_what_would_make_rows_dense_is_refused_and_the_model_stays(name: str, call: str) -> None:
    model = stacks.make_model(REFUSED[name] + behind(INPUTS), "cross_entropy", seed=2)
    before = helpers.parameter_bytes(model)
    X, y = sparse.csr_array(np.eye(3, INPUTS)), np.arange(3)
    with pytest.raises(ValueError, match=r"expected dense rows.* no Dense layer"):
        CALLS[call](model, X, y)
    assert helpers.parameter_bytes(model) == before
