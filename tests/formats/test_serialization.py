"""Models in files: what was saved comes back, whole or not at all, and no file does harm."""

from __future__ import annotations

import json
import os
import pickle
import signal
import stat
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import culpa
import helpers
from culpa.parts.layers import ACTIVATIONS, INITIALIZERS
from culpa.parts.losses import Loss

Array = NDArray[Any]
X = np.random.default_rng(0).normal(size=(9, 3))
LOSSES: list[str | Loss] = [
    "cross_entropy",
    culpa.CrossEntropy(0.1),
    "binary_cross_entropy",
    "mse",
    "mae",
    "huber",
    culpa.Huber(0.25),
    "poisson",
    "gamma",
    "tweedie",
    culpa.Tweedie(2.5),
    "quantile",
    culpa.Quantile(0.9),
]


def small(**options: Any) -> culpa.Sequential:
    layers = [culpa.Dense(2, "relu"), culpa.Dense(1)]
    return culpa.Sequential(layers, **{"loss": "mse", "input_size": 3, **options})


def assert_same(model: culpa.Sequential, other: culpa.Sequential) -> None:
    assert other.config() == model.config()
    mine, its = model.state_dict(), other.state_dict()
    assert mine.keys() == its.keys()
    for key, value in mine.items():
        assert value.dtype == its[key].dtype
        assert value.tobytes() == its[key].tobytes()
    assert model.predict_logits(X).tobytes() == other.predict_logits(X).tobytes()
    assert model.predict(X).tobytes() == other.predict(X).tobytes()


def assert_round_trip(model: culpa.Sequential, folder: Path) -> culpa.Sequential:
    path = folder / "model.safetensors"
    model.save(path)
    assert [entry.name for entry in folder.iterdir()] == [path.name]
    other = culpa.load(path)
    assert_same(model, other)
    assert other.loss == model.loss
    assert other.seed == model.seed
    assert repr(other) == repr(model)
    return other


# What was saved comes back


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_loss_comes_back(loss: Any, dtype: str, tmp_path: Path) -> None:
    model = culpa.Sequential(
        [culpa.Dense(5, "tanh"), culpa.Dense(2)], loss=loss, input_size=3, dtype=dtype, seed=3
    )
    other = assert_round_trip(model, tmp_path)
    y = np.arange(9) % 2
    if model.loss.task != "classes":
        y = np.column_stack([y, 1 - y]) + (model.loss.link == "log")
    assert other.evaluate(X, y) == model.evaluate(X, y)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_comes_back(activation: str, tmp_path: Path) -> None:
    layers = [culpa.Dense(5, activation), culpa.Dense(2, activation)]
    assert_round_trip(culpa.Sequential(layers, loss="mse", input_size=3), tmp_path)


@pytest.mark.parametrize("name", ["leaky_relu", "elu"])
@pytest.mark.parametrize("alpha", [None, 0.0, 0.3, 2, 1 / 3])
def test_every_alpha_comes_back(name: str, alpha: float | None, tmp_path: Path) -> None:
    layers = [culpa.Dense(5, culpa.Activation(name, alpha)), culpa.Dense(1)]
    other = assert_round_trip(culpa.Sequential(layers, loss="mse", input_size=3), tmp_path)
    assert other.layers[0].activation == layers[0].activation


@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_every_initializer_comes_back(initializer: str, tmp_path: Path) -> None:
    layers = [culpa.Dense(5, initializer=initializer), culpa.Dense(1)]
    assert_round_trip(culpa.Sequential(layers, loss="mse", input_size=3), tmp_path)


@pytest.mark.parametrize("rates", [(0.0, 0.0), (0.1, 0.0), (0.0, 0.25), (1 / 3, 0.999)])
def test_dropout_comes_back(rates: tuple[float, float], tmp_path: Path) -> None:
    layers = [culpa.Dropout(rates[0]), culpa.Dense(5), culpa.Dropout(rates[1]), culpa.Dense(1)]
    model = culpa.Sequential(layers, loss="mse", input_size=3)
    other = assert_round_trip(model, tmp_path)
    assert [other.layers[i] for i in (0, 2)] == [layers[0], layers[2]]


