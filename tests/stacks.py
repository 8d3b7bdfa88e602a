"""Random stacks of stages, and problems with them that culpa and the oracle both solve."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st

import culpa
import helpers
import reference
import reference_stages as oracle
from helpers import KINK_MARGIN, KINKED_ACTIVATIONS, LossCase, rounded
from reference_stages import Array, Stage, Stages

WIDTHS = [1, 2, 3, 5, 8, 15, 16, 17, 31, 32, 33, 40, 63, 64, 65]
LARGEST_CONDITION = 100.0
EVERYTHING = ("losses", "nodes", "inputs", "weights", "gradient_norms", "hidden", "slopes")
STRAIGHT = {"identity", "relu", "leaky_relu"}  # activations whose slopes are not rounded

# --- Stages without numbers ----------------------------------------------------------------------


def dense(inputs: int, units: int, activation: str = "identity", **options: Any) -> oracle.Dense:
    return oracle.Dense(np.zeros((inputs, units)), np.zeros(units), activation, **options)


def scale(inputs: int, **options: Any) -> oracle.Scale:
    return oracle.Scale(np.ones(inputs), **options)


def norm(inputs: int, epsilon: float = 1e-5, **options: Any) -> oracle.LayerNorm:
    return oracle.LayerNorm(np.ones(inputs), np.zeros(inputs), epsilon, **options)


def with_random_numbers(stages: Stages, rng: np.random.Generator) -> list[Stage]:
    """Weights that keep the size of what they carry; shifts, gains and factors of either sign."""
    values = {}
    for name, like in oracle.arrays(stages).items():
        match name.split(".")[1]:
            case "weight":
                value = rng.normal(size=like.shape) / np.sqrt(len(like))
            case "bias" | "shift":
                value = rng.normal(scale=0.3, size=like.shape)
            case _:
                value = rng.uniform(0.5, 1.5, like.shape) * rng.choice([-1.0, 1.0], like.shape)
        values[name] = rounded(value)
    return oracle.with_arrays(stages, values)


@st.composite
def stacks(
    draw: st.DrawFn,
    *,
    widths: Sequence[int] = WIDTHS,
    dropout: bool = False,
    factors: bool = False,
) -> list[Stage]:
    """Any kinds in any order, one Dense at least; Residual to two levels, its first stage any."""
    inputs = draw(st.sampled_from(widths))
    stages, width = _draw_branch(draw, inputs, widths, dropout, factors, depth=2)
    if not any(isinstance(stage, oracle.Dense) for stage in oracle.each(stages)):
        stages.append(dense(width, draw(st.sampled_from(widths))))
    return stages[:-1] if isinstance(stages[-1], oracle.Dropout) else stages


def _draw_branch(
    draw: st.DrawFn, width: int, widths: Sequence[int], dropout: bool, factors: bool, depth: int
) -> tuple[list[Stage], int]:
    """Return one to four stages that read `width` numbers, and how many the last one gives."""
    stages: list[Stage] = []
    for _ in range(draw(st.integers(1, 4))):
        kinds = ["dense", "dense", "scale", "activation", "layer_norm"]
        kinds += ["residual"] * (depth > 0)
        kinds += ["dropout"] * (dropout and not (stages and isinstance(stages[-1], oracle.Dropout)))
        match draw(st.sampled_from(kinds)):
            case "dense":
                units = draw(st.sampled_from(widths))
                name, alpha = draw(activations())
                given = _draw_factors(draw, 2, factors)
                stages.append(dense(width, units, name, alpha=alpha, factors=given))
                width = units
            case "scale":
                stages.append(scale(width, factors=_draw_factors(draw, 1, factors)))
            case "activation":
                stages.append(oracle.Activation(*draw(activations())))
            case "layer_norm":
                # Two normalised numbers say little but which is larger: where epsilon is small,
                # what is left of their gradient is rounding.
                epsilon = 0.5 if width == 2 else draw(st.sampled_from([1e-5, 1e-3]))
                stages.append(norm(width, epsilon, factors=_draw_factors(draw, 2, factors)))
            case "dropout":
                stages.append(oracle.Dropout(draw(st.sampled_from([0.2, 0.5]))))
            case "residual":
                inner, end = _draw_branch(draw, width, widths, dropout, factors, depth - 1)
                if end != width or all(isinstance(stage, oracle.Dropout) for stage in inner):
                    inner.append(dense(end, width))
                stages.append(oracle.Residual(inner))
    return stages, width


@st.composite
def activations(draw: st.DrawFn) -> tuple[str, float | None]:
    name = draw(st.sampled_from(helpers.ACTIVATIONS))
    takes_alpha = name in reference.DEFAULT_ALPHA
    return name, draw(st.sampled_from([None, 0.3])) if takes_alpha else None


def _draw_factors(draw: st.DrawFn, arrays: int, wanted: bool) -> tuple[float, ...]:
    if not wanted:
        return ()
    return tuple(draw(st.sampled_from([0.0, 0.25, 1.0, 3.0])) for _ in range(arrays))


def input_size(stages: Stages) -> int:
    """How many numbers the first array that counts them says that the stack reads."""
    return len(next(iter(oracle.arrays(stages).values())))


def output_size(stages: Stages) -> int:
    return oracle.forward(stages, np.zeros((1, input_size(stages)))).shape[1]


# --- The same network in culpa -------------------------------------------------------------------


def layers_of(stages: Stages) -> list[Any]:
    """The layers that culpa.Sequential takes."""
    return [_layer_of(stage) for stage in stages]


def _layer_of(stage: Stage) -> Any:
    factors: Any = stage.factors or 1.0
    match stage:
        case oracle.Dense():
            activation = culpa.Activation(stage.activation, stage.alpha)
            return culpa.Dense(len(stage.bias), activation, learning_rate_factor=factors)
        case oracle.Scale():
            return culpa.Scale(learning_rate_factor=factors[0] if stage.factors else 1.0)
        case oracle.Activation():
            return culpa.Activation(stage.name, stage.alpha)
        case oracle.Dropout():
            return culpa.Dropout(stage.rate)
        case oracle.LayerNorm():
            return culpa.LayerNorm(stage.epsilon, learning_rate_factor=factors)
        case oracle.Residual():
            return culpa.Residual(layers_of(stage.stages))
    raise TypeError(stage)


def make_model(stages: Stages, loss: Any, **options: Any) -> culpa.Sequential:
    """A model with these stages and their numbers."""
    options = {"dtype": "float64", **options}
    model = culpa.Sequential(layers_of(stages), loss, input_size=input_size(stages), **options)
    model.load_state_dict(oracle.arrays(stages))
    return model


# --- Problems ------------------------------------------------------------------------------------


@dataclass
class StageProblem:
    """A network with its numbers, and a batch of examples."""

    stages: list[Stage]
    case: LossCase
    X: np.ndarray
    y: np.ndarray
    sample_weight: np.ndarray | None
    dtype: str = "float64"
    input_scale: float = 1.0

    def model(self, **options: Any) -> culpa.Sequential:
        options = {"dtype": self.dtype, "input_scale": self.input_scale, **options}
        return make_model(self.stages, self.case.loss, **options)

    def walk_of(self, stages: Stages) -> oracle.Walk:
        """One batch through other stages; its `inputs` are of the scaled X."""
        return oracle.backpropagate(
            stages,
            self.X * self.input_scale,
            self.y,
            self.case.loss.name,
            self.case.options,
            self.sample_weight,
        )

    @functools.cached_property
    def walk(self) -> oracle.Walk:
        return self.walk_of(self.stages)

    @functools.cached_property
    def answers(self) -> dict[str, Array]:
        """What the oracle says of the batch, the `inputs` of the raw X."""
        found = answers_of(self.walk)
        return found | {"inputs": found["inputs"] * self.input_scale}

    def condition(self, size: float = 1e-9) -> float:
        """By how much rounding errors grow, in any answer's relative error: measured by some."""
        want = answers_of(self.walk)
        worst = 0.0
        for seed in range(2):
            rng = np.random.default_rng(seed)
            walk = self.walk_of(shaken(self.stages, rng, size))
            for name, got in answers_of(walk).items():
                # Of shaken stages a layer and its activation are two; nodes tell of slopes.
                if not name.startswith(("hidden", "slopes")) and (got.any() or want[name].any()):
                    worst = max(worst, reference.relative_error(got, want[name]) / size)
        return worst


