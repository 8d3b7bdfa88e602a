"""Bad input gets an error that says what is wrong and how to mend it; the model stays as it was."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import culpa
import helpers

N = 20
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3))
LABELS = RNG.integers(0, 2, N)
VALUES = RNG.normal(size=N)
COUNTS = RNG.poisson(2.0, N)
BINARY = RNG.integers(0, 2, N)
TARGETS = {
    "cross_entropy": LABELS,
    "binary_cross_entropy": BINARY,
    "mse": VALUES,
    "poisson": COUNTS,
    "gamma": COUNTS + 1.0,
    "tweedie": COUNTS,
}


def fresh(loss: str = "cross_entropy", **options: Any) -> culpa.Sequential:
    outputs = 2 if loss == "cross_entropy" else 1
    layers = [culpa.Dense(4, "relu"), culpa.Dropout(0.2), culpa.Dense(outputs)]
    return culpa.Sequential(layers, loss=loss, **options)


def trained(loss: str = "cross_entropy", **options: Any) -> culpa.Sequential:
    model = fresh(loss, **options)
    model.fit(X, TARGETS[loss], epochs=2, batch_size=8, optimizer=culpa.RMSprop(momentum=0.5))
    return model


def state(model: culpa.Sequential) -> dict[str, Any]:
    """All that a call may change, as values that compare."""
    core = model._network._core
    result: dict[str, Any] = {
        "epochs": model._network.epochs,
        "optimizer": model.optimizer,
        "history": id(model.history),
        "rows of history": None if model.history is None else model.history.epochs,
        "input_size": model.input_size,
        "built": core is not None,
    }
    if core is not None:
        first, second, moment_steps = core.moments()
        result |= {
            "parameters": core.parameters().tobytes(),
            "moments": (first.tobytes(), second.tobytes(), moment_steps),
            "steps": core.steps,
        }
    return result


@contextmanager
def untouched(*models: culpa.Sequential) -> Iterator[None]:
    before = [state(model) for model in models]
    yield
    for model, was in zip(models, before, strict=True):
        now = state(model)
        assert [key for key in was if was[key] != now.get(key)] == []
        assert now.keys() == was.keys()


@contextmanager
def refused(
    kind: type[Exception] | tuple[type[Exception], ...], name: str, *says: str
) -> Iterator[None]:
    """The block raises `kind`; its message begins with the argument and says all of `says`."""
    with pytest.raises(kind) as caught:
        yield
    message = str(caught.value)
    assert message.startswith(name), message
    assert "expected" in message
    for text in says:
        assert text in message


def with_signalling_nan(array: NDArray[Any], dtype: str, *where: int) -> NDArray[Any]:
    """A NaN that raises the processor's invalid flag when it is converted."""
    changed = array.astype(dtype)
    kind, word = {"f4": ("u4", 0x7FA00000), "f8": ("u8", 0x7FF4000000000000)}[dtype]
    changed.view(kind)[where] = word
    return changed


class SparseStub:
    """What a sparse matrix looks like to a duck."""

    shape = (N, 3)

    def toarray(self) -> NDArray[Any]:
        return X


def with_value(array: NDArray[Any], value: float, *where: int) -> NDArray[Any]:
    changed = array.astype(np.result_type(array.dtype, np.float16))
    changed[where] = value
    return changed


# X. What is wrong, the error, and what its message must say.

LONGDOUBLE_IS_LONG = np.dtype(np.longdouble).itemsize > 8
BAD_X: dict[str, tuple[Any, type[Exception], tuple[str, ...]]] = {
    "one dimension": (X[:, 0], ValueError, (f"got shape ({N},)", "X[None, :]", "X[:, None]")),
    "three dimensions": (X[None], ValueError, (f"got shape (1, {N}, 3)", "X.reshape(len(X), -1)")),
    "a number": (3.0, ValueError, ("expected shape (n, ", "got shape ()")),
    "no rows": (X[:0], ValueError, ("at least one row", "got shape (0, 3)")),
    "no columns": (X[:, :0], ValueError, ("one column", f"got shape ({N}, 0)")),
    "an empty list": ([], ValueError, ("got shape (0,)",)),
    "complex": (X * 1j, TypeError, ("got dtype complex128", "X.real")),
    "objects": (X.astype(object), TypeError, ("got dtype object", 'X.astype("float32")')),
    "integers too large": ([[2**70, 0, 0]] * N, TypeError, ("got dtype object",)),
    "strings": (X.astype(str), TypeError, ("got dtype <U", "encode text as numbers")),
    "bytes": (X.astype("S8"), TypeError, ("got dtype |S8", "encode text as numbers")),
    "dates": (np.zeros((N, 3), "M8[s]"), TypeError, ("got dtype datetime64", "as numbers first")),
    "durations": (np.zeros((N, 3), "m8[s]"), TypeError, ("timedelta64", "as numbers first")),
    "records": (np.zeros(N, [("a", "f4"), ("b", "f4")]), TypeError, ("got dtype [",)),
    "None": (None, TypeError, ("got dtype object",)),
    "a dictionary": ({"a": [1.0]}, TypeError, ("got dtype object",)),
    "a generator": ((row for row in X), TypeError, ("got dtype object",)),
    "NaN": (with_value(X, np.nan, 7, 2), ValueError, ("got nan in row 7, column 2", "drop")),
    "infinity": (with_value(X, np.inf, 0, 1), ValueError, ("got inf in row 0, column 1",)),
    "minus infinity": (with_value(X, -np.inf, N - 1, 0), ValueError, (f"-inf in row {N - 1}",)),
    "half-precision infinity": (
        with_value(np.zeros((N, 3), np.float16), np.inf, 3, 0),
        ValueError,
        ("got inf in row 3, column 0",),
    ),
    **{
        f"signalling NaN in {dtype}": (
            with_signalling_nan(X, dtype, 5, 1),
            ValueError,
            ("got nan in row 5, column 1",),
        )
        for dtype in ("f4", "f8")
    },
    "more than float32 holds": (
        with_value(X, 1e300, 4, 1),
        ValueError,
        ("fit float32", "got 1e+300 in row 4, column 1"),
    ),
    "rows of different lengths": (
        [[1.0, 2.0, 3.0], [1.0]],
        ValueError,
        ("rows of equal length", "[[1.0, 2.0, 3.0], [1.0]]"),
    ),
    "masked values": (
        np.ma.masked_greater(X, 0.5),
        ValueError,
        ("no masked values", "X.filled("),
    ),
    "sparse": (SparseStub(), TypeError, ("dense", "SparseStub", "X.toarray()")),
}
if LONGDOUBLE_IS_LONG:
    BAD_X["long doubles"] = (
        X.astype(np.longdouble),
        TypeError,
        ("at most 64 bits", f"got dtype {np.dtype(np.longdouble)}", 'X.astype("float64")'),
    )


@pytest.mark.parametrize("what", BAD_X)
def test_fit_refuses_bad_inputs(what: str) -> None:
    bad, kind, says = BAD_X[what]
    model = trained()
    with untouched(model), refused(kind, "X: ", *says):
        model.fit(bad, LABELS)
    model = fresh()
    with untouched(model), refused(kind, "X: ", *says):
        model.fit(bad, LABELS)


@pytest.mark.parametrize("what", BAD_X)
def test_what_guesses_refuses_bad_inputs(what: str) -> None:
    bad, kind, says = BAD_X[what]
    model = trained()
    calls: list[Callable[[Any], object]] = [
        model.predict,
        model.predict_proba,
        model.predict_logits,
        lambda x: model.evaluate(x, LABELS),
        lambda x: model.blame(x, LABELS),
        lambda x: model.loss_and_gradients(x, LABELS),
    ]
    for call in calls:
        with untouched(model), refused(kind, "X: ", *says):
            call(bad)


@pytest.mark.parametrize("columns", [1, 2, 4])
def test_a_built_model_refuses_another_width(columns: int) -> None:
    model = trained()
    bad = np.zeros((N, columns))
    calls: list[Callable[[], object]] = [
        lambda: model.fit(bad, LABELS),
        lambda: model.predict(bad),
        lambda: model.evaluate(bad, LABELS),
        lambda: model.blame(bad, LABELS),
        lambda: model.loss_and_gradients(bad, LABELS),
    ]
    for call in calls:
        with untouched(model), refused(ValueError, "X: ", "3 columns", f"shape ({N}, {columns})"):
            call()


def test_an_explicit_input_size_must_agree_with_the_data() -> None:
    model = fresh(input_size=5)
    with untouched(model), refused(ValueError, "X: ", "5 columns", f"got shape ({N}, 3)"):
        model.fit(X, LABELS)


