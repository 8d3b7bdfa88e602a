"""A loss answers for itself: what it takes, what its outputs say, its best constant and its least.

The truth is the oracle's loss in float64, which test_reference.py compares with PyTorch.
"""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

import culpa
import helpers
import reference
from culpa.parts.architecture import Architecture
from culpa.parts.losses import LOSSES, Loss, loss_of

KINDS = {name: kind() for name, kind in LOSSES.items()}


def targets_of(case: helpers.LossCase, outputs: int = 3, rows: int = 41) -> np.ndarray:
    return helpers.make_problem((3, outputs), ["identity"], case, rows).y


def losses_of(case: helpers.LossCase, outputs: Any, y: np.ndarray) -> np.ndarray:
    return reference.LOSSES[case.loss.name](outputs, y, **case.options)[0]


def test_every_loss_of_the_oracle_is_tried() -> None:
    assert {case.loss.name for case in helpers.LOSSES} == set(LOSSES) == set(reference.LOSSES)


@pytest.mark.parametrize("case", helpers.LOSSES, ids=str)
def test_a_file_brings_a_loss_back(case: helpers.LossCase) -> None:
    model = culpa.Sequential([culpa.Dense(2)], case.loss, input_size=3)
    config = json.loads(json.dumps(model.config()))
    assert config["loss"] == {"name": case.loss.name, "parameters": case.loss.parameters}
    assert Architecture.from_config(config).loss == case.loss


@pytest.mark.parametrize(
    ("old", "loss"),
    [
        ({"name": "huber", "parameter": 0.25}, culpa.Huber(0.25)),
        ({"name": "cross_entropy", "parameter": 0.1}, culpa.CrossEntropy(0.1)),
        ({"name": "quantile", "parameter": 0.9}, culpa.Quantile(0.9)),
        ({"name": "poisson", "parameter": 0.0}, culpa.Poisson()),
    ],
)
def test_files_with_one_parameter_are_still_read(old: dict[str, Any], loss: Loss) -> None:
    assert loss_of(old) == loss


@pytest.mark.parametrize("parameters", [{}, {"q": 0.5}, {"delta": 1.0, "q": 0.5}])
def test_a_file_must_name_all_parameters_and_no_other(parameters: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"loss: expected the parameters \['delta'\] of huber"):
        loss_of({"name": "huber", "parameters": parameters})


@pytest.mark.parametrize("loss", KINDS.values(), ids=KINDS)
def test_the_core_knows_each_parameter_by_the_name_of_its_field(loss: Loss) -> None:
    assert list(loss.parameters) == [field.name for field in dataclasses.fields(loss)]
    culpa.Sequential([culpa.Dense(2)], loss, input_size=3)


def test_the_core_refuses_a_parameter_that_no_loss_has() -> None:
    described = Architecture((culpa.Dense(1),), culpa.MSE()).for_core(2)
    with pytest.raises(ValueError, match='no such parameter of a loss: "beta"'):
        culpa._core.Model32(**described | {"loss_parameters": {"beta": 1.0}})


@pytest.mark.parametrize("case", helpers.LOSSES, ids=str)
def test_the_best_constant_has_the_least_loss(case: helpers.LossCase) -> None:
    y = targets_of(case)
    weight = np.random.default_rng(3).uniform(0.0, 2.0, len(y))
    weight[::5] = 0.0
    for w in (None, np.ones(len(y)), weight):
        best = case.loss.best_constant(y, w, outputs=3)
        assert best.shape == (3,)
        assert best.dtype == np.float64

        def mean(outputs: np.ndarray, w: np.ndarray | None = w) -> float:
            losses = losses_of(case, np.tile(outputs, (len(y), 1)), y)
            return float(np.average(losses, weights=w))

        least = mean(best)
        for size in (1e-3, 0.1, 1.0):
            for step in size * np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 1], [1, 1, -1]]):
                assert mean(best + step) >= least - 1e-12


