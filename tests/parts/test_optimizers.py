"""Weights move as PyTorch, scikit-learn and the textbook move them."""

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import culpa
import helpers
import reference
from culpa import _core
from culpa.parts.optimizers import Optimizer
from culpa.training.training import Training

RECORDED = json.loads((Path(__file__).parents[1] / "recorded_optimizers.json").read_text())
STEPS = len(RECORDED["configurations"][0]["losses"])
BATCH = RECORDED["batch_size"]


def run_id(run: dict[str, Any]) -> str:
    options = [f"{k}={v}" for k, v in run["arguments"].items()]
    return "-".join([run["name"], *options, f"clip={run['clip_norm']}"])


def recorded_model() -> tuple[culpa.Sequential, np.ndarray, np.ndarray]:
    parameters = [
        (np.array(W), np.array(b))
        for W, b in zip(RECORDED["weights"], RECORDED["biases"], strict=True)
    ]
    model = helpers.make_model(
        parameters, RECORDED["activations"], RECORDED["loss"], dtype="float64"
    )
    return model, np.array(RECORDED["X"]), np.array(RECORDED["y"])


def assert_parameters_close(
    model: culpa.Sequential, want: reference.Parameters, tolerance: float
) -> None:
    state = model.state_dict()
    for name, array in helpers.state(want).items():
        helpers.assert_close(name, state[name], array, tolerance)


class Job:
    """A chunk of the core's training loop, and what it reports per step."""

    def __init__(
        self,
        X: np.ndarray,
        y: np.ndarray,
        offsets: Sequence[int],
        learning_rates: float | Sequence[float],
        *,
        weights: np.ndarray | None = None,
        order: np.ndarray | None = None,
        clip_norm: float = 0.0,
    ) -> None:
        steps = len(offsets) - 1
        self.reports = {
            name: np.full(steps, -1.0) for name in ("losses", "weight_sums", "norms", "squares")
        }
        targets = {"labels": y.astype(np.int32)} if y.ndim == 1 else {"targets": y}
        self._core = _core.Job(
            _core.ExampleArrays(X, sample_weights=weights, order=order, **targets),
            offsets=np.array(offsets, np.int64),
            learning_rates=np.broadcast_to(np.asarray(learning_rates, np.float64), steps).copy(),
            clip_norm=clip_norm,
            **self.reports,
        )

    def run(self, model: culpa.Sequential) -> dict[str, np.ndarray]:
        steps, why, row = model._network.core.train(self._core)
        assert (steps, why, row) == (len(self.reports["losses"]), "finished", -1)
        return self.reports


