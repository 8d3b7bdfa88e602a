"""The same questions put to PyTorch, Opacus and Captum: they give the same answers.

Per-example gradient norms, DP-SGD's clipped sums and attributions, of small networks in
float64. Where one of them is not installed there is nothing to compare with.
"""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import culpa
import helpers
from culpa.parts.losses import as_loss

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare to")

TOLERANCE = 1e-10
ROWS, INPUTS = 11, 5
LARGE = 2.0**30
F = torch.nn.functional

KINDS: dict[str, Callable[[], Any]] = {
    "identity": torch.nn.Identity,
    "relu": torch.nn.ReLU,
    "leaky_relu": lambda: torch.nn.LeakyReLU(0.01),
    "elu": torch.nn.ELU,
    "selu": torch.nn.SELU,
    "gelu": torch.nn.GELU,
    "gelu_tanh": lambda: torch.nn.GELU("tanh"),
    "silu": torch.nn.SiLU,
    "mish": torch.nn.Mish,
    "tanh": torch.nn.Tanh,
    "sigmoid": torch.nn.Sigmoid,
    "softplus": torch.nn.Softplus,
}

# Of a batch (n, outputs), summed over its examples: each one's loss is the mean of its outputs'.
LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "cross_entropy": lambda z, y: F.cross_entropy(z, y, reduction="sum"),
    "binary_cross_entropy": lambda z, y: (
        F.binary_cross_entropy_with_logits(z, y, reduction="none").mean(1).sum()
    ),
    "mse": lambda z, y: F.mse_loss(z, y, reduction="none").mean(1).sum(),
    "huber": lambda z, y: F.huber_loss(z, y, reduction="none").mean(1).sum(),
    "poisson": lambda z, y: F.poisson_nll_loss(z, y, reduction="none").mean(1).sum(),
}
TARGETS = {
    "cross_entropy": "labels",
    "binary_cross_entropy": "binary",
    "poisson": "counts",
}
# Every loss and every activation, one layer to three, one output and several, with input_scale.
CASES = [
    *((loss, ("tanh", "gelu"), (7, 4, 3), 1.0) for loss in LOSSES),
    *(("mse", (kind,), (6, 2), 0.25) for kind in KINDS),
    ("cross_entropy", (), (4,), 1.0),
    ("binary_cross_entropy", ("silu",), (3, 1), 1.0),
    ("huber", ("relu",), (1, 1), -2.0),
]


def problem(
    loss: str, hidden: tuple[str, ...], widths: tuple[int, ...], scale: float
) -> helpers.Problem:
    case = helpers.LossCase(as_loss(loss), TARGETS.get(loss, "real"))
    return helpers.make_problem(
        (INPUTS, *widths), [*hidden, "identity"], case, ROWS, "float64", input_scale=scale
    )


def peer(given: helpers.Problem) -> Any:
    """The same network as a torch module, on inputs that are scaled already."""
    layers: list[Any] = []
    for (weight, bias), kind in zip(given.parameters, given.activations, strict=True):
        linear = torch.nn.Linear(*weight.shape, dtype=torch.float64)
        linear.load_state_dict({"weight": torch.tensor(weight.T), "bias": torch.tensor(bias)})
        layers += [linear] if kind == "identity" else [linear, KINDS[kind]()]
    return torch.nn.Sequential(*layers)


def tensors(given: helpers.Problem) -> tuple[Any, Any]:
    """X times input_scale, and y as (n,) labels or (n, outputs) values."""
    y = given.y if given.case.targets == "labels" else given.y.reshape(len(given.X), -1)
    return torch.tensor(given.X * given.model.input_scale), torch.tensor(y)


def example_gradients(given: helpers.Problem) -> np.ndarray:
    """(n, parameters), by torch.func: weights as (outputs, inputs), layer by layer."""
    module, (x, y) = peer(given), tensors(given)
    parameters = {name: value.detach() for name, value in module.named_parameters()}

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        z = torch.func.functional_call(module, parameters, (x[None],))
        return LOSSES[given.case.loss.name](z, y[None])

    gradients = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(parameters, x, y)
    return torch.cat([g.flatten(1) for g in gradients.values()], 1).numpy()


def close(what: str, got: Any, want: Any) -> None:
    helpers.assert_close(what, np.asarray(got), np.asarray(want), TOLERANCE)


