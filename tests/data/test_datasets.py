"""Datasets: the stored digits are UCI's, and a malformed IDX file is refused, never believed."""

from __future__ import annotations

import doctest
import gzip
import math
import sys
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

import helpers
from culpa import datasets

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


def idx_header(code: int, shape: tuple[int, ...]) -> bytes:
    return bytes([0, 0, code, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)


def idx_bytes(array: NDArray[Any]) -> bytes:
    big_endian = array.astype(array.dtype.newbyteorder(">")).tobytes()
    return idx_header(CODES[array.dtype.str[1:]], array.shape) + big_endian


def read_content(content: bytes, name: str = "some.idx") -> NDArray[Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        return datasets.read_idx(path)


def idx_arrays(max_dims: int = 5, max_side: int = 6) -> st.SearchStrategy[NDArray[Any]]:
    shapes = hnp.array_shapes(min_dims=1, max_dims=max_dims, min_side=0, max_side=max_side)
    return st.sampled_from(sorted(CODES)).flatmap(lambda code: hnp.arrays(code, shapes))


# digits


def test_digits_have_the_promised_shapes_types_and_ranges() -> None:
    X, y, X_test, y_test = datasets.digits()
    assert (X.shape, y.shape) == ((1437, 64), (1437,))
    assert (X_test.shape, y_test.shape) == ((360, 64), (360,))
    assert X.dtype == X_test.dtype == np.uint8
    assert y.dtype == y_test.dtype == np.int64
    assert (X.min(), X.max(), X_test.min(), X_test.max()) == (0, 16, 0, 16)
    assert set(y) == set(y_test) == set(range(10))


def test_digits_have_every_class_in_the_same_proportion_in_both_parts() -> None:
    _, y, _, y_test = datasets.digits()
    train, test = np.bincount(y), np.bincount(y_test)
    assert np.all(np.abs(test - (train + test) * 360 / 1797) < 1)


def test_digits_are_fresh_arrays_at_each_call() -> None:
    first = datasets.digits()
    for array in first:
        array[:] = 0
    assert datasets.digits().X_train.any()
    assert datasets.digits().y_test.any()


def test_digits_are_those_of_scikit_learn() -> None:
    loader = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    X, y = loader.load_digits(return_X_y=True)
    mine = datasets.digits()
    stored = np.column_stack([np.r_[mine.X_train, mine.X_test], np.r_[mine.y_train, mine.y_test]])
    original = np.column_stack([X, y])
    assert sorted(stored.tolist()) == sorted(original.tolist())


def test_digits_are_split_by_the_documented_rule() -> None:
    loader = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    selection = pytest.importorskip("sklearn.model_selection")
    X, y = loader.load_digits(return_X_y=True)
    parts = selection.train_test_split(X, y, test_size=360, stratify=y, random_state=0)
    for name, part in zip(("X_train", "X_test", "y_train", "y_test"), parts, strict=True):
        np.testing.assert_array_equal(getattr(datasets.digits(), name), part)


def test_the_nearest_neighbour_reads_97_percent_of_the_test_digits() -> None:
    X, y, X_test, y_test = (array.astype(np.float64) for array in datasets.digits())
    # |a - b|^2 without |b|^2, which is the same for all candidates
    distance = (X**2).sum(axis=1) - 2 * X_test @ X.T
    assert np.mean(y[distance.argmin(axis=1)] == y_test) >= 0.97


# read_idx: what it reads


@settings(deadline=None)
@given(array=idx_arrays(), zipped=st.booleans())
def test_what_was_written_is_read_back(array: NDArray[Any], zipped: bool) -> None:
    content = idx_bytes(array)
    result = read_content(gzip.compress(content) if zipped else content)
    assert result.dtype == array.dtype
    assert result.dtype.isnative
    assert result.shape == array.shape
    assert result.tobytes() == array.tobytes()
    assert result.flags.writeable


def test_the_content_tells_gzip_not_the_name() -> None:
    content = idx_bytes(np.arange(5, dtype="u1"))
    assert read_content(content, "plain.gz").tolist() == [0, 1, 2, 3, 4]
    assert read_content(gzip.compress(content), "zipped.idx").tolist() == [0, 1, 2, 3, 4]


def test_a_gzip_stream_of_several_members_is_one_file() -> None:
    content = idx_bytes(np.arange(5, dtype="u1"))
    parts = gzip.compress(content[:7]) + gzip.compress(content[7:])
    assert read_content(parts).tolist() == [0, 1, 2, 3, 4]


def test_a_missing_file_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        datasets.read_idx(tmp_path / "none")


# read_idx: what it refuses

FOUR = idx_bytes(np.arange(4, dtype="i2"))
HUGE = 2**32 - 1
MALFORMED = {
    "empty": (b"", "got nothing"),
    "cut within the magic number": (FOUR[:3], "got 00 00 0b;"),
    "wrong magic number": (b"\x01" + FOUR[1:], "got 01 00 0b 01;"),
    "unknown type": (b"\0\0\x0a\1" + FOUR[4:], r"a type \(08/09/0b/0c/0d/0e\)"),
    "rank 0": (idx_header(0x08, ()) + b"\7", "expected 1 to 64 dimensions; got 0;"),
    "rank above NumPy's": (idx_header(0x08, (1,) * 65) + b"\7", "got 65;"),
    "cut within the sizes": (FOUR[:6], "expected 4 bytes of sizes; got 2;"),
    "cut within the data": (FOUR[:-1], r"expected 8 bytes of data for shape \(4,\) of int16"),
    "no data": (FOUR[:8], "expected 8 bytes of data"),
    "trailing byte": (FOUR + b"\0", "got more;"),
    "far more than the file": (idx_header(0x0E, (HUGE,)), "can hold at most"),
    "product beyond 64 bits": (idx_header(0x0E, (HUGE,) * 5), "can hold at most"),
    "product that wraps to 0": (idx_header(0x08, (2**16,) * 4), "can hold at most"),
    "empty, of impossible sizes": (idx_header(0x08, (0, HUGE, HUGE, HUGE)), "NumPy can hold"),
}


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize(("content", "message"), MALFORMED.values(), ids=list(MALFORMED))
def test_a_malformed_file_is_refused(content: bytes, message: str, zipped: bool) -> None:
    if zipped:
        content = gzip.compress(content)
        # A gzip file's capacity is known only roughly, so a small lack shows up when reading.
        message = message.replace("can hold at most", "expected .* got ")
    with pytest.raises(ValueError, match=message) as caught:
        read_content(content)
    assert "some.idx" in str(caught.value)
    assert "fetch the file again" in str(caught.value)


def test_a_broken_gzip_stream_is_refused() -> None:
    zipped = gzip.compress(FOUR)
    wrong_checksum = zipped[:-8] + bytes([zipped[-8] ^ 1]) + zipped[-7:]
    for content in (zipped[:2], zipped[:-1], zipped + b"more", wrong_checksum):
        with pytest.raises(ValueError, match=r"some\.idx: expected a whole gzip stream"):
            read_content(content)


@pytest.mark.parametrize("announced", [4, 2**31], ids=["little", "much"])
def test_a_decompression_bomb_takes_no_memory(announced: int, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.gz"
    zeros = 2**25 if announced == 4 else 2**10
    bomb.write_bytes(gzip.compress(idx_header(0x08, (announced,)) + bytes(zeros)))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=f"expected {announced} bytes"):
            datasets.read_idx(bomb)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**20


@settings(deadline=None, max_examples=300)
@given(
    array=idx_arrays(max_dims=3, max_side=4),
    zipped=st.booleans(),
    cut=st.integers(0, 60) | st.none(),
    flips=st.lists(st.integers(0, 8 * 120 - 1), max_size=3),
)
def test_any_damage_is_refused_or_gives_an_array(
    array: NDArray[Any], zipped: bool, cut: int | None, flips: list[int]
) -> None:
    content = bytearray(gzip.compress(idx_bytes(array)) if zipped else idx_bytes(array))
    for bit in flips:
        content[bit // 8 % len(content)] ^= 1 << bit % 8
    if cut is not None:
        del content[cut:]
    refusal = ""
    try:
        result = read_content(bytes(content))
    except ValueError as error:
        refusal = str(error)
    else:
        assert result.dtype.str[1:] in CODES
        assert result.size == math.prod(result.shape)
    assert not refusal or "some.idx: expected" in refusal


# fashion_mnist


def black_folder(folder: Path, **replaced: NDArray[Any]) -> Path:
    """Write four files of the right shapes, black images of class 0, some arrays replaced."""
    for part, count in (("train", 60_000), ("t10k", 10_000)):
        images = replaced.get(f"{part}_images", np.zeros((count, 28, 28), "u1"))
        labels = replaced.get(f"{part}_labels", np.zeros(count, "u1"))
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images), 1))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    return folder


