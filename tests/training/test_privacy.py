"""Private training: what is clipped, what is added, which batches, and what is refused.

A first step of SGD with momentum leaves the gradient itself in the moments; so it is read.
"""

import itertools
import math
import sys
from typing import Any

import numpy as np
import pytest

import culpa
import helpers
import reference
from culpa import Dense, _core
from helpers import DTYPES, LOSSES, Problem

BY_NAME = {str(case): case for case in LOSSES}
CASES = [
    ((5, 7, 3), ["tanh", "identity"], "cross_entropy-labels-0.0", 13),
    ((3, 15, 33, 4), ["relu", "gelu", "identity"], "mse-real", 29),
    ((33, 17, 16, 9, 1), ["silu", "sigmoid", "elu", "identity"], "binary_cross_entropy-binary", 8),
    ((16, 32, 64, 17), ["softplus", "mish", "tanh"], "huber-real-1.0", 5),
    ((4, 3), ["identity"], "poisson-counts", 1),
    ((6, 8, 3), ["relu", "identity"], "cross_entropy-labels-0.0", 4096 + 137),  # two blocks
    ((12, 20, 515), ["tanh", "identity"], "mse-real", 9),  # more outputs than a unit has
]
IDS = ["-".join(map(str, widths)) + f"x{rows}" for widths, _, _, rows in CASES]
HUGE = 1e30


def make(case: Any, dtype: str = "float64") -> Problem:
    widths, activations, loss, rows = case
    return helpers.make_problem(widths, activations, BY_NAME[loss], rows, dtype, seed=3)


def examples_of(problem: Problem) -> _core.ExampleArrays:
    return problem.model._network.examples(problem.X, problem.y).for_core()


def gradient(problem: Problem, offsets: Any = None, **options: Any) -> np.ndarray:
    """The flat gradient of the last batch, its rows in their order."""
    core = problem.model._network.core
    offsets = [0, len(problem.X)] if offsets is None else offsets
    before = core.copy_parameters()
    core.set_optimizer(culpa.SGD(1.0, momentum=0.5).for_core())
    core.steps = 0
    job = _core.Job(
        examples_of(problem),
        offsets=np.array(offsets, np.int64),
        learning_rates=np.zeros(len(offsets) - 1),
        **options,
    )
    assert core.train(job)[:2] == (len(offsets) - 1, "finished")
    assert core.copy_parameters().tobytes() == before.tobytes()  # the learning rate is 0
    return core.moments()[0]


def split(problem: Problem, flat: np.ndarray) -> list[np.ndarray]:
    """The weights' and biases' parts of a flat gradient."""
    arrays = problem.model._network.core.arrays()
    return [
        flat[offset : offset + math.prod(shape)].reshape(shape) for _, offset, shape, _ in arrays
    ]


def each_example(problem: Problem) -> list[np.ndarray]:
    """Every example's gradient, formed (n, ...), as the oracle has it."""
    scaled = problem.X * problem.model.input_scale
    _, hidden = reference.forward(problem.parameters, scaled, problem.activations, problem.alphas)
    parts = []
    for h, delta in zip(hidden, problem.walk.nodes, strict=False):
        parts += [h[:, :, None] * delta[:, None, :], delta]
    return parts


def norms_of(parts: list[np.ndarray]) -> np.ndarray:
    return np.sqrt(sum((part.reshape(len(part), -1) ** 2).sum(axis=1) for part in parts))


# --- Clipping ------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantile", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_clipped_sums_equal_those_of_formed_and_clipped_gradients(
    case: Any, quantile: float
) -> None:
    problem = make(case)
    parts = each_example(problem)
    norms = norms_of(parts)
    # Some are clipped, all, or none; the bound is never one example's own norm.
    limit = float(np.quantile(norms, quantile)) * (0.9 if quantile < 1.0 else 1.1)
    factors = np.minimum(1.0, limit / norms)
    want = [np.tensordot(factors, part, 1) / 7.5 for part in parts]
    got = split(problem, gradient(problem, example_clip=limit, divisor=7.5))
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        helpers.assert_close(f"part {i}", a, b, 1e-10)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES[:4], ids=IDS[:4])
def test_no_clipped_gradient_is_longer_than_the_bound(case: Any, dtype: str) -> None:
    problem = make(case, dtype)
    norms = problem.model.blame(problem.X, problem.y, want="gradient_norms").gradient_norms
    for row, norm in enumerate(norms):
        for limit in norm * np.array([0.01, 0.3, 1 - 1e-6, 1 - 1e-9, 1 - 1e-14, 1.0, 1 + 1e-14]):
            flat = gradient(problem, [row, row + 1], example_clip=limit, divisor=1.0)
            length = math.sqrt(math.fsum(flat.astype(np.float64) ** 2))
            assert (1 - 1e-5) * limit <= length <= limit * (1 if limit < norm else 1 + 1e-6)