def test_scipys_sparse_targets_are_refused() -> None:
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    model = trained()
    with untouched(model), refused(TypeError, "y: ", "y.toarray()"):
        model.fit(X, sparse.csr_array(LABELS[None, :]))


@pytest.mark.parametrize(("scale", "value"), [(1e20, 1e25), (1e300, 1.0)])
def test_inputs_that_only_the_scale_makes_too_large_are_told_so(scale: float, value: float) -> None:
    with pytest.raises(ValueError, match="input_scale"):
        fresh(input_scale=scale).fit(np.full((N, 3), value), LABELS)


# y

BAD_Y: dict[str, tuple[str, Any, type[Exception], tuple[str, ...]]] = {
    "a class too many": (
        "cross_entropy",
        LABELS + 1,
        ValueError,
        ("class indices 0 to 1", "got 1 to 2", "from 0", "3 units"),
    ),
    "negative labels": ("cross_entropy", LABELS - 1, ValueError, ("0 to 1", "got -1 to 0")),
    "huge labels": ("cross_entropy", LABELS * 2**40, ValueError, (f"got 0 to {2**40}",)),
    "huge unsigned labels": (
        "cross_entropy",
        LABELS.astype(np.uint64) * np.uint64(2**63),
        ValueError,
        (f"got 0 to {2**63}",),
    ),
    "float labels": (
        "cross_entropy",
        LABELS.astype(float),
        TypeError,
        ("integer class indices 0 to 1", "got dtype float64", "astype(int)"),
    ),
    "string labels": ("cross_entropy", LABELS.astype(str), TypeError, ("encode text",)),
    "object labels": ("cross_entropy", LABELS.astype(object), TypeError, ("dtype object",)),
    "complex values": ("mse", VALUES * 1j, TypeError, ("dtype complex128", "y.real")),
    "labels in a column": (
        "cross_entropy",
        LABELS[:, None],
        ValueError,
        (f"({N},) of class indices", f"got shape ({N}, 1)", "y.ravel()"),
    ),
    "three dimensions": (
        "cross_entropy",
        np.zeros((N, 2, 1)),
        ValueError,
        (f"got shape ({N}, 2, 1)",),
    ),
    "too few": ("mse", VALUES[:-1], ValueError, (f"each of the {N} rows", f"got {N - 1}")),
    "too many": ("mse", np.zeros(N + 1), ValueError, (f"each of the {N} rows", f"got {N + 1}")),
    "none": ("mse", [], ValueError, (f"each of the {N} rows", "got 0")),
    "a number": ("mse", 1.0, ValueError, (f"each of the {N} rows", "a single number")),
    "too many columns": (
        "mse",
        np.zeros((N, 2)),
        ValueError,
        (f"({N},) or ({N}, 1)", f"got shape ({N}, 2)", "2 units"),
    ),
    "NaN": ("mse", with_value(VALUES, np.nan, 3), ValueError, ("got nan in row 3",)),
    "infinity": ("mse", with_value(VALUES, np.inf, 5), ValueError, ("got inf in row 5",)),
    **{
        f"signalling NaN in {dtype}": (
            "mse",
            with_signalling_nan(VALUES, dtype, 5),
            ValueError,
            ("got nan in row 5",),
        )
        for dtype in ("f4", "f8")
    },
    "more than float32 holds": (
        "mse",
        with_value(VALUES, 1e300, 5),
        ValueError,
        ("fit float32", "got 1e+300 in row 5"),
    ),
    "rows of different lengths": ("mse", [[1.0], [1.0, 2.0]], ValueError, ("equal length",)),
    "masked values": ("mse", np.ma.masked_greater(VALUES, 0), ValueError, ("y.filled(",)),
    "sparse": ("mse", SparseStub(), TypeError, ("dense", "y.toarray()")),
    "probabilities that sum to less": (
        "cross_entropy",
        with_value(np.full((N, 2), 0.5), 0.25, 6, 1),
        ValueError,
        ("sum to 1", "got 0.75 in row 6", "divide each row"),
    ),
    "negative probabilities": (
        "cross_entropy",
        np.tile([-0.5, 1.5], (N, 1)),
        ValueError,
        ("[0, 1]", "got -0.5 to 1.5"),
    ),
    "NaN probabilities": (
        "cross_entropy",
        with_value(np.full((N, 2), 0.5), np.nan, 6, 1),
        ValueError,
        ("got nan in row 6, column 1",),
    ),
    "too many probabilities": (
        "cross_entropy",
        np.full((N, 4), 0.25),
        ValueError,
        (f"({N}, 2) of probabilities", f"got shape ({N}, 4)"),
    ),
    "binary above 1": (
        "binary_cross_entropy",
        BINARY * 2,
        ValueError,
        ("[0, 1] for binary_cross_entropy", "got 0 to 2"),
    ),
    "binary below 0": (
        "binary_cross_entropy",
        BINARY * 2.0 - 1.0,
        ValueError,
        ("[0, 1]", "got -1.0 to 1.0"),
    ),
    "negative counts": ("poisson", COUNTS - 5, ValueError, ("no negative counts", "got -5")),
    "amounts of 0": (
        "gamma",
        COUNTS * 0.0,
        ValueError,
        ("above 0 for gamma", "got 0.0", "Tweedie"),
    ),
    "negative amounts": ("tweedie", COUNTS - 5, ValueError, ("no negative amounts", "got -5")),
}


@pytest.mark.parametrize("what", BAD_Y)
def test_fit_refuses_bad_targets(what: str) -> None:
    loss, bad, kind, says = BAD_Y[what]
    for model in (trained(loss), fresh(loss)):
        with untouched(model), refused(kind, "y: ", *says):
            model.fit(X, bad)


@pytest.mark.parametrize("what", BAD_Y)
def test_evaluate_and_blame_refuse_bad_targets(what: str) -> None:
    loss, bad, kind, says = BAD_Y[what]
    model = trained(loss)
    for call in (model.evaluate, model.blame, model.loss_and_gradients):
        with untouched(model), refused(kind, "y: ", *says):
            call(X, bad)


@pytest.mark.parametrize("what", BAD_Y)
def test_bad_validation_targets_are_named_as_such(what: str) -> None:
    loss, bad, kind, says = BAD_Y[what]
    says = tuple(text for text in says if not text.startswith("y."))  # the name has a suffix
    model = trained(loss)
    with untouched(model), refused(kind, "y (validation): ", *says):
        model.fit(X, TARGETS[loss], validation_data=(X, bad))


# Weights

BAD_SAMPLE_WEIGHTS: dict[str, tuple[Any, type[Exception], str]] = {
    "negative": (with_value(np.ones(N), -1.0, 3), ValueError, "got -1.0 to 1.0"),
    "NaN": (with_value(np.ones(N), np.nan, 3), ValueError, "got nan"),
    "infinite": (with_value(np.ones(N), np.inf, 3), ValueError, "got 1.0 to inf"),
    "all zero": (np.zeros(N), ValueError, "some above 0, got 0.0 to 0.0"),
    "too few": (np.ones(N - 1), ValueError, f"shape ({N},), got shape ({N - 1},)"),
    "too many": (np.ones(N + 1), ValueError, f"shape ({N},), got shape ({N + 1},)"),
    "a column": (np.ones((N, 1)), ValueError, f"shape ({N},), got shape ({N}, 1)"),
    "a number": (1.0, ValueError, f"shape ({N},), got shape ()"),
    "a name": ("balanced", TypeError, "got dtype <U"),
    "complex": (np.ones(N) * 1j, TypeError, "got dtype complex128"),
}


@pytest.mark.parametrize("what", BAD_SAMPLE_WEIGHTS)
def test_bad_sample_weights_are_refused(what: str) -> None:
    bad, kind, says = BAD_SAMPLE_WEIGHTS[what]
    for model in (trained(), fresh()):
        with untouched(model), refused(kind, "sample_weight: ", says):
            model.fit(X, LABELS, sample_weight=bad)
    model = trained()
    for call in (model.evaluate, model.blame, model.loss_and_gradients):
        with untouched(model), refused(kind, "sample_weight: ", says):
            call(X, LABELS, sample_weight=bad)
    with untouched(model), refused(kind, "sample_weight (validation): ", says):
        model.fit(X, LABELS, validation_data=(X, LABELS, bad))


