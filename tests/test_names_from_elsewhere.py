"""Names from Keras, PyTorch, scikit-learn and Captum lead to what they are here, not astray."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import culpa
from culpa import _aliases
from culpa.answers.attribution import METHODS, RULES
from culpa.answers.blame import QUANTITIES
from culpa.parts.layers import ACTIVATIONS, INITIALIZERS
from culpa.parts.losses import LOSSES
from culpa.parts.optimizers import OPTIMIZERS
from culpa.parts.schedules import SCHEDULES
from culpa.training.options import NAMES

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
LABELS = RNG.integers(0, 3, 40)


def classifier(**options: Any) -> culpa.Sequential:
    settings = {"loss": "cross_entropy", "input_size": 3, **options}
    return culpa.Sequential([culpa.Dense(3)], **settings)


def message(call: Callable[[], object]) -> str:
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    return str(caught.value)


ASK: dict[str, Callable[[Any], object]] = {
    "activation": lambda name: culpa.Dense(3, name),
    "loss": lambda name: classifier(loss=name),
    "initializer": lambda name: culpa.Dense(3, initializer=name),
    "optimizer": lambda name: classifier().fit(X, LABELS, optimizer=name),
    "schedule": lambda name: classifier().fit(X, LABELS, schedule=name),
    "method": lambda name: classifier().attribute(X, method=name),
    "dtype": lambda name: classifier(dtype=name),
    "want": lambda name: classifier().blame(X, LABELS, want=(name,)),
    "fit": lambda name: classifier().fit(X, LABELS, **{name: 1}),
    "monitor": lambda name: classifier().fit(
        X, LABELS, early_stopping=culpa.EarlyStopping(monitor=name)
    ),
}


@pytest.mark.parametrize(
    ("argument", "name", "says"),
    [
        ("activation", "softmax", "leave it out: cross_entropy takes logits"),
        ("activation", "log_softmax", "leave it out: cross_entropy takes logits"),
        ("activation", "swish", "'silu'"),
        ("activation", "linear", "'identity'"),
        ("activation", "logistic", "'sigmoid'"),
        ("activation", "Hard-Sigmoid", "'sigmoid' comes nearest"),
        ("activation", None, "'identity'"),
        ("loss", "sparse_categorical_crossentropy", "'cross_entropy'"),
        ("loss", "categorical_crossentropy", "'cross_entropy'"),
        ("loss", "CrossEntropyLoss", "'cross_entropy'"),
        ("loss", "nn.MSELoss", "'mse'"),
        ("loss", "log_loss", "'cross_entropy', or 'binary_cross_entropy'"),
        ("loss", "mean_squared_error", "'mse'"),
        ("loss", "mean_absolute_error", "'mae'"),
        ("loss", "nll_loss", "'cross_entropy'"),
        ("loss", "bce_with_logits", "'binary_cross_entropy'"),
        ("loss", "binary_crossentropy", "'binary_cross_entropy'"),
        ("loss", "l1", "'mae'"),
        ("loss", "smooth_l1", "'huber'"),
        ("loss", "hinge", "'cross_entropy'"),
        ("loss", "HalfGammaLoss", "'gamma'"),
        ("loss", "reg:gamma", "'gamma'"),
        ("loss", "mean_tweedie_deviance", "'tweedie'"),
        ("loss", "inverse_gaussian", r"culpa.Tweedie(power=3.0)"),
        ("fit", "tweedie_variance_power", "culpa.Sequential(..., loss=culpa.Tweedie(power=1.5))"),
        ("loss", "kl_divergence", "'cross_entropy' with probabilities as y"),
        ("initializer", "xavier_uniform", "'glorot_uniform'"),
        ("initializer", "xavier_normal_", "'glorot_normal'"),
        ("initializer", "kaiming_normal", "'he_normal'"),
        ("initializer", "kaiming", "'he_normal' or 'he_uniform'"),
        ("initializer", "glorot", "'glorot_uniform' or 'glorot_normal'"),
        ("initializer", "orthogonal", "model.layers[0].weight = "),
        ("optimizer", "nadam", "'adam' comes nearest"),
        ("optimizer", "momentum", "culpa.SGD(learning_rate, momentum=0.9)"),
        ("optimizer", "lbfgs", "solver='lbfgs'"),
        ("schedule", "CosineAnnealingLR", "'cosine'"),
        ("schedule", "step", "culpa.StepDecay(every_epochs"),
        ("schedule", "ReduceLROnPlateau", "early_stopping="),
        ("method", "gradient_shap", "'expected_gradients'"),
        ("method", "saliency", "'gradient'"),
        ("method", "IntegratedGradients", "'integrated_gradients'"),
        ("method", "deep_lift", "'deeplift'"),
        ("method", "DeepLiftShap", "'deeplift' with background="),
        ("method", "noise_tunnel", "'smooth_grad'"),
        ("method", "kernel_shap", "'expected_gradients' with a background"),
        ("dtype", "double", "'float64'"),
        ("dtype", np.float32, "'float32'"),
        ("want", "gradients", "'weights', which brings the biases too"),
        ("want", "grad_norms", "'gradient_norms'"),
        ("want", "activations", "'hidden'"),
        ("want", "derivatives", "'slopes'"),
        ("want", "all", "all but 'hidden' and 'slopes'"),
        ("fit", "n_epochs", "'epochs'"),
        ("fit", "max_iter", "'epochs'"),
        ("fit", "lr", "optimizer=culpa.Adam(learning_rate)"),
        ("fit", "learning_rate", "optimizer=culpa.Adam(learning_rate)"),
        ("fit", "validation_fraction", "'validation_split'"),
        ("fit", "x_val", "validation_data=(X, y)"),
        ("fit", "loss", "culpa.Sequential(..., loss="),
        ("fit", "random_state", "culpa.Sequential(..., seed="),
        ("fit", "n_iter_no_change", "early_stopping="),
        ("monitor", "val_loss", "pass validation_data or validation_split"),
        ("monitor", "acc", "'accuracy'"),
    ],
)
def test_a_name_from_elsewhere_is_told_what_it_is_here(argument: str, name: Any, says: str) -> None:
    said = message(lambda: ASK[argument](name))
    assert said.startswith(f"{argument}: expected ")
    assert says in said
    if "did you mean" in said:  # guessed by spelling: only where the name differs by its spelling
        assert _aliases.plain(re.findall(r"did you mean '(\w+)'", said)[0]) in (
            _aliases.plain(name if isinstance(name, str) else name.__name__)
        )


VALID: dict[str, Any] = {
    "activation": ACTIVATIONS,
    "loss": LOSSES,
    "initializer": INITIALIZERS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "method": METHODS,
    "rule": RULES,
    "dtype": ("float32", "float64"),
    "want": QUANTITIES,
    "monitor": ("loss", "accuracy", "r2", "val_loss", "val_accuracy", "val_r2"),
    "class_weight": ("balanced",),
    "fit": NAMES,
}


@pytest.mark.parametrize("argument", VALID)
def test_every_answer_of_the_table_is_valid_or_advice(argument: str) -> None:
    assert _aliases._TABLE.keys() == VALID.keys()
    valid, seen = VALID[argument], set()
    for names, answer in _aliases._TABLE[argument].items():
        assert answer in valid or " " in answer, answer
        for name in names.split():
            assert name == _aliases.plain(name)
            assert name not in seen
            seen.add(name)
            assert argument == "monitor" or name not in map(_aliases.plain, valid)
        for quoted in re.findall(r"'(\w+)'", answer):
            assert quoted == "lbfgs" or any(quoted in names for names in VALID.values()), answer


def test_an_object_from_elsewhere_is_told_what_it_is_here() -> None:
    torch = pytest.importorskip("torch")
    assert "'relu'" in message(lambda: culpa.Dense(3, torch.nn.ReLU()))
    assert "'tanh'" in message(lambda: culpa.Dense(3, torch.tanh))
    assert "'mse'" in message(lambda: classifier(loss=torch.nn.MSELoss()))
    adam = torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    assert "'adam'" in message(lambda: classifier().fit(X, LABELS, optimizer=adam))
    assert "'float64'" in message(lambda: classifier(dtype=torch.float64))
    assert "'float32'" in message(lambda: classifier(dtype=torch.bfloat16))


def test_a_dtype_of_numpy_is_told_its_name() -> None:
    for dtype in (np.float64, np.dtype("float64"), ">f8"):
        assert "'float64'" in message(lambda dtype=dtype: classifier(dtype=dtype))


def test_the_perceptrons_tell_it_too() -> None:
    pytest.importorskip("sklearn")
    from culpa.sklearn import MLPClassifier

    for options, says in (
        ({"activation": "swish"}, "'silu'"),
        ({"activation": "softmax"}, "leave it out"),
        ({"optimizer": "nadam"}, "'adam' comes nearest"),
        ({"schedule": "cosine_annealing"}, "'cosine'"),
    ):
        assert says in message(lambda options=options: MLPClassifier(**options).fit(X, LABELS))
    # What is wrong with another parameter gets no advice about this one.
    assert "silu" not in message(lambda: MLPClassifier(max_iter=-1).fit(X, LABELS))


# Optimizers and schedules by name


def bits(model: culpa.Sequential) -> bytes:
    return b"".join(array.tobytes() for array in model.state_dict().values())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_is_taken_by_name(name: str) -> None:
    by_name, by_object = classifier(), classifier()
    by_name.fit(X, LABELS, epochs=3, optimizer=name)
    by_object.fit(X, LABELS, epochs=3, optimizer=OPTIMIZERS[name]())
    assert bits(by_name) == bits(by_object)
    assert by_name.optimizer == OPTIMIZERS[name]()


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_is_taken_by_name(name: str) -> None:
    by_name, by_object = classifier(), classifier()
    by_name.fit(X, LABELS, epochs=3, schedule=name)
    by_object.fit(X, LABELS, epochs=3, schedule=SCHEDULES[name]())
    assert bits(by_name) == bits(by_object)


def test_names_are_taken_wherever_optimizers_and_schedules_are() -> None:
    models = [classifier(), classifier()]
    culpa.fit_many(models[:1], X, LABELS, optimizer="sgd", schedule="cosine")
    culpa.fit_many(models[1:], X, LABELS, optimizer=culpa.SGD(), schedule=culpa.Cosine())
    assert bits(models[0]) == bits(models[1])
    given = [("rmsprop", "one_cycle"), (culpa.RMSprop(), culpa.OneCycle())]
    found = [
        culpa.find_label_errors(
            classifier(), X, LABELS, folds=2, epochs=2, optimizer=optimizer, schedule=schedule
        ).probabilities
        for optimizer, schedule in given
    ]
    assert found[0].tobytes() == found[1].tobytes()


def test_the_perceptrons_take_names_too() -> None:
    pytest.importorskip("sklearn")
    from sklearn.base import clone

    from culpa.sklearn import MLPRegressor

    options = {"max_iter": 3, "tol": 0.0, "n_iter_no_change": 99, "random_state": 0}
    named = MLPRegressor(optimizer="adamw", schedule="cosine", **options)
    given = MLPRegressor(optimizer=culpa.AdamW(), schedule=culpa.Cosine(), **options)
    for model in (named, given):
        with pytest.warns(match="Maximum iterations"):
            model.fit(X, X[:, 0])
    for a, b in zip(named.coefs_, given.coefs_, strict=True):
        assert a.tobytes() == b.tobytes()
    assert clone(named).optimizer == "adamw"


# Targets that were never scaled


def regression(hidden: int = 8) -> culpa.Sequential:
    return culpa.Sequential([culpa.Dense(hidden, "relu"), culpa.Dense(1)], loss="mse")


def test_a_divergence_by_targets_that_were_never_scaled_says_so() -> None:
    y = 1e9 + 1e6 * X[:, 0]
    with pytest.raises(culpa.DivergedError) as caught:
        regression().fit(X, y, optimizer=culpa.SGD(0.1), epochs=50)
    assert "y has values of about 1e+09; train on (y - y.mean(" in str(caught.value)
    assert "Lower the learning rate (now 0.1)" in str(caught.value)


def test_a_divergence_of_another_cause_does_not_blame_the_targets() -> None:
    for y in (X[:, 0], np.abs(X[:, 0])):
        with pytest.raises(culpa.DivergedError) as caught:
            regression().fit(X, y, optimizer=culpa.SGD(1e30))
        assert "target" not in str(caught.value)
    counts = culpa.Sequential([culpa.Dense(1)], loss="poisson")
    with pytest.raises(culpa.DivergedError) as caught:
        counts.fit(X, RNG.poisson(1000, 40), optimizer=culpa.SGD(1e30))
    assert "target" not in str(caught.value)


@pytest.mark.parametrize(("scale", "word"), [(1e9, "large"), (1e-6, "small")])
def test_a_diagnosis_finds_targets_that_were_never_scaled(scale: float, word: str) -> None:
    model, y = regression(), scale * (1.0 + X[:, 0])
    model.fit(X, y, epochs=20)
    finding = next(f for f in culpa.diagnose(model, X, y).findings if f.kind == "targets")
    assert f"The targets are very {word}: y has values" in finding.sentence
    assert "y.mean(" in finding.advice


def test_a_diagnosis_names_the_column_of_y() -> None:
    model = culpa.Sequential([culpa.Dense(2)], loss="mse", input_size=3)
    y = np.column_stack([X[:, 0], 1e6 * X[:, 1]])
    found = culpa.diagnose(model, X, y).findings
    assert any("column 1 of y has values of about" in f.sentence for f in found)


def test_targets_that_are_learned_all_the_same_are_no_finding() -> None:
    y = 100.0 * X[:, 0]
    model = culpa.Sequential([culpa.Dense(1)], loss="mse")
    model.fit(X, y, epochs=300, optimizer=culpa.SGD(0.1))
    assert not [f for f in culpa.diagnose(model, X, y).findings if f.kind == "targets"]


# Arrays and paths that cannot be read


def test_arrays_that_numpy_cannot_read_are_named() -> None:
    torch = pytest.importorskip("torch")
    model = classifier()
    with_gradients = torch.tensor(X, requires_grad=True)
    said = message(lambda: model.fit(with_gradients, LABELS))
    assert said.startswith("X: expected numbers that NumPy can read, got Tensor")
    assert "X.detach()" in said
    assert message(lambda: model.predict(torch.tensor(X).bfloat16())).startswith("X: expected")
    weights = torch.ones(40).bfloat16()
    said = message(lambda: model.fit(X, LABELS, sample_weight=weights))
    assert said.startswith("sample_weight: expected")
    assert "sample_weight.cpu().float().numpy()" in said
    assert message(lambda: model.evaluate(X, torch.ones(40, requires_grad=True))).startswith("y: ")
    sparse = torch.tensor(X).to_sparse()
    said = message(lambda: model.predict(sparse))
    assert said.startswith("X: ")
    assert "X.detach().cpu().to_dense().numpy()" in said


def test_the_way_out_that_is_named_works() -> None:
    torch = pytest.importorskip("torch")
    x = torch.tensor(X, requires_grad=True).bfloat16()
    assert classifier().predict(x.detach().cpu().float().numpy()).shape == (40,)
