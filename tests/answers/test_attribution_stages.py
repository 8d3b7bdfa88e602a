"""Attributions of networks of stages: gradients, completeness, and what has no rule."""

from collections.abc import Sequence

import numpy as np
import pytest

import culpa
from culpa.parts.layer import Layer

INPUTS, OUTPUTS, ROWS = 5, 3, 20

SCALED = [culpa.Scale(), culpa.Scale(), culpa.Dense(8, "tanh"), culpa.Dense(OUTPUTS)]
RESIDUALS = [
    culpa.Residual([culpa.Dense(9, "gelu"), culpa.Dense(INPUTS)]),
    culpa.Activation("tanh"),
    culpa.Dense(7, "silu"),
    culpa.Residual([culpa.Activation("tanh"), culpa.Residual([culpa.Dense(7)])]),
    culpa.Scale(),
    culpa.Dense(OUTPUTS),
]
NORMALIZED = [
    culpa.LayerNorm(),
    culpa.Dense(6),
    culpa.LayerNorm(),
    culpa.Activation("softplus"),
    culpa.Dense(OUTPUTS),
]
NETWORKS = {
    "scaled": SCALED,
    "an activation first": [culpa.Activation("softplus"), culpa.Dense(8, "tanh"), culpa.Dense(3)],
    "residuals": RESIDUALS,
    "a residual behind a factor": [
        culpa.Scale(),
        culpa.Residual([culpa.Dense(INPUTS, "tanh")]),
        culpa.Dense(OUTPUTS),
    ],
    "normalized": NORMALIZED,
    "normalized outputs": [culpa.Dense(6, "tanh"), culpa.Dense(OUTPUTS), culpa.LayerNorm()],
}


def made(layers: Sequence[Layer]) -> tuple[culpa.Sequential, np.ndarray]:
    """Return a model with random weights, and rows to explain."""
    rng = np.random.default_rng(0)
    model = culpa.Sequential(layers, "cross_entropy", dtype="float64", input_size=INPUTS)
    state = {name: rng.normal(size=a.shape) for name, a in model.state_dict().items()}
    model.load_state_dict(state)
    return model, rng.normal(size=(ROWS, INPUTS))


@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
def test_gradients_are_finite_differences(layers: list[Layer]) -> None:
    model, X = made(layers)
    answer = model.attribute(X, method="gradient", target=1).values
    for j in range(INPUTS):
        step = np.zeros(INPUTS)
        step[j] = 1e-6
        above, below = model.predict_logits(X + step), model.predict_logits(X - step)
        np.testing.assert_allclose(answer[:, j], (above - below)[:, 1] / 2e-6, atol=1e-7)


@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("threads", [1, 2])
def test_paths_integrate_to_the_difference(layers: list[Layer], threads: int) -> None:
    model, X = made(layers)
    culpa.set_num_threads(threads)
    baseline = X[::-1] * 0.9  # a short way is soon integrated
    answer = model.attribute(
        X * 0.9 + 0.1 * baseline, method="integrated_gradients", baseline=baseline, steps=300
    )
    np.testing.assert_allclose(answer.completeness_error, 0.0, atol=1e-8)
    drawn = model.attribute(X, method="smooth_grad", noise=1e-9, samples=3, target=0).values
    np.testing.assert_allclose(
        drawn, model.attribute(X, method="gradient", target=0).values, atol=1e-6
    )


@pytest.mark.parametrize("name", ["scaled", "an activation first", "residuals"])
def test_deeplift_is_complete(name: str) -> None:
    model, X = made(NETWORKS[name])
    for options in ({"baseline": X[0]}, {"background": X[:7]}):
        answer = model.attribute(X, method="deeplift", **options)
        np.testing.assert_allclose(answer.completeness_error, 0.0, atol=1e-12)


def test_lrp_of_factors_is_that_of_weights() -> None:
    model, X = made([culpa.Scale(), culpa.Dense(8, "relu"), culpa.Dense(OUTPUTS)])
    plain = culpa.Sequential(
        [culpa.Dense(8, "relu"), culpa.Dense(OUTPUTS)], "cross_entropy", dtype="float64"
    )
    state = model.state_dict()
    state["dense_0.weight"] *= state.pop("scale_0.factor")[:, None]
    plain.load_state_dict(state)
    for method in ("lrp", "deeplift", "integrated_gradients", "gradient"):
        options = {"epsilon": 1e-9} if method == "lrp" else {}
        a, b = (m.attribute(X, method=method, **options).values for m in (model, plain))
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


def test_conductance_of_a_layer_without_a_way_around_is_complete() -> None:
    model, X = made(NORMALIZED)
    answer = model.attribute(X, method="conductance", steps=400, baseline=X[::-1])
    at = np.arange(ROWS), answer.target
    difference = model.predict_logits(X)[at] - model.predict_logits(X[::-1])[at]
    assert len(answer.nodes) == 1
    np.testing.assert_allclose(answer.nodes[0].sum(axis=1), difference, atol=1e-8)


@pytest.mark.parametrize("method", ["deeplift", "lrp"])
def test_a_method_without_a_rule_for_a_stage_says_so(method: str) -> None:
    model, X = made(NORMALIZED)
    with pytest.raises(ValueError, match=r'method: "\w+" has no rule for layer_norm_0.*use'):
        model.attribute(X, method=method)


@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
def test_influence_is_the_product_of_gradients(layers: list[Layer]) -> None:
    model, X = made(layers)
    y = np.arange(ROWS) % OUTPUTS
    gradients = np.array(
        [
            np.concatenate([g.ravel() for g in gradient.values()])
            for i in range(ROWS)
            for _, gradient in [model.loss_and_gradients(X[i : i + 1], y[i : i + 1])]
        ]
    )
    scores = model.influence(X[:9], y[:9], X[9:], y[9:]).scores
    expected = gradients[9:] @ gradients[:9].T
    np.testing.assert_allclose(scores, expected, atol=1e-12 * np.abs(expected).max())