# --- PyTorch -------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", RECORDED["configurations"], ids=run_id)
def test_fit_follows_pytorch_for_50_steps(run: dict[str, Any]) -> None:
    """The loss before each step is evaluated on that step's batch; the fit stops at step 50."""
    model, X, y = recorded_model()
    losses = []

    class Watch(culpa.Callback):
        every_steps = 1

        def on_step(self, training: Training) -> None:
            if training.step == STEPS:
                training.stop()
            else:
                losses.append(self.loss_at(training.step))

        def loss_at(self, step: int) -> float:
            rows = np.arange(step * BATCH, (step + 1) * BATCH) % len(X)
            return model.evaluate(X[rows], y[rows])["loss"]

    watch = Watch()
    losses.append(watch.loss_at(0))
    model.fit(
        X,
        y,
        optimizer=getattr(culpa, run["name"])(**run["arguments"]),
        clip_norm=run["clip_norm"],
        batch_size=BATCH,
        epochs=-(-STEPS * BATCH // len(X)),
        shuffle=False,
        callbacks=watch,
        verbose=False,
    )
    want = [(np.array(W), np.array(b)) for W, b in zip(run["weights"], run["biases"], strict=True)]
    helpers.assert_close("losses", losses, run["losses"], 1e-9)
    assert_parameters_close(model, want, 1e-9)


@pytest.mark.parametrize("run", RECORDED["configurations"], ids=run_id)
def test_the_core_reports_the_losses_that_pytorch_had(run: dict[str, Any]) -> None:
    model, X, y = recorded_model()
    optimizer = getattr(culpa, run["name"])(**run["arguments"])
    model._network.core.set_optimizer(optimizer.for_core())
    reports = Job(
        X,
        y,
        range(0, BATCH * STEPS + 1, BATCH),
        optimizer.learning_rate,
        order=np.arange(BATCH * STEPS) % len(X),
        clip_norm=run["clip_norm"] or 0.0,
    ).run(model)
    want = [(np.array(W), np.array(b)) for W, b in zip(run["weights"], run["biases"], strict=True)]
    assert (reports["weight_sums"] == BATCH).all()
    helpers.assert_close("losses", reports["losses"] / BATCH, run["losses"], 1e-9)
    assert_parameters_close(model, want, 1e-9)


# --- The paper: PyTorch has no Lion ---------------------------------------------------------------


@pytest.mark.parametrize("clip_norm", [None, 0.05])
@pytest.mark.parametrize(
    ("rate", "beta_1", "beta_2", "decay"), [(1e-3, 0.9, 0.99, 0.0), (0.01, 0.5, 0.0, 0.2)]
)
def test_lion_follows_its_paper_for_50_steps(
    rate: float, beta_1: float, beta_2: float, decay: float, clip_norm: float | None
) -> None:
    """Algorithm 2 as it stands, array by array, on the problem that was recorded for the others."""
    model, X, y = recorded_model()
    theta = [(np.array(W), np.array(b)) for W, b in zip(*recorded_start(), strict=True)]
    m = [(np.zeros_like(W), np.zeros_like(b)) for W, b in theta]
    want = []
    for step in range(STEPS):
        rows = np.arange(step * BATCH, (step + 1) * BATCH) % len(X)
        walk = reference.backpropagate(
            theta, X[rows], y[rows], RECORDED["activations"], RECORDED["loss"]
        )
        want.append(walk.loss)
        size = np.sqrt(sum((g**2).sum() for g in [*walk.weights, *walk.biases]))
        clip = 1.0 if clip_norm is None else min(1.0, clip_norm / (size + 1e-6))
        for layer, gradients in enumerate(zip(walk.weights, walk.biases, strict=True)):
            for kind, gradient in enumerate(gradients):
                g, before, parameter = clip * gradient, m[layer][kind], theta[layer][kind]
                update = np.sign(beta_1 * before + (1.0 - beta_1) * g)
                shrink = decay if kind == 0 else 0.0  # weights only
                parameter -= rate * (update + shrink * parameter)
                before *= beta_2
                before += (1.0 - beta_2) * g
    optimizer = culpa.Lion(rate, beta_1=beta_1, beta_2=beta_2, weight_decay=decay)
    model._network.core.set_optimizer(optimizer.for_core())
    reports = Job(
        X,
        y,
        range(0, BATCH * STEPS + 1, BATCH),
        rate,
        order=np.arange(BATCH * STEPS) % len(X),
        clip_norm=clip_norm or 0.0,
    ).run(model)
    helpers.assert_close("losses", reports["losses"] / BATCH, want, 1e-9)
    assert_parameters_close(model, theta, 1e-9)


def recorded_start() -> tuple[Any, Any]:
    return RECORDED["weights"], RECORDED["biases"]


@pytest.mark.parametrize("dtype", helpers.DTYPES)
def test_lion_moves_by_the_rate_and_stays_where_nothing_pulls(dtype: str) -> None:
    model = helpers.make_model(
        [(np.array([[1.0, 1.0]]), np.zeros(2))], ["identity"], "mse", dtype=dtype
    )
    X, y = np.array([[1e-6]]), np.array([[1e6, 1e-6]])  # a huge pull, and none
    model.fit(X, y, optimizer=culpa.Lion(0.25), epochs=1, verbose=False)
    np.testing.assert_array_equal(model.layers[0].weight, [[1.25, 1.0]])
    np.testing.assert_array_equal(model.layers[0].bias, [0.25, 0.0])
    first, second, steps = model._network.core.moments()
    assert (len(second), steps) == (0, 1)
    assert np.count_nonzero(first) == 2


@pytest.mark.parametrize("optimizer", [culpa.Lion(), culpa.SGD(), culpa.Adam()], ids=repr)
def test_a_gradient_that_overflows_is_not_taken_for_a_sign(optimizer: Optimizer) -> None:
    model = helpers.make_model([(np.zeros((1, 1)), np.zeros(1))], ["identity"], "mse")
    with pytest.raises(culpa.DivergedError):
        model.fit(np.array([[1e30]]), np.array([1e12]), optimizer=optimizer, verbose=False)


# --- The textbook --------------------------------------------------------------------------------

# culpa's optimizer, and the oracle's.
OPTIMIZERS: list[tuple[Optimizer, Callable[[], reference.Optimizer]]] = [
    (culpa.SGD(0.05), lambda: reference.SGD(0.05)),
    (
        culpa.SGD(0.05, momentum=0.8, weight_decay=0.02),
        lambda: reference.SGD(0.05, 0.8, weight_decay=0.02),
    ),
    (
        culpa.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.02),
        lambda: reference.SGD(0.05, 0.9, nesterov=True, weight_decay=0.02),
    ),
    (culpa.Adam(0.01), lambda: reference.Adam(0.01)),
    (
        culpa.Adam(0.01, beta_1=0.7, beta_2=0.9, epsilon=1e-3, weight_decay=0.1),
        lambda: reference.Adam(0.01, 0.7, 0.9, 1e-3, weight_decay=0.1),
    ),
    (
        culpa.AdamW(0.01, weight_decay=0.2),
        lambda: reference.AdamW(0.01, weight_decay=0.2),
    ),
    (culpa.RMSprop(0.01), lambda: reference.RMSprop(0.01)),
    (
        culpa.RMSprop(0.003, rho=0.9, epsilon=1e-4, momentum=0.7, weight_decay=0.1),
        lambda: reference.RMSprop(0.003, 0.9, 1e-4, 0.7, weight_decay=0.1),
    ),
    (culpa.Lion(0.001), lambda: reference.Lion(0.001)),
    (
        culpa.Lion(0.003, beta_1=0.7, beta_2=0.8, weight_decay=0.3),
        lambda: reference.Lion(0.003, 0.7, 0.8, weight_decay=0.3),
    ),
]
OPTIMIZER_IDS = [
    f"{type(ours).__name__}-{i}" for i, (ours, _) in enumerate(OPTIMIZERS)
]  # names come up more than once


