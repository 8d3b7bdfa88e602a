"""The oracle of attributions: every method as its paper has it, in plain float64 NumPy."""

import itertools
from typing import Any

import numpy as np

import helpers
import reference

Array = reference.Array
MSE = helpers.LOSSES[5]
METHODS = (
    "gradient",
    "input_x_gradient",
    "integrated_gradients",
    "expected_gradients",
    "smooth_grad",
    "deeplift",
    "lrp",
    "conductance",
)
RULES = ("gauss_legendre", "riemann")
PURPOSE = 6  # of the random numbers, in csrc/random.h


def make(widths: Any, activations: Any, rows: int, case: Any = MSE, **changes: Any) -> Any:
    """A problem, and an output to explain for each of its rows."""
    problem = helpers.make_problem(widths, activations, case, rows, **changes)
    target = np.random.default_rng(5).integers(0, widths[-1], rows)
    return problem, target


def smooth(widths: Any, rows: int, **changes: Any) -> Any:
    """A problem without kinks: steps of the oracle and of culpa could fall on two sides of one."""
    hidden = itertools.cycle(["tanh", "gelu", "softplus", "silu"])
    activations = [next(hidden) for _ in widths[2:]] + ["identity"]
    return make(widths, activations, rows, **changes)


def options(method: str, inputs: int) -> dict[str, Any]:
    """What a method cannot do without, for inputs of size about 1."""
    if method == "expected_gradients":
        rng = np.random.default_rng(11)
        return {"background": helpers.rounded(rng.normal(size=(7, inputs))), "samples": 5}
    if method == "smooth_grad":
        return {"noise": np.linspace(0.0, 0.5, inputs), "samples": 5}
    return {}


def forward(problem: helpers.Problem, X: Any) -> tuple[list[Array], list[Array]]:
    """z of every layer, and the inputs (scaled) with h of every layer."""
    scaled = np.asarray(X, dtype=np.float64) * problem.model.input_scale
    return reference.forward(problem.parameters, scaled, problem.activations, problem.alphas)


def oracle_outputs(problem: helpers.Problem, X: Any) -> Array:
    return forward(problem, X)[1][-1]


def slopes(problem: helpers.Problem, z: list[Array]) -> list[Array]:
    """f'(z) of every layer."""
    result = []
    for name, alpha, values in zip(problem.activations, problem.alphas, z, strict=True):
        _, derivative = reference.ACTIVATIONS[name]
        default = reference.DEFAULT_ALPHA.get(name, 0.0)
        result.append(derivative(values, default if alpha is None else alpha))
    return result


def chosen(shape: tuple[int, ...], target: Any) -> Array:
    """1 at each row's target, (n, outputs)."""
    one = np.zeros(shape)
    one[np.arange(len(one)), target] = 1.0
    return one


def chain_rule(problem: helpers.Problem, factors: list[Array], target: Any) -> Array:
    """d output[target] / d scaled inputs, whose activations have these slopes."""
    dh = chosen(factors[-1].shape, target)
    for (weight, _), factor in zip(problem.parameters[::-1], factors[::-1], strict=True):
        dh = (dh * factor) @ weight.T
    return dh


def oracle_gradient(problem: helpers.Problem, X: Any, target: Any) -> Array:
    """d output[target] / dX of the raw X, (n, inputs): the chain rule as the textbook has it."""
    z, _ = forward(problem, X)
    return chain_rule(problem, slopes(problem, z), target) * problem.model.input_scale


def oracle_deeplift(problem: helpers.Problem, X: Any, target: Any, baseline: Any) -> Array:
    """The chain rule with differences from the baseline in place of slopes, (n, inputs)."""
    X, baseline = np.broadcast_arrays(X, baseline)
    (z, h), (z_base, h_base) = forward(problem, X), forward(problem, baseline)
    quotients = [
        (h[layer + 1] - h_base[layer + 1]) / (z[layer] - z_base[layer]) for layer in range(len(z))
    ]
    return chain_rule(problem, quotients, target) * problem.model.input_scale * (X - baseline)


