"""Data to learn from: handwritten digits, Fashion-MNIST, and the IDX format of the MNIST family."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from importlib.resources import files
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from culpa import _checks

__all__ = ["FASHION_MNIST_CLASSES", "Dataset", "digits", "fashion_mnist", "read_idx"]

FASHION_MNIST_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
"""The names of Fashion-MNIST's labels 0..9, in their order."""

_FASHION_MNIST_FOLDER = "/usr/share/datasets/fashion-mnist"
_FASHION_MNIST_FILES = {  # name: shape, largest value
    "train-images-idx3-ubyte": ((60_000, 28, 28), 255),
    "train-labels-idx1-ubyte": ((60_000,), 9),
    "t10k-images-idx3-ubyte": ((10_000, 28, 28), 255),
    "t10k-labels-idx1-ubyte": ((10_000,), 9),
}

_IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_RANK = 64  # NumPy 2's limit
_DEFLATE_RATIO = 1032  # Deflate spends at least 2 bits on at most 258 bytes.
_CHUNK = 1 << 20

_Path: TypeAlias = str | os.PathLike[str]
_Stream: TypeAlias = BufferedReader | gzip.GzipFile


class Dataset(NamedTuple):
    """A training part and a test part: ``X, y, X_test, y_test = culpa.datasets.digits()``.

    Attributes
    ----------
    X_train, X_test : ndarray of uint8, shape (n, inputs)
        One image a row, its pixels row by row, as stored (not scaled).
    y_train, y_test : ndarray of int64, shape (n,)
        The class of each image, 0..9.
    """

    X_train: NDArray[np.uint8]
    y_train: NDArray[np.int64]
    X_test: NDArray[np.uint8]
    y_test: NDArray[np.int64]


def digits() -> Dataset:
    """Return 1,797 handwritten digits, 8x8 pixels each, that ship with the package.

    The split is stored: 1,437 images to train on and 360 to test on, drawn by scikit-learn's
    ``train_test_split(X, y, test_size=360, stratify=y, random_state=0)``. Both parts hold digits
    of the same 13 writers, so the test part does not say how well a model reads a new hand.

    Returns
    -------
    Dataset
        ``X_train`` (1437, 64) and ``X_test`` (360, 64), uint8, values 0..16 (the inked pixels
        of a 4x4 block; ``culpa.Sequential(..., input_scale=1 / 16)`` brings them to 0..1);
        ``y_train`` (1437,) and ``y_test`` (360,), int64, 0..9. Fresh arrays at each call.

    Notes
    -----
    Source: E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine
    Learning Repository, 1998, https://doi.org/10.24432/C50P49: the repository's test set, from
    scikit-learn's copy. Licence: CC BY 4.0.

    Examples
    --------
    >>> from culpa import datasets
    >>> X, y, X_test, y_test = datasets.digits()
    >>> X.shape, X.dtype.name, int(X.max())
    ((1437, 64), 'uint8', 16)
    >>> X_test.shape, y_test[:5].tolist()
    ((360, 64), [7, 6, 3, 7, 7])
    """
    source = files("culpa") / "assets" / "digits.npz"
    with source.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return Dataset(*(arrays[field] for field in Dataset._fields))


def fashion_mnist(folder: _Path | None = None) -> Dataset:
    """Read Fashion-MNIST, 70,000 grey images of clothes, 28x28 pixels each, from its IDX files.

    The files of the original MNIST digits have the same names and shapes, and are read too.

    Parameters
    ----------
    folder : path, optional
        Where ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``,
        ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte`` lie, each plain or with ``.gz``
        (plain is taken where both exist), and with a dot before ``idx`` as well, as some unpack
        them. Default: the folder that the environment
        variable ``CULPA_FASHION_MNIST`` names, or, where that is unset or empty,
        ``/usr/share/datasets/fashion-mnist``, where Debian's ``dataset-fashion-mnist`` puts them.

    Returns
    -------
    Dataset
        ``X_train`` (60000, 784) and ``X_test`` (10000, 784), uint8, values 0..255; ``y_train``
        (60000,) and ``y_test`` (10000,), int64, 0..9, named by `FASHION_MNIST_CLASSES`.

    Raises
    ------
    FileNotFoundError
        A file is missing; the message names those looked for, those missing, and how to get them.
    ValueError
        A file is malformed, or holds anything but these images and labels.

    Notes
    -----
    Source: H. Xiao, K. Rasul and R. Vollgraf, *Fashion-MNIST: a Novel Image Dataset for
    Benchmarking Machine Learning Algorithms*, 2017, https://arxiv.org/abs/1708.07747.

    Examples
    --------
    >>> from culpa import datasets
    >>> X, y, X_test, y_test = datasets.fashion_mnist()  # doctest: +SKIP
    >>> datasets.FASHION_MNIST_CLASSES[9]
    'Ankle boot'
    """
    if folder is None:
        folder = os.environ.get("CULPA_FASHION_MNIST") or _FASHION_MNIST_FOLDER
    folder = _checks.path("folder", folder)
    found = {name: _find_idx(folder, name) for name in _FASHION_MNIST_FILES}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise FileNotFoundError(
            f"expected {', '.join(_FASHION_MNIST_FILES)} (each plain or .gz) in {folder}; missing: "
            f"{', '.join(missing)}; run `apt-get install dataset-fashion-mnist`, or pass folder= "
            "or set CULPA_FASHION_MNIST to where the files are"
        )
    arrays = []
    for path, (shape, largest) in zip(found.values(), _FASHION_MNIST_FILES.values(), strict=True):
        assert path is not None
        array = read_idx(path)
        if array.dtype != np.uint8 or array.shape != shape or array.max() > largest:
            came = f"{array.dtype} of shape {array.shape}, up to {array.max(initial=0)}"
            raise _malformed(path, f"uint8 of shape {shape}, up to {largest}", came)
        arrays.append(array)
    X_train, y_train, X_test, y_test = arrays
    return Dataset(
        X_train.reshape(-1, 784),
        y_train.astype(np.int64),
        X_test.reshape(-1, 784),
        y_test.astype(np.int64),
    )


