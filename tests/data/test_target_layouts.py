"""Targets of any dtype and layout are those of the same numbers side by side."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import culpa
import helpers

N = 70
GIVEN = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
GIVEN += ["float16", "float32", "float64"]


def layouts(values: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """The same rows in other places."""
    n, m = values.shape
    wide = np.zeros((2 * n, 3 * m), values.dtype)
    wide[::2, ::3] = values
    odd = np.zeros(values.nbytes + 1, np.uint8)[1:].view(values.dtype).reshape(values.shape)
    odd[...] = values
    one = np.broadcast_to(values[:1], values.shape)
    return {
        "side by side": np.ascontiguousarray(values),
        "by column": np.asfortranarray(values),
        "of a wider array": wide[::2, ::3],
        "backwards": values[::-1, ::-1].copy()[::-1, ::-1],
        "not aligned": odd,
        "one row": one,
    }


# Around a register, for which rows of targets are taken in two ways.
@pytest.mark.parametrize("outputs", [1, 3, 8, 21])
@pytest.mark.parametrize("dtype", helpers.DTYPES)
def test_targets_of_any_layout_and_dtype(dtype: str, outputs: int) -> None:
    rng = np.random.default_rng(outputs)
    X = rng.normal(size=(N, 5))
    for given in GIVEN:
        values = (rng.integers(0, 2 if given == "bool" else 100, (N, outputs))).astype(given)
        if np.dtype(given).kind == "f":
            values += rng.random(values.shape).astype(given)
        for name, y in layouts(values).items():
            plain = np.ascontiguousarray(y).astype("float64")
            answers = []
            for targets in (y, plain):
                model = culpa.Sequential(
                    [culpa.Dense(outputs)], "mse", input_size=5, dtype=dtype, seed=1
                )
                model.fit(
                    X, targets, epochs=2, batch_size=16, optimizer=culpa.SGD(1e-4), verbose=False
                )
                scores = np.array([*model.evaluate(X, targets).values()]).tobytes()  # r2 may be NaN
                losses = model.blame(X, targets, want=("losses",)).losses
                answers.append((helpers.parameter_bytes(model), scores, losses.tobytes()))
            assert answers[0] == answers[1], (given, name)


@pytest.mark.parametrize("outputs", [1, 3, 8, 21])
def test_losses_are_those_of_the_rows_own_targets(outputs: int) -> None:
    """Whatever the order and the block, each row meets its own target."""
    rng = np.random.default_rng(0)
    y = np.arange(300.0 * outputs).reshape(300, outputs)
    model = culpa.Sequential([culpa.Dense(outputs)], "mae", input_size=2, dtype="float64")
    X = np.zeros((300, 2))
    np.testing.assert_array_equal(model.blame(X, y, want=("losses",)).losses, y.mean(axis=1))
    order = rng.permutation(300)

    class Keep(culpa.Callback):
        wants_examples = True

        def on_epoch_end(self, training: Any) -> None:
            rows, losses, _ = training.presented()
            np.testing.assert_array_equal(losses, y[rows].mean(axis=1))
            seen.extend(rows)

    seen: list[int] = []
    model.fit(
        X, y, rows=order[:200], epochs=1, batch_size=23, optimizer=culpa.SGD(0.0),
        callbacks=Keep(), verbose=False,
    )  # fmt: skip
    assert sorted(seen) == sorted(order[:200])


@pytest.mark.parametrize("outputs", [1, 3, 8, 21])
@pytest.mark.parametrize("dtype", helpers.DTYPES)
def test_targets_that_stop_being_finite_are_named(dtype: str, outputs: int, tmp_path: Any) -> None:
    """They are looked through before the fit, and again whenever they are read."""
    y = np.zeros((N, outputs))
    model = culpa.Sequential([culpa.Dense(outputs)], "mse", input_size=2, dtype=dtype)

    class Spoil(culpa.Callback):
        def on_epoch_end(self, training: Any) -> None:
            y[41, outputs - 1] = np.nan

    with pytest.raises(ValueError, match="row 41"):
        model.fit(np.zeros((N, 2)), y, epochs=3, callbacks=Spoil(), verbose=False)