BAD_CLASS_WEIGHTS: dict[str, tuple[str, Any, type[Exception], str]] = {
    "no such class": ("cross_entropy", {2: 1.0}, ValueError, "0 to 1, got 2"),
    "negative class": ("cross_entropy", {-1: 1.0}, ValueError, "got -1"),
    "a name for a class": ("cross_entropy", {"cat": 1.0}, TypeError, "got 'cat'"),
    "a float for a class": ("cross_entropy", {1.0: 1.0}, TypeError, "got 1.0"),
    "a boolean for a class": ("cross_entropy", {True: 1.0}, TypeError, "got True"),
    "negative weight": ("cross_entropy", {0: -1.0}, ValueError, "got -1.0"),
    "NaN": ("cross_entropy", {0: np.nan}, ValueError, "got nan"),
    "infinite": ("cross_entropy", {0: np.inf}, ValueError, "got inf"),
    "a weight as text": ("cross_entropy", {0: "2"}, TypeError, "got '2'"),
    "all zero": ("cross_entropy", {0: 0.0, 1: 0.0}, ValueError, "some above 0"),
    "another word": ("cross_entropy", "balance", ValueError, "did you mean 'balanced'?"),
    "a list": ("cross_entropy", [1.0, 2.0], TypeError, "got [1.0, 2.0]"),
    "regression": ("mse", {0: 2.0}, ValueError, "sample_weight instead"),
}


@pytest.mark.parametrize("what", BAD_CLASS_WEIGHTS)
def test_bad_class_weights_are_refused(what: str) -> None:
    loss, bad, kind, says = BAD_CLASS_WEIGHTS[what]
    for model in (trained(loss), fresh(loss)):
        with untouched(model), refused(kind, "class_weight", says):
            model.fit(X, TARGETS[loss], class_weight=bad)


def test_class_weights_need_classes_not_probabilities() -> None:
    model = trained()
    with untouched(model), refused(ValueError, "class_weight: ", "class indices in y"):
        model.fit(X, np.full((N, 2), 0.5), class_weight="balanced")
    model = trained("binary_cross_entropy")
    with untouched(model), refused(ValueError, "class_weight: ", "zeros and ones"):
        model.fit(X, np.full(N, 0.5), class_weight="balanced")


# The options of fit


class ScheduleOf(culpa.Schedule):
    """A schedule of one's own, from a function of the steps."""

    def __init__(self, function: Callable[[NDArray[Any]], Any]) -> None:
        object.__setattr__(self, "function", function)

    def factors(self, steps: NDArray[Any], total: int, epochs: NDArray[Any]) -> Any:
        return self.function(steps)  # type: ignore[attr-defined]


class EveryHalf(culpa.Callback):
    every_steps = 2.5  # type: ignore[assignment]


class EveryZero(culpa.Callback):
    every_steps = 0


class DoesNothing(culpa.Callback):
    pass


INTEGERS: dict[str, tuple[Any, type[Exception], str]] = {
    "negative": (-1, ValueError, "got -1"),
    "a float": (2.5, TypeError, "got 2.5"),
    "a whole float": (2.0, TypeError, "got 2.0"),
    "a boolean": (True, TypeError, "got True"),
    "text": ("2", TypeError, "got '2'"),
    "None": (None, TypeError, "got None"),
}
BAD_OPTIONS: dict[str, tuple[str, Any, type[Exception], tuple[str, ...]]] = {
    **{
        f"{name}: {what}": (name, bad, kind, ("an integer of at least", says))
        for name in ("epochs", "batch_size")
        for what, (bad, kind, says) in INTEGERS.items()
    },
    "batch_size: zero": ("batch_size", 0, ValueError, ("at least 1", "got 0")),
    "validation_split: all": ("validation_split", 1.0, ValueError, ("[0, 1)", "got 1.0")),
    "validation_split: negative": ("validation_split", -0.1, ValueError, ("got -0.1",)),
    "validation_split: NaN": ("validation_split", np.nan, ValueError, ("got nan",)),
    "validation_split: no row": ("validation_split", 1e-9, ValueError, ("which is 0 of them",)),
    "validation_split: every row": ("validation_split", 0.999, ValueError, (f"which is {N} of",)),
    "validation_split: text": ("validation_split", "10%", TypeError, ("got '10%'",)),
    "validation_split: boolean": ("validation_split", True, TypeError, ("got True",)),
    "validation_data: X alone": ("validation_data", X, TypeError, ("(X, y)", "array of shape")),
    "validation_data: one item": ("validation_data", (X,), TypeError, ("(X, y)",)),
    "validation_data: four items": ("validation_data", (X,) * 4, TypeError, ("(X, y)",)),
    "validation_data: a number": ("validation_data", 3, TypeError, ("(X, y)", "got 3")),
    "clip_norm: zero": ("clip_norm", 0, ValueError, ("(0, inf]", "got 0")),
    "clip_norm: negative": ("clip_norm", -1.0, ValueError, ("got -1.0",)),
    "clip_norm: NaN": ("clip_norm", np.nan, ValueError, ("got nan",)),
    "clip_norm: text": ("clip_norm", "1", TypeError, ("got '1'",)),
    "optimizer: a name": ("optimizer", "Adam", ValueError, ("did you mean 'adam'?",)),
    "optimizer: a class": ("optimizer", culpa.Adam, TypeError, ("culpa.Adam(1e-3)", "'adam'?")),
    "optimizer: a number": ("optimizer", 1e-3, TypeError, ("got 0.001",)),
    "schedule: a name": ("schedule", "cosin", ValueError, ("did you mean 'cosine'?",)),
    "schedule: a class": ("schedule", culpa.Cosine, TypeError, ("culpa.Cosine()",)),
    "schedule: a function": ("schedule", abs, TypeError, ("culpa.Cosine()",)),
    "early_stopping: zero": ("early_stopping", 0, ValueError, ("at least 1", "got 0")),
    "early_stopping: a float": ("early_stopping", 1.5, TypeError, ("got 1.5",)),
    "early_stopping: text": ("early_stopping", "yes", TypeError, ("got 'yes'",)),
    "early_stopping: unknown monitor": (
        "early_stopping",
        culpa.EarlyStopping(monitor="los"),
        ValueError,
        ("did you mean 'loss'?",),
    ),
    "early_stopping: no validation": (
        "early_stopping",
        culpa.EarlyStopping(monitor="val_loss"),
        ValueError,
        ("one of loss, accuracy", "got 'val_loss'"),
    ),
    "callbacks: a number": ("callbacks", 3, TypeError, ("functions", "got 3")),
    "callbacks: text": ("callbacks", "print", TypeError, ("functions",)),
    "callbacks: a number in a list": ("callbacks", [3], TypeError, ("functions", "got 3")),
    "callbacks: a class": ("callbacks", DoesNothing, TypeError, ("DoesNothing",)),
    "callbacks: a class in a list": ("callbacks", [DoesNothing], TypeError, ("DoesNothing",)),
    "callbacks: every half": ("callbacks", EveryHalf(), TypeError, ("got 2.5",)),
    "callbacks: every zero": ("callbacks", [EveryZero()], ValueError, ("at least 1", "got 0")),
}
NAMED_OTHERWISE = {
    "early_stopping: unknown monitor": "monitor: ",
    "early_stopping: no validation": "monitor: ",
    "callbacks: every half": "every_steps: ",
    "callbacks: every zero": "every_steps: ",
}


@pytest.mark.parametrize("what", BAD_OPTIONS)
def test_fit_refuses_bad_options(what: str) -> None:
    option, bad, kind, says = BAD_OPTIONS[what]
    name = NAMED_OTHERWISE.get(what, f"{option}: ")
    for model in (trained(), fresh()):
        with untouched(model), refused(kind, name, *says):
            model.fit(X, LABELS, **{option: bad})


BAD_FACTORS: dict[str, tuple[Callable[[NDArray[Any]], Any], str]] = {
    "NaN": (lambda steps: steps * np.nan, "nan"),
    "infinite": (lambda steps: steps + np.inf, "inf"),
    "negative": (lambda steps: steps - 1.0, "-1"),
    "one short": (lambda steps: steps[1:], "shape"),
    "a table": (lambda steps: steps[:, None], "shape"),
    "a number": (lambda _: 1.0, "shape"),
    "text": (lambda steps: steps.astype(str), "dtype"),
    "nothing": (lambda _: None, "None"),
}


@pytest.mark.parametrize("what", BAD_FACTORS)
def test_a_schedule_whose_factors_are_bad_is_refused_before_the_first_step(what: str) -> None:
    function, says = BAD_FACTORS[what]
    model = trained()
    before = state(model)
    with refused((ValueError, TypeError), "schedule: ", says):
        model.fit(X, LABELS, schedule=ScheduleOf(function), batch_size=8)
    for key in ("parameters", "moments", "steps", "epochs"):
        assert state(model)[key] == before[key], key


def test_fit_names_an_option_that_it_does_not_have() -> None:
    for model in (trained(), fresh()):
        with untouched(model), pytest.raises(TypeError, match="'epoch'; did you mean 'epochs'"):
            model.fit(X, LABELS, epoch=3)


