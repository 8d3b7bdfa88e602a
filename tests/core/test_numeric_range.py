"""Numbers at the ends of their types' range, on their way in and in losses and optimizers."""

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import culpa
import reference
from culpa import _core
from culpa.parts.optimizers import Optimizer

DTYPES = ["float32", "float64"]
rng = np.random.default_rng(0)

# Optimizers: squares that overflow, epsilon below the normal numbers, 1 - beta


def straight(dtype: str, inputs: int, loss: str = "mse") -> culpa.Sequential:
    return culpa.Sequential([culpa.Dense(1)], loss, dtype=dtype, input_size=inputs, seed=0)


@pytest.mark.parametrize("optimizer", [culpa.Adam(1e-3), culpa.AdamW(1e-3), culpa.RMSprop(1e-3)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_step_where_the_squared_gradient_is_infinite(dtype: str, optimizer: Optimizer) -> None:
    """As in PyTorch: m / infinity, while the other weights go on."""
    X = np.ones((8, 2), dtype)
    X[:, 0] = 1e22 if dtype == "float32" else 1e170
    model, alone = straight(dtype, 2, "mae"), straight(dtype, 1, "mae")
    before = model.layers[0].weight.copy()
    alone.layers[0].weight = before[1:]
    y = np.full(8, 0.01 * float(np.finfo(dtype).max))  # far away: slopes stay the same
    for one, x in ((model, X), (alone, X[:, 1:])):
        one.fit(x, y, epochs=3, optimizer=optimizer, verbose=False)
    shrunk = 1.0 - 1e-3 * optimizer.weight_decay if isinstance(optimizer, culpa.AdamW) else 1.0
    assert model.layers[0].weight[0, 0] == pytest.approx(before[0, 0] * shrunk**3, rel=1e-6)
    assert model.layers[0].weight[1, 0] == alone.layers[0].weight[0, 0] != before[1, 0]


@pytest.mark.parametrize("epsilon", [1e-37, 1e-38, 1e-40, 1e-44, 1e-310])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [culpa.Adam, culpa.AdamW, culpa.RMSprop])
def test_no_step_without_a_gradient_however_small_epsilon(
    kind: Any, dtype: str, epsilon: float
) -> None:
    X = rng.normal(size=(64, 6))
    X[:, 2] = 0.0
    model = straight(dtype, 6)
    before = model.layers[0].weight[2, 0]
    options = {"weight_decay": 0.0} if kind is culpa.AdamW else {}
    model.fit(X, X[:, 0], epochs=2, optimizer=kind(1e-3, epsilon=epsilon, **options), verbose=False)
    assert model.layers[0].weight[2, 0] == before
    assert np.isfinite(model.layers[0].weight).all()


@pytest.mark.parametrize("beta", [0.999, 0.9999, 0.99999, 0.999999, 0.9999999, 1 - 1e-8])
@pytest.mark.parametrize(
    "kind",
    [
        lambda beta: culpa.Adam(0.01, beta_2=beta),
        lambda beta: culpa.Adam(0.01, beta_1=min(beta, 0.9999), beta_2=beta),
        lambda beta: culpa.RMSprop(1e-4, rho=beta),
    ],
    ids=["adam", "adam, both", "rmsprop"],
)
def test_one_minus_beta_is_exact_in_float32(kind: Any, beta: float) -> None:
    X = rng.normal(size=(64, 6)).astype(np.float32)
    moved = []
    for dtype in DTYPES:
        model = straight(dtype, 6)
        model.layers[0].weight = np.linspace(-1, 1, 6)[:, None].astype(np.float32)
        before = model.layers[0].weight.copy()
        model.fit(
            X, X[:, 0], epochs=3, batch_size=64, shuffle=False, optimizer=kind(beta), verbose=False
        )
        moved.append(model.layers[0].weight - before)
    assert np.abs(moved[0] - moved[1]).max() < 2e-5 * np.abs(moved[1]).max()


@pytest.mark.parametrize("q", [0.9, 0.999, 0.999999])
def test_one_minus_q_is_exact_in_float32(q: float) -> None:
    """The slope of a quantile's loss where the guess is too great."""
    model = culpa.Sequential([culpa.Dense(1)], culpa.Quantile(q), input_size=1)
    model.layers[0].weight = np.eye(1)
    answer = model.blame([[3.0]], [1.0])
    assert answer.nodes[0][0, 0] == np.float32(1 - q)
    assert answer.losses[0] == pytest.approx(2 * (1 - q), rel=1e-7)


# Inputs: denormals


def denormals(dtype: Any) -> NDArray[Any]:
    """Rows of numbers around the least normal one of the type."""
    least = float(np.finfo(dtype).tiny)
    x = (rng.uniform(-4, 4, size=(9, 21)) * least).astype(dtype)
    x[:, 0] = np.finfo(dtype).smallest_subnormal
    x[:, 1] = 0.0
    return x


def deep(dtype: str, loss: str = "mse", inputs: int = 21, **options: Any) -> culpa.Sequential:
    layers = [culpa.Dense(4, "tanh"), culpa.Dense(2)]
    return culpa.Sequential(layers, loss, dtype=dtype, input_size=inputs, seed=0, **options)


def enlarged(given: Any) -> culpa.Sequential:
    """A float64 model to which such inputs matter."""
    model = deep("float64")
    model.layers[0].weight = model.layers[0].weight / float(np.finfo(given).tiny)
    return model


def same(a: Any, b: Any) -> None:
    assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.parametrize("given", ["float16", "float32"])
def test_float64_models_read_denormals(given: str) -> None:
    x = denormals(given)
    wide = x.astype("float64")
    model = enlarged(given)
    assert np.abs(model.predict_logits(x) - model.predict_logits(0 * x)).min() > 0
    same(model.predict_logits(x), model.predict_logits(wide))
    same(model.predict_logits(x[:, ::-1]), model.predict_logits(wide[:, ::-1]))
    same(model.predict_logits(np.asfortranarray(x)), model.predict_logits(wide))
    one, two = (model.attribute(r, target=0, baseline=r[::-1]) for r in (x, wide))
    same(one.values, two.values)
    one, two = (model.attribute(r, target=0, background=r) for r in (x, wide))
    same(one.values, two.values)


@pytest.mark.parametrize("given", ["float16", "float32"])
def test_float64_models_learn_from_denormals(given: str) -> None:
    x, targets = denormals(given), denormals(given)[:, :2]
    weights = np.abs(denormals(given)[:, 5]) + np.finfo(given).tiny
    fitted = []
    for r, t, w in (
        (x, targets, weights),
        (x.astype("float64"), targets.astype("float64"), weights.astype("float64")),
    ):
        model = enlarged(given)
        model.fit(r, t, sample_weight=w, epochs=2, batch_size=4, verbose=False)
        answer = model.blame(r, t, sample_weight=w)
        fitted.append([model.layers[0].weight, model.layers[1].bias, answer.losses, answer.inputs])
        fitted[-1].append(np.array(list(model.evaluate(r, t, sample_weight=w).values())))
    for a, b in zip(*fitted, strict=True):
        same(a, b)


def test_float64_models_read_sparse_denormals() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    x = denormals("float32")
    model = enlarged("float32")
    same(model.predict_logits(sparse.csr_array(x)), model.predict_logits(x.astype("float64")))


def test_float64_models_know_targets_that_are_denormals() -> None:
    y = np.array([[1e-40], [3e-45]], np.float32)
    model = straight("float64", 1, "mae")
    losses = model.blame(np.zeros((2, 1)), y, want=("losses",)).losses
    same(losses, y[:, 0].astype("float64"))


@pytest.mark.parametrize("scale", [1e38, -1e38, 3.0])
def test_a_scale_brings_denormals_back(scale: float) -> None:
    """The same from rows of either dtype: those of float64 are rounded to float32 first."""
    x = denormals("float32")
    model = deep("float32", input_scale=scale)
    # Multiplied in float64, then rounded: what float32 would do, if denormals did not count as 0.
    by_hand = (x.astype("float64") * np.float32(scale)).astype("float32")
    same(model.predict_logits(x), deep("float32").predict_logits(by_hand))
    same(model.predict_logits(x), model.predict_logits(x.astype("float64")))
    double = rng.uniform(-4, 4, size=x.shape) * float(np.finfo("float32").tiny)
    same(model.predict_logits(double), model.predict_logits(double.astype("float32")))


def test_a_scale_brings_denormals_of_float64_back() -> None:
    x = denormals("float64")
    model = deep("float64", input_scale=2.0**1000)
    same(model.predict_logits(x), deep("float64").predict_logits(x * 2.0**1000))


# Losses: logits as great as the type allows


def giving(logits: Any, dtype: str, loss: str) -> tuple[culpa.Sequential, NDArray[Any]]:
    """A model, and the inputs for which it gives these logits."""
    z = np.asarray(logits, dtype)
    n = z.shape[1]
    model = culpa.Sequential([culpa.Dense(n)], loss, dtype=dtype, input_size=n)
    model.layers[0].weight = np.eye(n)
    return model, z


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["labels", "probabilities"])
def test_cross_entropy_at_the_ends_of_the_range(kind: str, dtype: str) -> None:
    most = float(np.finfo(dtype).max)
    model, z = giving([[most, -most, 0], [most, -most, 0], [0, most, most]], dtype, "cross_entropy")
    labels = np.array([0, 1, 2])
    y = labels if kind == "labels" else np.eye(3)[labels]
    with np.errstate(over="ignore", divide="ignore"):
        losses, slopes = reference.cross_entropy(z.astype("float64"), y)
    if dtype == "float32":
        losses[1] = np.inf  # the difference of the two logits
    answer = model.blame(z, y)
    np.testing.assert_allclose(answer.losses, losses, rtol=1e-6)
    np.testing.assert_allclose(answer.nodes[0], slopes, rtol=1e-6)
    assert answer.losses[0] == 0.0
    np.testing.assert_allclose(model.predict_proba(z)[2], [0, 0.5, 0.5])
    assert model.evaluate(z[[0, 2]], y[[0, 2]])["loss"] == pytest.approx(np.log(2) / 2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_training_goes_on_from_logits_at_the_ends_of_the_range(dtype: str) -> None:
    most = float(np.finfo(dtype).max)
    model, z = giving([[most, -most, 0], [0, 0, 0]], dtype, "cross_entropy")
    history = model.fit(z, [0, 1], epochs=1, optimizer=culpa.SGD(0.1), verbose=False)
    assert history["loss"][0] == pytest.approx(np.log(3) / 2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_other_losses_at_the_ends_of_the_range(dtype: str) -> None:
    most = float(np.finfo(dtype).max)
    for loss, z, y, wanted in (
        ("binary_cross_entropy", most, 1, 0.0),
        ("binary_cross_entropy", -most, 0, 0.0),
        ("binary_cross_entropy", most / 2, 0, most / 2),
        ("poisson", most, 10, np.inf),
        ("poisson", -most / 4, 2, most / 2),
        ("mse", most, -most, np.inf),
        ("mae", most / 2, -most / 4, most * 0.75),
        ("huber", most, -most, np.inf),
        ("quantile", most, -most, np.inf),
        ("gamma", most / 2, 10, most / 2),
        ("gamma", -most, 10, np.inf),
        ("tweedie", most, 10, np.inf),
        ("tweedie", -most, 0, 0.0),
        (culpa.Tweedie(3.0), -most, 10, np.inf),
    ):
        model, x = giving([[z]], dtype, loss)
        got = model.blame(x, np.array([float(y)]), want=("losses",)).losses[0]
        assert got == pytest.approx(wanted, rel=1e-6), (loss, z, y)


# Which of many numbers are not finite


@pytest.mark.parametrize("given", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    "shape", [(1, 1), (5, 1), (3000, 1), (1, 5000), (40, 90), (700, 7), (9, 3)]
)
def test_the_first_row_that_is_not_finite_is_found(shape: tuple[int, int], given: str) -> None:
    rows, columns = shape
    wide = np.zeros((2 * rows, 3 * columns), given)
    odd = np.zeros(rows * columns * np.dtype(given).itemsize + 1, np.uint8)[1:].view(given)
    layouts = [
        np.zeros(shape, given),
        np.zeros(shape, given, order="F"),
        wide[:rows, :columns],
        wide[::2, ::3],
        wide[:rows, :columns][::-1, ::-1],
        np.zeros((3 * columns, rows), given).T[:, ::3],
        np.zeros((columns, 2 * rows), given).T[::2],
        odd.reshape(shape),
    ]
    for x in layouts:
        assert _core.find_not_finite(x, "float64", 1.0) == -1
        for bad in {0, rows // 2, rows - 1}:
            x[bad, columns // 2] = np.nan
            x[rows - 1, columns - 1] = -np.inf
            assert _core.find_not_finite(x, "float64", 1.0) == bad
            assert _core.find_not_finite(x, "float32", 1.0) == bad
            x[...] = 0


def test_a_number_that_is_too_large_for_the_dtype_is_found() -> None:
    x = np.ones((5000, 3))
    x[1234, 2] = 1e30
    assert _core.find_not_finite(x, "float32", 1.0) == -1
    assert _core.find_not_finite(x, "float32", 1e10) == 1234
    assert _core.find_not_finite(x, "float64", 1e10) == -1
    x[1233, 0] = 1e39
    assert _core.find_not_finite(x, "float32", 1.0) == 1233


# numpy.matrix: an array


def matrix(values: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        return np.asmatrix(values)


def test_matrices_are_arrays_in_every_door() -> None:
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 1))
    answers = []
    for make in (np.asarray, matrix):
        model = culpa.Sequential([culpa.Dense(4, "tanh"), culpa.Dense(1)], "mse", seed=0)
        X, Y = make(x), make(y)
        history = model.fit(X, Y, epochs=2, batch_size=8, validation_data=(X, Y), verbose=False)
        blame = model.blame(X, Y)
        loss, gradients = model.loss_and_gradients(X, Y)
        baseline = model.attribute(X, baseline=make(x[::-1]))
        background = model.attribute(X, background=make(x[:5]))
        influence = model.influence(X, Y, X, Y)
        answers.append(
            [
                history["loss"], history["r2"], history["val_r2"], model.predict(X),
                model.predict_logits(X), *model.evaluate(X, Y).values(), blame.losses,
                blame.inputs, blame.gradient_norms, loss, *gradients.values(), baseline.values,
                background.values, influence.scores,
            ]
        )  # fmt: skip
    for a, b in zip(*answers, strict=True):
        same(a, b)
        assert type(a) is type(b)


def test_a_matrix_of_labels_is_refused_by_name() -> None:
    model = culpa.Sequential([culpa.Dense(2)], "cross_entropy")
    x = rng.normal(size=(3, 2))
    with pytest.raises(ValueError, match=r"^y: expected shape \(3,\) of class indices"):
        model.fit(x, matrix([[0], [1], [0]]), verbose=False)
    with pytest.raises(ValueError, match=r"^y: expected one entry for each of the 3 rows"):
        model.fit(x, matrix([[0, 1, 0]]), verbose=False)
    with pytest.raises(ValueError, match=r"^sample_weight: expected shape"):
        model.fit(x, [0, 1, 0], sample_weight=matrix([[1, 1, 1]]), verbose=False)