@pytest.mark.parametrize(("loss", "hidden", "widths", "scale"), CASES)
def test_gradient_norms_equal_those_of_torch_func(
    loss: str, hidden: tuple[str, ...], widths: tuple[int, ...], scale: float
) -> None:
    given = problem(loss, hidden, widths, scale)
    want = np.linalg.norm(example_gradients(given), axis=1)
    got = given.model.blame(given.X, given.y, want="gradient_norms").gradient_norms
    close("blame.gradient_norms", got, want)
    close("grand", culpa.grand(given.model, given.X, given.y), want)


@pytest.mark.parametrize(("loss", "hidden", "widths", "scale"), CASES)
def test_error_signals_and_gradients_equal_those_of_autograd(
    loss: str, hidden: tuple[str, ...], widths: tuple[int, ...], scale: float
) -> None:
    given = problem(loss, hidden, widths, scale)
    module, (x, y) = peer(given), tensors(given)
    x.requires_grad_()
    signals: list[Any] = []  # z of each layer, and so dL_i/dz: the examples do not meet
    values = x
    for layer in module:
        values = layer(values)
        if isinstance(layer, torch.nn.Linear):
            values.retain_grad()
            signals.append(values)
    total = LOSSES[loss](values, y)
    total.backward()
    blame = given.model.blame(given.X, given.y)
    close("losses", blame.losses.sum(), total.item())
    close("inputs", blame.inputs, x.grad.numpy() * scale)
    linear = [layer for layer in module if isinstance(layer, torch.nn.Linear)]
    for i, (layer, signal) in enumerate(zip(linear, signals, strict=True)):
        close(f"nodes[{i}]", blame.nodes[i], signal.grad.numpy())
        close(f"weights[{i}]", blame.weights[i], layer.weight.grad.numpy().T / ROWS)
        close(f"biases[{i}]", blame.biases[i], layer.bias.grad.numpy() / ROWS)


@pytest.mark.parametrize(("loss", "hidden", "widths", "scale"), CASES)
def test_attributed_gradients_equal_those_of_jacrev(
    loss: str, hidden: tuple[str, ...], widths: tuple[int, ...], scale: float
) -> None:
    given = problem(loss, hidden, widths, scale)
    module = peer(given)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda x: module(x * scale)))
    want = jacobian(torch.tensor(given.X)).detach().numpy()  # (n, outputs, inputs)
    for target in range(widths[-1]):
        got = given.model.attribute(given.X, target=target, method="gradient")
        close(f"gradient of {target}", got.values, want[:, target])
        got = given.model.attribute(given.X, target=target, method="input_x_gradient")
        close(f"input x gradient of {target}", got.values, given.X * want[:, target])


# Opacus


@pytest.mark.filterwarnings("ignore")  # of its own and of torch's hooks
@pytest.mark.parametrize(("loss", "hidden", "widths", "scale"), CASES)
def test_gradient_norms_equal_those_of_opacus(
    loss: str, hidden: tuple[str, ...], widths: tuple[int, ...], scale: float
) -> None:
    opacus = pytest.importorskip("opacus", reason="Opacus is not installed: nothing to compare to")
    given = problem(loss, hidden, widths, scale)
    module, (x, y) = opacus.GradSampleModule(peer(given), loss_reduction="sum"), tensors(given)
    LOSSES[loss](module(x), y).backward()
    squares = sum(p.grad_sample.flatten(1).square().sum(1) for p in module.parameters())
    got = given.model.blame(given.X, given.y, want="gradient_norms").gradient_norms
    close("blame.gradient_norms", got, squares.sqrt().numpy())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("share", [0.25, 0.75, 100.0], ids=["most", "some", "none"])