def some_problem(
    dtype: str = "float64", rows: int = 37, seed: int = 0
) -> tuple[culpa.Sequential, list[tuple[np.ndarray, np.ndarray]], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    parameters = helpers.random_parameters((9, 17, 33, 3), rng)
    model = helpers.make_model(parameters, ["tanh", "silu", "identity"], "mse", dtype=dtype)
    return (
        model,
        parameters,
        helpers.rounded(rng.normal(size=(rows, 9))),
        helpers.rounded(rng.normal(size=(rows, 3))),
    )


@pytest.mark.parametrize("dtype", helpers.DTYPES)
@pytest.mark.parametrize("clip_norm", [None, 0.05])
@pytest.mark.parametrize(("ours", "oracle"), OPTIMIZERS, ids=OPTIMIZER_IDS)
def test_fit_follows_the_oracle(
    ours: Optimizer,
    oracle: Callable[[], reference.Optimizer],
    clip_norm: float | None,
    dtype: str,
) -> None:
    """Weighted examples, a last batch that is short, a schedule, and a batch without weight."""
    model, parameters, X, y = some_problem(dtype)
    weight = np.random.default_rng(1).uniform(0.1, 3.0, len(X))
    weight[10:20] = 0.0
    cuts = [*range(0, len(X), 10), len(X)]
    batches = [reference.Batch(X[a:b], y[a:b], weight[a:b]) for a, b in itertools.pairwise(cuts)]
    schedule = culpa.Cosine(warmup=0.2, final=0.1)
    factors = schedule.factors(np.arange(24.0), 24, np.arange(24.0) / 4)
    _, want = reference.training_steps(
        parameters,
        batches,
        24,
        oracle(),
        ["tanh", "silu", "identity"],
        "mse",
        clip_norm=clip_norm,
        learning_rates=(ours.learning_rate * factors).tolist(),
    )
    history = model.fit(
        X,
        y,
        optimizer=ours,
        sample_weight=weight,
        clip_norm=clip_norm,
        schedule=schedule,
        batch_size=10,
        epochs=6,
        shuffle=False,
        verbose=False,
    )
    np.testing.assert_allclose(
        history.learning_rate, ours.learning_rate * factors[3::4], rtol=1e-12
    )
    # float32: where a gradient is near zero its sign is chance, and Adam's first steps follow it
    assert_parameters_close(model, want, 1e-10 if dtype == "float64" else 1e-3)


@pytest.mark.parametrize("ours", [ours for ours, _ in OPTIMIZERS], ids=OPTIMIZER_IDS)
def test_weight_decay_shrinks_weights_and_leaves_biases(
    ours: Optimizer,
) -> None:
    """The guess is right, so that decay is all that moves anything."""
    parameters = [(np.array([[2.0, -3.0]]), np.array([0.5, -0.25]))]
    model = helpers.make_model(parameters, ["identity"], "mse", dtype="float64")
    X, y = np.zeros((4, 1)), np.tile(parameters[0][1], (4, 1))
    model.fit(X, y, optimizer=ours, epochs=3, verbose=False)
    weight, bias = np.abs(model.layers[0].weight), model.layers[0].bias
    assert np.array_equal(bias, parameters[0][1])
    if ours.weight_decay:
        assert (weight < np.abs(parameters[0][0])).all()
    else:
        assert np.array_equal(weight, np.abs(parameters[0][0]))


@pytest.mark.parametrize("dtype", helpers.DTYPES)
def test_the_core_says_where_each_array_lies_and_whether_it_decays(dtype: str) -> None:
    """Arrays so narrow that gaps follow them, one that fills its cache line, and a wide one."""
    shapes = [(3, 16), (16, 5), (5, 300), (300, 1)]
    arrays = {}
    for i, (inputs, outputs) in enumerate(shapes):
        start = 100.0 * (i + 1)
        arrays[f"dense_{i}.weight"] = start + np.arange(inputs * outputs).reshape(inputs, outputs)
        arrays[f"dense_{i}.bias"] = -start - np.arange(outputs)
    layers = [culpa.Dense(outputs) for _, outputs in shapes]
    model = culpa.Sequential(layers, loss="mse", input_size=3, dtype=dtype)
    model.load_state_dict(arrays)
    core = model._network.core

    before = core.copy_parameters()
    seen, end = [], 0
    for name, offset, shape, _ in core.arrays():
        seen.append(name)
        assert offset >= end
        assert not before[end:offset].any()  # the gap
        end = offset + int(np.prod(shape))
        assert np.array_equal(before[offset:end].reshape(shape), arrays[name])
    assert seen == list(arrays)
    assert not before[end:].any()

    core.set_optimizer(_core.Optimizer("sgd", weight_decay=1.0))
    core.apply(np.zeros_like(before), 0.5)
    after = core.parameters()
    for name, offset, shape, decays in core.arrays():
        assert decays == name.endswith(".weight")
        part = slice(offset, offset + int(np.prod(shape)))
        assert np.array_equal(after[part], before[part] * (0.5 if decays else 1))


def test_without_an_optimizer_it_is_adam_and_then_the_last_one_used() -> None:
    first, _, X, y = some_problem()
    second = first.copy()
    first.fit(X, y, epochs=1, verbose=False)
    second.fit(X, y, epochs=1, optimizer=culpa.Adam(1e-3), verbose=False)
    assert helpers.parameter_bytes(first) == helpers.parameter_bytes(second)
    for model, optimizer in ((first, culpa.SGD(0.1)), (second, culpa.SGD(0.1))):
        model.fit(X, y, epochs=1, optimizer=optimizer, verbose=False)
    first.fit(X, y, epochs=1, verbose=False)
    second.fit(X, y, epochs=1, optimizer=culpa.SGD(0.1), verbose=False)
    assert helpers.parameter_bytes(first) == helpers.parameter_bytes(second)


# --- scikit-learn --------------------------------------------------------------------------------

SCIKIT: list[tuple[str, dict[str, Any], Callable[[], Any]]] = [
    ("adam", {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3}, reference.ScikitAdam),
    ("adam", {}, reference.ScikitAdam),
    ("sgd", {"momentum": 0.9, "nesterov": True}, reference.ScikitSGD),
    ("sgd", {"momentum": 0.7, "nesterov": False}, reference.ScikitSGD),
    ("sgd", {"momentum": 0.0, "nesterov": False}, reference.ScikitSGD),
]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("rule", "options", "oracle"), SCIKIT, ids=[f"{s[0]}-{i}" for i, s in enumerate(SCIKIT)]
)
def test_scikit_learn_conventions_follow_the_oracle(
    rule: str, options: dict[str, Any], oracle: Callable[..., Any], weighted: bool
) -> None:
    """Rates that change, and L2 divided by each batch's sum of weights, as MLPClassifier has it."""
    model, parameters, X, y = some_problem()
    cuts = [0, 8, 16, 17, 37]
    rates = [0.05, 0.05, 0.01, 0.01, 0.03, 0.002, 0.002, 0.04]
    alpha = 0.3
    weight = np.random.default_rng(5).uniform(0.2, 2.0, len(X)) if weighted else None
    model._network.core.set_optimizer(
        _core.Optimizer(
            rule,
            epsilon_outside=True,
            velocity=True,
            decay_per_example=True,
            weight_decay=alpha,
            **options,
        )
    )
    order = np.tile(np.arange(37), 2)
    Job(X, y, [*cuts, *(37 + c for c in cuts[1:])], rates, weights=weight, order=order).run(model)

    optimizer = oracle(**options)
    vector, mask = reference.flatten(parameters), reference.weight_mask(parameters)
    for rate, (a, b) in zip(rates, list(itertools.pairwise(cuts)) * 2, strict=True):
        w = None if weight is None else weight[a:b]
        walk = reference.backpropagate(
            reference.unflatten(vector, parameters),
            X[a:b],
            y[a:b],
            ["tanh", "silu", "identity"],
            "mse",
            sample_weight=w,
        )
        optimizer.learning_rate = rate
        optimizer.weight_decay = alpha / (b - a if w is None else w.sum())
        gradient = reference.flatten(list(zip(walk.weights, walk.biases, strict=True)))
        vector = optimizer.step(vector, gradient, mask)
    assert_parameters_close(model, reference.unflatten(vector, parameters), 1e-10)