def test_validation_data_and_a_split_exclude_each_other() -> None:
    for model in (trained(), fresh()):
        with untouched(model), refused(ValueError, "validation_split: ", "pass only one"):
            model.fit(X, LABELS, validation_split=0.5, validation_data=(X, LABELS))


def test_bad_validation_inputs_are_named_as_such() -> None:
    for bad, kind in ((X[:, :2], ValueError), (X[0], ValueError), (X * 1j, TypeError)):
        for model in (trained(), fresh()):
            with untouched(model), refused(kind, "X (validation): "):
                model.fit(X, LABELS, validation_data=(bad, LABELS))


# Descriptions: what a model, an optimizer, ... is made of. What to call, the error, the name that
# its message begins with, what else it says.

DENSE = culpa.Dense(2)
BAD_DESCRIPTIONS: dict[str, tuple[Callable[[], object], type[Exception], str, tuple[str, ...]]] = {
    "activation": (
        lambda: culpa.Dense(2, "rellu"),
        ValueError,
        "activation: ",
        ("'rellu'", "did you mean 'relu'?"),
    ),
    "activation in capitals": (
        lambda: culpa.Dense(2, "Leaky-ReLU"),
        ValueError,
        "activation: ",
        ("did you mean 'leaky_relu'?",),
    ),
    "activation None": (lambda: culpa.Dense(2, None), TypeError, "activation: ", ("got None",)),
    "Activation": (
        lambda: culpa.Activation("sofplus"),
        ValueError,
        "activation: ",
        ("did you mean 'softplus'?",),
    ),
    "alpha not taken": (
        lambda: culpa.Activation("relu", 0.1),
        ValueError,
        "alpha: ",
        ("got 0.1", "only leaky_relu and elu"),
    ),
    "alpha NaN": (lambda: culpa.Activation("elu", np.nan), ValueError, "alpha: ", ("got nan",)),
    "initializer": (
        lambda: culpa.Dense(2, initializer="he_norm"),
        ValueError,
        "initializer: ",
        ("did you mean 'he_normal'?",),
    ),
    **{
        f"units: {what}": (lambda bad=bad: culpa.Dense(bad), kind, "units: ", (says,))
        for what, (bad, kind, says) in INTEGERS.items()
    },
    "no units": (lambda: culpa.Dense(0), ValueError, "units: ", ("at least 1", "got 0")),
    "loss": (
        lambda: culpa.Sequential([DENSE], loss="crossentropy"),
        ValueError,
        "loss: ",
        ("did you mean 'cross_entropy'?",),
    ),
    "loss as a class": (lambda: culpa.Sequential([DENSE], loss=culpa.MSE), TypeError, "loss: ", ()),
    "loss None": (lambda: culpa.Sequential([DENSE], loss=None), TypeError, "loss: ", ("got None",)),
    "dtype": (
        lambda: culpa.Sequential([DENSE], loss="mse", dtype="float46"),
        ValueError,
        "dtype: ",
        ("did you mean 'float64'?",),
    ),
    "dtype as NumPy's": (
        lambda: culpa.Sequential([DENSE], loss="mse", dtype=np.float64),
        TypeError,
        "dtype: ",
        ("float32, float64",),
    ),
    "seed negative": (
        lambda: culpa.Sequential([DENSE], loss="mse", seed=-1),
        ValueError,
        "seed: ",
        ("got -1",),
    ),
    "seed too large": (
        lambda: culpa.Sequential([DENSE], loss="mse", seed=2**64),
        ValueError,
        "seed: ",
        ("2**64", "got 18446744073709551616"),
    ),
    "seed a float": (
        lambda: culpa.Sequential([DENSE], loss="mse", seed=1.5),
        TypeError,
        "seed: ",
        ("got 1.5",),
    ),
    "input_size zero": (
        lambda: culpa.Sequential([DENSE], loss="mse", input_size=0),
        ValueError,
        "input_size: ",
        ("at least 1", "got 0"),
    ),
    "input_size a float": (
        lambda: culpa.Sequential([DENSE], loss="mse", input_size=3.0),
        TypeError,
        "input_size: ",
        ("got 3.0",),
    ),
    "input_scale NaN": (
        lambda: culpa.Sequential([DENSE], loss="mse", input_scale=np.nan),
        ValueError,
        "input_scale: ",
        ("got nan",),
    ),
    "input_scale text": (
        lambda: culpa.Sequential([DENSE], loss="mse", input_scale="1/255"),
        TypeError,
        "input_scale: ",
        ("got '1/255'",),
    ),
    "layers: none": (lambda: culpa.Sequential([], loss="mse"), ValueError, "layers: ", ("none",)),
    "layers: one layer": (
        lambda: culpa.Sequential(DENSE, loss="mse"),
        TypeError,
        "layers: ",
        ("a list", "Dense(units=2"),
    ),
    "layers: a generator": (
        lambda: culpa.Sequential((DENSE for _ in range(2)), loss="mse"),
        TypeError,
        "layers: ",
        ("a list",),
    ),
    "layers: a number": (
        lambda: culpa.Sequential([DENSE, 3], loss="mse"),
        TypeError,
        "layers[1]: ",
        ("culpa.Dense or culpa.Dropout", "got 3"),
    ),
    "layers: a class": (
        lambda: culpa.Sequential([culpa.Dense], loss="mse"),
        TypeError,
        "layers[0]: ",
        ("culpa.Dense or culpa.Dropout",),
    ),
    "Dropout last": (
        lambda: culpa.Sequential([DENSE, culpa.Dropout(0.5)], loss="mse"),
        ValueError,
        "layers: ",
        ("Dense layer last", "Dropout(rate=0.5)"),
    ),
    "Dropout alone": (
        lambda: culpa.Sequential([culpa.Dropout(0.5)], loss="mse"),
        ValueError,
        "layers: ",
        ("Dense layer last",),
    ),
    "Dropout twice": (
        lambda: culpa.Sequential([culpa.Dropout(0.5), culpa.Dropout(0.5), DENSE], loss="mse"),
        ValueError,
        "layers[1]: ",
        ("use one",),
    ),
    "Dropout of all": (lambda: culpa.Dropout(1.0), ValueError, "rate: ", ("[0, 1)", "got 1.0")),
    "Dropout negative": (lambda: culpa.Dropout(-0.1), ValueError, "rate: ", ("got -0.1",)),
    "Dropout NaN": (lambda: culpa.Dropout(np.nan), ValueError, "rate: ", ("got nan",)),
    "Dropout text": (lambda: culpa.Dropout("0.1"), TypeError, "rate: ", ("got '0.1'",)),
    "learning rate negative": (lambda: culpa.SGD(-1.0), ValueError, "learning_rate: ", ("-1.0",)),
    "learning rate NaN": (lambda: culpa.Adam(np.nan), ValueError, "learning_rate: ", ("got nan",)),
    "learning rate infinite": (lambda: culpa.Adam(np.inf), ValueError, "learning_rate: ", ("inf",)),
    "learning rate text": (lambda: culpa.Adam("1e-3"), TypeError, "learning_rate: ", ("'1e-3'",)),
    "momentum 1": (lambda: culpa.SGD(momentum=1.0), ValueError, "momentum: ", ("[0, 1)", "1.0")),
    "nesterov alone": (
        lambda: culpa.SGD(nesterov=True),
        ValueError,
        "nesterov: ",
        ("momentum above 0", "momentum=0.9"),
    ),
    "beta_1": (lambda: culpa.Adam(beta_1=1.0), ValueError, "beta_1: ", ("[0, 1)", "got 1.0")),
    "beta_2": (lambda: culpa.AdamW(beta_2=-0.1), ValueError, "beta_2: ", ("got -0.1",)),
    "epsilon": (lambda: culpa.Adam(epsilon=0.0), ValueError, "epsilon: ", ("got 0.0",)),
    "rho": (lambda: culpa.RMSprop(rho=1.5), ValueError, "rho: ", ("got 1.5",)),
    "weight decay": (
        lambda: culpa.AdamW(weight_decay=-1e-2),
        ValueError,
        "weight_decay: ",
        ("got -0.01",),
    ),
    "Cosine": (lambda: culpa.Cosine(warmup=1.0), ValueError, "warmup: ", ("[0, 1)", "got 1.0")),
    "StepDecay": (
        lambda: culpa.StepDecay(0),
        ValueError,
        "every_epochs: ",
        ("at least 1", "got 0"),
    ),
    "StepDecay's factor": (lambda: culpa.StepDecay(2, 0.0), ValueError, "factor: ", ("got 0.0",)),
    "ExponentialDecay": (lambda: culpa.ExponentialDecay(1.5), ValueError, "factor: ", ("1.5",)),
    "OneCycle": (lambda: culpa.OneCycle(start=-1.0), ValueError, "start: ", ("got -1.0",)),
    "patience": (lambda: culpa.EarlyStopping(0), ValueError, "patience: ", ("got 0",)),
    "min_delta": (
        lambda: culpa.EarlyStopping(min_delta=-1.0),
        ValueError,
        "min_delta: ",
        ("got -1.0",),
    ),
    "label_smoothing": (
        lambda: culpa.CrossEntropy(1.0),
        ValueError,
        "label_smoothing: ",
        ("[0, 1)", "got 1.0"),
    ),
    "Huber": (lambda: culpa.Huber(0.0), ValueError, "delta: ", ("got 0.0",)),
    "Quantile": (lambda: culpa.Quantile(1.0), ValueError, "q: ", ("(0, 1)", "got 1.0")),
}