@pytest.mark.parametrize(
    ("loss", "hidden", "widths", "scale"),
    [case for case in CASES if case[0] != "mse"] + [case for case in CASES if case[1] == ("mish",)],
)
def test_private_steps_without_noise_equal_those_of_opacus(
    loss: str, hidden: tuple[str, ...], widths: tuple[int, ...], scale: float, share: float
) -> None:
    """Bounds that shorten most of the gradients, some, and none; two steps of SGD.

    Opacus divides by the norm + 1e-6, culpa by the norm: of a loss that is 2^30 times larger, with
    a bound as much larger and a learning rate as much smaller, 1e-15 is left of that.
    """
    opacus = pytest.importorskip("opacus", reason="Opacus is not installed: nothing to compare to")
    given = problem(loss, hidden, widths, scale)
    norms = given.model.blame(given.X, given.y, want="gradient_norms").gradient_norms
    bound = float(np.quantile(norms, min(share, 1.0)) * max(share, 1.0))
    assert share == 100.0 or (norms > bound).any()

    module, (x, y) = opacus.GradSampleModule(peer(given), loss_reduction="sum"), tensors(given)
    optimizer = opacus.optimizers.DPOptimizer(
        torch.optim.SGD(module.parameters(), lr=0.5 / LARGE),
        noise_multiplier=0.0,
        max_grad_norm=bound * LARGE,
        expected_batch_size=ROWS,
        loss_reduction="mean",  # divides the sum by the expected batch size
    )
    for _ in range(2):
        optimizer.zero_grad()
        (LARGE * LOSSES[loss](module(x), y)).backward()
        optimizer.step()

    given.model.fit(
        given.X,
        given.y,
        epochs=2,
        batch_size=ROWS,
        optimizer=culpa.SGD(0.5),
        privacy=culpa.Privacy(0.0, bound, 1e-5, seed=0, sampling="shuffle"),
        verbose=False,
    )
    theirs = [p.detach().numpy().T for p in module.parameters()]
    before = itertools.chain.from_iterable(given.parameters)
    ours = given.model.state_dict()
    for name, mine, other, first in zip(ours, ours.values(), theirs, before, strict=True):
        error, size = np.abs(mine - other).max(), np.abs(other - first).max()
        assert error <= TOLERANCE * size + 1e-15, f"{name}: {error:.3g} of a change of {size:.3g}"


# Captum (integrated gradients and DeepLIFT with one baseline: tests/answers/test_attribution.py)

WIDTHS = [(7, 4, 3), (6, 1), (1, 1, 2)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("epsilon", [1e-6, 0.3])
@pytest.mark.parametrize("widths", [*WIDTHS, (3,)])
def test_relevance_equals_captums(widths: tuple[int, ...], epsilon: float) -> None:
    captum = pytest.importorskip("captum.attr", reason="Captum is not installed")
    rules = pytest.importorskip("captum.attr._utils.lrp_rules", reason="an older Captum")
    given = problem("mse", ("relu",) * (len(widths) - 1), widths, 1.0)
    module = peer(given)
    for target in range(widths[-1]):
        for layer in module:
            if isinstance(layer, torch.nn.Linear):
                layer.rule = rules.EpsilonRule(epsilon)
        x = torch.tensor(given.X, requires_grad=True)
        want = captum.LRP(module).attribute(x, target=target).detach().numpy()
        got = given.model.attribute(given.X, target=target, method="lrp", epsilon=epsilon)
        close(f"relevance for {target}", got.values, want)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("activation", ["relu", "tanh", "softplus"])
@pytest.mark.parametrize("widths", WIDTHS)
def test_deeplift_over_a_background_equals_captums(
    widths: tuple[int, ...], activation: str
) -> None:
    captum = pytest.importorskip("captum.attr", reason="Captum is not installed")
    given = problem("mse", (activation,) * (len(widths) - 1), widths, 1.0)
    background = np.random.default_rng(1).normal(size=(4, INPUTS))
    explain = captum.DeepLiftShap(peer(given))
    for target in range(widths[-1]):
        want = explain.attribute(torch.tensor(given.X), torch.tensor(background), target=target)
        got = given.model.attribute(
            given.X, target=target, method="deeplift", background=background
        )
        close(f"deeplift for {target}", got.values, want.detach().numpy())


@pytest.mark.filterwarnings("ignore")
def test_conductance_is_what_captums_tends_to() -> None:
    """Captum takes differences between the points of the path, culpa derivatives at them.

    For the last hidden layer, whose nodes' weights are the same all the way, the differences add up
    to what the derivatives do.
    """
    captum = pytest.importorskip("captum.attr", reason="Captum is not installed")
    given = problem("mse", ("tanh", "softplus"), (7, 4, 3), 1.0)
    module, x = peer(given), torch.tensor(given.X)
    got = given.model.attribute(given.X, target=1, method="conductance", steps=200)
    for i in range(2):
        explain = captum.LayerConductance(module, module[2 * i + 1])
        errors = []
        for steps in (1000, 4000):
            want = explain.attribute(x, x * 0, 1, n_steps=steps, method="riemann_trapezoid")
            errors.append(np.abs(got.nodes[i] - want.detach().numpy()).max())
        size = np.abs(got.nodes[i]).max()
        assert errors[1] < (1e-3 if i == 0 else TOLERANCE) * size
        assert i == 1 or errors[1] < 0.3 * errors[0]
