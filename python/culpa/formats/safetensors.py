"""Models in files: one ``.safetensors`` file, weights as tensors, the rest as JSON beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from typing import Any

from numpy.typing import NDArray

from culpa import _checks, data
from culpa._terminal import printable
from culpa.data.files import replacing
from culpa.parts.architecture import Architecture

__all__ = ["read", "write"]

FORMAT = "1"


def write(
    path: str | PathLike[str], architecture: Architecture, arrays: Mapping[str, NDArray[Any]]
) -> None:
    """Write a model; see ``Sequential.save``."""
    from safetensors.numpy import save as to_bytes

    place = _checks.path("path", path)
    metadata = {"culpa": FORMAT, "model": json.dumps(architecture.config())}
    with replacing(place) as file:
        file.write(to_bytes(dict(arrays), metadata))


def read(path: str | PathLike[str]) -> tuple[Architecture, dict[str, NDArray[Any]]]:
    """Return what a file holds: the architecture, with its input size, and the arrays by name.

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    ValueError
        Where the file is damaged or not a culpa model.
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
                raise _refusal(path, "it was not written by culpa's save")
            if metadata["culpa"] != FORMAT:
                raise _refusal(
                    path,
                    f"its format is {printable(metadata['culpa'])!r}, and this version of culpa "
                    f"reads {FORMAT!r}: install the one that wrote it",
                )
            config = json.loads(metadata["model"])
            names = list(file.keys())
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
            architecture = Architecture.from_config(config)
            # Sizes are compared with the tensors that are there before anything is allocated.
            expected = architecture.shapes()
            if expected != shapes:
                raise ValueError(
                    f"its tensors do not fit its layers: expected {expected}, got {shapes}"
                )
            arrays = {name: data.as_array(name, file.get_tensor(name)) for name in names}
            for name, array in arrays.items():
                data.check_finite(name, array, architecture.dtype)
    except SafetensorError as error:
        raise _refusal(path, str(error)) from None
    except (KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise _refusal(path, f"its description is malformed ({error})") from None
    except ValueError as error:
        if str(error).startswith("path:"):
            raise
        raise _refusal(path, str(error)) from None
    return architecture, arrays


def _refusal(path: str | PathLike[str], why: str) -> ValueError:
    return ValueError(
        f"path: expected a model saved by culpa, got {str(path)!r}: {printable(why)}; save the "
        "model again, or restore the file from a copy"
    )