def oracle_path(rule: str, steps: int) -> tuple[Any, Any]:
    if rule == "riemann":
        return [(k + 0.5) / steps for k in range(steps)], [1 / steps] * steps
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return 0.5 + 0.5 * nodes, 0.5 * weights


def oracle_lrp(
    problem: helpers.Problem, X: Any, target: Any, epsilon: float
) -> tuple[Array, Array]:
    """Bach et al. 2015, message by message: R_ij = h_i w_ij R_j / (z_j + epsilon sign(z_j)).

    Returns the inputs' relevance (n, inputs) and what biases and epsilon absorbed (n,).
    """
    z, h = forward(problem, X)
    relevance = h[-1] * chosen(h[-1].shape, target)
    absorbed = np.zeros(len(relevance))
    for layer in reversed(range(len(z))):
        weight, bias = problem.parameters[layer]
        stabiliser = np.where(z[layer] >= 0, epsilon, -epsilon)
        share = relevance / (z[layer] + stabiliser)
        absorbed += ((bias + stabiliser) * share).sum(axis=1)
        messages = h[layer][:, :, None] * weight * share[:, None, :]  # (n, inputs, outputs)
        relevance = messages.sum(axis=2)
    return relevance, absorbed


def oracle_conductance(
    problem: helpers.Problem,
    X: Any,
    target: Any,
    baseline: Any = 0.0,
    steps: int = 50,
    rule: str = "gauss_legendre",
) -> list[Array]:
    """Dhamdhere et al. 2018, equation 2: the sum over inputs of (x - b) * df/dh_j dh_j/dx_i.

    With the whole Jacobian dh/dx of every hidden layer, (n, inputs, units).
    """
    X, baseline = np.broadcast_arrays(np.asarray(X, dtype=np.float64), baseline)
    hidden = len(problem.parameters) - 1
    total = [np.zeros((len(X), problem.parameters[layer][0].shape[1])) for layer in range(hidden)]
    for point, share in zip(*oracle_path(rule, steps), strict=True):
        z, h = forward(problem, baseline + point * (X - baseline))
        factors = slopes(problem, z)
        above = [chosen(h[-1].shape, target)]  # df/dh of every layer, last first
        for (weight, _), factor in zip(problem.parameters[:0:-1], factors[:0:-1], strict=True):
            above.append((above[-1] * factor) @ weight.T)
        jacobian = np.broadcast_to(
            np.eye(X.shape[1]) * problem.model.input_scale, (len(X), X.shape[1], X.shape[1])
        )
        for layer in range(hidden):
            jacobian = (jacobian @ problem.parameters[layer][0]) * factors[layer][:, None, :]
            moves = ((X - baseline)[:, :, None] * jacobian).sum(axis=1)
            total[layer] += share * above[hidden - layer] * moves
    return total


def philox(seed: int, row: int, counters: int, member: int) -> Any:
    """Words (counters, 4) of a row's stream."""
    counter = np.zeros((counters, 4), dtype=np.uint32)
    counter[:, 0] = np.arange(counters)
    counter[:, 2] = row
    counter[:, 3] = PURPOSE << 24 | member
    key = np.array([seed & 0xFFFFFFFF, seed >> 32], dtype=np.uint32)
    return reference.philox(counter, key)


def draws(seed: int, row: int, samples: int, baselines: int) -> list[tuple[int, float]]:
    """A baseline and a point for each sample of expected gradients."""
    words = philox(seed, row, samples + 20, 0).astype(object)
    stream = iter([w for c in words for w in (c[0] | c[1] << 32, c[2] | c[3] << 32)])

    def below(n: int) -> int:
        """Lemire 2019: the upper half of a product, unless its lower half is among the odd ones."""
        while True:
            product = next(stream) * n
            if product % 2**64 >= 2**64 % n:
                return product >> 64

    return [(below(baselines), (next(stream) >> 11) / 2**53) for _ in range(samples)]