def test_fashion_mnist_is_what_it_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    if not FASHION_MNIST.is_dir():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    monkeypatch.delenv("CULPA_FASHION_MNIST", raising=False)
    X, y, X_test, y_test = datasets.fashion_mnist()
    assert (X.shape, y.shape) == ((60_000, 784), (60_000,))
    assert (X_test.shape, y_test.shape) == ((10_000, 784), (10_000,))
    assert X.dtype == X_test.dtype == np.uint8
    assert y.dtype == y_test.dtype == np.int64
    assert (X.min(), X.max()) == (0, 255)
    assert np.bincount(y).tolist() == [6_000] * 10
    assert np.bincount(y_test).tolist() == [1_000] * 10
    assert datasets.FASHION_MNIST_CLASSES[y[0]] == "Ankle boot"


def test_fashion_mnist_takes_plain_and_gzipped_files_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.arange(10_000, dtype="u1") % 10
    black_folder(tmp_path, t10k_labels=labels)
    assert np.array_equal(datasets.fashion_mnist(tmp_path).y_test, labels)
    assert np.array_equal(datasets.fashion_mnist(str(tmp_path)).y_test, labels)
    monkeypatch.setenv("CULPA_FASHION_MNIST", str(tmp_path))
    assert np.array_equal(datasets.fashion_mnist().y_test, labels)


