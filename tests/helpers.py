"""What several tests share: problems that culpa and the oracle both solve, and ways to run them."""

import dataclasses
import functools
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import culpa
import reference
from culpa import _core
from culpa.answers.blame import QUANTITIES
from culpa.parts.losses import Loss

# How far culpa may be from the oracle, as reference.relative_error of each array.
TOLERANCE = {"float64": 1e-10, "float32": 1e-4}
DTYPES = sorted(TOLERANCE)
ACTIVATIONS = sorted(reference.ACTIVATIONS)
KINKED_ACTIVATIONS = {"relu", "leaky_relu", "elu", "selu"}
KINK_MARGIN = 1e-3
PROGRAMS = Path(__file__).with_name("programs")  # run in fresh interpreters by some tests


class LossCase(NamedTuple):
    """A loss and the kind of targets it is tried with."""

    loss: Loss
    targets: str  # "labels", "probabilities", "binary", "counts", "positive", ...

    @property
    def options(self) -> dict[str, float]:
        """What the oracle calls the loss's parameter."""
        return dataclasses.asdict(self.loss)

    def __str__(self) -> str:
        return "-".join([self.loss.name, self.targets, *map(str, self.options.values())])


LOSSES = [
    LossCase(culpa.CrossEntropy(), "labels"),
    LossCase(culpa.CrossEntropy(0.1), "labels"),
    LossCase(culpa.CrossEntropy(), "probabilities"),
    LossCase(culpa.CrossEntropy(0.3), "probabilities"),
    LossCase(culpa.BinaryCrossEntropy(), "binary"),
    LossCase(culpa.MSE(), "real"),
    LossCase(culpa.MAE(), "real"),
    LossCase(culpa.Huber(), "real"),
    LossCase(culpa.Huber(0.25), "real"),
    LossCase(culpa.Huber(3.0), "real"),
    LossCase(culpa.Poisson(), "counts"),
    LossCase(culpa.Quantile(), "real"),
    LossCase(culpa.Quantile(0.1), "real"),
    LossCase(culpa.Quantile(0.9), "real"),
    LossCase(culpa.Gamma(), "positive"),
    LossCase(culpa.Tweedie(), "amounts"),
    LossCase(culpa.Tweedie(1.0), "counts"),
    LossCase(culpa.Tweedie(1.1), "amounts"),
    LossCase(culpa.Tweedie(2.0), "positive"),
    LossCase(culpa.Tweedie(3.0), "positive"),
]


@dataclasses.dataclass
class Problem:
    """A model, the same parameters for the oracle, and a batch of examples."""

    model: culpa.Sequential
    parameters: list[tuple[reference.Array, reference.Array]]
    activations: list[str]
    alphas: list[float | None]
    case: LossCase
    X: np.ndarray
    y: np.ndarray
    sample_weight: np.ndarray | None

    @functools.cached_property
    def walk(self) -> reference.Walk:
        """What the oracle says of the batch; its `inputs` are of the raw X."""
        scale = self.model.input_scale
        walk = reference.backpropagate(
            self.parameters,
            self.X * scale,
            self.y,
            self.activations,
            self.case.loss.name,
            self.case.options,
            self.alphas,
            self.sample_weight,
        )
        return dataclasses.replace(walk, inputs=walk.inputs * scale)

    def condition(self) -> float:
        """By how much rounding errors grow where the largest of an array's values is a small rest.

        Of a sum whose terms cancel, of a slope such as 1 - tanh^2 far out, of a loss near 0.
        """
        z, hiddens = reference.forward(
            self.parameters, self.X * self.model.input_scale, self.activations, self.alphas
        )
        losses, dh = reference.LOSSES[self.case.loss.name](hiddens[-1], self.y, **self.case.options)
        share = reference.batch_shares(len(self.X), self.sample_weight)
        ones = np.ones(1)
        pairs = [(ones, losses), (ones, dh * dh.shape[1])]  # terms, and what is left of them
        for layer, (W, b) in enumerate(self.parameters):
            h, delta = hiddens[layer], share[:, None] * self.walk.nodes[layer]
            pairs += [
                (np.abs(h) @ np.abs(W) + np.abs(b), z[layer]),
                (np.abs(h).T @ np.abs(delta), h.T @ delta),
                (np.abs(delta).sum(axis=0), delta.sum(axis=0)),
                (np.abs(delta) @ np.abs(W.T), delta @ W.T),
            ]
            if self.activations[layer] not in ("identity", "relu", "leaky_relu"):
                alpha = self.alphas[layer]
                if alpha is None:
                    alpha = reference.DEFAULT_ALPHA.get(self.activations[layer], 0.0)
                _, derivative = reference.ACTIVATIONS[self.activations[layer]]
                pairs.append((ones, derivative(z[layer], alpha)))
        return max(
            float(terms.max() / max(np.abs(rest).max(), 1e-300))
            for terms, rest in pairs
            if terms.any() and (rest.any() or terms is not ones)
        )


