"""Models in files: one ``.safetensors`` file, weights as tensors, the rest as JSON beside them."""

from __future__ import annotations

import json
from dataclasses import fields
from os import PathLike
from typing import TYPE_CHECKING, Any

from culpa import _checks
from culpa.layers import Activation, Dense, Dropout
from culpa.losses import LOSSES
from culpa.terminal import printable
from culpa.writing import replacing

if TYPE_CHECKING:
    from culpa.model import Sequential

__all__ = ["from_config", "load", "save"]

FORMAT = "1"


def save(model: Sequential, path: str | PathLike[str]) -> None:
    """Write a model; see ``Sequential.save``."""
    from safetensors.numpy import save as to_bytes

    place = _checks.path("path", path)
    model._built()
    metadata = {"culpa": FORMAT, "model": json.dumps(model.config())}
    with replacing(place) as file:
        file.write(to_bytes(model.state_dict(), metadata))


def load(path: str | PathLike[str]) -> Sequential:
    """Read a model that ``Sequential.save`` wrote.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    Sequential
        Ready to predict; its optimizer begins afresh.

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    ValueError
        Where the file is damaged or not a culpa model. Nothing in it is ever executed.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import culpa
    >>> model = culpa.Sequential([culpa.Dense(3)], loss="mse", input_size=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.safetensors")
    ...     model.save(path)
    ...     culpa.load(path).layers[0].weight.shape
    (2, 3)
    """
    from safetensors import SafetensorError, safe_open

    path = _checks.path("path", path)
    if path.is_dir():
        raise IsADirectoryError(f"path: expected a file, got {str(path)!r}, which is a folder")
    if not path.is_file():
        what = "is a pipe or a device" if path.exists() else "does not exist"
        raise FileNotFoundError(f"path: expected a file, got {str(path)!r}, which {what}")
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            if "culpa" not in metadata or "model" not in metadata:
                raise _bad(path, "it was not written by culpa's save")
            if metadata["culpa"] != FORMAT:
                raise _bad(
                    path,
                    f"its format is {printable(metadata['culpa'])!r}, and this version of culpa "
                    f"reads {FORMAT!r}: install the one that wrote it",
                )
            config = json.loads(metadata["model"])
            names = list(file.keys())
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
            # Sizes are compared with the tensors that are there before anything is allocated.
            _check_shapes(config, shapes)
            seed = _checks.integer("seed", config["seed"], 0)
            model = from_config({**config, "seed": seed, "input_size": None})
            model.load_state_dict({name: file.get_tensor(name) for name in names})
            model.feature_names = config.get("feature_names")
    except SafetensorError as error:
        raise _bad(path, str(error)) from None
    except (KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise _bad(path, f"its description is malformed ({error})") from None
    except ValueError as error:
        if str(error).startswith("path:"):
            raise
        raise _bad(path, str(error)) from None
    return model


def _bad(path: str | PathLike[str], why: str) -> ValueError:
    return ValueError(
        f"path: expected a model saved by culpa, got {str(path)!r}: {printable(why)}; save the "
        "model again, or restore the file from a copy"
    )


def _check_shapes(config: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> None:
    width = _checks.integer("input_size", config["input_size"], 1)
    units = [layer["dense"] for layer in config["layers"] if "dense" in layer]
    expected: dict[str, tuple[int, ...]] = {}
    for i, n in enumerate(units):
        expected[f"dense_{i}.weight"] = (width, n)
        expected[f"dense_{i}.bias"] = (n,)
        width = n
    if expected != shapes:
        raise ValueError(f"its tensors do not fit its layers: expected {expected}, got {shapes}")


def from_config(config: dict[str, Any]) -> Sequential:
    """Return a new model from what ``Sequential.config`` gave."""
    from culpa.model import Sequential

    layers: list[Dense | Dropout] = []
    for layer in config["layers"]:
        if "dropout" in layer:
            layers.append(Dropout(layer["dropout"]))
            continue
        name, alpha = layer["activation"], layer["alpha"]
        takes_alpha = name in ("leaky_relu", "elu")
        activation = Activation(name, alpha if takes_alpha else None)
        layers.append(Dense(layer["dense"], activation, initializer=layer["initializer"]))
    kind = LOSSES[_checks.choice("loss", config["loss"]["name"], LOSSES)]
    parameter = config["loss"]["parameter"]
    loss = kind(*[parameter for _ in fields(kind)])
    return Sequential(
        layers,
        loss,
        seed=config["seed"],
        input_size=config["input_size"],
        dtype=config["dtype"],
        input_scale=config["input_scale"],
    )