def test_decay_per_example_is_decay_over_the_sum_of_weights() -> None:
    model, _, X, y = some_problem(rows=8)
    other = model.copy()
    for each, decay, per_example in ((model, 0.4, True), (other, 0.05, False)):
        each._network.core.set_optimizer(
            _core.Optimizer("sgd", weight_decay=decay, decay_per_example=per_example)
        )
        Job(X, y, [0, 8], 0.1).run(each)
    assert helpers.parameter_bytes(model) == helpers.parameter_bytes(other)


@pytest.mark.parametrize("clip_norm", [0.0, 0.05])
def test_gradient_scale_is_a_loss_that_is_scaled(clip_norm: float) -> None:
    """Of SGD: as a rate that is scaled, where the decay is scaled back. 4: no rounding."""
    scaled, _, X, y = some_problem()
    plain, halves = scaled.copy(), scaled.copy()
    for each, scale, decay in ((scaled, 4.0, 0.5), (plain, 1.0, 0.125), (halves, 4.0, 0.5)):
        optimizer = _core.Optimizer("sgd", weight_decay=decay, gradient_scale=scale)
        assert optimizer.gradient_scale == scale
        each._network.core.set_optimizer(optimizer)
    reports = Job(X, y, [0, 10, 37], 0.1, clip_norm=4.0 * clip_norm).run(scaled)
    expected = Job(X, y, [0, 10, 37], 0.4, clip_norm=clip_norm).run(plain)
    tolerance = 1e-4 if clip_norm else 1e-12  # clipping adds 1e-6 to the norm
    np.testing.assert_allclose(reports["norms"], 4.0 * expected["norms"], rtol=tolerance)
    np.testing.assert_allclose(reports["losses"], expected["losses"], rtol=tolerance)
    for name, array in scaled.state_dict().items():
        helpers.assert_close(name, array, plain.state_dict()[name], tolerance)
    if not clip_norm:
        core = halves._network.core
        for a, b in ((0, 10), (10, 37)):
            answer = core.blame(_core.ExampleArrays(X[a:b], targets=y[a:b]), want={"gradient"})
            core.apply(answer["gradient"], 0.1, answer["weight_sum"])
        for name, array in scaled.state_dict().items():
            helpers.assert_close(name, array, halves.state_dict()[name], 1e-12)