def rounded(array: Any) -> np.ndarray:
    """The nearest float32 values, as float64: both dtypes hold them exactly."""
    return np.asarray(array, dtype=np.float32).astype(np.float64)


def random_parameters(
    widths: Sequence[int], rng: np.random.Generator
) -> list[tuple[reference.Array, reference.Array]]:
    """Weights that keep the size of what they carry, and biases that are not zero."""
    return [
        (
            rounded(rng.normal(size=(m, n)) / np.sqrt(m)),
            rounded(rng.normal(scale=0.3, size=n)),
        )
        for m, n in itertools.pairwise(widths)
    ]


def state(parameters: reference.Parameters) -> dict[str, np.ndarray]:
    """Parameters under the names of state_dict."""
    return {
        f"dense_{i}.{name}": array
        for i, layer in enumerate(parameters)
        for name, array in zip(("weight", "bias"), layer, strict=True)
    }


def parameters_of(model: culpa.Sequential) -> list[tuple[reference.Array, reference.Array]]:
    """A model's weights and biases for the oracle."""
    return [
        (np.array(layer.weight, np.float64), np.array(layer.bias, np.float64))
        for layer in model.layers
        if not isinstance(layer, culpa.Dropout)
    ]


def make_model(
    parameters: reference.Parameters,
    activations: Sequence[str],
    loss: Loss | str,
    *,
    alphas: Sequence[float | None] | None = None,
    dropout: Sequence[float] | None = None,
    **options: Any,
) -> culpa.Sequential:
    """A model with these parameters; dropout[l] acts on what layer l reads, dropout[0] on X."""
    layers: list[culpa.Dense | culpa.Dropout] = []
    for i, (W, _) in enumerate(parameters):
        if dropout is not None and dropout[i]:
            layers.append(culpa.Dropout(dropout[i]))
        alpha = None if alphas is None else alphas[i]
        layers.append(culpa.Dense(W.shape[1], culpa.Activation(activations[i], alpha)))
    model = culpa.Sequential(layers, loss, input_size=len(parameters[0][0]), **options)
    model.load_state_dict(state(parameters))
    return model


def _block(units: int, inside: int, activation: str) -> culpa.Residual:
    return culpa.Residual(
        [culpa.LayerNorm(), culpa.Dense(inside, activation), culpa.Dropout(0.1), culpa.Dense(units)]
    )


# Layers of all kinds, for 5 inputs.
STACKS: dict[str, list[Any]] = {
    "scale": [culpa.Scale(), culpa.Dense(6, "silu"), culpa.Dense(3)],
    "norm": [culpa.Dense(6), culpa.LayerNorm(), culpa.Activation("relu"), culpa.Dense(3)],
    "residual": [
        culpa.Scale(),
        culpa.Dense(6, "relu"),
        _block(6, 7, "relu"),
        _block(6, 4, "tanh"),
        culpa.Activation("gelu"),
        culpa.Dense(3),
    ],
    "norm-first-and-last": [
        culpa.LayerNorm(),
        culpa.Dense(40, "tanh"),
        culpa.Dense(3, "gelu"),
        culpa.LayerNorm(),
    ],
    "residual-first-and-last": [
        culpa.Residual([culpa.Dense(5, "tanh"), culpa.Dense(5)]),
        culpa.Dense(2),
        _block(2, 3, "relu"),
    ],
    "nested": [
        culpa.Dense(4),
        culpa.Residual([culpa.Residual([culpa.Dense(4, "relu")]), culpa.Scale(), culpa.Dense(4)]),
        culpa.Scale(),
    ],
    "odd": [
        culpa.Dropout(0.5),
        culpa.Scale(),
        culpa.Scale(),
        culpa.Dropout(0.5),
        culpa.Dense(1, "tanh"),
        culpa.Activation("tanh"),
        culpa.Dropout(0.5),
        culpa.Activation("softplus"),
        culpa.Dense(2),
    ],
}