def _find_idx(folder: Path, name: str) -> Path | None:
    """Return the file of this name, plain or gzipped, its first dash before "idx" maybe a dot."""
    names = (name, name.replace("-idx", ".idx"))
    paths = [folder / f"{each}{suffix}" for suffix in ("", ".gz") for each in names]
    return next((path for path in paths if path.is_file()), None)


def read_idx(path: _Path) -> NDArray[Any]:
    """Read the array in an IDX file, the format of the MNIST family, plain or gzipped.

    The content tells whether a file is gzipped, not the name. At most one byte more is
    decompressed than the header announces, and a header that announces more than a file of this
    size can hold is refused before memory is taken.

    Parameters
    ----------
    path : path
        The file to read.

    Returns
    -------
    ndarray of uint8, int8, int16, int32, float32 or float64
        In native byte order, writable, of 1 to 64 dimensions; sizes of zero are allowed.

    Raises
    ------
    OSError
        The file cannot be opened or read.
    ValueError
        The file is malformed; the message says what was expected and what came.

    Notes
    -----
    Source: "The IDX file format" in Y. LeCun, C. Cortes and C. J. C. Burges, *The MNIST database
    of handwritten digits*, http://yann.lecun.com/exdb/mnist/.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from culpa import datasets
    >>> header = bytes([0, 0, 0x0B, 2]) + bytes([0, 0, 0, 1]) + bytes([0, 0, 0, 3])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "small.idx")
    ...     _ = path.write_bytes(header + bytes([0, 1, 0, 2, 255, 255]))
    ...     datasets.read_idx(path)
    array([[ 1,  2, -1]], dtype=int16)
    """
    with open(_checks.path("path", path), "rb") as raw:
        size = os.fstat(raw.fileno()).st_size
        if raw.peek(2)[:2] != b"\x1f\x8b":
            return _parse_idx(raw, path, size)
        try:
            with gzip.GzipFile(fileobj=raw) as stream:
                return _parse_idx(stream, path, size * _DEFLATE_RATIO)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise _malformed(path, "a whole gzip stream", f"a broken one ({error})") from error


def _parse_idx(stream: _Stream, path: _Path, capacity: int) -> NDArray[Any]:
    """Read the array in `stream`, which holds at most `capacity` bytes."""
    magic = _read(stream, 4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _IDX_DTYPES:
        expected = f"00 00, a type ({bytes(_IDX_DTYPES).hex('/')}) and a rank to open an IDX file"
        raise _malformed(path, expected, magic.hex(" ") or "nothing")
    dtype, rank = np.dtype(_IDX_DTYPES[magic[2]]), magic[3]
    if not 1 <= rank <= _MAX_RANK:
        raise _malformed(path, f"1 to {_MAX_RANK} dimensions", f"{rank}")
    sizes = _read(stream, 4 * rank)
    if len(sizes) < 4 * rank:
        raise _malformed(path, f"{4 * rank} bytes of sizes", f"{len(sizes)}")
    shape = tuple(np.frombuffer(sizes, ">u4").tolist())
    length = math.prod(shape) * dtype.itemsize  # Python ints do not overflow.
    announced = f"{length} bytes of data for shape {shape} of {dtype.name}"
    if length > capacity:
        raise _malformed(path, announced, f"a file that can hold at most {capacity}")
    data = _read(stream, length + 1)
    if len(data) != length:
        raise _malformed(path, announced, "more" if len(data) > length else f"{len(data)}")
    try:
        array: NDArray[Any] = np.ndarray(shape, dtype, buffer=data)
    except ValueError as error:  # e.g. (0, 2**32 - 1, 2**32 - 1, 2**32 - 1)
        raise _malformed(path, "a shape that NumPy can hold", f"{shape}") from error
    return array.astype(dtype.newbyteorder("="), copy=False)


def _read(stream: _Stream, count: int) -> bytearray:
    """Read `count` bytes, or all there are; memory grows with what comes."""
    data = bytearray()
    # Not GzipFile.read, which decompresses a buffer's worth beyond what it is asked for.
    while len(data) < count and (chunk := stream.read1(min(count - len(data), _CHUNK))):
        data += chunk
    return data


def _malformed(path: _Path, expected: str, came: str) -> ValueError:
    mend = "fetch the file again, or pass the right one"
    return ValueError(f"{os.fspath(path)}: expected {expected}; got {came}; {mend}")
