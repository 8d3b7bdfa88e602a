"""Layers: what they refuse, how their parameters begin, and what they are called in files."""

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import culpa
from culpa import _core
from culpa.parts.architecture import Architecture
from culpa.parts.layer import KINDS, Layer

STACK = (
    culpa.Dropout(0.1),
    culpa.Scale(learning_rate_factor=6),
    culpa.Dense(4, "selu", bias_initializer="normal", learning_rate_factor=(1, 0.1)),
    culpa.Residual(
        [
            culpa.LayerNorm(1e-3, learning_rate_factor=[0.5, 0]),
            culpa.Activation("elu", 0.3),
            culpa.Residual([culpa.Dense(4), culpa.Scale()]),
            culpa.Dropout(0.2),
        ]
    ),
    culpa.Activation("relu"),
    culpa.LayerNorm(),
    culpa.Dense(2, culpa.Activation("leaky_relu", 0.2)),
)


def test_a_config_by_way_of_json_gives_every_kind_back() -> None:
    architecture = Architecture(STACK, culpa.MSE(), input_size=3)
    config = json.loads(json.dumps(architecture.config()))
    again = Architecture.from_config(config)
    assert again == architecture
    assert pickle.loads(pickle.dumps(architecture)) == architecture
    assert again.shapes() == {
        "scale_0.factor": (3,),
        "dense_0.weight": (3, 4),
        "dense_0.bias": (4,),
        "layer_norm_0.gain": (4,),
        "layer_norm_0.shift": (4,),
        "dense_1.weight": (4, 4),
        "dense_1.bias": (4,),
        "scale_1.factor": (4,),
        "layer_norm_1.gain": (4,),
        "layer_norm_1.shift": (4,),
        "dense_2.weight": (4, 2),
        "dense_2.bias": (2,),
    }
    assert again.dense_names == ["dense_0", "dense_1", "dense_2"]
    assert set(KINDS) >= {"dense", "dropout", "activation", "scale", "layer_norm", "residual"}


def test_the_config_of_plain_layers_is_that_of_older_files() -> None:
    layers = [culpa.Dense(3, "relu").config(), culpa.Dropout(0.5).config()]
    plain = {"dense": 3, "activation": "relu", "alpha": 0.0, "initializer": "glorot_uniform"}
    assert layers == [plain, {"dropout": 0.5}]


def test_biases_begin_as_asked_and_change_no_weight() -> None:
    def state(**options: Any) -> dict[str, Any]:
        layers = [culpa.Dense(4000, **options), culpa.Dense(3, **options)]
        return culpa.Sequential(layers, "mse", input_size=2, seed=5, dtype="float64").state_dict()

    zeros, normal = state(), state(bias_initializer="normal")
    for name in ("dense_0", "dense_1"):
        assert not zeros[f"{name}.bias"].any()
        np.testing.assert_array_equal(normal[f"{name}.weight"], zeros[f"{name}.weight"])
    biases = normal["dense_0.bias"]
    assert abs(biases.mean()) < 0.08
    assert abs(biases.std() - 1.0) < 0.05
    assert not np.isin(normal["dense_1.bias"], biases).any()  # streams of their own
    weights = _core.draw_numbers("normal", 4000, 5, 0, 0)
    assert not np.isin(biases, weights).any()
    np.testing.assert_array_equal(state(bias_initializer="normal")["dense_0.bias"], biases)


def test_parameters_are_views_that_can_be_assigned() -> None:
    model = culpa.Sequential(STACK, "mse", input_size=3)
    scale, residual = model.layers[1], model.layers[3]
    assert scale.name == "scale_0"
    np.testing.assert_array_equal(scale.factor, np.ones(3))
    with pytest.raises(ValueError, match="read-only"):
        scale.factor[0] = 2.0
    scale.factor = [1, 2, 3]
    np.testing.assert_array_equal(model.state_dict()["scale_0.factor"], [1, 2, 3])
    norm, inner = residual.layers[0], residual.layers[2]
    norm.gain = np.full(4, 2.0)
    inner.layers[0].bias = np.arange(4)
    np.testing.assert_array_equal(model.state_dict()["layer_norm_0.gain"], np.full(4, 2.0))
    np.testing.assert_array_equal(model.state_dict()["dense_1.bias"], np.arange(4))
    for wrong in ("weight", "nothing"):
        with pytest.raises(AttributeError, match=wrong):
            getattr(norm, wrong)
        with pytest.raises(AttributeError, match=rf"{wrong}: expected a parameter.*gain, shift"):
            setattr(norm, wrong, 1.0)
    with pytest.raises(ValueError, match=r"layer_norm_0\.gain: expected shape \(4,\)"):
        norm.gain = np.ones(3)
    assert repr(norm) == repr(norm.description)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), model.copy()):
        again.layers[1].factor = [0, 0, 0]
        np.testing.assert_array_equal(scale.factor, [1, 2, 3])


