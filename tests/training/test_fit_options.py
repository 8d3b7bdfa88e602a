"""The options of fit are said in four places, for people and for type checkers: alike."""

import inspect
from dataclasses import MISSING, fields
from typing import Any, get_args

import pytest

import culpa
from culpa.training.options import FitOptions, Options, as_options

OWN = {"rows", "sample_weight"}  # what functions that hand options on name themselves


def explicit() -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(culpa.Sequential.fit).parameters.values()
    return {p.name: p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def test_fit_has_the_options_and_their_defaults() -> None:
    expected: dict[str, Any] = {field.name: field.default for field in fields(Options)}
    assert MISSING not in expected.values()
    assert {name: p.default for name, p in explicit().items()} == expected
    assert list(explicit()) == list(expected)


def test_functions_that_hand_options_on_take_the_same_types() -> None:
    types = {name: p.annotation for name, p in explicit().items() if name not in OWN}
    hints = FitOptions.__annotations__
    assert {name: hint.__forward_arg__ for name, hint in hints.items()} == types


@pytest.mark.parametrize("function", [culpa.fit_many, culpa.find_label_errors])
def test_they_unpack_them(function: Any) -> None:
    signature = inspect.signature(function, eval_str=True, locals={"FitOptions": FitOptions})
    assert get_args(signature.parameters["options"].annotation) == (FitOptions,)


def test_fit_hands_on_each_of_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[Options] = []
    monkeypatch.setattr(
        culpa.training.run, "fit", lambda network, model, X, y, options: got.append(options)
    )
    given = {name: object() for name in explicit()}
    culpa.Sequential([culpa.Dense(1)], "mse").fit([[0.0]], [0.0], **given)  # type: ignore[arg-type]
    assert got == [Options(**given)]  # type: ignore[arg-type]


def test_an_unknown_option_is_told_its_name_here() -> None:
    model = culpa.Sequential([culpa.Dense(1)], "mse")
    with pytest.raises(TypeError, match="it is called 'epochs' here"):
        model.fit([[0.0]], [0.0], n_epochs=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"fit: expected one of rows, epochs, .* got 'nonsense'"):
        as_options({"nonsense": 1})