# --- What the core reports, and its halves -------------------------------------------------------


@pytest.mark.parametrize("clip_norm", [0.0, 0.05, 1e6])
@pytest.mark.parametrize("dtype", helpers.DTYPES)
def test_norms_and_squares_are_those_before_clipping_and_before_the_update(
    clip_norm: float, dtype: str
) -> None:
    model, parameters, X, y = some_problem(dtype)
    names = ["tanh", "silu", "identity"]
    optimizer = reference.SGD(0.1, 0.9)
    model._network.core.set_optimizer(culpa.SGD(0.1, momentum=0.9).for_core())
    weight = np.random.default_rng(3).uniform(0.1, 2.0, len(X))
    cuts = [0, 7, 12, 37]
    reports = Job(X, y, cuts, 0.1, weights=weight, clip_norm=clip_norm).run(model)
    norms, squares, losses = [], [], []
    for a, b in itertools.pairwise(cuts):
        walk = reference.backpropagate(
            parameters, X[a:b], y[a:b], names, "mse", sample_weight=weight[a:b]
        )
        gradient = reference.flatten(list(zip(walk.weights, walk.biases, strict=True)))
        norms.append(np.linalg.norm(gradient))
        squares.append(sum((W**2).sum() for W, _ in parameters))
        losses.append(walk.loss * weight[a:b].sum())
        _, parameters = reference.training_steps(
            parameters,
            [reference.Batch(X[a:b], y[a:b], weight[a:b])],
            1,
            optimizer,
            names,
            "mse",
            clip_norm=clip_norm or None,
        )
    tolerance = 1e-10 if dtype == "float64" else 1e-4
    helpers.assert_close("norms", reports["norms"], norms, tolerance)
    helpers.assert_close("squares", reports["squares"], squares, tolerance)
    helpers.assert_close("losses", reports["losses"], losses, tolerance)
    sums = [weight[a:b].sum() for a, b in itertools.pairwise(cuts)]
    helpers.assert_close("weight_sums", reports["weight_sums"], sums, 1e-12)
    assert_parameters_close(model, parameters, tolerance)


def test_clipping_does_nothing_to_a_short_gradient_and_keeps_the_direction_of_a_long_one() -> None:
    plain, _, X, y = some_problem()
    start = plain.state_dict()
    models = {clip: plain.copy() for clip in (None, 1e6, 1e-2, 1e-3)}
    for clip, model in models.items():
        model.fit(
            X, y, optimizer=culpa.SGD(1.0), clip_norm=clip, epochs=1, batch_size=37, verbose=False
        )
    assert helpers.parameter_bytes(models[None]) == helpers.parameter_bytes(models[1e6])

    def moved(model: culpa.Sequential) -> np.ndarray:
        return np.concatenate([(v - start[k]).ravel() for k, v in model.state_dict().items()])

    for clip in (1e-2, 1e-3):
        step = moved(models[clip])
        assert np.linalg.norm(step) == pytest.approx(clip, rel=1e-4)
        helpers.assert_close(
            "direction",
            step / clip,
            moved(models[None]) / np.linalg.norm(moved(models[None])),
            1e-4,
        )