@pytest.mark.parametrize("layers", [STACK, STACK[1:], (culpa.LayerNorm(), culpa.Dense(2))])
def test_a_model_without_an_input_size_learns_it_from_a_state(layers: tuple[Layer, ...]) -> None:
    built = culpa.Sequential(layers, "mse", input_size=3, seed=1)
    fresh = culpa.Sequential(layers, "mse", seed=2)
    fresh.load_state_dict(built.state_dict())
    assert fresh.input_size == 3
    X = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_array_equal(fresh.predict(X), built.predict(X))


DENSE = culpa.Dense(3)

REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "a factor below 0": (
        lambda: culpa.Dense(3, learning_rate_factor=-1),
        ValueError,
        r"learning_rate_factor: .*-1",
    ),
    "a factor of NaN": (lambda: culpa.Scale(float("nan")), ValueError, "learning_rate_factor: "),
    "three factors": (
        lambda: culpa.Dense(3, learning_rate_factor=(1, 2, 3)),  # type: ignore[arg-type]
        ValueError,
        r"learning_rate_factor: expected a number, or one each for weight and bias, got 3",
    ),
    "two factors of one array": (
        lambda: culpa.Scale((1, 2)),  # type: ignore[arg-type]
        TypeError,
        "learning_rate_factor: ",
    ),
    "a factor in words": (
        lambda: culpa.LayerNorm(learning_rate_factor="slow"),  # type: ignore[arg-type]
        TypeError,
        "learning_rate_factor: .*'slow'",
    ),
    "an unknown bias_initializer": (
        lambda: culpa.Dense(3, bias_initializer="norml"),
        ValueError,
        "bias_initializer: .*'normal'",
    ),
    "an epsilon of 0": (lambda: culpa.LayerNorm(0.0), ValueError, "epsilon: "),
    "an empty residual": (lambda: culpa.Residual([]), ValueError, "layers: .*got none"),
    "a residual of one layer without a list": (
        lambda: culpa.Residual(DENSE),  # type: ignore[arg-type]
        TypeError,
        "layers: expected a list of layers",
    ),
    "a residual of numbers": (
        lambda: culpa.Residual([3]),  # type: ignore[list-item]
        TypeError,
        r"layers\[0\]: expected a layer",
    ),
    "a residual that widens": (
        lambda: culpa.Sequential([DENSE, culpa.Residual([culpa.Dense(4)]), DENSE], "mse"),
        ValueError,
        r"layers\[1\]: .*got 4 from 3; end it with culpa\.Dense\(3\)",
    ),
    "a nested residual that widens": (
        lambda: culpa.Sequential(
            [DENSE, culpa.Residual([DENSE, culpa.Residual([culpa.Dense(4)])])], "mse"
        ),
        ValueError,
        r"layers\[1\]\.layers\[1\]: .*got 4 from 3",
    ),
    "a residual that the inputs do not fit": (
        lambda: culpa.Sequential([culpa.Residual([DENSE]), DENSE], "mse", input_size=5),
        ValueError,
        r"layers\[0\]: .*got 3 from 5",
    ),
    "no dense layer": (
        lambda: culpa.Sequential([culpa.Scale()], "mse"),
        ValueError,
        "layers: expected at least one Dense layer",
    ),
    "a file of a layer that is not known": (
        lambda: Architecture.from_config(
            {**Architecture((DENSE,), culpa.MSE()).config(), "layers": [{"kind": "conv"}]}
        ),
        ValueError,
        "layers: .*'conv'",
    ),
}


@pytest.mark.parametrize(("make", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(
    make: Callable[[], Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        make()


def test_data_that_do_not_fit_a_residual_leave_the_model_as_it_was() -> None:
    model = culpa.Sequential([culpa.Residual([culpa.Dense(3)]), culpa.Dense(1)], "mse")
    with pytest.raises(ValueError, match=r"layers\[0\]: .*got 3 from 5"):
        model.fit(np.ones((4, 5)), np.ones(4), verbose=False)
    assert model.input_size is None
    model.fit(np.ones((4, 3)), np.ones(4), epochs=1, verbose=False)