def test_gradients_of_zero_and_of_great_length_are_clipped_without_harm() -> None:
    layers = [(np.ones((2, 3)), np.zeros(3)), (np.ones((3, 1)), np.zeros(1))]
    for dtype, size in (("float32", 1e15), ("float64", 1e70)):
        model = helpers.make_model(layers, ["identity", "identity"], "mse", dtype=dtype)
        X = np.array([[0.0, 0.0], [size, size]])
        case = BY_NAME["mse-real"]
        problem = Problem(model, layers, ["identity"] * 2, [None] * 2, case, X, np.zeros(2), None)
        flat = gradient(problem, example_clip=2.0, divisor=1.0)
        assert 1.9999 < np.linalg.norm(flat.astype(np.float64)) <= 2.0


# --- Nothing changes where nothing is asked ------------------------------------------------------


def small(dtype: str = "float32", **options: Any) -> culpa.Sequential:
    layers = [Dense(33, "relu"), culpa.Dropout(0.2), Dense(17, "tanh"), Dense(4)]
    return culpa.Sequential(layers, "cross_entropy", dtype=dtype, **options)


def labelled(rows: int = 120) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    y = rng.integers(0, 4, rows)
    return rng.normal(size=(rows, 6)) + y[:, None], y


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "optimizer", [culpa.SGD(0.1, momentum=0.9), culpa.AdamW(1e-2), culpa.Lion(1e-3)]
)
def test_without_noise_and_with_a_huge_bound_the_bits_are_those_of_plain_training(
    optimizer: Any, dtype: str
) -> None:
    X, y = labelled()
    options = {"epochs": 4, "batch_size": 24, "optimizer": optimizer, "verbose": False}
    plain, private = small(dtype), small(dtype)
    want = plain.fit(X, y, **options)
    privacy = culpa.Privacy(0.0, HUGE, 1e-5, sampling="shuffle")
    got = private.fit(X, y, privacy=privacy, **options)
    assert helpers.parameter_bytes(private) == helpers.parameter_bytes(plain)
    assert got.loss == want.loss


def test_the_same_bits_for_a_batch_of_several_blocks() -> None:
    problem = make(CASES[5])
    rows = float(len(problem.X))
    plain = gradient(problem)
    assert gradient(problem, example_clip=HUGE, divisor=rows).tobytes() == plain.tobytes()


@pytest.mark.parametrize("sampling", ["poisson", "shuffle"])
def test_same_weights_at_any_thread_count(sampling: str) -> None:
    X, y = labelled()
    privacy = culpa.Privacy(0.7, 0.5, 1e-5, seed=9, sampling=sampling)
    bits = []
    for threads, split in [(1, "rows"), (2, "rows"), (3, "rows"), (2, "columns")]:
        model = small()
        with helpers.plan(threads, split):
            model.fit(X, y, epochs=3, batch_size=5, privacy=privacy, verbose=False)
        bits.append(helpers.parameter_bytes(model))
    assert len(set(bits)) == 1


def test_two_fits_equal_one_twice_as_long() -> None:
    X, y = labelled()
    privacy = culpa.Privacy(0.7, 0.5, 1e-5, seed=9)
    options = {"batch_size": 16, "privacy": privacy, "verbose": False}
    once, twice = small(), small()
    once.fit(X, y, epochs=6, **options)
    twice.fit(X, y, epochs=3, **options)
    twice.fit(X, y, epochs=3, **options)
    assert helpers.parameter_bytes(once) == helpers.parameter_bytes(twice)


def test_without_a_seed_each_fit_has_noise_of_its_own() -> None:
    X, y = labelled()
    models = [small(), small()]
    for model in models:
        model.fit(X, y, epochs=1, privacy=culpa.Privacy(1.0, 1.0, 1e-5), verbose=False)
    assert helpers.parameter_bytes(models[0]) != helpers.parameter_bytes(models[1])


# --- Noise ---------------------------------------------------------------------------------------


