"""An architecture is frozen, and its config gives it back."""

import dataclasses
import json
import pickle

import pytest

import culpa
from culpa.parts.architecture import Architecture

ARCHITECTURES = [
    Architecture((culpa.Dense(3),), culpa.MSE()),
    Architecture(
        (
            culpa.Dropout(0.1),
            culpa.Dense(7, culpa.Activation("elu", 0.5), initializer="he_normal"),
            culpa.Dropout(0.5),
            culpa.Dense(2, culpa.Activation("leaky_relu", 0.2)),
        ),
        culpa.Quantile(0.9),
        seed=2**64 - 1,
        dtype="float64",
        input_scale=-0.25,
        input_size=3,
        feature_names=("a", "ü", ""),
    ),
]


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=["small", "whole"])
def test_the_config_gives_it_back_by_way_of_json(architecture: Architecture) -> None:
    config = json.loads(json.dumps(architecture.config()))
    assert Architecture.from_config(config) == architecture
    assert pickle.loads(pickle.dumps(architecture)) == architecture


def test_it_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ARCHITECTURES[0].seed = 1  # type: ignore[misc]
    model = culpa.Sequential([culpa.Dense(1)], "mse")
    for name in ("loss", "seed", "dtype", "input_scale", "input_size", "optimizer"):
        with pytest.raises(AttributeError):
            setattr(model, name, getattr(model, name))


def test_names_and_shapes_are_those_of_the_built_network() -> None:
    whole = ARCHITECTURES[1]
    expected = {
        "dense_0.weight": (3, 7),
        "dense_0.bias": (7,),
        "dense_1.weight": (7, 2),
        "dense_1.bias": (2,),
    }
    assert whole.shapes() == expected
    assert whole.dense_names == ["dense_0", "dense_1"]
    with pytest.raises(TypeError, match="input_size: expected an integer"):
        ARCHITECTURES[0].shapes()


@pytest.mark.parametrize("change", [{"layers": []}, {"loss": {"name": "mse"}}, {"seed": -1}])
def test_a_config_that_is_none_is_refused(change: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Architecture.from_config({**ARCHITECTURES[1].config(), **change})
