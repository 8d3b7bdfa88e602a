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
        (culpa.Gamma(), [1.0, 0.0], "label: expected amounts above 0 for gamma .*got 0.0; leave"),
        (culpa.Tweedie(), [1.0, -1.5], "label: expected no negative amounts .*got -1.5; use"),
        (culpa.Tweedie(2.0), [1.0, 0.0], "label: expected amounts above 0 for tweedie .*got 0.0"),
        (culpa.Tweedie(3.0), [1.0, -2.0], "label: expected amounts above 0 for tweedie"),
    ],
)
def test_other_targets_are_refused(loss: Loss, y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loss.check(y, name="label")


def test_an_amount_that_the_dtype_takes_for_0_is_refused() -> None:
    y = np.array([1.0, 1e-40])
    culpa.Gamma().check(y)
    X = np.zeros((2, 1))
    culpa.Sequential([culpa.Dense(1)], "gamma", dtype="float64").fit(X, y, epochs=1, verbose=False)
    with pytest.raises(ValueError, match=r"y: expected amounts above 0 .*at least 1.17.*float32"):
        culpa.Sequential([culpa.Dense(1)], "gamma").fit(X, y, epochs=1, verbose=False)


@pytest.mark.parametrize("power", [-1, 0, 0.5, 0.999, 101, float("nan"), float("inf")])
def test_powers_that_no_distribution_here_has_are_refused(power: float) -> None:
    with pytest.raises(ValueError, match="power: expected a"):
        culpa.Tweedie(power)


POWERS = [1.0, 1.01, 1.5, 1.9, 2.0, 2.5, 3.0]


@pytest.mark.parametrize("dtype", helpers.DTYPES)
@pytest.mark.parametrize("power", POWERS)
def test_losses_of_log_means_are_half_of_scikit_learns_deviances(power: float, dtype: str) -> None:
    """Less the least, which no guess can change; as it stands, its half losses' raw value."""
    metrics = pytest.importorskip("sklearn.metrics")
    half = pytest.importorskip("sklearn._loss")
    problem = helpers.make_problem(
        (4, 6, 1),
        ["tanh", "identity"],
        helpers.LossCase(culpa.Tweedie(power), "positive"),
        50,
        dtype,
    )
    losses = (
        [culpa.Tweedie(power)] + [culpa.Gamma()] * (power == 2) + [culpa.Poisson()] * (power == 1)
    )
    for loss in losses:
        model = culpa.Sequential(problem.model._network.architecture.layers, loss, dtype=dtype)
        model.load_state_dict(problem.model.state_dict())
        y = problem.y.astype(np.float64).ravel()
        z = model.predict_logits(problem.X).astype(np.float64).ravel()
        deviance = metrics.mean_tweedie_deviance(y, np.exp(z), power=power)
        found = model.evaluate(problem.X, problem.y)["loss"]
        least = loss.least_loss(y).mean()
        assert 2.0 * (found - least) == pytest.approx(deviance, rel=helpers.TOLERANCE[dtype] * 100)
        blame = model.blame(problem.X, problem.y)
        theirs = half.HalfTweedieLoss(power=power)
        tolerance = helpers.TOLERANCE[dtype]
        helpers.assert_close("losses", blame.losses, theirs.loss(y, z), tolerance)
        slopes = theirs.gradient(y, z)
        helpers.assert_close("slopes", blame.nodes[-1].ravel(), slopes, tolerance)


@pytest.mark.parametrize("loss", ["gamma", culpa.Tweedie(1.5)])
def test_a_model_of_log_means_learns_amounts(loss: Any) -> None:
    """The log of the mean is linear in X, as in scikit-learn's GLMs, which find the same."""
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(7)
    X = rng.normal(size=(400, 3))
    y = np.exp(X @ [0.5, -0.3, 0.1] + 1.0) * rng.gamma(3.0, 1 / 3.0, 400)
    model = culpa.Sequential([culpa.Dense(1)], loss, dtype="float64")
    model.fit(X, y, epochs=300, batch_size=400, optimizer=culpa.Adam(0.05), verbose=False)
    model.fit(X, y, epochs=300, batch_size=400, optimizer=culpa.SGD(0.1), verbose=False)
    power = 2.0 if loss == "gamma" else 1.5
    judge = linear.TweedieRegressor(power=power, alpha=0.0, link="log", tol=1e-10, max_iter=1000)
    np.testing.assert_allclose(model.predict(X), judge.fit(X, y).predict(X), rtol=1e-4)


@pytest.mark.parametrize("loss", ["gamma", "tweedie"])
def test_models_of_log_means_train_side_by_side_with_the_bits_of_one(loss: str) -> None:
    rng = np.random.default_rng(8)
    X, y = rng.normal(size=(60, 4)), rng.gamma(2.0, 1.0, 60)

    def model(seed: int) -> culpa.Sequential:
        layers = [culpa.Dense(7, "tanh"), culpa.Dense(1)]
        return culpa.Sequential(layers, loss, input_size=4, seed=seed)

    alone, together = [model(i) for i in range(3)], [model(i) for i in range(3)]
    for each in alone:
        each.fit(X, y, epochs=3, batch_size=16, verbose=False)
    culpa.fit_many(together, X, y, epochs=3, batch_size=16, verbose=False)
    for one, other in zip(alone, together, strict=True):
        assert helpers.parameter_bytes(one) == helpers.parameter_bytes(other)
