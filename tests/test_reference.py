"""The oracle itself is right: against PyTorch's autograd, finite differences, and known answers."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference

ACTIVATIONS = sorted(reference.ACTIVATIONS)
LOSS_CASES: list[tuple[str, str, dict[str, float]]] = [  # loss, kind of targets, options
    ("cross_entropy", "labels", {}),
    ("cross_entropy", "labels", {"label_smoothing": 0.1}),
    ("cross_entropy", "probabilities", {}),
    ("cross_entropy", "probabilities", {"label_smoothing": 0.3}),
    ("binary_cross_entropy", "binary", {}),
    ("mse", "real", {}),
    ("mae", "real", {}),
    ("huber", "real", {}),
    ("huber", "real", {"delta": 0.4}),
    ("poisson", "counts", {}),
    ("gamma", "positive", {}),
    ("tweedie", "amounts", {}),
    ("tweedie", "counts", {"power": 1.0}),
    ("tweedie", "amounts", {"power": 1.2}),
    ("tweedie", "positive", {"power": 2.0}),
    ("tweedie", "positive", {"power": 3.0}),
    ("quantile", "real", {}),
    ("quantile", "real", {"q": 0.9}),
]
LOSS_IDS = [
    "-".join([loss, kind, *map(str, options.values())]) for loss, kind, options in LOSS_CASES
]
ROWS, INPUTS, OUTPUTS = 7, 4, 3
ALPHAS = [0.2, None, None]  # the default is tested beside a chosen one
RECORDED = json.loads(Path(__file__).with_name("recorded_optimizers.json").read_text())


def import_torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is the judge of this test")


def targets(kind: str, rng: np.random.Generator) -> np.ndarray:
    match kind:
        case "labels":
            return rng.integers(0, OUTPUTS, ROWS)
        case "probabilities":
            return rng.dirichlet(np.ones(OUTPUTS), ROWS)
        case "binary":
            return rng.integers(0, 2, (ROWS, OUTPUTS))
        case "counts":
            return rng.poisson(2.0, (ROWS, OUTPUTS))
        case "positive":
            return rng.gamma(2.0, 0.7, (ROWS, OUTPUTS))
        case "amounts":  # of which some are 0
            return rng.poisson(1.5, (ROWS, OUTPUTS)) * rng.gamma(2.0, 0.5, (ROWS, OUTPUTS))
        case _:
            return rng.normal(size=(ROWS, OUTPUTS))


def problem(kind: str, seed: int = 0) -> dict[str, Any]:
    """A 4-6-5-3 net, a batch, weights of the examples (one of them zero) and dropout masks."""
    rng = np.random.default_rng(seed)
    widths = [INPUTS, 6, 5, OUTPUTS]
    parameters = [
        (rng.normal(size=shape), rng.normal(size=shape[1])) for shape in itertools.pairwise(widths)
    ]
    sample_weight = rng.uniform(0.5, 2.0, ROWS)
    sample_weight[2] = 0.0
    return {
        "parameters": parameters,
        "X": rng.normal(size=(ROWS, INPUTS)),
        "y": targets(kind, rng),
        "alphas": ALPHAS,
        "sample_weight": sample_weight,
        "masks": [rng.integers(0, 2, (ROWS, INPUTS)) * 2.0, None, np.full((ROWS, 5), 1.25)],
    }


def torch_activation(name: str, z: Any, alpha: float | None) -> Any:
    F = import_torch().nn.functional
    match name:
        case "identity":
            return z * 1.0
        case "leaky_relu":
            return F.leaky_relu(z, 0.01 if alpha is None else alpha)
        case "elu":
            return F.elu(z, 1.0 if alpha is None else alpha)
        case "gelu_tanh":
            return F.gelu(z, approximate="tanh")
        case "softplus":
            return F.softplus(z, threshold=700.0)
        case _:
            return getattr(F, name)(z)


def torch_losses(loss: str, z: Any, y: Any, options: dict[str, float]) -> Any:
    """L_i (n,) as PyTorch has it."""
    torch = import_torch()
    F = torch.nn.functional
    if loss == "cross_entropy":
        return F.cross_entropy(z, y, reduction="none", **options)
    if loss == "quantile":
        q = options.get("q", 0.5)
        return torch.maximum(q * (y - z), (q - 1.0) * (y - z)).mean(dim=1)
    power = {"gamma": 2.0, "tweedie": options.get("power", 1.5)}.get(loss)
    if power == 2.0:
        return -torch.distributions.Gamma(1.0, torch.exp(-z)).log_prob(y).mean(dim=1)
    if power == 1.0:
        loss, options = "poisson", {}
    elif power is not None:
        kappa, theta = (torch.exp(k * z) / k for k in (2.0 - power, 1.0 - power))
        return (kappa - y * theta).mean(dim=1)
    functions = {
        "binary_cross_entropy": F.binary_cross_entropy_with_logits,
        "mse": F.mse_loss,
        "mae": F.l1_loss,
        "huber": F.huber_loss,
        "poisson": F.poisson_nll_loss,
    }
    return functions[loss](z, y.to(torch.float64), reduction="none", **options).mean(dim=1)


def torch_walk(
    case: dict[str, Any], activations: list[str], loss: str, options: dict[str, float]
) -> reference.Walk:
    """The same walk by autograd; each example's gradient by a backward pass of its own."""
    torch = import_torch()
    X = torch.tensor(case["X"], requires_grad=True)
    weights = [torch.tensor(W, requires_grad=True) for W, _ in case["parameters"]]
    biases = [torch.tensor(b, requires_grad=True) for _, b in case["parameters"]]
    nodes, hidden, slopes = [], [], []
    h = X
    for layer, name in enumerate(activations):
        if case["masks"][layer] is not None:
            h = h * torch.tensor(case["masks"][layer])
        nodes.append(h @ weights[layer] + biases[layer])
        h = torch_activation(name, nodes[-1], case["alphas"][layer])
        hidden.append(h.detach().numpy())
        slopes.append(torch.autograd.grad(h.sum(), nodes[-1], retain_graph=True)[0].numpy())
    losses = torch_losses(loss, h, torch.tensor(case["y"]), options)

    def gradients(scalar: Any, variables: list[Any]) -> list[np.ndarray]:
        found = torch.autograd.grad(scalar, variables, retain_graph=True)
        return [gradient.numpy() for gradient in found]

    w = torch.tensor(case["sample_weight"])
    batch_loss = (w * losses).sum() / w.sum()
    signals = gradients(losses.sum(), [*nodes, X])
    parameter_gradients = gradients(batch_loss, weights + biases)
    own = [gradients(one, weights + biases) for one in losses]
    return reference.Walk(
        loss=batch_loss.item(),
        losses=losses.detach().numpy(),
        outputs=h.detach().numpy(),
        nodes=signals[:-1],
        inputs=signals[-1],
        weights=parameter_gradients[: len(weights)],
        biases=parameter_gradients[len(weights) :],
        gradient_norms=np.array([math.sqrt(sum((g**2).sum() for g in gs)) for gs in own]),
        hidden=hidden,
        slopes=slopes,
    )