def answers_of(walk: oracle.Walk) -> dict[str, Array]:
    """All that the oracle's walk says, by name."""
    found = {
        "outputs": walk.outputs,
        "losses": walk.losses,
        "loss": np.array(walk.loss),
        "inputs": walk.inputs,
        "gradient_norms": walk.gradient_norms,
    }
    for name in ("nodes", "hidden", "slopes", "weights", "biases"):
        found |= {f"{name}[{i}]": array for i, array in enumerate(getattr(walk, name))}
    return found | {f"gradients[{name}]": array for name, array in walk.gradients.items()}


def answers_of_model(
    model: culpa.Sequential, X: Any, y: Any, sample_weight: Any = None
) -> dict[str, np.ndarray]:
    """The same names from culpa, where both ways to the gradients have to give the same bits."""
    blame = model.blame(X, y, sample_weight=sample_weight, want=EVERYTHING)
    loss, gradients = model.loss_and_gradients(X, y, sample_weight=sample_weight)
    assert list(gradients) == list(blame.gradients) == list(model.state_dict())
    for name, gradient in gradients.items():
        np.testing.assert_array_equal(gradient, blame.gradients[name], name)
    found = {
        "outputs": model.predict_logits(X),
        "losses": blame.losses,
        "loss": np.array(loss),
        "inputs": blame.inputs,
        "gradient_norms": blame.gradient_norms,
    }
    for name in ("nodes", "hidden", "slopes", "weights", "biases"):
        found |= {f"{name}[{i}]": array for i, array in enumerate(getattr(blame, name))}
    return found | {f"gradients[{name}]": array for name, array in gradients.items()}