def noise_of(
    dtype: str, steps: int = 1, widths: tuple[int, ...] = (70, 520, 300, 7), **options: Any
) -> list[np.ndarray]:
    """What steps of empty batches add, in order, without the gaps between the layers."""
    case = BY_NAME["mse-real"]
    parameters = [(np.zeros((m, n)), np.zeros(n)) for m, n in itertools.pairwise(widths)]
    names = ["identity"] * len(parameters)
    model = helpers.make_model(parameters, names, "mse", dtype=dtype)
    X, y = np.zeros((1, widths[0])), np.zeros((1, widths[-1]))
    problem = Problem(model, parameters, names, [None] * len(names), case, X, y, None)
    options = {"noise": 3.0, "divisor": 3.0, "noise_seed": 5, **options}
    flats = [gradient(problem, [0] * (i + 2), example_clip=1.0, **options) for i in range(steps)]
    for i in reversed(range(1, steps)):
        flats[i] = flats[i] - 0.5 * flats[i - 1]  # the momentum
    return [
        np.concatenate([part.ravel() for part in split(problem, flat)]).astype(np.float64)
        for flat in flats
    ]


def expected_noise(dtype: str, n: int, seed: int, step: int) -> np.ndarray:
    """The noise by its definition: csrc/random.h and csrc/kernels/noise.inc."""
    blocks = -(-n * 4 // 512)  # of 32 counters, 512 bytes; float64 numbers take twice the room
    blocks *= np.dtype(dtype).itemsize // 4
    counter = np.zeros((32 * blocks, 4), np.uint32)
    counter[:, 0] = np.arange(len(counter))
    counter[:, 2:] = step, 4 << 24
    words = reference.philox(counter, np.array([seed & 0xFFFFFFFF, seed >> 32], np.uint32))
    words = np.asarray(words, np.uint32).reshape(blocks, 32, 4)
    bits = 31 if dtype == "float32" else 52
    lanes = np.uint32 if dtype == "float32" else np.uint64
    radius = np.ascontiguousarray(words[..., :2]).view(lanes).reshape(blocks, -1)
    angle = np.ascontiguousarray(words[..., 2:]).view(lanes).reshape(blocks, -1)
    size = 8 * np.dtype(lanes).itemsize

    def uniform(x: np.ndarray) -> np.ndarray:
        return ((x >> lanes(size - bits)).astype(np.float64) + 0.5) / 2.0**bits

    direction = (uniform(angle << lanes(2)) - 0.5) * np.pi / 2
    length = np.sqrt(-2 * np.log(uniform(radius)))
    length *= np.where(angle >> lanes(size - 2) & lanes(1), -1.0, 1.0)
    swap = (angle >> lanes(size - 1)).astype(bool)
    sine, cosine = np.sin(direction), np.cos(direction)
    x, y = np.where(swap, sine, cosine), np.where(swap, cosine, sine)
    return np.concatenate([length * x, length * y], axis=1).ravel()[:n]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_noise_is_what_its_definition_says(dtype: str) -> None:
    # One layer of 48 x 16: no gap in the flat vector, whole blocks and parts of them.
    got = noise_of(dtype, 3, (48, 16), noise_seed=2**40 + 7)
    for step, values in enumerate(got):
        want = expected_noise(dtype, len(values), 2**40 + 7, step)
        np.testing.assert_allclose(values, want, rtol=0, atol=3e-6 if dtype == "float32" else 1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_noise_is_standard_normal(dtype: str) -> None:
    z = np.concatenate(noise_of(dtype, 4))
    n = len(z)
    assert n > 700_000
    assert abs(z.mean()) < 4.5 / math.sqrt(n)
    assert abs((z**2).mean() - 1.0) < 4.5 * math.sqrt(2 / n)
    assert abs((z**3).mean()) < 4.5 * math.sqrt(15 / n)
    assert abs((z**4).mean() - 3.0) < 4.5 * math.sqrt(96 / n)
    # Kolmogorov and Smirnov, at a level of 1e-6; and the tails.
    ranks = np.arange(1, n + 1) / n
    distribution = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in np.sort(z)])
    assert np.abs(distribution - ranks).max() < 2.7 / math.sqrt(n)
    beyond = math.erfc(4 / math.sqrt(2)) * n
    assert abs((np.abs(z) > 4).sum() - beyond) < 4.5 * math.sqrt(beyond)


@pytest.mark.parametrize("dtype", DTYPES)
def test_noise_is_independent_between_steps_seeds_and_neighbours(dtype: str) -> None:
    first, second, third = noise_of(dtype, 3)
    (other,) = noise_of(dtype, noise_seed=6)
    (high,) = noise_of(dtype, noise_seed=5 + 2**32)
    n = len(first)
    pairs = [(first, second), (second, third), (first, other), (first, high), (other, high)]
    pairs += [(first[lag:], first[:-lag]) for lag in (1, 2, 16, 32, 64, 128, 300, 520)]
    for a, b in pairs:
        for u, v in ((a, b), (a**2 - 1, b**2 - 1)):
            assert abs((u * v).mean() / np.sqrt((u**2).mean() * (v**2).mean())) < 5 / math.sqrt(n)