def assert_walks_agree(ours: reference.Walk, theirs: reference.Walk, tolerance: float) -> None:
    for name in ("loss", "losses", "outputs", "inputs", "gradient_norms"):
        error = reference.relative_error(getattr(ours, name), getattr(theirs, name))
        assert error < tolerance, name
    for name in ("nodes", "weights", "biases", "hidden", "slopes"):
        pairs = zip(getattr(ours, name), getattr(theirs, name), strict=True)
        for layer, (a, b) in enumerate(pairs):
            assert reference.relative_error(a, b) < tolerance, (name, layer)


# --- The walk ------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("loss", "kind", "options"), LOSS_CASES, ids=LOSS_IDS)
def test_every_gradient_agrees_with_autograd(
    loss: str, kind: str, options: dict[str, float], activation: str
) -> None:
    case = problem(kind)
    activations = [activation, activation, "identity"]
    ours = reference.backpropagate(activations=activations, loss=loss, loss_options=options, **case)
    assert_walks_agree(ours, torch_walk(case, activations, loss, options), 1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_last_layer_may_have_any_activation(activation: str) -> None:
    case = problem("real")
    activations = ["tanh", "silu", activation]
    ours = reference.backpropagate(activations=activations, loss="mse", **case)
    assert_walks_agree(ours, torch_walk(case, activations, "mse", {}), 1e-12)


def distance_to_kinks(case: dict[str, Any], activations: list[str], delta: float) -> float:
    """How near any pre-activation comes to 0, or any residual to 0 or +-delta."""
    pre_activations, hiddens = reference.forward(
        case["parameters"], case["X"], activations, case["alphas"], case["masks"]
    )
    distances = [np.abs(z) for z in pre_activations[:-1]]
    if case["y"].ndim == 2:
        residual = np.abs(hiddens[-1] - case["y"])
        distances += [residual, np.abs(residual - delta)]
    return min(float(distance.min()) for distance in distances)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("loss", "kind", "options"), LOSS_CASES, ids=LOSS_IDS)