def assert_same_bits(got: dict[str, np.ndarray], want: dict[str, np.ndarray]) -> None:
    assert list(got) == list(want)
    for name, array in want.items():
        np.testing.assert_array_equal(got[name], array, name)


@dataclass(frozen=True, eq=False)
class Shaken(Stage):
    """What passes, forward and back, times 1 + a random number of that size."""

    rng: np.random.Generator
    size: float

    def forward(self, x: Array) -> Array:
        return x * (1.0 + self.size * self.rng.normal(size=x.shape))

    def backward(self, x: Array, dy: Array) -> tuple[Array, list[Array]]:
        return self.forward(dy), []


@dataclass(frozen=True, eq=False)
class ShakenActivation(oracle.Activation):
    """Its slope, such as 1 - tanh^2, has an error relative to 1."""

    rng: np.random.Generator = field(kw_only=True)
    size: float = field(kw_only=True)

    def backward(self, x: Array, dy: Array) -> tuple[Array, list[Array]]:
        dx, none = super().backward(x, dy)
        if self.name in STRAIGHT:
            return dx, none
        return dx + dy * self.size * self.rng.normal(size=dy.shape), none


def shaken(stages: Stages, rng: np.random.Generator, size: float) -> list[Stage]:
    """The same network, with an error of that relative size in all that it carries."""
    around: Stage = Shaken(rng, size)
    found = [around]
    for stage in stages:
        match stage:
            case oracle.Dense():
                linear = oracle.Dense(stage.weight, stage.bias)
                name, alpha = stage.activation, stage.alpha
                found += [linear, around, ShakenActivation(name, alpha, rng=rng, size=size)]
            case oracle.Activation():
                found.append(ShakenActivation(stage.name, stage.alpha, rng=rng, size=size))
            case oracle.Residual():
                found.append(oracle.Residual(shaken(stage.stages, rng, size)))
            case _:
                found.append(stage)
        found.append(around)
    return found