def test_noise_has_the_size_asked_for_and_adds_to_the_clipped_sum() -> None:
    problem = make(CASES[1])
    options = {"example_clip": 0.5, "divisor": 4.0}
    clean = gradient(problem, **options)
    once = gradient(problem, noise=2.0, noise_seed=1, **options) - clean
    thrice = gradient(problem, noise=6.0, noise_seed=1, **options) - clean
    np.testing.assert_allclose(thrice, 3 * once, rtol=1e-9, atol=1e-13)
    assert np.std(np.concatenate([part.ravel() for part in split(problem, once)])) == pytest.approx(
        0.5, rel=0.1
    )


# --- Batches -------------------------------------------------------------------------------------


def test_poisson_batches_hold_each_row_with_the_right_probability() -> None:
    n, rate, steps = 500, 0.06, 4000
    order, offsets = _core.poisson_batches(n, rate, 7, 0, steps)
    assert offsets[0] == 0
    assert offsets[-1] == len(order)
    sizes = np.diff(offsets)
    spread = math.sqrt(n * rate * (1 - rate))
    assert abs(sizes.mean() - n * rate) < 5 * spread / math.sqrt(steps)
    assert sizes.std() == pytest.approx(spread, rel=5 / math.sqrt(2 * steps))
    member = np.zeros((steps, n), bool)
    member[np.repeat(np.arange(steps), sizes), order] = True
    assert member.sum() == len(order)  # no row twice in a batch
    error = 5 * math.sqrt(rate * (1 - rate) / steps)
    assert np.abs(member.mean(axis=0) - rate).max() < error
    both = (member[:, 1:] & member[:, :-1]).mean()
    again = (member[1:] & member[:-1]).mean()
    assert both == pytest.approx(rate**2, rel=0.02)
    assert again == pytest.approx(rate**2, rel=0.02)


def test_poisson_batches_of_rate_1_hold_all_and_depend_on_seed_and_step_alone() -> None:
    order, offsets = _core.poisson_batches(5, 1.0, 0, 0, 2)
    assert order.tolist() == [*range(5)] * 2
    assert offsets.tolist() == [0, 5, 10]
    order, offsets = _core.poisson_batches(50, 0.2, 3, 10, 4)
    late, late_offsets = _core.poisson_batches(50, 0.2, 3, 12, 2)
    assert order[offsets[2] :].tolist() == late.tolist()
    assert late_offsets.tolist() == (offsets[2:] - offsets[2]).tolist()
    assert _core.poisson_batches(50, 0.2, 4, 10, 4)[0].tolist() != order.tolist()
    assert _core.poisson_batches(10, 1e-300, 0, 0, 3)[1].tolist() == [0, 0, 0, 0]
    for rate in (0.0, -1.0, 1.5, math.nan):
        with pytest.raises(ValueError, match="rate"):
            _core.poisson_batches(5, rate, 0, 0, 2)


def test_an_empty_batch_is_a_step_of_noise() -> None:
    X, y = labelled(40)
    model = small()
    privacy = culpa.Privacy(1.0, 1.0, 1e-5, seed=0)  # 40 batches of one example on the average
    history = model.fit(X, y, epochs=1, batch_size=1, privacy=privacy, verbose=False)
    assert (np.diff(_core.poisson_batches(40, 1 / 40, 0, 0, 40)[1]) == 0).sum() > 5
    assert model._network.core.moments()[2] == 40
    assert math.isfinite(history.loss[-1])


def test_private_training_learns() -> None:
    X, y, X_test, y_test = culpa.datasets.digits()
    model = culpa.Sequential([Dense(64, "relu"), Dense(10)], "cross_entropy", input_scale=1 / 16)
    privacy = culpa.Privacy(1.0, 1.0, 1e-4, seed=1)
    model.fit(X, y, epochs=15, optimizer=culpa.Adam(1e-2), privacy=privacy, verbose=False)
    assert model.evaluate(X_test, y_test)["accuracy"] > 0.9


# --- Epsilon -------------------------------------------------------------------------------------


