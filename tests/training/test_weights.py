"""Of the weights of a batch's examples only the ratios count, at any scale, in either dtype."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import culpa
import reference
from culpa.parts.optimizers import Optimizer

rng = np.random.default_rng(0)
N, BATCH = 48, 8
X = rng.normal(size=(N, 11)).astype(np.float32)
X[rng.random(X.shape) < 0.5] = 0.0
Y = rng.integers(0, 3, N)
# Few bits, so that even denormals hold them.
WEIGHTS = rng.choice([0.0, 0.5, 1.0, 1.5, 3.0], N)
WEIGHTS[::BATCH] = 1.0
SCALES = 2.0 ** np.repeat([-1070, -600, -150, -120, 60, 390], BATCH)

OPTIMIZERS = [
    culpa.SGD(0.1),
    culpa.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    culpa.Adam(0.01),
    culpa.AdamW(0.01),
    culpa.RMSprop(0.01, momentum=0.5),
]


def network(dtype: str, seed: int = 0) -> culpa.Sequential:
    layers = [culpa.Dense(17, "tanh"), culpa.Dense(3)]
    return culpa.Sequential(layers, "cross_entropy", dtype=dtype, input_size=11, seed=seed)


def flat(model: culpa.Sequential) -> NDArray[Any]:
    return np.concatenate(
        [np.ravel(p) for layer in model.layers for p in (layer.weight, layer.bias)]
    )


def trained(model: culpa.Sequential, weights: Any, x: Any = X, **options: Any) -> NDArray[Any]:
    """What the model's weights are after two epochs in the rows' own order."""
    given: dict[str, Any] = {"epochs": 2, "batch_size": BATCH, "shuffle": False, **options}
    model.fit(x, Y, sample_weight=weights, verbose=False, **given)
    return flat(model)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: f"{type(o).__name__}")
def test_weights_times_a_power_of_two_give_the_same_bits(optimizer: Optimizer, dtype: str) -> None:
    as_given = trained(network(dtype), WEIGHTS, optimizer=optimizer)
    scaled = trained(network(dtype), WEIGHTS * SCALES, optimizer=optimizer)
    assert scaled.tobytes() == as_given.tobytes()


def test_weights_of_sparse_rows_times_a_power_of_two() -> None:
    sparse = pytest.importorskip("scipy.sparse").csr_array(X)
    as_given = trained(network("float32"), WEIGHTS, sparse)
    assert trained(network("float32"), WEIGHTS * SCALES, sparse).tobytes() == as_given.tobytes()


def test_weights_with_clipped_gradients_times_a_power_of_two() -> None:
    as_given = trained(network("float32"), WEIGHTS, clip_norm=0.01)
    scaled = trained(network("float32"), WEIGHTS * SCALES, clip_norm=0.01)
    assert scaled.tobytes() == as_given.tobytes()


def test_weights_of_models_side_by_side_times_a_power_of_two() -> None:
    models = [[network("float32", seed) for seed in range(3)] for _ in range(2)]
    for some, weights in zip(models, (WEIGHTS, WEIGHTS * SCALES), strict=True):
        culpa.fit_many(some, X, Y, sample_weight=weights, epochs=2, batch_size=BATCH, shuffle=False)
    assert [flat(m).tobytes() for m in models[0]] == [flat(m).tobytes() for m in models[1]]


@pytest.mark.parametrize("scale", [2.0**-1070, 2.0**-140, 2.0**900])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_and_losses_at_any_scale_of_weights(dtype: str, scale: float) -> None:
    model = network(dtype)
    one = model.blame(X, Y, sample_weight=WEIGHTS)
    two = model.blame(X, Y, sample_weight=WEIGHTS * scale)
    for a, b in zip([*one.weights, *one.biases], [*two.weights, *two.biases], strict=True):
        assert a.tobytes() == b.tobytes()
    loss, gradients = model.loss_and_gradients(X, Y, sample_weight=WEIGHTS)
    scaled_loss, scaled = model.loss_and_gradients(X, Y, sample_weight=WEIGHTS * scale)
    assert scaled_loss == loss
    assert {k: g.tobytes() for k, g in scaled.items()} == {
        k: g.tobytes() for k, g in gradients.items()
    }
    assert model.evaluate(X, Y, sample_weight=WEIGHTS * scale) == model.evaluate(
        X, Y, sample_weight=WEIGHTS
    )


def test_weights_of_a_batch_of_several_blocks_times_a_power_of_two() -> None:
    n = 20_000
    x = np.resize(X, (n, 11))
    y = np.resize(Y, n)
    weights = np.resize(WEIGHTS, n)
    fitted = []
    for scale in (1.0, 2.0**-140):
        model = network("float32")
        model.fit(x, y, sample_weight=weights * scale, epochs=1, batch_size=n, verbose=False)
        fitted.append(flat(model).tobytes())
    assert fitted[0] == fitted[1]


def test_float32_agrees_with_float64_where_weights_decay_by_age() -> None:
    age = np.arange(N)[::-1]
    weights = np.exp(-6.0 * age)  # down to 1e-122
    single, double = (trained(network(dtype), weights) for dtype in ("float32", "float64"))
    assert np.abs(single - double).max() < 1e-5


def test_gradients_of_tiny_weights_are_those_of_the_oracle() -> None:
    model = network("float32")
    parameters = [(np.array(p.weight, float), np.array(p.bias, float)) for p in model.layers]
    weights = np.exp(-300.0 - rng.random(N))
    walk = reference.backpropagate(
        parameters, X, Y, ["tanh", "identity"], "cross_entropy", sample_weight=weights
    )
    answer = model.blame(X, Y, sample_weight=weights)
    for got, wanted in zip(answer.weights, walk.weights, strict=True):
        assert reference.relative_error(got, wanted) < 1e-5


def test_class_weights_at_any_scale() -> None:
    fitted = []
    for table in ({}, {0: 1e-50, 1: 1e-50, 2: 1e-50}, {0: 1e-100, 1: 1e100, 2: 1.0}):
        model = network("float32")
        trained(model, None, class_weight=table, batch_size=1)
        fitted.append(flat(model))
    for other in fitted[1:]:  # a batch of one knows no ratio
        np.testing.assert_allclose(other, fitted[0], atol=1e-6)


def test_class_weights_times_sample_weights_at_any_scale() -> None:
    tiny = 2.0**-1000
    fitted = [
        trained(network("float32"), WEIGHTS * a, class_weight={0: b, 1: 2 * b, 2: 3 * b})
        for a, b in ((1.0, 1.0), (tiny, tiny))
    ]
    assert fitted[0].tobytes() == fitted[1].tobytes()


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_weights_of_an_estimator_times_a_power_of_two(solver: str) -> None:
    pytest.importorskip("sklearn")
    from sklearn.exceptions import ConvergenceWarning

    from culpa.sklearn import MLPClassifier

    fitted = []
    for scale in (1.0, 2.0**-150, 2.0**200):
        model = MLPClassifier((5,), solver=solver, alpha=0.0, max_iter=5, random_state=0)
        with pytest.warns(ConvergenceWarning):
            model.fit(X, Y, sample_weight=WEIGHTS * scale)
        fitted.append(b"".join(coefs.tobytes() for coefs in model.coefs_))
    assert fitted[0] == fitted[1] == fitted[2]


def test_an_estimator_with_decay_and_tiny_weights_stays_finite() -> None:
    pytest.importorskip("sklearn")
    from culpa.sklearn import MLPClassifier

    model = MLPClassifier((5,), max_iter=1, batch_size=BATCH, random_state=0)
    model.partial_fit(X, Y, sample_weight=np.full(N, 1e-60), classes=[0, 1, 2])
    assert all(np.isfinite(weight).all() for weight in model.coefs_)


# Rows to train on that have no weight


def first_rows() -> NDArray[np.float64]:
    return np.r_[np.ones(10), np.zeros(N - 10)]


def untouched(model: culpa.Sequential, name: str, **options: Any) -> None:
    """The fit is refused by this name, and nothing has happened to the model."""
    before = flat(model).tobytes()
    with pytest.raises(ValueError, match=rf"^{name}: .*rows to train on.*got 0 on each"):
        model.fit(X, Y, epochs=1, verbose=False, **options)
    assert flat(model).tobytes() == before
    assert model.history is None or model.history.epochs == 0


def test_rows_without_weight_are_refused() -> None:
    untouched(
        network("float32"), "sample_weight", rows=np.arange(20, N), sample_weight=first_rows()
    )


def test_a_training_part_without_weight_is_refused() -> None:
    model = network("float32")
    kept = network("float32")
    seen: list[NDArray[np.int64]] = []

    class Keep(culpa.Callback):
        wants_examples = True

        def on_epoch_end(self, training: Any) -> None:
            seen.append(training.presented().rows)

    kept.fit(X, Y, epochs=1, validation_split=0.5, verbose=False, callbacks=Keep())
    weights = np.ones(N)
    weights[seen[0]] = 0.0
    untouched(model, "sample_weight", validation_split=0.5, sample_weight=weights)


def test_classes_without_weight_are_refused() -> None:
    rows = np.flatnonzero(Y == 1)
    untouched(network("float32"), "class_weight", rows=rows, class_weight={1: 0.0})
    untouched(
        network("float32"),
        "class_weight",
        rows=np.flatnonzero(Y < 2),
        class_weight={0: 0.0},
        sample_weight=(Y != 1).astype(float),
    )


def test_models_side_by_side_are_refused_before_any_trains() -> None:
    models = [network("float32", seed) for seed in range(2)]
    before = [flat(model).tobytes() for model in models]
    rows = [np.arange(20), np.arange(20, N)]
    with pytest.raises(ValueError, match=r"^sample_weight: .*28 rows to train on"):
        culpa.fit_many(models, X, Y, rows=rows, sample_weight=first_rows(), epochs=1)
    assert [flat(model).tobytes() for model in models] == before


def test_a_model_without_an_input_size_stays_so() -> None:
    model = culpa.Sequential([culpa.Dense(3)], "cross_entropy")
    with pytest.raises(ValueError, match=r"^sample_weight: "):
        model.fit(X, Y, rows=[30], sample_weight=first_rows(), verbose=False)
    assert model.input_size is None


def test_a_fold_without_weight_is_refused() -> None:
    weights = np.r_[1.0, np.zeros(N - 1)]
    with pytest.raises(ValueError, match=r"^sample_weight: .*rows to train on"):
        culpa.find_label_errors(network("float32"), X, Y, folds=2, sample_weight=weights)


def test_a_fold_of_an_estimator_without_weight_is_refused_before_any_trains() -> None:
    class Estimator:
        fits = 0

        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> None:
            raise AssertionError("trained")

        def predict_proba(self, X: Any) -> Any:
            raise AssertionError("asked")

    weights = np.r_[1.0, np.zeros(N - 1)]
    with pytest.raises(ValueError, match=r"^sample_weight: .*rows to train on of a fold"):
        culpa.find_label_errors(Estimator(), X, Y, folds=2, sample_weight=weights)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_an_estimator_without_any_weight_is_refused(solver: str) -> None:
    pytest.importorskip("sklearn")
    from culpa.sklearn import MLPClassifier

    model = MLPClassifier((5,), solver=solver, max_iter=2, random_state=0)
    with pytest.raises(ValueError, match="Sample weights must contain at least one non-zero"):
        model.fit(X, Y, sample_weight=np.zeros(N))  # scikit-learn's own check
    model.set_params(class_weight={0: 0.0, 1: 0.0, 2: 0.0})
    with pytest.raises(ValueError, match=r"^class_weight: .*rows to train on"):
        model.fit(X, Y)


def test_a_training_part_of_an_estimator_without_weight_is_refused() -> None:
    pytest.importorskip("sklearn")
    from sklearn.model_selection import train_test_split

    from culpa.sklearn import MLPRegressor

    model = MLPRegressor(hidden_layer_sizes=(5,), max_iter=2, random_state=0, early_stopping=True)
    drawn = np.random.RandomState(0)
    for fan_in, fan_out in ((11, 5), (5, 1)):  # what is drawn before: the first weights
        drawn.uniform(size=(fan_in, fan_out))
        drawn.uniform(size=fan_out)
    train, _ = train_test_split(np.arange(N), random_state=drawn, test_size=0.1)
    weights = np.ones(N)
    weights[train] = 0.0
    with pytest.raises(ValueError, match=r"^sample_weight: .*rows to train on"):
        model.fit(X, X[:, 0], sample_weight=weights)