def test_every_gradient_agrees_with_finite_differences(
    loss: str, kind: str, options: dict[str, float], activation: str
) -> None:
    activations = [activation, activation, "identity"]
    case = next(
        case
        for case in (problem(kind, seed) for seed in itertools.count())
        if distance_to_kinks(case, activations, options.get("delta", 1.0)) > 1e-3
    )
    case |= {"activations": activations, "loss": loss, "loss_options": options}
    walk = reference.backpropagate(**case)
    weights, biases = reference.finite_differences(**case)
    for exact, near in zip(walk.weights + walk.biases, weights + biases, strict=True):
        assert reference.relative_error(near, exact) < 1e-7


def test_equal_sample_weights_change_nothing() -> None:
    case = problem("labels") | {"activations": ["tanh", "tanh", "identity"]}
    plain = reference.backpropagate(loss="cross_entropy", **case | {"sample_weight": None})
    equal = reference.backpropagate(
        loss="cross_entropy", **case | {"sample_weight": np.full(ROWS, 3.0)}
    )
    assert_walks_agree(equal, plain, 1e-15)


def test_a_sample_weight_of_two_is_the_row_twice() -> None:
    case = problem("labels") | {"activations": ["tanh", "tanh", "identity"], "masks": None}
    weighted = reference.backpropagate(
        loss="cross_entropy", **case | {"sample_weight": [2, 1, 1, 1, 1, 1, 1]}
    )
    rows = [0, *range(ROWS)]
    repeated = reference.backpropagate(
        loss="cross_entropy",
        **case | {"X": case["X"][rows], "y": case["y"][rows], "sample_weight": None},
    )
    assert weighted.loss == pytest.approx(repeated.loss, rel=1e-14)
    for a, b in zip(weighted.weights, repeated.weights, strict=True):
        assert reference.relative_error(a, b) < 1e-14


def test_sample_weights_that_are_all_zero_give_zero_loss_and_zero_gradients() -> None:
    case = problem("labels") | {"sample_weight": np.zeros(ROWS)}
    walk = reference.backpropagate(
        activations=["tanh", "tanh", "identity"], loss="cross_entropy", **case
    )
    assert walk.loss == 0.0
    assert not any(gradient.any() for gradient in walk.weights + walk.biases)
    assert walk.gradient_norms.all()


def test_the_hiddens_begin_with_the_inputs_and_end_with_the_outputs() -> None:
    case = problem("real")
    pre_activations, hiddens = reference.forward(
        case["parameters"], case["X"], ["relu", "relu", "identity"]
    )
    assert [z.shape for z in pre_activations] == [(ROWS, 6), (ROWS, 5), (ROWS, 3)]
    assert [h.shape for h in hiddens] == [(ROWS, 4), (ROWS, 6), (ROWS, 5), (ROWS, 3)]
    assert np.array_equal(hiddens[0], case["X"])
    assert np.array_equal(hiddens[-1], pre_activations[-1])