@pytest.mark.parametrize("unpacked", [False, True])
def test_files_may_have_a_dot_before_idx(unpacked: bool, tmp_path: Path) -> None:
    labels = np.arange(10_000, dtype="u1") % 10
    black_folder(tmp_path, t10k_labels=labels)
    for path in list(tmp_path.iterdir()):
        dotted = path.with_name(path.name.replace("-idx", ".idx"))
        if unpacked and path.suffix == ".gz":
            dotted.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
            path.unlink()
        else:
            path.rename(dotted)
    assert {".idx" in path.name for path in tmp_path.iterdir()} == {True}
    assert np.array_equal(datasets.fashion_mnist(tmp_path).y_test, labels)
    black_folder(tmp_path)  # names with a dash come first, plain ones before both
    assert datasets.fashion_mnist(tmp_path).y_test.max() == 0


def test_missing_files_are_named_with_the_way_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t10k-labels-idx1-ubyte.gz").touch()
    monkeypatch.setenv("CULPA_FASHION_MNIST", str(tmp_path))
    with pytest.raises(FileNotFoundError) as caught:
        datasets.fashion_mnist()
    message = str(caught.value)
    looked_for, missing = message.split("missing:")
    assert str(tmp_path) in looked_for
    assert "t10k-labels-idx1-ubyte" in looked_for
    assert "train-images-idx3-ubyte" in missing
    assert "t10k-labels-idx1-ubyte" not in missing
    assert "apt-get install dataset-fashion-mnist" in missing
    assert "folder=" in missing


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("train_labels", np.zeros(59_999, "u1")),
        ("train_labels", np.zeros(60_000, "i1")),
        ("train_labels", np.full(60_000, 10, "u1")),
        ("t10k_images", np.zeros((10_000, 784), "u1")),
        ("t10k_images", np.zeros((0, 28, 28), "u1")),
    ],
    ids=["too few", "wrong type", "class 10", "flat images", "no images"],
)
def test_other_data_under_the_same_names_is_refused(
    name: str, array: NDArray[Any], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=f"{name.replace('_', '-')}.*: expected uint8 of shape"):
        datasets.fashion_mnist(black_folder(tmp_path, **{name: array}))


# the module


def test_ten_classes_have_ten_names() -> None:
    assert len(set(datasets.FASHION_MNIST_CLASSES)) == 10


def test_the_examples_in_the_docstrings_run() -> None:
    result = doctest.testmod(datasets)
    assert result.attempted > 0
    assert result.failed == 0


def test_importing_datasets_imports_numpy_and_nothing_else() -> None:
    code = (
        "import json, sys; before = set(sys.modules); import culpa.datasets\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    new = {name.split(".")[0] for name in helpers.last_json(code)}
    assert not new - sys.stdlib_module_names - {"culpa", "numpy"}