@pytest.mark.parametrize("what", BAD_DESCRIPTIONS)
def test_a_bad_description_is_refused_at_once(what: str) -> None:
    call, kind, name, says = BAD_DESCRIPTIONS[what]
    with refused(kind, name, *says):
        call()


@pytest.mark.parametrize("rate", [1e39, 1e300])
def test_a_learning_rate_beyond_the_dtype_leaves_no_infinite_weight(rate: float) -> None:
    model = trained()
    with pytest.raises((ValueError, culpa.DivergedError)):
        model.fit(X, LABELS, epochs=1, batch_size=N, optimizer=culpa.SGD(rate))
    assert all(np.isfinite(array).all() for array in model.state_dict().values())


def test_blame_names_a_quantity_that_it_does_not_know() -> None:
    model = trained()
    with untouched(model), refused(ValueError, "want: ", "'node'", "did you mean 'nodes'?"):
        model.blame(X, LABELS, want=("losses", "node"))
    with untouched(model), refused(TypeError, "want: ", "got 3"):
        model.blame(X, LABELS, want=(3,))


# Sizes from outside

SIZES = [2**41, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**65, 10**30]


@pytest.mark.parametrize("size", SIZES)
def test_a_size_beyond_any_memory_is_an_error_not_a_crash(size: int) -> None:
    for layers, inputs in (
        ([culpa.Dense(size)], 1),
        ([culpa.Dense(1)], size),
        ([culpa.Dense(size), culpa.Dense(1)], 1),
        ([culpa.Dense(1), culpa.Dense(size)], 1),
        ([culpa.Dense(size), culpa.Dense(size)], size),
    ):
        with pytest.raises(ValueError, match=r"units|input_size|memory"):
            culpa.Sequential(layers, loss="mse", input_size=inputs)


@settings(deadline=None, max_examples=100)
@given(
    units=st.lists(st.integers(2**41, 2**64 - 1), min_size=1, max_size=4),
    inputs=st.integers(1, 2**64 - 1),
)
def test_products_of_sizes_that_overflow_are_errors(units: list[int], inputs: int) -> None:
    with pytest.raises(ValueError, match="memory"):
        culpa.Sequential([culpa.Dense(n) for n in units], loss="mse", input_size=inputs)


@pytest.mark.parametrize("size", [2**62, 2**63])
def test_a_model_too_large_for_its_data_stays_unbuilt(size: int) -> None:
    model = culpa.Sequential([culpa.Dense(size), culpa.Dense(1)], loss="mse")
    with untouched(model), pytest.raises(ValueError, match=f"{size}"):
        model.fit(X, VALUES)
    with untouched(model), pytest.raises(ValueError, match=r"shape|memory"):
        model.load_state_dict({"dense_0.weight": np.zeros((3, 2))}, partial=True)


@pytest.mark.parametrize("size", [2**31, 2**62, 2**63, 2**64 - 1, 10**30])
def test_a_batch_size_beyond_the_rows_is_one_batch(size: int) -> None:
    model, other = fresh(), fresh()
    model.fit(X, LABELS, epochs=2, batch_size=size)
    other.fit(X, LABELS, epochs=2, batch_size=N)
    assert state(model)["parameters"] == state(other)["parameters"]
    assert model._network.core is not None
    assert model._network.core.steps == 2


# Before the model has weights


def test_what_needs_weights_says_so_before_there_are_any(tmp_path: Path) -> None:
    model = fresh()
    calls: list[Callable[[], object]] = [
        lambda: model.predict(X),
        lambda: model.predict_logits(X),
        lambda: model.predict_proba(X),
        lambda: model.evaluate(X, LABELS),
        lambda: model.blame(X, LABELS),
        lambda: model.loss_and_gradients(X, LABELS),
        model.state_dict,
        lambda: model.layers[0].weight,
        lambda: model.layers[0].bias,
        lambda: model.save(tmp_path / "m.safetensors"),
    ]
    for call in calls:
        with untouched(model), pytest.raises(RuntimeError, match=r"no weights yet.*input_size="):
            call()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "poisson", "quantile"])
def test_regression_has_no_probabilities(loss: str) -> None:
    for model in (fresh(loss, input_size=3), fresh(loss)):
        with untouched(model), refused(ValueError, "predict_proba: ", f"got {loss}", "use predict"):
            model.predict_proba(X)


# Weights that come in


def bad_states(good: dict[str, NDArray[Any]]) -> dict[str, tuple[Any, type[Exception], str, str]]:
    key = "dense_0.weight"
    weight = good[key]
    without = {k: v for k, v in good.items() if k != "dense_1.bias"}
    return {
        "missing": (without, ValueError, "state: ", "'dense_1.bias'"),
        "extra": ({**good, "dense_2.bias": np.ones(2)}, ValueError, "state: ", "'dense_2.bias'"),
        "misspelt": (
            {**without, "dense_1.bais": np.ones(2)},
            ValueError,
            "state: ",
            "dense_1.bias",
        ),
        "transposed": ({**good, key: weight.T}, ValueError, f"{key}: ", "got shape (4, 3)"),
        "flat": ({**good, key: weight.ravel()}, ValueError, f"{key}: ", "got shape (12,)"),
        "NaN": ({**good, key: with_value(weight, np.nan, 1, 2)}, ValueError, f"{key}: ", "got nan"),
        "infinite": (
            {**good, "dense_1.bias": [np.inf, 0.0]},
            ValueError,
            "dense_1.bias: ",
            "got inf in row 0",
        ),
        "too large": (
            {**good, key: weight.astype(np.float64) * 0.0 + 1e300},
            ValueError,
            f"{key}: ",
            "fit float32",
        ),
        "complex": ({**good, key: weight * 1j}, TypeError, f"{key}: ", "complex"),
        "objects": ({**good, key: weight.astype(object)}, TypeError, f"{key}: ", "object"),
        "text": ({**good, key: "zeros"}, TypeError, f"{key}: ", "dtype <U"),
        "None": ({**good, key: None}, TypeError, f"{key}: ", "object"),
        "a list": (list(good), TypeError, "state: ", "got "),
        "None alone": (None, TypeError, "state: ", "got None"),
        "empty": ({}, ValueError, "state: ", "'dense_0.weight'"),
    }


@pytest.mark.parametrize("what", bad_states(fresh(input_size=3).state_dict()))
def test_bad_weights_are_refused(what: str) -> None:
    model = trained()
    bad, kind, name, says = bad_states(model.state_dict())[what]
    with untouched(model), refused(kind, name, says):
        model.load_state_dict(bad)


@pytest.mark.parametrize("what", bad_states(fresh(input_size=3).state_dict()))
def test_bad_weights_leave_an_unbuilt_model_unbuilt(what: str) -> None:
    model = fresh()
    bad, kind, _, _ = bad_states(fresh(input_size=3).state_dict())[what]
    with untouched(model), pytest.raises((kind, RuntimeError, ValueError)):
        model.load_state_dict(bad)


def test_a_layer_refuses_weights_of_another_shape() -> None:
    model = trained()
    for layer, bad in ((0, np.ones((4, 3))), (0, np.ones(12)), (2, np.ones((4, 3)))):
        with untouched(model), refused(ValueError, "dense_", "got shape"):
            model.layers[layer].weight = bad
    with untouched(model), refused(ValueError, "dense_0.bias: ", "(4,)", "got shape (5,)"):
        model.layers[0].bias = np.ones(5)
    with untouched(model), refused(ValueError, "dense_0.bias: ", "got nan"):
        model.layers[0].bias = [0.0, np.nan, 0.0, 0.0]