@pytest.mark.parametrize("case", helpers.LOSSES, ids=str)
def test_a_weight_counts_as_often_as_it_says(case: helpers.LossCase) -> None:
    y = targets_of(case)
    times = np.random.default_rng(4).integers(0, 4, len(y))
    repeated = case.loss.best_constant(np.repeat(y, times, axis=0), outputs=3)
    weighted = case.loss.best_constant(y, times, outputs=3)
    if case.loss.name == "mae":  # between two middle values any is as good
        rows = np.repeat(y, times, axis=0)
        ones = np.ones(len(rows))
        repeated = case.loss.best_constant(rows, ones)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-12, atol=1e-12)


def test_classes_that_never_come_get_a_finite_output() -> None:
    assert np.isfinite(culpa.CrossEntropy().best_constant([0, 0, 2], outputs=4)).all()
    assert np.isfinite(culpa.BinaryCrossEntropy().best_constant([1, 1])).all()
    assert np.isfinite(culpa.Poisson().best_constant([0, 0])).all()
    assert culpa.CrossEntropy().best_constant([0, 1, 1]).shape == (2,)


@pytest.mark.parametrize("case", helpers.LOSSES, ids=str)
def test_no_output_is_below_the_least_loss_and_some_comes_near(case: helpers.LossCase) -> None:
    y = targets_of(case)
    rows = np.eye(3)[y] if y.ndim == 1 else y
    least = case.loss.least_loss(rows)
    assert least.shape == (len(y),)
    rng = np.random.default_rng(5)
    for scale in (0.1, 1.0, 5.0):
        outputs = rng.normal(scale=scale, size=(len(y), 3))
        assert (losses_of(case, outputs, y) >= least - 1e-12).all()
    perfect = np.array([case.loss.best_constant(row[None]) for row in rows])
    np.testing.assert_allclose(losses_of(case, perfect, y), least, atol=1e-9)


@pytest.mark.parametrize("dtype", helpers.DTYPES)
@pytest.mark.parametrize("loss", KINDS.values(), ids=KINDS)
def test_predict_gives_the_response_or_the_decision(loss: Loss, dtype: str) -> None:
    model = culpa.Sequential([culpa.Dense(3)], loss, input_size=2, dtype=dtype)
    X = np.random.default_rng(6).normal(size=(7, 2))
    outputs = model.predict_logits(X)
    assert loss.response(outputs).dtype == dtype
    decided = loss.decide(outputs)
    np.testing.assert_array_equal(model.predict(X), decided)
    assert decided.dtype == (dtype if loss.task == "regression" else np.int64)
    if loss.task == "regression":
        np.testing.assert_array_equal(decided, loss.response(outputs))
    else:
        np.testing.assert_array_equal(model.predict_proba(X), loss.response(outputs))


@pytest.mark.parametrize("case", helpers.LOSSES, ids=str)
def test_targets_that_train_pass_the_check(case: helpers.LossCase) -> None:
    y = targets_of(case)
    case.loss.check(y)
    if case.targets != "probabilities" and y.ndim > 1:
        case.loss.check(y[:, 0].tolist())


@pytest.mark.parametrize(
    ("loss", "y", "message"),
    [
        (culpa.Poisson(), [1, -2], "label: expected no negative counts for poisson, got -2; use"),
        (culpa.BinaryCrossEntropy(), [0.5, 1.5], r"label: expected values in \[0, 1\] .*to 1.5"),
        (culpa.CrossEntropy(), [[0.5, 0.6]], "label: .*sum to 1, got 1.1 in row 0; divide"),
        (culpa.CrossEntropy(), [[1.5, -0.5]], r"label: expected values in \[0, 1\].*-0.5 to 1.5"),
        (culpa.CrossEntropy(), [0, -1], "label: expected integer class indices of at least 0"),
        (culpa.CrossEntropy(), [0.0, 1.0], "label: expected integer class indices"),
    ],
)
def test_other_targets_are_refused(loss: Loss, y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loss.check(y, name="label")