def test_epsilon_is_that_of_the_accountants() -> None:
    pytest.importorskip("dp_accounting")
    privacy = culpa.Privacy(1.1, 1.0, 1e-5)
    tight, bound = (privacy.epsilon(4690, 128 / 60000, accountant=name) for name in ("pld", "rdp"))
    assert tight == pytest.approx(0.617, abs=0.01)
    assert tight < bound < 1.5 * tight
    # A single step of all rows: the Gaussian mechanism (Balle and Wang 2018).
    epsilon = privacy.epsilon(1, 1.0)

    def phi(t: float) -> float:
        return 0.5 * math.erfc(-t / math.sqrt(2))

    a, b = 0.5 / 1.1, epsilon * 1.1
    assert phi(a - b) - math.exp(epsilon) * phi(-a - b) == pytest.approx(1e-5, rel=0.05)


def test_the_history_has_epsilon_of_all_steps_so_far() -> None:
    pytest.importorskip("dp_accounting")
    X, y = labelled()
    privacy = culpa.Privacy(1.5, 1.0, 1e-4)
    history = small().fit(X, y, epochs=3, batch_size=12, privacy=privacy, verbose=False)
    for i, epsilon in enumerate(history.epsilon):
        tight = privacy.epsilon(10 * (i + 1), 0.1)
        assert tight <= epsilon <= 1.02 * tight
    for other in (culpa.Privacy(1.5, 1.0, 1e-4, sampling="shuffle"), None):
        assert "epsilon" not in small().fit(X, y, epochs=1, privacy=other, verbose=False)


def test_epsilon_at_the_ends() -> None:
    assert culpa.Privacy(1.0, 1.0, 1e-5).epsilon(0, 0.1) == 0.0
    assert culpa.Privacy(0.0, 1.0, 1e-5).epsilon(1, 0.1) == math.inf
    with pytest.raises(ValueError, match="sampling"):
        culpa.Privacy(1.0, 1.0, 1e-5, sampling="shuffle").epsilon(1, 0.1)


def test_without_the_accountant_training_works_and_epsilon_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    privacy = culpa.Privacy(1.0, 1.0, 1e-5)
    with pytest.raises(ImportError, match=r"culpa\[privacy\]"):
        privacy.epsilon(1, 0.1)
    X, y = labelled()
    assert "epsilon" not in small().fit(X, y, epochs=1, privacy=privacy, verbose=False)


# --- What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((-1.0, 1.0, 1e-5), "noise_multiplier"),
        ((math.nan, 1.0, 1e-5), "noise_multiplier"),
        ((1.0, 0.0, 1e-5), "max_grad_norm"),
        ((1.0, math.inf, 1e-5), "max_grad_norm"),
        ((1.0, 1.0, 0.0), r"delta: expected a number in \(0, 1\), got 0\.0"),
        ((1.0, 1.0, 1.0), r"delta: expected a number in \(0, 1\), got 1\.0"),
        ((1.0, 1.0, 1e-5, -1), "seed"),
        ((1.0, 1.0, 1e-5, 2**64), "seed"),
        ((1.0, 1.0, 1e-5, 0, "poison"), "sampling"),
    ],
)
def test_a_wrong_privacy_names_its_argument(arguments: tuple[Any, ...], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}"):
        culpa.Privacy(*arguments)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"clip_norm": 1.0}, "clip_norm"),
        ({"sample_weight": np.ones(120)}, "sample_weight"),
        ({"class_weight": "balanced"}, "class_weight"),
        ({"shuffle": False}, "shuffle"),
        ({"early_stopping": 3}, "early_stopping"),
    ],
)
def test_fit_refuses_what_privacy_does_not_cover(options: dict[str, Any], name: str) -> None:
    X, y = labelled()
    model = small()
    with pytest.raises(ValueError, match=f"^{name}: "):
        model.fit(X, y, privacy=culpa.Privacy(1.0, 1.0, 1e-5), verbose=False, **options)
    assert model.input_size is None


def test_fit_refuses_what_is_no_privacy_and_fit_many_refuses_privacy() -> None:
    X, y = labelled()
    with pytest.raises(TypeError, match=r"^privacy: "):
        small().fit(X, y, privacy=1.0, verbose=False)
    with pytest.raises(ValueError, match=r"^privacy: "):
        culpa.fit_many([small()], X, y, privacy=culpa.Privacy(1.0, 1.0, 1e-5))


@pytest.mark.parametrize(
    "options",
    [
        {"example_clip": 1.0},
        {"example_clip": 1.0, "divisor": -1.0},
        {"example_clip": 1.0, "divisor": 1.0, "noise": math.nan},
        {"example_clip": 1.0, "divisor": 1.0, "clip_norm": 1.0},
        {"noise": 1.0},
        {"divisor": 1.0},
    ],
)
def test_the_core_refuses_halves_of_privacy(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="example_clip"):
        gradient(make(CASES[0]), **options)