def test_weights_are_read_only_views_that_follow_training() -> None:
    model = trained()
    weight, bias = model.layers[0].weight, model.layers[0].bias
    with untouched(model):
        for view in (weight, bias):
            with pytest.raises(ValueError, match="read-only"):
                view[...] = 0.0
            with pytest.raises(ValueError, match="WRITEABLE"):
                view.setflags(write=True)
    before = weight.copy()
    model.fit(X, LABELS, epochs=1)
    assert not np.array_equal(weight, before)
    assert np.array_equal(weight, model.layers[0].weight)
    model.layers[0].weight = np.full((3, 4), 2.0)
    assert (weight == 2.0).all()


def test_the_views_outlive_the_model() -> None:
    weight = trained().layers[0].weight
    assert np.isfinite(weight).all()


def test_setting_one_layer_of_an_unbuilt_model_leaves_the_others_as_drawn() -> None:
    model, built = fresh(), fresh(input_size=3)
    model.layers[0].weight = np.ones((3, 4))
    assert model.input_size == 3
    assert (model.layers[0].weight == 1.0).all()
    np.testing.assert_array_equal(model.layers[2].weight, built.layers[2].weight)


# Memory-mapped data are read only once training runs


def mapped(folder: Path, array: NDArray[Any]) -> np.memmap[Any, Any]:
    path = folder / f"{len(list(folder.iterdir()))}.dat"
    result = np.memmap(path, dtype=array.dtype, mode="w+", shape=array.shape)
    result[:] = array
    return result


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_memory_map_that_holds_nan_takes_training_back(tmp_path: Path, value: float) -> None:
    x = mapped(tmp_path, with_value(X, value, N - 1, 1))
    model = trained()
    before = state(model)
    with refused(ValueError, "X: ", f"in row {N - 1}, column 1"):
        model.fit(x, LABELS, batch_size=4, shuffle=False)
    after = state(model)
    for key in ("parameters", "moments", "steps", "epochs", "optimizer", "input_size"):
        assert before[key] == after[key], key


def test_a_memory_map_that_holds_nan_takes_a_new_optimizer_back(tmp_path: Path) -> None:
    x = mapped(tmp_path, with_value(X, np.nan, N - 1, 1))
    model = trained()
    before = state(model)
    with refused(ValueError, "X: "):
        model.fit(x, LABELS, batch_size=4, shuffle=False, optimizer=culpa.SGD(0.1))
    after = state(model)
    for key in ("parameters", "moments", "steps", "epochs", "optimizer"):
        assert before[key] == after[key], key


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_mapped_targets_that_hold_nan_take_training_back(tmp_path: Path, value: float) -> None:
    y = mapped(tmp_path, with_value(VALUES, value, N - 1))
    model = trained("mse")
    before = state(model)
    with refused(ValueError, "y: ", f"in row {N - 1}"):
        model.fit(X, y, batch_size=4, shuffle=False)
    after = state(model)
    for key in ("parameters", "moments", "steps", "epochs", "optimizer"):
        assert before[key] == after[key], key


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "poisson"])
def test_nan_in_mapped_targets_is_found_for_every_task(tmp_path: Path, loss: str) -> None:
    good = np.full((N, 2), 0.5) if loss == "cross_entropy" else np.ones((N, 1))
    y = mapped(tmp_path, with_value(good, np.nan, 2, 0))
    model = trained(loss)
    before = state(model)
    with refused(ValueError, "y: ", "nan in row 2, column 0"):
        model.fit(X, y, batch_size=4)
    assert state(model)["parameters"] == before["parameters"]
    for call in (model.evaluate, model.blame, model.loss_and_gradients):
        with refused(ValueError, "y: ", "nan in row 2, column 0"):
            call(X, y)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_signalling_nan_in_a_memory_map_is_a_nan(tmp_path: Path, dtype: str) -> None:
    model = trained("mse")
    x = mapped(tmp_path, with_signalling_nan(X, dtype, 2, 1))
    y = mapped(tmp_path, with_signalling_nan(VALUES, dtype, 2))
    with refused(ValueError, "X: ", "nan in row 2, column 1"):
        model.fit(x, VALUES)
    with refused(ValueError, "X: ", "nan in row 2, column 1"):
        model.predict(x)
    with refused(ValueError, "y: ", "nan in row 2"):
        model.fit(X, y)


def test_mapped_validation_data_that_hold_nan_take_training_back(tmp_path: Path) -> None:
    x = mapped(tmp_path, with_value(X, np.nan, 3, 1))
    model = trained()
    before = state(model)
    with refused(ValueError, "X (validation): ", "nan in row 3, column 1"):
        model.fit(X, LABELS, validation_data=(x, LABELS))
    after = state(model)
    for key in ("parameters", "moments", "steps", "epochs", "optimizer"):
        assert before[key] == after[key], key


def test_an_unbuilt_model_that_meets_a_bad_memory_map_stays_unbuilt(tmp_path: Path) -> None:
    model = fresh()
    with refused(ValueError, "X: "):
        model.fit(mapped(tmp_path, with_value(X, np.nan, 3, 1)), LABELS)
    assert model.input_size is None
    assert model.optimizer is None


def test_a_memory_map_that_holds_nan_is_found_by_what_guesses(tmp_path: Path) -> None:
    x = mapped(tmp_path, with_value(X, np.nan, 3, 1))
    model = trained()
    calls: list[Callable[[], object]] = [
        lambda: model.predict(x),
        lambda: model.predict_proba(x),
        lambda: model.evaluate(x, LABELS),
        lambda: model.blame(x, LABELS),
        lambda: model.loss_and_gradients(x, LABELS),
    ]
    for call in calls:
        with untouched(model), refused(ValueError, "X: ", "nan in row 3, column 1"):
            call()


# What must work