def normals(seed: int, row: int, count: int, dtype: str) -> Array:
    """Standard normal numbers of a row's stream (Box & Muller 1958), as kernels/noise.inc has them.

    32 counters make a block of x in its first half and y in its second: words 0 and 1 are radii,
    words 2 and 3 angles, of 32 bits each (float32) or joined to one of 64 (float64).
    """
    per_block = 128 if dtype == "float32" else 64
    words = philox(seed, row, 32 * -(-count // per_block), 1).astype(np.uint64)
    if dtype == "float32":
        radius, angle, bits = words[:, :2].ravel(), words[:, 2:].ravel(), 32
        fraction = lambda b: ((b >> np.uint64(1)) + 0.5) / 2**31  # noqa: E731
    else:
        join = lambda low, high: low | high << np.uint64(32)  # noqa: E731
        radius, angle, bits = join(words[:, 0], words[:, 1]), join(words[:, 2], words[:, 3]), 64
        fraction = lambda b: ((b >> np.uint64(12)) + 0.5) / 2**52  # noqa: E731
    kept = np.uint64(2**bits - 1)
    turn = fraction((angle << np.uint64(2)) & kept) * np.pi / 2 - np.pi / 4
    swap = (angle >> np.uint64(bits - 1)) & np.uint64(1) == 1
    sign = np.where((angle >> np.uint64(bits - 2)) & np.uint64(1) == 1, -1.0, 1.0)
    length = np.sqrt(-2 * np.log(fraction(radius))) * sign
    x = length * np.where(swap, np.sin(turn), np.cos(turn))
    y = length * np.where(swap, np.cos(turn), np.sin(turn))
    half = per_block // 2
    return np.hstack([x.reshape(-1, half), y.reshape(-1, half)]).ravel()[:count]


def oracle(
    problem: helpers.Problem,
    X: Array,
    target: Any,
    method: str,
    baseline: Any = 0.0,
    steps: int = 50,
    rule: str = "gauss_legendre",
    background: Any = None,
    samples: int = 50,
    noise: Any = None,
    seed: int = 0,
    epsilon: float = 1e-6,
) -> Array:
    """The attributions (n, inputs) of a method, with culpa's own random numbers."""
    n, inputs = X.shape
    if method == "gradient":
        return oracle_gradient(problem, X, target)
    if method == "input_x_gradient":
        return X * oracle_gradient(problem, X, target)
    if method == "lrp":
        return oracle_lrp(problem, X, target, epsilon)[0]
    total = np.zeros_like(X, dtype=np.float64)
    if method == "smooth_grad":
        shape = (samples, inputs)
        dtype = problem.model.dtype
        drawn = [normals(seed, i, samples * inputs, dtype).reshape(shape) for i in range(n)]
        for k in range(samples):
            moved = X + np.array([drawn[i][k] for i in range(n)]) * noise
            total += oracle_gradient(problem, moved, target) / samples
        return total
    if method == "expected_gradients":
        drawn = [draws(seed, i, samples, len(background)) for i in range(n)]
        for k in range(samples):
            below = np.array([background[drawn[i][k][0]] for i in range(n)])
            points = np.array([[drawn[i][k][1]] for i in range(n)])
            path = below + points * (X - below)
            total += (X - below) * oracle_gradient(problem, path, target) / samples
        return total
    if background is not None:
        for one in background:
            total += oracle(problem, X, target, method, one, steps, rule) / len(background)
        return total
    if method == "deeplift":
        return oracle_deeplift(problem, X, target, baseline)
    # Integrated gradients as the paper's section 5 has it: a sum over the steps of the path.
    for point, weight in zip(*oracle_path(rule, steps), strict=True):
        path = baseline + point * (X - baseline)
        total += weight * oracle_gradient(problem, path, target)
    return (X - baseline) * total