# --- Activations ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_agree_with_torch_on_both_sides_and_at_the_kink(name: str) -> None:
    torch = import_torch()
    value, derivative = reference.ACTIVATIONS[name]
    for alpha in (0.01, 0.3, 1.0, 1.7):
        z = np.concatenate([np.linspace(-30.0, 30.0, 601), [0.0, -0.0, 1e-9, -1e-9]])
        x = torch.tensor(z, requires_grad=True)
        y = torch_activation(name, x, alpha)
        (slope,) = torch.autograd.grad(y.sum(), x)
        assert reference.relative_error(value(z, alpha), y.detach().numpy()) < 1e-14
        assert reference.relative_error(derivative(z, alpha), slope.numpy()) < 1e-14


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_do_not_overflow_at_a_thousand(name: str) -> None:
    value, derivative = reference.ACTIVATIONS[name]
    z = np.array([-1e3, -750.0, -710.0, -40.0, 40.0, 710.0, 750.0, 1e3])
    alpha = reference.DEFAULT_ALPHA.get(name, 0.0)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        values, slopes = value(z, alpha), derivative(z, alpha)
    assert np.isfinite(values).all()
    far_left = {"identity": 1.0, "leaky_relu": 0.01}.get(name, 0.0)
    far_right = {"tanh": 0.0, "sigmoid": 0.0, "selu": reference.SELU_SCALE}.get(name, 1.0)
    assert slopes == pytest.approx([far_left] * 4 + [far_right] * 4, abs=1e-15)


def test_derivatives_at_a_kink_are_those_of_the_left_branch() -> None:
    zero = np.zeros(1)
    expected = {"relu": 0.0, "leaky_relu": 0.3, "elu": 0.3}
    expected["selu"] = reference.SELU_SCALE * reference.SELU_ALPHA
    for name, slope in expected.items():
        assert reference.ACTIVATIONS[name][1](zero, 0.3) == slope


# --- Losses --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "kind", "options"), LOSS_CASES, ids=LOSS_IDS)
def test_losses_of_large_outputs_agree_with_torch(
    loss: str, kind: str, options: dict[str, float]
) -> None:
    torch = import_torch()
    rng = np.random.default_rng(1)
    y = targets(kind, rng)
    z = rng.uniform(-700.0, 700.0, (ROWS, OUTPUTS)) / max(1.0, options.get("power", 1.0) - 1.0)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        losses, slopes = reference.LOSSES[loss](z, y, **options)
    x = torch.tensor(z, requires_grad=True)
    expected = torch_losses(loss, x, torch.tensor(y), options)
    (slope,) = torch.autograd.grad(expected.sum(), x)
    assert reference.relative_error(losses, expected.detach().numpy()) < 1e-14
    assert reference.relative_error(slopes, slope.numpy()) < 1e-14


@pytest.mark.parametrize("loss", sorted(set(reference.LOSSES) - {"cross_entropy"}))
def test_flat_targets_mean_one_output(loss: str) -> None:
    z, y = np.array([[0.5], [-2.0]]), np.array([1.0, 0.0])
    flat, column = reference.LOSSES[loss](z, y), reference.LOSSES[loss](z, y[:, None])
    for a, b in zip(flat, column, strict=True):
        assert np.array_equal(a, b)
    with pytest.raises(ValueError, match="y has shape"):
        reference.LOSSES[loss](np.ones((2, 2)), y)


@pytest.mark.parametrize("loss", ["mae", "quantile", "mse", "huber"])
def test_an_exact_guess_has_no_loss_and_no_slope(loss: str) -> None:
    z = np.array([[0.25, -3.0]])
    losses, slopes = reference.LOSSES[loss](z, z)
    assert not losses.any()
    assert not slopes.any()


def test_labels_are_one_hot_probabilities() -> None:
    z = np.random.default_rng(2).normal(size=(4, 3))
    y = np.array([2, 0, 1, 2])
    for smoothing in (0.0, 0.2):
        by_label = reference.cross_entropy(z, y, label_smoothing=smoothing)
        by_row = reference.cross_entropy(z, np.eye(3)[y], label_smoothing=smoothing)
        assert np.array_equal(by_label[0], by_row[0])
        assert np.array_equal(by_label[1], by_row[1])