@pytest.mark.parametrize("seed", [0, 7, 2**63, 2**64 - 1])
@pytest.mark.parametrize("scale", [1.0, 1 / 255, -2.5, 0.1, 1e-300])
def test_seed_and_input_scale_come_back(seed: int, scale: float, tmp_path: Path) -> None:
    model = small(seed=seed, input_scale=scale, dtype="float64")
    other = assert_round_trip(model, tmp_path)
    assert other.input_scale == scale


def test_a_loaded_model_trains_on_with_its_seed(tmp_path: Path) -> None:
    layers = [culpa.Dropout(0.3), culpa.Dense(8, "relu"), culpa.Dense(1)]
    model = culpa.Sequential(layers, loss="mse", input_size=3, seed=11)
    other = assert_round_trip(model, tmp_path)
    for one in (model, other):  # shuffles and dropout are drawn alike
        one.fit(X, X[:, 0], epochs=3, batch_size=4)
    assert_same(model, other)


def test_a_trained_model_comes_back_without_its_optimizer(tmp_path: Path) -> None:
    model = small()
    model.fit(X, X[:, 0], epochs=3, optimizer=culpa.SGD(0.1, momentum=0.9))
    other = assert_round_trip(model, tmp_path)
    assert other.optimizer is None
    assert other.history is None


def test_extreme_weights_come_back(tmp_path: Path) -> None:
    for dtype in ("float32", "float64"):
        model = small(dtype=dtype)
        info = np.finfo(dtype)
        tiny = info.smallest_subnormal
        model.layers[0].weight = np.array([[info.max, -info.max], [tiny, -tiny], [0.0, -0.0]])
        path = tmp_path / "m.safetensors"
        model.save(path)
        back = culpa.load(path)
        assert model.layers[0].weight.tobytes() == back.layers[0].weight.tobytes()


def test_the_path_may_be_text_or_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = small()
    for path in ("plain", "./with.dots.safetensors", str(tmp_path / "ünïcode m.st"), Path("p")):
        model.save(path)
        assert_same(model, culpa.load(path))