@pytest.mark.parametrize("dtype", helpers.DTYPES)
@pytest.mark.parametrize("ours", [ours for ours, _ in OPTIMIZERS], ids=OPTIMIZER_IDS)
def test_gradient_and_apply_are_a_step_in_two_halves(ours: Optimizer, dtype: str) -> None:
    whole, _, X, y = some_problem(dtype)
    halves = whole.copy()
    for model in (whole, halves):
        model._network.core.set_optimizer(ours.for_core())
    rates = [0.1, 0.02, 0.05]
    Job(X, y, [0, 10, 20, 37], rates).run(whole)
    for rate, (a, b) in zip(rates, [(0, 10), (10, 20), (20, 37)], strict=True):
        core = halves._network.core
        answer = core.blame(_core.ExampleArrays(X[a:b], targets=y[a:b]), want={"gradient"})
        core.apply(answer["gradient"], rate, answer["weight_sum"])
    assert helpers.parameter_bytes(whole) == helpers.parameter_bytes(halves)
    for one, other in zip(
        whole._network.core.moments(), halves._network.core.moments(), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_apply_divides_decay_per_example_by_its_sum_of_weights() -> None:
    model, _, _, _ = some_problem()
    core = model._network.core
    core.set_optimizer(_core.Optimizer("sgd", weight_decay=3.0, decay_per_example=True))
    before = model.state_dict()
    core.apply(np.zeros_like(core.parameters()), 0.1, 6.0)
    after = model.state_dict()
    for name in before:
        factor = 1.0 - 0.1 * 3.0 / 6.0 if name.endswith("weight") else 1.0
        helpers.assert_close(name, after[name], factor * before[name], 1e-14)


# --- Batches without weight ----------------------------------------------------------------------


@pytest.mark.parametrize("clip_norm", [0.0, 0.1])
@pytest.mark.parametrize("ours", [ours for ours, _ in OPTIMIZERS], ids=OPTIMIZER_IDS)
def test_batches_that_are_empty_or_weigh_nothing_make_no_update(
    ours: Optimizer, clip_norm: float
) -> None:
    plain, _, X, y = some_problem()
    skipping = plain.copy()
    for model in (plain, skipping):
        model._network.core.set_optimizer(ours.for_core())
    weight = np.ones(37)
    weight[10:20] = 0.0
    order = np.concatenate([np.arange(10), np.arange(20, 37)])
    Job(X, y, [0, 10, 27], [0.1, 0.02], weights=weight, order=order, clip_norm=clip_norm).run(plain)
    reports = Job(
        X,
        y,
        [0, 0, 10, 20, 20, 37, 37],
        [9.0, 0.1, 9.0, 9.0, 0.02, 9.0],
        weights=weight,
        clip_norm=clip_norm,
    ).run(skipping)
    assert helpers.parameter_bytes(plain) == helpers.parameter_bytes(skipping)
    for one, other in zip(
        plain._network.core.moments(), skipping._network.core.moments(), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert reports["weight_sums"].tolist() == [0, 10, 0, 0, 17, 0]
    assert reports["losses"][[0, 2, 3, 5]].tolist() == [0, 0, 0, 0]
    assert (reports["losses"][[1, 4]] > 0).all()


def test_steps_without_weight_still_count_for_dropout() -> None:
    """The counter is that of batches seen, so that weights do not shift the masks after them."""
    model, _, X, y = some_problem()
    model._network.core.set_optimizer(culpa.SGD(0.1).for_core())
    Job(X, y, [0, 0, 10, 20], 0.1).run(model)
    assert model._network.core.steps == 3


def test_a_job_of_no_steps_does_nothing() -> None:
    model, _, X, y = some_problem()
    before = helpers.parameter_bytes(model)
    Job(X, y, [0], []).run(model)
    assert helpers.parameter_bytes(model) == before
    assert model._network.core.steps == 0


# --- Schedules -----------------------------------------------------------------------------------


def factors(schedule: culpa.Schedule, total: int = 1000, per_epoch: int = 100) -> np.ndarray:
    steps = np.arange(total, dtype=np.float64)
    return schedule.factors(steps, total, steps / per_epoch)


def at(schedule: culpa.Schedule, step: float, total: int = 1000, epochs: float = 0.0) -> float:
    return float(schedule.factors(np.array([step]), total, np.array([epochs]))[0])


def falls(values: np.ndarray) -> bool:
    return bool((np.diff(values) <= 0).all())


def test_constant_is_one() -> None:
    assert (factors(culpa.Constant()) == 1.0).all()


def test_step_decay_falls_at_whole_periods() -> None:
    got = factors(culpa.StepDecay(3, 0.5))
    want = np.repeat([1.0, 0.5, 0.25, 0.125], 300)[:1000]
    np.testing.assert_allclose(got, want, rtol=1e-14)


def test_exponential_decay_multiplies_by_its_factor_each_epoch() -> None:
    got = factors(culpa.ExponentialDecay(0.9))
    np.testing.assert_allclose(got[::100], 0.9 ** np.arange(10), rtol=1e-14)
    np.testing.assert_allclose(got[1:] / got[:-1], 0.9**0.01, rtol=1e-12)


def test_cosine_falls_by_half_a_cosine_from_one_to_its_end() -> None:
    got = factors(culpa.Cosine())
    want = 0.5 * (1.0 + np.cos(np.pi * np.arange(1000) / 1000))
    np.testing.assert_allclose(got, want, atol=1e-14)
    assert falls(got)
    assert got[0] == 1.0
    assert at(culpa.Cosine(), 1000) == 0.0
    assert at(culpa.Cosine(final=0.2), 1000) == pytest.approx(0.2, abs=1e-15)
    assert at(culpa.Cosine(final=0.2), 500) == pytest.approx(0.6)


def test_cosine_warms_up_in_equal_steps() -> None:
    got = factors(culpa.Cosine(warmup=0.1, final=0.05))
    np.testing.assert_allclose(got[:100], np.arange(1, 101) / 100, rtol=1e-14)
    assert got[100] == 1.0
    assert falls(got[100:])
    assert got[-1] == pytest.approx(0.05, abs=1e-5)
    want = 0.05 + 0.95 * 0.5 * (1.0 + np.cos(np.pi * np.arange(900) / 900))
    np.testing.assert_allclose(got[100:], want, rtol=1e-12)


def test_one_cycle_rises_and_falls_along_cosines() -> None:
    schedule = culpa.OneCycle(warmup=0.25, start=0.1, final=0.01)
    got = factors(schedule)
    up = 0.1 + 0.9 * 0.5 * (1.0 - np.cos(np.pi * np.arange(250) / 250))
    down = 0.01 + 0.99 * 0.5 * (1.0 + np.cos(np.pi * np.arange(750) / 750))
    np.testing.assert_allclose(got, np.concatenate([up, down]), rtol=1e-12)
    assert got[0] == pytest.approx(0.1)
    assert got[250] == 1.0
    assert falls(-got[:251])
    assert falls(got[250:])
    assert at(schedule, 1000) == pytest.approx(0.01, abs=1e-15)
    assert at(culpa.OneCycle(), 0) == pytest.approx(0.04)
    assert at(culpa.OneCycle(), 300) == 1.0
    assert at(culpa.OneCycle(), 1000) == pytest.approx(4e-6)


@pytest.mark.parametrize("total", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("warmup", [0.0, 0.01, 0.3, 0.5, 0.99])
@pytest.mark.parametrize("schedule", [culpa.Cosine, culpa.OneCycle])
def test_no_factor_leaves_0_to_1_however_short_the_fit(
    schedule: Callable[..., culpa.Schedule], warmup: float, total: int
) -> None:
    got = factors(schedule(warmup=warmup), total)
    assert np.isfinite(got).all()
    assert (got >= 0.0).all()
    assert (got <= 1.0).all()
    assert got.max() > 0.0


class Zigzag(culpa.Schedule):
    def factors(self, steps: Any, total: int, epochs: Any) -> Any:
        return np.where(steps % 2 == 0, 1.0, 0.25) * (1.0 + epochs) / total


SCHEDULES = [
    culpa.Constant(),
    culpa.StepDecay(2, 0.5),
    culpa.ExponentialDecay(0.8),
    culpa.Cosine(warmup=0.3),
    culpa.OneCycle(),
    Zigzag(),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_every_step_takes_its_own_factor(schedule: culpa.Schedule) -> None:
    """Two fits: steps count within one, epochs over both."""
    model, parameters, X, y = some_problem()
    steps = np.arange(12.0)
    first = schedule.factors(steps, 12, steps / 4)
    second = schedule.factors(steps, 12, 3 + steps / 4)
    rates = 0.1 * np.concatenate([first, second])
    batches = [reference.Batch(X[a : a + 10], y[a : a + 10]) for a in range(0, 37, 10)]
    _, want = reference.training_steps(
        parameters,
        batches,
        24,
        reference.SGD(0.1),
        ["tanh", "silu", "identity"],
        "mse",
        learning_rates=rates.tolist(),
    )
    for part in (rates[:12], rates[12:]):
        history = model.fit(
            X,
            y,
            optimizer=culpa.SGD(0.1),
            schedule=schedule,
            epochs=3,
            batch_size=10,
            shuffle=False,
            verbose=False,
        )
        np.testing.assert_allclose(history.learning_rate, part[3::4], rtol=1e-12)
    assert_parameters_close(model, want, 1e-10)


# --- One fit after another -----------------------------------------------------------------------


def deep_model(seed: int = 4) -> culpa.Sequential:
    return culpa.Sequential(
        [
            culpa.Dropout(0.1),
            culpa.Dense(24, "relu"),
            culpa.Dropout(0.3),
            culpa.Dense(9, "gelu"),
            culpa.Dense(3),
        ],
        "cross_entropy",
        seed=seed,
    )


def blobs(rows: int = 90) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(8)
    y = rng.integers(0, 3, rows)
    return rng.normal(size=(rows, 7)) + y[:, None], y


def continued(
    epochs: Sequence[int], between: Callable[[culpa.Sequential], culpa.Sequential], **options: Any
) -> culpa.Sequential:
    X, y = blobs()
    model = deep_model()
    for n in epochs:
        model.fit(X, y, epochs=n, batch_size=20, verbose=False, **options)
        model = between(model)
    return model


ADAM = culpa.Adam(1e-2)
FITS: dict[str, dict[str, Any]] = {
    **{repr(ours): {"optimizer": ours} for ours, _ in OPTIMIZERS},
    "step decay": {"optimizer": ADAM, "schedule": culpa.StepDecay(3, 0.5)},
    "exponential decay": {"optimizer": ADAM, "schedule": culpa.ExponentialDecay(0.9)},
    "clip": {"optimizer": ADAM, "clip_norm": 0.1},
    "in order": {"optimizer": ADAM, "shuffle": False},
    "validation split": {"optimizer": ADAM, "validation_split": 0.2},
}


@pytest.mark.parametrize("options", FITS.values(), ids=FITS)
def test_two_fits_of_five_epochs_are_one_of_ten_to_the_last_bit(options: dict[str, Any]) -> None:
    whole = helpers.parameter_bytes(continued([10], lambda model: model, **options))
    assert helpers.parameter_bytes(continued([5, 5], lambda model: model, **options)) == whole
    assert helpers.parameter_bytes(continued([1, 0, 9], lambda m: m, **options)) == whole
    copied = continued([3, 4, 3], lambda model: model.copy(), **options)
    assert helpers.parameter_bytes(copied) == whole


def without_memory(model: culpa.Sequential) -> culpa.Sequential:
    """The same weights, as a model that was never trained."""
    fresh = culpa.Sequential(
        [layer.description for layer in model.layers], model.loss, dtype=model.dtype
    )
    fresh.load_state_dict(model.state_dict())
    return fresh


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (culpa.Adam(0.01), culpa.Adam(0.01, beta_1=0.8)),
        (culpa.Adam(0.01), culpa.Adam(0.01, weight_decay=0.1)),
        (culpa.Adam(0.01), culpa.AdamW(0.01, weight_decay=0.0)),
        (culpa.Adam(0.01), culpa.RMSprop(0.01)),
        (culpa.Adam(0.01), culpa.SGD(0.01, momentum=0.9)),
        (culpa.SGD(0.01, momentum=0.9), culpa.SGD(0.01, momentum=0.8)),
        (culpa.SGD(0.01, momentum=0.9), culpa.SGD(0.01, momentum=0.9, nesterov=True)),
        (culpa.SGD(0.01, momentum=0.9), culpa.Adam(0.01)),
        (culpa.Lion(0.01), culpa.SGD(0.01, momentum=0.9)),
        (culpa.Adam(0.01), culpa.Lion(0.01)),
    ],
    ids=repr,
)
def test_another_optimizer_starts_with_fresh_moments(first: Optimizer, second: Optimizer) -> None:
    model, _, X, y = some_problem()
    options = {"epochs": 2, "shuffle": False, "verbose": False, "batch_size": 10}
    model.fit(X, y, optimizer=first, **options)
    fresh = without_memory(model)
    goes_on = model.copy()
    for each, optimizer in ((model, second), (fresh, second), (goes_on, first)):
        each.fit(X, y, optimizer=optimizer, **options)
    assert helpers.parameter_bytes(model) == helpers.parameter_bytes(fresh)
    assert helpers.parameter_bytes(goes_on) != helpers.parameter_bytes(fresh)


def test_another_learning_rate_makes_another_optimizer() -> None:
    model, _, X, y = some_problem()
    options = {"epochs": 2, "shuffle": False, "verbose": False, "batch_size": 10}
    model.fit(X, y, optimizer=culpa.Adam(0.01), **options)
    fresh = without_memory(model)
    for each in (model, fresh):
        each.fit(X, y, optimizer=culpa.Adam(0.002), **options)
    assert helpers.parameter_bytes(model) == helpers.parameter_bytes(fresh)


def test_an_equal_optimizer_goes_on_with_its_moments() -> None:
    model, _, X, y = some_problem()
    options = {"epochs": 2, "shuffle": False, "verbose": False, "batch_size": 10}
    model.fit(X, y, optimizer=culpa.Adam(0.01), **options)
    fresh = without_memory(model)
    model.fit(X, y, optimizer=culpa.Adam(0.01), **options)
    fresh.fit(X, y, optimizer=culpa.Adam(0.01), **options)
    assert helpers.parameter_bytes(model) != helpers.parameter_bytes(fresh)
    assert model._network.core.moments()[2] == 16