# --- Optimizers ----------------------------------------------------------------------------------


def recorded_start() -> tuple[list[tuple[np.ndarray, np.ndarray]], list[reference.Batch]]:
    X, y, size = np.array(RECORDED["X"]), np.array(RECORDED["y"]), RECORDED["batch_size"]
    starts = range(0, len(X), size)
    batches = [reference.Batch(X[i : i + size], y[i : i + size]) for i in starts]
    layers = zip(RECORDED["weights"], RECORDED["biases"], strict=True)
    return [(np.array(W), np.array(b)) for W, b in layers], batches


@pytest.mark.parametrize(
    "run", RECORDED["configurations"], ids=lambda run: f"{run['name']}-clip_{run['clip_norm']}"
)
def test_fifty_recorded_steps_of_torch_are_repeated(run: dict[str, Any]) -> None:
    parameters, batches = recorded_start()
    losses, trained = reference.training_steps(
        parameters,
        batches,
        steps=len(run["losses"]),
        optimizer=getattr(reference, run["name"])(**run["arguments"]),
        activations=RECORDED["activations"],
        loss=RECORDED["loss"],
        clip_norm=run["clip_norm"],
    )
    assert reference.relative_error(losses, run["losses"]) < 1e-12
    for (W, b), weights, biases in zip(trained, run["weights"], run["biases"], strict=True):
        assert reference.relative_error(W, weights) < 1e-12
        assert reference.relative_error(b, biases) < 1e-12


def test_the_recording_is_what_torch_does_today() -> None:
    import_torch()
    import record_optimizers

    fresh = record_optimizers.record()
    assert fresh.keys() == RECORDED.keys()
    for key in ("X", "y", "weights", "biases", "activations", "loss", "batch_size"):
        assert fresh[key] == RECORDED[key], key
    for new, old in zip(fresh["configurations"], RECORDED["configurations"], strict=True):
        for key in ("name", "arguments", "clip_norm"):
            assert new[key] == old[key]
        assert reference.relative_error(new["losses"], old["losses"]) < 1e-12
        for a, b in zip(
            new["weights"] + new["biases"], old["weights"] + old["biases"], strict=True
        ):
            assert reference.relative_error(a, b) < 1e-12


OPTIMIZER_CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    ("Adam", {"weight_decay": 0.1}),
    ("Adam", {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"beta_1": 0.0, "beta_2": 0.99, "weight_decay": 0.5}),
    ("RMSprop", {"weight_decay": 0.1}),
    ("RMSprop", {"rho": 0.7, "epsilon": 0.1, "momentum": 0.9}),
]


@pytest.mark.parametrize(("name", "arguments"), OPTIMIZER_CASES)
def test_optimizers_agree_with_torch_while_the_learning_rate_changes(
    name: str, arguments: dict[str, Any]
) -> None:
    torch = import_torch()
    import record_optimizers

    rng = np.random.default_rng(3)
    p, mask = rng.normal(size=12), np.repeat([1.0, 0.0], 6)
    weights, biases = (torch.tensor(part, requires_grad=True) for part in (p[:6], p[6:]))
    ours = getattr(reference, name)(learning_rate=0.05, **arguments)
    every = {"learning_rate": 0.05, "weight_decay": ours.weight_decay} | arguments
    theirs = record_optimizers.torch_optimizer(name, every, [weights], [biases])
    for step in range(20):
        g = rng.normal(size=12)
        ours.learning_rate = 0.05 / (1 + step)
        for group in theirs.param_groups:
            group["lr"] = ours.learning_rate
        p = ours.step(p, g, mask)
        weights.grad, biases.grad = torch.tensor(g[:6]), torch.tensor(g[6:])
        theirs.step()
        expected = torch.cat([weights, biases]).detach().numpy()
        assert reference.relative_error(p, expected) < 1e-13