def near_kinks(stages: Stages, X: Array) -> np.ndarray:
    """Which rows (n,) come near a kink anywhere, where rounding may decide the slope.

    On it is not near it: a value of exactly 0 comes from a relu before and is 0 in any arithmetic.
    """
    near = np.zeros(len(X), bool)
    for stage, x in oracle.reads(stages, X):
        name, z = "", x
        if isinstance(stage, oracle.Dense):
            name, z = stage.activation, stage.pre_activation(x)
        elif isinstance(stage, oracle.Activation):
            name = stage.name
        if name in KINKED_ACTIVATIONS:
            near |= ((z != 0.0) & (np.abs(z) < KINK_MARGIN)).any(axis=1)
    return near


def find_problem(
    stages: Stages,
    case: LossCase,
    rows: int,
    dtype: str = "float64",
    *,
    seed: int = 0,
    weighted: bool = False,
    input_scale: float = 1.0,
    density: float = 1.0,
) -> StageProblem | None:
    """A random problem that stays KINK_MARGIN away from every kink and is not ill-conditioned.

    The stages give kinds and shapes; their numbers are drawn. None where no draw is such a problem.
    """
    for attempt in range(20):
        rng = np.random.default_rng([seed, attempt])
        numbered = with_random_numbers(stages, rng)
        X = _draw_inputs(numbered, rows, rng, input_scale, density)
        if X is None:
            continue
        y = helpers.draw_targets(case, oracle.forward(numbered, X * input_scale), rng)
        weight = rng.uniform(0.25, 2.0, rows) if weighted else None
        if weight is not None and rows > 2:
            weight[rows // 2] = 0.0
        problem = StageProblem(numbered, case, X, y, weight, dtype, input_scale)
        if problem.condition() < LARGEST_CONDITION:
            return problem
    return None


def make_problem(*arguments: Any, **options: Any) -> StageProblem:
    """The same for stages that have such a problem."""
    problem = find_problem(*arguments, **options)
    assert problem is not None, "no such problem was found"
    return problem


@st.composite
def problems(
    draw: st.DrawFn, cases: Sequence[LossCase] = helpers.LOSSES, **options: Any
) -> StageProblem:
    """Any stack with any loss and a batch of up to 40 rows; options as of `stacks`."""
    stages = draw(stacks(**options))
    single = output_size(stages) == 1  # probabilities of one class are always 1
    fitting = [case for case in cases if not (single and case.targets == "probabilities")]
    problem = find_problem(
        stages,
        draw(st.sampled_from(fitting)),
        draw(st.integers(1, 40)),
        draw(st.sampled_from(helpers.DTYPES)),
        seed=draw(st.integers(0, 99)),
        weighted=draw(st.booleans()),
        input_scale=draw(st.sampled_from([1.0, 1 / 255, -2.5])),
    )
    return reject() if problem is None else problem


def _draw_inputs(
    stages: Stages, rows: int, rng: np.random.Generator, input_scale: float, density: float
) -> np.ndarray | None:
    """Rows (rows, inputs) away from kinks, part of their entries not 0; None where all are near."""
    X = np.empty((rows, input_size(stages)))
    todo = np.arange(rows)
    for _ in range(30):
        drawn = rng.normal(size=(len(todo), X.shape[1])) / input_scale
        X[todo] = rounded(np.where(rng.random(drawn.shape) < density, drawn, 0.0))
        todo = todo[near_kinks(stages, X[todo] * input_scale)]
        if not todo.size:
            return X
    return None