class Frame:
    """What pandas' and Polars' frames offer NumPy."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self._array.astype(dtype) if dtype is not None else self._array


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    array = array.copy()
    array.setflags(write=False)
    return array


def misaligned(array: NDArray[Any]) -> NDArray[Any]:
    room = np.zeros(array.nbytes + 1, np.uint8)
    result = room[1:].view(array.dtype).reshape(array.shape)
    result[...] = array
    assert not result.flags.aligned
    return result


LAYOUTS: dict[str, Callable[[NDArray[Any], Path], Any]] = {
    "read-only": lambda a, _: read_only(a),
    "Fortran order": lambda a, _: np.asfortranarray(a),
    "every second row": lambda a, _: np.repeat(a, 2, axis=0)[::2],
    "every second column": lambda a, _: np.repeat(a, 2, axis=-1)[..., ::2],
    "backwards": lambda a, _: np.ascontiguousarray(a[::-1])[::-1],
    "foreign byte order": lambda a, _: a.astype(a.dtype.newbyteorder()),
    "misaligned": lambda a, _: misaligned(a),
    "lists": lambda a, _: a.tolist(),
    "tuples": lambda a, _: tuple(map(tuple, a.tolist())) if a.ndim > 1 else tuple(a.tolist()),
    "a frame": lambda a, _: Frame(a),
    "a memory map": lambda a, folder: mapped(folder, a),
    "a masked array without masked values": lambda a, _: np.ma.masked_array(a),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_bits(layout: str, tmp_path: Path) -> None:
    plain, other = fresh("mse"), fresh("mse")
    weight = np.linspace(0.5, 2.0, N)
    arrange = LAYOUTS[layout]
    x, y, w = (arrange(array, tmp_path) for array in (X, VALUES, weight))
    options: dict[str, Any] = {"epochs": 2, "batch_size": 8}
    ours = plain.fit(X, VALUES, sample_weight=weight, validation_data=(X, VALUES), **options)
    theirs = other.fit(x, y, sample_weight=w, validation_data=(x, y), **options)
    assert state(plain)["parameters"] == state(other)["parameters"]
    for key in ("loss", "r2", "val_loss", "val_r2"):
        assert ours[key] == theirs[key]
    np.testing.assert_array_equal(plain.predict(X), other.predict(x))
    assert plain.evaluate(X, VALUES) == other.evaluate(x, y)
    one, two = plain.blame(X, VALUES), other.blame(x, y)
    np.testing.assert_array_equal(one.inputs, two.inputs)
    np.testing.assert_array_equal(one.gradient_norms, two.gradient_norms)


def test_a_broadcast_row_is_that_row_many_times() -> None:
    model, other = fresh("mse"), fresh("mse")
    x = np.broadcast_to(X[0], (N, 3))
    model.fit(x, VALUES, epochs=1)
    other.fit(np.ascontiguousarray(x), VALUES, epochs=1)
    assert state(model)["parameters"] == state(other)["parameters"]


DTYPES = ["bool", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_real_dtype_gives_the_bits_of_float64(dtype: str) -> None:
    x = np.arange(3 * N).reshape(N, 3) % 7 % (2 if dtype == "bool" else 7)
    y = np.arange(N) % 3 % (2 if dtype == "bool" else 3)
    for model_dtype in ("float32", "float64"):
        model = fresh("mse", dtype=model_dtype)
        other = fresh("mse", dtype=model_dtype)
        model.fit(x.astype(dtype), y.astype(dtype), epochs=2)
        other.fit(x.astype("f8"), y.astype("f8"), epochs=2)
        assert state(model)["parameters"] == state(other)["parameters"]


def test_values_that_only_float64_holds_are_welcome_in_a_float64_model() -> None:
    model = culpa.Sequential([culpa.Dense(1)], loss="mae", dtype="float64", input_scale=1e-300)
    model.fit(np.full((N, 3), 1e300), VALUES, epochs=1)
    assert np.isfinite(model.predict(np.full((N, 3), 1e300))).all()


@pytest.mark.parametrize("dtype", ["bool", "i1", "u1", "i2", "u4", "i8", "u8"])
def test_labels_of_every_integer_dtype_give_the_same_bits(dtype: str) -> None:
    model, other = fresh(), fresh()
    model.fit(X, LABELS.astype(dtype), epochs=2)
    other.fit(X, LABELS, epochs=2)
    assert state(model)["parameters"] == state(other)["parameters"]


@pytest.mark.parametrize("loss", ["mse", "binary_cross_entropy", "poisson"])
def test_one_output_takes_targets_flat_or_in_a_column(loss: str) -> None:
    y = TARGETS[loss]
    model, other = fresh(loss), fresh(loss)
    model.fit(X, y, epochs=2)
    other.fit(X, y[:, None], epochs=2)
    assert state(model)["parameters"] == state(other)["parameters"]
    assert model.evaluate(X, y) == other.evaluate(X, y[:, None])


def test_images_of_bytes_are_welcome() -> None:
    images = RNG.integers(0, 256, (N, 5, 4), dtype=np.uint8)
    model = fresh(input_scale=1 / 255)
    with refused(ValueError, "X: ", "X.reshape(len(X), -1)"):
        model.fit(images, LABELS)
    history = model.fit(images.reshape(N, -1), LABELS, epochs=1)
    assert np.isfinite(history.loss).all()


def test_no_epochs_build_the_model_and_change_nothing() -> None:
    model = fresh()
    history = model.fit(X, LABELS, epochs=0)
    assert (history.epochs, len(history)) == (0, 0)
    assert state(model)["parameters"] == state(fresh(input_size=3))["parameters"]
    model = trained()
    before = state(model)
    model.fit(X, LABELS, epochs=0)
    for key in ("parameters", "moments", "steps", "epochs"):
        assert state(model)[key] == before[key]


def test_a_single_example_is_enough() -> None:
    history = fresh().fit(X[:1], LABELS[:1], epochs=2)
    assert np.isfinite(history.loss).all()


# The private core: whatever it is given, it does not crash. The snippets run in another process
# (tests/programs/run_snippets_of_the_core.py), which begins again after one that kills it.

CORE_SNIPPETS: dict[str, str] = {
    # that raise
    "x of objects": "ready().train(job(examples(x=np.ones((5, 3), object))))",
    "x of strings": "ready().train(job(examples(x=np.full((5, 3), 'a'))))",
    "x of long doubles": "ready().train(job(examples(x=np.full((5, 3), 1j))))",
    "x in foreign byte order": (
        "ready().train(job(examples(x=np.ones((5, 3), np.dtype('f8').newbyteorder()))))"
    ),
    "x too wide": "ready().train(job(examples(x=np.ones((5, 4)))))",
    "x too narrow": "ready().predict(np.ones((5, 2)))",
    "x flat": "ready().train(job(examples(x=np.ones(5))))",
    "x a number": "ready().train(job(examples(x=np.array(5.0))))",
    "x a list": "_core.ExampleArrays([[1.0]])",
    "x None": "_core.ExampleArrays(None)",
    "targets too few": "ready().train(job(examples(targets=np.ones((4, 2)))))",
    "targets too narrow": "ready().train(job(examples(targets=np.ones((5, 1)))))",
    "targets of objects": "ready().train(job(examples(targets=np.ones((5, 2), object))))",
    "no targets": "ready().train(job(_core.ExampleArrays(np.ones((5, 3)))))",
    "no targets to evaluate": "ready().evaluate(_core.ExampleArrays(np.ones((5, 3))))",
    "no targets to blame": "ready().blame(_core.ExampleArrays(np.ones((5, 3))))",
    "attribute without a column": ("ready().attribute(np.ones((5, 2)))"),
    "attribute beyond the outputs": (
        "ready().attribute(np.ones((1, 3)), targets=np.array([2**40]))"
    ),
    "attribute with too few weights": (
        "ready().attribute(np.ones((5, 3)), method='path', baseline=np.ones((1, 3)), "
        "points=np.ones(2), weights=np.ones(1))"
    ),
    "attribute by no path": (
        "ready().attribute(np.ones((5, 3)), method='path', baseline=np.ones((1, 3)))"
    ),
    "attribute with two baselines": (
        "ready().attribute(np.ones((5, 3)), baseline=np.ones((2, 3)), method='deeplift')"
    ),
    "attribute and rescale by nothing": "ready().attribute(np.ones((5, 3)), method='deeplift')",
    "attribute with a baseline too many": (
        "ready().attribute(np.ones((5, 3)), baseline=np.ones((1, 3)))"
    ),
    "influence of no model": "influence([])",
    "influence of None": "influence([None])",
    "influence of a model twice": "m = ready(); influence([m, m])",
    "influence of two dtypes": "influence([ready(), ready(bits=64)])",
    "influence of other inputs": (
        "influence([ready(), ready(layers=((4, 2, 'identity', 0.0, 0.0),))])"
    ),
    "influence of other outputs": (
        "influence([ready(), ready(layers=((3, 1, 'identity', 0.0, 0.0),))])"
    ),
    "influence without targets": "influence([ready()], test=_core.ExampleArrays(np.ones((5, 3))))",
    "influence on a label too large": (
        "found(influence([ready('cross_entropy')], train=labels(0, 1), test=labels(0, 2)))"
    ),
    "influence with too few factors": "influence([ready()], factors=np.ones(0))",
    "influence with a negative top": "influence([ready()], top=-1)",
    "attribute with an empty background": (
        "ready().attribute(np.ones((5, 3)), method='expected', background=np.ones((0, 3)), "
        "samples=1)"
    ),
    "attribute without samples": (
        "ready().attribute(np.ones((5, 3)), method='expected', background=np.ones((2, 3)))"
    ),
    "attribute without noise": ("ready().attribute(np.ones((5, 3)), method='smooth', samples=1)"),
    "attribute with too little noise": (
        "ready().attribute(np.ones((5, 3)), method='smooth', samples=1, noise=np.ones(2))"
    ),
    "attribute without epsilon": "ready().attribute(np.ones((5, 3)), method='lrp')",
    "attribute to nodes without a path": "ready().attribute(np.ones((5, 3)), nodes=True)",
    "attribute by no method": "ready().attribute(np.ones((5, 3)), method='guess')",
    "labels for regression": "ready().train(job(labels(0, 0, 0, 0, 0)))",
    "labels of int64": (
        "ready('cross_entropy').train(job(examples(labels=np.zeros(5, np.int64))))"
    ),
    "labels too few": "ready('cross_entropy').train(job(labels(0, 0)))",
    "labels too many": "ready('cross_entropy').evaluate(labels(0, 0, 0, 0, 0, 0))",
    "a label too large": "found(ready('cross_entropy').train(job(labels(0, 1, 2, 0, 0))))",
    "a label far too large": (
        "found(ready('cross_entropy').train(job(labels(0, 1, 2**31 - 1, 0, 0))))"
    ),
    "a negative label": "found(ready('cross_entropy').train(job(labels(0, 1, -2**31, 0, 0))))",
    "weights of float32": "ready().train(job(examples(sample_weights=np.ones(5, np.float32))))",
    "weights too few": "ready().train(job(examples(sample_weights=np.ones(4))))",
    "weights with gaps": "ready().train(job(examples(sample_weights=np.ones(10)[::2])))",
    "order out of range": "ready().train(job(examples(order=np.array([0, 1, 2, 3, 5]))))",
    "order negative": "ready().train(job(examples(order=np.array([0, 1, 2, 3, -1]))))",
    "order of int32": "ready().train(job(examples(order=np.arange(5, dtype=np.int32))))",
    "order of floats": "ready().train(job(examples(order=np.arange(5.0))))",
    "order in a column": "ready().train(job(examples(order=np.arange(5)[:, None])))",
    "order too short": "ready().train(job(examples(order=np.arange(4))))",
    "score_scale too short": "ready().train(job(examples(score_scale=np.ones(1))))",
    "offsets beyond the rows": "ready().train(job(offsets=(0, 6)))",
    "offsets far beyond the rows": "ready().train(job(offsets=(0, 2**62)))",
    "offsets negative": "ready().train(job(offsets=(-1, 5)))",
    "offsets falling": "ready().train(job(offsets=(5, 0)))",
    "offsets too few": "ready().train(job(offsets=(0,)))",
    "offsets too many": "ready().train(job(offsets=(0, 2, 5)))",
    "rates a number": (
        "ready().train(_core.Job(examples(), offsets=np.array([0, 5]),"
        " learning_rates=np.array(0.1)))"
    ),
    "rates a list": "_core.Job(examples(), offsets=np.array([0, 5]), learning_rates=[0.1])",
    "a report too long": "ready().train(job(losses=np.zeros(2)))",
    "a report of float32": "ready().train(job(losses=np.zeros(1, np.float32)))",
    "a read-only report": "ready().train(job(losses=np.broadcast_to(0.0, (1,))))",
    "example_losses too short": "ready().train(job(example_losses=np.zeros(4)))",
    "example_scores beside an order too long": (
        "ready().train(job(examples(order=np.arange(3)), (0, 3), example_scores=np.zeros(5)))"
    ),
    "example_scores read-only": (
        "ready().train(job(example_scores=np.broadcast_to(np.zeros(5), (5,))))"
    ),
    "a job of nothing": "ready().train(None)",
    "parameters too short": "ready().set_parameters(np.zeros(3, np.float32))",
    "parameters of float64": "m = ready(); m.set_parameters(np.zeros(len(m.parameters())))",
    "moments too short": "ready().set_moments(np.zeros(3, np.float32), np.zeros(3, np.float32), 0)",
    "negative steps": "ready().steps = -1",
    "a layer too many": "ready().array('dense_2.weight')",
    "an array without a layer": "ready().array('weight')",
    "a gradient too short": "ready().apply(np.zeros(3, np.float32), 0.1)",
    "no layers": "model(layers=())",
    "layers that do not fit": (
        "model(layers=((3, 4, 'relu', 0.0, 0.0), (5, 2, 'relu', 0.0, 0.0)))"
    ),
    "a layer of nothing": "model(layers=((3, 0, 'relu', 0.0, 0.0),))",
    "a negative layer size": "model(layers=((-3, 2, 'relu', 0.0, 0.0),))",
    "a layer that overflows": "model(layers=((2**63, 2, 'relu', 0.0, 0.0),))",
    "layers that overflow together": (
        "model(layers=((2**41, 1, 'relu', 0.0, 0.0), (1, 2**63, 'relu', 0.0, 0.0)))"
    ),
    "no such kind of stage": "_core.Stage('conv', 'conv_0', 3, 3)",
    "a negative skip": "_core.Stage('add', 'add_0', 3, 3, skip=-1)",
    "a skip that is still to come": (
        "model(stages=[_core.Stage('dense', 'd', 3, 3), _core.Stage('add', 'a', 3, 3, skip=2)])"
    ),
    "a skip of another width": (
        "model(stages=[_core.Stage('dense', 'd', 3, 2), _core.Stage('add', 'a', 2, 2, skip=0)])"
    ),
    "a scale that widens": (
        "model(stages=[_core.Stage('scale', 's', 3, 4), _core.Stage('dense', 'd', 4, 2)])"
    ),
    "no stage with weights": "model(stages=[_core.Stage('elementwise', 'e', 3, 2)])",
    "no weights at all": "model(stages=[_core.Stage('elementwise', 'e', 3, 3)])",
    "too many rates": (
        "model(stages=[_core.Stage('dense', 'd', 3, 2, learning_rate_factors=[1.0] * 3)])"
    ),
    "rates of none": (
        "model(stages=[_core.Stage('dense', 'd', 3, 3), "
        "_core.Stage('add', 'a', 3, 3, learning_rate_factors=[1.0])])"
    ),
    "rates of NaN: train?": (
        "m = model(stages=[_core.Stage('dense', 'd', 3, 2, learning_rate_factors=[np.nan, 1])]); "
        "m.set_optimizer(_core.Optimizer('adam')); m.train(job())"
    ),
    "scales alone: train?": (
        "m = model(stages=[_core.Stage('scale', 's', 3, 3)]); "
        "m.train(job(examples(targets=np.ones((5, 3)))))"
    ),
    "a norm of epsilon 0: train?": (
        "m = model(stages=[_core.Stage('layer_norm', 'n', 3, 3), _core.Stage('dense', 'd', 3, 2)])"
        "; m.train(job())"
    ),
    "no such activation": "model(layers=((3, 2, 'rel', 0.0, 0.0),))",
    "no such loss": "model('ms')",
    "no such optimizer": "_core.Optimizer('adma')",
    "optimizer None": "ready().set_optimizer(None)",
    "no such distribution": "_core.draw_numbers('gauss', 2, 0, 0, 0)",
    "too many random numbers": "_core.draw_numbers('uniform', 2**62, 0, 0, 0)",
    "far too many random numbers": "_core.draw_numbers('normal', 2**64 - 1, 0, 0, 0)",
    "too long a permutation": "_core.permutation(2**62, 0, 0, 0)",
    "far too long a permutation": "_core.permutation(2**64 - 1, 0, 0, 0)",
    "too long a validation order": "_core.validation_order(2**62, 0)",
    "no such split": "_core.force_plan(2, 'layers')",
    "side by side: too few jobs": "_core.train_side_by_side([ready()], [])",
    "side by side: twice the same": (
        "m = ready(); _core.train_side_by_side([m, m], [job(), job()])"
    ),
    "side by side: two dtypes": (
        "_core.train_side_by_side([ready(), ready(bits=64)], [job(), job()])"
    ),
    "side by side: no model": "_core.train_side_by_side([None], [job()])",
    "side by side: no job": "_core.train_side_by_side([ready()], [None])",
    "finite: flat": "_core.find_not_finite(np.ones(3), 'float32')",
    "finite: objects": "_core.find_not_finite(np.ones((3, 1), object), 'float32')",
    # that either raise or return
    "no optimizer: train?": "model().train(job())",
    "no optimizer: apply?": "m = model(); m.apply(np.zeros(len(m.parameters()), np.float32), 0.1)",
    "no optimizer: side by side?": "_core.train_side_by_side([model()], [job()])",
    "no rows: predict?": "ready().predict(np.ones((0, 3)))",
    "no rows: classes?": "ready().predict(np.ones((0, 3)), True)",
    "no rows: evaluate?": "ready().evaluate(examples(0))",
    "no rows: blame?": (
        "ready().blame(examples(0), want={'nodes', 'hidden', 'slopes', 'read', 'inputs', "
        "'gradient_norms', 'gradient'})"
    ),
    "no rows: train?": "ready().train(job(examples(0), offsets=(0, 0)))",
    "no steps: train?": "ready().train(job(offsets=(0,), rates=()))",
    "a long order: train?": "ready().train(job(examples(order=np.zeros(9, np.int64)), (0, 9)))",
    "side by side: nobody?": "_core.train_side_by_side([], [])",
    "finite: no rows?": "_core.find_not_finite(np.ones((0, 3)), 'float32')",
    "finite: no columns?": "_core.find_not_finite(np.ones((3, 0)), 'float64')",
    "a rate of NaN: train?": "ready().train(job(rates=(np.nan,)))",
    "weights of NaN: train?": "ready().train(job(examples(sample_weights=np.full(5, np.nan))))",
    "weights below zero: train?": "ready().train(job(examples(sample_weights=-np.ones(5))))",
    "no permutation?": "_core.permutation(0, 0, 0, 0)",
}


@pytest.fixture(scope="module")
def core_outcomes() -> dict[str, str]:
    outcomes: dict[str, str] = {}
    left = list(CORE_SNIPPETS.items())
    while left:
        ran = helpers.run_program("run_snippets_of_the_core.py", text=json.dumps(left), timeout=120)
        name = ""
        for line in ran.stdout.splitlines():
            if line.startswith("begin "):
                name = line.removeprefix("begin ")
                outcomes[name] = f"crashed ({ran.returncode})"
            elif re.match("raised|returned", line):
                outcomes[name] = line
        assert name, ran.stderr
        left = left[[n for n, _ in left].index(name) + 1 :]
    return outcomes


@pytest.mark.parametrize("what", CORE_SNIPPETS)
def test_the_core_does_not_crash(what: str, core_outcomes: dict[str, str]) -> None:
    outcome = core_outcomes[what]
    if what.endswith("?"):
        assert outcome == "returned" or outcome.startswith("raised"), outcome
    else:
        assert outcome.startswith("raised"), outcome