@pytest.mark.parametrize(
    "arguments", [{}, {"beta_1": 0.5, "beta_2": 0.0}, {"beta_2": 0.9, "weight_decay": 0.3}]
)
def test_lion_agrees_with_optax(arguments: dict[str, Any]) -> None:
    optax = pytest.importorskip("optax", reason="optax is the judge of this test")
    import jax

    rng = np.random.default_rng(3)
    p, mask = rng.normal(size=12), np.repeat([1.0, 0.0], 6)
    ours = reference.Lion(learning_rate=0.05, **arguments)
    with jax.enable_x64(True):
        theirs = optax.lion(
            0.05,
            ours.beta_1,
            ours.beta_2,
            weight_decay=ours.weight_decay,
            mask={"weights": True, "biases": False},
        )
        values = {"weights": jax.numpy.array(p[:6]), "biases": jax.numpy.array(p[6:])}
        state = theirs.init(values)
        for step in range(20):
            g = rng.normal(size=12) * (step % 5 > 0)  # at times nothing pulls
            p = ours.step(p, g, mask)
            given = {"weights": jax.numpy.array(g[:6]), "biases": jax.numpy.array(g[6:])}
            updates, state = theirs.update(given, state, values)
            values = optax.apply_updates(values, updates)
            expected = np.concatenate([values["weights"], values["biases"]])
            assert reference.relative_error(p, expected) < 1e-13


SCIKIT_CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("ScikitSGD", "SGDOptimizer", {"momentum": 0.0, "nesterov": False}),
    ("ScikitSGD", "SGDOptimizer", {"momentum": 0.9, "nesterov": False}),
    ("ScikitSGD", "SGDOptimizer", {"momentum": 0.9, "nesterov": True}),
    ("ScikitAdam", "AdamOptimizer", {}),
    ("ScikitAdam", "AdamOptimizer", {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 0.1}),
]


@pytest.mark.parametrize(("name", "scikit_name", "arguments"), SCIKIT_CASES)
def test_the_scikit_optimizers_agree_with_scikit_learn(
    name: str, scikit_name: str, arguments: dict[str, Any]
) -> None:
    module = pytest.importorskip(
        "sklearn.neural_network._stochastic_optimizers",
        reason="scikit-learn is the judge of this test",
    )
    rng = np.random.default_rng(4)
    p = rng.normal(size=8)
    expected = [p.copy()]  # updated in place
    ours = getattr(reference, name)(learning_rate=0.05, **arguments)
    theirs = getattr(module, scikit_name)(expected, learning_rate_init=0.05, **arguments)
    for step in range(20):
        g = rng.normal(size=8)
        if name == "ScikitSGD" and step == 10:  # its "adaptive" schedule divides the rate by 5
            ours.learning_rate = theirs.learning_rate = 0.01
        p = ours.step(p, g, np.ones(8))
        theirs.update_params(expected, [g])
        assert reference.relative_error(p, expected[0]) < 1e-13


@pytest.mark.parametrize(
    ("torch_rule", "scikit_rule", "arguments"),
    [
        (reference.SGD, reference.ScikitSGD, {"momentum": 0.9, "nesterov": False}),
        (reference.SGD, reference.ScikitSGD, {"momentum": 0.9, "nesterov": True}),
        (reference.Adam, reference.ScikitAdam, {"epsilon": 0.0}),
    ],
)
def test_the_two_conventions_meet_at_a_constant_rate_without_epsilon(
    torch_rule: Any, scikit_rule: Any, arguments: dict[str, Any]
) -> None:
    a = torch_rule(learning_rate=0.05, weight_decay=0.1, **arguments)
    b = scikit_rule(learning_rate=0.05, weight_decay=0.1, **arguments)
    rng = np.random.default_rng(5)
    p, mask = rng.normal(size=8), np.repeat([1.0, 0.0], 4)
    q = p
    for _ in range(20):
        g = rng.normal(size=8)
        p, q = a.step(p, g, mask), b.step(q, g, mask)
        assert reference.relative_error(p, q) < 1e-13