def shake(model: culpa.Sequential, seed: int = 0) -> culpa.Sequential:
    """Move every parameter of a model: gains, shifts and factors too."""
    rng = np.random.default_rng(seed)
    state = model.state_dict()
    model.load_state_dict(
        {name: value + 0.3 * rng.standard_normal(value.shape) for name, value in state.items()}
    )
    return model


def make_problem(
    widths: Sequence[int],
    activations: Sequence[str],
    case: LossCase,
    rows: int,
    dtype: str = "float64",
    *,
    seed: int = 0,
    weighted: bool = False,
    alphas: Sequence[float | None] | None = None,
    input_scale: float = 1.0,
) -> Problem:
    """A random problem that stays KINK_MARGIN away from every kink and is not ill-conditioned.

    (Where a sum cancels, no arithmetic keeps its relative error: at most to a hundredth here.)
    """
    for attempt in range(100):
        problem = _draw_problem(
            widths,
            activations,
            case,
            rows,
            dtype,
            seed + 1000 * attempt,
            weighted,
            alphas,
            input_scale,
        )
        if problem is not None and problem.condition() < 100:
            return problem
    raise AssertionError("no such problem was found")


def _draw_problem(
    widths: Sequence[int],
    activations: Sequence[str],
    case: LossCase,
    rows: int,
    dtype: str,
    seed: int,
    weighted: bool,
    alphas: Sequence[float | None] | None,
    input_scale: float,
) -> Problem | None:
    rng = np.random.default_rng(seed)
    activations = list(activations)
    alphas = [None] * len(activations) if alphas is None else list(alphas)
    parameters = random_parameters(widths, rng)
    X = np.empty((rows, widths[0]))
    outputs = np.empty((rows, widths[-1]))
    todo = np.arange(rows)
    for _ in range(100):
        X[todo] = rounded(rng.normal(size=(len(todo), widths[0])) / input_scale)
        z, h = reference.forward(parameters, X[todo] * input_scale, activations, alphas)
        outputs[todo] = h[-1]
        near = np.zeros(len(todo), bool)
        for layer, name in enumerate(activations):
            if name in KINKED_ACTIVATIONS:
                near |= (np.abs(z[layer]) < KINK_MARGIN).any(axis=1)
        todo = todo[near]
        if not todo.size:
            break
    else:
        return None  # a dead layer may leave the next at a kink whatever X is
    y = draw_targets(case, outputs, rng)
    if widths[-1] == 1 and y.ndim == 2 and seed % 2 and case.targets != "probabilities":
        y = y[:, 0]
    sample_weight = None
    if weighted:
        sample_weight = rng.uniform(0.25, 2.0, rows)
        if rows > 2:
            sample_weight[rows // 2] = 0.0
    model = make_model(
        parameters, activations, case.loss, alphas=alphas, dtype=dtype, input_scale=input_scale
    )
    return Problem(model, parameters, activations, alphas, case, X, y, sample_weight)


def draw_targets(case: LossCase, outputs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    n, m = outputs.shape
    match case.targets:
        case "labels":
            return rng.integers(0, m, n)
        case "probabilities":
            return rounded(rng.dirichlet(np.ones(m), n))
        case "binary":
            hard = rng.integers(0, 2, (n, m)).astype(np.float64)
            return rounded(np.where(rng.random((n, m)) < 0.2, rng.random((n, m)), hard))
        case "counts":
            return rng.poisson(1.5, (n, m)).astype(np.float64)
        case "positive":
            return rounded(rng.gamma(2.0, 0.7, (n, m)) + 0.05)
        case "amounts":  # of which some are 0
            return rounded(rng.poisson(1.5, (n, m)) * rng.gamma(2.0, 0.5, (n, m)))
    kinks = np.array([0.0, case.options.get("delta", 0.0)])
    residual = rng.normal(size=(n, m))
    for _ in range(1000):
        distance = np.abs(np.abs(residual)[..., None] - kinks).min(axis=-1)
        near = distance < 2 * KINK_MARGIN
        if not near.any():
            break
        residual[near] = rng.normal(size=int(near.sum()))
    return rounded(outputs - residual)


def assert_close(what: str, got: Any, want: Any, tolerance: float) -> None:
    """Compare by reference.relative_error, and say which array and by how much."""
    error = reference.relative_error(got, want)
    assert error <= tolerance, f"{what}: error {error:.3g}, allowed {tolerance:g}"


def assert_all_blame_agrees(problem: Problem, where: str = "") -> None:
    """Everything that blame, loss_and_gradients and predict_logits give equals the oracle's."""
    model, X, y, w = problem.model, problem.X, problem.y, problem.sample_weight
    tolerance = TOLERANCE[model.dtype]
    walk = problem.walk
    blame = model.blame(X, y, sample_weight=w, want=QUANTITIES)
    assert_close(f"{where} logits", model.predict_logits(X), walk.outputs, tolerance)
    assert_close(f"{where} losses", blame.losses, walk.losses, tolerance)
    assert_close(f"{where} inputs", blame.inputs, walk.inputs, tolerance)
    assert_close(f"{where} gradient norms", blame.gradient_norms, walk.gradient_norms, tolerance)
    loss, gradients = model.loss_and_gradients(X, y, sample_weight=w)
    assert_close(f"{where} loss", loss, walk.loss, tolerance)
    for i in range(len(problem.parameters)):
        for name in ("nodes", "hidden", "slopes"):
            got, want = getattr(blame, name)[i], getattr(walk, name)[i]
            assert_close(f"{where} {name}[{i}]", got, want, tolerance)
            assert got.dtype == model.dtype
        assert_close(f"{where} weights[{i}]", blame.weights[i], walk.weights[i], tolerance)
        assert_close(f"{where} biases[{i}]", blame.biases[i], walk.biases[i], tolerance)
        assert np.array_equal(gradients[f"dense_{i}.weight"], blame.weights[i])
        assert np.array_equal(gradients[f"dense_{i}.bias"], blame.biases[i])
    assert np.array_equal(model.predict_logits(X), blame.hidden[-1], equal_nan=True)
    assert_evaluation_agrees(problem, walk, where)


def assert_evaluation_agrees(problem: Problem, walk: reference.Walk, where: str = "") -> None:
    """The loss of evaluate is the oracle's, its metric what the definition makes of the logits."""
    model = problem.model
    outputs = model.predict_logits(problem.X).astype(np.float64)
    tolerance = TOLERANCE[model.dtype]
    got = model.evaluate(problem.X, problem.y, sample_weight=problem.sample_weight)
    assert_close(f"{where} evaluated loss", got["loss"], walk.loss, tolerance)
    share = reference.batch_shares(len(outputs), problem.sample_weight)
    if problem.case.targets == "labels":
        metric, right = "accuracy", outputs.argmax(axis=1) == problem.y
    elif problem.case.targets == "probabilities":
        metric, right = "accuracy", outputs.argmax(axis=1) == problem.y.argmax(axis=1)
    elif problem.case.targets == "binary":
        y = problem.y.reshape(outputs.shape)
        metric, right = "accuracy", ((outputs > 0) == (y > 0.5)).mean(axis=1)
    else:
        y = problem.y.reshape(outputs.shape)
        guess = np.exp(outputs) if problem.case.loss.link == "log" else outputs
        total = share @ (y - share @ y) ** 2
        if not (total > 1e-20).all():
            return  # r2 has no value where the targets do not vary
        missed = float(np.mean(share @ (y - guess) ** 2 / total))
        assert abs(got["r2"] - (1.0 - missed)) <= tolerance * max(1.0, missed), f"{where} r2"
        return
    assert abs(got[metric] - share @ right) <= 1e-12, f"{where} {metric}"


@contextmanager
def plan(threads: int, split: str = "rows") -> Iterator[None]:
    """Exactly so many threads, sharing the rows or the columns, until the block ends."""
    before = culpa.get_num_threads()
    culpa.set_num_threads(threads)
    _core.force_plan(threads, split)
    try:
        yield
    finally:
        _core.force_plan(0)
        culpa.set_num_threads(before)


def parameter_bytes(model: culpa.Sequential) -> bytes:
    """Every bit of the weights and biases."""
    return b"".join(array.tobytes() for array in model.state_dict().values())


def dropout_masks(
    model: culpa.Sequential, rows: int, step: int, first_row: int = 0
) -> list[np.ndarray | None]:
    """The oracle's masks of one batch, rebuilt from what csrc/random.h says of the counters.

    key = seed; counter = (unit // 4, row of the batch, step, purpose << 24 | matrix << 12), with
    purpose 3, and matrix 0 for the inputs, l for what layer l - 1 gives. A unit takes word
    unit % 4, and stays where that is at least rate * 2^32.
    """
    key = np.array([model.seed & 0xFFFFFFFF, model.seed >> 32], dtype=np.uint32)
    masks: list[np.ndarray | None] = []
    rate, width = 0.0, model.input_size
    assert width is not None
    for layer in model.layers:
        if isinstance(layer, culpa.Dropout):
            rate = layer.rate
            continue
        if rate == 0.0:
            masks.append(None)
        else:
            counter = np.zeros((rows, -(-width // 4), 4), dtype=np.uint32)
            counter[..., 0] = np.arange(counter.shape[1])
            counter[..., 1] = first_row + np.arange(rows)[:, None]
            counter[..., 2] = step
            counter[..., 3] = 3 << 24 | len(masks) << 12
            words = reference.philox(counter, key).reshape(rows, -1)[:, :width]
            masks.append((words >= int(rate * 2**32)) * (1.0 / (1.0 - rate)))
        rate, width = 0.0, layer.units
    return masks


def run_program(
    name: str,
    *arguments: object,
    timeout: float = 900,
    text: str | None = None,
    **environment: str | None,
) -> subprocess.CompletedProcess[str]:
    """Run a program of tests/programs that reads `text`; a variable of None is left out."""
    return _run(command(name, *arguments), timeout, text, environment)


def last_json_of(
    name: str, *arguments: object, timeout: float = 900, **environment: str | None
) -> Any:
    """Run a program of tests/programs; return what it prints last, read as JSON."""
    return _read_last_line(run_program(name, *arguments, timeout=timeout, **environment))


def command(name: str, *arguments: object) -> list[str]:
    """The words that start a program of tests/programs in a fresh interpreter."""
    return [sys.executable, str(PROGRAMS / name), *map(str, arguments)]


def run_python(code: str, **environment: str | None) -> subprocess.CompletedProcess[str]:
    """Run a line or two in a fresh interpreter; what is longer is a file in tests/programs."""
    return _run([sys.executable, "-c", code], 900, None, environment)


def last_json(code: str, **environment: str | None) -> Any:
    """Run a line or two in a fresh interpreter; return what it prints last, read as JSON."""
    return _read_last_line(run_python(code, **environment))


def _run(
    words: list[str], timeout: float, text: str | None, environment: dict[str, str | None]
) -> subprocess.CompletedProcess[str]:
    path = filter(None, [str(PROGRAMS.parent), os.environ.get("PYTHONPATH")])
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(path), **environment}
    return subprocess.run(
        words,
        env={name: value for name, value in variables.items() if value is not None},
        input=text,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def _read_last_line(ran: subprocess.CompletedProcess[str]) -> Any:
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])