def test_the_file_is_plain_safetensors(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    model = small()
    model.save(tmp_path / "m")
    tensors = safetensors.load_file(tmp_path / "m")
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(tensors[key], value)


def test_a_model_without_weights_is_not_saved(tmp_path: Path) -> None:
    model = culpa.Sequential([culpa.Dense(1)], loss="mse")
    with pytest.raises(RuntimeError, match="no weights yet"):
        model.save(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_pickling_is_for_those_who_ask_for_it() -> None:
    """Loading never unpickles; a model in a pickle goes through pickle's own functions."""
    model = small()
    assert_same(model, pickle.loads(pickle.dumps(model)))


# Whole or not at all


@pytest.mark.parametrize("broken", ["os.replace", "os.fsync"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failing_save_leaves_the_old_file_and_nothing_else(
    broken: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.safetensors"
    old, new = small(seed=1), small(seed=2)
    old.save(path)

    def fail(*_: Any, **__: Any) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(broken, fail)
        with pytest.raises(type(error)):
            new.save(path)
        assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
        with pytest.raises(type(error)):
            new.save(tmp_path / "another")
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert_same(old, culpa.load(path))
    new.save(path)
    assert_same(new, culpa.load(path))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_an_error_that_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.safetensors"
    old = small(seed=1)
    old.save(path)
    real = os.fdopen

    def full(handle: int, *args: Any) -> Any:
        os.close(handle)
        return real(os.open("/dev/full", os.O_WRONLY), *args)

    with monkeypatch.context() as patched:
        patched.setattr("os.fdopen", full)
        with pytest.raises(OSError, match="No space left"):
            small(seed=2).save(path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert_same(old, culpa.load(path))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"path: expected a folder.*nowhere"):
        small().save(tmp_path / "nowhere" / "m")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_replaced_by_a_model(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    with pytest.raises(OSError, match="m"):
        small().save(folder)
    assert [entry.name for entry in tmp_path.iterdir()] == ["m"]
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_a_saved_model_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        small().save(tmp_path / "m")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "m").stat().st_mode) == 0o640


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
def test_a_process_killed_while_it_saves_leaves_the_old_model_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    expected = [
        culpa.Sequential(
            [culpa.Dense(300), culpa.Dense(1)],
            loss="mse",
            input_size=3,
            seed=seed,
            dtype="float64",
        ).predict_logits(X)
        for seed in range(2)
    ]
    rng = np.random.default_rng(0)
    for _ in range(8):
        process = subprocess.Popen(
            helpers.command("save_forever.py", path), stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        while process.stdout.readline().strip() != "begun":
            assert process.poll() is None
        for _ in range(int(rng.integers(1, 30))):
            process.stdout.readline()
        for _ in range(int(rng.integers(0, 20000))):  # somewhere within the next save
            pass
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        found = culpa.load(path).predict_logits(X)
        assert any(np.array_equal(found, one) for one in expected)


# Hostile files


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def pack(header: Any, data: bytes = b"") -> bytes:
    """A safetensors file from its header, as text or as what JSON makes of it."""
    text = header if isinstance(header, str) else json.dumps(header)
    return struct.pack("<Q", len(text.encode())) + text.encode() + data


def unpack(content: bytes) -> tuple[dict[str, Any], bytes]:
    (size,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + size]), content[8 + size :]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "m"
    small().save(path)
    return path.read_bytes()


def described(content: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
    """The file with another description of the model in its metadata.

    `change` changes the description in place, or returns text to stand in its stead.
    """
    header, data = unpack(content)
    model = json.loads(header["__metadata__"]["model"])
    text = change(model)
    header["__metadata__"]["model"] = text if isinstance(text, str) else json.dumps(model)
    return pack(header, data)


def headed(content: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
    """The file with another header."""
    header, data = unpack(content)
    change(header)
    return pack(header, data)


def put(*path: Any) -> Callable[[dict[str, Any]], None]:
    """A change: the last of `path` at the place that the others lead to."""
    *place, last, value = path

    def change(tree: Any) -> None:
        for key in place:
            tree = tree[key]
        if last == "append":
            tree.append(value)
        else:
            tree[last] = value

    return change


def drop(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda tree: tree.__delitem__(key)


def refused(content: bytes, folder: Path) -> str:
    """The message of the ValueError that loading gives."""
    path = written(folder / "bad model", content)
    with pytest.raises(ValueError, match=r"^path: ") as caught:
        culpa.load(path)
    message = str(caught.value)
    assert repr(str(path)) in message
    assert "expected a model saved by culpa" in message
    assert "; save the model again" in message
    return message


def test_the_helper_that_makes_bad_files_makes_good_ones_too(good: bytes, tmp_path: Path) -> None:
    assert_same(small(), culpa.load(written(tmp_path / "m", headed(good, lambda _: None))))
    assert_same(small(), culpa.load(written(tmp_path / "m", described(good, lambda _: None))))


def test_a_file_cut_at_any_length_is_refused(good: bytes, tmp_path: Path) -> None:
    for length in range(len(good)):
        refused(good[:length], tmp_path)


def test_a_file_with_something_behind_it_is_refused(good: bytes, tmp_path: Path) -> None:
    refused(good + b"\0", tmp_path)
    refused(good + good, tmp_path)


@settings(deadline=None, max_examples=400)
@given(data=st.data())
def test_flipped_bits_are_refused_or_harmless(
    data: st.DataObject, good: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(good)
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(good) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = written(tmp_path_factory.getbasetemp() / "flipped", bytes(content))
    try:
        model = culpa.load(path)
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert all(np.isfinite(array).all() for array in model.state_dict().values())
        assert model.predict_logits(np.zeros((2, 3))).shape == (2, 1)


@settings(deadline=None, max_examples=300)
@given(
    replacement=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=4,
    ),
    where=st.sampled_from(
        [
            ("layers",),
            ("layers", 0),
            ("layers", 0, "dense"),
            ("layers", 0, "activation"),
            ("layers", 0, "alpha"),
            ("layers", 0, "initializer"),
            ("layers", 1, "dropout"),
            ("loss",),
            ("loss", "name"),
            ("loss", "parameters"),
            ("seed",),
            ("input_size",),
            ("dtype",),
            ("input_scale",),
        ]
    ),
)
def test_any_value_in_the_description_is_refused_or_harmless(
    replacement: Any,
    where: tuple[Any, ...],
    good: bytes,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    content = described(good, put(*where, replacement))
    path = written(tmp_path_factory.getbasetemp() / "described", content)
    try:
        model = culpa.load(path)
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert model.input_size == 3
        assert [layer.weight.shape for layer in model.layers] == [(3, 2), (2, 1)]


@settings(deadline=None, max_examples=200)
@given(content=st.binary(max_size=300))
def test_noise_is_refused(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = written(tmp_path_factory.getbasetemp() / "noise", content)
    with pytest.raises(ValueError, match=r"^path: "):
        culpa.load(path)


LAYER = {"dense": 2, "activation": "relu", "alpha": 0.0, "initializer": "zeros"}
BAD_DESCRIPTIONS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "not JSON": lambda _: "{",
    "empty": lambda _: "",
    "a list": lambda _: "[]",
    "null": lambda _: "null",
    "a number": lambda _: "3",
    "text": lambda _: '"model"',
    "deep lists": lambda _: "[" * 100_000,
    "deep dictionaries": lambda _: '{"a":' * 100_000,
    "deep but well-formed": lambda _: "[" * 100_000 + "]" * 100_000,
    "deep layers": put("layers", json.loads("[" * 500 + "]" * 500)),
    "a number of 5000 digits": lambda _: '{"input_size": ' + "1" * 5000 + "}",
    "no layers": put("layers", []),
    "layers null": put("layers", None),
    "layers text": put("layers", "dense"),
    "layers a dictionary": put("layers", {"dense": 2}),
    "a layer too many": put("layers", "append", LAYER),
    "a layer of nothing": put("layers", 0, {}),
    "a layer of null": put("layers", 0, None),
    "an unknown layer": put("layers", 0, {"convolution": 2}),
    "dropout last": put("layers", "append", {"dropout": 0.5}),
    "dropout of all": put("layers", 0, {"dropout": 1.0}),
    "dropout NaN": lambda m: m["layers"].insert(0, {"dropout": float("nan")}),
    "dropout as text": lambda m: m["layers"].insert(0, {"dropout": "0.5"}),
    "more units": put("layers", 0, "dense", 3),
    "no units": put("layers", 0, "dense", 0),
    "negative units": put("layers", 0, "dense", -2),
    "half a unit": put("layers", 0, "dense", 2.5),
    "units as a float": put("layers", 0, "dense", 2.0),
    "units as a boolean": put("layers", 1, "dense", True),
    "units as text": put("layers", 0, "dense", "2"),
    "huge units": put("layers", 0, "dense", 2**62),
    "units beyond 64 bits": put("layers", 0, "dense", 10**30),
    "an unknown activation": put("layers", 0, "activation", "sofmax"),
    "activation null": put("layers", 0, "activation", None),
    "activation a list": put("layers", 0, "activation", ["relu"]),
    "activation as code": put("layers", 0, "activation", "__import__('os').abort()"),
    "alpha NaN": lambda m: m["layers"][0].update(activation="elu", alpha=float("nan")),
    "alpha negative": lambda m: m["layers"][0].update(activation="elu", alpha=-1.0),
    "alpha as text": lambda m: m["layers"][0].update(activation="elu", alpha="1"),
    "an unknown initializer": put("layers", 0, "initializer", "ones"),
    "an unknown loss": put("loss", "name", "hinge"),
    "loss null": put("loss", None),
    "loss as text": put("loss", "mse"),
    "quantile 2": put("loss", {"name": "quantile", "parameters": {"q": 2.0}}),
    "huber NaN": put("loss", {"name": "huber", "parameters": {"delta": float("nan")}}),
    "huber negative": put("loss", {"name": "huber", "parameters": {"delta": -1.0}}),
    "parameter null": put("loss", {"name": "huber", "parameters": {"delta": None}}),
    "parameters null": put("loss", {"name": "huber", "parameters": None}),
    "a parameter too few": put("loss", {"name": "huber", "parameters": {}}),
    "a parameter too many": put("loss", {"name": "mse", "parameters": {"delta": 1.0}}),
    "another's parameter": put("loss", {"name": "huber", "parameters": {"q": 0.5}}),
    "smoothing 1": put("loss", {"name": "cross_entropy", "parameters": {"label_smoothing": 1.0}}),
    "quantile 2, as it was": put("loss", {"name": "quantile", "parameter": 2.0}),
    "power 0.5": put("loss", {"name": "tweedie", "parameters": {"power": 0.5}}),
    "huber null, as it was": put("loss", {"name": "huber", "parameter": None}),
    "seed negative": put("seed", -1),
    "seed too large": put("seed", 2**64),
    "seed a float": put("seed", 1.5),
    "seed null": put("seed", None),
    "input_size null": put("input_size", None),
    "input_size zero": put("input_size", 0),
    "input_size negative": put("input_size", -3),
    "input_size other": put("input_size", 4),
    "input_size huge": put("input_size", 2**63),
    "input_size as a float": put("input_size", 3.0),
    "dtype unknown": put("dtype", "float16"),
    "dtype null": put("dtype", None),
    "input_scale NaN": put("input_scale", float("nan")),
    "input_scale infinite": put("input_scale", float("inf")),
    "input_scale huge": put("input_scale", 10**400),
    "input_scale as text": put("input_scale", "1/255"),
    **{
        f"without {key}": drop(key)
        for key in ("layers", "loss", "seed", "input_size", "dtype", "input_scale")
    },
}


@pytest.mark.parametrize("what", BAD_DESCRIPTIONS)
def test_a_bad_description_is_refused(what: str, good: bytes, tmp_path: Path) -> None:
    refused(described(good, BAD_DESCRIPTIONS[what]), tmp_path)


def entry(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


BAD_HEADERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no metadata": drop("__metadata__"),
    "metadata null": put("__metadata__", None),
    "metadata a list": put("__metadata__", []),
    "metadata a number": put("__metadata__", "culpa", 1),
    "a newer version": put("__metadata__", "culpa", "2"),
    "no version": lambda h: h["__metadata__"].pop("culpa"),
    "no description": lambda h: h["__metadata__"].pop("model"),
    "a description that is not text": put("__metadata__", "model", {"layers": []}),
    "no tensors": lambda h: [h.pop(key) for key in list(h) if key != "__metadata__"],
    "a tensor missing": drop("dense_1.weight"),
    "a tensor renamed": lambda h: h.update({"dense_9.weight": h.pop("dense_1.weight")}),
    "a tensor too many": lambda h: h.update({"dense_2.bias": entry([0], 44, 44)}),
    "a tensor transposed": put("dense_0.weight", "shape", [2, 3]),
    "a tensor flat": put("dense_0.weight", "shape", [6]),
    "a tensor without a shape": put("dense_1.bias", "shape", []),
    "a huge tensor": put("dense_0.weight", "shape", [2**62, 2**62]),
    "a negative tensor": put("dense_0.weight", "shape", [-3, -2]),
    "an empty tensor": put("dense_0.weight", entry([2**62, 0], 8, 8)),
    "offsets beyond the end": put("dense_0.weight", "data_offsets", [8, 2**63]),
    "offsets reversed": put("dense_0.weight", "data_offsets", [32, 8]),
    "offsets negative": put("dense_0.weight", "data_offsets", [-8, 16]),
    "offsets that overlap": put("dense_0.weight", "data_offsets", [0, 24]),
    "an unknown dtype": put("dense_0.weight", "dtype", "F99"),
    "a dtype of another size": put("dense_0.weight", "dtype", "F64"),
}


@pytest.mark.parametrize("what", BAD_HEADERS)
def test_a_bad_header_is_refused(what: str, good: bytes, tmp_path: Path) -> None:
    refused(headed(good, BAD_HEADERS[what]), tmp_path)


def test_a_header_that_claims_more_than_there_is_is_refused(good: bytes, tmp_path: Path) -> None:
    for size in (len(good), 2**31, 2**40, 2**63, 2**64 - 1):
        refused(struct.pack("<Q", size) + good[8:], tmp_path)


NOT_FINITE = {  # as the bits of a float32
    "NaN": 0x7FC00000,
    "a negative NaN": 0xFFC00001,
    "a signalling NaN": 0x7FA00000,
    "infinity": 0x7F800000,
    "minus infinity": 0xFF800000,
}


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("at", range(11))
def test_a_weight_that_is_not_finite_is_refused(
    value: str, at: int, good: bytes, tmp_path: Path
) -> None:
    header, data = unpack(good)
    weights = np.frombuffer(data, np.uint32).copy()
    weights[at] = NOT_FINITE[value]
    message = refused(pack(header, weights.tobytes()), tmp_path)
    assert "dense_" in message
    assert "finite" in message


@pytest.mark.parametrize("kind", ["float64", "float16", "int8", "bool", "complex64"])
def test_weights_of_another_dtype_are_converted_or_refused(
    kind: str, good: bytes, tmp_path: Path
) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    header, _ = unpack(good)
    tensors = {key: np.ones(a.shape).astype(kind) for key, a in small().state_dict().items()}
    try:
        content = safetensors.save(tensors, header["__metadata__"])
    except Exception as error:  # a dtype that safetensors cannot write
        pytest.skip(f"safetensors: {error}")
    if kind == "complex64":
        refused(content, tmp_path)
    else:
        model = culpa.load(written(tmp_path / "m", content))
        assert all((array == 1.0).all() for array in model.state_dict().values())
        assert {array.dtype for array in model.state_dict().values()} == {np.dtype("float32")}


def test_weights_too_large_for_the_models_dtype_are_refused(good: bytes, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    header, _ = unpack(good)
    tensors = {key: np.full(a.shape, 1e300) for key, a in small().state_dict().items()}
    assert "float32" in refused(safetensors.save(tensors, header["__metadata__"]), tmp_path)


class Harmful:
    """Does something when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return open, (str(self.trace), "w")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_refused_and_not_run(protocol: int, tmp_path: Path) -> None:
    trace = tmp_path / "was run"
    content = pickle.dumps(Harmful(trace), protocol)
    refused(content, tmp_path)
    refused(pack({"__metadata__": {"culpa": "1", "model": "{}"}}) + content, tmp_path)
    assert not trace.exists()


def test_a_pickled_model_is_refused(tmp_path: Path) -> None:
    refused(pickle.dumps(small()), tmp_path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    for content in (b"", b"{}", b"PK\x03\x04" + bytes(100), b"\x89HDF\r\n\x1a\n" + bytes(100)):
        refused(content, tmp_path)
    safetensors = pytest.importorskip("safetensors.numpy")
    refused(safetensors.save(small().state_dict()), tmp_path)
    refused(safetensors.save(small().state_dict(), {"format": "pt"}), tmp_path)


def test_a_missing_file_is_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "none"
    for given_path in (path, str(path)):
        with pytest.raises(FileNotFoundError, match=r"path: .*none.*does not exist"):
            culpa.load(given_path)


def test_a_folder_is_not_called_missing(tmp_path: Path) -> None:
    with pytest.raises((OSError, ValueError), match="path: ") as caught:
        culpa.load(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "does not exist" not in str(caught.value)


def test_a_path_that_is_no_path_is_a_type_error() -> None:
    for bad in (3, None, [1]):
        with pytest.raises(TypeError):
            culpa.load(bad)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            small().save(bad)  # type: ignore[arg-type]


def test_a_refused_file_is_not_kept_open(good: bytes, tmp_path: Path) -> None:
    """Windows forbids what POSIX hides; here the count of open files tells."""
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("no list of open files here")
    path = written(tmp_path / "m", described(good, put("dtype", "float16")))
    before = len(list(descriptors.iterdir()))
    for _ in range(50):
        with pytest.raises(ValueError, match="dtype"):
            culpa.load(path)
    assert len(list(descriptors.iterdir())) <= before + 1


def test_a_loaded_model_does_not_look_at_the_file_again(good: bytes, tmp_path: Path) -> None:
    path = written(tmp_path / "m", good)
    model = culpa.load(path)
    path.write_bytes(b"\xff" * len(good))
    assert_same(small(), model)