@pytest.mark.parametrize("max_norm", [0.5, 5.0, 500.0])
def test_clipping_agrees_with_torch(max_norm: float) -> None:
    torch = import_torch()
    g = np.random.default_rng(6).normal(size=30) * 3.0
    parameter = torch.zeros(30, dtype=torch.float64, requires_grad=True)
    parameter.grad = torch.tensor(g)
    norm = torch.nn.utils.clip_grad_norm_([parameter], max_norm)
    clipped, ours = reference.clip_by_global_norm(g, max_norm)
    assert ours == pytest.approx(norm.item(), rel=1e-14)
    assert reference.relative_error(clipped, parameter.grad.numpy()) < 1e-14


def test_training_in_two_calls_is_training_in_one() -> None:
    parameters, batches = recorded_start()
    rest = {"activations": RECORDED["activations"], "loss": RECORDED["loss"]}
    losses, once = reference.training_steps(
        parameters, batches, 6, reference.Adam(0.01), learning_rates=[0.01] * 6, **rest
    )
    optimizer = reference.Adam(0.01)
    first, half = reference.training_steps(parameters, batches, 3, optimizer, **rest)
    second, twice = reference.training_steps(half, batches, 3, optimizer, **rest)
    assert first + second == losses
    assert np.array_equal(reference.flatten(once), reference.flatten(twice))


def test_a_batch_whose_weights_are_all_zero_makes_no_update() -> None:
    parameters, (batch, *_) = recorded_start()
    silent = batch._replace(sample_weight=np.zeros(len(batch.y)))
    rest = {"activations": RECORDED["activations"], "loss": RECORDED["loss"]}
    _, with_it = reference.training_steps(
        parameters, [batch, silent, batch], 3, reference.Adam(0.01), **rest
    )
    _, without = reference.training_steps(parameters, [batch], 2, reference.Adam(0.01), **rest)
    assert np.array_equal(reference.flatten(with_it), reference.flatten(without))


# --- Parameters, comparing, random numbers -------------------------------------------------------


def test_unflatten_undoes_flatten_and_the_mask_marks_the_weights() -> None:
    parameters = problem("real")["parameters"]
    vector = reference.flatten(parameters)
    for (W, b), (V, c) in zip(parameters, reference.unflatten(vector, parameters), strict=True):
        assert np.array_equal(W, V)
        assert np.array_equal(b, c)
    for W, b in reference.unflatten(reference.weight_mask(parameters), parameters):
        assert W.all()
        assert not b.any()


def test_relative_error_is_the_largest_difference_over_the_largest_value() -> None:
    assert reference.relative_error([1.0, -4.0], [1.0, -5.0]) == 0.2
    assert reference.relative_error([0.0, 0.0], [0.0, 0.0]) == 0.0
    assert reference.relative_error([], []) == 0.0
    assert reference.relative_error([1.0], [0.0]) == math.inf
    assert math.isnan(reference.relative_error([math.nan, 1.0], [1.0, 1.0]))
    with pytest.raises(ValueError, match="differ"):
        reference.relative_error([1.0], 1.0)


PHILOX_ANSWERS = [  # counter, key, answer: philox4x32 10 in kat_vectors of Random123
    (
        "00000000 00000000 00000000 00000000",
        "00000000 00000000",
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    ),
    (
        "ffffffff ffffffff ffffffff ffffffff",
        "ffffffff ffffffff",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


def words(text: str) -> np.ndarray:
    return np.array([int(word, 16) for word in text.split()], dtype=np.uint32)


@pytest.mark.parametrize(("counter", "key", "answer"), PHILOX_ANSWERS)
def test_philox_gives_the_known_answers(counter: str, key: str, answer: str) -> None:
    result = reference.philox(words(counter), words(key))
    assert result.dtype == np.uint32
    assert np.array_equal(result, words(answer))


def test_philox_of_many_counters_is_philox_of_each() -> None:
    rng = np.random.default_rng(7)
    counters = rng.integers(0, 2**32, (2, 5, 4), dtype=np.uint32)
    key = rng.integers(0, 2**32, 2, dtype=np.uint32)
    many = reference.philox(counters, key)
    assert many.shape == (2, 5, 4)
    for index in np.ndindex(2, 5):
        assert np.array_equal(many[index], reference.philox(counters[index], key))
