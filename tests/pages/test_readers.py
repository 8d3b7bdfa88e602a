"""Data files of unknown origin: read as they are meant, or refused in a sentence."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import culpa
from culpa.pages import readers
from culpa.pages.arrays import read_arrays

MSE, CLASSES = culpa.MSE(), culpa.CrossEntropy()


def read(path: Path, text: str, loss: Any = MSE, **options: Any) -> readers.Table:
    path.write_text(text, "utf-8")
    return readers.read_table(str(path), loss, 2, **options)


def refused(path: Path, text: str, loss: Any = MSE, **options: Any) -> str:
    with pytest.raises(ValueError, match=r"^(data|target): expected") as caught:
        read(path, text, loss, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# .csv


@pytest.mark.parametrize(
    ("text", "loss"),
    [
        ("1,2,3,0\n4,5,6,1\n", MSE),
        ("1,2,3,0\n4,5,6,1\n", CLASSES),
        ("1.5,2.5,cat\n4,5,dog\n1,2,cat\n", CLASSES),
        ("255,0,0,cat\n4,5,6,dog\n", CLASSES),  # the only cat
        ("1,,3,0\n4,5,6,1\n", MSE),
        ("-1e-3,nan,inf,0\n4,5,6,1\n", MSE),
        ("\ufeff1,2,3,0\r\n4,5,6,1\r\n", MSE),
    ],
)
def test_a_first_line_that_is_an_example_is_not_taken_for_names(
    text: str, loss: Any, tmp_path: Path
) -> None:
    said = refused(tmp_path / "t.csv", text, loss)
    assert "expected a header that names the columns" in said
    assert "put a line of names above it" in said


def test_the_target_may_be_any_column_of_an_example(tmp_path: Path) -> None:
    text = "species,a,b\ncat,1,2\ndog,3,4\n"
    table = read(tmp_path / "t.csv", text, CLASSES, target="species")
    assert table.X.tolist() == [[1, 2], [3, 4]]
    assert "header" in refused(tmp_path / "t.csv", "0,1.5,2\n1,2,3\n", CLASSES, target="0")


@pytest.mark.parametrize(
    "header", ["0,1,label", "400,405,absorbance", "a,2,y", "1st,2nd,3rd", ",a,y", ",a,7"]
)
def test_names_that_hold_numbers_are_names(header: str, tmp_path: Path) -> None:
    table = read(tmp_path / "t.csv", f"{header}\n1,2,3\n4,5,6\n")
    assert table.X.tolist() == [[1, 2], [4, 5]]
    assert table.y.tolist() == [3, 6]


@pytest.mark.parametrize(
    "cell", ["1_0", "1_000.5", "1e1_0", "one", "", " ", "0x10", "1,5", "\x1b["]
)
def test_what_is_no_number_is_refused(cell: str, tmp_path: Path) -> None:
    said = refused(tmp_path / "t.csv", f'a,b,y\n1,2,3\n"{cell}",5,6\n')
    assert f"expected a number in column 'a', row 1, got {cell!r}" in said
    said = refused(tmp_path / "t.csv", f'a,b,y\n1,2,"{cell}"\n')
    assert "expected a number in column 'y', row 0" in said


def test_labels_with_underscores_are_texts(tmp_path: Path) -> None:
    table = read(tmp_path / "t.csv", "a,y\n1,1_0\n2,10\n", CLASSES)
    assert table.class_names == ["10", "1_0"]
    assert table.y.tolist() == [1, 0]


def test_numbers_are_read_as_ever(tmp_path: Path) -> None:
    table = read(tmp_path / "t.csv", "a,b,y\n -1.5 ,+2e3,.5\n4,5,6.\n")
    assert table.X.tolist() == [[-1.5, 2000.0], [4.0, 5.0]]
    assert table.y.tolist() == [0.5, 6.0]
    labels = read(tmp_path / "t.csv", "a,y\n1,0\n2,1\n", CLASSES).y
    assert labels.dtype == np.int64
    huge = read(tmp_path / "t.csv", "a,y\n1,1e300\n2,1\n", CLASSES).y
    assert huge.tolist() == [1e300, 1.0]


@pytest.mark.parametrize(
    ("separator", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")]
)
def test_other_separators_are_named(separator: str, name: str, tmp_path: Path) -> None:
    for lines in ("a,b,y\n1,2,3\n", "1,2,3\n4,5,6\n"):
        said = refused(tmp_path / "t.csv", lines.replace(",", separator))
        assert "expected commas between the columns" in said
        assert name in said
    refused(tmp_path / "t.csv", "a;b;y\n1,5;2,5;3\n")  # decimal commas


@pytest.mark.parametrize("text", ["", "\n\n", "a\n1\n", "a,b\n", "a,b\n1\n", "a,b\n1,2,3\n"])
def test_tables_that_are_none_are_refused(text: str, tmp_path: Path) -> None:
    refused(tmp_path / "t.csv", text)


# .npz

X = np.random.default_rng(0).normal(size=(20, 3))
Y = np.arange(20) % 2


def saved(path: Path, **arrays: Any) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def test_only_the_arrays_that_are_wanted_are_read(tmp_path: Path) -> None:
    path = saved(tmp_path / "t.npz", X=X, y=Y, huge=np.zeros(2**22), objects=np.array([print]))
    tracemalloc.start()
    table = readers.read_table(str(path), CLASSES, 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(table.X, X)
    assert np.array_equal(table.y, Y)
    assert peak < 2**20


@pytest.mark.parametrize(
    "array",
    [
        X,
        X.astype(">f4"),
        np.asfortranarray(X),
        X[:0],
        X > 0,
        X.astype("f2"),
        np.arange(5, dtype="u1"),
        np.array(3),
        np.array(["ü", "a"]),
        np.array([b"x"]),
    ],
    ids=lambda array: f"{array.dtype.str} {array.shape}",
)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_as_numpy_saved_them(save: Any, array: Any, tmp_path: Path) -> None:
    save(tmp_path / "t.npz", a=array)
    arrays, names = read_arrays(tmp_path / "t.npz", ("a", "b"))
    assert names == ["a"]
    assert arrays["a"].dtype == array.dtype
    assert np.array_equal(arrays["a"], array)


def npy(header: str, content: bytes = b"", version: int = 1) -> bytes:
    size = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + size + header.encode("latin-1") + content


def described(shape: Any, descr: Any = "<f8") -> str:
    return repr({"descr": descr, "fortran_order": False, "shape": shape}) + "\n"


BAD_MEMBERS: dict[str, bytes] = {
    "announces a terabyte": npy(described((2**37,)), bytes(8)),
    "announces more than there can be": npy(described((2**62, 2**62)), bytes(8)),
    "announces less": npy(described((1,)), bytes(16)),
    "sizes below 0": npy(described((-1, -1)), bytes(8)),
    "nothing, 2**62 times": npy(described((2**62,), "<U0")),
    "as much of nothing": npy(described((0, 2**70))),
    "objects": npy(described((1,), "|O"), b"cos\nsystem\n(S'true'\ntR."),
    "columns of several types": npy(described((1,), [("a", "<f8")]), bytes(8)),
    "dates": npy(described((1,), "<M8[s]"), bytes(8)),
    "an unknown type": npy(described((1,), "nothing"), bytes(8)),
    "a shape that is none": npy(described("ab"), bytes(8)),
    "no header": npy("", bytes(8)),
    "code for a header": npy("__import__('os').getcwd()\n", bytes(8)),
    "a header of Python 2": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1L,)}\n"),
    "brackets without end": npy("(" * 60_000),
    "another version": npy(described((1,)), bytes(8), version=2),
    "a pickle": b"\x80\x04K\x01.",
    "nothing": b"",
    "half a magic": b"\x93NUM",
}


@pytest.mark.parametrize("what", BAD_MEMBERS)
def test_a_member_that_is_no_plain_array_is_refused(what: str, tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("X.npy", BAD_MEMBERS[what])
        archive.writestr("y.npy", npy(described((1,)), bytes(8)))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"^data: expected a .npz file of plain arrays") as caught:
        readers.read_table(str(path), MSE, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 2**20
    assert "\n" not in str(caught.value)


def test_an_array_that_unpacks_to_far_more_is_refused_before_memory_is_taken(
    tmp_path: Path,
) -> None:
    path = saved(tmp_path / "t.npz", X=np.zeros((2**21, 8)), y=Y)  # 128 MiB of 130 kB
    assert path.stat().st_size < 2**18
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"X would take 134,217,\d+ bytes"):
        readers.read_table(str(path), MSE, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_what_packs_well_is_welcome(tmp_path: Path) -> None:
    one_hot = np.zeros((100_000, 100))
    one_hot[np.arange(100_000), np.random.default_rng(0).integers(0, 100, 100_000)] = 1
    path = saved(tmp_path / "t.npz", X=one_hot, y=np.zeros(100_000))
    assert readers.read_table(str(path), MSE, 1).X.shape == one_hot.shape


@pytest.fixture(scope="module")
def good() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, X=X, y=Y, feature_names=["a", "b", "ü"], class_names=["n", "y"])
    return file.getvalue()


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(draw=st.data())
def test_any_damage_is_refused_or_gives_arrays(draw: Any, good: bytes, tmp_path: Path) -> None:
    content = bytearray(good)
    for _ in range(draw.draw(st.integers(1, 4))):
        content[draw.draw(st.integers(0, len(content) - 1))] = draw.draw(st.integers(0, 255))
    path = tmp_path / "t.npz"
    if draw.draw(st.booleans()):
        content = content[: draw.draw(st.integers(0, len(content)))]
    path.write_bytes(content)
    try:
        readers.read_table(str(path), CLASSES, 2)
        said = ""
    except ValueError as error:
        said = str(error)
    assert said == "" or said.startswith("data: expected")
    assert harmless(said)
    assert "\n" not in said


def test_other_files_are_no_npz(tmp_path: Path) -> None:
    for content in (b"", b"PK\x03\x04", b"\x80\x04K\x01.", b"PK\x05\x06" + bytes(18)):
        (tmp_path / "t.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"^data: expected"):
            readers.read_table(str(tmp_path / "t.npz"), MSE, 1)


def test_names_may_be_bytes_and_not_millions(tmp_path: Path) -> None:
    path = saved(tmp_path / "t.npz", X=X, y=Y, feature_names=np.array([b"a", b"\xff", b"c"]))
    assert readers.read_table(str(path), MSE, 1).feature_names == ["a", "\ufffd", "c"]
    saved(path, X=X, y=Y, feature_names=np.zeros(2_000_000, "U1"))
    with pytest.raises(ValueError, match="feature_names has 2,000,000 names"):
        readers.read_table(str(path), MSE, 1)
    beyond_unicode = np.array([2**31 - 1], "<u4").view("<U1")
    saved(path, X=X, y=Y, feature_names=beyond_unicode)
    with pytest.raises(ValueError, match="data: expected"):
        readers.read_table(str(path), MSE, 1)


# What files hold never steers the terminal

ESCAPE = "\x1b]0;owned\x07\x9b2J\u202e"


def command(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "culpa.cli", "blame", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=folder,
        timeout=300,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )


def model_file(folder: Path) -> Path:
    path = folder / "m.safetensors"
    culpa.Sequential([culpa.Dense(1)], loss="mse", input_size=3).save(path)
    return path


def with_header(path: Path, change: Any) -> Path:
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    bad = path.with_name("bad.safetensors")
    bad.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])
    return bad


def config(key: str, value: Any) -> Any:
    def change(header: Any) -> None:
        model = json.loads(header["__metadata__"]["model"])
        model[key] = value
        header["__metadata__"]["model"] = json.dumps(model)

    return change


HOSTILE_MODELS: dict[str, Any] = {
    "a tensor's name": lambda header: header.update({ESCAPE: header.pop("dense_0.bias")}),
    "a tensor's type": lambda header: header["dense_0.bias"].update(dtype=ESCAPE),
    "the loss": config("loss", {"name": ESCAPE, "parameter": 0.0}),
    "the dtype": config("dtype", ESCAPE),
    "the seed": config("seed", ESCAPE),
    "a layer": config("layers", [{ESCAPE: 1}]),
    "layers": config("layers", ESCAPE),
    "no JSON": lambda header: header["__metadata__"].update(model=ESCAPE),
    "the version": lambda header: header["__metadata__"].update(culpa=ESCAPE),
}


def harmless(text: str) -> bool:
    return all(c.isprintable() or c == "\n" for c in text)


@pytest.mark.parametrize("what", HOSTILE_MODELS)
def test_a_model_file_cannot_steer_the_terminal(what: str, tmp_path: Path) -> None:
    bad = with_header(model_file(tmp_path), HOSTILE_MODELS[what])
    with pytest.raises(ValueError, match=r"^path: ") as caught:
        culpa.load(bad)
    assert harmless(str(caught.value))
    result = command(bad.name, "digits", folder=tmp_path)
    assert result.returncode == 1
    assert harmless(result.stdout + result.stderr)


def test_a_models_names_of_columns_cannot_steer_the_terminal(tmp_path: Path) -> None:
    bad = with_header(model_file(tmp_path), config("feature_names", [ESCAPE, "b", "c"]))
    (tmp_path / "t.csv").write_text(f"a,{ESCAPE}2,c,y\n1,2,3,4\n", "utf-8")
    result = command(bad.name, "t.csv", folder=tmp_path)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert harmless(result.stdout + result.stderr)
    assert len(result.stderr.splitlines()) > 2  # a name a line
    X = np.zeros((1, 3))
    pandas = pytest.importorskip("pandas")
    with pytest.raises(ValueError, match="names") as caught:
        culpa.load(bad).predict(pandas.DataFrame(X, columns=["a", f"{ESCAPE}2", "c"]))
    assert harmless(str(caught.value))


HOSTILE_TABLES = {
    "a column that is no target": f"{ESCAPE},b,c,y\n1,2,3,4\n",
    "a column without numbers": f"{ESCAPE},b,c,y\nx,2,3,4\n",
    "a cell": f"a,b,c,y\n{ESCAPE},2,3,4\n",
    "a target": f"a,b,c,y\n1,2,3,{ESCAPE}\n",
    "an example for a header": f"1,2,3,{ESCAPE}\n4,5,6,{ESCAPE}\n",
}


@pytest.mark.parametrize("what", HOSTILE_TABLES)
def test_a_table_cannot_steer_the_terminal(what: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(HOSTILE_TABLES[what], "utf-8")
    options = ("--target", "z") if "no target" in what else ()
    with pytest.raises(ValueError, match="expected") as caught:
        readers.read_table(str(tmp_path / "t.csv"), MSE, 1, *options[1:])
    assert harmless(str(caught.value))
    result = command(model_file(tmp_path).name, "t.csv", *options, folder=tmp_path)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert harmless(result.stdout + result.stderr)


@pytest.mark.skipif(os.name != "posix", reason="such names are POSIX")
def test_an_archive_and_its_name_cannot_steer_the_terminal(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", **{ESCAPE: X})
    np.savez(tmp_path / f"{ESCAPE}.npz", X=X[:1], y=Y[:1], feature_names=[ESCAPE, "b", "c"])
    (tmp_path / f"{ESCAPE}.csv").write_text("1,2,3,4\n")
    name = model_file(tmp_path).name
    for arguments in (
        (name, "t.npz"),
        (name, f"{ESCAPE}.npz"),
        (name, f"{ESCAPE}.csv"),
        (f"{ESCAPE}.safetensors", "digits"),
        (name, f"{ESCAPE}.npz", "--html", f"{ESCAPE}.html"),
        (name, f"{ESCAPE}.npz", "--html", f"{ESCAPE}/page.html"),
    ):
        result = command(*arguments, folder=tmp_path)
        assert "Traceback" not in result.stderr
        assert harmless(result.stdout + result.stderr), (result.stdout, result.stderr)


# What was read is not written over


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model_file(tmp_path)
    np.savez(tmp_path / "t.npz", X=X, y=Y)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.skipif(os.name != "posix", reason="links")
@pytest.mark.parametrize(
    "html",
    [
        "m.safetensors",
        "./m.safetensors",
        "t.npz",
        "notes.txt",
        "link.html",
        "hard.html",
        "other.html",
        "plain",
    ],
)
def test_a_page_is_not_written_over_anything_else(html: str, folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    (folder / "plain").write_text("mine")
    (folder / "link.html").symlink_to("m.safetensors")
    (folder / "other.html").symlink_to("notes.txt")
    os.link(folder / "t.npz", folder / "hard.html")
    before = contents(folder)
    result = command("m.safetensors", "t.npz", "--html", html, folder=folder)
    assert result.returncode == 1
    assert result.stderr.startswith("html: expected a")
    assert "choose another name" in result.stderr
    assert contents(folder) == before


def test_a_page_is_written_over_a_page(folder: Path) -> None:
    for name in ("page.html", "PAGE.HTM", "new"):
        for _ in range(1 if name == "new" else 2):
            result = command("m.safetensors", "t.npz", "--html", name, folder=folder)
            assert result.returncode == 0, result.stderr
        assert (folder / name).read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions and links")
def test_a_page_keeps_the_mode_and_the_link_of_the_one_before(folder: Path) -> None:
    (folder / "v1.html").touch(0o600)
    (folder / "page.html").symlink_to("v1.html")
    assert command("m.safetensors", "t.npz", "--html", "page.html", folder=folder).returncode == 0
    assert (folder / "page.html").is_symlink()
    assert (folder / "v1.html").stat().st_mode & 0o777 == 0o600
    result = command("m.safetensors", "t.npz", "--html", "/dev/stdout", folder=folder)
    assert result.stdout.startswith("<!doctype html>")
    assert sorted(path.name for path in folder.iterdir()) == [
        "m.safetensors", "page.html", "t.npz", "v1.html",
    ]  # fmt: skip


def test_measurements_are_not_written_over_anything_else(tmp_path: Path) -> None:
    from culpa.bench.command import Options

    (tmp_path / "m.safetensors").write_text("mine")
    with pytest.raises(OSError, match=r"--json: expected a new file, or one that ends in \.json"):
        Options(json=tmp_path / "m.safetensors")
    (tmp_path / "times.json").write_text("{}")
    Options(json=tmp_path / "times.json")
